"""LAMB."""

import math

from pyengine import no_grad

from .adaptive import filled_like
from .optimizer import Optimizer


class LAMB(Optimizer):
    """Adam's direction u = m' / (sqrt(v') + eps) + weight_decay p (m', v' without bias), and a step for each tensor
    as long as its own norm: p <- p - lr |p| / |u| u (lr u where a norm is 0). For batches of thousands.
    (You et al. 2020)

    Arguments: params, lr, betas, eps, weight_decay, maximize.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([3.0, 4.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.LAMB([p], lr=0.2).step()  # |p| is 5: the step is 1 long
    >>> round((3 - p[0].item()) ** 2 + (4 - p[1].item()) ** 2, 5)
    1.0
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.0, *, maximize=False):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        for param in self._fresh(params):
            self.state[param] = {name: filled_like(param, 0.0) for name in ("exp_avg", "exp_avg_sq")}
        beta1, beta2 = group["betas"]
        with no_grad():
            for step, chosen in self._by_step(params):
                for param in chosen:
                    first, second = (self.state[param][name] for name in ("exp_avg", "exp_avg_sq"))
                    gradient = -param.grad if group["maximize"] else param.grad
                    first.add_((gradient - first) * (1 - beta1))
                    second.mul_(beta2).add_((gradient * gradient) * (1 - beta2))
                    root = (second / (1 - beta2**step)).sqrt() + group["eps"]
                    update = first / (1 - beta1**step) / root + group["weight_decay"] * param
                    param.sub_(update * (group["lr"] * _trust(param, update)))


def _trust(param, update):
    """|param| / |update|, 1 where one of them is 0."""
    length, step = (math.sqrt((x * x).sum().item()) for x in (param, update))
    return length / step if length > 0 and step > 0 else 1.0
