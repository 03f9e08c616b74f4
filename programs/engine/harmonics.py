"""Vectors of spherical harmonics: how they are laid out, turned, and compared at all rotations about z.

A volume, or a function on a few shells, is a flat float32 vector of P numbers: for every degree l, N_l radial
components of each of its 2 l + 1 real harmonics (:mod:`.wigner`).  They stand **by order**, so that everything that a
turn about z mixes stands together and is one slice for a matrix product:

    m = 0: (l, n), l = 0 ...    m = 1: cosines (l, n), l = 1 ..., then sines (l, n)    m = 2: ...

With x and a two such vectors, the score of x turned by w about z against a is

    <Z(w) x, a> = sum_m cos(m w) <x_m, a_m> + sin(m w) <x'_m, a_m>,      x' = (-sines, cosines) of x:

two products per order, then a small cosine and sine transform gives every angle.  The adjoint is the same backwards.

Half a turn about x leaves the cosines of even l - m and the sines of odd l - m as they are, and changes the sign of all
others.  So the scores against two templates that are half a turn about x apart are the sum and the difference of the
scores against two **halves** of either, one of the entries that stay and one of the others: half the operations.
"""
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from .compiled import kernel
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

    @property
    def degrees(self):
        """Places int (2 l + 1, N_l) of each degree's components, in the order of :mod:`.wigner`."""
        return _degrees(self)

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
        """Vectors (B or 1, P) of functions turned by rotations (B or 1, 3, 3): f(r) becomes f(R^-1 r)."""
        out = np.empty((max(len(vectors), len(rotations)), self.size), vectors.dtype)
        step, turn = max(1, TURNED_TOGETHER // self.size), self._turn
        if len(rotations) == 1 < len(vectors):
            turn = self._turn_alike
        for start in range(0, len(out), step):
            part = slice(start, start + step)
            turn(vectors if len(vectors) == 1 else vectors[part],
                 rotations if len(rotations) == 1 else rotations[part], out[part])
        return out

    def _turn(self, vectors, rotations, out):
        turn = _Turn(rotations, self.highest, out.dtype)
        for l, places in enumerate(self.degrees):
            if places.size:
                out[:, places] = turn(vectors[:, places], l)

    def _turn_alike(self, vectors, rotation, out):
        """All by one rotation (1, 3, 3): a product with a matrix for each degree."""
        turn, columns = _Turn(rotation, self.highest, out.dtype), np.ascontiguousarray(vectors.T)
        turned = np.empty_like(columns)
        for l, places in enumerate(self.degrees):
            if places.size:
                matrix = turn(np.eye(2 * l + 1, dtype=out.dtype)[None], l)[0]
                turned[places] = (matrix @ columns[places].reshape(len(matrix), -1)).reshape(*places.shape, -1)
        out[:] = turned.T

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

    @cached_property
    def staying(self):
        """bool (P,): the entries that half a turn about x leaves as they are."""
        order, sine = np.empty((2, self.size), int)
        for m, (part, width) in enumerate(zip(self.slices, self.widths)):
            order[part] = m
            sine[part] = np.arange(part.stop - part.start) >= width
        return (self.degree - order + sine) % 2 == 0

    @cached_property
    def ahead(self):
        """x' is x a quarter of a turn / m further: places int (P,) of its entries in x, and signs float32 (P,)."""
        places, signs = np.arange(self.size), np.ones(self.size, np.float32)
        for part, width in zip(self.slices[1:], self.widths[1:]):
            places[part] = np.roll(places[part], width)
            signs[part.start : part.start + width] = -1
        return places, signs

    def angular_table(self, angles):
        """float32 (..., 2 M + 1): cosines m = 0 ... M, then sines m = 1 ... M, of the angles (...) in radians."""
        phase = np.multiply.outer(angles, np.arange(len(self.counts)))
        return np.concatenate([np.cos(phase), np.sin(phase[..., 1:])], -1).astype(np.float32)

    def scores(self, x, templates, table):
        """<Z(w) x, a> at all angles: float32 (parts, T, angles, B) of x (B, P) and the parts a of :class:`Compared`.

        table: of :meth:`angular_table`, of angles that all templates share (angles,), or of each one's (angles, D), of
        the first D templates, the next D, and so on.
        """
        table = table.reshape(len(table), -1, table.shape[-1]).transpose(1, 0, 2)           # (D, angles, 2 M + 1)
        product = templates.products(x)
        parts, waves, count, rows = product.shape
        # one template at a time, whose products stay in the cache
        product = product.reshape(parts, waves, -1, len(table), rows).transpose(0, 2, 3, 1, 4)
        return np.matmul(table, product).reshape(parts, count, -1, rows)

    def spread(self, weights, x, table, sums):
        """Adjoint of :meth:`scores`: add x (B, P), turned by each angle and weighted by weights (angles, B, T), to sums
        (T, P)."""
        orders, (rows, count) = len(self.counts), weights.shape[1:]
        folded = (table.T @ weights.reshape(len(table), -1)).reshape(-1, rows, count)
        cosine, sine = folded[:orders], np.concatenate([np.zeros_like(folded[:1]), folded[orders:]])
        of_orders = np.concatenate([cosine, sine], 1).transpose(0, 2, 1)                    # (M + 1, T, 2 B)
        turned = np.empty((2, rows, self.size), np.float32)
        lay_out(x, np.arange(self.size), *self.ahead, *turned)
        turned = turned.reshape(2 * rows, -1)
        for part, weight in zip(self.slices, of_orders):
            sums[:, part] += weight @ turned[:, part]


@lru_cache(maxsize=8)                   # the same layouts are made again and again
def _degrees(orders):
    within = np.cumsum([0, *orders.counts])                    # of (l, n) among the cosines of m = 0
    places = []
    for l, count in enumerate(orders.counts):
        component = np.arange(count)
        cosines = [orders.slices[m].start + within[l] - within[m] + component for m in range(l + 1)]
        sines = [cosines[m] + orders.widths[m] for m in range(1, l + 1)]
        places.append(np.array([*cosines, *sines]).reshape(2 * l + 1, count))
    return places


class Compared:
    """Templates (T, P) of a layout, laid out for :meth:`Orders.scores`: whole, or in halves that may be added up.

    halves: whether in two parts, the entries that half a turn about x leaves as they are and the others.
    """

    def __init__(self, layout, templates, halves=False):
        self.layout, self.count, self.halves = layout, len(templates), halves
        if halves:
            places = [[np.flatnonzero(kept[part]) + part.start for part in layout.slices]
                      for kept in (layout.staying, ~layout.staying)]
            self._parts = [[np.take(templates, some, 1) for some in part] for part in places]
        else:
            places = [[np.arange(part.start, part.stop) for part in layout.slices]]
            self._parts = [[templates[:, part] for part in layout.slices]]               # copies nothing
        self._own = np.concatenate([some for part in places for some in part])
        self._ahead, self._signs = layout.ahead[0][self._own], layout.ahead[1][self._own]

    def __len__(self):
        return self.count

    def products(self, x):
        """<x_m, a_m> of all orders, then <x'_m, a_m> of m = 1 ... M: float32 (parts, 2 M + 1, T, B) of x (B, P)."""
        own, ahead = np.empty((2, len(x), len(self._own)), np.float32)
        lay_out(x, self._own, self._ahead, self._signs, own, ahead)
        orders, start = len(self._parts[0]), 0
        out = np.empty((len(self._parts), 2 * orders - 1, self.count, len(x)), np.float32)
        for part, product in zip(self._parts, out):
            for m, vectors in enumerate(part):
                order = slice(start, start + vectors.shape[1])
                np.matmul(vectors, own[:, order].T, out=product[m])
                if m:
                    np.matmul(vectors, ahead[:, order].T, out=product[orders + m - 1])
                start = order.stop
        return out


@kernel
def lay_out(x, places, places_ahead, signs, own, ahead):
    """Fill own (B, Q) with the entries of x (B, P) at places (Q,), and ahead (B, Q) with the signed ones ahead."""
    for b in range(len(x)):
        row = x[b]
        for i in range(len(places)):
            own[b, i] = row[places[i]]
            ahead[b, i] = signs[i] * row[places_ahead[i]]


class _Turn:
    """Turns harmonics by rotations (B, 3, 3)."""

    def __init__(self, rotations, highest, dtype):
        a, b, c = euler_zyz(rotations)
        self._swaps = exchanges(highest)
        self._waves = [_waves(angle, highest, dtype) for angle in (c, -b, a)]

    def __call__(self, f, l):
        """f (B or 1, 2 l + 1, N) of degree l, turned: (B, 2 l + 1, N)."""
        swap = self._swaps[l].astype(f.dtype)
        f = _about_z(f, l, self._waves[0])
        for wave in self._waves[1:]:
            f = _about_z(swap @ f, l, wave)
        return f


def _waves(angles, highest, dtype):
    phase = np.outer(angles, np.arange(highest + 1))
    return np.cos(phase).astype(dtype), np.sin(phase).astype(dtype)


def _about_z(f, l, waves):
    """f (B, 2 l + 1, N), turned about z; waves: cosines and sines (B or 1, M + 1) of m times the angle."""
    cosine, sine = (wave[:, 1 : l + 1, None] for wave in waves)
    c, s = f[:, 1 : l + 1], f[:, l + 1 :]
    return np.concatenate([np.broadcast_to(f[:, :1], (max(len(f), len(cosine)), 1, f.shape[2])),
                           c * cosine - s * sine, c * sine + s * cosine], 1)
