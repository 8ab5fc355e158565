"""The build: one version, what the package ships, what a poor machine is told, and what is not compiled twice."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from require import require

import pyengine

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
import make  # noqa: E402  (csrc/make.py)

INSTALLED_LIMIT = 5_000_000


def test_one_version() -> None:
    assert pyengine.__version__ == make.read_version() == importlib.metadata.version("pyengine")


def test_console_entry_point() -> None:
    scripts = importlib.metadata.entry_points(group="console_scripts", name="pyengine")
    assert [script.value for script in scripts] == ["pyengine.cli:main"]


@pytest.mark.parametrize("name", make.HEADERS)
def test_header_is_shipped(name: str) -> None:
    assert (Path(pyengine.get_include()) / name).read_text() == (make.CSRC / name).read_text()


@pytest.mark.parametrize("name", make.HEADERS)
def test_each_header_gives_the_whole_interface(name: str) -> None:
    compiler = [*make.find_compiler(), "-xc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{make.CSRC}"]
    program = f'#include "{name}"\nvoid *calls[] = {{(void *)pe_gemm, (void *)pe_conv}};\n'
    subprocess.run([*compiler, "-"], input=program, text=True, check=True)


def test_cython_declarations_and_type_marker_are_shipped() -> None:
    package = Path(pyengine.__file__).parent
    assert (package / "py.typed").exists()
    assert sorted((package / "_core").glob("*.pxd"))


USER = """
from pyengine._core._core cimport Tensor
from pyengine._core.capi cimport *
from pyengine._core.capi_layers cimport *

def first(Tensor t):
    return (<float *>t.view.data)[0], t.storage.version, pe_get_num_threads(pe_default_context())
"""


def test_a_cython_module_of_a_user(tmp_path: Path) -> None:
    """The .pxd files and the headers reach into tensors and call this process's engine; Cython finds no fault."""
    require("cython", importlib.util.find_spec("Cython"), "pip install cython")
    (tmp_path / "user.pyx").write_text(USER)
    command = [sys.executable, "-m", "cython", "-3", "-Werror", "user.pyx"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    includes = [f"-I{pyengine.get_include()}", f"-I{sysconfig.get_path('include')}"]
    made = tmp_path / "user.so"
    make.run([*make.find_compiler(), "-shared", "-fPIC", "-O0", *includes, str(tmp_path / "user.c"), "-o", str(made)])
    code = """
import ctypes, pyengine
ctypes.CDLL(pyengine._core._core.__file__, ctypes.RTLD_GLOBAL)  # as get_include says
import user
x = pyengine.tensor([3.5])
x += 1.0
pyengine.set_num_threads(3)
print(*user.first(x))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("4.5 1 3\n", "")


def test_installed_size() -> None:
    package = Path(pyengine.__file__).parent
    files = [file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) <= INSTALLED_LIMIT


def test_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "END OF TERMS AND CONDITIONS" in text


def test_missing_compiler_is_one_sentence(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, str(make.CSRC / "make.py"), "--prefix", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("pyengine needs a C compiler and found none: install gcc")


@pytest.mark.parametrize(
    ("compiler", "said"),
    [("no-such-cc -O1", "the environment variable CC names the compiler 'no-such-cc', which is not there"),
     ("false", "false does not know --version: is it a C compiler?")],
)  # fmt: skip
def test_a_wrong_cc_is_one_sentence(compiler: str, said: str, tmp_path: Path) -> None:
    """And no other compiler is taken in its place."""
    command = [sys.executable, str(make.CSRC / "make.py"), "--prefix", str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, "CC": compiler}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"pyengine: {said}\n")


@pytest.fixture
def objects(tmp_path: Path) -> make.Objects:
    return make.Objects(make.find_compiler(), tmp_path / "objects")


def test_unknown_level_is_left_out_with_one_line(
    objects: make.Objects, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    levels = {"generic": [], "future": ["-march=no-such-processor"]}
    monkeypatch.setitem(make.LEVELS, objects.machine, levels)
    assert list(objects.levels()) == ["generic"]
    assert capsys.readouterr().out == (
        "pyengine: built without future: the compiler does not know -march=no-such-processor\n"
    )


def test_an_object_is_rebuilt_when_what_it_includes_changes(objects: make.Objects, tmp_path: Path) -> None:
    source, table = tmp_path / "one.c", tmp_path / "table.def"
    table.write_text("int row = 1;\n")
    source.write_text('#include "table.def"\n')

    def compiled(flags: list[str]) -> bool:
        objects.compiled.clear()
        objects.submit(source, flags).result()
        return bool(objects.compiled)

    assert compiled([])
    assert not compiled([])
    assert compiled(["-O1"])
    table.write_text("int row = 2;\n")
    later = table.stat().st_mtime + 2
    os.utime(table, (later, later))
    assert compiled([])


def test_a_file_that_is_made_again_as_it_was_is_not_compiled_again(tmp_path: Path) -> None:
    made = tmp_path / "made.c"
    with make.time_kept(made):
        made.write_text("int x;")
    os.utime(made, ns=(10**18, 10**18))
    for text, kept in (("int x;", True), ("int y;", False)):
        with make.time_kept(made):
            made.write_text(text)
        assert (made.stat().st_mtime_ns == 10**18) == kept


def test_an_error_names_the_command(objects: make.Objects, tmp_path: Path) -> None:
    source = tmp_path / "wrong.c"
    source.write_text("int f(void) { return missing; }\n")
    with pytest.raises(make.BuildError, match=r"compiler failed: .*wrong\.c[\s\S]*missing"):
        objects.submit(source, []).result()


def test_a_new_pkg_config_file_names_prefix_and_version() -> None:
    text = make.package_config(Path("/usr/local"))
    assert "prefix=/usr/local\n" in text
    assert f"Version: {make.read_version()}\n" in text
