"""Particle metadata: the table of images in a STAR file or EMAN list, in one vocabulary (see ``labels``)."""
import numpy as np

from ..errors import UserError
from .labels import PIXEL_SIZE, RELION, XMIPP_ALIASES
from .star import MetaData, missing_block, read_star
from .whole_numbers import DIGITS

_IMAGE_LABELS = ("image", "rlnImageName")


def read_metadata(path, block=None, dimensions=2):
    """Read the table of images from Xmipp or RELION (3.0, 3.1 and later) metadata: :class:`MetaData`.

    block : name of the block; default: ``particles`` if it has images, else the first block that has
    dimensions : of the images; 3 for volumes

    Columns carry Xmipp's labels.  RELION's optics table is joined in, and its pose becomes ``anglePsi``,
    ``shiftX`` and ``shiftY`` in the convention of ``geometry``, or in three dimensions ``angleRot``, ``angleTilt``,
    ``anglePsi``, ``shiftX``, ``shiftY`` and ``shiftZ`` in that of ``geometry3d``; labels without a counterpart stay.
    ``itemId`` is always there: the input's, else 1, 2, …
    Raises :class:`UserError` when there is no image column or no row.
    """
    tables = read_star(path)
    name = _image_block(path, tables, block)
    table = tables[name]
    if not len(table):
        raise UserError(f"{path}: block data_{name} has no rows")
    if any(label.startswith("rln") for label in table.columns):
        table = MetaData(_from_relion(table, tables.get("optics"), dimensions), path)
    columns = with_our_labels(table)
    return MetaData({"itemId": np.arange(1, len(table) + 1), **columns}, path)


def read_list(path):
    """Read EMAN's list of images, lines ``index file [comment]`` with indices from 0: :class:`MetaData`."""
    images = []
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                # EMAN itself parts words by tabs, so names may hold blanks
                words = [word.strip() for word in line.split("\t", 2)] if "\t" in line else line.split(maxsplit=2)
                if not words or not words[0] or words[0].startswith("#"):
                    continue
                if len(words) < 2 or not words[0].isdecimal() or len(words[0]) > DIGITS:
                    raise UserError(f"{path}, line {number}: found {line.strip()!r}, expected: index file")
                images.append(f"{int(words[0]) + 1:06d}@{words[1]}")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if not images:
        raise UserError(f"{path}: lists no images")
    return image_table(images, path)


def image_table(images, path):
    """:class:`MetaData` of images given by their locations alone."""
    return MetaData({"itemId": np.arange(1, len(images) + 1), "image": np.array(images, dtype=object)}, path)


def with_our_labels(table):
    """The columns of a table that Xmipp wrote, whichever its version."""
    return {XMIPP_ALIASES.get(label, label): values for label, values in table.columns.items()}


def _image_block(path, tables, name):
    if name is not None and name not in tables:
        raise missing_block(path, name, tables)
    candidates = [name] if name is not None else [key for key in ("particles", *tables) if key in tables]
    for candidate in candidates:
        if any(label in tables[candidate] for label in _IMAGE_LABELS):
            return candidate
    there = "; ".join(f"data_{key}: {', '.join('_' + label for label in tables[key].columns) or 'empty'}"
                      for key in dict.fromkeys(candidates))
    raise UserError(f"{path}: no image column, expected _image or _rlnImageName; found {there}")


def _from_relion(table, optics, dimensions):
    raw = dict(table.columns)
    if optics is not None:
        raw = {**_optics_of_rows(table, optics), **raw}
    with np.errstate(all="ignore"):         # what comes out as no number is refused where it is used
        pixel_size = _pixel_size(raw)
        if pixel_size is not None:
            raw["rlnImagePixelSize"] = pixel_size
        pose = {2: _pose, 3: _pose3d}[dimensions](raw, *_take_shifts(table.path, raw, pixel_size, dimensions))
    return {**{RELION.get(label, label): values for label, values in raw.items()}, **pose}


def _optics_of_rows(table, optics):
    """What the optics table says of every particle: known labels only, one value per particle."""
    if not len(optics):
        raise UserError(f"{table.path}: block data_optics has no rows")
    if "rlnOpticsGroup" in table:
        groups, wanted = optics["rlnOpticsGroup"], table["rlnOpticsGroup"]
        order = np.argsort(groups)
        place = order[np.searchsorted(groups, wanted, sorter=order).clip(max=len(groups) - 1)]
        lost = np.flatnonzero(groups[place] != wanted)
        if len(lost):
            raise UserError(f"{table.path}: row {lost[0] + 1}: optics group {wanted[lost[0]]} "
                            "is not in block data_optics")
    elif len(optics) == 1:
        place = np.zeros(len(table), int)
    else:
        raise UserError(f"{table.path}: no column _rlnOpticsGroup, and data_optics has {len(optics)} groups")
    known = RELION.keys() | PIXEL_SIZE
    return {label: values[place] for label, values in optics.columns.items() if label in known}


def _pixel_size(raw):
    """Å/px per row, from whichever labels this version of RELION used; None when unknown."""
    for label in ("rlnImagePixelSize", "rlnPixelSize"):
        if label in raw:
            return raw[label]
    if "rlnDetectorPixelSize" in raw and "rlnMagnification" in raw:
        return 1e4 * raw["rlnDetectorPixelSize"] / raw["rlnMagnification"]      # detector pixels are in µm
    return None


def _take_shifts(path, raw, pixel_size, dimensions):
    """RELION's origins along the axes, in px; None for those that are not there."""
    axes = "XYZ"[:dimensions]
    origins = [raw.pop(f"rlnOrigin{axis}", None) for axis in axes]
    labels = [f"rlnOrigin{axis}Angst" for axis in axes]
    if raw.keys().isdisjoint(labels):
        return origins
    if pixel_size is None:
        raise UserError(f"{path}: _rlnOriginXAngst is in Å, expected _rlnImagePixelSize, too")
    return [raw.pop(label, 0) / pixel_size for label in labels]


def _pose(raw, x, y):
    """Our pose from RELION's, which shifts by the origin and then turns: r_ref = R(psi) (r + origin)."""
    psi = raw.pop("rlnAnglePsi", None)
    if psi is None and x is None and y is None:
        return {}
    psi, x, y = (np.float64(0) if values is None else values for values in (psi, x, y))
    cos, sin = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    return _columns(anglePsi=0 - psi, shiftX=cos * x - sin * y, shiftY=sin * x + cos * y)


def _pose3d(raw, x, y, z):
    """Our pose of a subtomogram from RELION's, which shifts by the origin and then turns.

    RELION's angles describe how the reference is turned onto the particle, by the matrix E = Rz(-psi) Ry(-tilt)
    Rz(-rot); so r_ref = E^T (r + origin).  Ours is r_ref = A (r + shift), A made of our angles as E is of RELION's:
    the shifts are the same, and A = E^T exchanges rot and psi and negates all angles.  Half turns of rot and psi
    then bring tilt back to what it was.
    """
    angles = [raw.pop(f"rlnAngle{name}", None) for name in ("Rot", "Tilt", "Psi")]
    given = [*angles, x, y, z]
    if all(values is None for values in given):
        return {}
    rot, tilt, psi, x, y, z = (np.float64(0) if values is None else values for values in given)
    return _columns(angleRot=_wrapped(180 - psi), angleTilt=tilt, anglePsi=_wrapped(-180 - rot),
                    shiftX=x, shiftY=y, shiftZ=z)


def relion_pose3d(columns, pixel_size=None):
    """RELION's columns of a subtomogram's pose, from ours; the inverse of how :func:`read_metadata` makes ours.

    columns: label -> (rows,) of all six labels of our pose; pixel_size: Å; without it the origins are in px.
    """
    rot, tilt, psi = (columns[f"angle{name}"] for name in ("Rot", "Tilt", "Psi"))
    pose = _columns(rlnAngleRot=_wrapped(-180 - psi), rlnAngleTilt=tilt, rlnAnglePsi=_wrapped(180 - rot))
    unit, scale = ("Angst", pixel_size) if pixel_size is not None else ("", 1)
    return {**pose, **{f"rlnOrigin{axis}{unit}": columns[f"shift{axis}"] * scale for axis in "XYZ"}}


def _wrapped(degrees):
    """Angles in ]-180, 180], where RELION keeps them."""
    return 180 - (180 - degrees) % 360


def _columns(**pose):
    """Columns of equal length, float64 and each its own."""
    return {label: values.astype(np.float64) for label, values in zip(pose, np.broadcast_arrays(*pose.values()))}
