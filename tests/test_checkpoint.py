"""Recomputation, saved tensors in another form, and anomaly mode."""

import weakref

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn
from pyengine.autograd import Function, gradgradcheck
from pyengine.autograd.graph import saved_tensors_hooks
from pyengine.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def leaf(*values):
    return pe.tensor(list(values), requires_grad=True)


# ---- checkpoints -----------------------------------------------------------------


def block():
    pe.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 4), nn.Tanh())


def gradients(net, run):
    x = pe.ones(5, 4, requires_grad=True)
    pe.manual_seed(9)
    run(x).square().sum().backward()
    found = [x.grad.tolist(), *[p.grad.tolist() for p in net.parameters()]]
    net.zero_grad()
    return found


def test_checkpoint_gives_the_same_bits_and_keeps_less():
    net = block()
    plain = gradients(net, net)
    kept, calls = [], []
    net[1].register_forward_hook(lambda m, a, y: calls.append(1) or kept.append(weakref.ref(y)))
    alive = []

    def run(x):
        y = checkpoint(net, x)
        alive.append(kept[-1]() is not None)
        pe.rand(3)  # draws in between do not disturb the repetition
        return y

    assert gradients(net, run) == plain
    assert alive == [False] and len(calls) == 2
    assert gradients(net, lambda x: checkpoint_sequential(net, 2, x)) == plain


def test_checkpoint_works_with_grad_and_twice():
    x = leaf(0.3, 0.7)

    def f(x):
        return (x.sin() * x).exp()

    y = checkpoint(f, x * 1.0).sum()
    (first,) = pe.grad(y, x, create_graph=True)
    (second,) = pe.grad(first.sum(), x)
    z = f(x).sum()
    (a,) = pe.grad(z, x, create_graph=True)
    assert first.tolist() == a.tolist() and second.tolist() == pe.grad(a.sum(), x)[0].tolist()
    assert gradgradcheck(lambda x: checkpoint(f, x), x)


def test_nested_checkpoints_and_retained_graphs():
    x = leaf(0.3, 0.7)
    y = checkpoint(lambda x: checkpoint(lambda x: x.exp() * x, x * 2.0).sin(), x).sum()
    y.backward(retain_graph=True)
    once = x.grad.tolist()
    y.backward()
    np.testing.assert_allclose(x.grad.tolist(), 2 * np.array(once), rtol=1e-6)
    b = np.array([0.6, 1.4])
    np.testing.assert_allclose(once, 2 * np.cos(np.exp(b) * b) * np.exp(b) * (b + 1), rtol=1e-5)


def test_checkpoint_notices_another_second_run():
    sizes = iter((2.0, 3.0))
    x = leaf(1.0, 2.0)

    def unsteady(x):
        return x.exp() * 2.0 if next(sizes) == 2.0 else x[:1].exp() * 2.0

    with pytest.raises(CheckpointError, match="the same both times"):
        checkpoint(unsteady, x * 1.0).sum().backward()
    with pytest.raises(TypeError, match="callable"):
        checkpoint(3)
    with pytest.raises(ValueError, match="segments"):
        checkpoint_sequential([pe.sin], 2, x)


def test_saved_tensors_hooks():
    x, packed = leaf(1.0, 2.0), []

    def pack(t):
        packed.append(t.tolist())
        return t.tolist()

    with saved_tensors_hooks(pack, pe.tensor):
        y = (x * 2.0).exp() * 3.0
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 6 * np.exp([2.0, 4.0]), rtol=1e-6)
    assert len(packed) >= 1
    with saved_tensors_hooks(lambda t: 1, lambda n: n):
        y = (x * 2.0).exp()
    with pytest.raises(TypeError, match="unpack hook returned int"):
        y.sum().backward()


# ---- anomaly mode ----------------------------------------------------------------


def test_anomaly_mode_names_the_operation_and_the_place():
    x = leaf(0.0, 4.0)
    with pe.autograd.detect_anomaly():
        assert pe.autograd.is_anomaly_enabled()
        y = (x.sqrt() * pe.tensor([0.0, 1.0])).sum()  # the line to be named
        with pytest.raises(RuntimeError, match="'sqrt' returned nan") as error:
            y.backward()
    assert "the line to be named" in str(error.value) and not pe.autograd.is_anomaly_enabled()
    (x.sqrt() * pe.tensor([0.0, 1.0])).sum().backward()
    assert np.isnan(x.grad.numpy()[0])
    with pe.autograd.set_detect_anomaly(True, check_nan=False):
        assert not pe.autograd.is_anomaly_check_nan_enabled()
        (x.sqrt() * pe.tensor([0.0, 1.0])).sum().backward()


def test_anomaly_mode_sees_what_linear_adds_and_functions():
    layer = nn.Linear(2, 2)
    layer(pe.ones(1, 2)).sum().backward()
    with pe.autograd.detect_anomaly():
        y = layer(pe.tensor([[float("nan"), 1.0]]))
        with pytest.raises(RuntimeError, match="'linear' returned nan values in its 1th"):
            y.sum().backward()
        with pytest.raises(RuntimeError, match="BadBackward"):
            Bad.apply(leaf(1.0)).backward()


class Bad(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, g):
        return g * float("nan")
