"""The rules of the house: who may import whom, what a wheel holds, how fast a program starts."""
import ast
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import mlalign.tests

ROOT = Path(mlalign.tests.__file__).resolve().parents[1]
FOLDERS = {"mlalign": "plugin", "mlalign.protocols": "protocols", "mlalign.viewers": "viewers",
           "mlalign.programs": "programs", "mlalign.tests": "tests"}
MAX_LINES = 400

# What a room may import of mlalign; the first line that matches a module counts.
ALLOWED = {
    "mlalign.programs.formats": ["mlalign.programs.formats", "mlalign.programs.errors"],
    "mlalign.programs.engine": ["mlalign.programs.engine", "mlalign.programs.errors",
                                "mlalign.programs.geometry", "mlalign.programs.geometry3d"],
    "mlalign.programs": ["mlalign.programs"],
    "mlalign.protocols": ["mlalign.protocols", "mlalign.programs", "mlalign.convert", "mlalign.convert_tomo",
                          "mlalign.environment"],
    "mlalign.viewers": ["mlalign.viewers", "mlalign.protocols", "mlalign.programs", "mlalign.convert",
                        "mlalign.convert_tomo", "mlalign.environment"],
}
SCIPION_AND_WINDOWS = {"pyworkflow", "pwem", "tomo", "relion", "scipion", "PyQt5", "tkinter", "pyxmipp3"}

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a clone of the repository")


def modules(with_tests=False):
    """{module name: path} of everything that is installed."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            if with_tests or not name.startswith("mlalign.tests"):
                found[name] = path
    return found


MODULES = modules()


def repository_files():
    """The files that git knows, or would know after ``git add``."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True,
                            text=True, check=True).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def imported(name, path):
    """Every module that ``name`` imports anywhere in its file, with its line."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[:len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                module = f"{base}.{alias.name}"
                yield (module if module in MODULES else base), node.lineno


def within(module, packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


def test_imports_run_one_way():
    wrong = []
    for name, path in MODULES.items():
        allowed = next((packages for room, packages in ALLOWED.items() if within(name, [room])), None)
        if allowed is None:
            continue        # plugin/ stands beside the others
        for module, line in imported(name, path):
            if module != "mlalign" and within(module, ["mlalign"]) and not within(module, allowed):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_programs_know_nothing_of_scipion_and_windows():
    wrong = [f"{path.relative_to(ROOT)}:{line} imports {module}"
             for name, path in MODULES.items() if within(name, ["mlalign.programs"])
             for module, line in imported(name, path) if within(module, SCIPION_AND_WINDOWS)]
    assert not wrong, "\n".join(wrong)


def test_modules_are_short():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines())
               for path in modules(with_tests=True).values()}
    assert not {path: length for path, length in lengths.items() if length > MAX_LINES}


def test_no_assert_outside_tests():
    # Scipion's windows run under python -O, which strips them.
    wrong = [f"{path.relative_to(ROOT)}:{node.lineno}" for path in MODULES.values()
             for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert not wrong


def test_no_path_of_one_machine():
    machine = re.compile(r"(?<![\w.~}])/(?:home|root|work|Users|tmp)/\w")
    kinds = ".py", ".md", ".toml", ".conf", ".json", ""
    files = [path for path in repository_files() if path.suffix in kinds]
    assert len(files) > 20
    assert not [f"{path.relative_to(ROOT)}: {found[0]}" for path in files
                if (found := machine.search(path.read_text()))]


def test_setup_lists_every_package():
    listed = re.findall(r'"(mlalign[\w.]*)": "([\w/]+)"', (ROOT / "setup.py").read_text())
    there = [(name, str(path.parent.relative_to(ROOT))) for name, path in modules(with_tests=True).items()
             if path.name == "__init__.py"]
    assert sorted(listed) == sorted(there)


def test_a_wheel_holds_every_file(tmp_path):
    # From a copy: building leaves a folder behind that would feed stale files to the next build.
    source, expected = tmp_path / "source", set()
    for path in repository_files():
        name = path.relative_to(ROOT)
        if name.parts[0] in FOLDERS.values():
            expected.add("mlalign/" + str(name).removeprefix("plugin/"))
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(path.read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source]
    subprocess.run(build, check=True)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected


@pytest.mark.parametrize("arguments", ["ml_align2d --help", "ml_tomo --help", "simulate --help", "--version"])
def test_a_program_starts_at_once(arguments):
    def seconds(*command):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        return time.perf_counter() - start

    # Alternating, so that other work on the machine slows both alike.
    command = "-m", "mlalign.cli", *arguments.split()
    runs = [(seconds(*command), seconds("-c", "import numpy")) for _ in range(3)]
    assert min(ours for ours, _ in runs) < 1.5 * min(numpy for _, numpy in runs)
