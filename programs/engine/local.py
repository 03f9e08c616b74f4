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
    half, count, width = g.shape[1:]
    n_psi, shifts = allowed.shape[2:]
    for b in range(count):
        best[:, b] = never
        for h in range(half):
            before, opposite, after = (n_psi - h) % n_psi, (h + half - 1) % n_psi, half - 1 - h
            first, second = allowed[b, 0, h], allowed[b, 0, before]
            third, fourth = allowed[b, 1, opposite], allowed[b, 1, after]
            for start in range(0, width, shifts):
                end = start + shifts
                g0, g1, g2, g3 = (g[0, h, b, start:end], g[1, h, b, start:end], g[2, h, b, start:end],
                                  g[3, h, b, start:end])
                plain, mirrored = best[0, b, start:end], best[1, b, start:end]
                for s in range(shifts):
                    even, odd = g0[s] + g1[s], g2[s] - g3[s]
                    one = even + odd if first[s] else never
                    other = even - odd if second[s] else never
                    plain[s] = max(plain[s], one, other)
                if mirror:
                    for s in range(shifts):
                        even, odd = g0[s] - g1[s], g2[s] + g3[s]
                        one = even - odd if third[s] else never
                        other = even + odd if fourth[s] else never
                        mirrored[s] = max(mirrored[s], one, other)


@exact
def strike_far(p, allowed):
    """Set what is not ``allowed`` to -inf in log-posteriors p (4, half, B, T), see kernels.to_log_posterior."""
    never = np.float32(-np.inf)
    half, count, width = p.shape[1:]
    n_psi, shifts = allowed.shape[2:]
    for h in range(half):
        before, opposite, after = (n_psi - h) % n_psi, (h + half - 1) % n_psi, half - 1 - h
        for b in range(count):
            first, second = allowed[b, 0, h], allowed[b, 0, before]
            third, fourth = allowed[b, 1, opposite], allowed[b, 1, after]
            for start in range(0, width, shifts):
                end = start + shifts
                p0, p1, p2, p3 = (p[0, h, b, start:end], p[1, h, b, start:end], p[2, h, b, start:end],
                                  p[3, h, b, start:end])
                for s in range(shifts):
                    p0[s] = p0[s] if first[s] else never
                    p1[s] = p1[s] if second[s] else never
                    p2[s] = p2[s] if third[s] else never
                    p3[s] = p3[s] if fourth[s] else never
