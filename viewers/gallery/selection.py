"""The bar below the gallery: what is chosen, choosing by a threshold, and making subsets in a Scipion project."""
import sys

import numpy as np
from PyQt5.QtCore import QObject, QProcess, Qt, pyqtSignal
from PyQt5.QtWidgets import QHBoxLayout, QLabel, QMenu, QSlider, QToolButton, QVBoxLayout, QWidget

from ...programs.results import FINAL
from . import theme
from .background import Background
from .controls import ElidedLabel, bar, icon_button

PREFERRED = "score", "particles"        # columns that choosing by a threshold begins with
UNFIT = "number", "similarity"          # columns that say nothing of how good an item is
KINDS = {"classes": "{classes} with their particles", "particles": "Their {particles}",
         "averages": "Their averages"}          # of subsets, and what the menu calls them


class ThresholdStrip(QWidget):
    """Chooses the items whose number is good enough: each step of the slider rejects the worst that is left."""
    moved = pyqtSignal(object, object)        # arrays of the items kept and rejected
    closed = pyqtSignal()
    failed = pyqtSignal(str)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.pictures, self.items, self.threshold, self._background = None, [], None, Background(self)
        panel, row = bar()
        self.column = theme.ComboBox(toolTip="What the items are judged by")
        self.slider = QSlider(Qt.Horizontal, toolTip="Each step rejects the worst item that is left")
        self.slider.setMinimumWidth(120)
        self.label = QLabel()
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance("≥ 8.888e-05  ·  keeps 888, rejects 888"))
        done = QToolButton(text="Done", toolTip="Keep the selection and close this (Esc)", clicked=self.finish)
        for widget in (QLabel("Keep by", objectName="muted"), self.column, (self.slider, 1), self.label, done):
            row.addWidget(*widget) if isinstance(widget, tuple) else row.addWidget(widget)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(panel)
        self.column.activated.connect(lambda _: self._judge(None))
        self.slider.valueChanged.connect(self._slid)
        self.hide()

    def begin(self, pictures, items):
        """Open for these items of the pictures."""
        self.pictures, self.items, self.threshold = pictures, np.asarray(items, int), None
        offered = {key: column for key, column in pictures.offered().items() if key not in UNFIT}
        self.column.clear()
        for key, column in offered.items():
            self.column.addItem(column.label, key)
        first = next((key for key in PREFERRED if key in offered), None)
        self.column.setCurrentIndex(max(self.column.findData(first), 0))
        self.show()
        self._judge(None)

    def follow(self, pictures, items):
        """Others are shown, such as those of the next iteration: the threshold stays."""
        if not self.isHidden():
            self.pictures, self.items = pictures, np.asarray(items, int)
            self._judge(self.threshold)

    def busy(self):
        """Whether a column is still being computed."""
        return self._background.busy

    def finish(self):
        if not self.isHidden():
            self._background.forget()
            self.hide()
            self.closed.emit()

    def keyPressEvent(self, event):
        if event.key() == Qt.Key_Escape:
            self.finish()
        else:
            super().keyPressEvent(event)

    def _judge(self, threshold):
        """Judge by the column chosen, when it is there; threshold: None for the usual one."""
        pictures, key = self.pictures, self.column.currentData()
        self.threshold = threshold
        threshold = pictures.usual(key) if threshold is None else threshold
        self._background.forget()
        if key in pictures.columns:
            return self._offer(threshold, pictures.columns[key])
        self.slider.setEnabled(False)
        self.label.setText("computing…")
        self._background.start(lambda: pictures.column(key),
                               lambda column, problem: self._offer(threshold, column, problem))

    def _offer(self, threshold, column, problem=""):
        if problem:
            self.failed.emit(problem)
            return self.finish()
        values = np.asarray(column.values, float)[self.items]
        self._column = column
        self._goodness = np.where(np.isnan(values), -np.inf, values if column.descending else -values)
        self._sorted = np.sort(self._goodness)
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(len(values) - 1, 0))
        self.slider.setValue(int((self._goodness < threshold).sum()))
        self.slider.blockSignals(False)
        self.slider.setEnabled(True)
        self.slider.setFocus()
        self._slid()

    def _slid(self, *_):
        place = self.slider.value()
        self.threshold = self._sorted[place] if place else -np.inf
        kept = self._goodness >= self.threshold
        if np.isfinite(self.threshold):
            value = self.threshold if self._column.descending else -self.threshold
            bound = f"{'≥' if self._column.descending else '≤'} {self._column.text(value)}  ·  "
        else:
            bound = ""
        self.label.setText(f"{bound}keeps {kept.sum():,}, rejects {(~kept).sum():,}")
        self.moved.emit(self.items[kept], self.items[~kept])


class SelectionBar(QWidget):
    """How many items are chosen, and what can be done with them."""
    all_asked, none_asked, invert_asked = pyqtSignal(), pyqtSignal(), pyqtSignal()
    subset_asked = pyqtSignal(str)            # a key of KINDS

    def __init__(self, parent=None):
        super().__init__(parent)
        self.strip = ThresholdStrip()
        panel, row = bar()
        self.status, self.message = QLabel(objectName="muted"), ElidedLabel(objectName="muted")
        self.choose = choose = QToolButton(text="Choose", popupMode=QToolButton.InstantPopup, toolTip="Choose items")
        menu = QMenu(choose)
        for text, keys, signal in (("All", "Ctrl+A", self.all_asked), ("None", "Esc", self.none_asked),
                                   ("The others", "Ctrl+I", self.invert_asked)):
            menu.addAction(f"{text}\t{keys}", signal.emit)
        choose.setMenu(menu)
        self.by_score = QToolButton(text="Choose by score…", checkable=True,
                                    toolTip="Keep the items whose score, size or other number is good enough")
        self.subset = QToolButton(text="Create subset…", popupMode=QToolButton.InstantPopup, enabled=False,
                                  toolTip="Make a set of the chosen classes in the Scipion project")
        self.subset.setMenu(QMenu(self.subset))
        self.subset.hide()
        row.addWidget(self.status)
        row.addStretch(1)
        for widget in (choose, self.by_score, self.subset):
            row.addWidget(widget)
        self._line, told = bar()
        told.setContentsMargins(14, 6, 14, 0)
        told.addWidget(self.message, 1)
        told.addWidget(icon_button("cross", "Read", lambda: self.say("")))
        self._line.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        for widget in (self.strip, self._line, panel):
            column.addWidget(widget)

    def count(self, text, classes, particles):
        """Say what is chosen, as ``text``; classes, particles: how many, for the menu of subsets."""
        self.status.setText(text)
        self.subset.setEnabled(classes > 0)
        self.subset.menu().clear()
        counts = {"classes": f"{classes:,} class{'' if classes == 1 else 'es'}",
                  "particles": f"{particles:,.0f} particle{'' if particles == 1 else 's'}"}
        for kind, name in KINDS.items():
            self.subset.menu().addAction(name.format(**counts), lambda kind=kind: self.subset_asked.emit(kind))

    def say(self, text, problem=False):
        """Show a line above the bar, of which the whole is in its tool tip; "" for none."""
        self._line.setVisible(bool(text))
        self.message.setObjectName("problem" if problem else "muted")
        self.message.style().polish(self.message)
        self.message.setText(text)
        self.message.setToolTip(text)


class SubsetMaker(QObject):
    """Makes a subset of a protocol's classes in a Scipion project, by ``mlalign.subset`` in a process of its own.

    said : its answer, one line, and whether that is a problem
    """
    said = pyqtSignal(str, bool)

    def __init__(self, project, protocol, parent=None):
        super().__init__(parent)
        self.project, self.protocol = project, protocol
        self.process = QProcess(self)
        self.process.finished.connect(self._ended)
        self.process.errorOccurred.connect(self._failed)

    def command(self, kind, refs, iteration):
        """The process's arguments; refs: numbers of the classes; iteration: a number, or FINAL."""
        return ["-m", "mlalign.subset", "--project", str(self.project), "--protocol", str(self.protocol),
                "--kind", kind, "--classes", ",".join(map(str, refs)),
                "--iteration", "final" if iteration is FINAL else str(iteration)]

    def make(self, kind, refs, iteration):
        """Start it, unless the last one still goes on."""
        if self.process.state() != QProcess.NotRunning:
            return self.said.emit("The last subset is still being made.", True)
        self.said.emit(f"Making a subset of {len(refs):,} class{'' if len(refs) == 1 else 'es'}…", False)
        self.process.start(sys.executable, self.command(kind, refs, iteration))

    def _ended(self, code, status):
        output, errors = (bytes(stream()).decode(errors="replace").strip().splitlines()
                          for stream in (self.process.readAllStandardOutput, self.process.readAllStandardError))
        failed = code != 0 or status != QProcess.NormalExit
        lines = errors or output if failed else output or errors
        self.said.emit(lines[-1] if lines else f"mlalign.subset ended with exit status {code}" if failed
                       else "The subset has been made.", failed)

    def _failed(self, error):
        if error == QProcess.FailedToStart:
            self.said.emit(f"cannot start {sys.executable}: {self.process.errorString()}", True)
