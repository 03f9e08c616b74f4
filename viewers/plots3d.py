"""Plots of classes of volumes: iterations, Fourier shell correlation, orientations, coverage of Fourier space.

Functions ``draw…(figure, …)`` lay plots out on any matplotlib figure, so the gallery's window, Scipion's plot windows
and a script that saves a picture share the same look.
"""
from contextlib import contextmanager
from functools import lru_cache, partial

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from mlalign.programs.engine.resolution import crossing
from mlalign.programs.errors import UserError

from . import plots
from .plots import correlation_axes, iteration_axis, iteration_line
from .style import GREEN, LIGHT, Plot, columns_for, lay_out, muted
from .tomo import planes, sphere

DOTS = 300                  # particles up to which each is shown
MOST_CURVES = 24            # classes named in a legend
SCALE_ENDS = 4, 8           # between which the scale of densities ends
APART = 2.35                # between the centres of two hemispheres, in radii
RASTER = 96                 # px of a disc's image
COLORS = "viridis"


def draw(figure, history, names=None, style=LIGHT, eps=None):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of ``history``, as :func:`.plots.draw` does."""
    lay_out(figure, [PLOTS[name] for name in names or PLOTS], style, history, eps)


def _angle_change(axes, history, eps):
    iteration_line(axes, history, history.info["angleChange"], GREEN)
    axes.set_ylabel("mean change (degrees)")
    axes.set_ylim(bottom=0)
    iteration_axis(axes, history)


_SHARED = {name: plots.PLOTS[name] for name in ("logLikelihood", "pMax", "signalChange", "occupancy", "changed")}
PLOTS = {
    **_SHARED,
    "angleChange": Plot("Angular change", _angle_change,
                        "By how much the particles' orientations changed, in the mean: it falls to less than the "
                        "angular sampling when the alignment has converged."),
    "resolution": Plot("Resolution", partial(plots.resolution, correlation="FSC"),
                       "The resolution that the run used, and that of its best class average by FSC."),
    "sigmaNoise": Plot("Noise deviation", plots.PLOTS["sigmaNoise"].function,
                       "Standard deviation of the voxels' noise; it falls as the class averages improve."),
    "sigmaOffset": plots.PLOTS["sigmaOffset"],
}


# ---- the classes of one iteration

def draw_classes(figure, classes, name, style=LIGHT):
    """Draw the plot ``name`` (a key of :data:`CLASS_PLOTS`) of all classes of an iteration on a cleared ``figure``.

    classes: a :class:`~.tomo.volumes.ClassVolumes`; a :class:`UserError` when it has nothing to show
    """
    CLASS_PLOTS[name].function(figure, classes, style)


def _draw_fsc(figure, classes, style):
    draw_fsc(figure, _found(classes, classes.fsc, "FSC curves"), classes.pixel_size, style)


def _draw_orientations(figure, classes, style):
    draw_orientations(figure, _found(classes, classes.directions, "orientations"), style)


def _draw_coverage(figure, classes, style):
    draw_coverage(figure, _found(classes, classes.coverage, "coverage"), classes.highest, style)


def _found(classes, what, name):
    found = classes.of_all(what)
    if not found:
        raise UserError(f"{classes.run.classes_file(classes.iteration)}: this result has no {name}")
    return found


CLASS_PLOTS = {         # their functions get a figure, the classes and a style
    "fsc": Plot("FSC", _draw_fsc,
                "Fourier shell correlation between averages of halves of the particles, one curve for each class, the "
                "best first; the resolution is where it falls below 0.5."),
    "orientations": Plot("Orientation distribution", _draw_orientations,
                         "Where the particles look: the directions of their z axes in the frame of their class "
                         "average, as density on two hemispheres, in projections that keep areas. It tells whether "
                         "some orientations are preferred."),
    "coverage": Plot("Coverage of Fourier space", _draw_coverage,
                     "The share of a class's particles that observed each frequency, by direction and in central "
                     "slices: where it is low missing wedges overlap, and the average is less to be trusted."),
}


# ---- resolution

def draw_fsc(figure, curves, pixel_size=None, style=LIGHT):
    """Fourier shell correlations of classes on common axes, on a cleared ``figure``.

    curves: name of a class -> (frequencies in 1/px, correlations), each (M,)
    """
    lay_out(figure, [Plot("Fourier shell correlation", _fsc, "")], style, curves, pixel_size)


def _fsc(axes, curves, pixel_size):
    """The better the class, the higher in the legend, which is also the order of the colours."""
    crossings = {name: float(crossing(frequency, correlation[None], 0.5)[0])
                 for name, (frequency, correlation) in curves.items()}
    order = sorted(curves, key=lambda name: -crossings[name])
    for place, (name, color) in enumerate(zip(order, colormaps[COLORS](np.linspace(0.92, 0.3, len(order))))):
        label = f"{name}: {_resolution(crossings[name], pixel_size)}" if place < MOST_CURVES else None
        axes.plot(*curves[name], color=color, label=label)
    correlation_axes(axes, min(correlation.min() for _, correlation in curves.values()),
                     max(frequency[-1] for frequency, _ in curves.values()), pixel_size, "FSC")
    title = f"the best {MOST_CURVES} of {len(order)}" if len(order) > MOST_CURVES else None
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.4, labelspacing=0.3,
                borderaxespad=0.3, alignment="left")


def _resolution(frequency, pixel_size):
    """In words: where a curve falls below 0.5."""
    if not frequency > 0:
        return "unknown"
    return f"{pixel_size / frequency:.1f} Å" if pixel_size else f"{frequency:.3f}/px"


# ---- discs

def draw_orientations(figure, classes, style=LIGHT, small=False):
    """Where the particles of classes look: two hemispheres for each, on a common scale, on a cleared ``figure``.

    classes : title -> unit vectors (N, 3) in the class average's frame, as of :func:`.tomo.sphere.viewing_directions`
    small   : for a figure with little room
    """
    densities = [sphere.density(directions) for directions in classes.values()]
    highest = max(values.max() for values in densities)
    scale = Normalize(0, np.clip(highest, *SCALE_ENDS))
    with _board(figure, style, list(classes), 2, scale, "density (mean = 1)", small,
                highest > SCALE_ENDS[1]) as (axes, places):
        for place, directions, values in zip(places, classes.values(), densities):
            _hemispheres(axes, place, scale, directions, values)


def _hemispheres(axes, places, scale, directions, values):
    """Two discs, and the particles as dots if they are few."""
    points, below = sphere.disc(directions)
    for second, (place, half) in enumerate(zip(places, values)):
        _cells(axes, place, half, scale)
        _frame(axes, place, "z < 0" if second else "z > 0", circles=(30, 60))
        if len(directions) <= DOTS:
            axes.plot(*(points[below == second] + place).T, ".", color="white", alpha=0.7, markersize=2.6,
                      markeredgewidth=0)


def draw_coverage(figure, classes, highest=0.5, style=LIGHT, small=False):
    """What was observed of classes in Fourier space: by direction, and central slices, on a cleared ``figure``.

    classes : title -> (n, n, n) of frequency, axes z, y, x, 0 to 1, origin at n // 2
    highest : frequency in 1/px up to which the particles were used
    small   : for a figure with little room
    """
    scale = Normalize(0, 1)
    with _board(figure, style, list(classes), 4, scale, "observed", small) as (axes, places):
        for place, volume in zip(places, classes.values()):
            _coverage(axes, place, scale, volume, highest)


def _coverage(axes, places, scale, volume, highest):
    """A hemisphere (the other is the same), and the three central slices."""
    _cells(axes, places[0], sphere.observed(volume, highest), scale)
    _frame(axes, places[0], "directions", circles=(30, 60))
    for place, name, image in zip(places[1:], planes.PLANES, planes.central_slices(volume)):
        _disc_image(axes, place, image, scale, len(image) * highest, "nearest")
        _frame(axes, place, name, names=name)


@contextmanager
def _board(figure, style, titles, discs, scale, label, small, more=False):
    """One axes with a panel of as many discs for each title: (axes, discs' centres (panels, discs, 2)).

    The discs have radius 1, y goes downward.  scale, label: of the colours' scale to the right; more: there are values
    beyond its end.  One axes for all: matplotlib takes its time to arrange many.
    """
    head = 0.6 if any(titles) else 0.0
    width, height = discs * APART + 0.25, 2.6 + head
    columns = columns_for(figure, len(titles), width / height)
    corner = np.array([[number % columns * width, number // columns * height] for number in range(len(titles))])
    centres = corner[:, None] + np.array([[1.05 + disc * APART, 1.3 + head] for disc in range(discs)])
    with rc_context(style):
        figure.clear()
        figure.set_facecolor(style["figure.facecolor"])
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.05)
        axes = figure.add_subplot()
        for title, (x, y) in zip(titles, corner):
            axes.text(x + 0.05, y + head - 0.05, title, fontweight="bold", fontsize=10, va="bottom")
        yield axes, centres
        for artist in axes.get_children():          # all within the axes: not to be measured one by one
            artist.set_in_layout(False)
        axes.set(xlim=(0, min(columns, len(titles)) * width - 0.2), ylim=(corner[-1, 1] + height, 0), aspect="equal")
        axes.set_axis_off()
        bar = figure.colorbar(ScalarMappable(scale, COLORS), ax=axes, shrink=0.8, aspect=18 if small else 32,
                              fraction=0.04, pad=0.01, panchor=False, extend="max" if more else "neither")
        if not small:
            bar.set_label(label, fontsize=8)
        bar.ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        bar.ax.tick_params(labelsize=8, length=2)
        bar.outline.set_visible(False)


def _cells(axes, place, values, scale):
    """The cells of one hemisphere, ``values`` (CELLS,)."""
    _disc_image(axes, place, values[_raster()], scale, RASTER / 2, "bilinear")


@lru_cache
def _raster():
    """The cell at each point of a square around a disc: (RASTER, RASTER)."""
    across = (np.arange(RASTER) - RASTER // 2) / (RASTER / 2)
    return sphere.cells(np.stack(np.meshgrid(across, across), axis=-1))


def _disc_image(axes, place, image, scale, unit, interpolation):
    """An image (n, n) cut to a disc whose radius is ``unit`` pixels, around its origin n // 2."""
    (x, y), first = place, (-0.5 - len(image) // 2) / unit
    last = first + len(image) / unit
    drawn = axes.imshow(image, cmap=COLORS, norm=scale, extent=(x + first, x + last, y + last, y + first),
                        interpolation=interpolation)
    drawn.set_clip_path(Circle(place, 1, transform=axes.transData))


def _frame(axes, place, title, circles=(), names="xy"):
    """A disc's border, circles of that tilt (degrees), and the names of the axes to the right and downward."""
    turn = np.linspace(0, 2 * np.pi, 121)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    lines = LineCollection([circle * np.sqrt(1 - np.cos(np.radians(tilt))) + place for tilt in (*circles, 90)],
                           linewidths=0.8, colors=muted(axes), alpha=[*[0.4] * len(circles), 1])
    axes.add_collection(lines, autolim=False)
    for (x, y), text, across, down in (((1.06, 0), names[0], "left", "center"), ((0, 1.05), names[1], "center", "top"),
                                       ((0, -1.07), title, "center", "bottom")):
        axes.text(place[0] + x, place[1] + y, text, ha=across, va=down, color=muted(axes), fontsize=8)
