"""What *Analyze results* opens for a run of refine2d."""
import sys

import numpy as np
import pytest
from matplotlib import pyplot

from mlalign.programs.mref_results import MrefRun
from mlalign.programs.msa2d_results import Refine2dRun
from mlalign.programs.results import FINAL, Run
from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.tests.viewers.refine2d_files import make_refine2d
from mlalign.viewers import cycles

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("Viewers of refine2d") as project:
        yield project


@pytest.fixture
def make_viewer(project, references):
    """A viewer of a protocol that has as many cycles on disk, and perhaps a final result."""
    from mlalign.protocols import MlalignProtRefine2D
    from mlalign.viewers import MlalignViewerRefine2D

    def make(cycles, final=True, **options):
        protocol = project.newProtocol(MlalignProtRefine2D, **options)
        project.saveProtocol(protocol)
        if cycles:
            make_refine2d(protocol._folder(), references, cycles=cycles, final=final)
        viewer = MlalignViewerRefine2D(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def visualize(viewer, name):
    assert viewer.validate() == []
    return viewer._getVisualizeDict()[name](name)


# ---- the reader

def test_a_run_of_another_program_is_none(tmp_path, references, made):
    run, _ = make_refine2d(tmp_path, references, cycles=2)
    assert isinstance(Refine2dRun.of_run(Run(run.oroot)), Refine2dRun) and Refine2dRun.of_run(made[0]) is None
    assert isinstance(MrefRun.of_run(run), MrefRun)
    assert run.iterations() == [1, 2] and run.results() == [1, 2, FINAL]
    assert (run.cycle(FINAL), run.cycle(1)) == (2, 1)
    history = run.history()
    np.testing.assert_allclose(history.info["meanCC"], [0.25, 0.3])
    np.testing.assert_allclose(history.classes["contrast"][1], np.linspace(2, 1, len(references)))


# ---- the viewer

def test_scipion_finds_the_viewer_for_the_protocol(make_viewer):
    from pwem import Domain
    protocol = make_viewer(0).protocol
    Domain.getProtocols()
    assert [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")] == ["MlalignViewerRefine2D"]


def test_every_line_of_the_form_opens_something(make_viewer):
    from pyworkflow.protocol.params import LabelParam
    viewer = make_viewer(2)
    lines = {name for name, param in viewer.getDefinition().iterAllParams() if isinstance(param, LabelParam)}
    assert lines == set(viewer._getVisualizeDict()) - {"showOutput"}
    images = {"basis", "aliref", "allrefs"}
    for name in lines - {"showClasses"} - images:
        views = visualize(viewer, name)
        assert views and all(view.getFigure().axes for view in views)
        pyplot.close("all")
    assert len(visualize(viewer, "showAllPlots")) == 6
    for name, path in [("showClasses", viewer.protocol.getRun().classes_file()),
                       *((name, f"{viewer.protocol._root()}{name}_02.hdf") for name in images)]:
        command = visualize(viewer, name)[0].command
        assert command[:4] == [sys.executable, "-m", "mlalign.viewers.gallery", str(path)]


def test_images_can_be_shown(make_viewer, open_window):
    """By the gallery, of the file that it is given."""
    command = visualize(make_viewer(2), "basis")[0].command
    window = open_window(*command[3:])
    assert len(window.pictures) == 4 and "eigenimages, final result" in window.windowTitle()


def test_selected_iteration_of_maps_and_images(make_viewer):
    viewer = make_viewer(3)
    viewer.classesFrom.set(1)
    viewer.iterations.set("1-2")
    axes, = visualize(viewer, "map")[0].getFigure().axes
    assert axes.get_title(loc="right") == "iteration 2"
    assert visualize(viewer, "aliref")[0].command[3].endswith("aliref_02.hdf")


def test_a_run_that_goes_on_shows_its_last_cycle(make_viewer):
    viewer = make_viewer(2, final=False)
    axes, = visualize(viewer, "map")[0].getFigure().axes
    assert axes.get_title(loc="right") == "iteration 2"
    assert visualize(viewer, "allrefs")[0].command[3].endswith("allrefs_02.hdf")


def test_axes_of_the_map(make_viewer):
    viewer = make_viewer(1)
    viewer.mapX.set(3)
    axes, = visualize(viewer, "map")[0].getFigure().axes
    assert axes.get_xlabel().startswith("eigenimage 3 ") and axes.get_ylabel().startswith("eigenimage 2 ")
    viewer.mapY.set(9)
    assert "no eigenimage 9" in visualize(viewer, "map")[0].getMessage()


def test_threshold_only_where_it_counts(make_viewer):
    for eps, lines in ((0.05, 2), (0.0, 1)):
        axes, = visualize(make_viewer(2, eps=eps), "changed")[0].getFigure().axes
        assert len(axes.lines) == lines


def test_help_speaks_of_classes(make_viewer):
    viewer = make_viewer(0)
    for name in ("meanCC", "changed"):
        assert "reference" not in viewer.getDefinition().getParam(name).getHelp()


def test_averages_that_turn_have_no_signal_change(make_viewer, open_window):
    viewer = make_viewer(2)
    assert "signalChange" not in viewer._getVisualizeDict()
    window = open_window(viewer.protocol.getRun().classes_file(), "--plots")
    titles = [axes.get_title(loc="left") for axes in window.convergence.canvas.figure.axes]
    assert titles == [plot.title for plot in cycles.PLOTS.values()]


def test_gallery_knows_contrast_and_how_many_are_in_the_average(make_viewer, open_window):
    run = make_viewer(1).protocol.getRun()
    numbers = dict(open_window(run.classes_file()).pictures.numbers(0))
    assert numbers["Contrast"] == "2" and numbers["In the average"] == f"{run.classes()['used'][0]}"


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer(0)
    assert "No iteration" in visualize(viewer, "showClasses")[0].getMessage()
    for name in ("showAllPlots", "frc", "map", "basis"):
        assert "no iterations" in visualize(viewer, name)[0].getMessage()
