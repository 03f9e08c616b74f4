"""The stages of a run of ml_tomo: what each of them searches, and how the resolution grows within one."""
from dataclasses import dataclass

import numpy as np

from .engine.orientation_search import Orientations
from .engine.sphere import asymmetric_unit, cap, directions, small_rotation, towards
from .engine.volume_estimator import IDENTITY, Plan, shift_grid3
from .tomo_input import working_box
from .tomo_options import by_stage, stages

SMALL_ANGLE = 2.75         # degrees that keep in-plane angles off the axes of the volume
START_RADII = 1.6          # the first highest frequency, in 1 / radius
COARSE_ARC = 0.8           # of a resolution element, between orientations, at the radius of most of the particle
MOST_OF_RADIUS = 0.75
SHIFTS_PER_WAVE = 3        # shifts are searched so often in the finest wave
WINDOW = 0.3               # of the finest wave: shifts searched around those that a lower resolution found


@dataclass(frozen=True)
class Stage:
    """What one stage of a run asks for; lengths are in voxels of the input.

    ang, psi, search: degrees (search: None for everywhere); limit: largest shift or None; box: side worked in;
    maxres: 1/voxel of that box; first, last: numbers of the iteration before it begins, and of its last one.
    """

    number: int
    ang: float
    psi: float
    search: float
    limit: float
    box: int
    maxres: float
    first: int
    last: int

    @property
    def local(self):
        return self.search is not None


def stages_of(options, size):
    """The :class:`Stage` list of parsed options for volumes of ``size`` voxels."""
    columns = {name: by_stage(options, name)
               for name in ("ang", "psi_sampling", "ang_search", "limit_trans", "dim", "maxres", "iter")}
    if options.only_average:
        columns["iter"] = [1]
    lasts = options.istart - 1 + np.cumsum(columns["iter"])
    return [Stage(number=s + 1, ang=columns["ang"][s],
                  psi=columns["psi_sampling"][s] if columns["psi_sampling"][s] > 0 else columns["ang"][s],
                  search=columns["ang_search"][s] if columns["ang_search"][s] > 0 else None,
                  limit=columns["limit_trans"][s] if columns["limit_trans"][s] >= 0 else None,
                  box=working_box(columns["dim"][s], size), maxres=columns["maxres"][s],
                  first=int(lasts[s] - columns["iter"][s]), last=int(lasts[s]))
            for s in range(stages(options))]


class Search:
    """Makes the plan of every E-step from the options."""

    def __init__(self, options, group):
        self.options, self.group = options, group

    growing = False            # the resolution is on its way to the stage's
    grown = False              # a lower one has told where the particles are

    def fixed(self, poses):
        """Known orientations and shifts."""
        return Plan(Orientations(IDENTITY[None], np.zeros(1)), np.zeros((1, 3), int), poses.matrices, poses.shifts,
                    correlate=self.options.maxCC)

    def plan(self, stage, ball, poses, anchor, shift_radius, rng):
        """The :class:`.engine.volume_estimator.Plan` of one iteration.

        poses: where the particles were found last, shifts in voxels of the ball's box; anchor: where they were given,
        or None when nothing was; shift_radius: voxels of that box.
        """
        o = self.options
        if o.dont_align or o.only_average:
            return self.fixed(poses if anchor is None else anchor)
        around = anchor if o.anchor and anchor is not None else poses
        step = self.shift_step(ball, stage)
        shifts = shift_grid3(shift_radius, step)
        if o.dont_rotate:
            return Plan(Orientations(IDENTITY[None], np.zeros(1)), shifts, around.matrices, around.shifts,
                        correlate=o.maxCC, step=step)
        tilts = (o.tilt0, o.tiltF) if (o.tilt0, o.tiltF) != (0, 180) else None
        turn = small_rotation(stage.ang / 3, rng) if o.perturb else IDENTITY
        if stage.local:
            matrices = turn @ towards(cap(stage.ang, stage.search))
            angles = self._turns(stage.psi, None if o.dont_limit_psirange else stage.search)
            # the search goes on from where each particle is, in shift as in orientation
            return Plan(Orientations(matrices, angles), shifts, around.matrices, np.rint(around.shifts), tilts, o.maxCC)
        ang, psi = (max(angle, self.coarse_step(ball)) for angle in (stage.ang, stage.psi))
        grid = directions(min(ang, 45.0)) @ turn.T
        grid = grid[asymmetric_unit(grid, self.group)]
        centres = np.rint(poses.shifts) if self.grown or o.keep_angles else None
        return Plan(Orientations(towards(grid), self._turns(psi)), shifts, None, centres, tilts, o.maxCC, step=step)

    def _turns(self, step, limit=None):
        """In-plane turns in radians, of about ``step`` degrees, all round or within ``limit`` degrees of none."""
        if limit is None or limit >= 180:
            count = int(np.ceil(360 / step - 1e-9))
            offset = 0 if self.options.no_SMALLANGLE else SMALL_ANGLE
            return np.deg2rad(360 / count * np.arange(count) + offset)
        reach = int(limit / step + 1e-9)
        return np.deg2rad(step * np.arange(-reach, reach + 1))

    def coarse_step(self, ball):
        """Degrees between orientations that are fine enough while the resolution grows; 0 once it is there."""
        if not self.growing:
            return 0.0
        return float(np.rad2deg(COARSE_ARC / (ball.maxres * 2 * MOST_OF_RADIUS * ball.radius)))

    def shift_step(self, ball, stage):
        """Voxels between shifts."""
        return max(1, int(1 / (SHIFTS_PER_WAVE * ball.maxres))) if self.growing else 1


def start_maxres(ball_radius, limit):
    """The first highest frequency, 1/voxel, for a particle in a ball of that radius in voxels."""
    return min(START_RADII / ball_radius, limit)
