"""What can be found wrong, or doubtful, with ML tomo's input before a run."""
import os

import numpy as np
from pwem.objects import EMSet, SetOfClasses

from mlalign.convert_tomo import Tilts, volume_background
from mlalign.programs.engine.sphere import symmetry
from mlalign.programs.errors import UserError
from mlalign.programs.formats.volumes import open_volume_file

from .checks import few_particles, lacks_numbers, mpi_errors, normalisation_warning, pixel_size_errors
from .gpu import gpu_errors, gpu_warnings
from .tomo_base import note
from .tomo_command import option_errors, parsed, words
from .tomo_form import CLASSES, EVERYTHING, NOTHING, REGIONS

FEW_VOLUMES = 20        # per class
LOOKED_AT = 20          # particles whose transform is looked at
LARGE = 64              # voxels: a box in which a search everywhere takes long
_LIMITS = {"wedge_y": 2, "wedge_x": 2, "pyramid": 4, "cone": 1}


def errors(protocol):
    """What forbids a run; lines for the user."""
    p, volumes = protocol, protocol.inputVolumes.get()
    if volumes is None or lacks_numbers(p):
        return []                   # Scipion itself reports it
    found = [*volume_errors("particles", first_volume(volumes)), *pixel_size_errors(volumes)]
    if found:
        return found                # the other checks need a box and a pixel size
    found += _reference_errors(p, volumes) + _other_volume_errors(p, volumes)
    if found:
        return found
    return [*_symmetry_errors(p), *_tilt_errors(p, volumes), *_alignment_errors(p, volumes),
            *_option_errors(p, volumes), *gpu_errors(p), *mpi_errors(p)]


def warnings(protocol):
    """What the user should think of before a run."""
    volumes = protocol.inputVolumes.get()
    found = few_particles(volumes.getSize(), number_of_classes(protocol), FEW_VOLUMES)
    found += normalisation_warning(*volume_background(volumes))
    found += _time_warnings(protocol) + gpu_warnings(protocol)
    if protocol.copyAlignment and _all_alike(volumes):
        found.append("The orientations that the particles bring along are all the same: if nobody has searched for them "
                     "yet, say No to *Start from their alignment?*, or the missing wedges coincide.")
    return found + ([note()] if note() else [])


def _time_warnings(protocol):
    """A warning when all orientations are searched in a large box."""
    p = protocol
    if p.searchMode != EVERYTHING or words(p.angSearch)[:1] != ["-1"]:
        return []
    given = words(p.dim)[:1]
    box = box_of(p.inputVolumes.get()) if given in ([], ["-1"]) else int(given[0])
    if box <= LARGE:
        return []
    return [f"All orientations are searched in a box of {box} voxels, which takes many times longer than in one of 32, "
            "where orientations and classes are found as well.  Begin with *Box to work in (voxels)* 32, or in stages: "
            f"32 {box}, with a search range of -1 and then, say, 50."]


def number_of_classes(protocol):
    if protocol.generateReferences:
        return protocol.numberOfReferences.get()
    references = protocol.inputReferences.get()
    return references.getSize() if isinstance(references, EMSet) else 1


def first_volume(volumes):
    """The first volume of a set, the first representative of classes, or the volume itself."""
    if not isinstance(volumes, EMSet):
        return volumes
    first = volumes.getFirstItem()
    return first.getRepresentative() if isinstance(volumes, SetOfClasses) else first


def volume_errors(name, volume, box=None):
    """Errors of a volume: its file cannot be read, it is no cube, or not one of ``box`` voxels.  name: what it is."""
    try:
        shape = open_volume_file(volume.getFileName()).shape[1:]
    except UserError as error:
        return [f"{name[0].upper()}{name[1:]}: {error}."]
    sides = " x ".join(str(side) for side in reversed(shape))
    if len(set(shape)) > 1:
        return [f"{volume.getFileName()} ({name}) has {sides} voxels, expected a cubic box."]
    if box is not None and shape[0] != box:
        return [f"{volume.getFileName()} ({name}) has {sides} voxels, expected {' x '.join([str(box)] * 3)} as the "
                "particles have."]
    return []


def box_of(volumes):
    """Side of the cubic box of a set, as its first file says (Scipion takes some stacks of volumes for one volume)."""
    return open_volume_file(first_volume(volumes).getFileName()).shape[-1]


def tilts_of(protocol):
    """The :class:`Tilts` that the form describes; :class:`UserError` when its numbers are none."""
    kind, weight = REGIONS[protocol.missingDataType.get()], ""
    if kind == "weight":
        weight = protocol._weightLocation()
    return Tilts(kind, _limits(protocol, kind), protocol.tiltFromAcquisition.get(), protocol.negateTilts.get(), weight)


def _limits(protocol, kind):
    wanted = _LIMITS.get(kind, 0)
    if not wanted:
        return ()
    text = protocol.missingAng.get() or ""
    try:
        limits = tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        limits = ()
    if len(limits) != wanted:
        raise UserError(f"'{text}', expected {wanted} number{'s' if wanted > 1 else ''} for a {kind.partition('_')[0]}")
    return limits


def _reference_errors(p, volumes):
    found = []
    if not p.generateReferences:
        references = p.inputReferences.get()
        if references is None:
            return ["*Reference volume(s)*: choose volumes to start from, or generate the references."]
        found += volume_errors("references", first_volume(references), box_of(volumes))
        ours, theirs = volumes.getSamplingRate(), references.getSamplingRate()
        if theirs and abs(theirs - ours) > 0.01 * ours:
            found.append(f"The references have {theirs:g} Å/px and the particles {ours:g} Å/px, expected the same "
                         "voxel size.")
    classes = number_of_classes(p)
    if classes > volumes.getSize():
        found.append(f"{classes} classes are more than the {volumes.getSize()} particles.")
    return found


def _other_volume_errors(p, volumes):
    """Of the mask and of a weight volume."""
    found = []
    if p.searchMode == CLASSES and p.maskFile.get() is not None:
        found += volume_errors("mask", p.maskFile.get(), box_of(volumes))
    if REGIONS[p.missingDataType.get()] == "weight":
        weight = p.missingWeight.get()
        found += ["*Weight volume*: choose the volume that says what was observed."] if weight is None else \
            volume_errors("weight volume", weight)
    return found


def _symmetry_errors(p):
    try:
        symmetry(p.symmetry.get() or "")
    except UserError as error:
        return [f"*Symmetry*: {error}."]
    return []


def _tilt_errors(p, volumes):
    """Of the tilt ranges, those of the particles' acquisitions among them."""
    try:
        tilts = tilts_of(p)
        for item in volumes.iterItems():
            tilts.number(item, volumes)
    except UserError as error:
        return [f"*Tilt range*: {error}."]
    return []


def _alignment_errors(p, volumes):
    mode, first = p.searchMode.get(), volumes.getFirstItem()
    known = p.copyAlignment.get()
    if known and first.getTransform() is None:
        return ["*Start from their alignment?*: the particles have no alignment to start from."]
    if mode != EVERYTHING and not known:
        return ["*What to search*: to keep what the particles bring along, *Start from their alignment?* must be Yes."]
    if mode == NOTHING and number_of_classes(p) > 1 and not first.getClassId():
        return ["*What to search*: to average each class, the particles must have one (such as those of an earlier run); "
                "else ask for 1 reference."]
    return []


def _option_errors(p, volumes):
    options = p._options()
    found = option_errors(p, options)
    if not found:
        given, box = parsed(options), box_of(volumes)
        if given.ang_search[0] > 0 and not p.copyAlignment:
            found.append("*Search range (degrees)*: the first search can only be around the orientations that the "
                         "particles bring along, for which *Start from their alignment?* must be Yes; else begin with -1.")
        if max(given.dim) > box:
            found.append(f"*Box to work in (voxels)* is {max(given.dim)}, expected at most that of the particles, {box}.")
        if given.radius is not None and given.radius > box / 2:
            found.append(f"*Particle radius (voxels)* is {given.radius:g}, expected at most {box // 2} (half the box), "
                         "or -1 for half the box.")
        if given.frac and not os.path.exists(given.frac):
            found.append(f"*Initial fractions*: there is no file {given.frac}.")
    return found


def _all_alike(volumes):
    """Whether the first particles' rotations are all the same."""
    first = None
    for item, _ in zip(volumes.iterItems(), range(LOOKED_AT)):
        rotation = item.getTransform().getMatrix()[:3, :3]
        first = rotation.copy() if first is None else first
        if not np.allclose(rotation, first, atol=1e-6):
            return False
    return volumes.getSize() > 1
