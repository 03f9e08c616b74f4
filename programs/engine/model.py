"""The state of a run as value objects: the model, what an E-step gathers, and the M-step between them."""
from dataclasses import dataclass, fields, replace

import numpy as np

from .noise import Noise, sigma_of_mean_square
from .resolution import of_all

SMALLEST_VARIANCE = 1e-6   # of the images' own: single-precision distances are no better than that


@dataclass(frozen=True)
class Model:
    """What maximum likelihood estimates.

    polar: complex64 (K, rings, n_phi / 2), the references' samples on ``disk``.
    fractions: (K,) class fractions; mirror: (K,) share of mirrored images per class.
    sigma: noise sd per pixel; sigma_offset: sd of the shifts in pixels; scale: (K,) mean grey scale of each class.
    """

    disk: object
    polar: np.ndarray
    fractions: np.ndarray
    mirror: np.ndarray
    sigma: float
    sigma_offset: float
    scale: np.ndarray

    @property
    def references(self):
        return len(self.polar)

    def noise(self, disk, df=None):
        return Noise(self.sigma, disk.dimension, df)

    def log_class(self, mirror):
        """Log-probabilities (2, K) of each reference, plain and mirrored."""
        with np.errstate(divide="ignore"):
            plain = np.log(self.fractions) + np.log(1 - self.mirror if mirror else np.ones_like(self.mirror))
            flipped = np.log(self.fractions) + np.log(self.mirror if mirror else np.zeros_like(self.mirror))
        return np.stack([plain, flipped])

    def images(self):
        """The references as images (K, n, n)."""
        return self.disk.images(self.polar)

    def only(self, classes, polar=None):
        """A model of these classes alone, with new references (K, rings, n_phi / 2) where given."""
        polar = self.polar[classes] if polar is None else polar.astype(np.complex64)
        fractions = np.maximum(self.fractions[classes], 1e-6)
        return replace(self, polar=polar, fractions=fractions / fractions.sum(), mirror=self.mirror[classes],
                       scale=self.scale[classes])

    def with_more(self, polar):
        """The same model with more references (L, rings, n_phi / 2), each as frequent as an average one."""
        count, more = self.references, len(polar)
        fractions = np.concatenate([self.fractions * count, np.ones(more)]) / (count + more)
        return replace(self, polar=np.concatenate([self.polar, polar]).astype(np.complex64), fractions=fractions,
                       mirror=np.concatenate([self.mirror, np.full(more, self.mirror.mean())]),
                       scale=np.concatenate([self.scale, np.ones(more)]))

    def on(self, disk):
        """The same model sampled on another disk."""
        return self if disk is self.disk else replace(self, disk=disk, polar=disk.polar(self.images()))


@dataclass
class Statistics:
    """Sums over images that the M-step needs; statistics of disjoint sets of images add up.

    half_sums: complex128 (2, K, rings, n_phi / 2), images turned back and weighted, of two halves of the data.
    half_weights: (2, K) their weights sum(gamma u r^2).  class_mass, mirror_mass: (K,) sum of gamma.
    used_scale, class_scale: (K,) sum of gamma s, with the grey scales s the images were averaged with, and with the
    refined ones.  power: sum of u |x|^2.  robust: sum of u.  squared_shift: sum of gamma |t|^2.
    beyond: (image side,) posterior mass by shift length in whole pixels.
    """

    half_sums: np.ndarray
    half_weights: np.ndarray
    class_mass: np.ndarray
    mirror_mass: np.ndarray
    used_scale: np.ndarray
    class_scale: np.ndarray
    beyond: np.ndarray
    power: float = 0.0
    robust: float = 0.0
    squared_shift: float = 0.0
    count: int = 0
    log_likelihood: float = 0.0
    peak: float = 0.0

    @classmethod
    def zero(cls, grid, references):
        return cls(np.zeros((2, references, *grid.disk.kx.shape), complex), np.zeros((2, references)),
                   *np.zeros((4, references)), np.zeros(grid.disk.n))

    def __add__(self, other):
        return self._combine(other, 1)

    def __sub__(self, other):
        return self._combine(other, -1)

    def _combine(self, other, sign):
        return type(self)(*(getattr(self, f.name) + sign * getattr(other, f.name) for f in fields(self)))

    def scaled(self, factor):
        """All of the sums times a factor."""
        return type(self)(*(getattr(self, f.name) * factor for f in fields(self)))

    def reach(self, tolerance=1e-5):
        """Shift in pixels beyond which less than ``tolerance`` of the posterior mass lies."""
        tail = np.cumsum(self.beyond[::-1])[::-1] / max(self.beyond.sum(), 1e-300)
        return int(np.flatnonzero(tail >= tolerance).max(initial=0))


@dataclass(frozen=True)
class Fixed:
    """Which parameters the M-step leaves alone."""

    noise: bool = False
    offset: bool = False
    fractions: bool = False


def update(model, statistics, mirror, fixed=None, df=None, sigma_trick=True, step=1):
    """The M-step: the model that maximises the expected log-likelihood of ``statistics``.

    A class without weight keeps its reference.  With Student-t noise the variance is divided by the summed weights
    (``sigma_trick``) or by the number of images.  step: spacing of the shift grid.
    """
    fixed = fixed or Fixed()
    s = statistics
    weight = s.half_weights.sum(0)
    alive = weight > 1e-12 * max(s.count, 1)
    mean = s.half_sums.sum(0) / np.where(alive, weight, 1)[:, None, None]
    polar = np.where(alive[:, None, None], mean, model.polar)
    changes = estimated_priors(model, s, mirror, fixed, alive, step)
    if not fixed.noise:
        explained = sum(w * polar_power(model.disk, a) for w, a in zip(weight, polar) if w > 0)
        images = s.robust if df is not None and sigma_trick else s.count
        variance = (s.power - explained) / (images * model.disk.dimension)
        smallest = SMALLEST_VARIANCE * max(s.power / (images * model.disk.dimension), 1e-18)
        changes["sigma"] = float(np.sqrt(max(variance, smallest)))
    return replace(model, polar=at_mean_scale(polar, model, s, alive), **changes)


def estimated_priors(model, statistics, mirror, fixed, alive, step=1):
    """What an M-step makes of shifts, class sizes, mirrors and grey scales: {field of Model: value}.

    alive: (K,) classes that have weight.
    """
    s, mass = statistics, np.where(statistics.class_mass > 0, statistics.class_mass, 1)
    changes = {"scale": np.where(alive, s.class_scale / mass, model.scale)}
    if not fixed.offset:
        changes["sigma_offset"] = float(sigma_of_mean_square(s.squared_shift / s.count, step))
    if not fixed.fractions:
        changes["fractions"] = s.class_mass / s.class_mass.sum()
        if mirror:
            changes["mirror"] = np.where(alive, np.minimum(s.mirror_mass / mass, 1), 0.5)    # rounding may exceed one
    return changes


def at_mean_scale(polar, model, statistics, alive):
    """New references (K, rings, n_phi / 2) as members of mean grey scale show them, whatever it was before."""
    mass = np.where(statistics.class_mass > 0, statistics.class_mass, 1)
    used = np.where(alive, statistics.used_scale / mass / model.scale, 1)
    return (polar * used[:, None, None]).astype(np.complex64)


def polar_power(disk, polar):
    """Squared norms (...) of images given by their half-circle polar samples (..., rings, n_phi / 2)."""
    return 2 / disk.n_phi * (disk.weight[:, None] * np.abs(polar.astype(np.complex128)) ** 2).sum((-2, -1))


def signal_change(old, new):
    """Relative squared change (K,) of each reference between two models on one disk; 0 where both are empty."""
    change, signal = polar_power(old.disk, old.polar - new.polar), polar_power(old.disk, old.polar)
    return change / np.where(signal > 0, signal, 1)


def noise_share(model, frc):
    """Share (K,) of each reference's power that is noise, by the correlation (K, rings) of its halves."""
    noise = polar_power(model.disk, model.polar * np.sqrt(1 - of_all(frc))[:, :, None])
    power = polar_power(model.disk, model.polar)
    return noise / np.where(power > 0, power, 1)
