"""Adam and AdamW."""

from .optimizer import Optimizer


class Adam(Optimizer):
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)  at step t.

    weight_decay w adds w p to g. (Kingma & Ba 2015)

    Arguments: params, lr, betas, eps, weight_decay, maximize.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adam([p], lr=0.25).step()  # the first step is lr, whatever the gradient's size
    >>> round(p.item(), 6)
    0.75
    """

    decoupled = False

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, *, maximize=False):
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        for step, chosen in self._by_step(params):
            hyper = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], self.decoupled, step,
                     group["maximize"])  # fmt: skip
            self._run("adam", chosen, ("exp_avg", "exp_avg_sq"), hyper)


class AdamW(Adam):
    """Adam with the decay apart from the gradient: p <- (1 - lr weight_decay) p first, then Adam's step.
    (Loshchilov & Hutter 2019)

    Arguments: params, lr, betas, eps, weight_decay, maximize.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> p.grad = pe.zeros(1)
    >>> pe.optim.AdamW([p], lr=0.5, weight_decay=0.5).step()
    >>> p.item()
    0.75
    """

    decoupled = True

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, *, maximize=False):
        super().__init__(params, lr, betas, eps, weight_decay, maximize=maximize)
