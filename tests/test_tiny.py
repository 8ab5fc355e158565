"""The whole product in under twenty seconds: the digits are learned, read back, and the same for any threads."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import data, nn, optim
from pyengine.train import evaluate
from pyengine.train.jobs.digits import Digits, load_digits_model
from pyengine.train.run import train_job


def test_the_digits_are_what_they_should_be():
    train, test = data.load_digits()
    assert train.images.shape == (1437, 8, 8) and test.images.shape == (360, 8, 8)
    for part in (train, test):
        assert part.images.dtype == np.float32 and part.labels.dtype == np.int64
        assert part.images.min() == 0 and part.images.max() == 1 and set(part.labels) == set(range(10))
    together = np.concatenate([train.images, test.images]).reshape(1797, -1)
    assert len(np.unique(together, axis=0)) == 1797, "no test image is a training image"


def test_digits_are_learned(tmp_path):
    run = train_job(Digits(), tmp_path, progress=False, say=lambda line: None)
    first, last = run.history[0], run.history[-1]
    assert last["val_accuracy"] >= 0.97 and last["val_loss"] < first["val_loss"] / 3
    assert last["loss"] < first["loss"] / 2  # smoothed labels keep it above 0.5
    loss, accuracy = evaluate(load_digits_model(run.weights), data.load_digits()[1])
    assert accuracy == last["val_accuracy"] and loss == last["val_loss"]


def test_same_bytes_for_any_number_of_threads(tmp_path):
    """Batches of a third of the data, so that every kind of step is shared among threads."""
    files, job = [], Digits(epochs=4, batch_size=479)
    for threads in (1, 2, 3, 8):
        with pe.num_threads(threads):
            before = pe.pool_stats()
            run = train_job(job, tmp_path / str(threads), progress=False, say=lambda line: None)
            after = pe.pool_stats()
        if threads > 1:
            assert after["shared_calls"] > before["shared_calls"], "no call had two threads"
            assert after["worker_chunks"] > before["worker_chunks"]
        else:
            assert after["worker_chunks"] == before["worker_chunks"]
        files.append(run.weights.read_bytes())
    assert all(content == files[0] for content in files)


@pytest.mark.parametrize("kind, lr", [(optim.SGD, 0.5), (optim.Adam, 0.02), (optim.AdamW, 0.02), (optim.Lion, 0.01)])
def test_exclusive_or_is_learned(kind, lr):
    pe.manual_seed(0)
    x, y = pe.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), pe.tensor([0, 1, 1, 0])
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer, loss_function = kind(net.parameters(), lr=lr), nn.CrossEntropyLoss()
    for _ in range(400):
        optimizer.zero_grad()
        loss = loss_function(net(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and net(x).argmax(1).tolist() == y.tolist()


def test_a_line_is_fitted():
    """Linear regression finds the weights that made the data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((256, 3)).astype(np.float32)
    weight, bias = np.array([[1.5, -2.0, 0.5]], np.float32), 0.25
    target = pe.from_numpy(x @ weight.T + np.float32(bias))
    pe.manual_seed(0)
    layer = nn.Linear(3, 1)
    optimizer = optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for _ in range(200):
        optimizer.zero_grad()
        nn.MSELoss()(layer(pe.from_numpy(x)), target).backward()
        optimizer.step()
    np.testing.assert_allclose(layer.weight.detach().numpy(), weight, atol=1e-4)
    assert layer.bias.item() == pytest.approx(bias, abs=1e-4)


def test_batches_visit_every_row_once():
    x, y = np.arange(10, dtype=np.float32), np.arange(10)
    seen = [(a.tolist(), b.tolist()) for a, b in data.batches(x, y, 4, pe.Generator(1))]
    assert [len(a) for a, _ in seen] == [4, 4, 2] and all(a == b for a, b in seen)
    assert sorted(value for _, b in seen for value in b) == list(range(10))
    assert seen == [(a.tolist(), b.tolist()) for a, b in data.batches(x, y, 4, pe.Generator(1))]
    assert seen != [(a.tolist(), b.tolist()) for a, b in data.batches(x, y, 4, pe.Generator(2))]
    with pytest.raises(ValueError, match=r"10 rows \(shape \(10,\)\), y has 3"):
        next(data.batches(x, y[:3], 4))
    with pytest.raises(ValueError, match="batch_size"):
        next(data.batches(x, y, 0))


def test_distortion_moves_ink():
    spot = np.zeros((1, 8, 8), np.float32)
    spot[0, 4, 4] = 1
    spots = pe.from_numpy(np.repeat(spot, 500, 0))
    still = {"shift": 0.0, "scale": 0.0, "rotation": 0.0, "shear": 0.0, "ink": 0.0}

    def distort(images, **amounts):
        return data.distort(images, **{**still, **amounts}, generator=pe.Generator(0)).numpy()

    moved = distort(spots, shift=0.4)
    weight = moved.sum((1, 2))
    centre = (moved * np.arange(8)).sum((1, 2)) / weight
    assert centre.std() == pytest.approx(0.4, rel=0.1) and centre.mean() == pytest.approx(4, abs=0.08)
    # a turn and a slant move a spot above the centre sideways by what its height makes of them
    spots[:, 4, 4], spots[:, 1, 3], spots[:, 1, 4] = 0.0, 0.5, 0.5
    for name in ("rotation", "shear"):
        moved = distort(spots, **{name: 0.1})
        sideways = (moved * np.arange(8)).sum((1, 2)) / moved.sum((1, 2))
        assert sideways.std() == pytest.approx(0.25, rel=0.15) and sideways.mean() == pytest.approx(3.5, abs=0.05)
    inked = distort(spots, ink=0.3)[:, 1, 4]
    assert np.log(np.log(inked) / np.log(0.5)).std() == pytest.approx(0.3, rel=0.1)
    with pytest.raises(ValueError, match=r"\(8, 8\)"):
        data.distort(pe.zeros(8, 8))
