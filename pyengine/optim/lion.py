"""Lion."""

from .optimizer import Optimizer


class Lion(Optimizer):
    """p <- (1 - lr weight_decay) p - lr sign(beta1 m + (1 - beta1) g);  m <- beta2 m + (1 - beta2) g.

    Steps are +-lr in every coordinate: take lr 3 to 10 times smaller and weight_decay as much larger than
    AdamW's. (Chen et al. 2023)

    Arguments: params, lr, betas, weight_decay, maximize.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0, -1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Lion([p], lr=0.25).step()
    >>> p.tolist()
    [0.75, -0.75]
    """

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, *, maximize=False):
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        hyper = (group["lr"], beta1, beta2, group["weight_decay"], group["maximize"])
        self._run("lion", params, ("exp_avg",), hyper)
