"""Poses of images that references are aligned to, as arrays that can be chained.

A pose says how a reference lies in an image: a point p of the reference, seen from its origin, lies at

    q = A p + place,    A = R(psi) F,    F = diag(1, -1) where mirrored,    R(psi) the turn from x to y,

seen from the image's origin.  Searches and averages want the same as a shift of the reference before A, around the
middle of a view: that is :meth:`Poses.shifts`.
"""
from dataclasses import dataclass

import numpy as np

from .averaging import Placed


@dataclass
class Poses:
    """Arrays (N,): mirrored 0 or 1, psi in radians; place (N, 2) = (x, y) in px from pixel n / 2."""

    mirrored: np.ndarray
    psi: np.ndarray
    place: np.ndarray

    @classmethod
    def at(cls, places):
        """Not turned, at places (N, 2)."""
        return cls(np.zeros(len(places), int), np.zeros(len(places)), np.array(places, float))

    @classmethod
    def shifted(cls, mirrored, psi, x, y, middles):
        """Of shifts x, y (N,) before the turn, in views around ``middles`` (N, 2)."""
        poses = cls(mirrored, psi, np.zeros((len(psi), 2)))
        poses.place = np.einsum("nij,nj->ni", poses.matrices(), np.stack([x, y], 1)) + middles
        return poses

    def __len__(self):
        return len(self.psi)

    def take(self, rows):
        return Poses(self.mirrored[rows], self.psi[rows], self.place[rows])

    def put(self, rows, other):
        self.mirrored[rows], self.psi[rows], self.place[rows] = other.mirrored, other.psi, other.place

    def matrices(self):
        """A (N, 2, 2)."""
        c, s, sign = np.cos(self.psi), np.sin(self.psi), np.where(self.mirrored == 1, -1.0, 1.0)
        return np.stack([np.stack([c, -sign * s], -1), np.stack([s, sign * c], -1)], -2)

    def shifts(self, middles):
        """Shift (N, 2) = (x, y) of the reference before it is turned, in views around ``middles`` (N, 2)."""
        return np.einsum("nji,nj->ni", self.matrices(), self.place - middles)          # A is orthogonal

    def after(self, inner):
        """Poses of the references of ``inner`` (N,), which are poses of those in the references of these."""
        matrices, inside = self.matrices(), inner.matrices()
        mirrored = self.mirrored ^ inner.mirrored
        both = matrices @ inside
        return Poses(mirrored, np.arctan2(both[:, 1, 0], both[:, 0, 0]),
                     self.place + np.einsum("nij,nj->ni", matrices, inner.place))

    def placed(self, image, ref, half, middles, weight=None):
        """As :class:`.averaging.Placed`: images numbered ``image`` (N,), of half sets (N,), into averages ``ref``."""
        x, y = self.shifts(middles).T
        weight = np.ones(len(self)) if weight is None else weight
        return Placed(image, ref, self.mirrored, self.psi, x, y, weight, half)
