"""Data sets: things with a length whose samples are found by number."""

import math

from pyengine import Tensor, _core, from_numpy, randperm, stack, tensor
from pyengine._core import dtype_of


class Dataset:
    """The base of data sets: a subclass writes `__getitem__(i)`, one sample, and `__len__`.

    One that can give many samples at once writes `take(rows)` too, a batch of the samples of these numbers (an int64
    array); DataLoader then needs no sample of its own and no collate_fn.
    """

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")


class IterableDataset(Dataset):
    """The base of streams: a subclass writes `__iter__`, whose samples come in its own order, and may write `__len__`.

    A run that goes on within an epoch begins the stream anew and passes over the samples that were seen: they should
    be the same each time, drawn if at all from a generator of the stream's own, or from the loader's before the first.

    >>> class Countdown(IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(5, 0, -1))
    >>> [batch.tolist() for batch in pe.data.DataLoader(Countdown(), batch_size=2)]
    [[5, 4], [3, 2], [1]]
    """

    def __iter__(self):
        raise NotImplementedError(f"{type(self).__name__} defines no __iter__")


class ArrayDataset(Dataset):
    """Rows of equally long arrays or tensors, in memory or memory-mapped: sample i is the tuple of their rows i.

    >>> import numpy
    >>> data = ArrayDataset(numpy.zeros((5, 2), "float32"), numpy.arange(5))
    >>> len(data), data.take(numpy.array([3, 1]))[1].tolist()
    (5, [3, 1])
    """

    def __init__(self, *arrays):
        self._columns = [_Column(array, i) for i, array in enumerate(arrays)]
        if not arrays or any(len(column.array) != len(self) for column in self._columns):
            shapes = ", ".join(str(column.array.shape) for column in self._columns) or "none"
            raise ValueError(f"{type(self).__name__}: arrays of equally many rows are needed, got {shapes}")

    def __len__(self):
        return len(self._columns[0].array)

    def __getitem__(self, index):
        if not -len(self) <= index < len(self):
            raise IndexError(f"{type(self).__name__}: sample {index} of {len(self)}")
        import numpy

        return tuple(part[0] for part in self.take(numpy.array([index % len(self)])))

    def take(self, rows):
        """The samples of these numbers (an int64 array) as one tuple of tensors, gathered without the GIL."""
        return tuple(column.take(rows) for column in self._columns)


TensorDataset = ArrayDataset


class _Column:
    """One array, and its rows by number."""

    def __init__(self, source, number):
        import numpy

        self.dtype = dtype_of(source.dtype.name) if isinstance(source, Tensor) else None
        self.array = numpy.asarray(source.detach().numpy() if isinstance(source, Tensor) else source)
        if self.array.ndim == 0:
            raise ValueError(f"ArrayDataset: array {number} has no axis")
        self.dtype = self.dtype or from_numpy(self.array[:0]).dtype
        plain = self.dtype.name == "float32" and self.array.flags.c_contiguous and self.array.size
        self.matrix = from_numpy(self.array.reshape(len(self.array), -1)) if plain else None

    def take(self, rows):
        shape = (len(rows), *self.array.shape[1:])
        if self.matrix is not None:
            return _core.take_rows(self.matrix, from_numpy(rows)).reshape(shape)
        import numpy

        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self.array):
            raise IndexError(f"ArrayDataset: rows {rows.min()} to {rows.max()} of {len(self.array)}")
        out = _core.empty(shape, self.dtype.name)
        numpy.take(self.array, rows, axis=0, out=out.numpy(), mode="clip")  # the numbers are known to be right
        return out


class Subset(Dataset):
    """The samples of dataset whose numbers are in indices."""

    def __init__(self, dataset, indices):
        import numpy

        self.dataset, self.indices = dataset, numpy.asarray(indices, "int64")
        if gives_batches(dataset):
            self.take = lambda rows: dataset.take(self.indices[rows])

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        return self.dataset[int(self.indices[index])]


def gives_batches(dataset):
    """True where take(rows) gives samples; the take() of arrays and tensors gives elements."""
    return hasattr(dataset, "take") and not isinstance(dataset, Tensor) and not hasattr(dataset, "__array__")


def random_split(dataset, lengths, generator=None):
    """Subsets of dataset of these lengths, or of these shares of it, drawn without replacement.

    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    count = len(dataset)
    if all(isinstance(length, float) for length in lengths) and math.isclose(sum(lengths), 1):
        sizes = [math.floor(count * share) for share in lengths]
        lengths = [size + (i < count - sum(sizes)) for i, size in enumerate(sizes)]
    if sum(lengths) != count or min(lengths) < 0:
        raise ValueError(f"random_split: lengths {lengths} do not sum to the data set's {count}")
    order, parts = randperm(count, generator=generator).numpy(), []
    for length in lengths:
        parts.append(Subset(dataset, order[:length]))
        order = order[length:]
    return parts


def default_collate(samples):
    """A batch of a list of samples: tensors, arrays and numbers are stacked, tuples and dicts entered, text listed."""
    first = samples[0]
    if isinstance(first, Tensor):
        shapes = {sample.shape for sample in samples}
        if len(shapes) > 1:
            raise ValueError(f"default_collate: samples of one shape are needed, got {sorted(shapes)}")
        return stack(samples)
    if isinstance(first, dict):
        return {key: default_collate([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if len({len(sample) for sample in samples}) > 1:
            raise ValueError(f"default_collate: samples of {sorted({len(s) for s in samples})} parts in one batch")
        return type(first)(map(default_collate, zip(*samples, strict=True))) if not hasattr(first, "_fields") else (
            type(first)(*map(default_collate, zip(*samples, strict=True)))
        )  # fmt: skip
    if hasattr(first, "__array__"):
        import numpy

        return from_numpy(numpy.stack(samples))
    return tensor(samples) if isinstance(first, (bool, int, float)) else list(samples)
