"""What the tape keeps: no tensor that no wanted gradient depends on."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core

ROWS = [
    row
    for row in _core.elementwise_rows()
    if row["inputs"] > 1 and any(op >= 0 for op in row["backward"]) and "_backward" not in row["name"]
]
# their second operand is a slope or a threshold, one number or one a channel: it may be kept for its own gradient
SMALL = {"leaky_relu", "elu", "softshrink", "hardshrink"}


def gradient(row, values, wanted):
    """(gradient by input `wanted` alone, the inputs and the output that were kept for it, None for the others)."""
    tensors = [pe.tensor(value) for value in values]
    tensors[wanted].requires_grad_()
    out = _core.elementwise(row["op"], *tensors)
    kept = out.grad_fn.saved
    out.sum().backward()
    given = tensors[wanted].grad
    return np.zeros(()) if given is None else given.numpy(), kept


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_an_operand_is_kept_only_where_a_gradient_reads_it(row):
    def draw(seed):
        rng = np.random.default_rng(seed)
        return [
            rng.random(64) > 0.5 if dtype == "bool" else rng.uniform(0.2, 2.0, 64).astype(np.float32)
            * (1 if row["name"].startswith("pow") or i == row["inputs"] - 1 else rng.choice([-1, 1], 64))
            for i, dtype in enumerate(row["in_dtypes"])
        ]  # fmt: skip

    values, others = [[np.asarray(v, bool if v.dtype == bool else np.float32) for v in draw(s)] for s in (1, 2)]
    for wanted, op in enumerate(row["backward"][: row["inputs"]]):
        if op < 0 or (wanted == 1 and row["name"] in SMALL):
            continue
        before, kept = gradient(row, values, wanted)
        for j in range(row["inputs"]):
            if kept[j] is None:
                continue
            changed = [*values[:j], others[j], *values[j + 1 :]]
            after, _ = gradient(row, changed, wanted)
            assert not np.array_equal(before, after), f"input {j} is kept for input {wanted}'s gradient for nothing"


def test_a_quotient_by_a_constant_keeps_the_constant_alone():
    x, y = pe.ones(4).requires_grad_(), pe.full((4,), 2.0)
    assert [s is None for s in (x / y).grad_fn.saved] == [True, False, True]
    assert [s is None for s in (y / x).grad_fn.saved] == [False, False, True]
    (slope,) = pe.autograd.grad((y / x).sum(), x, create_graph=True)
    assert pe.autograd.grad(slope.sum(), x)[0].tolist() == [4.0] * 4


CONVOLUTIONS = {
    "conv": lambda x, w, b: pe.nn.functional.conv2d(x, w, b, padding=1),
    "conv_input": lambda x, w, b: pe.nn.functional.conv_transpose2d(x, w, b, padding=1),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_a_convolution_keeps_what_its_wanted_gradients_read(name, wanted):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s).astype(np.float32) for s in ((2, 4, 5, 6), (4, 4, 3, 3), (4,))]

    def gradients(wanted):
        tensors = [pe.tensor(a) for a in arrays]
        for i in wanted:
            tensors[i].requires_grad_()
        y = CONVOLUTIONS[name](*tensors)
        kept = [s is not None for s in y.grad_fn.saved]
        y.pow(2).sum().backward()
        return kept, [None if t.grad is None else t.grad.tolist() for t in tensors]

    kept, found = gradients(wanted)
    assert kept == read_for(wanted)
    assert found == [g if i in wanted else None for i, g in enumerate(gradients((0, 1, 2))[1])]


def read_for(wanted):
    """x is read by the gradient along w, and w by the one along x."""
    return [1 in wanted, 0 in wanted]


def test_the_gradient_of_a_convolutions_gradient_reads_what_it_kept():
    x, w = (pe.randn(*s).requires_grad_() for s in ((1, 2, 4, 4), (2, 2, 3, 3)))
    (along,) = pe.autograd.grad(pe.nn.functional.conv2d(x, w).pow(2).sum(), x, create_graph=True)
    dx, dw = pe.autograd.grad(along.pow(2).sum(), (x, w))
    step = 1e-3
    for t, slope in ((x, dx), (w, dw)):
        at = (0, 1, 1, 1)
        values = []
        for sign in (1, -1):
            near = t.detach().clone()
            near[at] += sign * step
            operands = [(near if u is t else u.detach()).requires_grad_() for u in (x, w)]
            y = pe.nn.functional.conv2d(*operands).pow(2).sum()
            values.append(pe.autograd.grad(y, operands[0])[0].pow(2).sum().item())
        assert np.isclose((values[0] - values[1]) / (2 * step), slope[at].item(), rtol=0.05)
