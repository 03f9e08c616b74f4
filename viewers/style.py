"""The look that all plots share: colours, layout, and the axis of resolutions."""
import math
from typing import Callable, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator

_COMMON = {
    "font.family": "sans-serif", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 9, "axes.labelsize": 9, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True, "axes.linewidth": 0.8,
    "grid.linewidth": 0.6, "lines.linewidth": 1.8, "lines.markersize": 3.5, "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5, "legend.fontsize": 8.5, "legend.frameon": False, "figure.dpi": 100,
    "axes.formatter.useoffset": False,
}


def _style(background, ink, muted, grid):
    return {**_COMMON, "figure.facecolor": background, "axes.facecolor": background,
            "savefig.facecolor": background, "text.color": ink, "axes.titlecolor": ink,
            "axes.labelcolor": muted, "xtick.color": muted, "ytick.color": muted, "axes.edgecolor": grid,
            "grid.color": grid}


LIGHT = _style("#ffffff", "#202327", "#5c636c", "#e3e6ea")
DARK = _style("#1b1d21", "#e8eaed", "#9aa1ab", "#33373d")
BLUE, ORANGE, GREEN, RED = "#4f9cf0", "#f0a04b", "#4cb782", "#e5645e"

LABEL = 0.28                # inches between the middles of labels
ROUND = np.outer([1000, 100, 10, 1], [8, 6, 5, 4, 3, 2.5, 2, 1.5, 1.2, 1]).ravel()      # Å, falling


class Plot(NamedTuple):
    """A title, a function that draws and labels the axes it gets first, and what the plot tells."""
    title: str
    function: Callable
    meaning: str


def lay_out(figure, plots, style, *arguments):
    """Draw :class:`Plot` after plot on a cleared ``figure``; their functions get the axes and ``arguments``."""
    columns, rows = grid(len(plots))
    with rc_context(style):
        figure.clear()
        figure.set_facecolor(style["figure.facecolor"])
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.04)
        for place, plot in enumerate(plots, 1):
            axes = figure.add_subplot(rows, columns, place)
            axes.set_title(plot.title)
            plot.function(axes, *arguments)


def grid(count):
    """(columns, rows) in which :func:`lay_out` arranges ``count`` plots."""
    columns = min(math.ceil(math.sqrt(count)), 3)
    return columns, math.ceil(count / columns)


def columns_for(figure, count, aspect):
    """In how many columns ``count`` panels, ``aspect`` times as wide as high, are largest on a figure."""
    width, height = figure.get_size_inches()
    return max(range(1, count + 1), key=lambda columns: min(width / columns / aspect,
                                                            height / math.ceil(count / columns)))


def muted(axes):
    """The colour of what is said quietly."""
    return axes.xaxis.label.get_color()


def resolution_axis(axes, highest, pixel_size):
    """Frequencies from 0 to ``highest`` 1/px along x, read in Å where the pixel size (Å/px or None) is known."""
    axes.set_xlim(0, highest)
    axes.set_xlabel("resolution (Å)" if pixel_size else "frequency (1/px)")
    if pixel_size:
        axes.xaxis.set_major_locator(_Resolutions(highest, pixel_size))
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{pixel_size / value:.4g}" if value > 0 else "∞"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6))


class _Resolutions(Locator):
    """Zero and the frequencies of round resolutions, no two too close to tell apart."""

    def __init__(self, highest, pixel_size):
        self.highest, self.pixel_size = highest, pixel_size

    def __call__(self):
        apart = max(0.12, LABEL * self.axis.figure.dpi / self.axis.axes.bbox.width) * self.highest
        ticks = [0.0]
        for frequency in self.pixel_size / ROUND:
            if frequency - ticks[-1] >= apart and frequency <= self.highest * (1 + 1e-6):
                ticks.append(frequency)
        return ticks
