"""What *Analyze results* opens for a run of multi-ref ali2d, and the plots of its window."""
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs.mref_results import MrefRun
from mlalign.programs.results import FINAL
from mlalign.tests.programs.conftest import Planted
from mlalign.tests.programs.mref_scene import SIMULATED, run_mref
from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.viewers import alignments, curves, style

pytestmark = pytest.mark.usefixtures("close_figures")
SHIFTS = "--ou 11 --xr 3 --yr 3 --maxit"


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return Planted(tmp_path_factory.mktemp("planted"), SIMULATED)


@pytest.fixture(scope="module")
def aligned(planted, tmp_path_factory):
    """A finished run of three iterations: (its MrefRun, its table of particles)."""
    outcome = run_mref(planted.star, planted.references, tmp_path_factory.mktemp("aligned") / "out", f"{SHIFTS} 3")
    return MrefRun(f"{outcome.outdir}/"), outcome.images


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("Viewers of mref") as project:
        yield project


@pytest.fixture
def make_viewer(project, planted):
    """A viewer of a protocol that has as many iterations on disk."""
    from mlalign.protocols import MlalignProtMref
    from mlalign.viewers import MlalignViewerMref

    def make(iterations, **options):
        protocol = project.newProtocol(MlalignProtMref, **options)
        project.saveProtocol(protocol)
        if iterations:
            run_mref(planted.star, planted.references, protocol._folder(), f"{SHIFTS} {iterations}")
        viewer = MlalignViewerMref(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def axes_of(draw, *arguments, **options):
    figure = Figure((9, 6))
    draw(figure, *arguments, **options)
    figure.canvas.draw()
    return figure.axes


# ---- what the plots show

def test_poses_are_those_of_the_particles(aligned):
    """Particles' centres, found one by one: where the inverse of the pose takes the centre of the average."""
    run, images = aligned
    poses = alignments.Poses.of_run(run)
    wanted = []
    for psi, shift_x, shift_y, flip in zip(*(images[label] for label in ("anglePsi", "shiftX", "shiftY", "flip"))):
        c, s, sign = np.cos(np.deg2rad(psi)), np.sin(np.deg2rad(psi)), -1 if flip else 1
        x, y = sign * -shift_x, -shift_y                      # r = M^-1 (0 - shift), and M^-1 is the transpose
        wanted.append((c * x - s * y, s * x + c * y))
    order = np.concatenate([np.flatnonzero(images["ref"] == ref) for ref in run.classes()["ref"]])
    np.testing.assert_allclose(np.stack([poses.x, poses.y], 1), np.array(wanted)[order], atol=1e-5)
    np.testing.assert_allclose(poses.angle, images.numbers("anglePsi")[order] % 360)
    np.testing.assert_array_equal(poses.flip, images["flip"][order] == 1)
    np.testing.assert_allclose(poses.score, images["maxCC"][order])


def test_places_are_the_planted_ones(aligned, planted):
    """Of a simulation whose particles were put off centre by what its truth says."""
    run, images = aligned
    poses, truth = alignments.Poses.of_run(run), planted.truth
    order = np.concatenate([np.flatnonzero(images["ref"] == ref) for ref in run.classes()["ref"]])
    c, s = np.cos(np.deg2rad(truth["anglePsi"])), np.sin(np.deg2rad(truth["anglePsi"]))
    x, y = np.where(truth["flip"] == 1, 1, -1) * truth["shiftX"], -truth["shiftY"]
    off = np.hypot(poses.x - (c * x - s * y)[order], poses.y - (s * x + c * y)[order])
    assert np.median(off) < 0.5 * np.median(np.hypot(x, y))


def test_histograms_count_every_particle(aligned):
    poses = alignments.Poses.of_run(aligned[0], 2)
    for name in ("shifts", "angles", "scores"):
        axes, = axes_of(alignments.draw_poses, poses, [name])
        assert sum(bar.get_height() for bar in axes.patches) == len(poses.x), name
        assert axes.get_title(loc="right") == "iteration 2" and axes.get_xlabel()
    axes, _ = axes_of(alignments.draw_poses, poses, ["places"])
    counts = axes.images[0].get_array()
    assert np.nansum(np.ma.filled(counts, np.nan)) == len(poses.x) and axes.yaxis_inverted()


def test_a_place_is_where_it_is_in_the_image():
    one = np.array([3.0])
    poses = alignments.Poses(FINAL, one, -2 * one / 3, 0 * one, one < 0, one / 4, 3.0)
    axes, _ = axes_of(alignments.draw_poses, poses, ["places"])
    image = axes.images[0]
    counts = np.nan_to_num(np.ma.filled(image.get_array(), np.nan))
    left, right, bottom, top = image.get_extent()
    row, column = np.argwhere(counts == 1)[0]
    width, height = (right - left) / counts.shape[1], (bottom - top) / counts.shape[0]
    assert left + column * width <= 3.0 <= left + (column + 1) * width
    assert top + row * height <= -2.0 <= top + (row + 1) * height


def test_angles_of_mirrored_particles_stand_on_the_others(aligned):
    poses = alignments.Poses.of_run(aligned[0])
    axes, = axes_of(alignments.draw_poses, poses, ["angles"])
    first = [bar.get_height() for bar in axes.patches[:alignments.ANGLES]]
    assert sum(first) == np.count_nonzero(~poses.flip) > 0
    axes, = axes_of(alignments.draw_poses, poses._replace(flip=np.zeros_like(poses.flip)), ["angles"])
    assert axes.get_legend() is None


def test_frc_curves_are_those_of_the_files(aligned):
    run, _ = aligned
    shown = curves.Curves.of_run(run)
    assert list(shown.results) == [1, 2, FINAL] and len(shown.classes) == 3
    axes, *panels = axes_of(curves.draw, shown)
    assert len(panels) == 3 and [panel.get_title(loc="left") for panel in panels] == [
        f"Class {ref}" for ref in shown.classes]
    for lines, drawn in ((axes.lines, [(FINAL, ref) for ref in shown.classes]),
                         (panels[1].lines, [(result, shown.classes[1]) for result in (1, 2, FINAL)])):
        for line, (result, ref) in zip(lines, drawn):
            frequency, correlation = run.frc(result, ref)
            np.testing.assert_allclose(line.get_data(), [frequency[1:], correlation[1:]])
    counts = run.classes().numbers("classCount")
    assert list(counts[np.array(shown.classes) - 1]) == sorted(counts, reverse=True)


def test_many_classes_and_iterations_are_cut_short(aligned):
    run, _ = aligned
    curve = run.frc(1, 1)
    many = list(range(1, 31))
    shown = curves.Curves(9, many, {9: dict.fromkeys(many, curve)}, 3.0)
    figure_axes = axes_of(curves.draw, shown)
    assert len(figure_axes) == 1 + curves.MOST_NAMED == curves.panels(shown, list(curves.PLOTS))
    assert len(figure_axes[0].lines) == 30 + 2             # and the thresholds
    assert len(figure_axes[0].get_legend().get_texts()) == curves.MOST_NAMED


def test_convergence(aligned):
    run, _ = aligned
    history = run.history()
    drawn = dict(zip(alignments.PLOTS, axes_of(alignments.draw, history, eps=0.02)))
    np.testing.assert_array_equal(drawn["meanCC"].lines[0].get_ydata(), [run.info(i)["meanCC"] for i in (1, 2, 3)])
    assert drawn["changed"].lines[1].get_ydata()[0] == 0.02
    assert len(drawn["signalChange"].lines) == 1            # eps is no threshold of this
    resolution = np.array([run.classes(i).numbers("resolution") for i in (1, 2, 3)])
    np.testing.assert_allclose(drawn["resolution"].lines[0].get_ydata(), resolution.min(axis=1))
    np.testing.assert_allclose(drawn["resolution"].lines[1].get_ydata(), np.median(resolution, axis=1))


def test_convergence_without_a_pixel_size(aligned):
    history = aligned[0].history()
    unknown = {**history.classes, "resolution": np.full_like(history.classes["resolution"], -1)}
    history = type(history)(history.iterations, history.info, unknown, None)
    axes, = axes_of(alignments.draw, history, ["resolution"], style=style.DARK)
    assert "pixel size is unknown" in axes.texts[0].get_text()


# ---- the gallery

def test_gallery_has_the_plots_of_this_program(aligned, open_window):
    run, _ = aligned
    window = open_window(run.classes_file(), "--plots")
    titles = [axes.get_title(loc="left") for axes in window.convergence.canvas.figure.axes]
    assert titles == [plot.title for plot in alignments.PLOTS.values()]
    assert [page.name for page in window.plots] == ["Convergence", "Poses"]
    window.set_page(2)
    titles = [axes.get_title(loc="left") for axes in window.plots[1].widget.canvas.figure.axes]
    assert titles[0] == "Shifts" and "Correlations" in titles
    assert ("Correlation", f"{run.classes().numbers('maxCC')[0]:.3f}") in window.pictures.numbers(0)


def test_gallery_of_another_program_has_no_such_page(made, open_window):
    window = open_window(made[0].classes_file())
    assert [page.name for page in window.plots] == ["Convergence"]


# ---- the viewer

def visualize(viewer, name):
    assert viewer.validate() == []
    return viewer._getVisualizeDict()[name](name)


def test_scipion_finds_the_viewer_for_the_protocol(make_viewer):
    from pwem import Domain
    protocol = make_viewer(0).protocol
    Domain.getProtocols()
    assert [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")] == ["MlalignViewerMref"]


def test_every_line_of_the_form_opens_something(make_viewer):
    from pyworkflow.protocol.params import LabelParam
    viewer = make_viewer(2)
    lines = {name for name, param in viewer.getDefinition().iterAllParams() if isinstance(param, LabelParam)}
    assert lines == set(viewer._getVisualizeDict()) - {"showOutput"}
    for name in lines - {"showClasses"}:
        views = visualize(viewer, name)
        assert views and all(view.getFigure().axes for view in views)
    assert len(visualize(viewer, "showAllPlots")) == 4
    command = visualize(viewer, "showClasses")[0].command
    classes = viewer.protocol.getRun().classes_file()
    assert command[:4] == [sys.executable, "-m", "mlalign.viewers.gallery", str(classes)]


def test_selected_iterations(make_viewer):
    viewer = make_viewer(3)
    viewer.classesFrom.set(1)
    viewer.iterations.set("1-2")
    axes, = visualize(viewer, "angles")[0].getFigure().axes
    assert axes.get_title(loc="right") == "iteration 2"
    panel = visualize(viewer, "frcDevelopment")[0].getFigure().axes[0]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["1", "2"]


def test_threshold_only_where_it_counts(make_viewer):
    for iterations, lines in ((0, 2), (5, 1)):
        axes, = visualize(make_viewer(2, maxIters=iterations, eps=0.03), "changed")[0].getFigure().axes
        assert len(axes.lines) == lines


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer(0)
    assert "No iteration" in visualize(viewer, "showClasses")[0].getMessage()
    for name in ("showAllPlots", "frc", "shifts"):
        assert "no iterations" in visualize(viewer, name)[0].getMessage()
