"""Optimizer: parameter groups, the state of each parameter, and the one call that updates them."""

from copy import deepcopy
from functools import wraps

from pyengine import Tensor, _core, as_tensor, enable_grad, no_grad, zeros

# what schedulers and named parameters keep in a group beside the optimizer's own hyper-parameters
GUESTS = {"initial_lr", "max_lr", "min_lr", "swa_lr", "base_momentum", "max_momentum", "param_names"}


def torch_options(*, differentiable=False, **options):
    """torch's options that choose among its implementations (foreach, capturable, fused), as hyper-parameters that
    nothing reads: there is one implementation here. differentiable=True would change results, so it is refused."""
    if differentiable:
        raise NotImplementedError("differentiable=True: steps of an optimizer are not recorded")
    return {**options, "differentiable": False}


class HookHandle:
    """A registered hook; remove() takes it away."""

    def __init__(self, hooks, hook):
        self.hooks, self.key = hooks, object()
        hooks[self.key] = hook

    def remove(self):
        """The hook runs no more."""
        self.hooks.pop(self.key, None)


def _with_hooks(step):
    @wraps(step)
    def wrapped(self, *args, **kwargs):
        self._slots.begin()
        if not self._pre_hooks and not self._post_hooks:
            return step(self, *args, **kwargs)
        for hook in list(self._pre_hooks.values()):
            changed = hook(self, args, kwargs)
            if changed is not None:
                args, kwargs = changed
        result = step(self, *args, **kwargs)
        for hook in list(self._post_hooks.values()):
            hook(self, args, kwargs)
        return result

    return wrapped


class Optimizer:
    """The base of all optimizers.

    Arguments: params, an iterable of parameters, or of dicts {"params": [...], "lr": ...} whose entries
    override the defaults for their group; defaults, the hyper-parameters by name.

    A subclass writes `_update_group(group, params)`, where params are the group's parameters with a gradient.
    Names may come along: params of `named_parameters()` give each group its "param_names".
    """

    scalar_states: tuple[str, ...] = ("step",)  # states that are numbers; torch keeps them as tensors without axes

    def __init__(self, params, defaults):
        if isinstance(params, (Tensor, dict)):
            raise TypeError(
                f"{type(self).__name__}: params must be an iterable of parameters or of dicts, "
                f"got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state = {}
        self._pre_hooks, self._post_hooks = {}, {}
        self._slots = _core.Slots()
        self.param_groups = []
        groups = list(params)
        if not groups:
            raise ValueError(f"{type(self).__name__}: no parameters were given")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __repr__(self):
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name != "params"]
        return "\n".join([*lines, ")"])

    def add_param_group(self, param_group):
        """Adds parameters with hyper-parameters of their own: {"params": [...], "lr": ...}."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise TypeError(f"add_param_group: a dict with 'params' is needed, got {param_group!r}")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        group = {**self.defaults, **param_group, "params": params}
        if params and all(isinstance(p, tuple) and len(p) == 2 for p in params):
            group["param_names"] = [name for name, _ in params]
            group["params"] = [p for _, p in params]
        unknown = sorted(set(group) - set(self.defaults) - GUESTS - {"params"})
        if unknown:
            raise ValueError(f"{type(self).__name__}: a group has no {', '.join(unknown)}")
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        for i, param in enumerate(group["params"]):
            if not isinstance(param, Tensor):
                raise TypeError(f"{type(self).__name__}: parameter {i} is no Tensor but {type(param).__name__}")
            if not param.is_leaf:
                raise ValueError(f"{type(self).__name__}: parameter {i} of shape {param.shape} is no leaf tensor")
            if id(param) in taken:
                raise ValueError(f"{type(self).__name__}: parameter {i} of shape {param.shape} is there twice")
            taken.add(id(param))
        if isinstance(group.get("lr"), Tensor):
            group["lr"] = group["lr"].item()
        self._check_group(group)
        self.param_groups.append(group)

    def _check_group(self, group):
        """Raises ValueError for hyper-parameters out of range; subclasses add theirs."""
        self._at_least_0(group, "lr", "weight_decay", "eps")
        for i, beta in enumerate(group.get("betas", ())):
            if not 0 <= beta < 1:
                raise ValueError(f"{type(self).__name__}: betas[{i}] must be at least 0 and below 1, got {beta}")

    def _at_least_0(self, group, *names):
        for name in names:
            if name in group and not group[name] >= 0:
                raise ValueError(f"{type(self).__name__}: {name} must be at least 0, got {group[name]}")

    def zero_grad(self, set_to_none=True):
        """Forgets all gradients, or with set_to_none=False fills them with zeros."""
        for group in self.param_groups:
            if set_to_none:
                _core.forget_gradients(group["params"])
                continue
            for param in _core.clear_gradients(group["params"]):
                param.grad = param.grad.detach().zero_()

    def register_step_pre_hook(self, hook):
        """hook(optimizer, args, kwargs) runs before each step and may return a new (args, kwargs).
        The handle's remove() ends it."""
        return HookHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """hook(optimizer, args, kwargs) runs after each step. The handle's remove() ends it."""
        return HookHandle(self._post_hooks, hook)

    def __init_subclass__(cls, **named):
        """Every class's own step runs the hooks."""
        super().__init_subclass__(**named)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)

    @_with_hooks
    def step(self, closure=None):
        """Updates every parameter that has a gradient. closure, if given, computes the loss and its gradients
        first; its value is returned."""
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = _core.with_row_gradient(group["params"])
            if params:
                self._update_rows(group, params)
            params = _core.with_gradient(group["params"])
            if params:
                self._update_group(group, params)
        return loss

    def _update_rows(self, group, params):
        """As _update_group, of parameters whose gradient is a RowSparse."""
        raise RuntimeError(
            f"{type(self).__name__} takes no row-sparse gradients (a parameter of shape {params[0].shape} has one, "
            "from a layer with sparse=True): SparseAdam, Adagrad and SGD without momentum do"
        )

    def _update_group(self, group, params):
        raise NotImplementedError(f"{type(self).__name__} defines no _update_group")

    def _run(self, rule, params, state_names, hyper):
        """One call of a row of optim.def: params and their states (zeros where there are none yet), in place."""
        _core.optim_step(rule, params, self.state, state_names, hyper, self._slots)

    def _run_rows(self, rule, param, state_names, hyper):
        """One call of a row of optim.def over those rows of param that its gradient has, in place."""
        entry, gradient = self.state.setdefault(param, {}), param.grad
        for name in state_names:
            if name not in entry:
                entry[name] = zeros(param.shape)
        states = [entry[name] for name in state_names]
        _core.step_rows(rule, param, gradient.index, gradient.entries, states, hyper)

    def _by_step(self, params):
        """Counts one step for each parameter; (step, parameters at that step) pairs."""
        return _core.count_steps(params, self.state).items()

    def _alike(self, params, names):
        """(values, parameters whose states `names` have these values) pairs; the states are numbers."""
        found = {}
        for param in params:
            entry = self.state[param]
            found.setdefault(tuple(entry[name] for name in names), []).append(param)
        return found.items()

    def _fresh(self, params):
        """Those of params that have no state yet."""
        return [param for param in params if not self.state.get(param)]

    # ---- saving and loading ----

    def state_dict(self):
        """{"state": number -> its state, "param_groups": hyper-parameters and parameter numbers}: numbers count
        the parameters in the order of the groups. The tensors are the optimizer's own, not copies."""
        numbers = {}
        for group in self.param_groups:
            for param in group["params"]:
                numbers[id(param)] = len(numbers)
        groups = [{**group, "params": [numbers[id(p)] for p in group["params"]]} for group in self.param_groups]
        state = {numbers[id(param)]: dict(entry) for param, entry in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict):
        """Takes over hyper-parameters and states from state_dict() of an optimizer with as many parameters.

        Errors: ValueError that names the group or the parameter that does not fit; then nothing has changed.
        """
        given = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in self.param_groups]
        theirs = [len(group["params"]) for group in given]
        if sizes != theirs:
            raise ValueError(f"load_state_dict: groups of {theirs} parameters were given, the optimizer's have {sizes}")
        ours = {}
        for group, other in zip(self.param_groups, given, strict=True):
            ours.update(zip(other["params"], group["params"], strict=True))
        state = {}
        for number, entry in state_dict["state"].items():
            if number not in ours:
                raise ValueError(f"load_state_dict: the state of parameter {number} belongs to no group")
            state[ours[number]] = self._copied_state(number, entry, ours[number])
        groups = []
        for group, other in zip(self.param_groups, given, strict=True):
            known = {name: deepcopy(other[name]) for name in (*self.defaults, *GUESTS) if name in other}
            if "lr" in known:
                known["lr"] = float(known["lr"])
            groups.append({**group, **known, "params": group["params"]})
            self._check_group(groups[-1])
        self.param_groups, self.state = groups, state

    def _copied_state(self, number, entry, param):
        """entry as our own: tensors copied and checked against their parameter, the step as an int."""
        copied = {}
        for name, value in entry.items():
            if name == "step":
                copied[name] = int(value)
            elif name in self.scalar_states:
                copied[name] = float(value)
            elif value is None or isinstance(value, (bool, int, float)):
                copied[name] = value
            else:
                copied[name] = _own_copy(name, number, as_tensor(value), param, self._state_shape(name, param))
        return copied

    def _state_shape(self, name, param):
        """The shape of the state `name` of param."""
        return param.shape


def _own_copy(name, number, source, param, shape):
    """source in memory laid out as the parameter's."""
    if source.shape != shape:
        raise ValueError(
            f"load_state_dict: {name} of parameter {number} has shape {source.shape}, the parameter {param.shape}"
        )
    with no_grad():
        return (param.detach().clone() if shape == param.shape else zeros(shape)).copy_(source)
