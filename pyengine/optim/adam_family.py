"""NAdam, RAdam and Adamax: Adam with another momentum, another warm-up, another norm."""

from .optimizer import Optimizer, torch_options


class NAdam(Optimizer):
    """Adam that looks ahead as Nesterov's momentum does: the step takes the gradient itself and the momentum of the
    next step, whose weights mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2) grow with t. (Dozat 2016)

    Arguments: params, lr, betas, eps, weight_decay, momentum_decay, decoupled_weight_decay, maximize; foreach and
    capturable are torch's and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.NAdam([p], lr=0.25).step()
    >>> p.item() < 0.8
    True
    """

    scalar_states = ("step", "mu_product")

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3,
        decoupled_weight_decay=False, *, foreach=None, maximize=False, capturable=False, differentiable=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                    "momentum_decay": momentum_decay, "decoupled_weight_decay": decoupled_weight_decay,
                    "maximize": maximize, **options}  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        self._at_least_0(group, "momentum_decay")

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        for param in self._fresh(params):
            self.state[param] = {"step": 0, "mu_product": 1.0}
        for (step, product), chosen in self._alike(params, ("step", "mu_product")):
            step += 1
            mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * group["momentum_decay"])) for t in (step, step + 1))
            for param in chosen:
                self.state[param].update(step=step, mu_product=product * mu)
            hyper = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], group["decoupled_weight_decay"],
                     step, group["maximize"], mu, mu_next, product * mu)  # fmt: skip
            self._run("nadam", chosen, ("exp_avg", "exp_avg_sq"), hyper)


class RAdam(Optimizer):
    """Adam whose adaptive rate is held back while its variance is too large: the first steps are momentum's alone,
    later ones are scaled by the rectification r_t. (Liu et al. 2020)

    Arguments: params, lr, betas, eps, weight_decay, decoupled_weight_decay, maximize; foreach and capturable are
    torch's and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.RAdam([p], lr=0.25).step()  # the first step is lr times the gradient
    >>> round(p.item(), 6)
    0.5
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled_weight_decay=False, *,
        foreach=None, maximize=False, capturable=False, differentiable=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize,
                    "decoupled_weight_decay": decoupled_weight_decay, **options}  # fmt: skip
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        for step, chosen in self._by_step(params):
            hyper = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], group["decoupled_weight_decay"],
                     step, group["maximize"])  # fmt: skip
            self._run("radam", chosen, ("exp_avg", "exp_avg_sq"), hyper)


class Adamax(Optimizer):
    """Adam with the largest gradient for its second moment: u <- max(beta2 u, |g| + eps);
    p <- p - lr m / ((1 - beta1^t) u). (Kingma & Ba 2015, section 7.1)

    Arguments: params, lr, betas, eps, weight_decay, maximize; foreach and capturable are torch's and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adamax([p], lr=0.25).step()
    >>> round(p.item(), 6)
    0.75
    """

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, foreach=None, *, maximize=False,
        differentiable=False, capturable=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, **options}
        super().__init__(params, defaults)

    def _update_group(self, group, params):
        beta1, beta2 = group["betas"]
        for step, chosen in self._by_step(params):
            hyper = (group["lr"], beta1, beta2, group["eps"], group["weight_decay"], step, group["maximize"])
            self._run("adamax", chosen, ("exp_avg", "exp_inf"), hyper)
