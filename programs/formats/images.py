"""Open any set of images: metadata whose rows point into stacks, or a stack of any supported kind."""
import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import UserError
from .metadata import read_metadata
from .star import MetaData

_METADATA = (".star", ".xmd", ".lst")
_MRC = (".mrc", ".mrcs", ".st", ".map", ".rec", ".ali")
_SPIDER = (".stk", ".spi", ".xmp")
_HDF = (".hdf", ".h5", ".hdf5")
_OPEN_STACKS = 200      # file descriptors are few: many systems allow 1024


def open_images(path):
    """Open metadata (``.star``, ``.xmd``, EMAN's ``.lst``) or a stack (MRC, SPIDER, EMAN HDF): :class:`ImageSource`.

    ``block@file.star`` names the block to read, ``3@stack.mrcs`` one image of a stack.
    Raises :class:`UserError` for whatever is wrong with the files; every stack's header is checked here.
    """
    block, name = _split_location(str(path))
    kind = Path(_plain(name)).suffix.lower()
    if kind == ".lst":
        table = _read_lst(name)
    elif kind in _METADATA:
        table = read_metadata(name, block)
    else:
        stack = open_stack(_plain(name))
        numbers = [block] if block else _image_numbers(stack)
        table = MetaData({"image": _objects(f"{int(number):06d}@{name}" for number in numbers),
                          "itemId": np.arange(1, len(numbers) + 1)}, name)
    return ImageSource(table)


def open_stack(path):
    """Open one stack by its extension: an object with ``shape`` (count, ny, nx), ``pixel_size`` and ``read(indices)``."""
    kind = Path(path).suffix.lower()
    if kind in _MRC:
        from .mrc import open_mrc
        return open_mrc(path)
    if kind in _SPIDER:
        from .spider import open_spider
        return open_spider(path)
    if kind in _HDF:
        from .hdf import HdfStack
        return HdfStack(path)
    raise UserError(f"{path}: unknown kind of file, expected one of {' '.join(_METADATA + _MRC + _SPIDER + _HDF)}")


class ImageSource:
    """The images that a table's enabled rows point to.

    count      : number of images           size : side of the square box, px
    pixel_size : Å/px, or None if unknown   metadata : :class:`MetaData` of these images; ``image`` holds locations
                                            ``000012@stack.mrcs`` that are valid from the current folder
    rows       : (count,) their 1-based rows in the input, for messages
    """

    def __init__(self, table):
        enabled = table["enabled"] == 1 if "enabled" in table else np.ones(len(table), bool)
        if not enabled.any():
            raise UserError(f"{table.path}: no row is enabled (_enabled is 1 in none of {len(table)} rows)")
        self.rows = np.flatnonzero(enabled) + 1
        self.metadata = table.take(enabled)
        self.count = len(self.rows)
        self._stack = lru_cache(_OPEN_STACKS)(open_stack)
        self._locate()
        self._check_stacks()
        self.pixel_size = self._find_pixel_size()

    def read(self, rows):
        """float32 (B, size, size): the images of the given rows, a slice or 0-based indices, in that order."""
        stacks, indices = self._stack_of[rows], self._index[rows]
        images = np.empty((len(stacks), self.size, self.size), np.float32)
        for stack in np.unique(stacks):
            here = np.flatnonzero(stacks == stack)
            images[here] = self._stack(self._paths[stack]).read(_as_slice(indices[here]))
        return images

    def names(self, rows):
        """For messages: ``row 3 (000012@stack.mrcs)`` of the given rows (slice or 0-based indices)."""
        return [f"row {row} ({image})" for row, image in zip(self.rows[rows], self.metadata["image"][rows])]

    def _locate(self):
        """From the image column: which stack, and which 0-based image in it; -1 where the file alone is named."""
        folder = Path(self.metadata.path).parent
        known = {}                  # stack as written -> its number
        self._paths, self._stack_of = [], np.empty(self.count, np.int32)
        self._index = np.empty(self.count, np.int64)
        images = self.metadata["image"]
        for i, image in enumerate(images):
            number, written = _split_location(image)
            if written not in known:
                known[written] = len(self._paths)
                self._paths.append(self._find(folder, written, i))
            self._stack_of[i] = known[written]
            try:
                self._index[i] = int(number) - 1 if number else -1
            except ValueError:
                raise UserError(f"{self.metadata.path}: row {self.rows[i]}: {image!r} is not a location, "
                                "expected number@stack") from None
        # what was found beside the metadata must also be found by those who read our output elsewhere
        moved = [written != path for written, path in zip(known, self._paths)]
        if any(moved):
            self.metadata.columns["image"] = _objects(
                f"{index + 1:06d}@{self._paths[stack]}" if index >= 0 else self._paths[stack]
                for index, stack in zip(self._index, self._stack_of))

    def _find(self, folder, written, i):
        plain = _plain(written)
        for path in (os.path.join(folder, plain), plain):
            if os.path.isfile(path):
                return os.path.normpath(path) if path != plain else path
        tried = " and ".join(dict.fromkeys(str(Path(place, plain)) for place in (folder.absolute(), Path.cwd())))
        raise UserError(f"{self.metadata.path}: row {self.rows[i]}: no file {plain}; looked for {tried}")

    def _check_stacks(self):
        self.size, first = None, None
        counts = np.empty(len(self._paths), np.int64)
        for number, path in enumerate(self._paths):
            count, ny, nx = self._stack(path).shape
            if ny != nx:
                raise UserError(f"{path}: images of {nx} x {ny} pixels, expected square ones")
            if self.size not in (None, nx):
                raise UserError(f"{path}: images of {nx} x {nx} pixels, but {first} has {self.size} x {self.size}")
            if self.size is None:
                self.size, first = nx, path
            counts[number] = count
        self._index[(self._index == -1) & (counts[self._stack_of] == 1)] = 0
        bad = np.flatnonzero((self._index < 0) | (self._index >= counts[self._stack_of]))
        if len(bad):
            row, image = self.rows[bad[0]], self.metadata["image"][bad[0]]
            count = counts[self._stack_of[bad[0]]]
            raise UserError(f"{self.metadata.path}: row {row}: {image}: the stack has {count} images, "
                            f"expected number@stack with a number from 1 to {count}")

    def _find_pixel_size(self):
        if "samplingRate" not in self.metadata:
            return self._stack(self._paths[0]).pixel_size
        sizes = self.metadata.numbers("samplingRate")
        if sizes.max() - sizes.min() > 1e-3 * abs(sizes).max():
            raise UserError(f"{self.metadata.path}: pixel sizes from {sizes.min():g} to {sizes.max():g} Å, "
                            "expected one for all images")
        return float(sizes[0]) if sizes[0] > 0 else None


def check_pixels(images, names):
    """Raise :class:`UserError` for the first of the images (B, n, n) that holds NaN or Inf, or is constant.

    names : what to call each in the message, see :meth:`ImageSource.names`.
    """
    lowest, highest = images.min(axis=(1, 2)), images.max(axis=(1, 2))
    for fault, bad in (("holds NaN or Inf", ~np.isfinite(lowest) | ~np.isfinite(highest)),
                       ("is constant", lowest == highest)):
        if bad.any():
            raise UserError(f"{names[np.flatnonzero(bad)[0]]}: the image {fault}")


def _read_lst(path):
    """EMAN's list of images: lines ``index file [comment]``, counted from 0."""
    images = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                words = line.split(maxsplit=2)
                if not words or words[0].startswith("#"):
                    continue
                if len(words) < 2 or not words[0].isdigit():
                    raise UserError(f"{path}, line {number}: found {line.strip()!r}, expected: index file")
                images.append(f"{int(words[0]) + 1:06d}@{words[1]}")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not images:
        raise UserError(f"{path}: lists no images")
    return MetaData({"image": _objects(images), "itemId": np.arange(1, len(images) + 1)}, path)


def _split_location(text):
    """``000012@stack.mrcs`` -> ("000012", "stack.mrcs"); without @ the first is None."""
    number, at, path = text.partition("@")
    return (number, path) if at else (None, text)


def _plain(path):
    """A path without the suffix that says how to read it: ``stack.mrc:mrcs`` -> ``stack.mrc``."""
    name, colon, suffix = path.rpartition(":")
    return name if colon and "/" not in suffix and "." in os.path.basename(name) else path


def _image_numbers(stack):
    return range(1, stack.shape[0] + 1)


def _as_slice(indices):
    """Consecutive indices as a slice, which a memory map reads in one piece."""
    if len(indices) and (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def _objects(words):
    return np.array(list(words), dtype=object)
