"""The gallery's filter: what a line lets through, against conditions written out in NumPy."""
import numpy as np
import pytest
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest

from mlalign.programs.errors import UserError
from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.test_gallery import chosen, shown
from mlalign.viewers.gallery import filters
from mlalign.viewers.gallery.classes import open_pictures


@pytest.fixture(scope="module")
def pictures(made):
    return open_pictures(made[0].classes_file())[0]


def let_through(pictures, text):
    return filters.matching(pictures, text).tolist()


CONDITIONS = {
    "size > 30": "particles > 30", "Particles >= 30": "particles >= 30", "particles < 0.05k": "particles < 50",
    "res <= 15 Å": "resolution <= 15", "share > 20 %": "share > 0.2", "share > 20": "share > 0.2",
    "mirrored<50%": "mirror < 0.5", "signal change < 1e-2": "change < 0.01",
    "size > 20 resolution < 15": "(particles > 20) & (resolution < 15)",
    "size > 20, resolution < 15": "(particles > 20) & (resolution < 15)",
    "size > 60 or size < 20 and resolution < 15": "(particles > 60) | ((particles < 20) & (resolution < 15))",
    "(size > 60 or size < 20) and resolution < 15": "((particles > 60) | (particles < 20)) & (resolution < 15)",
    "not size > 30": "~(particles > 30)", "number != 2": "number != 2", "2-4": "(number >= 2) & (number <= 4)",
    "1, 3-4": "(number == 1) | (number == 3) | (number == 4)", "5": "number == 5", "'Class 2'": "number == 2",
    "2-5 size > 20": "(number >= 2) & (number <= 5) & (particles > 20)", "nowhere": "number < 0",
    "ml2d_classes.mrcs": "number > 0", "": "number > 0", "id = 3": "number == 3", "size ≥ 30": "particles >= 30",
}


@pytest.mark.parametrize("text", CONDITIONS)
def test_lets_through_what_it_says(made, pictures, text):
    table = made[0].classes()
    particles = table["classCount"]
    known = {"number": table["ref"], "particles": particles, "share": particles / particles.sum(),
             "resolution": table["resolution"], "mirror": table["mirrorFraction"],
             "change": table["signalChange"] / 1000}
    assert let_through(pictures, text) == eval(CONDITIONS[text], known).tolist()


@pytest.mark.parametrize("text, told", [
    ("siz > 4", "'siz' is no column; there are number, particles"), ("s > 4", "'s' could be several columns"),
    ("size >", "found 'the end' after size >, expected a number"), ("size > many", "found 'many' after size >"),
    ("(size > 3", "a bracket is not closed"), ("size > 3)", "')' is not expected there"),
    ("> 5", "found '>'"), ("2.5", "'2.5' is no number of an item"), ("size > 5 or", "the end"),
    ("\"open", "cannot read")])
def test_what_is_wrong_is_told_in_one_line(pictures, text, told):
    with pytest.raises(UserError, match=r"^filter: ") as error:
        filters.matching(pictures, text)
    assert told in str(error.value) and "\n" not in str(error.value)


def test_unknown_numbers_are_never_let_through(made):
    pictures = open_pictures(made[0].classes_file())[0]
    pictures.columns["resolution"].values[:] = np.nan
    assert not any(let_through(pictures, "resolution < 1000") + let_through(pictures, "resolution > 0"))
    assert not any(let_through(pictures, "resolution != 3"))


def test_says_which_columns_must_be_computed_first(made):
    pictures = open_pictures(made[0].classes_file())[0]
    assert filters.needed(pictures, "off centre < 3 and size > 5 or score > 0.3") == {"offCentre", "score"}
    pictures.column("offCentre")
    assert filters.needed(pictures, "off centre < 3 or similarity > 2") == {"similarity"}
    assert filters.needed(pictures, "siz > 3") == filters.needed(pictures, "\"open") == set()


# ---- in the window

def enter(window, text):
    window.gridbar.filter.clear()
    QTest.keyClicks(window.gridbar.filter, text)
    QTest.keyClick(window.gridbar.filter, Qt.Key_Return)
    settle(window)


def test_the_window_shows_only_those_in_order_and_keeps_the_selection(made, open_window):
    window = open_window(made[0].classes_file())
    window.view.selectAll()
    everything = shown(window)
    sizes = dict(zip(made[0].classes()["ref"], made[0].classes()["classCount"]))
    enter(window, "size > 30")
    expected = [ref for ref in everything if sizes[ref] > 30]
    assert 1 < len(expected) < len(everything)
    assert shown(window) == chosen(window) == expected
    assert window.gridbar.shown.text() == f"{len(expected)} of 6"
    window.set_sort("number", False)
    assert shown(window) == sorted(expected)
    window.iterations.slider.setValue(0)
    assert shown(window) == sorted(expected)
    QTest.keyClick(window.gridbar.filter, Qt.Key_Escape)
    assert len(shown(window)) == 6 and window.gridbar.shown.text() == "" and window.view.hasFocus()


def test_a_wrong_filter_is_told_and_leaves_everything(made, open_window):
    window = open_window(made[0].classes_file())
    enter(window, "siz > 30")
    assert len(shown(window)) == 6 and "'siz' is no column" in window.gridbar.problem.text()
    assert window.gridbar.problem.isVisible() and window.gridbar.filter.property("wrong")
    enter(window, "size > 0")
    assert not window.gridbar.problem.isVisible() and not window.gridbar.filter.property("wrong")


def test_what_must_be_computed_is_waited_for(made, open_window):
    window = open_window(made[0].classes_file())
    enter(window, "off centre < 1")
    values = window.pictures.columns["offCentre"].values
    assert sorted(shown(window)) == list(np.flatnonzero(values < 1) + 1)


def test_letters_go_into_the_filter_and_not_to_the_window(made, open_window):
    window = open_window(made[0].classes_file())
    QTest.keyClick(window.view, Qt.Key_F, Qt.ControlModifier)
    assert window.gridbar.filter.hasFocus()
    QTest.keyClicks(window.gridbar.filter, "pc")
    assert window.gridbar.filter.text() == "pc" and not window.iterations.playing and not window.pictures.centred
