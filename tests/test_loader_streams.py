"""DataLoader with transforms and with streams: the same batches however they are fetched, and where a run goes on."""

import gc
import threading

import numpy as np
import pytest

import pyengine as pe
from pyengine.data import ArrayDataset, DataLoader, Dataset, IterableDataset, RandomSampler, Subset
from pyengine.data import transforms as T
from pyengine.io import load_checkpoint, save_checkpoint
from pyengine.train import Trainer, metrics

IMAGES = np.random.default_rng(0).random((30, 1, 8, 8)).astype("float32")
LABELS = np.arange(30) % 3
STEPS = T.Compose([
    T.RandomCrop(8, padding=2), T.RandomHorizontalFlip(), T.RandomRotation(10, "bilinear"), T.RandomErasing(),
    T.MixUp(0.4, 3),
])  # fmt: skip


def content(loader):
    return [b"".join(part.numpy().tobytes() for part in batch) for batch in loader]


def images(**options):
    return DataLoader(ArrayDataset(IMAGES, LABELS), 7, True, transform=STEPS, **options)


# ---- transforms ------------------------------------------------------------------


def test_batches_do_not_depend_on_how_they_are_fetched():
    def found(**options):
        loader = images(seed=3, **options)
        return [content(loader) for _ in range(2)]

    expected = found()
    assert len(expected[0]) == 5 and len(set(expected[0] + expected[1])) == 10
    for options in ({"prefetch": 3}, {"num_workers": 2}, {"num_workers": 1}):
        assert found(**options) == expected
    assert content(images(seed=4)) != expected[0]


def test_the_order_is_another_but_what_a_batch_draws_follows_from_its_number():
    loader = DataLoader(ArrayDataset(IMAGES * 0 + 1), 10, seed=0, transform=T.RandomErasing(1.0))
    first, second, third = (batch[0].numpy() for batch in loader)
    assert not np.array_equal(first, second) and not np.array_equal(second, third)


def test_batches_of_every_form():
    loader = DataLoader(ArrayDataset(IMAGES), 10, transform=T.CenterCrop(4))
    assert [tuple(part.shape for part in batch) for batch in loader] == [((10, 1, 4, 4),)] * 3
    for rows in (IMAGES, pe.from_numpy(IMAGES), Subset(IMAGES, range(10))):  # whose own take() gives elements
        loader = DataLoader(rows, 10, transform=lambda x: x * 2)
        assert np.array_equal(next(iter(loader)).numpy(), IMAGES[:10] * 2)
    loader = DataLoader(ArrayDataset(IMAGES, LABELS), 10, transform=lambda x, y: [x, y, y + 1])
    assert np.array_equal(next(iter(loader))[2].numpy(), LABELS[:10] + 1)

    class Named(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"x": IMAGES[i], "y": i}

    loader = DataLoader(Named(), 2, transform=lambda batch: {**batch, "x": batch["x"] * 0})
    assert [batch["y"].tolist() for batch in loader] == [[0, 1], [2, 3]] and not next(iter(loader))["x"].any()
    with pytest.raises(TypeError, match="CenterCrop: an array or a tensor is needed, got dict"):
        next(iter(DataLoader(Named(), 2, transform=T.CenterCrop(4))))
    with pytest.raises(TypeError, match="DataLoader: transform must be a function, got str"):
        DataLoader(IMAGES, transform="flip")


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_goes_on_where_it_was(tmp_path, own, prefetch):
    def made():
        return images(generator=pe.Generator(5) if own else None, prefetch=prefetch)

    pe.manual_seed(1)
    loader = made()
    for stop in (1, 3, 5):
        for count, _ in enumerate(loader, 1):
            pe.rand(3)  # the loop draws from the shared stream too
            if count == stop:
                save_checkpoint(tmp_path / "c", loader=loader)
                kept, rest = pe.default_generator.get_state(), []
            elif count > stop:
                rest.append(b"".join(part.numpy().tobytes() for part in _))
        following = content(loader)
        again = made()
        load_checkpoint(tmp_path / "c", loader=again)
        assert pe.default_generator.get_state() == kept
        found = []
        for batch in again:
            found.append(b"".join(part.numpy().tobytes() for part in batch))
            pe.rand(3)
        assert found == rest and content(again) == following


def test_training_goes_on_bit_for_bit(tmp_path):
    def run(epochs, resume=None):
        pe.manual_seed(0)
        model = pe.nn.Sequential(pe.nn.Flatten(), pe.nn.Linear(64, 3))
        optimizer = pe.optim.Adam(model.parameters(), lr=0.01)
        trainer = Trainer(model, pe.nn.CrossEntropyLoss(), optimizer, augment=T.Cutout(3), progress=False)
        trainer.fit(images(prefetch=2), epochs=epochs, resume=resume)
        return trainer

    expected = run(4).model.state_dict()
    run(2).save(tmp_path / "c")
    found = run(4, tmp_path / "c").model.state_dict()
    assert all(found[name].numpy().tobytes() == value.numpy().tobytes() for name, value in expected.items())


def test_a_model_learns_from_mixed_labels():
    """Metrics count the greater share as the label."""
    x = np.eye(3, dtype="float32")[LABELS]
    loader = DataLoader(ArrayDataset(x, LABELS), 10, True, seed=0, transform=T.MixUp(0.1, 3))
    model = pe.nn.Linear(3, 3)
    judges = [metrics.Accuracy(), metrics.Accuracy(2), metrics.F1(), metrics.AUROC(), metrics.ConfusionMatrix()]
    trainer = Trainer(
        model, pe.nn.CrossEntropyLoss(), pe.optim.Adam(model.parameters(), lr=0.1), metrics=judges, progress=False
    )
    last = trainer.fit(loader, (x, LABELS), epochs=40)[-1]
    assert last["val_accuracy"] == 1 and min(last["accuracy"], last["top_2"], last["f1"], last["auroc"]) > 0.9
    assert np.sum(last["confusion"]) == 30


# ---- streams ---------------------------------------------------------------------


class Count(IterableDataset):
    """0, 1, ... as tuples; says so where it has a length."""

    def __init__(self, size, fails_at=None):
        self.size, self.fails_at, self.threads = size, fails_at, set()

    def __iter__(self):
        for i in range(self.size):
            self.threads.add(threading.current_thread().name)
            if i == self.fails_at:
                raise RuntimeError(f"sample {i} is damaged")
            yield i, np.float32([i, i])


class Measured(Count):
    def __len__(self):
        return self.size


@pytest.mark.parametrize("options", [{}, {"prefetch": 2}, {"num_workers": 3}])
def test_streams_in_batches(options):
    data = Count(7)
    loader = DataLoader(data, 3, **options)
    assert [numbers.tolist() for numbers, _ in loader] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [x.shape for _, x in loader] == [(3, 2), (3, 2), (1, 2)]
    assert len(data.threads) == 1 and ("MainThread" in data.threads) == (not options)
    assert [n.tolist() for n, _ in DataLoader(data, 3, drop_last=True, **options)] == [[0, 1, 2], [3, 4, 5]]
    assert [n for n, _ in DataLoader(data, None, **options)] == list(range(7))  # as they come
    assert list(DataLoader(data, 4, collate_fn=len, **options)) == [4, 3]
    doubled = DataLoader(data, 4, transform=lambda n, x: (n * 2, x), **options)
    assert [n.tolist() for n, _ in doubled] == [[0, 2, 4, 6], [8, 10, 12]]
    assert list(DataLoader(Count(0), 3, **options)) == []


def test_lengths_of_streams():
    assert len(DataLoader(Measured(7), 3)) == 3 and len(DataLoader(Measured(7), 3, drop_last=True)) == 2
    assert len(DataLoader(Measured(7), None)) == 7
    with pytest.raises(TypeError, match="stream Count has no length"):
        len(DataLoader(Count(7), 3))


def test_streams_that_fail_or_are_left_end_their_thread():
    for options in ({}, {"num_workers": 1}):
        with pytest.raises(RuntimeError, match="sample 5 is damaged"):
            list(DataLoader(Count(9, fails_at=5), 2, **options))
    for _ in DataLoader(Count(100), 2, prefetch=3):
        break
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name.startswith("pyengine-loader")]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_stream_goes_on_where_it_was(tmp_path, prefetch):
    def made():
        return DataLoader(Count(20), 3, seed=1, prefetch=prefetch, transform=lambda n, x: (n, x), num_workers=0)

    loader = made()
    for count, _ in enumerate(loader, 1):
        if count == 4:
            save_checkpoint(tmp_path / "c", loader=loader)
    again = made()
    load_checkpoint(tmp_path / "c", loader=again)
    assert [n.tolist() for n, _ in again] == [[12, 13, 14], [15, 16, 17], [18, 19]]
    assert len(list(again)) == 7
    with pytest.raises(ValueError, match="state is of None samples in batches of 3, these are 20 in batches of 3"):
        DataLoader(Measured(20), 3).load_state_dict(loader.state_dict())


def test_a_model_learns_from_a_stream():
    class Lines(IterableDataset):
        def __iter__(self):
            draws = pe.Generator(0)
            for _ in range(50):
                x = pe.randn(8, 2, generator=draws)
                yield x, x.sum(1, keepdim=True)

    model = pe.nn.Linear(2, 1)
    trainer = Trainer(model, pe.nn.MSELoss(), pe.optim.Adam(model.parameters(), lr=0.1), progress=False)
    assert trainer.fit(DataLoader(Lines(), None), epochs=4)[-1]["loss"] < 1e-2 and trainer.batches is None


def test_streams_that_cannot_be():
    for options in ({"shuffle": True}, {"sampler": RandomSampler(range(3))}, {"batch_sampler": [[0]]}):
        with pytest.raises(ValueError, match="an IterableDataset has an order of its own"):
            DataLoader(Count(3), **options)
    for size in (0, 2.0):
        with pytest.raises(ValueError, match="batch_size must be a positive integer"):
            DataLoader(Count(3), size)
    with pytest.raises(NotImplementedError, match="IterableDataset defines no __iter__"):
        list(DataLoader(IterableDataset()))
