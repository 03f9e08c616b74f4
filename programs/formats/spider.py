"""SPIDER images and volumes, single or in stacks."""
import os

import numpy as np

from ..errors import UserError
from .stack import StackFile, first_bytes
from .whole_numbers import not_whole

_WORDS = 27                                     # of the header that matter, float32
_LAYOUT = [0, 1, 4, 11, 12, 21, 22, 23]         # NSLICE NROW IFORM NSAM LABREC LABBYT LENBYT ISTACK, counted from 0
_LARGEST = 2**31                                # of these words
_MOST = 25                                      # MAXIM
_DIMENSIONS = {1: 2, 3: 3}                      # by IFORM, of the real ones


def open_spider(path):
    """Open a SPIDER image or stack as a :class:`StackFile`; :class:`UserError` when it is not sound."""
    (count, depth, ny, nx), *layout = _layout(path)
    if depth != 1:
        raise UserError(f"{path}: not a readable SPIDER file: not a Spider 2D image, but volumes "
                        f"of {nx} x {ny} x {depth} voxels")
    return _stack(path, (count, ny, nx), *layout)


def open_spider_volumes(path):
    """Open a SPIDER volume or stack of volumes: :class:`StackFile` of shape (count, nz, ny, nx).

    An image is a volume of one section.
    """
    return _stack(path, *_layout(path))


def _stack(path, shape, order, offset, stride):
    return StackFile(path, shape, order + "f4", offset, stride=stride)


def _layout(path):
    """Shape (count, nz, ny, nx), byte order, bytes before the first item's pixels, and from item to item."""
    header = read_header(first_bytes(path, 4 * _WORDS))
    if header is None:
        raise UserError(f"{path}: not a readable SPIDER file: not a valid Spider file")
    order, offset, (count, *shape), stacked = header
    nz, ny, nx = shape
    if min(count, *shape) < 1:
        raise UserError(f"{path}: not a readable SPIDER file: its header gives {count} images "
                        f"of {_sizes(shape)} pixels")
    # a stack has one header for the file, then one before every image
    start, size = (offset if stacked else 0), offset + 4 * nz * ny * nx
    expected, found = start + count * size, os.path.getsize(path)
    if found < expected:
        raise UserError(f"{path}: truncated SPIDER file: {found} bytes, expected {expected} for "
                        f"{count} images of {_sizes(shape)} pixels")
    return (count, nz, ny, nx), order, start + offset, size


def read_header(raw):
    """What a file's first bytes say: (byte order, header bytes, (count, nz, ny, nx), is a stack), or None.

    There is no magic number.  A SPIDER file is one whose words fit together: whole numbers, a known form, and
    a header of as many bytes as its records have.
    """
    if len(raw) < 4 * _WORDS:
        return None
    for order in "><":
        with np.errstate(invalid="ignore"):         # bytes that signal that they are no number
            words = np.frombuffer(raw, order + "f4", _WORDS).astype(np.float64)
        layout, most = words[_LAYOUT], words[_MOST]
        if len(not_whole(layout)) or np.abs(layout).max() > _LARGEST:
            continue
        nz, ny, form, nx, records, length, record, stacked = layout.astype(np.int64).tolist()
        if form not in _DIMENSIONS or length < 4 * _WORDS or length != records * record:
            continue
        if stacked and len(not_whole(most)):
            continue
        depth = abs(nz) if _DIMENSIONS[form] == 3 else 1        # old files have a negative number of sections
        return order, length, (int(most) if stacked else 1, depth, ny, nx), stacked > 0
    return None


def _sizes(shape):
    return " x ".join(str(n) for n in reversed(shape[1:] if shape[0] == 1 else shape))
