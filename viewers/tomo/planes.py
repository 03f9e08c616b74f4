"""Planes of a volume (nz, ny, nx): slices and projections along its three axes.  No Qt here.

The first letter of a plane's name is the axis to the right, the second the one downward: ``xy`` has x to the right and
y down, as images have; ``xz`` and ``yz`` have z down.
"""
import numpy as np

PLANES = ("xy", "xz", "yz")
ACROSS = ("z", "y", "x")        # the axis that each plane cuts, which is the array's axis 0, 1, 2


def plane(volume, direction, index):
    """The slice ``index`` (0, 1, …) of a volume across its array axis ``direction``: (rows, columns) of a plane."""
    return np.take(volume, index, axis=direction)


def central_slices(volume):
    """The planes through the origin, index n // 2 along each axis: a list in the order of :data:`PLANES`."""
    return [plane(volume, direction, size // 2) for direction, size in enumerate(volume.shape)]


def projections(volume):
    """Sums along each axis, in the order of :data:`PLANES`."""
    return [volume.sum(axis=direction) for direction in range(3)]


def strip(planes):
    """Planes (n, n) side by side: (n, 3 n)."""
    return np.hstack(planes)
