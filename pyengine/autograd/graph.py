"""The tape seen from outside: its nodes, and what operations save."""

from pyengine import _core
from pyengine._core import Node

__all__ = ["Node", "saved_tensors_hooks"]


class saved_tensors_hooks:
    """Inside the block operations keep pack_hook(tensor) for their derivative, which gets unpack_hook of that.

    For what is better recomputed, compressed or put on disk. Leaves that require grad are kept as they are.

    >>> import pyengine as pe
    >>> x = pe.tensor([2.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.to("bfloat16"), lambda t: t.float()):
    ...     y = (x * 1.0).exp()
    >>> y.backward()
    >>> x.grad.tolist()  # e^2 as bfloat16 has it
    [7.375]
    """

    def __init__(self, pack_hook, unpack_hook):
        for hook in (pack_hook, unpack_hook):
            if not callable(hook):
                raise TypeError(f"saved_tensors_hooks: hooks must be callable, got {type(hook).__name__}")
        self.hooks = pack_hook, unpack_hook

    def __enter__(self):
        _core.push_saved_hooks(*self.hooks)

    def __exit__(self, *exc):
        _core.pop_saved_hooks()
