"""``mlalign project``: Scipion's windows, from pip packages only."""
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from mlalign.environment import set_scipion_environment
from mlalign.programs import options
from mlalign.programs.command import run_program
from mlalign.programs.errors import UserError

DESCRIPTION = """\
Open Scipion's window of the project NAME, which is created when there is none; without NAME, the list of
projects.  Projects live in $SCIPION_USER_DATA (~/ScipionUserData when it is not set).
"""


def main(argv=None):
    parser = options.Parser("mlalign project", DESCRIPTION)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the project to open")
    arguments = parser.parse_args(argv)
    run_program("mlalign project", lambda: open_project(arguments.name))


def open_project(name=None):
    """Replace this process with Scipion's project window (project manager when ``name`` is None).

    Raises UserError when there is no display, Tk or Scipion, or when the name cannot be a project's.
    """
    check_windows()
    if name is not None:
        check_name(name)
    set_scipion_environment()
    arguments = []
    if name is not None:
        create_project(name)
        arguments = ["project", name]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-O", "-m", "scipion", *arguments])


def check_name(name):
    """Raise UserError unless a project can have this name."""
    if not re.fullmatch(r"[\w.-]+", name):
        raise UserError(f"project '{name}': expected a name of letters, digits, '_', '-' and '.'")


def check_windows():
    """Raise UserError, saying what to do, when Scipion's windows cannot open here."""
    if find_spec("scipion") is None:
        raise UserError(f"Scipion is not installed: {sys.executable} -m pip install scipion-app scipion-em")
    try:
        import tkinter
        tkinter.Tk().destroy()
    except ImportError:
        raise UserError("this Python has no Tk, which Scipion needs: apt-get install python3-tk") from None
    except tkinter.TclError as error:
        raise UserError(f"no window can open ({error}): use a desktop, or connect with ssh -X") from None


def create_project(name):
    """Create the project unless it exists; Scipion's environment must be set."""
    if (Path(os.environ["SCIPION_USER_DATA"]) / "projects" / name).exists():
        return
    from pyworkflow.project import Manager  # reads the environment when imported
    path = Manager().createProject(name).getPath()
    print(f"Created the project {name} in {path}")
