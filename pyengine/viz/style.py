"""How all pictures look, and how they become files: PNG, or SVG that takes its ink from the page around it."""

import io
import math
import re
import warnings
from functools import wraps

from pyengine.io.atomic import replace_file

INK, FAINT = "#1c2430", "#1c2431"  # text and axes, grid: an SVG shows them in the colour of the page's text
SERIES = ("#2f7ed8", "#e8743b", "#19a979", "#b0559f", "#c9a227", "#5f6caf", "#d1495b", "#4aa3a2")
_DEPTH = ("#2f7ed8", "#8b6fc4", "#d1597b", "#e8943b")  # first layer to last, light and dark pages alike
_FEW_LAYERS = 8  # which a legend names all
LONGEST = 40  # characters of a name that is shown

_STYLE = {
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlecolor": INK, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9,
    "xtick.labelsize": 8, "ytick.labelsize": 8, "legend.fontsize": 8, "legend.frameon": False,
    "legend.labelcolor": INK, "axes.grid": True, "grid.color": FAINT, "grid.alpha": 0.15, "grid.linewidth": 0.6,
    "axes.axisbelow": True, "lines.linewidth": 1.6, "lines.markersize": 4, "font.family": ["sans-serif"],
    "axes.formatter.useoffset": False, "xtick.minor.visible": False, "ytick.minor.visible": False,
    "image.cmap": "viridis",
}  # fmt: skip


def styled(draw):
    """draw, which makes a Figure, in this style, whatever the caller's own settings are.

    Errors: ModuleNotFoundError that says what to install.
    """

    @wraps(draw)
    def drawn(*args, **kwargs):
        try:
            import matplotlib
            from cycler import cycler
        except ImportError:
            raise ModuleNotFoundError('matplotlib is not installed: pip install "pyengine[plot]"') from None
        style = {**matplotlib.rcParamsDefault, **_STYLE, "axes.prop_cycle": cycler(color=SERIES)}
        style = {name: value for name, value in style.items() if not name.startswith(("backend", "interactive"))}
        with matplotlib.rc_context(style):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width, height):
    """An empty Figure of so many inches. The Agg canvas: no display, and the caller's pyplot state stays as it is."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def depth_colors(count):
    """One colour a layer, from the first to the last."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("depth", _DEPTH)
    return [shades(i / max(1, count - 1)) for i in range(count)]


def name_layers(figure, layers, colors):
    """A legend below: of all layers, or of a few of them. (A label that starts with "_" would not be shown.)"""
    from matplotlib.lines import Line2D

    count = len(layers)
    chosen = range(count) if count <= _FEW_LAYERS else sorted({round(i * (count - 1) / 5) for i in range(6)})
    handles = [Line2D([], [], color=colors[i], label=f" {plain(layers[i], 30)}") for i in chosen]
    title = "layer" if count <= _FEW_LAYERS else f"layer (6 of {count})"
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), title=title,
                  title_fontsize=8)  # fmt: skip


def scale_by_powers(axes, values):
    """A vertical axis of logarithms over values (those that are no positive numbers aside), with plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    values = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    decades = math.log10(max(values) / min(values))
    axes.set_yscale("log")
    if decades < 1:
        middle = math.sqrt(max(values) * min(values))
        axes.set_ylim(min(min(values) / 1.1, middle / 3.2), max(max(values) * 1.1, middle * 3.2))
    subs = (1, 2, 5) if decades < 2 else (1,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=7))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")


def shown(name, longest=LONGEST):
    """A name as text of a picture or a page: no formulas, no unprintable characters, not too long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))
    half = longest // 2
    return text if len(text) <= longest else f"{text[: half - 1]}\N{HORIZONTAL ELLIPSIS}{text[-half:]}"


def plain(name, longest=LONGEST):
    """shown(name), which matplotlib must not read as a formula."""
    return shown(name, longest).replace("$", r"\$")


def save(figure, path):
    """Writes figure as a PNG on white at path, whole or not at all.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "curves.png")
    ...     save(pe.viz.curves([{"epoch": 1, "loss": 1.0}]), path)
    ...     open(path, "rb").read(4)
    b'\\x89PNG'
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, facecolor="white")
    replace_file(path, content.getvalue())


def svg(figure, key):
    """figure as the text of an <svg> element without anything from elsewhere; key (letters and digits) keeps its ids
    apart from those of other pictures on the page."""
    import matplotlib

    content = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    settings = {"svg.fonttype": "none", "svg.hashsalt": key, "svg.image_inline": True}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has it
        figure.savefig(content, format="svg", metadata=nothing, transparent=True)
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, count=2)
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = text.replace("xlink:href=", "href=")
    text = re.sub(r'( id="|href="#|url\(#)', rf"\1{key}-", text)
    return re.sub(f"{INK}|{FAINT}", "currentColor", text)
