"""Scipion's subtomograms and volumes to ml_tomo's metadata, and its results back into sets."""
import numpy as np
from pwem.objects import EMSet, SetOfClasses

from mlalign.convert import (
    Aligned,
    append_aligned,
    background,
    fill_classes,
    image_row,
    representatives,
    write_rows,
)
from mlalign.programs.engine.missing import Region
from mlalign.programs.formats.volumes import open_volume_file, open_volumes
from mlalign.programs.geometry3d import pose_matrix3d, pose_parameters3d
from mlalign.programs.phantoms import ball

POSE = ("angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ")
CHECKED = 10            # volumes whose background is looked at
DIGITS = 3              # of a tilt in degrees: more do not make another region


# ---- missing regions

class Tilts:
    """Which missing region each particle has: one region per distinct tilt range.

    kind : ``wedge_y``, ``wedge_x``, ``pyramid``, ``cone``, ``weight`` or ``everything`` (nothing is missing)
    limits : degrees for particles of which nobody else knows: (first, last) of a wedge, (first and last about Y, first
        and last about X) of a pyramid, (last,) of a cone
    from_acquisition : wedges are those that acquisitions say, where one does
    negate : tilts are counted the other way round; the first is the last, negated
    weight : location of the volume of a ``weight``

    regions : number -> :class:`Region`, of the particles asked for so far
    """

    def __init__(self, kind, limits=(), from_acquisition=True, negate=False, weight=""):
        self.kind, self.limits, self.negate, self.weight = kind, tuple(limits), negate, weight
        self.from_acquisition = from_acquisition and kind in ("wedge_y", "wedge_x")
        self.regions, self._numbers = {}, {}

    def number(self, item, volumes):
        """The number of the region of an item of the set ``volumes``; None when nothing is missing.

        Raises :class:`UserError` for limits that make no sense.
        """
        if self.kind == "everything":
            return None
        known = tilt_range(item, volumes) if self.from_acquisition else None
        limits = self.limits if known is None else tuple(round(tilt, DIGITS) for tilt in known)
        if limits not in self._numbers:
            number = len(self._numbers) + 1
            self.regions[number] = self._region(number, limits)
            self._numbers[limits] = number
        return self._numbers[limits]

    def _region(self, number, limits):
        if self.kind == "weight":
            return Region(number, "weight", weight=open_volumes(self.weight).read([0])[0], path=self.weight)
        if self.kind == "cone":
            return Region(number, "cone", cone=abs(limits[0]))
        pairs = [limits[:2], limits[2:]]
        if self.negate:
            pairs = [tuple(-tilt for tilt in reversed(pair)) for pair in pairs]
        axes = {"wedge_y": "y", "wedge_x": "x", "pyramid": "yx"}[self.kind]
        return Region(number, self.kind, **dict(zip(axes, pairs)))


def tilt_range(item, volumes):
    """(lowest, highest) tilt in degrees of an item of the set ``volumes``, or None when nobody knows.

    The item's acquisition says it, else the set's, else that of the tomogram that it comes from.
    """
    for acquisition in _acquisitions(item, volumes):
        low, high = (getattr(acquisition, name, lambda: None)() for name in ("getAngleMin", "getAngleMax"))
        if low is not None and high is not None:
            return float(low), float(high)
    return None


def _acquisitions(item, volumes):
    yield item.getAcquisition()
    yield volumes.getAcquisition()
    tomogram = _tomogram(item, volumes)
    if tomogram is not None:
        yield tomogram.getAcquisition()


def _tomogram(item, volumes):
    """The tomogram that a subtomogram comes from; None when that is not known any more."""
    if not coordinates(volumes) or item.getCoordinate3D() is None:
        return None
    tomograms = volumes.getCoordinates3D().getPrecedents()
    return None if tomograms is None else volumes.getTomogram(item)


def coordinates(volumes):
    """The pointer to the coordinates of a set of subtomograms; None for other sets, and without coordinates."""
    asked = getattr(volumes, "getCoordinates3D", None)
    pointer = asked(asPointer=True) if asked else None
    return pointer if pointer is not None and pointer.get() is not None else None


# ---- from Scipion

def write_subtomograms(volumes, path, tilts, aligned=False, classified=False):
    """Write the enabled volumes of a set, in its order, as the metadata ``path``; the number of rows.

    Columns: itemId (Scipion's id), image (``index@file`` or file, as stored in the set), enabled, samplingRate (Å/px);
    missingRegionNumber as ``tilts`` (:class:`Tilts`, which then knows all regions) has it, unless nothing is missing;
    with ``aligned`` the pose of the transform M = [A | A shift], where there is one; with ``classified`` the class
    (ref), 1 where there is none.
    Raises ValueError when no volume is enabled, when only some have a transform, and for a transform that is more than
    a rotation and a shift.
    """
    def rows():
        for item in volumes.iterItems():
            if item.isEnabled():
                row = image_row(item, item.getObjId(), volumes.getSamplingRate())
                number = tilts.number(item, volumes)
                if number is not None:
                    row["missingRegionNumber"] = number
                if aligned and item.getTransform() is not None:
                    row.update(pose_of(item))
                if classified:
                    row["ref"] = item.getClassId() or 1
                yield row

    return write_rows(path, rows(), volumes)


def pose_of(item):
    """{label: value} of the pose that the transform of a volume holds; ValueError when it is none."""
    matrix = item.getTransform().getMatrix()
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError(f"item {item.getObjId()}: its transform is more than a rotation and a shift "
                         f"({np.array2string(rotation, precision=3).replace(chr(10), '')})")
    *angles, shift = pose_parameters3d(matrix)
    return dict(zip(POSE, map(float, (*angles, *shift))))


def write_references(references, path):
    """Write a volume, the enabled ones of a set, or the representatives of classes, as the metadata ``path``."""
    if isinstance(references, SetOfClasses):
        rows = representatives(references)
    else:
        items = references.iterItems() if isinstance(references, EMSet) else [references]
        rows = (image_row(item, item.getObjId(), references.getSamplingRate()) for item in items if item.isEnabled())
    return write_rows(path, rows, references)


def volume_background(volumes):
    """(mean, standard deviation) outside the sphere in the box: medians over some volumes of the set.

    Raises UserError when a volume cannot be read.
    """
    return background(volumes, CHECKED, _corners)


def _corners(volume):
    index, _ = volume.getLocation()
    voxels = open_volume_file(volume.getFileName()).read([max(index, 1) - 1])[0]
    return voxels[ball(len(voxels), len(voxels) / 2) == 0]


# ---- to Scipion

def pose_transforms3d(table):
    """Scipion's transforms M = [A | A shift] (rows, 4, 4) of the poses in a table: particle to its class's frame."""
    rot, tilt, psi, *shift = (table.numbers(label) for label in POSE)
    return pose_matrix3d(rot, tilt, psi, np.stack(shift, -1))


def fill_classes3d(classes, run):
    """Classify the volumes of a new set of classes as the result of a :class:`TomoRun` says; see ``fill_classes``."""
    particles = run.images()
    fill_classes(classes, particles, run.classes(), pose_transforms3d(particles),
                 type(classes).ITEM_TYPE.setAlignment3D)


def fill_aligned(aligned, volumes, run):
    """Put the enabled volumes of a set, with their class, transform and scores, into a new set of their kind."""
    particles = run.images()
    append_aligned(aligned, volumes, Aligned(particles, pose_transforms3d(particles)))
    aligned.setAlignment3D()
