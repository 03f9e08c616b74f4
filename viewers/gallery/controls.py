"""The bars above and below the gallery."""
from PyQt5.QtCore import QSize, Qt, QTimer, pyqtSignal
from PyQt5.QtGui import QPainter
from PyQt5.QtWidgets import (
    QButtonGroup,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ...programs.results import FINAL
from . import theme
from .grid import LARGEST, SMALLEST

FRAME = 400      # ms per iteration while playing


def bar():
    """A panel with a row in it: (widget, layout)."""
    widget = QWidget(objectName="bar")
    widget.setAttribute(Qt.WA_StyledBackground)
    row = QHBoxLayout(widget)
    row.setContentsMargins(14, 8, 14, 8)
    row.setSpacing(8)
    return widget, row


def fill_with_bar(parent):
    """Fill a widget with such a panel; the row's layout."""
    widget, row = bar()
    outer = QHBoxLayout(parent)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(widget)
    return row


def icon_button(name, tip, clicked=None):
    button = QToolButton(icon=theme.icon(name), iconSize=QSize(14, 14), toolTip=tip, objectName="icon")
    if clicked:
        button.clicked.connect(clicked)
    return button


class ElidedLabel(QLabel):
    """A line of text that ends in … where there is no room for all of it."""

    def minimumSizeHint(self):
        return QSize(90, super().minimumSizeHint().height())

    def paintEvent(self, event):
        text = self.fontMetrics().elidedText(self.text(), Qt.ElideRight, self.width())
        QPainter(self).drawText(self.rect(), Qt.AlignLeft | Qt.AlignVCenter, text)


class Choice(QWidget):
    """Two or three buttons of which one is on."""
    chosen = pyqtSignal(int)

    def __init__(self, texts, tips):
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.group = QButtonGroup(self)
        for number, (text, tip) in enumerate(zip(texts, tips)):
            button = QToolButton(text=text, toolTip=tip, checkable=True)
            button.setObjectName("first" if number == 0 else "last" if number == len(texts) - 1 else "middle")
            self.group.addButton(button, number)
            row.addWidget(button)
        self.group.button(0).setChecked(True)
        self.group.idClicked.connect(self.chosen)

    def set(self, number):
        self.group.button(number).setChecked(True)


class TopBar(QWidget):
    """Title, pages, sorting, contrast, thumbnail size, saving.

    pages: text of the button of each page -> its tool tip
    """
    page_chosen = pyqtSignal(int)
    sort_chosen = pyqtSignal(str, bool)       # column, descending
    contrast_chosen = pyqtSignal(bool)        # True: each image on its own
    size_chosen = pyqtSignal(int)
    zoomed = pyqtSignal(int)                  # steps

    def __init__(self, pages):
        super().__init__()
        row = fill_with_bar(self)
        self.title, self.subtitle = ElidedLabel(objectName="title"), ElidedLabel(objectName="muted")
        names = QVBoxLayout()
        names.setSpacing(0)
        names.addWidget(self.title)
        names.addWidget(self.subtitle)
        self.pages = Choice(list(pages), pages.values())
        self.pages.chosen.connect(self.page_chosen)
        self.sort = theme.ComboBox(toolTip="Sort by")
        self.direction = icon_button("down", "Largest first / smallest first", self._turn)
        self.descending = True
        self.contrast = Choice(("Together", "Each"), ("The same grey levels for all images",
                                                      "Each image with grey levels of its own"))
        self.contrast.chosen.connect(lambda number: self.contrast_chosen.emit(bool(number)))
        self.slider = QSlider(Qt.Horizontal, minimum=SMALLEST, maximum=LARGEST, toolTip="Thumbnail size")
        self.slider.setFixedWidth(90)
        self.slider.valueChanged.connect(self.size_chosen)
        self.save = QToolButton(text="Save", popupMode=QToolButton.InstantPopup)
        self.save.setMenu(QMenu(self.save))
        self.grid_controls = QWidget()
        controls = QHBoxLayout(self.grid_controls)
        controls.setContentsMargins(0, 0, 0, 0)
        controls.setSpacing(6)
        for part in (QLabel("Sort", objectName="muted"), self.sort, self.direction, 10,
                     QLabel("Contrast", objectName="muted"), self.contrast, 10,
                     icon_button("minus", "Smaller thumbnails (−)", lambda: self.zoomed.emit(-1)),
                     self.slider,
                     icon_button("plus", "Larger thumbnails (+)", lambda: self.zoomed.emit(1)), 10):
            controls.addSpacing(part) if isinstance(part, int) else controls.addWidget(part)
        row.addLayout(names)
        row.addSpacing(16)
        row.addWidget(self.pages)
        row.addStretch(1)
        row.addWidget(self.grid_controls)
        row.addWidget(self.save)
        self.sort.activated.connect(self._sort_activated)

    def add_control(self, label, widget):
        """Put a widget, with a label, before the other controls of the grid."""
        row = self.grid_controls.layout()
        row.insertWidget(0, QLabel(label, objectName="muted"))
        row.insertWidget(1, widget)
        row.insertSpacing(2, 10)

    def offer(self, columns, chosen):
        """Fill the sort box with columns (dict of key -> Column or Computed); select ``chosen``, without a signal."""
        self.sort.clear()
        self._columns = columns
        for key, column in columns.items():
            self.sort.addItem(column.label, key)
        self.sort.setCurrentIndex(max(self.sort.findData(chosen), 0))
        self._show_direction(columns[self.sort.currentData()].descending)

    def show_sort(self, key, descending):
        """Show by what is sorted, without a signal."""
        self.sort.setCurrentIndex(self.sort.findData(key))
        self._show_direction(descending)

    def _sort_activated(self):
        self._show_direction(self._columns[self.sort.currentData()].descending)
        self.sort_chosen.emit(self.sort.currentData(), self.descending)

    def _turn(self):
        self._show_direction(not self.descending)
        self.sort_chosen.emit(self.sort.currentData(), self.descending)

    def _show_direction(self, descending):
        self.descending = descending
        self.direction.setIcon(theme.icon("down" if descending else "up"))


class IterationBar(QWidget):
    """Chooses one of a run's results; plays them; follows the newest while the run goes on."""
    chosen = pyqtSignal(object)               # an iteration's number, or FINAL

    def __init__(self):
        super().__init__()
        row = fill_with_bar(self)
        self.results = []
        self.play = icon_button("play", "Play the iterations (P)", self.toggle)
        self.slider = QSlider(Qt.Horizontal, toolTip="Iteration (< and >)")
        self.slider.setMinimumWidth(160)
        self.slider.valueChanged.connect(self._moved)
        self.label = QLabel()
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance("iteration 888 of 888  "))
        self.follow = QToolButton(text="Live", checkable=True, objectName="live",
                                  toolTip="Show each new iteration as soon as it is there")
        self.message = ElidedLabel(objectName="problem")
        row.addWidget(self.play)
        row.addWidget(self.slider, 2)
        row.addWidget(self.label)
        row.addWidget(self.follow)
        row.addWidget(self.message, 1)
        self._timer = QTimer(self, interval=FRAME, timeout=self._advance)

    @property
    def playing(self):
        return self._timer.isActive()

    def current(self):
        return self.results[self.slider.value()]

    def set_results(self, results, current):
        """Offer these results and show ``current`` as chosen, without a signal."""
        self.results = list(results)
        self.slider.blockSignals(True)
        self.slider.setRange(0, len(results) - 1)
        self.slider.setValue(self.results.index(current))
        self.slider.blockSignals(False)
        self.slider.setEnabled(len(results) > 1)
        self.play.setEnabled(len(results) > 1)
        self._describe()

    def say(self, text):
        """Show a line, of which the whole is in its tool tip."""
        self.message.setText(text)
        self.message.setToolTip(text)

    def step(self, steps):
        """Go that many results on, as far as there are any."""
        self.slider.setValue(self.slider.value() + steps)

    def toggle(self):
        """Start playing (from the beginning when at the end), or stop."""
        if self.playing:
            self._timer.stop()
        else:
            self.follow.setChecked(False)
            if self.slider.value() == self.slider.maximum():
                self.slider.setValue(0)
            self._timer.start()
        self.play.setIcon(theme.icon("pause" if self.playing else "play"))

    def _advance(self):
        if self.slider.value() == self.slider.maximum():
            self.toggle()
        else:
            self.step(1)

    def _moved(self):
        self._describe()
        self.chosen.emit(self.current())

    def _describe(self):
        numbered = [result for result in self.results if result is not FINAL]
        current = self.current()
        self.label.setText("final result" if current is FINAL else f"iteration {current} of {numbered[-1]}")
