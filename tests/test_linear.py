"""linear and addmm: what follows the product and its gradients against float64; gradients that are added to .grad
in place. (Packed weights: test_packed.py.)"""

import itertools

import numpy as np
import pytest
import reference as ref

import pyengine as pe
from pyengine import nn

ACTIVATIONS = [None, "relu", "relu6", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus"]


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def bits(x):
    return x.detach().numpy().tobytes()


# ---- what follows the product ------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 7), (0, 7), (3, 0)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fused_has_the_bits_of_the_steps(shape, activation):
    x, w, b = pe.tensor(values(*shape)), pe.tensor(values(9, shape[-1])), pe.tensor(values(9))
    residual = pe.tensor(values(*shape[:-1], 9, seed=1))
    for bias, extra in itertools.product((None, b), (None, residual)):
        steps = pe.linear(x, w, bias)
        steps = steps if activation is None else getattr(pe, activation)(steps)
        steps = steps if extra is None else steps + extra
        fused = pe.linear(x, w, bias, activation, extra)
        assert fused.shape == (*shape[:-1], 9)
        assert bits(fused) == bits(steps)
        recorded = pe.linear(x.clone().requires_grad_(), w, bias, activation, extra)
        assert recorded.requires_grad
        assert bits(recorded) == bits(steps)


def check_gradients(tensors, out, function):
    """<gradient, direction> against the difference quotient of function in float64."""
    rng = np.random.default_rng(3)
    wide = [t.detach().numpy().astype(np.float64) for t in tensors]
    np.testing.assert_allclose(out.detach().numpy(), function(*wide), rtol=1e-5, atol=1e-5)
    u = rng.normal(size=out.shape).astype(np.float32)
    (out * pe.tensor(u)).sum().backward()
    for i, x in enumerate(tensors):
        direction = rng.normal(size=x.shape)
        up, down = list(wide), list(wide)
        up[i], down[i] = wide[i] + 1e-6 * direction, wide[i] - 1e-6 * direction
        slope = np.sum(u * (function(*up) - function(*down))) / 2e-6
        assert np.sum(x.grad.numpy() * direction) == pytest.approx(slope, rel=2e-4, abs=2e-4)


@pytest.mark.parametrize("lead", [(4,), (2, 3)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
def test_gradients_by_random_projection(lead, activation, with_residual):
    arrays = [values(*lead, 7), values(5, 7), values(5)] + [values(*lead, 5)] * with_residual
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    f = ref.UNARY[activation] if activation else lambda z: z

    def function(x, w, b, r=0.0):
        return f(x @ w.T + b) + r

    out = pe.linear(*tensors[:3], activation, *tensors[3:])
    check_gradients(tensors, out, function)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu"])
def test_second_order(activation):
    """create_graph through the fused call gives what it gives through the steps."""
    seconds = []
    for fused in (True, False):
        x, w = pe.tensor(values(3, 4), requires_grad=True), pe.tensor(values(5, 4), requires_grad=True)
        out = pe.linear(x, w, None, activation) if fused else getattr(pe, activation)(pe.linear(x, w))
        (first,) = pe.grad(out.sum(), x, create_graph=True)
        seconds.append(pe.grad((first * first).sum(), [x, w]))
    for a, b in zip(*seconds, strict=True):
        assert np.abs(a.numpy()).max() > 1e-3
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_output_written_in_place_is_refused():
    x = pe.tensor(values(3, 4), requires_grad=True)
    out = pe.linear(x, pe.tensor(values(5, 4)), None, "tanh")
    with pe.no_grad():
        out.detach().zero_()
    with pytest.raises(RuntimeError, match="linear: its output"):
        out.sum().backward()


@pytest.mark.parametrize("beta", [0.0, 1.0, -0.5])
@pytest.mark.parametrize("alpha", [1.0, 2.5])
@pytest.mark.parametrize("shape", [(4, 5), (5,), (4, 1), (1, 1), ()])
def test_addmm(beta, alpha, shape):
    arrays = values(*shape), values(4, 7), values(7, 5)
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = pe.addmm(*tensors, beta=beta, alpha=alpha)
    check_gradients(tensors, out, lambda i, a, b: beta * i + alpha * (a @ b))


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (3, 1, 5), (1,)])
def test_baddbmm(shape):
    arrays = values(*shape), values(3, 4, 7), values(3, 7, 5)
    tensors = [pe.tensor(a, requires_grad=True) for a in arrays]
    out = tensors[0].baddbmm(*tensors[1:], beta=0.5, alpha=-2)
    check_gradients(tensors, out, lambda i, a, b: 0.5 * i - 2 * (a @ b))


def test_beta_0_leaves_input_out():
    out = pe.addmm(pe.full((2, 2), float("nan")), pe.ones(2, 3), pe.ones(3, 2), beta=0)
    assert out.tolist() == [[3.0, 3.0], [3.0, 3.0]]


# ---- gradients onto gradients ------------------------------------------------------


def two_passes(hold):
    """The weight's gradient after two backward passes; hold: somebody else sees the first one."""
    layer, x = nn.Linear(40, 30), pe.tensor(values(2, 6, 40))
    with pe.no_grad():
        layer.weight.copy_(values(30, 40))
    held = []
    layer(x).square().sum().backward()
    first = layer.weight.grad.numpy().copy()
    if hold:
        held.append(layer.weight.grad)
    address = layer.weight.grad.data_ptr
    layer(x).square().sum().backward()
    if hold:
        assert held[0].numpy().tobytes() == first.tobytes()  # who holds a gradient keeps it
    return layer.weight.grad, address, first, x, layer


def test_second_backward_adds_in_place():
    grad, address, first, x, layer = two_passes(hold=False)
    assert grad.data_ptr == address
    np.testing.assert_allclose(grad.numpy(), 2 * first, rtol=1e-5, atol=1e-4)
    assert grad.version == 1
    # what is documented: the chain of each element starts at .grad's element
    g = 2 * (pe.matmul(x, layer.weight.detach().T) + layer.bias.detach())
    a, b = g.reshape(12, 30), x.reshape(12, 40)
    chain = pe.tensor(np.concatenate([np.ones((1, 30), np.float32), a.numpy()]))  # 1 * first, then the rest
    for i in (0, 7):
        row = pe.matmul(chain[:, i : i + 1].T, pe.tensor(np.concatenate([first[i : i + 1], b.numpy()])))
        assert bits(row[0]) == bits(grad[i])


def test_leaves_do_not_share_a_gradient():
    a, b = pe.ones(3, requires_grad=True), pe.ones(3, requires_grad=True)
    given = pe.ones(3)
    (a + b).backward(given)
    a.grad.mul_(5.0)
    assert (a.grad.tolist(), b.grad.tolist(), given.tolist()) == ([5.0] * 3, [1.0] * 3, [1.0] * 3)


def test_a_first_gradient_is_not_copied():
    """backward() takes no more memory at its end than the gradients themselves."""
    w, x = pe.tensor(values(512, 512), requires_grad=True), pe.tensor(values(4, 512))
    out = pe.linear(x, w).sum()
    before = pe.memory_stats()["allocations"]
    (expected,) = pe.grad(out, w, retain_graph=True)
    taken = pe.memory_stats()["allocations"] - before
    out.backward()
    assert pe.memory_stats()["allocations"] - before == 2 * taken
    assert bits(w.grad) == bits(expected)


def test_a_gradient_that_others_see_is_not_written():
    grad, address, first, *_ = two_passes(hold=True)
    assert grad.data_ptr != address
    np.testing.assert_allclose(grad.numpy(), 2 * first, rtol=1e-5, atol=1e-4)


def test_gradients_that_are_values_do_not_touch_grad():
    layer, x = nn.Linear(8, 6), pe.tensor(values(4, 8))
    layer(x).sum().backward()
    before = bits(layer.weight.grad)
    pe.grad(layer(x).sum(), layer.weight)
    assert bits(layer.weight.grad) == before
    layer(x).sum().backward(create_graph=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), 3 * np.frombuffer(before, np.float32).reshape(6, 8),
                               rtol=1e-5)  # fmt: skip


def test_a_weight_used_twice():
    w, x = pe.tensor(values(6, 6), requires_grad=True), pe.tensor(values(4, 6))
    for _ in range(2):
        pe.linear(pe.linear(x, w, None, "tanh"), w).sum().backward()
    v = pe.tensor(values(6, 6), requires_grad=True)
    pe.linear(pe.tanh(pe.linear(x, v)), v).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * v.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_accumulated_bits_do_not_depend_on_threads(threads):
    results = []
    for n in (1, threads):
        with pe.num_threads(n):
            w, x = pe.tensor(values(300, 200), requires_grad=True), pe.tensor(values(150, 200))
            for _ in range(3):
                pe.linear(x, w, None, "relu").sum().backward()
            results.append(bits(w.grad))
    assert results[0] == results[1]
