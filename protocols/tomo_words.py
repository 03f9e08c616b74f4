"""What ML tomo says about a run: its summary, and the methods of a paper."""
from mlalign import __version__
from mlalign.programs.errors import UserError
from mlalign.programs.missing_regions import read_regions

from .summary import final_lines, progress_lines, starting_lines
from .tomo_base import note
from .tomo_checks import number_of_classes
from .tomo_command import stage_iterations, words
from .tomo_form import CLASSES, EVERYTHING, NOTHING, REGIONS, SHIFTS

MANY_REGIONS = 4        # beyond these, tilt ranges are counted instead of listed


def summary(protocol):
    """Lines on how a run is doing, or how it ended."""
    p, run = protocol, protocol.getRun()
    stages = stage_iterations(p)
    if not run.results():
        lines = starting_lines(run)
    elif p.isFinished():
        lines = final_lines(run, sum(stages))
    else:
        lines = progress_lines(run, sum(stages), stages)
    return [*lines, *_region_lines(p), *([note()] if note() else [])]


def _region_lines(p):
    """A line on what of the particles was observed, once they have been converted."""
    if REGIONS[p.missingDataType.get()] == "everything":
        return ["Nothing is missing of the particles."]
    try:
        regions = read_regions(p._regionsFile()).values()
    except UserError:
        return []
    if len(regions) > MANY_REGIONS:
        observed = [region.coverage for region in regions]
        return [f"{len(regions)} different missing regions; {100 * min(observed):.0f} to {100 * max(observed):.0f} % of "
                "Fourier space observed of a particle."]
    return [f"Observed of a particle: {_region_words(region)}, {100 * region.coverage:.0f} % of Fourier space."
            for region in regions]


def _region_words(region):
    ranges = [f"{low:g} to {high:g} degrees about {axis}" for axis, (low, high)
              in (("Y", region.y or (0, 0)), ("X", region.x or (0, 0))) if low or high]
    if ranges:
        return "tilts of " + " and ".join(ranges)
    return f"all directions of {region.cone:g} degrees of tilt" if region.kind == "cone" else "as a volume says"


def methods(protocol):
    """Sentences for the methods of a paper."""
    p, volumes = protocol, protocol.inputVolumes.get()
    if not p.isFinished() or volumes is None:
        return []
    done = {EVERYTHING: "aligned and classified", SHIFTS: "centred and classified", CLASSES: "classified",
            NOTHING: "averaged"}[p.searchMode.get()]
    classes = number_of_classes(p)
    how = "maximum likelihood" if not p.maxCC or p.searchMode == NOTHING else "constrained cross-correlation"
    sentences = [
        f"We {done} the {volumes.getSize()} particles {p.getObjectTag('inputVolumes')} "
        f"{'in one class' if classes == 1 else f'into {classes} classes'} by {how} with missing data as hidden "
        f"variables [Scheres2009c] with mlalign {__version__}.",
        _start_words(p)]
    if p.searchMode == EVERYTHING:
        sentences.append(f"Orientations were sampled every {_then(p.angSampling)} degrees.")
    if (p.symmetry.get() or "").lower() != "c1":
        sentences.append(f"The averages have the symmetry {p.symmetry.get().upper()}.")
    if p.halfSets and p.searchMode != NOTHING:
        sentences.append("Two halves of the particles were kept apart, with references of their own, and resolutions "
                         "estimated from their Fourier shell correlation.")
    return [" ".join(sentences)]


def _start_words(p):
    if not p.generateReferences:
        return f"The first references were {p.getObjectTag('inputReferences')}."
    return "The first references were averages of random groups of the particles " + (
        "as they were aligned before." if p.copyAlignment else
        f"in random orientations (the most likely of {p.restarts} starts).")


def _then(field):
    """The values of a field with one per stage: ``15, then 10, then 5``."""
    return ", then ".join(words(field))
