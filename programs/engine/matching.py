"""Aligning images to references, each image to those that it is paired with.

Where :mod:`.alignment` asks which of all references an image resembles most, here every pair has an answer of its own:
particles and all alignment references, or particles and the average of their class.
"""
from dataclasses import dataclass

import numpy as np

from .correlation import EACH, EITHER, UNMIRRORED, Views
from .translation import unturned

BLOCK = 512               # images of one reference that are aligned together


@dataclass
class Tops:
    """The best pose of every pair, arrays (C,): score, and mirrored, psi, x, y as in :class:`.averaging.Placed`."""

    score: np.ndarray
    mirrored: np.ndarray
    psi: np.ndarray
    x: np.ndarray
    y: np.ndarray

    @classmethod
    def nowhere(cls, count):
        """Score 0 in the middle of the view."""
        return cls(np.zeros(count), np.zeros(count, int), *np.zeros((3, count)))

    def take(self, rows):
        return Tops(*(column[rows] for column in vars(self).values()))

    def put(self, rows, other):
        for name, column in vars(other).items():
            getattr(self, name)[rows] = column


def masked(references, mask):
    """References (K, n, n) less their mean inside the mask, multiplied by it; and their power inside it (K,)."""
    level = (references * mask).sum((1, 2)) / mask.sum()
    centred = references - level[:, None, None]
    return centred * mask, (centred**2 * mask).sum((1, 2))


def match(search, views, references, image, ref, limits, pool=map, turns=True, mirrors=True, other=True):
    """A list of :class:`Tops` of the pairs (image, ref), (C,) each: the best, and the best of the other mirror.

    Scores are correlation coefficients inside the mask.  The second is left out without ``mirrors``,
    and without ``other``, which takes longer.

    search: :class:`.correlation.Search`.  views: :class:`.correlation.Views` of N images.  references: (K, n, n).
    limits: (N, 4) lowest and highest x, then y, of the mask's shift in each view.
    turns, mirrors: whether references are turned, and mirrored.
    """
    images, power = masked(references, search.mask)
    norm = 1 / np.sqrt(np.maximum(search.mask.sum() * power, np.finfo(np.float32).tiny))
    wanted = (EACH if other else EITHER) if mirrors else UNMIRRORED
    order = np.argsort(ref, kind="stable")
    ends = np.searchsorted(ref[order], np.arange(len(references) + 1))
    groups = [(k, order[a:b]) for k, (a, b) in enumerate(zip(ends, ends[1:])) if b > a]
    prepared = dict(zip((k for k, _ in groups), pool(lambda group: search.references(images[group[0]][None]), groups)))
    tasks = [(k, part) for k, rows in groups for part in np.array_split(rows, -(-len(rows) // BLOCK))]

    def work(task):
        k, pairs = task
        rows = image[pairs]
        some = Views(views.x[rows], np.ascontiguousarray(views.packed[:, :, rows]), views.inverse[rows])
        scale = np.full((len(rows), 1), norm[k], np.float32)
        if turns:
            found = search.run(some, prepared[k], scale, limits[rows], search.mask.sum(), wanted)
            found.within(limits[rows])
        else:
            found = unturned(search, some, prepared[k], scale, limits[rows])
        return _best_of_mirrors(found, len(rows), wanted == EACH)

    both = [Tops.nowhere(len(image)) for _ in range(2 if wanted == EACH else 1)]
    for (_, pairs), parts in zip(tasks, pool(work, tasks)):
        for tops, part in zip(both, parts):
            tops.put(pairs, part)
    return both


def _best_of_mirrors(found, count, other):
    """The highest of every image's tops, and with ``other`` the highest of those with the other mirror."""
    order = np.lexsort((found.mirrored, -found.score, found.image))
    found = found.take(order)
    best = _first(found, count)
    if not other:
        return [best]
    return [best, _first(found.take(found.mirrored != best.mirrored[found.image]), count)]


def _first(found, count):
    """The first of every image's tops, which are sorted by image; nowhere for images without any."""
    _, first = np.unique(found.image, return_index=True)
    found, tops = found.take(first), Tops.nowhere(count)
    tops.put(found.image, Tops(found.score, found.mirrored, found.psi, found.x, found.y))
    return tops
