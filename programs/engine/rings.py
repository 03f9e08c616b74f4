"""Images as angular harmonics on rings in Fourier space, laid out for correlation.

An image is sampled on rings (Gauss-Legendre radii k) at angles phi in [0, pi), and expanded along each ring,

    x_q(k) = 1/M sum_m X(k, phi_m) exp(-i q phi_m),                 q >= 0; x_{-q} = (-1)^q conj(x_q) for real images.

A rotation by psi multiplies harmonic q by exp(-i q psi), the mirror y -> -y maps a_q to (-1)^q conj(a_q), and inner
products are sums with weights.  Even harmonics come from the real parts of the samples and odd ones from the
imaginary parts, so the two are kept apart.

**Layout.**  The harmonics of an image are one float32 vector, ring after ring from the lowest frequency on, so that
its beginning is the image at lower resolution.  Each ring holds the real parts of its even harmonics, their imaginary
parts, and then the same of as many odd ones, in whole vectors of eight; harmonics that are zero inside the circle, and
angles that a ring does not need, are left out.
"""
from functools import cached_property

import finufft
import numpy as np

from .sampling import Sampler

NYQUIST = np.pi


class Rings:
    """Harmonics of images of side ``n`` (even) inside a circle of ``radius`` pixels around pixel n / 2.

    reach: how far, in pixels, images will be shifted.

    k, weight: (rings,) radius in rad/px and quadrature weight.  each: (rings,) number of even and of odd harmonics.
    start: (rings + 1,) where a ring's harmonics begin in the vector.  points: (rings + 1,) where its samples begin.
    kx, ky, ring, share: (P,) of the samples: frequency, ring, weight in an inner product.
    """

    def __init__(self, n, radius, reach):
        self.n, self.radius, self.reach = n, radius, reach
        y, x = np.mgrid[:n, :n] - n // 2
        self.circle = x**2 + y**2 < radius**2
        # rings enough for products of two images of this circle (to about 2e-4)
        node, weight = np.polynomial.legendre.leggauss(int(np.ceil(0.4 * NYQUIST * radius)) + 6)
        self.k = (node + 1) / 2 * NYQUIST
        self.weight = weight / 2 * NYQUIST * self.k / (2 * np.pi)
        # the Bessel function J_q(k R) has died away beyond these
        self.highest = (self.k * radius + 2 * (self.k * radius) ** (1 / 3) + 1).astype(int)
        self.each = -(-(self.highest // 2 + 1) // 8) * 8
        self.start = np.concatenate([[0], np.cumsum(4 * self.each)])
        # shifts carry what is near the circle's rim outside, which must not come back as lower harmonics
        angles = self.highest + np.ceil(self.k * reach / 2).astype(int) + 1
        self.points = np.concatenate([[0], np.cumsum(angles)])
        self.ring = np.repeat(np.arange(len(self.k)), angles)
        phi = [np.arange(count) * np.pi / count for count in angles]
        self.share = (self.weight / angles)[self.ring]
        self.kx, self.ky = (self.k[self.ring] * turn(np.concatenate(phi)) for turn in (np.cos, np.sin))
        self._tables = [_ring_tables(*ring) for ring in zip(self.highest, self.each, phi)]
        self._sampler = Sampler(n, self.kx, self.ky)
        self.metric = np.concatenate([_ring_metric(*ring) for ring in zip(self.weight, self.each)])

    @property
    def size(self):
        """Length of an image's vector."""
        return int(self.start[-1])

    @property
    def orders(self):
        """The harmonics q (Q,), even ones first, then as many odd ones."""
        even = 2 * np.arange(self.each[-1])
        return np.concatenate([even, even + 1])

    @cached_property
    def order_of_entries(self):
        """The harmonic q (size,) that each entry of a vector belongs to."""
        even = 2 * np.arange(self.each[-1])
        return np.concatenate([np.concatenate([np.tile(even[:each], 2), np.tile(even[:each] + 1, 2)])
                               for each in self.each])

    def within(self, frequency):
        """Number of rings up to a frequency in 1/px, at least one."""
        return max(1, int(np.searchsorted(self.k, 2 * np.pi * frequency, side="right")))

    # ---- images, samples, harmonics --------------------------------------------------------------------------

    def sample(self, images):
        """Samples float32 (2, P, B), real and imaginary parts, of images (B, n, n) masked to the circle."""
        return self._sampler(np.where(self.circle, images, np.float32(0)))

    def images(self, samples):
        """Adjoint of :meth:`sample`: images (B, n, n) in the circle, of complex samples (B, P)."""
        strengths = (samples * self.share).astype(np.complex128, order="C")
        images = finufft.nufft2d1(self.ky, self.kx, strengths, (self.n, self.n), eps=1e-6, isign=1, nthreads=1)
        return np.where(self.circle, images.reshape(-1, self.n, self.n).real, 0)

    def expand(self, samples, rings=None):
        """Harmonics (B, size) of samples (2, P, B) on the first ``rings`` (default: all)."""
        rings = len(self.k) if rings is None else rings
        out = np.empty((samples.shape[2], self.start[rings]), np.float32)
        for j in range(rings):
            even, _, odd, _ = self._tables[j]
            here, middle = slice(self.points[j], self.points[j + 1]), self.start[j] + 2 * self.each[j]
            np.matmul(samples[0, here].T, even, out=out[:, self.start[j] : middle])
            np.matmul(samples[1, here].T, odd, out=out[:, middle : self.start[j + 1]])
        return out

    def synthesize(self, harmonics):
        """Samples float32 (B, 2, P) of harmonics (B, size): the inverse of :meth:`expand` but for its order of axes."""
        out = np.empty((len(harmonics), 2, len(self.kx)), np.float32)
        for j, (_, even, _, odd) in enumerate(self._tables):
            here, middle = slice(self.points[j], self.points[j + 1]), self.start[j] + 2 * self.each[j]
            np.matmul(harmonics[:, self.start[j] : middle], even, out=out[:, 0, here])
            np.matmul(harmonics[:, middle : self.start[j + 1]], odd, out=out[:, 1, here])
        return out

    def shifted(self, samples, phase, rings=None):
        """Harmonics (T, size of the first rings) of one image's complex samples (P,) moved by each shift.

        phase: complex64 (P, T), see :meth:`phase`.
        """
        last = len(self.kx) if rings is None else self.points[rings]
        moved = samples[:last, None] * phase[:last]
        return self.expand(np.stack([moved.real, moved.imag]), rings)

    def phase(self, shifts):
        """exp(-i k t), complex64 (P, T), of shifts t = (x, y) in pixels, (T, 2)."""
        shifts = np.asarray(shifts, float)
        return np.exp(-1j * (self.kx[:, None] * shifts[:, 0] + self.ky[:, None] * shifts[:, 1])).astype(np.complex64)

    def power_of_rings(self, samples):
        """Share (B, rings) of every ring in the squared norms of images given by complex samples (B, P)."""
        power = (samples.real.astype(float) ** 2 + samples.imag.astype(float) ** 2) * self.share
        return np.add.reduceat(power, self.points[:-1], axis=1)


def _ring_tables(highest, each, phi):
    """Matrices of one ring, samples to harmonics and back, for ``each`` even ones, and the same for odd ones."""
    pieces = []
    for q in (2 * np.arange(each), 2 * np.arange(each) + 1):
        angle, epsilon = np.outer(phi, q), np.where(q == 0, 1.0, 2.0)
        cos, sin = (np.where(q <= highest, wave(angle), 0) for wave in (np.cos, np.sin))
        parts = (cos, -sin) if q[0] == 0 else (sin, cos)
        expand = np.concatenate(parts, 1) / len(phi)
        back = np.concatenate([part * epsilon for part in parts], 1).T
        pieces += [np.ascontiguousarray(expand, np.float32), np.ascontiguousarray(back, np.float32)]
    return pieces


def _ring_metric(weight, each):
    """Weights of one ring's harmonics in an inner product: q < 0 is counted with q > 0."""
    metric = np.full((4, each), 2 * weight, np.float32)
    metric[:2, 0] = weight
    return metric.ravel()
