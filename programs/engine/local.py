"""Searches near where each particle was found before.

A cell (reference, shift t, mirrored m, angle psi) puts the particle at R_psi F^m t in its image, F being the mirror
y -> -y; being near is a matter of that place.  Shifts belong to the references' frame, so whether a cell is near
depends on its angle, too, but not on its reference.
"""
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..geometry import pose_matrix
from .compiled import exact

ROUNDING = 1e-6       # square pixels
EVERYWHERE = np.empty((0, 0, 0, 0), bool)      # instead of Near.compact where all cells are allowed


def last_places(particles, rows, radius):
    """Where the images ``rows`` showed their particle's centre, (B, 2) = (x, y) in pixels from the origin.

    And how far from there (B,) it may be: ``radius``, or anywhere if the image has not been searched before.
    particles: :class:`.em.Particles`.
    """
    p = particles
    pose = pose_matrix(p.psi[rows], p.shift_x[rows], p.shift_y[rows], p.flip[rows])
    places = -np.einsum("bji,bj->bi", pose[:, :2, :2], pose[:, :2, 2])           # what M r + shift puts at zero
    return places, np.where(p.ref[rows] < 0, np.inf, float(radius))


@dataclass(frozen=True)
class Near:
    """The cells of a grid that B images may be in: ``allowed``, bool (B, 2, n_psi, S), alike for all references."""

    allowed: np.ndarray

    @classmethod
    def of(cls, grid, places, radius):
        """Cells that put the particle within ``radius`` (B,) pixels of ``places`` (B, 2); None if all cells do.

        On a grid of several pixels' step, half a step more.  An image that no cell is near to may be in any.
        """
        longest = np.hypot(*grid.shifts.T).max()
        if (radius >= np.hypot(*places.T) + longest).all():
            return None
        radius = radius + (grid.step / 2 if grid.step > 1 else 0)
        allowed = np.empty((len(places), 2, grid.disk.n_psi, len(grid.shifts)), bool)
        _mark_near(grid.shifts, places, radius**2 + ROUNDING, allowed)
        allowed[~allowed.any((1, 2, 3))] = True
        return cls(allowed)

    def parents(self, children):
        """The cells of a coarse grid that stand for at least one of these.

        children: (coarse shifts, n), see :meth:`.search.Grid.children`; a coarse angle p stands for 2 p and 2 p + 1.
        """
        count, _, n_psi, shifts = self.allowed.shape
        by_shift = np.zeros((count, 2, n_psi // 2, shifts + 1), bool)       # the last one is child -1, which is none
        by_shift[..., :-1] = self.allowed.reshape(count, 2, n_psi // 2, 2, shifts).any(3)
        return Near(by_shift[..., children].any(-1))

    @cached_property
    def shifts(self):
        """Indices (S',) of the shifts that some image may have."""
        return np.flatnonzero(self.allowed.any((0, 1, 2)))

    @cached_property
    def compact(self):
        """``allowed`` of these shifts alone, (B, 2, n_psi, S')."""
        return np.ascontiguousarray(self.allowed[..., self.shifts])

    def rows(self, compact):
        """Rows on the whole grid of rows on these shifts alone."""
        reference, shift = np.divmod(compact // 2, len(self.shifts))
        return (2 * (reference * self.allowed.shape[3] + self.shifts[shift]) + compact % 2).astype(compact.dtype)

    def only(self, keys):
        """Those of the keys of cells, see :mod:`.cell_kernels`, whose cells are allowed."""
        count, _, n_psi, shifts = self.allowed.shape
        place, psi = np.divmod(keys, n_psi)
        row, image = np.divmod(place, count)
        return keys[self.allowed[image, row % 2, psi, row // 2 % shifts]]


@exact
def _mark_near(shifts, places, squared, allowed):
    """Fill ``allowed`` (B, 2, n_psi, S).  shifts: (S, 2).  places: (B, 2).  squared: radii (B,)."""
    count, _, n_psi, width = allowed.shape
    for b in range(count):
        for psi in range(n_psi):
            angle = 2 * np.pi * psi / n_psi
            cosine, sine = np.cos(angle), np.sin(angle)
            x = cosine * places[b, 0] + sine * places[b, 1]         # the place in the reference's frame
            y = cosine * places[b, 1] - sine * places[b, 0]
            for s in range(width):
                dx, dy = shifts[s, 0] - x, shifts[s, 1]
                allowed[b, 0, psi, s] = dx * dx + (dy - y) ** 2 <= squared[b]
                allowed[b, 1, psi, s] = dx * dx + (dy + y) ** 2 <= squared[b]


@exact
def best_of_near_rows(g, mirror, allowed, best):
    """As kernels.best_of_rows: fill ``best`` (2, B, T) with the highest score over the ``allowed`` angles, or -inf."""
    never = np.float32(-np.inf)
    count, _, quarter, width = g.shape[1:]
    n_psi, shifts = allowed.shape[2:]
    for b in range(count):
        best[:, b] = never
        for side in range(2):
            sign = np.float32(1 - 2 * side)
            for h in range(quarter):
                theta = h if side == 0 else n_psi // 2 - h
                first, second = allowed[b, 0, theta], allowed[b, 0, -theta % n_psi]
                third, fourth = allowed[b, 1, (theta + n_psi // 2) % n_psi], allowed[b, 1, n_psi // 2 - theta]
                for start in range(0, width, shifts):
                    end = start + shifts
                    e0, e1, e2, e3 = (g[0, b, 0, h, start:end], g[1, b, 0, h, start:end], g[2, b, 0, h, start:end],
                                      g[3, b, 0, h, start:end])
                    o0, o1, o2, o3 = (g[0, b, 1, h, start:end], g[1, b, 1, h, start:end], g[2, b, 1, h, start:end],
                                      g[3, b, 1, h, start:end])
                    plain, mirrored = best[0, b, start:end], best[1, b, start:end]
                    for s in range(shifts):
                        u, y = e0[s] + e1[s] + sign * (o0[s] + o1[s]), sign * (e2[s] - e3[s]) + (o2[s] - o3[s])
                        one = u + y if first[s] else never
                        other = u - y if second[s] else never
                        plain[s] = max(plain[s], one, other)
                    if mirror:
                        for s in range(shifts):
                            v, z = e0[s] - e1[s] + sign * (o0[s] - o1[s]), sign * (e2[s] + e3[s]) + (o2[s] + o3[s])
                            one = v - z if third[s] else never
                            other = v + z if fourth[s] else never
                            mirrored[s] = max(mirrored[s], one, other)


@exact
def strike_far(p, allowed):
    """Set what is not ``allowed`` to -inf in log-posteriors p, see kernels.to_log_posterior."""
    never = np.float32(-np.inf)
    count, _, quarter, width = p.shape[1:]
    n_psi, shifts = allowed.shape[2:]
    for b in range(count):
        for side in range(2):
            for h in range(quarter):
                theta = h if side == 0 else n_psi // 2 - h
                for plane in range(4):
                    psi = (theta if plane % 2 == 0 else -theta) + plane // 2 * (n_psi // 2)
                    near = allowed[b, plane // 2, psi % n_psi]
                    for start in range(0, width, shifts):
                        some = p[plane, b, side, h, start : start + shifts]
                        for s in range(shifts):
                            some[s] = some[s] if near[s] else never
