"""What happens to an image between file and screen: contrast, alignment, low-pass filter.  No Qt here."""
import numpy as np
from scipy import ndimage

from ...programs.geometry import pose_matrix

TAILS = (0.2, 99.8)      # per cent of the pixels left of black and right of white


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
