"""Adam and AdamW."""

from .optimizer import Optimizer, torch_options


class Adam(Optimizer):
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;
    p <- p - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)  at step t.

    weight_decay w adds w p to g, or with decoupled_weight_decay shrinks p as AdamW does. (Kingma & Ba 2015)
    amsgrad takes the largest v so far for v. (Reddi, Kale & Kumar 2018)

    Arguments: params, lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay; foreach, capturable
    and fused are torch's and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adam([p], lr=0.25).step()  # the first step is lr, whatever the gradient's size
    >>> round(p.item(), 6)
    0.75
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, *, foreach=None,
        maximize=False, capturable=False, differentiable=False, fused=None, decoupled_weight_decay=False,
    ):  # fmt: skip
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
                    "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay}  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable, fused=fused)
        super().__init__(params, {**defaults, **options})

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        if group["amsgrad"]:
            rule, states = "adam_amsgrad", ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        else:
            rule, states = "adam", ("exp_avg", "exp_avg_sq")
        for step, chosen in self._by_step(params):
            hyper = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], group["decoupled_weight_decay"],
                     step, group["maximize"])  # fmt: skip
            self._run(rule, chosen, states, hyper)


class AdamW(Adam):
    """Adam with the decay apart from the gradient: p <- (1 - lr weight_decay) p first, then Adam's step.
    (Loshchilov & Hutter 2019)

    Arguments: params, lr, betas, eps, weight_decay, amsgrad, maximize; foreach, capturable and fused are torch's and
    change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> p.grad = pe.zeros(1)
    >>> pe.optim.AdamW([p], lr=0.5, weight_decay=0.5).step()
    >>> p.item()
    0.75
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *, maximize=False,
        foreach=None, capturable=False, differentiable=False, fused=None,
    ):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
                         capturable=capturable, differentiable=differentiable, fused=fused,
                         decoupled_weight_decay=True)  # fmt: skip

    def _check_group(self, group):
        super()._check_group(group)
        group["decoupled_weight_decay"] = True  # whatever a state of Adam said
