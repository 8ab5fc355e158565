"""Averaged stochastic gradient descent."""

from .optimizer import Optimizer, torch_options


class ASGD(Optimizer):
    """p <- (1 - lambd eta) p - eta g, and beside it the average ax <- ax + mu (p - ax) in state[p]["ax"], where
    eta = lr / (1 + lambd lr t)^alpha and mu = 1 / max(1, t - t0) after step t. (Polyak & Juditsky 1992)

    Arguments: params, lr, lambd, alpha, t0, weight_decay, maximize; foreach and capturable are torch's and change
    nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.ASGD([p], lr=0.25, lambd=0.0).step()
    >>> p.item()
    0.5
    """

    scalar_states = ("step", "eta", "mu")

    def __init__(
        self, params, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0.0, foreach=None, maximize=False,
        differentiable=False, capturable=False,
    ):  # fmt: skip
        defaults = {"lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                    "maximize": maximize,
                    **torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)}  # fmt: skip
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        lr, lambd = group["lr"], group["lambd"]
        for param in self._fresh(params):
            self.state[param] = {"step": 0, "eta": lr, "mu": 1.0}
        for (step, eta, mu), chosen in self._alike(params, ("step", "eta", "mu")):
            self._run("asgd", chosen, ("ax",), (eta, mu, lambd, group["weight_decay"], group["maximize"]))
            step += 1
            following = {"step": step, "eta": lr / (1 + lambd * lr * step) ** group["alpha"],
                         "mu": 1 / max(1, step - group["t0"])}  # fmt: skip
            for param in chosen:
                self.state[param].update(following)
