"""SparseAdam: Adam on those rows alone that a gradient has."""

import math

from .optimizer import Optimizer


class SparseAdam(Optimizer):
    """Lazy Adam for row-sparse gradients (layers with sparse=True): moments and parameters move in the rows in use,
    m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr sqrt(1 - beta2^t) / (1 - beta1^t) m / (sqrt(v) + eps)  at step t of the parameter. (Kingma & Ba 2015)

    A step takes as long as its rows deserve, whatever the table's size. Arguments: params, lr, betas, eps, maximize.
    Errors: RuntimeError for a dense gradient.

    >>> import pyengine as pe
    >>> table = pe.nn.Embedding(4, 1, sparse=True, _weight=pe.ones(4, 1))
    >>> table(pe.tensor([2])).sum().backward()
    >>> pe.optim.SparseAdam(table.parameters(), lr=0.25).step()
    >>> [round(x, 5) for x in table.weight.detach().reshape(-1).tolist()]
    [1.0, 1.0, 0.75, 1.0]
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})

    def _update_group(self, group, params):
        raise RuntimeError(
            f"SparseAdam takes row-sparse gradients alone (a parameter of shape {params[0].shape} has a dense one): "
            "Adam takes these"
        )

    def _update_rows(self, group, params):
        beta1, beta2 = group["betas"]
        for step, chosen in self._by_step(params):
            # Adam's row has eps beside sqrt(v / (1 - beta2^t)), here it is beside sqrt(v)
            eps = group["eps"] / math.sqrt(1 - beta2**step)
            for param in chosen:
                hyper = (group["lr"], beta1, beta2, eps, 0.0, False, step, group["maximize"])
                self._run_rows("adam", param, ("exp_avg", "exp_avg_sq"), hyper)
