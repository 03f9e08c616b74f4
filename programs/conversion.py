"""The work of convert: read subtomograms' metadata of any convention, write it in another."""
import csv
import os
from contextlib import suppress
from pathlib import Path

import numpy as np

from .convert import KINDS
from .errors import UserError
from .formats.docfile import write_docfile, write_selfile
from .formats.labels import RELION
from .formats.located import split_location, without_suffix
from .formats.metadata import image_table, relion_pose3d
from .formats.star import MetaData, write_star
from .formats.volumes import VolumeSource, read_volume_table
from .formats.whole import whole_file
from .formats.whole_numbers import not_whole
from .geometry3d import from_tom, to_tom

POSE = "angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ"
TOM = "phi", "theta", "psi", "x", "y", "z"          # as to_tom gives them
TOM_COLUMNS = "image", "phi", "psi", "theta", "x", "y", "z", "class"
# what RELION calls differently, besides what every program reads
SCORES = {"rlnMaxValueProbDistribution": "pMax", "rlnLogLikeliContribution": "logLikelihood",
          "rlnRandomSubset": "halfSet"}
OPTICS = "samplingRate", "ctfVoltage", "ctfSphericalAberration", "ctfQ0"        # one value per optics group


def run(arguments):
    """Read the input, write the output."""
    kind = _kind(arguments)
    if Path(arguments.output).resolve() == Path(arguments.input.rpartition("@")[2]).resolve():
        raise UserError(f"-o {arguments.output}: that is the input, expected another file")
    _check_variant(kind, arguments)
    table = _read(arguments.input, arguments.reference_onto_particle)
    table.columns["image"] = _from_here(table)
    note = ""
    if kind == "xmipp":
        write_star(arguments.output, {"particles": table})
    elif kind == "selfile":
        write_selfile(arguments.output, table["image"], table.columns.get("enabled", np.ones(len(table))))
    else:
        table = _enabled(table)
        note = _write_aligned(kind, table, arguments)
    print(f"{len(table)} subtomograms: {arguments.output}{note}")


def _kind(arguments):
    """What to write, a key of ``KINDS``."""
    ending = Path(arguments.output).suffix.lower()
    kind = arguments.to or next((kind for kind, suffix in KINDS.items() if suffix == ending), None)
    if kind is None:
        raise UserError(f"-o {arguments.output}: expected --to, or an extension that says what to write: "
                        + " ".join(KINDS.values()))
    return kind


def _check_variant(kind, arguments):
    if arguments.reference_onto_particle and (kind == "tom") == _is_tom(arguments.input):
        number = "both" if kind == "tom" else "neither"
        raise UserError(f"--reference_onto_particle: {number} of -i and -o is a table in TOM's convention, "
                        "expected one")


# ---- reading

def _read(path, reference_moves):
    """The table, in our labels and convention, of any kind of metadata."""
    if _is_tom(path):
        return _read_tom(path, reference_moves)
    table = read_volume_table(path)
    if table is None:
        raise UserError(f"{path}: holds no metadata of subtomograms, expected STAR (.xmd, .star), an Xmipp selection "
                        "or docfile, or a table (.csv) with columns " + ", ".join(TOM_COLUMNS))
    columns = {SCORES.get(label, label): values for label, values in table.columns.items()}
    return MetaData(columns, table.path, table.rows)


def _is_tom(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return {"image", "phi", "psi", "theta"} <= _names(file.readline())
    except OSError:
        return False            # it may be block@file; whoever reads it next says what is wrong with it


def _names(line):
    return {name.strip().lower() for name in line.split(",")}


def _read_tom(path, reference_moves):
    """A table in TOM's convention; shifts that are not there are 0."""
    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        lines = csv.reader(file, skipinitialspace=True)
        names = [name.strip().lower() for name in next(lines)]
        rows = [(lines.line_num, [word.strip() for word in words]) for words in lines if words]
    for number, words in rows:
        if len(words) != len(names):
            raise UserError(f"{path}, line {number}: {len(words)} values, expected {len(names)} ({', '.join(names)})")
    if not rows:
        raise UserError(f"{path}: lists no images")
    words = dict(zip(names, zip(*(words for _, words in rows))))
    lines = [number for number, _ in rows]
    pose = [_floats(path, lines, name, words[name]) if name in words else np.zeros(len(rows)) for name in TOM]
    table = image_table(words["image"], path)
    table.columns.update(zip(POSE, from_tom(*pose, reference_moves=reference_moves)))
    if "class" in words:
        table.columns["ref"] = _whole(path, lines, _floats(path, lines, "class", words["class"]))
    return table


def _floats(path, lines, name, words):
    values = np.full(len(words), np.nan)
    for i, word in enumerate(words):
        with suppress(ValueError):
            values[i] = float(word)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise UserError(f"{path}, line {lines[bad[0]]}: {name} is {words[bad[0]]!r}, expected a number")
    return values


def _whole(path, lines, values):
    bad = not_whole(values)
    if len(bad):
        raise UserError(f"{path}, line {lines[bad[0]]}: class is {values[bad[0]]}, expected a whole number")
    return values.astype(np.int64)


def _from_here(table):
    """The images' locations as they hold from the current folder, of those that are found beside the table."""
    folder, images = os.path.dirname(table.path), []
    for image in table["image"]:
        number, path = split_location(image)
        beside = os.path.normpath(os.path.join(folder, path))
        if os.path.isfile(without_suffix(beside)):
            image = beside if number is None else f"{number:06d}@{beside}"
        images.append(image)
    return np.array(images, dtype=object)


def _enabled(table):
    """The enabled rows, without the column that says so."""
    if "enabled" not in table:
        return table
    table = table.take(table["enabled"] == 1)
    if not len(table):
        raise UserError(f"{table.path}: no row is enabled (_enabled 1)")
    del table.columns["enabled"]
    return table


# ---- writing

def _write_aligned(kind, table, arguments):
    """Write a table that has poses; what to say of it."""
    pose = {label: table.numbers(label) if label in table else np.zeros(len(table)) for label in POSE}
    if kind == "docfile":
        write_docfile(arguments.output, table["image"], {**table.columns, **pose})
    elif kind == "tom":
        _write_tom(arguments.output, table, pose, arguments.reference_onto_particle)
    else:
        return _write_relion(arguments.output, table, pose, arguments.voxel_size)
    return ""


def _write_tom(path, table, pose, reference_moves):
    values = dict(zip(TOM, to_tom(*pose.values(), reference_moves=reference_moves)))
    values["image"], values["class"] = table["image"], table.columns.get("ref", np.zeros(len(table), int))
    columns = [values[name].tolist() for name in TOM_COLUMNS]
    with whole_file(path) as temporary, \
            open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(TOM_COLUMNS)
        writer.writerows(zip(*columns))


def _write_relion(path, table, pose, given):
    """RELION 3.1's two blocks, or, without a voxel size, 3.0's one; what to say of it."""
    columns, sizes = dict(table.columns), _voxel_sizes(table, given)
    columns.pop("samplingRate", None)
    if sizes is not None:
        columns["samplingRate"] = sizes
    theirs = {ours: label for label, ours in {**RELION, **SCORES}.items()}
    of_group = () if sizes is None else OPTICS
    rows = {theirs.get(label, label): values for label, values in columns.items()
            if (label in theirs and label not in of_group) or label.startswith("rln")}
    rows.update(relion_pose3d(pose, sizes))
    if sizes is None:
        rows.pop("rlnOpticsGroup", None)
        write_star(path, {"": rows})
        return ", origins in px, as the voxel size is unknown (--voxel_size)"
    groups = rows.setdefault("rlnOpticsGroup", np.ones(len(table), int))
    numbers, first = np.unique(groups, return_index=True)
    optics = {"rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers], "rlnOpticsGroup": numbers}
    optics.update({theirs[label]: columns[label][first] for label in OPTICS if label in columns})
    write_star(path, {"optics": {**optics, "rlnImageDimensionality": np.full(len(numbers), 3)}, "particles": rows})
    return f", voxels of {sizes[0]:g} Å"


def _voxel_sizes(table, given):
    """Å (rows,), as the option, the metadata or the first volume's header say; None where none of them does."""
    if given is None and "samplingRate" in table and (table.numbers("samplingRate") > 0).all():
        return table.numbers("samplingRate")
    size = given or _in_header(table)
    return np.full(len(table), size) if size else None


def _in_header(table):
    """Å; None where the header does not say, or the volume is not there."""
    first = MetaData({"image": table["image"][:1]}, table.path)
    try:
        return VolumeSource(first, os.path.dirname(table.path)).pixel_size
    except UserError:
        return None
