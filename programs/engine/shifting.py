"""References moved by each of a grid's shifts, and the adjoint, a few shifts at a time that stay in the cache.

The same as :meth:`.disk.Disk.expand` of samples times exp(-i k t), and its adjoint, without a table of phases, which
are products of one of x and one of y, and without the harmonics that have died away on a ring: rings are taken in
groups for that, the inner ones having few.
"""
from typing import NamedTuple

import numpy as np

from .compiled import kernel

TOGETHER = 12         # shifts
GROUPS = 4            # of rings


class _Part(NamedTuple):
    """Angular transform between samples' real (or imaginary) parts and even (odd) q on a group of rings.

    forward: (n_phi / 2, columns), a real and an imaginary part for each q; back: (columns, n_phi / 2), its adjoint.
    start: columns of all rings before these.
    """

    rings: slice
    odd: int
    forward: np.ndarray
    back: np.ndarray
    start: int

    def rows(self, buffer, count):
        """This part's rows (rings * count, columns) in the buffer of ``count`` shifts."""
        size = (self.rings.stop - self.rings.start) * len(self.back)
        return buffer[count * self.start : count * (self.start + size)].reshape(-1, len(self.back))


class Shifts:
    """Moves what is given on a :class:`.disk.Disk` by the ``shifts``, int (S, 2) = (x, y) in pixels."""

    def __init__(self, disk, shifts):
        self._disk = disk
        values, self._index = zip(*(np.unique(along, return_inverse=True) for along in np.asarray(shifts).T))
        self._waves = [_waves(along, k) for along, k in zip(values, (disk.kx, disk.ky))]
        self._metric = np.tile(disk.metric.ravel(), 2)
        self._used = np.concatenate([disk.used, disk.used + disk.metric.size])
        self._set_parts()

    def _set_parts(self):
        """Transforms of each group of rings, and where harmonics of the layout stand in the rows that they make."""
        disk = self._disk
        ends = np.unique(np.linspace(0, len(disk.k), GROUPS + 1).round().astype(int))
        self._parts, start = [], 0
        place = np.zeros((3, 2, disk.metric.size), np.int32)      # rows' start, their length, column in a row
        for first, last in zip(ends[:-1], ends[1:]):
            on_rings = (disk.ring >= first) & (disk.ring < last)
            for odd in (0, 1):
                q = np.arange(odd, disk.q[on_rings].max() + 1, 2)
                self._parts.append(_Part(slice(first, last), odd, *_transforms(disk, q, odd), start))
                mine = on_rings & (disk.q % 2 == odd)
                place[0][:, disk.used[mine]] = start + (disk.ring[mine] - first) * 2 * len(q)
                place[1][:, disk.used[mine]] = 2 * len(q)
                place[2][:, disk.used[mine]] = disk.q[mine] // 2 * 2 + np.array([[0], [1]])
                start += (last - first) * 2 * len(q)
        self._columns, self._place = start, place.reshape(3, -1)

    def harmonics(self, polar, some, out):
        """Fill ``out`` (n, 2, bins, width) with the harmonics, times the metric, of moved samples.

        polar: (rings, n_phi / 2) of one image.  some: (n,) which of the shifts.
        """
        polar = np.stack([polar.real, polar.imag])
        for start in range(0, len(some), TOGETHER):
            these = some[start : start + TOGETHER]
            moved, rows = self._room(len(these))
            _move(polar, *self._waves_of(these), moved)
            for part in self._parts:
                samples = moved[part.odd, part.rings].reshape(-1, polar.shape[2])
                np.matmul(samples, part.forward, out=part.rows(rows, len(these)))
            _gather(rows, self._place, self._metric, out[start : start + TOGETHER].reshape(len(these), -1))

    def samples(self, harmonics, some):
        """Samples complex128 (rings, n_phi / 2): the sum of harmonics (S, 2, bins, width), each moved back.

        some: which of the shifts.  The adjoint of :meth:`harmonics` but for the metric.
        """
        total = np.zeros((2, *self._disk.kx.shape))
        for start in range(0, len(some), TOGETHER):
            these = some[start : start + TOGETHER]
            moved, rows = self._room(len(these))
            rows[:] = 0
            _scatter(harmonics.reshape(len(harmonics), -1), these, self._used, self._place, rows)
            for part in self._parts:
                samples = moved[part.odd, part.rings].reshape(-1, total.shape[2])
                np.matmul(part.rows(rows, len(these)), part.back, out=samples)
            _move_back(moved, *self._waves_of(these), total)
        return total[0] + 1j * total[1]

    def _room(self, count):
        """Samples (2, rings, count, n_phi / 2), real and imaginary parts, of ``count`` shifts; rows of harmonics."""
        rings, points = self._disk.kx.shape
        return np.empty((2, rings, count, points), np.float32), np.empty(self._columns * count, np.float32)

    def _waves_of(self, some):
        """Waves of x and of y, and which of them are those of some shifts."""
        return *self._waves, *(index[some] for index in self._index)


def _waves(shifts, k):
    """cos k t and sin k t, float32 (T, 2, rings, n_phi / 2), of shifts (T,) along one axis."""
    angle = shifts[:, None, None] * k
    return np.stack([np.cos(angle), np.sin(angle)], 1).astype(np.float32)


def _transforms(disk, q, odd):
    """The matrices of a :class:`_Part`, see :meth:`.disk.Disk.expand`: even q come from Re p, odd q from Im p."""
    angle = disk.phi[:, None] * q
    pairs = (np.sin(angle), np.cos(angle)) if odd else (np.cos(angle), -np.sin(angle))
    table = np.stack(pairs, 2).reshape(len(disk.phi), -1)
    weight = np.repeat(np.where(q == 0, 1.0, 2.0), 2)
    return (np.ascontiguousarray(table * 2 / disk.n_phi, np.float32),
            np.ascontiguousarray((table * weight).T, np.float32))


@kernel
def _move(polar, waves_x, waves_y, x, y, moved):
    """Fill ``moved`` (2, rings, T, points) with samples (2, rings, points) times exp(-i k t)."""
    for j in range(polar.shape[1]):
        real, imag = polar[0, j], polar[1, j]
        for t in range(len(x)):
            cx, sx, cy, sy = waves_x[x[t], 0, j], waves_x[x[t], 1, j], waves_y[y[t], 0, j], waves_y[y[t], 1, j]
            out_real, out_imag = moved[0, j, t], moved[1, j, t]
            for p in range(len(real)):
                c, s = cx[p] * cy[p] - sx[p] * sy[p], sx[p] * cy[p] + cx[p] * sy[p]
                out_real[p] = real[p] * c + imag[p] * s
                out_imag[p] = imag[p] * c - real[p] * s


@kernel
def _move_back(moved, waves_x, waves_y, x, y, total):
    """Add samples (2, rings, T, points), each times exp(i k t), to ``total``, float64 (2, rings, points)."""
    points = moved.shape[3]
    sum_real, sum_imag = np.empty(points, np.float32), np.empty(points, np.float32)
    for j in range(moved.shape[1]):
        sum_real[:] = 0
        sum_imag[:] = 0
        for t in range(len(x)):
            cx, sx, cy, sy = waves_x[x[t], 0, j], waves_x[x[t], 1, j], waves_y[y[t], 0, j], waves_y[y[t], 1, j]
            real, imag = moved[0, j, t], moved[1, j, t]
            for p in range(points):
                c, s = cx[p] * cy[p] - sx[p] * sy[p], sx[p] * cy[p] + cx[p] * sy[p]
                sum_real[p] += real[p] * c - imag[p] * s
                sum_imag[p] += imag[p] * c + real[p] * s
        for p in range(points):
            total[0, j, p] += sum_real[p]
            total[1, j, p] += sum_imag[p]


@kernel
def _gather(rows, place, factor, out):
    """Fill ``out`` (T, size) with entries of the rows' buffer times ``factor`` (size,); place: (3, size)."""
    count = len(out)
    for t in range(count):
        for i in range(len(factor)):
            out[t, i] = rows[count * place[0, i] + t * place[1, i] + place[2, i]] * factor[i]


@kernel
def _scatter(harmonics, some, used, place, rows):
    """The other way: put the ``used`` entries of some of the harmonics (S, size) into the rows' buffer."""
    count = len(some)
    for t in range(count):
        for i in used:
            rows[count * place[0, i] + t * place[1, i] + place[2, i]] = harmonics[some[t], i]


@kernel
def filled(sums):
    """Which of the arrays (T, ...) have anything but zeros in them: bool (T,)."""
    flat = sums.reshape(len(sums), -1)
    out = np.zeros(len(sums), np.bool_)
    for t in range(len(sums)):
        for value in flat[t]:
            if value != 0:
                out[t] = True
                break
    return out
