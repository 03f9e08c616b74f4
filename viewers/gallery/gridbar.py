"""The bar right above the thumbnails: the filter, centring, and a bar that says how large things are."""
from PyQt5.QtCore import QRectF, QSize, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QColor, QFont, QPainter, QPen
from PyQt5.QtWidgets import QLabel, QLineEdit, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from . import theme
from .controls import bar
from .imaging import nice_length

WAIT = 250              # ms without a key after which a filter takes effect
SHARE = 0.5             # of a thumbnail's width that its scale bar has at most


class ScaleBar(QWidget):
    """A line as long as a round number of Å is in the thumbnails."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.pixel_size, self.size_px, self.shown = None, 1, 1
        self.setSizePolicy(QSizePolicy.Fixed, QSizePolicy.Fixed)
        self.setToolTip("Scale of the thumbnails")

    def show_scale(self, pixel_size, size, shown):
        """pixel_size: Å/px of the images or None; size: their side, px; shown: that of the thumbnails, px."""
        self.pixel_size, self.size_px, self.shown = pixel_size, size, shown
        self.setVisible(pixel_size is not None)
        self.updateGeometry()
        self.update()

    def length(self):
        """(Å, width in px) of the line"""
        per_point = self.pixel_size * self.size_px / self.shown
        length = nice_length(SHARE * self.shown * per_point)
        return length, length / per_point

    def sizeHint(self):
        return QSize(round(max(self.length()[1], 56)) + 8 if self.pixel_size else 0, 28)

    def paintEvent(self, event):
        if self.pixel_size:
            paint_scale(QPainter(self), QRectF(self.rect()), *self.length())


def paint_scale(painter, rect, length, width):
    """A line ``width`` px long in the middle of ``rect``, and above it the length in Å."""
    font = QFont(painter.font())
    font.setPixelSize(12)
    painter.setFont(font)
    painter.setPen(QPen(QColor(theme.MUTED)))
    painter.drawText(rect.adjusted(0, 0, 0, -8), Qt.AlignCenter, length_text(length))
    painter.fillRect(QRectF(rect.center().x() - width / 2, rect.bottom() - 7, width, 3), QColor(theme.INK))


def length_text(length):
    return f"{length:g} Å" if length < 1000 else f"{length / 10:g} nm"


class GridBar(QWidget):
    """The filter with how many it lets through, and what else concerns all thumbnails."""
    filtered = pyqtSignal(str)
    centred = pyqtSignal(bool)
    left = pyqtSignal()               # the keys go back to the thumbnails

    def __init__(self, example, can_centre=True, parent=None):
        """example: of a filter"""
        super().__init__(parent)
        panel, row = bar()
        self.filter = QLineEdit(placeholderText=f"Filter: {example}")
        clear = self.filter.addAction(theme.icon("cross"), QLineEdit.TrailingPosition)
        clear.setToolTip("Show everything (Esc)")
        clear.setVisible(False)
        clear.triggered.connect(self.filter.clear)
        self.filter.textChanged.connect(lambda text: clear.setVisible(bool(text)))
        self.filter.setToolTip("Shows only what this lets through: particles > 50, share >= 2 %, resolution < 12,\n"
                               "numbers such as 3-7, 12, or a part of a name, joined by and, or, not (Ctrl+F)")
        self.shown = QLabel(objectName="muted")
        self.centre = QToolButton(text="Centre", checkable=True,
                                  toolTip="Move the bright part of every image into the middle, members alike (C)")
        self.centre.setVisible(can_centre)
        self.scale = ScaleBar()
        self.problem = QLabel(objectName="problem", wordWrap=True)
        self.problem.setContentsMargins(14, 0, 14, 6)
        self.problem.hide()
        row.addWidget(self.filter, 1)
        for widget in (self.shown, self.centre, self.scale):
            row.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(panel)
        column.addWidget(self.problem)
        self._timer = QTimer(self, singleShot=True, interval=WAIT, timeout=self._apply)
        self.filter.textEdited.connect(lambda _: self._timer.start())
        self.filter.textChanged.connect(lambda text: text or self._apply())       # clearing needs no patience
        self.filter.returnPressed.connect(self._enter)
        self.centre.toggled.connect(self.centred)

    def say(self, problem, count=""):
        """Tell what is wrong with the filter ("": nothing), and how many it lets through."""
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.filter.setProperty("wrong", bool(problem))
        self.filter.style().polish(self.filter)
        self.shown.setText(count)

    def keyPressEvent(self, event):
        if event.key() == Qt.Key_Escape:
            self.filter.clear()
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def _enter(self):
        self._apply()
        self.left.emit()

    def _apply(self):
        self._timer.stop()
        self.filtered.emit(self.filter.text())
