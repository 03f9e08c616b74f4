"""Choosing classes by a threshold, and making subsets of them in a Scipion project."""
import sys

import numpy as np
import pytest
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest

from mlalign.programs.ranking import THRESHOLD, rank
from mlalign.programs.results import FINAL
from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.fabricate import make_run
from mlalign.tests.viewers.test_gallery import chosen, press, shown, wait_until


def judge_by(window, key):
    window.strip.column.setCurrentIndex(window.strip.column.findData(key))
    window.strip.column.activated.emit(window.strip.column.currentIndex())
    settle(window)


def rejected(window):
    return {int(window.pictures.refs[item]) for item in window.model.rejected}


@pytest.fixture
def window(made, open_window):
    """A window with the strip open, by sizes."""
    window = open_window(made[0].classes_file())
    window.selection.by_score.click()
    judge_by(window, "particles")
    return window


# ---- by a threshold

def test_begins_with_the_score_and_the_usual_threshold(made, open_window):
    window = open_window(made[0].classes_file())
    window.selection.by_score.click()
    settle(window)
    ranking = rank(made[0])
    assert window.strip.isVisible() and window.strip.column.currentText() == "Score"
    assert set(chosen(window)) == set(ranking.refs[ranking.score >= THRESHOLD])
    assert window.pictures.columns["score"].values == pytest.approx(ranking.score)
    numbers = dict(window.pictures.numbers(2))
    assert numbers["Score"] == f"{ranking.of(3):.2f}"
    assert f"signal {ranking.parts['signal'][2]:.2f}" in numbers["made of"]


def test_what_both_the_order_and_the_threshold_need_is_computed_once(made, open_window, monkeypatch):
    window, computed = open_window(made[0].classes_file()), []
    monkeypatch.setattr("mlalign.programs.ranking.rank", lambda *run: computed.append(run) or rank(*run))
    window.selection.by_score.click()
    window.set_sort("score", True)
    settle(window)
    scores = window.pictures.columns["score"].values
    assert len(computed) == 1 and (np.diff(scores[np.array(shown(window)) - 1]) <= 0).all()
    assert set(chosen(window)) == set(1 + np.flatnonzero(scores >= THRESHOLD))


def test_each_step_of_the_slider_rejects_the_smallest_left(made, window):
    sizes = made[0].classes()["classCount"]
    order = [int(ref) for ref in 1 + np.argsort(sizes, kind="stable")]
    for step in (0, 2, 3, 1):
        window.strip.slider.setValue(step)
        assert rejected(window) == set(order[:step]) and set(chosen(window)) == set(order[step:])
    assert sizes[order[3] - 1] == sizes[order[4] - 1]
    window.strip.slider.setValue(4)        # those of one size go together
    assert rejected(window) == set(order[:3])
    window.strip.slider.setValue(1)
    assert window.strip.label.text() == f"≥ {sizes[order[1] - 1]:,}  ·  keeps 5, rejects 1"
    assert window.status.text().startswith("5 of 6 selected")


def test_what_is_better_smaller_is_kept_when_it_is_small(made, window):
    judge_by(window, "resolution")
    window.strip.slider.setValue(3)
    worst = np.argsort(-made[0].classes()["resolution"])[:3] + 1
    assert rejected(window) == set(worst) and window.strip.label.text().startswith("≤ ")


def test_the_threshold_stays_at_other_iterations_and_with_other_filters(made, window):
    window.strip.slider.setValue(3)
    threshold = window.strip.threshold
    window.iterations.slider.setValue(1)
    settle(window)
    small = made[0].classes(2)["ref"][made[0].classes(2)["classCount"] < threshold]
    assert window.strip.threshold == threshold and rejected(window) == set(small)
    window.set_filter("1-3")
    assert set(chosen(window)) == {1, 2, 3} - set(small)
    assert window.strip.label.text().endswith(f"keeps {len(chosen(window))}, rejects {len({1, 2, 3} & set(small))}")


def test_escape_ends_it_and_keeps_the_selection(window):
    window.strip.slider.setValue(2)
    before = chosen(window)
    QTest.keyClick(window.strip.slider, Qt.Key_Escape)
    assert not window.strip.isVisible() and not window.selection.by_score.isChecked()
    assert chosen(window) == before and not window.model.rejected


def test_rejected_cards_are_dimmed(window):
    def brightest(item):
        row = list(window.model.order).index(item)
        window.view.scrollTo(window.model.index(row))
        area = window.view.visualRect(window.model.index(row)).adjusted(10, 10, -10, -50)
        image = window.view.viewport().grab(area).toImage()
        return max(image.pixelColor(x, y).value() for x in range(0, image.width(), 3)
                   for y in range(0, image.height(), 3))

    window.view.clearSelection()
    last = int(window.model.order[-1])
    before = brightest(last)
    window.model.set_rejected([last])
    assert brightest(last) < 0.5 * before


# ---- the bar

def test_all_none_and_the_others(made, open_window):
    window = open_window(made[0].classes_file())
    order = shown(window)
    actions = {action.text().split("\t")[0]: action for button in [window.selection]
               for menu in button.findChildren(type(window.top.save.menu())) for action in menu.actions()}
    actions["All"].trigger()
    assert chosen(window) == order
    actions["None"].trigger()
    assert chosen(window) == []
    window.view.select_items([order[0] - 1, order[2] - 1])
    press(window, Qt.Key_I, Qt.ControlModifier)
    assert chosen(window) == [order[1], *order[3:]]
    actions["The others"].trigger()
    assert chosen(window) == [order[0], order[2]]


def test_selecting_thousands_takes_one_step_for_each_stretch(made, open_window):
    window = open_window(made[0].classes_file())
    window.model.set_order(np.arange(6).repeat(1000))
    calls = []
    window.view.selectionModel().selectionChanged.connect(lambda *_: calls.append(1))
    window.view.selectAll()
    assert len(calls) == 1 and len(window.view.selected_items()) == 6000
    assert len(window.view.selectionModel().selection()) == 1


# ---- subsets

def test_no_subsets_without_a_project(made, open_window):
    assert not open_window(made[0].classes_file()).selection.subset.isVisible()


@pytest.fixture
def with_project(made, open_window):
    return open_window(made[0].classes_file(), "--project", "some/project", "--protocol", "42")


def test_the_command_that_makes_a_subset(with_project):
    window = with_project
    assert (window.project, window.protocol_id) == ("some/project", 42)
    expected = ["-m", "mlalign.subset", "--project", "some/project", "--protocol", "42", "--kind", "particles",
                "--classes", "1,4,7", "--iteration"]
    assert window.subsets.command("particles", [1, 4, 7], FINAL) == [*expected, "final"]
    assert window.subsets.command("particles", [1, 4, 7], 3) == [*expected, "3"]


def test_the_menu_makes_subsets_of_the_chosen_classes_of_the_iteration_shown(with_project, monkeypatch):
    window, made = with_project, []
    monkeypatch.setattr(window.subsets, "make", lambda *arguments: made.append(arguments))
    window.view.clearSelection()
    assert not window.selection.subset.isEnabled()
    window.iterations.slider.setValue(1)
    window.view.select_items([1, 3])
    assert window.selection.subset.isEnabled()
    actions = window.selection.subset.menu().actions()
    assert actions[0].text() == "2 classes with their particles" and actions[2].text() == "Their averages"
    assert actions[1].text() == f"Their {window.pictures.columns['particles'].values[[1, 3]].sum():,.0f} particles"
    for action in actions:
        action.trigger()
    assert made == [(kind, [2, 4], 2) for kind in ("classes", "particles", "averages")]


def test_the_answer_is_told_and_the_window_does_not_wait(with_project, monkeypatch):
    window = with_project
    for code, told, problem in (
            ("print('working'); print('Created a subset.')", "Created a subset.", False),
            ("import sys; print('mlalign.subset: error: no such protocol', file=sys.stderr); sys.exit(2)",
             "mlalign.subset: error: no such protocol", True),
            ("import sys; sys.exit(3)", "mlalign.subset ended with exit status 3", True)):
        monkeypatch.setattr(window.subsets, "command", lambda *_, code=code: ["-c", f"input(); {code}"])
        window.create_subset("classes", [1, 2])
        assert window.selection.message.text() == "Making a subset of 2 classes…"
        window.create_subset("classes", [1])
        assert "still being made" in window.selection.message.text()
        window.subsets.process.write(b"go on\n")
        wait_until(lambda told=told: window.selection.message.text() == told, 20)
        assert window.selection.message.objectName() == ("problem" if problem else "muted")


def test_a_program_that_cannot_start_is_told(with_project, monkeypatch):
    monkeypatch.setattr(sys, "executable", "nowhere/python")
    with_project.create_subset("classes", [1])
    wait_until(lambda: "cannot start nowhere/python" in with_project.selection.message.text())


def test_scores_of_a_run_that_goes_on_are_those_of_the_iteration_shown(tmp_path, references, open_window):
    run, _ = make_run(tmp_path, references, 60, iterations=3, final=False)
    window = open_window(run.classes_file())
    window.set_sort("score", True)
    settle(window)
    for iteration in (3, 1):
        window.iterations.slider.setValue(iteration - 1)
        settle(window)
        scores = rank(run, iteration).score
        assert (np.diff(scores[np.array(shown(window)) - 1]) <= 0).all()
        assert window.pictures.caption(0).right == (f"{scores[0]:.2f}",)
