"""What *Analyze results* opens for a run of ML2D or MLF2D."""
import subprocess
import sys

import pytest

from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.tests.viewers.fabricate import make_run

pytestmark = pytest.mark.usefixtures("close_figures")


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("Viewers") as project:
        yield project


@pytest.fixture
def make_viewer(project, references):
    """A viewer of a protocol that has as many iterations on disk."""
    from mlalign.viewers import MlalignViewerML2D

    def make(iterations, mirror=True, kind="MlalignProtML2D", groups=0, **options):
        import mlalign.protocols
        protocol = project.newProtocol(getattr(mlalign.protocols, kind), doMirror=mirror, eps=1e-3, **options)
        project.saveProtocol(protocol)
        if iterations:
            make_run(protocol._getExtraPath(), references, 30, iterations, final=False, groups=groups,
                     prefix=protocol._prefix)
        viewer = MlalignViewerML2D(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def visualize(viewer, name):
    """The one view that a line of the form opens."""
    assert viewer.validate() == []
    view, = viewer._getVisualizeDict()[name](name)
    return view


@pytest.mark.parametrize("kind", ["MlalignProtML2D", "MlalignProtMLF2D"])
def test_scipion_finds_the_viewer_for_the_protocol(project, make_viewer, kind):
    from pwem import Domain
    protocol = make_viewer(0, kind=kind).protocol
    Domain.getProtocols()
    assert Domain.getViewers()["MlalignViewerML2D"].getClassLabel() == "mlalign - ML2D and MLF2D results"
    assert [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")] == ["MlalignViewerML2D"]


def lines(viewer):
    """Names of the lines that can be clicked."""
    from pyworkflow.protocol.params import LabelParam
    return {name for name, param in viewer.getDefinition().iterAllParams() if isinstance(param, LabelParam)}


@pytest.mark.parametrize("mlf", [False, True])
def test_every_line_of_the_form_opens_something(make_viewer, mlf):
    viewer = make_viewer(2, doMlf=mlf, groups=2)
    assert lines(viewer) == set(viewer._getVisualizeDict()) - {"showOutput"}
    assert mlf == ("noiseSpectra" in lines(viewer)) == ("ssnr" in lines(viewer))
    for name in lines(viewer) - {"showClasses", "showAllPlots"}:
        assert visualize(viewer, name).getFigure().axes


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


MLF2D = pytest.mark.parametrize("options", [{"kind": "MlalignProtMLF2D"}, {"doMlf": True}])


@MLF2D
def test_spectra_of_the_newest_iteration_or_the_last_selected(make_viewer, options):
    viewer = make_viewer(4, groups=8, **options)
    axes, = visualize(viewer, "ssnr").getFigure().axes
    assert axes.get_title(loc="left") == "SSNR" and axes.get_title(loc="right") == "iteration 4"
    assert len(axes.get_legend().get_texts()) == 8
    viewer.classesFrom.set(1)
    viewer.iterations.set("1,3")
    axes, = visualize(viewer, "ssnrDevelopment").getFigure().axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["1", "3"]


@MLF2D
def test_all_plots_of_mlf2d(make_viewer, options):
    viewer = make_viewer(3, groups=2, **options)
    history, spectra = viewer._getVisualizeDict()["showAllPlots"]("showAllPlots")
    assert len(history.getFigure().axes) == 9 and len(spectra.getFigure().axes) == 4


@MLF2D
def test_no_spectra_to_show_yet(make_viewer, options):
    viewer = make_viewer(0, **options)
    assert "no iterations" in visualize(viewer, "ssnr").getMessage()
    assert "no iterations yet" in visualize(viewer, "showAllPlots").getMessage()
    viewer = make_viewer(1, **options)              # its files are of an older kind
    assert "noise.xmd: no such file" in visualize(viewer, "noiseSpectra").getMessage()


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer(0)
    assert "No iteration" in visualize(viewer, "showClasses").getMessage()
    assert "no iterations yet" in visualize(viewer, "showAllPlots").getMessage()
