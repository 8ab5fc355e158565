"""Compiles csrc: every *.c once, every isa/LEVEL.c with the flags of its level, in parallel.

setup.py, the tests and the checks in .ci build through this module; it needs the standard library alone.

    python csrc/make.py --prefix DIR

installs libpyengine for C programs: DIR/lib/libpyengine.so.0, which chooses its level at run time, the
headers, and the pkg-config file. Without Python, one line builds a library for the machine at hand:

    cc -O3 -march=native -std=gnu11 -ffp-contract=off -fno-math-errno -fno-trapping-math -fPIC -shared \
       -fvisibility=hidden -Wl,-soname,libpyengine.so.0 -Icsrc csrc/*.c csrc/isa/*.c \
       -o libpyengine.so.0 -lpthread -lm
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

CSRC = Path(__file__).resolve().parent
HEADERS = ("pyengine.h", "pyengine_layers.h")  # the public ones

# Other machines get `generic` alone. What stands above avx512 holds the products that its instructions make, no more.
X86_LEVELS = {
    "generic": ["-march=x86-64-v2", "-Os"],  # for old machines and as a reference: it need not be large
    "avx2": ["-march=x86-64-v3"],
    "avx512": ["-march=x86-64-v4"],
    "avx512_vnni": ["-march=x86-64-v4", "-mavx512vnni"],
    "avx512_bf16": ["-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16"],
    "amx": ["-march=x86-64-v4", "-mavx512vnni", "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"],
}
# avx512 but for their products of bytes and of bfloat16 (csrc/dispatch.c composes them). What else there is to test has
# been tested at avx512: the very same functions.
COMPOSED_LEVELS = ("avx512_vnni", "avx512_bf16", "amx")
TESTS_OF_COMPOSED = ("test_gemm_half", "test_gemm_pack", "test_q", "test_cpu", "test_tiles", "test_pool_fork")
ARM_LEVELS: dict[str, list[str]] = {"generic": ["-Os"], "neon": []}
LEVELS = {"x86_64": X86_LEVELS, "aarch64": ARM_LEVELS, "arm64": ARM_LEVELS}

# -ffp-contract=off: an FMA is written, never inferred, so that the levels agree bit for bit.
C_FLAGS = [
    *("-std=gnu11", "-O3", "-g0", "-fPIC", "-pthread", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables"),
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra"),
]


# At -O3 gcc writes loops of few steps out by itself. Where that pays, PE_UNROLL says so (simd.h); elsewhere it is
# 0.2 MB of code and no faster. The bound is in gcc's own units of a loop's body times its steps.
GCC_FLAGS = ["--param", "max-completely-peeled-insns=60"]

# What no level compiles: loops over blocks and threads, in which no time is spent.
FLOOR_2_FLAGS = ["-O2"]


def is_worth_running(test: str, level: str) -> bool:
    """False where the C test of this name would run the same code at avx512."""
    return level not in COMPOSED_LEVELS or test.startswith(TESTS_OF_COMPOSED)


class BuildError(Exception):
    """One sentence for the person who builds."""


def read_version() -> str:
    match = re.search(r'#define PE_VERSION "([^"]+)"', (CSRC / "pyengine.h").read_text())
    if match is None:
        raise BuildError("pyengine: csrc/pyengine.h defines no PE_VERSION")
    return match[1]


def find_compiler() -> list[str]:
    """CC, else Python's own compiler, else the first of cc, gcc and clang."""
    if sys.platform == "win32":
        raise BuildError("pyengine is built on Linux and macOS; on Windows use WSL")
    asked = shlex.split(os.environ.get("CC", ""))
    if asked and not shutil.which(asked[0]):  # another one in its place would be a surprise found late
        raise BuildError(f"pyengine: the environment variable CC names the compiler {asked[0]!r}, which is not there")
    for words in (asked, shlex.split(sysconfig.get_config_var("CC") or ""), ["cc"], ["gcc"], ["clang"]):
        if words and shutil.which(words[0]):
            return words
    raise BuildError(
        "pyengine needs a C compiler and found none: install gcc "
        "(Debian, Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; macOS: xcode-select --install) "
        "or name yours in the environment variable CC"
    )


class Objects:
    """Compiles C files in parallel; an object is kept until its command line or a file that it includes changes."""

    def __init__(self, compiler: list[str], directory: Path) -> None:
        self.compiler = compiler
        self.directory = directory
        self.directory.mkdir(parents=True, exist_ok=True)
        self.pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self.compiled: list[str] = []
        self.identity = self._ask("--version")
        self.is_gcc = "Free Software Foundation" in self.identity
        self.machine = self._ask("-dumpmachine").partition("-")[0]

    def _ask(self, option: str) -> str:
        done = subprocess.run([*self.compiler, option], capture_output=True, text=True)
        if done.returncode != 0 or not done.stdout:
            raise BuildError(f"pyengine: {shlex.join(self.compiler)} does not know {option}: is it a C compiler?")
        return done.stdout

    def accepts(self, flags: list[str]) -> bool:
        command = [*self.compiler, *flags, "-fsyntax-only", "-x", "c", os.devnull]
        return subprocess.run(command, capture_output=True).returncode == 0

    def levels(self) -> dict[str, list[str]]:
        """The levels of the target machine that this compiler knows, with their flags."""
        known = {}
        for level, flags in LEVELS.get(self.machine, {"generic": []}).items():
            if self.accepts(flags):
                known[level] = flags
            elif level == "generic":
                known[level] = []
            else:
                print(f"pyengine: built without {level}: the compiler does not know {' '.join(flags)}")
        return known

    def sources(self, flags: Iterable[str] = ()) -> list[tuple[Path, list[str]]]:
        """All of csrc with the flags of each file, slowest first; `flags` come after the project's own."""
        common = [*C_FLAGS, *(GCC_FLAGS if self.is_gcc else [])]
        levels = [(CSRC / "isa" / f"{level}.c", [*common, *flags, *own]) for level, own in self.levels().items()]
        return levels + [(source, [*common, *FLOOR_2_FLAGS, *flags]) for source in sorted(CSRC.glob("*.c"))]

    def engine(self, flags: Iterable[str] = ()) -> list[Future[Path]]:
        return [self.submit(source, own) for source, own in self.sources(flags)]

    def submit(self, source: Path, flags: list[str]) -> Future[Path]:
        return self.pool.submit(self._compile, source, flags)

    def _compile(self, source: Path, flags: list[str]) -> Path:
        command = [*self.compiler, *flags, f"-I{CSRC}", "-c", str(source)]
        key = hashlib.sha256("\0".join([self.identity, *command]).encode()).hexdigest()[:12]
        target = self.directory / f"{source.parent.name}-{source.stem}-{key}.o"
        rule = target.with_suffix(".d")
        if target.with_suffix(".log").exists() and is_fresh(target, rule):
            return target
        # Under another name first: an interrupted compiler must not leave an object that looks fresh.
        unfinished = target.with_suffix(f".{os.getpid()}.o")
        said = run([*command, "-MMD", "-MF", str(rule), "-o", str(unfinished)])
        target.with_suffix(".log").write_text(said)
        unfinished.replace(target)
        self.compiled.append(source.name)
        return target


def is_fresh(target: Path, rule: Path) -> bool:
    """True when the object is newer than every file in the make rule that the compiler wrote."""
    try:
        built = target.stat().st_mtime_ns
        needed = shlex.split(rule.read_text().partition(": ")[2].replace("\\\n", " "))
        return bool(needed) and all(os.stat(name).st_mtime_ns <= built for name in needed)
    except OSError:
        return False


@contextmanager
def time_kept(path: Path) -> Iterator[None]:
    """Where what is done inside writes the same bytes again, the file stays as old as it was."""
    before = (path.read_bytes(), path.stat().st_mtime_ns) if path.exists() else None
    yield
    if before and path.read_bytes() == before[0]:
        os.utime(path, ns=(before[1], before[1]))


def run(command: list[str]) -> str:
    """The compiler's own words, which also go to stderr; a failure ends the build."""
    done = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode != 0:
        tail = done.stderr.strip().splitlines()[-12:]
        raise BuildError("\n".join([f"pyengine: the compiler failed: {shlex.join(command)}", *tail]))
    return done.stderr


def link_library(compiler: list[str], objects: Iterable[Path], target: Path, flags: Iterable[str] = ()) -> None:
    named = [] if sys.platform == "darwin" else ["-Wl,-soname,libpyengine.so.0"]
    run([*compiler, "-shared", *named, *flags, *map(str, objects), "-o", str(target), "-pthread", "-lm"])


def package_config(prefix: Path) -> str:
    text = (CSRC / "pyengine.pc.in").read_text()
    return text.replace("@PREFIX@", str(prefix)).replace("@VERSION@", read_version())


def copy_headers(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for header in HEADERS:
        shutil.copyfile(CSRC / header, folder / header)


def install(prefix: Path, objects_directory: Path) -> None:
    compiler = find_compiler()
    built = [job.result() for job in Objects(compiler, objects_directory).engine()]
    (prefix / "lib" / "pkgconfig").mkdir(parents=True, exist_ok=True)
    link_library(compiler, built, prefix / "lib" / "libpyengine.so.0", ["-Wl,-s"])
    link = prefix / "lib" / "libpyengine.so"
    link.unlink(missing_ok=True)
    link.symlink_to("libpyengine.so.0")
    copy_headers(prefix / "include")
    (prefix / "lib" / "pkgconfig" / "pyengine.pc").write_text(package_config(prefix))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build libpyengine for C programs and install it.")
    parser.add_argument("--prefix", type=Path, required=True, help="gets lib/, include/ and lib/pkgconfig/")
    try:
        install(parser.parse_args().prefix.resolve(), CSRC.parent / "build" / "objects")
    except BuildError as error:
        raise SystemExit(str(error)) from None
