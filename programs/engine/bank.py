"""The images of a run as harmonics: kept in memory while they fit, else computed when they are asked for."""
from dataclasses import dataclass, field

import numpy as np


@dataclass(eq=False)
class ImageBank:
    """Harmonics of a run's images on one disk, kept in memory when they fit, else computed when asked for.

    source: has ``count`` and ``read(rows) -> (B, n, n)``.  memory: bytes that may be used.
    """

    harmonics_seen = 1        # of the images' visibility (see :mod:`.visibility`): they show references as they are

    source: object
    disk: object
    workers: object
    memory: float = 4 * 2**30
    harmonics: np.ndarray = None
    powers: np.ndarray = field(init=False)

    def __post_init__(self):
        count = self.source.count
        self.powers = np.full(count, np.nan)
        self.ones_polar = self.disk.polar(np.ones((1, self.disk.n, self.disk.n), np.float32))[0]
        self._ones = self.disk.expand(self.ones_polar[None])
        self._ones_weighted = self._ones[0] * self.disk.metric
        self.ones_power = float(self.disk.power(self._ones)[0])
        if count * 4 * np.prod(self.disk.shape) < self.memory:
            self.harmonics = np.empty((count, *self.disk.shape), np.float32)
            self.workers.map(self._fill, np.array_split(np.arange(count), -(-count // 128)))

    def _fill(self, rows):
        self.harmonics[rows] = self._compute(rows)

    def _compute(self, rows):
        x = self.disk.harmonics(self.source.read(rows))
        self.powers[rows] = self.disk.power(x)
        return x

    def read(self, rows):
        """Harmonics (B, 2, bins, width) and squared norms (B,) of the images ``rows``."""
        x = self.harmonics[rows] if self.harmonics is not None else self._compute(rows)
        return x, self.powers[rows]

    def without_background(self, x, power, background):
        """Images minus a constant (B,) each, their norms, and their sums <1, x> before the subtraction."""
        sums = np.einsum("bcmj,cmj->b", x, self._ones_weighted, dtype=np.float64)
        x = x - background[:, None, None, None].astype(np.float32) * self._ones
        return x, power - 2 * background * sums + background**2 * self.ones_power, sums
