"""The plots of spectra: what is drawn is what the files say."""
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from mlalign.programs.errors import UserError
from mlalign.programs.results import FINAL, Run
from mlalign.tests.viewers.fabricate import PIXEL, make_run, write_spectra
from mlalign.viewers import spectra, style


@pytest.fixture(scope="module")
def run(tmp_path_factory, references):
    """Eight noise groups, twelve iterations."""
    return make_run(tmp_path_factory.mktemp("mlf"), references, 30, iterations=12, groups=8)[0]


@pytest.fixture
def make(tmp_path, references):
    """A run of one iteration with spectra of any kind."""

    def make_it(groups, **options):
        run, _ = make_run(tmp_path, references, 30, iterations=1, final=False)
        write_spectra(run.prefix(1), groups, 0.5, 0.2, **options)
        return run

    return make_it


def axes_of(name, run, shown=FINAL, iterations=None, **changed):
    figure = Figure((6, 4))
    found = spectra.Spectra.of_run(run, shown, iterations)._replace(**changed)
    spectra.draw(figure, found, [name])
    figure.canvas.draw()
    return figure.axes[0]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def curve(line):
    return np.nan_to_num(line.get_ydata())


@pytest.mark.parametrize("name, curves", [("noiseSpectra", "noise"), ("ssnr", "ssnr")])
def test_a_curve_for_every_group(run, name, curves):
    axes = axes_of(name, run, 7)
    for group, line in zip(run.spectra(7), axes.lines):
        np.testing.assert_array_equal(line.get_xdata(), group.frequency)
        np.testing.assert_array_equal(curve(line), getattr(group, curves))
    assert axes.get_yscale() == "log" and axes.get_title(loc="right") == "iteration 7"


def test_signal_is_a_dashed_mean_of_the_groups(run):
    groups = run.spectra(7)
    line = axes_of("noiseSpectra", run, 7).lines[8]
    expected = sum(group.signal * group.count for group in groups) / sum(group.count for group in groups)
    np.testing.assert_allclose(line.get_ydata(), expected)
    assert line.is_dashed() and line.get_label() == "signal"


def test_legend_is_the_mean_defocus(run):
    axes = axes_of("ssnr", run)
    expected = 0.9 + 1.9 * (np.arange(8) + 0.5) / 8
    np.testing.assert_allclose([float(text) for text in legend(axes)], expected, atol=0.006)
    assert axes.get_legend().get_title().get_text() == "defocus (µm)"
    colors = {line.get_color() if isinstance(line.get_color(), str) else tuple(line.get_color())
              for line in axes.lines[:8]}
    assert len(colors) == 8


def test_legend_of_many_groups_names_some(make):
    axes = axes_of("ssnr", make(30), 1)
    texts = legend(axes)
    assert len(texts) == 8 and len(axes.lines) > 30
    assert (texts[0], texts[-1]) == ("0.93", "2.77") and "8 of 30" in axes.get_legend().get_title().get_text()


def test_legend_of_several_optics_groups(make):
    axes = axes_of("ssnr", make(4, optics=2), 1)
    assert legend(axes) == ["1.14, optics 2", "1.61, optics 1", "2.09, optics 2", "2.56, optics 1"]


def test_one_group_without_ctf(make):
    run = make(1, ctf=False)
    for name in spectra.PLOTS:
        axes_of(name, run, 1)
    assert legend(axes_of("noiseSpectra", run, 1)) == ["all images", "signal"]


def test_one_and_the_limit_are_marked(run):
    axes = axes_of("ssnr", run, 6)
    limit = run.info(6)["maxres"]
    assert axes.lines[8].get_ydata()[0] == 1
    shade = axes.patches[0].get_xy()
    assert min(shade[:, 0]) == pytest.approx(limit) and max(shade[:, 0]) == 0.5
    assert f"used to {PIXEL / limit:.3g} Å" in [text.get_text() for text in axes.texts]


def test_axis_goes_on_beyond_what_the_run_used(run):
    found = spectra.Spectra.of_run(run, 6)
    groups = [replace(group, frequency=0.4 * group.frequency) for group in found.groups]
    for limit in (0.1, 0.2):
        axes = axes_of("ssnr", run, 6, results={6: groups}, limit=limit)
        assert axes.get_xlim()[1] == pytest.approx(0.24) and min(axes.patches[0].get_xy()[:, 0]) == limit


def test_nothing_is_marked_when_all_is_used_or_nobody_knows(run):
    assert not axes_of("ssnr", run, 6, limit=0.5).patches
    assert not axes_of("ssnr", run, 6, limit=np.nan).patches


def test_unknown_pixel_size_gives_frequencies(make):
    run = make(8, pixel_size=None)
    axes = axes_of("noiseSpectra", run, 1, pixel_size=None)
    assert axes.get_xlabel() == "frequency (1/px)" and axes.get_xlim() == (0, 0.5)
    assert "used to 0.42" in [text.get_text() for text in axes.texts]
    assert axes_of("noiseSpectra", run, 1).get_xlabel() == "resolution (Å)"


def test_development_shows_some_iterations_and_the_one_shown(run):
    axes = axes_of("ssnrDevelopment", run, 4)
    texts = legend(axes)
    assert texts[0] == "1" and texts[-1] == "12" and "4" in texts and len(texts) <= 9
    thick, = [line for line in axes.lines if line.get_linewidth() > 2]
    np.testing.assert_allclose(curve(thick), spectra.mean(run.spectra(4), "ssnr"))
    assert thick.get_label() == "4"
    assert legend(axes_of("ssnrDevelopment", run, FINAL))[-1] == "final"


def test_development_of_a_selection(run):
    assert legend(axes_of("noiseDevelopment", run, 5, [1, 3, 5])) == ["1", "3", "5"]


def test_axes_stay_while_iterations_pass(run):
    for name in spectra.PLOTS:
        first, last = (axes_of(name, run, shown) for shown in (1, 12))
        assert first.get_ylim() == last.get_ylim() and first.get_xlim() == last.get_xlim()


def test_no_signal_yet(make):
    run = make(2)
    groups = [spectra_of_nothing(group) for group in run.spectra(1)]
    for name in spectra.PLOTS:
        axes = axes_of(name, run, 1, results={1: groups})
        assert np.isfinite(axes.get_ylim()).all()


def spectra_of_nothing(group):
    zeros = np.zeros_like(group.noise)
    return replace(group, signal=zeros, ssnr=zeros, wiener=zeros)


def test_all_plots_fit_on_a_page(run):
    figure = Figure((13, 8))
    spectra.draw(figure, spectra.Spectra.of_run(run), style=style.DARK)
    figure.canvas.draw()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [plot.title for plot in spectra.PLOTS.values()]


def test_runs_of_ml2d_have_none(made):
    with pytest.raises(UserError, match=r"iter_noise\.xmd: no such file"):
        spectra.Spectra.of_run(made[0], 1)
    with pytest.raises(UserError, match=r"nowhere_noise\.xmd: no such file"):
        spectra.Spectra.of_run(Run("nowhere_"))
