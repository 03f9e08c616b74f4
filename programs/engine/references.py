"""Where references come from: random subsets, several tries, and the splitting of heterogeneous classes."""
from dataclasses import dataclass, replace

import numpy as np

MEMBERS = 500            # particles looked at to split a class
SPLIT_ITERATIONS = 6     # of EM before a split is judged by its likelihood


def subset_averages(bank, rows, count, rng):
    """Polar samples (count, rings, n_phi / 2) of the averages of ``count`` random, disjoint subsets of images."""
    groups = np.array_split(rng.permutation(rows), count)
    return np.stack([_mean_polar(bank, group) for group in groups])


def _mean_polar(bank, rows):
    total = 0
    for part in np.array_split(rows, -(-len(rows) // 256)):
        total = total + bank.read(part)[0].sum(0, dtype=np.float64)
    return bank.disk.synthesize((total / len(rows))[None].astype(np.float32))[0]


def aligned_members(bank, particles, rows):
    """Polar samples (B, rings, n_phi / 2) of images brought onto their class average by their poses."""
    disk = bank.disk
    flip = particles.flip[rows].astype(bool)
    psi = np.deg2rad(particles.psi[rows] - 180 * flip)
    x, _ = bank.read(rows)
    shift = np.stack([particles.shift_x[rows], particles.shift_y[rows]], 1)
    return disk.synthesize(disk.turned(x, -psi, flip)) * disk.phase(shift)


@dataclass
class Split:
    """A class seen as two: how much it wants to be (``gain``), and the averages (2, rings, n_phi / 2) of its parts."""

    gain: float
    polar: np.ndarray


def split_class(model, bank, particles, members, rng):
    """Look for two groups among the aligned members of a class: a :class:`Split`.

    The gain is the variance along the first principal component beyond what noise alone gives (the
    Marchenko-Pastur edge), in units of the noise variance, times the number of members.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    chosen = members if len(members) <= MEMBERS else rng.choice(members, MEMBERS, replace=False)
    polar = aligned_members(bank, particles, chosen)
    disk = bank.disk
    features = (disk.expand(polar) * np.sqrt(disk.metric)).reshape(len(polar), -1)
    state = int(rng.integers(2**31))
    pca = PCA(min(4, len(chosen) - 1), svd_solver="randomized", random_state=state).fit(features)
    label = KMeans(2, n_init=4, random_state=state).fit_predict(pca.transform(features))
    edge = model.sigma**2 * (1 + np.sqrt(disk.dimension / len(chosen))) ** 2
    gain = len(members) * (pca.explained_variance_[0] - edge) / model.sigma**2
    return Split(gain, np.stack([polar[label == part].mean(0) for part in (0, 1)]))


def split_into(model, pairs):
    """The model with, for each (victim, class, Split), the class's two parts put in both places."""
    polar, fractions, mirror, scale = (a.copy() for a in (model.polar, model.fractions, model.mirror, model.scale))
    for victim, parent, split in pairs:
        polar[parent], polar[victim] = split.polar
        fractions[parent] = fractions[victim] = fractions[parent] / 2
        mirror[victim], scale[victim] = mirror[parent], scale[parent]
    return replace(model, polar=polar, fractions=fractions / fractions.sum(), mirror=mirror, scale=scale)


def propose_splits(model, bank, particles, rows, rng, victims):
    """Pair the ``victims`` (class indices) with the classes that gain most from being split: list for split_into."""
    splits = {}
    for k in range(model.references):
        members = rows[particles.ref[rows] == k]
        if k not in victims and len(members) >= 20:
            splits[k] = split_class(model, bank, particles, members, rng)
    parents = sorted(splits, key=lambda k: -splits[k].gain)
    return [(victim, parent, splits[parent]) for victim, parent in zip(victims, parents)]
