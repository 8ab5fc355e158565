"""Checkpointing: intermediate results are computed again in the backward pass instead of kept. (Chen et al. 2016)"""

from pyengine import default_generator
from pyengine.autograd import enable_grad, is_grad_enabled
from pyengine.autograd.graph import saved_tensors_hooks

__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential"]


class CheckpointError(RuntimeError):
    """The second run of a checkpointed function did not do what the first did."""


class _Enough(Exception):
    """Everything that the first run saved has been computed again."""


class _Frame:
    """One call: what the first run would have kept, as numbers; the second run fills in the tensors."""

    def __init__(self, function, args, kwargs, state, early_stop=True):
        self.call = function, args, kwargs
        self.state = state  # of the random numbers, or None
        self.early_stop = early_stop
        self.shapes = []
        self.again = {}

    def pack(self, tensor):
        self.shapes.append((tensor.shape, tensor.dtype))
        return len(self.shapes) - 1

    def unpack(self, number):
        if number not in self.again:
            self.run_again()
        return self.again.pop(number)

    def run_again(self):
        found = []

        def keep(tensor):
            if len(found) >= len(self.shapes) or (tensor.shape, tensor.dtype) != self.shapes[len(found)]:
                expected = self.shapes[len(found)][0] if len(found) < len(self.shapes) else "nothing more"
                raise CheckpointError(
                    f"checkpoint: the second run saved a tensor of shape {tensor.shape} as number {len(found)}, the "
                    f"first {expected}: the function must do the same both times"
                )
            found.append(tensor)
            if self.early_stop and len(found) == len(self.shapes):
                raise _Enough
            return len(found) - 1

        function, args, kwargs = self.call
        now = default_generator.get_state()
        if self.state is not None:
            default_generator.set_state(self.state)
        try:
            with enable_grad(), saved_tensors_hooks(keep, found.__getitem__):
                function(*args, **kwargs)
        except _Enough:
            pass
        finally:
            default_generator.set_state(now)
        if len(found) != len(self.shapes):
            raise CheckpointError(
                f"checkpoint: the second run saved {len(found)} tensors, the first {len(self.shapes)}: the function "
                "must do the same both times"
            )
        self.again = dict(enumerate(found))


def checkpoint(function, *args, use_reentrant=None, preserve_rng_state=True, determinism_check="default", debug=False,
               **kwargs):  # fmt: skip
    """function(*args, **kwargs), whose intermediate results are not kept: backward() runs function again, from the same
    random numbers (unless preserve_rng_state=False), and takes them from there.

    The tape is the ordinary one, so grad(), hooks and parameters that function only refers to all work;
    use_reentrant, determinism_check and debug are accepted. CheckpointError when the second run differs from the first
    in the shapes that it saves.

    >>> import pyengine as pe
    >>> x = pe.tensor([1.0, 2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * x).exp().sum(), x).backward()
    >>> bool((x.grad - 2 * x * (x * x).exp()).abs().amax() < 1e-4)
    True
    """
    if not callable(function):
        raise TypeError(f"checkpoint: function must be callable, got {type(function).__name__}")
    if not is_grad_enabled():
        return function(*args, **kwargs)
    state = default_generator.get_state() if preserve_rng_state else None
    frame = _Frame(function, args, kwargs, state)
    with saved_tensors_hooks(frame.pack, frame.unpack):
        return function(*args, **kwargs)


def checkpoint_sequential(functions, segments, input, use_reentrant=None, preserve_rng_state=True):
    """A Sequential (or list of functions) in `segments` parts, each checkpointed but the last.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(2, 3), pe.nn.Tanh(), pe.nn.Linear(3, 1))
    >>> checkpoint_sequential(net, 2, pe.ones(4, 2)).shape
    (4, 1)
    """
    functions = list(functions.children()) if hasattr(functions, "children") else list(functions)
    if not isinstance(segments, int) or not 1 <= segments <= max(len(functions), 1):
        raise ValueError(f"checkpoint_sequential: segments must be 1 to {len(functions)}, got {segments!r}")
    size = len(functions) // segments

    def part(start, end):
        def run(x):
            for function in functions[start:end]:
                x = function(x)
            return x

        return run

    for i in range(segments - 1):
        input = checkpoint(part(i * size, (i + 1) * size), input, preserve_rng_state=preserve_rng_state)
    return part((segments - 1) * size, len(functions))(input)
