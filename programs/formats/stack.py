"""A file of images or volumes, read piece by piece."""
import os
import weakref

import numpy as np

from ..errors import UserError

MOST_TEXT = 1 << 26         # bytes


class StackFile:
    """Images or volumes of one file; nothing is read until it is asked for.

    They are not read through a memory map: when the file becomes shorter, or its disk fails, reading one would end the
    process by a signal, where this can say what has happened.

    path : the file      pixel_size : Å/px, or None
    shape : (count, ny, nx) or (count, nz, ny, nx)      dtype : of its pixels, a real one
    offset : bytes before the first item's pixels      stride : bytes from one item to the next; default: of its pixels
    """

    def __init__(self, path, shape, dtype, offset, pixel_size=None, stride=None):
        self.path, self.shape, self.pixel_size = path, tuple(shape), pixel_size
        self._item = np.dtype((dtype, self.shape[1:]))
        self._offset, self._stride = offset, stride or self._item.itemsize
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _refusal(path, error) from error
        weakref.finalize(self, os.close, self._file)

    @property
    def numbers(self):
        """1-based numbers of the images, as locations ``000012@stack.mrcs`` use them."""
        return range(1, self.shape[0] + 1)

    def read(self, indices):
        """float32 (B, ny, nx) or (B, nz, ny, nx) of the given items: a slice or 0-based indices."""
        indices = np.arange(self.shape[0])[indices]
        items = np.empty((len(indices), *self.shape[1:]), np.float32)
        ends = np.flatnonzero(np.diff(indices, append=-1) != 1) + 1         # of items that follow each other
        for start, end in zip([0, *ends[:-1]], ends):
            self._read_run(int(indices[start]), items[start:end])
        return items

    def _read_run(self, first, items):
        """Fill ``items`` (B, ...), contiguous, with those from number ``first`` on."""
        start, size = self._offset + first * self._stride, self._item.itemsize
        if self._item.base == np.float32 and self._stride == size:
            self._fill(memoryview(items).cast("B"), start)
            return
        raw = np.empty(len(items), {"names": ["pixels"], "formats": [self._item], "itemsize": self._stride})
        self._fill(memoryview(raw.view(np.uint8))[: size - self._stride or None], start)
        items[:] = raw["pixels"]

    def _fill(self, buffer, start):
        done = 0
        while done < len(buffer):
            try:
                count = os.preadv(self._file, [buffer[done:]], start + done)
            except OSError as error:
                raise _refusal(self.path, error) from error
            if not count:
                found, last = os.fstat(self._file).st_size, (self.shape[0] - 1) * self._stride
                raise UserError(f"{self.path}: has become shorter while it was in use: {found} bytes, expected "
                                f"{self._offset + last + self._item.itemsize}")
            done += count


def small_text(path):
    """The text of a file that people write, of which no more than :data:`MOST_TEXT` bytes are read."""
    raw = first_bytes(path, MOST_TEXT)
    if b"\0" in raw:
        raise UserError(f"{path}: cannot be read, it holds no text")
    return raw.decode("utf-8", "surrogateescape")


def first_bytes(path, count):
    """Up to ``count`` bytes from a file's beginning; :class:`UserError` when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path, error):
    return UserError(f"cannot read {path}: {error.strerror or error}")
