"""What particles themselves tell about good values of a run's options: radius, resolution, classes, angular step.

"Items" are images (B, n, n) or volumes (B, n, n, n), roughly centred, in any orientations, with any grey values; their
background is what lies outside the circle or sphere that fits into the box.
"""
from dataclasses import dataclass

import numpy as np

from .engine.sphere import EDGE
from .phantoms import ball

SIGNIFICANT = 5.0       # standard errors that make a signal sure
FAINT = 0.08            # of the strongest signal: the particle ends where less is left
SLACK = 1.05, 1.0       # a radius is larger than the particle by this factor and so many px
SOFT_EDGE = 6.0         # px, of the mask between particle and background
VISIBLE = 0.03          # signal over noise at a frequency where single particles still show something
FINER = 1.33            # averages show finer details than single particles do


# ---- the particle's radius

@dataclass
class Profile:
    """How items differ from their background on rings (or shells) one pixel wide, in units of its standard deviation.

    radius, pixels : (R,) px, and pixels on a ring
    mean, mean_error : (R,) mean over all items, and its standard error
    excess, excess_error : (R,) mean square less that of noise: signal of any sign, over the noise's variance
    """

    radius: np.ndarray
    pixels: np.ndarray
    mean: np.ndarray
    mean_error: np.ndarray
    excess: np.ndarray
    excess_error: np.ndarray


def standardised(items):
    """Items less the mean of their background, in units of its standard deviation (of their own, where it is 0)."""
    axes, outside = tuple(range(1, items.ndim)), _distance(items) > items.shape[-1] / 2
    pixels = items[:, outside].astype(float)
    deviation = pixels.std(1)
    own = items.std(axes, dtype=float)
    deviation = np.where(deviation > 1e-6 * own, deviation, np.where(own > 0, own, 1))
    shape = (-1, *[1] * len(axes))
    return ((items - pixels.mean(1).reshape(shape)) / deviation.reshape(shape)).astype(np.float32)


def radial_profile(items):
    """The :class:`Profile` of :func:`standardised` items."""
    distance = _distance(items)
    # by so much the errors of mean and deviation, which come from m pixels, raise the mean square of standardised noise
    noise = 1 + 4 / max(1, np.count_nonzero(distance > items.shape[-1] / 2))
    ring = np.rint(distance).astype(int).ravel()
    inside = ring <= items.shape[-1] // 2
    ring, pixels = ring[inside], np.bincount(ring[inside])

    def on_rings(values):
        return np.bincount(ring, values.ravel()[inside]) / pixels

    mean = np.array([on_rings(item) for item in items])
    square = np.array([on_rings(item.astype(float) ** 2) for item in items])
    count = np.sqrt(len(items))
    return Profile(np.arange(len(pixels)), pixels, mean.mean(0), mean.std(0) / count, square.mean(0) - noise,
                   square.std(0) / count)


def particle_edge(profile):
    """The radius in px at which the particle ends; None when nothing stands out from the background.

    It ends, outwards from where its mean is strongest, where the mean falls to a few per cent of that, or changes its
    sign, as it does on the bright rim that defocus gives to dark particles.  Where the mean tells nothing, the power
    does, which knows no sign.
    """
    for value, error in ((profile.mean, profile.mean_error), (profile.excess, profile.excess_error)):
        sure = np.abs(value) > SIGNIFICANT * error
        sure[:2] = False                # of a few pixels only
        if not sure.any():
            continue
        peak = np.argmax(np.where(sure, np.abs(value), 0))
        if value is profile.excess and value[peak] < 0:
            continue
        outward = value[peak:] * np.sign(value[peak])
        ended = outward < np.maximum(FAINT * outward[0], 2 * error[peak:])
        if ended.any():
            return float(profile.radius[peak + np.argmax(ended)])
        return float(profile.radius[-1])
    return None


def suggested_radius(profile):
    """Radius in px of the circle or sphere that holds the particle, with some slack; None when it cannot be told."""
    edge = particle_edge(profile)
    if edge is None:
        return None
    factor, more = SLACK
    return int(min(np.ceil(factor * edge + more), profile.radius[-1]))


def signal_to_noise(profile, radius):
    """Variance of the signal over that of the noise, of single items within ``radius`` px; 0 when there is none."""
    inside = profile.radius <= radius
    return max(0.0, float((profile.excess * profile.pixels)[inside].sum() / profile.pixels[inside].sum()))


def _distance(items):
    axis = (np.arange(items.shape[-1]) - items.shape[-1] // 2) ** 2
    return np.sqrt(sum(np.meshgrid(*[axis] * (items.ndim - 1), indexing="ij", sparse=True)))


# ---- resolution

@dataclass
class Spectrum:
    """Power of the particles over that of their background, less one: signal over noise at every frequency.

    It begins at two waves per box: the level of the background was subtracted, and what is slower has gone with it.
    frequency : (K,) 1/px; ratio, error : (K,)
    """

    frequency: np.ndarray
    ratio: np.ndarray
    error: np.ndarray


def signal_spectrum(items, radius):
    """The :class:`Spectrum` of :func:`standardised` items whose particle lies within ``radius`` px.

    None when there is no background to compare with.
    """
    n, dimensions = items.shape[-1], items.ndim - 1
    mask = ball(n, min(radius, n / 2 - 1), SOFT_EDGE, dimensions)
    axes = [np.fft.fftfreq(n) * n] * (dimensions - 1) + [np.arange(n // 2 + 1)]
    ring = np.rint(np.sqrt(sum(k**2 for k in np.meshgrid(*axes, indexing="ij", sparse=True)))).astype(int).ravel()
    used = ring <= n // 2
    ring, places = ring[used], np.bincount(ring[used])

    def spectra(window):
        powers = (np.abs(np.fft.rfftn(item * window)) ** 2 for item in items)
        return np.array([np.bincount(ring, power.ravel()[used]) / places for power in powers]) / (window**2).sum()

    particle, background = spectra(mask)[:, 2:], spectra(1 - mask)[:, 2:]
    if not (background.mean(0) > 1e-6 * particle.mean(0)).all():
        return None
    ratio = particle.mean(0) / background.mean(0)
    error = ratio * np.hypot(particle.std(0) / particle.mean(0), background.std(0) / background.mean(0))
    return Spectrum(np.arange(2, n // 2 + 1) / n, ratio - 1, error / np.sqrt(len(items)))


def visible_frequency(spectrum):
    """The highest frequency in 1/px up to which single particles stand out from their background; None for nowhere.

    A zero of the CTF does not end it, two neighbouring frequencies without signal do.
    """
    ratio, error = (np.convolve(np.pad(values, 1, "edge"), np.full(3, 1 / 3), "valid")
                    for values in (spectrum.ratio, spectrum.error))
    seen = ratio > np.maximum(VISIBLE, SIGNIFICANT * error / np.sqrt(3))
    last = None
    for place, there in enumerate(seen):
        if there:
            last = place
        elif last is not None and place - last > 1:
            break
    return None if last is None else float(spectrum.frequency[last])


def suggested_limit(spectrum):
    """Highest frequency in 1/px worth using in a first classification; None when it cannot be told."""
    visible = None if spectrum is None else visible_frequency(spectrum)
    return None if visible is None else min(0.5, FINER * visible)


# ---- classes

@dataclass(frozen=True)
class Rule:
    """How many classes suit: items per class (of a usual set, at least, at most), fewest and most classes.

    clear: signal-to-noise ratio of an average that is good enough
    """

    usual: int
    least: int
    most: int
    bearable: int       # per class, for few classes of a small set
    classes: tuple
    item: str
    clear: float = 20.0


IMAGES = Rule(300, 100, 500, 50, (2, 50), "particle")
MANY = Rule(50, 20, 100, 20, (2, 100), "particle", 5.0)     # where views are meant to spread over several classes
VOLUMES = Rule(60, 30, 200, 20, (2, 10), "subtomogram")


def suggested_classes(count, snr=None, rule=IMAGES):
    """(number of classes, a sentence why) for so many items of a signal-to-noise ratio, where that is known."""
    if snr:
        each = int(np.clip(rule.clear / snr, rule.least, rule.most))
        why = f"the average of {each} {rule.item}s has a signal-to-noise ratio of about {each * snr:.2g}"
    else:
        each, why = rule.usual, f"{rule.usual} {rule.item}s make a clear average in most sets"
    fewest, most = rule.classes
    wanted = int(np.clip(count // each, fewest, most))
    classes = max(1, min(wanted, count // rule.bearable))
    if classes < wanted:
        why = f"with fewer than {rule.bearable} {rule.item}s an average stays noisy"
    elif count // each < fewest:
        why += f", but with fewer than {fewest} classes nothing is told apart"
    elif count // each > most:
        why += f", but more than {most} classes are tedious to look through"
    return classes, f"{classes} of {count} {rule.item}s: {why}."


# ---- angles

def angular_step(resolution, diameter):
    """Degrees by which a point at the rim of a particle moves by half the resolution (both lengths in one unit)."""
    return float(np.rad2deg(2 * np.arcsin(min(1.0, resolution / (2 * diameter)))))


def round_step(step):
    """A step in degrees as a plain number: to halves from 1 degree on, to tenths below; 0.1 to 45."""
    unit = 0.5 if step >= 1 else 0.1
    return float(np.clip(np.round(step / unit) * unit, 0.1, 45))


def rotations(step):
    """How many rotations in the plane are tried."""
    return max(1, round(360 / step))


def orientations(step, psi_step=None):
    """How many orientations of a volume are tried everywhere: directions (see :mod:`.engine.sphere`) times turns."""
    parts = max(1, round(EDGE / step))
    return (10 * parts**2 + 2) * rotations(step if psi_step is None else psi_step)
