"""Arrays of whole numbers sorted into runs of equal ones, and into bins: what a gradient by rows and the rows of each
expert are made of. NumPy sorts; the order is stable, so it depends on the numbers alone."""


def sorted_order(array, limit: int):
    """(array sorted, the places that its elements come from), equals in their order; numbers are 0 .. limit - 1."""
    import numpy

    bits = max(len(array) - 1, 1).bit_length()
    if bits + max(limit, 1).bit_length() > 62:  # never of what memory holds
        order = numpy.argsort(array, kind="stable")
        return array[order], order
    keys = (array << bits) | numpy.arange(len(array))  # all different: any sort is stable, NumPy's fastest is
    keys.sort()
    return keys >> bits, keys & ((1 << bits) - 1)


def runs_of(array, limit: int):
    """The different numbers of an int64 array, ascending; the places of all, run by run; where each run starts, and
    the end."""
    import numpy

    numbers, order = sorted_order(array, limit)
    first = numpy.ones(len(numbers), bool)
    numpy.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    starts = numpy.flatnonzero(first)
    return numbers[starts], order, numpy.append(starts, len(numbers))


def bins_of(array, limit: int):
    """The places of the elements of an int64 array with 0 .. limit - 1, bin by bin in their order, and where each of
    the `limit` bins starts, and the end: arrays."""
    import numpy

    starts = numpy.zeros(limit + 1, numpy.int64)
    numpy.cumsum(numpy.bincount(array, minlength=limit), out=starts[1:])
    return sorted_order(array, limit)[1], starts
