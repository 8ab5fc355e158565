"""Where attention looks."""

import math

from pyengine import Tensor

from .style import new_figure, plain, styled

_COLUMNS = 4
_NAMED = 32  # tokens that still can be read along an axis


@styled
def attention_maps(weights, tokens=None):
    """The attention weights of each head, queries down and keys across, on one scale: a Figure.

    Arguments: weights, (L, S), (heads, L, S), or (N, heads, L, S) of which the first sample is drawn: what
    MultiheadAttention gives with need_weights=True, average_attn_weights=False; tokens, names of the L = S places
    (written out up to 32).
    Errors: ValueError for another form, or tokens of another number.

    >>> figure = attention_maps(pe.ones(2, 3, 3) / 3)
    >>> [axes.get_title("left") for axes in figure.axes[:2]]
    ['head 1', 'head 2']
    """
    import numpy

    array = numpy.asarray(weights.detach().float().numpy() if isinstance(weights, Tensor) else weights)
    if array.ndim == 4 and array.size:
        array = array[0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not array.size:
        raise ValueError(f"attention_maps: (L, S), (heads, L, S) or (N, heads, L, S) is needed, got {array.shape}")
    heads, queries, keys = array.shape
    if tokens is not None and not len(tokens) == queries == keys:
        raise ValueError(f"attention_maps: {len(tokens)} tokens for {queries} queries and {keys} keys")
    columns = min(heads, _COLUMNS)
    lines = math.ceil(heads / columns)
    figure = new_figure(max(4.6, 2.3 * columns), 2.5 * lines)
    grid = figure.subplots(lines, columns, squeeze=False)
    limit = float(array[numpy.isfinite(array)].max(initial=0.0)) or 1.0
    for number, axes in enumerate(grid.reshape(-1)):
        if number >= heads:
            axes.remove()
            continue
        image = axes.imshow(array[number], vmin=0, vmax=limit, aspect="equal", interpolation="nearest")
        axes.set_title(f"head {number + 1}")
        axes.grid(False)
        _name_tokens(axes, tokens, first=number % columns == 0)
    figure.supxlabel("key", fontsize=9)
    figure.supylabel("query", fontsize=9)
    figure.colorbar(image, ax=list(grid.reshape(-1)[:heads]), label="attention weight", shrink=0.8)
    return figure


def _name_tokens(axes, tokens, first):
    from matplotlib.ticker import MaxNLocator

    if tokens is None or len(tokens) > _NAMED:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, integer=True))
        return
    names = [plain(token, 10) for token in tokens]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    axes.set_yticks(range(len(names)), names if first else [], fontsize=6)
