"""An order of images in which neighbours look alike, however they are turned or mirrored.  No Qt here."""
import numpy as np
from scipy import fft, ndimage

from ...programs.engine import image_filters as filters
from . import imaging

SIDE, ANGLES, BLOCK = 32, 64, 64        # px that images are reduced to, angles on a ring, images compared at a time
LEAST_GAIN = 1e-6                       # of the path's length that a change must gain


def similarities(images):
    """How much images are alike: correlations (K, K) at the best rotation and mirror, 1 on the diagonal.

    images: (K, n, n).  They are reduced to 32 px, where what is fine and noisy is gone, centred on their bright part,
    and compared inside the circle in the box, all rotations at once by Fourier transforms around it.
    """
    rings = np.stack([_rings(_reduced(np.asarray(image, np.float32))) for image in images])
    waves = np.ascontiguousarray(fft.rfft(rings, axis=-1).transpose(2, 0, 1))         # (Q, K, R)
    count = waves.shape[1]
    alike = np.empty((count, count), np.float32)
    for start in range(0, count, BLOCK):
        some = slice(start, min(start + BLOCK, count))
        # a mirror image runs round the rings the other way, which conjugates
        best = [fft.irfft(waves[:, some] @ other.transpose(0, 2, 1), ANGLES, axis=0).max(axis=0)
                for other in (waves[:, start:].conj(), waves[:, start:])]
        alike[some, start:] = np.maximum(*best)
        alike[start:, some] = alike[some, start:].T
    return np.clip(alike, -1, 1)


def chain(alike):
    """An order (K,) in which neighbours are alike: a path through all whose steps 1 - ``alike`` are short in sum.

    Going to the nearest that is left makes a first path; then stretches of it are turned round as long as that makes
    it shorter.
    """
    distance = 1 - np.asarray(alike, float)
    path = _nearest(distance)
    while True:
        length = _length(distance, path)
        path = _turned(distance, path)
        if _length(distance, path) > length - LEAST_GAIN * max(length, 1):
            return path


def places(alike, sizes=None):
    """Places (K,) from 0 in an order in which neighbours are alike, given how much all are, (K, K).

    sizes: (K,) decide which end comes first: that with the larger.
    """
    count = len(alike)
    order = chain(alike) if count > 2 else np.arange(count)
    if sizes is not None:
        ranked = np.nan_to_num(np.asarray(sizes, float))[order]
        if ranked[:count // 2].sum() < ranked[-(count // 2):].sum():
            order = order[::-1]
    found = np.empty(count, int)
    found[order] = np.arange(count)
    return found


def _reduced(image):
    """An image (n, n) as one of at most 32 px, its bright part centred."""
    x, y = imaging.bright_centre(image)
    small = imaging.reduced(image, SIDE)
    return filters.shifted(small, -x * len(small) / len(image), -y * len(small) / len(image))


def _rings(image):
    """Samples (R, angles) on rings about the origin, without their mean, each ring weighted by its area, norm 1."""
    half = len(image) // 2
    radius, angle = np.arange(1, half)[:, None], 2 * np.pi * np.arange(ANGLES) / ANGLES
    samples = ndimage.map_coordinates(image, [half + radius * np.sin(angle), half + radius * np.cos(angle)], order=3)
    samples = (samples - np.average(samples, weights=np.broadcast_to(radius, samples.shape))) * np.sqrt(radius)
    # irfft divides by the number of angles, and so the waves' products add up to a correlation
    return (samples / max(np.linalg.norm(samples), np.finfo(np.float32).tiny)).astype(np.float32)


def _nearest(distance):
    """From the one that is most unlike the others, always on to the nearest that is left."""
    left = np.ones(len(distance), bool)
    path = [int(distance.sum(axis=0).argmax())]
    left[path[0]] = False
    while left.any():
        path.append(int(np.where(left, distance[path[-1]], np.inf).argmin()))
        left[path[-1]] = False
    return np.array(path)


def _turned(distance, path):
    """The path after one go through all stretches, turning round those whose turn makes it shorter.

    The path's ends are free: a step to nowhere, before the first and after the last, costs nothing.
    """
    count = len(path)
    for start in range(count - 1):
        ends = np.arange(start + 1, count)
        here, there, after = path[start], path[ends], path[np.minimum(ends + 1, count - 1)]
        has_after = ends < count - 1
        old = np.where(has_after, distance[there, after], 0)
        new = np.where(has_after, distance[here, after], 0)
        if start:
            old = old + distance[path[start - 1], here]
            new = new + distance[path[start - 1], there]
        gain = old - new
        best = int(gain.argmax())
        if gain[best] > 1e-12:
            stretch = slice(start, int(ends[best]) + 1)
            path[stretch] = path[stretch][::-1].copy()
    return path


def _length(distance, path):
    return float(distance[path[:-1], path[1:]].sum())
