"""Functions on spheres of frequencies, given at points of half a sphere, and their spherical harmonics.

The Fourier transform of a real volume at -k is the conjugate of that at k.  So half a sphere is enough, and real
harmonics of even degree belong to the real part, those of odd degree to the imaginary one: a transform on J shells
becomes a vector of real numbers in the layout Orders((J,) * (L + 1)) of :mod:`.harmonics`.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import next_fast_len

from .harmonics import Orders
from .wigner import legendre


@dataclass(frozen=True)
class Hemisphere:
    """Points on the half z > 0 of a sphere: ``rings`` Gauss-Legendre latitudes of ``across`` points each.

    highest: degree L of the harmonics that are wanted.  Sums over the points are exact for products of functions
    whose degrees add up to less than 4 ``rings`` and to less than ``across``.
    """

    highest: int
    rings: int
    across: int

    @classmethod
    def exact(cls, highest, degrees):
        """The smallest grid that is exact for products of ``degrees`` in all."""
        return cls(highest, (degrees + 4) // 4, next_fast_len(degrees + 1, real=True))

    def to(self, highest):
        """The same points, for harmonics up to another degree."""
        return Hemisphere(highest, self.rings, self.across)

    @cached_property
    def _nodes(self):
        cosines, weights = np.polynomial.legendre.leggauss(2 * self.rings)
        return cosines[self.rings :], weights[self.rings :]

    @cached_property
    def phi(self):
        return 2 * np.pi / self.across * np.arange(self.across)

    @property
    def cosines(self):
        """Of the polar angles, float64 (rings,)."""
        return self._nodes[0]

    @cached_property
    def directions(self):
        """Unit vectors, float64 (3, across, rings)."""
        sine = np.sqrt(1 - self.cosines**2)
        return np.stack([np.outer(np.cos(self.phi), sine), np.outer(np.sin(self.phi), sine),
                         np.broadcast_to(self.cosines, (self.across, self.rings))])

    @cached_property
    def weights(self):
        """Solid angle of each ring's points, both halves of the sphere together: float64 (rings,)."""
        return 2 * self._nodes[1] * 2 * np.pi / self.across

    @cached_property
    def _around(self):
        """float32 (2, M + 1, across): cosines and sines of m phi, times sqrt 2 where m > 0."""
        phase = np.outer(np.arange(self.highest + 1), self.phi)
        factor = np.where(np.arange(self.highest + 1), np.sqrt(2), 1)[:, None]
        return (factor * np.stack([np.cos(phase), np.sin(phase)])).astype(np.float32)

    @cached_property
    def _along(self):
        """For each m, P_lm of even and of odd degrees: float32 (degrees, rings)."""
        tables = [table.T.astype(np.float32) for table in legendre(self.highest, self.cosines)]
        return [(np.ascontiguousarray(table[m % 2 :: 2]), np.ascontiguousarray(table[1 - m % 2 :: 2]))
                for m, table in enumerate(tables)]

    def layout(self, shells):
        return Orders((shells,) * (self.highest + 1))

    # ---- points -> harmonics ----------------------------------------------------------------------------------

    def around(self, parts):
        """Harmonics in phi alone: parts float32 (..., across, rings, J) to (..., 2, M + 1, rings, J)."""
        table = self._around.reshape(-1, self.across)
        flat = np.matmul(table, parts.reshape(*parts.shape[:-2], -1))
        return flat.reshape(*parts.shape[:-3], 2, self.highest + 1, *parts.shape[-2:])

    def along(self, real, imaginary):
        """The rest of the way: two float32 (B, 2, M + 1, rings, J) of :meth:`around`, weighted, to vectors (B, P)."""
        count, shells = len(real), real.shape[-1]
        layout = self.layout(shells)
        out = np.empty((count, layout.size), np.float32)
        for m, (part, (even, odd)) in enumerate(zip(layout.slices, self._along)):
            kinds = 2 if m else 1
            target = out[:, part].reshape(count, kinds, self.highest + 1 - m, shells)
            target[:, :, m % 2 :: 2] = np.matmul(even, real[:, :kinds, m])
            target[:, :, 1 - m % 2 :: 2] = np.matmul(odd, imaginary[:, :kinds, m])
        return out

    def analyse(self, samples):
        """Vectors float32 (B, P) of functions given at the points: complex or real (B, across, rings, J).

        The adjoint of :meth:`synthesize` in the weights of the points; its inverse where the grid is exact.
        """
        weights = self.weights[:, None].astype(np.float32)
        real = self.around(np.ascontiguousarray(samples.real, np.float32) * weights)
        imaginary = np.zeros_like(real)
        if np.iscomplexobj(samples):
            imaginary = self.around(np.ascontiguousarray(samples.imag, np.float32) * weights)
        return self.along(real, imaginary)

    # ---- harmonics -> points ----------------------------------------------------------------------------------

    def synthesize(self, vectors):
        """Functions at the points, complex64 (B, across, rings, J), of vectors (B, P)."""
        count, shells = len(vectors), vectors.shape[1] // (self.highest + 1) ** 2
        parts = np.zeros((2, count, 2, self.highest + 1, self.rings, shells), np.float32)
        for m, (part, (even, odd)) in enumerate(zip(self.layout(shells).slices, self._along)):
            kinds = 2 if m else 1
            source = vectors[:, part].reshape(count, kinds, self.highest + 1 - m, shells)
            np.matmul(even.T, source[:, :, m % 2 :: 2], out=parts[0, :, :kinds, m])
            np.matmul(odd.T, source[:, :, 1 - m % 2 :: 2], out=parts[1, :, :kinds, m])
        table = self._around.reshape(-1, self.across).T
        real, imaginary = (np.matmul(table, part.reshape(count, table.shape[1], -1)) for part in parts)
        out = np.empty((count, self.across, self.rings, shells), np.complex64)
        out.real, out.imag = (part.reshape(out.shape) for part in (real, imaginary))
        return out
