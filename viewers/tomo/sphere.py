"""Directions on the sphere: equal-area maps of where particles look and of what was observed.  No Qt here.

A sphere is mapped onto two discs of radius 1, the hemispheres z >= 0 and z < 0, by Lambert's equal-area projection: a
direction lies at distance sqrt(1 - abs(z)) from the centre, towards its (x, y).  Both discs are seen along the same
line, so that a direction on the equator is at the same place in either.  Each disc is divided into rings, and these
into cells, all of the same area.
"""
from functools import lru_cache

import numpy as np
from scipy.ndimage import map_coordinates

from ...programs.geometry3d import rotation_matrix

RINGS, AROUND = 20, 4                   # rings of a disc; cells of the innermost
CELLS = AROUND * RINGS**2               # of one hemisphere
NARROWEST, WIDEST = 6.0, 14.0           # degrees of smoothing


def viewing_directions(rot, tilt, psi):
    """Where particles look in their reference's frame: unit vectors (N, 3), A e_z of poses A (angles in degrees)."""
    return rotation_matrix(rot, tilt, psi)[..., :, 2]


def disc(directions):
    """Unit vectors (..., 3) on the discs: points (..., 2), and whether each is of the second disc (z < 0)."""
    directions = np.asarray(directions, float)
    across = np.hypot(directions[..., 0], directions[..., 1])
    radius = np.sqrt(np.clip(1 - np.abs(directions[..., 2]), 0, 1))
    scale = np.divide(radius, across, out=np.zeros_like(radius), where=across > 0)
    return directions[..., :2] * scale[..., None], directions[..., 2] < 0


def cells(points):
    """The cell (0 to CELLS - 1) of each point (..., 2) of a disc; points beyond its border count as on it."""
    x, y = np.moveaxis(np.asarray(points, float), -1, 0)
    ring = np.minimum((np.hypot(x, y) * RINGS).astype(int), RINGS - 1)
    around = AROUND * (2 * ring + 1)
    turn = np.arctan2(y, x) / (2 * np.pi) % 1
    return AROUND * ring**2 + np.minimum((turn * around).astype(int), around - 1)


def counts(directions):
    """How many of the directions (N, 3) are in each cell: (2, CELLS), one row for each hemisphere."""
    points, below = disc(directions)
    return np.bincount(cells(points) + CELLS * below, minlength=2 * CELLS).reshape(2, CELLS)


def density(directions, width=None):
    """Density of directions (N, 3) in each cell, relative to the mean over the sphere: (2, CELLS), mean 1 (or all 0).

    width: standard deviation in degrees of the kernel that smooths it, in which each direction counts as 1 in all;
        None: the fewer directions, the wider, so that some are within each other's reach
    """
    found = counts(directions).ravel()
    if not found.any():
        return np.zeros((2, CELLS))
    if width is None:
        width = np.clip(np.degrees(2 / np.sqrt(found.sum())), NARROWEST, WIDEST)
    there = np.flatnonzero(found)
    half = centres().astype(np.float32)
    everywhere = np.concatenate([half, half * np.float32([1, 1, -1])])
    kernel = np.exp((everywhere @ everywhere[there].T - 1) / np.float32(np.radians(width) ** 2))
    smooth = (kernel / kernel.sum(axis=0)) @ found[there]
    return (smooth / smooth.mean()).reshape(2, CELLS)


@lru_cache
def centres():
    """Directions of the cells of the first hemisphere: (CELLS, 3); half of each cell's area is further out."""
    ring = np.repeat(np.arange(RINGS), AROUND * (2 * np.arange(RINGS) + 1))
    height = 1 - (ring**2 + (ring + 1) ** 2) / (2 * RINGS**2)
    angle = 2 * np.pi * (np.arange(CELLS) - AROUND * ring**2 + 0.5) / (AROUND * (2 * ring + 1))
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=-1)


def observed(coverage, highest):
    """How much was observed along each direction of the first hemisphere: (CELLS,), 0 to 1.

    coverage : (n, n, n), axes z, y, x of frequency, origin at n // 2; of opposite frequencies the same
    highest  : in 1/px; the mean runs over frequencies up to it that fit in the box
    """
    size = coverage.shape[0]
    radii = np.arange(1, max(min(highest * size, size // 2 - 1), 1) + 1e-9)
    points = centres()[:, ::-1].T[:, :, None] * radii + size // 2
    return map_coordinates(np.asarray(coverage, np.float32), points, order=1).mean(axis=-1)
