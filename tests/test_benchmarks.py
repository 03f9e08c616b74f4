"""Every benchmark explains itself, and is in the documentation; what they count and time is there."""
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

from mlalign.tests.programs.small_runs import COMMANDS, command_line, make_particles

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
USAGE = re.compile(r"^    python benchmarks/(\w+)\.py", re.MULTILINE)
INSIDE = {"measured"}                  # started by others
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py")
                 if USAGE.search(path.read_text()) and path.stem not in INSIDE)
pytestmark = pytest.mark.skipif(not SCRIPTS, reason="benchmarks are not installed with the package")


@pytest.fixture
def folder(monkeypatch):
    """The folder of the scripts, whose modules can be imported for a while."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield FOLDER
    for name in set(sys.modules) - before:
        if (FOLDER / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_benchmark_explains_itself(name, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ending:
        importlib.import_module(name).main()
    said = capsys.readouterr().out
    assert not ending.value.code and f"{name}.py" in said


def test_the_documentation_names_every_benchmark():
    text = "".join(path.read_text() for path in (FOLDER.parent / "docs").glob("*.md"))
    named = set(re.findall(r"benchmarks/(\w+)\.py", text))
    assert named == set(SCRIPTS) | INSIDE & named


@pytest.mark.parametrize("program", COMMANDS)
def test_iterations_of_every_program_are_timed_and_their_products_counted(program, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_particles(program)
    words = command_line(program, "run", 2)
    monkeypatch.setattr(sys, "argv", ["measured.py", "iterations.json", program, *words])
    importlib.import_module("measured").main()
    iterations = json.loads(Path("iterations.json").read_text())
    assert len(iterations) == 2
    assert all(one["cpu"] > 0 and one["wall"] > 0 and one["flops"] > 1e5 for one in iterations)
