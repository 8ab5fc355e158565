"""Writes pyengine/_core/__init__.pyi: what type checkers and editors know of the compiled module.

    python tests/tools/stubs.py          writes it
    python tests/tools/stubs.py --check  says whether it is what it would write (tests/test_stubs.py asks)

Signatures come from the living objects: methods that ops/ add to Tensor bring theirs, annotations included.
"""

import inspect
import sys
from importlib import import_module
from pathlib import Path

import pyengine as pe
from pyengine import _core
from pyengine.ops.catalog import FUNCTIONS, METHODS

for module in {**FUNCTIONS, **METHODS}:  # their methods take the places of those that stand in for them
    import_module(f"pyengine.ops.{module}")

TARGET = Path(__file__).resolve().parents[2] / "pyengine" / "_core" / "__init__.pyi"
HEAD = '''"""Written by tests/tools/stubs.py from the compiled module; do not edit."""

import builtins
from collections.abc import Iterator
from typing import Any

'''
PROPERTIES = {
    "shape": "tuple[int, ...]", "ndim": "int", "dtype": "dtype", "data_ptr": "int", "grad": "Tensor | None",
    "T": "Tensor", "mT": "Tensor", "requires_grad": "builtins.bool", "is_leaf": "builtins.bool", "nbytes": "int",
    "itemsize": "int", "name": "str", "is_parameter": "builtins.bool", "data": "Tensor",
}  # fmt: skip
RETURNS = {
    "item": "Any", "tolist": "Any", "numel": "int", "dim": "int", "element_size": "int", "stride": "Any",
    "is_contiguous": "builtins.bool", "is_floating_point": "builtins.bool", "backward": "None", "size": "Any",
    "numpy": "Any", "__len__": "int", "__bool__": "builtins.bool", "__int__": "int", "__float__": "builtins.float",
    "__iter__": "Iterator[Tensor]", "__repr__": "str", "__hash__": "int", "__index__": "int",
    "__contains__": "builtins.bool",
}  # fmt: skip
OPERATORS = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift",
)  # fmt: skip
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")
ANNOTATIONS = {"Tensor": "Tensor", "int": "int", "bool": "builtins.bool", "float": "builtins.float", "str": "str",
               "tuple": "tuple[Any, ...]", "None": "None"}  # fmt: skip


def annotation(value):
    """The annotation as the stub writes it; Any for what it does not know."""
    if value is inspect.Parameter.empty:
        return "Any"
    text = value if isinstance(value, str) else getattr(value, "__name__", str(value))
    if value is None:
        return "None"
    parts = [part.strip().rpartition(".")[2] for part in str(text).split("|")]
    return " | ".join(ANNOTATIONS[p] for p in parts) if all(p in ANNOTATIONS for p in parts) else "Any"


def parameter(p):
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    default = " = ..." if p.default is not inspect.Parameter.empty else ""
    return f"{star}{p.name}: {annotation(p.annotation)}{default}"


def arguments(signature, owner):
    """All parameters, the first one of a method as self."""
    listed, out, named = list(signature.parameters.values()), [], False
    if owner:
        out, listed = ["self"], listed[1:]
    for p in listed:
        if p.kind is p.KEYWORD_ONLY and not named and not any(a.startswith("*") for a in out):
            out.append("*")
            named = True
        out.append(parameter(p))
    return ", ".join(out)


def function(name, value, owner=None, indent=""):
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):
        text, returns = ("self, " if owner else "") + "*args: Any, **kwargs: Any", "Any"
    else:
        text, returns = arguments(signature, owner), annotation(signature.return_annotation)
    returns = RETURNS.get(name, returns) if owner else returns
    if owner == "Tensor" and returns == "Any" and name.endswith("_") and not name.startswith("_"):
        returns = "Tensor"
    line = f"{indent}def {name}({text}) -> {returns}: ..."
    return line if len(line) <= 120 else line + "  # noqa: E501"


def operators():
    for name in OPERATORS:
        for prefix in ("", "r"):
            if hasattr(pe.Tensor, f"__{prefix}{name}__"):
                yield f"    def __{prefix}{name}__(self, other: Any) -> Tensor: ..."
    for name in COMPARISONS:
        ignored = "  # type: ignore[override]" if name in ("eq", "ne") else ""
        yield f"    def __{name}__(self, other: Any) -> Tensor: ...{ignored}"
    for name in ("neg", "abs", "invert", "pos"):
        if hasattr(pe.Tensor, f"__{name}__"):
            yield f"    def __{name}__(self) -> Tensor: ..."
    yield "    def __getitem__(self, index: Any) -> Tensor: ..."
    yield "    def __setitem__(self, index: Any, value: Any) -> None: ..."
    for name in ("__len__", "__bool__", "__int__", "__float__", "__iter__", "__hash__"):
        if hasattr(pe.Tensor, name):
            yield f"    def {name}(self) -> {RETURNS[name]}: ..."


def class_lines(name, kind):
    yield f"class {name}:"
    members = [m for m in sorted(vars(kind)) if not m.startswith("_") and m not in ("from_float",)]
    for member in members:
        value = vars(kind)[member]
        if callable(value) and not isinstance(value, (staticmethod, classmethod)):
            yield function(member, value, name, "    ")
        elif isinstance(value, (staticmethod, classmethod)):
            yield f"    @staticmethod\n    def {member}(*args: Any, **kwargs: Any) -> Any: ..."
        else:
            yield f"    {member}: {PROPERTIES.get(member, 'Any')}"
    if name == "Tensor":
        yield from operators()
    if not members:
        yield "    ..."


def text():
    lines = []
    for name in sorted(n for n in dir(_core) if not n.startswith("_")):
        value = getattr(_core, name)
        if inspect.isclass(value):
            lines += ["", *class_lines(name, value), ""]
        elif callable(value):
            lines.append(function(name, value))
        elif not inspect.ismodule(value):
            lines.append(f"{name}: Any")
    return HEAD + "__version__: str\n" + "\n".join(lines) + "\n"


def main(arguments):
    written = TARGET.read_text() if TARGET.exists() else ""
    if "--check" in arguments:
        return 0 if written == text() else 1
    TARGET.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
