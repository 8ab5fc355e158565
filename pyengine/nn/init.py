"""How parameters start: each function fills a tensor in place, off the tape, and returns it.

fan_in is the number of inputs of one output, fan_out the number of outputs that one input reaches: for a weight
(out, in, k1, k2, ...) they are in k1 k2 ... and out k1 k2 .... Every draw takes `generator`, so that it can be
repeated; without one the default generator of manual_seed() is used.
"""

import math

import pyengine as pe
from pyengine import no_grad

_LINEAR = ("linear", "sigmoid", "conv1d", "conv2d", "conv3d",
           "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")  # fmt: skip


def calculate_gain(nonlinearity, param=None):
    """The factor by which weights must grow so that a signal keeps its size through this nonlinearity.

    linear, sigmoid, conv*: 1; tanh: 5/3; relu: sqrt(2); leaky_relu: sqrt(2 / (1 + slope^2)) with slope = param
    (0.01); selu: 3/4.

    >>> calculate_gain("relu") == math.sqrt(2)
    True
    """
    if nonlinearity in _LINEAR:
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3.0
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the slope of leaky_relu must be a number, got {slope!r}")
        return math.sqrt(2.0 / (1.0 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4.0
    raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}")


# ---- plain distributions ---------------------------------------------------------


@no_grad()
def uniform_(tensor, a=0.0, b=1.0, *, generator=None):
    """x ~ U(a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor, mean=0.0, std=1.0, *, generator=None):
    """x ~ N(mean, std^2)."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def constant_(tensor, val):
    """x = val."""
    return tensor.fill_(val)


def ones_(tensor):
    """x = 1."""
    return constant_(tensor, 1.0)


def zeros_(tensor):
    """x = 0."""
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor):
    """Ones on the diagonal of a matrix, zeros elsewhere: a linear layer that changes nothing."""
    if tensor.ndim != 2:
        raise ValueError(f"eye_: a matrix is needed, got shape {tensor.shape}")
    return tensor.copy_(pe.eye(*tensor.shape))


@no_grad()
def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, *, generator=None):
    """x ~ N(mean, std^2) on the condition a <= x <= b.

    By inversion: x = mean + std Phi^-1(u) with u uniform between Phi((a - mean) / std) and Phi((b - mean) / std).
    a and b are values, not numbers of standard deviations.
    """
    if not std > 0 or not a < b:
        raise ValueError(f"trunc_normal_: std must be positive and a below b, got std={std}, a={a}, b={b}")
    low, high = (a - mean) / std, (b - mean) / std
    if low > 8 or high < -8:
        raise ValueError(f"trunc_normal_: next to nothing of N({mean}, {std}^2) lies between {a} and {b}")
    u = pe.rand(*tensor.shape, generator=generator).double().numpy()
    # Phi is 1 to the last bit in the upper tail: what lies there is drawn from its mirror image.
    z = -_normal_between(-high, -low, u) if low > 0 else _normal_between(low, high, u)
    tensor.copy_(pe.from_numpy(mean + std * z))
    return tensor.copy_(tensor.clamp(a, b))


def _normal_between(low, high, u):
    """The point below which the share u of the normal distribution between low and high lies."""
    import numpy

    # 8192 straight pieces follow Phi^-1 to 1e-6, less than the step between two draws of 24 bits matters
    z = numpy.linspace(max(low, -8.0), min(high, 8.0), 8193)
    share = numpy.array([math.erfc(-value / math.sqrt(2.0)) for value in z])
    return numpy.interp(share[0] + u * (share[-1] - share[0]), share, z)


# ---- variance kept through layers ------------------------------------------------


def _fans(tensor, what):
    """(fan_in, fan_out) of a weight (out, in, k1, k2, ...)."""
    if tensor.ndim < 2:
        raise ValueError(f"{what}: a weight (out, in, ...) of at least 2 axes is needed, got shape {tensor.shape}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def _scaled_uniform(tensor, std, generator):
    """U(-b, b) with the standard deviation std: b = sqrt(3) std."""
    return uniform_(tensor, -math.sqrt(3.0) * std, math.sqrt(3.0) * std, generator=generator)


def _xavier_std(tensor, gain):
    fan_in, fan_out = _fans(tensor, "xavier")
    return gain * math.sqrt(2.0 / max(fan_in + fan_out, 1))


def xavier_uniform_(tensor, gain=1.0, *, generator=None):
    """U(-b, b), b = gain sqrt(6 / (fan_in + fan_out)): the signal keeps its variance both ways.
    (Glorot & Bengio 2010)"""
    return _scaled_uniform(tensor, _xavier_std(tensor, gain), generator)


def xavier_normal_(tensor, gain=1.0, *, generator=None):
    """N(0, gain^2 2 / (fan_in + fan_out)). (Glorot & Bengio 2010)"""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator=generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = _fans(tensor, "kaiming")[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(max(fan, 1))


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", *, generator=None):
    """U(-b, b), b = gain sqrt(3 / fan), gain = calculate_gain(nonlinearity, a): the variance survives rectifiers,
    forward with mode "fan_in", backward with "fan_out". (He et al. 2015)"""
    return _scaled_uniform(tensor, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", *, generator=None):
    """N(0, gain^2 / fan), gain = calculate_gain(nonlinearity, a). (He et al. 2015)"""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator=generator)


def lecun_uniform_(tensor, *, generator=None):
    """U(-b, b), b = sqrt(3 / fan_in). (LeCun et al. 1998)"""
    return _scaled_uniform(tensor, 1.0 / math.sqrt(max(_fans(tensor, "lecun")[0], 1)), generator)


def lecun_normal_(tensor, *, generator=None):
    """N(0, 1 / fan_in). (LeCun et al. 1998)"""
    return normal_(tensor, 0.0, 1.0 / math.sqrt(max(_fans(tensor, "lecun")[0], 1)), generator=generator)


@no_grad()
def orthogonal_(tensor, gain=1.0, *, generator=None):
    """gain Q with Q uniform among the matrices whose rows (or columns, where there are fewer) are orthonormal.

    Axes after the first count as one. Q is the QR factor of a normal matrix, the signs of R's diagonal moved
    into it: without that Q is not uniform. (Saxe et al. 2013; Mezzadri 2007)
    """
    import numpy

    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: at least 2 axes are needed, got shape {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    tall = pe.randn(max(rows, cols), min(rows, cols), generator=generator).double().numpy()
    q, r = numpy.linalg.qr(tall)
    q *= numpy.where(numpy.diag(r) < 0, -1.0, 1.0)
    q = q if rows >= cols else q.T
    return tensor.copy_(pe.from_numpy(numpy.ascontiguousarray(gain * q.reshape(tensor.shape))))


# ---- few elements that are not 0 ---------------------------------------------------


@no_grad()
def sparse_(tensor, sparsity, std=0.01, *, generator=None):
    """A matrix of N(0, std^2) in which each column has the share `sparsity` of its elements at 0. (Martens 2010)"""
    if tensor.ndim != 2:
        raise ValueError(f"sparse_: a matrix is needed, got shape {tensor.shape}")
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparse_: sparsity must be between 0 and 1, got {sparsity}")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    normal_(tensor, 0.0, std, generator=generator)
    for column in range(columns):
        at = pe.randperm(rows, generator=generator)[:zeros]
        tensor[at, column] = 0.0
    return tensor


@no_grad()
def dirac_(tensor, groups=1):
    """A convolution's weight (out, in, k1, ...) that hands its first inputs through: 1 in the middle of the kernel
    [i, i], 0 elsewhere; for each of `groups` parts of the outputs."""
    if tensor.ndim not in (3, 4, 5):
        raise ValueError(f"dirac_: a weight of 3, 4 or 5 axes is needed, got shape {tensor.shape}")
    if groups < 1 or tensor.shape[0] % groups:
        raise ValueError(f"dirac_: {tensor.shape[0]} outputs cannot be cut into {groups} groups")
    share = tensor.shape[0] // groups
    middle = tuple(size // 2 for size in tensor.shape[2:])
    tensor.zero_()
    for group in range(groups):
        for i in range(min(share, tensor.shape[1])):
            tensor[(group * share + i, i, *middle)] = 1.0
    return tensor


def __getattr__(name):
    """The learned initializers, each in a file of its own, read at first use: they need the layers."""
    short = name.rstrip("_")
    if short in ("gradinit", "lsuv", "metainit"):
        from importlib import import_module

        return getattr(import_module(f"pyengine.nn.init_{short}"), f"{short}_")
    raise AttributeError(f"module 'pyengine.nn.init' has no attribute {name!r}")
