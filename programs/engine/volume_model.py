"""The state of a run on volumes: the model, what an E-step gathers, and the M-step between them."""
from dataclasses import dataclass, replace

import numpy as np

from .noise import sigma_of_mean_square

SMALLEST_VARIANCE = 1e-6      # of the particles' own


@dataclass(frozen=True)
class VolumeModel:
    """What maximum likelihood estimates.

    ball: :class:`.ball.Ball`; vectors: float32 (H, K, P) references on it; H = 2 where each half of the particles
    has references of its own, else 1.  fractions: (K,) class fractions.  variance: (J,) of the noise per voxel at each
    shell, all alike for white noise.  sigma_offset: sd of the shifts along each axis in voxels.
    """

    ball: object
    vectors: np.ndarray
    fractions: np.ndarray
    variance: np.ndarray
    sigma_offset: float

    @property
    def classes(self):
        return self.vectors.shape[1]

    @property
    def averages(self):
        """Both halves' references together, (K, P)."""
        return self.vectors.mean(0)

    def of_half(self, half):
        return self.vectors[min(half, len(self.vectors) - 1)]

    def log_class(self):
        with np.errstate(divide="ignore"):
            return np.log(self.fractions)

    @property
    def sigma(self):
        """Standard deviation of the noise per voxel, over all shells."""
        return float(np.sqrt(np.average(self.variance, weights=self.ball.weight)))

    def on(self, ball, scale=1.0):
        """The same model on another ball, whose voxels are ``scale`` times as many along each axis."""
        vectors = np.stack([self.ball.on(ball, half) for half in self.vectors])
        # a coarser sampling averages white noise away, as many times as it has fewer voxels
        variance = np.interp(ball.k * scale, self.ball.k, self.variance) * scale**3
        return replace(self, ball=ball, vectors=vectors, variance=variance, sigma_offset=self.sigma_offset * scale)


@dataclass
class Totals:
    """Sums over particles that the M-step needs, the first axis over two halves of the particles.

    sums: (2, K, P) particles turned onto the references and weighted; coverage: (2, K, Pw) of their regions;
    mass: (2, K) posterior mass; power, dimension: (J,) squared samples and degrees of freedom per shell;
    squared_shift: sum of the posterior mean of |t|^2; beyond: posterior mass by whole voxels of
    shift from where particles were searched around.
    """

    sums: np.ndarray
    coverage: np.ndarray
    mass: np.ndarray
    power: np.ndarray
    dimension: np.ndarray
    beyond: np.ndarray
    squared_shift: float = 0.0
    count: int = 0
    log_likelihood: float = 0.0
    peak: float = 0.0
    step: int = 1

    @classmethod
    def zero(cls, ball, coverage, classes, reach, step=1):
        """Totals of no particle, for shifts up to ``reach`` voxels from where each is searched, ``step`` apart."""
        shells = len(ball.k)
        return cls(np.zeros((2, classes, ball.size)), np.zeros((2, classes, coverage.size)), np.zeros((2, classes)),
                   np.zeros(shells), np.zeros(shells), np.zeros(reach + 1), step=step)

    def reach(self, tolerance=1e-5):
        """Shift in voxels beyond which less than ``tolerance`` of the posterior mass lies."""
        tail = np.cumsum(self.beyond[::-1])[::-1] / max(self.beyond.sum(), 1e-300)
        return int(np.flatnonzero(tail >= tolerance).max(initial=0))

    def halves(self, apart):
        """(sums, coverage, mass) of each set of references: of both halves together, or ``apart``."""
        parts = self.sums, self.coverage, self.mass
        return list(zip(*parts)) if apart else [tuple(part.sum(0) for part in parts)]


@dataclass(frozen=True)
class Rules:
    """What an M-step does.

    impute: rounds of imputation; None for weighted averages, zero where the coverage is at most ``threshold``.
    per_shell: estimate the noise of every shell.  fixed_noise, fixed_offset, fixed_fractions: leave these alone.
    """

    impute: int = 1
    threshold: float = 1.0
    per_shell: bool = False
    fixed_noise: bool = False
    fixed_offset: bool = False
    fixed_fractions: bool = False


def maximise(model, totals, coverage, rules):
    """The M-step: a model with a higher expected log-likelihood of the particles of ``totals``.

    With imputation (Scheres et al. 2009) the particles' missing parts are those of the present references: an average
    moves towards the weighted one, and the noise's variance towards the residuals', by the share that was observed.
    A class without particles keeps its reference.
    """
    halves = totals.halves(apart=len(model.vectors) > 1)
    vectors, variance = model.vectors, model.variance
    for _ in range(rules.impute or 1):
        before, vectors = vectors, _averages(vectors, halves, coverage, rules)
        if not rules.fixed_noise:
            variance = _variance(model.ball, variance, before, vectors, halves, totals, coverage, rules)
    changes = {"vectors": vectors.astype(np.float32), "variance": variance}
    mass = totals.mass.sum(0)
    if not rules.fixed_fractions:
        changes["fractions"] = mass / mass.sum()
    if not rules.fixed_offset:
        mean_square = totals.squared_shift / totals.count
        changes["sigma_offset"] = float(sigma_of_mean_square(mean_square, totals.step, dimensions=3))
    return replace(model, **changes)


def _averages(vectors, halves, coverage, rules):
    new = vectors.copy()
    for h, (sums, covered, mass) in enumerate(halves):
        for k in np.flatnonzero(mass > 1e-9):
            if rules.impute is None:
                new[h, k] = coverage.average(covered[k], sums[k], rules.threshold, vectors[h, k])
            else:
                seen = coverage.covered(coverage.at_points(covered[k]), vectors[h, k])
                new[h, k] = vectors[h, k] + (sums[k] - seen) / mass[k]
    return new


def _variance(ball, variance, before, vectors, halves, totals, coverage, rules):
    """(J,) of the noise, given the averages ``before`` this round and after."""
    left = totals.power.copy()
    missing, whole = np.zeros(len(ball.k)), totals.dimension
    for old, new, (sums, covered, mass) in zip(before, vectors, halves):
        for k in np.flatnonzero(mass > 1e-9):
            points, a, change = coverage.at_points(covered[k]), new[k], new[k] - old[k]
            left += coverage.power_seen(points, a) - 2 * ball.shell_products(sums[k][None], a[None])[0]
            missing += coverage.power_seen(mass[k] - points, change)
    if rules.impute is not None:
        # hidden: as noisy as was thought, and as far off as the average moved
        whole = np.maximum(coverage.degrees_of_freedom * totals.count, totals.dimension)
        left = left + missing + variance * (whole - totals.dimension)
    if not rules.per_shell:
        left, whole = (np.full(len(ball.k), part.sum()) for part in (left, whole))
    floor = SMALLEST_VARIANCE * totals.power.sum() / totals.dimension.sum()
    return np.maximum(left / whole, max(floor, 1e-30))


def signal_change(old, new):
    """Relative squared change (K,) of each reference between two models on one ball."""
    change = ((new.averages - old.averages) ** 2).sum(1)
    signal = (old.averages**2).sum(1)
    return change / np.where(signal > 0, signal, 1)


def regularised(model, strength, count):
    """References drawn towards their mean, and the noise raised by their differences: (model, see Scheres et al. 2009).

    strength: lambda; count: particles.  With mu = lambda N / K and n_k the particles of class k,
    A_k becomes (n_k A_k + mu sum A_j) / (n_k + K mu), the variance grows by mu sum |A_k - A_l|^2 / (N voxels).
    """
    if strength <= 0:
        return model
    classes = model.classes
    mu, weight = strength * count / classes, model.fractions * count
    total = model.vectors.sum(1, keepdims=True)
    vectors = (weight[:, None] * model.vectors + mu * total) / (weight + classes * mu)[:, None]
    spread = 2 * (classes * (model.averages**2).sum() - (model.averages.sum(0) ** 2).sum())
    variance = model.variance + mu * spread / (count * model.ball.n**3)
    return replace(model, vectors=vectors.astype(np.float32), variance=variance)
