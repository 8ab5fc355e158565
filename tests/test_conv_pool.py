"""Convolution and pooling against loops in float64."""

from itertools import product

import numpy as np
import pytest
from test_own_kernels import no_numpy_arithmetic  # noqa: F401 (a fixture)

import pyengine as pe
import pyengine.nn.functional as F
from pyengine import _core, nn
from pyengine.ops.strided_windows import sum_windows, windows

LENGTHS = {1: (7,), 2: (5, 6), 3: (4, 3, 5)}
OPTIONS = [
    {}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2}, {"groups": 2}, {"padding": "same", "dilation": 2},
]  # fmt: skip


def numbers(shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def convolved(x, w, stride=1, padding=0, dilation=1, groups=1):
    """The sums of a convolution, one output at a time."""
    n = w.ndim - 2
    reach = [dilation * (k - 1) for k in w.shape[2:]]
    pads = [(r // 2, r - r // 2) if padding == "same" else (padding, padding) for r in reach]
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *pads])
    places = [(length - r - 1) // stride + 1 for length, r in zip(x.shape[2:], reach, strict=True)]
    out = np.zeros((x.shape[0], w.shape[0], *places))
    inputs, outputs = w.shape[1], w.shape[0] // groups
    for o, place in product(range(w.shape[0]), product(*map(range, places))):
        group = slice(o // outputs * inputs, (o // outputs + 1) * inputs)
        window = tuple(slice(i * stride, i * stride + r + 1, dilation) for i, r in zip(place, reach, strict=True))
        seen = x[(slice(None), group, *window)]
        out[(slice(None), o, *place)] = (seen * w[o]).sum(axis=tuple(range(1, n + 2)))
    return out


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_convolution(n, options):
    groups = options.get("groups", 1)
    x, w, b = numbers((2, 4, *LENGTHS[n])), numbers((6, 4 // groups, *(3, 2, 2)[:n]), 1), numbers((6,), 2)
    leaves = [pe.tensor(v).requires_grad_() for v in (x, w, b)]
    out = getattr(F, f"conv{n}d")(*leaves, **options)
    expected = convolved(x, w, **options) + b.reshape(-1, *[1] * n)
    np.testing.assert_allclose(out.detach().numpy(), expected, 1e-5, 1e-5)
    # the output is linear in input and weight: a gradient is the change along a direction
    upper = numbers(out.shape, 3)
    (out * pe.tensor(upper)).sum().backward()
    dx, dw = numbers(x.shape, 4), numbers(w.shape, 5)
    for leaf, step, change in (
        (leaves[0], dx, convolved(dx, w, **options)),
        (leaves[1], dw, convolved(x, dw, **options)),
    ):
        np.testing.assert_allclose((leaf.grad.numpy() * step).sum(), (change * upper).sum(), 1e-4, 1e-3)
    np.testing.assert_allclose(leaves[2].grad.numpy(), np.moveaxis(upper, 1, 0).reshape(6, -1).sum(1), 1e-4, 1e-4)


@pytest.mark.parametrize(
    "options", ({}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2, "stride": 3}), ids=str
)
@pytest.mark.parametrize("n", (1, 2, 3))
def test_transposed_is_the_transpose(n, options):
    """<conv(x), y> = <x, conv_transpose(y)>, and a length that a stride lost comes back as output_padding."""
    groups, stride = options.get("groups", 1), options.get("stride", 1)
    x, w = numbers((2, 4, *(9,) * n)), numbers((6, 4 // groups, *(3,) * n), 1)
    forth = convolved(x, w, **options)
    y = numbers(forth.shape, 2)
    reach = options.get("dilation", 1) * 2 + 1
    lost = (9 + 2 * options.get("padding", 0) - reach) % stride
    back = getattr(F, f"conv_transpose{n}d")(pe.tensor(y), pe.tensor(w), output_padding=lost, **options)
    assert back.shape == x.shape
    np.testing.assert_allclose((back.numpy() * x).sum(), (forth * y).sum(), 1e-3, 1e-2)


def test_room_behind_the_last_window():
    """output_padding at least as large as the stride: the gradient must not see one window more."""
    x, w = pe.tensor(numbers((1, 2, 4))).requires_grad_(), pe.tensor(numbers((2, 3, 3), 1))
    F.conv_transpose1d(x, w, stride=1, dilation=3, output_padding=2).sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[0, :, 0], w.numpy().sum((1, 2)), 1e-5)


def test_windows_are_a_view():
    x = pe.arange(10).float()
    seen = windows(x, (3,), (2,), (2,))
    assert seen.tolist() == [[0, 2, 4], [2, 4, 6], [4, 6, 8]]
    assert seen.data_ptr == x.data_ptr
    assert sum_windows(pe.ones(3, 3), (10,), (2,), (2,)).tolist() == [1, 0, 2, 0, 3, 0, 2, 0, 1, 0]
    for sizes, steps, spacings, error in (
        ((0,), (1,), (1,), ValueError), ((1,), (0,), (1,), ValueError), ((11,), (1,), (1,), RuntimeError),
        ((2,), (1,), (1 << 62,), RuntimeError), ((1 << 62,), (1,), (1 << 62,), RuntimeError),
        ((2, 2), (1, 1), (1, 1), ValueError),
    ):  # fmt: skip
        with pytest.raises(error):
            _core.windows(x, sizes, steps, spacings)
    assert _core.windows(x, (1,), (1 << 62,), (1 << 62,)).tolist() == [[0.0]]


def pooled(x, size, stride, reduce):
    """reduce over each window, one at a time."""
    n = x.ndim - 2
    places = [(length - size) // stride + 1 for length in x.shape[2:]]
    out = np.zeros((*x.shape[:2], *places))
    for place in product(*map(range, places)):
        window = tuple(slice(i * stride, i * stride + size) for i in place)
        out[(slice(None), slice(None), *place)] = reduce(
            x[(slice(None), slice(None), *window)], axis=tuple(range(2, n + 2))
        )
    return out


@pytest.mark.parametrize("size, stride", ((2, 2), (3, 1), (2, 3)))
@pytest.mark.parametrize("n", (1, 2, 3))
def test_pooling(n, size, stride):
    x = numbers((2, 3, *LENGTHS[n]))
    for kind, reduce in (("max", np.max), ("avg", np.mean)):
        leaf = pe.tensor(x).requires_grad_()
        out = getattr(F, f"{kind}_pool{n}d")(leaf, size, stride)
        np.testing.assert_allclose(out.detach().numpy(), pooled(x.astype(np.float64), size, stride, reduce), 1e-6, 1e-6)
        out.sum().backward()
        assert leaf.grad.sum().item() == pytest.approx(out.numel(), rel=1e-5)
    values, indices = getattr(F, f"max_pool{n}d")(pe.tensor(x), size, stride, return_indices=True)
    taken = np.take_along_axis(x.reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), -1)
    assert indices.dtype is pe.int64 and (taken == values.numpy().reshape(2, 3, -1)).all()


def test_max_pool_gives_the_gradient_to_the_first_maximum():
    x = pe.zeros(1, 1, 4, requires_grad=True)
    F.max_pool1d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[1.0, 0.0, 1.0, 0.0]]]
    nan = pe.tensor([[float("nan"), 1.0, 2.0, float("-inf")]])
    assert np.isnan(F.max_pool1d(nan, 2).numpy()[0, 0]) and F.max_pool1d(nan, 2)[0, 1].item() == 2.0


def test_adaptive_parts_overlap():
    x = pe.tensor([[1.0, 5.0, 2.0, 4.0, 3.0]], requires_grad=True)
    assert F.adaptive_avg_pool1d(x, 3).tolist() == [[3.0, pytest.approx(11 / 3), 3.5]]
    values, indices = F.adaptive_max_pool1d(x, 3, return_indices=True)
    assert (values.tolist(), indices.tolist()) == ([[5.0, 5.0, 4.0]], [[1, 1, 3]])
    values.sum().backward()
    assert x.grad.tolist() == [[0.0, 2.0, 0.0, 1.0, 0.0]]


def test_unpool_and_its_errors():
    x = pe.tensor(numbers((2, 3, 6))).requires_grad_()
    values, indices = F.max_pool1d(x, 2, return_indices=True)
    out = F.max_unpool1d(values, indices, 2)
    assert ((out.detach().numpy() == x.detach().numpy()).sum(-1) == 3).all()
    with pytest.raises(ValueError, match="output_size"):
        F.max_unpool1d(values, indices, 2, output_size=(20,))
    with pytest.raises(RuntimeError, match="indices"):
        F.max_unpool1d(values, indices + 10, 2)


LAYERS = [
    nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 3, 2, groups=3), nn.ConvTranspose2d(3, 2, 3, stride=2), nn.MaxPool2d(2),
    nn.AvgPool2d(3, padding=1, count_include_pad=False), nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool2d(4),
    nn.AdaptiveMaxPool2d(3), nn.LPPool2d(2, 2),
]  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_on_our_kernels(layer, request):
    x = pe.tensor(numbers((2, 3, 6, 6))).requires_grad_()
    request.getfixturevalue("no_numpy_arithmetic")
    layer(x).sum().backward()
    assert x.grad is not None and all(p.grad is not None for p in layer.parameters())


def test_a_small_network_learns():
    """Two classes of images, bars across and bars down."""
    rng = np.random.default_rng(0)
    images = rng.normal(0, 0.3, (64, 1, 8, 8)).astype(np.float32)
    labels = np.arange(64) % 2
    for image, label in zip(images, labels, strict=True):
        line = rng.integers(1, 7)
        image[0, line, :] += label
        image[0, :, line] += 1 - label
    pe.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))  # fmt: skip
    optimizer = pe.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(40):
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(model(pe.tensor(images)), pe.tensor(labels))
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
