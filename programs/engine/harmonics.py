"""Vectors of spherical harmonics: how they are laid out, turned, and compared at all rotations about z.

A volume, or a function on a few shells, is a flat float32 vector of P numbers: for every degree l, N_l radial
components of each of its 2 l + 1 real harmonics (:mod:`.wigner`).  They stand **by order**, so that everything that a
turn about z mixes stands together and is one slice for a matrix product:

    m = 0: (l, n), l = 0 ...    m = 1: cosines (l, n), l = 1 ..., then sines (l, n)    m = 2: ...

With x and a two such vectors, the score of x turned by w about z against a is

    <Z(w) x, a> = sum_m cos(m w) <x_m, a_m> + sin(m w) <x_m, a'_m>,      a' = (sines, -cosines) of a:

two products per order, then a small cosine and sine transform gives every angle.  The adjoint is the same backwards.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .wigner import euler_zyz, exchanges

TURNED_TOGETHER = 2**22        # numbers in flight while vectors are turned


@dataclass(frozen=True)
class Orders:
    """The layout of vectors with ``counts[l]`` components N_l for each harmonic of degree l; N_l may be zero."""

    counts: tuple

    @property
    def highest(self):
        """Degree and order of the highest harmonics."""
        return len(self.counts) - 1

    @cached_property
    def widths(self):
        """K_m: the components of one order's cosines."""
        return np.cumsum(np.array(self.counts)[::-1])[::-1]

    @cached_property
    def slices(self):
        """The slice of each order m: cosines, then sines."""
        lengths = self.widths * np.where(np.arange(len(self.counts)), 2, 1)
        ends = np.cumsum(lengths)
        return [slice(int(end - length), int(end)) for end, length in zip(ends, lengths)]

    @property
    def size(self):
        return self.slices[-1].stop

    @cached_property
    def degrees(self):
        """Places int (2 l + 1, N_l) of each degree's components, in the order of :mod:`.wigner`."""
        within = np.cumsum([0, *self.counts])                  # of (l, n) among the cosines of m = 0
        places = []
        for l, count in enumerate(self.counts):
            component = np.arange(count)
            cosines = [self.slices[m].start + within[l] - within[m] + component for m in range(l + 1)]
            sines = [cosines[m] + self.widths[m] for m in range(1, l + 1)]
            places.append(np.array([*cosines, *sines]).reshape(2 * l + 1, count))
        return places

    @cached_property
    def rising(self):
        """The same places with the orders rising from -l to l: the sines as negative orders."""
        return [np.concatenate([places[:l:-1], places[: l + 1]]) for l, places in enumerate(self.degrees)]

    @cached_property
    def degree(self):
        """Degree l of every place, int (P,)."""
        degree = np.empty(self.size, int)
        for l, places in enumerate(self.degrees):
            degree[places] = l
        return degree

    # ---- turns ------------------------------------------------------------------------------------------------

    def turned(self, vectors, rotations):
        """Vectors (B, P) of functions turned by rotations (B or 1, 3, 3): f(r) becomes f(R^-1 r)."""
        out = np.empty((max(len(vectors), len(rotations)), self.size), vectors.dtype)
        step = max(1, TURNED_TOGETHER // self.size)
        for start in range(0, len(out), step):
            part = slice(start, start + step)
            self._turn(vectors if len(vectors) == 1 else vectors[part],
                       rotations if len(rotations) == 1 else rotations[part], out[part])
        return out

    def _turn(self, vectors, rotations, out):
        a, b, c = euler_zyz(rotations)
        swaps = exchanges(self.highest)
        waves = [_waves(angle, self.highest, out.dtype) for angle in (c, -b, a)]
        for l, places in enumerate(self.degrees):
            if not places.size:
                continue
            swap = swaps[l].astype(out.dtype)
            f = _about_z(vectors[:, places], l, waves[0])
            for wave in waves[1:]:
                f = _about_z(swap @ f, l, wave)
            out[:, places] = f

    def turned_about_z(self, vectors, angles):
        """The same for turns by ``angles`` (B,) about z only."""
        out = np.empty_like(vectors)
        cosine, sine = _waves(np.asarray(angles), self.highest, out.dtype)
        for m, (part, width) in enumerate(zip(self.slices, self.widths)):
            if m == 0:
                out[:, part] = vectors[:, part]
                continue
            x = vectors[:, part].reshape(len(vectors), 2, width)
            c, s = cosine[:, m, None], sine[:, m, None]
            out[:, part] = np.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], 1).reshape(len(vectors), -1)
        return out

    # ---- scores at all rotations about z, and their adjoint -------------------------------------------------------

    def angular_table(self, angles):
        """float32 (angles, 2 M + 1): cosines m = 0 ... M, then sines m = 1 ... M, of the angles in radians."""
        phase = np.outer(angles, np.arange(len(self.counts)))
        return np.concatenate([np.cos(phase), np.sin(phase[:, 1:])], 1).astype(np.float32)

    def scores(self, x, templates, table, out=None):
        """<Z(w) x, a> at all angles: float32 (angles, B, T) of x (B, P), templates (T, P).

        table: of :meth:`angular_table`.
        """
        orders, shape = len(self.counts), (len(x), len(templates))
        product = np.empty((table.shape[1], *shape), np.float32)
        for m, (part, width) in enumerate(zip(self.slices, self.widths)):
            own, a = x[:, part], templates[:, part]
            np.matmul(own, a.T, out=product[m])
            if m:
                swapped = np.concatenate([a[:, width:], -a[:, :width]], 1)
                np.matmul(own, swapped.T, out=product[orders + m - 1])
        out = np.empty((len(table), *shape), np.float32) if out is None else out
        np.matmul(table, product.reshape(len(product), -1), out=out.reshape(len(table), -1))
        return out

    def spread(self, weights, x, table, sums):
        """Adjoint of :meth:`scores`: add x (B, P), turned by each angle and weighted by weights (angles, B, T), to sums
        (T, P)."""
        orders, (count, width) = len(self.counts), weights.shape[1:]
        folded = (table.T @ weights.reshape(len(table), -1)).reshape(-1, count, width)
        for m, (part, half) in enumerate(zip(self.slices, self.widths)):
            sums[:, part] += folded[m].T @ x[:, part]
            if m:
                crossed = folded[orders + m - 1].T @ x[:, part]
                sums[:, part.start : part.start + half] -= crossed[:, half:]
                sums[:, part.start + half : part.stop] += crossed[:, :half]


def _waves(angles, highest, dtype):
    phase = np.outer(angles, np.arange(highest + 1))
    return np.cos(phase).astype(dtype), np.sin(phase).astype(dtype)


def _about_z(f, l, waves):
    """f (B, 2 l + 1, N), turned about z; waves: cosines and sines (B or 1, M + 1) of m times the angle."""
    cosine, sine = (wave[:, 1 : l + 1, None] for wave in waves)
    c, s = f[:, 1 : l + 1], f[:, l + 1 :]
    return np.concatenate([np.broadcast_to(f[:, :1], (max(len(f), len(cosine)), 1, f.shape[2])),
                           c * cosine - s * sine, c * sine + s * cosine], 1)
