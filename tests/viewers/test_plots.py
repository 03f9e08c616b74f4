"""The plots over the iterations: what is drawn is what the files say."""
import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs.results import INFO, PER_CLASS, History
from mlalign.viewers import plots, style


def history(iterations=5, classes=3, pixel_size=3.0, **changed):
    rng = np.random.default_rng(2)
    info = {label: rng.uniform(0.1, 0.4, iterations) for label in INFO}
    per_class = {label: rng.uniform(0.1, 1, (iterations, classes)) for label in PER_CLASS}
    for label, values in changed.items():
        (info if label in info else per_class)[label] = np.asarray(values, float)
    return History(np.arange(1, iterations + 1), info, per_class, pixel_size)


def axes_of(name, *arguments, **options):
    figure = Figure()
    plots.draw(figure, history(*arguments, **options), [name], eps=5e-5)
    figure.canvas.draw()
    return figure.axes[0]


@pytest.mark.parametrize("name", ["logLikelihood", "pMax", "changed", "sigmaNoise", "sigmaOffset"])
def test_lines_are_the_info_block(name):
    axes = axes_of(name)
    iterations, values = axes.lines[0].get_data()
    np.testing.assert_array_equal(iterations, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(values, history().info[name])


def test_likelihoods_are_written_out():
    axes = axes_of("logLikelihood", logLikelihood=-7.06e6 + 1500 * np.arange(5.0))
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert "-7,060,000" in labels and not any("e" in label for label in labels)


def test_signal_change_is_the_largest_over_the_classes_beside_eps():
    changes = [[np.nan] * 3, [1, 5, 2], [4, 1, 1], [0.1, 0.2, 0.01], [0, 0, 0]]
    axes = axes_of("signalChange", signalChange=changes)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [np.nan, 5e-3, 4e-3, 2e-4, np.nan])
    assert axes.get_yscale() == "log" and axes.lines[1].get_ydata()[0] == 5e-5


def test_mirror_fraction_bars_are_the_newest_iteration():
    axes = axes_of("mirrorFraction")
    newest = history().classes["mirrorFraction"][-1]
    np.testing.assert_allclose([bar.get_height() for bar in axes.patches], newest)
    assert axes.get_ylim()[0] == 0


def test_occupancy_fills_from_zero_to_one_and_groups_what_is_small():
    axes = axes_of("occupancy", classes=30)
    assert len(axes.collections) == plots.MOST_CLASSES_NAMED
    top = axes.collections[-1].get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx(1)
    assert axes.get_legend().get_texts()[0].get_text() == "22 more"


def test_resolution_in_angstrom_or_frequency():
    axes = axes_of("resolution", resolution=[[-1, -1, -1], [20, 30, -1], [9, 8, 7], [9, 8, 7], [9, 8, 7]])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), 3 / history().info["maxres"])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), [np.nan, 20, 7, 7, 7])
    assert axes.get_ylabel() == "resolution (Å)" and axes.yaxis_inverted()
    axes = axes_of("resolution", pixel_size=None)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history().info["maxres"])
    assert "1/px" in axes.get_ylabel()


@pytest.mark.parametrize("name", plots.PLOTS)
@pytest.mark.parametrize("iterations", [1, 60])
def test_any_length_and_missing_numbers(name, iterations):
    axes = axes_of(name, iterations)
    assert axes.get_xlabel() and axes.get_ylabel()
    label = {"occupancy": "weight", "resolution": "maxres"}.get(name, name)
    shape = (iterations, 3) if label in PER_CLASS else iterations
    axes_of(name, iterations, **{label: np.full(shape, np.nan)})


def test_all_plots_fit_on_a_page():
    figure = Figure((13, 8))
    plots.draw(figure, history(), style=style.DARK)
    figure.canvas.draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [plot.title for plot in plots.PLOTS.values()]


def test_frc_axis_reads_in_angstrom():
    figure = Figure()
    plots.draw_frc(figure, np.linspace(0, 0.5, 9), np.linspace(1, 0, 9), pixel_size=3.0)
    axis = figure.axes[0].xaxis
    assert axis.get_major_formatter().format_ticks(axis.get_majorticklocs()) == ["∞", "50", "25", "15", "10", "8", "6"]


@pytest.mark.parametrize("pixel_size", [0.5, 0.83, 1.06, 3.0, 6.1, 40.0])
@pytest.mark.parametrize("highest", [0.12, 0.3, 0.5])
def test_resolutions_on_an_axis_are_round_and_apart(pixel_size, highest):
    axes = Figure().subplots()
    style.resolution_axis(axes, highest, pixel_size)
    ticks = axes.xaxis.get_majorticklocs()
    assert 4 <= len(ticks) <= 9 and ticks[0] == 0 and ticks[-1] <= highest * 1.001
    assert np.diff(ticks).min() > 0.1 * highest
    for tick, label in zip(ticks[1:], axes.xaxis.get_major_formatter().format_ticks(ticks)[1:]):
        assert len(label.replace(".", "").rstrip("0")) <= 2
        assert float(label) == pytest.approx(pixel_size / tick)
