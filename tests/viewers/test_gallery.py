"""The gallery's window, driven as a user does."""
import csv
import shutil
import time

import numpy as np
import pytest
from PyQt5.QtCore import QPoint, Qt
from PyQt5.QtGui import QImage
from PyQt5.QtTest import QTest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.results import FINAL
from mlalign.tests.viewers.conftest import REFERENCES, settle
from mlalign.tests.viewers.fabricate import make_run, write_result
from mlalign.viewers.gallery import export


def shown(window):
    """Class numbers in the order shown."""
    return [int(window.pictures.refs[item]) for item in window.model.order]


def chosen(window):
    return [int(window.pictures.refs[item]) for item in window.view.selected_items()]


def press(window, key, modifier=Qt.NoModifier):
    QTest.keyClick(window.view, key, modifier)


def click(window, row, modifier=Qt.NoModifier):
    place = window.view.visualRect(window.model.index(row)).center()
    QTest.mouseClick(window.view.viewport(), Qt.LeftButton, modifier, place)


def wait_until(condition, seconds=5):
    end = time.time() + seconds
    while not condition() and time.time() < end:
        QTest.qWait(10)
    assert condition()


def counts(rows):
    return np.bincount(rows["ref"], minlength=REFERENCES + 1)[1:]


# ---- opening and sorting

def test_opens_sorted_by_size_with_the_largest_class_in_the_details(made, open_window):
    run, rows = made
    window = open_window(run.classes_file())
    expected = 1 + np.argsort(-counts(rows), kind="stable")
    assert shown(window) == list(expected)
    assert chosen(window) == [expected[0]]
    assert window.details.heading.text() == f"Class {expected[0]}"
    assert window.top.subtitle.text() == "6 classes, 200 particles, 48 px, 3 Å/px"


@pytest.mark.parametrize("key", ["number", "particles", "share", "resolution", "weight", "mirrorFraction",
                                 "signalChange"])
def test_sorts_by_every_column_both_ways(made, open_window, key):
    run, _ = made
    window = open_window(run.classes_file())
    window.top.sort.setCurrentIndex(window.top.sort.findData(key))
    window.top.sort.activated.emit(window.top.sort.currentIndex())
    labels = {"number": "ref", "particles": "classCount", "share": "classCount"}
    values = run.classes()[labels.get(key, key)][np.array(shown(window)) - 1]
    downward = key not in ("number", "resolution")
    assert (np.diff(values) <= 0 if downward else np.diff(values) >= 0).all()
    QTest.mouseClick(window.top.direction, Qt.LeftButton)
    values = run.classes()[labels.get(key, key)][np.array(shown(window)) - 1]
    assert (np.diff(values) >= 0 if downward else np.diff(values) <= 0).all()


def test_sorting_keeps_the_selection(made, open_window):
    window = open_window(made[0].classes_file())
    click(window, 1)
    click(window, 3, Qt.ControlModifier)
    before = set(chosen(window))
    window.set_sort("number", False)
    assert shown(window) == [1, 2, 3, 4, 5, 6]
    assert set(chosen(window)) == before


# ---- selection

def test_arrows_move_and_shift_extends(made, open_window):
    window = open_window(made[0].classes_file())
    order = shown(window)
    press(window, Qt.Key_Right)
    assert chosen(window) == [order[1]]
    press(window, Qt.Key_Right, Qt.ShiftModifier)
    press(window, Qt.Key_Right, Qt.ShiftModifier)
    assert chosen(window) == order[1:4]
    press(window, Qt.Key_Left, Qt.ShiftModifier)
    assert chosen(window) == order[1:3]
    press(window, Qt.Key_A, Qt.ControlModifier)
    assert chosen(window) == order
    press(window, Qt.Key_Escape)
    assert chosen(window) == []


def test_down_goes_one_row_further_and_right_wraps(made, open_window):
    window = open_window(made[0].classes_file())
    window.view.set_size(250)
    columns = window.view.columns()
    assert 1 < columns < REFERENCES
    press(window, Qt.Key_Down)
    assert window.view.currentIndex().row() == columns
    press(window, Qt.Key_Left)
    assert window.view.currentIndex().row() == columns - 1
    press(window, Qt.Key_Right)
    assert window.view.currentIndex().row() == columns


def test_clicks_with_shift_and_ctrl(made, open_window):
    window = open_window(made[0].classes_file())
    order = shown(window)
    click(window, 0)
    click(window, 2, Qt.ShiftModifier)
    assert chosen(window) == order[:3]
    click(window, 1, Qt.ControlModifier)
    assert chosen(window) == [order[0], order[2]]
    particles = counts(made[1])[np.array(chosen(window)) - 1].sum()
    assert window.status.text() == f"2 of 6 selected: {particles} particles ({particles / 2:.1f} %)"


# ---- zoom and contrast

def test_plus_and_minus_zoom(made, open_window):
    window = open_window(made[0].classes_file())
    before = window.view.size
    press(window, Qt.Key_Plus)
    assert window.view.size > before
    press(window, Qt.Key_Minus)
    assert window.view.size == pytest.approx(before, abs=1)
    window.top.slider.setValue(64)
    assert window.view.size == 64
    assert window.view.columns() > 6


@pytest.mark.parametrize("size", [40, 97, 200, 512])
def test_rows_are_full_at_any_size(application, made, open_window, size):
    window = open_window(made[0].classes_file())
    window.view.set_size(size)
    QTest.qWait(1)
    rows = [window.view.visualRect(window.model.index(row)).y() for row in range(REFERENCES)]
    assert rows.count(0) == min(window.view.columns(), REFERENCES)
    assert window.view.shown >= window.view.size


def test_contrast_each_or_together(tmp_path, references, open_window):
    write_stack(tmp_path / "two.mrcs", np.stack([references[0], 0.3 * references[0]]))
    window = open_window(tmp_path / "two.mrcs")

    def brightest(item):
        image = window.model.pixmap(item, 48).toImage()
        return max(image.pixelColor(x, y).value() for x in range(48) for y in range(48))

    assert brightest(0) == 255 and 0.25 * 255 < brightest(1) < 0.5 * 255
    window.set_contrast(True)
    assert brightest(0) == brightest(1) == 255


# ---- details

def test_details_show_the_class_and_its_frc(made, open_window):
    run, _ = made
    window = open_window(run.classes_file())
    press(window, Qt.Key_Right)
    ref = chosen(window)[0]
    wait_until(lambda: window.details.heading.text() == f"Class {ref}")
    np.testing.assert_allclose(window.details.image.image, window.pictures.image(ref - 1))
    assert window.details.image.pixel_size == 3
    frequency, correlation = window.details.frc.curve
    np.testing.assert_allclose(frequency, np.linspace(0, 0.5, len(frequency)))
    assert correlation[0] == pytest.approx(1, abs=0.05)


def test_members_are_those_of_the_class_and_look_like_it(made, open_window, references):
    run, rows = made
    window = open_window(run.classes_file())
    for item in range(REFERENCES):
        window.view.select_items([item], item)
        window.details.show_item(window.pictures, item)
        window.details.refresh()
        settle(window)
        members = window.details.members.members
        assert list(members.keys) == list(rows["itemId"][rows["ref"] == item + 1])
        members.period = 0
        for member in range(min(len(members), 8)):
            assert np.corrcoef(members.image(member).ravel(), references[item].ravel())[0, 1] > 0.95


def test_empty_class_says_so(tmp_path, references, open_window):
    run, rows = make_run(tmp_path, references, 30, iterations=1, final=False)
    rows["ref"] = np.where(rows["ref"] == 2, 1, rows["ref"])
    write_result(run, FINAL, references, rows)
    window = open_window(run.classes_file())
    window.view.select_items([1], 1)
    window.details.refresh()
    settle(window)
    assert window.details.members.count.text() == "none"
    assert window.pictures.caption(1).faded


def test_lost_particles_are_told_in_the_pane(tmp_path, references, open_window):
    run, _ = make_run(tmp_path, references, 30, iterations=1)
    (tmp_path / "particles.mrcs").unlink()
    window = open_window(run.classes_file())
    assert "no file" in window.details.members.problem.text()
    assert window.details.image.image is not None


# ---- iterations

def test_iteration_slider(made, open_window):
    run, _ = made
    window = open_window(run.classes_file())
    assert window.iterations.results == [1, 2, 3, 4, FINAL]
    assert window.iterations.label.text() == "final result"
    click(window, 2)
    ref = chosen(window)
    window.iterations.slider.setValue(1)
    assert window.pictures.iteration == 2
    assert window.iterations.label.text() == "iteration 2 of 4"
    assert chosen(window) == ref
    np.testing.assert_allclose(window.pictures.columns["resolution"].values, run.classes(2)["resolution"])
    press(window, Qt.Key_Period)
    assert window.pictures.iteration == 3


def test_play_runs_to_the_end_and_keeps_places(made, open_window):
    window = open_window(made[0].classes_file())
    window.iterations._timer.setInterval(20)
    window.set_sort("resolution", False)
    order = shown(window)
    QTest.mouseClick(window.iterations.play, Qt.LeftButton)
    assert window.pictures.iteration == 1 and window.iterations.playing
    seen = set()
    window.iterations.chosen.connect(seen.add)
    wait_until(lambda: not window.iterations.playing)
    assert seen == {2, 3, 4, FINAL}
    assert shown(window) == order


def test_opens_an_iteration_and_a_selection(made, open_window):
    run, _ = made
    assert open_window(run.classes_file(3)).pictures.iteration == 3
    window = open_window(run.classes_file(), "--iterations", "1,3-4")
    assert window.iterations.results == [1, 3, 4] and window.pictures.iteration == 4


def test_follows_a_run_that_goes_on(tmp_path, references, open_window):
    run, rows = make_run(tmp_path, references, 40, iterations=2, final=False)
    window = open_window(run.classes_file(), "--follow")
    assert window.pictures.iteration == 2
    window._polling.setInterval(20)
    write_result(run, 3, references, rows)
    wait_until(lambda: window.pictures.iteration == 3)
    window._polling.stop()
    window.iterations.follow.setChecked(False)
    write_result(run, 4, references, rows)
    window.poll()
    assert window.pictures.iteration == 3 and window.iterations.results == [1, 2, 3, 4]
    write_result(run, FINAL, references, rows)
    window.iterations.follow.setChecked(True)
    assert window.pictures.iteration is FINAL


def test_a_run_that_starts_anew(tmp_path, references, open_window):
    run, rows = make_run(tmp_path, references, 40, iterations=3)
    window = open_window(run.classes_file())
    shutil.rmtree(f"{run.oroot}extra")
    run.classes_file().unlink()
    window.poll()
    assert window.pictures.iteration is FINAL
    write_result(run, 1, references, rows)
    window.poll()
    assert window.pictures.iteration == 1 and window.iterations.label.text() == "iteration 1 of 1"


def test_a_broken_iteration_leaves_the_last_good_one(tmp_path, references, open_window):
    run, rows = make_run(tmp_path, references, 40, iterations=2, final=False)
    window = open_window(run.classes_file(), "--follow")
    write_result(run, 3, references, rows)
    run.classes_file(3).write_text("data_classes\nloop_\n_ref\n_image\n1\n")
    window.poll()
    assert window.pictures.iteration == 2
    assert "iter003/iter_classes.xmd, line 5" in window.iterations.message.text()


# ---- files that are no runs

def test_shows_a_stack_and_metadata(made, open_window):
    run, rows = made
    window = open_window(f"{run.oroot}classes.mrcs")
    assert window.model.rowCount() == REFERENCES and not window.iterations.isVisible()
    assert not window.details.members.isVisible()
    window = open_window(f"class000001_images@{run.classes_file()}")
    assert window.model.rowCount() == counts(rows)[0]
    window.set_sort("pMax", True)
    values = window.pictures.source.metadata["pMax"][window.model.order]
    assert (np.diff(values) <= 0).all()


# ---- saving

def test_saves_the_picture_of_all_thumbnails(made, open_window, tmp_path):
    window = open_window(made[0].classes_file())
    window.view.set_size(250)
    export.save_picture(tmp_path / "gallery.png", window.view)
    image = QImage(str(tmp_path / "gallery.png"))
    card, columns = window.view.gridSize(), window.view.columns()
    assert image.width() == columns * card.width() + 2 * export.MARGIN
    assert image.height() == -(-REFERENCES // columns) * card.height() + 2 * export.MARGIN
    last = QPoint(export.MARGIN + (REFERENCES - 1) % columns * card.width() + card.width() // 2,
                  image.height() - export.MARGIN - card.height() // 2 - 20)
    near = range(-60, 60, 5)
    assert max(image.pixelColor(last + QPoint(x, y)).value() for x in near for y in near) > 150


def test_saves_the_table_in_the_order_shown(made, open_window, tmp_path):
    run, rows = made
    window = open_window(run.classes_file())
    export.save_table(tmp_path / "classes.csv", window.pictures, window.model.order)
    with open(tmp_path / "classes.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [int(row["number"]) for row in table] == shown(window)
    assert [float(row["particles"]) for row in table] == sorted(counts(rows), reverse=True)
    assert float(table[0]["resolution"]) == pytest.approx(run.classes()["resolution"][shown(window)[0] - 1])


@pytest.mark.parametrize("name", ["gallery.xyz", "missing/gallery.png"])
def test_pictures_that_cannot_be_saved_are_told(made, open_window, tmp_path, name):
    window = open_window(made[0].classes_file())
    (tmp_path / "missing").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cannot write"):
        export.save_picture(tmp_path / name, window.view)
