"""Activations made of straight pieces, fixed or learned."""

import pyengine as pe

from . import functional as F
from .module import Module, Parameter


class _InPlace(Module):
    """An activation whose only argument says whether it overwrites its input."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Hardtanh(Module):
    """x held between min_val and max_val.

    >>> import pyengine as pe
    >>> pe.nn.Hardtanh(0.0, 2.0)(pe.tensor([-1.0, 1.0, 3.0])).tolist()
    [0.0, 1.0, 2.0]
    """

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False):
        super().__init__()
        if not max_val > min_val:
            raise AssertionError(f"Hardtanh: max_val {max_val} must lie above min_val {min_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, x):
        return F.hardtanh(x, self.min_val, self.max_val, self.inplace)

    def extra_repr(self):
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """min(max(x, 0), 6).

    >>> import pyengine as pe
    >>> pe.nn.ReLU6()(pe.tensor([-1.0, 3.0, 8.0])).tolist()
    [0.0, 3.0, 6.0]
    """

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def forward(self, x):
        return F.relu6(x, self.inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class Hardsigmoid(_InPlace):
    """min(max(x + 3, 0), 6) / 6. (Howard et al. 2019)

    >>> import pyengine as pe
    >>> pe.nn.Hardsigmoid()(pe.tensor([-3.0, 0.0, 3.0])).tolist()
    [0.0, 0.5, 1.0]
    """

    def forward(self, x):
        return F.hardsigmoid(x, self.inplace)


class Hardswish(_InPlace):
    """x hardsigmoid(x). (Howard et al. 2019)

    >>> import pyengine as pe
    >>> pe.nn.Hardswish()(pe.tensor([-3.0, 0.0, 3.0])).tolist()
    [-0.0, 0.0, 3.0]
    """

    def forward(self, x):
        return F.hardswish(x, self.inplace)


class _Shrink(Module):
    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return f"{self.lambd}"


class Hardshrink(_Shrink):
    """x, and 0 where |x| <= lambd.

    >>> import pyengine as pe
    >>> pe.nn.Hardshrink()(pe.tensor([-0.5, 0.75])).tolist()
    [0.0, 0.75]
    """

    def forward(self, x):
        return F.hardshrink(x, self.lambd)


class Softshrink(_Shrink):
    """x moved towards 0 by lambd, and 0 where |x| <= lambd.

    >>> import pyengine as pe
    >>> pe.nn.Softshrink()(pe.tensor([-0.25, 0.75])).tolist()
    [-0.0, 0.25]
    """

    def forward(self, x):
        return F.softshrink(x, self.lambd)


class Threshold(Module):
    """x where x > threshold, else value.

    >>> import pyengine as pe
    >>> pe.nn.Threshold(0.5, -1.0)(pe.tensor([0.5, 0.75])).tolist()
    [-1.0, 0.75]
    """

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, x):
        return F.threshold(x, self.threshold, self.value, self.inplace)

    def extra_repr(self):
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """x where x > 0, else weight x, with a learned weight: one, or one for each entry of axis 1. (He et al. 2015)

    Arguments: num_parameters, 1 or the size of axis 1; init, the weight's start.

    >>> import pyengine as pe
    >>> pe.nn.PReLU()(pe.tensor([-2.0, 2.0])).tolist()
    [-0.5, 2.0]
    """

    def __init__(self, num_parameters=1, init=0.25):
        super().__init__()
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(pe.full((num_parameters,), float(init)))

    def reset_parameters(self):
        """The weight's start anew."""
        with pe.no_grad():
            self.weight.fill_(self.init)

    def forward(self, x):
        return F.prelu(x, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """x where x > 0, else a x: in training each a is drawn from [lower, upper), else it is their middle.
    (Xu et al. 2015)

    >>> import pyengine as pe
    >>> pe.nn.RReLU(0.25, 0.75).eval()(pe.tensor([-2.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, lower=1 / 8, upper=1 / 3, inplace=False):
        super().__init__()
        self.lower, self.upper, self.inplace = lower, upper, inplace

    def forward(self, x):
        return F.rrelu(x, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self):
        return f"lower={self.lower}, upper={self.upper}" + (", inplace=True" if self.inplace else "")
