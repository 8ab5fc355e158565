"""Random numbers of other distributions, from the uniform and normal draws of the engine's generator."""

from pyengine import _core
from pyengine._core import Generator, Tensor, dtype, memory_format
from pyengine.ops._arguments import integer, integers
from pyengine.ops._method import method, tensor_only
from pyengine.ops.random import rand, randn

__all__ = ["bernoulli", "multinomial", "normal", "rand_like", "randint", "randint_like", "randn_like"]


def _float(dtype, like: Tensor, what: str):
    kind = dtype or like.dtype
    if not _core.empty((0,), kind).is_floating_point():
        raise RuntimeError(f"{what}: a float dtype is needed, got {_core.dtype_of(kind).name}")
    return kind


def _formatted(drawn: Tensor, like: Tensor, memory_format, what: str) -> Tensor:
    """What was drawn in like's memory format, or in one that is given: the values are the same in each."""
    if memory_format in (None, _core.preserve_format) and drawn.stride() == like.stride():
        return drawn
    return _core.new_like(like, None, drawn.dtype, memory_format, what).copy_(drawn)


def rand_like(input: Tensor, dtype: dtype | str | None = None, *, generator: Generator | None = None,
              memory_format: memory_format | None = None) -> Tensor:  # fmt: skip
    """Uniform on [0, 1) in x's shape and dtype, and memory format unless one is given."""
    kind = _float(dtype, tensor_only(input, "rand_like"), "rand_like")
    return _formatted(rand(*input.shape, generator=generator).to(kind), input, memory_format, "rand_like")


def randn_like(input: Tensor, dtype: dtype | str | None = None, *, generator: Generator | None = None,
               memory_format: memory_format | None = None) -> Tensor:  # fmt: skip
    """Normal with mean 0 and standard deviation 1 in x's shape and dtype, and memory format unless one is given."""
    kind = _float(dtype, tensor_only(input, "randn_like"), "randn_like")
    return _formatted(randn(*input.shape, generator=generator).to(kind), input, memory_format, "randn_like")


def _wide(shape: tuple, generator: Generator | None):
    """Uniform on [0, 1) in float64, of 48 random bits: two draws an element."""
    draws = rand(2, *shape, generator=generator).numpy().astype("float64")
    return draws[0] + draws[1] * 2.0**-24


def randint(low, high=None, size=None, *, generator: Generator | None = None, dtype: dtype | str = "int64") -> Tensor:
    """Whole numbers from low up to below high, each as likely as the others; randint(high, size) starts at 0."""
    import numpy

    if size is None and isinstance(high, (tuple, list)):
        low, high, size = 0, low, high
    if high is None:
        low, high = 0, low
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"randint: size must be a tuple, got {size!r}")
    shape = integers(size, "randint", "size")
    low, high = integer(low, "randint", "low"), integer(high, "randint", "high")
    if not low < high:
        raise RuntimeError(f"randint: low {low} must be below high {high}")
    if max(-low, high) > 1 << 62:
        raise RuntimeError(f"randint: the range from {low} to {high} is too large")
    steps = numpy.minimum(numpy.floor(_wide(shape, generator) * (high - low)), float(high - low - 1))
    return _core.from_numpy(numpy.asarray(steps.astype("int64") + low)).to(dtype)


def randint_like(
    input: Tensor, low, high=None, *, generator: Generator | None = None, dtype: dtype | str | None = None,
    memory_format: memory_format | None = None,
) -> Tensor:  # fmt: skip
    """`randint` in x's shape and dtype, and memory format unless one is given."""
    low, high = (0, low) if high is None else (low, high)
    shape = tensor_only(input, "randint_like").shape
    drawn = randint(low, high, shape, generator=generator, dtype=dtype or input.dtype)
    return _formatted(drawn, input, memory_format, "randint_like")


def normal(mean=0.0, std=1.0, size=None, *, generator: Generator | None = None) -> Tensor:
    """Normal with mean and std, numbers or tensors that broadcast; numbers need a size."""
    from pyengine.ops.join import broadcast_shapes

    if not isinstance(mean, Tensor) and not isinstance(std, Tensor):
        if size is None:
            raise TypeError("normal: size is needed where mean and std are numbers")
        shape = integers(size, "normal", "size")
    else:
        shape = broadcast_shapes(*[x.shape for x in (mean, std) if isinstance(x, Tensor)])
    if isinstance(std, Tensor):
        if std.numel() and std.detach().float().amin().item() < 0:
            raise RuntimeError("normal: std must not be negative")
    elif std < 0:
        raise RuntimeError(f"normal: std must not be negative, got {std}")
    return randn(*shape, generator=generator) * std + mean


@method
def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability x (or p for all), else 0. Not recorded."""
    x = tensor_only(input, "bernoulli").detach()
    if p is None:
        if not x.is_floating_point():
            raise RuntimeError(f"bernoulli: probabilities must be floats, got {x.dtype.name}")
        limit = x.float()
        if x.numel() and not (limit.amin().item() >= 0 and limit.amax().item() <= 1):
            raise RuntimeError(f"bernoulli: probabilities must lie in [0, 1], shape {x.shape}")
    else:
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli: p must lie in [0, 1], got {p}")
        limit = _core.full((), float(p), "float32")
    return (rand(*x.shape, generator=generator) < limit).to(x.dtype)


@method
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Indices drawn with probabilities proportional to the weights of the last axis, as int64.

    Shape: (n) -> (num_samples) or (m, n) -> (m, num_samples). Without replacement by the order of exponential times
    (Efraimidis and Spirakis, 2006).
    """
    import numpy

    weights, count = tensor_only(input, "multinomial"), integer(num_samples, "multinomial", "num_samples")
    if not 1 <= weights.ndim <= 2 or not weights.is_floating_point():
        raise RuntimeError(
            f"multinomial: one or two axes of floats are needed, got {weights.dtype.name} of shape {weights.shape}"
        )
    w = weights.detach().to("float64").numpy()
    if count <= 0 or (not replacement and count > w.shape[-1]) or count > 1 << 32:
        raise RuntimeError(f"multinomial: {count} samples do not fit weights of shape {weights.shape}")
    if w.shape[-1] == 0:
        raise RuntimeError(f"multinomial: nothing to draw from, shape {weights.shape}")
    total = w.sum(-1, keepdims=True)
    if not (w >= 0).all() or not numpy.isfinite(w).all() or not (total > 0).all():
        raise RuntimeError("multinomial: weights must be finite, not negative and not all 0")
    if not replacement and ((w > 0).sum(-1) < count).any():
        raise RuntimeError(f"multinomial: fewer than {count} weights are not 0")
    if replacement:
        edges = numpy.cumsum(w / total, -1)
        draws = _wide((*w.shape[:-1], count), generator) * edges[..., -1:]
        last = w.shape[-1] - 1 - numpy.argmax(w[..., ::-1] > 0, -1)[..., None]
        found = numpy.empty(draws.shape, "int64")
        for row in numpy.ndindex(draws.shape[:-1]):
            found[row] = numpy.searchsorted(edges[row], draws[row], side="right")
        return _core.from_numpy(numpy.minimum(found, last))
    with numpy.errstate(divide="ignore"):
        times = -numpy.log1p(-_wide(w.shape, generator)) / w
    times[w == 0] = numpy.inf
    return _core.from_numpy(numpy.argsort(times, -1, kind="stable")[..., :count].astype("int64", order="C"))
