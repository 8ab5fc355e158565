"""Borders around a tensor, in every mode of torch.nn.functional.pad."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import along, integers
from pyengine.ops._method import tensor_only
from pyengine.ops.shape import _placed, cat


def _cut(x: Tensor, widths: list) -> tuple:
    """What negative widths leave of x."""
    return tuple(slice(max(-a, 0), max(n - max(-b, 0), 0)) for n, (a, b) in zip(x.shape, widths, strict=True))


def _constant(x: Tensor, widths: list, value) -> Tensor:
    shape = tuple(n + a + b for n, (a, b) in zip(x.shape, widths, strict=True))
    if min(shape, default=0) < 0:
        raise RuntimeError(f"pad: widths {widths} leave less than nothing of shape {x.shape}")
    cut = _cut(x, widths)
    at = tuple(slice(max(a, 0), n - max(b, 0)) for n, (a, b) in zip(shape, widths, strict=True))
    return _placed(x[cut] if x.ndim else x, shape, at, value)


def _reflected(x: Tensor, axis: int, a: int, b: int) -> Tensor:
    n = x.shape[axis]
    if a >= n or b >= n:
        raise RuntimeError(f"pad: reflect by ({a}, {b}) needs more than the {n} of axis {axis} of shape {x.shape}")
    parts = [x]
    if a > 0:
        parts.insert(0, x[along(axis, slice(a, 0, -1))])
    if b > 0:
        parts.append(x[along(axis, slice(n - 2, n - 2 - b if n - 2 - b >= 0 else None, -1))])
    return cat(parts, axis)


def _replicated(x: Tensor, axis: int, a: int, b: int) -> Tensor:
    n = x.shape[axis]
    if n == 0:
        raise RuntimeError(f"pad: replicate has nothing to repeat along axis {axis} of shape {x.shape}")
    shape = list(x.shape)
    parts = [x]
    if a > 0:
        shape[axis] = a
        parts.insert(0, _core.expand(x[along(axis, slice(0, 1))], shape))
    if b > 0:
        shape[axis] = b
        parts.append(_core.expand(x[along(axis, slice(n - 1, n))], shape))
    return cat(parts, axis)


def _wrapped(x: Tensor, axis: int, a: int, b: int) -> Tensor:
    n = x.shape[axis]
    if a > n or b > n:
        raise RuntimeError(f"pad: circular by ({a}, {b}) goes more than once around axis {axis} of shape {x.shape}")
    parts = [x]
    if a > 0:
        parts.insert(0, x[along(axis, slice(n - a, n))])
    if b > 0:
        parts.append(x[along(axis, slice(0, b))])
    return cat(parts, axis)


_MODES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}


def pad(input: Tensor, pad, mode: str = "constant", value: float | None = None) -> Tensor:
    """x with `pad` = (left, right, top, bottom, ...) more elements, the last axis first; negative widths cut.

    Arguments: mode, "constant" (value, 0 unless given), "reflect" (without the border itself), "replicate" or
    "circular"; the last three take widths for the last one, two or three axes.

    >>> pad(pe.tensor([1, 2, 3]), (1, 2)).tolist()
    [0, 1, 2, 3, 0, 0]
    """
    tensor_only(input, "pad", "input")
    flat = integers(pad, "pad", "pad")
    if len(flat) % 2 or len(flat) > 2 * input.ndim:
        raise RuntimeError(f"pad: widths {flat} are not two for each of the last axes of shape {input.shape}")
    widths = [(0, 0)] * (input.ndim - len(flat) // 2) + list(zip(flat[::2], flat[1::2], strict=True))[::-1]
    if mode == "constant":
        return _constant(input, widths, value or 0)
    if mode not in _MODES:
        raise NotImplementedError(f"pad: mode must be 'constant', 'reflect', 'replicate' or 'circular', got {mode!r}")
    if value not in (None, 0):
        raise ValueError(f"pad: mode {mode!r} takes no value, got {value!r}")
    if not len(flat) // 2 < input.ndim <= len(flat) // 2 + 2 or len(flat) > 6:
        raise NotImplementedError(f"pad: {mode} of {len(flat) // 2} axes of a tensor of shape {input.shape}")
    if mode == "circular":  # what is cut does not come round
        input = input[_cut(input, widths)]
    for axis, (a, b) in enumerate(widths):
        if a > 0 or b > 0:
            input = _MODES[mode](input, axis, a, b)
    if mode == "circular" or not any(a < 0 or b < 0 for a, b in widths):
        return input
    return input[_cut(input, widths)]
