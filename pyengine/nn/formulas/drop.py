"""Dropout in all its forms: of elements, of whole channels, and the ones that keep SELU's mean and variance."""

import warnings

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only

from .activation import SELU_ALPHA, SELU_SCALE, _applied

__all__ = ["alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"]


def _probability(name: str, p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"{name}: p must be between 0 and 1, got {p}")
    return float(p)


def _kept(shape: tuple, p: float) -> Tensor:
    """1 with probability 1 - p, else 0."""
    if p == 1.0:
        return _core.full(shape, 0.0, "float32")
    return (_core.dropout(_core.full(shape, 1.0, "float32"), p) != 0.0).float()


def _channels(x: Tensor) -> tuple:
    """A shape with one entry for each channel of each sample (N, C, ...)."""
    return (*x.shape[:2], *[1] * (x.ndim - 2))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator=None) -> Tensor:
    """x / (1-p) with probability 1-p, else 0; x itself when not training. (Srivastava et al., 2014)"""
    _probability("dropout", p)
    tensor_only(input, "dropout", "input")
    if not training or p == 0:
        return input
    return _applied(lambda x: ops.dropout(x, p, True, generator=generator), input, inplace, "dropout")


def _feature_dropout(name: str, x: Tensor, p: float, training: bool, inplace: bool, unbatched: bool) -> Tensor:
    _probability(name, p)
    if not training or p == 0:
        return x

    def dropped(x: Tensor) -> Tensor:
        whole = x.unsqueeze(0) if unbatched else x
        scale = 1.0 / (1.0 - p) if p < 1 else 0.0
        whole = whole * (_kept(_channels(whole), p) * scale)
        return whole.reshape(x.shape)

    return _applied(dropped, x, inplace, name)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, L) or (C, L). (Tompson et al., 2015)"""
    if tensor_only(input, "dropout1d", "input").ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: input must have 2 or 3 axes, got shape {input.shape}")
    return _feature_dropout("dropout1d", input, p, training, inplace, input.ndim == 2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, H, W); of three axes the first two are sample and channel, as in torch.
    (Tompson et al., 2015)"""
    if tensor_only(input, "dropout2d", "input").ndim not in (3, 4):
        warnings.warn(f"dropout2d: input of shape {input.shape}, 3 or 4 axes are expected", stacklevel=2)
    if input.ndim < 2:
        raise RuntimeError(f"dropout2d: input must have at least 2 axes, got shape {input.shape}")
    return _feature_dropout("dropout2d", input, p, training, inplace, False)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W). (Tompson et al., 2015)"""
    if tensor_only(input, "dropout3d", "input").ndim not in (4, 5):
        warnings.warn(f"dropout3d: input of shape {input.shape}, 4 or 5 axes are expected", stacklevel=2)
    if input.ndim < 2:
        raise RuntimeError(f"dropout3d: input must have at least 2 axes, got shape {input.shape}")
    return _feature_dropout("dropout3d", input, p, training, inplace, input.ndim == 4)


def _alpha(name: str, x: Tensor, p: float, training: bool, inplace: bool, features: bool) -> Tensor:
    _probability(name, p)
    if not training or p == 0:
        return tensor_only(x, name, "input")
    if features and tensor_only(x, name, "input").ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 axes, got shape {x.shape}")
    low = -SELU_ALPHA * SELU_SCALE  # where selu saturates

    def dropped(x: Tensor) -> Tensor:
        kept = _kept(_channels(x) if features else x.shape, p)
        if p == 1:
            return x * 0.0
        scale = ((1.0 - p) * (1.0 + p * low**2)) ** -0.5
        return (x * kept + (1.0 - kept) * low) * scale - scale * low * p

    return _applied(dropped, x, inplace, name)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout to selu's lower bound, scaled so that mean and variance stay. (Klambauer et al., 2017)"""
    return _alpha("alpha_dropout", input, p, training, inplace, False)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels."""
    return _alpha("feature_alpha_dropout", input, p, training, inplace, True)
