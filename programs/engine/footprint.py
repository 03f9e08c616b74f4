"""Footprints: features of images that do not change when a particle is turned, shifted or mirrored.

They are those of EMAN 1.  An image's autocorrelation does not know where the particle is, and turns with it; taken on
circles of radius r over half a turn (the other half is the same), and autocorrelated again along each of them, it
does not know its angle either, nor which of two mirror images it was.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import fft, sparse

from .processors import edgemean

PADDED = 1.75             # boxes; the particle's own box must fit twice, but for lags that are not used
USED = 0.75               # boxes: longest lag, nearly
FLATTENING = 1.5          # cut-off frequency in 1/box of the high-pass filter
SHORTEST = 8              # px: shorter lags tell of the noise
LEFT = 2                  # px: longer lags than all but these are used
BATCH = 64                # images worked on together


@dataclass(frozen=True)
class Footprint:
    """Makes footprints of images of side ``n``."""

    n: int

    @cached_property
    def shape(self):
        """(radii, lags): what the features of one image are of, the first index running slower."""
        return len(self._radii), self._width // 2

    def __call__(self, images, pool=map):
        """Features float32 (B, radii * lags) of images (B, n, n)."""
        starts = range(0, len(images), BATCH)
        parts = list(pool(lambda start: self._batch(images[start : start + BATCH]), starts))
        return np.concatenate([np.zeros((0, int(np.prod(self.shape))), np.float32), *parts])

    @cached_property
    def _padded(self):
        size = int(np.ceil(PADDED * self.n))
        return fft.next_fast_len(size + size % 2, real=True)

    @cached_property
    def _radii(self):
        longest = int(USED * self.n) - LEFT
        return np.arange(min(SHORTEST, max(longest // 4, 1)), longest)

    @cached_property
    def _width(self):
        """Number of angles over half a turn; even."""
        return 2 * fft.next_fast_len(int(np.pi * USED * self.n / 3))

    @cached_property
    def _filter(self):
        k = np.hypot(fft.fftfreq(self._padded)[:, None], fft.rfftfreq(self._padded))
        return (1 - np.exp(-((k * self.n / FLATTENING) ** 2))).astype(np.float32)

    @cached_property
    def _unwrap(self):
        """Sparse (radii * angles, padded^2): autocorrelations, zero lag first, on circles, times their radius."""
        angle = np.arange(self._width) * np.pi / self._width
        x, y = (self._radii[:, None] * wave(angle) for wave in (np.cos, np.sin))
        radius = np.repeat(self._radii, self._width)
        column, row = np.floor(x).astype(int), np.floor(y).astype(int)
        places, weights = [], []
        for step_y, share_y in ((0, 1 - (y - row)), (1, y - row)):
            for step_x, share_x in ((0, 1 - (x - column)), (1, x - column)):
                places.append((row + step_y) % self._padded * self._padded + (column + step_x) % self._padded)
                weights.append(share_y * share_x)
        points = np.tile(np.arange(len(radius)), 4)
        values = (np.stack(weights).reshape(4, -1) * radius).ravel()
        shape = len(radius), self._padded**2
        return sparse.csr_matrix((values, (points, np.stack(places).ravel())), shape, np.float32)

    @cached_property
    def _border(self):
        """Where in autocorrelations lags reach ``USED`` along x or y; what is there is background."""
        half = int(USED * self.n)
        y, x = np.mgrid[-half : half + 1, -half : half + 1]
        rim = np.maximum(abs(x), abs(y)) == half
        return (y[rim] % self._padded) * self._padded + x[rim] % self._padded

    def _batch(self, images):
        spectra = fft.rfft2(edgemean(images), (self._padded, self._padded))
        power = (spectra.real**2 + spectra.imag**2) * self._filter
        correlation = fft.irfft2(power, (self._padded, self._padded)).reshape(len(images), -1)
        correlation -= correlation[:, self._border].mean(1, keepdims=True)
        circles = (self._unwrap @ correlation.T).T.reshape(len(images), -1, self._width)
        waves = fft.rfft(circles, axis=-1)
        again = fft.irfft(waves.real**2 + waves.imag**2, self._width, axis=-1)[..., : self._width // 2]
        return np.ascontiguousarray(again.reshape(len(images), -1), np.float32)
