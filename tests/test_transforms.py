"""Transforms of batches of images: values, laws, which random numbers decide, what is refused."""

import numpy as np
import pytest

import pyengine as pe
from pyengine.data import transforms as T

X = np.random.default_rng(0).random((6, 3, 9, 7)).astype("float32")
MANY = np.broadcast_to(np.arange(20, dtype="float32").reshape(1, 1, 4, 5), (4000, 1, 4, 5))
LABELS = np.array([0, 1, 2, 3, 4, 5])
RANDOM = [
    T.RandomCrop(5, padding=2), T.RandomHorizontalFlip(), T.RandomVerticalFlip(), T.RandomRotation(40),
    T.RandomRotation(40, "bilinear"), T.RandomErasing(0.7), T.RandomErasing(1.0, value="random"), T.Cutout(4),
    T.MixUp(0.5, 6), T.CutMix(1.0, 6),
]  # fmt: skip
named = pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)


def seeded(number):
    return pe.Generator(number)


# ---- what all of them do ---------------------------------------------------------


@named
def test_a_seed_decides_and_the_input_stays(transform):
    before = X.copy()
    one, its = transform(X, LABELS, generator=seeded(1))
    again, _ = transform(X, LABELS, generator=seeded(1))
    other, _ = transform(X, LABELS, generator=seeded(2))
    assert one.tobytes() == again.tobytes() and one.tobytes() != other.tobytes() and one.dtype == np.float32
    assert np.array_equal(X, before) and len(its) == 6
    tensors = transform(pe.from_numpy(X), pe.from_numpy(LABELS), generator=seeded(1))
    assert all(isinstance(part, pe.Tensor) for part in tensors) and tensors[0].numpy().tobytes() == one.tobytes()
    pe.manual_seed(1)
    assert transform(X, LABELS)[0].tobytes() == one.tobytes()  # without a generator: the shared one's stream


@named
def test_other_shapes_and_types_are_refused(transform):
    name = type(transform).__name__
    if name != "MixUp":
        with pytest.raises(ValueError, match=rf"{name}: a batch of images \(N, C, H, W\).*\(6, 9, 7\)"):
            transform(X[:, 0], LABELS)
    if name not in ("RandomCrop", "RandomHorizontalFlip", "RandomVerticalFlip", "CutMix"):
        with pytest.raises(TypeError, match=rf"{name}: .*float32 .*needed, got float64 of shape \(6, 3, 9, 7\)"):
            transform(X.astype("float64"), LABELS)
    with pytest.raises(TypeError, match=f"{name}: an array or a tensor is needed, got list"):
        transform(X.tolist(), LABELS)
    with pytest.raises(TypeError, match=rf"{name}: NumPy has no bfloat16 \(shape \(6, 3, 9, 7\)\)"):
        transform(pe.from_numpy(X).to(pe.bfloat16), LABELS)


def test_further_parts_are_handed_through():
    extra = object()
    x, labels, same = T.RandomHorizontalFlip(1.0)(X, LABELS, extra)
    assert labels is LABELS and same is extra and np.array_equal(x, X[..., ::-1])
    assert T.MixUp(num_classes=6)(X, LABELS, extra)[2] is extra


def test_composed():
    both = T.Compose([T.RandomCrop(5), lambda x, y: (x + 1, y), T.MixUp(num_classes=6)])
    x, y = both(X, LABELS, generator=seeded(3))
    g = seeded(3)
    expected = T.MixUp(num_classes=6)(T.RandomCrop(5)(X, generator=g) + 1, LABELS, generator=g)
    assert np.array_equal(x, expected[0]) and np.array_equal(y, expected[1])
    assert T.Compose([])(X) is X and T.Compose([T.CenterCrop(3)])(X).shape == (6, 3, 3, 3)
    with pytest.raises(TypeError, match="Compose: transforms and functions are needed, got int"):
        T.Compose([T.CenterCrop(3), 3])
    with pytest.raises(NotImplementedError, match="Transform defines no apply"):
        T.Transform()(X)


# ---- where pixels go -------------------------------------------------------------


def test_crops_come_from_every_place_alike():
    found = T.RandomCrop((3, 2))(MANY, generator=seeded(0))
    corners, counts = np.unique(found[:, 0, 0, 0], return_counts=True)
    assert corners.tolist() == [0, 1, 2, 3, 5, 6, 7, 8] and counts.min() > 400  # 500 each
    assert np.array_equal(found - found[:, :, :1, :1], np.broadcast_to([[0, 1], [5, 6], [10, 11]], (4000, 1, 3, 2)))


def test_crops_with_padding():
    wide = np.pad(X, ((0, 0), (0, 0), (2, 4), (1, 3)), "reflect")
    assert np.array_equal(T.RandomCrop((15, 11), (1, 2, 3, 4), padding_mode="reflect")(X), wide)
    assert np.array_equal(T.RandomCrop((11, 9), padding=(1, 1), fill=7)(X)[:, :, 0], np.full((6, 3, 9), 7))
    assert T.RandomCrop(12, pad_if_needed=True)(X).shape == (6, 3, 12, 12)
    whole = T.RandomCrop(4)(np.arange(32, dtype="uint8").reshape(2, 1, 4, 4))
    assert whole.dtype == np.uint8 and whole.ravel().tolist() == list(range(32))
    with pytest.raises(ValueError, match=r"RandomCrop: parts of \(10, 7\) are larger than .* \(6, 3, 9, 7\)"):
        T.RandomCrop((10, 7))(X)


def test_centres():
    assert np.array_equal(T.CenterCrop((3, 5))(X), X[:, :, 3:6, 1:6])
    around = T.CenterCrop((9, 10))(X)
    assert np.array_equal(around[..., 1:8], X) and not around[..., 0].any() and not around[..., 8:].any()


@pytest.mark.parametrize("kind, axis", [(T.RandomHorizontalFlip, 3), (T.RandomVerticalFlip, 2)])
def test_mirrored_twice_is_as_before(kind, axis):
    once = kind(1.0)(X)
    assert np.array_equal(once, np.flip(X, axis)) and np.array_equal(kind(1.0)(once), X)
    assert np.array_equal(kind(0.0)(X), X)
    share = (kind(0.3)(MANY, generator=seeded(0))[:, 0, 0, 0] != 0).mean()
    assert abs(share - 0.3) < 0.03


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_quarter_turns_are_exact(interpolation):
    for turns in range(-3, 5):
        square = X[:, :, :7]
        found = T.RandomRotation((90 * turns,) * 2, interpolation)(square)
        assert np.allclose(found, np.rot90(square, turns, (2, 3)), atol=1e-6)


def test_rotation_reads_between_pixels():
    """A plane turns into a plane: bilinear interpolation is exact on it, fill surrounds it."""
    down, right = np.indices((31, 31)) - 15.0
    plane = (2 * right + 3 * down)[None, None].astype("float32")
    turned = T.RandomRotation((30, 30), "bilinear", fill=100.0)(plane)[0, 0]
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    expected = 2 * (right * cos - down * sin) + 3 * (right * sin + down * cos)
    inside = right**2 + down**2 < 14**2
    assert np.abs(turned - expected)[inside].max() < 1e-4 and turned[0, 0] == turned[-1, -1] == 100
    slope = (right / 10)[None, None].astype("float32")  # reads cos(angle) 10 pixels to the right of the centre
    found = T.RandomRotation((10, 50), "bilinear")(np.repeat(slope, 500, 0), generator=seeded(0))[:, 0, 15, 25]
    angles = np.rad2deg(np.arccos(found))
    assert 9.9 < angles.min() < 11 and 49 < angles.max() < 50.1 and abs(angles.mean() - 30) < 2


# ---- what pixels become ----------------------------------------------------------


def test_normalized():
    mean, std = [0.1, 0.2, 0.3], [0.5, 1.0, 2.0]
    found = T.Normalize(mean, std)(X)
    assert np.allclose(found, (X - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1)), atol=1e-6)
    assert np.array_equal(T.Normalize(0.5, 0.5)(X), (X - np.float32(0.5)) / np.float32(0.5))
    with pytest.raises(ValueError, match=r"2 means and 2 deviations do not fit the 3 channels of shape \(6, 3, 9, 7\)"):
        T.Normalize([0.0, 1.0], [1.0, 1.0])(X)


def rectangles(changed):
    """(height, width) of what changed in each image, which must be a rectangle; all channels alike."""
    sizes = []
    for image in changed:
        assert (image == image[:1]).all()
        rows, columns = np.nonzero(image[0])
        height, width = (np.ptp(rows) + 1, np.ptp(columns) + 1) if len(rows) else (0, 0)
        assert len(rows) == height * width
        sizes.append((int(height), int(width)))
    return np.array(sizes)


def test_erased_rectangles():
    x = np.ones((2000, 2, 20, 30), "float32")
    sizes = rectangles(T.RandomErasing(0.75, (0.1, 0.3), (0.5, 2.0))(x, generator=seeded(0)) == 0)
    drawn = sizes[sizes[:, 0] > 0]
    assert abs(len(drawn) / 2000 - 0.75) < 0.04
    area, ratio = drawn.prod(1) / 600, drawn[:, 0] / drawn[:, 1]
    assert 0.08 < area.min() < 0.11 and 0.28 < area.max() < 0.33 and abs(area.mean() - 0.2) < 0.01
    assert 0.4 < ratio.min() < 0.55 and 1.8 < ratio.max() < 2.4 and abs(np.log(ratio).mean()) < 0.05
    assert not (T.RandomErasing(1.0, (1.0, 1.0), (1.0, 1.0))(x) == 0).any()  # no such rectangle fits
    per_channel = T.RandomErasing(1.0, (0.2, 0.2), (1.0, 1.0), value=[3, 4])(x)
    assert {3.0, 1.0} == set(per_channel[:, 0].ravel()) and {4.0, 1.0} == set(per_channel[:, 1].ravel())
    noise = T.RandomErasing(1.0, (0.2, 0.2), (1.0, 1.0), value="random")(x, generator=seeded(1))
    values = noise[noise != 1]
    assert abs(values.mean()) < 0.02 and abs(values.std() - 1) < 0.02
    with pytest.raises(ValueError, match="3 values for the 2 channels"):
        T.RandomErasing(1.0, value=[1, 2, 3])(x)


def test_cut_out_squares():
    sizes = rectangles(T.Cutout(4, value=9.0)(np.zeros((3000, 1, 6, 8), "float32"), generator=seeded(0)) == 9)
    assert set(sizes[:, 0]) == set(sizes[:, 1]) == {2, 3, 4}  # cut off at the border
    assert abs((sizes[:, 0] == 4).mean() - 3 / 6) < 0.03 and abs((sizes[:, 1] == 4).mean() - 5 / 8) < 0.03
    assert set(rectangles(T.Cutout(1)(np.ones((50, 2, 3, 3), "float32")) == 0).ravel()) == {1}


# ---- batches mixed with themselves -----------------------------------------------


def test_mixed_by_the_formula():
    for alpha in (0.2, 1.0, 3.0):
        x, y = T.MixUp(alpha, 6)(X, LABELS, generator=seeded(4))
        lam = y[0, 0]
        assert np.allclose(x, lam * X + (1 - lam) * np.roll(X, 1, 0), atol=1e-6)
        assert np.allclose(y, lam * np.eye(6) + (1 - lam) * np.roll(np.eye(6), 1, 0), atol=1e-6)
        assert np.allclose(y.sum(1), 1, atol=1e-6) and y.dtype == np.float32


def test_shares_are_of_the_beta_distribution():
    g = seeded(0)
    for alpha in (0.3, 1.0, 4.0):
        lam = np.array([T.MixUp(alpha, 6)(X[:, :1, :1, :1], LABELS, generator=g)[1][0, 0] for _ in range(1500)])
        assert abs(lam.mean() - 0.5) < 0.04 and abs(lam.var() - 0.25 / (2 * alpha + 1)) < 0.012


def test_rectangles_from_the_neighbour():
    g, seen = seeded(0), []
    x = np.arange(6, dtype="float32").reshape(6, 1, 1, 1) * np.ones((2, 20, 10), "float32")
    for _ in range(300):
        mixed, y = T.CutMix(1.0, 6)(x, LABELS, generator=g)
        assert len(set(map(tuple, rectangles(mixed != x)))) == 1  # the same for all
        assert set(mixed[0].ravel()) <= {0.0, 5.0} and set(mixed[3].ravel()) <= {3.0, 2.0}
        kept = (mixed == x).mean((1, 2, 3))
        assert np.allclose(y[LABELS, LABELS], kept, atol=1e-6) and np.allclose(y.sum(1), 1, atol=1e-6)
        seen.append(kept[0])
    assert min(seen) < 0.4 and max(seen) > 0.95


def test_labels_that_are_shares_already():
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 6).astype("float32")
    _, y = T.MixUp(1.0)(X, shares, generator=seeded(0))
    assert y.shape == (6, 4) and np.allclose(y.sum(1), 1, atol=1e-6)
    loss = pe.nn.CrossEntropyLoss()(pe.zeros(6, 4), pe.from_numpy(y))
    assert abs(loss.item() - np.log(4)) < 1e-5
    for labels, classes, text in [
        (LABELS, None, r"MixUp: whole numbers \(6,\) and num_classes"), (LABELS[:5], 6, r"got int64 of shape \(5,\)"),
        (shares, 5, r"got float32 of shape \(6, 4\) and 5"), (LABELS, 5, "labels from 0 to 5 are not among 5 classes"),
        (LABELS.astype("float32"), 6, "got float32"), (LABELS - 1, 6, "labels from -1 to 4"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            T.MixUp(1.0, classes)(X, labels)


# ---- arguments -------------------------------------------------------------------


@pytest.mark.parametrize("make, text", [
    (lambda: T.RandomCrop(0), "RandomCrop: size must be one or two positive"),
    (lambda: T.CenterCrop((2, 3, 4)), "CenterCrop: size must be one or two positive"),
    (lambda: T.RandomCrop(3, padding=-1), "padding must be"), (lambda: T.RandomCrop(3, padding=(1, 2, 3)), "padding"),
    (lambda: T.RandomCrop(3, padding_mode="wrap"), "padding_mode must be one of"),
    (lambda: T.RandomHorizontalFlip(1.5), r"RandomHorizontalFlip: p must lie in \[0, 1\], got 1.5"),
    (lambda: T.RandomVerticalFlip(float("nan")), "RandomVerticalFlip: p"),
    (lambda: T.RandomRotation(-3), "degrees"), (lambda: T.RandomRotation((5, 1)), "degrees"),
    (lambda: T.RandomRotation(3, "cubic"), "interpolation is 'nearest' or 'bilinear', got 'cubic'"),
    (lambda: T.Normalize(0.0, 0.0), "std not 0"), (lambda: T.Normalize(float("nan"), 1.0), "must be finite"),
    (lambda: T.RandomErasing(scale=(0.5, 0.1)), "scale"), (lambda: T.RandomErasing(ratio=(0.0, 1.0)), "ratio"),
    (lambda: T.RandomErasing(value="noise"), "value"), (lambda: T.Cutout(0), "Cutout: size"),
    (lambda: T.MixUp(0.0), "MixUp: alpha must be positive"), (lambda: T.CutMix(-1.0), "CutMix: alpha"),
])  # fmt: skip
def test_arguments_that_make_no_sense(make, text):
    with pytest.raises(ValueError, match=text):
        make()
