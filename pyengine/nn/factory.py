"""What constructors of layers share."""

from pyengine import _core


def float32_only(what, device=None, dtype=None):
    """Takes torch's device and dtype of a new layer: the processor and float32 are all there is."""
    if device is not None and str(device) != "cpu":
        raise RuntimeError(f"{what}: there is no device {device!r}; 'cpu' is the only one")
    if dtype is not None and _core.dtype_of(dtype).name != "float32":
        raise TypeError(f"{what}: parameters are float32, got dtype {dtype!r}")


def repeated(value, n):
    """value as a tuple of n; one that is a sequence is taken as it is."""
    return tuple(value) if hasattr(value, "__iter__") else (value,) * n
