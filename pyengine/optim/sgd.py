"""Stochastic gradient descent."""

from pyengine import _core

from .optimizer import Optimizer, torch_options


class SGD(Optimizer):
    """g <- g + weight_decay p;  b <- momentum b + (1 - dampening) g (b = g at first);  p <- p - lr b.

    With nesterov p <- p - lr (g + momentum b); with maximize the gradient's sign is turned first; without
    momentum b is g. (Polyak 1964; Nesterov 1983; Sutskever et al. 2013)

    Arguments: params, lr, momentum, dampening, weight_decay, nesterov, maximize; foreach and fused are
    torch's and change nothing. Of a row-sparse gradient the step touches those rows alone; momentum and weight_decay
    must be 0 then.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.SGD([p], lr=0.25).step()
    >>> p.item()
    0.5
    """

    def __init__(
        self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *, maximize=False,
        foreach=None, differentiable=False, fused=None,
    ):  # fmt: skip
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            **torch_options(foreach=foreach, differentiable=differentiable, fused=fused),
        }
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        if not group["momentum"] >= 0:
            raise ValueError(f"SGD: momentum must be at least 0, got {group['momentum']}")
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and dampening 0")

    def _update_group(self, group, params):
        lr, momentum, decay, maximize = (group[name] for name in ("lr", "momentum", "weight_decay", "maximize"))
        if momentum == 0:
            self._run("sgd", params, (), (lr, decay, maximize))
            return
        begun, fresh = _core.begun_and_fresh(params, self.state, "momentum_buffer")
        for chosen, first in ((begun, False), (fresh, True)):
            if chosen:
                hyper = (lr, momentum, group["dampening"], group["nesterov"], decay, first, maximize)
                self._run("sgd_momentum", chosen, ("momentum_buffer",), hyper)

    def _update_rows(self, group, params):
        if group["momentum"] or group["weight_decay"]:
            raise RuntimeError(
                f"SGD: momentum {group['momentum']} and weight_decay {group['weight_decay']} must be 0 for the "
                f"row-sparse gradient of a parameter of shape {params[0].shape}"
            )
        for param in params:
            self._run_rows("sgd", param, (), (group["lr"], 0.0, group["maximize"]))
