"""Channels to space and back, and channels in another order: reshapes around one permutation."""

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops._arguments import integer
from pyengine.ops._method import tensor_only

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _factor(x: Tensor, factor, what: str, name: str) -> int:
    if tensor_only(x, what, "input").ndim < 3:
        raise RuntimeError(f"{what}: at least 3 axes are needed, got shape {x.shape}")
    factor = integer(factor, what, name)
    if factor <= 0:
        raise RuntimeError(f"{what}: {name} must be positive, got {factor}")
    return factor


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., c r^2, h, w) -> (..., c, h r, w r). (Shi et al., 2016)"""
    r = _factor(input, upscale_factor, "pixel_shuffle", "upscale_factor")
    *lead, c, h, w = input.shape
    if c % (r * r):
        raise RuntimeError(f"pixel_shuffle: {c} channels of shape {input.shape} are no multiple of {r * r}")
    n = 1
    for size in lead:
        n *= size
    if _core.has_channels_last(input) and input.ndim == 4:
        x = _core.reshape(_core.permute(input, (0, 2, 3, 1)), (n, h, w, c // (r * r), r, r))
        x = _core.reshape(_core.permute(x, (0, 1, 4, 2, 5, 3)), (n, h * r, w * r, c // (r * r)))
        return _core.permute(x, (0, 3, 1, 2))
    x = _core.permute(_core.reshape(input, (n, c // (r * r), r, r, h, w)), (0, 1, 4, 2, 5, 3))
    return _core.reshape(x, (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., c, h r, w r) -> (..., c r^2, h, w): `pixel_shuffle` undone."""
    r = _factor(input, downscale_factor, "pixel_unshuffle", "downscale_factor")
    *lead, c, h, w = input.shape
    if h % r or w % r:
        raise RuntimeError(f"pixel_unshuffle: shape {input.shape} does not divide by {r}")
    n = 1
    for size in lead:
        n *= size
    if _core.has_channels_last(input) and input.ndim == 4:
        x = _core.reshape(_core.permute(input, (0, 2, 3, 1)), (n, h // r, r, w // r, r, c))
        x = _core.reshape(_core.permute(x, (0, 1, 3, 5, 2, 4)), (n, h // r, w // r, c * r * r))
        return _core.permute(x, (0, 3, 1, 2))
    x = _core.permute(_core.reshape(input, (n, c, h // r, r, w // r, r)), (0, 1, 3, 5, 2, 4))
    return _core.reshape(x, (*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of axis 1, read group by group, dealt out in turn. (Zhang et al., 2018)"""
    groups = _factor(input, groups, "channel_shuffle", "groups")
    n, c = input.shape[:2]
    if c % groups:
        raise RuntimeError(f"channel_shuffle: {c} channels of shape {input.shape} are no multiple of {groups}")
    if _core.has_channels_last(input):
        x = _core.permute(input, (0, *range(2, input.ndim), 1))
        space = x.shape[:-1]
        x = _core.reshape(_core.transpose(_core.reshape(x, (*space, groups, c // groups)), -1, -2), (*space, c))
        return _core.permute(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))
    x = _core.transpose(_core.reshape(input, (n, groups, c // groups, input[0, 0].numel() if n and c else 0)), 1, 2)
    return _core.reshape(x, input.shape)
