"""Bad input: an exception of the right type that names the operation, the argument and the shapes; and
garbage, which may raise but never crash. (Files that are corrupt and disks that are full: test_io.py.)"""

import os
import subprocess
import sys

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim

F = np.float32


def ones(*shape, dtype=None):
    return pe.ones(*shape, dtype=dtype)


def labels(*values):
    return pe.tensor(list(values), dtype="int64")


BIG = 2**50  # elements: more than any address space here
SHAPES = [
    (lambda: ones(2, 3) @ ones(2, 3), r"matmul: .*\(2, 3\) and \(2, 3\).*3 columns against 2 rows"),
    (lambda: ones(2, 2, 3) @ ones(3, 3, 4), r"matmul: .*\(2, 2, 3\) and \(3, 3, 4\)"),
    (lambda: ones(3) @ ones(4), r"matmul: .*\(3,\).*\(4,\)|matmul: .*\(1, 3\).*\(4, 1\)"),
    (lambda: pe.matmul(pe.tensor(1.0), ones(2)), r"matmul: both need an axis.*\(\).*\(2,\)"),
    (lambda: pe.linear(ones(2, 3), ones(5, 4)), r"linear: input of shape \(2, 3\).*weight of shape \(5, 4\)"),
    (lambda: pe.linear(ones(2, 3), ones(5, 3), ones(4)), r"linear: bias of shape \(4,\).*weight of shape \(5, 3\)"),
    (lambda: pe.linear(ones(2, 3), ones(5, 3), None, "relu", ones(2, 4)),
     r"linear: residual of shape \(2, 4\) does not fit \(2,\) rows of weight of shape \(5, 3\)"),
    (lambda: pe.linear(ones(2, 3), ones(5, 3), residual=ones(5)), r"linear: residual of shape \(5,\)"),
    (lambda: pe.linear(ones(2, 3), ones(5, 3), activation="swish"),
     r"linear: activation must be None or one of 'relu', .*got 'swish'"),
    (lambda: pe.addmm(ones(3), ones(2, 3), ones(3, 2)), r"expand: shape \(2, 2\) .*shape \(3,\)"),
    (lambda: pe.addmm(ones(2), ones(2, 3), ones(2, 3)), r"addmm: shapes \(2, 3\) and \(2, 3\) do not fit"),
    (lambda: pe.addmm(ones(2), ones(2, 2, 3), ones(3, 2)), r"addmm: mat1 and mat2 need 2 axes, .*\(2, 2, 3\)"),
    (lambda: pe.baddbmm(ones(2), ones(2, 2, 3), ones(1, 3, 2)), r"baddbmm: batches of shapes \(2, 2, 3\) and \(1"),
    (lambda: pe.pack(ones(2, 3, 4)), r"pack: a weight \(out, in\) is needed, got shape \(2, 3, 4\)"),
    (lambda: nn.Linear(3, 5)(ones(2, 4)), r"linear: input of shape \(2, 4\).*weight of shape \(5, 3\)"),
    (lambda: ones(2, 3) + ones(2, 4), r"add: shapes \(2, 3\) and \(2, 4\) do not broadcast \(axis -1\)"),
    (lambda: ones(3, 2).mul_(ones(4)), r"mul: shapes \(3, 2\) and \(4,\)"),
    (lambda: ones(3).add_(ones(2, 3)), r"add_: a result of shape \(2, 3\) does not fit shape \(3,\)"),
    (lambda: pe.where(pe.tensor([True]), ones(2), ones(3)), r"where: shapes \(1,\) and \(2,\) and \(3,\)"),
    (lambda: pe.cross_entropy(ones(2, 3), labels(0, 1, 2)),
     r"cross_entropy: logits of shape \(2, 3\) and target of shape \(3,\)"),
    (lambda: pe.cross_entropy(ones(2, 3, 4), labels(0, 1)), r"cross_entropy: logits of shape \(2, 3, 4\)"),
    (lambda: pe.mse_loss(ones(2, 3), ones(3)), r"mse_loss: input of shape \(2, 3\) and target of shape \(3,\)"),
    (lambda: pe.l1_loss(ones(2), ones(3)), r"l1_loss: input of shape \(2,\) and target of shape \(3,\)"),
    (lambda: pe.cat([ones(2, 3), ones(2, 4)]), r"cat: shapes \(2, 3\) and \(2, 4\) differ beside axis 0"),
    (lambda: pe.stack([ones(2), ones(3)]), r"\(1, 2\) and \(1, 3\)|\(2,\) and \(3,\)"),
    (lambda: pe.cat([]), r"cat: at least one"),
    (lambda: ones(2, 3).reshape(4), r"reshape: shape \(4,\) does not fit 6 elements of shape \(2, 3\)"),
    (lambda: ones(2, 3).reshape(-1, 4), r"reshape: shape \(-1, 4\)"),
    (lambda: ones(2, 3).reshape(-1, -1), r"reshape: invalid shape \(-1, -1\)"),
    (lambda: ones(0).reshape(-1, 0), r"reshape: shape \(-1, 0\)"),
    (lambda: ones(2, 3).T.view(6), r"view: shape \(6,\) is no view of shape \(3, 2\) with strides \(1, 3\)"),
    (lambda: ones(2, 3).expand(4, 3), r"expand: shape \(4, 3\) does not extend shape \(2, 3\) at axis 0"),
    (lambda: ones(2, 3).expand(3), r"expand: shape \(3,\) does not extend shape \(2, 3\)"),
    (lambda: ones(2, 3).permute(0), r"permute: dims \(0,\) must name each axis of shape \(2, 3\)"),
    (lambda: ones(2, 3).permute(1, 1), r"permute: dims \(1, 1\) name axis 1 twice"),
    (lambda: pe.sum(ones(2), (0, -1)), r"sum: axis 0 is named twice"),
    (lambda: ones(2, 2).flatten(1, 0), r"flatten: .*shape \(2, 2\)"),
    (lambda: ones(2, 2, 2).t(), r"t: at most 2 axes, got shape \(2, 2, 2\)"),
    (lambda: ones(3).__setitem__(0, [1, 2]), r"\(2,\) does not broadcast to out of shape \(\)"),
    (lambda: ones(3).copy_(ones(2)), r"copy: .*\(2,\).*\(3,\)"),
    (lambda: ones((1,) * 8).unsqueeze(0), r"at most 8 axes"),
    (lambda: ones((1,) * 9), r"ones: at most 8 axes"),
    (lambda: ones(2).item(), r"item: one element needed, got shape \(2,\)"),
    (lambda: bool(ones(2)), r"shape \(2,\) is ambiguous"),
    (lambda: pe.tensor([[1], [1, 2]]), "inhomogeneous"),
]  # fmt: skip
EMPTY = [
    (lambda: pe.amax(ones(0)), r"amax: axis 0 of .*\(0,\) has no elements"),
    (lambda: pe.amin(ones(3, 0), 1), r"amin: axis 1 of .*\(3, 0\) has no elements"),
    (lambda: pe.argmax(ones(0)), r"argmax: axis 0 of .*\(0,\) has no elements"),
    (lambda: ones(2, 0).argmin(1), r"axis 1 of .*\(2, 0\) has no elements"),
]
VALUES = [
    (lambda: pe.zeros(-1), r"zeros: sizes must not be negative, got shape \(-1,\)"),
    (lambda: pe.empty(2, -3), r"empty: sizes must not be negative, got shape \(2, -3\)"),
    (lambda: pe.rand(-2), r"sizes must not be negative, got shape \(-2,\)"),
    (lambda: pe.full((2, -1), 1.0), r"full: sizes must not be negative"),
    (lambda: pe.eye(-1), r"eye: sizes must not be negative, got -1"),
    (lambda: pe.randperm(-1), r"randperm: n must not be negative, got -1"),
    (lambda: pe.arange(1, 2, 0), r"arange: step must not be 0"),
    (lambda: pe.dropout(ones(2), 1.5), r"dropout: p must be 0 to 1, got 1\.5"),
    (lambda: pe.dropout(ones(2), float("nan")), r"dropout: p must be 0 to 1, got nan"),
    (lambda: ones(2).normal_(0.0, -1.0), r"normal_: std must not be negative, got -1"),
    (lambda: pe.cross_entropy(ones(1, 2), labels(0), reduction="best"), r"cross_entropy: reduction .*'best'"),
    (lambda: pe.cross_entropy(ones(1, 2), labels(0), label_smoothing=2.0), r"label_smoothing must be 0 to 1, got 2"),
    (lambda: pe.mse_loss(ones(1), ones(1), "best"), r"mse_loss: reduction .*'best'"),
    (lambda: pe.set_num_threads(0), r"set_num_threads: n must be 1 to 256, got 0"),
    (lambda: pe.set_memory_cap(-1), r"set_memory_cap: cap must not be negative, got -1"),
    (lambda: nn.Linear(-1, 2), r"negative|got -1"),
    (lambda: nn.Dropout(2.0), r"p must be"),
    (lambda: nn.LPPool1d(0, 2)(ones(1, 1, 4)), r"lp_pool1d: norm_type must not be 0"),
    (lambda: optim.SGD([ones(2)], lr=-1.0), r"lr.*-1"),
    (lambda: optim.SGD([], lr=1.0), r"SGD: no parameters"),
]  # fmt: skip
TYPES = [
    (lambda: pe.softmax(ones(2, dtype="int64")), r"softmax: input must be float32, got int64 of shape \(2,\)"),
    (lambda: pe.softmax(ones(2, dtype="float64")), r"softmax: input must be float32, got float64"),
    (lambda: ones(2, 2, dtype="float64") @ ones(2, 2), r"matmul: the first operand must be float32, got float64"),
    (lambda: ones(2, 2) @ ones(2, 2, dtype="int32"), r"matmul: the second operand must be float32, got int32"),
    (lambda: pe.linear(ones(2, 2), ones(2, 2, dtype="float16")), r"linear: weight must be float32, got float16"),
    (lambda: pe.linear(ones(2, 2), ones(2, 2), residual=ones(2, 2, dtype="int64")),
     r"linear: residual must be float32 as the input, got int64"),
    (lambda: pe.addmm(ones(2, dtype="int64"), ones(2, 2), ones(2, 2)), r"addmm: input must be float32, got int64"),
    (lambda: pe.addmm(None, ones(2, 2), ones(2, 2)), r"addmm: input must be a Tensor, got NoneType"),
    (lambda: pe.pack(ones(2, 2, dtype="float64")), r"pack: weight must be float32, got float64"),
    (lambda: pe.cross_entropy(ones(2, 3), pe.tensor([0.0, float("nan")])),
     r"cross_entropy: target must hold integer labels, got float32 of shape \(2,\)"),
    (lambda: pe.cross_entropy(ones(2, 3), [0, 1]), r"cross_entropy: target must be a Tensor, got list"),
    (lambda: pe.cross_entropy(None, labels(0)), r"cross_entropy: input must be a Tensor, got NoneType"),
    (lambda: pe.cat([ones(2), ones(2, dtype="int8")]), r"cat: dtypes float32 and int8 differ"),
    (lambda: pe.cat([ones(2), None]), r"cat: x must be a Tensor, got NoneType"),
    (lambda: ones(2, dtype="int64").uniform_(), r"uniform_: the tensor must be float32, got int64"),
    (lambda: pe.dropout(ones(2, dtype="int8")), r"dropout: input must be float32, got int8"),
    (lambda: pe.zeros(2, requires_grad=True, dtype="int64"), r"requires_grad_: float32 tensors only, got int64"),
    (lambda: pe.zeros(2, dtype="complex64"), r"unknown dtype 'complex64'.*float32"),
    (lambda: pe.zeros("abc"), r"zeros: sizes must be integers, got 'abc'"),
    (lambda: pe.zeros(2.5), r"zeros: sizes must be integers, got 2\.5"),
    (lambda: pe.zeros(None), r"zeros: sizes must be integers, got None"),
    (lambda: ones(4).reshape(2.0, 2), r"reshape: sizes must be integers, got 2\.0"),
    (lambda: ones(4).expand("4"), r"expand: sizes must be integers, got '4'"),
    (lambda: pe.sum(ones(2), "a"), r"sum: an axis must be an integer, got 'a'"),
    (lambda: pe.mean(ones(2), 0.5), r"mean: an axis must be an integer, got 0\.5"),
    (lambda: ones(2, 2).transpose(0, None), r"transpose: an axis must be an integer, got None"),
    (lambda: ones(2, 1).squeeze("1"), r"squeeze: an axis must be an integer, got '1'"),
    (lambda: pe.neg("abc"), r"neg: numbers are needed, got str"),
    (lambda: pe.neg(["abc"]), r"neg: numbers are needed, got list of <U3"),
    (lambda: pe.add(ones(2), None), r"add: numbers are needed, got NoneType"),
    (lambda: pe.add(ones(2), {}), r"add: numbers are needed, got dict"),
    (lambda: ones(2) + None, r"unsupported operand"),
    (lambda: ones(2).relu_(1.0, 2.0), r"relu: 1 inputs needed, got 3"),
    (lambda: ones(2).add_(), r"add: 2 inputs needed, got 1"),
    (lambda: pe.grad(ones(1), [None]), r"grad: inputs must be Tensors, got NoneType"),
    (lambda: ones(2) @ "abc", r"matmul: numbers are needed, got str|unsupported operand"),
    (lambda: pe.tensor(None), r"tensor: numbers are needed, got NoneType"),
    (lambda: pe.tensor({"a": 1}), r"tensor: numbers are needed, got dict"),
    (lambda: pe.tensor([1j]), r"tensor: numbers are needed, got list of complex128"),
    (lambda: ones(3)["a"], r"index: indices must be integers or bool"),
    (lambda: ones(3)[1.5], r"index: indices must be integers or bool"),
    (lambda: pe.softmax(None), r"softmax: x must be a Tensor, got NoneType"),
    (lambda: pe.linear(None, ones(2, 2)), r"linear: input must be a Tensor, got NoneType"),
    (lambda: pe.linear(ones(2, 2), None), r"linear: weight must be a Tensor, got NoneType"),
    *((lambda name=name, rest=rest: getattr(pe, name)(None, *rest), rf"{name}: x must be a Tensor, got NoneType")
      for name, rest in (("reshape", (2,)), ("view", (2,)), ("permute", (0,)), ("transpose", (0, 1)),
                         ("expand", (2,)), ("clone", ()), ("dropout", ()))),
    (lambda: optim.SGD(ones(2), lr=0.1), r"SGD: params must be an iterable"),
    (lambda: optim.SGD([None], lr=0.1), r"SGD: parameter 0 is no Tensor but NoneType"),
    (lambda: pe.from_numpy(None), r"from_numpy: an array is needed, got NoneType"),
]  # fmt: skip
INDICES = [
    (lambda: pe.cross_entropy(ones(3, 4), labels(0, 4, 1)), r"cross_entropy: target\[1\] is 4, the logits have 4"),
    (lambda: pe.cross_entropy(ones(1, 4), labels(-1)), r"cross_entropy: target\[0\] is -1"),
    (lambda: pe.cross_entropy(ones(1, 4), labels(2**62)), r"cross_entropy: target\[0\] is 4611686018427387904"),
    (lambda: nn.CrossEntropyLoss()(ones(1, 4), labels(9)), r"cross_entropy: target\[0\] is 9"),
    (lambda: pe.sum(ones(2, 2), 2), r"sum: axis 2 is out of range for 2 axes"),
    (lambda: pe.softmax(ones(2, 2), 5), r"axis 5 is out of range"),
    (lambda: pe.softmax(ones(2, 2), 2**70), r"axis \d+ is out of range"),
    (lambda: ones(2).argmax(-2), r"argmax: axis -2 is out of range"),
    (lambda: ones(2).size(1), r"size: axis 1 is out of range"),
    (lambda: ones(2).unsqueeze(3), r"unsqueeze: axis 3 is out of range for shape \(2,\)"),
    (lambda: pe.cat([ones(2)], 1), r"cat: axis 1 is out of range for shape \(2,\)"),
    (lambda: ones(2)[2], r"index 2 is out of range for axis 0 of shape \(2,\)"),
    (lambda: ones(2)[0, 0], r"index: 2 indices for shape \(2,\)"),
    (lambda: ones(2)[pe.tensor([5])], r"index 5 is out of bounds for axis 0 with size 2"),
]
HUGE = [
    (lambda: pe.empty(BIG), r"no memory for \d+ bytes"),
    (lambda: pe.zeros(2**62), r"zeros: shape \(4611686018427387904,\) is too large"),
    (lambda: pe.zeros(2**31, 2**31), r"no memory|too large"),
    (lambda: pe.zeros(2**70), r"zeros: a size of \d+ is too large"),
    (lambda: pe.randn(BIG, BIG), r"too large"),
    (lambda: ones(1).expand(2**40, 2**40), r"expand: shape \(1099511627776, 1099511627776\) is too large"),
    (lambda: ones(1).expand(BIG) + 1.0, r"no memory for \d+ bytes"),
    (lambda: ones(1, 1).expand(2**30, 1) @ ones(1, 1).expand(1, 2**30), r"no memory for \d+ bytes"),
    (lambda: pe.cat([ones(1).expand(2**61), ones(1).expand(2**61)]), r"too large|no memory"),
]
ZERO = [  # what divides by it in torch
    (lambda: nn.GroupNorm(0, 4), r"GroupNorm: num_groups must be at least 1, got 0"),
]
TABLE = [(*row, error) for rows, error in (
    (SHAPES, ValueError), (EMPTY, ValueError), (VALUES, ValueError), (TYPES, TypeError), (INDICES, IndexError),
    (HUGE, MemoryError), (ZERO, ZeroDivisionError),
) for row in rows]  # fmt: skip


@pytest.mark.parametrize(("call", "text", "error"), TABLE, ids=[row[1][:50] for row in TABLE])
def test_message(call, text, error):
    used = pe.memory_stats()["in_use"]
    with pytest.raises(error, match=text):
        call()
    assert pe.memory_stats()["in_use"] - used < 4096  # what the call had made is given back


def test_nothing_is_written_when_a_call_fails():
    x = ones(3)
    version = x.version
    for call in (lambda: x.add_(ones(4)), lambda: x.copy_(ones(2)), lambda: x.__setitem__(0, "a"),
                 lambda: x.__setitem__(5, 1.0), lambda: x.pow_(None)):  # fmt: skip
        with pytest.raises((ValueError, TypeError, IndexError)):
            call()
    assert x.tolist() == [1.0] * 3
    assert x.version == version


def test_zero_size_is_no_error_where_it_has_a_meaning():
    x = ones(0, 3)
    assert (x + 1.0).shape == (0, 3)
    assert x.sum().item() == 0.0
    assert x.sum(0).tolist() == [0.0] * 3
    assert np.isnan(x.mean().item())
    assert pe.softmax(x).shape == (0, 3)
    assert (x @ ones(3, 2)).shape == (0, 2)
    assert (ones(2, 0) @ ones(0, 2)).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert pe.linear(x, ones(5, 3), ones(5)).shape == (0, 5)
    assert pe.cross_entropy(x, labels(), reduction="sum").item() == 0.0
    w = pe.tensor(np.ones((3, 5), F), requires_grad=True)
    (x @ w).sum().backward()
    assert not w.grad.numpy().any()


def test_labels_are_checked_before_anything_is_lost():
    """A bad label in a large batch: found whichever thread meets it, and named by its place."""
    n = 50_000
    target = np.zeros(n, np.int64)
    target[n - 7] = 10
    logits = pe.tensor(np.zeros((n, 10), F), requires_grad=True)
    with pytest.raises(IndexError, match=rf"target\[{n - 7}\] is 10, the logits have 10 classes"):
        pe.cross_entropy(logits, pe.from_numpy(target))
    target[n - 7] = -100  # the ignored label
    assert pe.cross_entropy(logits, pe.from_numpy(target)).item() == pytest.approx(np.log(10.0))


# ---- garbage ----------------------------------------------------------------------------

SWEEP = """
import faulthandler, random, resource, sys, warnings
faulthandler.enable()
resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))  # a flood of memory is an error too
warnings.simplefilter("ignore")
import numpy as np
import pyengine as pe
from pyengine import _core, nn, ops

random.seed(int(sys.argv[1]))
sys.setrecursionlimit(300)
readonly = np.ones(3, np.float32)
readonly.flags.writeable = False

# Sizes are either small or beyond all memory: what lies between would only be slow.
MAKERS = [
    lambda: None, lambda: "abc", lambda: ["a", "b"], lambda: {"a": 1}, lambda: object(), lambda: float, lambda: b"xy",
    lambda: True, lambda: 0, lambda: 1, lambda: -1, lambda: 2, lambda: 7, lambda: -9, lambda: 2**50, lambda: -(2**50),
    lambda: 2**62, lambda: 2**63 - 1, lambda: -(2**63), lambda: 2**70, lambda: 1.5, lambda: -0.0, lambda: float("nan"),
    lambda: float("inf"), lambda: 1e300, lambda: 1j, lambda: (), lambda: [], lambda: (2, 3), lambda: [3, 2],
    lambda: (-1,), lambda: (0, -1), lambda: (1,) * 9, lambda: (2**62, 2**62), lambda: (2**32, 2**32), lambda: (0, 0),
    lambda: slice(None), lambda: Ellipsis, lambda: "float32", lambda: pe.int8, lambda: np.float64(2),
    lambda: pe.ones(3), lambda: pe.ones(2, 3), lambda: pe.ones(3, 2), lambda: pe.ones(()), lambda: pe.ones(0),
    lambda: pe.ones(0, 3), lambda: pe.ones(2, 3, 4), lambda: pe.ones((1,) * 8), lambda: pe.ones(2, 3).T,
    lambda: pe.ones(4, 6)[::-2, 1::3], lambda: pe.ones(1).expand(3), lambda: pe.ones(3, requires_grad=True),
    lambda: pe.ones(2, 3, requires_grad=True) * 2, lambda: pe.tensor([0, 1, 2]), lambda: pe.tensor([-5, 99, 2**40]),
    lambda: pe.tensor([True, False, True]), lambda: pe.ones(3, dtype="float64"), lambda: pe.ones(3, dtype="float16"),
    lambda: pe.ones(2, 3, dtype="bfloat16"), lambda: pe.ones(3, dtype="int8"), lambda: pe.from_numpy(readonly),
    lambda: pe.full((3,), float("nan")), lambda: pe.Generator(3),
    lambda: np.ones(3), lambda: np.ones((2, 3), np.float32), lambda: np.array(["a"]), lambda: np.zeros(2, "O"),
    lambda: np.zeros(2, ">f4"), lambda: np.zeros(0, np.float32), lambda: [pe.ones(2), pe.ones(2)], lambda: [None],
    lambda: [pe.ones(2), None], lambda: pe.ones, lambda: range(3), lambda: iter([1, 2]),
]
NORMAL = (TypeError, ValueError, IndexError, RuntimeError, OverflowError, MemoryError, BufferError, KeyError,
          ZeroDivisionError, AssertionError)

functions = {name: getattr(pe, name) for name in ops.__all__}
for name in nn.functional.__all__:
    functions["functional." + name] = getattr(nn.functional, name)
for name in ("tensor", "as_tensor", "from_numpy", "from_dlpack", "grad", "manual_seed", "Generator", "num_threads",
             "set_memory_cap", "set_num_threads"):
    functions[name] = getattr(pe, name)
methods = [name for name in dir(pe.Tensor) if not name.startswith("__")]
methods += ["__getitem__", "__setitem__", "__add__", "__rsub__", "__pow__", "__iadd__", "__imul__", "__matmul__",
            "__rmatmul__", "__eq__", "__lt__", "__and__", "__invert__", "__deepcopy__", "__dlpack__", "__len__",
            "__bool__", "__iter__", "__repr__", "__reduce__", "__index__", "__float__"]
for name in methods:
    value = getattr(pe.Tensor, name)
    if callable(value):
        functions["Tensor." + name] = value
for name in ("reduce", "argmax", "reshape", "view", "expand", "permute", "transpose", "sum_to", "linear", "matmul",
             "softmax", "softmax_backward", "layer_norm", "layer_norm_backward", "rms_norm", "rms_norm_backward",
             "rotary", "cross_entropy", "cross_entropy_backward", "dropout", "random_",
             "elementwise", "elementwise_", "copy", "copy_", "full", "empty", "optim_step", "record", "dtype_of"):
    functions["_core." + name] = getattr(_core, name)

threads, cap = pe.get_num_threads(), pe.memory_stats()["cap"]
calls = wrong = 0
for name, function in functions.items():
    for _ in range(int(sys.argv[2])):
        count = random.choice([0, 1, 1, 1, 2, 2, 2, 3, 3, 4])
        arguments = [random.choice(MAKERS)() for _ in range(count)]
        if arguments and (name.startswith("Tensor.") or random.random() < 0.5):
            while not isinstance(arguments[0], pe.Tensor):
                arguments[0] = random.choice(MAKERS)()
        calls += 1
        print(name, file=sys.stderr)  # the last line tells what crashed
        try:
            out = function(*arguments)
            if isinstance(out, pe.Tensor) and out.numel() < 1000:
                repr(out)
                if out.requires_grad and out.numel() == 1:
                    out.backward()
        except NORMAL as error:
            if not str(error) and not isinstance(error, MemoryError):
                wrong += 1
                print(f"{name}{arguments!r:.300}: {type(error).__name__} says nothing")
        except BaseException as error:
            wrong += 1
            print(f"{name}{arguments!r:.300}: {type(error).__name__}: {error}")
        pe.set_num_threads(threads)
        pe.set_memory_cap(cap)
assert pe.ones(100, 100).sum().item() == 10000.0
print(calls, wrong)
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_garbage_raises_and_never_crashes(seed):
    """Every public function, method and binding with random arguments, in a process of its own."""
    rounds = os.environ.get("PYENGINE_GARBAGE_ROUNDS", "60")
    command = [sys.executable, "-c", SWEEP, str(seed), rounds]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stderr[-3000:]
    *complaints, last = result.stdout.splitlines()
    calls, wrong = map(int, last.split())
    assert not complaints, "\n".join(complaints[:20])
    assert wrong == 0
    assert calls > 5000
