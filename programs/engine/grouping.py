"""K-means with a rule for small classes, and numbers of classes that stay the same from one grouping to the next."""
import numpy as np

SMALLEST = 2              # members that a class must have
LIVES = 5                 # times that a vector may be in a class too small before it no longer shapes centres
STARTS = 8                # of k-means, unless it is to be fast
TRIALS = 12               # vectors that each further seed is chosen among
ROUNDING = 1e-12          # of the mean square of vectors: sums of squares that mean nothing
LOYALTY = 1.005           # times the least sum of squares that classes as they were may have


def group(vectors, classes, rng, fast=False, before=None, min_change=1, smallest=SMALLEST):
    """Class (N,) from 0 of every vector (N, V), in at most ``classes`` classes.

    Lloyd's iteration from seeds spread out by k-means++, from several of them unless ``fast``, until fewer than
    ``min_change`` vectors change class.  A class with fewer than ``smallest`` members is dissolved and begins anew with
    the farthest member of another one; vectors that this happens to again and again no longer shape centres.
    Classes are empty only where there are fewer different vectors than classes.
    rng: numpy Generator.  before: (N,) classes to begin with too, -1 for vectors that had none, whose numbers are kept.
    """
    starts = [_seeds(vectors, classes, rng) for _ in range(1 if fast else STARTS)]
    results = [_lloyd(vectors, centres, rng, min_change, smallest) for centres in starts]
    labels, inertia = min(results, key=lambda result: result[1])
    if before is None:
        return _filled(vectors, labels, classes, smallest)
    kept, own = _lloyd(vectors, _centres(vectors, before, classes, rng), rng, min_change, smallest)
    if own <= LOYALTY * inertia:
        return _filled(vectors, kept, classes, smallest)
    return renumbered(_filled(vectors, labels, classes, smallest), before, classes)


def renumbered(labels, before, classes):
    """Labels (N,) with numbers that agree with ``before`` (N,), -1 for none, for as many vectors as can be."""
    from scipy.optimize import linear_sum_assignment
    counts = np.zeros((classes, classes))
    both = (labels >= 0) & (before >= 0)
    np.add.at(counts, (labels[both], before[both]), 1)
    _, number = linear_sum_assignment(counts, maximize=True)
    return np.where(labels >= 0, number[labels], -1)


def _seeds(vectors, classes, rng):
    """Vectors (K, V) spread out: k-means++ (Arthur & Vassilvitskii, SODA 2007), the best of several trials each."""
    square = (vectors**2).sum(1)
    chosen = [rng.integers(len(vectors))]
    nearest = _squared_distances(vectors, square, chosen)[0]
    for _ in range(1, classes):
        share = np.cumsum(nearest)
        some = np.searchsorted(share, share[-1] * rng.random(TRIALS)).clip(max=len(vectors) - 1)
        nearer = np.minimum(nearest, _squared_distances(vectors, square, some))
        best = nearer.sum(1).argmin()
        chosen.append(some[best])
        nearest = nearer[best]
    return vectors[chosen]


def _squared_distances(vectors, square, chosen):
    """(C, N): of vectors (N, V), with squared lengths ``square``, from those numbered ``chosen`` (C,)."""
    return np.maximum(square[chosen][:, None] - 2 * vectors[chosen] @ vectors.T + square, 0)


def _filled(vectors, labels, classes, smallest):
    """Labels (N,) without small and empty classes: they get the farther half of the class that is spread most."""
    sizes = np.bincount(labels, minlength=classes)
    small = np.flatnonzero(sizes < min(smallest, len(labels) // classes))
    lost, large = np.isin(labels, small), np.setdiff1d(np.arange(classes), small)
    labels = labels.copy()
    labels[lost] = large[_assign(vectors[lost], _means(vectors, labels, classes)[large])[0]]
    for k in np.flatnonzero(np.bincount(labels, minlength=classes) == 0):
        sizes = np.bincount(labels, minlength=classes)
        away = vectors - _means(vectors, labels, classes)[labels]
        spread = np.bincount(labels, (away**2).sum(1), classes) * (sizes > 1)
        wide = spread > ROUNDING * (vectors**2).sum() / len(vectors)
        if not wide.any():
            break
        enough = wide & (sizes >= 2 * smallest)
        members = np.flatnonzero(labels == np.where(enough if enough.any() else wide, spread, 0).argmax())
        farthest = members[(away[members] ** 2).sum(1).argmax()]
        # of two halves, one around the mean and one around the farthest: what is nearer to the farthest
        nearness = 2 * away[members] @ away[farthest] - (away[farthest] ** 2).sum()
        least = min(smallest, len(members) // 2)
        count = np.clip((nearness > 0).sum(), least, len(members) - least)
        labels[members[np.argsort(-nearness, kind="stable")[:count]]] = k
    return labels


def _means(vectors, labels, classes):
    """(K, V) means of the vectors of each class, zero for one without any."""
    sums = np.zeros((classes, vectors.shape[1]))
    np.add.at(sums, labels, vectors)
    return sums / np.maximum(np.bincount(labels, minlength=classes), 1)[:, None]


def _centres(vectors, labels, classes, rng):
    """Means (K, V) of the vectors of each class; a random vector for a class without any."""
    centres = vectors[rng.permutation(len(vectors))[:classes]].copy()
    known = labels >= 0
    there = np.bincount(labels[known], minlength=classes) > 0
    centres[there] = _means(vectors[known], labels[known], classes)[there]
    return centres


def _lloyd(vectors, centres, rng, min_change, smallest):
    """(labels, sum of squared distances) where the iteration from ``centres`` (K, V) ends."""
    classes, count = len(centres), len(vectors)
    lives, labels = np.full(count, LIVES), np.full(count, -1)
    for _ in range(max(16, 16 * int(np.log2(classes)))):
        nearest, distance = _assign(vectors, centres)
        shaping = lives > 0
        sizes = np.bincount(nearest[shaping], minlength=classes)
        small = np.flatnonzero(sizes < min(smallest, count // classes))
        lives[np.isin(nearest, small)] -= 1
        changed, labels = int((nearest != labels).sum()), nearest
        if changed < min_change and not len(small):
            break
        centres = _centres(vectors, np.where(shaping, nearest, -1), classes, rng)
        _reseed(vectors, centres, small, nearest, distance, lives > 0, sizes, rng)
    return labels, float(distance.sum())


def _assign(vectors, centres):
    """Nearest centre (N,) and squared distance to it (N,)."""
    square = (centres**2).sum(1)
    cross = square - 2 * vectors @ centres.T
    nearest = cross.argmin(1)
    distance = cross[np.arange(len(vectors)), nearest] + (vectors**2).sum(1)
    return nearest, np.maximum(distance, 0)


def _reseed(vectors, centres, small, nearest, distance, allowed, sizes, rng):
    """Begin each small class anew with the farthest member of a random other, else with a random vector."""
    taken = np.zeros(len(vectors), bool)
    for k in small:
        large = np.flatnonzero(sizes > SMALLEST)
        members = np.flatnonzero((nearest == rng.choice(large)) & allowed & ~taken) if len(large) else []
        if len(members):
            chosen = members[distance[members].argmax()]
        else:
            rest = np.flatnonzero(allowed & ~taken)
            chosen = rng.choice(rest if len(rest) else len(vectors))
        centres[k], taken[chosen] = vectors[chosen], True
