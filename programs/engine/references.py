"""Where references come from: random subsets, and moves that split one class and merge two others.

EM gets stuck where two views share a class while one view has two: no small step leads out.  Splitting and merging
(SMEM, Ueda et al., Neural Computation 12:2109, 2000) jumps out, and the likelihood says whether to stay.
"""
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Callable

import numpy as np

from . import kernels
from .model import Fixed
from .templates import by_bin

MEMBERS = 400             # particles of a class looked at to judge a split or a merger
FEWEST_MEMBERS = 20       # that can be split
LOCAL_ITERATIONS = 16     # of EM on the members of a class, at most: two views come apart slowly
LOCALLY_SETTLED = 0.03    # nats per member and iteration below which that has settled
SPLITS = 4                # most heterogeneous classes looked at to be split
MERGERS = 3               # pairs of similar classes looked at
COMPONENTS = 4            # principal components that members are told apart by
LLOYD_ITERATIONS = 100
ALONE = Fixed(noise=True, offset=True, fractions=False)     # what stays as it is in EM on a few classes


def subset_averages(estimator, rows, count, rng):
    """Polar samples (count, rings, n_phi / 2) of the averages of ``count`` random, disjoint subsets of images."""
    means = [estimator.total(group) / len(group) for group in np.array_split(rng.permutation(rows), count)]
    return np.concatenate([estimator.disk.synthesize(mean[None].astype(np.float32)) for mean in means])


def aligned(disk, x, particles, rows):
    """Polar samples (B, rings, n_phi / 2) of images ``rows``, harmonics x, in their class averages' frames."""
    flip = particles.flip[rows].astype(bool)
    psi = np.deg2rad(particles.psi[rows] - 180 * flip)
    shift = np.stack([particles.shift_x[rows], particles.shift_y[rows]], 1)
    return disk.synthesize(disk.turned(x, -psi, flip)) * disk.phase(shift)


@dataclass
class Members:
    """Aligned members of a class.

    features: (B, F) what they are told apart by, in units of the noise's standard deviation.
    average: function of a mask (B,) that gives the reference (rings, n_phi / 2) of those members.
    """

    features: np.ndarray
    average: Callable


@dataclass
class Split:
    """A class seen as two: the log-likelihood its members gain, and the references (2, rings, n_phi / 2)."""

    parent: int
    gain: float
    polar: np.ndarray


@dataclass
class Merger:
    """Two classes seen as one: the log-likelihood their members lose, and the reference (rings, n_phi / 2)."""

    kept: int
    freed: int
    loss: float
    polar: np.ndarray


def heterogeneity(estimator, model, particles, rows, k, rng):
    """How much the aligned members of class k vary beyond noise, and two groups among them.

    Returns (gain, labels, :class:`Members` looked at, their rows), or None for too few members.  The gain is the
    variance along the first principal component that noise does not explain, in units of the noise variance, times the
    number of members; not above 0 where noise alone may explain it all.
    """
    members = rows[particles.ref[rows] == k]
    if len(members) < FEWEST_MEMBERS:
        return None
    chosen = _sample(members, rng)
    looked_at = estimator.members(model, particles, chosen, k)
    components = _principal_components(looked_at.features)
    variance = components.var(0, ddof=1)
    signal = signal_variance(variance, estimator.disk.dimension / len(chosen))
    groups = _two_groups(components * np.sqrt(np.maximum(signal, 0) / variance) if signal[0] > 0 else components)
    return *estimator.ranks.agree((len(members) * signal[0], groups)), looked_at, chosen


def _principal_components(features):
    """(B, 4) of vectors (B, F), the largest first."""
    centred = features - features.mean(0)
    variance, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    return vectors[:, : -COMPONENTS - 1 : -1] * np.sqrt(np.maximum(variance[: -COMPONENTS - 1 : -1], 0))


def signal_variance(variance, dimensions):
    """What signals have of the variance along principal components, in units of the noise's.

    dimensions: of the vectors, for each vector.  Noise alone reaches the Marchenko-Pastur edge, and a signal of the
    variance s appears as (1 + s) (1 + dimensions / s) (Baik and Silverstein, J. Multivariate Anal. 97:1382, 2006).
    Where there is less than the edge, the result is what is missing, below 0.
    """
    beyond = variance - (1 + np.sqrt(dimensions)) ** 2
    both = variance - 1 - dimensions            # s + dimensions / s
    return np.where(beyond > 0, (both + np.sqrt(np.maximum(both**2 - 4 * dimensions, 0))) / 2, beyond)


def _two_groups(components):
    """Labels (B,) of two-means among principal components, the best of what begins with the sign of each of them."""
    results = [_two_means(components, column > 0) for column in components.T]
    return min(results, key=lambda result: result[1])[0]


def _two_means(vectors, label):
    """(labels, sum of squares) where Lloyd's iteration from given labels (B,) ends."""
    for _ in range(LLOYD_ITERATIONS):
        if label.all() or not label.any():
            break
        centres = np.stack([vectors[~label].mean(0), vectors[label].mean(0)])
        distance = ((vectors[:, None] - centres) ** 2).sum(2)
        previous, label = label, distance[:, 1] < distance[:, 0]
        if (label == previous).all():
            return label.astype(int), distance.min(1).sum()
    return label.astype(int), np.inf


def split_class(estimator, model, particles, rows, k, rng):
    """Two classes that describe the members of class k, by EM on them alone: a :class:`Split`, or None if too few."""
    found = heterogeneity(estimator, model, particles, rows, k, rng)
    if found is None:
        return None
    _, label, looked_at, chosen = found
    alone = estimator.run(model.only([k]), chosen, LOCAL_ITERATIONS, LOCALLY_SETTLED, ALONE)[1]
    parts = np.stack([looked_at.average(label == part) for part in (0, 1)])
    pair, likelihood, _ = estimator.run(model.only([k, k], parts), chosen, LOCAL_ITERATIONS, LOCALLY_SETTLED, ALONE)
    members = np.count_nonzero(particles.ref[rows] == k)
    return Split(k, (likelihood - alone) * members / len(chosen), pair.polar)


def merge_classes(estimator, model, particles, rows, first, second, rng):
    """One class that describes the members of two, by EM on them alone: a :class:`Merger`."""
    larger, smaller = (first, second) if model.fractions[first] >= model.fractions[second] else (second, first)
    members = rows[np.isin(particles.ref[rows], (first, second))]
    if not len(members):
        return Merger(larger, smaller, 0.0, model.polar[larger])
    chosen = _sample(members, rng)
    apart = estimator.run(model.only([first, second]), chosen, LOCAL_ITERATIONS, LOCALLY_SETTLED, ALONE)[1]
    together, likelihood, _ = estimator.run(model.only([larger]), chosen, LOCAL_ITERATIONS, LOCALLY_SETTLED, ALONE)
    return Merger(larger, smaller, (apart - likelihood) * len(members) / len(chosen), together.polar[0])


def similar_pairs(estimator, model):
    """Pairs of classes in the order of what merging their averages costs (Ward's criterion, best pose)."""
    grid = estimator.grid(model)
    disk, count, shifts = grid.disk, model.references, len(grid.shifts)
    polar = model.polar * estimator.importance(model)[:, None]
    templates = by_bin(grid.templates(polar))
    best = np.empty((2, count, count * shifts), np.float32)
    kernels.best_of_rows(grid.scores(disk.expand(polar), templates), estimator.settings.mirror, best)
    score = best.max(0).reshape(count, count, shifts).max(2)
    power = disk.power(disk.expand(polar))
    distance = np.maximum(power[:, None] + power - 2 * score, 0)
    size = model.fractions
    cost = distance * np.outer(size, size) / np.maximum(np.add.outer(size, size), 1e-12)
    return estimator.ranks.agree(sorted(combinations(range(count), 2), key=lambda pair: cost[pair]))


def divided(model, halves):
    """The model after some classes have divided: {class: (references (2, rings, n_phi / 2), share of the second)}."""
    parents = [*range(model.references), *halves]
    polar, fractions = model.polar[parents], model.fractions[parents]
    for second, (first, (pair, share)) in enumerate(halves.items(), model.references):
        polar[[first, second]] = pair
        fractions[[first, second]] *= 1 - share, share
    return replace(model.only(parents, polar), fractions=fractions)


def moved(model, split, merger):
    """The model after a :class:`Split` into the place that a :class:`Merger` frees."""
    polar, fractions, mirror, scale = (a.copy() for a in (model.polar, model.fractions, model.mirror, model.scale))
    polar[merger.kept] = merger.polar
    fractions[merger.kept] += fractions[merger.freed]
    polar[split.parent], polar[merger.freed] = split.polar
    fractions[split.parent] = fractions[merger.freed] = fractions[split.parent] / 2
    mirror[merger.freed], scale[merger.freed] = mirror[split.parent], scale[split.parent]
    return replace(model, polar=polar, fractions=fractions / fractions.sum(), mirror=mirror, scale=scale)


def _sample(members, rng):
    return members if len(members) <= MEMBERS else np.sort(rng.choice(members, MEMBERS, replace=False))
