"""Batches: of arrays by one function, and of data sets by DataLoader."""

import itertools
import os
from collections import deque
from functools import partial

from pyengine import Generator, default_generator, from_numpy, randint, randperm

from .dataset import IterableDataset, default_collate, gives_batches
from .sampler import BatchSampler, RandomSampler, SequentialSampler

# what torch's DataLoader takes for its processes, which there are none of here
_WITHOUT_MEANING = {"pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "persistent_workers",
                    "pin_memory_device", "in_order"}  # fmt: skip
_END = object()  # of a stream that a thread reads


class DataLoader:
    """Batches of a data set, an epoch each time it is iterated over.

    Arguments: dataset, with `__len__` and `__getitem__` or `take` (ArrayDataset, whose rows are gathered without the
    GIL), or an IterableDataset, which has an order of its own and is read by one thread; batch_size (None: a stream's
    samples are batches already); shuffle; sampler, which decides the order, or batch_sampler, whose entries are
    batches; num_workers, threads that fetch samples (there are no processes, nothing is pickled); collate_fn, a batch
    of a list of samples; drop_last leaves a short last batch out; generator or seed, where the order's random numbers
    come from (else pe.manual_seed's); prefetch (or torch's prefetch_factor), how many batches threads fetch ahead: 2
    with num_workers, else 0, since batches of an ArrayDataset take microseconds; transform, which makes a batch's
    parts anew: one of pyengine.data.transforms, or a function of the parts that draws no random numbers.

    state_dict() holds the place within an epoch: after load_state_dict() the next iteration goes on with the batch
    that would have come next. All numbers of an epoch are drawn at its beginning, before any thread starts, and its
    k-th batch is transformed by a generator that follows from them and k, so batches do not depend on prefetch or
    num_workers. What a data set itself draws in `__getitem__` should with threads follow from the sample's number:
    they may fetch in any order.

    Errors: ValueError for an empty data set or no batch at all, and for a stream whose order is to be another.

    >>> import numpy
    >>> from pyengine.data import ArrayDataset
    >>> loader = DataLoader(ArrayDataset(numpy.arange(10)), batch_size=4, shuffle=True, seed=0)
    >>> sorted(x for (batch,) in loader for x in batch.tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    def __init__(
        self, dataset, batch_size=1, shuffle=False, sampler=None, batch_sampler=None, num_workers=0, collate_fn=None, *,
        drop_last=False, generator=None, seed=None, prefetch=None, prefetch_factor=None, transform=None, **others,
    ):  # fmt: skip
        if set(others) - _WITHOUT_MEANING:
            raise TypeError(f"DataLoader: unknown arguments {sorted(set(others) - _WITHOUT_MEANING)}")
        if transform is not None and not callable(transform):
            raise TypeError(f"DataLoader: transform must be a function, got {type(transform).__name__}")
        if generator is None and seed is not None:
            generator = Generator(seed)
        self.dataset, self.num_workers, self.drop_last, self.transform = dataset, num_workers, drop_last, transform
        self._streams = isinstance(dataset, IterableDataset)
        if self._streams:
            if shuffle or sampler is not None or batch_sampler is not None:
                raise ValueError("DataLoader: an IterableDataset has an order of its own: neither shuffle, sampler nor "
                                 "batch_sampler can change it")  # fmt: skip
            if batch_size is not None:
                BatchSampler(dataset, batch_size)  # knows which sizes there are
            self.batch_sampler, self.sampler, self.batch_size = None, None, batch_size
        else:
            self._order(batch_size, shuffle, sampler, batch_sampler, generator)
        self.generator = generator or getattr(self.batch_sampler, "generator", None) or default_generator
        self._at_once = collate_fn is None and gives_batches(dataset)
        as_it_is = self._streams and batch_size is None
        self.collate_fn = collate_fn or ((lambda batch: batch) if as_it_is else default_collate)
        ahead = prefetch_factor if prefetch is None else prefetch
        self.prefetch = ahead if ahead is not None else 2 * (num_workers > 0)
        self._start = self._position = self._resume = None

    def _order(self, batch_size, shuffle, sampler, batch_sampler, generator):
        """Settles which sampler decides."""
        if not hasattr(self.dataset, "__len__"):
            raise TypeError(f"DataLoader: the data set needs a length, {type(self.dataset).__name__} has none")
        if not len(self.dataset):
            raise ValueError("DataLoader: the data set is empty")
        if (sampler is not None or batch_sampler is not None) and (shuffle or (sampler and batch_sampler)):
            raise ValueError("DataLoader: one of shuffle, sampler and batch_sampler decides the order")
        if batch_sampler is None:
            if sampler is None:
                in_order = SequentialSampler(self.dataset)
                sampler = RandomSampler(self.dataset, generator=generator) if shuffle else in_order
            batch_sampler = BatchSampler(sampler, batch_size, self.drop_last)
        self.batch_sampler, self.sampler = batch_sampler, getattr(batch_sampler, "sampler", sampler)
        self.batch_size = getattr(batch_sampler, "batch_size", None)
        if hasattr(batch_sampler, "__len__") and hasattr(self.sampler, "__len__") and not len(batch_sampler):
            raise ValueError(f"DataLoader: {len(self.sampler)} samples make no batch of {self.batch_size}")

    def __len__(self):
        if not self._streams:
            return len(self.batch_sampler)
        if not hasattr(self.dataset, "__len__"):
            raise TypeError(f"DataLoader: the stream {type(self.dataset).__name__} has no length")
        if self.batch_size is None:
            return len(self.dataset)
        return len(BatchSampler(self.dataset, self.batch_size, self.drop_last))

    def __iter__(self):
        batches, seed = self._begin()
        fetch, numbers = partial(self._fetch, seed), itertools.count(self._position)
        ahead = self.prefetch or self.num_workers
        fetched = self._ahead(fetch, batches, numbers) if ahead else map(fetch, batches, numbers)
        try:
            for batch in fetched:
                if batch is _END:
                    break
                self._position += 1
                yield batch
        finally:
            self._position = None  # an epoch that was left is over, as one that ended

    def _begin(self):
        """(the numbers, or a stream's samples, of each batch of an epoch or of the rest of one; a seed)."""
        resume, self._resume = self._resume, None
        self._position, now = 0, self.generator.get_state()
        if resume:
            self._position, self._start = resume
            self.generator.set_state(self._start)
        self._start = self.generator.get_state()
        seed = 0
        if self.transform is not None:
            seed = int(randint(0, 1 << 48, (1,), generator=self.generator)[0].item())
        try:
            return self._drawn(self._position), seed
        finally:
            if resume:
                self.generator.set_state(now)

    def _drawn(self, skipped):
        if type(self.batch_sampler) is BatchSampler and hasattr(self.sampler, "order"):
            order, size = self.sampler.order(), self.batch_size
            return [order[start : start + size] for start in range(skipped * size, len(self) * size, size)]
        if hasattr(self.batch_sampler, "__len__") and hasattr(self.sampler, "__len__"):
            return list(self.batch_sampler)[skipped:]
        batches = self._read() if self._streams else iter(self.batch_sampler)  # perhaps without an end
        for _ in range(skipped):
            next(batches, None)
        return batches

    def _read(self):
        """Lists of batch_size samples of a stream."""
        samples = iter(self.dataset)
        if self.batch_size is None:
            yield from samples
            return
        while batch := list(itertools.islice(samples, self.batch_size)):
            if len(batch) == self.batch_size or not self.drop_last:
                yield batch

    def _fetch(self, seed, rows, number):
        """The number-th batch of an epoch: of these samples, or of the samples of these numbers."""
        if self._streams:
            batch = self.collate_fn(rows)
        elif self._at_once:
            import numpy

            batch = self.dataset.take(numpy.ascontiguousarray(rows, "int64"))
        else:
            batch = self.collate_fn([self.dataset[int(row)] for row in rows])
        if self.transform is None:
            return batch
        from .transforms.base import changed

        draws, many = Generator(seed + number), isinstance(batch, (tuple, list))
        parts = changed(self.transform, batch if many else (batch,), draws)
        return parts if many or len(parts) != 1 else parts[0]

    def _ahead(self, fetch, batches, numbers):
        from concurrent.futures import ThreadPoolExecutor

        calls, threads = zip(itertools.repeat(fetch), batches, numbers), max(1, self.num_workers)
        if self._streams:  # whose samples can be had one after the other alone
            calls, threads = itertools.repeat((next, map(fetch, batches, numbers), _END)), 1
        pool, pending, process = ThreadPoolExecutor(threads, "pyengine-loader"), deque(), os.getpid()

        def first():
            if os.getpid() != process:  # nobody would ever answer here
                raise RuntimeError("DataLoader: the threads of this iteration stayed in the process that began it; "
                                   "begin a new one after a fork")  # fmt: skip
            return pending.popleft().result()

        try:
            for call in calls:
                pending.append(pool.submit(*call))
                if len(pending) > max(self.prefetch, self.num_workers):
                    yield first()
            while pending:
                yield first()
        finally:
            pool.shutdown(cancel_futures=True)

    def state_dict(self):
        """The place within the epoch, and the random numbers that its order came from."""
        own = self.generator is not default_generator
        return {
            "samples": self._samples(),
            "batch_size": self.batch_size,
            "position": self._position,
            "start": None if self._position is None else self._start,
            "generator": self.generator.get_state() if own else None,
            "epoch": getattr(self.sampler, "epoch", None),
        }

    def _samples(self):
        return len(self.dataset) if hasattr(self.dataset, "__len__") else None

    def load_state_dict(self, state_dict):
        """Goes on from where the state_dict() of an equal loader was made. Errors: ValueError for another one's."""
        samples, size = state_dict["samples"], state_dict["batch_size"]
        if (samples, size) != (self._samples(), self.batch_size):
            raise ValueError(f"DataLoader: the state is of {samples} samples in batches of {size}, these are "
                             f"{self._samples()} in batches of {self.batch_size}")  # fmt: skip
        position, start, generator = (state_dict[name] for name in ("position", "start", "generator"))
        if (generator is None) != (self.generator is default_generator):
            raise ValueError("DataLoader: the state is of a loader with, or this one has, a generator of its own")
        self._position, self._start = position, start
        self._resume = None if position is None else (position, start)
        if generator is not None:
            self.generator.set_state(generator)
        if state_dict["epoch"] is not None:
            self.sampler.set_epoch(state_dict["epoch"])


def batches(x, y, batch_size, generator=None, shuffle=True):
    """Yields (x, y) as tensors of at most batch_size rows, in random order, each row once.

    Arguments: x and y, arrays of equally many rows; generator, whose next draws decide the order.

    >>> import numpy
    >>> [len(x) for x, y in batches(numpy.zeros((5, 2), "float32"), numpy.arange(5), 2)]
    [2, 2, 1]
    """
    import numpy

    x, y = numpy.asarray(x), numpy.asarray(y)
    if len(x) != len(y):
        raise ValueError(f"batches: x has {len(x)} rows (shape {x.shape}), y has {len(y)} (shape {y.shape})")
    if batch_size < 1:
        raise ValueError(f"batches: batch_size must be at least 1, got {batch_size}")
    order = randperm(len(x), generator=generator).numpy() if shuffle else numpy.arange(len(x))
    for start in range(0, len(x), batch_size):
        rows = order[start : start + batch_size]
        yield from_numpy(x[rows]), from_numpy(y[rows])
