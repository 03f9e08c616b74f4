"""Plots of a run of refine2d over its cycles: those of :mod:`.alignments` that mean something for it, in its words.

Class averages are turned anew in every cycle, so that how much one has changed is not among them.
"""
from . import alignments
from .style import LIGHT


def draw(figure, history, names=None, style=LIGHT, eps=None):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of a run's history on a cleared ``figure``."""
    alignments.draw(figure, history, names or list(PLOTS), style, eps)


PLOTS = {
    "meanCC": alignments.PLOTS["meanCC"]._replace(meaning=(
        "Mean over the particles of the correlation with their class average. It rises and levels off.")),
    "changed": alignments.PLOTS["changed"]._replace(meaning=(
        "The share of the particles that went to another class than before. It falls and levels off, rarely to zero: "
        "classes that resemble each other go on exchanging particles.")),
    **{name: alignments.PLOTS[name] for name in ("occupancy", "resolution", "mirrorFraction")},
}
