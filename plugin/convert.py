"""Scipion's sets to the programs' metadata, and their results back into sets."""
import numpy as np
from pwem.constants import ALIGN_NONE
from pwem.objects import SetOfClasses, Transform
from pyworkflow.object import Float, Integer

from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.geometry import pose_matrix

# columns of the programs' results that become attributes of the classified particles and of the classes
PARTICLE_SCORES = ("pMax", "classProbability", "logLikelihood", "bgMean", "intScale", "wRobust", "kstest",
                   "defocusGroup")
CLASS_SCORES = ("weight", "mirrorFraction", "signalChange", "resolution")
WHOLE_SCORES = {"_mlalignDefocusGroup"}


# ---- from Scipion

def write_images(images, path):
    """Write the enabled images of a set, in its order, as the STAR file ``path``.

    images: SetOfParticles, SetOfAverages, or SetOfClasses2D, whose representatives are written.
    Columns: itemId (Scipion's id), image (``index@file`` as stored in the set), enabled, samplingRate (Å/px)
    and, when the set has them, micrograph, micrographId, rlnOpticsGroup, and the CTF in Xmipp's labels and units.
    Returns the number of rows; raises ValueError when no image is enabled.
    """
    columns = None
    for row in _rows(images):
        columns = columns or {label: [] for label in row}
        different = [label for label in {**columns, **row} if (label in columns) != (label in row)]
        if different:
            raise ValueError(f"item {row['itemId']} has {'no' if different[0] in columns else 'a'} {different[0]}, "
                             "unlike the first item")
        for label, values in columns.items():
            values.append(row[label])
    if not columns:
        raise ValueError(f"{images} has no enabled item")
    write_star(path, {"particles": {label: _column(values) for label, values in columns.items()}})
    return len(columns["itemId"])


def _rows(images):
    sampling = images.getSamplingRate()
    if isinstance(images, SetOfClasses):
        for one in images.iterItems():
            if one.isEnabled():
                yield _row(one.getRepresentative(), one.getObjId(), sampling)
        return
    has_ctf = images.hasCTF()
    for image in images.iterItems():
        if image.isEnabled():
            row = _row(image, image.getObjId(), sampling)
            row.update(_micrograph(image))
            row.update(_optics_group(image))
            if has_ctf:
                row.update(_ctf(image))
            yield row


def _row(image, item_id, sampling):
    index, path = image.getLocation()
    return {"itemId": item_id,
            "image": f"{index:06d}@{path}" if index else path,
            "enabled": 1,
            "samplingRate": sampling}


def _micrograph(image):
    row = {}
    coordinate = image.getCoordinate()
    if coordinate is not None and coordinate.getMicName():
        row["micrograph"] = coordinate.getMicName()
    if image.hasMicId():
        row["micrographId"] = image.getMicId()
    return row


def _optics_group(image):
    """The number that protocols of RELION give particles that were taken alike."""
    group = image.getAttributeValue("_rlnOpticsGroup")
    return {} if group is None else {"rlnOpticsGroup": group}


def _ctf(image):
    ctf, microscope = image.getCTF(), image.getAcquisition()
    if ctf is None:
        return {}
    row = {"ctfDefocusU": ctf.getDefocusU(),
           "ctfDefocusV": ctf.getDefocusV(),
           "ctfDefocusAngle": ctf.getDefocusAngle(),
           "ctfPhaseShift": ctf.getPhaseShift() or 0.0}
    if microscope is not None:
        row.update(ctfVoltage=microscope.getVoltage(),
                   ctfSphericalAberration=microscope.getSphericalAberration(),
                   ctfQ0=microscope.getAmplitudeContrast())
    return {label: value for label, value in row.items() if value is not None}


def _column(values):
    return np.array(values, dtype=object if isinstance(values[0], str) else None)


def background(images, count=25):
    """(mean, standard deviation) outside the circle in the box: medians over ``count`` images of the set.

    Raises UserError when an image cannot be read.
    """
    ids = sorted(images.getIdSet())
    corners = np.array([_corners(images[one]) for one in ids[::max(1, len(ids) // count)]])
    return float(np.median(corners.mean(axis=1))), float(np.median(corners.std(axis=1)))


def _corners(image):
    index, path = image.getLocation()
    pixels = open_stack(path).read([max(index, 1) - 1])[0]
    y, x = (np.arange(side) - side // 2 for side in pixels.shape)
    return pixels[np.hypot(y[:, None], x) > len(x) / 2]


# ---- to Scipion

def pose_transforms(table):
    """Scipion's transforms (rows, 4, 4) of the poses in a table (anglePsi, shiftX, shiftY and perhaps flip).

    They map a particle's points to its class average's frame; a mirrored one has M[2, 2] = -1.
    """
    flip = table.numbers("flip") if "flip" in table else np.zeros(len(table))
    poses = pose_matrix(table.numbers("anglePsi"), table.numbers("shiftX"), table.numbers("shiftY"), flip)
    transforms = np.zeros((len(table), 4, 4))
    transforms[:, :2, :2] = poses[:, :2, :2]
    transforms[:, :2, 3] = poses[:, :2, 2]
    transforms[:, 2, 2] = np.where(flip, -1, 1)
    transforms[:, 3, 3] = 1
    return transforms


def read_table(path, block=None):
    """The named block of a STAR file, or its first."""
    tables = read_star(path, None if block is None else [block])
    return next(iter(tables.values()))


def fill_classes2d(classes, prefix):
    """Classify the images of a new SetOfClasses2D as ``<prefix>images.xmd`` and ``<prefix>classes.xmd`` say.

    Particles get their class, a transform and scores (attributes ``_mlalignPMax``, …); classes get the
    reference as representative and their scores.  Classes without particles are left out.
    Raises ValueError when the rows are not those of the set's enabled items, in order.
    """
    particles = read_table(prefix + "images.xmd")
    references = read_table(prefix + "classes.xmd", "classes")
    ids, refs, transforms = particles["itemId"], particles["ref"], pose_transforms(particles)
    scores = _scores(particles, PARTICLE_SCORES)
    rows = iter(range(len(particles)))

    def update_item(item, _):
        row = next(rows, None)
        if row is None or ids[row] != item.getObjId():
            found = "the end of the file" if row is None else f"itemId {ids[row]}"
            raise ValueError(f"{prefix}images.xmd: expected itemId {item.getObjId()}, found {found}")
        item.setClassId(int(refs[row]))
        item.setTransform(Transform(transforms[row]))
        _set_scores(item, scores, row)

    def update_class(one):
        one.setAlignment2D()
        set_reference(one, references, one.getObjId(), classes.getImages().getSamplingRate())

    # Not through itemDataIterator: that one skips a row for every disabled item, and we wrote none.
    classes.classifyItems(update_item, update_class, doClone=False)
    if next(rows, None) is not None:
        raise ValueError(f"{prefix}images.xmd has {len(particles)} rows, more than the set has enabled items")


def set_reference(one, references, ref, sampling):
    """Give a class its representative and scores: the row of ``ref`` in a table of classes."""
    row = _row_of(references, ref)
    image = one.getRepresentative()
    image.setLocation(split_location(references["image"][row]))
    image.setSamplingRate(sampling)
    image.setObjId(ref)
    _set_scores(one, _scores(references, CLASS_SCORES), row)


def fill_averages(averages, classes):
    """Put the representatives of a SetOfClasses2D, with their scores, into a new SetOfAverages."""
    averages.copyInfo(classes.getImages())
    averages.setSamplingRate(classes.getSamplingRate())
    averages.setHasCTF(False)
    averages.setAlignment(ALIGN_NONE)
    for one in classes.iterItems():
        average = one.getRepresentative().clone()
        average.setObjId(one.getObjId())
        average.setSamplingRate(classes.getSamplingRate())
        average.setClassId(one.getObjId())
        for attribute in map(_attribute, CLASS_SCORES):
            if one.hasAttribute(attribute):
                setattr(average, attribute, Float(getattr(one, attribute).get()))
        averages.append(average)


def split_location(text):
    """(index, path) of ``index@path``; index 0 when there is none."""
    index, at, path = text.partition("@")
    return (int(index), path) if at else (0, text)


def _row_of(table, ref):
    rows = np.flatnonzero(table["ref"] == ref)
    if len(rows) != 1:
        raise ValueError(f"{table.path}: {len(rows)} rows with ref {ref}, expected one")
    return rows[0]


def _scores(table, labels):
    """{attribute: column} of those labels the table has."""
    return {_attribute(label): table.numbers(label) for label in labels if label in table}


def _attribute(label):
    return f"_mlalign{label[0].upper()}{label[1:]}"


def _set_scores(item, scores, row):
    for attribute, column in scores.items():
        kind = Integer if attribute in WHOLE_SCORES else Float
        setattr(item, attribute, kind(column[row]))
