"""Functions on spheres of frequencies, given at points of half a sphere, and their spherical harmonics.

The Fourier transform of a real volume at -k is the conjugate of that at k.  So half a sphere is enough, and real
harmonics of even degree belong to the real part, those of odd degree to the imaginary one: a transform on J shells
becomes a vector of real numbers in the layout Orders((J,) * (L + 1)) of :mod:`.harmonics`.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.fft import next_fast_len

from .compiled import kernel
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

    def around(self, samples):
        """Harmonics in phi alone of complex64 samples (across, rings, J): float32 (2, M + 1, 2, rings, J).

        The first axis is cosine and sine, the third one real and imaginary part.
        """
        parts = np.stack([samples.real, samples.imag], 1)
        table = self._around.reshape(-1, self.across)
        return (table @ parts.reshape(self.across, -1)).reshape(2, self.highest + 1, *parts.shape[1:])

    def along(self, even, odd):
        """The rest of the way, from float32 (M + 1, rings, B, 2, J) of real and of imaginary parts.

        Each degree's harmonics: a list over l of float32 (2 l + 1, B, J), orders as in Orders.rising.
        """
        count, shells, highest = even.shape[2], even.shape[4], self.highest
        table = np.empty((highest + 1, 2 * highest + 1, count, shells), np.float32)
        for m, (of_even, of_odd) in enumerate(self._along):
            for first, legendre_of, part in ((m + m % 2, of_even, even), (m + 1 - m % 2, of_odd, odd)):
                found = (legendre_of @ part[m].reshape(self.rings, -1)).reshape(-1, count, 2, shells)
                if m:
                    table[first::2, highest - m] = found[:, :, 1]
                table[first::2, highest + m] = found[:, :, 0]
        return [table[l, highest - l : highest + l + 1] for l in range(highest + 1)]

    def analyse(self, samples):
        """Vectors float32 (B, P) of functions given at the points: complex or real (B, across, rings, J).

        The adjoint of :meth:`synthesize` in the weights of the points; its inverse where the grid is exact.
        """
        layout = self.layout(samples.shape[-1])
        parts = np.empty((2, self.highest + 1, self.rings, len(samples), 2, samples.shape[-1]), np.float32)
        for b, one in enumerate(samples):
            weighted = np.ascontiguousarray(one * self.weights[:, None], np.complex64)
            parts[:, :, :, b] = self.around(weighted).transpose(2, 1, 3, 0, 4)
        out = np.empty((len(samples), layout.size), np.float32)
        for places, found in zip(layout.rising, self.along(*parts)):
            out[:, places] = found.transpose(1, 0, 2)
        return out

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


@kernel
def shift_along_z(around, cosine, sine, even, odd, first):
    """Fill even, odd (M + 1, rings, B, 2, J), from row ``first`` on, with harmonics in phi, shifted along z.

    around: (2, M + 1, 2, rings, J) of :meth:`Hemisphere.around`.  cosine, sine: (Z, rings, J) of k_z times each shift.
    """
    kinds, orders, _, rings, shells = around.shape
    for m in range(orders):
        for r in range(rings):
            for z in range(len(cosine)):
                for c in range(kinds):
                    to_even, to_odd = even[m, r, first + z, c], odd[m, r, first + z, c]
                    real, imaginary, cos, sin = around[c, m, 0, r], around[c, m, 1, r], cosine[z, r], sine[z, r]
                    for j in range(shells):
                        to_even[j] = real[j] * cos[j] + imaginary[j] * sin[j]
                        to_odd[j] = imaginary[j] * cos[j] - real[j] * sin[j]
