"""What Scipion needs to run from pip packages alone: variables, folders, a description of this computer."""
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

DEFAULT_HOME = "~/.local/share/mlalign/scipion"
DEFAULT_PROJECTS = "~/ScipionUserData"


def scipion_environment():
    """The environment (a copy of ours) in which Scipion works with this plugin; nothing is created on disk.

    Variables the user has set are kept.  The rest: folders get defaults under the home folder, Scipion's runs
    use this Python, its bin folder comes first on the PATH, and no usage statistics are sent.
    """
    environment = dict(os.environ)
    home = Path(environment.get("SCIPION_HOME", DEFAULT_HOME)).expanduser()
    defaults = {
        "SCIPION_HOME": home,
        "SCIPION_USER_DATA": Path(DEFAULT_PROJECTS).expanduser(),
        "SCIPION_CONFIG": home / "config" / "scipion.conf",
        "SCIPION_LOCAL_CONFIG": home / "config" / "scipion.conf",
        "SCIPION_HOSTS": home / "config" / "hosts.conf",
        "SCIPION_DOMAIN": "pwem",
        "SCIPION_PRIORITY_PACKAGE_LIST": "pwem tomo pwchem",      # whose trees of protocols come first
        "SCIPION_NOTIFY": "False",
        "SCIPION_PYTHON": sys.executable,
        "VIRTUAL_ENV": sys.prefix,      # Scipion asks for it even when the environment was not activated
    }
    for name, value in defaults.items():
        environment.setdefault(name, str(value))
    bin_folder = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join([bin_folder, environment.get("PATH", os.defpath)])
    return environment


def prepare_scipion():
    """Create the folders and the list of hosts where they are missing; return :func:`scipion_environment`."""
    environment = scipion_environment()
    for name in ("SCIPION_HOME", "SCIPION_USER_DATA"):
        Path(environment[name]).mkdir(parents=True, exist_ok=True)
    hosts = Path(environment["SCIPION_HOSTS"])
    if not hosts.exists():
        hosts.parent.mkdir(parents=True, exist_ok=True)
        template = Path(find_spec("scipion").origin).parent / "templates" / "hosts.template"
        shutil.copyfile(template, hosts)
    return environment


def set_scipion_environment():
    """Prepare Scipion and move this process into its environment.  Call it before importing pyworkflow."""
    os.environ.update(prepare_scipion())
