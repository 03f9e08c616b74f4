"""Correlation of two images in shells of Fourier pixels, filters with a smooth edge, and where an image's centre is."""
from functools import lru_cache

import numpy as np
from scipy import fft

NOTHING = 0.1             # correlation below which a curve is taken to end
HALF = 0.5
FALLOFF = 0.2             # of the smooth edge, at most
LOW, HIGH = 0.12, 0.4     # 1/px: limits of the fitted cut-off frequency
MARGIN = 2                # px of the mask's rim whose mean is taken for the background
ROUNDS = 10               # of centring on an image's own rotational average
SETTLED = 0.05            # px


def shell_correlation(first, second):
    """Fourier correlation of images (..., n, n) in shells r = 0 ... n / 2, one Fourier pixel wide.

    Returns frequencies r / n, correlations (..., n // 2 + 1), zero where a shell is empty, and numbers of pixels.
    """
    n = first.shape[-1]
    shell = np.rint(_radius(n) * n).astype(int).ravel()
    keep = shell <= n // 2
    sums = np.zeros((keep.sum(), n // 2 + 1))
    sums[np.arange(len(sums)), shell[keep]] = 1
    f, g = (fft.fft2(image).reshape(*image.shape[:-2], -1)[..., keep] for image in (first, second))
    cross, power = (f * g.conj()).real @ sums, ((abs(f) ** 2) @ sums) * ((abs(g) ** 2) @ sums)
    curve = np.where(power > 0, cross / np.sqrt(np.where(power > 0, power, 1)), 0)
    return np.arange(n // 2 + 1) / n, curve, sums.sum(0)


def tangent_filter(frequency, cutoff, falloff):
    """Low-pass filter: about 1 below ``cutoff`` and 0 above, with an edge of relative width ``falloff``."""
    width = np.pi / (2 * falloff * cutoff)
    return (np.tanh(width * (frequency + cutoff)) - np.tanh(width * (frequency - cutoff))) / 2


def fit_tangent(frequency, correlation):
    """(cutoff, falloff) of the tangent filter nearest to what a correlation of halves (M,) says of the whole.

    A curve that never falls to one half, or starts below it, gives the highest cut-off.
    """
    whole = 2 * correlation / (1 + np.maximum(correlation, -0.5))
    ends = np.flatnonzero(whole < NOTHING)
    whole = np.where(np.arange(len(whole)) >= (ends[0] if len(ends) else len(whole)), 0, whole)
    if not (whole < HALF).any():
        return HIGH, FALLOFF
    cutoff, falloff, table = _tangent_filters(tuple(frequency))
    best = ((table**2).sum(1) - 2 * table @ whole).argmin()
    return float(cutoff[best]), float(falloff[best])


@lru_cache(maxsize=1)
def _tangent_filters(frequency):
    """Cut-offs and falloffs (F,), and the filters (F, M) of all that are tried."""
    cutoff, falloff = (values.ravel() for values in np.meshgrid(np.linspace(LOW, HIGH, 141),
                                                                np.linspace(0.02, FALLOFF, 19)))
    return cutoff, falloff, tangent_filter(np.array(frequency), cutoff[:, None], falloff[:, None])


def filtered(image, transfer):
    """An image (n, n) multiplied by a function of the frequency in 1/px."""
    return fft.ifft2(fft.fft2(image) * transfer(_radius(len(image)))).real


def shifted(image, x, y):
    """An image (n, n) moved by (x, y) px, wrapping around."""
    k = fft.fftfreq(len(image))
    return fft.ifft2(fft.fft2(image) * np.exp(-2j * np.pi * (k[:, None] * y + k * x))).real


def padded(images, n):
    """Images (..., m, m) in the middle of (..., n, n) zeros."""
    edge = (n - images.shape[-1]) // 2
    return np.pad(images, [(0, 0)] * (images.ndim - 2) + [(edge, edge)] * 2)


def without_background(image, mask):
    """An image (n, n) inside the mask, less its mean near the mask's rim."""
    inside = core = mask > 0
    for _ in range(MARGIN):
        core = core & np.all([np.roll(core, step, axis) for step in (-1, 1) for axis in (0, 1)], axis=0)
    return (image - image[inside & ~core].mean()) * mask


# ---- where the centre of an image is, (x, y) in px from pixel n / 2

def phase_centre(image):
    """Centre of mass as the phases of the first Fourier coefficients tell it, which knows no borders."""
    n = len(image)
    wave = np.exp(2j * np.pi * (np.arange(n) - n // 2) / n)
    return tuple(float(np.angle((image.sum(axis) * wave).sum()) * n / (2 * np.pi)) for axis in (0, 1))


def correlation_centre(image, pattern):
    """Where ``pattern`` (n, n), centred itself, correlates best with the image."""
    n = len(image)
    cross = fft.ifft2(fft.fft2(image) * fft.fft2(fft.ifftshift(pattern)).conj()).real
    y, x = np.unravel_index(cross.argmax(), cross.shape)
    around = cross.take(range(y - 1, y + 2), 0, mode="wrap").take(range(x - 1, x + 2), 1, mode="wrap")
    return x - n // 2 + _vertex(around[1]), y - n // 2 + _vertex(around[:, 1])


def own_centre(image):
    """Where the image is most like its own rotational average, found by going there again and again."""
    x = y = 0.0
    for _ in range(ROUNDS):
        dx, dy = correlation_centre(shifted(image, -x, -y), rotational_average(shifted(image, -x, -y)))
        x, y = x + dx, y + dy
        if np.hypot(dx, dy) < SETTLED:
            break
    return x, y


def rotational_average(image):
    n = len(image)
    ring = np.rint(distances(n)).astype(int)
    return (np.bincount(ring.ravel(), image.ravel()) / np.bincount(ring.ravel()))[ring]


def bright_pixels(image, mask):
    """Which pixels (n, n) in the mask are more than one standard deviation above the mean there."""
    inside = image[mask > 0]
    return (image > inside.mean() + inside.std()) & (mask > 0)


def centre_of_mass(weight):
    y, x = np.mgrid[: len(weight), : len(weight)] - len(weight) // 2
    total = max(weight.sum(), np.finfo(float).tiny)
    return float((weight * x).sum() / total), float((weight * y).sum() / total)


def distances(n):
    """Distance (n, n) of pixels from the origin, in px."""
    y, x = np.mgrid[:n, :n] - n // 2
    return np.hypot(x, y)


def _vertex(three):
    """Place of the top of a parabola through three values at -1, 0, 1."""
    bend = three[0] + three[2] - 2 * three[1]
    return float((three[0] - three[2]) / (2 * bend)) if bend < 0 else 0.0


def _radius(n):
    """Frequency (n, n) in 1/px of fft2's coefficients."""
    return np.hypot(fft.fftfreq(n)[:, None], fft.fftfreq(n))
