"""Moves class averages, and with them the poses of their members, so that the particle is in the middle.

Shifts are in pixels along x, y (and z), from pixel n // 2, the origin of all poses.
"""
import numpy as np
from scipy import ndimage

from .geometry3d import rotation_matrix
from .phantoms import ball

RIM = 0.85              # of half the box: beyond is background
ABOVE = 2.0             # standard deviations of the background: what is brighter belongs to the particle
SMOOTH = 1.0            # px, of the Gaussian before anything is looked at
ROUNDS, SETTLED = 20, 0.02          # of looking from the centre that was found, until it moves by less than this (px)


def centre(average):
    """Where the particle's centre of mass is in an average (n, n) or (n, n, n): (2,) or (3,), px from the origin.

    The particle is what is brighter than the background, inside a circle (or sphere) about the centre: what another
    particle or an edge has at the rim of the box counts less the better the circle is placed.  Zero for an image
    without anything bright.
    """
    size, dimensions = average.shape[-1], average.ndim
    smooth = ndimage.gaussian_filter(np.asarray(average, float), SMOOTH)
    beyond = smooth[(ball(size, RIM * size / 2, 0, dimensions) == 0) & (ball(size, size / 2, 0, dimensions) > 0)]
    weight = np.clip(smooth - beyond.mean() - ABOVE * beyond.std(), 0, None)
    axes = np.meshgrid(*[np.arange(size) - size // 2] * dimensions, indexing="ij", sparse=True)
    found = np.zeros(dimensions)
    for _ in range(ROUNDS):
        distance = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, found)))
        near = weight * (distance <= RIM * size / 2)
        total = near.sum()
        if total <= 0:
            return np.zeros(dimensions)
        before, found = found, np.array([(near * axis).sum() / total for axis in axes])
        if np.abs(found - before).max() < SETTLED:
            break
    return found[::-1]


def centring_shift(average):
    """The shift (2,) or (3,) that brings the particle in an average to the origin."""
    return 0.0 - centre(average)


def moved(average, shift):
    """An average (n, n) or (n, n, n) moved by a shift (x, y[, z]); what comes in from outside is flat as its corner."""
    shift = np.asarray(shift, float)[::-1]
    flat, margin = float(average[(0,) * average.ndim]), int(np.ceil(np.abs(shift).max()))
    wide = np.pad(average - flat, margin)
    wide = np.fft.ifftn(ndimage.fourier_shift(np.fft.fftn(wide), shift)).real
    middle = slice(margin, margin + average.shape[-1])
    return wide[(middle,) * average.ndim] + flat


def moved_poses(columns, shifts):
    """Those columns of poses (label -> (N,)) that change when class averages move by ``shifts`` (N, 2) or (N, 3).

    In two dimensions a particle is shifted after it was turned, in three before (see :mod:`.geometry`,
    :mod:`.geometry3d`).
    """
    labels = ("shiftX", "shiftY", "shiftZ")[: shifts.shape[1]]
    if shifts.shape[1] == 3:
        turned = rotation_matrix(*(columns[label] for label in ("angleRot", "angleTilt", "anglePsi")))
        shifts = np.einsum("nji,nj->ni", turned, shifts)
    return {label: columns[label] + along for label, along in zip(labels, shifts.T)}
