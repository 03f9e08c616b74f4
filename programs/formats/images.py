"""Open any set of images: metadata whose rows point into stacks, or a stack of any supported kind."""
import os
import re
from pathlib import Path

import numpy as np

from ..errors import UserError
from .located import Source, split_location, without_suffix
from .metadata import image_table, read_list, read_metadata

_METADATA = (".star", ".xmd")
_LIST = (".lst",)
_MRC = (".mrc", ".mrcs", ".st", ".map", ".rec", ".ali")
_SPIDER = (".stk", ".spi", ".xmp")
_HDF = (".hdf", ".h5", ".hdf5")
LARGEST, FAINTEST = 1e8, 1e-8         # values of pixels, and differences within an image, that are worked with
_BLOCK = re.compile(r"(\w*)@(.+)", re.DOTALL)


def open_images(path):
    """Open metadata (``.star``, ``.xmd``, EMAN's ``.lst``) or a stack: :class:`ImageSource`.

    ``block@file.star`` names the block to read (where no file has that name), ``3@stack.mrcs`` one image of a stack.
    Raises :class:`UserError` for whatever is wrong with the files; the header of every stack is checked here.
    """
    path = str(path)
    kind = _kind(path)
    if kind in _METADATA:
        match = None if os.path.isfile(path) else _BLOCK.fullmatch(path)
        block, name = match.groups() if match else (None, path)
        return ImageSource(read_metadata(name, block), Path(name).parent)
    if kind in _LIST:
        return ImageSource(read_list(path), Path(path).parent)
    number, name = split_location(path)
    numbers = open_stack(name).numbers if number is None else [number]
    return ImageSource(image_table([f"{number:06d}@{name}" for number in numbers], name))


def open_stack(path):
    """Open one stack by its extension.

    Returns an object with ``shape`` (count, ny, nx), ``pixel_size`` (Å/px or None), ``numbers`` (1-based, of
    the images that exist) and ``read(indices)`` (slice or 0-based) -> float32 (B, ny, nx).
    """
    kind, path = _kind(path), without_suffix(path)
    # imported here: programs start quickly, and few need every kind
    if kind in _MRC:
        from .mrc import open_mrc
        return open_mrc(path)
    if kind in _SPIDER:
        from .spider import open_spider
        return open_spider(path)
    if kind in _HDF:
        from .hdf import HdfStack
        return HdfStack(path)
    raise UserError(f"{path}: unknown kind of file, expected one of "
                    + " ".join(_METADATA + _LIST + _MRC + _SPIDER + _HDF))


class ImageSource(Source):
    """The images that a table's enabled rows point to: a :class:`.located.Source` of square images."""

    dimensions = 2

    def __init__(self, table, folder=""):
        super().__init__(table, folder, open_stack)

    def _misfit(self, stack, shape):
        nx, ny = shape[::-1]
        found = f"{self._paths[stack]}: images of {nx} x {ny} pixels"
        if nx != ny:
            return UserError(f"{found}, expected square ones")
        return UserError(f"{found}, expected {self.size} x {self.size} as in {self._paths[0]}")


def check_pixels(images, names):
    """Raise :class:`UserError` for the first of the images or volumes (B, ...) that no program can work with.

    That is one that holds NaN or Inf, is constant, or whose values, in whichever unit, are so large or so alike that
    their squares would be lost in single precision: beyond :data:`LARGEST`, or within :data:`FAINTEST` of each other.

    names : what to call each in the message, see :meth:`ImageSource.names`
    """
    axes = tuple(range(1, images.ndim))
    lowest, highest = images.min(axes).astype(float), images.max(axes).astype(float)
    good = (lowest >= -LARGEST) & (highest <= LARGEST)
    good[good] = highest[good] - lowest[good] >= FAINTEST
    if not good.all():
        i = np.flatnonzero(~good)[0]
        article, what, unit = ("an", "image", "pixel") if images.ndim == 3 else ("a", "volume", "voxel")
        fault = _fault(lowest[i], highest[i], unit)
        raise UserError(f"{names[i]}: the {what} {fault}, expected {article} {what} with signal")


def _fault(lowest, highest, unit):
    """Why an image with these extreme values is not good."""
    if not np.isfinite([lowest, highest]).all():
        return "holds NaN or Inf"
    if lowest == highest:
        return f"is constant (every {unit} is {lowest:g})"
    trouble = "large" if highest - lowest > 1 else "faint"
    return f"has values from {lowest:.3g} to {highest:.3g}, too {trouble} to compute with"


def _kind(path):
    return Path(without_suffix(path)).suffix.lower()
