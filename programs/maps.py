"""Density maps given to the simulators: read, and checked against the box that is to hold them."""
import numpy as np
from scipy import ndimage

from .errors import UserError
from .formats.mrc import read_volume

INSIDE = 0.99         # share of a map's power that the box's circle or sphere must hold


def read_maps(paths):
    """The maps (nz, ny, nx) and their voxel sizes in Å: a list of pairs; :class:`UserError` for what is no map."""
    maps = [read_volume(path) for path in paths]
    for path, (volume, voxel) in zip(paths, maps):
        if voxel is None or len(volume) == 1:
            raise UserError(f"{path}: expected a 3-D map with its voxel size in the header")
        if not np.isfinite(volume).all() or volume.sum() <= 0:
            raise UserError(f"{path}: expected finite densities with a positive sum, zero in the solvent")
    return maps


def check_fits(paths, maps, size, pixel, option):
    """Raise :class:`UserError` for the first map too large for a box of ``size`` px of ``pixel`` Å.

    maps: as :func:`read_maps` gives; option: the one that sets the pixel's size.
    """
    for path, (volume, voxel) in zip(paths, maps):
        if _radius(volume) * voxel / pixel > size / 2 - 1 - soft_edge(size) / 2:
            raise UserError(f"{path}: does not fit in {size} pixels of {pixel:g} Å, "
                            f"expected a larger --box or {option}")


def soft_edge(size):
    """Width in px of the references' soft edge."""
    return max(2.0, size / 20)


def _radius(volume):
    """Distance in voxels from a map's centre of mass within which nearly all of its power lies."""
    axes = [np.arange(n) - c for n, c in zip(volume.shape, ndimage.center_of_mass(volume))]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(z**2 + y**2 + x**2).ravel()
    order = np.argsort(distance)
    power = np.cumsum(np.square(volume, dtype=float).ravel()[order])
    return distance[order[np.searchsorted(power, INSIDE * power[-1])]]
