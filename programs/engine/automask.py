"""Masks that follow the particle of a class average."""
import numpy as np
from scipy import ndimage

from .image_filters import distances
from .processors import FLAT, lowpass_gauss, soft_disc

DENOISING = 0.12          # 1/px
MIDDLE = 0.25             # of the box: radius of the disc that the particle reaches into
SMALLEST = 0.01           # of the box's area; less is no particle
GROWN = 1 / 24            # of the box: how far the mask goes beyond the particle's rim, at least 2 px
SOFT = 1 / 24             # of the box: width of its edge, at least 2 px
BINS = 128                # of the histogram of grey values


def automask(image):
    """Mask (n, n), 0 ... 1, of the particle in an average (n, n) where it is brighter than the background.

    The image is low-pass filtered and split into bright and dark at the value between whose sides grey values vary
    least.  The largest bright region of those that reach into the middle of the box, its holes filled, is the
    particle; it grows by a margin and gets a soft edge, exp(-(distance / width)^2).  Where no such region is, or one
    too small, the mask is the soft disc that fits the box.
    """
    n = len(image)
    smooth = lowpass_gauss(np.asarray(image, np.float32)[None], DENOISING)[0]
    inside = distances(n) <= n / 2
    bright = (smooth > _split(smooth[inside])) & inside & (np.ptp(smooth) > FLAT * np.abs(smooth).max())
    region = _particle(bright, distances(n) <= MIDDLE * n)
    if region.sum() < SMALLEST * n**2:
        return soft_disc(n)
    margin, width = max(2, GROWN * n), max(2, SOFT * n)
    away = ndimage.distance_transform_edt(~region)
    return np.exp(-(np.maximum(away - margin, 0) / width) ** 2)


def _particle(bright, middle):
    """The largest connected region of those that reach into the middle, without holes."""
    regions, count = ndimage.label(bright)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    reaching = np.setdiff1d(regions[middle], 0)
    if not len(reaching):
        return np.zeros_like(bright)
    return ndimage.binary_fill_holes(regions == reaching[sizes[reaching].argmax()])


def _split(values):
    """The value that splits a histogram into two parts with the least variance inside (Otsu's threshold)."""
    count, edges = np.histogram(values, BINS)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(count)[:-1]
    above, sums = len(values) - below, np.cumsum(count * middle)
    between = below * above * (sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)) ** 2
    return edges[1:-1][between.argmax()]
