"""Plots of a run of multi-ref ali2d: its convergence, and where and how turned the particles lie.

Convergence: ``draw(figure, history, names)`` with keys of :data:`PLOTS`.  Poses: ``draw_poses(figure, poses, names)``
with keys of :data:`POSE_PLOTS`.
"""
from typing import NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator, MultipleLocator

from mlalign.programs.geometry import pose_matrix
from mlalign.programs.results import FINAL

from . import plots
from .spectra import say_which
from .style import BLUE, GREEN, LIGHT, ORANGE, Plot, lay_out, muted

ANGLES = 36                 # bars of the histogram of rotations
FINE = 40                   # and of the others


class Poses(NamedTuple):
    """The poses of a run's particles at one result; all arrays (N,).

    shown      : an iteration's number, or FINAL
    x, y       : where the particles' centres are in their images, px from the images' origin, y down
    angle      : in-plane rotation that aligns them, degrees from 0 to 360
    flip       : whether they are mirrored
    score      : correlation with their reference
    pixel_size : Å/px or None
    """
    shown: object
    x: np.ndarray
    y: np.ndarray
    angle: np.ndarray
    flip: np.ndarray
    score: np.ndarray
    pixel_size: float

    @classmethod
    def of_run(cls, run, shown=FINAL):
        """Those in the members' tables of a :class:`~mlalign.programs.results.Run`."""
        members = [run.members(shown, ref) for ref in run.classes(shown)["ref"]]
        labels = ("anglePsi", "shiftX", "shiftY", "flip", "maxCC")
        psi, shift_x, shift_y, flip, score = (
            np.concatenate([table.numbers(label) for table in members]) for label in labels)
        turn = pose_matrix(psi, 0, 0, flip)[:, :2, :2]
        x, y = -np.linalg.solve(turn, np.stack([shift_x, shift_y], 1)[..., None])[..., 0].T
        return cls(shown, x, y, psi % 360, flip > 0, score, run.pixel_size(shown))


def draw(figure, history, names=None, style=LIGHT, eps=None):
    """Draw the plots ``names`` (default: all of :data:`PLOTS`) of a run's history on a cleared ``figure``."""
    lay_out(figure, [PLOTS[name] for name in names or PLOTS], style, history, eps)


def draw_poses(figure, poses, names=None, style=LIGHT):
    """Draw the plots ``names`` (default: all of :data:`POSE_PLOTS`) of :class:`Poses` on a cleared ``figure``."""
    lay_out(figure, [POSE_PLOTS[name] for name in names or POSE_PLOTS], style, poses)


# ---- over the iterations

def _score(axes, history, eps):
    plots.iteration_line(axes, history, history.info["meanCC"], BLUE)
    axes.set_ylabel("mean correlation")
    plots.iteration_axis(axes, history)


def _changed(axes, history, eps):
    plots.PLOTS["changed"].function(axes, history, eps)
    if eps:
        plots.mark_convergence(axes, eps, f"converged below {100 * eps:g} %")


def _signal_change(axes, history, eps):
    """Without the line at ``eps``, which is another threshold here."""
    plots.PLOTS["signalChange"].function(axes, history, None)


def _resolution(axes, history, eps):
    """Of the best class and the median class that have one; finer is higher."""
    best = history.classes["resolution"]
    known = np.where(best > 0, best, np.nan)
    if np.isnan(known).all():
        return plots.nothing(axes, "no resolution: the pixel size is unknown" if history.pixel_size is None else
                             "no resolution known")
    some = ~np.isnan(known).all(axis=1)
    for values, color, label in ((np.nanmin, GREEN, "best class"), (np.nanmedian, BLUE, "median class")):
        line = np.full(len(known), np.nan)
        line[some] = values(known[some], axis=1)
        plots.iteration_line(axes, history, line, color, label=label)
    axes.legend(loc="best")
    axes.set_ylabel("resolution (Å)")
    axes.invert_yaxis()
    plots.iteration_axis(axes, history)


PLOTS = {
    "meanCC": Plot("Mean correlation", _score,
                   "Mean over the particles of the correlation with their reference. It rises and levels off; it may "
                   "fall a little when references get their own noise filtered away."),
    "changed": Plot("Particles that changed class", _changed,
                    "The share of the particles that went to another reference than before."),
    "occupancy": plots.PLOTS["occupancy"],
    "resolution": Plot("Resolution", _resolution,
                       "Where the Fourier ring correlation of a class's two halves falls to 0.143: the best class and "
                       "the median one."),
    "signalChange": Plot("Signal change", _signal_change,
                         "The largest relative change of a reference from one iteration to the next."),
    "mirrorFraction": plots.PLOTS["mirrorFraction"],
}


# ---- of the particles

def _shifts(axes, poses):
    length = np.hypot(poses.x, poses.y)
    _histogram(axes, length, np.linspace(0, max(length.max(initial=0), 1), FINE))
    axes.set_ylim(top=1.12 * axes.get_ylim()[1])
    axes.axvline(np.median(length), color=ORANGE, linewidth=1.4)
    axes.annotate(f"median {np.median(length):.2g} px", (np.median(length), 1), xycoords=("data", "axes fraction"),
                  xytext=(4, -3), textcoords="offset points", va="top", color=ORANGE, fontsize=8.5)
    axes.set_xlabel("shift (px)")
    say_which(axes, poses.shown)


def _places(axes, poses):
    """Counts on a map as wide as it needs to be, y down as in images."""
    reach = max(np.abs(poses.x).max(initial=0), np.abs(poses.y).max(initial=0), 1) * 1.05
    cells = int(np.clip(np.sqrt(len(poses.x)), 8, 48))
    counts, *_ = np.histogram2d(poses.y, poses.x, cells, [[-reach, reach]] * 2)
    image = axes.imshow(np.where(counts > 0, counts, np.nan), extent=(-reach, reach, reach, -reach), cmap="viridis",
                        interpolation="nearest", vmin=0)
    axes.set_aspect("equal", adjustable="datalim")         # the panel stays as wide as the others
    axes.set(xlabel="x (px)", ylabel="y (px)")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=6))
    for line in (axes.axhline, axes.axvline):
        line(0, color=muted(axes), linewidth=0.8, linestyle=(0, (2, 3)))
    bar = axes.figure.colorbar(image, ax=axes, label="particles", ticks=MaxNLocator(nbins=5, integer=True))
    bar.outline.set_visible(False)
    axes.grid(False)
    say_which(axes, poses.shown)


def _angles(axes, poses):
    parts = [poses.angle[~poses.flip], poses.angle[poses.flip]]
    if poses.flip.any():
        axes.hist(parts, np.linspace(0, 360, ANGLES + 1), stacked=True, color=[BLUE, ORANGE],
                  label=["as they are", "mirrored"])
        axes.set_ylim(top=1.2 * axes.get_ylim()[1])
        axes.legend(loc="upper right", ncols=2)
        axes.set_ylabel("particles")
        axes.grid(False, axis="x")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    else:
        _histogram(axes, poses.angle, np.linspace(0, 360, ANGLES + 1))
    axes.axhline(len(poses.angle) / ANGLES, color=muted(axes), linewidth=1, linestyle=(0, (2, 3)))
    axes.set(xlabel="in-plane rotation (degrees)", xlim=(0, 360))
    axes.xaxis.set_major_locator(MultipleLocator(60))
    say_which(axes, poses.shown)


def _scores(axes, poses):
    _histogram(axes, poses.score, FINE)
    axes.set_xlabel("correlation with the reference")
    say_which(axes, poses.shown)


def _histogram(axes, values, bins):
    axes.hist(values, bins, color=BLUE)
    axes.set_ylabel("particles")
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(False, axis="x")


POSE_PLOTS = {
    "shifts": Plot("Shifts", _shifts,
                   "How far the particles' centres are from those of their images. A crowd at the largest shifts means "
                   "that the search was too narrow, or the circle too large to let particles move on."),
    "places": Plot("Places of the particles", _places,
                   "Where the particles' centres are in their images. A cloud off the centre tells of a picking or "
                   "centring that is off; edges show where the search ended."),
    "angles": Plot("In-plane rotations", _angles,
                   "Rotations that align the particles, mirrored ones above. They should be spread evenly (dashes). "
                   "Peaks every 90 degrees tell of images in which noise or the box is what is aligned."),
    "scores": Plot("Correlations", _scores,
                   "Correlation of the particles with their references. A second hill at the low end is what fits none "
                   "of them: look for views that are missing, or dirt."),
}
