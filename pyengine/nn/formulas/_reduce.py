"""What every loss does last: its elements as they are, their mean or their sum."""

import warnings

from pyengine._core import Tensor
from pyengine.ops._method import tensor_only


def asked(name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction in force: torch's two older arguments win where they are given."""
    if size_average is not None or reduce is not None:
        return "none" if reduce is False else "sum" if size_average is False else "mean"
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    return reduction


def reduced(each: Tensor, reduction: str) -> Tensor:
    """each, its mean or its sum."""
    return each if reduction == "none" else each.mean() if reduction == "mean" else each.sum()


def paired(name: str, input: Tensor, target: Tensor) -> None:
    """Both are tensors; a warning, as in torch, where they have to be broadcast."""
    if tensor_only(input, name, "input").shape != tensor_only(target, name, "target").shape:
        warnings.warn(
            f"{name}: target of shape {target.shape} is broadcast against input of shape {input.shape}", stacklevel=3
        )


def alike(name: str, input: Tensor, target: Tensor) -> None:
    """Both are tensors of one shape."""
    if tensor_only(input, name, "input").shape != tensor_only(target, name, "target").shape:
        raise ValueError(f"{name}: target of shape {target.shape}, input of shape {input.shape}: they must be equal")
