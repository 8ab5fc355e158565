"""Derivatives of derivatives, and derivatives where the short formula divides by 0."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_is_differentiated_twice(reduction, smoothing):
    """Gradient and Hessian-vector product beside those of the loss written out in log_softmax."""
    rng = np.random.default_rng(0)
    values, way = (pe.from_numpy(rng.normal(size=(5, 4)).astype(np.float32)) for _ in range(2))
    labels = [2, 0, -100, 3, 3]
    target = np.eye(4, dtype=np.float32)[[max(label, 0) for label in labels]] * (1 - smoothing) + smoothing / 4
    target[2] = 0.0
    weight = pe.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) if reduction == "none" else 1.0
    results = []
    for written_out in (False, True):
        x = values.clone().detach().requires_grad_()
        if written_out:
            rows = -(nn.functional.log_softmax(x) * pe.from_numpy(target)).sum(1)
            loss = rows if reduction == "none" else rows.sum() / (4.0 if reduction == "mean" else 1.0)
        else:
            loss = nn.functional.cross_entropy(x, pe.tensor(labels), reduction=reduction, label_smoothing=smoothing)
        (gradient,) = pe.grad((loss * weight).sum(), x, create_graph=True)
        (product,) = pe.grad((gradient * way).sum(), x)
        results.append((gradient.detach().numpy(), product.numpy()))
    for ours, expected in zip(*results, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(results[0][1]).max() > 0.01 and not results[0][1][2].any()


def test_prod_at_zero():
    x = pe.tensor([[2.0, 0.0, 5.0], [0.0, 3.0, 0.0], [2.0, 3.0, 4.0]], requires_grad=True)
    given = pe.tensor([1.0, 1.0, 10.0])
    x.prod(1).backward(given)
    assert x.grad.tolist() == [[0.0, 10.0, 0.0], [0.0, 0.0, 0.0], [120.0, 80.0, 60.0]]
    for dims in (None, (0, 1)):
        y = pe.tensor([[2.0, -0.0], [3.0, 4.0]], requires_grad=True)
        y.prod(dims).backward()
        assert y.grad.tolist() == [[0.0, 24.0], [0.0, 0.0]]
    z = pe.tensor([0.0, 2.0], requires_grad=True)
    (g,) = pe.grad(z.prod(), z, create_graph=True)
    assert pe.grad(g[0], z)[0].tolist() == [0.0, 1.0]


def test_prod_of_nothing_has_a_gradient_of_nothing():
    x = pe.zeros(0, 2, requires_grad=True)
    x.prod(0).sum().backward()
    assert x.grad.shape == (0, 2)
