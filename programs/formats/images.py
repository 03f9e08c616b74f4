"""Open any set of images: metadata whose rows point into stacks, or a stack of any supported kind."""
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import UserError
from .metadata import image_table, read_list, read_metadata

_METADATA = (".star", ".xmd")
_LIST = (".lst",)
_MRC = (".mrc", ".mrcs", ".st", ".map", ".rec", ".ali")
_SPIDER = (".stk", ".spi", ".xmp")
_HDF = (".hdf", ".h5", ".hdf5")
_BLOCK = re.compile(r"(\w*)@(.+)", re.DOTALL)
_LOCATION = re.compile(r"(\d+)@(.+)", re.DOTALL)
_NO_NUMBER = -1         # a row that names a file only: fine when it holds one image
_OPEN_STACKS = 200      # file descriptors are few: many systems allow 1024


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
    kind, path = _kind(path), _without_suffix(path)
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


class ImageSource:
    """The images that a table's enabled rows point to.

    table : :class:`MetaData` with column ``image``
    folder : where the images' paths start; where a file is not found there, from the current folder, then from
        the folders above ``folder``

    count : number of images
    size : side of the square images, px
    pixel_size : Å/px, or None if unknown
    metadata : the enabled rows, always with ``itemId`` and ``image``: a location such as
        ``000012@stack.mrcs`` that holds from the current folder
    rows : (count,) their 1-based rows in the input, for messages
    """

    def __init__(self, table, folder=""):
        enabled = table["enabled"] == 1 if "enabled" in table else np.ones(len(table), bool)
        if not enabled.any():
            raise UserError(f"{table.path}: none of {len(table)} rows is enabled (_enabled 1)")
        self.metadata = table.take(enabled)
        self.rows = self.metadata.rows
        self.count = len(self.rows)
        self._folder = folder
        self._stack = lru_cache(_OPEN_STACKS)(open_stack)
        self._locate()
        self._check_stacks()
        self.pixel_size = self._find_pixel_size()

    def read(self, rows):
        """float32 (B, size, size): the images of the given rows (slice or 0-based indices), in that order."""
        stacks, indices = self._stack_of[rows], self._index[rows]
        if len(stacks) and (stacks == stacks[0]).all():
            return self._stack(self._paths[stacks[0]]).read(_as_slice(indices))
        images = np.empty((len(stacks), self.size, self.size), np.float32)
        for stack in np.unique(stacks):
            here = np.flatnonzero(stacks == stack)
            images[_as_slice(here)] = self._stack(self._paths[stack]).read(_as_slice(indices[here]))
        return images

    def names(self, rows):
        """What messages call the given rows' images: a list of ``row 3 (000012@stack.mrcs)``."""
        return [f"row {row} ({image})" for row, image in zip(self.rows[rows], self.metadata["image"][rows])]

    def find(self, written, row):
        """The path from the current folder of a file that the given row (0-based) names; :class:`UserError` if none."""
        # Files in a Scipion or RELION project name paths from the project's folder, which is above them.
        above = (os.path.join(place, written) for place in Path(os.path.abspath(self._folder)).parents)
        for path in (os.path.normpath(os.path.join(self._folder, written)), written, *above):
            if os.path.isfile(_without_suffix(path)):
                return path
        places = dict.fromkeys([os.path.abspath(self._folder), os.getcwd()])
        raise UserError(f"{self.metadata.path}: row {self.rows[row]}: no file {written}, looked for it from "
                        + " and ".join(places) + " and the folders above")

    def _locate(self):
        """From column ``image``: the stack of every row, and its 0-based image there."""
        stacks = {}             # path as written -> its place in _paths
        numbers = np.empty(self.count, np.int64)
        self._stack_of, self._paths = np.empty(self.count, np.int32), []
        for i, image in enumerate(self.metadata["image"]):
            number, written = split_location(image)
            if written not in stacks:
                stacks[written] = len(self._paths)
                self._paths.append(self.find(written, i))
            self._stack_of[i] = stacks[written]
            numbers[i] = _NO_NUMBER if number is None else number
        self._index = numbers - 1
        if list(stacks) != self._paths:
            # whoever reads our output elsewhere must find what was found beside this metadata
            self.metadata.columns["image"] = np.array(
                [f"{number:06d}@{self._paths[stack]}" if number != _NO_NUMBER else self._paths[stack]
                 for number, stack in zip(numbers.tolist(), self._stack_of)], dtype=object)

    def _check_stacks(self):
        counts, self.size = np.empty(len(self._paths), np.int64), None
        for i, path in enumerate(self._paths):
            counts[i], ny, nx = self._stack(path).shape
            if ny != nx:
                raise UserError(f"{path}: images of {nx} x {ny} pixels, expected square ones")
            self.size = self.size or nx
            if nx != self.size:
                raise UserError(f"{path}: images of {nx} x {ny} pixels, expected {self.size} x {self.size} "
                                f"as in {self._paths[0]}")
        counts = counts[self._stack_of]
        self._index[(self._index == _NO_NUMBER - 1) & (counts == 1)] = 0
        bad = np.flatnonzero((self._index < 0) | (self._index >= counts))
        if len(bad):
            i = bad[0]
            raise UserError(f"{self.metadata.path}: {self.names([i])[0]}: no such image, "
                            f"expected number@stack with a number from 1 to {counts[i]}")

    def _find_pixel_size(self):
        if "samplingRate" not in self.metadata:
            return self._stack(self._paths[0]).pixel_size
        sizes = self.metadata.numbers("samplingRate")
        if np.ptp(sizes) > 1e-3 * abs(sizes).max():
            raise UserError(f"{self.metadata.path}: pixel sizes from {sizes.min():g} to {sizes.max():g} Å, "
                            "expected one for all images")
        return float(sizes[0]) if sizes[0] > 0 else None


def check_pixels(images, names):
    """Raise :class:`UserError` for the first of the images (B, n, n) that holds NaN or Inf, or is constant.

    names : what to call each in the message, see :meth:`ImageSource.names`
    """
    lowest, highest = images.min(axis=(1, 2)), images.max(axis=(1, 2))
    infinite = ~(np.isfinite(lowest) & np.isfinite(highest))
    bad = np.flatnonzero(infinite | (lowest == highest))
    if len(bad):
        i = bad[0]
        fault = "holds NaN or Inf" if infinite[i] else f"is constant (every pixel is {lowest[i]:g})"
        raise UserError(f"{names[i]}: the image {fault}, expected an image with signal")


def split_location(text):
    """``000012@stack.mrcs`` -> (12, "stack.mrcs"); (None, text) when no number is given."""
    match = _LOCATION.fullmatch(text)
    return (int(match[1]), match[2]) if match else (None, text)


def _without_suffix(path):
    """A path without the suffix that says how to read it: ``stack.mrc:mrcs`` -> ``stack.mrc``."""
    return re.sub(r"(?<=\w):\w+$", "", path)


def _kind(path):
    return Path(_without_suffix(path)).suffix.lower()


def _as_slice(indices):
    """Consecutive indices as a slice, which reads and writes in one piece."""
    if len(indices) and (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
