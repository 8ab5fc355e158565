"""Pictures of weights and of runs, drawn with matplotlib (pip install "pyengine[plot]"): each function returns a
matplotlib Figure; page() and inspect_page() write self-contained HTML."""

from .attention import attention_maps
from .curves import curves, norms_over_time
from .landscape import loss_landscape
from .page import inspect_page, page
from .style import save
from .weights import filters, histograms, spectra

__all__ = [
    "attention_maps",
    "curves",
    "filters",
    "histograms",
    "inspect_page",
    "loss_landscape",
    "norms_over_time",
    "page",
    "save",
    "spectra",
]
