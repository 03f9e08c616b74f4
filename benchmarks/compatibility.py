"""Install mlalign with several versions of Python and of what it needs, and try it with each.

    python benchmarks/compatibility.py [--lowest | --alone] [--after PACKAGE …] PYTHON …

Each PYTHON (an interpreter) gets a new virtual environment, and in it a wheel of this repository.  There pip must find
no conflict, all modules must import, all commands explain themselves, the kernels compile, all programs run on small
particles, and some tests pass, some of them in Scipion projects.  Prints a table (docs/reliability.md), and below it
what went wrong.

    --lowest   the lowest version that is allowed of whatever mlalign needs, instead of the newest
    --alone    the programs without Scipion, and so with the newest version of what Scipion holds back
    --after    install these packages first, as in a Scipion that is there already: none of them may change then
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from common import Table, parser, working_folder

from mlalign.cli import COMMANDS
from mlalign.tests.programs.small_runs import COMMANDS as RUNS

ROOT = Path(__file__).resolve().parents[1]
SHOWN = "numpy", "scipy", "numba", "finufft", "h5py", "scikit-learn", "mpi4py", "scipion-em"
CHECKS = "installed", "no conflict", "imports", "--help", "compiles", "runs", "tests"
SCIPION = re.compile("scipion-|PyQt")                 # what the programs do without
TEST_TOOLS = "pytest", "hypothesis", "mpi4py", "mpich"
TESTS = ("engine/test_disk", "engine/test_search", "engine/test_kernels", "engine/test_grouping",
         "engine/test_parallel", "formats/test_star", "formats/test_hdf", "formats/test_mrc", "test_convert",
         "test_ml_align2d_outputs")
SCIPION_TESTS = "plugin/test_discovery", "protocols/test_project", "viewers/test_gallery"
TOLD = 3000                                           # characters of what failed
IMPORT = """
import importlib, pkgutil, {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    if ".tests" not in module.name and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
RUN = """
import subprocess, sys
from mlalign.tests.programs.small_runs import command_line, make_particles
make_particles("{program}")
sys.exit(subprocess.call([sys.executable, "-m", "mlalign.cli", "{program}", *command_line("{program}", "out", 3)]))
"""


class Environment:
    """A new virtual environment of an interpreter, in a folder."""

    def __init__(self, interpreter, folder):
        self.folder, self.said = folder, ""
        self.failures = []                            # (what was tried, what was said)
        subprocess.run([interpreter, "-m", "venv", folder / "env"], check=True)
        # Python keeps what it compiles, also where the environment says not to.
        self.variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def succeeds(self, what, *words, cwd=None):
        """Whether its Python succeeds with these arguments; if not, what it says is noted as a failure of ``what``."""
        done = subprocess.run([self.folder / "env/bin/python", *words], cwd=cwd or self.folder, env=self.variables,
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.said = done.stdout.strip()
        if done.returncode:
            self.failures.append((what, self.said))
        return done.returncode == 0

    def pip(self, *words):
        return self.succeeds(f"pip {words[0]}", "-m", "pip", "--disable-pip-version-check", *words)

    def versions(self):
        """The version of each installed package, by its name."""
        self.pip("list", "--format", "freeze")
        return dict(line.split("==") for line in self.said.splitlines() if "==" in line)


# ---- what is tried

def tries(environment, wheel, options):
    """Whether each of CHECKS succeeds, one by one; nothing more where the installation does not.

    A minimum is what all come to, where each is tried though one has failed.
    """
    package = "mlalign.programs" if options.alone else "mlalign"
    installed = install(environment, wheel, options)
    yield installed
    if not installed:
        return
    yield options.alone or environment.pip("check")            # alone, Scipion is missing, and pip says so
    yield environment.succeeds("import", "-c", IMPORT.format(package=package))
    yield min(environment.succeeds(name, "-m", "mlalign.cli", name, "--help") for name in COMMANDS)
    yield environment.succeeds("compile", "-m", "mlalign.cli", "compile")
    yield min(run(environment, program) for program in RUNS)
    yield passes(environment, TESTS if options.alone else TESTS + SCIPION_TESTS)


def install(environment, wheel, options):
    """Install a wheel as the options say; whether that succeeds, and leaves what was there before as it was."""
    if options.after and not environment.pip("install", *options.after):
        return False
    before = environment.versions() if options.after else {}
    if options.alone:
        needs = [need for need in requirements(wheel) if not SCIPION.match(need)]
        installed = (environment.pip("install", *needs, *TEST_TOOLS)
                     and environment.pip("install", "--no-deps", "--ignore-requires-python", wheel))
    else:
        lowest = [re.sub(r">=([\w.]+).*", r"==\1", need) for need in requirements(wheel)] if options.lowest else []
        installed = environment.pip("install", wheel, *lowest) and environment.pip("install", *TEST_TOOLS)
    after = environment.versions()
    changed = [f"{name} {version} became {after.get(name)}" for name, version in before.items()
               if after.get(name) != version]
    if changed:
        environment.failures.append(("what was there before", "\n".join(changed)))
    return installed and not changed


def requirements(wheel):
    """What a wheel needs, as pip writes it, without that of extras."""
    with zipfile.ZipFile(wheel) as files:
        name = next(name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        found = re.findall(r"^Requires-Dist: (.*)$", files.read(name).decode(), re.MULTILINE)
    return [need for need in found if "extra ==" not in need]


def run(environment, program):
    folder = environment.folder / program
    folder.mkdir()
    return environment.succeeds(program, "-c", RUN.format(program=program), cwd=folder)


def passes(environment, modules):
    environment.succeeds("tests", "-c", "import mlalign.tests; print(*mlalign.tests.__path__)")
    paths = [Path(environment.said, "programs" if name in TESTS else "", f"{name}.py") for name in modules]
    return environment.succeeds("tests", "-m", "pytest", "-q", *paths)


def build(folder):
    """A wheel of this repository, built from a copy: building leaves files behind."""
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__"))
    words = "-q", "--no-deps", "-w", folder, folder / "source"
    subprocess.run([sys.executable, "-m", "pip", "wheel", *words], check=True)
    return next(folder.glob("*.whl"))


def main():
    options = parser(__doc__)
    options.add_argument("pythons", nargs="+", metavar="PYTHON")
    kind = options.add_mutually_exclusive_group()
    kind.add_argument("--lowest", action="store_true", help="with the lowest versions that are allowed")
    kind.add_argument("--alone", action="store_true", help="without Scipion")
    options.add_argument("--after", nargs="+", default=[], metavar="PACKAGE", help="what is installed before")
    options = options.parse_args()
    failures = []
    with working_folder(options) as folder:
        wheel, table = build(folder), Table("Python", *SHOWN, *CHECKS)
        for python in options.pythons:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                environment = Environment(python, Path(place))
                results = list(tries(environment, wheel, options))
                versions = environment.versions()
                environment.succeeds("version", "-c", "import platform; print(platform.python_version())")
                table.row(environment.said, *(versions.get(name, "–") for name in SHOWN),
                          *("yes" if result else "no" for result in results))
                failures += [(python, what, said) for what, said in environment.failures]
    for python, what, said in failures:
        print(f"\n---- {python}, {what}\n{said[-TOLD:]}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
