"""Sets of classes, from whatever protocol, as the ranking wants them; and the sets that a selection makes of them."""
import numpy as np
from pwem.objects import SetOfAverages, SetOfClasses2D, SetOfVolumes, Transform
from pyworkflow.object import Float

from mlalign.convert import append_averages, fill_averages, fill_classes, pose_transforms
from mlalign.convert_tomo import pose_transforms3d
from mlalign.programs.centring import centring_shift, moved
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack, write_volume_stack
from mlalign.programs.formats.volumes import open_volume_file
from mlalign.programs.members import particles_of
from mlalign.programs.ranking import SAMPLE, Evidence, rank, rank_classes

from .base import ProgramProtocol

RESOLUTIONS = ("_mlalignResolution", "_rlnEstimatedResolution")        # Å, attributes of classes
FOREIGN = "stability: not known of classes without a run of this plugin"
CLASS_ATTRIBUTE, SCORE = "_mlalign", "_mlalignScore"
MOVES = ("_mlalignMovedX", "_mlalignMovedY", "_mlalignMovedZ")


def is_2d(classes):
    return isinstance(classes, SetOfClasses2D)


def run_of(pointer):
    """The run (:class:`~mlalign.programs.results.Results`) that the classes of a pointer come from; None: not ours."""
    protocol = pointer.getObjValue()
    if not isinstance(protocol, ProgramProtocol):
        protocol = protocol.getMapper().getParent(protocol) if protocol is not None and protocol.getMapper() else None
    return protocol.getRun() if isinstance(protocol, ProgramProtocol) and protocol.getRun().results() else None


def ranking_of(classes, run, iteration):
    """The :class:`~mlalign.programs.ranking.Ranking` of a set of classes; run: it comes from, or None."""
    if run is None:
        return rank_classes(set_evidence(classes))
    ranking = rank(run, iteration)
    sizes = {one.getObjId(): one.getSize() for one in classes.iterItems()}
    of_run = {int(ref): int(size) for ref, size in zip(ranking.refs, ranking.sizes) if size}
    # the set may be an older result, or a part of it
    return ranking if sizes == of_run else rank_classes(set_evidence(classes))


def set_evidence(classes):
    """The :class:`Evidence` that a set of classes gives by itself."""
    ones = [one.clone() for one in classes.iterItems()]
    sizes = np.array([one.getSize() for one in classes.iterItems()])
    refs = np.array([one.getObjId() for one in ones])
    averages = np.stack([pixels(one.getRepresentative(), is_2d(classes)) for one in ones])
    sampling = classes.getSamplingRate()

    def sample(k):
        one = classes[int(refs[k])]
        ids = sorted(one.getIdSet())
        some = np.unique(np.linspace(0, len(ids) - 1, min(len(ids), SAMPLE[averages.ndim - 1])).astype(int))
        return np.stack([pixels(one[ids[i]], is_2d(classes)) for i in some])

    halves = np.array([_frequency(one, sampling) for one in ones])
    return Evidence(refs, sizes, averages, sample, halves, notes=(FOREIGN,))


def _frequency(one, sampling):
    """1/px of the resolution that a class is said to have; NaN when it is not said."""
    for name in RESOLUTIONS:
        value = one.getAttributeValue(name)
        if value and value > 0:
            return min(sampling / value, 0.5)
    return np.nan


def pixels(image, flat):
    """The pixels of an image (``flat``) or volume of Scipion; UserError when they cannot be read."""
    index, path = image.getLocation()
    return (open_stack if flat else open_volume_file)(path).read([max(index, 1) - 1])[0]


def classify_at(classes, run, iteration):
    """Fill a new set of classes with those of a run at an iteration."""
    particles = particles_of(run, iteration)
    flat = is_2d(classes)
    transforms = (pose_transforms if flat else pose_transforms3d)(particles)
    kind = type(classes).ITEM_TYPE
    fill_classes(classes, particles, run.classes(iteration), transforms,
                 kind.setAlignment2D if flat else kind.setAlignment3D)


# ---- moved averages

class Centred:
    """The averages of some classes, moved to the middle of the box, in a new stack.

    shifts: {class: (x, y) or (x, y, z)} px
    """

    def __init__(self, classes, chosen, path):
        averages = {ref: pixels(classes[ref].getRepresentative(), is_2d(classes)) for ref in chosen}
        self.shifts = {ref: centring_shift(average) for ref, average in averages.items()}
        self.path, self._place = path, {ref: place for place, ref in enumerate(chosen, 1)}
        images = np.stack([moved(average, self.shifts[ref]) for ref, average in averages.items()])
        write = write_stack if is_2d(classes) else write_volume_stack
        write(path, images, classes.getSamplingRate())

    def move_class(self, one):
        ref = one.getObjId()
        one.getRepresentative().setLocation(self._place[ref], self.path)
        for name, along in zip(MOVES, self.shifts[ref]):
            setattr(one, name, Float(along))

    def move_member(self, item, ref):
        shift = self.shifts[ref]
        matrix = np.array(item.getTransform().getMatrix(), float)       # a copy: that is the live one
        matrix[: len(shift), 3] += shift
        item.setTransform(Transform(matrix))


# ---- new sets

def copy_classes(new, classes, chosen, scores, centred=None):
    """Put the chosen classes of a set, with their enabled members and scores {class: score}, into a new set."""
    new.copyInfo(classes)
    for one in classes.iterItems():
        ref = one.getObjId()
        if ref in chosen:
            other = _new_class(type(new).ITEM_TYPE, one, scores[ref])
            if centred:
                centred.move_class(other)
            new.append(other)
            for item in one.iterItems():
                if item.isEnabled():
                    if centred:
                        centred.move_member(item, ref)
                    other.append(item)
            new.update(other)


def _new_class(kind, one, score):
    """A class without members that is otherwise as ``one``."""
    other = kind()
    other.copyInfo(one)
    other.setObjId(one.getObjId())
    average = one.getRepresentative().clone()
    average.setSamplingRate(one.getSamplingRate())
    other.setRepresentative(average)
    other.setAlignment(one.getAlignment())
    for name, value in one.getAttributesToStore():
        if name.startswith(CLASS_ATTRIBUTE):
            setattr(other, name, value.clone())
    setattr(other, SCORE, Float(score))
    return other


def copy_members(new, classes, chosen):
    """Put the enabled members of the chosen classes of a set into a new set of the kind of its images."""
    new.copyInfo(classes.getImages())
    new.setAlignment(classes.getFirstItem().getAlignment())
    for one in classes.iterItems():
        if one.getObjId() in chosen:
            for item in one.iterItems():
                if item.isEnabled():
                    new.append(item)


def copy_averages(new, classes):
    """Put the averages of a set of classes, with their scores, into a new set of images or volumes."""
    if is_2d(classes):
        fill_averages(new, classes)
    else:
        append_averages(new, classes)


def averages_type(classes):
    """The class of sets of averages that goes with a set of classes."""
    return SetOfAverages if is_2d(classes) else getattr(classes, "REP_SET_TYPE", SetOfVolumes)
