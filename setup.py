"""Builds pyengine._core out of csrc (csrc/make.py says how) and one Cython file."""

import os
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "csrc"))
import make  # noqa: E402  (csrc/make.py)

# Generated code, no kernels in it: small is fast enough (each call runs it once) and half as long to compile.
CYTHON_FLAGS = [
    *("-std=gnu11", "-Os", "-g0", "-fPIC", "-pthread", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables"),
    *("-fwrapv", "-fno-strict-aliasing", "-DNDEBUG", "-Wall"),
]


def python_include() -> str:
    include = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(include, "Python.h")):
        raise make.BuildError(
            f"pyengine needs Python's C headers and {include} has no Python.h: "
            "install them (Debian, Ubuntu: apt-get install python3-dev; Fedora: dnf install python3-devel)"
        )
    return include


def cythonize(ext: Extension) -> Path:
    from Cython.Build import cythonize

    # Relative paths, so that the generated comments and tracebacks name no machine's folders.
    os.chdir(ROOT)
    directory = f"build/cython-{sys.implementation.cache_tag}"
    target = (ROOT / directory / ext.sources[0]).with_suffix(".c")
    with make.time_kept(target):  # pip brings a new Cython each time, and Cython translates again when it is new
        made = cythonize([ext], build_dir=directory, language_level=3, include_path=["."], quiet=True)
    assert ROOT / made[0].sources[0] == target
    return target


class BuildExtension(build_ext):
    """CFLAGS and LDFLAGS of the environment come after the project's own flags."""

    def build_extension(self, ext: Extension) -> None:
        try:
            self._build(ext)
        except make.BuildError as error:
            raise SystemExit(str(error)) from None

    def _build(self, ext: Extension) -> None:
        compiler = make.find_compiler()
        python_flags = [*CYTHON_FLAGS, f"-I{python_include()}"]
        user_flags = shlex.split(os.environ.get("CFLAGS", ""))
        # The C compiler is at work while Cython translates.
        objects = make.Objects(compiler, ROOT / "build" / "objects")
        jobs = objects.engine(user_flags)
        jobs.append(objects.submit(cythonize(ext), python_flags + user_flags))
        built = [str(job.result()) for job in jobs]
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "darwin":
            shared = ["-bundle", "-undefined", "dynamic_lookup"]
        else:
            # -Bsymbolic: never bind to a libpyengine that the same process may have loaded.
            shared = ["-shared", "-Wl,-s", "-Wl,-Bsymbolic"]
        user_flags += shlex.split(os.environ.get("LDFLAGS", ""))
        make.run([*compiler, "-pthread", *shared, *built, "-o", str(target), "-lm", *user_flags])


class BuildPython(build_py):
    """Adds the public headers to the package, where pyengine.get_include() finds them."""

    def run(self) -> None:
        package = ROOT / "pyengine"
        if not self.editable_mode:
            package = Path(self.build_lib) / "pyengine"
            # Otherwise a module that was deleted since the last build would still be in the wheel.
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        make.copy_headers(package / "include")


setup(
    version=make.read_version(),
    ext_modules=[Extension("pyengine._core._core", ["pyengine/_core/_core.pyx"])],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
