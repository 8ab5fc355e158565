"""GradInit: a factor for each parameter is learned so that the first optimizer step lowers the loss most. (Zhu et al.
2021)"""

import math

from pyengine import enable_grad, grad, no_grad, tensor

from .utils.stateless import functional_call


def gradinit_(model, criterion, batches, lr=1e-2, eta=0.1, gamma=1.0, steps=100, optimizer="sgd", min_scale=0.01):
    """Multiplies each parameter of model by a learned factor. Returns the losses after the trial step, one a step.

    Each step takes the gradient g at the scaled parameters. If |g| is above gamma, the factors go down |g|; else they
    go down the loss, on another batch where there is one, after the trial update theta - eta g ("sgd") or
    theta - eta sign(g) ("adam": its first update). The factors move by lr times Adam's normalized direction.

    Arguments: criterion(output, target) -> the loss; batches, (input, target) pairs, cycled through; eta, the learning
    rate that training will start with; min_scale, the factors' lower bound.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 8), pe.nn.Tanh(), pe.nn.Linear(8, 2))
    >>> data = [(pe.randn(16, 4), pe.randn(16, 2))]
    >>> losses = gradinit_(net, pe.nn.functional.mse_loss, data, steps=3)
    >>> len(losses)
    3
    """
    if optimizer not in ("sgd", "adam"):
        raise ValueError(f"gradinit_: optimizer must be 'sgd' or 'adam', got {optimizer!r}")
    batches = list(batches)
    if not batches:
        raise ValueError("gradinit_: at least one batch is needed")
    start = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if not start:
        raise ValueError("gradinit_: the model has no parameter that requires grad")
    scales = _Scales(list(start), lr, min_scale)
    losses = []
    with enable_grad():
        for step in range(steps):
            now, later = batches[step % len(batches)], batches[(step + 1) % len(batches)]
            factors = scales.tensors()
            theta = {name: start[name] * factors[name] for name in start}
            objective, norm, constrained = _objective(model, criterion, theta, now, later, eta, gamma, optimizer)
            losses.append(norm if constrained else float(objective.item()))
            slopes = grad(objective, list(factors.values()), allow_unused=True)
            scales.step([0.0 if s is None else float(s.item()) for s in slopes])
    with no_grad():
        for name, parameter in model.named_parameters():
            if name in start:
                parameter.copy_(start[name] * scales.values[name])
    return losses


def _objective(model, criterion, theta, now, later, eta, gamma, optimizer):
    """(what the factors shall lower, |g|, whether that is |g| itself)."""
    loss = criterion(functional_call(model, theta, (now[0],)), now[1])
    gradients = grad(loss, list(theta.values()), create_graph=True, allow_unused=True, materialize_grads=True)
    square = sum((g * g).sum() for g in gradients)
    # with signs as steps the paper bounds the 1-norm: eta |g|_1 is what such a step promises
    size = sum(g.abs().sum() for g in gradients) if optimizer == "adam" else square.sqrt()
    norm = float(size.item())
    if not norm <= gamma:
        return size, norm, True
    steps = gradients if optimizer == "sgd" else [_sign(g) for g in gradients]
    moved = {name: p - g * eta for (name, p), g in zip(theta.items(), steps, strict=True)}
    return criterion(functional_call(model, moved, (later[0],)), later[1]), norm, False


def _sign(g):
    g = g.detach()
    return (g > 0.0).float() - (g < 0.0).float()


class _Scales:
    """The factors, and Adam for them."""

    def __init__(self, names, lr, minimum):
        self.values = dict.fromkeys(names, 1.0)
        self.lr, self.minimum, self.count = lr, minimum, 0
        self.first, self.second = [0.0] * len(names), [0.0] * len(names)

    def tensors(self):
        """The factors to differentiate by."""
        return {name: tensor(value, requires_grad=True) for name, value in self.values.items()}

    def step(self, slopes):
        """One update; a slope that is no number (the loss overflowed) counts as 0."""
        self.count += 1
        for i, (name, slope) in enumerate(zip(self.values, slopes, strict=True)):
            slope = slope if math.isfinite(slope) else 0.0
            self.first[i] = 0.9 * self.first[i] + 0.1 * slope
            self.second[i] = 0.999 * self.second[i] + 0.001 * slope * slope
            mean = self.first[i] / (1 - 0.9**self.count)
            spread = math.sqrt(self.second[i] / (1 - 0.999**self.count))
            if spread:
                self.values[name] = max(self.values[name] - self.lr * mean / spread, self.minimum)
