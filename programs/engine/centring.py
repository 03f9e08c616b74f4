"""Where the particle is in a class average: (x, y) in px from pixel n / 2, by the names of the original's processors.

Fractions of a pixel are kept: averages are made again with shifted particles, not by shifting their pixels.  An image
that says nothing of where its particle is, one without contrast, counts as centred.
"""
import numpy as np
from scipy import ndimage

from .image_filters import centre_of_mass, correlation_centre, distances
from .processors import circlemean, highpass_gauss, lowpass_gauss, soft_disc

FLATTENING = 3            # Fourier pixels: what varies more slowly is background
SMOOTH = 0.1              # 1/px, of the squared contrast
EDGE = 2                  # px: width of the mask's edge
AREA = 0.1                # of the box: what a particle covers, if not less
PEAKS = 5                 # highest ones that may mark the particle
FAIR = 0.5                # height, to the highest, of a peak that counts
CONNECTED = 0.9           # of the threshold: level at which regions hang together
MIDDLE = 0.1              # of the box: radius of the disc where a particle is expected
DENOISING = 0.15          # 1/px, of the image


def contrast_centre(image):
    """Centre of the regions that are richest in contrast, bright or dark."""
    n = len(image)
    contrast = _flat(highpass_gauss(np.asarray(image, np.float32)[None], FLATTENING), soft_disc(n, -3 * EDGE, EDGE))
    energy = lowpass_gauss(contrast[None] ** 2, SMOOTH)[0]
    background = np.median(energy[distances(n) <= n / 2])
    threshold = min(np.quantile(energy, 1 - AREA), (background + energy.max()) / 2)
    regions, _ = ndimage.label(energy > CONNECTED * threshold)
    near = regions[distances(n) <= MIDDLE * n]
    chosen = np.union1d(near, regions[_peaks(energy, threshold)])
    return centre_of_mass(np.isin(regions, chosen[chosen > 0]).astype(float))


def mass_centre(image):
    """Centre of mass of what is brighter than the background, by one standard deviation at least."""
    n = len(image)
    bright = _flat(np.asarray(image, np.float32)[None], soft_disc(n))
    # what is less bright may be noise
    spread = bright[distances(n) <= n / 2].std()
    return centre_of_mass(np.maximum(bright - spread, 0).astype(float))


def symmetry_centre(image):
    """Point about which the image, turned by half a turn, is most like itself: the peak of its self-convolution.

    It is found when it is less than a quarter of the box away from the middle.
    """
    n = len(image)
    flat = _flat(np.asarray(image, np.float32)[None], soft_disc(n))
    # a point c off the middle gives a peak 2 c off it
    turned = np.roll(flat[::-1, ::-1], 1 - n % 2, (0, 1))
    x, y = correlation_centre(flat, turned) if flat.any() else (0, 0)
    return x / 2, y / 2


def no_centre(image):
    """(0, 0): the average stays where it is."""
    return 0.0, 0.0


CENTRES = {
    "xform.center": contrast_centre,
    "xform.centerofmass": mass_centre,
    "xform.centeracf": symmetry_centre,
    "nocenter": no_centre,
}


def centre(name, image):
    """(x, y) in px of the particle in an average (n, n), by the method of that name."""
    return CENTRES[name](image)


def _flat(images, mask):
    """The first of images (1, n, n), with less noise, its background 0, inside a mask."""
    return circlemean(lowpass_gauss(images, DENOISING))[0] * mask


def _peaks(energy, threshold):
    """Index arrays of the highest local maxima above a threshold."""
    top = (energy == ndimage.maximum_filter(energy, 3)) & (energy > max(threshold, FAIR * energy.max()))
    rows, columns = np.nonzero(top)
    order = np.argsort(-energy[rows, columns], kind="stable")[:PEAKS]
    return rows[order], columns[order]
