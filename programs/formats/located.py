"""Pixels that metadata points to: locations such as ``000012@stack.mrcs``, and where their files are found."""
import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import UserError
from .star import quoted
from .whole_numbers import DIGITS

_NO_NUMBER = -1         # a row that names a file only: fine when it holds one image
OPEN_FILES = 200        # file descriptors are few: many systems allow 1024


class Source:
    """The images or volumes ("items") that a table's enabled rows point to; a base class.

    table : :class:`MetaData` with column ``image``
    folder : where the items' paths start; where a file is not found there, from the current folder, then from
        the folders above ``folder``
    open_file : path -> an object with ``shape`` (count, *sides), ``pixel_size`` (Å or None) and
        ``read(slice or 0-based indices)`` -> float32 (B, *sides).  The header of every file is checked here.

    count : number of items
    size : side of the square or cubic box, px
    pixel_size : Å/px, or None if unknown
    metadata : the enabled rows, always with ``itemId`` and ``image``: a location such as
        ``000012@stack.mrcs`` that holds from the current folder
    rows : (count,) their 1-based rows in the input, for messages
    """

    dimensions = None           # of an item, for subclasses to say

    def __init__(self, table, folder, open_file):
        enabled = table["enabled"] == 1 if "enabled" in table else np.ones(len(table), bool)
        if not enabled.any():
            raise UserError(f"{table.path}: none of {len(table)} rows is enabled (_enabled 1)")
        self.metadata = table.take(enabled)
        self.rows = self.metadata.rows
        self.count = len(self.rows)
        self._folder = folder
        self._file = lru_cache(OPEN_FILES)(open_file)
        self._locate()
        self._check_files()
        self.pixel_size = self._find_pixel_size()

    def read(self, rows):
        """float32 (B, *sides): the items of the given rows (slice or 0-based indices), in that order."""
        files, indices = self._file_of[rows], self._index[rows]
        if len(files) and (files == files[0]).all():
            return self._file(self._paths[files[0]]).read(_as_slice(indices))
        items = np.empty((len(files), *[self.size] * self.dimensions), np.float32)
        for file in np.unique(files):
            here = np.flatnonzero(files == file)
            items[_as_slice(here)] = self._file(self._paths[file]).read(_as_slice(indices[here]))
        return items

    def names(self, rows):
        """What messages call the given rows' items: a list of ``row 3 (000012@stack.mrcs)``."""
        return [f"row {row} ({image})" for row, image in zip(self.rows[rows], self.metadata["image"][rows])]

    def find(self, written, row):
        """The path from the current folder of a file that the given row (0-based) names; :class:`UserError` if none."""
        # Files in a Scipion or RELION project name paths from the project's folder, which is above them.
        above = (os.path.join(place, written) for place in Path(os.path.abspath(self._folder)).parents)
        for path in (os.path.normpath(os.path.join(self._folder, written)), written, *above):
            if os.path.isfile(without_suffix(path)):
                return path
        places = dict.fromkeys([os.path.abspath(self._folder), os.getcwd()])
        raise UserError(f"{self.metadata.path}: row {self.rows[row]}: no file {written}, looked for it from "
                        + " and ".join(places) + " and the folders above")

    def _misfit(self, file, shape):
        """The :class:`UserError` for a file (its place in ``_paths``) whose items are not boxes of ``size``."""
        raise NotImplementedError

    def _locate(self):
        """From column ``image``: the file of every row, and its 0-based item there."""
        files = {}              # path as written -> its place in _paths
        numbers = np.empty(self.count, np.int64)
        self._file_of, self._paths = np.empty(self.count, np.int32), []
        for i, image in enumerate(self.metadata["image"]):
            number, written = split_location(image)
            if written not in files:
                files[written] = len(self._paths)
                self._paths.append(self.find(written, i))
                quoted(self._paths[-1])         # to say it now, and not when results are written
            self._file_of[i] = files[written]
            numbers[i] = _NO_NUMBER if number is None else number
        self._index = numbers - 1
        if list(files) != self._paths:
            # whoever reads our output elsewhere must find what was found beside this metadata
            self.metadata.columns["image"] = np.array(
                [f"{number:06d}@{self._paths[file]}" if number != _NO_NUMBER else self._paths[file]
                 for number, file in zip(numbers.tolist(), self._file_of)], dtype=object)

    def _check_files(self):
        counts, self.size = np.empty(len(self._paths), np.int64), None
        for i, path in enumerate(self._paths):
            counts[i], *shape = self._file(path).shape
            self.size = self.size or shape[-1]
            if shape != [self.size] * self.dimensions:
                raise self._misfit(i, shape)
        counts = counts[self._file_of]
        self._index[(self._index == _NO_NUMBER - 1) & (counts == 1)] = 0
        bad = np.flatnonzero((self._index < 0) | (self._index >= counts))
        if len(bad):
            i = bad[0]
            raise UserError(f"{self.metadata.path}: {self.names([i])[0]}: no such image, "
                            f"expected number@stack with a number from 1 to {counts[i]}")

    def _find_pixel_size(self):
        if "samplingRate" not in self.metadata:
            return self._file(self._paths[0]).pixel_size
        sizes = self.metadata.numbers("samplingRate")
        if np.ptp(sizes) > 1e-3 * abs(sizes).max():
            raise UserError(f"{self.metadata.path}: pixel sizes from {sizes.min():g} to {sizes.max():g} Å, "
                            "expected one for all images")
        return float(sizes[0]) if sizes[0] > 0 else None


def split_location(text):
    """``000012@stack.mrcs`` -> (12, "stack.mrcs"); (None, text) when no number is given."""
    number, _, path = text.partition("@")
    numbered = path and number.isdecimal() and len(number) <= DIGITS
    return (int(number), path) if numbered else (None, text)


def without_suffix(path):
    """A path without the suffix that says how to read it: ``stack.mrc:mrcs`` -> ``stack.mrc``."""
    return re.sub(r"(?<=\w):\w+$", "", path)


def _as_slice(indices):
    """Consecutive indices as a slice, which reads and writes in one piece."""
    if len(indices) and (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
