"""The images of a run as harmonics: kept in memory as far as they fit, else computed whenever they are asked for.

Images that do not fit are read again in every pass, in the order of their files.  Keeping their harmonics on a disk
instead would not pay: they are larger than the images, and making them takes a few per cent of the time of comparing
them with tens of references.
"""
import threading
from dataclasses import dataclass, field

import numpy as np

FILLED_TOGETHER = 128     # images
READ_TOGETHER = 256       # images


@dataclass(eq=False)
class ImageBank:
    """Harmonics of a run's images on one disk: of the first, as many as fit in memory, the others' when asked for.

    source: has ``count`` and ``read(rows) -> (B, n, n)``.  memory: bytes that may be used.  rows: those that will be
    asked for most and are kept as far as they fit, None for all.

    Whatever the number of images, 8 bytes are kept for each, and 12 where some are not kept.
    """

    harmonics_seen = 1        # of the images' visibility (see :mod:`.visibility`): they show references as they are

    source: object
    disk: object
    workers: object
    memory: float = 4 * 2**30
    rows: np.ndarray = None
    harmonics: np.ndarray = field(default=None, init=False)
    powers: np.ndarray = field(init=False)

    def __post_init__(self):
        self.powers = np.full(self.source.count, np.nan)
        self.ones_polar = self.disk.polar(np.ones((1, self.disk.n, self.disk.n), np.float32))[0]
        self._ones = self.disk.expand(self.ones_polar[None])
        self._ones_weighted = self._ones[0] * self.disk.metric
        self.ones_power = float(self.disk.power(self._ones)[0])
        self._place = None                 # of the images in ``harmonics``, -1 for those that are not; None: in order
        kept = np.arange(self.source.count) if self.rows is None else self.rows
        fitting = int(min(len(kept), self.memory / self.image_bytes))
        if fitting:
            self._keep(kept[:fitting])

    @property
    def image_bytes(self):
        """Memory that the harmonics of one image take."""
        return 4 * int(np.prod(self.disk.shape))

    def _keep(self, kept):
        if len(kept) < self.source.count:
            self._place = np.full(self.source.count, -1, np.int32)
            self._place[kept] = np.arange(len(kept))
        self.harmonics = np.empty((len(kept), *self.disk.shape), np.float32)

        def fill(places):
            self.harmonics[places] = self._compute(kept[places])

        some = np.array_split(np.arange(len(kept)), -(-len(kept) // FILLED_TOGETHER)) if len(kept) else []
        self.workers.map(fill, some)

    def _compute(self, rows):
        x = self.disk.harmonics(self.source.read(rows))
        self.powers[rows] = self.disk.power(x)
        return x

    def _harmonics_of(self, rows):
        if not len(rows):
            return np.empty((0, *self.disk.shape), np.float32)
        if len(self.not_kept(rows)):
            return self._compute(rows)
        return self.harmonics[rows if self._place is None else self._place[rows]]

    def not_kept(self, rows):
        """Those of the images ``rows`` that will be read from their files."""
        if self.harmonics is None:
            return rows
        return rows[:0] if self._place is None else rows[self._place[rows] < 0]

    def read(self, rows):
        """Harmonics (B, 2, bins, width) and squared norms (B,) of the images ``rows``."""
        x = self._harmonics_of(rows)
        return x, self.powers[rows]

    def without_background(self, x, power, background):
        """Images minus a constant (B,) each, their norms, and their sums <1, x> before the subtraction."""
        sums = np.einsum("bcmj,cmj->b", x, self._ones_weighted, dtype=np.float64)
        x = x - background[:, None, None, None].astype(np.float32) * self._ones
        return x, power - 2 * background * sums + background**2 * self.ones_power, sums


class ReadAhead:
    """Reads images before they are needed, in the background, so that they come from the system's cache then."""

    def __init__(self, source):
        self._source, self._thread, self._wanted = source, None, None

    def begin(self, rows):
        """Read the images ``rows`` from now on, and no longer others."""
        self._wanted = rows
        if len(rows):
            self._thread = threading.Thread(target=self._read, args=(rows,), daemon=True)
            self._thread.start()

    def _read(self, rows):
        for start in range(0, len(rows), READ_TOGETHER):
            if self._wanted is not rows:
                return
            try:
                self._source.read(rows[start : start + READ_TOGETHER])
            except Exception:           # whoever needs them will meet it, and say so
                return
