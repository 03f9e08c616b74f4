"""Where particles are in their images before anything is known of them.

Every image is compared with the rotational average of all, which has no orientation, and moved to where it fits best;
the average of the moved images is the next one's.  Penczek, Radermacher & Frank, Ultramicroscopy 40 (1992) 33, begin
their alignment in much the same way.
"""
from functools import partial

import numpy as np
from scipy import fft

from .image_filters import distances, rotational_average

ROUNDS = 4
SMOOTH = 0.15             # 1/px where the low-pass filter has fallen to 1 / e
COARSER = 2               # times as large pixels hold all that is left
BLOCK = 256               # images


def rough_centres(read, rows, n, reach, radius, pool=map, memory=np.inf):
    """Places (N, 2) = (x, y) in px from pixel n / 2, at most ``reach`` from it.

    read: rows -> images (B, n, n); rows: (N,); radius: of the particle in px.
    memory: bytes that may be used; images that do not fit are read again in every round.
    """
    m = 2 * (n // (2 * COARSER))
    scale = n / m
    low = np.exp(-((np.hypot(*_frequencies(m)) / scale / SMOOTH) ** 2))
    blocks = np.array_split(rows, -(-len(rows) // BLOCK))

    def made(block):
        return _reduced(read(block), m) * low

    fitting = int(min(len(blocks), memory // (8 * BLOCK * low.size)))
    kept = list(pool(made, blocks[:fitting]))

    def spectra(number):
        return kept[number] if number < fitting else made(blocks[number])

    def moved(number, at):
        return _sum_of_moved(spectra(number), at)

    def found(conjugate, number):
        return _places(spectra(number), conjugate, allowed)

    distance = distances(m) * scale
    disc, allowed = distance <= radius, distance <= reach
    places = [np.zeros((len(block), 2)) for block in blocks]
    for _ in range(ROUNDS):
        average = fft.irfft2(sum(pool(moved, range(len(blocks)), places)), (m, m))
        # the background's level is no part of the particle
        pattern = (rotational_average(average) - average[~disc].mean()) * disc
        # without a mean all over the box: inside the disc alone it would leave a rim that draws particles to it
        pattern -= pattern.mean()
        conjugate = np.conj(fft.rfft2(fft.ifftshift(pattern)))
        places = list(pool(partial(found, conjugate), range(len(blocks))))
    places = np.concatenate(places) * scale
    return places * np.minimum(1, reach / np.maximum(np.hypot(*places.T), 1e-9))[:, None]


def _frequencies(m):
    return fft.fftfreq(m)[:, None], fft.rfftfreq(m)


def _reduced(images, m):
    """Transforms (B, m, m / 2 + 1) of images in boxes of m larger pixels; the origin stays at pixel m / 2."""
    n = images.shape[1]
    spectra = fft.rfft2(fft.ifftshift(images, axes=(1, 2)))
    rows = np.r_[: m // 2, n - m // 2 : n]
    y, x = _frequencies(m)
    there = np.exp(-1j * np.pi * m * (y + x)) * (np.abs(y) < 0.5) * (x < 0.5)          # Nyquist has no sign
    return (spectra[:, rows, : m // 2 + 1] * there).astype(np.complex64)


def _sum_of_moved(spectra, places):
    """Transform of the sum of images with what is at their places moved to the middle."""
    y, x = _frequencies(spectra.shape[1])
    along_y = np.exp(2j * np.pi * y * places[:, 1, None, None])
    along_x = np.exp(2j * np.pi * x * places[:, 0, None, None])
    return (spectra * along_y * along_x).sum(0)


def _places(spectra, conjugate, allowed):
    """Where images correlate best with a pattern, to a fraction of a pixel: (B, 2)."""
    m = spectra.shape[1]
    correlation = fft.irfft2(spectra * conjugate, (m, m))
    best = np.where(allowed, correlation, -np.inf).reshape(len(spectra), -1).argmax(1)
    y, x = np.unravel_index(best, (m, m))
    b = np.arange(len(spectra))
    # an image that says nothing stays where it is
    x, y = (np.where(correlation[b, y, x] > correlation[:, m // 2, m // 2], at, m // 2) for at in (x, y))
    along_x = [correlation[b, y, (x + step) % m] for step in (-1, 0, 1)]
    along_y = [correlation[b, (y + step) % m, x] for step in (-1, 0, 1)]
    return np.stack([x - m // 2 + _vertices(*along_x), y - m // 2 + _vertices(*along_y)], 1)


def _vertices(before, middle, after):
    """Places (B,) of the tops of parabolas through values at -1, 0, 1."""
    bend = before + after - 2 * middle
    return np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1), 0).clip(-0.5, 0.5)
