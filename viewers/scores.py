"""The plot of classes' scores: a bar for each, made of the parts of its score, the best first."""
import numpy as np
from matplotlib.patches import Patch

from mlalign.programs.ranking import WEIGHTS

from .style import BLUE, GREEN, LIGHT, ORANGE, RED, Plot, lay_out, muted

COLOURS = {"signal": BLUE, "resolution": GREEN, "stability": ORANGE, "size": "#9aa1ab"}
FADED = 0.35                # of the bars of rejected classes
MOST_NAMED = 60             # classes; beyond, numbers would touch


def draw(figure, ranking, kept, threshold=None, style=LIGHT):
    """Draw the scores of a :class:`~mlalign.programs.ranking.Ranking` on a cleared ``figure``.

    kept: (K,) bool, whether a class was chosen; threshold: the score that was asked for, None when none was.
    """
    lay_out(figure, [PLOT], style, ranking, np.asarray(kept, bool), threshold)


def contributions(ranking):
    """{part: (K,)} whose sum is the score: each part's share of the weighted mean; unknown parts give nothing."""
    known = {name: ~np.isnan(ranking.parts[name]) for name in WEIGHTS}
    total = np.maximum(sum(WEIGHTS[name] * known[name] for name in WEIGHTS), 1e-9)
    return {name: WEIGHTS[name] * np.nan_to_num(ranking.parts[name]) / total * (ranking.sizes > 0)
            for name in WEIGHTS}


def _draw(axes, ranking, kept, threshold):
    order = np.argsort(-ranking.score, kind="stable")
    place, bottom = np.arange(len(order)), np.zeros(len(order))
    for name, values in contributions(ranking).items():
        for shown, alpha in ((kept[order], 1), (~kept[order], FADED)):
            axes.bar(place[shown], values[order][shown], bottom=bottom[shown], color=COLOURS[name], alpha=alpha,
                     width=0.8)
        bottom += values[order]
    handles = [Patch(color=COLOURS[name], label=name) for name in reversed(COLOURS)]
    if not kept.all():
        handles.append(Patch(color=muted(axes), alpha=FADED, label="rejected: pale"))
    if threshold is not None:
        axes.axhline(threshold, color=RED, linewidth=1.2, linestyle=(0, (4, 3)))
        axes.annotate(f"{threshold:g}", (1, threshold), xycoords=("axes fraction", "data"), xytext=(3, 0),
                      textcoords="offset points", va="center", color=RED, fontsize=8.5)
    if len(order) <= MOST_NAMED:
        axes.set_xticks(place, [str(ref) for ref in ranking.refs[order]])
    else:
        axes.set_xticks([])
    axes.set(xlabel="class, the best first", ylabel="score", ylim=(0, 1.03), xlim=(-0.7, len(order) - 0.3))
    axes.grid(False, axis="x")
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.06, 1))


PLOT = Plot("Scores", _draw, "A bar for each class, made of the parts of its score; the threshold and what it rejects. "
            "Look for a gap between good classes and junk, and move the threshold there.")
