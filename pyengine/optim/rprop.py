"""Rprop."""

from .adaptive import filled_like
from .optimizer import Optimizer, torch_options


class Rprop(Optimizer):
    """Steps by the gradient's sign: each weight's step size grows by etas[1] while the sign stays, shrinks by etas[0]
    when it turns (and that step is left out), within step_sizes. For whole batches. (Riedmiller & Braun 1993)

    Arguments: params, lr (the first step size), etas, step_sizes, maximize; foreach and capturable are torch's and
    change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0, -1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Rprop([p], lr=0.25).step()
    >>> p.tolist()
    [0.75, -0.75]
    """

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *, capturable=False, foreach=None,
        maximize=False, differentiable=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize, **options}
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        minus, plus = group["etas"]
        if not 0 < minus < 1 < plus:
            raise ValueError(f"Rprop: etas must be below 1 and above 1, got {group['etas']}")

    def _update_group(self, group, params):
        for param in self._fresh(params):
            self.state[param] = {"step": 0, "step_size": filled_like(param, group["lr"])}
        self._by_step(params)
        self._run("rprop", params, ("prev", "step_size"), (*group["etas"], *group["step_sizes"], group["maximize"]))
