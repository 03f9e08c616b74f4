"""The pages of plots: over the iterations, and of the spectra of one iteration."""
from typing import NamedTuple

from PyQt5.QtGui import QColor, QPalette
from PyQt5.QtWidgets import QLabel, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from ...programs.errors import UserError
from ...programs.mref_results import MrefRun
from ...programs.msa2d_results import Refine2dRun
from . import export, theme


def new_canvas():
    """An empty matplotlib canvas.  matplotlib is imported here, late: no first paint has to wait for it."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure
    canvas = FigureCanvasQTAgg(Figure())
    canvas.setPalette(QPalette(QColor(theme.WINDOW)))       # where a size in inches is rounded to a pixel less
    canvas.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Ignored)      # whatever size it happened to be drawn in
    return canvas


class Page(NamedTuple):
    """A page of the window: its button's text and tool tip, the :class:`PlotPage`, what is to be seen there.

    follows : whether it shows the iteration chosen, and not all of them alike
    """
    name: str
    tip: str
    widget: QWidget
    contents: str
    follows: bool = True


class PlotPage(QWidget):
    """A canvas, or a line that says why there is nothing to draw.

    draw: called with a figure, a run (see :mod:`mlalign.programs.results`), the iteration shown (or FINAL) and the
        iterations to show beside it (None: all); may raise :class:`UserError`
    """

    def __init__(self, draw, parent=None):
        super().__init__(parent)
        self.canvas, self._draw = None, draw
        self.empty = QLabel(objectName="empty")
        self.empty.setMargin(40)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self._stack)

    def save(self, path):
        """Write what was drawn as a picture; raises :class:`UserError`."""
        if self._stack.currentWidget() is self.canvas:
            export.save_figure(path, self.canvas.figure, self)
        else:
            export.save_widget(path, self)

    def show_result(self, run, iteration, only=None):
        """Draw the page anew."""
        if self.canvas is None:
            self.canvas = new_canvas()
            self._stack.addWidget(self.canvas)
            self.canvas.resize(self.size())         # as it will soon be: some plots are arranged by their room
        try:
            self._draw(self.canvas.figure, run, iteration, only)
        except UserError as error:
            self.empty.setText(str(error))
            return self._stack.setCurrentWidget(self.empty)
        self.canvas.draw_idle()
        self._stack.setCurrentWidget(self.canvas)


def draw_history(figure, run, iteration, only):
    """All plots of a run's history as it is now, whatever the iteration."""
    from .. import alignments, cycles, plots, style
    aligned, by_cycles = MrefRun.of_run(run), Refine2dRun.of_run(run)
    if by_cycles is not None:
        cycles.draw(figure, by_cycles.history(), style=style.DARK)
    elif aligned is None:
        plots.draw(figure, run.history(), style=style.DARK)
    else:
        alignments.draw(figure, aligned.history(), style=style.DARK)


def draw_poses(figure, run, iteration, only):
    """Where and how turned the particles lie at one iteration."""
    from .. import alignments, style
    alignments.draw_poses(figure, alignments.Poses.of_run(run, iteration), style=style.DARK)


def draw_map(figure, run, iteration, only):
    """The particles of refine2d along the first eigenimages of one cycle."""
    from .. import particle_map, style
    aligned = Refine2dRun.of_run(run)
    particle_map.draw(figure, particle_map.ParticleMap.of_run(aligned, iteration), ["map"], style.DARK)


def draw_spectra(figure, run, iteration, only):
    """The spectra of noise and signal at one iteration, and their development."""
    from .. import spectra, style
    spectra.draw(figure, spectra.Spectra.of_run(run, iteration, only), style=style.DARK)
