"""What the model leaves unexplained of every image, in units of the noise: for images that fit it, normal numbers.

The residual of an image X is (X - r C T A) / s: less the class average A in the image's pose T, seen through its CTF C
and at its grey scale r, over the standard deviation s of the noise.  It is taken at the coefficients of the discrete
Fourier transform of the masked image that the model describes, one of each pair k, -k; real and imaginary parts are
numbers of their own.
"""
from functools import cached_property

import finufft
import numpy as np
from scipy import fft
from scipy.special import kolmogorov, ndtr

from .formats.whole import whole_file
from .geometry import pose_matrix

TOGETHER = 256                          # images
EDGES = np.linspace(-5, 5, 101)         # of the histogram
NUFFT_EPS = 1e-5


class Residuals:
    """Of the images of ``source`` with CTFs ``optics`` (:class:`.engine.spectral_pass.Optics`), under a model.

    model: :class:`.engine.spectral.SpectralModel`; particles: :class:`.engine.em.Particles`, poses and grey scales.
    """

    def __init__(self, source, optics, model, particles):
        self.source, self.optics, self.model, self.particles = source, optics, model, particles
        disk = model.disk
        # of a box that just holds the circle: in a larger one, neighbouring coefficients would say the same
        self.side = side = min(source.size, int(np.ceil(max(2 * np.ceil(disk.radius), 1 / disk.maxres))))
        last = (side - 1) // 2          # coefficients at Nyquist have no partner
        y, x = np.mgrid[-last : last + 1, : last + 1]
        radius = np.hypot(x, y) / side
        used = ((x > 0) | (y > 0)) & (radius <= disk.maxres + 1e-9) & (radius >= model.lowest)
        self._index = y[used], x[used]
        self.wave = 2 * np.pi / side * np.stack([x[used], y[used]])                 # (2, P)
        self.radius, self._azimuth = radius[used], np.arctan2(y[used], x[used])
        noise = np.stack([np.interp(2 * np.pi * self.radius, disk.k, one) for one in model.spectra])
        self._deviation = np.sqrt(noise * disk.circle.sum() / 2)                    # (G, P)
        # neighbours still overlap by the corners that the circle lacks: with so many independent numbers, one in 20
        # images of noise has a probability below 1/20
        self.independent = 2 * len(self.radius) * np.sqrt(disk.circle.sum() / side**2)

    @cached_property
    def _averages(self):
        return self.model.images().astype(np.complex64)

    def __len__(self):
        return self.source.count

    def __call__(self, rows):
        """float32 (B, 2, P): real and imaginary parts at P frequencies, ``radius`` (P,) in 1/px."""
        start = self.source.size // 2 - self.side // 2
        box = slice(start, start + self.side)
        images = np.where(self.model.disk.circle, self.source.read(rows), 0)[:, box, box]
        found = fft.rfft2(fft.ifftshift(images, axes=(1, 2)))[:, self._index[0], self._index[1]]
        found = (found - self._expected(rows)) / self._deviation[self.optics.group[rows]]
        return np.stack([found.real, found.imag], 1).astype(np.float32)

    def chunks(self):
        """The residuals of all images, in order, some at a time; nothing when the band holds no coefficient."""
        for start in range(0, len(self) if len(self.radius) else 0, TOGETHER):
            yield self(np.arange(start, min(start + TOGETHER, len(self))))

    def _expected(self, rows):
        """What the images would be without noise, complex (B, P): r C exp(i q t) A(q), q = M k in the class's frame."""
        p = self.particles
        pose = pose_matrix(p.psi[rows], p.shift_x[rows], p.shift_y[rows], p.flip[rows])
        wave = pose[:, :2, :2] @ self.wave                                          # (B, 2, P)
        values = np.empty((len(rows), len(self.radius)), np.complex64)
        for k in np.unique(p.ref[rows]):
            of_class = p.ref[rows] == k
            qx, qy = wave[of_class].swapaxes(0, 1).reshape(2, -1).astype(np.float32)
            values[of_class] = finufft.nufft2d2(qy, qx, self._averages[k], eps=NUFFT_EPS, isign=-1,
                                                nthreads=1).reshape(-1, len(self.radius))
        values *= np.exp(1j * np.einsum("bc,bcp->bp", pose[:, :2, 2], wave))
        if self.optics.ctf is not None:
            ctf = self.optics.ctf[rows](self.radius / self.optics.pixel_size, self._azimuth)
            values *= np.abs(ctf) if self.optics.flipped else ctf
        return values * (p.scale[rows] / self.model.scale[p.ref[rows]])[:, None]


def normality(residuals):
    """Kolmogorov-Smirnov test (N,) of every image's :class:`Residuals` against the standard normal distribution.

    The probability that an image which the model describes lies as far from it: uniform between 0 and 1 for those,
    tiny for others.
    """
    if not residuals.independent:
        return np.ones(len(residuals))
    return np.concatenate([kolmogorov_smirnov(some.reshape(len(some), -1), residuals.independent)
                           for some in residuals.chunks()])


def kolmogorov_smirnov(samples, independent):
    """Probabilities (B,), of the limit of large samples, for samples (B, n) worth ``independent`` independent ones."""
    cumulated = ndtr(np.sort(samples, axis=1))
    steps = np.arange(samples.shape[1] + 1) / samples.shape[1]
    distance = np.maximum((steps[1:] - cumulated).max(1), (cumulated - steps[:-1]).max(1))
    return kolmogorov(np.sqrt(independent) * distance)


def write_histograms(residuals, prefix):
    """Tables of all :class:`Residuals`, for any plotting program: columns of numbers after lines that start with #.

    ``avg.hist.log``: the density of the residuals and that of the normal distribution.  ``resol.hist``: their mean
    and variance, 0 and 1 where the model holds, by frequency.
    """
    shell = np.rint(residuals.radius * residuals.side).astype(int)
    counts, outside = np.zeros(len(EDGES) - 1), 0
    sums = np.zeros((3, shell.max(initial=0) + 1))
    for some in residuals.chunks():
        inside = np.histogram(some, EDGES)[0]
        counts += inside
        outside += some.size - inside.sum()
        for power, total in enumerate(sums):
            total += np.bincount(shell, (some.astype(float) ** power).sum((0, 1)), len(total))
    middle, width = (EDGES[1:] + EDGES[:-1]) / 2, EDGES[1] - EDGES[0]
    every = counts.sum() + outside
    density = counts / max(every, 1) / width
    _write_table(f"{prefix}avg.hist.log", f"{outside:.0f} of {every:.0f} residuals lie outside",
                 residual=middle, density=density, normal=np.exp(-middle**2 / 2) / np.sqrt(2 * np.pi))
    seen = np.flatnonzero(sums[0])
    count, mean, square = sums[0, seen], *(sums[1:, seen] / sums[0, seen])
    _write_table(f"{prefix}resol.hist", "frequencies in 1/px", frequency=seen / residuals.side, mean=mean,
                 variance=square - mean**2, count=count)


def _write_table(path, remark, **columns):
    header = f"{remark}\n{' '.join(columns)}"
    with whole_file(path) as temporary:
        np.savetxt(temporary, np.stack(list(columns.values()), 1), fmt="%.6g", header=header)
