"""A module's tensors in another element type: to(), half(), float(), ..."""

import pyengine as pe
from pyengine import Tensor, no_grad


class ConvertMethods:
    """What Module has of torch's conversions. The engine computes in float32 on the CPU: other types are for storage,
    and a layer in them says so when it is called."""

    def _apply(self, fn):
        """Every parameter, gradient and buffer x becomes fn(x), in place: optimizers keep what they hold."""
        with no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                grad = tensor.grad
                tensor.grad = None
                tensor.data = fn(tensor.detach())
                if grad is not None:
                    tensor.grad = fn(grad.detach())
        return self

    def _cast(self, dtype):
        return self._apply(lambda x: x.to(dtype) if x.is_floating_point() else x)

    def float(self):
        """All floating tensors as float32. Returns self."""
        return self._cast("float32")

    def double(self):
        """All floating tensors as float64: for storage. Returns self."""
        return self._cast("float64")

    def half(self):
        """All floating tensors as float16: for storage. Returns self."""
        return self._cast("float16")

    def bfloat16(self):
        """All floating tensors as bfloat16: for storage, and for `Linear` in inference. Returns self."""
        return self._cast("bfloat16")

    def type(self, dst_type):
        """All tensors as dst_type. Returns self."""
        return self._apply(lambda x: x.to(dst_type))

    def cpu(self):
        """Nothing to do: the CPU is all there is. Returns self."""
        return self

    def to(self, *args, **kwargs):
        """to(dtype), to("cpu"), to("cpu", dtype), to(tensor): floating tensors in that dtype. memory_format: for all
        tensors of 4 or 5 axes. Returns self."""
        device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
        kwargs.pop("non_blocking", None)
        memory_format = kwargs.pop("memory_format", None)
        if kwargs:
            raise TypeError(f"Module.to: unknown arguments {sorted(kwargs)}")
        for given in args:
            if isinstance(given, Tensor):
                dtype = given.dtype
            elif isinstance(given, pe.dtype):
                dtype = given
            elif not isinstance(given, bool):  # non_blocking
                device = given if given is not None else device
        if device is not None and str(device) not in ("cpu", "cpu:0"):
            raise RuntimeError(f"Module.to: the only device is 'cpu', got {device!r}")
        if memory_format is not None:
            self._apply(lambda x: x.to(memory_format=memory_format) if x.ndim in (4, 5) else x)
        if dtype is None:
            return self
        if isinstance(dtype, pe.dtype) and not pe.empty(0, dtype=dtype).is_floating_point():
            raise TypeError(f"Module.to: a floating dtype is needed, got {dtype.name}")
        return self._cast(dtype)
