"""Windows of a tensor's last axes, and their sum back: what convolution and pooling are made of."""

from itertools import product

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._method import rule, tensor_only
from pyengine.ops.shape import _placed


def sizes_of(value, n: int, what: str, argument: str, least: int = 0) -> tuple[int, ...]:
    """value as n integers: one stands for all of them. RuntimeError, as torch's, for others or smaller ones."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(given) not in (1, n):
        raise RuntimeError(f"{what}: {argument} must be one integer or {n}, got {value!r}")
    for size in given:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise TypeError(f"{what}: {argument} must be integers, got {value!r}")
        if size < least or size >= 1 << 62:
            raise RuntimeError(f"{what}: {argument} must be at least {least} (and fit 62 bits), got {value!r}")
    given = tuple(size.__index__() for size in given)
    return given * n if len(given) == 1 else given


def is_fixed(value) -> bool:
    """Integers that nobody can change in place, and that are equal to nothing of another kind: a key for lru_cache."""
    return type(value) is int or (type(value) is tuple and all(type(size) is int for size in value))


def spatial(x: Tensor, n: int, what: str, argument: str = "input") -> Tensor:
    """x, checked to be (channels, n axes) or (batch, channels, n axes)."""
    if tensor_only(x, what, argument).ndim not in (n + 1, n + 2):
        raise RuntimeError(f"{what}: {argument} must have {n + 1} or {n + 2} axes, got shape {x.shape}")
    return x


def padded(x: Tensor, pads, value: float = 0.0) -> Tensor:
    """x with (before, after) more elements of `value` along each of its last len(pads) axes."""
    if not any(before or after for before, after in pads):
        return x
    lead = x.ndim - len(pads)
    shape = x.shape[:lead] + tuple(n + sum(pad) for n, pad in zip(x.shape[lead:], pads, strict=True))
    index = (Ellipsis, *(slice(before, before + n) for n, (before, _) in zip(x.shape[lead:], pads, strict=True)))
    return _placed(x, shape, index, value)


def windows(x: Tensor, sizes, steps, spacings, what: str = "windows") -> Tensor:
    """The windows of x's last axes, (..., L1 .. Ln) -> (..., O1 .. On, K1 .. Kn), as a view: window o holds the
    elements o step + k spacing."""
    out = _core.windows(x, sizes, steps, spacings, what)
    return _core.record(out, "windows", (x,), (), (x.shape[x.ndim - len(sizes) :], steps, spacings))


@rule("windows")
def _windows(node, g):
    return sum_windows(g, *node.meta)


def sum_windows(x: Tensor, lengths, steps, spacings) -> Tensor:
    """The sum of the windows (..., O1 .. On, K1 .. Kn), each at its place in (..., L1 .. Ln): what `windows` pulls
    back. One strided sum a position in the window, in ascending order."""
    n = len(lengths)
    counts, sizes = x.shape[x.ndim - 2 * n : x.ndim - n], x.shape[x.ndim - n :]
    out = _core.full((*x.shape[: x.ndim - 2 * n], *lengths), 0.0, x.dtype)
    was = _core.set_grad_mode(False)
    try:
        for position in product(*map(range, sizes)):
            place = tuple(
                slice(k * gap, k * gap + (count - 1) * step + 1, step)
                for k, gap, count, step in zip(position, spacings, counts, steps, strict=True)
            )
            out[(Ellipsis, *place)].add_(x[(Ellipsis, *position)])
    finally:
        _core.set_grad_mode(was)
    return _core.record(out, "sum_windows", (x,), (), (counts, sizes, steps, spacings))


@rule("sum_windows")
def _sum_windows(node, g):
    counts, sizes, steps, spacings = node.meta
    # behind the last window there may be room for one more
    used = tuple(
        slice(0, (count - 1) * step + (size - 1) * gap + 1)
        for count, size, step, gap in zip(counts, sizes, steps, spacings, strict=True)
    )
    return windows(g[(Ellipsis, *used)], sizes, steps, spacings)
