"""One pass of expectation over a set of images: blocks in parallel, sums in a fixed order."""
from collections import deque
from dataclasses import dataclass

import numpy as np

from .counts import Counts
from .expectation import Expectation, Images
from .local import Near, last_places
from .model import Statistics

BLOCK_BYTES = 96 * 2**20      # of scores held by each worker
MOST_IMAGES = 128             # in a block: products are not faster with more
MOST_IMAGES_FAST = 256        # where few of the scores are products: what is done once a block then weighs more
SPREAD_PARTS = 8              # of the references whose sums workers share; fixed, or rounding would depend on threads


@dataclass
class Particles:
    """What the last E-step said about each image; arrays of length N.

    ref: most probable class, from 0.  psi in degrees, shift_x, shift_y in pixels and flip align the particle to its
    class average (:mod:`mlalign.programs.geometry`).  scale and background belong to grey-scale refinement.
    """

    ref: np.ndarray
    psi: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray
    flip: np.ndarray
    peak: np.ndarray
    class_probability: np.ndarray
    log_likelihood: np.ndarray
    robust: np.ndarray
    scale: np.ndarray
    background: np.ndarray

    @classmethod
    def unknown(cls, count):
        zeros = {name: np.zeros(count) for name in ("psi", "shift_x", "shift_y", "peak", "class_probability",
                                                    "log_likelihood", "background")}
        return cls(ref=np.full(count, -1), flip=np.zeros(count, int), robust=np.ones(count), scale=np.ones(count),
                   **zeros)

    def arrays(self):
        return dict(vars(self))

    def part(self, part):
        """The particles in a slice: what is written to them is written here."""
        return Particles(**{name: column[part] for name, column in self.arrays().items()})


@dataclass
class Pass:
    """Settings of an E-step that do not change over a run."""

    mirror: bool = False
    df: float = None
    norm: bool = False
    significance: float = 1e-9
    probabilities: np.ndarray = None       # (N, K), filled when given
    search_shift: float = None             # pixels from where each particle was found before; None: the whole grid


class EStep:
    """The E-step under one model: blocks of images are searched side by side and gathered in order.

    bank: :class:`.bank.ImageBank`; particles: updated; grid: of the search; coarse: (ImageBank, Grid) for a fast one.
    counts: :class:`.counts.Counts` of what has been evaluated.
    """

    def __init__(self, model, bank, particles, settings, workers, grid, coarse=None):
        self.model, self.bank, self.particles, self.settings = model, bank, particles, settings
        self.workers, self.grid, self.coarse = workers, grid, coarse
        first = None if coarse is None else self._expectation(*coarse, model.on(coarse[1].disk).polar)
        self.search = self._expectation(self._searched, grid, model.polar, first)
        self.length = np.rint(np.hypot(*grid.shifts.T)).astype(int)
        self.squared = (grid.shifts**2).sum(1)
        self.counts = Counts()
        self._spreading = []

    @property
    def _searched(self):
        """The bank of the images that are compared with the references."""
        return self.bank

    def _expectation(self, bank, grid, polar, first=None):
        model, settings = self.model, self.settings
        return Expectation(grid, polar, model.log_class(settings.mirror), model.sigma_offset,
                           model.noise(grid.disk, settings.df), first, settings.significance, self.workers.map,
                           bank.harmonics_seen)

    def run(self, rows, progress=None):
        """:class:`.model.Statistics` of the images ``rows``.  progress: called with the number of images done."""
        total = self._zero()
        halves = [self._portions(rows[rows % 2 == half]) for half in (0, 1)]
        # one queue of all blocks: workers go on with the second half while the first one's sums are finished
        search = self._search_all(block for half in halves for portion in half for block in self._blocks(portion))
        for half, portions in enumerate(halves):
            done, sums = None, self._zero_sums()
            for portion in portions:
                left = len(portion)
                while left:
                    found = next(search)
                    self._spread(found, sums)
                    self._gather(total, half, found)
                    left -= len(found.x)
                    if progress:
                        progress(len(found.x))
                self._wait_for_sums()
                done = self._portion_done(total, portion, sums, done)
            if done is not None:
                total.half_sums[half] = self._unshifted(sums)
        return total

    # ---- what happens elsewhere on a GPU, see :mod:`.device_pass` -------------------------------------------------

    def _search_all(self, blocks):
        """:class:`Found` of every block, in order; they are searched side by side, a few ahead of what is taken."""
        threads, ahead = self.workers.threads, deque()
        for block in blocks:
            ahead.append(self.workers.start(self._block, block))
            if len(ahead) > (threads + 1 if threads > 1 else 0):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _zero_sums(self):
        """Where images, turned back and weighted, are added up: (K, S, 2, bins, width)."""
        return np.zeros((self.model.references, len(self.grid.shifts), *self.grid.disk.shape), np.float32)

    def _spread(self, found, sums):
        """Begin to add a block's images to the sums, each part of which gets one block after the other."""
        self._wait_for_sums()
        self._spreading = [self.workers.start(self.search.spread, found.block, found.x, sums, tile)
                           for tile in self.grid.tiles(self.model.references, SPREAD_PARTS)]

    def _wait_for_sums(self):
        """Until all that has been begun is in the sums."""
        for part in self._spreading:
            part.result()
        self._spreading = []

    def _unshifted(self, sums):
        """Polar samples complex128 (K, rings, phi) of the sums, shifts taken back."""
        return self.grid.unshifted(sums, self.workers.map)

    # ---- the parts of a pass --------------------------------------------------------------------------------------

    def _blocks(self, portion):
        """The images of a portion in blocks that are searched together."""
        return np.array_split(self._alike_in_reach(portion), -(-len(portion) // self._block_size()))

    def _block_size(self):
        size = block_size(self.grid, self.model.references)
        if self.coarse is None:
            return size
        # the fine scores are seldom needed all at once
        return min(block_size(self.coarse[1], self.model.references, MOST_IMAGES_FAST), 4 * size)

    def _alike_in_reach(self, rows):
        """Images in an order that puts together those whose searches, near where they were found, need like shifts."""
        if self.settings.search_shift is None:
            return rows
        places, radius = last_places(self.particles, rows, self.settings.search_shift)
        reach = np.ceil(np.hypot(*places.T) + radius)
        return rows[np.argsort(np.minimum(reach, self.length.max()), kind="stable")]

    def _near(self, rows):
        """:class:`.local.Near` of the images ``rows``, or None."""
        if self.settings.search_shift is None or self.model.sigma_offset <= 0:
            return None
        return Near.of(self.grid, *last_places(self.particles, rows, self.settings.search_shift))

    def _block(self, rows):
        """Search a block of images: :class:`Found`."""
        raise NotImplementedError

    def _zero(self):
        """Statistics of no image."""
        return Statistics.zero(self.grid, self.model.references)

    def _portions(self, rows):
        """Parts of ``rows`` that blocks do not mix."""
        return [rows] if len(rows) else []

    def _portion_done(self, total, portion, sums, before):
        """Called when all of a portion is in ``sums``, with what the call before it in this half returned."""
        return True

    def _gather(self, total, half, found):
        """Add what was found to the statistics."""
        block, mass = found.block, found.block.row_mass
        total.half_weights[half] += block.class_weight
        total.class_mass += mass.sum((1, 2))
        used, refined = found.scales @ block.class_mass
        total.used_scale += used
        total.class_scale += refined
        total.mirror_mass += mass[:, :, 1].sum(1)
        by_shift = mass.sum((0, 2))
        total.squared_shift += float(by_shift @ self.squared)
        total.beyond += np.bincount(self.length, by_shift, len(total.beyond))
        total.power += block.robust_power
        total.robust += float(block.robust.sum())
        total.count += len(block.chosen)
        total.log_likelihood += float(block.log_likelihood.sum())
        total.peak += float(block.pose[:, 4].sum())
        self.counts.add(block.counts)


@dataclass
class Found:
    """A block of images after its search: harmonics to average, posterior, grey scales (2, B), old and new."""

    x: np.ndarray
    block: object
    scales: np.ndarray


class WhiteEStep(EStep):
    """White noise, references seen as they are; with ``norm`` grey scales and backgrounds are refined."""

    def __init__(self, model, bank, *arguments):
        super().__init__(model, bank, *arguments)
        self.reference_dc = _inner_products(bank.disk, model.polar, bank.ones_polar) / model.scale

    def _block(self, rows):
        norm, particles = self.settings.norm, self.particles
        used = particles.scale[rows].copy()
        scale = used[:, None] / self.model.scale if norm else None
        x, power, sums = self._images(self.bank, rows)
        coarse = None if self.coarse is None else Images(*self._images(self.coarse[0], rows)[:2], scale)
        block = self.search.block(Images(x, power, scale, near=self._near(rows)), coarse)
        if norm:
            _refine_normalisation(particles, rows, block, sums, self.bank.ones_power, self.reference_dc)
        note(particles, rows, block, self.grid.disk.n_psi, self.settings.probabilities)
        return Found(x, block, np.stack([used, particles.scale[rows]]))

    def _images(self, bank, rows):
        """Harmonics and squared norms of images, less their background, and their sums <1, x> before that."""
        x, power = bank.read(rows)
        if not self.settings.norm:
            return x, power, None
        return bank.without_background(x, power, self.particles.background[rows])


def block_size(grid, references, most=MOST_IMAGES):
    """Images scored together, at most ``most``, so that their scores stay within ``BLOCK_BYTES``."""
    cell_bytes = 32 * grid.quarter * len(grid.shifts) * references
    return int(np.clip(BLOCK_BYTES // cell_bytes, 4, most))


def _inner_products(disk, polar, other):
    """<a_k, b> (K,) of images given by their polar samples (K, rings, phi) and (rings, phi)."""
    return np.einsum("krp,rp,r->k", polar, other.conj(), disk.weight).real * 2 / disk.n_phi


def note(particles, rows, block, n_psi, probabilities=None):
    """Write a block's poses in the one convention, and the classes' probabilities (N, K) where given.

    The engine's image is R_psi F S_t A with F the mirror y -> -y, so r_ref = F R_-psi r - t; the convention mirrors x,
    and F_y = F_x R_180.
    """
    flip = block.pose[:, 3].astype(int)
    particles.ref[rows] = block.chosen
    particles.psi[rows] = (block.pose[:, 0] * 360 / n_psi + 180 * flip) % 360
    particles.shift_x[rows] = -block.pose[:, 1]
    particles.shift_y[rows] = -block.pose[:, 2]
    particles.flip[rows] = flip
    particles.peak[rows] = block.pose[:, 4]
    particles.class_probability[rows] = np.minimum(block.class_mass[np.arange(len(rows)), block.chosen], 1)
    particles.log_likelihood[rows] = block.log_likelihood
    particles.robust[rows] = block.robust
    if probabilities is not None:
        probabilities[rows] = block.class_mass


def _refine_normalisation(particles, rows, block, sums, ones_power, reference_dc):
    """Maximum-likelihood grey scale s and background b of x = s T a + b + noise (Scheres et al., JSB 166:234, 2009).

    sums: <1, x>; ones_power: <1, 1>; reference_dc: (K,) <1, a>.  Both are solved for together.
    """
    s, b = particles.scale[rows], particles.background[rows]
    dc = block.class_mass @ reference_dc
    power = block.expected_reference / s**2
    score = block.expected_score / s + b * dc
    determinant = power * ones_power - dc**2
    solvable = determinant > 1e-6 * power * ones_power
    new = np.where(solvable, (score * ones_power - sums * dc) / np.where(solvable, determinant, 1), 1.0)
    # an image without signal has no grey scale of its own; keep it within reason
    particles.scale[rows] = np.clip(new, 0.1, 10)
    # half of the way: the references' mean answers to the other half, or the two would swing for ever
    particles.background[rows] = (b + (sums - particles.scale[rows] * dc) / ones_power) / 2
