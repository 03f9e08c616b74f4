"""Plots of classes of volumes: iterations, Fourier shell correlation, orientations, coverage of Fourier space.

Functions ``draw…(figure, …)`` lay plots out on any matplotlib figure, so the gallery's window, Scipion's plot windows
and a script that saves a picture share the same look.
"""
from functools import lru_cache, partial

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from . import plots
from .plots import correlation_axes, iteration_axis, iteration_line
from .style import GREEN, LIGHT, Plot, columns_for, lay_out, muted
from .tomo import planes, sphere

DOTS = 300                  # particles up to which each is shown
MOST_CURVES = 10            # classes named in a legend
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


# ---- resolution

def draw_fsc(figure, curves, pixel_size=None, style=LIGHT):
    """Fourier shell correlations of classes on common axes, on a cleared ``figure``.

    curves: name of a class -> (frequencies in 1/px, correlations), each (M,)
    """
    lay_out(figure, [Plot("Fourier shell correlation", _fsc, "")], style, curves, pixel_size)


def _fsc(axes, curves, pixel_size):
    colors = colormaps[COLORS](np.linspace(0.3, 0.92, len(curves)))
    for place, ((name, (frequency, correlation)), color) in enumerate(zip(curves.items(), colors)):
        axes.plot(frequency, correlation, color=color, label=name if place < MOST_CURVES else None)
    correlation_axes(axes, min(correlation.min() for _, correlation in curves.values()),
                     max(frequency[-1] for frequency, _ in curves.values()), pixel_size, "FSC")
    title = f"{MOST_CURVES} of {len(curves)}" if len(curves) > MOST_CURVES else None
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1.4, labelspacing=0.3,
                borderaxespad=0.3, alignment="left")


# ---- orientations

def draw_orientations(figure, classes, style=LIGHT, small=False):
    """Where the particles of classes look: two hemispheres for each, on a common scale, on a cleared ``figure``.

    classes : title -> unit vectors (N, 3) in the class average's frame, as of :func:`.tomo.sphere.viewing_directions`
    small   : for a figure with little room
    """
    densities = [sphere.density(directions) for directions in classes.values()]
    highest = max(values.max() for values in densities)
    scale = Normalize(0, np.clip(highest, *SCALE_ENDS))
    panels = [Plot(title, partial(_hemispheres, directions=directions, values=values), "")
              for (title, directions), values in zip(classes.items(), densities)]
    lay_out(figure, panels, style, scale, columns=columns_for(figure, len(panels), 2))
    _scale_beside(figure, scale, "density (mean = 1)", style, small, highest > SCALE_ENDS[1])


def _hemispheres(axes, scale, directions, values):
    """Two discs, and the particles as dots if they are few."""
    for below, half in enumerate(values):
        _cells(axes, half, scale, below * APART)
        _frame(axes, "z < 0" if below else "z > 0", below * APART, circles=(30, 60))
    if len(directions) <= DOTS:
        points, below = sphere.disc(directions)
        axes.plot(points[:, 0] + below * APART, points[:, 1], ".", color="white", alpha=0.7, markersize=2.6,
                  markeredgewidth=0)
    _limits(axes, 2)


def draw_coverage(figure, classes, highest=0.5, style=LIGHT, small=False):
    """What was observed of classes in Fourier space: by direction, and central slices, on a cleared ``figure``.

    classes : title -> (n, n, n) of frequency, axes z, y, x, 0 to 1, origin at n // 2
    highest : frequency in 1/px up to which the particles were used
    small   : for a figure with little room
    """
    scale = Normalize(0, 1)
    panels = [Plot(title, partial(_coverage, volume=volume, highest=highest), "") for title, volume in classes.items()]
    lay_out(figure, panels, style, scale, columns=columns_for(figure, len(panels), 4))
    _scale_beside(figure, scale, "observed", style, small)


def _coverage(axes, scale, volume, highest):
    """A hemisphere (the other is the same), and the three central slices."""
    _cells(axes, sphere.observed(volume, highest), scale)
    _frame(axes, "directions", circles=(30, 60))
    for place, (name, image) in enumerate(zip(planes.PLANES, planes.central_slices(volume)), 1):
        _disc_image(axes, image, scale, place * APART, len(image) * highest, "nearest")
        _frame(axes, name, place * APART, names=name)
    _limits(axes, 4)


def _cells(axes, values, scale, x=0.0):
    """The cells of one hemisphere, ``values`` (CELLS,), around ``x`` of the axes."""
    _disc_image(axes, values[_raster()], scale, x, RASTER / 2, "bilinear")


@lru_cache
def _raster():
    """The cell at each point of a square around a disc: (RASTER, RASTER)."""
    place = (np.arange(RASTER) - RASTER // 2) / (RASTER / 2)
    return sphere.cells(np.stack(np.meshgrid(place, place), axis=-1))


def _disc_image(axes, image, scale, x, unit, interpolation):
    """An image (n, n) cut to a disc around ``x`` whose radius is ``unit`` pixels; its origin is at n // 2."""
    first = (-0.5 - len(image) // 2) / unit
    last = first + len(image) / unit
    drawn = axes.imshow(image, cmap=COLORS, norm=scale, extent=(x + first, x + last, last, first),
                        interpolation=interpolation)
    drawn.set_clip_path(Circle((x, 0), 1, transform=axes.transData))


def _frame(axes, title, x=0.0, circles=(), names="xy"):
    """A disc's border, circles of that tilt (degrees), and the names of the axes to the right and downward."""
    for tilt in (*circles, 90):
        axes.add_patch(Circle((x, 0), np.sqrt(1 - np.cos(np.radians(tilt))), fill=False, linewidth=0.8,
                              edgecolor=muted(axes), alpha=1 if tilt == 90 else 0.4))
    for place, text, align in (((x + 1.05, 0), names[0], ("left", "center")), ((x, 1.05), names[1], ("center", "top")),
                               ((x, -1.07), title, ("center", "bottom"))):
        axes.text(*place, text, ha=align[0], va=align[1], color=muted(axes), fontsize=8)


def _limits(axes, discs):
    axes.set(xlim=(-1.05, (discs - 1) * APART + 1.2), ylim=(1.25, -1.3), aspect="equal")
    axes.set_axis_off()


def _scale_beside(figure, scale, label, style, small, more=False):
    """The colours' scale to the right; more: there are values beyond its end."""
    with rc_context(style):
        bar = figure.colorbar(ScalarMappable(scale, COLORS), ax=figure.axes, shrink=0.8, aspect=18 if small else 32,
                              fraction=0.04, pad=0.01, extend="max" if more else "neither")
        if not small:
            bar.set_label(label, fontsize=8)
        bar.ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
        bar.ax.tick_params(labelsize=8, length=2)
        bar.outline.set_visible(False)
