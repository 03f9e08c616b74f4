"""The E-step's passes on a GPU: images' harmonics stay there while they fit, posteriors and sums are made there."""
from dataclasses import dataclass
from weakref import WeakKeyDictionary, proxy

import numpy as np

from .device_search import DeviceExpectation, folded
from .em import EStep, WhiteEStep
from .expectation import Images
from .local import ROUNDING, last_places
from .spectral_pass import SpectralEStep

RESIDENT_SHARE = 0.4      # of the device's free memory that images' harmonics may take
UPLOADED = 1024           # images at a time
READ_TOGETHER = 128       # images, by each of the workers


class DeviceBank:
    """An image bank (:class:`.bank.ImageBank` or a sub-class of it) whose images are read on a device.

    Harmonics are folded (see :mod:`.device_search`); everything else is the bank's, which it does not keep alive.
    """

    def __init__(self, bank, device):
        self._bank, self._device, disk = proxy(bank), device, bank.disk
        self._sign = device.put(disk.sign)
        self._place = np.full(bank.source.count, -1)              # in the harmonics kept here, -1 for none
        room = int(RESIDENT_SHARE * device.free() / bank.image_bytes)
        wanted = bank.source.count if bank.rows is None else len(bank.rows)
        self._kept = device.xp.empty((min(room, wanted), disk.bins, 2 * disk.width), np.float32)
        self._used = 0

    def __getattr__(self, name):
        return getattr(self._bank, name)

    def _folded(self, harmonics):
        return folded(self._device.xp, self._device.put(harmonics), self._sign)

    def _upload(self, rows):
        parts = np.array_split(rows, -(-len(rows) // READ_TOGETHER))
        return self._folded(np.concatenate(self._bank.workers.map(lambda some: self._bank.read(some)[0], parts)))

    def _harmonics(self, rows):
        """Folded harmonics (B, bins, 2 width) of images, which stay here from their first use on if they fit."""
        missing = rows[self._place[rows] < 0]
        fitting = missing[: len(self._kept) - self._used]
        for start in range(0, len(fitting), UPLOADED):
            some = fitting[start : start + UPLOADED]
            self._kept[self._used : self._used + len(some)] = self._upload(some)
            self._place[some] = np.arange(self._used, self._used + len(some))
            self._used += len(some)
        place, xp = self._place[rows], self._device.xp
        if len(fitting) == len(missing):
            return xp.take(self._kept, self._device.put(place), axis=0)
        x = xp.empty((len(rows), *self._kept.shape[1:]), np.float32)
        here, elsewhere = np.flatnonzero(place >= 0), np.flatnonzero(place < 0)
        x[self._device.put(here)] = xp.take(self._kept, self._device.put(place[here]), axis=0)
        for start in range(0, len(elsewhere), UPLOADED):
            some = elsewhere[start : start + UPLOADED]
            x[self._device.put(some)] = self._upload(rows[some])
        return x

    def read(self, rows):
        x = self._harmonics(rows)
        return x, self._bank.powers[rows]

    def without_background(self, x, power, background):
        """See ImageBank.without_background."""
        device = self._device
        ones, weighted = self._folded(self._bank._ones)[0], self._folded(self._bank._ones_weighted[None])[0]
        sums = device.get((x * weighted).sum((1, 2), dtype=np.float64))
        x = x - device.put(background, np.float32)[:, None, None] * ones
        return x, power - 2 * background * sums + background**2 * self.ones_power, sums

    def observed(self, rows):
        """See SpectralBank.observed."""
        x = self._harmonics(rows)
        return x, self._bank.ring_powers[rows], self._bank.visibility[rows]

    def whitened(self, observed, inverse, scale=None):
        """See SpectralBank.whitened."""
        x, powers, visibility = observed
        factors = self.disk.by_ring(inverse)
        x = x * self._device.put(np.concatenate([factors, factors], 1))
        return Images(x, powers @ inverse, scale, visibility * inverse.astype(np.float32))


@dataclass(frozen=True)
class DeviceNear:
    """The cells that images may be in, as :class:`.local.Near`: ``places`` (B, 2) and ``radius`` (B,), in pixels."""

    places: np.ndarray
    radius: np.ndarray

    def penalty(self, device, grid, mirrors):
        """0 for cells that put the particle near, else -inf: float32 (n_psi, mirrors, B, S)."""
        xp, n_psi = device.xp, grid.disk.n_psi
        radius = self.radius + (grid.step / 2 if grid.step > 1 else 0)
        angle = 2 * np.pi * np.arange(n_psi)[:, None] / n_psi
        x, y = self.places.T
        x, y = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        x, y = device.put(x[..., None]), device.put(y[..., None])                       # (n_psi, B, 1)
        shift_x, shift_y = device.put(grid.shifts.T.astype(float))
        squared = device.put(radius**2 + ROUNDING)[:, None]
        penalty = xp.empty((n_psi, mirrors, len(radius), len(grid.shifts)), np.float32)
        for psi in range(n_psi):                          # in float64, which need not be there for all angles at once
            across = (shift_x - x[psi]) ** 2
            for m in range(mirrors):
                along = (shift_y + (y[psi] if m else -y[psi])) ** 2
                penalty[psi, m] = xp.where(across + along <= squared, 0.0, -np.inf)
        nowhere = (penalty < 0).all((0, 1, 3))
        return xp.where(nowhere[:, None], 0, penalty).astype(np.float32)


class _OnDevice(EStep):
    """What an E-step does differently on ``workers.device``."""

    def __init__(self, model, bank, particles, settings, workers, grid, coarse=None, affected=None):
        self.device, self._kept = workers.device, (bank, affected)
        more = () if affected is None else (bank_on(self.device, affected),)
        with self.device.memory_guarded():
            super().__init__(model, bank_on(self.device, bank), particles, settings, workers, grid, coarse, *more)

    def run(self, rows, progress=None):
        with self.device.memory_guarded():
            return super().run(rows, progress)

    def _expectation(self, bank, grid, polar, first=None):
        model, settings = self.model, self.settings
        return DeviceExpectation(self.device, grid, polar, model.log_class(settings.mirror), model.sigma_offset,
                                 model.noise(grid.disk, settings.df), first, settings.significance, self.workers.map,
                                 bank.harmonics_seen)

    def _block_size(self):
        size = self.search.block_size()
        if size < 1:
            raise MemoryError("it has no room for one image's scores")
        return size

    def _near(self, rows):
        if self.settings.search_shift is None or self.model.sigma_offset <= 0:
            return None
        places, radius = last_places(self.particles, rows, self.settings.search_shift)
        everywhere = radius >= np.hypot(*places.T) + np.hypot(*self.grid.shifts.T).max()
        return None if everywhere.all() else DeviceNear(places, radius)

    def _alike_in_reach(self, rows):
        return rows

    def _search_all(self, blocks):
        return map(self._block, blocks)

    def _zero_sums(self):
        return self.search.zero_sums()

    def _spread(self, found, sums):
        self.search.spread(found.block, found.x, sums)

    def _unshifted(self, sums):
        return self.search.unshifted(sums)


class DeviceWhiteEStep(_OnDevice, WhiteEStep):
    """:class:`.em.WhiteEStep` on a GPU."""


class DeviceSpectralEStep(_OnDevice, SpectralEStep):
    """:class:`.spectral_pass.SpectralEStep` on a GPU."""

    def _visibility_sums(self, block, images):
        return self.search.visibility_sums(block, images, self.bank.even)


_BANKS = WeakKeyDictionary()


def bank_on(device, bank):
    """The :class:`DeviceBank` of a bank: one, as long as the bank lives."""
    if bank not in _BANKS:
        _BANKS[bank] = DeviceBank(bank, device)
    return _BANKS[bank]
