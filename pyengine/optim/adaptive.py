"""Adagrad, Adadelta and RMSprop: steps divided by the size of past gradients."""

from pyengine import full

from .optimizer import Optimizer, torch_options


class Adagrad(Optimizer):
    """s <- s + g^2;  p <- p - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)  at step t.
    (Duchi, Hazan & Singer 2011)

    Arguments: params, lr, lr_decay, weight_decay, initial_accumulator_value (s before the first step), eps, maximize;
    foreach and fused are torch's and change nothing. Of a row-sparse gradient the step touches those rows alone.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adagrad([p], lr=0.25).step()
    >>> p.item()
    0.75
    """

    def __init__(
        self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10, foreach=None,
        *, maximize=False, differentiable=False, fused=None,
    ):  # fmt: skip
        defaults = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                    "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
                    **torch_options(foreach=foreach, differentiable=differentiable, fused=fused)}  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        self._at_least_0(group, "lr_decay", "initial_accumulator_value")

    def add_param_group(self, param_group):
        """Adds parameters with hyper-parameters of their own; their states begin at once, as torch's do."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for param in group["params"]:
            self.state[param] = {"step": 0, "sum": filled_like(param, group["initial_accumulator_value"])}

    def _update_group(self, group, params):
        for step, chosen in self._by_step(params):
            hyper = (group["lr"], group["lr_decay"], group["weight_decay"], group["eps"], step, group["maximize"])
            self._run("adagrad", chosen, ("sum",), hyper)

    def _update_rows(self, group, params):
        if group["weight_decay"]:
            raise RuntimeError(
                f"Adagrad: weight_decay {group['weight_decay']} must be 0 for the row-sparse gradient of a parameter "
                f"of shape {params[0].shape}"
            )
        for step, chosen in self._by_step(params):
            for param in chosen:
                hyper = (group["lr"], group["lr_decay"], 0.0, group["eps"], step, group["maximize"])
                self._run_rows("adagrad", param, ("sum",), hyper)


class Adadelta(Optimizer):
    """s <- rho s + (1 - rho) g^2;  d = sqrt(a + eps) / sqrt(s + eps) g;  a <- rho a + (1 - rho) d^2;  p <- p - lr d.
    (Zeiler 2012)

    Arguments: params, lr, rho, eps, weight_decay, maximize; foreach and capturable are torch's and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.Adadelta([p], eps=0.1).step()
    >>> p.item() < 0.6
    True
    """

    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, foreach=None, *, capturable=False, maximize=False,
        differentiable=False,
    ):  # fmt: skip
        options = torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, **options}
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        if not 0 <= group["rho"] <= 1:
            raise ValueError(f"Adadelta: rho must be between 0 and 1, got {group['rho']}")

    def _update_group(self, group, params):
        self._by_step(params)
        hyper = tuple(group[name] for name in ("lr", "rho", "eps", "weight_decay", "maximize"))
        self._run("adadelta", params, ("square_avg", "acc_delta"), hyper)


class RMSprop(Optimizer):
    """s <- alpha s + (1 - alpha) g^2;  p <- p - lr g / (sqrt(s) + eps).

    With momentum b <- momentum b + g / (sqrt(s) + eps) and p <- p - lr b; centered takes the variance s - m^2, with
    m <- alpha m + (1 - alpha) g, for s. (Tieleman & Hinton 2012; Graves 2013)

    Arguments: params, lr, alpha, eps, weight_decay, momentum, centered, maximize; foreach and capturable are torch's
    and change nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.tensor([1.0]))
    >>> (p * p).sum().backward()
    >>> pe.optim.RMSprop([p], lr=0.25, alpha=0.0).step()
    >>> p.item()
    0.75
    """

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False, capturable=False,
        foreach=None, maximize=False, differentiable=False,
    ):  # fmt: skip
        defaults = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                    "weight_decay": weight_decay, "maximize": maximize,
                    **torch_options(foreach=foreach, capturable=capturable, differentiable=differentiable)}  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        self._at_least_0(group, "momentum", "alpha")

    def _update_group(self, group, params):
        self._by_step(params)
        rule, states = "rmsprop", ("square_avg",)
        if group["centered"]:
            rule, states = rule + "_centered", (*states, "grad_avg")
        if group["momentum"] > 0:
            rule, states = rule + "_momentum", (states[0], "momentum_buffer", *states[1:])
        names = ("lr", "alpha", "eps", "weight_decay", "momentum", "maximize")
        self._run(rule, params, states, tuple(group[name] for name in names))


def filled_like(param, value):
    """A tensor of value laid out as param."""
    made = param.detach().clone()
    return made.fill_(value) if made.numel() else full(param.shape, value)
