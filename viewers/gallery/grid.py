"""The grid of thumbnails: a list model that reads images when they are painted, a delegate and a view."""
import itertools

import numpy as np
from PyQt5.QtCore import (
    QAbstractListModel,
    QItemSelection,
    QItemSelectionModel,
    QRect,
    QRunnable,
    QSize,
    Qt,
    QThreadPool,
    pyqtSignal,
)
from PyQt5.QtGui import QColor, QFont, QImage, QPainter, QPen, QPixmap, QPixmapCache
from PyQt5.QtWidgets import QAbstractItemView, QListView, QStyle, QStyledItemDelegate

from ...programs.errors import UserError
from . import imaging, theme

SMALLEST, LARGEST, ZOOM = 40, 512, 1.2       # thumbnail sizes in px, and the factor of one zoom step
QPixmapCache.setCacheLimit(192 * 1024)       # KiB of thumbnails kept
REJECTED = 0.2                               # opacity of the pictures of rejected items
_versions = itertools.count()                # of models' pictures and levels, to tell cached thumbnails apart


def thumbnail(image, levels, size):
    """A float image as a QImage whose longer side is ``size``; ``levels`` None: contrast of its own."""
    grey = imaging.to_grey(image, levels or imaging.contrast([image]))
    rows, columns = grey.shape
    # QImage only points to the pixels: copy() makes them its own
    return QImage(grey.data, columns, rows, columns, QImage.Format_Grayscale8).copy().scaled(
        size, size, Qt.KeepAspectRatio, Qt.SmoothTransformation)


class ThumbnailModel(QAbstractListModel):
    """Rows of a ``Pictures`` (see :mod:`.pictures`) in a chosen order, and their thumbnails.

    threaded: images are read on another thread and painted when they arrive, for those that take long.
    aspect: width of the images over their height
    rejected: items that are shown dimmed
    """
    _ready = pyqtSignal(str, int, QImage)

    def __init__(self, threaded=False, aspect=1, parent=None):
        super().__init__(parent)
        self.pictures, self.order, self.levels, self.aspect = None, np.array([], int), None, aspect
        self.rejected = frozenset()
        self._version = next(_versions)
        self._pending, self._pool = set(), None
        if threaded:
            self._pool = QThreadPool(self)
            self._pool.setMaxThreadCount(1)
            self._ready.connect(self._arrived)

    def rowCount(self, parent=None):
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def data(self, index, role=Qt.DisplayRole):
        if role == Qt.DisplayRole:
            return self.pictures.caption(self.item(index)).strong
        if role == Qt.ToolTipRole:
            return self.pictures.describe(self.item(index))
        return None

    def item(self, index):
        """The item (row of the pictures) at a QModelIndex."""
        return int(self.order[index.row()])

    def show(self, pictures, order, levels=None):
        """Show other pictures: ``order`` lists the items in view, ``levels`` as in :func:`thumbnail`."""
        self.beginResetModel()
        self.pictures, self.order = pictures, np.asarray(order, int)
        self._renew(levels)
        self.endResetModel()

    def set_levels(self, levels):
        self._renew(levels)
        if len(self.order):
            self.dataChanged.emit(self.index(0), self.index(len(self.order) - 1))

    def set_order(self, order):
        self.beginResetModel()
        self.order = np.asarray(order, int)
        self.endResetModel()

    def set_rejected(self, items):
        self.rejected = frozenset(items)
        if len(self.order):
            self.dataChanged.emit(self.index(0), self.index(len(self.order) - 1))

    def pixmap(self, item, size):
        """The thumbnail of an item, ``size`` high; None while it is read, a dark area when it cannot be read."""
        key = f"{self._version}/{item}/{size}"
        pixmap = QPixmapCache.find(key)
        if pixmap is not None:
            return pixmap
        if self._pool is None:
            return self._keep(key, _read(self.pictures, item, self.levels, size, self.aspect))
        if key not in self._pending:
            self._pending.add(key)
            self._pool.start(_ReadTask(self._ready, key, self.pictures, item, self.levels, size, self.aspect))
        return None

    def reading(self):
        """Whether thumbnails that were asked for are still being read."""
        return bool(self._pending)

    def forget(self):
        """Thumbnails asked for and not read yet are not read, unless they are asked for again."""
        if self._pool is not None:
            self._pool.clear()
            self._pending.clear()

    def stop(self):
        """Forget thumbnails still to be read; to be called before the model is deleted."""
        if self._pool is not None:
            self._pool.clear()
            self._pool.waitForDone()

    def _renew(self, levels):
        self.levels, self._version = levels, next(_versions)
        self.forget()

    def _keep(self, key, image):
        pixmap = QPixmap.fromImage(image)
        QPixmapCache.insert(key, pixmap)
        return pixmap

    def _arrived(self, key, item, image):
        if key in self._pending:                          # else: of pictures no longer shown
            self._pending.discard(key)
            self._keep(key, image)
            for row in np.flatnonzero(self.order == item):
                self.dataChanged.emit(self.index(int(row)), self.index(int(row)))


def _read(pictures, item, levels, size, aspect):
    try:
        return thumbnail(pictures.image(item), levels, size * aspect)
    except (UserError, OSError):
        unreadable = QImage(size * aspect, size, QImage.Format_RGB32)
        unreadable.fill(QColor("#5a2b2b"))
        return unreadable


class _ReadTask(QRunnable):
    """Reads one thumbnail and sends it to the model through its signal ``ready``."""

    def __init__(self, ready, key, *request):
        super().__init__()
        self.ready, self.key, self.request = ready, key, request

    def run(self):
        self.ready.emit(self.key, self.request[1], _read(*self.request))


class ThumbnailDelegate(QStyledItemDelegate):
    """Paints a card: the image, below it up to ``lines`` lines of caption."""
    LINE_HEIGHT = 17

    def __init__(self, lines, aspect=1, parent=None):
        super().__init__(parent)
        self.lines, self.aspect = lines, aspect
        self.padding, self.gap = (6, 4) if lines else (2, 1)      # inside a card, and around it

    def card_size(self, size):
        """Width and height of the card around a thumbnail ``size`` high, gap to the next card included."""
        margin = 2 * (self.padding + self.gap)
        caption = self.lines * self.LINE_HEIGHT + (4 if self.lines else 0)
        return QSize(size * self.aspect + margin, size + margin + caption)

    def sizeHint(self, option, index):
        return self.parent().gridSize()

    def paint(self, painter, option, index):
        painter.save()
        painter.setRenderHint(QPainter.Antialiasing)
        selected = bool(option.state & QStyle.State_Selected)
        hover = bool(option.state & QStyle.State_MouseOver)
        model, view = index.model(), self.parent()
        self.paint_card(painter, option.rect, model, model.item(index), view.shown, selected, hover,
                        view.currentIndex() == index and view.hasFocus())
        painter.restore()

    def paint_card(self, painter, cell, model, item, size, selected=False, hover=False, current=False):
        """Draw the card of an item in the rectangle ``cell``; also used to save pictures of a gallery."""
        width = self.card_size(size).width() - 2 * self.gap
        card = QRect(cell.x() + (cell.width() - width) // 2, cell.y() + self.gap, width,
                     cell.height() - 2 * self.gap)
        fill = QColor(theme.ACCENT) if selected else QColor(theme.CARD_HOVER if hover else theme.CARD)
        if selected:
            fill.setAlphaF(0.30)
        painter.setBrush(fill)
        painter.setPen(QPen(QColor(theme.ACCENT), 2) if selected
                       else QPen(QColor(theme.MUTED), 1) if current else Qt.NoPen)
        painter.drawRoundedRect(card, 7, 7)
        box = QRect(card.x() + self.padding, card.y() + self.padding, size * self.aspect, size)
        ratio = painter.device().devicePixelRatioF()
        pixmap = model.pixmap(item, round(size * ratio))
        caption = model.pictures.caption(item)
        if pixmap is not None:
            target = QRect(0, 0, round(pixmap.width() / ratio), round(pixmap.height() / ratio))
            target.moveCenter(box.center())
            painter.setOpacity(REJECTED if item in model.rejected else 0.45 if caption.faded else 1)
            painter.drawPixmap(target, pixmap)
            painter.setOpacity(1)
            self.paint_over(painter, target)
        if self.lines:
            self._captions(painter, box, caption._replace(faded=True) if item in model.rejected else caption)

    def paint_over(self, painter, target):
        """Nothing; for sub-classes that mark their pictures, which lie in the rectangle ``target``."""

    def _captions(self, painter, box, caption):
        line = QRect(box.x() + 1, box.bottom() + 5, box.width() - 2, self.LINE_HEIGHT)
        font = QFont(painter.font())
        font.setPixelSize(13)
        font.setBold(True)
        used = _text(painter, line, [caption.strong], theme.FAINT if caption.faded else theme.INK, font)
        font.setPixelSize(12)
        font.setBold(False)
        _text(painter, line.adjusted(used + 6, 0, 0, 0), caption.right, theme.MUTED, font, Qt.AlignRight)
        if self.lines > 1:
            _text(painter, line.translated(0, self.LINE_HEIGHT), caption.below, theme.MUTED, font)


def _text(painter, rect, candidates, color, font, align=Qt.AlignLeft):
    """Draw the first candidate that fits in ``rect``, or nothing, so no caption is cut; its width."""
    painter.setFont(font)
    painter.setPen(QColor(color))
    for text in candidates:
        width = painter.fontMetrics().horizontalAdvance(text)
        if width <= rect.width():
            painter.drawText(rect, align | Qt.AlignVCenter, text)
            return width
    return 0


class ThumbnailView(QListView):
    """A grid of thumbnails that fills the width, with zoom (+, -, ctrl and wheel) and arrow keys.

    size : height of the thumbnails as asked for
    shown : as painted, somewhat larger so that rows of several are full
    """
    zoomed = pyqtSignal(int)      # the new size
    arranged = pyqtSignal()       # thumbnails are of another size now

    def __init__(self, model, size, lines, delegate=ThumbnailDelegate, parent=None):
        super().__init__(parent)
        self.size = self.shown = size
        self.delegate = delegate(lines, model.aspect, self)
        self.setItemDelegate(self.delegate)
        self.setModel(model)
        self.setFlow(QListView.LeftToRight)
        self.setWrapping(True)
        self.setResizeMode(QListView.Adjust)
        self.setUniformItemSizes(True)
        self.setSelectionMode(QAbstractItemView.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarAlwaysOn)     # no jumps when it would come and go
        scroll = self.verticalScrollBar()
        scroll.rangeChanged.connect(lambda lowest, highest: scroll.setEnabled(highest > lowest))
        scroll.valueChanged.connect(self._scrolled)
        self.setMouseTracking(True)
        self._arrange()

    def columns(self):
        return max(1, self._width() // self.delegate.card_size(self.size).width())

    def _scrolled(self):
        """What has gone out of view need not be read; what is in view is asked for again when it is painted."""
        self.model().forget()
        self.viewport().update()

    def _width(self):
        return self.viewport().width() - 1        # Qt starts a new row when a card would end at the border

    def set_size(self, size):
        """Thumbnails of ``size`` px; the current one stays in view."""
        size = int(np.clip(size, SMALLEST, LARGEST))
        if size != self.size:
            self.size = size
            self._arrange()
            self.zoomed.emit(size)
            self.scrollTo(self.currentIndex())

    def zoom(self, steps):
        self.set_size(round(self.size * ZOOM**steps))

    def _arrange(self):
        wanted, columns = self.delegate.card_size(self.size).width(), self.columns()
        room = max(self._width() // columns - wanted, 0)
        self.shown = self.size + (room // self.delegate.aspect if columns > 1 else 0)
        card = self.delegate.card_size(self.shown)
        self.setGridSize(card if columns > 1 else QSize(wanted + room, card.height()))
        self.verticalScrollBar().setSingleStep(max(card.height() // 3, 1))
        self.arranged.emit()

    def resizeEvent(self, event):
        self._arrange()
        super().resizeEvent(event)

    def wheelEvent(self, event):
        if event.modifiers() & Qt.ControlModifier:
            self.zoom(1 if event.angleDelta().y() > 0 else -1)
        else:
            super().wheelEvent(event)

    def keyPressEvent(self, event):
        steps = {Qt.Key_Plus: 1, Qt.Key_Equal: 1, Qt.Key_Minus: -1}.get(event.key())
        if steps:
            self.zoom(steps)
        elif event.key() == Qt.Key_Escape:
            self.selectionModel().clearSelection()
        else:
            super().keyPressEvent(event)

    def moveCursor(self, action, modifiers):
        """Left and right go on to the neighbouring row, as when reading."""
        steps = {self.MoveLeft: -1, self.MovePrevious: -1, self.MoveRight: 1, self.MoveNext: 1,
                 self.MoveUp: -self.columns(), self.MoveDown: self.columns()}.get(action)
        current, count = self.currentIndex(), self.model().rowCount()
        if steps is None or not current.isValid() or not count:
            return super().moveCursor(action, modifiers)
        row = current.row() + steps
        return self.model().index(row if 0 <= row < count else current.row())

    def selectAll(self):
        self.select_rows(np.arange(self.model().rowCount()))

    def selected_items(self):
        """Selected items of the pictures, in the order shown."""
        selected = np.zeros(self.model().rowCount(), bool)
        for stretch in self.selectionModel().selection():
            selected[stretch.top():stretch.bottom() + 1] = True
        return self.model().order[selected].tolist()

    def select_items(self, items, current=None):
        """Select these items and make ``current`` (an item, or None) the current one."""
        order = self.model().order
        if current is not None and len(rows := np.flatnonzero(order == current)):
            self.selectionModel().setCurrentIndex(self.model().index(int(rows[0])), QItemSelectionModel.NoUpdate)
        self.select_rows(np.flatnonzero(np.isin(order, np.asarray(items, int))))

    def select_rows(self, rows):
        """Select these rows (rising), and no others."""
        selection, model = QItemSelection(), self.model()
        ends = np.flatnonzero(np.diff(rows) > 1)
        for first, last in zip(rows[np.r_[0, ends + 1]], rows[np.r_[ends, -1]]) if len(rows) else ():
            selection.select(model.index(int(first)), model.index(int(last)))
        self.selectionModel().select(selection, QItemSelectionModel.ClearAndSelect)

    def invert(self):
        """Select what is not, and no longer what is."""
        self.select_rows(np.flatnonzero(~np.isin(self.model().order, self.selected_items())))
