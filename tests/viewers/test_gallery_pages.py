"""The gallery's pages of plots."""
import numpy as np
import pytest
from PyQt5.QtCore import Qt
from PyQt5.QtGui import QImage
from PyQt5.QtTest import QTest

from mlalign.tests.viewers.fabricate import make_run, write_result


def test_convergence_page_has_all_plots(made, open_window):
    window = open_window(made[0].classes_file(), "--plots")
    titles = [axes.get_title(loc="left") for axes in window.convergence.canvas.figure.axes]
    assert len(titles) == 9 and titles[0] == "Log-likelihood"


def test_convergence_follows_a_run(tmp_path, references, open_window):
    run, rows = make_run(tmp_path, references, 40, iterations=2, final=False)
    window = open_window(run.classes_file(), "--plots")
    write_result(run, 3, references, rows)
    window.poll()
    assert len(window.convergence.canvas.figure.axes[0].lines[0].get_xdata()) == 3


# ---- spectra

@pytest.fixture
def spectra_window(tmp_path, references, open_window):
    """The page of spectra of a run of two iterations: (window, run, rows)."""
    run, rows = make_run(tmp_path, references, 40, iterations=2, final=False, groups=3)
    window = open_window(run.classes_file())
    QTest.mouseClick(window.top.pages.group.button(2), Qt.LeftButton)
    return window, run, rows


def spectra_shown(window):
    """(iteration that the page names, data of the first noise curve)"""
    axes = window.spectra.canvas.figure.axes[0]
    return axes.get_title(loc="right"), axes.lines[0].get_ydata()


def test_spectra_follow_the_slider(spectra_window):
    window, run, _ = spectra_window
    assert window.spectra.isVisible() and window.iterations.isVisible() and not window.status.isVisible()
    for iteration in (1, 2):
        window.iterations.slider.setValue(iteration - 1)
        title, noise = spectra_shown(window)
        assert title == f"iteration {iteration}"
        np.testing.assert_array_equal(noise, run.spectra(iteration)[0].noise)
    assert len(window.spectra.canvas.figure.axes) == 4


def test_spectra_are_live(spectra_window, references):
    window, run, rows = spectra_window
    window.iterations.follow.setChecked(True)
    write_result(run, 3, references, rows, groups=3)
    window.poll()
    assert spectra_shown(window)[0] == "iteration 3"
    window.iterations.follow.setChecked(False)
    write_result(run, 4, references, rows, groups=3)
    window.poll()
    assert spectra_shown(window)[0] == "iteration 3"
    development = window.spectra.canvas.figure.axes[3].get_legend().get_texts()
    assert [text.get_text() for text in development] == ["1", "2", "3", "4"]


def test_spectra_that_are_missing_are_told(spectra_window):
    window, run, _ = spectra_window
    (run.classes_file(1).parent / "iter_noise.xmd").unlink()
    window.iterations.slider.setValue(0)
    assert not window.spectra.canvas.isVisible() and "no such file" in window.spectra.empty.text()
    window.iterations.slider.setValue(1)
    assert window.spectra.canvas.isVisible()


def test_no_page_of_spectra_for_ml2d(made, open_window):
    window = open_window(made[0].classes_file())
    assert [button.text() for button in window.top.pages.group.buttons()] == ["Classes", "Convergence"]
    assert "Picture of the spectra…" not in [action.text() for action in window.top.save.menu().actions()]


def test_saves_the_pictures_of_the_pages_as_large_as_they_are_seen(spectra_window, tmp_path, monkeypatch):
    window, _, _ = spectra_window
    window.set_page(0)
    monkeypatch.setattr("PyQt5.QtWidgets.QFileDialog.getSaveFileName",
                        lambda parent, title, name, kinds: (str(tmp_path / name), kinds))
    for action in window.top.save.menu().actions()[2:]:
        action.trigger()
    for name in ("convergence.png", "spectra.png"):
        image = QImage(str(tmp_path / name))
        assert image.size() == window.pages.size() * image.devicePixelRatio()
