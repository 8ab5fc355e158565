"""DataLoader, samplers and data sets: which samples come, in which order, where a run goes on, what is refused."""

import gc
import itertools
import threading

import numpy as np
import pytest

import pyengine as pe
from pyengine.data import (
    ArrayDataset,
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    StratifiedSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    open_npy,
    random_split,
    read_csv,
)
from pyengine.io import load_checkpoint, save_checkpoint


class Squares(Dataset):
    """One sample at a time."""

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if i == 13:
            raise RuntimeError("sample 13 is damaged")
        return {"x": pe.tensor([float(i * i)]), "i": i, "name": str(i)}


def numbers(loader):
    return [batch[0].tolist() for batch in loader]


# ---- data sets ---------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int16", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 1, 5, 2), (7, 0)])
def test_rows_of_every_type_are_gathered(dtype, shape):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    rows = np.array([6, 0, 0, 3])
    for source in (array, pe.from_numpy(array), np.asfortranarray(array), array[::-1]):
        expected = (source if isinstance(source, np.ndarray) else array)[rows]
        (found,) = ArrayDataset(source).take(rows)
        assert found.numpy().tobytes() == expected.tobytes() and found.shape == expected.shape
        assert found.dtype.name == dtype


def test_bfloat16_rows_and_single_samples():
    x = pe.randn(5, 3)
    data = TensorDataset(x.to(pe.bfloat16), x)
    half, whole = data.take(np.array([4, 1]))
    assert half.dtype == pe.bfloat16 and half.float().tolist() == x.to(pe.bfloat16)[[4, 1]].float().tolist()
    assert data[-1][1].tolist() == whole[0].tolist()
    with pytest.raises(IndexError, match="sample 5 of 5"):
        data[5]
    for column in (ArrayDataset(x), ArrayDataset(x.double())):
        with pytest.raises(IndexError):
            column.take(np.array([5]))


def test_unequal_lengths_are_named():
    with pytest.raises(ValueError, match=r"equally many rows are needed, got \(5, 2\), \(4,\)"):
        ArrayDataset(np.zeros((5, 2)), np.zeros(4))
    with pytest.raises(ValueError, match="got none"):
        ArrayDataset()


def test_splits_and_subsets():
    first, second = random_split(ArrayDataset(np.arange(10)), [7, 3], pe.Generator(0))
    assert sorted(first.take(np.arange(7))[0].tolist() + second.take(np.arange(3))[0].tolist()) == list(range(10))
    assert Subset(Squares(9), [8, 2])[1]["i"] == 2 and not hasattr(Subset(Squares(9), [1]), "take")
    with pytest.raises(ValueError, match="do not sum"):
        random_split(range(3), [1, 1])


def test_samples_are_collated():
    batch = default_collate([Squares(3)[i] for i in range(3)])
    assert batch["x"].tolist() == [[0.0], [1.0], [4.0]] and batch["i"].tolist() == [0, 1, 2]
    assert batch["name"] == ["0", "1", "2"]
    assert default_collate([(np.ones(2, "float32"), 1.5)] * 2)[0].shape == (2, 2)
    with pytest.raises(ValueError, match="one shape"):
        default_collate([pe.ones(1), pe.ones(2)])


# ---- samplers ----------------------------------------------------------------------


def test_samplers():
    g = pe.Generator
    assert list(SequentialSampler(range(4))) == [0, 1, 2, 3]
    assert (
        sorted(RandomSampler(range(9), generator=g(1)))
        == list(range(9))
        != list(RandomSampler(range(9), generator=g(1)))
    )
    assert len(list(RandomSampler(range(3), num_samples=8))) == 8
    assert set(RandomSampler(range(3), replacement=True, num_samples=200)) == {0, 1, 2}
    assert sorted(SubsetRandomSampler([5, 2, 9])) == [2, 5, 9]
    assert list(BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]] and len(BatchSampler(range(7), 3)) == 3


def test_weights_decide_how_often():
    weights = np.array([1.0, 0.0, 3.0, 4.0])
    drawn = np.bincount(WeightedRandomSampler(weights, 40_000, generator=pe.Generator(0)).order(), minlength=4)
    assert drawn[1] == 0 and np.allclose(drawn / 40_000, weights / 8, atol=0.01)
    firsts = [next(iter(WeightedRandomSampler(weights, 3, False, pe.Generator(s)))) for s in range(2000)]
    assert np.allclose(np.bincount(firsts, minlength=4) / 2000, weights / 8, atol=0.04)
    assert sorted(WeightedRandomSampler(weights, 3, False)) == [0, 2, 3]
    for bad in ([0.0], [-1.0, 2.0], [[1.0]], [float("nan"), 1.0]):
        with pytest.raises(ValueError, match="weights must be"):
            WeightedRandomSampler(bad, 1)
    with pytest.raises(ValueError, match="4 samples of 3"):
        WeightedRandomSampler(weights, 4, False)


def test_each_stretch_has_all_classes():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = StratifiedSampler(labels, pe.Generator(0)).order()
    assert sorted(order) == list(range(1000)) and not np.array_equal(order, np.sort(order))
    for stretch in labels[order].reshape(20, 50):
        assert np.abs(np.bincount(stretch, minlength=3) - [30, 15, 5]).max() <= 2


def test_replicas_share_an_epoch():
    data = range(11)
    parts = [DistributedSampler(data, 3, rank) for rank in range(3)]
    assert {len(list(part)) for part in parts} == {4} and set(itertools.chain(*parts)) == set(data)
    before = list(parts[0])
    parts[0].set_epoch(1)
    assert list(parts[0]) != before
    assert [len(list(DistributedSampler(data, 3, rank, drop_last=True))) for rank in range(3)] == [3] * 3
    with pytest.raises(ValueError, match="rank 3 of 3"):
        DistributedSampler(data, 3, 3)


# ---- the loader --------------------------------------------------------------------


def test_batches_do_not_depend_on_how_they_are_fetched():
    def found(**options):
        x = np.arange(50, dtype="float32")
        loader = DataLoader(ArrayDataset(x, x.astype("int64")), 7, shuffle=True, seed=3, **options)
        return [[part.tolist() for part in batch] for _ in range(2) for batch in loader]

    expected = found()
    assert sorted(i for x, _ in expected[:8] for i in x) == list(range(50)) and expected[:8] != expected[8:]
    for options in ({"prefetch": 3}, {"num_workers": 2}, {"prefetch_factor": 1, "num_workers": 1, "pin_memory": True}):
        assert found(**options) == expected
    assert found(collate_fn=default_collate) == expected


def test_map_style_data_in_threads():
    loader = DataLoader(Subset(Squares(40), range(20, 40)), batch_size=6, num_workers=3, drop_last=True)
    assert [batch["i"].tolist()[0] for batch in loader] == [20, 26, 32] and len(loader) == 3
    loader = DataLoader(Squares(40), batch_sampler=[[1, 2], [3]])
    assert [batch["i"].tolist() for batch in loader] == [[1, 2], [3]]


def test_a_sample_that_fails_and_a_loop_that_is_left_end_the_threads():
    for workers in (0, 2):
        with pytest.raises(RuntimeError, match="sample 13"):
            list(DataLoader(Squares(40), 4, num_workers=workers))
    for _ in DataLoader(Squares(12), 2, num_workers=2):
        break
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name.startswith("pyengine-loader")]


def test_a_sampler_without_an_end():
    class Endless:
        def __iter__(self):
            return itertools.cycle(range(3))

    loader = DataLoader(ArrayDataset(np.arange(3)), batch_sampler=BatchSampler(Endless(), 2), prefetch=2)
    assert [batch[0].tolist() for batch in itertools.islice(loader, 3)] == [[0, 1], [2, 0], [1, 2]]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("options", [{"shuffle": True}, {"prefetch": 2, "stratified": True}, {"batched": True}])
def test_goes_on_where_it_was(tmp_path, own, options):
    def made():
        choice = dict(options)
        data, generator = ArrayDataset(np.arange(23)), pe.Generator(5) if own else None
        if choice.pop("stratified", False):
            choice["sampler"] = StratifiedSampler(np.arange(23) % 3, generator)
        if choice.pop("batched", False):
            return DataLoader(data, batch_sampler=BatchSampler(RandomSampler(data, generator=generator), 4))
        return DataLoader(data, 4, generator=generator, **choice)

    pe.manual_seed(1)
    loader = made()
    for stop in (1, 3, 6):  # six batches an epoch
        for count, _ in enumerate(loader, 1):
            pe.rand(3)  # the loop draws from the shared stream too
            if count == stop:
                save_checkpoint(tmp_path / "c", loader=loader)
                kept = pe.default_generator.get_state()
        rest = numbers(loader)
        again = made()
        load_checkpoint(tmp_path / "c", loader=again)
        assert pe.default_generator.get_state() == kept
        first = numbers(again)
        assert len(first) == 6 - stop
        for _ in range(len(first)):
            pe.rand(3)
        assert numbers(again) == rest
    save_checkpoint(tmp_path / "c", loader=loader)  # between epochs
    again, expected = made(), None
    expected = numbers(loader)
    load_checkpoint(tmp_path / "c", loader=again)
    assert numbers(again) == expected


def test_loaders_that_cannot_be():
    for arguments, text in [
        (([],), "empty"), ((range(3), 0), "batch_size"), ((range(3), 2.0), "batch_size"),
        ((range(3), 4, False), "3 samples make no batch of 4"), ((range(3), 1, True, SequentialSampler([1])), "one of"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            DataLoader(*arguments, drop_last=True)
    with pytest.raises(TypeError, match="needs a length, list_iterator has none"):
        DataLoader(iter([1]))
    with pytest.raises(TypeError, match=r"unknown arguments.*shufle"):
        DataLoader(range(3), shufle=True)


# ---- files -------------------------------------------------------------------------


def test_mapped_arrays(tmp_path):
    values = np.random.default_rng(0).random((30, 4)).astype("float32")
    np.save(tmp_path / "x.npy", values)
    mapped = open_npy(tmp_path / "x.npy")
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    batch = next(iter(DataLoader(ArrayDataset(mapped), 30, shuffle=True, seed=0)))[0]
    assert sorted(batch.tolist()) == sorted(values.tolist())
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    content = (tmp_path / "x.npy").read_bytes()
    for name, damaged in {
        "o": None,
        "cut": content[:200],
        "short": content[:9],
        "none": b"",
        "text": b"hello " * 9,
    }.items():
        if damaged is not None:
            (tmp_path / f"{name}.npy").write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name}\.npy: no \.npy file"):
            open_npy(tmp_path / f"{name}.npy")
    with pytest.raises(FileNotFoundError):
        open_npy(tmp_path / "missing.npy")


def test_tables(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('\ufeffa;b;c\n1;2,5;"x;\ny"\n\n2;;z\n', encoding="utf-8")
    table = read_csv(path, delimiter=";")
    assert (
        table["a"].tolist() == [1, 2] and table["c"].tolist() == ["x;\ny", "z"] and table["b"].tolist() == ["2,5", ""]
    )
    path.write_text("1,2\n3,4.5\n")
    assert {k: v.dtype.name for k, v in read_csv(path, header=False).items()} == {0: "int64", 1: "float32"}
    for content, text in [("a,b\n1,2\n3\n", "line 3 has 1 cells, the first 2"), ("a,b\n", "no rows"), ("", "no rows"),
                          ("a,a\n1,2\n", "twice"), ("a\n" + "x" * 200_000 + "\n", "after line .*larger")]:  # fmt: skip
        path.write_text(content)
        with pytest.raises(ValueError, match=rf"table\.csv: .*{text}"):
            read_csv(path)
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(ValueError, match="table"):
        read_csv(path)
