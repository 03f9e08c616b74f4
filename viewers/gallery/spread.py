"""Histograms of the scores, shifts and angles of particles, small enough for a pane.

``draw(figure, columns)``; columns: label -> (N,), those of a class's members.
"""
import numpy as np
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ..style import BLUE, DARK, ORANGE, Plot, lay_out

BARS, TURNS = 32, 36
SCORES = {"maxCC": "Correlation", "pMax": "Probability of the pose", "logLikelihood": "Log-likelihood",
          "classProbability": "Probability of the class"}
MOST_SCORES = 2
SHIFTS = "shiftX", "shiftY", "shiftZ"


def panels(columns):
    """The :class:`~..style.Plot` list of what the columns tell of."""
    known = [label for label in SCORES if label in columns][:MOST_SCORES]
    found = [Plot(SCORES[label], _score(label), "") for label in known]
    if any(label in columns for label in SHIFTS):
        found.append(Plot("Shift", _shift, ""))
    if "angleTilt" in columns:
        found.append(Plot("Tilt", _tilt, ""))
    elif "anglePsi" in columns:
        found.append(Plot("In-plane rotation", _rotation, ""))
    return found


def draw(figure, columns, style=DARK):
    """Draw all :func:`panels` on a cleared ``figure``."""
    lay_out(figure, panels(columns), {**style, "font.size": 8, "axes.titlesize": 9, "axes.titlepad": 5}, columns)


def _score(label):
    def draw_score(axes, columns):
        values = columns[label]
        _bars(axes, values, BARS)
        _mark_median(axes, values)
    return draw_score


def _shift(axes, columns):
    length = np.sqrt(sum(columns[label] ** 2 for label in SHIFTS if label in columns))
    _bars(axes, length, np.linspace(0, max(length.max(), 1), BARS + 1))
    _mark_median(axes, length, " px")
    axes.set_xlabel("px")


def _rotation(axes, columns):
    angle, flip = columns["anglePsi"] % 360, np.asarray(columns.get("flip", 0 * columns["anglePsi"])) > 0
    axes.hist([angle[~flip], angle[flip]], np.linspace(0, 360, TURNS + 1), stacked=True, color=[BLUE, ORANGE],
              label=["as they are", "mirrored"])
    axes.set_xlim(0, 360)
    axes.xaxis.set_major_locator(MultipleLocator(90))
    axes.set_xlabel("degrees")
    if flip.any():
        axes.set_ylim(top=1.3 * axes.get_ylim()[1])
        axes.legend(loc="upper right", ncols=2, fontsize=7, handlelength=1, columnspacing=1)
    _counts(axes)


def _tilt(axes, columns):
    """Relative to how many there are of each by chance: directions spread evenly make the bars level."""
    edges = np.degrees(np.arccos(np.linspace(1, -1, BARS // 2 + 1)))
    found, _ = np.histogram(np.degrees(np.arccos(np.cos(np.radians(columns["angleTilt"])))), edges)
    axes.bar(edges[:-1], found, np.diff(edges), align="edge", color=BLUE)
    axes.set_xlim(0, 180)
    axes.xaxis.set_major_locator(MultipleLocator(45))
    axes.set_xlabel("degrees, bars of equal solid angle")
    _counts(axes)


def _bars(axes, values, bins):
    axes.hist(values, bins, color=BLUE)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
    _counts(axes)


def _counts(axes):
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.grid(False, axis="x")


def _mark_median(axes, values, unit=""):
    median = np.median(values)
    axes.set_ylim(top=1.15 * axes.get_ylim()[1])
    axes.axvline(median, color=ORANGE, linewidth=1.2)
    right = median > np.mean(axes.get_xlim())
    text = f"{median:,.0f}" if abs(median) >= 1000 else f"{median:.3g}"
    axes.annotate(f"{text}{unit}", (median, 1), xycoords=("data", "axes fraction"), va="top", fontsize=7.5,
                  xytext=(-4 if right else 4, -2), textcoords="offset points", ha="right" if right else "left",
                  color=ORANGE)
