"""Scores of images against shifted references at all in-plane rotations, and their adjoint, as matrix products.

With x and a the harmonics of an image and of a template (:mod:`.disk`), the score of the template turned by psi is

    <x, R_psi a> = Re sum_q e_q exp(-i q psi) conj(x_q) . a_q,            e_0 = 1, else 2.

Real and imaginary parts give four real products per bin, one batched matrix product each,

    P0 = xr ar    P1 = xi ai    P2 = s xr ai    P3 = s xi ar              (s: the layout's folding sign)

and small cosine or sine transforms turn them into g0 ... g3 at the angles theta_h in [0, pi / 2], even bins m and odd
ones apart: cos m (pi - theta) = (-1)^m cos m theta, and sin m (pi - theta) = -(-1)^m sin m theta.  All rotations of the
template *and* of its mirror image follow by adding and subtracting these (see :mod:`.kernels`): the mirror costs
nothing.  The M-step is the transpose of the same steps.

Products of one image stand together, so that its transforms find them in the cache, and few images are multiplied at a
time, unless bins have so many entries that large products are faster.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .backend import SMALL_PRODUCT
from .cell_kernels import accumulate_cells, score_cells
from .disk import Disk
from .shifting import Shifts, filled

SHIFTS = 32           # shifts of a reference made, or taken back, by a worker at a time
TILE = 256            # templates scored together
FEW = 25              # images: small products of fewer are slower than large ones, although those copy their operands


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

    @property
    def quarter(self):
        """Number of angles theta_h from 0 to pi / 2, and of even bins."""
        return self.disk.n_psi // 4 + 1

    @cached_property
    def _transforms(self):
        """For cosines and sines: matrices (quarter, even bins) and (quarter, odd bins) of m theta_h."""
        tables = [table[: self.quarter, : self.disk.bins] for table in (self.cell_cosine, self.cell_sine)]
        return [[np.ascontiguousarray(table[:, parity::2]) for parity in (0, 1)] for table in tables]

    @cached_property
    def _runs(self):
        """(parity, bins, their places among the bins of that parity, entries in use) of products made together."""
        return [(parity, slice(first, run.stop, 2), slice(first // 2, (run.stop + 1 - parity) // 2), used)
                for run, used in self.disk.runs for parity in (0, 1)
                if (first := run.start + (run.start + parity) % 2) < run.stop]

    def _planes(self, x):
        """(image part (B, bins, width), part of the templates, transforms) of the four products with images x."""
        cosines, sines = self._transforms
        folded = x * self.disk.sign
        return (x[:, 0], 0, cosines), (x[:, 1], 1, cosines), (folded[:, 0], 1, sines), (folded[:, 1], 0, sines)

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
        """Partial scores g (4, B, 2, quarter, T) of images x (B, 2, bins, width) and templates (2, bins, width, T).

        power: partial products (up to 4, L, B, K) of K = T / shifts references, taken off in the bins (L,) given.
        spare: two of :class:`Spare`, to take g from, and what is needed to make it.
        """
        kept, passing = spare or (Spare(), Spare())
        width = templates.shape[-1]
        g = kept.take((4, len(x), 2, self.quarter, width))
        step = self._together(len(x), width)
        product = passing.take((step, 2, self.quarter, width))
        for start in range(0, len(x), step):
            some = slice(start, start + step)
            self._score(x[some], templates, [part[:, some] for part in power], power_bins, product, g[:, some])
        passing.give(product)
        return g

    def _together(self, images, templates):
        """Number of the images that are multiplied with so many templates at a time."""
        step = SMALL_PRODUCT // (templates * int(self.disk.widths.max()))
        if step < FEW:
            return images
        return -(-images // -(-images // step))            # chunks of like size

    def _score(self, x, templates, power, power_bins, product, g):
        """Fill the partial scores ``g`` of some images; ``product``: room for one of the four products."""
        product = product[: len(x)]
        for out, (image, part, transforms) in enumerate(self._planes(x)):
            for parity, bins, places, used in self._runs:
                np.matmul(image[:, bins, :used].transpose(1, 0, 2), templates[part, bins, :used],
                          out=product[:, parity, places].transpose(1, 0, 2))
            if out < len(power):
                for one, m in zip(power[out], power_bins):
                    product[:, m % 2, m // 2].reshape(*one.shape, -1)[:] -= one[..., None]
            for parity, transform in enumerate(transforms):
                np.matmul(transform, product[:, parity, : transform.shape[1]], out=g[out][:, parity])

    def flops(self, images, templates):
        """Floating-point operations of the products of :meth:`scores`, and of its adjoint."""
        return 8.0 * images * templates * (int(self.disk.widths.sum()) + self.quarter * self.disk.bins)

    def spread(self, weights, x, sums):
        """Adjoint of :meth:`scores`: add images x, weighted by partial weights (4, B, 2, quarter, T), to sums
        (T, 2, bins, width)."""
        product = np.empty(weights.shape[1:], np.float32)
        for plane, (image, part, transforms) in zip(weights, self._planes(x)):
            for parity, transform in enumerate(transforms):
                np.matmul(transform.T, plane[:, parity], out=product[:, parity, : transform.shape[1]])
            for parity, bins, places, used in self._runs:
                added = np.matmul(product[:, parity, places].transpose(1, 2, 0),
                                  image[:, bins, :used].transpose(1, 0, 2))
                sums[:, part, bins, :used] += added.transpose(1, 0, 2)

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
