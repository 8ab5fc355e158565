"""Garbage at every public function and method: whatever comes in, at worst an exception comes out, and its text says
what was called. A crash would end the test run. PYENGINE_GARBAGE=N draws N calls of each function."""

import inspect
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyengine as pe
from pyengine.nn import functional, init

EXAMPLES = int(os.environ.get("PYENGINE_GARBAGE", "6"))

# they act on the process or on files, or wait
LEFT_ALONE = {
    "set_num_threads", "set_memory_cap", "set_flush_denormal", "manual_seed", "train", "get_include", "show_config",
    "set_grad_enabled", "num_threads", "trim", "default_generator",
}  # fmt: skip
ALLOWED = (ValueError, TypeError, IndexError, KeyError, RuntimeError, OverflowError, MemoryError, AttributeError,
           NotImplementedError, ZeroDivisionError)  # fmt: skip


def public(module):
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if not name.startswith("_") and name not in LEFT_ALONE and callable(value) and not inspect.isclass(value):
            yield f"{module.__name__.rpartition('.')[2]}.{name}", value


def methods():
    for name in sorted(dir(pe.Tensor)):
        if not name.startswith("__") and name not in LEFT_ALONE and callable(getattr(pe.Tensor, name)):
            yield f"Tensor.{name}", getattr(pe.Tensor, name)


CALLS = dict([*public(pe), *public(functional), *public(init), *methods()])

SHAPES = [(), (0,), (1,), (3,), (2, 3), (3, 2), (0, 3), (2, 0, 2), (1, 1, 1), (2, 3, 4), (2, 3, 4, 4), (1, 2, 1, 2, 1)]
TYPES = ["float32", "float32", "float32", "float64", "int64", "int8", "uint8", "bool", "bfloat16"]


def tensor(shape, dtype, special, grad, turned):
    values = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    if special and values.size and dtype in ("float32", "float64"):
        values.reshape(-1)[0] = special
    x = pe.tensor(values).to(dtype)
    if turned and x.ndim > 1:
        x = x.transpose(0, -1)
    return x.requires_grad_() if grad and dtype == "float32" and x.is_leaf else x


tensors = st.builds(
    tensor, st.sampled_from(SHAPES), st.sampled_from(TYPES), st.sampled_from([None, float("nan"), float("inf"), 1e38]),
    st.booleans(), st.booleans(),
)  # fmt: skip
integers = st.sampled_from([-(2**63), -3, -2, -1, 0, 1, 2, 3, 5, 2**62, 2**64])
scalars = st.one_of(
    integers, st.sampled_from([0.0, 0.5, -1.5, float("nan"), float("inf"), 1e300, None, True, False, "mean", "sum", "",
                               "reflect", 1j, b"x", object])
)  # fmt: skip
anything = st.one_of(
    tensors, tensors, scalars, st.lists(integers, max_size=4), st.tuples(integers, integers),
    st.lists(tensors, max_size=3), st.builds(lambda x: x.detach().float().numpy(), tensors), st.just({}),
    st.sampled_from(list(map(pe._core.dtype_of, ("float32", "int64", "bool")))), st.just(slice(None)),
)  # fmt: skip


@pytest.mark.parametrize("name", sorted(CALLS))
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_but_exceptions(name, data):
    arguments = data.draw(st.lists(anything, max_size=4))
    first = data.draw(tensors)
    try:
        with np.errstate(all="ignore"):
            out = CALLS[name](first, *arguments)
            if isinstance(out, pe.Tensor) and out.requires_grad:
                out.sum().backward()
    except ALLOWED as error:
        assert not isinstance(error, (TypeError, ValueError, IndexError)) or str(error)
    finally:
        pe.set_grad_enabled(True)
