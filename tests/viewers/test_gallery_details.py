"""The details of a class beyond its members: how their poses are spread, its iterations; and centring."""
import numpy as np
import pytest
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.results import FINAL
from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.fabricate import PIXEL, make_run, write_result
from mlalign.tests.viewers.test_gallery import chosen, click, press, wait_until
from mlalign.tests.viewers.test_imaging import blob
from mlalign.viewers.gallery import imaging


def set_page(window, page):
    QTest.mouseClick(window.details.particles.choice.group.button(page), Qt.LeftButton)
    settle(window)


def titles(pane):
    return [axes.get_title(loc="left") for axes in pane.canvas.figure.axes]


# ---- spread

def test_spread_of_the_members_of_all_chosen_classes(made, open_window):
    run, rows = made
    window = open_window(run.classes_file())
    set_page(window, 1)
    pane = window.details.particles.spread
    assert titles(pane) == ["Probability of the pose", "Log-likelihood", "Shift", "In-plane rotation"]
    click(window, 2, Qt.ControlModifier)
    settle(window)
    assert len(chosen(window)) == 2
    mine = np.isin(rows["ref"], chosen(window))
    assert pane.count.text() == f"{mine.sum()} of 2 classes"
    for label in ("pMax", "logLikelihood", "shiftX", "anglePsi", "flip"):
        assert sorted(pane.columns[label]) == pytest.approx(sorted(rows[label][mine]))
    drawn = [sum(bar.get_height() for bar in axes.patches) for axes in pane.canvas.figure.axes]
    assert drawn == [mine.sum()] * 4
    bars = [bar.get_height() for bar in pane.canvas.figure.axes[3].patches]
    assert sum(bars[len(bars) // 2:]) == rows["flip"][mine].sum()       # mirrored ones are told apart


def test_tables_of_poses_are_read_only_for_the_page_looked_at(made, open_window, monkeypatch):
    window = open_window(made[0].classes_file())
    monkeypatch.setattr("mlalign.viewers.gallery.spread.draw", lambda *_: None)
    read = []
    kind = type(window.pictures)
    for name in ("particles", "members", "development"):
        method = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda self, items, name=name, method=method: read.append(name) or method(
            self, items))
    for page, name in enumerate(("members", "particles", "development")):
        set_page(window, page)
        read.clear()
        press(window, Qt.Key_Right)
        wait_until(lambda: not window.details.busy())
        assert set(read) == {name}


# ---- iterations

def test_the_class_at_every_iteration(made, open_window):
    run, _ = made
    window = open_window(run.classes_file())
    set_page(window, 2)
    pane, item = window.details.particles.development, chosen(window)[0] - 1
    assert pane.pictures.results == [1, 2, 3, 4, FINAL] and pane.view.selected_items() == [4]
    for place, result in enumerate(pane.pictures.results):
        np.testing.assert_array_equal(pane.pictures.image(place), window.pictures.at(result).image(item))
    resolution = run.classes(2)["resolution"][item]
    assert pane.pictures.caption(1)[:2] == ("2", (f"{resolution:.1f} Å",))
    pane.view.doubleClicked.emit(pane.model.index(1))
    assert window.pictures.iteration == 2 and window.iterations.label.text() == "iteration 2 of 4"


def test_iterations_that_are_broken_are_left_out(tmp_path, references, open_window):
    run, _ = make_run(tmp_path, references, 30, iterations=3)
    run.classes_file(2).write_text("data_classes\nloop_\n_ref\n_image\n1\n")
    window = open_window(run.classes_file())
    set_page(window, 2)
    assert window.details.particles.development.pictures.results == [1, 3, FINAL]


# ---- centring

@pytest.fixture
def off_centre(tmp_path, references, open_window):
    """A window on classes that are off their centres by known shifts: (window, shifts in px)."""
    shifts = [(6, 2), (-5, 4), (0, 0), (3, -8), (-4, -4), (1, 7)]
    averages = np.array([blob(48, *shift) + blob(48, shift[0] + 3, shift[1]) for shift in shifts], np.float32)
    run, rows = make_run(tmp_path, averages, 40, iterations=1)
    write_result(run, FINAL, averages, rows)
    return open_window(run.classes_file()), [(x + 1.5, y) for x, y in shifts]


def test_centred_averages_and_members(off_centre):
    window, shifts = off_centre
    members = window.details.members
    before = window.pictures.image(1)
    QTest.mouseClick(window.gridbar.centre, Qt.LeftButton)
    settle(window)
    for item, shift in enumerate(shifts):
        assert window.pictures.centre(item) == pytest.approx(shift, abs=0.3)
        assert imaging.bright_centre(window.pictures.image(item)) == pytest.approx((0, 0), abs=0.3)
    assert imaging.bright_centre(members.members.image(0)) == pytest.approx((0, 0), abs=0.5)
    x, y = window.pictures.centre(1)
    assert dict(window.pictures.numbers(1))["Moved by"] == \
        f"x {-x:+.1f}, y {-y:+.1f} px ({PIXEL * np.hypot(x, y):.1f} Å)"
    assert any(f"moved {PIXEL * np.hypot(x, y):.1f} Å" in text for text in window.pictures.caption(1).below)
    press(window, Qt.Key_C)
    settle(window)
    np.testing.assert_array_equal(window.pictures.image(1), before)
    assert "Moved by" not in dict(window.pictures.numbers(1))


def test_stays_centred_at_other_iterations(off_centre):
    window, _ = off_centre
    window.set_centred(True)
    window.iterations.slider.setValue(0)
    assert window.pictures.iteration == 1 and window.pictures.centred


def test_sorts_by_how_far_they_are_off_centre(off_centre):
    window, shifts = off_centre
    window.set_sort("offCentre", True)
    settle(window)
    lengths = np.hypot(*np.transpose(shifts))
    assert list(window.model.order) == list(np.argsort(-lengths, kind="stable"))
    assert window.pictures.columns["offCentre"].values == pytest.approx(PIXEL * lengths, abs=1)


def test_images_of_a_stack_are_centred_too(tmp_path, open_window):
    write_stack(tmp_path / "some.mrcs", np.array([blob(32, 5, 5), blob(32, -3, 1)], np.float32))
    window = open_window(tmp_path / "some.mrcs")
    window.set_centred(True)
    assert imaging.bright_centre(window.pictures.image(0)) == pytest.approx((0, 0), abs=0.3)


# ---- the scale

def test_the_scale_bar_is_as_long_as_it_says(made, open_window):
    window = open_window(made[0].classes_file())
    scale = window.gridbar.scale
    for size in (48, 120, 300):
        window.view.set_size(size)
        length, width = scale.length()
        assert width == pytest.approx(length / PIXEL * window.view.shown / 48) and width <= window.view.shown / 2
        assert f"{length:g}"[0] in "125"


def test_no_scale_without_a_pixel_size(tmp_path, open_window):
    write_stack(tmp_path / "some.mrcs", np.zeros((2, 16, 16), np.float32) + np.eye(16, dtype=np.float32))
    window = open_window(tmp_path / "some.mrcs")
    assert window.pictures.pixel_size is None and not window.gridbar.scale.isVisible()
