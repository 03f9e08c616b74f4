"""A session with mouse and keys in Scipion's windows: a form, a run, its gallery, and a subset of its classes."""
import os
import signal
import subprocess
import sys

import pytest

from mlalign.tests.protocols import screen
from mlalign.tests.protocols.scipion import QUICK, import_particles, new_ml2d, new_project, simulated

pytestmark = pytest.mark.skipif(bool(screen.missing()), reason=screen.missing())


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A project with imported particles and an ML2D that waits to be executed, and the latter."""
    folder = simulated(tmp_path_factory.mktemp("clicked"), count=60)
    with new_project("Clicked") as project:
        protocol = new_ml2d(project, import_particles(project, folder), **{**QUICK, "maxIters": 2})
        project.saveProtocol(protocol)
        project.mapper.commit()
        yield project, protocol


@pytest.fixture
def windows(prepared, tmp_path):
    """The screen, with the project's window on it."""
    shown = screen.Screen(tmp_path)
    with (tmp_path / "errors").open("w") as errors:
        process = subprocess.Popen([sys.executable, "-m", "mlalign.cli", "project", "Clicked"], env=shown.environment,
                                   stdout=errors, stderr=errors, start_new_session=True)
    yield shown
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_from_the_form_to_a_subset(prepared, windows):
    project, _ = prepared
    windows.click(windows.find("mlalign - ML2D", "CanvasText", contains=True))
    windows.click(windows.find("Edit"))

    # the form: three classes instead of two
    label = windows.find("Number of classes", "Label")
    windows.type_into(windows.find("2", "Entry", where=label.beside), "3")
    windows.find("3", "Entry", where=label.beside)
    windows.picture("form")
    windows.click(windows.find("Execute", "Button"))
    windows.find("60 particles make 20 per class", "Text", contains=True)       # a warning
    windows.click(windows.find("Yes", "Button"))
    windows.find("ML2D\nfinished", "CanvasText", contains=True)
    windows.find("Stopped after the 2 iterations allowed", "Text", contains=True)        # the summary
    windows.picture("finished")

    # what came out: the gallery
    windows.click(windows.find("mlalign - ML2D", "CanvasText", contains=True))
    windows.click(windows.find("Analyze results", contains=True))
    label = windows.find("Show the class gallery", "Label")
    windows.picture("viewer")
    windows.click(windows.find("Visualize", "Button", where=label.beside))
    windows.find("Create subset…", "QToolButton")
    first, second = (windows.find("", "Item", contains=True, at=place) for place in (0, 1))
    windows.click(first)
    windows.click(second, "ctrl")
    windows.picture("gallery")

    # a subset of two classes, which is a run in the project
    windows.click(windows.find("Create subset…", "QToolButton"))
    windows.picture("menu")
    windows.click(windows.find("2 classes", "Action", contains=True))
    windows.find("Created 'select classes", contains=True)
    windows.picture("created")
    windows.click(windows.find("Refresh", "Label"))
    windows.find("select classes ", "CanvasText", contains=True)
    windows.picture("subset")
    made = [run for run in project.getRuns(refresh=True) if run.getClassName() == "MlalignProtSelect"]
    assert [run.outputClasses.getSize() for run in made] == [2]
