"""Plots of the Fourier ring correlation of class averages: of all at one result, of each over the iterations."""
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps

from mlalign.programs.errors import UserError
from mlalign.programs.results import FINAL

from .plots import correlation_axes
from .spectra import few, over_iterations, say_which, side_legend
from .style import LIGHT, Plot, lay_out

MOST_NAMED = 12             # classes in a legend, or in panels of their own
MOST_ITERATIONS = 6         # drawn in one panel


class Curves(NamedTuple):
    """What the plots show.

    shown      : an iteration's number, or FINAL
    classes    : numbers of the classes, the largest first
    results    : shown and other iterations in order -> {class: (frequencies in 1/px, correlations), each (M,)}
    pixel_size : Å/px or None
    """
    shown: object
    classes: list
    results: dict
    pixel_size: float

    @classmethod
    def of_run(cls, run, shown=FINAL, iterations=None):
        """The curves of a :class:`~mlalign.programs.results.Run`; UserError when the result shown has none.

        iterations : those to show beside it (default: all); of many, a few
        """
        table = run.classes(shown)
        order = np.argsort(-table.numbers("classCount"), kind="stable")
        classes = [int(table["ref"][row]) for row in order]
        beside = few(iterations or run.iterations(), MOST_ITERATIONS)
        results = [*beside[:-1], FINAL] if shown is FINAL else sorted({*beside, shown})
        curves = {result: {ref: curve for ref in classes if (curve := _curve(run, result, ref)) is not None}
                  for result in results}
        if not curves[shown]:
            raise UserError(f"{run.prefix(shown)}frc.xmd: no such file")
        return cls(shown, [ref for ref in classes if ref in curves[shown]], curves, run.pixel_size(shown))


def _curve(run, result, ref):
    """The first shell, the images' mean, says nothing of their correlation and is left out."""
    curve = run.frc(result, ref)
    return None if curve is None else tuple(values[1:] for values in curve)


def draw(figure, curves, names=None, style=LIGHT):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of :class:`Curves` on a cleared ``figure``."""
    names = list(names or PLOTS)
    panels = [PLOTS[name] for name in names if name != "frcDevelopment"]
    if "frcDevelopment" in names:
        panels += [Plot(f"Class {ref}", _of_class(ref), "") for ref in curves.classes[:MOST_NAMED]]
    lay_out(figure, panels, style, curves)


def panels(curves, names):
    """How many panels :func:`draw` lays out."""
    return len(names) + ("frcDevelopment" in names) * (min(len(curves.classes), MOST_NAMED) - 1)


def _all_classes(axes, curves):
    of_class, named = curves.results[curves.shown], curves.classes[:MOST_NAMED]
    colors = colormaps["viridis"](np.linspace(0.1, 0.86, len(curves.classes)))
    for ref, color in zip(curves.classes, colors):
        axes.plot(*of_class[ref], color=color, linewidth=1.3, label=str(ref) if ref in named else None)
    _axes(axes, curves, [of_class[ref] for ref in curves.classes])
    side_legend(axes, "class" if len(named) == len(curves.classes) else
                f"class\nthe largest {len(named)}\nof {len(curves.classes)}")
    say_which(axes, curves.shown)


def _of_class(ref):
    """A function that draws that class over the iterations."""

    def draw_class(axes, curves):
        drawn = {result: of_class[ref] for result, of_class in curves.results.items() if ref in of_class}
        for curve, options in over_iterations(axes, drawn, curves.shown):
            axes.plot(*curve, **options)
        _axes(axes, curves, drawn.values())
        side_legend(axes, "iteration")

    return draw_class


def _axes(axes, curves, drawn):
    correlation_axes(axes, min(values.min() for _, values in drawn), max(frequency[-1] for frequency, _ in drawn),
                     curves.pixel_size, "FRC")


PLOTS = {
    "frc": Plot("FRC of all classes", _all_classes,
                "Fourier ring correlation of the averages of two halves of each class against resolution."),
    "frcDevelopment": Plot("FRC of each class over the iterations", None,
                           "The same for each of the largest classes in a panel of its own, at some of the iterations, "
                           "later ones stronger."),
}
