"""Random numbers: counter-based (Philox-4x32-10; Salmon et al., 2011), the same for any number of threads."""

from pyengine import _core
from pyengine._core import Generator, Tensor, dtype
from pyengine.ops._method import method, rule, sizes


def manual_seed(seed: int) -> Generator:
    """Starts the default generator anew."""
    return _core.default_generator.manual_seed(seed)


@method
def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills x from the uniform distribution on [a, b)."""
    return _core.random_(x, "uniform", a, b, generator)


@method
def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fills x from the normal distribution."""
    if std < 0:
        raise ValueError(f"normal_: std must not be negative, got {std}")
    return _core.random_(x, "normal", mean, std, generator)


def rand(
    *shape, generator: Generator | None = None, dtype: dtype | str | None = None, requires_grad: bool = False
) -> Tensor:
    """Uniform on [0, 1)."""
    out = uniform_(_core.empty(sizes(shape)), generator=generator)
    return (out if dtype is None else out.to(dtype)).requires_grad_(requires_grad)


def randn(
    *shape, generator: Generator | None = None, dtype: dtype | str | None = None, requires_grad: bool = False
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    out = normal_(_core.empty(sizes(shape)), generator=generator)
    return (out if dtype is None else out.to(dtype)).requires_grad_(requires_grad)


def randperm(n: int, *, generator: Generator | None = None) -> Tensor:
    """0 .. n-1 in random order, as int64."""
    import numpy

    if n < 0:
        raise ValueError(f"randperm: n must not be negative, got {n}")
    # two 24-bit draws make ties (which sort in order) one in 2^48 pairs
    keys = rand(2, n, generator=generator).numpy().astype(numpy.float64)
    return _core.from_numpy(numpy.argsort(keys[0] + keys[1] * 2.0**-24, kind="stable").astype(numpy.int64))


def dropout(x: Tensor, p: float = 0.5, training: bool = True, *, generator: Generator | None = None) -> Tensor:
    """x / (1-p) with probability 1-p, else 0; x itself when not training. No mask is stored: the gradient
    draws the same numbers again. (Srivastava et al., 2014)"""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must be 0 to 1, got {p}")
    if not training or p == 0.0:
        return x
    return x * 0.0 if p == 1.0 else _core.dropout(x, p, generator)


@rule("dropout")
def _dropout(node, g):
    p, state = node.meta
    return _core.dropout(g, p, None, state)
