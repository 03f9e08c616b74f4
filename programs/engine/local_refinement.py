"""Poses of images refined one by one: to where a comparator's score is highest near where they are.

Around each pose the score is taken at ten places, enough for a quadratic in shift and angle.  Its top is tried, and the
best of all places is the next pose.  The steps become smaller as the top comes nearer, until they are below what is
asked for.  Turning an image costs more than shifting it: the ten places have only three angles.
"""
from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np

from .comparators import BLOCK, TINY, Comparison

FARTHEST = 1.5            # steps from a pose that a quadratic's top may be away
NEAR = 0.5                # steps within which a top is trusted
SMALLER = 0.15            # what steps are then multiplied by, as it is that well known
ENOUGH = 1e-7             # relative rise of a score that is one

# shifts (x, y) and the angle they go with, in steps; the pose itself is the first
_PLACES = np.array([(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (1, 1, 0),
                    (0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, -1)], float)


def refine(rings, x, references, placed, comparator, step=(1.0, 1.0, 5.0), precision=0.04, maxiter=28, maxshift=None,
           pool=map):
    """:class:`.averaging.Placed` with poses that maximise the score, never a lower one than they have now.

    rings, x, references, comparator: as in :func:`.comparators.score`.  step: first steps in x and y, px, and of the
    angle, degrees; one of 0 stays as it is.  precision: px of the steps at which it ends, or degrees where shifts stay.
    maxiter: how often the steps are taken, at most.  maxshift: px that a shift may become long, or stay.
    """
    step = np.asarray(step, float) * (1, 1, np.pi / 180)
    if not step.any():
        return placed
    comparison = Comparison(rings, x, references)
    finest = precision / (step[:2].max() or np.rad2deg(step[2]))

    def refined(begin):
        some = placed.take(slice(begin, begin + BLOCK))
        climb = _Climb(comparison.block(some.image, some.ref, some.mirrored), comparator, step,
                       np.stack([some.x, some.y, some.psi], 1).astype(float), maxshift)
        return climb.run(finest, maxiter)

    poses = np.concatenate([np.zeros((0, 3)), *pool(refined, range(0, len(placed.image), BLOCK))])
    return replace(placed, x=poses[:, 0], y=poses[:, 1], psi=poses[:, 2])


class _Climb:
    """The climbs of a block of pairs.

    step: (3,) in x, y and angle, radians.  poses: (B, 3).  scale: (B,) what the steps are multiplied by.
    """

    def __init__(self, block, comparator, step, poses, maxshift):
        self.block, self.comparator, self.step, self.poses = block, comparator, step, poses
        free = step > 0
        self.places = _PLACES[(_PLACES[:, ~free] == 0).all(1)]
        self.fit, self.terms = _quadratic(self.places, np.flatnonzero(free))
        length = np.hypot(*poses[:, :2].T)
        self.longest = np.full(len(poses), np.inf) if maxshift is None else np.maximum(maxshift, length)
        self.scale = np.ones(len(poses))

    def run(self, finest, rounds):
        """Climb until all steps are below ``finest`` of the first, or the rounds are over; poses (B, 3)."""
        active = np.arange(len(self.poses))
        for _ in range(rounds):
            active = active[self.scale[active] >= finest]
            if not len(active):
                break
            self._move(active)
        return self.poses

    def _move(self, rows):
        """Take each of ``rows`` to the best place around it, and choose its next steps."""
        steps, here = self.scale[rows, None] * self.step, self.poses[rows]
        around = here[:, None] + steps[:, None] * self.places
        values = self._values(rows, around)
        top = here + steps * self._summit(values)
        top[:, :2] *= np.minimum(1, self.longest[rows] / np.maximum(np.hypot(*top[:, :2].T), 1e-9))[:, None]
        top[:, self.step == 0] = here[:, self.step == 0]
        values = np.concatenate([values, self._scores(rows, top[:, None])], 1)
        around = np.concatenate([around, top[:, None]], 1)
        allowed = np.hypot(around[..., 0], around[..., 1]) <= self.longest[rows, None] + 1e-6
        # at its own place a pose is within the limits by definition; elsewhere only what is better counts
        allowed[:, 1:] &= values[:, 1:] > (values[:, 0] + ENOUGH * np.abs(values[:, 0]))[:, None]
        best = np.where(allowed, values, -np.inf).argmax(1)
        self.poses[rows] = around[np.arange(len(rows)), best]
        moved = np.abs(np.divide(self.poses[rows] - here, steps, where=steps > 0, out=np.zeros_like(here))).max(1)
        trusted = (best == len(self.places)) & (moved < NEAR)
        factor = np.where(trusted, SMALLER, np.where(moved < 1, 0.5, 2))
        self.scale[rows] = np.minimum(1, self.scale[rows] * factor)

    def _values(self, rows, around):
        """Scores (R, places) around poses, those of an angle together."""
        values = np.empty(around.shape[:2])
        for angle in (0, 1, -1):
            here = self.places[:, 2] == angle
            if here.any():
                values[:, here] = self._scores(rows, around[:, here])
        return values

    def _scores(self, rows, poses):
        """Scores (R, S) of poses (R, S, 3) that share their angles."""
        return self.comparator(self.block.pairs(rows, poses[:, 0, 2], poses[..., :2]))

    def _summit(self, values):
        """Where a quadratic through values (R, places) leads to, its top if it has one near, in steps (R, 3)."""
        (free, pairs), fit, count = self.terms, values @ self.fit, len(self.terms[0])
        gradient, hessian = fit[:, 1 : count + 1], np.zeros((len(values), count, count))
        for (a, b), c in zip(pairs, fit[:, count + 1 :].T):
            hessian[:, a, b] += c
            hessian[:, b, a] += c
        # where the quadratic bends upwards, go up as if it bent downwards
        bends, axes = np.linalg.eigh(hessian)
        bends = np.maximum(np.abs(bends), 1e-3 * np.abs(gradient).max(1, keepdims=True) + TINY)
        top = np.zeros((len(values), 3))
        top[:, free] = (axes @ (np.swapaxes(axes, 1, 2) @ gradient[..., None] / bends[..., None]))[..., 0]
        return top * np.minimum(1, FARTHEST / np.maximum(np.linalg.norm(top, axis=1, keepdims=True), TINY))


def _quadratic(places, free):
    """Matrix (places, terms) from values at ``places`` to a quadratic's terms, and what these belong to.

    The terms: the constant, linear ones of the axes ``free``, and those of pairs of these.
    """
    pairs = list(combinations_with_replacement(range(len(free)), 2))
    along = places[:, free]
    design = np.column_stack([np.ones(len(places)), along, *(along[:, a] * along[:, b] for a, b in pairs)])
    return np.linalg.pinv(design).T, (free, pairs)
