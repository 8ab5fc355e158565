"""`python -m bench SUITE [options]`, from the root of the repository."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITES = {
    "limits": "what this machine can do: arithmetic peaks, bandwidth of each cache",
    "kernels": "products as shares of these limits",
    "layers": "convolution layers of known networks and their gradients, beside the rivals",
    "models": "whole networks in inference and training, beside the rivals",
    "ops": "single operations, with and without the tape, beside the rivals",
    "optim": "steps of optimizers over many tensors, beside the rivals",
    "versus": "all of these beside the rivals; writes docs/benchmarks.md",
    "digits": "how well the digits job reads",
    "examples": "every example, its figure beside its baseline; writes docs/examples.md",
    "loader": "batches of 60,000 images, and what the loop adds",
    "flow": "what watching the gradient flow adds to a step",
    "decode": "tokens a second of a decoder beside the bandwidth of its weights",
    "memory": "peak memory of attention over 16,384 tokens beside its matrix of scores",
    "checkpoint": "files of weights beside the page cache and the safetensors library",
    "startup": "import, memory, disk, and one call on 16 floats",
    "sweep": "N threads against one, over sizes",
}
INSTALLED = ("startup", "sweep")  # pyengine/bench/ has them whole
CASES = ("kernels", "layers", "models", "ops", "optim", "versus")  # rounds over cases: bench/versus.py


def prefer_installed_package() -> None:
    """python -m puts the repository first on the path; its pyengine/ has no extension unless built in place."""
    if not any((ROOT / "pyengine" / "_core").glob("_core.*.so")):
        elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
        sys.path[:] = [*elsewhere, str(ROOT)]


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in SUITES:
        print("usage: python -m bench SUITE [options]\nsuites:")
        for suite, summary in SUITES.items():
            print(f"  {suite:10} {summary}")
        return 2
    prefer_installed_package()
    if name in INSTALLED:
        from pyengine.bench import main as installed

        return installed(name, sys.argv[2:], "python -m bench")
    if name in CASES:
        return importlib.import_module("bench.versus").run(name, sys.argv[2:])
    return importlib.import_module(f"bench.{name}").main(sys.argv[2:]) or 0


if __name__ == "__main__":
    raise SystemExit(main())
