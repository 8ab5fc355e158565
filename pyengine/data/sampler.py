"""Samplers: in which order the samples of an epoch come."""

from pyengine import Generator, rand, randint, randperm


class Sampler:
    """The base of samplers: a subclass writes `__iter__`, which yields numbers, and `__len__`; ours write `order()`,
    all numbers of an epoch as one int64 array, which takes all its random numbers at once."""

    generator = None

    def __iter__(self):
        return iter(self.order().tolist())

    def order(self):
        """The numbers of one epoch."""
        raise NotImplementedError(f"{type(self).__name__} defines neither __iter__ nor order")


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __len__(self):
        return len(self.data_source)

    def order(self):
        import numpy

        return numpy.arange(len(self))


class RandomSampler(Sampler):
    """Every sample once in random order, or with replacement num_samples drawn from all.

    >>> sorted(RandomSampler(range(4)))
    [0, 1, 2, 3]
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.size, self.replacement, self.generator = len(data_source), replacement, generator
        self.num_samples = self.size if num_samples is None else num_samples
        if not self.size or self.num_samples < 1:
            raise ValueError(f"RandomSampler: {self.num_samples} of {self.size} samples")

    def __len__(self):
        return self.num_samples

    def order(self):
        import numpy

        if self.replacement:
            return randint(0, self.size, (self.num_samples,), generator=self.generator).numpy()
        rounds = -(-self.num_samples // self.size)
        orders = [randperm(self.size, generator=self.generator).numpy() for _ in range(rounds)]
        return orders[0][: self.num_samples] if rounds == 1 else numpy.concatenate(orders)[: self.num_samples]


class SubsetRandomSampler(Sampler):
    """The numbers in indices in random order."""

    def __init__(self, indices, generator=None):
        import numpy

        self.indices, self.generator = numpy.asarray(indices, "int64"), generator

    def __len__(self):
        return len(self.indices)

    def order(self):
        return self.indices[randperm(len(self), generator=self.generator).numpy()]


class WeightedRandomSampler(Sampler):
    """num_samples numbers, i with probability weights[i] / sum(weights).

    Without replacement the num_samples largest of log(u_i) / w_i are taken. (Efraimidis & Spirakis 2006)

    >>> set(WeightedRandomSampler([0.0, 1.0, 0.0], 5))
    {1}
    """

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        import numpy

        self.weights = numpy.asarray(weights, "float64")
        self.num_samples, self.replacement, self.generator = num_samples, replacement, generator
        if self.weights.ndim != 1 or not (self.weights >= 0).all() or not 0 < self.weights.sum() < float("inf"):
            raise ValueError("WeightedRandomSampler: weights must be a vector of finite numbers, none negative, "
                             f"not all 0; got shape {self.weights.shape}")  # fmt: skip
        most = num_samples if replacement else int((self.weights > 0).sum())
        if not 1 <= num_samples <= most:
            raise ValueError(f"WeightedRandomSampler: {num_samples} samples of {most} with a weight")

    def __len__(self):
        return self.num_samples

    def order(self):
        import numpy

        draws = _uniform(self.num_samples if self.replacement else len(self.weights), self.generator)
        if self.replacement:
            sums = numpy.cumsum(self.weights)
            return numpy.searchsorted(sums, draws * sums[-1], side="right").clip(max=numpy.nonzero(self.weights)[0][-1])
        with numpy.errstate(divide="ignore", invalid="ignore"):
            keys = numpy.where(self.weights > 0, numpy.log(draws) / self.weights, -numpy.inf)
        return numpy.argsort(-keys, kind="stable")[: self.num_samples]


class StratifiedSampler(Sampler):
    """Every sample once in random order, but each stretch of it has the classes in the shares that they have in all:
    the i-th of n samples of a class (shuffled) comes at (i + u) / n of the epoch, with u from [0, 1).

    Arguments: labels, a class a sample; generator.
    """

    def __init__(self, labels, generator=None):
        import numpy

        self.labels, self.generator = numpy.asarray(labels).reshape(len(labels), -1), generator
        if self.labels.shape[1:] != (1,):
            raise ValueError(f"StratifiedSampler: one label a sample is needed, got shape {numpy.shape(labels)}")
        _, self.labels, self.counts = numpy.unique(self.labels[:, 0], return_inverse=True, return_counts=True)

    def __len__(self):
        return len(self.labels)

    def order(self):
        import numpy

        shuffled = randperm(len(self), generator=self.generator).numpy()
        by_class = shuffled[numpy.argsort(self.labels[shuffled], kind="stable")]
        counts = numpy.repeat(self.counts, self.counts)
        rank = numpy.arange(len(self)) - numpy.repeat(numpy.cumsum(self.counts) - self.counts, self.counts)
        return by_class[numpy.argsort((rank + _uniform(len(self), self.generator)) / counts, kind="stable")]


class DistributedSampler(Sampler):
    """The rank-th of num_replicas equally long parts of an epoch's order, which depends on seed + epoch alone.

    Call set_epoch(epoch) before each epoch, else all have the same order. Short of a multiple of num_replicas, the
    first samples come again, or with drop_last the last ones are left out.
    """

    def __init__(self, dataset, num_replicas, rank, shuffle=True, seed=0, drop_last=False):
        if not 0 <= rank < num_replicas:
            raise ValueError(f"DistributedSampler: rank {rank} of {num_replicas}")
        self.size, self.num_replicas, self.rank = len(dataset), num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0

    def set_epoch(self, epoch):
        """Chooses the order of this epoch."""
        self.epoch = epoch

    def __len__(self):
        return self.size // self.num_replicas if self.drop_last else -(-self.size // self.num_replicas)

    def order(self):
        import numpy

        draws = Generator(self.seed + self.epoch)
        order = randperm(self.size, generator=draws).numpy() if self.shuffle else numpy.arange(self.size)
        return numpy.resize(order, len(self) * self.num_replicas)[self.rank :: self.num_replicas]


class BatchSampler(Sampler):
    """Lists of batch_size numbers of sampler; the last one is shorter, or with drop_last left out.

    >>> list(BatchSampler(SequentialSampler(range(5)), 2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler, batch_size, drop_last=False):
        if not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"BatchSampler: batch_size must be a positive integer, got {batch_size!r}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last
        self.generator = getattr(sampler, "generator", None)

    def __len__(self):
        whole, rest = divmod(len(self.sampler), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self):
        batch = []
        for number in self.sampler:
            batch.append(number)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch


def _uniform(count, generator):
    """float64 from (0, 1) with 48 random bits."""
    fine, coarse = rand(2, count, generator=generator).numpy().astype("float64")
    return coarse + (fine + 2.0**-25) * 2.0**-24
