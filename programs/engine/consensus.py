"""Class averages among each other: turned alike, put in an order in which neighbours look alike, some chosen."""
import numpy as np

from .image_filters import rotational_average
from .matching import match
from .poses2d import Poses

STRUCTURE, DETAIL = 150.0, 25.0         # Å: between them is what counts as contrast, beyond it noise
WITHOUT_SIZE = 5.0                      # Å/px taken where the pixel size is not known


def aligned_to_each_other(search, images, reach, pool=map):
    """:class:`.poses2d.Poses` (K,) of images (K, n, n) in which they lie alike, and the order they were aligned in.

    Every image is aligned to every other one; the one most like the others stays as it is, and of the rest the one
    most like any that is done follows it, until all are done: a maximum spanning tree.
    """
    count = len(images)
    poses, order = Poses.at(np.zeros((count, 2))), [0]
    if count == 1:
        return poses, np.array(order)
    views = search.views(images.astype(np.float32))
    image, ref = (index.ravel() for index in np.indices((count, count)))
    other = image != ref
    image, ref = image[other], ref[other]
    limits = np.tile([-reach, reach], (count, 2)).astype(float)
    best = match(search, views, images, image, ref, limits, pool, other=False)[0]
    score = np.zeros((count, count))
    score[image, ref] = best.score
    pair = np.zeros((count, count), int)
    pair[image, ref] = np.arange(len(image))
    found = Poses.shifted(best.mirrored, best.psi, best.x, best.y, np.zeros((len(image), 2)))
    order = [int((score + score.T).sum(0).argmax())]
    waiting = np.ones(count, bool)
    waiting[order] = False
    while waiting.any():
        left = np.flatnonzero(waiting)
        at, to = np.unravel_index(score[np.ix_(left, order)].argmax(), (len(left), len(order)))
        new, old = left[at], order[to]
        # the new image in the old one's frame, and from there in the common one
        poses.put([new], found.take([pair[new, old]]).after(poses.take([old])))
        order.append(int(new))
        waiting[new] = False
    return poses, np.array(order)


def in_a_chain(likeness, first):
    """An order (K,) from ``first`` on, in which each follows the one it is most like; likeness: (K, K)."""
    order, waiting = [int(first)], np.ones(len(likeness), bool)
    waiting[first] = False
    while waiting.any():
        order.append(int(np.where(waiting, likeness[order[-1]], -np.inf).argmax()))
        waiting[order[-1]] = False
    return np.array(order)


def most_different(likeness, quality, count, allowed):
    """Up to ``count`` images, the best first, each next one the least like those already chosen.

    likeness: (K, K); quality: (K,), of which only the better third (or ``count`` + 2, if that is more) is considered;
    allowed: bool (K,).
    """
    ranked = np.argsort(np.where(allowed, -quality, np.inf), kind="stable")
    ranked = ranked[: max(len(quality) // 3, count + 2)]
    ranked = ranked[allowed[ranked]]
    chosen = list(ranked[:1])
    while len(chosen) < min(count, len(ranked)):
        nearest = likeness[np.ix_(ranked, chosen)].max(1)
        nearest[np.isin(ranked, chosen)] = np.inf
        chosen.append(ranked[nearest.argmin()])
    return np.array(chosen, int)


def contrast(images, mask, pixel_size=None):
    """(K,) mean Fourier amplitude of images (K, n, n) between 150 and 25 Å over that at higher frequencies.

    Their rotational averages are left out: what is round has no orientation.
    """
    size = pixel_size or WITHOUT_SIZE
    n = images.shape[-1]
    frequency = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)) / size
    high = min(1 / DETAIL, 0.25 / size)
    structure, detail = (frequency > 1 / STRUCTURE) & (frequency <= high), (frequency > high) & (frequency < 0.5 / size)
    if not structure.any():
        structure = (frequency > 0) & (frequency <= max(high, 1.01 / (n * size)))
    values = []
    for image in images:
        spectrum = np.abs(np.fft.rfft2((image - rotational_average(image)) * mask))
        values.append(spectrum[structure].mean() / max(spectrum[detail].mean(), np.finfo(float).tiny))
    return np.array(values)
