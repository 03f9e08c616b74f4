"""What *Analyze results* opens for a run of ML2D."""
import subprocess
import sys

import pytest

from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.tests.viewers.fabricate import make_run


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("Viewers") as project:
        yield project


@pytest.fixture
def make_viewer(project, references):
    """A viewer of a protocol that has as many iterations on disk."""
    from mlalign.viewers import MlalignViewerML2D

    def make(iterations, mirror=True):
        from mlalign.protocols import MlalignProtML2D
        protocol = project.newProtocol(MlalignProtML2D, doMirror=mirror, eps=1e-3)
        project.saveProtocol(protocol)
        if iterations:
            make_run(protocol._getExtraPath(), references, 30, iterations, final=False)
        viewer = MlalignViewerML2D(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def visualize(viewer, name):
    """The one view that a line of the form opens."""
    assert viewer.validate() == []
    view, = viewer._getVisualizeDict()[name](name)
    return view


def test_scipion_finds_the_viewer_for_the_protocol(project, make_viewer):
    from pwem import Domain
    protocol = make_viewer(0).protocol
    Domain.getProtocols()
    assert Domain.getViewers()["MlalignViewerML2D"].getClassLabel() == "mlalign - ML2D results"
    assert [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")] == ["MlalignViewerML2D"]


def test_every_line_of_the_form_opens_something(make_viewer):
    from pyworkflow.protocol.params import LabelParam
    viewer = make_viewer(2)
    lines = {name for name, param in viewer.getDefinition().iterAllParams() if isinstance(param, LabelParam)}
    assert lines == set(viewer._getVisualizeDict()) - {"showOutput"}


def test_gallery_is_a_process_of_its_own(make_viewer):
    viewer = make_viewer(3)
    view = visualize(viewer, "showClasses")
    assert view.command[:3] == [sys.executable, "-m", "mlalign.viewers.gallery"]
    assert view.command[3] == str(viewer.protocol.getRun().classes_file())
    assert "--iterations" not in view.command
    process = view.show()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.kill()
    process.wait()


def test_a_selection_of_iterations(make_viewer):
    viewer = make_viewer(3)
    viewer.classesFrom.set(1)
    viewer.iterations.set("1, 2-3")
    command = visualize(viewer, "showClasses").command
    assert command[command.index("--iterations") + 1] == "1,2,3"
    viewer.iterations.set("2-5")
    assert viewer.validate() == ["No iteration 4, 5; there are 1 to 3."]
    viewer.iterations.set("last")
    assert "no selection" in viewer.validate()[0]
    viewer.iterations.set(None)
    assert "no selection" in viewer.validate()[0]


def test_plots(make_viewer):
    viewer = make_viewer(3)
    plotter = visualize(viewer, "signalChange")
    axes, = plotter.getFigure().axes
    assert axes.get_title(loc="left") == "Signal change" and axes.lines[1].get_ydata()[0] == 1e-3
    assert len(visualize(viewer, "showAllPlots").getFigure().axes) == 9


def test_no_mirror_plot_without_mirrors(make_viewer):
    viewer = make_viewer(2, mirror=False)
    assert "mirrorFraction" not in viewer._getVisualizeDict()
    assert not viewer.hasAttribute("mirrorFraction")
    assert len(visualize(viewer, "showAllPlots").getFigure().axes) == 8


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer(0)
    assert "No iteration" in visualize(viewer, "showClasses").getMessage()
    assert "no iterations yet" in visualize(viewer, "showAllPlots").getMessage()
