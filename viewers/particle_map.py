"""Maps of the particles of refine2d: where they lie along the eigenimages of a cycle, coloured by class.

``draw(figure, particle_map, names)`` with keys of :data:`PLOTS`.  Made for up to some 100,000 particles and 200
classes: points are the smaller the more crowded it is around them, the colours of classes that are near each other
differ, and numbers stand where classes are.
"""
from itertools import combinations
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.patheffects import withStroke

from mlalign.programs.errors import UserError
from mlalign.programs.results import FINAL

from .plots import nothing
from .spectra import say_which
from .style import LIGHT, Plot, lay_out, muted

COLORS = ("#4f9cf0", "#f0a04b", "#4cb782", "#e5645e", "#a076d8", "#c9b02c", "#35b9c4", "#d8709f", "#8a6d4f", "#7d93b2",
          "#9bc53d", "#5b5fc7", "#b5476b", "#2f8f83", "#e8c07a", "#6c7a1f")
MOST_POINTS = 100_000       # drawn on one map, chosen at random when there are more
FEWER_POINTS = 20_000       # on each of several
FEWEST_CELLS, MOST_CELLS = 8, 96    # along each side of the grid in which points are counted
SMALLEST, LARGEST = 0.6, 22.0       # areas of points, in square points
INK = 0.75                  # share of the most crowded place that points cover
THINNING = 0.45             # places with fewer points are covered less, by this power
FIRST = 4                   # coordinates that are drawn in pairs

_TURN = np.arange(8) * np.pi / 4
_AROUND = np.concatenate([[[0, 0]], *(reach * np.stack([np.cos(_TURN), np.sin(_TURN)], 1) for reach in (0.55, 1.0))])


class ParticleMap(NamedTuple):
    """What the maps show; arrays of N particles along B eigenimages, N being all images of the input.

    shown   : an iteration's number, or FINAL
    values  : (N, B) coordinates
    classes : (N,) class from 1, 0 for images that were left out, which are not drawn
    share   : (B,) share of the class averages' variance along each eigenimage, NaN where unknown
    axes    : (x, y) numbers, from 1, of the eigenimages of the large map
    """
    shown: object
    values: np.ndarray
    classes: np.ndarray
    share: np.ndarray
    axes: tuple = (1, 2)

    @classmethod
    def of_run(cls, run, shown=FINAL, axes=(1, 2)):
        """The map of a :class:`~mlalign.programs.msa2d_results.Refine2dRun`; UserError when it has no such axes."""
        values, classes, share = run.coordinates(shown)
        count = values.shape[1]
        for axis in axes:
            if not 1 <= axis <= count:
                raise UserError(f"there is no eigenimage {axis}, expected 1 to {count}")
        return cls(shown, values, classes, share, tuple(axes))

    def points(self, axes, most):
        """(x, y, class) of at most so many particles, in no order, so that no class covers the others."""
        rows = np.random.default_rng(0).permutation(np.flatnonzero(self.classes > 0))[:most]
        return (*(self.values[rows, axis - 1] for axis in axes), self.classes[rows])

    def colors(self):
        """{class: colour}, the same on every map; neighbours on the large one differ."""
        return choose_colors(centres(*self.points(self.axes, MOST_POINTS)))


def draw(figure, particle_map, names=None, style=LIGHT):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of :class:`ParticleMap` on a cleared ``figure``."""
    panels = []
    for name in names or PLOTS:
        panels += _pairs(particle_map) if name == "mapPairs" else [PLOTS[name]]
    lay_out(figure, panels, style, particle_map)


def panels(particle_map, names):
    """How many panels :func:`draw` lays out."""
    return sum(len(_pairs(particle_map)) if name == "mapPairs" else 1 for name in names)


def _pairs(particle_map):
    """A small map for every pair of the first eigenimages."""
    numbers = range(1, min(FIRST, particle_map.values.shape[1]) + 1)
    return [Plot(f"{first} and {second}", _of_pair(first, second), "") for first, second in combinations(numbers, 2)]


def _of_pair(first, second):

    def draw_pair(axes, particle_map):
        _map(axes, particle_map, (first, second), FEWER_POINTS, large=False)

    return draw_pair


def _large(axes, particle_map):
    _map(axes, particle_map, particle_map.axes, MOST_POINTS, large=True)
    say_which(axes, particle_map.shown)


def _map(axes, particle_map, along, most, large):
    x, y, classes = particle_map.points(along, most)
    names = [_axis_name(particle_map, number, large) for number in along]
    axes.set(xlabel=names[0], ylabel=names[1])
    for line in (axes.axhline, axes.axvline):
        line(0, color=muted(axes), linewidth=0.6, linestyle=(0, (2, 3)), zorder=0)
    axes.grid(False)
    if not len(x):
        return nothing(axes, "no particle has a class")
    colors = particle_map.colors()
    palette = np.zeros((classes.max() + 1, 3))
    palette[list(colors)] = [to_rgb(color) for color in colors.values()]
    _set_limits(axes, x, y)
    axes.scatter(x, y, s=sizes(axes, x, y), c=palette[classes], alpha=0.8, linewidths=0, rasterized=True, zorder=2)
    if large:
        _write_numbers(axes, centres(x, y, classes), colors)
        _write_counts(axes, particle_map, len(x))


def _axis_name(particle_map, number, large):
    share = particle_map.share[number - 1]
    of_what = " of the averages' variance" if large else ""
    return f"eigenimage {number}" + (f" ({100 * share:.2g} %{of_what})" if share >= 0 else "")


def _set_limits(axes, x, y):
    """All points but the farthest of ten thousand, with a margin, and as far along y as along x for every inch."""
    width, height = _extent(axes)
    ends = [np.quantile(values, [1e-4, 1 - 1e-4]) if len(values) > 1000 else np.array([values.min(), values.max()])
            for values in (x, y)]
    per_point = max((high - low) / side for (low, high), side in zip(ends, (width, height))) * 1.08 or 1
    for (low, high), side, set_limits in zip(ends, (width, height), (axes.set_xlim, axes.set_ylim)):
        set_limits((low + high - per_point * side) / 2, (low + high + per_point * side) / 2)
    axes.set_aspect("equal", adjustable="datalim")


def _write_counts(axes, particle_map, drawn):
    """How many particles and classes there are, quietly, in a corner."""
    classes = particle_map.classes[particle_map.classes > 0]
    text = f"{len(classes):,} particles in {len(np.unique(classes))} classes"
    text += f", {drawn:,} of them drawn" if drawn < len(classes) else ""
    axes.text(1, 0.005, text, transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=muted(axes),
              zorder=4, path_effects=[_halo(axes)])


def _halo(axes):
    return withStroke(linewidth=2.2, foreground=axes.get_facecolor())


def sizes(axes, x, y):
    """Areas (N,) of the points, in square points.

    Together they cover about :data:`INK` of the most crowded place, and less of others, where they are larger.
    """
    cells = int(np.clip(np.sqrt(len(x) / 4), FEWEST_CELLS, MOST_CELLS))
    column, row = (np.clip((values - low) / (high - low) * cells, 0, cells - 1).astype(int)
                   for values, (low, high) in ((x, axes.get_xlim()), (y, axes.get_ylim())))
    counts = np.zeros((cells, cells))
    np.add.at(counts, (row, column), 1)
    counts = _smooth(counts)
    room = np.prod(_extent(axes)) / cells**2
    here = counts[row, column]
    return np.clip(INK * room / here * (here / counts.max())**THINNING, SMALLEST, LARGEST)


def _extent(axes):
    """(width, height) of the axes in points, about as they will be laid out."""
    rows, columns = axes.get_subplotspec().get_gridspec().get_geometry()
    width, height = 72 * axes.figure.get_size_inches()
    return 0.86 * width / columns, 0.84 * height / rows


def _smooth(counts):
    """Means over 3 x 3 cells."""
    for axis in (0, 1):
        counts = (np.roll(counts, 1, axis) + counts + np.roll(counts, -1, axis)) / 3
    return counts


def centres(x, y, classes):
    """{class: (x, y)} medians of the particles of each class, the largest class first."""
    numbers, counts = np.unique(classes, return_counts=True)
    order = np.argsort(classes, kind="stable")
    parts = dict(zip(numbers.tolist(), np.split(order, np.cumsum(counts)[:-1])))
    return {int(one): (float(np.median(x[parts[one]])), float(np.median(y[parts[one]])))
            for one in numbers[np.argsort(-counts, kind="stable")].tolist()}


def choose_colors(places):
    """{class: colour}: each, in the order of ``places`` {class: (x, y)}, the colour farthest from where it is already.
    """
    spots = np.array(list(places.values()))
    spots = (spots - spots.min(axis=0)) / np.maximum(np.ptp(spots, axis=0), 1e-12)
    chosen, nearest = {}, np.full((len(spots), len(COLORS)), np.inf)       # distance to the nearest of each colour
    for i, one in enumerate(places):
        color = int(np.argmax(nearest[i]))
        chosen[one] = COLORS[color]
        nearest[:, color] = np.minimum(nearest[:, color], np.hypot(*(spots - spots[i]).T))
    return chosen


def _write_numbers(axes, places, colors):
    """The classes' numbers at their centres, of the larger ones first; where there is no room, a number is left out."""
    font = 9.5 if len(places) <= 40 else 8 if len(places) <= 100 else 7
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    ink = np.array(to_rgb(axes.title.get_color()))
    taken = np.empty((0, 2, 2))                # centres and sides of the numbers written, points
    for one, place in places.items():
        spot, box = (place - low) / (high - low) * _extent(axes), np.array([0.7 * len(str(one)), 0.95]) * font
        free = _free_spot(spot, box, taken)
        if free is not None:
            taken = np.append(taken, [[free, box]], axis=0)
            axes.annotate(str(one), place, xytext=free - spot, textcoords="offset points", ha="center", va="center",
                          fontsize=font, fontweight="bold", color=0.55 * np.array(to_rgb(colors[one])) + 0.45 * ink,
                          zorder=4, path_effects=[_halo(axes)])


def _free_spot(spot, box, taken):
    """The nearest place to ``spot`` where ``box`` (width, height) overlaps none of ``taken``; None when all are far.

    taken: (boxes, 2, 2) centre and sides of each
    """
    for place in spot + _AROUND * box:
        if (np.abs(place - taken[:, 0]) >= (box + taken[:, 1]) / 2).any(axis=1).all():
            return place
    return None


PLOTS = {
    "map": Plot("Particle map", _large,
                "The particles along two eigenimages of the class averages, coloured by class, with the classes' "
                "numbers. Clouds that are apart are views that are apart; classes side by side in one cloud divide "
                "what changes gradually. Near the middle lie particles that resemble none of the averages more than "
                "others."),
    "mapPairs": Plot("Pairs of the first four eigenimages", None,
                     "The same along every two of the first four eigenimages: what lies together in one pair may be "
                     "apart in another."),
}
