"""Volumes known everywhere, sums of Gaussian blobs moved by moving their centres, and harmonics written out."""
from math import factorial

import numpy as np
from scipy.special import lpmv

from mlalign.programs.engine.missing import Region
from mlalign.programs.engine.sphere import random_rotations

IDENTITY = np.eye(3)


class Blobs3:
    """A phantom without symmetry of Gaussian blobs: ``heights``, ``centres`` (count, 3) = (x, y, z), ``widths``.

    It has no mean and no dipole, so that nothing is lost with the frequencies next to zero.
    """

    def __init__(self, seed, count=8, reach=3.5, widths=(1.9, 2.2)):
        rng = np.random.default_rng(seed)
        direction = rng.standard_normal((count, 3))
        distance = reach * np.cbrt(rng.random(count))
        self.centres = direction * (distance / np.linalg.norm(direction, axis=1))[:, None]
        self.widths = rng.uniform(*widths, count)
        moments = self.widths**3 * np.vstack([np.ones(count), self.centres.T])         # of heights of one
        heights = rng.normal(0, 1, count)
        self.heights = heights - np.linalg.pinv(moments) @ (moments @ heights)

    def volume(self, n, rotation=IDENTITY, shift=(0, 0, 0)):
        """The particle X (n, n, n), X(p) = F(A (p + t)), that A = ``rotation`` after t = ``shift`` aligns with F."""
        z, y, x = np.mgrid[:n, :n, :n] - n // 2
        out = np.zeros((n, n, n))
        for height, (cx, cy, cz), width in zip(self.heights, self._moved(rotation, shift), self.widths):
            out += height * np.exp(-((x - cx)**2 + (y - cy)**2 + (z - cz)**2) / (2 * width**2))
        return out

    def transform(self, k, rotation=IDENTITY, shift=(0, 0, 0)):
        """Fourier transform of :meth:`volume` at frequencies k (3, ...) = (x, y, z) in rad/voxel."""
        out = np.zeros(k.shape[1:], complex)
        for height, centre, width in zip(self.heights, self._moved(rotation, shift), self.widths):
            fall = (2 * np.pi)**1.5 * width**3 * np.exp(-(k**2).sum(0) * width**2 / 2)
            out += height * fall * np.exp(-1j * np.tensordot(centre, k, 1))
        return out

    def _moved(self, rotation, shift):
        return self.centres @ rotation - np.asarray(shift)          # rows A^T c - t


class Volumes:
    """Volumes in memory, as programs hand them to the engine."""

    def __init__(self, volumes):
        self.volumes = np.asarray(volumes, np.float32)
        self.count, self.size = len(volumes), self.volumes.shape[-1]

    def read(self, rows):
        return self.volumes[rows]


def tilted_weight(n=16):
    """A weight that falls off with the length of a frequency, faster along x + 2 z."""
    z, y, x = (np.mgrid[:n, :n, :n] - n // 2) / n
    return Region(5, "weight", weight=np.exp(-6 * (x + 2 * z)**2 - 2 * np.sqrt(x**2 + y**2 + z**2)))


def turn_about_z(angle):
    """Rz(angle), radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])


def turn_about_y(angle):
    """Ry(angle), radians."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1.0, 0], [-sin, 0, cos]])


def some_rotations(seed, count=4):
    """Rotations (count + 5, 3, 3): random ones, then turns about z alone, half turns, and what is nearly so."""
    special = [IDENTITY, turn_about_z(0.7), np.diag([1.0, -1, -1]), np.diag([-1.0, 1, -1]) @ turn_about_z(-2.1),
               turn_about_y(1e-6) @ turn_about_z(1.1)]
    return np.concatenate([random_rotations(count, np.random.default_rng(seed)), special])


def real_harmonics(l, directions):
    """Y_lm (2 l + 1, ...) at unit vectors (3, ...): m = 0, cosines, sines; from SciPy's Legendre functions."""
    x, y, z = directions
    phi = np.arctan2(y, x)
    cosines, sines = [], []
    for m in range(l + 1):
        norm = np.sqrt((2 * l + 1) / (4 * np.pi) * factorial(l - m) / factorial(l + m))
        along = (-1)**m * norm * lpmv(m, l, np.clip(z, -1, 1))      # without the phase that SciPy's have
        cosines.append(along * np.cos(m * phi) * (np.sqrt(2) if m else 1))
        sines.append(along * np.sin(m * phi) * np.sqrt(2))
    return np.stack([*cosines, *sines[1:]])


def written_out(layout, vector, directions):
    """The function (J, ...) that a vector (P,) of J shells' harmonics stands for, at directions (3, ...)."""
    out = 0
    for l, places in enumerate(layout.degrees):
        if places.size:
            out = out + np.tensordot(vector[places].T.astype(float), real_harmonics(l, directions), 1) * 1j**(l % 2)
    return out


def off(found, expected):
    """Relative error of arrays."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)
