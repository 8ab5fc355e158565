"""The catalogue of operations that are read at their first use says what their modules hold."""

import subprocess
import sys
from importlib import import_module

import pyengine as pe
from pyengine.ops import _later
from pyengine.ops.catalog import FUNCTIONS, METHODS


def test_functions_live_where_it_says():
    for module, names in FUNCTIONS.items():
        home = import_module(f"pyengine.ops.{module}")
        for name in names.split():
            assert getattr(home, name).__module__ == home.__name__, f"{module}.{name}"
            assert getattr(pe, name) is getattr(home, name) is getattr(pe.ops, name)
        missing = set(getattr(home, "__all__", names.split())) - set(names.split())
        assert not missing or module in ("attention", "heads", "pad"), f"catalog.py lacks {missing} of {module}"


def test_methods_live_where_it_says():
    for module, names in METHODS.items():
        import_module(f"pyengine.ops.{module}")
        for name in names.split():
            assert not hasattr(getattr(pe.Tensor, name), "stands_in"), f"{module} has no method {name}"


FRESH = """
import sys
import pyengine as pe
early = {name for name in sys.modules if name.startswith("pyengine.")}
assert not any(name in early for name in ("pyengine.nn", "pyengine.optim", "pyengine.data")), early
before = {name for name in vars(pe.Tensor)}
from pyengine.ops.catalog import FUNCTIONS, METHODS
read = {name for name in {**FUNCTIONS, **METHODS} if f"pyengine.ops.{name}" in sys.modules}
assert not read - ALLOWED, read
x = pe.tensor([[3.0, 1.0, 2.0]])
assert x.flip(1).tolist() == [[2.0, 1.0, 3.0]] and pe.sort(x).values.tolist() == [[1.0, 2.0, 3.0]]
assert pe.sort is pe.ops.sort and "sort" in dir(pe)
assert x.add_(1.0).tolist() == [[4.0, 2.0, 3.0]]
for name in {**FUNCTIONS, **METHODS}:
    __import__(f"pyengine.ops.{name}")
assert {name for name in vars(pe.Tensor)} == before, {name for name in vars(pe.Tensor)} - before
"""


def test_nothing_is_read_before_its_first_use():
    """And reading all of it gives Tensor no method that it did not stand in for."""
    code = FRESH.replace("ALLOWED", "{'scan'}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_unknown_names():
    for owner in (pe, pe.ops):
        try:
            owner.no_such_operation  # noqa: B018
        except AttributeError as error:
            assert "no_such_operation" in str(error)
        else:
            raise AssertionError("found what is not there")
    assert set(_later.PLACES) <= set(pe.ops.__all__)
