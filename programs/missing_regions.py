"""Tables of missing regions: the tilt geometries that subtomograms refer to by number.

Xmipp's metadata has columns ``missingRegionNumber``, ``missingRegionType`` and the tilt limits of that type, in
degrees: ``missingRegionThetaY0`` and ``…YF`` (wedge_y, pyramid; a cone has Y0 alone), ``…X0`` and ``…XF`` (wedge_x,
pyramid).  Type ``weight`` names a volume in ``missingRegionWeight`` instead.  Xmipp 2 wrote docfiles: lines
``key ncols Y0 YF`` below a comment that says the type.
"""
import re
from pathlib import Path

import numpy as np

from .engine.missing import KINDS, Region
from .errors import UserError
from .formats.stack import small_text
from .formats.star import MetaData, read_star, write_star
from .formats.volumes import VolumeSource
from .formats.whole_numbers import not_whole

_LIMITS = ("missingRegionThetaY0", "missingRegionThetaYF", "missingRegionThetaX0", "missingRegionThetaXF")
_Y0, _YF, _X0, _XF = _LIMITS
_LIMITS_OF = {"wedge_y": (_Y0, _YF), "wedge_x": (_X0, _XF), "pyramid": _LIMITS, "cone": (_Y0,)}
_TYPE = re.compile(r"\b(" + "|".join(_LIMITS_OF) + r")\b", re.IGNORECASE)
_HEADINGS = ("wedgeinfo", "headerinfo")     # comments of a docfile that say no type


def read_regions(path):
    """Read metadata (STAR) or a docfile of Xmipp 2, whichever ``path`` holds: dict of number -> :class:`Region`.

    Numbers are keys: they need not be in order.  Paths of weights start at the table's folder, or else at the current
    one or at a folder above the table's.  Raises :class:`UserError` for whatever is wrong with the table.
    """
    lines = small_text(path).splitlines()
    if any(line.lstrip().startswith("data_") for line in lines):
        rows = _star_rows(path)
    else:
        rows = _docfile_rows(path, lines)
    regions, places = {}, {}
    for place, number, kind, options in rows:
        if number in regions:
            raise UserError(f"{path}: {place}: missing region {number} is in {places[number]}, too")
        try:
            regions[number], places[number] = Region(number, kind, **options), place
        except UserError as error:
            raise UserError(f"{path}: {place}: {error}") from error
    if not regions:
        raise UserError(f"{path}: no missing regions, expected a row for each")
    return regions


def write_regions(path, regions):
    """Write regions, a mapping whose values are :class:`Region`, as metadata; whole or not at all.

    A region in which nothing is missing becomes a wedge from -90 to 90 degrees.  A ``weight`` is written as its
    ``path``, which must be there.
    """
    regions = list(regions.values())
    for region in regions:
        if region.kind == "weight" and not region.path:
            raise ValueError(f"missing region {region.number}: a weight without a file cannot be written to {path}")
    columns = {"missingRegionNumber": np.array([region.number for region in regions], np.int64),
               "missingRegionType": [_type(region) for region in regions]}
    limits = np.array([_limits(region) for region in regions], np.float64).reshape(-1, len(_LIMITS))
    columns.update(zip(_LIMITS, limits.T))
    if any(region.kind == "weight" for region in regions):
        columns["missingRegionWeight"] = [region.path or "none" for region in regions]
    write_star(path, {"noname": columns})


# ---- metadata -------------------------------------------------------------------------------------------------

def _star_rows(path):
    """(where, number, type, what :class:`Region` wants to know) of every row."""
    tables = read_star(path)
    table = next((table for table in tables.values() if "missingRegionNumber" in table), next(iter(tables.values())))
    numbers = table.numbers("missingRegionNumber")
    for row in range(len(table)):
        place = f"row {row + 1}"
        number = _whole(path, place, numbers[row])
        kind = table["missingRegionType"][row].lower()
        yield place, number, kind, _star_options(table.take([row]), kind)


def _star_options(row, kind):
    """The limits or weights of a table of one row."""
    if kind == "weight":
        weights = MetaData({"image": row["missingRegionWeight"]}, row.path, row.rows)
        source = VolumeSource(weights, Path(row.path).parent)
        return {"weight": source.read([0])[0], "path": source.metadata["image"][0]}
    if kind not in _LIMITS_OF:
        raise UserError(f"{row.path}: row {row.rows[0]}: missingRegionType is {kind!r}, "
                        "expected one of " + " ".join(KINDS))
    return _options(kind, [row.numbers(label)[0] for label in _LIMITS_OF[kind]])


# ---- docfiles -------------------------------------------------------------------------------------------------

def _docfile_rows(path, lines):
    """As :func:`_star_rows`; a type holds from its comment to the next, or for the line that ends with it."""
    current = None
    for number, line in enumerate(lines, 1):
        place = f"line {number}"
        values, _, comment = (part.strip() for part in line.partition(";"))
        named = _TYPE.search(comment) or _TYPE.search(values)
        kind = named[1].lower() if named else None
        words = _TYPE.sub("", values).split()
        if words:
            key, limits = _docfile_values(path, place, words, kind or current)
            yield place, key, kind or current, _options(kind or current, limits)
        elif kind:
            current = kind
        elif len(comment.split()) == 1 and comment.lower() not in _HEADINGS:
            raise UserError(f"{path}: {place}: unknown type {comment!r}, expected one of " + " ".join(_LIMITS_OF))


def _docfile_values(path, place, words, kind):
    """The number of a region and its limits, from the words ``key ncols limit …``."""
    try:
        key, count, *limits = [float(word) for word in words]
    except ValueError:
        raise UserError(f"{path}: {place}: found {' '.join(words)[:40]!r}, expected metadata (STAR), or a docfile "
                        "with lines: key ncols first last") from None
    if kind is None:
        raise UserError(f"{path}: {place}: no type, expected a comment before it: one of "
                        + " ".join(f"'; {kind}'" for kind in _LIMITS_OF))
    expected = len(_LIMITS_OF[kind])
    if count != len(limits) or len(limits) != expected:
        raise UserError(f"{path}: {place}: {len(limits)} values where its second word says {count:g}, "
                        f"expected {expected} for a {kind}")
    return _whole(path, place, key), limits


# ---- both -----------------------------------------------------------------------------------------------------

def _whole(path, place, value):
    if len(not_whole(value)):
        raise UserError(f"{path}: {place}: the number of a missing region is {value:g}, expected a whole number")
    return int(value)


def _options(kind, limits):
    """What :class:`Region` wants to know, from limits in the order of ``_LIMITS_OF``."""
    limits = [float(limit) for limit in limits]
    if kind == "cone":
        return {"cone": limits[0]}
    axes = {"wedge_y": "y", "wedge_x": "x", "pyramid": "yx"}[kind]
    return {axis: tuple(limits[2 * i:2 * i + 2]) for i, axis in enumerate(axes)}


def _type(region):
    return "wedge_y" if region.kind == "everything" else region.kind


def _limits(region):
    """The values of the columns ``_LIMITS``; 0 where the type has none."""
    if region.kind == "everything":
        return -90, 90, 0, 0
    return *(region.y or (region.cone or 0, 0)), *(region.x or (0, 0))
