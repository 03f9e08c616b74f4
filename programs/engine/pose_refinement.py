"""Poses off the grid: orientations and shifts of volumes refined by quadratic fits to their scores."""
from functools import partial
from itertools import combinations, product

import numpy as np
from scipy.spatial.transform import Rotation

ROUNDS = 3                # each on half the scale of the one before
FIRST_SHIFT = 0.5         # voxels between the shifts of the first fit
ROUNDING = 1e-5           # of values in single precision
FARTHEST = 1.5            # steps of a fit that its maximum may be away

# 19 places around a pose, in steps: where it is, along each axis, and along each diagonal of two
_STENCIL = np.array([(0, 0, 0), *(sign * np.eye(3)[a] for a in range(3) for sign in (-1, 1)),
                     *(one * np.eye(3)[a] + two * np.eye(3)[b]
                       for a, b in combinations(range(3), 2) for one, two in product((-1, 1), repeat=2))], float)
_PAIRS = [(a, b) for a in range(3) for b in range(a, 3)]
_FIT = np.linalg.pinv(np.concatenate([
    np.ones((len(_STENCIL), 1)), _STENCIL, np.stack([_STENCIL[:, a] * _STENCIL[:, b] for a, b in _PAIRS], 1)], 1))


class Refinement:
    """Maximises each particle's log-posterior (or, with ``correlate``, its constrained correlation) around its pose.

    bank: :class:`.subtomograms.Subtomograms`; model: :class:`.volume_model.VolumeModel`; turn: refine angles, too.
    """

    def __init__(self, bank, model, coverage, correlate=False, turn=True):
        self.bank, self.model, self.coverage, self.correlate, self.turn = bank, model, coverage, correlate, turn
        self.ball = model.ball

    def run(self, poses, half_of, step, workers):
        """Refined :class:`.volume_estimator.Poses`; step: degrees of the grid they were found on."""
        poses = poses.copy()
        best = np.full(len(poses.ref), -np.inf)
        kept = poses.copy()
        for level in range(ROUNDS + 1):
            scale = 0.5**level
            turns = Rotation.from_rotvec(np.deg2rad(step / 2 * scale) * _STENCIL).as_matrix()
            templates = self._templates(turns)
            rows = range(len(poses.ref))
            work = partial(self._one, poses, half_of, templates, np.deg2rad(step / 2 * scale), FIRST_SHIFT * scale)
            for i, (value, matrix, shift) in zip(rows, workers.map(work, rows)):
                # back at the best place it is that good again, up to rounding: a smaller step from there
                if value >= best[i] - ROUNDING * abs(value):
                    best[i], kept.matrices[i], kept.shifts[i] = value, poses.matrices[i], poses.shifts[i]
                    poses.matrices[i], poses.shifts[i] = matrix, shift
                else:                               # the last step went too far
                    poses.matrices[i], poses.shifts[i] = kept.matrices[i], kept.shifts[i]
        return kept

    def _templates(self, turns):
        """[half][class]: references and their power, turned back by each of ``turns``."""
        back, ball, precision = np.swapaxes(turns, 1, 2), self.ball, 1 / self.model.variance
        return [[(ball.layout.turned(sharp[None], back), self.coverage.layout.turned(power[None], back))
                 for sharp, power in zip(ball.filtered(half, precision), self.coverage.power(half, precision))]
                for half in self.model.vectors]

    def _one(self, poses, half_of, templates, turn_step, shift_step, i):
        """(value where particle i is, matrix and shift where it should rather be)."""
        bank, matrix, shift = self.bank, poses.matrices[i], poses.shifts[i]
        vectors, power = templates[min(half_of[i], len(templates) - 1)][poses.ref[i]]
        weights = self.coverage.layout.turned(bank.region_vectors[bank.region_of[i]][None], matrix[None])
        shifts = shift + shift_step * _STENCIL
        rows = bank.rows(i, shift_step * _STENCIL, shift, matrix)
        left = power @ weights[0]
        along = self._values(rows @ vectors[0], left[0], i) + self._prior(shifts)
        better_shift = shift + shift_step * _summit(along)
        if self.turn:
            around = self._values(vectors @ rows[0], left, i)
            matrix = Rotation.from_rotvec(turn_step * _summit(around)).as_matrix() @ matrix
        return along[0], matrix, better_shift

    def _values(self, scores, left, i):
        if self.correlate:
            return scores / np.sqrt(np.maximum(left, 1e-12) * (self.bank.power[i] @ (1 / self.model.variance)))
        return scores - left / 2

    def _prior(self, shifts):
        if self.correlate:
            return 0.0
        return -(shifts**2).sum(1) / (2 * max(self.model.sigma_offset, 0.05) ** 2)


def _summit(values):
    """Where a quadratic through values (19,) at the stencil is highest, in steps; without a top, the best place."""
    fit = _FIT @ values
    hessian = np.zeros((3, 3))
    for (a, b), c in zip(_PAIRS, fit[4:]):
        hessian[a, b] += c
        hessian[b, a] += c
    if np.linalg.eigvalsh(hessian)[-1] >= 0:
        return _STENCIL[values.argmax()]
    top = -np.linalg.solve(hessian, fit[1:4])
    length = np.linalg.norm(top)
    return top if length <= FARTHEST else top * FARTHEST / length
