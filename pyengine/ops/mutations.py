"""The forms that write into their tensor: `name_(x, ...)` is `name(x, ...)` put into x, recorded like it."""

from importlib import import_module

from pyengine import _core
from pyengine._core import Tensor
from pyengine.ops.norms import renorm

_ROWS = {name: _core.elementwise_op(name) for name in ("add", "sub", "mul", "pow", "relu", "sigmoid", "tanh", "exp",
                                                       "sqrt", "neg", "abs")}  # fmt: skip


def _in_place(*functions) -> None:
    """Gives Tensor the method `name_` for each function; where x has a row of its own, without a second tensor."""
    for function in functions:
        _core.add_method(function.__name__ + "_", _form(function))


def _form(function):
    name = function.__name__
    row = _ROWS.get(name, -1)

    def update(x: Tensor, *args, **kwargs):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}_: x must be a Tensor, got {type(x).__name__}")
        if row >= 0 and not kwargs:
            return _core.elementwise_(row, x, *args)
        watched = any(isinstance(a, Tensor) and a.requires_grad for a in (x, *args, *kwargs.values()))
        # the tape keeps a clone: x's old values are gone afterwards
        source = _core.copy(x) if watched and _core.is_grad_enabled() else x
        return _core.replace_(x, function(source, *args, **kwargs), name)

    update.__name__ = update.__qualname__ = name + "_"
    update.__doc__ = f"`{name}` written into x itself. Returns x."
    return update


_FORMS = {
    "elementwise": "abs acos add asin atan atan2 ceil cos cosh eq erf erfc exp exp2 expm1 floor ge gt le log log10 "
    "log1p log2 lt mul ne neg pow reciprocal relu rsqrt sigmoid sign sin sinh sqrt square sub tan tanh trunc",
    "arithmetic": "absolute addcdiv addcmul copysign div divide float_power floor_divide fmod hypot lerp multiply "
    "negative remainder subtract true_divide",
    "rounding": "clamp clamp_max clamp_min clip fix frac heaviside nan_to_num round sgn",
    "compare": "bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor greater "
    "greater_equal less less_equal logical_and logical_not logical_or logical_xor not_equal",
    "special": "acosh arccos arccosh arcsin arcsinh arctan arctan2 arctanh asinh atanh deg2rad digamma erfinv lgamma "
    "logit rad2deg sinc xlogy",
    "scan": "cumprod cumsum",
    "gathering": "masked_fill masked_scatter",
    "scattering": "scatter scatter_add scatter_reduce index_add index_copy index_fill index_put",
    "diagonals": "tril triu",
}
for _module, _names in _FORMS.items():
    _in_place(*(getattr(import_module(f"pyengine.ops.{_module}"), name) for name in _names.split()))
_in_place(renorm)
