"""L-BFGS."""

from copy import deepcopy

from pyengine import Tensor, as_tensor, cat, enable_grad, no_grad, zeros

from .line_search import Point, WolfeSearch
from .optimizer import Optimizer


class LBFGS(Optimizer):
    """Newton's direction -H g, where the inverse Hessian H is known from the last history_size steps s and changes y
    of the gradient (the two-loop recursion); then a step of lr, or with line_search_fn="strong_wolfe" one that the
    strong Wolfe conditions accept. (Liu & Nocedal 1989)

    step(closure) runs up to max_iter such iterations and calls the closure, which computes the loss and its
    gradients, up to max_eval times. One group of parameters only.

    Arguments: params, lr, max_iter, max_eval (default max_iter * 5 / 4), tolerance_grad, tolerance_change,
    history_size, line_search_fn.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([3.0, -2.0]))
    >>> optimizer = pe.optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = (pe.tensor([1.0, 10.0]) * p * p).sum()
    ...     loss.backward()
    ...     return loss
    >>> loss = optimizer.step(closure)
    >>> closure().item() < 1e-8
    True
    """

    def __init__(
        self, params, lr=1, max_iter=20, max_eval=None, tolerance_grad=1e-7, tolerance_change=1e-9, history_size=100,
        line_search_fn=None,
    ):  # fmt: skip
        defaults = {"lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
                    "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change,
                    "history_size": history_size, "line_search_fn": line_search_fn}  # fmt: skip
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS: one group of parameters only")

    def _check_group(self, group):
        super()._check_group(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise RuntimeError(f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {group['line_search_fn']}")

    def step(self, closure):
        """Runs up to max_iter iterations; returns the loss that the closure gave first."""
        with no_grad():
            return self._iterate(_Line(self.param_groups[0]["params"], closure))

    def _iterate(self, line):
        group = self.param_groups[0]
        state = self.state.setdefault(group["params"][0], {})
        first, loss = line.evaluate()
        flat = line.gradient()
        evaluations, state["func_evals"] = 1, state.get("func_evals", 0) + 1
        state.setdefault("n_iter", 0)
        if _largest(flat) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            self._turn(state, flat, group["history_size"])
            state["prev_flat_grad"], before, state["prev_loss"] = flat.clone(), loss, loss
            direction = state["d"]
            t = min(1.0, 1.0 / flat.abs().sum().item()) * group["lr"] if state["n_iter"] == 1 else group["lr"]
            state["t"] = t
            slope = _dot(flat, direction)
            if slope > -group["tolerance_change"]:
                break
            used = 0
            if group["line_search_fn"]:
                start = Point(0.0, loss, flat, slope)
                search = WolfeSearch(line.along(direction), start, group["max_eval"] - evaluations)
                found = search.run(t, group["tolerance_change"] / max(_largest(direction), 1e-300))
                loss, flat, t, used = found.value, found.gradient, found.at, search.evaluations
                state["t"] = t
                line.move(direction, t)
            else:
                line.move(direction, t)
                if iteration != group["max_iter"]:  # the last one's gradient is nobody's
                    _, loss = line.evaluate()
                    flat, used = line.gradient(), 1
            evaluations, state["func_evals"] = evaluations + used, state["func_evals"] + used
            small_step = _largest(direction) * abs(t) <= group["tolerance_change"]
            if (evaluations >= group["max_eval"] or _largest(flat) <= group["tolerance_grad"] or small_step
                    or abs(loss - before) < group["tolerance_change"]):  # fmt: skip
                break
        return first

    def _turn(self, state, flat, most):
        """The new direction, in state["d"], after what the last step taught."""
        if state["n_iter"] == 1:
            state.update(d=-flat, old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return
        y, s = flat - state["prev_flat_grad"], state["d"] * state["t"]
        ys = _dot(y, s)
        if ys > 1e-10:
            for name, value in (("old_dirs", y), ("old_stps", s), ("ro", 1.0 / ys)):
                state[name] = [*state[name][1 if len(state[name]) == most else 0 :], value]
            state["H_diag"] = ys / _dot(y, y)
        history = list(zip(state["old_dirs"], state["old_stps"], state["ro"], strict=True))
        direction, alphas = -flat, []
        for y, s, rho in reversed(history):
            alphas.append(_dot(s, direction) * rho)
            direction.sub_(y * alphas[-1])
        direction.mul_(state["H_diag"])
        for (y, s, rho), alpha in zip(history, reversed(alphas), strict=True):
            direction.add_(s * (alpha - _dot(y, direction) * rho))
        state["d"] = direction

    def _copied_state(self, number, entry, param):
        """Vectors of all parameters together, lists of them, and numbers."""
        copied = {}
        for name, value in entry.items():
            if name in ("old_dirs", "old_stps"):
                copied[name] = [_own(item) for item in value]
            elif name == "ro":
                copied[name] = [float(item) for item in value]
            elif name in ("d", "prev_flat_grad"):
                copied[name] = None if value is None else _own(value)
            elif name in ("H_diag", "t"):
                copied[name] = None if value is None else float(value)
            elif name != "al":  # scratch of torch's
                copied[name] = deepcopy(value)
        return copied


def _own(value):
    return (value if isinstance(value, Tensor) else as_tensor(value)).detach().clone()


def _dot(a, b):
    return (a * b).sum().item()


def _largest(x):
    return x.abs().amax().item() if x.numel() else 0.0


class _Line:
    """All parameters as one vector, and the closure that gives loss and gradients at it."""

    def __init__(self, params, closure):
        self.params, self.closure = params, closure

    def evaluate(self):
        """The closure's loss, as it is and as a float."""
        with enable_grad():
            loss = self.closure()
        return loss, float(loss)

    def gradient(self):
        """The gradients as one vector, zeros where there is none."""
        parts = [zeros(p.numel()) if p.grad is None else p.grad.detach().reshape(-1) for p in self.params]
        return cat(parts, 0).clone()

    def move(self, direction, by):
        """params += by * direction"""
        at = 0
        for param in self.params:
            n = param.numel()
            param.add_((direction[at : at + n].reshape(param.shape)) * by)
            at += n

    def along(self, direction):
        """A function that gives the Point at a distance from here along direction, and comes back."""
        here = [param.detach().clone() for param in self.params]

        def point(at):
            self.move(direction, at)
            _, loss = self.evaluate()
            gradient = self.gradient()
            for param, start in zip(self.params, here, strict=True):
                param.copy_(start)
            return Point(at, loss, gradient, _dot(gradient, direction))

        return point
