"""The plots of classes of volumes: what is drawn is what the files say."""
import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.results import FINAL
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.programs.tomo_fabricate import PIXEL
from mlalign.viewers import plots3d, style
from mlalign.viewers.tomo import planes, sphere
from mlalign.viewers.tomo.volumes import ClassVolumes

HALF = plots3d.RASTER // 2


def drawn(function, *arguments, size=(8, 4), **options):
    """A figure that ``function`` filled."""
    figure = Figure(size)
    function(figure, *arguments, **options)
    figure.canvas.draw()
    return figure


def texts(axes):
    return [text.get_text() for text in axes.texts]


# ---- iterations

@pytest.mark.parametrize("name, label", [("logLikelihood", "logLikelihood"), ("pMax", "pMax"), ("changed", "changed"),
                                         ("angleChange", "angleChange"), ("sigmaNoise", "sigmaNoise"),
                                         ("sigmaOffset", "sigmaOffset")])
def test_lines_are_the_info_block(tomo_made, name, label):
    run, _ = tomo_made
    axes, = drawn(plots3d.draw, run.history(), [name]).axes
    iterations, values = axes.lines[0].get_data()
    np.testing.assert_array_equal(iterations, [0, 1, 2, 3])
    np.testing.assert_array_equal(values, [run.info(i)[label] for i in range(4)])


def test_occupancy_is_the_class_fractions(tomo_made):
    run, _ = tomo_made
    axes, = drawn(plots3d.draw, run.history(), ["occupancy"]).axes
    newest = np.sort(run.classes(3)["weight"])[::-1]
    lowest = axes.collections[0].get_paths()[0].vertices
    assert lowest[lowest[:, 0] == 3, 1].max() == pytest.approx(newest[0] / newest.sum())


def test_resolution_is_named_fsc(tomo_made):
    run, _ = tomo_made
    axes, = drawn(plots3d.draw, run.history(), ["resolution"]).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["used", "best class (FSC)"]
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [run.classes(i)["resolution"].min() for i in range(4)])


def test_all_plots_fit_on_a_page_in_any_length(tomo_made):
    run, _ = tomo_made
    for iterations in ([0], [1], None):
        figure = drawn(plots3d.draw, run.history(iterations), style=style.DARK, size=(13, 8))
        titles = [axes.get_title(loc="left") for axes in figure.axes]
        assert titles == [plot.title for plot in plots3d.PLOTS.values()]
    assert "Mirror fraction" not in titles and "Angular change" in titles


# ---- resolution

def curves(*crossings):
    frequency = np.linspace(0, 0.5, 51)
    return {f"Class {k}": (frequency, 1 / (1 + (frequency / crossing) ** 8)) for k, crossing in enumerate(crossings, 1)}


def test_fsc_curves_the_best_first():
    axes, = drawn(plots3d.draw_fsc, curves(0.1, 0.3, 0.2), 2.0).axes
    shown = [line for line in axes.lines if line.get_label().startswith("Class")]
    assert [line.get_label() for line in shown] == ["Class 2: 6.7 Å", "Class 3: 10.0 Å", "Class 1: 20.0 Å"]
    np.testing.assert_array_equal(shown[0].get_ydata(), curves(0.1, 0.3)["Class 2"][1])
    thresholds = {line.get_ydata()[0] for line in axes.lines if line not in shown}
    assert thresholds == {0.5, 0.143}
    labels = axes.xaxis.get_major_formatter().format_ticks(axes.xaxis.get_majorticklocs())
    assert labels[0] == "∞" and labels[-1] == "4"


def test_fsc_without_pixel_size_and_without_resolution():
    found = {**curves(0.1), "Class 2": (np.linspace(0, 0.5, 5), np.full(5, 0.2))}
    axes, = drawn(plots3d.draw_fsc, found).axes
    assert [line.get_label() for line in axes.lines[:2]] == ["Class 1: 0.100/px", "Class 2: unknown"]
    assert axes.get_xlabel() == "frequency (1/px)"


def test_legend_of_many_curves_names_the_best():
    axes, = drawn(plots3d.draw_fsc, curves(*np.linspace(0.1, 0.4, 40)), 2.0, size=(12, 8)).axes
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(names) == plots3d.MOST_CURVES and names[0].startswith("Class 40:")
    assert axes.get_legend().get_title().get_text() == "the best 24 of 40"


# ---- orientations

def test_density_is_drawn_with_x_to_the_right_and_y_down():
    figure = drawn(plots3d.draw_orientations, {"Class 1": np.array([[0.6, 0, 0.8]] * 9 + [[0, 0.6, -0.8]])})
    axes = figure.axes[0]
    above, below = axes.images
    low, high = axes.get_ylim()
    assert low > high                                                   # y of the axes goes down
    row, column = np.unravel_index(above.get_array().argmax(), above.get_array().shape)
    assert abs(row - HALF) <= 4 and column > HALF + 10                  # x > 0: to the right
    row, column = np.unravel_index(below.get_array().argmax(), below.get_array().shape)
    assert row > HALF + 10 and abs(column - HALF) <= 4                  # y > 0: further down
    assert texts(axes) == ["Class 1", "x", "y", "z > 0", "x", "y", "z < 0"]


def test_density_is_that_of_the_cells():
    directions = np.random.default_rng(0).normal(size=(60, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    axes = drawn(plots3d.draw_orientations, {"": directions}).axes[0]
    for image, values in zip(axes.images, sphere.density(directions)):
        assert image.get_array()[HALF + 10, HALF + 20] == values[sphere.cells([20 / HALF, 10 / HALF])]
        assert set(np.unique(image.get_array())) <= set(values)


def test_particles_are_dots_where_they_look_unless_they_are_many():
    directions = np.array([[0, 0, 1.0], [1, 0, 0], [0, 0, -1]])
    axes = drawn(plots3d.draw_orientations, {"": directions}).axes[0]
    centres = [np.mean(image.get_extent()[:2]) + 1 / plots3d.RASTER for image in axes.images]
    (x1, _), (x2, _) = (line.get_data() for line in axes.lines)
    np.testing.assert_allclose(x1, [centres[0], centres[0] + 1])
    np.testing.assert_allclose(x2, [centres[1]])
    assert not drawn(plots3d.draw_orientations, {"": np.tile(directions, (200, 1))}).axes[0].lines


def test_scale_of_densities_is_common_and_says_when_it_ends():
    narrow, wide = np.array([[0, 0, 1.0]] * 2000), np.random.default_rng(0).normal(size=(2000, 3))
    wide /= np.linalg.norm(wide, axis=1, keepdims=True)
    axes, bar = drawn(plots3d.draw_orientations, {"a": narrow, "b": wide}).axes
    assert {image.norm.vmax for image in axes.images} == {8}
    assert bar.get_ylabel() == "density (mean = 1)"
    axes, _ = drawn(plots3d.draw_orientations, {"b": wide}).axes
    assert {image.norm.vmax for image in axes.images} == {4}


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_panels_of_any_number_of_classes_do_not_overlap(count):
    directions = np.eye(3)
    axes = drawn(plots3d.draw_orientations, {f"Class {k}": directions for k in range(count)}).axes[0]
    places = np.array([[np.mean(image.get_extent()[:2]), np.mean(image.get_extent()[2:])] for image in axes.images])
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 9 * np.eye(2 * count)
    assert len(places) == 2 * count and apart.min() > 2
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert (places[:, 0] > left + 1).all() and (places[:, 0] < right - 1).all()
    assert (places[:, 1] > high + 1).all() and (places[:, 1] < low - 1).all()


# ---- coverage

def test_coverage_shows_directions_and_central_slices():
    volume = np.random.default_rng(0).uniform(size=(16, 16, 16))
    axes, bar = drawn(plots3d.draw_coverage, {"": volume}, 0.4).axes
    directions, *slices = (image.get_array() for image in axes.images)
    assert directions[HALF, HALF] == pytest.approx(sphere.observed(volume, 0.4)[sphere.cells([0, 0])])
    for shown, expected in zip(slices, planes.central_slices(volume)):
        np.testing.assert_array_equal(shown, expected)
    assert {image.norm.vmax for image in axes.images} == {1} and bar.get_ylabel() == "observed"


def test_border_of_a_slice_is_the_highest_frequency():
    axes = drawn(plots3d.draw_coverage, {"": np.zeros((16, 16, 16))}, 0.25).axes[0]
    left, right, bottom, top = axes.images[1].get_extent()
    assert right - left == pytest.approx(2 * 0.5 / 0.25) and bottom - top == pytest.approx(2 * 0.5 / 0.25)
    # the origin, index 8, is at the middle of the disc
    assert left + (8 + 0.5) / 16 * (right - left) == pytest.approx(axes.images[0].get_extent()[0] + 1 + 0.5 / HALF
                                                                   + plots3d.APART)


# ---- classes of a run

def test_plots_of_all_classes(tomo_made):
    run, _ = tomo_made
    classes = ClassVolumes(run, 2)
    fsc, = drawn(plots3d.draw_classes, classes, "fsc").axes
    best = run.classes(2)["resolution"].argmin()
    assert fsc.lines[0].get_label().startswith(f"Class {best + 1}:")
    np.testing.assert_allclose(fsc.lines[0].get_xdata(), run.fsc(2, best + 1)[0] * PIXEL)
    orientations = drawn(plots3d.draw_classes, classes, "orientations").axes[0]
    dots = sum(len(line.get_xdata()) for line in orientations.lines)
    assert dots == 40 and len(orientations.images) == 6
    coverage = drawn(plots3d.draw_classes, classes, "coverage").axes[0]
    np.testing.assert_array_equal(coverage.images[1].get_array(), read_volume(run.wedge_path(2, 1))[0][12])


def test_what_a_result_lacks_is_told(tomo_made, tmp_path):
    run, _ = tomo_made
    bare = TomoRun(tmp_path / "bare")
    for k in (1, 2, 3):
        bare.average_path(FINAL, k).symlink_to(run.average_path(FINAL, k))
    bare.classes_file().symlink_to(run.classes_file())
    for name in plots3d.CLASS_PLOTS:
        with pytest.raises(UserError, match=r"bare_ref\.xmd: this result has no"):
            drawn(plots3d.draw_classes, ClassVolumes(bare, FINAL), name)
