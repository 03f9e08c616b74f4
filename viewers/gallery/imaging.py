"""What happens to an image between file and screen: contrast, alignment, centring, low-pass filter.  No Qt here."""
from functools import lru_cache

import numpy as np
from scipy import fft, ndimage

from ...programs.engine import image_filters as filters
from ...programs.geometry import pose_matrix

TAILS = (0.2, 99.8)      # per cent of the pixels left of black and right of white
CENTRING_SIDE = 48       # px to which images are reduced to look for their centre
SMOOTH = 16              # periods of the low-pass filter that fit in the box, before the bright part is looked for


def contrast(images):
    """Grey levels (black, white) that suit all of ``images`` (an array, or a list of arrays)."""
    pixels = np.concatenate([np.ravel(image) for image in images])
    pixels = pixels[np.isfinite(pixels)]
    low, high = np.percentile(pixels, TAILS) if pixels.size else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def to_grey(image, levels):
    """uint8 image, contiguous, with ``levels`` = (black, white) at 0 and 255; NaN is black."""
    low, high = levels
    scaled = (np.asarray(image, np.float32) - low) * (255 / (high - low))
    return np.ascontiguousarray(np.clip(np.nan_to_num(scaled), 0, 255).astype(np.uint8))


def align(image, psi, shift_x, shift_y, flip):
    """A particle in its class average's frame (see :mod:`mlalign.programs.geometry`); (n, n) in and out.

    Points from outside the box get the image's mean.
    """
    size = np.array(image.shape)
    swap = [1, 0, 2]                                     # x, y -> row, column
    inverse = np.linalg.inv(pose_matrix(psi, shift_x, shift_y, flip))[swap][:, swap]
    rotation, shift = inverse[:2, :2], inverse[:2, 2]
    centre = size // 2
    offset = centre - rotation @ centre + shift
    return ndimage.affine_transform(np.asarray(image, np.float32), rotation, offset,
                                    order=3, mode="constant", cval=float(np.mean(image)))


def low_pass(image, period):
    """Gaussian low-pass that halves the amplitude at ``period`` pixels; (n, m) in and out."""
    rows, columns = image.shape
    squared = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns) ** 2
    return np.fft.irfft2(np.fft.rfft2(image) * 0.5 ** (squared * period**2), s=image.shape).astype(np.float32)


def nice_length(longest):
    """The largest of 1, 2, 5 times a power of ten that is not above ``longest`` (for scale bars)."""
    power = 10.0 ** np.floor(np.log10(longest))
    return max(step * power for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9))


def reduced(image, side):
    """The lowest frequencies of an image (n, n), as one of at most ``side`` px, an even number; the origin stays."""
    size, half = len(image), min(side, len(image)) // 2
    low = np.r_[:half, -half:0]                         # in the order of the small transform
    waves = fft.fft2(np.nan_to_num(np.asarray(image, np.float32)))[low[:, None], low]
    to_origin = np.exp(2j * np.pi * low * (size // 2) / size)
    small = fft.ifft2(waves * (to_origin[:, None] * to_origin)).real * (2 * half / size) ** 2
    return fft.fftshift(small).astype(np.float32)


def bright_centre(image):
    """(x, y) in px from the origin of the centre of mass of an image's bright part; (0, 0) where there is none.

    image: (n, n).  The bright part is what rises, after smoothing, by more than a standard deviation above the mean
    inside the circle in the box; each pixel counts by how much it rises.
    """
    small = reduced(image, CENTRING_SIDE)
    smooth = low_pass(small, max(len(small) / SMOOTH, 2))
    inside = _inside(len(small))
    bright = filters.bright_pixels(smooth, inside)
    x, y = filters.centre_of_mass(np.where(bright, smooth - smooth[inside].mean(), 0))
    return x * len(image) / len(small), y * len(image) / len(small)


@lru_cache
def _inside(size):
    """Which pixels (n, n) are inside the circle in the box."""
    return filters.distances(size) < size // 2


def moved(image, x, y):
    """An image (n, n) moved by (x, y) px; what comes in from outside has the mean of the image's rim."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return ndimage.shift(np.asarray(image, np.float32), (y, x), order=3, mode="constant", cval=float(rim.mean()))
