"""Fourier transforms of many images at the same points.

A non-uniform FFT spends most of its time on finding out, for every point, which grid values to mix and how.  Where all
images are sampled at the same points this is done once: images are transformed on a finer grid, side by side in
memory, and one compiled loop interpolates in all of them at a time.  The grid is made by matrix products, which for
images of this size are as fast as FFTs and give just the part of it that is needed.
"""
import numpy as np

from .compiled import fast

TAPS = 6                   # grid values mixed along each axis
OVERSAMPLING = 1.5         # of the grid; with these two the error is below 1e-4 of an image's largest coefficient
BATCH = 32                 # images transformed together


class Sampler:
    """Fourier transforms of images of side ``n`` (even; origin at pixel n / 2) at P frequencies.

    kx, ky: (P,) in rad/px, |k| up to pi.
    """

    def __init__(self, n, kx, ky):
        grid = int(np.ceil(OVERSAMPLING * n / 2)) * 2
        beta = 0.98 * np.pi * TAPS * (1 - n / (2 * grid))
        # images are real: what lies at kx < 0 is the conjugate of what lies opposite
        self._sign = np.where(kx < 0, -1, 1).astype(np.float32)
        self._column, self._along_x = _taps(kx * self._sign, grid, beta)
        self._row, self._along_y = _taps(ky * self._sign, grid, beta)
        # columns from just below zero to just past Nyquist; rows from there to its opposite
        column, self._rows = np.arange(-TAPS // 2, grid // 2 + TAPS // 2 + 1), np.arange(grid // 2 + TAPS // 2 + 1)
        self._column += TAPS // 2
        self._row += self._rows[-1]
        x = np.arange(n) - n // 2
        correction = 1 / _transform_of_window(x / grid, beta)
        angle = 2 * np.pi / grid * np.outer(column, x)
        self._across = (np.concatenate([np.cos(angle), -np.sin(angle)]) * correction).astype(np.float32)
        y = np.arange(n // 2 + 1)
        angle, correction = 2 * np.pi / grid * np.outer(self._rows, y), correction[n // 2 :: -1]
        self._even = (np.cos(angle) * correction).astype(np.float32)
        self._odd = (np.sin(angle) * correction)[:, 1:].astype(np.float32)

    def __call__(self, images):
        """float32 (B, n, n) -> float32 (2, P, B): real and imaginary parts."""
        parts = []
        for start in range(0, len(images), BATCH):
            spectra = self._spectra(images[start : start + BATCH])
            parts.append(np.empty((2, len(self._row), spectra.shape[-1]), np.float32))
            _interpolate(spectra, self._row, self._column, self._along_y, self._along_x, self._sign, parts[-1])
        return np.concatenate(parts, 2)

    def _spectra(self, images):
        """Transforms on the grid, image last: float32 (rows, 2, columns, B)."""
        h = images.shape[1] // 2
        lines = np.matmul(self._across, images.transpose(1, 2, 0))                  # (n, 2 columns, B)
        # cosines see what is even in y, sines what is odd
        odd, even = np.empty((h, *lines.shape[1:]), np.float32), np.empty((h + 1, *lines.shape[1:]), np.float32)
        np.add(lines[h + 1 :], lines[h - 1 : 0 : -1], out=even[1:-1])
        np.subtract(lines[h + 1 :], lines[h - 1 : 0 : -1], out=odd[:-1])
        even[0], even[-1] = lines[h], lines[0]
        np.negative(lines[0], out=odd[-1])
        shape = len(self._rows), 2, len(self._across) // 2, len(images)
        even = (self._even @ even.reshape(h + 1, -1)).reshape(shape)
        odd = (self._odd @ odd.reshape(h, -1)).reshape(shape)
        out = np.empty((2 * shape[0] - 1, *shape[1:]), np.float32)
        middle = shape[0] - 1
        np.add(even[:, 0], odd[:, 1], out=out[middle:, 0])
        np.subtract(even[:, 1], odd[:, 0], out=out[middle:, 1])
        np.subtract(even[:, 0], odd[:, 1], out=out[middle::-1, 0])
        np.add(even[:, 1], odd[:, 0], out=out[middle::-1, 1])
        return out


def _taps(k, grid, beta):
    """First grid index (P,) and weights float32 (P, TAPS) of frequencies k (P,) in rad/px."""
    place = k * grid / (2 * np.pi)
    first = np.ceil(place - TAPS / 2).astype(np.int64)
    distance = (first[:, None] + np.arange(TAPS) - place[:, None]) * 2 / TAPS
    weight = np.i0(beta * np.sqrt(np.maximum(1 - distance**2, 0)))
    return first, weight.astype(np.float32)


def _transform_of_window(x, beta):
    """Fourier transform of the Kaiser-Bessel window of :func:`_taps` at positions x in units of the grid's side."""
    z = np.sqrt((beta**2 - (np.pi * TAPS * x) ** 2).astype(complex))
    return (TAPS * np.sinh(z) / z).real


@fast
def _interpolate(grid, row, column, along_y, along_x, sign, out):
    """grid: (rows, 2, columns, B).  sign: (P,) of the imaginary parts.  out: (2, P, B) to fill."""
    lanes = grid.shape[3]
    total = np.empty(lanes, np.float32)
    for p in range(len(row)):
        w, c = along_x[p], column[p]
        for part in range(2):
            total[:] = 0
            for a in range(TAPS):
                line, y = grid[row[p] + a, part], along_y[p, a]
                w0, w1, w2, w3, w4, w5 = y * w[0], y * w[1], y * w[2], y * w[3], y * w[4], y * w[5]
                for i in range(lanes):
                    total[i] += (w0 * line[c, i] + w1 * line[c + 1, i] + w2 * line[c + 2, i]
                                 + w3 * line[c + 3, i] + w4 * line[c + 4, i] + w5 * line[c + 5, i])
            s = sign[p] if part == 1 else np.float32(1)
            for b in range(lanes):
                out[part, p, b] = s * total[b]
