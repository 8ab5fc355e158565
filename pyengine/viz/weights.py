"""Pictures of weights: how they are distributed, their singular values, the filters of the first convolution."""

from pyengine import Tensor
from pyengine.nn import Conv2d, Module

from .style import SERIES, depth_colors, name_layers, new_figure, plain, scale_by_powers, styled

_MOST = 24  # histograms on a sheet
_COLUMNS = 4
_BINS = 60
_MOST_DRAWN = 1e300  # what matplotlib's own arithmetic bears
_SAMPLE = 1 << 20  # elements of a tensor that a histogram counts
_LONGEST = 1024  # shorter side of a matrix whose singular values are worked out
_PER_ROW, _ROWS = 8, 8  # filters


def named_arrays(model, what):
    """name -> float array of the parameters of a Module, or of a mapping of tensors or arrays, without those that hold
    no floats or nothing."""
    import numpy

    if isinstance(model, Module):
        model = dict(model.named_parameters())
    if not hasattr(model, "items"):
        raise TypeError(f"{what}: a Module or a dict of tensors is needed, got {type(model).__name__}")
    found = {}
    for name, value in model.items():
        if isinstance(value, Tensor):
            value = value.detach()
            value = (value.float() if value.dtype.name in ("bfloat16", "float16") else value).numpy()
        array = numpy.asarray(value)
        if array.size and array.dtype.kind == "f":
            found[name] = array
    return found


def _chosen(arrays, what):
    """At most _MOST of them: matrices and convolutions before vectors, in their order."""
    if not arrays:
        raise ValueError(f"{what}: there are no tensors of floats")
    wide = [name for name, array in arrays.items() if array.ndim > 1]
    return (wide + [name for name in arrays if name not in set(wide)])[:_MOST]


@styled
def histograms(model):
    """How the elements of each tensor are distributed, a panel each (of at most 24 tensors, weights before biases): a
    Figure.

    Arguments: model, a Module, or a mapping of names to tensors or arrays, such as a state_dict().
    Errors: ValueError where there is nothing to draw.

    >>> figure = histograms(pe.nn.Linear(4, 3))
    >>> [axes.get_title("left") for axes in figure.axes]
    ['weight', 'bias']
    """
    arrays = named_arrays(model, "histograms")
    chosen = _chosen(arrays, "histograms")
    columns = min(_COLUMNS, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = new_figure(max(4.6, 2.3 * columns), 1.75 * lines + 0.3)
    grid = figure.subplots(lines, columns, squeeze=False).reshape(-1)
    for axes, name in zip(grid, chosen, strict=False):
        _histogram(axes, arrays[name])
        axes.set_title(plain(name, 26), fontsize=8)
    for axes in grid[len(chosen) :]:
        axes.remove()
    figure.supxlabel("value of an element", fontsize=9)
    figure.supylabel("share of elements (%)", fontsize=9)
    return figure


def _histogram(axes, array):
    import numpy
    from matplotlib.ticker import MaxNLocator

    values = array.reshape(-1)
    values = values[:: max(1, values.size // _SAMPLE)]
    values = values[numpy.isfinite(values)].astype("float64")
    axes.xaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    if not values.size or max(-low, high) > _MOST_DRAWN:
        told = f"values beyond {_MOST_DRAWN:g}" if values.size else "no finite values"
        axes.text(0.5, 0.5, told, ha="center", va="center", transform=axes.transAxes, fontsize=8)
        return
    if not high - low > 1e-12 * max(abs(low), abs(high)):  # one value: a bar of its own
        low, high = low - max(abs(low), 1) / 2, low + max(abs(low), 1) / 2
    counts, edges = numpy.histogram(values, min(_BINS, max(8, values.size // 4)), (low, high))
    axes.stairs(100 * counts / values.size, edges, fill=True, color=SERIES[0], alpha=0.85)
    if 2 * low < high and 2 * high > low:  # not where all lie far on one side
        axes.axvline(0, color=SERIES[1], linewidth=0.8, alpha=0.8)


@styled
def spectra(model):
    """The singular values of each weight matrix (a convolution's as (out, in x taps)) over their largest one, a line a
    layer from the first to the last: a Figure. A line that falls early is a layer of low rank.

    Arguments: model, as in histograms. Matrices whose shorter side is over 1,024, or that have NaN or infinities, are
    left out.
    Errors: ValueError where no matrix is left.
    """
    import numpy

    found = {}
    for name, array in named_arrays(model, "spectra").items():
        if array.ndim > 1 and 1 < min(len(array), array.size // len(array)) <= _LONGEST and numpy.isfinite(array).all():
            matrix = array.reshape(len(array), -1).astype("float64")
            values = numpy.linalg.svd(matrix / (abs(matrix).max() or 1.0), compute_uv=False)
            if values[0] > 0:
                found[name] = values / values[0]
    if not found:
        raise ValueError("spectra: there are no finite matrices with 2 to 1,024 rows or columns")
    figure = new_figure(9.2, 3.6)
    axes = figure.subplots()
    colors = depth_colors(len(found))
    for color, values in zip(colors, found.values(), strict=True):
        axes.plot(numpy.linspace(0, 100, len(values)), numpy.maximum(values, 1e-6), color=color, linewidth=1.2)
    axes.set(xlabel="place among the singular values (%)", ylabel="singular value / largest")
    scale_by_powers(axes, [1.0, *(max(float(values.min()), 1e-6) for values in found.values())])
    name_layers(figure, list(found), colors)
    return figure


@styled
def filters(model, title=None):
    """The filters of the first convolution, at most 64: in colours where it sees three channels, else its first
    channel in red (high values speak for it) and blue (against): a Figure.

    Arguments: model, a Module with a Conv2d, a mapping with such a weight, or filters (n, height, width) or
    (n, channels, height, width); title.
    Errors: ValueError where there is no such convolution.

    >>> filters(pe.nn.Conv2d(1, 8, 3)).axes[0].get_title("left")
    'weight: 8 filters of 3 x 3'
    """
    weights, name = _first_filters(model)
    lines, columns = min(_ROWS, -(-len(weights) // _PER_ROW)), min(len(weights), _PER_ROW)
    height, width = weights.shape[-2:]
    figure = new_figure(4.6, 0.4 + 4.6 * min(2.0, lines * (height + 1) / (columns * (width + 1))))
    draw_filters(figure.subplots(), weights, name, title)
    return figure


def _first_filters(model):
    import numpy

    if isinstance(model, Module):
        for name, module in model.named_modules():
            if isinstance(module, Conv2d):
                return module.weight.detach().float().numpy(), f"{name}.weight".lstrip(".")
        raise ValueError(f"filters: {type(model).__name__} has no Conv2d")
    if hasattr(model, "items"):
        for name, array in named_arrays(model, "filters").items():
            if array.ndim == 4 and min(array.shape[2:]) > 1:
                return array, name
        raise ValueError("filters: there is no tensor (out, in, height, width)")
    array = numpy.asarray(model.detach().float().numpy() if isinstance(model, Tensor) else model)
    if array.ndim not in (3, 4) or not array.size:
        raise ValueError(f"filters: (n, height, width) or (n, channels, height, width) is needed, got {array.shape}")
    return array, "filters"


def draw_filters(axes, weights, name="filters", title=None):
    """One image of all of them on axes: axes of their own would take longer than many a training."""
    import numpy

    colored = weights.ndim == 4 and weights.shape[1] == 3
    if weights.ndim == 4:
        weights = numpy.moveaxis(weights, 1, -1) if colored else weights[:, 0]
    count, height, width = weights.shape[:3]
    lines = min(_ROWS, -(-count // _PER_ROW))
    columns = min(count, _PER_ROW)
    limit = max(float(numpy.nanmax(abs(weights), initial=0.0, where=numpy.isfinite(weights))), 1e-12)
    tiles = weights[: _ROWS * _PER_ROW]
    sheet = numpy.full((lines * (height + 1) - 1, columns * (width + 1) - 1, *weights.shape[3:]), numpy.nan)
    for number, tile in enumerate(tiles):
        top, left = number // _PER_ROW * (height + 1), number % _PER_ROW * (width + 1)
        sheet[top : top + height, left : left + width] = tile / limit
    if colored:
        gaps = ~numpy.isfinite(sheet).all(-1, keepdims=True)
        sheet = numpy.concatenate([numpy.nan_to_num(sheet / 2 + 0.5), ~gaps], -1)
        axes.imshow(sheet.clip(0, 1), interpolation="nearest")
    else:
        axes.imshow(sheet, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    told = f"{plain(name)}: {count} filters of {height} x {width}" if title is None else title
    axes.set_title(told + ("" if count <= len(tiles) else f" (the first {len(tiles)})"))
