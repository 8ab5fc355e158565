"""Transforms beside torchvision's functions and torch.stft, wherever no random number decides."""

import importlib.util

import numpy as np
import pytest
from require import require
from visions import torchvision_part

from pyengine.data import transforms as T

X = np.random.default_rng(0).random((3, 2, 11, 8)).astype("float32")


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


@pytest.fixture(scope="module")
def v2(torch):
    return torchvision_part("transforms.v2")


@pytest.mark.parametrize("size", [1, 4, (5, 3), (11, 8), (12, 8), (14, 13), (3, 9), (20, 4)])
def test_centres(torch, v2, size):
    theirs = v2.CenterCrop(size)(torch.from_numpy(X)).numpy()
    assert np.array_equal(T.CenterCrop(size)(X), theirs)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize("padding", [2, (1, 3), (0, 1, 2, 3)])
def test_padding(torch, v2, mode, padding):
    fill = 0.5 if mode == "constant" else 0
    around = list(padding) if isinstance(padding, tuple) else padding
    theirs = v2.functional.pad(torch.from_numpy(X), around, fill, mode).numpy()
    crop = T.RandomCrop(theirs.shape[2:], padding, fill=fill, padding_mode=mode)  # the only place there is
    assert np.array_equal(crop(X), theirs)
    wide = v2.RandomCrop((14, 6), pad_if_needed=True, fill=fill, padding_mode=mode)(torch.from_numpy(X)).shape
    assert T.RandomCrop((14, 6), pad_if_needed=True, fill=fill, padding_mode=mode)(X).shape == tuple(wide)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("angle", [0, 12.5, -30, 90, 133.3, 180, 270])
def test_rotation(torch, v2, angle, interpolation):
    """Without a fill torchvision reads 0 outside, as we do with fill 0."""
    square = np.ascontiguousarray(X[:, :, :8])
    for images in (square, X) if angle % 90 else (square,):  # half pixels have two nearest ones
        mode = v2.InterpolationMode(interpolation)
        theirs = v2.functional.rotate(torch.from_numpy(images), angle, mode, fill=None).numpy()
        assert np.abs(T.RandomRotation((angle, angle), interpolation)(images) - theirs).max() < 2e-5


def test_pixels_and_mirrors(torch, v2):
    mean, std = [0.2, 0.4], [0.3, 0.6]
    given = torch.from_numpy(X)
    assert np.array_equal(T.Normalize(mean, std)(X), v2.Normalize(mean, std)(given).numpy())
    assert np.array_equal(T.RandomHorizontalFlip(1.0)(X), v2.RandomHorizontalFlip(1.0)(given).numpy())
    assert np.array_equal(T.RandomVerticalFlip(1.0)(X), v2.RandomVerticalFlip(1.0)(given).numpy())


@pytest.mark.parametrize("name", ["MixUp", "CutMix"])
def test_mixed_with_the_neighbour(torch, v2, name):
    """torchvision, given the parameters that ours came to, has its images and labels."""
    labels = np.array([2, 0, 1])
    for _ in range(20):
        ours, shares = getattr(T, name)(alpha=0.7, num_classes=3)(X, labels)
        lam = float(shares[0, 2])
        theirs = getattr(v2, name)(num_classes=3)
        params = {"labels": torch.from_numpy(labels), "batch_size": 3, "lam": lam, "lam_adjusted": lam}
        if name == "CutMix":
            rows, columns = np.nonzero((ours != X).any((0, 1)))
            box = (0, 0, 0, 0)
            if len(rows):
                box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            params["box"] = tuple(map(int, box))
        assert np.allclose(ours, theirs.transform(torch.from_numpy(X), params).numpy(), atol=1e-6)
        assert np.allclose(shares, theirs.transform(params["labels"], params).numpy(), atol=1e-6)


@pytest.mark.parametrize("n_fft, hop, win, center, mode", [
    (64, 16, 64, True, "reflect"), (64, 10, 33, True, "constant"), (51, 17, 40, False, "reflect"),
    (8, 8, 8, True, "edge"),
])  # fmt: skip
def test_short_time_fourier(torch, n_fft, hop, win, center, mode):
    x = np.random.default_rng(1).normal(size=(2, 3, 300)).astype("float32")
    window = T.hann_window(win)
    assert np.allclose(window, torch.hann_window(win).numpy(), atol=1e-7)
    theirs = torch.stft(
        torch.from_numpy(x.reshape(6, 300)), n_fft, hop, win, torch.hann_window(win), center,
        "replicate" if mode == "edge" else mode, return_complex=True,
    ).numpy()  # fmt: skip
    ours = T.stft(x, n_fft, hop, win, window, center, mode)
    assert ours.shape == (2, 3, *theirs.shape[1:]) and ours.dtype == theirs.dtype
    assert np.abs(ours.reshape(theirs.shape) - theirs).max() < 1e-5 * np.abs(theirs).max()
