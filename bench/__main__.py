"""`python -m bench SUITE [options]`, from the root of the repository."""

import importlib
import pkgutil
import sys
from pathlib import Path

import bench

ROOT = Path(__file__).resolve().parent.parent
NOT_SUITES = {"__main__", "harness"}


def prefer_installed_package() -> None:
    """python -m puts the repository first on the path; its pyengine/ has no extension unless built in place."""
    if not any((ROOT / "pyengine" / "_core").glob("_core.*.so")):
        elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
        sys.path[:] = [*elsewhere, str(ROOT)]


def main() -> int:
    suites = sorted({module.name for module in pkgutil.iter_modules(bench.__path__)} - NOT_SUITES)
    if len(sys.argv) < 2 or sys.argv[1] not in suites:
        print("usage: python -m bench SUITE [options]\nsuites:")
        for name in suites:
            summary = (importlib.import_module(f"bench.{name}").__doc__ or "").partition("\n")[0]
            print(f"  {name:10} {summary}")
        return 2
    prefer_installed_package()
    suite = importlib.import_module(f"bench.{sys.argv[1]}")
    return suite.main(sys.argv[2:]) or 0


if __name__ == "__main__":
    raise SystemExit(main())
