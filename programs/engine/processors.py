"""What is done to grey values of images (B, n, n) before they are compared or averaged: normalisation, masks, filters.

Every function takes float32 images, and returns new ones.  An image without contrast, for which a scale cannot be
found, becomes zero everywhere.
"""
import numpy as np
from scipy import fft

from .image_filters import distances

AXES = (1, 2)
FLAT = 1e-6               # spread of an image, relative to its largest value, that is but rounding
RIM = 2                   # px: width of the ring whose mean is the background


def normalize(images):
    """Mean 0, standard deviation 1."""
    return _divided(images, images.mean(AXES, dtype=float), _spread(images))


def edgemean(images):
    """Mean of the outermost pixels 0, standard deviation 1."""
    inside = images[:, 1:-1, 1:-1]
    rim = images[0].size - inside[0].size
    background = (images.sum(AXES, dtype=float) - inside.sum(AXES, dtype=float)) / max(rim, 1)
    return _divided(images, background, _spread(images))


def circlemean(images, radius=0):
    """Mean 0 in a ring two pixels wide, standard deviation 1.

    radius: inner radius of the ring in px; negative, from the edge of the box; 0 takes the outermost ring.
    """
    n = images.shape[-1]
    inner = radius if radius > 0 else n // 2 + (radius or -RIM)
    ring = _ring(n, inner, inner + RIM)
    return _divided(images, images[:, ring].mean(1, dtype=float), _spread(images))


def unitlen(images):
    """Sum of squares 1; the mean is kept."""
    length = np.sqrt(np.square(images, dtype=float).sum(AXES))
    return _divided(images, np.zeros(len(images)), length)


def within_mask(images, mask=None, no_sigma=False):
    """Mean 0 and, without ``no_sigma``, standard deviation 1 where a mask (n, n) is not zero.

    mask: weights of pixels; None is the largest disc in the box.
    """
    weight = disc(images.shape[-1]) if mask is None else np.asarray(mask, float)
    total = weight.sum()
    if total <= 0:
        raise ValueError("an empty mask says nothing of any image")
    mean = np.einsum("byx,yx->b", images, weight, dtype=float) / total
    if no_sigma:
        return (images - mean[:, None, None]).astype(np.float32)
    square = np.einsum("byx,yx->b", np.square(images - mean[:, None, None]), weight) / total
    return _divided(images, mean, _real_spread(images, np.sqrt(square)))


def ramp_normvar(images):
    """Less the plane nearest to the image in the sense of least squares; variance 1."""
    n = images.shape[-1]
    along = np.arange(n) - (n - 1) / 2            # its sum is 0: the three terms are orthogonal
    power = max(n * (along**2).sum(), 1)
    slope_x, slope_y = (images.sum(axis, dtype=float) @ along / power for axis in (1, 2))
    plane = (images.mean(AXES, dtype=float)[:, None, None] + slope_y[:, None, None] * along[:, None]
             + slope_x[:, None, None] * along)
    flat = images - plane
    return _divided(flat, np.zeros(len(images)), _real_spread(images, flat.std(AXES)))


def toimage(images, to):
    """Multiplied and added to so that each is as near as possible to its image in ``to`` (B, n, n) or (n, n).

    An image that goes against the other is left as it is: its contrast is not turned round.
    """
    to = np.broadcast_to(np.asarray(to, float), images.shape)
    mean, target = images.mean(AXES, dtype=float), to.mean(AXES)
    spread = _spread(images)
    cross = np.einsum("byx,byx->b", images - mean[:, None, None], to) / images[0].size
    slope = np.where(spread > 0, cross / np.where(spread > 0, spread, 1) ** 2, 0)
    fitted = (images - mean[:, None, None]) * slope[:, None, None] + target[:, None, None]
    kept = np.where((slope > 0)[:, None, None], fitted, images)
    return np.where((spread > 0)[:, None, None], kept, 0).astype(np.float32)


def gaussian_mask(images, outer_radius=0, sigma=0):
    """Times 1 within a radius, exp(-((r - radius) / sigma)^2) outside; see :func:`soft_disc`."""
    return (images * soft_disc(images.shape[-1], outer_radius, sigma)).astype(np.float32)


def sharp_mask(images, outer_radius=0):
    """Zero beyond a radius in px; negative, from the edge of the box; 0 is the largest that fits."""
    return (images * disc(images.shape[-1], outer_radius)).astype(np.float32)


def lowpass_gauss(images, cutoff_abs=0.1):
    """Times exp(-(k / cutoff)^2) at frequencies k in 1/px, of which 0.5 is the highest."""
    return _gaussian(images, cutoff_abs, high=False)


def highpass_gauss(images, cutoff_pixels=2):
    """Times 1 - exp(-(k / cutoff)^2); the cut-off in Fourier pixels, that is in 1/n px."""
    return _gaussian(images, cutoff_pixels / images.shape[-1], high=True)


# The names of the options are those of the functions' further arguments.
PROCESSORS = {
    "normalize": normalize,
    "normalize.edgemean": edgemean,
    "normalize.circlemean": circlemean,
    "normalize.unitlen": unitlen,
    "normalize.mask": within_mask,
    "normalize.ramp.normvar": ramp_normvar,
    "normalize.toimage": toimage,
    "mask.gaussian": gaussian_mask,
    "mask.sharp": sharp_mask,
    "filter.lowpass.gauss": lowpass_gauss,
    "filter.highpass.gauss": highpass_gauss,
}


def process(name, images, **options):
    """Images (B, n, n) after the processor of that name; None or "None" leaves them as they are."""
    if name in (None, "None"):
        return images
    return PROCESSORS[name](images, **options)


# ---- masks (n, n)

def disc(n, radius=0):
    """float64: 1 within a radius, else 0.  radius: px; negative, from the edge of the box; 0 is all that fits."""
    return (distances(n) <= _outer(n, radius)).astype(float)


def soft_disc(n, radius=0, width=0):
    """float64: 1 within a radius, then falling as exp(-((r - radius) / width)^2).

    radius: px; negative, from the edge of the box; 0 leaves three widths to the edge, in which the mask falls to
    1e-4.  width: px; 0 is a sixteenth of the box, at least 2.
    """
    width = width or max(2.0, n / 16)
    outer = _outer(n, radius) if radius else max(n / 2 - 3 * width, 1)
    return np.exp(-(np.maximum(distances(n) - outer, 0) / width) ** 2)


def _outer(n, radius):
    return radius if radius > 0 else n / 2 + radius


def _ring(n, inner, outer):
    distance = distances(n)
    ring = (distance >= inner) & (distance <= outer)
    return ring if ring.any() else distance >= n // 2 - 1


# ---- spreads

def _spread(images):
    """Standard deviations (B,), 0 of images that are constant but for rounding."""
    return _real_spread(images, images.std(AXES, dtype=float))


def _real_spread(images, deviation):
    """Deviations (B,) that are more than rounding, 0 for the others."""
    return np.where(deviation > FLAT * np.abs(images).max(AXES), deviation, 0)


def _divided(images, offset, scale):
    """(images - offset) / scale, with offsets and scales (B,); zero where the scale is."""
    factor = np.where(scale > 0, 1 / np.where(scale > 0, scale, 1), 0)
    return ((images - offset[:, None, None]) * factor[:, None, None]).astype(np.float32)


def _gaussian(images, cutoff, high):
    n = images.shape[-1]
    k = np.hypot(fft.fftfreq(n)[:, None], fft.rfftfreq(n))
    transfer = np.exp(-((k / cutoff) ** 2)).astype(np.float32)
    return fft.irfft2(fft.rfft2(images.astype(np.float32, copy=False)) * (1 - transfer if high else transfer), (n, n))
