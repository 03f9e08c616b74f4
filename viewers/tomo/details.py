"""The pane beside the gallery of volumes: one of them in three planes to scroll through, and what is known of it."""
from PyQt5.QtCore import QLineF, QPointF, QRectF, QSize, Qt, pyqtSignal
from PyQt5.QtGui import QColor, QFont, QPainter, QPen, QRegion
from PyQt5.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ...programs.errors import UserError
from ..gallery.controls import Choice
from ..gallery.details import DetailsPane, FrcPane, ImagePane
from ..gallery.pages import new_canvas
from . import planes
from .volumes import SLICES

AXIS_COLORS = {"x": "#e5645e", "y": "#4cb782", "z": "#4f9cf0"}      # as in most programs
PLACES = ((0, 0), (1, 0), (1, 1))                   # of the planes xy, xz, yz in a grid: those that share an axis touch


class SlicePane(ImagePane):
    """A slice with lines where the other two cut it; a click or a drag moves these, the wheel scrolls.

    direction: the array axis that the slice cuts
    """
    pointed = pyqtSignal(float, float)      # px to the right and downward, from the image's corner
    scrolled = pyqtSignal(int)

    def __init__(self, direction, parent=None):
        super().__init__(parent)
        self.name, self.across = planes.PLANES[direction], planes.ACROSS[direction]
        self.lines, self._target = None, QRectF()
        self.setCursor(Qt.CrossCursor)
        self.setToolTip("Click or drag to move the other two slices; the wheel scrolls through this one")

    def show_slice(self, image, levels, pixel_size, lines):
        """lines: (right, down) where the other slices cut this one, px; the rest as in :meth:`show_image`."""
        self.lines = lines
        self.show_image(image, levels, pixel_size)

    def sizeHint(self):
        return QSize(240, 240)

    def paint_over(self, painter, target):
        self._target = target
        if self.lines is not None:
            self._cross(painter, target)
        font = QFont(painter.font())
        font.setPixelSize(12)
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(Qt.white)
        painter.drawText(target.adjusted(8, 5, -8, -5), Qt.AlignLeft | Qt.AlignTop, self.name)

    def _cross(self, painter, target):
        """A line at the place along each axis of the plane, in that axis's colour, open where they cross."""
        step = target.width() / self.image.shape[1]
        centre = target.topLeft() + QPointF(*((index + 0.5) * step for index in self.lines))
        gap = QRectF(0, 0, 0.12 * target.width(), 0.12 * target.width())
        gap.moveCenter(centre)
        painter.save()
        painter.setRenderHint(QPainter.Antialiasing, False)
        painter.setClipRegion(QRegion(target.toRect()) - QRegion(gap.toRect()))
        for axis, line in zip(self.name, (QLineF(centre.x(), target.top(), centre.x(), target.bottom()),
                                          QLineF(target.left(), centre.y(), target.right(), centre.y()))):
            color = QColor(AXIS_COLORS[axis])
            color.setAlphaF(0.7)
            painter.setPen(QPen(color, 1))
            painter.drawLine(line)
        painter.restore()

    def mousePressEvent(self, event):
        self._point(event.localPos())

    def mouseMoveEvent(self, event):
        self._point(event.localPos())

    def wheelEvent(self, event):
        if event.angleDelta().y():
            self.scrolled.emit(1 if event.angleDelta().y() > 0 else -1)

    def _point(self, place):
        if self.image is not None and self._target.width():
            step = self._target.width() / self.image.shape[1]
            inside = place - self._target.topLeft()
            self.pointed.emit(inside.x() / step, inside.y() / step)


class OrthoView(QWidget):
    """Three slices of a volume, each with a slider; a widget ``beside`` fills the fourth place.

    centre: indices of the slices along the array axes z, y, x
    """

    def __init__(self, beside, parent=None):
        super().__init__(parent)
        self.volume, self.levels, self.pixel_size, self.centre = None, None, None, [0, 0, 0]
        self.panes, self.sliders, self._labels = [], [], []
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(10)
        for direction, place in enumerate(PLACES):
            layout.addLayout(self._slice(direction), *place)
        layout.addWidget(beside, 0, 1)
        for line in (0, 1):
            layout.setRowStretch(line, 1)
            layout.setColumnStretch(line, 1)

    def _slice(self, direction):
        """A pane and its slider, below one another."""
        pane, name = SlicePane(direction), planes.ACROSS[direction]
        pane.pointed.connect(lambda right, down: self._point(direction, right, down))
        pane.scrolled.connect(lambda steps: self.move_to(direction, self.centre[direction] + steps))
        slider = QSlider(Qt.Horizontal, toolTip=f"Slice along {name}; a double click on the number goes to the centre")
        slider.valueChanged.connect(lambda index: self.move_to(direction, index))
        label = _CentringLabel(lambda: self.move_to(direction, self.volume.shape[direction] // 2))
        label.setStyleSheet(f"color: {AXIS_COLORS[name]}")
        label.setMinimumWidth(label.fontMetrics().horizontalAdvance("z  8888"))
        self.panes.append(pane)
        self.sliders.append(slider)
        self._labels.append(label)
        row = QHBoxLayout()
        row.setContentsMargins(6, 0, 6, 0)
        row.addWidget(slider, 1)
        row.addWidget(label)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addWidget(pane, 1)
        column.addLayout(row)
        return column

    def resizeEvent(self, event):
        # no higher than square slices and their sliders are
        self.setMaximumHeight(max(self.width() + 2 * self._labels[0].sizeHint().height() + 8, 400))

    def show_volume(self, volume, levels, pixel_size):
        """volume: (n, n, n), None for nothing; the slices stay where they are unless the box is another."""
        other = volume is not None and (self.volume is None or self.volume.shape != volume.shape)
        self.volume, self.levels, self.pixel_size = volume, levels, pixel_size
        if other:
            self.centre = [size // 2 for size in volume.shape]
        for slider, index, size in zip(self.sliders, self.centre, (0, 0, 0) if volume is None else volume.shape):
            slider.blockSignals(True)
            slider.setRange(0, max(size - 1, 0))
            slider.setValue(index)
            slider.blockSignals(False)
            slider.setEnabled(volume is not None)
        self._draw()

    def move_to(self, direction, index):
        """Show another slice along an array axis; beyond the volume, its last."""
        if self.volume is None:
            return
        index = min(max(index, 0), self.volume.shape[direction] - 1)
        self.sliders[direction].blockSignals(True)
        self.sliders[direction].setValue(index)
        self.sliders[direction].blockSignals(False)
        self.centre[direction] = index
        self._draw()

    def _point(self, direction, right, down):
        """Move the other two slices to where the mouse is."""
        for axis, place in zip(planes.PLANES[direction], (right, down)):
            self.move_to(planes.ACROSS.index(axis), int(place))

    def _draw(self):
        for direction, (pane, label) in enumerate(zip(self.panes, self._labels)):
            if self.volume is None:
                pane.show_slice(None, None, None, None)
                label.setText("")
                continue
            lines = [self.centre[planes.ACROSS.index(axis)] for axis in pane.name]
            pane.show_slice(planes.plane(self.volume, direction, self.centre[direction]), self.levels,
                            self.pixel_size if direction == 0 else None, lines)
            label.setText(f"{pane.across}  {self.centre[direction]}")


class _CentringLabel(QLabel):
    def __init__(self, centre):
        super().__init__()
        self._centre = centre

    def mouseDoubleClickEvent(self, event):
        self._centre()


class DrawnPane(QWidget):
    """What is known of a class's particles, drawn by matplotlib; or a line that says what is not there."""
    ORIENTATIONS, COVERAGE, SPREAD = range(3)
    EMPTY = "no orientations", "no coverage", "no scores or poses"

    def __init__(self, parent=None):
        super().__init__(parent)
        self.pictures, self.item, self.chosen, self._canvas = None, None, (), None
        self.choice = Choice(("Orientations", "Coverage", "Histograms"),
                             ("Where the particles of the class look: two hemispheres of its frame",
                              "What the class's particles observed of its Fourier space",
                              "Scores, shifts and tilts of the particles of all chosen classes"))
        self.choice.chosen.connect(lambda _: self.redraw())
        self._empty = QLabel(objectName="muted", alignment=Qt.AlignCenter, wordWrap=True)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.choice, 0, Qt.AlignHCenter)
        layout.addWidget(self._stack, 1)

    def show_item(self, pictures, item, chosen=()):
        self.pictures, self.item, self.chosen = pictures, item, chosen
        self.redraw()

    def show_chosen(self, chosen):
        """Other classes are chosen."""
        self.chosen = chosen
        if self.pictures is not None and self.choice.group.checkedId() == self.SPREAD:
            self.redraw()

    def redraw(self):
        """Draw what is chosen of the class shown."""
        from .. import plots3d, style
        from ..gallery import spread
        chosen = self.choice.group.checkedId()
        try:
            shown, why = self._data(chosen), self.EMPTY[chosen]
        except UserError as error:
            shown, why = None, _breakable(error)
        if shown is None:
            self._empty.setText(why)
            return self._stack.setCurrentWidget(self._empty)
        if self._canvas is None:
            self._canvas = new_canvas()
            self._stack.addWidget(self._canvas)
        if chosen == self.COVERAGE:
            plots3d.draw_coverage(self._canvas.figure, {"": shown}, self.pictures.highest, style.DARK, small=True)
        elif chosen == self.SPREAD:
            spread.draw(self._canvas.figure, shown, style.DARK)
        else:
            plots3d.draw_orientations(self._canvas.figure, {"": shown}, style.DARK, small=True)
        self._canvas.draw_idle()
        self._stack.setCurrentWidget(self._canvas)

    def _data(self, chosen):
        """What is to be drawn, None where it is not known."""
        if chosen == self.SPREAD:
            return self.pictures.particles(list(self.chosen) or [self.item]) or None
        return (self.pictures.coverage if chosen == self.COVERAGE else self.pictures.directions)(self.item)


class VolumeDetails(DetailsPane):
    """Everything known about one volume: its slices, its numbers, and of a class the FSC and where it was seen from.

    classes: whether the volumes are classes, of a run or a set
    """

    def __init__(self, classes, parent=None):
        super().__init__(parent)
        self.fsc, self.drawn = FrcPane("FSC"), DrawnPane()
        self.fsc.setMinimumHeight(84)           # beside slices that are small, too
        known = QWidget()
        known.setSizePolicy(QSizePolicy.Preferred, QSizePolicy.Ignored)        # the rows of slices are alike
        column = QVBoxLayout(known)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.numbers)
        column.addWidget(self.fsc, 1)
        self.ortho, self.classes = OrthoView(known), classes
        self._add((self.ortho, 5), (self.drawn if classes else QWidget(), 2))
        self._split.setSizes([560, 240] if classes else [800, 0])
        self.fsc.setVisible(classes)

    def refresh(self):
        super().refresh()
        if self.item is None:
            self.heading.setText("")
            self.numbers.fill([])
            return self.ortho.show_volume(None, None, None)
        self.heading.setText(self.pictures.name(self.item))
        try:
            self._show_volume()
        except (UserError, OSError) as error:
            self.numbers.fill([("Problem", _breakable(error))])
            self.ortho.show_volume(None, None, None)
        if self.classes:
            self.ortho.repaint()            # slices need not wait for plots
            self._show_plots()

    def show_chosen(self, chosen):
        super().show_chosen(chosen)
        self.drawn.show_chosen(self.chosen)

    def _show_volume(self):
        pictures, item = self.pictures, self.item
        volume = pictures.volume(item)
        self.numbers.fill(pictures.numbers(item))
        levels = self.levels if self.levels and pictures.view == SLICES else pictures.slice_levels(item)
        self.ortho.show_volume(volume, levels, pictures.pixel_size)

    def _show_plots(self):
        pictures, item = self.pictures, self.item
        try:
            curve = pictures.fsc(item)
        except UserError as error:
            curve = None
            self.numbers.fill([*pictures.numbers(item), ("Problem", _breakable(error))])
        self.fsc.show_curve(curve, pictures.pixel_size)
        self.fsc.setVisible(pictures.has_development)       # elsewhere there never is any
        self.drawn.show_item(pictures, item, self.chosen)


def _breakable(error):
    """An error's text whose lines may break inside a path."""
    return str(error).replace("/", "/\u200b")
