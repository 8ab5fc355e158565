"""Batches."""

from pyengine import from_numpy, randperm


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
