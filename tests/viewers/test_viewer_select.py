"""What *Analyze results* opens for a run of select classes, and the plot of the scores."""
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs.ranking import WEIGHTS, Ranking
from mlalign.tests.protocols import scipion  # first: it makes Scipion's environment
from mlalign.viewers import scores, style

pytestmark = pytest.mark.usefixtures("close_figures")
REFS, SIZES = np.array([1, 2, 3, 5]), np.array([40, 10, 30, 0])
PARTS = {"signal": np.array([1.0, 0.1, 0.8, np.nan]), "resolution": np.array([0.7, 0.0, 1.0, np.nan]),
         "stability": np.full(4, np.nan), "size": np.array([1.0, 0.5, 1.0, 0.0])}


@pytest.fixture
def ranking():
    known = {name: np.where(np.isnan(PARTS[name]), 0, WEIGHTS[name]) for name in WEIGHTS}
    score = sum(known[name] * np.nan_to_num(PARTS[name]) for name in WEIGHTS) / sum(known.values())
    return Ranking(REFS, SIZES, PARTS, np.where(SIZES > 0, score, 0), np.array([0.2, 0, 0.3, np.nan]), ("a note",))


@pytest.fixture(scope="module")
def project():
    with scipion.new_project("Viewers of selections") as project:
        yield project


@pytest.fixture
def make_viewer(project):
    """A viewer of a protocol that left these scores, or none."""
    from mlalign.protocols import MlalignProtSelect
    from mlalign.protocols.select_scores import write_scores
    from mlalign.viewers import MlalignViewerSelect

    def make(ranking=None, chosen=(), **options):
        protocol = project.newProtocol(MlalignProtSelect, **options)
        project.saveProtocol(protocol)
        protocol.makePathsAndClean()
        if ranking is not None:
            write_scores(protocol._scoresFile(), ranking, chosen, {1: (0.5, -2.0), 3: (1.0, 0.0)})
        viewer = MlalignViewerSelect(project=project, protocol=protocol)
        viewer.setProtocol(protocol)
        return viewer

    return make


def drawn(ranking, kept, **options):
    figure = Figure((8, 4))
    scores.draw(figure, ranking, kept, **options)
    figure.canvas.draw()
    return figure.axes[0]


def test_bars_add_up_to_the_scores(ranking):
    np.testing.assert_allclose(sum(scores.contributions(ranking).values()), ranking.score)
    axes = drawn(ranking, [True, False, True, False], threshold=0.45)
    tops = {}
    for bar in axes.patches:
        place = round(bar.get_x() + bar.get_width() / 2)
        tops[place] = max(tops.get(place, 0), bar.get_y() + bar.get_height())
    order = np.argsort(-ranking.score, kind="stable")
    np.testing.assert_allclose([tops[place] for place in range(4)], ranking.score[order])
    assert [text.get_text() for text in axes.get_xticklabels()] == [str(ref) for ref in REFS[order]]
    assert axes.lines[0].get_ydata()[0] == 0.45


def test_rejected_classes_are_pale(ranking):
    axes = drawn(ranking, [True, False, True, True], style=style.DARK)
    pale = {round(bar.get_x() + bar.get_width() / 2) for bar in axes.patches if bar.get_alpha() == scores.FADED}
    order = list(np.argsort(-ranking.score, kind="stable"))
    assert pale == {order.index(1)} and not axes.lines


def test_many_classes_have_no_numbers():
    count = scores.MOST_NAMED + 1
    part = dict.fromkeys(WEIGHTS, np.linspace(0, 1, count))
    many = Ranking(np.arange(1, count + 1), np.ones(count, int), part, part["signal"], part["signal"])
    assert not drawn(many, np.ones(count)).get_xticklabels()


def test_scores_are_read_as_they_were_written(make_viewer, ranking):
    found, table = make_viewer(ranking, [1, 3]).protocol.getScores()
    for name, part in PARTS.items():
        np.testing.assert_array_equal(found.parts[name], part)
    np.testing.assert_array_equal(found.score, ranking.score)
    np.testing.assert_array_equal(found.resolution, ranking.resolution)
    assert list(table["selected"]) == [1, 0, 1, 0] and found.notes == ("a note",)
    np.testing.assert_array_equal(table["movedX"], [0.5, 0, 1, 0])


def test_the_plot_has_the_threshold_where_there_was_one(make_viewer, ranking):
    for choose, lines in ((0, 1), (1, 0)):
        viewer = make_viewer(ranking, [1], choose=choose, minScore=0.6)
        axes, = viewer._getVisualizeDict()["showScores"]("showScores")[0].getFigure().axes
        assert len(axes.lines) == lines


def test_averages_open_in_the_gallery(make_viewer, ranking):
    viewer = make_viewer(ranking, [1])
    path = viewer.protocol._keptFile()
    with open(path, "w") as file:
        file.write("data_particles\n")
    view, = viewer._getVisualizeDict()["showKept"]("showKept")
    assert view.command[:4] == [sys.executable, "-m", "mlalign.viewers.gallery", path]
    message, = viewer._getVisualizeDict()["showRejected"]("showRejected")
    assert "none" in message.getMessage()


def test_nothing_to_show_yet(make_viewer):
    viewer = make_viewer()
    message, = viewer._getVisualizeDict()["showScores"]("showScores")
    assert "no scores yet" in message.getMessage()
    assert set(viewer._getVisualizeDict()) == {"showScores", "showKept", "showRejected"}


def test_scipion_finds_the_viewer_for_the_protocol(make_viewer):
    from pwem import Domain
    protocol = make_viewer().protocol
    Domain.getProtocols()
    assert [viewer.__name__ for viewer in Domain.findViewers(protocol, "tkinter")] == ["MlalignViewerSelect"]


def test_the_gallery_of_a_run_is_told_where_subsets_go(project):
    from mlalign.protocols import MlalignProtMref
    from mlalign.viewers.views import GalleryView
    protocol = project.newProtocol(MlalignProtMref)
    project.saveProtocol(protocol)
    command = GalleryView.of_run(protocol.getRun(), "title", protocol=protocol).command
    assert command[command.index("--project") + 1] == project.getPath()
    assert command[command.index("--protocol") + 1] == str(protocol.getObjId())
    assert "--project" not in GalleryView.of_run(protocol.getRun(), "title").command
