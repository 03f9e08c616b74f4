"""What *Analyze results* opens for a run of ML tomo."""
import shutil
import sys
from pathlib import Path

import pytest

from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.viewers import plots3d

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("TomoViewers") as project:
        yield project


@pytest.fixture
def make_viewer(project, tomo_made):
    """A viewer of a protocol that has these iterations (0, 1, …) of a run on disk."""
    from mlalign.protocols import MlalignProtMLTomo
    from mlalign.viewers import MlalignViewerMLTomo

    def make(iterations):
        protocol = project.newProtocol(MlalignProtMLTomo)
        project.saveProtocol(protocol)
        root = Path(tomo_made[0].oroot)
        for iteration in range(iterations):
            for path in root.parent.glob(f"{root.name}_it{iteration:06d}*"):
                target = Path(protocol._getExtraPath(path.name))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, target)
        viewer = MlalignViewerMLTomo(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def visualize(viewer, name):
    """The views that a line of the form opens."""
    assert viewer.validate() == []
    return viewer._getVisualizeDict()[name](name)


def test_scipion_finds_the_viewer_for_the_protocol(make_viewer):
    from pwem import Domain
    protocol = make_viewer(0).protocol
    Domain.getProtocols()
    assert Domain.getViewers()["MlalignViewerMLTomo"].getClassLabel() == "mlalign - ML tomo results"
    assert "MlalignViewerMLTomo" in [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")]


def test_every_line_of_the_form_opens_something(make_viewer):
    from pyworkflow.protocol.params import LabelParam
    viewer = make_viewer(2)
    lines = {name for name, param in viewer.getDefinition().iterAllParams() if isinstance(param, LabelParam)}
    assert lines == set(viewer._getVisualizeDict()) - {"showOutput"}
    assert lines == {"showClasses", "showAllPlots", *plots3d.PLOTS, *plots3d.CLASS_PLOTS}
    for name in lines - {"showClasses", "showAllPlots"}:
        view, = visualize(viewer, name)
        assert view.getFigure().axes


def test_gallery_gets_the_run_and_the_iterations(make_viewer):
    viewer = make_viewer(3)
    view, = visualize(viewer, "showClasses")
    assert view.command[:4] == [sys.executable, "-m", "mlalign.viewers.gallery",
                                str(viewer.protocol.getRun().classes_file())]
    viewer.classesFrom.set(1)
    viewer.iterations.set("0,2")
    view, = visualize(viewer, "showClasses")
    assert view.command[view.command.index("--iterations") + 1] == "0,2"
    viewer.iterations.set("2-5")
    assert viewer.validate() == ["No iteration 3, 4, 5; there are 0 to 2."]


def test_plots_of_the_newest_iteration_or_the_last_selected(make_viewer):
    viewer = make_viewer(3)
    run = viewer.protocol.getRun()
    for selection, iteration in (("", 2), ("0-1", 1)):
        viewer.classesFrom.set(bool(selection))
        viewer.iterations.set(selection)
        view, = visualize(viewer, "fsc")
        best = run.classes(iteration)["resolution"].argmin() + 1
        line = view.getFigure().axes[0].lines[0]
        assert line.get_label().startswith(f"Class {best}:")
        assert list(line.get_ydata()) == list(run.fsc(iteration, best)[1])


def test_all_plots(make_viewer):
    views = visualize(make_viewer(2), "showAllPlots")
    assert [len(view.getFigure().axes) for view in views] == [9, 1, 2, 2]


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer(0)
    assert "No iteration" in visualize(viewer, "showClasses")[0].getMessage()
    for name in ("showAllPlots", "pMax"):
        view, = visualize(viewer, name)
        assert "no iterations yet" in view.getMessage()
    assert "no such file" in visualize(viewer, "coverage")[0].getMessage()


def test_a_plot_that_a_result_lacks_keeps_none_of_the_others(make_viewer):
    viewer = make_viewer(2)
    for k in (1, 2, 3):
        viewer.protocol.getRun().wedge_path(1, k).unlink()
    *_, orientations, coverage = visualize(viewer, "showAllPlots")
    assert orientations.getFigure().axes and "no coverage" in coverage.getMessage()
