"""The rules of DESIGN.md that can be checked: floors, budgets, symbols, and table = ops = reference."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import reference

from pyengine import _core, ops

ROOT = Path(__file__).parent.parent
CSRC, PACKAGE = ROOT / "csrc", ROOT / "pyengine"
HEADERS = sorted(CSRC.glob("pyengine*.h"))

LINES_A_FILE, LINES_A_FUNCTION = 400, 60
# Raising a budget is a change of its own, with its reason here.
LONGER_FILES: dict[str, int] = {
    "pyengine/_core/tensor.pxi": 430,  # one class, which Cython cannot split: a method an operator, and its mirror
    "pyengine/ops/elementwise.py": 440,  # one documented def a row: as long as the table
}
LONGER_FUNCTIONS: dict[str, int] = {}

# who sits where; a module may import its own floor and the floors below
FLOORS = {
    "_core": 4, "ops": 5, "autograd": 5, "machine": 5, "nn": 6, "optim": 6, "data": 7, "train": 7, "io": 7,
    "utils": 7, "bench": 8, "cli": 8, "cli_text": 8, "cli_train": 8, "__main__": 8, "__init__": 8,
    "linalg": 5, "models": 7, "viz": 7,
}  # fmt: skip


def sources(*patterns):
    found = [p for pattern in patterns for p in sorted(ROOT.glob(pattern)) if "build" not in p.relative_to(ROOT).parts]
    assert found, patterns
    return found


def name(path):
    return path.relative_to(ROOT).as_posix()


CODE = sources("csrc/**/*.[ch]", "csrc/**/*.inc", "csrc/**/*.def", "csrc/*.py", "pyengine/**/*.py",
               "pyengine/**/*.px[id]", "pyengine/**/*.pyx", "tests/**/*.py", "tests/**/*.[ch]",
               "bench/**/*.py", "bench/**/*.[ch]", "examples/*.py", "setup.py")  # fmt: skip


@pytest.mark.parametrize("path", CODE, ids=name)
def test_files_stay_one_room(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGER_FILES.get(name(path), LINES_A_FILE)
    assert not re.search(r"\t", path.read_text()), "tabs"
    longest = max((len(line) for line in path.read_text().splitlines()), default=0)
    assert longest <= 120


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.end_lineno - node.lineno + 1


def c_functions(text):
    """Bodies that open with a brace at the end of a line in column 0 .. and close in column 0."""
    start = None
    for number, line in enumerate(text.splitlines(), 1):
        if start is None and re.match(r"[A-Za-z].*\)\s*\{$", line):
            start, title = number, line
        elif start is not None and line.startswith("}"):
            yield title, number - start + 1
            start = None


def cython_functions(text):
    title, start, last = None, 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*(def|cdef|cpdef)\b.*[:(,]$", line):
            if title:
                yield title, last - start + 1
            title, start = line.strip(), number
        elif title and re.match(r"\S", line) and not line.startswith(("#", ")")):
            yield title, last - start + 1
            title = None
        if line.strip():
            last = number


@pytest.mark.parametrize("path", CODE, ids=name)
def test_functions_stay_short(path):
    reader = {".py": python_functions, ".pyx": cython_functions, ".pxi": cython_functions, ".pxd": cython_functions}
    for title, lines in reader.get(path.suffix, c_functions)(path.read_text()):
        key = f"{name(path)}:{title}"
        assert lines <= LONGER_FUNCTIONS.get(key, LINES_A_FUNCTION), key


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources("pyengine/**/*.py"), ids=name)
def test_imports_point_down(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    for module in imports_of(path):
        parts = module.split(".")
        if parts[0] == "pyengine" and len(parts) > 1 and parts[1] in FLOORS:
            assert FLOORS[parts[1]] <= FLOORS[own], f"{name(path)} imports {module}"


def test_kernels_are_pure():
    for path in sources("csrc/kernels/*", "csrc/simd/*", "csrc/isa/*"):
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
        for word in ("malloc", "free", "pthread", "errno", "printf", "pe_alloc", "pe_parallel_for", "Python.h"):
            assert not re.search(rf"\b{word}\b", text), f"{name(path)}: {word}"
        for line in text.splitlines():
            if re.match(r"static (?!const|inline|PE_INLINE)[\w ]+\**\w+(\[.*\])?( =|;)", line):
                raise AssertionError(f"{name(path)}: a variable that changes: {line}")


def test_floor_2_has_no_intrinsics_and_no_python():
    allowed = {"cpu.c", "fpstate.h", "pool.h", "pool.c", "pool_worker.c"}  # the machine itself: cpuid, FP state, pause
    for path in sources("csrc/*.[ch]"):
        text = path.read_text()
        assert "Python.h" not in text, name(path)
        if path.name not in allowed:
            assert not re.search(r"immintrin|arm_neon|_mm\d*_|__m(128|256|512)|\b_tile_|simd/", text), name(path)


def test_core_uses_neither_numpy_c_api_nor_memoryviews():
    for path in sources("pyengine/_core/*.px[id]", "pyengine/_core/*.pyx"):
        text = path.read_text()
        assert "cimport numpy" not in text
        assert not re.search(r"\b(float|double|int\w*)\s*\[:", text), name(path)


# Where a sum of products may grow, and why. Everything else goes through the tile.
ACCUMULATING = {
    "gemm_tile.inc": "the tile",
    "gemm.inc": "one row against a matrix: lanes run over outputs, no panel is worth packing",
    "int4.inc": "the tile of four-bit weights, which it turns into floats in registers",
    "reduce.inc": "sums of squares",
    "softmax.inc": "the sum of g y in the backward pass",
    "attention.inc": "what a row's gradient and its output have in common: two vectors",
    "norm.inc": "the variance of a row, and the sums of its backward pass",
    "batch_norm.inc": "the variance of a channel, and the sums of its backward pass",
    "optim.def": "the optimizer's own formula",
    "depthwise.inc": "a channel that meets one channel: a chain over the taps alone, with no second operand to share",
    "depthwise_slide.inc": "the same chains: one vector of the image meets all windows it is in",
}


# The same for instructions that multiply words of bytes or pairs and add them up.
DOTS = {
    "dot.h": "their vocabulary: v_dot",
    "amx.inc": "the tile of bytes and of pairs in tile registers, whose instructions name registers and no values",
}


def test_one_tile():
    """An FMA whose result goes back into its own addend is a sum of products: the tile's work."""
    for path in sources("csrc/kernels/*"):
        if re.search(r"(\w[\w\[\]]*) = v_fma\([^;]*, \1\)", path.read_text()):
            assert path.name in ACCUMULATING, name(path)
    for path in sources("csrc/**/*.[ch]", "csrc/kernels/*.inc"):
        if re.search(r"_tile_dp\w+\(|_dpb\w+\(", path.read_text()):
            assert path.name in DOTS, name(path)


def test_table_is_ops_is_reference():
    """Each forward row of the table has a documented function in ops and a line in the reference."""
    rows = {row["name"] for row in _core.elementwise_rows() if "_backward" not in row["name"]}
    known = {**reference.UNARY, **reference.BINARY, **reference.COMPARE, **reference.TEST, **reference.LOGICAL,
             **reference.CHOICE}  # fmt: skip
    assert rows == set(known)
    for row in rows - {"identity", "zero"}:
        assert getattr(ops, row).__doc__, row
    for op in [*reference.REDUCTION, *reference.STRUCTURED]:
        assert getattr(ops, op).__doc__, op


def test_every_public_function_is_documented():
    import pyengine

    for key in dir(pyengine):
        value = getattr(pyengine, key)
        if not key.startswith("_") and callable(value) and getattr(value, "__module__", "").startswith("pyengine"):
            assert value.__doc__, key
    header = "".join(path.read_text() for path in HEADERS)
    assert len(re.findall(r"^PE_API", header, re.M)) > 30


def test_extension_exports_only_the_public_interface():
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm (binutils) is not installed")
    command = [nm, "-D", "--defined-only", _core._core.__file__]
    listing = subprocess.run(command, capture_output=True, text=True, check=True)
    symbols = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines()}
    public = set(re.findall(r"\b(pe_\w+)\(", "".join(path.read_text() for path in HEADERS)))
    assert symbols <= public | {"PyInit__core"}, symbols - public


def test_import_is_light():
    """Nothing heavy and no thread at import: NumPy itself comes at its first use."""
    code = (
        "import sys, os, pyengine\n"
        "heavy = {'numpy', 'tqdm', 'safetensors', 'matplotlib', 'argparse', 'scipy', 'pyengine.nn', 'pyengine.train'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert len(os.listdir('/proc/self/task')) == 1 if os.path.isdir('/proc/self/task') else True\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_project_speaks_of_itself_alone():
    pattern = re.compile(r"(^|[^\w.$])/(work|root|home|opt|farm)/\w|https?://[^\s)\"]*(/simple|/pool/)")
    for path in [*CODE, *sources("*.md", "docs/**/*.md", "*.toml", ".ci/*")]:
        if path.is_file() and path != Path(__file__):
            match = pattern.search(path.read_text())
            assert match is None, f"{name(path)}: {match}"
