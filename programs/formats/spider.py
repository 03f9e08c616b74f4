"""SPIDER images and stacks: Pillow reads the header, a memory map the pixels."""
import os

import numpy as np
from PIL.SpiderImagePlugin import SpiderImageFile

from ..errors import UserError
from .stack import MappedStack


def open_spider(path):
    """Open a SPIDER image or stack as a :class:`MappedStack`; :class:`UserError` when it is not sound."""
    try:
        with SpiderImageFile(path) as image:
            nx, ny = image.size
            count, order = image.n_frames, "<>"[image.bigendian]
            header = image.tile[0][2] // (2 if image.istack else 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (SyntaxError, ValueError, OverflowError) as error:       # the last two: header floats as ints
        raise UserError(f"{path}: not a readable SPIDER file: {error}") from error
    if min(nx, ny, count) < 1:
        raise UserError(f"{path}: not a readable SPIDER file: its header gives {count} images "
                        f"of {nx} x {ny} pixels")
    # a stack has one header for the file, then one before every image
    start, size = (header if image.istack else 0), header + 4 * ny * nx
    expected, found = start + count * size, os.path.getsize(path)
    if found < expected:
        raise UserError(f"{path}: truncated SPIDER file: {found} bytes, expected {expected} for "
                        f"{count} images of {nx} x {ny} pixels")
    record = np.dtype({"names": ["pixels"], "formats": [(order + "f4", (ny, nx))], "offsets": [header],
                       "itemsize": size})
    return MappedStack(path, np.memmap(path, record, "r", start, (count,))["pixels"], None)
