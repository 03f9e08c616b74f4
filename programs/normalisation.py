"""Normalise images: the background around every particle gets mean 0 and standard deviation 1."""
import numpy as np

from .errors import UserError
from .formats.images import open_images
from .formats.mrc import stack_writer
from .formats.star import write_star

AT_ONCE = 500           # images
FEWEST = 16             # pixels that tell a mean and a standard deviation


def write_normalised(metadata, stack, radius=None):
    """Write normalised copies of the images of ``metadata`` as the MRC stack ``stack``; make the metadata name them.

    metadata: STAR file of one block, which is written anew with its enabled rows and another column ``image``; the
    images themselves are only read.  radius: of the circle in px that holds the particle, at most half the box (None).
    Returns the number of images; raises :class:`UserError` when an image has no background to go by.
    """
    source = open_images(metadata)
    outside = background_pixels(source.size, radius)
    with stack_writer(stack, source.pixel_size) as writer:
        for first in range(0, source.count, AT_ONCE):
            rows = np.arange(first, min(first + AT_ONCE, source.count))
            writer.append(normalised(source.read(rows), outside, source.names(rows)))
    columns = dict(source.metadata.columns)
    columns["image"] = np.array([f"{number:06d}@{stack}" for number in range(1, source.count + 1)], dtype=object)
    write_star(metadata, {"particles": columns})
    return source.count


def background_pixels(size, radius=None):
    """Which pixels (size, size) lie outside the circle that holds the particle, of ``radius`` px or half the box."""
    y, x = np.mgrid[:size, :size] - size // 2
    within = size / 2 if radius is None else min(radius, size / 2)
    outside = x**2 + y**2 > within**2
    if np.count_nonzero(outside) < FEWEST:
        raise UserError(f"a radius of {within:g} px in a box of {size} px leaves {np.count_nonzero(outside)} pixels of "
                        f"background, expected at least {FEWEST}")
    return outside


def normalised(images, outside, names):
    """Images (B, n, n) less the mean of their background, in units of its standard deviation: float32.

    outside: (n, n) bool, where the background is; names: what to call each image in a message.
    """
    pixels = images[:, outside].astype(np.float64)
    mean, deviation = pixels.mean(1), pixels.std(1)
    bad = np.flatnonzero(~(deviation > 1e-6 * np.abs(mean)) | ~np.isfinite(deviation))
    if len(bad):
        i = bad[0]
        raise UserError(f"{names[i]}: its background has mean {mean[i]:.3g} and standard deviation {deviation[i]:.3g}, "
                        "expected one that varies, to normalise by it")
    return ((images - mean[:, None, None]) / deviation[:, None, None]).astype(np.float32)
