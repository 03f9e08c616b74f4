"""Particle metadata: finds the table of images in a STAR file and brings it to one vocabulary (see labels.py)."""
import numpy as np

from ..errors import UserError
from .labels import RELION, WHOLE, XMIPP_ALIASES
from .star import MetaData, read_star

_IMAGE_LABELS = ("image", "rlnImageName")


def read_metadata(path, block=None):
    """Read the table of images from Xmipp or RELION (3.0, 3.1 and later) metadata: :class:`MetaData`.

    block : name of the block; default: ``particles`` if there is one with images, else the first one with images.

    Columns carry Xmipp's labels.  RELION's optics table is joined in, its pose becomes ``anglePsi``, ``shiftX`` and
    ``shiftY`` in the convention of ``geometry.py``; labels without a counterpart stay.  ``itemId`` is always there: the
    input's, else 1, 2, …  Raises :class:`UserError` when there is no image column or no row.
    """
    tables = read_star(path)
    table = _image_table(path, tables, block)
    if not len(table):
        raise UserError(f"{path}: block data_{_name_of(tables, table)} has no rows")
    if any(label.startswith("rln") for label in table.columns):
        columns = _from_relion(table, tables.get("optics"))
    else:
        columns = {XMIPP_ALIASES.get(label, label): values for label, values in table.columns.items()}
    for label in WHOLE & columns.keys():
        columns[label] = _whole(path, label, columns[label])
    columns.setdefault("itemId", np.arange(1, len(table) + 1))
    return MetaData(columns, path)


def _image_table(path, tables, name):
    if name is not None:
        if name not in tables:
            raise UserError(f"{path}: no block data_{name}; there are "
                            + ", ".join("data_" + other for other in tables))
        found = [tables[name]]
    else:
        found = [tables[key] for key in ("particles", *tables) if key in tables]
    for table in found:
        if any(label in table for label in _IMAGE_LABELS):
            return table
    there = "; ".join(f"data_{_name_of(tables, table)}: " + (", ".join("_" + label for label in table.columns) or "empty")
                      for table in dict.fromkeys(found))
    raise UserError(f"{path}: no image column, expected _image or _rlnImageName; found {there}")


def _name_of(tables, table):
    return next(name for name, other in tables.items() if other is table)


def _whole(path, label, values):
    whole = values.astype(np.int64)
    bad = np.flatnonzero(whole != values)
    if len(bad):
        raise UserError(f"{path}: row {bad[0] + 1}: _{label} is {values[bad[0]]}, expected a whole number")
    return whole


def _from_relion(table, optics):
    raw = dict(table.columns)
    if optics is not None:
        raw = {**_optics_of_rows(table, optics), **raw}
    pixel_size = _pixel_size(raw)
    if pixel_size is not None:
        raw["rlnImagePixelSize"] = pixel_size
    pose = _pose(table, raw, pixel_size)
    columns = {RELION.get(label, label): values for label, values in raw.items()}
    return {**columns, **pose}


def _optics_of_rows(table, optics):
    """The optics table's columns, one value per row of the particle table."""
    groups = optics["rlnOpticsGroup"]
    if "rlnOpticsGroup" in table:
        order = np.argsort(groups)
        wanted = table["rlnOpticsGroup"]
        place = order[np.searchsorted(groups, wanted, sorter=order).clip(max=len(groups) - 1)]
        lost = np.flatnonzero(groups[place] != wanted)
        if len(lost):
            raise UserError(f"{table.path}: row {lost[0] + 1}: optics group {wanted[lost[0]]} is not in block data_optics")
    elif len(groups) == 1:
        place = np.zeros(len(table), int)
    else:
        raise UserError(f"{table.path}: no column _rlnOpticsGroup, and block data_optics has {len(groups)} groups")
    return {label: values[place] for label, values in optics.columns.items()}


def _pixel_size(raw):
    """Å/px per row, from whichever labels this version of RELION used; None when unknown."""
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        if label in raw:
            return raw[label]
    if "rlnDetectorPixelSize" in raw and "rlnMagnification" in raw:
        return 1e4 * raw["rlnDetectorPixelSize"] / raw["rlnMagnification"]      # detector pixels are in µm
    return None


def _pose(table, raw, pixel_size):
    """RELION shifts by the origin, then turns by psi: r_ref = R(psi) (r + origin).  Takes its labels out of ``raw``."""
    psi = raw.pop("rlnAnglePsi", None)
    x, y = raw.pop("rlnOriginX", None), raw.pop("rlnOriginY", None)
    if "rlnOriginXAngst" in raw or "rlnOriginYAngst" in raw:
        if pixel_size is None:
            raise UserError(f"{table.path}: _rlnOriginXAngst is in Å, and there is no _rlnImagePixelSize to convert it")
        x, y = (raw.pop(label, 0) / pixel_size for label in ("rlnOriginXAngst", "rlnOriginYAngst"))
    if psi is None and x is None and y is None:
        return {}
    zero = np.zeros(len(table))
    psi, x, y = (zero if values is None else values + zero for values in (psi, x, y))
    cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    return {"anglePsi": -psi, "shiftX": cos * x - sin * y, "shiftY": sin * x + cos * y}
