"""The command mlalign."""
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mlalign
from mlalign import cli, project
from mlalign.programs.errors import UserError

MLALIGN = Path(sys.executable).with_name("mlalign")


def run(*arguments, **options):
    return subprocess.run([MLALIGN, *arguments], capture_output=True, text=True, **options)


def test_help_names_every_command():
    for arguments in ([], ["--help"], ["-h"], ["help"]):
        done = run(*arguments)
        assert done.returncode == 0
        for name, (_, line) in cli.COMMANDS.items():
            assert f"  {name}" in done.stdout and line in done.stdout


def test_version():
    assert run("--version").stdout == f"mlalign {mlalign.__version__}\n"


def test_unknown_command():
    done = run("classify")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "no command 'classify'" in done.stderr


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name):
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


def test_exit_status_of_a_command():
    assert run("ml_align2d", "-i", "nowhere.xmd", "--frobnicate").returncode == 2


def test_ctrl_c_before_a_program_has_begun(monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mlalign.programs.ml_align2d.main", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main(["ml_align2d"])
    assert end.value.code == 130


def test_starts_quickly():
    times = []
    for _ in range(5):
        start = time.perf_counter()
        run("ml_align2d", "--help")
        times.append(time.perf_counter() - start)
    assert min(times) < 0.6


def test_project_without_display(monkeypatch):
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = run("project", "try", env=environment)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "ssh -X" in done.stderr


@pytest.mark.parametrize("name", ["a b", "../up", "", "a/b"])
def test_project_with_an_impossible_name(monkeypatch, name):
    monkeypatch.setattr(project, "check_windows", lambda: None)
    with pytest.raises(UserError, match="expected a name"):
        project.open_project(name)
