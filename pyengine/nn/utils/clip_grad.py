"""Gradient clipping."""

import math

from pyengine import Tensor, _core, no_grad, tensor


def _listed(tensors):
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters):
    return _core.gradients(_listed(parameters))


def get_total_norm(tensors, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """The norm of all elements of all tensors as one vector (norm_type may be math.inf). The 2-norm is one C call,
    whose bits do not depend on threads.

    Arguments: tensors; norm_type; error_if_nonfinite, RuntimeError for NaN and infinity; foreach is torch's and
    changes nothing.

    >>> import pyengine as pe
    >>> pe.nn.utils.get_total_norm([pe.tensor([3.0]), pe.tensor([4.0, 0.0])]).item()
    5.0
    """
    tensors, norm_type = _listed(tensors), float(norm_type)
    if norm_type == 2.0 and _core.walks_as_floats(tensors):
        total = _core.norm2(tensors)
    else:
        with no_grad():
            total = _of_numbers([_of_tensor(x.detach(), norm_type) for x in tensors], norm_type)
    if error_if_nonfinite and not math.isfinite(total):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return tensor(total)


def _of_tensor(x, p):
    """The p-norm of one tensor: a float."""
    size = x.abs()
    if p == 0:
        return (size != 0).float().sum().item()
    if math.isinf(p):
        if not x.numel():
            return 0.0
        return (size.amax() if p > 0 else size.amin()).item()
    total = (size if p == 1 else size**p).sum().item()
    return _root(total, p)


def _root(total, p):
    if total == 0:
        return 0.0 if p > 0 else math.inf
    return total ** (1.0 / p)


def _of_numbers(norms, p):
    """The p-norm of norms, numbers that are not negative."""
    if any(math.isnan(x) for x in norms):
        return math.nan
    if not norms:
        return 0.0
    if p == 0:
        return float(sum(x != 0 for x in norms))
    if math.isinf(p):
        return max(norms) if p > 0 else min(norms)
    if p < 0 and 0 in norms:
        return 0.0
    return _root(sum(x**p for x in norms), p)


def clip_grads_with_norm_(parameters, max_norm, total_norm, foreach=None):
    """Multiplies all gradients by max_norm / (total_norm + 1e-6) where that is below 1, in one C call."""
    ratio = float(max_norm) / (float(total_norm) + 1e-6)
    if ratio < 1.0 or math.isnan(ratio):
        _scaled(_gradients(parameters), ratio, math.inf)


def _scaled(gradients, factor, bound):
    """gradients <- clamp(factor gradients, -bound, bound) in place."""
    fast, slow = gradients, []
    if not _core.walks_as_floats(gradients):
        fast = [x for x in gradients if _core.walks_as_floats([x])]
        slow = [x for x in gradients if not _core.walks_as_floats([x])]
    _core.update_list("scale", fast, fast, (factor, bound))
    with no_grad():
        for x in slow:
            x.copy_((x * factor).clamp(-bound, bound))


def clip_grad_norm_(parameters, max_norm, norm_type=2.0, error_if_nonfinite=False, foreach=None):
    """Scales the gradients of parameters in place so that their norm together is at most max_norm. Returns the norm
    that they had. (Pascanu, Mikolov & Bengio 2013)

    Arguments: parameters (one or several), max_norm, norm_type, error_if_nonfinite; foreach is torch's and changes
    nothing.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.zeros(2))
    >>> p.grad = pe.tensor([3.0, 4.0])
    >>> pe.nn.utils.clip_grad_norm_([p], max_norm=1.0).item(), round(p.grad[0].item(), 5)
    (5.0, 0.6)
    """
    parameters = _listed(parameters)
    total = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(parameters, max_norm, total)
    return total


def clip_grad_value_(parameters, clip_value, foreach=None):
    """Clamps each element of the gradients of parameters to [-clip_value, clip_value], in place.

    >>> import pyengine as pe
    >>> p = pe.nn.Parameter(pe.zeros(2))
    >>> p.grad = pe.tensor([3.0, -0.5])
    >>> pe.nn.utils.clip_grad_value_(p, 1.0)
    >>> p.grad.tolist()
    [1.0, -0.5]
    """
    _scaled(_gradients(parameters), 1.0, float(clip_value))
