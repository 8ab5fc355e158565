"""Builds pyengine._core: every csrc/*.c once, every csrc/isa/LEVEL.c with its own flags, one Cython file.

Objects live under build/objects and are rebuilt when a file that they include, or the command
line, has changed. What this machine cannot compile is said in one sentence.
"""

import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"

# The levels of each machine; csrc/isa/LEVEL.c is compiled with these flags. Others get `generic` alone.
X86_LEVELS = {
    "generic": ["-march=x86-64-v2"],
    "avx2": ["-march=x86-64-v3"],
    "avx512": ["-march=x86-64-v4"],
    "avx512_bf16": ["-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16"],
}
ARM_LEVELS: dict[str, list[str]] = {"generic": [], "neon": []}
LEVELS = {"x86_64": X86_LEVELS, "aarch64": ARM_LEVELS, "arm64": ARM_LEVELS}

# -ffp-contract=off: an FMA is written, never inferred, so that all levels agree bit for bit.
C_FLAGS = [
    "-std=gnu11", "-O3", "-g0", "-fPIC", "-pthread", "-fvisibility=hidden",
    "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra",
]
# Generated code: -O2 halves its compile time and its speed does not change; its unused parts are not our warnings.
CYTHON_FLAGS = [
    "-std=gnu11", "-O2", "-g0", "-fPIC", "-pthread", "-fvisibility=hidden", "-DNDEBUG", "-Wall",
    "-fno-strict-aliasing", "-fwrapv",
]


def read_version() -> str:
    match = re.search(r'#define PE_VERSION "([^"]+)"', (CSRC / "pyengine.h").read_text())
    if match is None:
        raise SystemExit("pyengine: csrc/pyengine.h defines no PE_VERSION")
    return match[1]


def find_compiler() -> list[str]:
    """CC, else Python's own compiler, else the first of cc, gcc and clang."""
    if sys.platform == "win32":
        raise SystemExit("pyengine is built on Linux and macOS; on Windows use WSL")
    wanted = [os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc", "gcc", "clang"]
    for command in wanted:
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    raise SystemExit(
        "pyengine needs a C compiler and found none: install gcc "
        "(Debian, Ubuntu: apt-get install gcc; Fedora: dnf install gcc; macOS: xcode-select --install) "
        "or name yours in the environment variable CC"
    )


def check_python_header() -> None:
    include = sysconfig.get_path("include")
    if not os.path.exists(os.path.join(include, "Python.h")):
        raise SystemExit(
            f"pyengine needs Python's C headers and {include} has no Python.h: "
            "install them (Debian, Ubuntu: apt-get install python3-dev; Fedora: dnf install python3-devel)"
        )


class Objects:
    """Compiles C files in parallel; keeps each object together with its command line and what it includes."""

    def __init__(self, compiler: list[str], directory: Path) -> None:
        self.compiler = compiler
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)
        identity = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
        self.identity = identity.stdout
        self.user_flags = shlex.split(os.environ.get("CFLAGS", ""))

    def submit(self, source: Path, flags: list[str]):
        return self.pool.submit(self._compile, source, flags)

    def accepts(self, flags: list[str]) -> bool:
        command = [*self.compiler, *flags, "-fsyntax-only", "-x", "c", os.devnull]
        return subprocess.run(command, capture_output=True).returncode == 0

    def _compile(self, source: Path, flags: list[str]) -> Path:
        command = [*self.compiler, *flags, *self.user_flags, f"-I{CSRC}", "-c", str(source)]
        key = hashlib.sha256("\0".join([self.identity, *command]).encode()).hexdigest()[:12]
        target = self.directory / f"{source.parent.name}-{source.stem}-{key}.o"
        dependencies = target.with_suffix(".d")
        if is_fresh(target, dependencies):
            return target
        # Under another name first: an interrupted compiler must not leave an object that looks fresh.
        unfinished = target.with_suffix(".part.o")
        command += ["-MMD", "-MF", str(dependencies), "-o", str(unfinished)]
        run = subprocess.run(command, capture_output=True, text=True)
        sys.stderr.write(run.stderr)
        if run.returncode != 0:
            raise SystemExit(f"pyengine: {shlex.join(command)}\nfailed with status {run.returncode}")
        unfinished.replace(target)
        return target


def is_fresh(target: Path, dependencies: Path) -> bool:
    """True when the object is newer than every file in the make rule that the compiler wrote."""
    try:
        built = target.stat().st_mtime_ns
        rule = dependencies.read_text().partition(": ")[2].replace("\\\n", " ")
        return all(os.stat(name).st_mtime_ns <= built for name in shlex.split(rule))
    except OSError:
        return False


def level_sources(objects: Objects) -> list[tuple[Path, list[str]]]:
    levels = LEVELS.get(platform.machine(), {"generic": []})
    found = []
    for level, flags in levels.items():
        if objects.accepts(flags):
            found.append((CSRC / "isa" / f"{level}.c", flags))
        elif level == "generic":
            found.append((CSRC / "isa" / "generic.c", []))
        else:
            print(f"pyengine: built without {level}: the compiler does not know {' '.join(flags)}")
    return found


class BuildExtension(build_ext):
    """One extension out of all of csrc and of what Cython makes of the .pyx files."""

    def build_extension(self, ext: Extension) -> None:
        compiler = find_compiler()
        check_python_header()
        objects = Objects(compiler, ROOT / "build" / "objects")
        jobs = [objects.submit(source, C_FLAGS + flags) for source, flags in level_sources(objects)]
        jobs += [objects.submit(source, C_FLAGS) for source in sorted(CSRC.glob("*.c"))]
        python_flags = [*CYTHON_FLAGS, f"-I{sysconfig.get_path('include')}"]
        jobs.append(objects.submit(self._cythonize(ext), python_flags))
        self._link(compiler, [str(job.result()) for job in jobs], Path(self.get_ext_fullpath(ext.name)))

    @staticmethod
    def _cythonize(ext: Extension) -> Path:
        from Cython.Build import cythonize

        # Relative paths, so that the messages and the generated comments name no machine's folders.
        os.chdir(ROOT)
        directory = f"build/cython-{sys.implementation.cache_tag}"
        made = cythonize([ext], build_dir=directory, language_level=3, include_path=["."], quiet=True)
        return ROOT / made[0].sources[0]

    @staticmethod
    def _link(compiler: list[str], objects: list[str], target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if sys.platform == "darwin":
            shared = ["-bundle", "-undefined", "dynamic_lookup"]
        else:
            # -Bsymbolic: never bind to a libpyengine that the same process may have loaded.
            shared = ["-shared", "-Wl,-s", "-Wl,-Bsymbolic"]
        user_flags = shlex.split(os.environ.get("CFLAGS", "")) + shlex.split(os.environ.get("LDFLAGS", ""))
        command = [*compiler, "-pthread", *shared, *objects, "-o", str(target), "-lm", *user_flags]
        if subprocess.run(command).returncode != 0:
            raise SystemExit(f"pyengine: {shlex.join(command)}\nfailed to link")


class BuildPython(build_py):
    """Adds the public header to the package, where pyengine.get_include() finds it."""

    def run(self) -> None:
        package = ROOT / "pyengine"
        if not self.editable_mode:
            package = Path(self.build_lib) / "pyengine"
            # Otherwise a module that was deleted since the last build would still be in the wheel.
            shutil.rmtree(package, ignore_errors=True)
        super().run()
        (package / "include").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(CSRC / "pyengine.h", package / "include" / "pyengine.h")


setup(
    version=read_version(),
    ext_modules=[Extension("pyengine._core", ["pyengine/_core/_core.pyx"])],
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
