"""Activations against float64 NumPy: values, slopes by finite differences, in place, and what they refuse."""

import numpy as np
import pytest
import reference as ref
from scipy import special

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


# name -> (function, formula, kinks)
CASES = {
    "relu6": (F.relu6, lambda x: np.clip(x, 0, 6), (0, 6)),
    "hardtanh": (F.hardtanh, lambda x: np.clip(x, -1, 1), (-1, 1)),
    "hardtanh_wide": (lambda x: F.hardtanh(x, -0.5, 2.0), lambda x: np.clip(x, -0.5, 2), (-0.5, 2)),
    "hardsigmoid": (F.hardsigmoid, lambda x: np.clip(x + 3, 0, 6) / 6, (-3, 3)),
    "hardswish": (F.hardswish, lambda x: x * np.clip(x + 3, 0, 6) / 6, (-3, 3)),
    "hardshrink": (lambda x: F.hardshrink(x, 0.7), lambda x: np.where(np.abs(x) <= 0.7, 0, x), (-0.7, 0.7)),
    "softshrink": (F.softshrink, lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0), (-0.5, 0.5)),
    "tanhshrink": (F.tanhshrink, lambda x: x - np.tanh(x), ()),
    "softsign": (F.softsign, lambda x: x / (1 + np.abs(x)), (0,)),
    "mish": (F.mish, lambda x: x * np.tanh(np.logaddexp(0, x)), ()),
    "selu": (F.selu, lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772), (0,)),
    "celu": (lambda x: F.celu(x, 1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0) / 1.5)), (0,)),
    "threshold": (lambda x: F.threshold(x, 0.4, -2.0), lambda x: np.where(x > 0.4, x, -2.0), (0.4,)),
    "rrelu": (F.rrelu, lambda x: np.where(x > 0, x, x * (1 / 8 + 1 / 3) / 2), (0,)),
    "softplus": (lambda x: F.softplus(x, 2.0), lambda x: np.logaddexp(0, 2 * x) / 2, ()),
}


def inputs(kinks, shape=(7, 33)):
    x = np.random.default_rng(0).uniform(-5, 8, shape)
    for kink in kinks:
        x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
    return x.astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_values_and_slopes(name):
    function, formula, kinks = CASES[name]
    x = inputs(kinks)
    t = pe.tensor(x, requires_grad=True)
    y = function(t)
    np.testing.assert_allclose(y.detach().numpy(), formula(x.astype(np.float64)), rtol=4e-6, atol=2e-6)
    y.sum().backward()
    np.testing.assert_allclose(t.grad.numpy(), ref.slope(formula, [x.astype(np.float64)], 0), rtol=2e-5, atol=2e-5)


IN_PLACE = (F.relu, F.relu6, F.hardtanh, F.hardsigmoid, F.hardswish, F.mish, F.silu, F.leaky_relu, F.elu, F.selu,
            F.celu, F.rrelu)  # fmt: skip


@pytest.mark.parametrize("function", IN_PLACE, ids=lambda f: f.__name__)
def test_in_place(function):
    x = inputs((0,))
    expected = function(pe.tensor(x)).numpy()
    t = pe.tensor(x)
    assert function(t, inplace=True) is t
    np.testing.assert_array_equal(t.numpy(), expected)
    leaf, other = pe.tensor(x, requires_grad=True), pe.tensor(x, requires_grad=True)
    t = leaf * 1.0
    function(t, inplace=True)  # on the tape: whoever holds t sees the result and its gradient
    np.testing.assert_array_equal(t.detach().numpy(), expected)
    (t * t).sum().backward()
    y = function(other)
    (y * y).sum().backward()
    np.testing.assert_allclose(leaf.grad.numpy(), other.grad.numpy(), rtol=1e-6)
    with pytest.raises(RuntimeError, match="leaf"):
        function(leaf, inplace=True)


def test_prelu_and_glu():
    x = inputs((0,), (2, 3, 4))
    slope = np.array([0.1, 0.2, -0.3], np.float32)
    weight = pe.tensor(slope, requires_grad=True)
    y = F.prelu(pe.tensor(x), weight)
    np.testing.assert_allclose(y.detach().numpy(), np.where(x > 0, x, x * slope[:, None]), rtol=1e-6)
    y.sum().backward()
    np.testing.assert_allclose(weight.grad.numpy(), np.minimum(x, 0).sum((0, 2)), rtol=1e-5)
    gated = F.glu(pe.tensor(x), 2)
    np.testing.assert_allclose(gated.numpy(), x[..., :2] * special.expit(x[..., 2:].astype(float)), rtol=1e-5)


def test_softmaxes():
    x = inputs((), (2, 3, 4, 5))
    np.testing.assert_allclose(nn.Softmax2d()(pe.tensor(x)).numpy(), special.softmax(x, 1), rtol=2e-5)
    np.testing.assert_allclose(F.softmin(pe.tensor(x), 2).numpy(), special.softmax(-x, 2), rtol=2e-5)
    np.testing.assert_allclose(F.softmax(pe.tensor(x[0])).numpy(), special.softmax(x[0], 0), rtol=2e-5)
    assert F.log_softmax(pe.tensor(x), 1, dtype=pe.float64).dtype is pe.float64


def test_gumbel_softmax_samples_the_distribution():
    pe.manual_seed(3)
    p = np.array([0.1, 0.2, 0.3, 0.4])
    logits = pe.tensor(np.tile(np.log(p), (20000, 1)).astype(np.float32), requires_grad=True)
    drawn = F.gumbel_softmax(logits, tau=0.5, hard=True)
    np.testing.assert_allclose(drawn.detach().numpy().mean(0), p, atol=0.015)
    np.testing.assert_allclose(np.sort(drawn.detach().numpy(), 1)[:, -1], 1, atol=1e-6)
    (drawn * pe.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert np.abs(logits.grad.numpy()).max() > 0


def test_rrelu_draws_between_its_bounds():
    y = F.rrelu(pe.full((1000,), -1.0), 0.25, 0.5, training=True).numpy()
    assert -0.5 <= y.min() < -0.45 and -0.3 < y.max() <= -0.25


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: F.glu(x, 1), RuntimeError),
        (lambda x: F.glu(x, 5), IndexError),
        (lambda x: F.celu(x, 0.0), RuntimeError),
        (lambda x: F.softshrink(x, -1.0), RuntimeError),
        (lambda x: F.hardtanh(x, 1.0, 0.0), ValueError),
        (lambda x: F.prelu(x, pe.zeros(2)), RuntimeError),
        (lambda x: F.mish([1.0]), TypeError),
        (lambda x: nn.Softmax2d()(x), ValueError),
    ],
)
def test_what_is_refused(call, error):
    with pytest.raises(error):
        call(pe.zeros(2, 3))
