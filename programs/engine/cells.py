"""Lists of significant cells, and the way from those of a coarse grid to those of a fine one."""
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import cell_kernels

NEAR = 10.0            # nats: cells all around a cell are evaluated when it is this near the best


@dataclass
class Cells:
    """Significant cells of a block, sorted by row (2 * template + mirrored), then image, then angle."""

    image: np.ndarray
    row: np.ndarray
    angle: np.ndarray
    weight: np.ndarray
    gain: np.ndarray = None

    def select(self, keep):
        columns = self.image, self.row, self.angle, self.weight, self.gain
        return Cells(*(None if column is None else column[keep] for column in columns))

    def keys(self, images, n_psi):
        """Each cell as one number, see :mod:`.cell_kernels`."""
        return (self.row.astype(np.int64) * images + self.image) * n_psi + self.angle

    @classmethod
    def joined(cls, parts):
        """The cells of several lists, without weights."""
        image, row, angle, gain = (np.concatenate([getattr(part, name) for part in parts])
                                   for name in ("image", "row", "angle", "gain"))
        return cls(image, row, angle, None, gain)


def empty_cells(count):
    """Room for image, row, angle and two numbers of ``count`` cells."""
    return (np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int16),
            np.empty(count, np.float32), np.empty(count, np.float32))


@lru_cache(maxsize=2)
def descent(coarse, fine):
    """The :class:`Descent` between two grids; kept, since the next iteration needs the same."""
    return Descent(coarse, fine)


class Descent:
    """Which cells of a fine grid to evaluate, given the significant ones of a coarse grid with half its angles.

    Those that the coarse cells stand for, and all around the best of them; then uphill: a coarse cell can be far from
    its peak, so the surroundings of the best fine cells follow until all have been evaluated.
    """

    def __init__(self, coarse, fine):
        self.children, self.neighbours = coarse.children(fine), coarse.neighbours(fine)
        self.surroundings = fine.neighbours(fine)
        self.fine = fine

    def run(self, cells, logp, count, score):
        """Fine cells, in no order, their log-posteriors, and the highest one (count,) of each image.

        cells, logp: coarse cells of ``count`` images and their log-posteriors.  score: called with sorted keys (see
        :mod:`.cell_kernels`), returns the cells that may be and their log-posteriors.
        """
        top = np.full(count, -np.inf, np.float32)
        cell_kernels.best_of_cells(cells.image, logp, top)
        fresh = self._below(cells, logp > top[cells.image] - NEAR, count)
        known, found = fresh, []
        top[:] = -np.inf
        while True:
            cells, logp = score(fresh)
            found.append((cells, logp))
            cell_kernels.best_of_cells(cells.image, logp, top)
            around = self._around(cells, logp > top[cells.image] - NEAR, count)
            fresh = around[known[np.searchsorted(known, around).clip(max=len(known) - 1)] != around]
            if not len(fresh):
                break
            known = np.sort(np.concatenate([known, fresh]), kind="stable")
        logp = np.concatenate([logp for _, logp in found])
        return Cells.joined([cells for cells, _ in found]), logp, top

    def _below(self, cells, near, count):
        """Sorted keys of the fine cells that coarse cells stand for, and of those around the ``near`` ones."""
        keys = np.empty(len(near) * max(2 * self.children.shape[1], 3 * self.neighbours.shape[1]), np.int64)
        found = cell_kernels.list_fine_cells(cells.image, cells.row, cells.angle, near, self.children, self.neighbours,
                                             len(self.fine.shifts), count, self.fine.disk.n_psi, keys)
        return np.unique(keys[:found])

    def _around(self, cells, near, count):
        """Sorted keys of the fine cells at and around those of ``cells`` that are ``near``."""
        keys = np.empty(np.count_nonzero(near) * 3 * self.surroundings.shape[1], np.int64)
        found = cell_kernels.list_surroundings(cells.image, cells.row, cells.angle, near, self.surroundings, count,
                                               self.fine.disk.n_psi, keys)
        return np.unique(keys[:found])
