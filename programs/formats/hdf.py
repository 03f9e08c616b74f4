"""EMAN's HDF5 stacks, of images or volumes.

Group ``/MDF/images/<i>`` holds an image's pixels and its ``EMAN.*`` attributes.
"""
import os
from contextlib import contextmanager

import h5py
import numpy as np

from ..errors import UserError
from .whole import whole_file

_TRANSFORM = np.dtype([(f"{row}{column}", "<f4") for row in range(3) for column in range(4)])
_FLOAT = 7              # EMAN's code for float32 pixels
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
        self.path = path
        try:
            # without "best-effort", file systems that cannot lock refuse to open
            self._images = h5py.File(path, "r", locking="best-effort").get("MDF/images")
        except OSError as error:
            raise UserError(f"cannot read {path}: not a readable HDF5 file ({error})") from error
        if self._images is None:
            raise UserError(f"{path}: no group /MDF/images, expected an EMAN HDF stack")
        self.numbers = sorted(int(name) + 1 for name in self._images if name.isdigit())
        if not self.numbers:
            raise UserError(f"{path}: the stack holds no images")
        first = self.numbers[0] - 1
        self._dimensions = dimensions
        shape = self._shape_of(self._dataset(first))
        if len(shape) != dimensions:
            raise UserError(f"{path}: image {first + 1} has {len(shape)} dimensions, expected {dimensions}")
        self.shape = (self.numbers[-1], *shape)
        size = float(self.attributes(first).get("apix_x", 0))
        self.pixel_size = size if size > 0 else None

    def read(self, indices):
        """float32 (B, *shape[1:]) of the given images: a slice or 0-based indices."""
        indices = np.arange(self.shape[0])[indices]
        images = np.empty((len(indices), *self.shape[1:]), np.float32)
        for image, index in zip(images, indices):
            pixels = self._dataset(index)
            if self._shape_of(pixels) != self.shape[1:]:
                raise UserError(f"{self.path}: image {index + 1} has shape {pixels.shape}, "
                                f"expected {self.shape[1:]}")
            image[:] = self._unpacked(index, pixels[()])
        return images

    def attributes(self, index):
        """The image's attributes, without ``EMAN.``: dict of bool, numbers, lists, str, (3, 4) transforms."""
        attributes = self._group(index).attrs
        return {name.removeprefix("EMAN."): _decode(value) for name, value in attributes.items()}

    def _shape_of(self, pixels):
        row = self._dimensions == 2 and len(pixels.shape) == 1
        return (1, *pixels.shape) if row else pixels.shape

    def _group(self, index):
        try:
            return self._images[str(index)]
        except KeyError:
            raise UserError(f"{self.path}: image {index + 1} (HDF number {index}) is missing") from None

    def _dataset(self, index):
        group = self._group(index)
        if "image" not in group:
            raise UserError(f"{self.path}: image {index + 1} (HDF number {index}) has no pixels")
        return group["image"]

    def _unpacked(self, index, pixels):
        """Compressed stacks hold integers that span the range rendermin … rendermax."""
        if pixels.dtype.kind == "f":
            return pixels
        attributes = self.attributes(index)
        bits = attributes.get("stored_renderbits", 0)
        if bits <= 0:
            return pixels
        low, high = attributes["stored_rendermin"], attributes["stored_rendermax"]
        return pixels / (2.0 ** bits - 1) * (high - low) + low


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
        text = value.encode()
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
    if isinstance(value, (bytes, np.bytes_)):
        return bytes(value).rstrip(b"\0").decode()
    if isinstance(value, str):
        return value
    value = np.asarray(value)
    if value.dtype.names:
        return np.array(value.reshape(-1)[0].tolist(), np.float32).reshape(3, 4)
    if value.dtype.itemsize == 1 and value.dtype.kind in "iu":
        return bool(value.reshape(-1)[0] == ord("T"))
    return value.reshape(-1)[0].item() if value.size == 1 else value.tolist()
