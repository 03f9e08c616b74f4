"""The members of a class in the gallery: which of them are read, in what order they come, through which filter."""
import time

import numpy as np
from PyQt5.QtCore import Qt
from PyQt5.QtTest import QTest

from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.test_gallery import press, wait_until


def test_of_all_members_only_those_in_view_are_read(made, open_window, monkeypatch):
    window = open_window(made[0].classes_file())
    pane, read = window.details.members, set()
    total = len(pane.members)
    assert total > 48 and pane.model.rowCount() == total and pane.count.text() == f"{total:,}"
    pane.view.set_size(100)
    monkeypatch.setattr(pane.members, "image", lambda item: read.add(item) or np.zeros((8, 8)))
    pane.model.set_levels((0, 1))
    wait_until(lambda: pane.model.pixmap(0, pane.view.shown) is not None)
    QTest.qWait(50)
    rows = -(-pane.view.viewport().height() // pane.view.gridSize().height()) + 1
    assert 0 in read and total - 1 not in read and len(read) <= rows * pane.view.columns() < total
    pane.view.scrollToBottom()
    wait_until(lambda: total - 1 in read)
    assert len(read) < total


def test_members_scrolled_past_are_not_read(made, open_window, monkeypatch):
    window = open_window(made[0].classes_file())
    pane, read = window.details.members, []

    def slow(item):
        read.append(item)
        time.sleep(0.02)
        return np.zeros((8, 8))

    monkeypatch.setattr(pane.members, "image", slow)
    pane.view.set_size(130)
    pane.model.set_levels((0, 1))
    scroll = pane.view.verticalScrollBar()
    QTest.qWait(1)
    for place in np.linspace(0, scroll.maximum(), 12).astype(int):
        scroll.setValue(int(place))
        pane.view.viewport().repaint()
    wait_until(lambda: len(pane.members) - 1 in read)
    page = (-(-pane.view.viewport().height() // pane.view.gridSize().height()) + 1) * pane.view.columns()
    assert len(read) <= page + 24 < len(pane.members)


def test_members_by_their_scores(made, open_window):
    window = open_window(made[0].classes_file())
    pane = window.details.members
    assert [pane.sort.itemText(place) for place in range(pane.sort.count())] == [
        "as read", "best probability", "worst probability", "best likelihood", "worst likelihood"]
    for place, label, sign in ((1, "pMax", -1), (4, "logLikelihood", 1)):
        pane.sort.setCurrentIndex(place)
        pane.sort.activated.emit(place)
        assert (np.diff(sign * pane.members.columns[label].values[pane.model.order]) >= 0).all()
    press(window, Qt.Key_Right)
    window.details.refresh()
    settle(window)
    assert pane.sort.currentText() == "worst likelihood"
    assert (np.diff(pane.members.columns["logLikelihood"].values[pane.model.order]) >= 0).all()


def test_member_thumbnails_are_read_aside_and_arrive(made, open_window):
    window = open_window(made[0].classes_file())
    pane = window.details.members
    wait_until(lambda: pane.model.pixmap(0, pane.view.shown) is not None)


def test_filter_of_members(made, open_window):
    window = open_window(made[0].classes_file())
    pane = window.details.members
    assert [pane.filter.itemText(i) for i in range(4)] == \
        ["unfiltered", "LP 12 Å", "LP 24 Å", "LP 48 Å"]
    pane.filter.setCurrentIndex(3)
    assert pane.members.period == 16
    press(window, Qt.Key_Right)
    window.details.refresh()
    assert pane.filter.currentIndex() == 3 and pane.members.period == 16
