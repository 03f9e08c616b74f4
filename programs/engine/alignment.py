"""One pass of alignment over a set of images: each goes to the reference it resembles most, and into its average."""
from dataclasses import dataclass

import numpy as np

from .averaging import Placed, Sums, add_up

FAINT = 1e-3              # probability of a class below which an image does not enter its average


@dataclass
class Best:
    """Where each image was found, arrays (N,): reference, then as in :class:`.averaging.Placed`; score, probability."""

    ref: np.ndarray
    mirrored: np.ndarray
    psi: np.ndarray
    x: np.ndarray
    y: np.ndarray
    score: np.ndarray
    probability: np.ndarray

    @classmethod
    def nowhere(cls, count):
        """Before any search: score 0 in reference 0."""
        whole, real = np.zeros((2, count), int), np.zeros((4, count))
        return cls(*whole, *real, np.ones(count))


class Aligner:
    """Aligns the images of a bank.

    search: :class:`.correlation.Search`; bank: :class:`.views.Bank`; transfer: :class:`.averaging.Transfer` of the
    bank's images, or None; normalized: scores are correlation coefficients; soft: images enter the averages of all
    classes, weighed by their probabilities.
    """

    def __init__(self, search, bank, transfer=None, normalized=True, soft=False):
        self.search, self.bank, self.transfer = search, bank, transfer
        self.normalized, self.soft = normalized, soft
        self.count = search.mask.sum()          # pixels in the mask
        self.half = bank.rows % 2
        self._passing = None if transfer is None else transfer.power()

    def run(self, references, limits, progress=None):
        """Align all images: :class:`Best`, :class:`.averaging.Sums`.

        references: (K, n, n).  limits: (N, 4) lowest and highest x, then y, of the mask's shift in each view.
        """
        mask = self.search.mask
        masked = references - ((references * mask).sum((1, 2)) / self.count)[:, None, None]
        power = (masked**2 * mask).sum((1, 2))
        masked = self.search.references(masked * mask)
        best, total = Best.nowhere(len(self.half)), None
        for some, views in self.bank.chunks():
            norm = self._norm(masked, power, some)
            found = self.search.run(views, masked, norm, limits[some], self.count)
            placed = self._place(best, some, found, limits, power)
            total = _added(total, self._sums(views, some, placed, len(references)))
            if progress:
                progress(len(some))
        return best, total

    def average(self, best, which, classes, references):
        """:class:`.averaging.Sums` of the images ``which`` (C,) alone, each put into one of ``classes`` (C,)."""
        total = None
        for some, views in self.bank.chunks():
            here = np.isin(which, some)
            rows = np.searchsorted(some, which[here])
            placed = Placed(rows, classes[here], *(getattr(best, name)[which[here]] for name in
                                                   ("mirrored", "psi", "x", "y")),
                            np.ones(len(rows)), self.half[which[here]])
            total = _added(total, self._sums(views, some, placed, references))
        return total

    def _norm(self, masked, power, some):
        """float32 (N, K): what makes scores of sums over the mask, divided by an image's deviation."""
        if not self.normalized:
            return np.full((len(some), len(power)), 1 / self.count, np.float32)
        power = np.broadcast_to(power, (len(some), len(power)))
        if self.transfer is not None:
            # references as the images show them
            rings = self.search.rings.power_of_rings(masked.samples)
            share = (self._passing[some] @ rings.T) / np.maximum(rings.sum(1), np.finfo(float).tiny)
            power = power * share
        return (1 / np.sqrt(np.maximum(self.count * power, np.finfo(np.float32).tiny))).astype(np.float32)

    def _place(self, best, some, found, limits, power):
        """Note in ``best`` where the images ``some`` were found; :class:`.averaging.Placed` of them all."""
        # of equal scores the first reference's
        order = np.lexsort((found.ref, -found.score, found.image))
        found = found.take(order)
        found.within(limits[some])
        first = np.concatenate([[True], found.image[1:] != found.image[:-1]]) if len(order) else np.zeros(0, bool)
        probability = self._probabilities(found, len(some), power)
        at = some[found.image[first]]
        for name in ("ref", "mirrored", "psi", "x", "y", "score"):
            getattr(best, name)[at] = getattr(found, name)[first]
        best.probability[at] = probability[first]
        keep, weight = first, np.ones(len(first))
        if self.soft:
            keep, weight = probability > FAINT, probability
        entering = found.take(keep)
        return Placed(entering.image, entering.ref, entering.mirrored, entering.psi, entering.x, entering.y,
                      weight[keep], self.half[some[entering.image]])

    def _probabilities(self, found, count, power):
        """Probability (C,) of each image's best top in each reference, for white noise; 0 for its other tops."""
        if self.normalized:
            gain = -self.count / 2 * np.log1p(-np.clip(found.score, 0, 1 - 1e-6) ** 2)
        else:
            gain = self.count * found.score - power[found.ref] / 2
        # tops are sorted by score: the first of a reference is its best
        _, firsts = np.unique(found.image * len(power) + found.ref, return_index=True)
        top = np.full(count, -np.inf)
        np.maximum.at(top, found.image, gain)
        weight = np.zeros(len(gain))
        weight[firsts] = np.exp(gain[firsts] - top[found.image[firsts]])
        return weight / np.bincount(found.image, weight, minlength=count)[found.image]

    def _sums(self, views, some, placed, references):
        transfer = None if self.transfer is None else self.transfer.take(some)
        return add_up(self.search.rings, views.x, placed, references, transfer, self.bank.workers.map)


def _added(total, more):
    if total is None:
        return more
    power = None if total.power is None else total.power + more.power
    return Sums(total.numerator + more.numerator, total.weight + more.weight, power)
