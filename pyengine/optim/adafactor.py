"""Adafactor."""

import math

from pyengine import matmul, no_grad, zeros

from .optimizer import Optimizer, torch_options


class Adafactor(Optimizer):
    """Adam's second moment kept as the means of its rows and of its columns: rows + columns numbers for a matrix
    instead of rows * columns, and no first moment.

    R <- R + t^beta2_decay (row means of g^2 - R), C alike;  u = g / sqrt(R C / mean(R));
    p <- p - a u / max(1, rms(u) / d)  with  a = max(eps[1], rms(p)) min(lr, 1 / sqrt(t)).  Vectors keep their whole
    second moment; weight_decay is decoupled. (Shazeer & Stern 2018)

    Arguments: params, lr, beta2_decay, eps (None in eps[0]: float32's own), d, weight_decay, maximize; foreach is
    torch's and changes nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.ones(2, 3))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adafactor([p], lr=0.25).step()
    >>> round(p[0, 0].item(), 6)
    0.75
    """

    def __init__(
        self, params, lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, *, foreach=None,
        maximize=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach)
        del options["differentiable"]
        defaults = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
                    "maximize": maximize, **options}  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group):
        self._at_least_0(group, "lr", "weight_decay")
        first, second = group["eps"]
        if (first is not None and not first >= 0) or not second >= 0:
            raise ValueError(f"Adafactor: eps must be at least 0, got {group['eps']}")
        if not group["beta2_decay"] <= 0:
            raise ValueError(f"Adafactor: beta2_decay must be at most 0, got {group['beta2_decay']}")
        if not group["d"] >= 1:
            raise ValueError(f"Adafactor: d must be at least 1, got {group['d']}")

    def _state_shape(self, name, param):
        shape = list(param.shape)
        if name == "row_var":
            shape[-1] = 1
        elif name == "col_var":
            shape[-2] = 1
        return tuple(shape)

    def _update_group(self, group, params):
        with no_grad():
            for step, chosen in self._by_step(params):
                for param in chosen:
                    self._update(group, param, step)

    def _update(self, group, param, step):
        lr, (eps1, eps2) = group["lr"], group["eps"]
        eps1 = 2.0**-23 if eps1 is None else eps1
        gradient = -param.grad if group["maximize"] else param.grad
        rate = max(eps2, _rms(param)) * min(lr, 1 / math.sqrt(step))
        if group["weight_decay"]:
            param.mul_(1 - lr * group["weight_decay"])
        estimate = self._second_moment(param, gradient, step ** group["beta2_decay"], eps1)
        update = estimate.maximum(eps1 * eps1).rsqrt() * gradient
        param.sub_(update * (rate / max(1.0, _rms(update) / group["d"])))

    def _second_moment(self, param, gradient, share, eps):
        entry, squares = self.state[param], gradient * gradient
        if param.ndim < 2:
            return self._average(entry, "variance", squares, share)
        rows = self._average(entry, "row_var", squares.mean(-1, keepdim=True), share)
        columns = self._average(entry, "col_var", squares.mean(-2, keepdim=True), share)
        return matmul(rows, columns) / rows.mean(-2, keepdim=True).maximum(eps)

    def _average(self, entry, name, value, share):
        """The running average of value."""
        if name not in entry:
            entry[name] = zeros(value.shape)
        return entry[name].add_((value - entry[name]) * share)


def _rms(x):
    """The root of the mean square: a float."""
    return math.sqrt((x * x).sum().item() / x.numel()) if x.numel() else 0.0
