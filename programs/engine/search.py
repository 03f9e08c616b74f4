"""Scores of images against shifted references at all in-plane rotations, and their adjoint, as matrix products.

With x and a the harmonics of an image and of a template (:mod:`.disk`), the score of the template turned by psi is

    <x, R_psi a> = Re sum_q e_q exp(-i q psi) conj(x_q) . a_q,            e_0 = 1, else 2.

Real and imaginary parts give four real products per bin, one batched matrix product each,

    P0 = xr ar    P1 = xi ai    P2 = s xr ai    P3 = s xi ar              (s: the layout's folding sign)

and four small cosine or sine transforms turn them into g0 ... g3 at the angles theta_h in [0, pi].  All rotations of
the template *and* of its mirror image follow by adding and subtracting these (see :mod:`.kernels`): the mirror costs
nothing.  The M-step is the transpose of the same steps.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .cell_kernels import accumulate_cells, score_cells
from .disk import Disk
from .shifting import Shifts, filled

SHIFTS = 32           # shifts of a reference made, or taken back, by a worker at a time
TILE = 512            # templates scored together: enough for the matrix products, small enough for the caches


def shift_grid(radius, step=1):
    """Integer shifts (S, 2) = (x, y), multiples of ``step``, within ``radius`` pixels of zero."""
    reach = int(radius // step) * step
    y, x = np.mgrid[-reach : reach + 1 : step, -reach : reach + 1 : step]
    inside = x**2 + y**2 <= radius**2
    return np.stack([x[inside], y[inside]], 1)


class Spare:
    """Arrays that are used again: fresh memory costs a tenth of the time that the products take."""

    def __init__(self):
        self._free = []

    def take(self, shape):
        """A float32 array of this shape with anything in it."""
        size = int(np.prod(shape))
        try:
            array = self._free.pop()                    # one step, so that threads may share the list
        except IndexError:
            array = np.empty(0, np.float32)
        return (array if len(array) >= size else np.empty(size, np.float32))[:size].reshape(shape)

    def give(self, array):
        """Take back an array, or a view of it, that nobody will look at again."""
        self._free.append(array.base)


@dataclass(frozen=True, eq=False)
class Grid:
    """Where posteriors are evaluated: a disk of harmonics with its angles, and a grid of shifts.

    shifts: int (S, 2) pixels, multiples of ``step``.
    """

    disk: Disk
    shifts: np.ndarray
    step: int = 1

    @cached_property
    def phase(self):
        return self.disk.phase(self.shifts)

    @cached_property
    def cosine(self):
        """float32 (bins, bins): cos(m theta_h), rows theta_h = 2 pi h / n_psi."""
        return np.ascontiguousarray(self.cell_cosine[: self.disk.bins])

    @cached_property
    def sine(self):
        return np.ascontiguousarray(self.cell_sine[: self.disk.bins])

    @cached_property
    def cell_cosine(self):
        """float32 (n_psi, bins): cos(m psi) at all angles."""
        return np.cos(self._angles).astype(np.float32)

    @cached_property
    def cell_sine(self):
        return np.sin(self._angles).astype(np.float32)

    @property
    def _angles(self):
        n_psi = self.disk.n_psi
        return 2 * np.pi / n_psi * (np.outer(np.arange(n_psi), np.arange(self.disk.bins)) % n_psi)

    def tiles(self, references, parts=1):
        """Slices of whole references that are worked on together, at least ``parts`` of them where possible."""
        size = max(1, min(TILE // len(self.shifts), -(-references // parts)))
        return [slice(k, min(k + size, references)) for k in range(0, references, size)]

    def templates(self, polar, pool=map):
        """All shifted references (K, S, 2, bins, width), metric included, of their polar samples (K, rings, phi)."""
        out = np.empty((len(polar), len(self.shifts), *self.disk.shape), np.float32)

        def build(piece):
            k, part = piece
            self._moved.harmonics(polar[k], np.arange(part.start, part.stop), out[k, part])

        list(pool(build, self._pieces(len(polar))))
        return out

    def unshifted(self, sums, pool=map):
        """Adjoint of the shifts: polar samples complex128 (K, rings, phi) of sums (K, S, 2, bins, width).

        Shifts that nothing has been added to are passed over: the time this takes follows the posterior's width.
        """
        def move_back(piece):
            k, part = piece
            return k, self._moved.samples(sums[k], part.start + np.flatnonzero(filled(sums[k, part])))

        out = np.zeros((len(sums), *self.disk.kx.shape), complex)
        for k, polar in pool(move_back, self._pieces(len(sums))):
            out[k] += polar
        return out

    @cached_property
    def _moved(self):
        return Shifts(self.disk, self.shifts)

    def _pieces(self, references):
        """(reference, slice of shifts) for workers to share."""
        count = len(self.shifts)
        return [(k, slice(start, min(start + SHIFTS, count)))
                for k in range(references) for start in range(0, count, SHIFTS)]

    def scores(self, x, templates, power=(), power_bins=(), spare=None):
        """Partial scores g (4, half, B, T) of images x (B, 2, bins, width) and templates (T, 2, bins, width).

        power: partial products (up to 4, L, B, K) of K = T / shifts references, taken off in the bins (L,) given.
        spare: two of :class:`Spare`, to take g from, and what is needed to make it.
        """
        bins, count, width = self.disk.bins, len(x), len(templates)
        kept, passing = spare or (Spare(), Spare())
        g, product = kept.take((4, bins, count * width)), passing.take((bins, count, width))
        folded = x * self.disk.sign
        for out, image, part, table in ((0, x[:, 0], 0, self.cosine), (1, x[:, 1], 1, self.cosine),
                                        (2, folded[:, 0], 1, self.sine), (3, folded[:, 1], 0, self.sine)):
            for run, used in self.disk.runs:
                np.matmul(image[:, run, :used].transpose(1, 0, 2), templates[:, part, run, :used].transpose(1, 2, 0),
                          out=product[run])
            if out < len(power):
                for one, m in zip(power[out], power_bins):
                    product[m].reshape(*one.shape, -1)[:] -= one[..., None]
            np.matmul(table, product.reshape(bins, -1), out=g[out])
        passing.give(product)
        return g.reshape(4, bins, count, width)

    def flops(self, images, templates):
        """Floating-point operations of the products of :meth:`scores`, and of its adjoint."""
        return 8.0 * images * templates * (int(self.disk.widths.sum()) + self.disk.bins**2)

    def spread(self, weights, x, sums):
        """Adjoint of :meth:`scores`: add images x, weighted by partial weights (4, half, B, T), to sums (T, 2, ...)."""
        bins, count, width = self.disk.bins, len(x), weights.shape[-1]
        folded = x * self.disk.sign
        product = np.empty((bins, count * width), np.float32)
        for plane, image, part, table in ((0, x[:, 0], 0, self.cosine), (1, x[:, 1], 1, self.cosine),
                                          (2, folded[:, 0], 1, self.sine), (3, folded[:, 1], 0, self.sine)):
            np.matmul(table.T, weights[plane].reshape(bins, -1), out=product)
            turned = product.reshape(bins, count, width).transpose(0, 2, 1)
            for run, used in self.disk.runs:
                added = np.matmul(turned[run], image[:, run, :used].transpose(1, 0, 2))
                sums[:, part, run, :used] += added.transpose(1, 0, 2)

    def score_cells(self, keys, x, templates, power, power_bins, cells):
        """Fill ``cells``, arrays of image, row, angle and score, for sorted keys; see :mod:`.cell_kernels`.

        x, templates: as in :meth:`scores`.  power: (B, K, 2, 2, L), see visibility.rows_of, of the bins (L,) given.
        Returns how many pairs of an image and a row they belong to.
        """
        return score_cells(x, self.disk.sign, self.disk.widths, templates, self.cell_cosine, self.cell_sine, power,
                           power_bins, keys, *cells)

    def spread_cells(self, cells, x, sums):
        """The same for a list of cells: add each cell's image, weighted, to the sums (T, 2, bins, width)."""
        accumulate_cells(x, self.disk.sign, self.disk.widths, self.disk.parity, cells.image, cells.row, cells.angle,
                         cells.weight, self.cell_cosine, self.cell_sine, sums)

    def children(self, fine):
        """Indices (S, n) of the fine shifts that each of this (coarse) grid's shifts stands for, -1 for none.

        Every fine shift has one parent: the nearest coarse shift, ties going to the smaller coordinates.  At the
        rim, where that one lies beyond the coarse grid, it is the nearest of those that exist.
        """
        distance = ((fine.shifts[:, None] - self.shifts) ** 2).sum(2)
        order = np.lexsort((self.shifts[:, 1], self.shifts[:, 0]))
        parent = order[distance[:, order].argmin(1)]
        table = np.full((len(self.shifts), np.bincount(parent).max()), -1)
        for coarse in range(len(self.shifts)):
            mine = np.flatnonzero(parent == coarse)
            table[coarse, : len(mine)] = mine
        return table

    def neighbours(self, fine):
        """Indices (S, 9) of the fine shifts at and next to each of this (coarse) grid's shifts, -1 for none."""
        index = {tuple(shift): i for i, shift in enumerate(fine.shifts.tolist())}
        around = [(dx * fine.step, dy * fine.step) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
        return np.array([[index.get((x + dx, y + dy), -1) for dx, dy in around] for x, y in self.shifts.tolist()])
