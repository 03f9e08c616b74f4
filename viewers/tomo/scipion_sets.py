"""What the galleries show of Scipion's sets: classes, averages, particles, volumes in a ``.sqlite`` file.

Scipion's own classes take seconds to import, so the file is read as the database that it is: a table ``Objects`` with
one row per item, whose columns table ``Classes`` explains, and for sets of classes two such tables per class, named
``Class001_…``.  No Qt here.
"""
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ...programs.errors import UserError
from ...programs.formats.images import ImageSource
from ...programs.formats.located import split_location
from ...programs.formats.star import MetaData
from ...programs.formats.volumes import VolumeSource
from ...programs.geometry import pose_parameters
from ...programs.geometry3d import euler_angles
from ..gallery.classes import Classes, members_of
from ..gallery.columns import varying_columns
from ..gallery.pictures import FilePictures
from . import sphere

SUFFIX = ".sqlite"
OUR_PREFIX = "_mlalign"         # of attributes that hold our programs' columns: _mlalignPMax is pMax
REPRESENTATIVE = "_representative."
IMAGE = "_index", "_filename"
NUMBERS, NOT_NUMBERS = ("Integer", "Float", "Boolean"), ("_index", "_size", "_samplingRate", "_streamState")
MATRIX = "_transform._matrix"


def open_set(path):
    """The :class:`~..gallery.pictures.Pictures` of a set; raises :class:`UserError` for what is none."""
    from . import volumes
    table, of_classes = read_set(path), _is_of_classes(path)
    of_volumes = volumes.holds_volumes(_first_file(table, path))
    if of_classes:
        return (_volume_classes() if of_volumes else SetClasses)(path, table)
    if of_volumes:
        return volumes.VolumeFiles([path], VolumeSource(table, Path(path).parent))
    return FilePictures(path, ImageSource(table, Path(path).parent))


def read_set(path, prefix="", spatial=False):
    """The items of a set, or of its class whose tables begin with ``prefix``, as :class:`MetaData`.

    spatial: whether transforms turn in space; otherwise they are taken for those of images in a plane.
    Columns: itemId, enabled, image, samplingRate (Å/px) when it is known, of classes ref and classCount, of particles
    with a transform its pose, and all numbers by their attributes' names.
    """
    with closing(_connect(path)) as database:
        try:
            attributes = {name: (column, kind) for name, column, kind in database.execute(
                f"SELECT label_property, column_name, class_name FROM {prefix}Classes")}
            rows = database.execute(f"SELECT * FROM {prefix}Objects ORDER BY id")
            labels = [description[0] for description in rows.description]
            values = dict(zip(labels, map(list, zip(*rows.fetchall())))) or {label: [] for label in labels}
            properties = {} if prefix else dict(database.execute("SELECT key, value FROM Properties"))
        except sqlite3.Error as error:
            raise UserError(f"{path}: is no set of Scipion: {error}") from error
    found = {name: values[column] for name, (column, _) in attributes.items() if name != "self"}
    kinds = {name: kind for name, (_, kind) in attributes.items()}
    if not values["id"] and not prefix:
        raise UserError(f"{path}: the set has no items")
    columns = _columns(path, values, found, kinds, properties)
    if values["id"] and None not in found.get(MATRIX, [None]):
        columns.update((_poses3d if spatial else _poses)(np.array([json.loads(text) for text in found[MATRIX]])))
    return MetaData(columns, path)


class SetClasses(Classes):
    """The classes of a SetOfClasses2D: its representatives, with their members aligned as the set says."""
    open_source = ImageSource

    def __init__(self, path, table):
        super().__init__(Path(path).name, table)
        self.path = path
        self.columns = {**_others(self.source, self.columns), **self.columns}
        self.has_members = True

    def members(self, item):
        return members_of(self, item)

    def member_tables(self, items):
        return [_posed(read_set(self.path, _tables_of(self.refs[item]))) for item in items]


def _volume_classes():
    """The class of classes whose representatives are volumes; made late, for volumes know this module."""
    from .volumes import VolumePictures

    class SetVolumeClasses(VolumePictures, Classes):
        """The classes of a SetOfClasses3D, or of classes of subtomograms."""
        open_source = VolumeSource

        def __init__(self, path, table):
            super().__init__(Path(path).name, table)
            self.path = path

        def member_tables(self, items):
            return [read_set(self.path, _tables_of(self.refs[item]), spatial=True) for item in items]

        def directions(self, item):
            members = self.particles([item])
            if "angleTilt" not in members:
                return None
            return sphere.viewing_directions(*(members[label] for label in ("angleRot", "angleTilt", "anglePsi")))

    return SetVolumeClasses


# ---- reading

def _connect(path):
    if not Path(path).is_file():
        raise UserError(f"cannot read {path}: no such file")
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True)


def _tables_of(ref):
    """What the names of the tables of a class's members begin with."""
    return f"Class{int(ref):03d}_"


def _is_of_classes(path):
    with closing(_connect(path)) as database:
        kind = database.execute("SELECT value FROM Properties WHERE key = 'self'").fetchone()
    return bool(kind) and kind[0].startswith("SetOfClasses")


def _columns(path, values, found, kinds, properties):
    count = len(values["id"])
    columns = {"itemId": np.array(values["id"], int), "enabled": np.array(values["enabled"], int)}
    head = REPRESENTATIVE if REPRESENTATIVE + IMAGE[1] in found else ""
    indices, files = (found.get(head + name) for name in IMAGE)
    if files is None or None in files:
        raise UserError(f"{path}: is no set of images or volumes, expected items with a file")
    columns["image"] = np.array([f"{index:06d}@{file}" if index else file
                                 for index, file in zip(indices or [0] * count, files)], object)
    sampling = found.get(head + "_samplingRate") or found.get("_samplingRate")
    if sampling is None or None in sampling:
        sampling = [properties["_samplingRate"]] * count if properties.get("_samplingRate") else None
    if sampling is not None:
        columns["samplingRate"] = np.array(sampling, float)
    if head:
        columns.update(ref=columns["itemId"], classCount=np.array(found["_size"], int))
    for name, kind in kinds.items():
        if kind in NUMBERS and name not in NOT_NUMBERS and not name.startswith(REPRESENTATIVE) and set(found[name]) != {
                None}:
            columns.setdefault(_label(name), np.array([np.nan if v is None else v for v in found[name]], float))
    return columns


def _poses(transforms):
    """Columns of the poses of images in their plane, in transforms (N, 4, 4)."""
    plane = transforms[:, [0, 1, 3]][:, :, [0, 1, 3]]
    return dict(zip(("anglePsi", "shiftX", "shiftY", "flip"), pose_parameters(plane)))


def _poses3d(transforms):
    """Columns of the rotations and translations in transforms (N, 4, 4).

    The third column of a rotation is where its particle looks, for subtomograms, which it takes to their class's
    frame, as well as for images of a SetOfClasses3D: Scipion keeps the inverse of the matrix that projects.
    """
    angles = zip(("angleRot", "angleTilt", "anglePsi"), euler_angles(transforms[:, :3, :3]))
    return {**dict(angles), **dict(zip(("shiftX", "shiftY", "shiftZ"), transforms[:, :3, 3].T))}


def _posed(table):
    """The table with poses: particles of a set that was not aligned are as they lie."""
    zeros = np.zeros(len(table))
    return MetaData({**dict.fromkeys(("anglePsi", "shiftX", "shiftY", "flip"), zeros), **table.columns}, table.path)


def _label(name):
    """Our label of an attribute of ours, otherwise the attribute's name."""
    if name.startswith(OUR_PREFIX):
        name = name[len(OUR_PREFIX):]
        return name[0].lower() + name[1:]
    return name.lstrip("_")


def _others(source, known):
    """Columns of numbers that differ between the items and are not told anyway."""
    return {key: column for key, column in varying_columns(source).items()
            if key not in known and key not in ("ref", "classCount")}


def _first_file(table, path):
    """The file of a set's first item, found as the gallery will find it."""
    written = split_location(table["image"][0])[1]
    folder = Path(path).absolute().parent
    there = [place / written for place in (folder, Path.cwd(), *folder.parents) if (place / written).is_file()]
    return str(there[0]) if there else written
