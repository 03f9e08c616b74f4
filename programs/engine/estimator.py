"""Expectation-maximisation on a run's images: chooses grids for a resolution and takes EM steps on them."""
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from .bank import READ_TOGETHER, ImageBank, ReadAhead
from .counts import Counts
from .device_pass import DeviceWhiteEStep
from .disk import Disk
from .em import Particles, Pass, WhiteEStep
from .model import Fixed, Model, update
from .parallel import ALONE, part_of
from .references import Members, aligned
from .search import Grid, shift_grid

QUICK_RADIUS = 12         # Fourier pixels up to which half the angles and coarse shifts are enough
QUICK_START_RADIUS = 16   # the same, to find a start
SAMPLES = 3               # of the finest detail, where sampling follows the resolution
SMALLEST_OFFSET = 0.5     # pixels: shifts are searched at least this many times the reach


@dataclass(frozen=True)
class Settings:
    """How a run searches and what it estimates; see the options of the same names."""

    mirror: bool = False
    fast: bool = False
    significance: float = 1e-9
    psi_step: float = 5.0
    max_shift: float = None
    psi_follows: bool = False      # rotations as fine as the resolution asks for, instead of psi_step
    shift_follows: bool = False    # shifts as coarse as the resolution allows
    reach: float = 4.0             # shifts searched, in standard deviations
    radius: float = None
    df: float = None
    sigma_trick: bool = True
    norm: bool = False
    fixed: Fixed = field(default_factory=Fixed)
    memory: float = 4 * 2**30


class Estimator:
    """EM steps at one resolution at a time (:meth:`enter`).

    source: images (``count``, ``size``, ``read(rows)``); settings: :class:`Settings`; workers: the thread pool;
    ranks: see :mod:`.parallel`.  Whatever is asked for is of the images of all ranks; the banks hold those of this one.
    counts: :class:`.counts.Counts` of what the last E-step evaluated of this rank's images.
    """

    def __init__(self, source, settings, workers, ranks=ALONE):
        self.source, self.settings, self.workers, self.ranks = source, settings, workers, ranks
        # the halves of the data are even and odd images, also as a rank counts them
        self.part = ranks.part(source.count, multiple=2)
        self.ours = part_of(source, self.part)
        self.n_psi = 4 * int(np.ceil(90 / settings.psi_step - 1e-9))
        self.shift_radius = None
        self.bank = self.coarse_bank = self._rows = None
        self._ahead = ReadAhead(self.ours)
        self.step_size = 1
        self.counts = Counts()

    @property
    def disk(self):
        return self.bank.disk

    @property
    def maxres(self):
        return self.bank.disk.maxres

    def enter(self, maxres, quick=False, rows=None):
        """Work at frequencies up to ``maxres`` from now on.

        quick: use the coarse grids that low resolution allows, also in exact runs.  rows: images, in ascending order,
        that will be asked for most; None for all.
        """
        limit = QUICK_START_RADIUS if quick else QUICK_RADIUS if self.settings.fast else 0
        use_quick = maxres * self.source.size <= limit
        finest = max(1, int(1 / (SAMPLES * maxres))) if self.settings.shift_follows else 1
        self.step_size = max(quick_step(self.source.size), finest) if use_quick else finest
        full = self._rotations(maxres)
        n_psi = full // 2 if use_quick else full
        here = self.bank is not None and (self.maxres, self.disk.n_psi) == (maxres, n_psi)
        if not here or rows is not self._rows:
            # of the same images and resolution the disk is the same, too: models on it need no resampling
            disk = self.disk if here else Disk(self.source.size, maxres, n_psi, self.settings.radius)
            self.bank = self.coarse_bank = None                       # free the memory before it is needed again
            self._rows = rows
            self.bank = self._bank(disk)
        self.two_grids = self.settings.fast and not use_quick
        if self.two_grids and self.workers.device is None:        # a GPU searches everything at once
            if self.coarse_bank is None:
                self.coarse_bank = self._bank(Disk(self.source.size, maxres / 2, full // 2, self.settings.radius))
        else:
            self.coarse_bank = None

    def _rotations(self, maxres):
        """Number of in-plane rotations for a resolution, a multiple of 4."""
        s = self.settings
        if not s.psi_follows:
            return self.n_psi
        return 4 * int(np.ceil(2 * np.pi * (s.radius or self.source.size / 2) * SAMPLES * maxres / 4))

    def _bank(self, disk):
        rows = None if self._rows is None else self.own(self._rows)
        return ImageBank(self.ours, disk, self.workers, self.settings.memory / 2, rows)

    # ---- ranks ------------------------------------------------------------------------------------------------

    def own(self, rows):
        """Those of the images ``rows`` that this rank works on, as its banks number them."""
        return rows[self._are_ours(rows)] - self.part.start

    def read_ahead(self, rows):
        """Read the images ``rows``, which come next, in the background, where they are not in memory."""
        self._ahead.begin(self.bank.not_kept(self.own(rows)))

    def _are_ours(self, rows):
        return (rows >= self.part.start) & (rows < self.part.stop)

    def _of_all(self, statistics, particles, rows):
        """The statistics of the images ``rows`` of all ranks, whose particles become known to all."""
        if self.ranks.size == 1:
            return statistics
        rows, columns = np.sort(rows), particles.arrays()
        ours = rows[self._are_ours(rows)]
        table = self.ranks.gather(np.stack([column[ours].astype(float) for column in columns.values()], 1))
        for column, values in zip(columns.values(), table.T):
            column[rows] = values
        return self.ranks.total(statistics)

    # ---- EM ---------------------------------------------------------------------------------------------------

    def expect(self, model, particles, rows, centred=False, probabilities=None, progress=None, search_shift=None):
        """E-step over images ``rows``: their Statistics; updates ``particles``.

        centred: search shifts of zero only (with a coarse search: there, and next to zero in the fine one).
        search_shift: search within this many pixels of where each particle was found before; None: everywhere.
        """
        radius = 0 if centred else self._radius(model.sigma_offset)
        coarse = None
        if self.coarse_bank is not None:
            coarse = self.coarse_bank, self._grid(self.coarse_bank.disk, radius, 2 * self.step_size)
        if self.two_grids:
            radius = max(radius, self.step_size)
        ours = None if probabilities is None else probabilities[self.part]
        settings = replace(self._pass(ours), search_shift=search_shift)
        grid = self._grid(self.disk, radius, self.step_size)
        estep = self._estep(model, particles.part(self.part), settings, grid, coarse)
        found = estep.run(self.own(rows), progress)
        self.counts = estep.counts
        if probabilities is not None and self.ranks.size > 1:
            every = np.sort(rows)
            probabilities[every] = self.ranks.gather(probabilities[every[self._are_ours(every)]])
        return self._of_all(found, particles, rows)

    def _pass(self, probabilities):
        s = self.settings
        return Pass(s.mirror, s.df, s.norm, s.significance, probabilities)

    def _estep(self, model, particles, settings, grid, coarse):
        step = WhiteEStep if self.workers.device is None else DeviceWhiteEStep
        return step(model, self.bank, particles, settings, self.workers, grid, coarse)

    def maximise(self, model, statistics, centred=False, fixed=None):
        """M-step; narrows the shifts searched where no particle has weight."""
        fixed = fixed or self.settings.fixed
        if centred:
            fixed = replace(fixed, offset=True)
        new = self.ranks.agree(self._update(model, statistics, fixed))
        if not centred:
            wanted = self._wanted_radius(new.sigma_offset)
            self.shift_radius = max(wanted, min(self._radius(model.sigma_offset), statistics.reach()))
        return new

    def _update(self, model, statistics, fixed):
        s = self.settings
        return update(model, statistics, s.mirror, fixed, s.df, s.sigma_trick, self.step_size)

    def run(self, model, rows, iterations, tolerance=0.0, fixed=None, goal=-np.inf):
        """A few EM steps over ``rows`` from ``model``: (model, log-likelihood of the last E-step, particles).

        Ends early when the likelihood grows by less than ``tolerance`` nats per image, or when it will not reach the
        ``goal`` even if the steps that are left gain as much as the last one (they gain less and less).  fixed:
        parameters to leave alone, instead of those of the settings.
        """
        particles, previous = Particles.unknown(self.source.count), -np.inf
        kept = self.shift_radius
        for left in reversed(range(iterations)):
            statistics = self.expect(model, particles, rows)
            model = self.maximise(model, statistics, fixed=fixed)
            gain, previous = statistics.log_likelihood - previous, statistics.log_likelihood
            if gain < tolerance * len(rows) or previous + left * gain < goal:
                break
        self.shift_radius = kept
        return model, statistics.log_likelihood, particles

    def initial_model(self, polar, sigma, sigma_offset, fractions=None):
        """A model with the given references on this resolution's disk."""
        count = len(polar)
        fractions = np.full(count, 1 / count) if fractions is None else np.asarray(fractions) / np.sum(fractions)
        mirror = np.full(count, 0.5 if self.settings.mirror else 0.0)
        return Model(self.disk, polar.astype(np.complex64), fractions, mirror, sigma, sigma_offset, np.ones(count))

    # ---- what starts need (see :mod:`.references`) --------------------------------------------------------------

    def members(self, model, particles, rows, k):
        """:class:`.references.Members` of class k: the images ``rows``, in ascending order."""
        ours, inside = self.own(rows), self._are_ours(rows)
        polar = aligned(self.disk, self.bank.read(ours)[0], particles.part(self.part), ours)
        features = self.disk.expand(polar) * np.sqrt(self.disk.metric) / np.float32(model.sigma)

        def average(chosen):
            return self.ranks.sum(polar[chosen[inside]].sum(0)) / np.count_nonzero(chosen)

        return Members(self.ranks.gather(features.reshape(len(ours), np.prod(self.disk.shape))), average)

    def total(self, rows):
        """Sum, float64 (2, bins, width), of the harmonics of the images ``rows``."""
        ours, total = self.own(rows), np.zeros(self.disk.shape)
        for start in range(0, len(ours), READ_TOGETHER):
            total += self.bank.read(ours[start : start + READ_TOGETHER])[0].sum(0, dtype=np.float64)
        return self.ranks.sum(total)

    def importance(self, model):
        """Factors (rings,) in which references' differences matter alike everywhere."""
        return np.ones(len(self.disk.k))

    def grid(self, model):
        """The grid that the model's images are searched on."""
        return self._grid(self.disk, self._radius(model.sigma_offset), self.step_size)

    # ---- grids ------------------------------------------------------------------------------------------------

    def _wanted_radius(self, sigma_offset):
        s = self.settings
        if s.max_shift is not None:
            return s.max_shift
        if sigma_offset <= 0:
            return 0
        return min(np.ceil(s.reach * max(sigma_offset, SMALLEST_OFFSET)), self.source.size // 2 - 1)

    def _radius(self, sigma_offset):
        if self.shift_radius is None:
            self.shift_radius = self._wanted_radius(sigma_offset)
        return self.shift_radius

    @staticmethod
    @lru_cache(maxsize=4)
    def _grid(disk, radius, step):
        return Grid(disk, shift_grid(radius, step), step)


def quick_step(size):
    """Spacing of coarse shifts, a power of two in pixels, for boxes of ``size`` pixels."""
    return max(1, 2 ** int(np.log2(size / 32)))
