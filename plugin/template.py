"""``mlalign template``: projects from ready workflows, with simulated data to try them on."""
import importlib
import json
import math
import os
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

from mlalign.environment import set_scipion_environment
from mlalign.headless import execute, open_project
from mlalign.programs import options
from mlalign.programs.command import run_program
from mlalign.programs.errors import UserError
from mlalign.project import check_name

DESCRIPTION = """\
Create a Scipion project from the workflow NAME, and execute it with --run.  Without NAME, list the workflows and the
values that each can be told with --set.  They are Scipion's project templates as well: its own command 'template'
offers them in a window.

Unless --set names other data, particles are simulated to try the workflow on, once; their files go to FOLDER.
"""

EXAMPLES = """\
examples:
  mlalign template
  mlalign template ml2d_mlf2d --run
  mlalign template ml2d_mlf2d --project mine --set particles=shiny.star pixel=1.4 classes=30 threads=8
  mlalign project mine
"""

FOLDER = Path(__file__).with_name("templates")
ENDING = ".json.template"
INDENT = "    "


class Demo(NamedTuple):
    """Simulated data of a template.

    module    : the simulator's command line
    arguments : for it, but for where its files go
    alias     : the value of the template that says where the data are
    file      : what it says, in the folder of the data
    """
    module: str
    arguments: str
    alias: str
    file: str


DEMOS = {
    "ml2d_mlf2d": Demo(
        "simulate", "--views 4 -n 1000 --box 64 --pixel_size 3 --snr 0.1 --mirror --defocus 9000 28000 "
        "--astigmatism 900 --noise_fall 8 --phase_flip", "particles", "particles.star"),
    "ml_tomo": Demo(
        "simulate_tomo", "--phantoms 2 -n 60 --box 32 --voxel_size 8 --snr 0.3", "particles", "particles"),
    "refine2d_mref": Demo(
        "simulate", "--views 6 -n 1500 --box 64 --pixel_size 3 --snr 0.2 --mirror", "particles", "particles.mrcs"),
}


def main(argv=None):
    parser = options.Parser("mlalign template", DESCRIPTION, EXAMPLES)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the workflow")
    parser.add_argument("--project", metavar="P", default=None,
                        help="Scipion project; when it exists the workflow is added to it (default: mlalign_NAME)")
    parser.add_argument("--data", metavar="FOLDER", default=None,
                        help="where simulated data go, or are from before (default: mlalign_data/NAME in "
                             "$SCIPION_USER_DATA)")
    parser.add_argument("--set", metavar="KEY=VALUE", nargs="+", default=None, dest="values",
                        help="values to take instead of the workflow's own; without NAME they are listed")
    parser.add_argument("--run", action="store_true",
                        help="execute the workflow, without a window, and tell how it does")
    arguments = parser.parse_args(argv)
    run_program("mlalign template", lambda: create(arguments) if arguments.name else list_templates())


def names():
    return sorted(path.name.removesuffix(ENDING) for path in FOLDER.glob(f"*{ENDING}"))


def list_templates():
    set_scipion_environment()
    for name in names():
        template = load(name)
        print(f"{name}\n{textwrap.fill(template.description, 100, initial_indent=INDENT, subsequent_indent=INDENT)}")
        for field in template.params.values():
            print(f"{INDENT}{field.getAlias() + '=' + field.getValue():24}  {field.getTitle()}")
        print()


def create(arguments):
    """Make the project, and execute its runs if asked to."""
    name, project_name = arguments.name, arguments.project or f"mlalign_{arguments.name}"
    if name not in names():
        raise UserError(f"no workflow '{name}', expected one of {', '.join(names())}")
    check_name(project_name)
    set_scipion_environment()
    values = parse_values(arguments.values or [])
    template, demo = load(name), DEMOS[name]
    if demo.alias not in values:
        folder = Path(arguments.data or Path(os.environ["SCIPION_USER_DATA"]) / "mlalign_data" / name).resolve()
        values[demo.alias] = str(demo_data(demo, folder))
    elif arguments.data is not None:
        raise UserError(f"--data says where simulated data go, but --set {demo.alias}= names other data: "
                        "expected one of the two")
    else:
        values[demo.alias] = str(Path(values[demo.alias]).resolve())
    workflow = filled(template, values)
    project = open_project(project_name)
    protocols = add_workflow(project, workflow)
    print(f"The project {project_name} has the workflow {name}: "
          f"{' -> '.join(protocol.getObjLabel() for protocol in protocols)}")
    if arguments.run:
        run_all(project, protocols)
    print(f"\nType next\n  mlalign project {project_name}")


def load(name):
    """The template, a pyworkflow LocalTemplate whose fields are known."""
    from pyworkflow.template import LocalTemplate  # reads the environment when imported
    template = LocalTemplate("mlalign", str(FOLDER / f"{name}{ENDING}"))
    template.replaceEnvVariables()
    template.parseContent()
    return template


def parse_values(words):
    """{key: value} of KEY=VALUE words."""
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"--set {word}: expected KEY=VALUE")
        values[key] = value
    return values


def filled(template, values):
    """The workflow (JSON) of a template with these values {key: text} instead of its own."""
    fields = {field.getAlias(): field for field in template.params.values()}
    for key, value in values.items():
        if key not in fields:
            raise UserError(f"--set {key}: the workflow has no such value, expected one of {', '.join(fields)}")
        fields[key].setValue(value)
        if wrong := problem(fields[key]):
            raise UserError(f"--set {key}={value}: {wrong}")
    content = list(template.getContent())
    for field in fields.values():
        content[field.getIndex()] = json.dumps(field.getValue())[1:-1]      # quotes in a name are no JSON
    return "".join(content)


def problem(field):
    """What is wrong with a field's value, or None: files must be there, numbers must be ones."""
    from pyworkflow.config import VarTypes
    kind, text = VarTypes(field.getType()), field.getValue()
    if kind in (VarTypes.INTEGER, VarTypes.DECIMAL):
        try:
            number = json.loads(text)
        except ValueError:
            number = None
        allowed = int if kind is VarTypes.INTEGER else (int, float)
        if not isinstance(number, allowed) or isinstance(number, bool) or not math.isfinite(number):
            return f"expected {'an integer' if kind is VarTypes.INTEGER else 'a number'}"
    if kind is VarTypes.FOLDER and not Path(text).is_dir():
        return "no such folder"
    if kind is VarTypes.PATH and not Path(text).exists():
        return "no such file"
    return None


def add_workflow(project, workflow):
    """Add the runs of a workflow (JSON) to a project, not executed; the list of them, in its order."""
    loaded = project.loadProtocols(jsonStr=workflow)
    for said in json.loads(workflow):
        protocol = loaded[said["object.id"]]
        protocol.setObjLabel(said["object.label"])      # some versions of Scipion lose them
        protocol.setObjComment(said["object.comment"])
        project.saveProtocol(protocol)
    return list(loaded.values())


def demo_data(demo, folder):
    """Path of the simulated data in ``folder``; they are made unless they are there."""
    path = folder / demo.file
    if path.exists() and (folder / "truth.xmd").exists():       # which is written last
        print(f"The data are in {folder} already")
        return path
    print(f"Simulating data in {folder} ...", flush=True)
    simulator = importlib.import_module(f"mlalign.programs.{demo.module}")
    work = importlib.import_module(f"mlalign.programs.{demo.module.replace('simulate', 'simulation')}")
    work.run(simulator.parser().parse_args([*shlex.split(demo.arguments), "-o", f"{folder}/"]))
    return path


def run_all(project, protocols):
    """Execute the protocols one after the other, each telling what it does and what came out."""
    for number, protocol in enumerate(protocols, 1):
        print(f"{number}. {protocol.getObjLabel()} ...", flush=True)
        errors = protocol.validate()
        if errors:
            raise UserError(f"{protocol.getObjLabel()}: {' '.join(errors)}")
        execute(project, protocol)
        for name, output in protocol.iterOutputAttributes():
            print(f"   {name}: {output}", flush=True)


if __name__ == "__main__":
    main()
