"""EMAN's HDF5 stacks, of images or volumes.

Group ``/MDF/images/<i>`` holds an image's pixels and its ``EMAN.*`` attributes.  HDF5 can do much more, such as read
from other files; whatever EMAN does not write is refused.
"""
import os
import re
from contextlib import contextmanager

import h5py
import numpy as np

from ..errors import UserError
from .whole import whole_file

_TRANSFORM = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
_FLOAT = 7              # EMAN's code for float32 pixels
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_COMPRESSION = 1100     # bytes of pixels that a byte of the file can stand for, at most: deflate's 1032, and some more
_LARGEST = np.finfo(np.float32).max
_MOST_BITS = 32         # of an integer that stands for a pixel
# how pixels were packed in another file says nothing of the float32 pixels written here
_PACKING = frozenset({"stored_renderbits", "stored_rendermin", "stored_rendermax", "stored_truncated"})


class HdfStack:
    """An EMAN HDF stack of 2-D images, read image by image.  Image ``i`` is number ``i + 1`` in locations.

    dimensions : 3 for a stack of volumes, 2 for images; EMAN writes images of one row in one dimension
    shape : (count, ny, nx) or (count, nz, ny, nx)
    pixel_size : Å/px, or None
    numbers : 1-based numbers of the images that exist; EMAN allows gaps
    """

    def __init__(self, path, dimensions=2):
        if not os.path.isfile(path):
            raise UserError(f"cannot read {path}: no such file")
        self.path, self._dimensions = path, dimensions
        self._images = self._open()
        with self._sound("the list of images"):
            self.numbers = sorted(int(name) + 1 for name in self._images if _INDEX.fullmatch(name))
        if not self.numbers:
            raise UserError(f"{path}: the stack holds no images")
        self._there = frozenset(self.numbers)
        first = self.numbers[0] - 1
        shape = self._shape_of(self._dataset(first))
        if len(shape) != dimensions:
            raise UserError(f"{path}: image {first + 1} has {len(shape)} dimensions, expected {dimensions}")
        self.shape = (self.numbers[-1], *shape)
        size = self.attributes(first).get("apix_x")
        self.pixel_size = size if is_number(size) and size > 0 else None

    def read(self, indices):
        """float32 (B, *shape[1:]) of the given images: a slice or 0-based indices."""
        indices = range(self.shape[0])[indices] if isinstance(indices, slice) else np.asarray(indices).tolist()
        for index in indices:           # before there is memory for a stack of a million images, of which two exist
            if index + 1 not in self._there:
                raise self._missing(index)
        images = np.empty((len(indices), *self.shape[1:]), np.float32)
        for image, index in zip(images, indices):
            pixels = self._dataset(index)
            if self._shape_of(pixels) != self.shape[1:]:
                raise UserError(f"{self.path}: image {index + 1} has shape {pixels.shape}, "
                                f"expected {self.shape[1:]}")
            with self._sound(f"image {index + 1}"):
                values = pixels[()]
            with np.errstate(over="ignore"):        # what float32 cannot hold is infinite
                image[:] = self._unpacked(index, values)
        return images

    def attributes(self, index):
        """The image's attributes, without ``EMAN.``: dict of bool, numbers, lists, str, (3, 4) transforms.

        What is none of these EMAN has not written, and is left out.
        """
        group = self._group(index)
        with self._sound(f"the header of image {index + 1}"):
            decoded = {name.removeprefix("EMAN."): _decode(value) for name, value in group.attrs.items()}
        return {name: value for name, value in decoded.items() if value is not None}

    def _open(self):
        """Group of the images."""
        try:
            # without "best-effort", file systems that cannot lock refuse to open
            group = h5py.File(self.path, "r", locking="best-effort")
        except OSError as error:
            raise UserError(f"cannot read {self.path}: not a readable HDF5 file ({error})") from error
        for name in ("MDF", "images"):
            group = self._member(group, name)
            if not isinstance(group, h5py.Group):
                raise UserError(f"{self.path}: no group /MDF/images, expected an EMAN HDF stack")
        return group

    @contextmanager
    def _sound(self, what):
        """:class:`UserError` for what is damaged, of which h5py and HDF5 complain in many ways."""
        try:
            yield
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
            raise UserError(f"{self.path}: {what} cannot be read, the file is damaged ({error})") from error

    def _member(self, group, name):
        """What a group holds by that name, or None; a link, which may lead to another file, is refused."""
        with self._sound(f"{group.name}/{name}"):
            if not group.id.links.exists(name.encode()):
                return None
            if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
                raise UserError(f"{self.path}: {group.name}/{name} is a link that leads elsewhere, "
                                "expected an EMAN HDF stack")
            return group[name]

    def _group(self, index):
        group = self._member(self._images, str(index))
        if group is None:
            raise self._missing(index)
        return group

    def _missing(self, index):
        return UserError(f"{self.path}: image {index + 1} (HDF number {index}) is missing")

    def _dataset(self, index):
        group, name = self._group(index), f"{self.path}: image {index + 1} (HDF number {index})"
        pixels = self._member(group, "image") if isinstance(group, h5py.Group) else None
        if not isinstance(pixels, h5py.Dataset):
            raise UserError(f"{name} has no pixels")
        with self._sound(f"image {index + 1}"):
            if pixels.is_virtual or pixels.external:
                raise UserError(f"{name}: its pixels are in another file, expected an EMAN HDF stack")
            if pixels.dtype.kind not in "fiu" or not pixels.shape or min(pixels.shape) < 1:
                raise UserError(f"{name} has pixels of type {pixels.dtype} and shape {pixels.shape}, expected numbers")
            if pixels.nbytes > _COMPRESSION * pixels.id.get_storage_size():
                raise UserError(f"{name}: the file does not hold the pixels that it claims, "
                                f"{' x '.join(map(str, pixels.shape))}")
        return pixels

    def _shape_of(self, pixels):
        row = self._dimensions == 2 and len(pixels.shape) == 1
        return (1, *pixels.shape) if row else pixels.shape

    def _unpacked(self, index, pixels):
        """Compressed stacks hold integers that span the range rendermin … rendermax."""
        if pixels.dtype.kind == "f":
            return pixels
        attributes = self.attributes(index)
        packing = [attributes.get(name, 0) for name in ("stored_renderbits", "stored_rendermin", "stored_rendermax")]
        if not all(map(is_number, packing)) or packing[0] > _MOST_BITS or packing[0] % 1:
            raise UserError(f"{self.path}: image {index + 1} (HDF number {index}) does not say how its pixels are "
                            f"packed: stored_renderbits, rendermin and rendermax are {', '.join(map(str, packing))}")
        bits, low, high = packing
        return pixels / (2.0 ** bits - 1) * (high - low) + low if bits > 0 else pixels


def is_number(value):
    """Whether an attribute is a finite number that float32 pixels can have."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


@contextmanager
def hdf_writer(path, pixel_size=None):
    """Write an EMAN HDF stack, whole or not at all: ``writer.append(image, {"ptcl_repr": 12, …})``.

    pixel_size : Å/px, written as EMAN's ``apix_x``, ``apix_y`` and ``apix_z``.
    """
    # HDF5 1.8's format: an attribute (the list of a class's particles, say) may exceed 64 kB
    # through a Python file: HDF5's own answer to a full disk is no OSError and pages of noise
    with whole_file(path) as temporary, open(temporary, "w+b") as raw, \
            h5py.File(raw, "w", libver=("v108", "v110")) as file:
        writer = _HdfWriter(file, pixel_size)
        yield writer
        writer.finish()


class _HdfWriter:
    def __init__(self, file, pixel_size):
        self._images = file.create_group("MDF/images")
        self._pixel_size = pixel_size
        self._count = 0

    def append(self, image, attributes=None):
        """Add an image (ny, nx); attributes: bool, int, float, str, lists of numbers, (3, 4) transforms.

        They may be those of an image read elsewhere: what describes its pixels there is replaced or left out.
        """
        image = np.asarray(image, dtype=np.float32)
        ny, nx = image.shape
        group = self._images.create_group(str(self._count))
        group.create_dataset("image", data=image)
        size = {f"apix_{axis}": float(self._pixel_size) for axis in "xyz"} if self._pixel_size else {}
        header = {"nx": nx, "ny": ny, "nz": 1, "is_complex": 0, "is_complex_ri": 0, "datatype": _FLOAT}
        for name, value in {**size, **(attributes or {}), **header}.items():
            if name in _PACKING:
                continue
            group.attrs["EMAN." + name] = _encode(value)
        self._count += 1

    def finish(self):
        self._images.attrs["imageid_max"] = _encode(self._count - 1)


def _encode(value):
    """As EMAN stores it: numbers in arrays of one, booleans as T or F, text with its terminating zero."""
    if isinstance(value, (bool, np.bool_)):
        return np.array([ord("T" if value else "F")], np.int8)
    if isinstance(value, str):
        text = value.encode(errors="surrogateescape")
        return np.array(text, dtype=f"S{len(text) + 1}")
    array = np.asarray(value)
    if array.shape == (3, 4):
        return np.array([tuple(array.ravel())], _TRANSFORM)
    if array.dtype.kind in "iu":
        if array.size and np.abs(array).max() > np.iinfo(np.int32).max:
            raise ValueError(f"{value!r} does not fit EMAN's 32-bit integers")
        return np.atleast_1d(array).astype(np.int32)
    if array.ndim == 1:
        return array.astype(np.float32)         # EMAN reads lists in single precision only
    return np.atleast_1d(array).astype(array.dtype if array.dtype == np.float32 else np.float64)


def _decode(value):
    """An attribute as Python has it; None for what is not EMAN's."""
    if isinstance(value, (bytes, np.bytes_)):
        return bytes(value).rstrip(b"\0").decode(errors="surrogateescape")
    if isinstance(value, str):
        return value
    if isinstance(value, h5py.Empty):
        return None
    value = np.asarray(value)
    if value.dtype == _TRANSFORM and value.size:
        return np.array(value.reshape(-1)[0].tolist(), np.float32).reshape(3, 4)
    if value.dtype.kind not in "iufb":
        return None
    if value.dtype.itemsize == 1 and value.dtype.kind in "iu" and value.size:
        return bool(value.reshape(-1)[0] == ord("T"))
    return value.reshape(-1)[0].item() if value.size == 1 else value.tolist()
