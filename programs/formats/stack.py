"""A file of images or volumes seen through a memory map."""
import mmap

import numpy as np

from ..errors import UserError


class MappedStack:
    """Images or volumes of one file; nothing is read until it is asked for.

    path : the file      data : (count, ny, nx) or (count, nz, ny, nx) memory map of any real type
    pixel_size : Å/px, or None
    """

    def __init__(self, path, data, pixel_size):
        self.path, self.data, self.pixel_size = path, data, pixel_size

    @property
    def numbers(self):
        """1-based numbers of the images, as locations ``000012@stack.mrcs`` use them."""
        return range(1, len(self.data) + 1)

    @property
    def shape(self):
        """(count, ny, nx) or (count, nz, ny, nx)"""
        return self.data.shape

    def read(self, indices):
        """float32 (B, ny, nx) or (B, nz, ny, nx) of the given items: a slice or 0-based indices."""
        items = np.array(self.data[indices], dtype=np.float32)
        self._let_go()
        return items

    def _let_go(self):
        """Give back the pages that reading has mapped; or all of a large file would count as memory in use."""
        mapped = getattr(self.data, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)


def first_bytes(path, count):
    """Up to ``count`` bytes from a file's beginning; :class:`UserError` when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
