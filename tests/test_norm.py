"""Normalization against float64: values, gradients, second derivatives, statistics, threads, and refusals."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn

F = nn.functional
AFFINE = ("weight", "bias")


def layer(x, weight=1.0, bias=0.0, eps=1e-5):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def rms(x, weight=1.0, eps=2.0**-23):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def channels(t, x):
    return t.reshape(-1, *[1] * (x.ndim - 2))


def batch(x, weight=None, bias=None):
    axes = (0, *range(2, x.ndim))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5)
    return y if weight is None else y * channels(weight, x) + channels(bias, x)


def group(groups, x, weight, bias):
    y = layer(x.reshape(len(x), groups, -1)).reshape(x.shape)
    return y * channels(weight, x) + channels(bias, x)


def response(x, size=3, alpha=0.5, beta=0.75, k=1.0):
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        low, high = max(c - size // 2, 0), c + (size - 1) // 2 + 1
        total[:, c] = (x[:, low:high] ** 2).sum(1)
    return x / (k + alpha * total / size) ** beta


# name: our function, the specification, the shapes of its tensors
CASES = {
    "layer": (lambda x, w, b: F.layer_norm(x, (7,), w, b), layer, [(5, 7), (7,), (7,)]),
    "layer plain": (lambda x: F.layer_norm(x, (70,)), layer, [(3, 70)]),
    "layer weight": (lambda x, w: F.layer_norm(x, (70,), w), layer, [(2, 3, 70), (70,)]),
    "rms": (lambda x, w: F.rms_norm(x, (9,), w), rms, [(4, 9), (9,)]),
    "rms plain": (lambda x: F.rms_norm(x, (9,)), rms, [(4, 9)]),
    "batch": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), batch, [(4, 3, 5), (3,), (3,)]),
    "batch plain": (lambda x: F.batch_norm(x, None, None, training=True), batch, [(6, 3)]),
    "group": (lambda x, w, b: F.group_norm(x, 2, w, b), lambda *a: group(2, *a), [(2, 4, 3), (4,), (4,)]),
    "instance": (lambda x, w, b: F.instance_norm(x, None, None, w, b), lambda *a: group(3, *a),
                 [(2, 3, 2, 4), (3,), (3,)]),
    "response": (lambda x: F.local_response_norm(x, 3, 0.5), response, [(2, 5, 4)]),
}  # fmt: skip
cases = pytest.mark.parametrize(("ours", "reference", "shapes"), CASES.values(), ids=CASES)


def draw(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0.4, 1.0, shape).astype(np.float32) for shape in shapes]


def slope(f, arrays, i, direction, step=1e-5):
    up, down = list(arrays), list(arrays)
    up[i], down[i] = arrays[i] + step * direction, arrays[i] - step * direction
    return (f(*up) - f(*down)) / (2 * step)


@cases
def test_values_and_gradients(ours, reference, shapes):
    arrays = draw(shapes)
    exact = [a.astype(np.float64) for a in arrays]
    leaves = [pe.tensor(a).requires_grad_() for a in arrays]
    out = ours(*leaves)
    np.testing.assert_allclose(out.detach().numpy(), reference(*exact), atol=3e-6)
    (weights,) = draw([out.shape], 1)
    (out * pe.tensor(weights)).sum().backward()
    for i, leaf in enumerate(leaves):
        for seed in range(3):
            (direction,) = draw([shapes[i]], 2 + seed)
            expected = slope(lambda *a: (reference(*a) * weights).sum(), exact, i, direction)
            assert (leaf.grad.numpy() * direction).sum() == pytest.approx(expected, rel=2e-5, abs=2e-5), i


@cases
def test_second_derivatives(ours, reference, shapes):
    """Of the sum of cubes, by a Hessian-vector product beside differences of differences."""
    arrays = draw(shapes)
    exact = [a.astype(np.float64) for a in arrays]
    leaves = [pe.tensor(a).requires_grad_() for a in arrays]
    directions, others = draw(shapes, 1), draw(shapes, 2)
    out = ours(*leaves)
    first = pe.grad((out * out * out).sum(), leaves, create_graph=True)
    along = sum((g * pe.tensor(d)).sum() for g, d in zip(first, directions, strict=True))
    second = pe.grad(along, leaves, allow_unused=True)
    got = sum(float((g.numpy() * d).sum()) for g, d in zip(second, others, strict=True) if g is not None)

    def along_both(s, t):
        return (reference(*[a + s * d + t * e for a, d, e in zip(exact, directions, others, strict=True)]) ** 3).sum()

    h = 1e-4
    expected = (along_both(h, h) - along_both(h, -h) - along_both(-h, h) + along_both(-h, -h)) / (4 * h * h)
    assert got == pytest.approx(expected, rel=2e-4, abs=2e-3)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_the_variance_is_taken_about_the_mean(offset):
    """Where E x^2 - (E x)^2 would have lost all digits. The mean itself is rounded to float32: offset 2^-24."""
    x = (np.random.default_rng(0).normal(size=(3, 5000)) + offset).astype(np.float32)
    y = F.layer_norm(pe.tensor(x), (5000,)).numpy()
    np.testing.assert_allclose(y, layer(x.astype(np.float64)), atol=2e-6 + 2 * offset * 2**-24)


def results():
    x, w, b = (pe.tensor(a).requires_grad_() for a in draw([(900, 300), (300,), (300,)]))
    y = F.layer_norm(x, (300,), w, b) * F.rms_norm(x, (300,), w)
    y = y + F.batch_norm(x, None, None, w, b, True) + F.group_norm(x, 3)
    y.square().sum().backward()
    return [t.detach().numpy().tobytes() for t in (y, x.grad, w.grad, b.grad)]


def test_threads_do_not_change_the_bits():
    before = pe.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            pe.set_num_threads(threads)
            found.append(results())
    finally:
        pe.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_only_what_is_asked_for():
    x, w, b = map(pe.tensor, draw([(4, 6), (6,), (6,)]))
    F.layer_norm(x, (6,), w.requires_grad_(), b).sum().backward()
    assert w.grad is not None and b.grad is None and x.grad is None
    assert F.layer_norm(x, (6,), w.detach(), b).requires_grad is False


@pytest.mark.parametrize("momentum", [0.1, 0.4, None])
def test_running_statistics(momentum):
    net = nn.BatchNorm1d(3, momentum=momentum)
    mean, var = np.zeros(3), np.ones(3)
    for step, x in enumerate(draw([(6, 3, 4)] * 4), 1):
        y = net(pe.tensor(x))
        np.testing.assert_allclose(y.detach().numpy(), batch(x.astype(np.float64)), atol=2e-6)
        share = 1 / step if momentum is None else momentum
        mean += share * (x.mean((0, 2)) - mean)
        var += share * (x.var((0, 2), ddof=1) - var)
    np.testing.assert_allclose(net.running_mean.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(net.running_var.numpy(), var, atol=1e-6)
    assert net.num_batches_tracked.item() == 4 and net.num_batches_tracked.dtype == pe.int64
    x = draw([(2, 3)])[0]
    expected = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(net.eval()(pe.tensor(x)).detach().numpy(), expected, atol=2e-6)
    assert net.num_batches_tracked.item() == 4
    net.reset_running_stats()
    assert net.running_mean.tolist() == [0.0] * 3 and net.running_var.tolist() == [1.0] * 3


def test_a_batch_norm_net_learns():
    """Statistics are on the tape: without their share of the gradient the loss does not fall this far."""
    pe.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 1))
    x = pe.tensor(draw([(64, 5)])[0])
    target = x[:, :1] * x[:, 1:2]
    optimizer = pe.optim.Adam(net.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = nn.MSELoss()(net(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


REFUSED = [
    (lambda: F.layer_norm(pe.ones(2, 3), (2,)), RuntimeError, r"layer_norm: input of shape \(2, 3\) .* \(2,\)"),
    (lambda: F.layer_norm(pe.ones(2, 3), 3), TypeError, "normalized_shape must be a tuple of ints, got int"),
    (lambda: F.layer_norm(pe.ones(2, 3, dtype="int64"), (3,)), TypeError, "input must be float32, got int64"),
    (lambda: F.rms_norm(pe.ones(2, 3), (3,), pe.ones(2)), RuntimeError, r"weight of shape \(2,\)"),
    (lambda: F.rms_norm(pe.ones(2, 3), (3,), pe.ones(3, dtype="float64")), TypeError, "weight must be float32"),
    (lambda: F.batch_norm(pe.ones(1, 3), None, None, training=True), ValueError, r"\(1, 3\) holds one value"),
    (lambda: F.batch_norm(pe.ones(2, 3), pe.ones(2), pe.ones(2)), RuntimeError, r"running_mean of shape \(2,\)"),
    (lambda: F.group_norm(pe.ones(2, 6), 4), RuntimeError, r"4 groups do not divide the channels of \(2, 6\)"),
    (lambda: F.instance_norm(pe.ones(2, 3, 1)), ValueError, "one spatial element"),
    (lambda: F.local_response_norm(pe.ones(2, 3), 2), ValueError, "three axes"),
    (lambda: nn.BatchNorm2d(3)(pe.ones(2, 3)), ValueError, r"BatchNorm2d: x of shape \(2, 3\) must have 4 axes"),
    (lambda: nn.InstanceNorm1d(3, affine=True)(pe.ones(2, 4, 5)), ValueError, "num_features = 3"),
    (lambda: nn.LayerNorm(3)(None), TypeError, "layer_norm: input must be a Tensor, got NoneType"),
]


@pytest.mark.parametrize(("call", "error", "text"), REFUSED)
def test_refusals(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_nothing_to_normalize():
    w = pe.ones(3).requires_grad_()
    F.layer_norm(pe.zeros(0, 3), (3,), w).sum().backward()
    assert w.grad.tolist() == [0.0] * 3
    assert F.rms_norm(pe.zeros(3, 0), (0,)).shape == (3, 0)
    assert F.group_norm(pe.zeros(0, 4, 2), 2).shape == (0, 4, 2)
    assert nn.BatchNorm1d(3)(pe.zeros(0, 3)).shape == (0, 3)
