"""The pane beside the gallery: one item large, its numbers, its FRC curve and its members."""
import numpy as np
from PyQt5.QtCore import QRectF, QSize, Qt, QTimer
from PyQt5.QtGui import QColor, QFont, QPainter, QPen, QPixmap
from PyQt5.QtWidgets import (
    QBoxLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from ...programs.errors import UserError
from . import theme
from .grid import ThumbnailModel, ThumbnailView, thumbnail
from .imaging import nice_length
from .pages import new_canvas

FIRST_MEMBERS = 48                 # members shown at once; "Show more" adds as many again
FILTERS = (0, 4, 8, 16)            # low-pass periods offered for members, px; 0: as they are
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
        text = f"{length:g} Å" if length < 1000 else f"{length / 10:g} nm"
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


class MembersPane(QWidget):
    """The particles of a class, turned, mirrored and shifted as the class average saw them."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.members = None
        self.model = ThumbnailModel(threaded=True, parent=self)
        self.view = ThumbnailView(self.model, 72, lines=0, parent=self)
        self.count = QLabel(objectName="muted")
        self.problem = QLabel(objectName="problem", wordWrap=True)
        self.problem.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Preferred)
        self.more = QPushButton("Show more", clicked=self._more)
        self.filter = theme.ComboBox(toolTip="Low-pass filter of the members: raw particles are mostly noise")
        self.filter.currentIndexChanged.connect(self._filter_changed)
        header = QHBoxLayout()
        for widget in (QLabel("Members", objectName="section"), self.count, None, self.filter):
            header.addStretch() if widget is None else header.addWidget(widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(header)
        layout.addWidget(self.problem)
        layout.addWidget(self.view, 1)
        layout.addWidget(self.more, 0, Qt.AlignHCenter)
        self._offer_filters(None)

    def show_members(self, members, problem=""):
        """members: a :class:`.pictures.MemberPictures`, None for an empty class or because of a problem."""
        self.members = members
        self.problem.setText(problem.replace("/", "/\u200b"))        # lines may break inside a path
        self.problem.setVisible(bool(problem))
        self._offer_filters(members.pixel_size if members else None)
        if members:
            members.period = self.filter.currentData()
        self.model.show(members, [])
        self.view.scrollToTop()
        self._more()

    def _more(self):
        total, shown = len(self.members) if self.members else 0, len(self.model.order)
        known = min(total, shown + FIRST_MEMBERS)
        if known > shown:
            self.model.append(np.arange(shown, known))
        self.count.setText(f"{known:,} of {total:,}" if total else "none")
        self.more.setVisible(known < total)

    def _offer_filters(self, pixel_size):
        chosen = FILTERS.index(self.filter.currentData()) if self.filter.count() else 2
        self.filter.blockSignals(True)
        self.filter.clear()
        for period in FILTERS:
            length = f"{period * pixel_size:.3g} Å" if pixel_size else f"{period} px"
            self.filter.addItem(f"low-pass {length}" if period else "unfiltered", period)
        self.filter.setCurrentIndex(chosen)
        self.filter.blockSignals(False)

    def _filter_changed(self):
        if self.members:
            self.members.period = self.filter.currentData()
            self.model.set_levels(None)


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
    """A pane about one item of a ``Pictures``; a base class: :meth:`refresh` is for sub-classes to fill in."""

    def __init__(self, parent=None):
        super().__init__(parent, objectName="details")
        self.pictures, self.item, self.levels = None, None, None
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

    def show_item(self, pictures, item, levels=None):
        """Show an item (None: nothing) shortly, unless another is asked for meanwhile."""
        self.pictures, self.item, self.levels = pictures, item, levels
        self._timer.start()

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
        self.image, self.frc, self.members = ImagePane(), FrcPane(), MembersPane()
        top = QWidget()
        self._top = QBoxLayout(QBoxLayout.LeftToRight, top)
        self._top.setContentsMargins(0, 0, 0, 0)
        self._top.addWidget(self.image, 3)
        self._top.addWidget(self.numbers, 2)
        self._add((top, 5), (self.frc, 3), (self.members, 7))

    def refresh(self):
        super().refresh()
        if self.item is None:
            self.heading.setText("")
            self.image.show_image(None)
            self.numbers.fill([])
            self.frc.hide()
            self.members.hide()
            return
        pictures, item = self.pictures, self.item
        self.heading.setText(pictures.name(item))
        self.numbers.fill(pictures.numbers(item))
        try:
            self.image.show_image(pictures.image(item), self.levels, pictures.pixel_size)
            self.frc.show_curve(pictures.frc(item), pictures.pixel_size)
        except UserError as error:
            self.image.show_image(None)
            self.numbers.fill([("Problem", str(error))])
        self._top.setDirection(QBoxLayout.LeftToRight if pictures.has_members else QBoxLayout.TopToBottom)
        self.frc.setVisible(pictures.has_members)
        self.members.setVisible(pictures.has_members)
        try:
            self.members.show_members(pictures.members(item))
        except UserError as error:
            self.members.show_members(None, str(error))

    def stop(self):
        super().stop()
        self.members.model.stop()
