"""A run's subtomograms on one ball: their samples in Fourier space, and shifted copies of them in any frame."""
from dataclasses import dataclass
from threading import Lock

import numpy as np

from .resampling import resampled


class Subtomograms:
    """Particles' Fourier transforms at the points of a ball, kept in memory when they fit, else computed anew.

    source: has ``count``, ``size`` and ``read(rows) -> (B, D, D, D)``; volumes are brought to the ball's box.
    regions: the missing regions; region_of: int (N,) which of them each particle has.  memory: bytes that may be used.

    power: float64 (N, J) squared samples per shell, as its region sees them; filled as particles are read.
    """

    def __init__(self, source, ball, coverage, regions, region_of, memory, workers):
        self.source, self.ball, self.region_of = source, ball, region_of
        parts = [coverage.weights(region) for region in regions]
        self._data_weights = [part[0] for part in parts]
        self._noise_weights = [part[2] for part in parts]
        self.region_vectors = np.concatenate([coverage.vector(part[1]) for part in parts])
        rings = ball.points.weights[:, None]
        solid = np.array([np.broadcast_to((part[2] * rings).sum((0, 1)), len(ball.k)) for part in parts])
        self.dimension = solid / (4 * np.pi) * coverage.degrees_of_freedom     # (regions, J)
        self.power = np.full((source.count, len(ball.k)), np.nan)
        self._kept, self._rows, self._lock = None, {}, Lock()
        one = 8 * np.prod(ball.frequencies().shape[1:])
        self._spare = memory
        if source.count * one < memory / 2:
            self._kept = np.empty((source.count, *ball.frequencies().shape[1:]), np.complex64)
            self._spare -= source.count * one
            workers.map(self._fill, range(source.count))

    def volume(self, i):
        """Particle i in the ball's box: float32 (n, n, n)."""
        return resampled(self.source.read([i]), self.ball.n)[0]

    def _fill(self, i):
        self._kept[i] = self._compute(i)

    def _compute(self, i):
        region, ball = self.region_of[i], self.ball
        samples = ball.samples(self.volume(i)[None])[0]
        seen = np.abs(samples) ** 2 * self._noise_weights[region]
        self.power[i] = np.einsum("ark,r->k", seen, ball.points.weights, dtype=np.float64) * ball.weight
        return samples * self._data_weights[region]

    def samples(self, i):
        """One particle's samples complex64 (across, rings, J), times its region's weights."""
        return self._compute(i) if self._kept is None else self._kept[i]

    def rows(self, i, shifts, centre=None, frame=None):
        """Copies float32 (S, P) of particle i moved by shifts (S, 3) around a centre (3,), then turned by a frame."""
        if frame is not None:
            return self.ball.layout.turned(self._shifted(i, shifts, centre), frame[None])
        with self._lock:
            kept = self._rows.get(i)
        if kept is not None and kept.serves(shifts, centre):
            return kept.rows[: len(shifts)]
        rows = self._shifted(i, shifts, centre)
        self._remember(i, _Rows(shifts, centre, rows))
        return rows

    def keeps(self, i):
        """Whether the copies of particle i that were asked for last, in no frame, are kept in memory."""
        return i in self._rows

    def _shifted(self, i, shifts, centre):
        return self.ball.shifted(self.samples(i), shifts, centre)

    def _remember(self, i, fresh):
        """Keep what an exhaustive search asks for again and again, as long as there is room."""
        with self._lock:
            before = self._rows.pop(i, None)
            self._spare += 0 if before is None else before.rows.nbytes
            if fresh.rows.nbytes < self._spare:
                self._spare -= fresh.rows.nbytes
                self._rows[i] = fresh


@dataclass(frozen=True)
class _Rows:
    """Copies (S, P) of one particle, moved by ``shifts`` (S, 3) around a ``centre`` (3,) or None."""

    shifts: np.ndarray
    centre: np.ndarray
    rows: np.ndarray

    def serves(self, shifts, centre):
        """Whether the rows begin with those of ``shifts`` around ``centre``."""
        if (self.centre is None) != (centre is None):
            return False
        return np.array_equal(self.shifts[: len(shifts)], shifts) and (centre is None
                                                                       or np.array_equal(self.centre, centre))
