"""Scipion's sets to the programs' metadata, and their results back into sets."""
import numpy as np
from pwem.constants import ALIGN_NONE
from pwem.objects import SetOfClasses, Transform
from pyworkflow.object import Float, Integer

from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.geometry import pose_matrix, pose_parameters

# columns of the programs' results that become attributes of the classified particles and of the classes
PARTICLE_SCORES = ("pMax", "classProbability", "logLikelihood", "bgMean", "intScale", "wRobust", "kstest",
                   "defocusGroup", "halfSet", "maxCC", "used")
CLASS_SCORES = ("weight", "mirrorFraction", "signalChange", "resolution", "maxCC", "used", "contrast")
WHOLE_SCORES = {"_mlalignDefocusGroup", "_mlalignHalfSet", "_mlalignUsed"}


# ---- from Scipion

def write_images(images, path, poses=False, ctf=True):
    """Write the enabled images of a set, in its order, as the STAR file ``path``.

    images: SetOfParticles, SetOfAverages, or SetOfClasses2D, whose representatives are written; poses: with their
    2-D alignment, which particles must have then; ctf: with their CTF, if they have one.
    Columns: itemId (Scipion's id), image (``index@file`` as stored in the set), enabled, samplingRate (Å/px)
    and, when the set has them, micrograph, micrographId, rlnOpticsGroup, and the CTF in Xmipp's labels and units.
    Returns the number of rows; raises ValueError when no image is enabled.
    """
    return write_rows(path, _rows(images, poses, ctf), images)


def write_rows(path, rows, items):
    """Write rows, an iterable of dicts with the same labels, as block ``particles`` of a STAR file; their number.

    items: the set they come from, for messages.  Raises ValueError for labels that differ, and when there is no row.
    """
    columns = None
    for row in rows:
        columns = columns or {label: [] for label in row}
        different = [label for label in {**columns, **row} if (label in columns) != (label in row)]
        if different:
            raise ValueError(f"item {row['itemId']} has {'no' if different[0] in columns else 'a'} {different[0]}, "
                             "unlike the first item")
        for label, values in columns.items():
            values.append(row[label])
    if not columns:
        raise ValueError(f"{items} has no enabled item")
    write_star(path, {"particles": {label: _column(values) for label, values in columns.items()}})
    return len(columns["itemId"])


def _rows(images, poses, ctf):
    if isinstance(images, SetOfClasses):
        yield from representatives(images)
        return
    sampling, has_ctf = images.getSamplingRate(), ctf and images.hasCTF()
    for image in images.iterItems():
        if image.isEnabled():
            row = image_row(image, image.getObjId(), sampling)
            row.update(_micrograph(image))
            row.update(_optics_group(image))
            if has_ctf:
                row.update(_ctf(image))
            if poses:
                row.update(_pose(image))
            yield row


def representatives(classes):
    """Rows of the representatives of the enabled classes of a set."""
    for one in classes.iterItems():
        if one.isEnabled():
            yield image_row(one.getRepresentative(), one.getObjId(), classes.getSamplingRate())


def image_row(image, item_id, sampling):
    """What a table says of any image or volume: {label: value}."""
    return {"itemId": item_id, "image": location(image), "enabled": 1, "samplingRate": sampling}


def location(image):
    """Where an image or volume of Scipion is, as the programs want to have it: ``index@path``, or ``path``."""
    index, path = image.getLocation()
    return f"{index:06d}@{path}" if index else path


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


def _pose(image):
    matrix = image.getTransform().getMatrix()[np.ix_([0, 1, 3], [0, 1, 3])]
    return dict(zip(("anglePsi", "shiftX", "shiftY", "flip"), (value.item() for value in pose_parameters(matrix))))


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


def image_pixels(image):
    """The pixels (ny, nx) of an image; UserError when it cannot be read."""
    index, path = image.getLocation()
    return open_stack(path).read([max(index, 1) - 1])[0]


def corners(image):
    """The pixels (P,) of an image outside the circle in its box."""
    pixels = image_pixels(image)
    y, x = (np.arange(side) - side // 2 for side in pixels.shape)
    return pixels[np.hypot(y[:, None], x) > len(x) / 2]


def background(images, count=25, of_image=corners):
    """(mean, standard deviation) of the background: medians over ``count`` images of the set.

    of_image: image -> its background (P,).
    """
    ids = sorted(images.getIdSet())
    pixels = np.array([of_image(images[one]) for one in ids[::max(1, len(ids) // count)]])
    return float(np.median(pixels.mean(axis=1))), float(np.median(pixels.std(axis=1)))


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

    See :func:`fill_classes`.
    """
    particles = read_table(prefix + "images.xmd")
    fill_classes(classes, particles, read_table(prefix + "classes.xmd", "classes"), pose_transforms(particles),
                 type(classes).ITEM_TYPE.setAlignment2D)


def fill_classes(classes, particles, references, transforms, set_alignment):
    """Classify the images of a new set of classes as tables of the particles and of the classes say.

    Particles get their class, a transform (of ``transforms``, (rows, 4, 4)) and scores (attributes ``_mlalignPMax``,
    …); classes get the reference as representative and their scores.  Classes without particles are left out.
    set_alignment: called with every new class.
    Raises ValueError when the rows are not those of the set's enabled items, in order.
    """
    aligned = Aligned(particles, transforms)

    def update_item(item, _):
        aligned.update(item)

    def update_class(one):
        set_alignment(one)
        set_reference(one, references, one.getObjId(), classes.getImages().getSamplingRate())

    # Not through itemDataIterator: that one skips a row for every disabled item, and we wrote none.
    classes.classifyItems(update_item, update_class, doClone=False)
    aligned.finish()


class Aligned:
    """Gives the enabled items of a set, in order, what the rows of a table say of them."""

    def __init__(self, table, transforms):
        self.table, self.transforms = table, transforms
        self.ids, self.refs, self.scores = table["itemId"], table["ref"], _scores(table, PARTICLE_SCORES)
        self.rows = iter(range(len(table)))

    def update(self, item):
        """The next item's class, transform and scores; ValueError when the next row is another's."""
        row = next(self.rows, None)
        if row is None or self.ids[row] != item.getObjId():
            found = "the end of the file" if row is None else f"itemId {self.ids[row]}"
            raise ValueError(f"{self.table.path}: expected itemId {item.getObjId()}, found {found}")
        item.setClassId(int(self.refs[row]))
        item.setTransform(Transform(self.transforms[row]))
        _set_scores(item, self.scores, row)

    def finish(self):
        """ValueError when there are more rows than there were items."""
        if next(self.rows, None) is not None:
            raise ValueError(f"{self.table.path} has {len(self.table)} rows, more than the set has enabled items")


def set_reference(one, references, ref, sampling):
    """Give a class its representative and scores: the row of ``ref`` in a table of classes."""
    row = _row_of(references, ref)
    image = one.getRepresentative()
    image.setLocation(split_location(references["image"][row]))
    image.setSamplingRate(sampling)
    image.setObjId(ref)
    _set_scores(one, _scores(references, CLASS_SCORES), row)


def fill_aligned2d(aligned, particles, prefix):
    """Put the enabled images of a set, aligned as ``<prefix>images.xmd`` says, into a new SetOfParticles.

    They get their class and scores as well, see :func:`fill_classes`.
    """
    table = read_table(prefix + "images.xmd")
    append_aligned(aligned, particles, Aligned(table, pose_transforms(table)))
    aligned.setAlignment2D()


def append_aligned(aligned, items, rows):
    """Put a set's enabled items, with what ``rows`` (:class:`Aligned`) say of them, into a new set of their kind."""
    aligned.copyInfo(items)
    for item in items.iterItems():
        if item.isEnabled():
            new = item.clone()
            rows.update(new)
            aligned.append(new)
    rows.finish()


def fill_averages(averages, classes):
    """Put the representatives of a SetOfClasses2D, with their scores, into a new SetOfAverages."""
    averages.copyInfo(classes.getImages())
    averages.setHasCTF(False)
    averages.setAlignment(ALIGN_NONE)
    append_averages(averages, classes)


def append_averages(averages, classes):
    """Append the representatives of a set of classes, with their scores, to a set of images or volumes."""
    averages.setSamplingRate(classes.getSamplingRate())
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
