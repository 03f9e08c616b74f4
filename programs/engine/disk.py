"""Images <-> angular harmonics on a disk of frequencies.

An image is sampled in Fourier space on rings (Gauss-Legendre radii) and uniform angles, and expanded along each ring:

    x_q(k) = 1/M sum_m X(k, phi_m) exp(-i q phi_m).

In this basis a rotation by psi multiplies harmonic q by exp(-i q psi), the mirror y -> -y maps a_q to
(-1)^q conj(a_q), and inner products are sums with the quadrature weights.  A real image has
x_{-q} = (-1)^q conj(x_q), so q >= 0 suffices.

**Layout.**  Harmonics are stored as float32 arrays (..., 2, bins, width): real and imaginary parts; one bin for each
frequency m = 0 ... n_psi/2 of the angular grid, holding all (q, ring) pairs whose q folds onto m (q = m mod n_psi, or
q = -m mod n_psi, whose ``sign`` is -1).  One batched matrix product over the bins then scores images against
templates with the folding already done.  (q, ring) pairs where the Bessel function J_q(k R) has died away are left
out; bins are padded to equal width with entries of weight zero (``widths`` says how many of a bin are in use).
"""
import math
from copy import copy
from functools import cached_property

import finufft
import numpy as np

NUFFT_EPS = 1e-5          # relative error of the non-uniform FFT (single precision reaches about 1e-6)


class Disk:
    """Harmonics of images of side ``n`` inside a circle, for frequencies up to ``maxres``.

    n: image side in pixels; origin at pixel n // 2.
    maxres: highest frequency in 1/pixel (0.5 is Nyquist).
    n_psi: number of in-plane rotations (even) that scores are wanted for.
    radius: of the circle that holds the particle, in pixels; everything outside is left out.
    """

    xp = np                    # the module whose arrays :meth:`expand` and :meth:`synthesize` take and give

    def __init__(self, n, maxres, n_psi, radius=None):
        if n_psi % 2:
            raise ValueError(f"n_psi must be even, got {n_psi}")
        self.n, self.maxres, self.n_psi = n, float(maxres), n_psi
        self.radius = n / 2 if radius is None else min(float(radius), n / 2)
        kmax = 2 * np.pi * self.maxres
        y, x = np.mgrid[:n, :n] - n // 2
        self.circle = x**2 + y**2 < self.radius**2
        # real degrees of freedom of noise in this circle and band
        self.dimension = max(np.pi * kmax**2 / (2 * np.pi) ** 2 * self.circle.sum(), 1.0)

        # 0.4 k R + 6 rings integrate products of two images of this circle to about 2e-4
        z, w = np.polynomial.legendre.leggauss(int(np.ceil(0.4 * kmax * self.radius)) + 6)
        self.k = (z + 1) / 2 * kmax
        self.weight = w / 2 * kmax * self.k / (2 * np.pi)
        self.q_max = int(np.ceil(kmax * self.radius + 2 * (kmax * self.radius) ** (1 / 3) + 1))
        # angles enough for a reference shifted by a dozen pixels; half the circle, the rest follows by symmetry
        self.n_phi = 2 * (int(np.ceil(kmax * (self.radius + 12) + self.q_max)) // 2 + 1)
        self.phi = np.arange(self.n_phi // 2) * 2 * np.pi / self.n_phi
        self.kx = self.k[:, None] * np.cos(self.phi)
        self.ky = self.k[:, None] * np.sin(self.phi)
        self._set_layout()
        self._set_angular_transforms()

    def held_by(self, xp):
        """The same disk for arrays of another module, in :meth:`expand` and :meth:`synthesize`."""
        twin = copy(self)
        twin.xp = xp
        for name in ("_from_real", "_from_imag", "_to_real", "_to_imag", "_gather", "_scatter"):
            setattr(twin, name, xp.asarray(getattr(self, name)))
        return twin

    @property
    def bins(self):
        return self.n_psi // 2 + 1

    @property
    def width(self):
        return self.sign.shape[1]

    @cached_property
    def runs(self):
        """Slices of neighbouring bins with as many entries, and that number: what products need not go beyond."""
        ends = np.flatnonzero(np.diff(self.widths, append=-1)) + 1
        return [(slice(start, end), int(self.widths[start])) for start, end in zip([0, *ends[:-1]], ends)]

    @property
    def shape(self):
        """Shape (2, bins, width) of one image's harmonics."""
        return (2, *self.sign.shape)

    # ---- the layout ------------------------------------------------------------------------------------------

    def _set_layout(self):
        q, ring = np.meshgrid(np.arange(self.q_max + 1), np.arange(len(self.k)), indexing="ij")
        reach = self.k * self.radius
        alive = q <= reach[ring] + 2 * reach[ring] ** (1 / 3) + 1
        q, ring = q[alive], ring[alive]
        m = q % self.n_psi
        folded = np.minimum(m, self.n_psi - m)
        sign = np.where(m > self.n_psi // 2, -1, 1)
        order = np.lexsort((ring, q, folded))
        q, ring, sign, folded = q[order], ring[order], sign[order], folded[order]
        counts = np.bincount(folded, minlength=self.bins)
        slot = np.arange(len(q)) - np.repeat(np.cumsum(counts) - counts, counts)
        self.widths = -(-counts // 8) * 8                 # of each bin; multiples of the vector length
        width = int(self.widths.max())
        self.used = folded * width + slot                 # place of each (q, ring) pair in the flat layout
        self.q, self.ring = q, ring
        self.sign = np.ones((self.bins, width), np.float32)
        self.sign.flat[self.used] = sign
        # weight of each entry in an inner product: quadrature, and q < 0 counted with q > 0
        self.metric = np.zeros((self.bins, width), np.float32)
        self.metric.flat[self.used] = self.weight[ring] * np.where(q == 0, 1, 2)
        self.parity = np.where(np.arange(self.bins) % 2, -1, 1).astype(np.float32)     # (-1)^q of a bin

    def _set_angular_transforms(self):
        """Matrices between half-circle samples p and harmonics: even q come from Re p, odd q from Im p."""
        q = np.arange(self.q_max + 1)
        angle = np.outer(self.phi, q)
        even = q % 2 == 0
        cos, sin = np.cos(angle), np.sin(angle)
        real = np.concatenate([np.where(even, cos, 0), np.where(even, -sin, 0)], 1)
        imag = np.concatenate([np.where(even, 0, sin), np.where(even, 0, cos)], 1)
        used_q = np.concatenate([np.flatnonzero(even), np.flatnonzero(even) + len(q)])
        odd_q = np.concatenate([np.flatnonzero(~even), np.flatnonzero(~even) + len(q)])
        self._columns = np.argsort(np.concatenate([used_q, odd_q]))
        factor = 2 / self.n_phi
        self._from_real = np.ascontiguousarray(real[:, used_q] * factor, np.float32)
        self._from_imag = np.ascontiguousarray(imag[:, odd_q] * factor, np.float32)
        epsilon = np.where(q == 0, 1.0, 2.0)
        self._to_real = np.ascontiguousarray((real * np.tile(epsilon, 2)).T[used_q], np.float32)
        self._to_imag = np.ascontiguousarray((imag * np.tile(epsilon, 2)).T[odd_q], np.float32)
        self._split = len(used_q)
        # flat positions in the (rings, 2 (q_max + 1)) table of the layout's real and imaginary parts
        stride = 2 * len(q)
        self._gather = np.concatenate([self.ring * stride + self._columns[self.q],
                                       self.ring * stride + self._columns[self.q + len(q)]])
        size = self.bins * self.width
        self._scatter = np.concatenate([self.used, self.used + size])

    # ---- images <-> polar samples ----------------------------------------------------------------------------

    def polar(self, images):
        """Fourier transform of ``images`` (B, n, n), masked to the circle, at the rings: (B, rings, n_phi / 2)."""
        masked = np.where(self.circle, images, 0).astype(np.complex64)
        samples = finufft.nufft2d2(self.ky.ravel().astype(np.float32), self.kx.ravel().astype(np.float32), masked,
                                   eps=NUFFT_EPS, isign=-1, nthreads=1)
        return samples.reshape(len(images), *self.kx.shape)

    def images(self, polar):
        """Adjoint of :meth:`polar` in the quadrature's metric: (B, rings, n_phi / 2) to (B, n, n) in the circle."""
        weighted = polar * (2 * self.weight / self.n_phi)[:, None]
        images = finufft.nufft2d1(self.ky.ravel().astype(np.float32), self.kx.ravel().astype(np.float32),
                                  weighted.reshape(len(polar), -1).astype(np.complex64), (self.n, self.n),
                                  eps=NUFFT_EPS, isign=1, nthreads=1)
        return np.where(self.circle, images.reshape(len(polar), self.n, self.n).real, 0).astype(np.float32)

    # ---- polar samples <-> harmonics -------------------------------------------------------------------------

    def expand(self, polar):
        """Harmonics (B, 2, bins, width) of polar samples (B, rings, n_phi / 2)."""
        xp = self.xp
        table = xp.concatenate([xp.ascontiguousarray(polar.real) @ self._from_real,
                                xp.ascontiguousarray(polar.imag) @ self._from_imag], axis=-1)
        flat = xp.zeros((len(polar), 2 * self.bins * self.width), np.float32)
        flat[:, self._scatter] = xp.take(table.reshape(len(polar), math.prod(table.shape[1:])), self._gather, axis=1)
        return flat.reshape(len(polar), *self.shape)

    def synthesize(self, harmonics):
        """Polar samples (B, rings, n_phi / 2) of harmonics (B, 2, bins, width): the adjoint of :meth:`expand`."""
        count, xp = len(harmonics), self.xp
        table = xp.zeros((count, len(self.k) * 2 * (self.q_max + 1)), np.float32)
        table[:, self._gather] = xp.take(harmonics.reshape(count, math.prod(self.shape)), self._scatter, axis=1)
        table = table.reshape(count, len(self.k), 2 * (self.q_max + 1))
        polar = xp.empty((count, *self.kx.shape), np.complex64)
        polar.real[...] = table[..., : self._split] @ self._to_real
        polar.imag[...] = table[..., self._split :] @ self._to_imag
        return polar

    def harmonics(self, images):
        """Harmonics (B, 2, bins, width) of images (B, n, n)."""
        return self.expand(self.polar(images))

    def power(self, harmonics):
        """Squared norm, float64 (B,), of harmonics (B, 2, bins, width): the image's sum of squares in the band."""
        return np.einsum("bcmj,bcmj,mj->b", harmonics, harmonics, self.metric, dtype=np.float64, optimize=False)

    def by_ring(self, values):
        """Factors (bins, width), float32, that multiply every harmonic on a ring by its value (rings,)."""
        factors = np.zeros(self.sign.shape, np.float32)
        factors.flat[self.used] = values[self.ring]
        return factors

    # ---- rotations and shifts --------------------------------------------------------------------------------

    def turned(self, harmonics, psi, mirrored):
        """Harmonics (B, 2, bins, width) of images turned by psi (B,) radians, then (where ``mirrored``) y -> -y."""
        q = np.zeros(self.sign.shape)
        q.flat[self.used] = self.q
        z = (harmonics[:, 0] + 1j * harmonics[:, 1]) * np.exp(-1j * np.asarray(psi)[:, None, None] * q)
        z = np.where(np.asarray(mirrored)[:, None, None], np.where(q % 2, -1, 1) * z.conj(), z)
        return np.stack([z.real, z.imag], 1).astype(np.float32)

    def phase(self, shifts):
        """exp(-i k t), complex64 (T, rings, n_phi / 2), of shifts t = (x, y) in pixels, (T, 2)."""
        shifts = np.asarray(shifts, np.float32)
        angle = shifts[:, :1, None] * self.kx.astype(np.float32) + shifts[:, 1:, None] * self.ky.astype(np.float32)
        return np.exp(-1j * angle)

    def shifted(self, polar, phase):
        """Harmonics (T, 2, bins, width) of one image's polar samples (rings, n_phi / 2) moved by each shift."""
        return self.expand(polar * phase)

    def unshifted(self, sums, phase):
        """Adjoint of :meth:`shifted`: polar samples (rings, n_phi / 2), summed over shifts, of (T, 2, bins, width)."""
        return (self.synthesize(sums) * phase.conj()).sum(0)
