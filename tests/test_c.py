"""The engine from plain C: it compiles without a warning, and its C tests pass at every level."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

import pytest
from levels import runnable_levels
from require import require

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
import make  # noqa: E402  (csrc/make.py)

STRICT = ["-Werror"]
C_TESTS = sorted((ROOT / "tests" / "c").glob("test_*.c"))
# by /proc/cpuinfo: an oracle that owes nothing to csrc/cpu.c
LEVELS = list(runnable_levels())


class Build:
    """The objects of csrc: those that `pip install .` made in this tree, else compiled now."""

    def __init__(self, compiler: list[str], directory: Path) -> None:
        self.compiler = compiler
        self.directory = directory
        self.objects = make.Objects(compiler, ROOT / "build" / "objects")
        self.engine = [job.result() for job in self.objects.engine()]

    def program(self, source: Path) -> Path:
        """Linked with the objects themselves: internal tests reach hidden symbols."""
        target = self.directory / source.stem
        flags = [*make.C_FLAGS, *STRICT, f"-I{make.CSRC}"]
        make.run([*self.compiler, *flags, str(source), *map(str, self.engine), "-o", str(target), "-lm"])
        return target


def run_at(level: str, command: list[str | Path]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYENGINE_ISA": level}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command[0]} at {level}: {done.stdout}{done.stderr}"
    return done


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    return Build(make.find_compiler(), tmp_path_factory.mktemp("csrc"))


RUNS = [(t.stem, level) for t in C_TESTS for level in LEVELS if make.is_worth_running(t.stem, level)]
Running = dict[tuple[str, str], Future]


@pytest.fixture(scope="session")
def running(build: Build, request: pytest.FixtureRequest) -> Running:
    """Those that this session asks for, on all cores: a program is compiled, then it runs at its levels."""
    asked = {item.callspec.id for item in request.session.items if item.name.startswith("test_c_program[")}
    if any(item.name == "test_one_line_of_cc_builds_the_library" for item in request.session.items):
        request.getfixturevalue("one_line")  # the longest job begins first
    submit: Callable[..., Future] = build.objects.pool.submit
    runs = [(name, level) for name, level in RUNS if f"{name}-{level}" in asked]
    # Compiled first, all of them: a run that waits for its program then waits for one that is being compiled.
    made = {t.stem: submit(build.program, t) for t in C_TESTS if any(name == t.stem for name, _ in runs)}
    return {run: submit(lambda name, level: run_at(level, [made[name].result()]), *run) for run in runs}


@pytest.mark.parametrize(("name", "level"), RUNS)
def test_c_program(running: Running, name: str, level: str) -> None:
    running[name, level].result()


@pytest.fixture(scope="session")
def library(build: Build) -> Path:
    target = build.directory / "libpyengine.so.0"
    make.link_library(build.compiler, build.engine, target)
    return target


def test_library_finds_the_levels_of_this_machine(library: Path) -> None:
    levels = ctypes.CDLL(str(library)).pe_isa_levels
    levels.restype = ctypes.POINTER(ctypes.c_char_p)
    names = iter(levels())
    found = [name.decode() for name in iter(lambda: next(names), None)]
    assert found == LEVELS


def test_library_exports_public_names_alone(library: Path) -> None:
    require("nm", shutil.which("nm"), "install binutils")
    listing = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    exported = {line.split()[-1] for line in listing.stdout.splitlines()}
    header = "".join((make.CSRC / header).read_text() for header in make.HEADERS)
    assert exported
    assert {name for name in exported if f"{name}(" not in header} == set()


@pytest.fixture(scope="session")
def embedded(build: Build, library: Path) -> Path:
    target = build.directory / "embed"
    include = build.directory / "include"
    make.copy_headers(include)
    source = ROOT / "tests" / "c" / "embed.c"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", *STRICT, f"-I{include}"]
    origin = f"-Wl,-rpath,{library.parent}"
    make.run([*build.compiler, *flags, str(source), str(library), origin, "-o", str(target), "-lm"])
    return target


@pytest.mark.parametrize("level", LEVELS)
def test_embedding_without_python(embedded: Path, level: str) -> None:
    assert run_at(level, [embedded]).stdout.strip() == level


def test_what_is_installed_is_found_by_pkg_config(build: Build, tmp_path: Path) -> None:
    """csrc/make.py --prefix: the library by its soname, the headers, and the flags that a stranger asks for."""
    require("pkg-config", shutil.which("pkg-config"), "install pkg-config")
    make.install(tmp_path, build.objects.directory)
    environment = {**os.environ, "PKG_CONFIG_PATH": str(tmp_path / "lib" / "pkgconfig")}
    asked = ["pkg-config", "--cflags", "--libs", "pyengine"]
    flags = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout.split()
    make.run([*build.compiler, str(ROOT / "tests" / "c" / "embed.c"), *flags, "-lm", "-o", str(tmp_path / "embed")])
    done = subprocess.run([tmp_path / "embed"], env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path / "lib")},
                          capture_output=True, text=True)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="session")
def one_line(build: Build) -> Future:
    """The line that csrc/make.py documents, at -O0 here to save the suite's time; it takes one core, long."""
    text = (make.__doc__ or "").partition("    cc ")[2].partition("\n\n")[0]
    line = " ".join([*build.compiler, text.replace("\\\n", " ").replace("-O3", "-O0")]).strip()
    assert "csrc/isa/*.c" in line
    target = build.directory / "oneline" / "libpyengine.so.0"
    target.parent.mkdir()
    line = line.replace("-o libpyengine.so.0", f"-o '{target}'")

    def compiled() -> Path:
        subprocess.run(["sh", "-c", line], cwd=ROOT, check=True)
        return target

    return build.objects.pool.submit(compiled)


def test_one_line_of_cc_builds_the_library(build: Build, one_line: Future) -> None:
    target = one_line.result()
    program = target.parent / "embed"
    source = ROOT / "tests" / "c" / "embed.c"
    make.run([*build.compiler, f"-I{make.CSRC}", str(source), str(target), f"-Wl,-rpath,{target.parent}",
              "-o", str(program), "-lm"])
    run_at(LEVELS[-1], [program])


def test_the_compiler_had_nothing_to_say(build: Build) -> None:
    said = [made.with_suffix(".log").read_text() for made in build.engine]
    assert "".join(said) == ""


def test_clang_has_nothing_to_say(tmp_path: Path) -> None:
    """Syntax and types alone; `.ci/run` has it generate code as well."""
    require("clang", shutil.which("clang"), "install clang to check with the second compiler")
    clang = make.Objects(["clang"], tmp_path)
    commands = [["clang", *flags, *STRICT, f"-I{make.CSRC}", "-fsyntax-only", str(source)]
                for source, flags in clang.sources()]  # fmt: skip
    list(clang.pool.map(make.run, commands))


if __name__ == "__main__":
    print(*LEVELS)  # for .ci/run, which runs other suites once per level
