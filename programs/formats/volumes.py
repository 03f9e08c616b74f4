"""Open any set of volumes: metadata whose rows name one volume each, a volume, or a stack of volumes."""
import os
import re
from pathlib import Path

from ..errors import UserError
from .docfile import read_docfile, read_selfile, text_kind
from .located import Source, without_suffix
from .metadata import image_table, read_list, read_metadata
from .stack import first_bytes

_LIST = (".lst",)
_MRC = (".mrc", ".mrcs", ".st", ".map", ".rec", ".ali")
_HDF_MAGIC, _MRC_MAGIC = b"\x89HDF\r\n\x1a\n", b"MAP"
_MRC_MAGIC_AT, _SNIFFED = 208, 1024
_BEFORE = re.compile(r"(\w*)@(.+)", re.DOTALL)          # block@metadata or number@stack


def open_volumes(path):
    """Open metadata, a volume or a stack of volumes: :class:`VolumeSource`.

    What a file holds is decided by its content, whatever its name (.vol, .scl, .sel, .doc, …).
    Metadata: STAR of Xmipp or RELION, Xmipp-2 selections and docfiles, EMAN lists; ``block@file.xmd`` names the block.
    A location is ``path`` (one file, one volume) or ``N@path``, the N-th volume of a stack.
    Raises :class:`UserError` for whatever is wrong with the files; the header of every file is checked here.
    """
    table = read_volume_table(path)
    if table is not None:
        return VolumeSource(table, Path(table.path).parent)
    before, name = _split(path)
    if before is not None:
        return VolumeSource(image_table([str(path)], name))
    stack = open_volume_file(name)
    images = [name] if stack.shape[0] == 1 else [f"{number:06d}@{name}" for number in stack.numbers]
    return VolumeSource(image_table(images, name))


def read_volume_table(path):
    """The metadata of volumes that ``path`` or ``block@path`` holds: :class:`MetaData`; None when it holds volumes."""
    block, name = _split(path)
    if block and block.isdecimal():
        return None
    table = _table(without_suffix(name), block)
    if table is None and block is not None:
        raise UserError(f"{path}: {name} holds no metadata, expected number@{name}")
    return table


def open_volume_file(path):
    """Open one volume or stack of volumes.

    Returns an object with ``shape`` (count, nz, ny, nx), ``pixel_size`` (Å or None), ``numbers`` (1-based, of the
    volumes that exist) and ``read(indices)`` (slice or 0-based) -> float32 (B, nz, ny, nx).
    """
    path = without_suffix(path)
    kind = _kind(path)
    # imported here: programs start quickly, and few need every kind
    if kind == "mrc":
        from .mrc import open_mrc_volumes
        return open_mrc_volumes(path)
    if kind == "hdf":
        from .hdf import HdfStack
        return HdfStack(path, dimensions=3)
    if kind == "spider":
        from .spider import open_spider_volumes
        return open_spider_volumes(path)
    raise UserError(f"{path}: unknown kind of file, expected a volume or a stack of volumes (MRC, SPIDER, EMAN HDF)")


class VolumeSource(Source):
    """The volumes that a table's enabled rows point to: a :class:`.located.Source` of cubic boxes.

    ``read(rows)`` gives float32 (B, n, n, n), axes z, y, x.
    """

    dimensions = 3

    def __init__(self, table, folder=""):
        super().__init__(table, folder, open_volume_file)

    def _misfit(self, file, shape):
        row = int((self._file_of == file).argmax())
        found = f"{self.metadata.path}: {self.names([row])[0]}: a volume of {_sizes(shape)} voxels"
        if len(set(shape)) > 1:
            return UserError(f"{found}, expected a cube")
        return UserError(f"{found}, expected {_sizes([self.size] * 3)} as in {self._paths[0]}")


def _split(path):
    """``before@path`` -> (before, path), where no file has that name; else (None, path)."""
    path = str(path)
    match = None if os.path.isfile(path) else _BEFORE.fullmatch(path)
    return match.groups() if match else (None, path)


def _table(path, block):
    """The table of a metadata file, or None when the file is not one."""
    if Path(path).suffix.lower() in _LIST:
        return read_list(path)
    kind = text_kind(path)
    if kind == "star":
        return read_metadata(path, block, dimensions=3)
    readers = {"selfile": read_selfile, "docfile": read_docfile}
    return readers[kind](path) if kind else None


def _kind(path):
    raw = first_bytes(path, _SNIFFED)
    if raw.startswith(_HDF_MAGIC):
        return "hdf"
    # an MRC file that lacks its magic is recognised by its name and gets a better message than ours
    if raw[_MRC_MAGIC_AT:].startswith(_MRC_MAGIC) or Path(path).suffix.lower() in _MRC:
        return "mrc"
    from .spider import read_header
    return "spider" if read_header(raw) else None


def _sizes(shape):
    return " x ".join(str(n) for n in reversed(shape))
