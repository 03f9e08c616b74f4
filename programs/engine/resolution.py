"""How far in frequency the class averages can be trusted, and how far the next iterations may look."""
import numpy as np

FRC_THRESHOLD = 0.143
GROWTH = 1.4              # of the highest frequency, from one stage to the next
TRUSTED_EDGE = 0.3        # a class allows growth when the outer rings' FRC is above this
GROWING_SHARE = 0.2       # growth needs at least this share of the particles in such classes


def ring_correlation(half_sums, half_weights):
    """Fourier ring correlation (K, rings) of two halves' averages; zero where one of them is empty.

    half_sums: complex (2, K, rings, n_phi / 2); half_weights: (2, K).  The halves were aligned to one reference, so
    the correlation is optimistic where noise of that reference was aligned to.
    """
    first, second = half_sums
    cross = (first * second.conj()).real.sum(-1)
    norm = np.sqrt((np.abs(first) ** 2).sum(-1) * (np.abs(second) ** 2).sum(-1))
    filled = (half_weights > 0).all(0)[:, None] & (norm > 0)
    return np.where(filled, cross / np.where(norm > 0, norm, 1), 0.0)


def smooth_rings(frc, k, width):
    """FRC averaged over rings within ``width`` (rad/px) of each, weighted by their number of Fourier pixels."""
    near = (np.abs(k[:, None] - k) <= width) * k
    return frc @ (near / near.sum(1, keepdims=True)).T


def smooth_correlation(half_sums, half_weights, disk):
    """:func:`ring_correlation` of sums on a disk, smoothed over the width of a Fourier pixel."""
    return smooth_rings(ring_correlation(half_sums, half_weights), disk.k, 2 * np.pi / disk.n)


def crossing(frequency, frc, threshold=FRC_THRESHOLD):
    """Frequency (1/px) where each curve (K, rings) first falls below ``threshold``; the last one when it never does."""
    result = np.empty(len(frc))
    for i, curve in enumerate(frc):
        below = np.flatnonzero(curve < threshold)
        if len(below) == 0:
            result[i] = frequency[-1]
        elif below[0] == 0:
            result[i] = 0
        else:
            j = below[0]
            share = (curve[j - 1] - threshold) / (curve[j - 1] - curve[j])
            result[i] = frequency[j - 1] + share * (frequency[j] - frequency[j - 1])
    return result


def next_maxres(maxres, frequency, frc, fractions, growth=GROWTH):
    """The next stage's highest frequency: larger when enough particles are in classes trusted up to the edge."""
    edge = frequency > 0.8 * maxres
    trusted = frc[:, edge].mean(1) > TRUSTED_EDGE
    if fractions[trusted].sum() < GROWING_SHARE * fractions.sum():
        return maxres
    return min(0.5, maxres * growth)


def wiener(fsc, threshold=FRC_THRESHOLD):
    """Weights (J,) that bring a noisy average nearest the truth, of the correlation of its halves.

    2 FSC / (1 + FSC), that of all the data (Rosenthal & Henderson, J. Mol. Biol. 333:721, 2003); zero from where the
    FSC first falls below ``threshold`` on.
    """
    below = np.flatnonzero(fsc < threshold)
    known = np.arange(len(fsc)) < (below[0] if len(below) else len(fsc))
    return np.where(known, of_all(fsc), 0.0)


def of_all(correlation):
    """2 FSC / (1 + FSC): the correlation of halves, below 0 taken for 0, as that of all the data with the truth."""
    correlation = np.clip(correlation, 0, 1)
    return 2 * correlation / (1 + correlation)
