"""The pane beside the gallery: one item large, its numbers, its FRC curve and its members."""
from PyQt5.QtCore import QRectF, QSize, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QColor, QFont, QPainter, QPen, QPixmap
from PyQt5.QtWidgets import (
    QBoxLayout,
    QGridLayout,
    QLabel,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ...programs.errors import UserError
from . import theme
from .grid import thumbnail
from .gridbar import length_text
from .imaging import nice_length
from .members import ParticlesPane
from .pages import new_canvas

FRAME = 6                          # px around an image
REFRESH = 40                       # ms; arrow keys held down do not redraw the pane for every class passed


class ImagePane(QWidget):
    """An image as large as fits, with a scale bar when the pixel size is known."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.image, self.levels, self.pixel_size = None, None, None
        self.setMinimumSize(120, 120)
        self.setSizePolicy(QSizePolicy.Expanding, QSizePolicy.Expanding)

    def show_image(self, image, levels=None, pixel_size=None):
        """image: (n, n), None for nothing; levels: see :func:`.grid.thumbnail`; pixel_size: Å/px or None."""
        self.image, self.levels, self.pixel_size = image, levels, pixel_size
        self.update()

    def sizeHint(self):
        return QSize(260, 260)

    def paintEvent(self, event):
        painter = QPainter(self)
        painter.setRenderHint(QPainter.Antialiasing)
        frame = self._frame()
        painter.setPen(Qt.NoPen)
        painter.setBrush(QColor(theme.CARD))
        painter.drawRoundedRect(frame, 8, 8)
        if self.image is None:
            return
        inner = frame.adjusted(FRAME, FRAME, -FRAME, -FRAME)
        ratio = self.devicePixelRatioF()
        pixmap = QPixmap.fromImage(thumbnail(self.image, self.levels, round(inner.width() * ratio)))
        target = QRectF(0, 0, pixmap.width() / ratio, pixmap.height() / ratio)
        target.moveCenter(inner.center())
        painter.drawPixmap(target, pixmap, QRectF(pixmap.rect()))
        if self.pixel_size:
            self._scale_bar(painter, target)
        self.paint_over(painter, target)

    def paint_over(self, painter, target):
        """Nothing; for sub-classes that mark the image, which lies in the rectangle ``target``."""

    def _frame(self):
        side = min(self.width(), self.height())
        return QRectF((self.width() - side) / 2, 0, side, side)

    def _scale_bar(self, painter, target):
        """About a quarter of the width, of a round length, white on a shade that reads on any image."""
        angstrom_per_point = self.pixel_size * self.image.shape[1] / target.width()
        length = nice_length(0.36 * target.width() * angstrom_per_point)
        width = length / angstrom_per_point
        text = length_text(length)
        font = QFont(painter.font())
        font.setPixelSize(12)
        font.setBold(True)
        painter.setFont(font)
        plate = QRectF(0, 0, max(width, painter.fontMetrics().horizontalAdvance(text)) + 16, 30)
        plate.moveBottomLeft(target.bottomLeft() + QRectF(8, -8, 0, 0).topLeft())
        painter.setPen(Qt.NoPen)
        painter.setBrush(QColor(0, 0, 0, 130))
        painter.drawRoundedRect(plate, 4, 4)
        painter.setBrush(Qt.white)
        painter.drawRect(QRectF(plate.center().x() - width / 2, plate.bottom() - 8, width, 3))
        painter.setPen(QPen(Qt.white))
        painter.drawText(plate.adjusted(0, 2, 0, -10), Qt.AlignCenter, text)


class FrcPane(QWidget):
    """The FRC (or FSC, as ``name`` says) curve of a class, or a line saying that there is none."""

    def __init__(self, name="FRC", parent=None):
        super().__init__(parent)
        self.name, self.curve, self._canvas = name, None, None
        self._empty = QLabel(f"no {name} curve yet", self, objectName="muted", alignment=Qt.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._empty)
        self.setMinimumHeight(110)

    def show_curve(self, curve, pixel_size):
        """curve: (frequency in 1/px, correlation) or None."""
        self.curve = curve
        self._empty.setVisible(curve is None)
        if curve is not None:
            from ..plots import draw_frc
            draw_frc(self._figure(), *curve, pixel_size, name=self.name)
            self._canvas.draw_idle()
        if self._canvas is not None:
            self._canvas.setVisible(curve is not None)

    def _figure(self):
        if self._canvas is None:
            self._canvas = new_canvas()
            self._canvas.setMinimumHeight(self.minimumHeight())
            self.layout().addWidget(self._canvas)
        return self._canvas.figure


class NumbersPane(QWidget):
    """A heading, and labels with numbers below it."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.heading = QLabel(objectName="heading")
        self._numbers = QGridLayout()
        self._numbers.setVerticalSpacing(5)
        self._numbers.setHorizontalSpacing(14)
        self._numbers.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 0, 0, 0)
        column.addWidget(self.heading)
        column.addSpacing(4)
        column.addLayout(self._numbers)
        column.addStretch()

    def fill(self, numbers):
        """numbers: (label, text) pairs"""
        while self._numbers.count():
            self._numbers.takeAt(0).widget().deleteLater()
        for row, (label, text) in enumerate(numbers):
            self._numbers.addWidget(QLabel(label, objectName="muted"), row, 0, Qt.AlignTop)
            self._numbers.addWidget(QLabel(text, wordWrap=True), row, 1, Qt.AlignTop)


class DetailsPane(QWidget):
    """A pane about one item of a ``Pictures``; a base class: :meth:`refresh` is for sub-classes to fill in.

    result_chosen : an iteration's number, or FINAL, that the user wants to go to
    """
    result_chosen = pyqtSignal(object)

    def __init__(self, parent=None):
        super().__init__(parent, objectName="details")
        self.pictures, self.item, self.levels, self.chosen = None, None, None, ()
        self.numbers = NumbersPane()
        self.heading = self.numbers.heading
        self._split = QSplitter(Qt.Vertical)
        self._split.setHandleWidth(9)
        self._split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(14, 14, 10, 10)
        layout.addWidget(self._split)
        self._timer = QTimer(self, singleShot=True, interval=REFRESH, timeout=self.refresh)

    def _add(self, *parts):
        """Put (widget, stretch) below one another, with handles between them."""
        for widget, stretch in parts:
            self._split.addWidget(widget)
            self._split.setStretchFactor(self._split.count() - 1, stretch)

    def show_item(self, pictures, item, levels=None, chosen=()):
        """Show an item (None: nothing) shortly, unless another is asked for meanwhile; chosen: all that are chosen."""
        self.pictures, self.item, self.levels, self.chosen = pictures, item, levels, tuple(chosen)
        self._timer.start()

    def show_chosen(self, chosen):
        """Others are chosen; the item shown stays."""
        self.chosen = tuple(chosen)

    def busy(self):
        """Whether some of it is still being read, images in view aside."""
        return self._timer.isActive()

    def reading(self):
        """Whether images in view are still being read."""
        return False

    def refresh(self):
        """Fill the pane now."""
        self._timer.stop()

    def stop(self):
        """End what still goes on; to be called before the pane is deleted."""
        self._timer.stop()


class Details(DetailsPane):
    """Everything known about one image: itself, its numbers, its FRC curve and its members."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.image, self.frc, self.particles = ImagePane(), FrcPane(), ParticlesPane()
        self.members = self.particles.members
        self.particles.development.chosen.connect(self.result_chosen)
        top = QWidget()
        self._top = QBoxLayout(QBoxLayout.LeftToRight, top)
        self._top.setContentsMargins(0, 0, 0, 0)
        self._top.addWidget(self.image, 3)
        self._top.addWidget(self.numbers, 2)
        self._add((top, 5), (self.frc, 3), (self.particles, 7))

    def refresh(self):
        super().refresh()
        if self.item is None:
            self.heading.setText("")
            self.image.show_image(None)
            self.numbers.fill([])
            self.frc.hide()
            self.particles.hide()
            return
        pictures, item = self.pictures, self.item
        self.heading.setText(pictures.name(item))
        try:
            self.numbers.fill(pictures.numbers(item))
            self.image.show_image(pictures.image(item), self.levels, pictures.pixel_size)
            self.frc.show_curve(pictures.frc(item), pictures.pixel_size)
        except UserError as error:
            self.image.show_image(None)
            self.numbers.fill([("Problem", str(error))])
        self._top.setDirection(QBoxLayout.LeftToRight if pictures.has_members else QBoxLayout.TopToBottom)
        self.frc.setVisible(pictures.has_development)       # elsewhere there never is any
        self.particles.setVisible(pictures.has_members)
        if pictures.has_members:
            self.particles.show_items(pictures, item, self.chosen)

    def show_chosen(self, chosen):
        super().show_chosen(chosen)
        self.particles.show_chosen(chosen)

    def busy(self):
        return super().busy() or self.particles.busy()

    def reading(self):
        return self.particles.reading()

    def stop(self):
        super().stop()
        self.particles.stop()
