"""MetaInit: the norms of the weights are learned until a gradient step changes the gradient little. (Dauphin &
Schoenholz 2019)"""

import math

from pyengine import enable_grad, grad, no_grad


def gradient_quotient(loss, parameters, eps=1e-5, create_graph=False):
    """mean |(g - H g) / (g + eps sign(g)) - 1|, about |H g / g|: by how much a step along the gradient g changes it.

    0 where the loss is flat in second order: small is good to start from. Parameters that the loss does not use do not
    count. H g is the derivative of g^T g / 2.
    """
    gradients = grad(loss, parameters, create_graph=True, allow_unused=True)
    used = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None]
    half = None
    for _, g in used:
        term = (g * g).sum() * 0.5
        half = term if half is None else half + term
    if half is None:
        raise ValueError("gradient_quotient: the loss does not depend on any parameter")
    products = grad(half, [p for p, _ in used], create_graph=create_graph, retain_graph=True, allow_unused=True,
                    materialize_grads=True)  # fmt: skip
    total, count = None, 0
    for (_, g), hg in zip(used, products, strict=True):
        sign = (g.detach() >= 0.0).float() * 2.0 - 1.0
        term = ((g - hg) / (g + sign * eps) - 1.0).abs().sum()
        total = term if total is None else total + term
        count += g.numel()
    return total / float(max(count, 1))


def metainit_(model, criterion, batches, lr=0.1, momentum=0.9, steps=200, eps=1e-5):
    """Learns the norm of each weight so that the gradient quotient gets small; directions stay. Returns the quotients,
    one a step.

    Arguments: criterion(output, target) -> the loss; batches, what gives (input, target) again and again (a list is
    cycled through; random numbers do, as in the paper). lr, momentum: of the steps, which are the signs of the norms'
    gradients, as in the paper. Weights are the parameters of two axes or more.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 8), pe.nn.Tanh(), pe.nn.Linear(8, 2))
    >>> data = [(pe.randn(16, 4), pe.randn(16, 2))]
    >>> quotients = metainit_(net, pe.nn.functional.mse_loss, data, steps=2)
    >>> len(quotients)
    2
    """
    weights = [p for p in model.parameters() if p.ndim >= 2 and p.requires_grad]
    if not weights:
        raise ValueError("metainit_: the model has no weight of two axes or more")
    batches = list(batches)
    if not batches:
        raise ValueError("metainit_: at least one batch is needed")
    velocity, quotients = [0.0] * len(weights), []
    with enable_grad():
        for step in range(steps):
            inputs, target = batches[step % len(batches)]
            loss = criterion(model(inputs), target)
            quotient = gradient_quotient(loss, weights, eps, create_graph=True)
            quotients.append(float(quotient.item()))
            slopes = grad(quotient, weights, allow_unused=True)
            for i, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
                velocity[i] = momentum * velocity[i] + _norm_step(weight, slope, lr)
                _move_norm(weight, velocity[i])
    return quotients


@no_grad()
def _norm_step(weight, slope, lr):
    """-lr times the sign of d quotient / d |weight|."""
    if slope is None:
        return 0.0
    along = float((slope * weight).sum().item())
    return 0.0 if along == 0 or math.isnan(along) else -math.copysign(lr, along)


@no_grad()
def _move_norm(weight, step):
    """|weight| + step, kept positive, in the direction of weight."""
    norm = math.sqrt(float((weight * weight).sum().item()))
    if norm > 0:
        weight.mul_(max(norm + step, 0.01 * norm) / norm)
