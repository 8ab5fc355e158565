"""Kernels touch what they are given and nothing beside it: every array begins or ends at a page without access, at
each length around the vectors', on every level. (Products, images and recurrences: tests/c, by guarded.h.)"""

import os
import subprocess
import sys

import pytest
from levels import runnable_levels
from require import require

GUARDED = """
import ctypes, faulthandler, mmap, sys
faulthandler.enable()
import numpy as np
import pyengine as pe
from pyengine import _core, nn, optim

PAGE = mmap.PAGESIZE
protect = ctypes.CDLL(None, use_errno=True).mprotect
rng = np.random.default_rng(0)


def guarded(values):
    '''The values at the very end (or start) of memory that is followed (or led) by a page without access.'''
    values = np.ascontiguousarray(values)
    inside = max(1, -(-values.nbytes // PAGE)) * PAGE
    memory = mmap.mmap(-1, inside + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for wall in (start, start + PAGE + inside):
        assert protect(ctypes.c_void_p(wall), ctypes.c_size_t(PAGE), 0) == 0
    first = PAGE if at_start else PAGE + inside - values.nbytes
    array = np.frombuffer(memory, values.dtype, values.size, first).reshape(values.shape)
    array[...] = values
    return pe.from_numpy(array)


def floats(*shape):
    return guarded(rng.uniform(0.1, 0.9, shape).astype(np.float32))


def integers(below, *shape):
    return guarded(rng.integers(0, below, shape))


def rows_of_the_table(n):
    for row in _core.elementwise_rows():
        if "_backward" in row["name"] or row["name"].startswith("logical"):
            continue
        if row["name"] != "where":
            _core.elementwise(row["op"], *(floats(n) for _ in range(row["inputs"])))
            _core.elementwise(row["op"], *(floats(3, n)[:, ::2] for _ in range(row["inputs"])))
    flags = [guarded(rng.integers(0, 2, n).astype(bool)) for _ in range(2)]
    pe.where(flags[0], floats(n), floats(n)), pe.logical_and(*flags), pe.logical_not(flags[0])
    floats(n).relu_().add_(floats(n)).mul_(2.0)


def reductions(n):
    for x in (floats(n), floats(3, n), floats(n, 5), floats(2, n, 3)):
        for axis in (None, 0, -1):
            for f in (pe.sum, pe.mean, pe.prod, pe.amax, pe.amin):
                f(x, axis)
        x.argmax(0), x.argmin(-1), x.norm(), x.var(-1), x.cumsum(-1), x.sort(-1), x.all(), x.count_nonzero()


def rows(n):
    for x in (floats(3, n), floats(n, 3)):
        x.requires_grad_()
        weight, bias = floats(x.shape[1]).requires_grad_(), floats(x.shape[1]).requires_grad_()
        f = nn.functional
        target = integers(x.shape[1], x.shape[0])
        for y in (f.softmax(x, -1), f.softmax(x, 0), f.log_softmax(x, -1), f.cross_entropy(x, target),
                  f.layer_norm(x, (x.shape[1],), weight, bias), f.rms_norm(x, (x.shape[1],), weight),
                  f.batch_norm(x, None, None, weight, bias, training=True) if len(x) > 1 else x,
                  f.mse_loss(x, floats(*x.shape)), f.dropout(x, 0.5)):
            (y * y).sum().backward()


def copies(n):
    for dtype in ("float64", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool"):
        made = floats(n).to(dtype)
        made.float()
        if dtype != "bfloat16":  # which no NumPy array can be: tests/c has it at such pages
            guarded(made.numpy()).float()
            guarded(np.zeros(n, made.numpy().dtype)).copy_(floats(n))
    floats(n).copy_(pe.tensor(1.0)), floats(3, n).T.contiguous(), floats(n).flip(0), floats(n, 3).copy_(floats(3, n).T)
    pe.cat([floats(n), floats(3)]), floats(n)[::2].clone()


def draws(n):
    generator = pe.Generator(1)
    floats(n).uniform_(generator=generator), floats(n).normal_(generator=generator)
    floats(n).bernoulli(generator=generator)


def places(n):
    weight, index = floats(n, 5).requires_grad_(), integers(n, 7)
    f = nn.functional
    f.embedding(index, weight).sum().backward()
    f.embedding_bag(index, weight, integers(1, 1)).sum().backward()
    floats(5, n)[:, index.numpy()], weight.detach().gather(0, integers(n, 3, 5))
    floats(n, 5).index_add_(0, index, floats(7, 5)), floats(n, 5).scatter_(0, integers(n, 3, 5), floats(3, 5))
    pe.quantize_dynamic(floats(3, n))
    pe.quantized_linear(floats(3, n), pe.QuantizedWeight.from_float(floats(5, n)), floats(5))
    pe.quantized_linear(floats(3, 64), pe.QuantizedWeight.from_float(floats(n, 64), bits=4), floats(n))
    pe.int8_matmul(guarded(rng.integers(0, 255, (3, n)).astype(np.uint8)), guarded(np.ones((n, 5), np.int8)))
    if n % 2 == 0:
        pe.rotary_embedding(floats(2, 3, n), floats(3, n // 2), floats(3, n // 2))


def steps(n):
    for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.Lion, optim.RMSprop, optim.Adagrad, optim.NAdam, optim.RAdam,
                 optim.Adamax, optim.Adadelta, optim.Rprop, optim.ASGD):
        p = floats(n).requires_grad_()
        p.grad = floats(n)
        kind([p], lr=0.01).step()
    nn.utils.clip_grad_norm_([p], 0.1)
    momentum = optim.SGD([p], lr=0.1, momentum=0.9, nesterov=True)
    momentum.step(), momentum.step()


calls = 0
for at_start in (False, True):
    for n in [*range(1, 36), 47, 48, 49, 63, 64, 65, 66, 127, 128, 129, 1023, 1025]:
        for family in (rows_of_the_table, reductions, rows, copies, draws, places, steps):
            print(family.__name__, n, at_start, file=sys.stderr)  # the last line tells what crashed
            family(n)
            calls += 1
print(calls, _core.machine_info()["isa"])
"""


def run(code, level):
    require("linux", sys.platform == "linux", "mprotect is called by its name in glibc")
    environment = {**os.environ, "PYENGINE_ISA": level}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("level", runnable_levels())
def test_nothing_beside_it_is_touched(level):
    done = run(GUARDED, level)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["658", level]


@pytest.mark.parametrize("at_start", [False, True])
def test_the_walls_are_there(at_start):
    """A byte too far is a death."""
    beside = "floats(5).numpy().ctypes.data + (-1 if at_start else 20)"
    code = GUARDED.partition("calls = 0")[0] + f"at_start = {at_start}; ctypes.string_at({beside}, 1)"
    assert run(code, "generic").returncode < 0
