"""The page of plots over the iterations."""
from PyQt5.QtWidgets import QLabel, QStackedWidget, QVBoxLayout, QWidget

from ...programs.errors import UserError


def new_canvas():
    """An empty matplotlib canvas.  matplotlib is imported here, late: no first paint has to wait for it."""
    from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
    from matplotlib.figure import Figure
    return FigureCanvasQTAgg(Figure())


class ConvergencePage(QWidget):
    """All plots of a run's history, drawn when the page is looked at."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.canvas = None
        self._empty = QLabel(objectName="empty")
        self._empty.setMargin(40)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self._stack)

    def show_run(self, run):
        """Draw the history of a :class:`~mlalign.programs.results.Run` as it is now."""
        from .. import plots
        try:
            history = run.history()
        except UserError as error:
            self._empty.setText(str(error))
            return self._stack.setCurrentWidget(self._empty)
        plots.draw(self._figure(), history, style=plots.DARK)
        self.canvas.draw_idle()
        self._stack.setCurrentWidget(self.canvas)

    def _figure(self):
        if self.canvas is None:
            self.canvas = new_canvas()
            self._stack.addWidget(self.canvas)
        return self.canvas.figure
