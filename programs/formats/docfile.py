"""Xmipp 2's text files: selections (``path 1``) and tables of poses (docfiles), in today's labels."""
import os
import re

import numpy as np

from ..errors import UserError
from .located import split_location
from .metadata import image_table, read_metadata
from .stack import first_bytes
from .star import MetaData
from .whole import whole_file
from .whole_numbers import not_whole

# What a docfile's columns hold unless its first line says otherwise; names as that line spells them.
_ORDER = ("rot", "tilt", "psi", "Xoff", "Yoff", "Zoff", "Ref", "Wedge", "Pmax/sumP", "LL")
_LABELS = {
    "rot": "angleRot", "tilt": "angleTilt", "psi": "anglePsi", "xoff": "shiftX", "yoff": "shiftY", "zoff": "shiftZ",
    "ref": "ref", "wedge": "missingRegionNumber", "pmax/sump": "pMax", "pmax": "pMax", "ll": "logLikelihood",
    "flip": "flip", "weight": "weight",
}
_WHOLE = {"ref", "missingRegionNumber", "flip"}
_NAMED = re.compile(r"(?<![^\s,:()])([^\s,:()]+)\s*\(\s*(\d{1,9})\s*\)")
_SNIFFED = 8192         # bytes that tell one kind of text from another
ORIENTATION = ("angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ", "ref", "missingRegionNumber",
               "pMax", "logLikelihood")


def text_kind(path):
    """What a text file holds, by its first lines: ``star``, ``docfile``, ``selfile``, or None for anything else."""
    raw = first_bytes(path, _SNIFFED)
    if b"\0" in raw:
        return None
    lines = (line.strip() for line in raw.decode("utf-8", "surrogateescape").splitlines())
    for line in lines:
        if line.startswith("data_"):
            return "star"
        if line.startswith(";"):
            return "docfile"
        if line and not line.startswith("#"):
            return "selfile" if _selected(line) else None
    return None


def read_selfile(path):
    """Read a selection, lines ``path 1`` (``-1``: disabled): :class:`MetaData` with image, enabled and itemId."""
    images, enabled = [], []
    for number, line in _lines(path):
        if line.startswith(("#", ";")):
            continue
        words = _selected(line)
        if words is None:
            raise UserError(f"{path}, line {number}: found {line!r}, expected: file 1 (or -1)")
        images.append(words[0])
        enabled.append(int(words[1]))
    if not images:
        raise UserError(f"{path}: lists no images")
    table = image_table(images, path)
    table.columns["enabled"] = np.array(enabled)
    return table


def read_docfile(path):
    """Read a docfile: pairs of lines `` ; path`` and `` key ncols v1 v2 …``: :class:`MetaData`.

    A first line `` ; Headerinfo columns: rot (1), tilt (2), …`` names the columns; else they are rot tilt psi Xoff
    Yoff Zoff Ref Wedge Pmax/sumP LL, as many as there are.  Columns of other names are left out.
    """
    places, images, rows = None, [], []
    image = None
    for number, line in _lines(path):
        if line.startswith(";"):
            comment = line[1:].strip()
            if comment.lower().startswith("headerinfo"):
                places = _named_columns(comment)
            else:
                image = comment
            continue
        if image is None:
            raise UserError(f"{path}, line {number}: found {line!r}, expected a line '; image' before it")
        images.append(image)
        rows.append(_values(path, number, line))
        if len(rows[-1]) != len(rows[0]):
            raise UserError(f"{path}, line {number}: {len(rows[-1])} values, "
                            f"expected {len(rows[0])} as in the first row")
        image = None
    if not images:
        raise UserError(f"{path}: lists no images")
    table, values = image_table(images, path), np.array(rows)
    places = places or {name: place for place, name in enumerate(_ORDER)}
    for name, place in places.items():
        label = _LABELS.get(name.lower())
        if label and place < values.shape[1]:
            table.columns[label] = _column(path, name, label, values[:, place])
    return table


def write_selfile(path, images, enabled):
    """Write a selection, whole or not at all.  images, enabled: (rows,)"""
    _write(path, [f"{image} {1 if chosen == 1 else -1}" for image, chosen in zip(images, enabled)])


def write_docfile(path, images, columns):
    """Write a docfile with a line that names its columns, whole or not at all.

    images : (rows,)      columns : label -> (rows,); those of ``ORIENTATION`` are written, 0 for what is not there
    """
    names = ", ".join(f"{name} ({place})" for place, name in enumerate(_ORDER, 1))
    values = np.stack([np.broadcast_to(columns.get(label, 0), len(images)) for label in ORIENTATION], 1)
    lines = [f" ; Headerinfo columns: {names}"]
    for number, (image, row) in enumerate(zip(images, values), 1):
        lines += [f" ; {image}", f"{number:5d} {len(row)} " + " ".join(f"{value:.9g}" for value in row)]
    _write(path, lines)


def read_orientations(path):
    """Read poses to be :func:`merged` with images: STAR metadata or a docfile, whichever ``path`` holds.

    The original's ``<root>_it000015.doc`` is today's ``<root>_it000015_img.xmd``, which is read where the former
    is not there, or ``<root>_img.xmd`` where that run had converged before.
    """
    if not os.path.exists(path):
        today = re.sub(r"\.doc$", "_img.xmd", str(path))
        ended = re.sub(r"_it\d{6,}_img\.xmd$", "_img.xmd", today)
        path = next((other for other in (today, ended) if os.path.exists(other)), path)
    kind = text_kind(path)
    if kind == "docfile":
        return read_docfile(path)
    if kind == "star":
        return read_metadata(path, dimensions=3)
    raise UserError(f"{path}: expected metadata (STAR) or a docfile with the images' orientations")


def merged(metadata, orientations):
    """``metadata`` (:class:`MetaData` of images) with the poses that ``orientations`` has of the same images.

    Columns of a pose, class and missing region in ``orientations`` take the place of those in ``metadata``.  Images
    are the same when their locations are, or else when no other has that file name (and number).
    """
    rows = _matched(metadata, orientations)
    columns = dict(metadata.columns)
    columns.update({label: orientations[label][rows] for label in ORIENTATION if label in orientations})
    return MetaData(columns, metadata.path, metadata.rows)


def _matched(metadata, orientations):
    """The row (0-based) of ``orientations`` for every row of ``metadata``."""
    exact, short = {}, {}
    for row, image in enumerate(orientations["image"]):
        number, path = split_location(image)
        beside = os.path.join(os.path.dirname(orientations.path), path)
        exact.update({(number, os.path.normpath(beside)): row, (number, os.path.normpath(path)): row})
        short.setdefault((number, os.path.basename(path)), []).append(row)
    rows = np.empty(len(metadata), np.int64)
    for i, image in enumerate(metadata["image"]):
        number, path = split_location(image)
        whole = number, os.path.normpath(path)
        found = [exact[whole]] if whole in exact else short.get((number, os.path.basename(path)), [])
        if len(found) != 1:
            why = f"{len(found)} rows with its file name, none with its path" if found else "no row of that image"
            raise UserError(f"{metadata.path}: row {metadata.rows[i]}: no orientation for {image}: "
                            f"{orientations.path} has {why}")
        rows[i] = found[0]
    return rows


def _write(path, lines):
    with whole_file(path) as temporary, open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(f"{line}\n" for line in lines)


def _lines(path):
    """The lines of a text file that are not empty, stripped, with their numbers from 1."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            yield from ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _selected(line):
    """The words of a line of a selection, or None when it is not one."""
    words = line.rsplit(maxsplit=1)
    return words if len(words) == 2 and words[1] in ("1", "-1", "0") else None


def _named_columns(comment):
    """{name: 0-based place} from ``Headerinfo columns: rot (1), tilt (2), …``."""
    return {name: int(place) - 1 for name, place in _NAMED.findall(comment)}


def _values(path, number, line):
    """The values of a row ``key ncols v1 v2 …``."""
    try:
        _, count, *values = [float(word) for word in line.split()]
    except ValueError:
        raise UserError(f"{path}, line {number}: found {line!r}, expected: key ncols value …") from None
    if count != len(values):
        raise UserError(f"{path}, line {number}: {len(values)} values, expected {count:g} as its second word says")
    return values


def _column(path, name, label, values):
    if label not in _WHOLE:
        return values
    bad = not_whole(values)
    if len(bad):
        raise UserError(f"{path}: row {bad[0] + 1}: {name} is {values[bad[0]]}, expected a whole number")
    return values.astype(np.int64)
