"""Where particles are in their images before anything is known of them.

Every image is compared with the rotational average of all, which has no orientation, and moved to where it fits best;
the average of the moved images is the next one's.  Penczek, Radermacher & Frank, Ultramicroscopy 40 (1992) 33, begin
their alignment in much the same way.
"""
import numpy as np
from scipy import fft

from .image_filters import distances, rotational_average

ROUNDS = 4
SMOOTH = 0.15             # 1/px where the low-pass filter has fallen to 1 / e
BLOCK = 256               # images


def rough_centres(read, rows, n, reach, radius, pool=map):
    """Places (N, 2) = (x, y) in whole px from pixel n / 2, at most ``reach`` from it.

    read: rows -> images (B, n, n); rows: (N,); radius: of the particle in px.
    """
    blocks = np.array_split(rows, -(-len(rows) // BLOCK))
    low = np.exp(-((np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n)) / SMOOTH) ** 2))
    distance = distances(n)
    disc, allowed = distance <= radius, distance <= reach
    places = [np.zeros((len(block), 2)) for block in blocks]
    for _ in range(ROUNDS):
        sums = pool(lambda block, at: _sum(read(block), at, low), blocks, places)
        average = fft.irfft2(sum(sums), (n, n))
        pattern = rotational_average(average)
        pattern = (pattern - pattern[disc].mean()) * disc
        conjugate = np.conj(fft.rfft2(fft.ifftshift(pattern))) * low
        places = list(pool(lambda block: _places(read(block), conjugate, allowed), blocks))
    return np.concatenate(places)


def _sum(images, places, low):
    """Transform of the sum of images with what is at their places moved to the middle."""
    y, x = fft.fftfreq(images.shape[1])[:, None], fft.rfftfreq(images.shape[2])
    phase = np.exp(2j * np.pi * (y * places[:, 1, None, None] + x * places[:, 0, None, None]))
    return (fft.rfft2(images) * low * phase).sum(0)


def _places(images, conjugate, allowed):
    n = images.shape[1]
    correlation = fft.irfft2(fft.rfft2(images) * conjugate, (n, n))
    best = np.where(allowed, correlation, -np.inf).reshape(len(images), -1).argmax(1)
    y, x = np.unravel_index(best, (n, n))
    return np.stack([x - n // 2, y - n // 2], 1).astype(float)
