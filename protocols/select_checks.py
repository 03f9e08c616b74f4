"""What can be found wrong with a selection before it runs."""
from mlalign.programs.errors import UserError
from mlalign.programs.selection import parse_classes

from .select_form import FINAL_RESULT, LISTED
from .select_sets import run_of


def errors(protocol):
    """The errors of a :class:`.select.MlalignProtSelect`, as a list of messages."""
    classes = protocol.inputClasses.get()
    if classes is None:
        return []               # Scipion itself reports it
    if classes.getImages() is None:
        return ["The particles of the classes are not in this project."]
    found = _output_errors(protocol) or _iteration_errors(protocol)
    if not found and protocol.choose == LISTED:
        found = _list_errors(protocol, classes)
    if protocol.recenter and not _has_alignment(classes):
        found.append("*Re-centre* needs the alignment of the particles, which these classes do not have.")
    return found


def _output_errors(protocol):
    if any((protocol.makeClasses, protocol.makeParticles, protocol.makeAverages, protocol.makeRejected)):
        return []
    return ["*Outputs*: choose at least one."]


def _iteration_errors(protocol):
    wanted = protocol.iteration.get()
    if wanted == FINAL_RESULT:
        return []
    run = run_of(protocol.inputClasses)
    if run is None:
        return ["*Iteration*: only classes that come right from a protocol of this plugin have iterations to choose "
                f"from; expected {FINAL_RESULT}."]
    there = run.iterations()
    if wanted in there:
        return []
    return [f"*Iteration* is {wanted}; " + (f"there are {there[0]} to {there[-1]}" if there else "there are none")
            + f", or {FINAL_RESULT} for the final result."]


def _list_errors(protocol, classes):
    try:
        wanted = parse_classes(protocol.classList.get(""))
    except UserError as error:
        return [f"*Classes*: {error}."]
    if protocol.iteration != FINAL_RESULT:
        return []               # another iteration may have other classes; the run says it
    there = classes.getIdSet()
    missing = [str(ref) for ref in wanted if ref not in there]
    return [f"*Classes*: no class {', '.join(missing)} (or it is empty); there are "
            f"{', '.join(map(str, sorted(there)))}."] if missing else []


def _has_alignment(classes):
    first = classes.getFirstItem()
    return first.hasAlignment() and first.getFirstItem().hasTransform()
