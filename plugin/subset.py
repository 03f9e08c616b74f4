"""``python -m mlalign.subset``: make a run of *select classes* in a project, as the class gallery does."""
import re
from pathlib import Path

from mlalign.environment import set_scipion_environment
from mlalign.programs import options
from mlalign.programs.command import run_program
from mlalign.programs.errors import UserError
from mlalign.programs.options import number

NAME = "mlalign.subset"
KINDS = {"classes": "makeClasses", "particles": "makeParticles", "averages": "makeAverages"}
FINAL = "final"

DESCRIPTION = """\
Create, label and execute a run of the protocol 'select classes' in a project: it makes outputs of some classes of
another run.  The project may be open in a window meanwhile, where the new run appears with the next refresh.
"""


def parser():
    p = options.Parser(NAME, DESCRIPTION)
    p.add_argument("--project", metavar="PATH", required=True, help="folder of the project")
    p.add_argument("--protocol", metavar="ID", type=number(int, 1), required=True,
                   help="number of the run whose classes are chosen from")
    p.add_argument("--kind", choices=KINDS, required=True, help="what to make of the chosen classes")
    p.add_argument("--classes", metavar="LIST", required=True, help="their numbers, such as 1,4,7-9")
    p.add_argument("--iteration", metavar="N", type=_iteration, default=None,
                   help=f"number of the iteration that they are of, or '{FINAL}' (default: {FINAL})")
    p.add_argument("--label", metavar="TEXT", default="", help="name of the new run (default: says what was chosen)")
    return p


def main(argv=None):
    arguments = parser().parse_args(argv)
    run_program(NAME, lambda: subset(arguments))


def subset(arguments):
    """Make the run that parsed arguments ask for and wait for its end; :class:`UserError` when it cannot be."""
    from mlalign.programs.selection import parse_classes
    parse_classes(arguments.classes)
    folder = Path(arguments.project).resolve()
    if not (folder / "project.sqlite").exists():
        raise UserError(f"--project {arguments.project}: no project there, expected a folder with a project.sqlite")
    set_scipion_environment()
    project = _open(folder)
    source, output = _source(project, arguments.protocol)
    protocol = _new(project, source, output, arguments)
    errors = protocol.validate()
    if errors:
        raise UserError(" ".join(error.replace("*", "") for error in errors))
    project.launchProtocol(protocol, wait=True)
    if not protocol.isFinished():
        raise UserError(f"'{protocol.getObjLabel()}' (id {protocol.getObjId()}): {_plain(protocol.getErrorMessage())}")
    ranking, table = protocol.getScores()
    kept = table["selected"] == 1
    print(f"Created '{protocol.getObjLabel()}' (id {protocol.getObjId()}): {kept.sum()} "
          f"class{'' if kept.sum() == 1 else 'es'}, {ranking.sizes[kept].sum()} particles")


# ---- in Scipion; pyworkflow reads the environment when it is imported, hence not above

def _open(folder):
    """The project in a folder, which becomes the working folder."""
    from pyworkflow import Config
    from pyworkflow.project import Project
    project = Project(Config.getDomain(), str(folder))
    project.load()
    return project


def _source(project, number):
    """(protocol, name of its output) with the classes of the run ``number``."""
    from mlalign.protocols.select_form import INPUT
    found = project.mapper.selectById(number)
    if not hasattr(found, "iterOutputAttributes"):
        raise UserError(f"--protocol {number}: no such run in the project {project.getShortName()}")
    protocol = project.getProtocol(number)
    names = [name for name, output in protocol.iterOutputAttributes() if type(output).__name__ in INPUT.split(",")]
    if not names:
        raise UserError(f"--protocol {number}: '{protocol.getObjLabel() or protocol.getClassLabel()}' has no classes "
                        "as output yet, expected a finished classification")
    return protocol, names[0]


def _new(project, source, output, arguments):
    from mlalign.protocols import MlalignProtSelect
    from mlalign.protocols.select_form import FINAL_RESULT, LISTED
    wanted = {name: kind == arguments.kind for kind, name in KINDS.items()}
    final = arguments.iteration is None
    iteration = "" if final else f" of iteration {arguments.iteration}"
    protocol = project.newProtocol(
        MlalignProtSelect, choose=LISTED, classList=arguments.classes, **wanted,
        iteration=FINAL_RESULT if final else arguments.iteration)
    protocol.setObjLabel(arguments.label or f"select {arguments.kind} {arguments.classes}{iteration}")
    protocol.inputClasses.set(source)
    protocol.inputClasses.setExtended(output)
    return protocol


def _plain(message):
    """The last line of a message, without the colours of a terminal."""
    lines = re.sub("\x1b.*?m", "", message or "").strip().splitlines() or ["failed"]
    return lines[-1]


def _iteration(text):
    return None if text == FINAL else number(int, 1)(text)


if __name__ == "__main__":
    main()
