"""LSUV: weights scaled layer by layer until real data leaves each layer with variance 1. (Mishkin & Matas 2016)"""

import contextlib
import math

from pyengine import no_grad

from .init import orthogonal_


class _Seen(Exception):
    """The layer in question has computed: the rest of the network need not."""


def _weighted(model):
    """(name, layer) of all layers with a weight of two axes or more, in the order of the model's modules."""
    for name, layer in model.named_modules():
        weight = layer._parameters.get("weight")
        if weight is not None and weight.ndim >= 2:
            yield name, layer


def _variance_of(model, layer, inputs):
    """The variance of what layer gives for inputs; None where the model does not call it."""
    seen = []

    def look(module, args, output):
        seen.append(output)
        raise _Seen

    with layer.register_forward_hook(look), contextlib.suppress(_Seen):
        model(*inputs)
    if not seen:
        return None
    output = seen[0]
    return float(output.var(correction=0).item()) if output.numel() > 1 else None


@no_grad()
def lsuv_(model, inputs, tolerance=0.01, max_iterations=10, orthonormal=True, generator=None):
    """Makes every layer's output have variance 1 on a batch: orthonormal weights, then, layer by layer, each weight
    divided by the standard deviation of what its layer gives. Returns name -> variance reached.

    Arguments: inputs, a batch (or a tuple of the model's arguments); tolerance, how far the variance may be from 1;
    orthonormal, False keeps the weights' directions as they are. The model runs in evaluation mode meanwhile.
    Layers are those with a weight of two axes or more, in the order of model.modules(), which must be that of the
    computation; one that the model does not call is left alone.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(8, 16), pe.nn.ReLU(), pe.nn.Linear(16, 4))
    >>> variances = lsuv_(net, pe.randn(256, 8))
    >>> all(abs(variance - 1) < 0.01 for variance in variances.values())
    True
    """
    if not tolerance > 0:
        raise ValueError(f"lsuv_: tolerance must be positive, got {tolerance}")
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    reached = {}
    try:
        layers = list(_weighted(model))
        for _, layer in layers:
            if orthonormal:
                orthogonal_(layer.weight, generator=generator)
        for name, layer in layers:
            variance = _normalize(model, layer, inputs, tolerance, max_iterations)
            if variance is not None:
                reached[name] = variance
    finally:
        for module, training in modes:
            module.training = training
    return reached


def _normalize(model, layer, inputs, tolerance, max_iterations):
    variance = _variance_of(model, layer, inputs)
    for _ in range(max_iterations):
        if variance is None or not 0 < variance < math.inf or abs(variance - 1) < tolerance:
            break
        layer.weight.mul_(1 / math.sqrt(variance))
        variance = _variance_of(model, layer, inputs)
    return variance
