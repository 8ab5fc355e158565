"""Layers, losses and optimizers run on the engine's kernels: with NumPy's arithmetic gone they still work."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, nn, optim
from pyengine.ops import fallback

LAYERS = [nn.ReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(), nn.ELU(),
          nn.Softplus(), nn.Softmax(-1), nn.LogSoftmax(-1), nn.Dropout(0.3), nn.Flatten(), nn.Identity()]  # fmt: skip
LAYERS += [nn.LayerNorm(7), nn.RMSNorm(7), nn.BatchNorm1d(7), nn.BatchNorm1d(7, momentum=None), nn.GroupNorm(1, 7)]
OPTIMIZERS = [(optim.SGD, {"lr": 0.1, "momentum": 0.9}), (optim.Adam, {}), (optim.AdamW, {}),
              (optim.Lion, {"lr": 1e-3})]  # fmt: skip


@pytest.fixture
def no_numpy_arithmetic(monkeypatch):
    """Every ufunc and product of NumPy's, and the engine's own way to them, raises."""

    def refuse(*args, **kwargs):
        raise AssertionError("this rests on NumPy's arithmetic")

    for name in dir(np):
        if isinstance(getattr(np, name), np.ufunc) or name in ("dot", "einsum", "tensordot", "sum", "mean", "where"):
            monkeypatch.setattr(np, name, refuse)
    _core.set_fallback("arithmetic", refuse)
    yield
    _core.set_fallback("arithmetic", fallback._arithmetic)


def data():
    rng = np.random.default_rng(0)
    return pe.tensor(rng.normal(size=(8, 6)).astype(np.float32)), pe.tensor(rng.integers(0, 5, 8))


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_layers(layer, request):
    x, target = data()
    request.getfixturevalue("no_numpy_arithmetic")
    model = nn.Sequential(nn.Linear(6, 7), layer, nn.Linear(7, 5))
    nn.CrossEntropyLoss()(model(x), target).backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda v: getattr(v, "__name__", ""))
def test_optimizers_and_mse(kind, options, request):
    x, _ = data()
    request.getfixturevalue("no_numpy_arithmetic")
    model = nn.Linear(6, 6)
    optimizer = kind(model.parameters(), **options)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.MSELoss()(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_the_patch_bites(no_numpy_arithmetic):
    with pytest.raises(AssertionError, match="NumPy's arithmetic"):
        pe.tensor([1, 2]) + pe.tensor([3, 4])


def test_images_and_products(no_numpy_arithmetic):
    f = nn.functional
    x = pe.ones(1, 4, 4, 6, requires_grad=True)
    results = [f.pad(x, (1, 2, 1, 0), "reflect"), f.pad(x, (1, 2, 0, 1), "circular"), f.unfold(x, 3, padding=1),
               f.fold(f.unfold(x, 2), (4, 6), 2), f.pixel_shuffle(x, 2), f.channel_shuffle(x, 2), f.normalize(x),
               f.cosine_similarity(x, x), pe.einsum("bchw,bcxw->chx", x, x), x.tril(), x.flip(3), x.roll(1, 2),
               x.repeat(2, 1, 1, 1), x.masked_fill(x > 0.5, 0.0), *x.chunk(2, 1)]  # fmt: skip
    for mode in ("nearest", "nearest-exact", "area", "bilinear", "bicubic"):
        results.append(f.interpolate(x, (3, 9), mode=mode))
    pe.cat([r.flatten() for r in results]).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("name", ["lenet", "resnet18", "mobilenet_v3_small", "efficientnet_lite0", "unet"])
def test_networks(name, request):
    channels, options = (1, {}) if name == "lenet" else (3, {"width": 2, "depth": 1} if name == "unet" else {})
    x = pe.tensor(np.random.default_rng(0).normal(size=(2, channels, 28, 28)).astype(np.float32))
    model = getattr(pe.models, name)(num_classes=3, **options)
    request.getfixturevalue("no_numpy_arithmetic")
    model(x).square().mean().backward()
    assert all(p.grad is not None for p in model.parameters())
