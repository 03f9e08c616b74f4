"""The maximum-correlation search: which reference, mirrored or not, turned and shifted, an image resembles most.

References are masked, images are not.  The correlation inside the mask, moved over an image, is then a correlation with
the masked reference: no image is resampled, and what the original divides by, the image's deviation inside the mask,
comes from two convolutions per image.  All references, mirrors and shifts are scored at all angles by batched matrix
products, coarse to fine:

1. on a coarse grid of shifts and angles, at low resolution, everything is scored;
2. every quarter of the circle, per reference and mirror, whose best score could still be the image's best, given what
   the coarse grid can lose, is climbed on the fine grid at full resolution, and the top fitted by a paraboloid.

What the coarse grid can lose is taken from the references themselves, so that smooth references leave little to climb
and sharp ones more.
"""
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import numpy as np
from scipy import fft

from . import candidates, climbing
from . import correlation_kernels as kernels
from .counts import Counts
from .packing import Packing

COARSE_FREQUENCY = 0.2     # 1/px: resolution of the coarse search
COARSE_SHIFT = 2.0         # px between its shifts, at least
COARSE_ARC = 2.4           # px at the mask's rim between its angles, at most
FINER = 4                  # fine angles to a coarse one
SPREAD = 3.0               # standard deviations of noise that may hide the best score
POWERLESS = 1e-3           # share of a reference's power that may lie beyond the rings looked at
ROUNDING = 1e-5            # relative difference of scores that means nothing
TILE_CELLS = 8192          # (image, template) pairs scored together
BLOCK, PAIRS = 64, 2048    # images scored together, at least, and (image, template) pairs of few templates
_counting = Lock()
UNMIRRORED, EITHER, EACH = range(3)             # what is looked for: see Search.run


@dataclass
class Views:
    """Images ready to be searched.

    x: float32 (N, size), their harmonics.  packed: (2, Q, N, J), those of the coarse search by order and ring.
    inverse: float32 (N, G, G), one over the deviation inside the mask moved by whole pixels (y, x).
    """

    x: np.ndarray
    packed: np.ndarray
    inverse: np.ndarray


@dataclass
class References:
    """Masked references.

    samples: complex64 (K, P).  loss: (K,) share of its correlation that the coarse search can miss.  rings: how many
    of them hold all of their power.  packed: (2, Q, J, T) coarse templates, T = K x S.
    """

    samples: np.ndarray
    loss: np.ndarray
    rings: int
    packed: np.ndarray


@dataclass
class Found:
    """Tops of the hills that were climbed, arrays (C,): image, ref, mirrored, score, psi in radians, shift x, y in px.

    The image is the reference shifted, then (mirrored) y -> -y, then turned from x to y.
    """

    image: np.ndarray
    ref: np.ndarray
    mirrored: np.ndarray
    score: np.ndarray
    psi: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def take(self, rows):
        return Found(*(column[rows] for column in vars(self).values()))

    def within(self, limits):
        """Put tops that a fit placed beyond the limits (N, 4), see :meth:`Search.run`, on them; in place."""
        c, s = np.cos(self.psi), np.sin(self.psi)
        y = np.where(self.mirrored, -self.y, self.y)
        there = c * self.x - s * y, s * self.x + c * y
        low_x, high_x, low_y, high_y = limits[self.image].T
        x, y = np.clip(there[0], low_x, high_x), np.clip(there[1], low_y, high_y)
        outside = (x != there[0]) | (y != there[1])
        back = c * x + s * y, np.where(self.mirrored, -1, 1) * (c * y - s * x)
        self.x, self.y = np.where(outside, back[0], self.x), np.where(outside, back[1], self.y)

    @classmethod
    def joined(cls, parts):
        if not parts:
            return cls(*np.zeros((3, 0), int), *np.zeros((4, 0)))
        return cls(*(np.concatenate(columns) for columns in zip(*(vars(part).values() for part in parts))))


@dataclass(frozen=True)
class Search:
    """The grids of a search, and what does not depend on the references.

    rings: :class:`.rings.Rings`.  mask: (n, n), what pixels of references weigh.  radius: of the mask.
    step: of the shifts in pixels.  reach: the longest shift wanted, in pixels.
    exhaustive: score everything on the fine grid.  climbs: how many of an image's candidates, the best by the coarse
    search (of each mirror, where both are looked for), are climbed; None: all that may lead to its highest top.
    counts: :class:`.counts.Counts` of all that has been evaluated so far.
    """

    rings: object
    mask: np.ndarray
    radius: float
    step: float
    reach: float
    exhaustive: bool = False
    climbs: int = None
    pool: object = field(default=map, repr=False)
    counts: Counts = field(default_factory=Counts, repr=False, compare=False)

    # ---- the grids -------------------------------------------------------------------------------------------

    @cached_property
    def coarse_angles(self):
        """Number of coarse angles, a multiple of four."""
        if self.exhaustive:
            return self.fine_angles
        return 4 * int(np.ceil(2 * np.pi * self.radius / (4 * COARSE_ARC)))

    @cached_property
    def fine_angles(self):
        return 4 * FINER * int(np.ceil(2 * np.pi * self.radius / (4 * COARSE_ARC)))

    @cached_property
    def coarse_rings(self):
        return len(self.rings.k) if self.exhaustive else self.rings.within(COARSE_FREQUENCY)

    @cached_property
    def stride(self):
        """Fine steps between coarse shifts."""
        return 1 if self.exhaustive else max(1, round(COARSE_SHIFT / self.step))

    @cached_property
    def places(self):
        """Coarse shifts (S, 2) = (x, y) in steps of the fine lattice."""
        return self._lattice(self.stride, self.reach + self.step / 4)

    @cached_property
    def fine_places(self):
        """Fine shifts (T, 2), those of the climbs' surroundings included."""
        return self._lattice(1, self.reach + self.step * 1.5 * (self.reach > 0))

    def _lattice(self, stride, radius):
        edge = int(radius / self.step // stride) * stride
        y, x = np.mgrid[-edge : edge + 1 : stride, -edge : edge + 1 : stride]
        inside = (x**2 + y**2) * self.step**2 <= radius**2
        return np.stack([x[inside], y[inside]], 1)

    @cached_property
    def index(self):
        """(L, L) number of the fine shift at a lattice point (y, x), -1 for none."""
        edge = np.abs(self.fine_places).max()
        index = np.full((2 * edge + 1, 2 * edge + 1), -1)
        x, y = self.fine_places.T + edge
        index[y, x] = np.arange(len(self.fine_places))
        return index

    @cached_property
    def margin(self):
        """Pixels around zero within which :attr:`Views.inverse` is known."""
        return int(np.ceil(self.reach + max(self.step, COARSE_SHIFT)))

    @cached_property
    def _quarter(self):
        return np.arange(self.coarse_angles // 4 + 1) * 2 * np.pi / self.coarse_angles

    @cached_property
    def _moved_mask(self):
        """int32 (8, H, S): where in a flat (G, G) a coarse cell puts the mask, by sector and angle."""
        theta = self._quarter
        angles = np.stack([theta, -theta, np.pi - theta, np.pi + theta])
        x, y = self.step * self.places.T
        cells = []
        for mirrored in (1, -1):
            c, s = np.cos(angles)[..., None], np.sin(angles)[..., None]
            at_x, at_y = (np.rint(v).astype(int).clip(-self.margin, self.margin) + self.margin
                          for v in (c * x - s * mirrored * y, s * x + c * mirrored * y))
            cells.append(at_y * (2 * self.margin + 1) + at_x)
        return np.concatenate(cells).astype(np.int32)

    @cached_property
    def _phase(self):
        return self.rings.phase(self.step * self.places)

    @cached_property
    def fine_phase(self):
        return self.rings.phase(self.step * self.fine_places)

    @cached_property
    def _waves(self):
        """cos, sin (fine angles, Q) of q psi."""
        angle = np.arange(self.fine_angles)[:, None] * 2 * np.pi / self.fine_angles * self.rings.orders
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    @cached_property
    def _coarse_waves(self):
        """cos, sin (H, Q) of the coarse search's angles and orders."""
        angle = np.outer(self._quarter, self._packing.orders)
        return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    # ---- preparing images and references ---------------------------------------------------------------------

    @cached_property
    def _packing(self):
        return Packing(self.rings, self.coarse_rings, self.coarse_angles)

    @property
    def packed_shape(self):
        """(2, Q, J) of one image."""
        return self._packing.shape

    def views(self, images, offset=None):
        """:class:`Views` of images float32 (B, n, n).

        offset: (B, 2) = (x, y), fractions of a pixel from pixel n / 2 to where the middle is to be.  Only for searches
        that know no shifts: the images' deviations are those in the middle.
        """
        samples, inverse = self.rings.sample(images), self._inverse_deviation(images)
        if offset is not None and offset.any():
            moved = (samples[0] + 1j * samples[1]) * self.rings.phase(-offset)
            samples = np.stack([moved.real, moved.imag])
            inverse[:] = _between(inverse, offset)[:, None, None]
        x = self.rings.expand(samples)
        return Views(x, self._packing(x), inverse)

    def _inverse_deviation(self, images):
        """float32 (N, G, G): one over the deviation of the images inside the mask moved by whole pixels (y, x)."""
        n, g = self.rings.n, self.margin
        size = fft.next_fast_len(n)
        # images and their squares as real and imaginary parts: the mask is real, they stay apart
        both = images + 1j * images**2
        moved = fft.ifft2(fft.fft2(both, (size, size)) * self._transform_of_mask)
        pixels = (np.arange(-g, g + 1)) % size
        moved = moved[:, pixels[:, None], pixels] / self.mask.sum()
        variance = moved.imag - moved.real**2
        return np.where(variance > 0, 1 / np.sqrt(np.where(variance > 0, variance, 1)), 0).astype(np.float32)

    @cached_property
    def _transform_of_mask(self):
        size = fft.next_fast_len(self.rings.n)
        return np.conj(fft.fft2(self.mask, (size, size))).astype(np.complex64)

    def references(self, images):
        """:class:`References` of images (K, n, n), masked already."""
        rings = self.rings
        planes = rings.sample(np.asarray(images, np.float32))
        samples = (planes[0] + 1j * planes[1]).T.astype(np.complex64)
        power = rings.power_of_rings(samples)
        within = np.cumsum(power, 1) / np.maximum(power.sum(1, keepdims=True), np.finfo(float).tiny)
        last = max(self.coarse_rings, int((within < 1 - POWERLESS).sum(1).max()) + 1)
        coarse = list(self.pool(self._coarse_templates, samples))
        return References(samples, self._loss(power, rings.expand(planes)), min(last, len(rings.k)),
                          np.concatenate(coarse, axis=3))

    def _coarse_templates(self, samples):
        rings, last = self.rings, self.coarse_rings
        x = rings.shifted(samples, self._phase, last) * rings.metric[: rings.start[last]]
        return np.ascontiguousarray(self._packing(x).transpose(0, 1, 3, 2))

    def _loss(self, power, x):
        """Share (K,) of each reference's power that the coarse search misses half-way between its cells."""
        if self.exhaustive:
            return np.zeros(len(power))
        total = np.maximum(power.sum(1), np.finfo(float).tiny)
        diagonal = self.step * self.stride / np.sqrt(2)
        # the shift in any direction: a mean over the circle
        k, turn = self.rings.k[: self.coarse_rings], np.cos(np.arange(32) * np.pi / 32)
        seen = power[:, : len(k)] @ np.cos(np.outer(k * diagonal, turn)).mean(1) / total
        order = self.rings.order_of_entries
        turned = (x**2 * self.rings.metric) @ np.cos(order * np.pi / self.coarse_angles) / total
        return np.clip(1 - seen * turned, 0, 1)

    # ---- the search ------------------------------------------------------------------------------------------

    def run(self, views, references, norm, limits, freedom, mirrors=EITHER):
        """:class:`Found`: for every image of ``views`` all tops that may be its highest, or close to it.

        norm: float32 (N, K), what each reference's correlation with an image's deviation of one is multiplied by.
        limits: (N, 4), lowest and highest x, then y, of the mask's shift in the image, in pixels.
        freedom: number of independent noise values in the mask, for scores that are correlation coefficients.
        mirrors: UNMIRRORED: references as they are; EITHER: mirrored or not, whichever is higher; EACH: the tops that
        may be the highest with the mirror, and those that may be without.
        """
        block = max(BLOCK, PAIRS // references.packed.shape[-1])
        blocks = np.array_split(np.arange(len(views.x)), -(-len(views.x) // block))
        allowed = self._allowed(limits)
        parts = self.pool(lambda rows: self._coarse(views, references, norm, allowed, rows, freedom, mirrors),
                          blocks)
        coarse = [np.concatenate(columns) for columns in zip(*parts)]
        order = np.argsort(coarse[1], kind="stable")
        coarse = [column[order] for column in coarse]
        ends = np.searchsorted(coarse[1], np.arange(len(references.samples) + 1))
        pieces = [[column[a:b] for column in coarse] for a, b in zip(ends, ends[1:]) if b > a]
        climbed = list(self.pool(lambda some: self._climb(views, references, limits, *some), pieces))
        self._count(len(views.x) * references.packed.shape[-1], len(blocks), [evaluated for _, evaluated in climbed])
        found = Found.joined([tops for tops, _ in climbed])
        found = found.take(found.score > 0)
        found.score = found.score * norm[found.image, found.ref]
        return found

    def _count(self, pairs, blocks, climbed):
        """Add to the counts: pairs of images and templates, blocks, and (cells, turns) of climbs."""
        flops = 8 * pairs * (np.prod(self.packed_shape[1:]) + self._coarse_waves[0].size)
        fine, turns = np.sum(climbed, 0, int) if climbed else (0, 0)
        cells = {"swept_cells" if self.exhaustive else "coarse_cells": 2 * self.coarse_angles * pairs}
        with _counting:
            self.counts.add(Counts(float(flops), fine_cells=int(fine), turns=int(turns), blocks=blocks, **cells))

    def _allowed(self, limits):
        """bool (N, G, G): whole-pixel shifts from which a coarse cell may lead to one within the limits."""
        pixel = np.arange(-self.margin, self.margin + 1)
        slack = self.step / 2 if self.exhaustive else max(self.step * self.stride, 1) / 2
        x_low, x_high, y_low, y_high = (column[:, None] for column in np.asarray(limits).T)
        x = (pixel >= x_low - slack) & (pixel <= x_high + slack)
        y = (pixel >= y_low - slack) & (pixel <= y_high + slack)
        return y[:, :, None] & x[:, None, :]

    def _coarse(self, views, references, norm, allowed, rows, freedom, mirrors):
        """Candidates of a block of images: arrays image, reference, mirrored, angle, shift, score."""
        here = slice(rows[0], rows[-1] + 1)
        table = self._moved_mask
        inverse = np.where(allowed[here], views.inverse[here], np.float32(0)).reshape(len(rows), -1)
        factor = np.empty((len(rows), *table.shape), np.float32)
        kernels.gather(inverse, table, factor)
        if mirrors == UNMIRRORED:
            factor[:, kernels.SECTORS // 2 :] = 0
        sides = 2 if mirrors == EACH else 1
        shifts = len(self.places)
        count, tile = len(norm[0]), max(1, TILE_CELLS // (len(rows) * shifts))
        top, parts = np.zeros((len(rows), sides)), []
        for first in range(0, count, tile):
            some = slice(first, min(first + tile, count))
            g = self._scores(views.packed[:, :, here], references.packed[..., some.start * shifts : some.stop * shifts])
            best = np.empty((len(rows), some.stop - some.start, kernels.SECTORS), np.float32)
            kernels.best_of_sectors(g, factor, best)
            scale = norm[here, some]
            of_sides = best.reshape(*best.shape[:2], sides, -1).max(3)
            np.maximum(top, (of_sides * scale[..., None]).max(1), out=top)
            floor = self._floor(top.min(1)[:, None], references.loss[some], freedom) / scale
            wanted = (best >= floor.astype(np.float32)[..., None]) & (best > 0)
            if self.climbs:
                wanted &= candidates.among_highest(best * scale[..., None], self.climbs, sides)
            found = candidates.empty(np.count_nonzero(wanted))
            kernels.locate(g, factor, wanted, first, found)
            parts.append(found)
        image, ref, mirrored, angle, shift, score = (np.concatenate(column) for column in zip(*parts))
        side, value = mirrored * (sides - 1), score * norm[here][image, ref]
        good = value >= self._floor(top[image, side], references.loss[ref], freedom)
        if self.climbs:
            good &= candidates.rank(sides * image + side, value) < self.climbs
        return [column[good] for column in (image + rows[0], ref, mirrored, angle, shift, score)]

    def _floor(self, top, loss, freedom):
        """The coarse score that a reference's best must have where the image's best one is ``top``."""
        return top * (1 - loss - ROUNDING) - SPREAD * np.sqrt(2 * loss / freedom)

    def _scores(self, x, templates):
        """Partial scores g (8, H, B, T) of images (2, Q, B, J) and templates (2, Q, J, T)."""
        count, width = x.shape[2], templates.shape[3]
        product = np.empty((4, x.shape[1], count, width), np.float32)
        for out, (image, template) in zip(product, ((0, 0), (1, 1), (0, 1), (1, 0))):
            np.matmul(x[image], templates[template], out=out)
        g = np.empty((kernels.SECTORS, len(self._quarter), count * width), np.float32)
        kernels.transform(product.reshape(4, -1, count * width), *self._coarse_waves, self._packing.even, g)
        return g.reshape(kernels.SECTORS, -1, count, width)

    def _climb(self, views, references, limits, image, ref, mirrored, angle, shift, score):
        """:class:`Found` of one reference's candidates, and what was evaluated: cells, turns."""
        rings, last = self.rings, references.rings
        layout = rings.start[:last], rings.each[:last]
        templates = rings.shifted(references.samples[ref[0]], self.fine_phase, last)
        templates *= rings.metric[: rings.start[last]]
        tops = np.empty((len(image), 4))
        angle = angle * (self.fine_angles // self.coarse_angles)
        lattice, limits = (templates, self.index, float(self.step)), np.asarray(limits, float)
        evaluated = climbing.climb(views.x, layout, *lattice, *self._waves, views.inverse, limits, image, mirrored,
                                   angle, self.places[shift], tops)
        return Found(image, ref, mirrored, *tops.T), evaluated


def _between(maps, offset):
    """Values (B,) of maps (B, G, G) at places (B, 2) = (x, y) less than a pixel from the middle."""
    middle = maps.shape[1] // 2
    first = np.floor(offset).astype(int)
    (fx, fy), (x, y), b = (offset - first).T, first.T + middle, np.arange(len(maps))
    return ((1 - fy) * ((1 - fx) * maps[b, y, x] + fx * maps[b, y, x + 1])
            + fy * ((1 - fx) * maps[b, y + 1, x] + fx * maps[b, y + 1, x + 1]))
