"""Volumes <-> a short vector of ball harmonics, in which every rotation is exact.

A particle sits in a ball of radius R and is looked at up to a highest frequency.  A few thousand functions, at a box of
32, span all that fits into both: real spherical harmonics of the Fourier transform on shells, times for each degree l
the radial functions that have most of their power inside the ball (the singular vectors of the spherical Bessel
transform: Slepian's functions).  The basis is orthonormal: the inner product of two volumes, summed over voxels, is
that of their vectors.  Rotations turn the harmonics of a degree into each other (:mod:`.harmonics`).

Coefficients around the origin, nearer than half a Fourier voxel, are left out: the mean of a volume is arbitrary.
"""
from functools import cached_property

import finufft
import numpy as np
from scipy.special import spherical_jn

from .harmonics import Orders
from .hemisphere import Hemisphere, shift_along_z

NUFFT_EPS = 1e-5
CONCENTRATED = 0.25       # least share of a radial function's power inside the ball
SHIFTED_TOGETHER = 24     # rows: few enough for the caches
FITS = 3                  # rounds that fit a volume
BEYOND = 1.25             # ball radii within which a volume's density is looked at, however it is shifted


class Ball:
    """Ball harmonics of volumes of side ``n``, up to frequencies ``maxres``.

    n: side in voxels, origin at voxel n // 2; arrays are [z, y, x].  maxres: in 1/voxel (0.5 is Nyquist).
    radius: of the ball in voxels (default: half the box).  reach: longest shift of a volume in voxels.
    """

    def __init__(self, n, maxres, radius=None, reach=0.0):
        self.n, self.maxres, self.reach = n, float(maxres), float(reach)
        self.radius = n / 2 if radius is None else min(float(radius), n / 2)
        z, y, x = np.mgrid[:n, :n, :n] - n // 2
        distance2 = x**2 + y**2 + z**2
        self.inside = distance2 < self.radius**2
        self.seen = distance2 < (BEYOND * self.radius) ** 2
        lowest, highest = np.pi / n, 2 * np.pi * self.maxres
        if lowest >= highest:
            raise ValueError(f"maxres {maxres} is below the first Fourier voxel of a box of {n}")
        other = BEYOND * self.radius + self.reach         # radius of what a reference is compared with
        nodes, weights = np.polynomial.legendre.leggauss(
            int(np.ceil(0.25 * (highest - lowest) * (self.radius + other))) + 6)
        self.k = lowest + (nodes + 1) / 2 * (highest - lowest)
        self.weight = weights / 2 * (highest - lowest) * self.k**2 / (2 * np.pi) ** 3
        self.radial, self.concentration = _radial_functions(self.k, self.weight, self.radius)
        self.layout = Orders(tuple(u.shape[1] for u in self.radial))
        self.highest = self.layout.highest
        edge = int(np.ceil(highest * other + 2 * (highest * other) ** (1 / 3)))
        self.points = Hemisphere.exact(self.highest, self.highest + max(edge, self.highest))
        self._root = np.sqrt(self.weight)
        self._phases = {}

    @property
    def size(self):
        """Numbers P in a vector."""
        return self.layout.size

    def frequencies(self, points=None):
        """kx, ky, kz, float64 (3, across, rings, J) in rad/voxel, of the points of a grid (default: own)."""
        return (points or self.points).directions[..., None] * self.k

    # ---- volumes -> vectors -----------------------------------------------------------------------------------

    def samples(self, volumes):
        """Fourier transforms at the points, complex64 (B, across, rings, J), of what is seen of (B, n, n, n)."""
        kx, ky, kz = (k.ravel().astype(np.float32) for k in self.frequencies())
        masked = np.where(self.seen, volumes, 0).astype(np.complex64)
        flat = finufft.nufft3d2(kz, ky, kx, masked, eps=NUFFT_EPS, isign=-1, nthreads=1)
        return flat.reshape(len(volumes), *self.frequencies().shape[1:])

    def vectors(self, samples, weights=None):
        """Vectors float32 (B, P) of samples (B, across, rings, J), times weights of the points where given."""
        if weights is not None:
            samples = samples * weights
        return self.compressed(self.points.analyse(samples))

    def shifted(self, samples, shifts, centre=None):
        """Vectors (S, P) of one volume's samples (across, rings, J), moved by shifts (S, 3) = (x, y, z) voxels.

        centre: (3,) moves it beforehand; the shifts should be those of a grid.  Shifts with the same (x, y) share what
        is done around z.
        """
        samples = samples * self.points.weights[:, None].astype(np.float32)
        if centre is not None:
            samples *= self._phase(np.tensordot(np.asarray(centre, np.float32), self._kxyz, 1))
        out = np.empty((len(shifts), self.size), np.float32)
        columns, members = np.unique(shifts[:, :2], axis=0, return_inverse=True)
        by_column = np.argsort(members.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(members.ravel()))
        first = 0
        while first < len(columns):
            # whole columns, together some SHIFTED_TOGETHER rows
            start = ends[first - 1] if first else 0
            last = max(first + 1, np.searchsorted(ends, start + SHIFTED_TOGETHER, "right"))
            rows = by_column[start : ends[last - 1]]
            out[rows] = self._shift_columns(samples, shifts[rows])
            first = last
        return out

    def _shift_columns(self, samples, shifts):
        points = self.points
        shape = points.highest + 1, points.rings, len(shifts), 2, len(self.k)
        even, odd = np.empty(shape, np.float32), np.empty(shape, np.float32)
        starts = np.flatnonzero(np.any(np.diff(shifts[:, :2], axis=0, prepend=np.inf), axis=1))
        for start, stop in zip(starts, [*starts[1:], len(shifts)]):
            x, y = shifts[start, :2]
            around = points.around(samples * self._wave(0, x) * self._wave(1, y))
            shift_along_z(around, *self._heights(shifts[start:stop, 2]), even, odd, start)
        return self._compress(points.along(even, odd))

    @cached_property
    def _kxyz(self):
        return self.frequencies().astype(np.float32)

    def _wave(self, axis, shift):
        """exp(-i k shift) at the points, of a shift along x (axis 0) or y."""
        return self._kept("xy"[axis], shift, lambda: self._phase(np.float32(shift) * self._kxyz[axis]))

    def _heights(self, shifts):
        """Cosines and sines (S, rings, J) of k_z times shifts (S,) along z."""
        def make():
            angle = np.stack([np.outer(self.points.cosines, self.k * shift) for shift in shifts])
            return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        return self._kept("z", tuple(shifts), make)

    def _kept(self, kind, shift, make):
        """What ``make`` gives, kept: the shifts of a grid come again and again."""
        if (kind, shift) not in self._phases:
            self._phases[kind, shift] = make()
        return self._phases[kind, shift]

    @staticmethod
    def _phase(angle):
        """exp(-i angle), complex64."""
        phase = np.empty(angle.shape, np.complex64)
        phase.real, phase.imag = np.cos(angle), -np.sin(angle)
        return phase

    def _compress(self, degrees):
        """Vectors (B, P) of each degree's harmonics (2 l + 1, B, J) on shells, with orders as in Orders.rising."""
        out = np.empty((degrees[0].shape[1], self.size), np.float32)
        for found, places, radial in zip(degrees, self.layout.rising, self._onto_radial):
            out[:, places] = (found @ radial).transpose(1, 0, 2)
        return out

    @cached_property
    def _onto_radial(self):
        return [(radial * self._root[:, None]).astype(np.float32) for radial in self.radial]

    def compressed(self, shells):
        """Vectors (B, P) of harmonics on shells, as :meth:`shells` gives them."""
        return self._compress([shells[:, places].transpose(1, 0, 2)
                               for places in self.points.layout(len(self.k)).rising])

    # ---- vectors -> volumes -----------------------------------------------------------------------------------

    def shells(self, vectors):
        """Harmonics (B, J (L + 1)^2), of the transform on shells, of vectors (B, P)."""
        layout = Orders((len(self.k),) * (self.highest + 1))
        out = np.empty((len(vectors), layout.size), np.float32)
        for l, places in enumerate(layout.degrees):
            radial = (self.radial[l] / self._root[:, None]).T.astype(np.float32)
            out[:, places] = vectors[:, self.layout.degrees[l]] @ radial
        return out

    def transforms(self, vectors, points=None):
        """Fourier transforms complex64 (B, across, rings, J) of vectors, at the points of a grid (default: own)."""
        return (points or self.points).synthesize(self.shells(vectors))

    def volumes(self, vectors, n=None):
        """Volumes float32 (B, n, n, n), zero outside the ball, of vectors (B, P).

        n: their side (default: own); a larger one samples the same ball more finely.
        """
        n = n or self.n
        scale = self.n / n
        samples = self.transforms(vectors) * (self.points.weights[:, None] * self.weight).astype(np.float32)
        kx, ky, kz = (scale * k.ravel().astype(np.float32) for k in self.frequencies())
        volumes = finufft.nufft3d1(kz, ky, kx, samples.reshape(len(vectors), -1), (n, n, n), eps=NUFFT_EPS, isign=1,
                                   nthreads=1)
        z, y, x = np.mgrid[:n, :n, :n] - n // 2
        inside = x**2 + y**2 + z**2 < (self.radius / scale) ** 2
        return np.where(inside, volumes.reshape(-1, n, n, n).real, 0).astype(np.float32)

    def on(self, other, vectors):
        """Vectors of the same volumes on another ball, whose box holds as much at another sampling."""
        if other is self:
            return vectors
        return other.from_volumes(self.volumes(vectors, other.n))

    def from_volumes(self, volumes):
        """Vectors (B, P) that fit volumes (B, n, n, n) best inside the ball; undoes :meth:`volumes`.

        Radial functions that are orthogonal over all space are so inside the ball, too (Slepian's double
        orthogonality), so the fit is a division by the power that each has there; what the voxels' edge of the ball
        leaves of the volumes is fitted again.
        """
        left = np.where(self.inside, volumes, 0)
        found = 0
        for _ in range(FITS):
            found = found + self.vectors(self.samples(left)) / self._concentrations
            left = np.where(self.inside, volumes - self.volumes(found), 0)
        return found

    @cached_property
    def _concentrations(self):
        shares = np.empty(self.size, np.float32)
        for places, share in zip(self.layout.degrees, self.concentration):
            shares[places] = share
        return shares

    # ---- spectra ----------------------------------------------------------------------------------------------

    def shell_products(self, first, second):
        """Inner products float64 (B, J), shell by shell, of vectors (B, P) each."""
        a, b = self.shells(first), self.shells(second)
        layout = self.points.layout(len(self.k))
        out = np.zeros((len(a), len(self.k)))
        for places in layout.degrees:
            out += np.einsum("bmj,bmj->bj", a[:, places], b[:, places], dtype=np.float64)
        return out * self.weight

    def filtered(self, vectors, response):
        """Vectors times a radial response (J,), as far as the ball's functions can follow it."""
        out = np.empty_like(vectors)
        for l, places in enumerate(self.layout.degrees):
            matrix = (self.radial[l].T * response) @ self.radial[l]
            out[:, places] = vectors[:, places] @ matrix.astype(vectors.dtype)
        return out


def _radial_functions(k, weight, radius):
    """For each degree l, orthonormal columns (J, N_l): radial functions of frequency concentrated within ``radius``.

    And the share (N_l,) of each one's power inside.
    """
    nodes, weights = np.polynomial.legendre.leggauss(int(np.ceil(k[-1] * radius)) + 12)
    r = (nodes + 1) / 2 * radius
    measure = np.sqrt(weights / 2 * radius) * r
    functions, shares = [], []
    for l in range(int(np.ceil(2 * k[-1] * radius)) + 10):
        transform = 4 * np.pi * np.sqrt(weight)[:, None] * spherical_jn(l, np.outer(k, r)) * measure
        vectors, singular, _ = np.linalg.svd(transform, full_matrices=False)
        kept = singular**2 > CONCENTRATED
        if not kept.any():
            break
        functions.append(vectors[:, kept])
        shares.append(singular[kept] ** 2)
    return functions, shares
