"""Muon."""

import math

from pyengine import _core, addmm, matmul, no_grad

from .adaptive import filled_like
from .optimizer import Optimizer


class Muon(Optimizer):
    """Momentum whose matrices are made orthogonal: b <- momentum b + (1 - momentum) g, and p moves by
    lr c U V^T where U S V^T is b (with nesterov, momentum b + (1 - momentum) g), found by ns_steps of a quintic
    Newton-Schulz iteration, whose S comes to lie near 1 (0.7 to 1.2). Decay is decoupled.

    c is sqrt(max(1, rows / columns)) for adjust_lr_fn None or "original", 0.2 sqrt(max(rows, columns)) for
    "match_rms_adamw". The iteration is held in bfloat16 between products, as torch's. For matrices of hidden layers:
    biases, embeddings and heads belong to another optimizer. (Jordan et al. 2024; Liu et al. 2025)

    Arguments: params (of two axes), lr, weight_decay, momentum, nesterov, ns_coefficients, eps, ns_steps,
    adjust_lr_fn.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.zeros(2, 2))
    >>> p.grad = pe.tensor([[3.0, 0.0], [0.0, 0.5]])
    >>> pe.optim.Muon([p], lr=0.1, weight_decay=0.0).step()  # about 0.1 in each direction, whatever its size
    >>> [0.05 < -x < 0.15 for x in (p[0, 0].item(), p[1, 1].item())]
    [True, True]
    """

    def __init__(
        self, params, lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True,
        ns_coefficients=(3.4445, -4.7750, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None,
    ):  # fmt: skip
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
                    "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps,
                    "adjust_lr_fn": adjust_lr_fn}  # fmt: skip
        super().__init__(params, defaults)

    def _check_group(self, group):
        super()._check_group(group)
        self._at_least_0(group, "momentum")
        if group["adjust_lr_fn"] not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Muon: adjust_lr_fn must be 'original' or 'match_rms_adamw', got {group['adjust_lr_fn']}")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError(f"Muon: ns_coefficients must be 3 numbers, got {group['ns_coefficients']}")
        if not 0 <= group["ns_steps"] < 100:
            raise ValueError(f"Muon: ns_steps must be below 100, got {group['ns_steps']}")
        for i, param in enumerate(group["params"]):
            if param.ndim != 2:
                raise ValueError(f"Muon: parameter {i} of shape {param.shape} is no matrix")

    def _update_group(self, group, params):
        momentum, lr = group["momentum"], group["lr"]
        with no_grad():
            for param in params:
                entry = self.state.setdefault(param, {})
                if "momentum_buffer" not in entry:
                    entry["momentum_buffer"] = filled_like(param, 0.0)
                buffer, gradient = entry["momentum_buffer"], param.grad.detach()
                _core.update_list("lerp", [buffer], [gradient], (1 - momentum,))
                update = buffer
                if group["nesterov"]:
                    update = gradient.clone()
                    _core.update_list("lerp", [update], [buffer], (momentum,))
                update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
                param.mul_(1 - lr * group["weight_decay"])
                param.sub_(update * (lr * _scale(group["adjust_lr_fn"], *param.shape)))


def _scale(rule, rows, columns):
    if rule == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1, rows / columns))


def _rounded(x):
    """x to the nearest bfloat16, in float32."""
    return x.to("bfloat16").float()


def orthogonal(matrix, coefficients=(3.4445, -4.7750, 2.0315), steps=5, eps=1e-7):
    """The matrix with its singular values brought near 1 by x <- a x + (b x x^T + c (x x^T)^2) x."""
    if not matrix.numel():
        return matrix
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]  # the smaller Gram matrix
    x = _rounded(matrix.t().contiguous() if tall else matrix)
    norm = _rounded((x * x).sum().sqrt())
    x = _rounded(x / norm.clamp(eps))
    for _ in range(steps):
        gram = _rounded(matmul(x, x.t()))
        x = _rounded(addmm(x, _rounded(addmm(gram, gram, gram, beta=b, alpha=c)), x, beta=a))
    return x.t() if tall else x
