"""Checkpoints: arrays and plain values of a run in one file, written whole or not at all."""
import hashlib
import json
import zipfile

import numpy as np

from ..errors import UserError
from .whole import whole_file

FORMAT = 2
_META = "meta.json"


def save_checkpoint(path, arrays, meta):
    """Write arrays (dict of name -> ndarray, types and shapes kept) and meta (dict of what JSON can hold).

    The file is an uncompressed ``.npz`` without pickles, so ``numpy.load`` opens it too.  NumPy scalars in
    ``meta`` come back as Python numbers, tuples as lists.  A seal over the checksums of all parts is the archive's
    comment: parts that somebody has edited, exchanged or taken out do not pass for what the program wrote.
    """
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", allowZip64=True) as archive:
        archive.writestr(_META, json.dumps({"format": FORMAT, "meta": meta}, default=_plain))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        archive.comment = _seal(archive)


def load_checkpoint(path):
    """Read a checkpoint back: (arrays, meta), dictionaries whose missing entries are a :class:`UserError`, too.

    Every part carries a checksum (CRC-32), all of them a seal.  Nothing is unpickled, and nothing takes more memory
    than the file has bytes.  Raises :class:`UserError` when the file is missing, damaged or of another format.
    """
    try:
        with open(path, "rb") as file:
            return _load(path, file)
    except OSError as error:
        raise UserError(f"cannot read checkpoint {path}: {error.strerror}") from error


def _load(path, file):
    try:
        archive = zipfile.ZipFile(file)
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise zipfile.BadZipFile("compressed, as no program here does")
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        head = json.loads(archive.read(_META))
        found, meta, arrays = head["format"], dict(head["meta"]), {}
        if found == FORMAT:
            if archive.comment != _seal(archive):
                raise zipfile.BadZipFile("its parts are not those that were written")
            arrays = {name.removesuffix(".npy"): _read_array(archive, name)
                      for name in archive.namelist() if name != _META}
    except Exception as error:              # a damaged archive fails in many ways
        raise UserError(f"{path}: damaged checkpoint ({error}); continue from an earlier one") from error
    if found != FORMAT:
        raise UserError(f"{path}: checkpoint of format {found}, this program reads {FORMAT}")
    return _Parts(path, arrays), _Parts(path, meta)


class _Parts(dict):
    """What a checkpoint holds, by name."""

    def __init__(self, path, parts):
        super().__init__(parts)
        self._path = path

    def __missing__(self, name):
        raise UserError(f"{self._path}: the checkpoint has no {name}, expected one of this program and version")


def _seal(archive):
    parts = [(part.filename, part.file_size, part.CRC) for part in archive.infolist()]
    return hashlib.blake2b(json.dumps(parts).encode()).hexdigest().encode()


def _read_array(archive, name):
    with archive.open(name) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _plain(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be kept in a checkpoint's meta: give arrays apart")
