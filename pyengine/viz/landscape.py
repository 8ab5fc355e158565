"""The loss around the weights that were found."""

import math

import pyengine as pe
from pyengine import no_grad

from .style import SERIES, new_figure, styled

_MOST = 101  # points along an axis


def loss_around(model, loss, points=21, span=1.0, generator=None):
    """(places, losses): the loss at w + a d + b e for all a and b of `places` (from -span to span), as an array
    (points, points), rows b, columns a. d and e are random directions of which each filter (a row of a matrix, an
    output of a convolution) has the norm of the same filter of the weights, and biases and norms stay. (Li et al. 2018)

    The model is in evaluation mode meanwhile; afterwards weights, buffers and modes are what they were, bit for bit,
    also where loss raises. Arguments and errors: as loss_landscape's.
    """
    import numpy

    if not isinstance(points, int) or not 3 <= points <= _MOST or points % 2 == 0:
        raise ValueError(f"loss_landscape: points must be odd, from 3 to {_MOST}, got {points!r}")
    if not (math.isfinite(span) and span > 0):
        raise ValueError(f"loss_landscape: span must be positive and finite, got {span!r}")
    weights = [p for p in model.parameters() if p.ndim > 1 and p.is_floating_point()]
    if not weights:
        raise ValueError(f"loss_landscape: {type(model).__name__} has no weights of two or more axes")
    places = numpy.linspace(-span, span, points)
    losses = numpy.full((points, points), numpy.nan)
    kept = [tensor.detach().clone() for tensor in (*model.parameters(), *model.buffers())]
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            start = [p.detach().clone() for p in weights]
            across, down = ([_direction(p, generator) for p in start] for _ in range(2))
            for row, b in enumerate(places.tolist()):
                for column, a in enumerate(places.tolist()):
                    for p, w, d, e in zip(weights, start, across, down, strict=True):
                        p.copy_(w + d * a + e * b if a or b else w)
                    losses[row, column] = float(loss(model))
    finally:
        with no_grad():
            for tensor, values in zip((*model.parameters(), *model.buffers()), kept, strict=True):
                tensor.copy_(values)
        for module, training in modes:
            module.training = training
    return places, losses


def _direction(weight, generator):
    """Of N(0, 1), each filter scaled to the norm of the weight's."""
    random = pe.randn(*weight.shape, generator=generator)
    rows = random.reshape(weight.shape[0], -1)
    sizes = weight.float().reshape(weight.shape[0], -1).norm(dim=1, keepdim=True)
    return (rows * (sizes / (rows.norm(dim=1, keepdim=True) + 1e-10))).reshape(weight.shape).to(weight.dtype)


@styled
def loss_landscape(model, loss, points=21, span=1.0, generator=None):
    """The loss in a plane through the weights along two random, filter-normalized directions, as lines of equal loss:
    a Figure. A wide bowl generalizes better than a narrow one, and chaos is hard to train. (Li et al. 2018)

    Arguments: model; loss, a function of model that gives the loss (on the same data each time); points along each
    axis (odd, so that the weights themselves are among them); span, how far, in norms of the weights; generator of
    the directions. loss is called points x points times.
    Errors: ValueError for other points or span; what loss raises. The weights are then what they were.

    >>> net, x = pe.nn.Linear(2, 1), pe.ones(4, 2)
    >>> figure = loss_landscape(net, lambda net: net(x).pow(2).mean(), points=5)
    >>> figure.axes[0].get_xlabel()
    'along direction 1 (norms of the weights)'
    """
    import numpy
    from matplotlib.colors import BoundaryNorm

    places, losses = loss_around(model, loss, points, span, generator)
    figure = new_figure(5.6, 4.4)
    axes = figure.subplots()
    finite = losses[numpy.isfinite(losses)]
    axes.set(xlabel="along direction 1 (norms of the weights)", ylabel="along direction 2 (norms of the weights)",
             aspect="equal")  # fmt: skip
    middle = float(losses[points // 2, points // 2])
    axes.set_title(f"loss {middle:.4g} at the weights")
    axes.plot(0, 0, marker="+", color=SERIES[1], markersize=10, markeredgewidth=2)
    if finite.size and float(finite.max()) > float(finite.min()):
        shown = numpy.where(numpy.isfinite(losses), losses, finite.max())
        levels = _levels(finite)
        norm = BoundaryNorm(levels, 256, extend="max")
        filled = axes.contourf(places, places, shown, levels, cmap="viridis", norm=norm, extend="max")
        axes.contour(filled, colors="white", linewidths=0.5, alpha=0.6)
        figure.colorbar(filled, label="loss", format="%.3g")
    axes.grid(False)
    return figure


def _levels(values):
    """20 levels up to the 95th percentile, so that one steep corner does not flatten all the rest; equal factors apart
    where the loss grows by more than 10, which shows the bottom of the bowl."""
    import numpy

    low, high = float(values.min()), float(numpy.quantile(values, 0.95))
    high = high if high > low else float(values.max())
    return numpy.geomspace(low, high, 21) if 0 < 10 * low < high else numpy.linspace(low, high, 21)
