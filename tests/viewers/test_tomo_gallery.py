"""The gallery's window for classes of volumes, driven as a user does."""
import csv
import subprocess
import sys

import numpy as np
import pytest
from PyQt5.QtCore import QPoint, QPointF, Qt
from PyQt5.QtGui import QImage, QWheelEvent
from PyQt5.QtTest import QTest
from PyQt5.QtWidgets import QLabel

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import read_volume, write_volume
from mlalign.programs.geometry3d import rotation_matrix
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.results import FINAL
from mlalign.tests.programs.tomo_fabricate import PIXEL, make_run, write_result
from mlalign.tests.viewers.test_gallery import chosen, click, press, shown, wait_until
from mlalign.viewers.gallery import export
from mlalign.viewers.tomo import planes


@pytest.fixture
def window(tomo_made, open_window):
    return open_window(tomo_made[0].classes_file())


def average(run, iteration, ref):
    return read_volume(run.average_path(iteration, ref))[0]


def sizes(run, iteration=FINAL):
    return run.classes(iteration)["classCount"]


# ---- opening, cards

def test_opens_sorted_by_size_with_the_largest_class_in_the_details(tomo_made, window):
    run, _ = tomo_made
    expected = list(1 + np.argsort(-sizes(run), kind="stable"))
    assert shown(window) == expected and chosen(window) == [expected[0]]
    assert window.details.heading.text() == f"Class {expected[0]}"
    assert window.top.subtitle.text() == "3 classes, 40 particles, 24 px, 10 Å/px"
    caption = window.pictures.caption(expected[0] - 1)
    resolution = run.classes()["resolution"][expected[0] - 1]
    assert caption.right == (f"{resolution:.1f} Å",) and caption.below[1] == f"{sizes(run).max()}"


def test_sorts_by_resolution(tomo_made, window):
    run, _ = tomo_made
    window.top.sort.setCurrentIndex(window.top.sort.findData("resolution"))
    window.top.sort.activated.emit(window.top.sort.currentIndex())
    assert (np.diff(run.classes()["resolution"][np.array(shown(window)) - 1]) >= 0).all()


def test_cards_show_slices_or_projections(tomo_made, window):
    run, _ = tomo_made
    volume = average(run, FINAL, 2)
    np.testing.assert_array_equal(window.pictures.image(1), np.hstack(planes.central_slices(volume)))
    before = window.model.pixmap(1, 48).toImage()
    assert (before.width(), before.height()) == (144, 48)
    press(window, Qt.Key_V)
    np.testing.assert_allclose(window.pictures.image(1), np.hstack(planes.projections(volume)), rtol=1e-5)
    assert window.views.group.checkedId() == 1 and window.model.pixmap(1, 48).toImage() != before
    QTest.mouseClick(window.views.group.button(0), Qt.LeftButton)
    assert window.model.pixmap(1, 48).toImage() == before


def test_contrast_together_or_each(tomo_made, window):
    together = window.model.levels
    assert together == window.pictures.levels()
    window.set_contrast(True)
    assert window.model.levels is None
    window.details.refresh()
    low, high = window.details.ortho.levels
    central = np.hstack(planes.central_slices(window.details.ortho.volume))
    assert (low, high) == pytest.approx(tuple(np.percentile(central, (0.2, 99.8))))


@pytest.mark.parametrize("size", [40, 70, 120, 300])
def test_cards_are_three_times_as_wide_as_high_at_any_size(window, size):
    window.view.set_size(size)
    QTest.qWait(1)
    first, second = (window.view.visualRect(window.model.index(row)) for row in (0, 1))
    assert (first.y() == second.y()) == (window.view.columns() > 1)
    card = window.view.delegate.card_size(window.view.shown)
    assert card.width() - 20 == 3 * window.view.shown and window.view.shown >= window.view.size


def test_keyboard_and_clicks(window):
    order = shown(window)
    press(window, Qt.Key_Right)
    assert chosen(window) == [order[1]]
    click(window, 2)
    assert chosen(window) == [order[2]]
    before = window.view.size
    press(window, Qt.Key_Plus)
    assert window.view.size > before
    press(window, Qt.Key_Escape)
    assert chosen(window) == []


# ---- slices

def displayed(window):
    return [pane.image for pane in window.details.ortho.panes]


def test_sliders_scroll_through_the_volume(tomo_made, window):
    run, _ = tomo_made
    volume, ortho = average(run, FINAL, chosen(window)[0]), window.details.ortho
    for image, expected in zip(displayed(window), planes.central_slices(volume)):
        np.testing.assert_array_equal(image, expected)
    for slider, index in zip(ortho.sliders, (3, 5, 20)):
        assert slider.maximum() == 23
        slider.setValue(index)
    for image, expected in zip(displayed(window), (volume[3], volume[:, 5], volume[:, :, 20])):
        np.testing.assert_array_equal(image, expected)
    assert [label.text() for label in ortho._labels] == ["z  3", "y  5", "x  20"]
    assert ortho.panes[0].pixel_size == PIXEL
    QTest.mouseDClick(ortho._labels[2], Qt.LeftButton)
    assert ortho.centre == [3, 5, 12]


def test_a_click_moves_the_other_slices_there(window):
    ortho, pane = window.details.ortho, window.details.ortho.panes[1]      # xz
    window.grab()                                                           # the pane knows where its image is
    target = pane._target
    place = target.topLeft() + QPointF(7.5 / 24 * target.width(), 18.5 / 24 * target.height())
    QTest.mouseClick(pane, Qt.LeftButton, Qt.NoModifier, place.toPoint())
    assert ortho.centre == [18, 12, 7]
    outside = target.bottomRight().toPoint() + QPoint(4, 4)
    QTest.mouseClick(pane, Qt.LeftButton, Qt.NoModifier, outside)
    assert ortho.centre == [23, 12, 23]


def test_the_wheel_scrolls_one_slice_and_stops_at_the_end(window):
    ortho, pane = window.details.ortho, window.details.ortho.panes[2]      # yz
    up, down = (QWheelEvent(QPointF(5, 5), QPointF(5, 5), QPoint(), QPoint(0, angle), Qt.NoButton, Qt.NoModifier,
                            Qt.NoScrollPhase, False) for angle in (120, -120))
    pane.wheelEvent(up)
    assert ortho.centre == [12, 12, 13]
    for _ in range(20):
        pane.wheelEvent(down)
    assert ortho.centre == [12, 12, 0]


def test_what_is_bright_is_seen_where_it_is(tmp_path, open_window):
    """A blob at x = +6, y = -3, z = +2 from the origin: right of the middle of xy, and above it."""
    z, y, x = np.mgrid[:24, :24, :24] - 12
    write_volume(tmp_path / "blob.mrc", np.exp(-((x - 6) ** 2 + (y + 3) ** 2 + (z - 2) ** 2) / 4.0))
    window = open_window(tmp_path / "blob.mrc")
    window.details.ortho.move_to(0, 14)
    window.details.ortho.move_to(1, 9)
    window.details.ortho.move_to(2, 18)
    for pane, (right, down) in zip(window.details.ortho.panes, ((6, -3), (6, 2), (-3, 2))):
        pane.lines = None
        shot = pane.grab().toImage()
        target = pane._target
        bright = [(i, j) for i in range(3, 24) for j in range(3, 24)       # beside the name in the corner
                  if shot.pixelColor(int(target.x() + (i + 0.5) * target.width() / 24),
                                     int(target.y() + (j + 0.5) * target.height() / 24)).value() > 200]
        assert np.mean(bright, axis=0) - 12 == pytest.approx([right, down], abs=0.5)


def test_slices_stay_where_they_are_from_class_to_class(tomo_made, window):
    window.details.ortho.move_to(0, 5)
    press(window, Qt.Key_Right)
    window.details.refresh()
    np.testing.assert_array_equal(displayed(window)[0], average(tomo_made[0], FINAL, chosen(window)[0])[5])


# ---- what is known of a class

def test_fsc_orientations_and_coverage_of_the_class(tomo_made, window):
    run, rows = tomo_made
    ref = chosen(window)[0]
    frequency, correlation = window.details.fsc.curve
    np.testing.assert_allclose(frequency, run.fsc(FINAL, ref)[0] * PIXEL)
    np.testing.assert_array_equal(correlation, run.fsc(FINAL, ref)[1])
    members = rows["ref"] == ref                    # the final result is the truth
    expected = rotation_matrix(*(rows[label][members] for label in ("angleRot", "angleTilt", "anglePsi")))[:, :, 2]
    np.testing.assert_allclose(window.pictures.directions(ref - 1), expected, atol=1e-4)
    axes = window.details.drawn._canvas.figure.axes[0]
    assert sum(len(line.get_xdata()) for line in axes.lines) == members.sum()
    QTest.mouseClick(window.details.drawn.choice.group.button(1), Qt.LeftButton)
    image = window.details.drawn._canvas.figure.axes[0].images[1]
    np.testing.assert_array_equal(image.get_array(), read_volume(run.wedge_path(FINAL, ref))[0][12])


def test_numbers_of_the_class(tomo_made, window):
    run, _ = tomo_made
    item = chosen(window)[0] - 1
    numbers = dict(window.pictures.numbers(item))
    assert numbers["Particles"] == str(sizes(run)[item])
    assert numbers["Fraction"] == f"{100 * run.classes()['weight'][item]:.1f} %"


def test_what_is_missing_is_said(tmp_path, open_window):
    run, _ = make_run(tmp_path, count=8, size=16, iterations=1)
    run.wedge_path(FINAL, 1).unlink()
    run.images_file().unlink()
    (tmp_path / "out" / "mltomo.fsc").unlink()
    window = open_window(run.classes_file())
    window.view.select_items([0], 0)
    window.details.refresh()
    drawn = window.details.drawn
    assert window.details.fsc.curve is None and drawn._empty.text() == "no orientations"
    QTest.mouseClick(drawn.choice.group.button(1), Qt.LeftButton)
    assert drawn._stack.currentWidget() is drawn._empty and drawn._empty.text() == "no coverage"


def test_damaged_files_are_told_in_the_pane(tmp_path, open_window):
    run, _ = make_run(tmp_path, count=8, size=16, iterations=1)
    run.wedge_path(FINAL, 1).write_bytes(b"")
    (tmp_path / "out" / "mltomo.fsc").write_text("data_class_000009\nloop_\n_resolutionFRC\n1\n")
    window = open_window(run.classes_file())
    window.view.select_items([0], 0)
    window.details.refresh()
    assert window.details.fsc.curve is None and window.details.ortho.volume is not None
    assert any("no block data_class_000001" in text for text in texts_of(window.details.numbers))
    QTest.mouseClick(window.details.drawn.choice.group.button(1), Qt.LeftButton)
    assert "wedge000001.mrc" in window.details.drawn._empty.text()


def texts_of(pane):
    return [label.text() for label in pane.findChildren(QLabel)]


def test_an_average_that_has_gone_is_told(tmp_path, open_window):
    run, _ = make_run(tmp_path, count=8, size=16, iterations=1)
    window = open_window(run.classes_file())
    path = run.average_path(FINAL, 1)
    path.write_bytes(path.read_bytes()[:2000])
    window.pictures._strip.cache_clear()
    window.pictures.volume.cache_clear()
    window.pictures.source._file.cache_clear()
    window.view.select_items([0], 0)
    window.details.refresh()
    assert window.details.ortho.volume is None
    assert any("truncated" in text for text in texts_of(window.details.numbers))
    assert window.model.pixmap(0, 30).width() == 90


# ---- iterations and pages

def test_iterations_keep_the_choice_and_the_view(tomo_made, window):
    run, _ = tomo_made
    assert window.iterations.results == [0, 1, 2, 3, FINAL]
    press(window, Qt.Key_V)
    click(window, 1)
    ref = chosen(window)
    window.iterations.slider.setValue(1)
    assert window.pictures.iteration == 1 and chosen(window) == ref
    np.testing.assert_allclose(window.pictures.image(0), np.hstack(planes.projections(average(run, 1, 1))), rtol=1e-4)
    press(window, Qt.Key_Period)
    assert window.iterations.label.text() == "iteration 2 of 3"


def test_pages(tomo_made, window):
    run, _ = tomo_made
    assert [button.text() for button in window.top.pages.group.buttons()] == \
        ["Classes", "Convergence", "FSC", "Orientations", "Coverage"]
    for number, page in enumerate(window.plots, 1):
        QTest.mouseClick(window.top.pages.group.button(number), Qt.LeftButton)
        assert page.widget.isVisible() and page.widget.canvas.figure.axes
        assert window.iterations.isVisible() == (page.name != "Convergence")
    window.iterations.slider.setValue(2)
    image = window.coverage.canvas.figure.axes[0].images[1]
    np.testing.assert_array_equal(image.get_array(), read_volume(run.wedge_path(2, 1))[0][12])


def test_convergence_page_has_all_plots(tomo_made, open_window):
    window = open_window(tomo_made[0].classes_file(), "--plots")
    titles = [axes.get_title(loc="left") for axes in window.convergence.canvas.figure.axes]
    assert len(titles) == 9 and "Angular change" in titles


def test_follows_a_run_that_goes_on(tmp_path, open_window):
    run, rows = make_run(tmp_path, count=8, size=16, iterations=1, final=False)
    window = open_window(run.classes_file(), "--follow")
    assert window.pictures.iteration == 1
    window._polling.setInterval(20)
    write_result(run, 2, phantoms3d(2, 16), rows)
    wait_until(lambda: window.pictures.iteration == 2)
    assert open_window(run.classes_file(0)).pictures.iteration == 0
    assert open_window(run.classes_file(), "--iterations", "0-1").iterations.results == [0, 1]


# ---- saving

def test_saves_a_picture_a_table_and_a_volume(tomo_made, window, tmp_path):
    run, _ = tomo_made
    export.save_picture(tmp_path / "gallery.png", window.view)
    image = QImage(str(tmp_path / "gallery.png"))
    columns, card = min(window.view.columns(), 3), window.view.delegate.card_size(window.view.shown)
    assert image.width() == columns * card.width() + 2 * export.MARGIN
    export.save_table(tmp_path / "classes.csv", window.pictures, window.model.order)
    with open(tmp_path / "classes.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["number"]) for row in table] == shown(window)
    window.pictures.save_volume(tmp_path / "copy.mrc", 1)
    volume, pixel_size = read_volume(tmp_path / "copy.mrc")
    np.testing.assert_array_equal(volume, average(run, FINAL, 2))
    assert pixel_size == pytest.approx(PIXEL)
    with pytest.raises(UserError, match="that is the volume itself"):
        window.pictures.save_volume(run.average_path(FINAL, 2), 1)


def test_the_menu_saves_what_is_shown(window, tmp_path, monkeypatch):
    monkeypatch.setattr("PyQt5.QtWidgets.QFileDialog.getSaveFileName",
                        lambda parent, title, name, kinds: (str(tmp_path / name), kinds))
    for action in window.top.save.menu().actions():
        action.trigger()
    expected = {"gallery.png", "classes.csv", "convergence.png", "fsc.png", "orientations.png", "coverage.png",
                f"class{chosen(window)[0]}.mrc", f"class{chosen(window)[0]}.png"}
    assert {path.name for path in tmp_path.iterdir()} == expected


# ---- speed

def test_the_first_paint_waits_for_no_plot(tomo_made):
    code = ("import sys\nfrom mlalign.viewers.gallery import app\n"
            "window = app.open_window(app.parser().parse_args(sys.argv[1:]))\n"
            "window.show()\nwindow.application.processEvents()\nwindow.grab()\nprint(*sys.modules)")
    loaded = subprocess.run([sys.executable, "-c", code, str(tomo_made[0].classes_file())], capture_output=True,
                            text=True, check=True).stdout.split()
    assert "mlalign.viewers.tomo.window" in loaded and not {"matplotlib", "pwem", "pyworkflow"} & set(loaded)
