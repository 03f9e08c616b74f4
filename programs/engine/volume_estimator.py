"""EM steps on a run's subtomograms."""
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .noise import log_shift_prior
from .orientation_search import Orientations, Particle, Templates
from .parallel import ALONE
from .volume_model import Totals

IDENTITY, NO_SHIFT = np.eye(3), np.zeros((1, 3), int)
SMALLEST_OFFSET = 0.05    # voxels, of the shifts' prior


def shift_grid3(radius, step=1):
    """Integer shifts (S, 3) = (x, y, z), multiples of ``step``, within ``radius`` voxels, the shortest first."""
    reach = int(radius // step) * step
    line = np.arange(-reach, reach + 1, step)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    squared = (grid**2).sum(1)
    grid, squared = grid[squared <= radius**2], squared[squared <= radius**2]
    return grid[np.lexsort((*grid.T, squared))]


@dataclass
class Poses:
    """What the last E-step said about each particle; arrays of length N.

    ref: most probable class, from 0; -1 unknown.  matrices: (N, 3, 3) A, and shifts: (N, 3) t in voxels of the present
    box, align a particle with its class: X(p) = F(A (p + t)).
    """

    ref: np.ndarray
    matrices: np.ndarray
    shifts: np.ndarray
    peak: np.ndarray
    class_probability: np.ndarray
    log_likelihood: np.ndarray

    @classmethod
    def unknown(cls, count):
        return cls(np.full(count, -1), np.tile(IDENTITY, (count, 1, 1)), np.zeros((count, 3)), *np.zeros((3, count)))

    def copy(self):
        return Poses(**{name: value.copy() for name, value in vars(self).items()})

    def part(self, part):
        """Those of the particles in a slice: what is written to them is written here."""
        return Poses(**{name: value[part] for name, value in vars(self).items()})

    def of_all(self, ranks):
        """Those of all ranks' particles, each of which has its own here."""
        return self if ranks.size == 1 else Poses(**{name: ranks.gather(value) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Plan:
    """Where an E-step looks.

    orientations: around each particle's frame.  shifts: int (S, 3) voxels around each particle's centre, the shortest
    first, ``step`` apart.  frames: (N, 3, 3), or None for the identity.  centres: (N, 3) shifts, or None for none.
    tilts: (lowest, highest) degrees of the tilt of A, or None.  correlate: constrained cross-correlation, winner takes
    all.
    """

    orientations: Orientations
    shifts: np.ndarray
    frames: np.ndarray = None
    centres: np.ndarray = None
    tilts: tuple = None
    correlate: bool = False
    step: int = 1

    def part(self, part):
        """That for the particles in a slice."""
        return replace(self, frames=None if self.frames is None else self.frames[part],
                       centres=None if self.centres is None else self.centres[part])

    def frame(self, i):
        return None if self.frames is None else self.frames[i]

    def centre(self, i):
        return None if self.centres is None else self.centres[i]

    def shifts_of(self, i):
        """The shifts (S, 3) from the origin that particle i is looked for at."""
        return self.shifts if self.centres is None else self.shifts + self.centres[i]

    def forbidden(self, i):
        """bool (angles, D): orientations whose tilt is outside the limits."""
        if self.tilts is None:
            return None
        o = self.orientations
        frame = IDENTITY if self.frames is None else self.frames[i]
        # A e_z . e_z = (B^T e_z) . Rz(w) (F e_z)
        cos, sin = np.cos(o.angles), np.sin(o.angles)
        x, y, z = frame[:, 2]
        turned = np.stack([cos * x - sin * y, sin * x + cos * y, np.full(len(cos), z)], 1)
        tilt = np.rad2deg(np.arccos(np.clip(turned @ o.matrices[:, 2].T, -1, 1)))
        outside = np.maximum(self.tilts[0] - tilt, tilt - self.tilts[1])
        # a local search far from the limits looks as near to them as it can
        return outside > max(outside.min(), 0) + 1e-6


def one_hot(classes, count):
    """Shares (N, K) of particles that belong to one class each, or to none (-1)."""
    return (np.asarray(classes)[:, None] == np.arange(count)).astype(float)


class VolumeEstimator:
    """EM steps on particles of one box: bank (:class:`.subtomograms.Subtomograms`), ball, coverage.

    ranks: see :mod:`.parallel`; part: the range, a slice, of all particles that this rank's bank holds.  Arguments and
    results are of the particles of all ranks.
    """

    def __init__(self, bank, ball, coverage, workers, ranks=ALONE, part=None):
        self.bank, self.ball, self.coverage, self.workers, self.ranks = bank, ball, coverage, workers, ranks
        self.part = slice(0, bank.source.count) if part is None else part

    def own(self, rows):
        """Those of the particles ``rows`` that this rank works on, as its bank numbers them."""
        return rows[(rows >= self.part.start) & (rows < self.part.stop)] - self.part.start

    def expect(self, model, poses, plan, half_of, rows=None, progress=None):
        """E-step over particles ``rows`` (default: all): their :class:`.volume_model.Totals`; updates ``poses``.

        half_of: int (N,) 0 or 1, the half each particle belongs to.  progress: called with numbers of particles done.
        """
        rows = self.own(np.arange(len(half_of)) if rows is None else rows)
        plan, ours, half_of = plan.part(self.part), poses.part(self.part), half_of[self.part]
        reach = int(np.ceil(np.sqrt((plan.shifts**2).sum(1).max())))
        totals = Totals.zero(self.ball, self.coverage, model.classes, reach, plan.step)
        templates = None
        for half in (0, 1):
            mine = rows[half_of[rows] == half]
            if templates is None or len(model.vectors) > 1:
                templates = self._templates(self.ball, self.coverage, model.of_half(half), 1 / model.variance,
                                            model.log_class(), plan.orientations)
            sums, together = templates.zero_sums(), self._together(templates, plan)
            for start in range(0, len(mine), together):
                some = mine[start : start + together]
                for i, found in zip(some, self._search(model, templates, plan, some, sums)):
                    self._gather(totals, half, i, found, plan, ours)
                if progress:
                    progress(len(some))
            totals.sums[half], totals.coverage[half] = templates.turn_all_back(sums)
        if self.ranks.size > 1:
            for name, column in vars(ours.of_all(self.ranks)).items():
                getattr(poses, name)[:] = column
        return self.ranks.total(totals, constant=("step",))

    # ---- what happens elsewhere on a GPU, see :mod:`.device_volumes` ----------------------------------------------

    def _templates(self, *arguments):
        return Templates.of(*arguments)

    def _together(self, templates, plan):
        """Number of particles that are searched at a time."""
        return self.workers.threads

    def _search(self, model, templates, plan, some, sums):
        """Yield what is found of the particles ``some``, which are added to ``sums``."""
        for found, more, covered in self.workers.map(partial(self._one, model, templates, plan), some):
            sums[0][found.templates] += more
            sums[1][found.templates] += covered
            yield found

    # ---- the parts of a pass --------------------------------------------------------------------------------------

    def _one(self, model, templates, plan, i):
        particle = self._particle(model, plan, i)
        found = (templates.best if plan.correlate else templates.search)(particle)
        return found, *templates.spread(particle, found)

    def _particle(self, model, plan, i):
        bank, frame = self.bank, plan.frame(i)
        rows = bank.rows(i, plan.shifts, plan.centre(i), frame)
        weights = bank.region_vectors[bank.region_of[i]][None]
        if frame is not None:
            weights = self.coverage.layout.turned(weights, frame[None])
        power = float(bank.power[i] @ (1 / model.variance))
        dimension = bank.dimension[bank.region_of[i]]
        constant = -0.5 * power - 0.5 * float(dimension @ np.log(2 * np.pi * model.variance))
        # the prior is one of the shifts from the origin, wherever they are searched around
        prior = log_shift_prior(plan.shifts_of(i), max(model.sigma_offset, SMALLEST_OFFSET), plan.step)
        return Particle(rows, plan.shifts, prior, weights, power, constant, plan.forbidden(i))

    def _gather(self, totals, half, i, found, plan, poses):
        bank, (k, d, angle, row) = self.bank, found.best
        shifts, length = plan.shifts_of(i), np.ceil(np.hypot(np.hypot(*plan.shifts.T[:2]), plan.shifts[:, 2]))
        totals.mass[half] += found.class_mass
        totals.squared_shift += float(found.row_mass @ (shifts**2).sum(1))
        totals.beyond += np.bincount(length.astype(int), found.row_mass, len(totals.beyond))
        totals.power += bank.power[i]
        totals.dimension += bank.dimension[bank.region_of[i]]
        totals.count += 1
        totals.log_likelihood += found.log_likelihood
        totals.peak += found.peak
        poses.ref[i] = k
        poses.matrices[i] = plan.orientations.matrix(d, angle, IDENTITY if plan.frames is None else plan.frames[i])
        poses.shifts[i] = shifts[row]
        poses.peak[i], poses.class_probability[i] = found.peak, found.class_mass[k]
        poses.log_likelihood[i] = found.log_likelihood

    # ---- sums in poses that are known --------------------------------------------------------------------------

    def gather(self, shares, poses, half_of):
        """:class:`.volume_model.Totals` of particles in their poses, by their ``shares`` (N, K) in the classes."""
        totals = Totals.zero(self.ball, self.coverage, shares.shape[1], 0)
        shares, poses, half_of = shares[self.part], poses.part(self.part), half_of[self.part]
        rows = np.flatnonzero(shares.any(1))
        for start in range(0, len(rows), self.workers.threads):
            some = rows[start : start + self.workers.threads]
            for i, (row, weights) in zip(some, self.workers.map(partial(self._posed, poses), some)):
                half = half_of[i]
                for k in np.flatnonzero(shares[i]):
                    totals.sums[half, k] += shares[i, k] * row
                    totals.coverage[half, k] += shares[i, k] * weights
                totals.mass[half] += shares[i]
                totals.power += self.bank.power[i]
                totals.dimension += self.bank.dimension[self.bank.region_of[i]]
                totals.count += 1
        return self.ranks.total(totals, constant=("step",))

    def _posed(self, poses, i):
        frame, bank = poses.matrices[i], self.bank
        row = bank.rows(i, NO_SHIFT, poses.shifts[i], frame)[0]
        weights = self.coverage.layout.turned(bank.region_vectors[bank.region_of[i]][None], frame[None])[0]
        return row, weights
