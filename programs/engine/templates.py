"""All shifted references of a search, in the order in memory that it reads them in.

ByShift is what single cells are scored with, one template after the other.  ByBin is what matrix products are made of:
OpenBLAS multiplies matrices up to twice as fast when they need not be transposed and fit into the cache.
"""
from dataclasses import dataclass

import numpy as np

from .kernels import add_products


def by_bin(templates):
    """A view (2, bins, width, T) of templates (K, S, 2, bins, width) or (T, 2, bins, width)."""
    return templates.reshape(-1, *templates.shape[-3:]).transpose(1, 2, 3, 0)


@dataclass(frozen=True)
class ByShift:
    """Templates float32 (K, S, 2, bins, width), metric included."""

    harmonics: np.ndarray

    @classmethod
    def of(cls, grid, polar, pool=map):
        """Those of references' samples (K, rings, phi)."""
        return cls(grid.templates(polar, pool))

    def tile(self, references, shifts):
        """Templates (2, bins, width, T) of a slice of the references and of some shifts."""
        return by_bin(self.harmonics[references, shifts])

    def products(self, sums, pool=map):
        """See :meth:`.expectation.Expectation.products`."""
        return sum(pool(lambda one, a: np.einsum("sbmj,sbmj->mj", one, a).astype(float), sums, self.harmonics))


@dataclass(frozen=True)
class ByBin:
    """The same in ``tiles``: {first reference: float32 (2, bins, width, T) of all shifts of some references}."""

    tiles: dict
    shifts: int

    @classmethod
    def of(cls, grid, polar, pool=map):
        slices = grid.tiles(len(polar))
        made = pool(lambda tile: np.ascontiguousarray(by_bin(grid.templates(polar[tile]))), slices)
        return cls({tile.start: templates for tile, templates in zip(slices, made)}, len(grid.shifts))

    def tile(self, references, shifts):
        whole = self.tiles[references.start]
        return whole.reshape(*whole.shape[:3], -1, self.shifts)[..., shifts].reshape(*whole.shape[:3], -1)

    def products(self, sums, pool=map):
        def of_tile(first, templates):
            out = np.zeros(templates.shape[:3])
            size, count = out.size, templates.shape[3]
            some = sums[first : first + count // self.shifts].reshape(count, size)
            add_products(some, templates.reshape(size, count), out.reshape(size))
            return out.sum(0)

        return sum(pool(of_tile, *zip(*self.tiles.items())))
