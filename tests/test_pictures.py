"""Pictures in: IDX files, Fashion-MNIST and the network that learns it, photographs, moved images."""

import gzip
import struct
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from require import require

import pyengine as pe
from pyengine.cli import main
from pyengine.data import load_fashion_mnist, load_photo, read_idx, shift_flip
from pyengine.io import load_file
from pyengine.train import fit
from pyengine.train.jobs.fashion_mnist import MODELS, FashionMNIST
from pyengine.train.run import train_job

KINDS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def idx(array, kind):
    array = np.asarray(array).astype(KINDS[kind])
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


# ---- IDX -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_idx_types(tmp_path, kind):
    path = tmp_path / "file"
    for content in (idx(np.arange(-3, 3).reshape(1, 2, 3), kind), gzip.compress(idx(np.zeros((0, 2)), kind))):
        path.write_bytes(content)
        array = read_idx(path)
        assert array.dtype == np.dtype(KINDS[kind]).newbyteorder("=") and array.dtype.isnative
        if array.size:
            assert np.array_equal(array, np.arange(-3, 3).astype(KINDS[kind]).reshape(1, 2, 3))


def test_idx_lies_are_named(tmp_path):
    path, whole = tmp_path / "lie-ubyte", idx(np.arange(12).reshape(3, 4), 8)
    packed = gzip.compress(whole)
    cases = {
        b"": "no IDX file", b"\0\0\x07\x01": "no IDX file", b"\0\0\x08\x09": "no IDX file", whole[:9]: "header ends",
        whole[:-1]: "take 12 bytes, the file can hold at most|promises 12 bytes", whole + b"x": "the file has more",
        b"\0\0\x08\x03" + b"\xff" * 12: "the file can hold at most", packed[:-9]: "damaged gzip|promises",
        gzip.compress(b"\0\0\x08\x03" + b"\xff" * 12): "the file can hold at most",
        gzip.compress(whole + bytes(1 << 20)): "the file has more",
        packed[:12] + b"\xff" * 9 + packed[21:]: "damaged gzip",
        gzip.compress(whole[:-3]): "promises 12 bytes of elements, the file has 9",
    }  # fmt: skip
    for content, told in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=told) as caught:
            read_idx(path)
        assert "lie-ubyte" in str(caught.value)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="at most 10"):
        read_idx(path, most_bytes=10)
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "none")


@settings(max_examples=200)
@given(st.binary(max_size=60), st.booleans())
def test_idx_garbage(tmp_path_factory, garbage, packed):
    path = tmp_path_factory.getbasetemp() / "garbage-ubyte"
    for content in (garbage, b"\0\0\x08\1" + garbage):
        path.write_bytes(gzip.compress(content) if packed else content)
        try:
            assert read_idx(path).nbytes <= 60
        except ValueError as error:
            assert "garbage-ubyte" in str(error)


# ---- Fashion-MNIST ---------------------------------------------------------------


@pytest.fixture
def clothes(tmp_path):
    """A folder with files of the data set's form: bright upper halves are class 1, lower ones class 8."""
    rng, folder = np.random.default_rng(0), tmp_path / "clothes"
    folder.mkdir()
    for part, count, pack in (("train", 96, gzip.compress), ("t10k", 32, bytes)):
        labels = rng.integers(0, 2, count) * 7 + 1
        images = rng.integers(0, 60, (count, 28, 28))
        images[labels == 1, :14] += 150
        images[labels == 8, 14:] += 150
        end = ".gz" if pack is gzip.compress else ""
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx(images, 8)))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx(labels, 8)))
    return folder


def test_fashion_mnist_is_read(clothes):
    train, test = load_fashion_mnist(clothes)
    assert train.images.shape == (96, 1, 28, 28) and train.images.dtype == np.float32
    assert test.labels.shape == (32,) and set(test.labels) == {1, 8} and test.labels.dtype == np.int64
    raw = read_idx(clothes / "t10k-images-idx3-ubyte")
    assert np.allclose(test.images[:, 0], (raw / 255 - 0.286) / 0.353, atol=1e-6)
    (clothes / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(32, 10), 8))
    with pytest.raises(ValueError, match="t10k: labels must be bytes below 10"):
        load_fashion_mnist(clothes)
    (clothes / "t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(31), 8))
    with pytest.raises(ValueError, match="with labels of shape \\(31,\\)"):
        load_fashion_mnist(clothes)


def test_train_fashion_mnist(clothes, tmp_path, capsys):
    options = ["--data", str(clothes), "--epochs", "2", "--batch-size", "16", "--lr", "0.003", "--out", str(tmp_path)]
    assert main(["train", "fashion-mnist", *options]) == 0
    text = capsys.readouterr().out
    assert "96 images to learn from, 32 to test" in text and "cnn, 104,426 parameters" in text
    assert text.count("test accuracy") == 3 and "test accuracy 100.00%" in text
    weights = tmp_path / "fashion-mnist-cnn.safetensors"
    assert f"wrote {weights}" in text and sorted(load_file(weights)) == sorted(MODELS["cnn"]().state_dict())


def test_where_fashion_mnist_comes_from_is_told(tmp_path, capsys):
    assert main(["train", "fashion-mnist", "--data", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "apt install dataset-fashion-mnist" in capsys.readouterr().err
    with pytest.raises(ValueError, match="model must be one of cnn, resnet18, got 'vgg'"):
        FashionMNIST(model="vgg")
    assert MODELS["resnet18"]().conv1.weight.shape == (64, 1, 3, 3)


def test_the_rate_rises_and_falls():
    rates = []

    class Seen(pe.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])

    x, y = np.zeros((20, 2), np.float32), np.zeros(20, np.int64)
    layer = pe.nn.Linear(2, 2)
    fit(layer, Seen(layer.parameters(), lr=1.0), (x, y), (x, y), epochs=2, batch_size=2, warmup=0.25, progress=False)
    expected = [*(t / 5 for t in range(1, 6)), *((1 + np.cos(np.pi * t / 15)) / 2 for t in range(15))]
    assert rates == pytest.approx(expected)


# ---- moved images, photographs ---------------------------------------------------


def test_shift_flip_moves_and_mirrors():
    images = pe.arange(2 * 3 * 4 * 5).float().reshape(2, 3, 4, 5)[:1].expand(400, 3, 4, 5)
    moved = shift_flip(images, 1, -1.0, generator=pe.Generator().manual_seed(0)).numpy()
    wide = np.pad(images[0].numpy(), ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    seen = {}
    for image in moved:
        seen[image.tobytes()] = seen.get(image.tobytes(), 0) + 1
    expected = [np.ascontiguousarray(source[:, i : i + 4, j : j + 5]).tobytes()
                for source in (wide, wide[:, :, ::-1]) for i in range(3) for j in range(3)]  # fmt: skip
    assert set(seen) == set(expected) and min(seen.values()) > 5
    again = shift_flip(images, 1, -1.0, generator=pe.Generator().manual_seed(0)).numpy()
    assert np.array_equal(again, moved)
    with pytest.raises(ValueError, match="shift_flip: images"):
        shift_flip(pe.zeros(2, 3, 4))


def test_photographs(tmp_path, monkeypatch):
    try:
        from PIL import Image
    except ImportError:
        require("pillow", False, 'pip install "pyengine[photo]"')
    ramp = np.zeros((80, 120, 3), np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(120), 200
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    x = load_photo(tmp_path / "ramp.png", size=70)  # the centre square is 70 pixels: no resizing
    assert x.shape == (1, 3, 70, 70) and x.dtype == pe.float32
    assert np.allclose(x[0, 0, 5].numpy() * 128 + 127, np.arange(25, 95))
    assert (x[0, 1].numpy() == np.float32(73 / 128)).all()
    assert load_photo(Image.fromarray(ramp[:, :, 0])).shape == (1, 3, 224, 224)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"load_photo: .*no\.png"):
        load_photo(tmp_path / "no.png")
    whole, rng, refused = (tmp_path / "ramp.png").read_bytes(), np.random.default_rng(0), 0
    for place in [*range(0, len(whole), 7), *range(-12, 0)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << rng.integers(8)
        (tmp_path / "damaged.png").write_bytes(damaged[: None if place % 2 else len(whole) - place % 100])
        try:
            assert load_photo(tmp_path / "damaged.png", size=8).shape == (1, 3, 8, 8)
        except ValueError as error:
            assert "damaged.png" in str(error)
            refused += 1
    assert refused > 20
    with pytest.raises(FileNotFoundError):
        load_photo(tmp_path / "none.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pyengine\[photo\]"):
        load_photo(tmp_path / "ramp.png")


def test_weights_do_not_depend_on_threads(clothes, tmp_path):
    files = []
    for threads in (1, 2):
        with pe.num_threads(threads):
            job = FashionMNIST(data=str(clothes), epochs=1, batch_size=32, seed=3)
            run = train_job(job, tmp_path / str(threads), progress=False, say=lambda line: None)
        files.append(run.weights.read_bytes())
    assert files[0] == files[1]
