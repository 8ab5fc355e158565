"""Hooks of modules: functions of the user's that run around forward, around the gradient, around state_dict."""

import warnings

from pyengine import Tensor, _core

KINDS = ("forward_pre", "forward", "backward_pre", "backward", "state_dict_pre", "state_dict",
         "load_state_dict_pre", "load_state_dict_post")  # fmt: skip


class Hooks:
    """One dict a kind: key -> the hook, for forward hooks (hook, with_kwargs, always_call)."""

    def __init__(self):
        for kind in KINDS:
            setattr(self, kind, {})

    @property
    def around_call(self):
        """True when a call has to look at them."""
        return bool(self.forward_pre or self.forward or self.backward_pre or self.backward)


class HookMethods:
    """The register_* methods of Module. Each returns a handle whose remove() takes the hook off."""

    _hooks: Hooks | None = None

    def _hook_dict(self, kind):
        if self._hooks is None:
            object.__setattr__(self, "_hooks", Hooks())
        return getattr(self._hooks, kind)

    def register_forward_pre_hook(self, hook, *, prepend=False, with_kwargs=False):
        """hook(module, args) before forward; what it returns (a tuple, or one value) takes the place of args.
        with_kwargs: hook(module, args, kwargs), which may return (args, kwargs)."""
        entry = (hook, with_kwargs, False)
        return _core.add_hook(self._hook_dict("forward_pre"), hook, "register_forward_pre_hook", entry, prepend)

    def register_forward_hook(self, hook, *, prepend=False, with_kwargs=False, always_call=False):
        """hook(module, args, output) after forward; what it returns takes the place of output. with_kwargs:
        hook(module, args, kwargs, output). always_call: it also runs (with None) where forward raises."""
        entry = (hook, with_kwargs, always_call)
        return _core.add_hook(self._hook_dict("forward"), hook, "register_forward_hook", entry, prepend)

    def register_full_backward_pre_hook(self, hook, prepend=False):
        """hook(module, grad_output) before the gradient passes through the module; it may return another tuple."""
        return _core.add_hook(self._hook_dict("backward_pre"), hook, "register_full_backward_pre_hook", None, prepend)

    def register_full_backward_hook(self, hook, prepend=False):
        """hook(module, grad_input, grad_output) when the gradients of the module's positional inputs are known; it may
        return another grad_input. Both are tuples, with None for what is no tensor or wants no gradient."""
        return _core.add_hook(self._hook_dict("backward"), hook, "register_full_backward_hook", None, prepend)

    register_backward_hook = register_full_backward_hook

    def register_state_dict_pre_hook(self, hook):
        """hook(module, prefix, keep_vars) before state_dict() reads this module."""
        return _core.add_hook(self._hook_dict("state_dict_pre"), hook, "register_state_dict_pre_hook")

    def register_state_dict_post_hook(self, hook):
        """hook(module, state_dict, prefix, local_metadata) after state_dict() has read this module; it may change
        state_dict in place."""
        return _core.add_hook(self._hook_dict("state_dict"), hook, "register_state_dict_post_hook")

    def register_load_state_dict_pre_hook(self, hook):
        """hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs) before
        load_state_dict() looks at this module; state_dict is a copy that it may change."""
        return _core.add_hook(self._hook_dict("load_state_dict_pre"), hook, "register_load_state_dict_pre_hook")

    def register_load_state_dict_post_hook(self, hook):
        """hook(module, incompatible_keys) after load_state_dict(); it may clear the lists of keys."""
        return _core.add_hook(self._hook_dict("load_state_dict_post"), hook, "register_load_state_dict_post_hook")


# ---- a call with hooks -----------------------------------------------------------


def call_with_hooks(module, args, kwargs):
    """module.forward(*args, **kwargs) with everything that hangs on it."""
    hooks, done = module._hooks, set()
    try:
        args, kwargs = _before(module, hooks, args, kwargs)
        probe = _Probe(module, hooks) if hooks.backward or hooks.backward_pre else None
        if probe:
            args = probe.inputs(args)
        result = module.forward(*args, **kwargs)
        for key, entry in list(hooks.forward.items()):
            done.add(key)
            given = _forward_hook(module, entry, args, kwargs, result)
            result = result if given is None else given
        return probe.outputs(result) if probe else result
    except Exception:
        _always(module, hooks, done, args, kwargs)
        raise


def _forward_hook(module, entry, args, kwargs, result):
    hook, with_kwargs, _ = entry
    return hook(module, args, kwargs, result) if with_kwargs else hook(module, args, result)


def _before(module, hooks, args, kwargs):
    for hook, with_kwargs, _ in list(hooks.forward_pre.values()):
        if not with_kwargs:
            given = hook(module, args)
            if given is not None:
                args = given if isinstance(given, tuple) else (given,)
            continue
        given = hook(module, args, kwargs)
        if given is None:
            continue
        if not isinstance(given, tuple) or len(given) != 2:
            raise RuntimeError(f"forward pre-hook of {type(module).__name__}: None or (args, kwargs) must be returned, "
                               f"got {given!r}")  # fmt: skip
        args, kwargs = given
    return args, kwargs


def _always(module, hooks, done, args, kwargs):
    """The hooks that run although forward failed; their own errors are warnings."""
    for key, entry in list(hooks.forward.items()):
        if entry[2] and key not in done:
            try:
                _forward_hook(module, entry, args, kwargs, None)
            except Exception as error:
                warnings.warn(f"a forward hook with always_call=True raised {error!r}", stacklevel=3)


# ---- gradients as they pass a module ---------------------------------------------


class _Probe:
    """Identities on the tape before and behind a module: their rules see the gradients, and call the hooks."""

    def __init__(self, module, hooks):
        self.module = module
        self.pre, self.post = list(hooks.backward_pre.values()), list(hooks.backward.values())
        self.count = 0
        self.behind = False  # an input's gradient will come
        self.grad_output = None

    def inputs(self, args):
        """args with an identity on those tensors that want a gradient."""
        self.count = len(args)
        if not self.post:
            return args
        args, places = _identity(args, "BackwardHookInput", self._input_rule)
        self.behind = bool(places)
        return args

    def outputs(self, result):
        """result, a Tensor or a tuple, with an identity on its tensors."""
        single = not isinstance(result, (tuple, list))
        outputs, _ = _identity((result,) if single else tuple(result), "BackwardHookOutput", self._output_rule)
        return outputs[0] if single else type(result)(outputs) if type(result) in (tuple, list) else outputs

    def _output_rule(self, node, grads):
        for hook in self.pre:
            given = hook(self.module, grads)
            if given is not None:
                grads = _replaced(given, grads, self.module, "full backward pre-hook")
        self.grad_output = grads
        if not self.behind:
            nothing = (None,) * self.count
            for hook in self.post:
                if hook(self.module, nothing, grads) is not None:
                    raise RuntimeError(f"full backward hook of {type(self.module).__name__}: no input wants a "
                                       "gradient, so None must be returned")  # fmt: skip
        return grads

    def _input_rule(self, node, grads):
        for hook in self.post:
            given = hook(self.module, grads, self.grad_output)
            if given is not None:
                grads = _replaced(given, grads, self.module, "full backward hook")
        return grads


def _replaced(given, grads, module, what):
    given = given if isinstance(given, tuple) else (given,)
    if len(given) != len(grads):
        raise RuntimeError(f"{what} of {type(module).__name__}: {len(given)} gradients returned for {len(grads)}")
    return given


def _identity(values, name, rule):
    """(values with those tensors that want a gradient as outputs of one operation, their places)."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not places or not _core.is_grad_enabled():
        return values, []
    outputs = tuple(x.detach() if i in places else None for i, x in enumerate(values))
    inputs = tuple(x if i in places else None for i, x in enumerate(values))
    _core.record_function(outputs, name, inputs, (), rule)
    return tuple(x if out is None else out for x, out in zip(values, outputs, strict=True)), places
