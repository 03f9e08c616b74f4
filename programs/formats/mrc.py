"""MRC files: read piece by piece, written as float32."""
import os
from contextlib import contextmanager

import numpy as np
from mrcfile.constants import MAP_ID
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import byte_order_from_machine_stamp, dtype_from_mode, machine_stamp_from_byte_order

from ..errors import UserError
from .stack import StackFile, first_bytes
from .whole import whole_file

HEADER_BYTES = 1024
_VOLUME_STACK = 401     # the space group of a stack of volumes


def open_mrc(path):
    """Open an MRC image, stack or volume as a :class:`StackFile` of its sections.

    Modes 0, 1, 2, 6 and 12, either byte order.  Raises :class:`UserError` for anything else and for a file
    that is shorter than its header says.
    """
    shape, dtype, offset, header = _layout(path)
    return StackFile(path, shape, dtype, offset, _pixel_size(header))


def open_mrc_volumes(path):
    """Open an MRC volume or stack of volumes as a :class:`StackFile` of shape (count, nz, ny, nx).

    A stack has space group 401 and MZ sections per volume, or does not say so and is a pile of cubes.
    """
    (nz, ny, nx), dtype, offset, header = _layout(path)
    depth = int(header.mz)
    if header.ispg < _VOLUME_STACK or depth < 1 or nz % depth:
        depth = nx if nx == ny and nz % nx == 0 else nz
    return StackFile(path, (nz // depth, depth, ny, nx), dtype, offset, _pixel_size(header))


def _layout(path):
    """Of the file's sections: shape (nz, ny, nx), type, bytes before them; and its header."""
    header, dtype = _header(path)
    shape = (int(header.nz), int(header.ny), int(header.nx))
    offset = HEADER_BYTES + int(header.nsymbt)
    if min(shape) < 1 or header.nsymbt < 0:
        raise UserError(f"{path}: not a sound MRC file: its header gives {_sizes(shape)} pixels "
                        f"and an extended header of {header.nsymbt} bytes")
    expected, found = offset + dtype.itemsize * shape[0] * shape[1] * shape[2], os.path.getsize(path)
    if found < expected:
        raise UserError(f"{path}: truncated MRC file: {found} bytes, expected {expected} "
                        f"for {_sizes(shape)} pixels of type {dtype.name}")
    return shape, dtype, offset, header


def read_volume(path):
    """An MRC volume: float32 (nz, ny, nx), and its pixel size in Å or None."""
    stack = open_mrc(path)
    return stack.read(slice(None)), stack.pixel_size


def write_stack(path, images, pixel_size=None):
    """Write images (count, ny, nx) as an MRC stack, float32, whole or not at all.  pixel_size : Å/px."""
    with stack_writer(path, pixel_size) as writer:
        writer.append(images)


def write_volume(path, volume, pixel_size=None):
    """Write a volume (nz, ny, nx) as an MRC volume, float32, whole or not at all.  pixel_size : Å/px."""
    with stack_writer(path, pixel_size, volume=True) as writer:
        writer.append(volume)


def write_volume_stack(path, volumes, pixel_size=None):
    """Write volumes (count, nz, ny, nx) as one MRC file, float32, whole or not at all.  pixel_size : Å/px."""
    with stack_writer(path, pixel_size, depth=np.shape(volumes)[1]) as writer:
        writer.append(volumes)


@contextmanager
def stack_writer(path, pixel_size=None, volume=False, depth=None):
    """Write a large stack batch by batch: ``with stack_writer(path) as writer: writer.append(images)``.

    volume : the images are the sections of one volume; depth : every ``depth`` of them are those of a volume
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        writer = _StackWriter(file)
        yield writer
        file.seek(0)
        file.write(writer.header(pixel_size, 1 if volume else _VOLUME_STACK if depth else 0, depth))


class _StackWriter:
    def __init__(self, file):
        self.file = file
        self.count, self.image_shape = 0, None
        self.minimum, self.maximum, self.sum, self.sum_of_squares = np.inf, -np.inf, 0.0, 0.0
        file.write(bytes(HEADER_BYTES))

    def append(self, images):
        """Add images (B, ny, nx), one image (ny, nx), or volumes (B, nz, ny, nx)."""
        images = np.ascontiguousarray(images, dtype="<f4")
        images = images.reshape(-1, *images.shape[-2:])
        if self.image_shape not in (None, images.shape[1:]):
            raise ValueError(f"images of {images.shape[1:]} pixels in a stack of {self.image_shape}")
        self.image_shape = images.shape[1:]
        self.count += len(images)
        if images.size:
            self.minimum = min(self.minimum, float(images.min()))
            self.maximum = max(self.maximum, float(images.max()))
            self.sum += float(images.sum(dtype=np.float64))
            self.sum_of_squares += float(np.square(images, dtype=np.float64).sum())
        self.file.write(images)

    def header(self, pixel_size, space_group, depth):
        if not self.count:
            raise ValueError("a stack needs at least one image")
        mz = {0: 1, 1: self.count, _VOLUME_STACK: depth}[space_group]
        if self.count % mz:
            raise ValueError(f"{self.count} sections are no stack of volumes of {mz}")
        ny, nx = self.image_shape
        size = nx * ny * self.count
        mean = self.sum / size
        header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
        fields = {
            "nx": nx, "ny": ny, "nz": self.count, "mode": 2,
            "mx": nx, "my": ny, "mz": mz, "ispg": space_group,
            "mapc": 1, "mapr": 2, "maps": 3, "nversion": 20141, "map": b"MAP ",
            "machst": machine_stamp_from_byte_order("<"),
            "dmin": self.minimum, "dmax": self.maximum, "dmean": mean,
            "rms": np.sqrt(max(self.sum_of_squares / size - mean ** 2, 0)),
            "nlabl": 1,
        }
        for name, value in fields.items():
            header[name] = value
        header["cellb"] = (90, 90, 90)
        header["cella"] = tuple((pixel_size or 0) * n for n in (nx, ny, header["mz"]))
        header["label"][0] = b"written by mlalign"
        return header.tobytes()


def _header(path):
    """(header as a record, type of the pixels).  An extended header is not read, and may be of any size."""
    raw = first_bytes(path, HEADER_BYTES)
    try:
        if len(raw) < HEADER_BYTES:
            raise ValueError(f"{len(raw)} bytes, expected a header of {HEADER_BYTES}")
        header = np.rec.array(np.frombuffer(raw, HEADER_DTYPE))[0]
        if not bytes(header.map).startswith(MAP_ID[:3]):
            raise ValueError("Map ID string not found")
        order = byte_order_from_machine_stamp(header.machst)
        header = np.rec.array(np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order)))[0]
        if header.mode in (3, 4):
            raise UserError(f"{path}: holds complex numbers (MRC mode {header.mode}), expected real images")
        return header, dtype_from_mode(header.mode).newbyteorder(order)
    except ValueError as error:
        raise UserError(f"{path}: not a readable MRC file: {error}") from error


def _pixel_size(header):
    """Å/px along x as the cell and grid say; None when the file does not say."""
    size = float(header.cella.x) / int(header.mx) if header.mx > 0 else 0.0
    return size if 0 < size < np.inf else None


def _sizes(shape):
    return " x ".join(str(n) for n in reversed(shape))
