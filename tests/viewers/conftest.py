"""A run with known members, and a Qt that needs no screen."""
import os
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest

from mlalign.programs.phantoms import phantoms
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.viewers.fabricate import make_run

REFERENCES, SIZE = 6, 48


def settle(window, seconds=10):
    """Wait until nothing is read or computed any more, in the window's details or for the whole of it."""
    from PyQt5.QtTest import QTest
    end = time.time() + seconds
    while (window.details.busy() or window.computing.busy or window.strip.busy()) and time.time() < end:
        QTest.qWait(5)


@pytest.fixture(scope="session")
def references():
    return phantoms(REFERENCES, SIZE)


@pytest.fixture(scope="session")
def made(tmp_path_factory, references):
    """(Run, columns of its particles): noise-free members, four iterations, a final result."""
    return make_run(tmp_path_factory.mktemp("run"), references)


@pytest.fixture(scope="session")
def tomo_made(tmp_path_factory):
    """(TomoRun, columns of its particles): three classes of 24 voxels, iterations 0 to 3, a final result."""
    return tomo_fabricate.make_run(tmp_path_factory.mktemp("tomo"), species=3, count=40, iterations=3)


@pytest.fixture(scope="session")
def application():
    from mlalign.viewers.gallery.app import make_application
    return make_application()


@pytest.fixture
def close_figures():
    """Plots in Scipion's windows are closed after the test."""
    yield
    from matplotlib import pyplot
    pyplot.close("all")


@pytest.fixture
def open_window(application):
    """Open the window for arguments of ``mlalign view``; it is closed after the test."""
    from PyQt5.QtTest import QTest

    from mlalign.viewers.gallery import app
    opened = []

    def open_it(*arguments):
        window = app.open_window(app.parser().parse_args([str(argument) for argument in arguments]))
        opened.append(window)
        window.show()
        QTest.qWait(1)
        window.details.refresh()
        settle(window)
        return window

    yield open_it
    for window in opened:
        window.close()
        window.deleteLater()
