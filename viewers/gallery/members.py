"""What the details show of a class's particles: themselves, how their poses and scores are spread, their past."""
import numpy as np
from PyQt5.QtCore import QModelIndex, Qt, pyqtSignal
from PyQt5.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from . import theme
from .background import Background
from .controls import Choice
from .grid import ThumbnailModel, ThumbnailView
from .pages import new_canvas

FILTERS = (0, 4, 8, 16)            # low-pass periods offered for members, px; 0: as they are
FIRST_FILTER = 2                   # which of them is on at first
POPUP = 170                        # px, width of the lists that boxes open


class MembersPane(QWidget):
    """The particles of a class, turned, mirrored and shifted as the class average saw them.

    Their table is read on another thread, and of their images only those that are in view.
    """

    def __init__(self, parent=None):
        super().__init__(parent)
        self.members, self.background = None, Background(self)
        self.model = ThumbnailModel(threaded=True, parent=self)
        self.view = ThumbnailView(self.model, 72, lines=0, parent=self)
        self.count = QLabel(objectName="muted")
        self.problem = problem_label()
        self.filter = theme.ComboBox(toolTip="Low-pass filter of the members: raw particles are mostly noise")
        self.filter.currentIndexChanged.connect(self._filter_changed)
        self.sort = theme.ComboBox(toolTip="Order of the members")
        self.sort.activated.connect(self._sort_changed)
        for box, letters in ((self.filter, 5), (self.sort, 6)):        # beside the buttons there is not much room
            box.setSizeAdjustPolicy(box.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(letters)
            box.view().setMinimumWidth(POPUP)
        column_of(self, self.problem, (self.view, 1))
        self._offer_filters(None)

    def controls(self):
        """What belongs above the members."""
        return self.count, self.sort, self.filter

    def show_item(self, pictures, item):
        """Show the members of an item when they have been read."""
        self.count.setText("reading…")
        self.background.start(lambda: pictures.members(item), self.show_members)

    def show_members(self, members, problem=""):
        """members: a :class:`.pictures.MemberPictures`, None for an empty class or because of a problem."""
        self.background.forget()
        self.members = members
        tell(self.problem, problem)
        self._offer_filters(members.pixel_size if members else None)
        self._offer_orders(members)
        if members:
            members.period = self.filter.currentData()
        self.count.setText(f"{len(members):,}" if members else "none")
        self._order()
        self.view.scrollToTop()

    def stop(self):
        self.background.forget()
        self.model.stop()

    def _order(self):
        chosen = self.sort.currentData()
        if self.members is None:
            order = []
        elif chosen is None:
            order = np.arange(len(self.members))
        else:
            order = self.members.order(*chosen)
        self.model.show(self.members, order)

    def _offer_filters(self, pixel_size):
        chosen = FILTERS.index(self.filter.currentData()) if self.filter.count() else FIRST_FILTER
        self.filter.blockSignals(True)
        self.filter.clear()
        for period in FILTERS:
            length = f"{period * pixel_size:.3g} Å" if pixel_size else f"{period} px"
            self.filter.addItem(f"LP {length}" if period else "unfiltered", period)
        self.filter.setCurrentIndex(chosen)
        self.filter.blockSignals(False)

    def _offer_orders(self, members):
        """As they come, and by their scores, the best or the worst first; what was chosen stays chosen."""
        chosen = self.sort.currentText()
        self.sort.clear()
        self.sort.addItem("as read", None)
        for label, name in members.SCORES.items() if members else ():
            if label in members.columns:
                self.sort.addItem(f"best {name}", (label, True))
                self.sort.addItem(f"worst {name}", (label, False))
        self.sort.setCurrentIndex(max(self.sort.findText(chosen), 0))
        self.sort.setEnabled(self.sort.count() > 1)

    def _filter_changed(self):
        if self.members:
            self.members.period = self.filter.currentData()
            self.model.set_levels(None)

    def _sort_changed(self):
        self._order()
        self.view.scrollToTop()


class SpreadPane(QWidget):
    """Histograms of the scores, shifts and angles of the particles of one or several classes."""

    def __init__(self, parent=None):
        super().__init__(parent)
        self.columns, self.canvas, self.background = None, None, Background(self)
        self.count, self.problem = QLabel(objectName="muted"), problem_label()
        self._stack = QStackedWidget()
        self._empty = QLabel(objectName="muted", alignment=Qt.AlignCenter, wordWrap=True)
        self._stack.addWidget(self._empty)
        column_of(self, self.problem, (self._stack, 1))

    def controls(self):
        return self.count,

    def show_items(self, pictures, items):
        """Draw the particles of all these items when they have been read."""
        of = f"of {len(items)} classes" if len(items) > 1 else ""
        self.count.setText(f"{of} reading…".strip())
        self.background.start(lambda: pictures.particles(items),
                              lambda columns, problem: self._show(columns, of, problem))

    def _show(self, columns, of, problem):
        from . import spread
        self.columns = columns
        tell(self.problem, problem)
        count = len(next(iter(columns.values()), ())) if columns else 0
        self.count.setText(f"{count:,} {of}".strip() if count else "none")
        if not count or not spread.panels(columns):
            self._empty.setText("" if problem else "no particles" if not count else "no poses or scores")
            return self._stack.setCurrentWidget(self._empty)
        if self.canvas is None:
            self.canvas = new_canvas()
            self._stack.addWidget(self.canvas)
            self.canvas.resize(self._stack.size())
        from .. import style
        spread.draw(self.canvas.figure, columns, style.DARK)
        self.canvas.draw_idle()
        self._stack.setCurrentWidget(self.canvas)

    def stop(self):
        self.background.forget()


class DevelopmentPane(QWidget):
    """One class at every iteration, in a row to compare; a double click goes to that iteration."""
    chosen = pyqtSignal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.pictures, self.background = None, Background(self)
        self.model = ThumbnailModel(threaded=True, parent=self)
        self.view = ThumbnailView(self.model, 84, lines=1, parent=self)
        self.count, self.problem = QLabel(objectName="muted"), problem_label()
        column_of(self, self.problem, (self.view, 1))
        self.view.doubleClicked.connect(self._go)
        self.view.setToolTip("A double click goes to that iteration")

    def controls(self):
        return self.count,

    def show_item(self, pictures, item):
        self.count.setText("reading…")
        self.background.start(lambda: pictures.development(item), self._show)

    def _show(self, pictures, problem):
        tell(self.problem, problem)
        self.pictures = pictures
        self.count.setText(f"{len(pictures)} results" if pictures else "none")
        self.model.show(pictures, range(len(pictures)) if pictures else [], pictures and pictures.levels())
        if pictures and pictures.shown is not None:
            self.view.select_items([pictures.shown], pictures.shown)
            self.view.scrollTo(self.view.currentIndex())

    def _go(self, index):
        if isinstance(index, QModelIndex) and index.isValid():
            self.chosen.emit(self.pictures.results[self.model.item(index)])

    def stop(self):
        self.background.forget()
        self.model.stop()


class ParticlesPane(QWidget):
    """Members, their spread, and the class's development: one of them at a time, as buttons above say.

    Only the one that is looked at is read.
    """
    MEMBERS, SPREAD, DEVELOPMENT = range(3)

    def __init__(self, parent=None):
        super().__init__(parent)
        self.members, self.spread, self.development = MembersPane(), SpreadPane(), DevelopmentPane()
        self.panes = self.members, self.spread, self.development
        self.choice = Choice(("Members", "Histograms", "Iterations"),
                             ("The class's particles, aligned", "Scores, shifts and angles of the particles of all "
                              "chosen classes", "The class average at every iteration"))
        self._stack, self._shown, self._asked = QStackedWidget(), None, None
        header = QHBoxLayout()
        header.addWidget(self.choice)
        header.addSpacing(4)
        self._controls = [pane.controls() for pane in self.panes]
        for pane, controls in zip(self.panes, self._controls):
            self._stack.addWidget(pane)
            for place, widget in enumerate(controls):
                if place == 1:
                    header.addStretch()
                header.addWidget(widget)
        header.addStretch()
        column = column_of(self, (self._stack, 1))
        column.insertLayout(0, header)
        self.choice.chosen.connect(self.set_page)
        self.set_page(self.MEMBERS)

    def set_page(self, page):
        self.choice.set(page)
        self._stack.setCurrentIndex(page)
        for number, controls in enumerate(self._controls):
            for widget in controls:
                widget.setVisible(number == page)
        self._fill()

    def show_items(self, pictures, item, chosen):
        """item: whose members and development; chosen: items whose spread is shown, ``item`` when there are none."""
        self._asked = pictures, item, tuple(chosen) or (item,)
        self.choice.group.button(self.DEVELOPMENT).setEnabled(pictures.has_development)
        if not pictures.has_development and self._stack.currentIndex() == self.DEVELOPMENT:
            return self.set_page(self.MEMBERS)
        self._fill()

    def show_chosen(self, chosen):
        """Other items are chosen; the current one stays."""
        if self._asked is not None:
            self._asked = (*self._asked[:2], tuple(chosen) or self._asked[1:2])
            if self._stack.currentIndex() == self.SPREAD:
                self._fill()

    def busy(self):
        """Whether tables are still being read."""
        return any(pane.background.busy for pane in self.panes)

    def reading(self):
        """Whether thumbnails in view are still being read."""
        return any(pane.model.reading() for pane in (self.members, self.development))

    def stop(self):
        for pane in self.panes:
            pane.stop()

    def _fill(self):
        if self._asked is None:
            return
        page, (pictures, item, chosen) = self._stack.currentIndex(), self._asked
        wanted = page, pictures, pictures.centred, chosen if page == self.SPREAD else item
        if wanted == self._shown:
            return
        self._shown = wanted
        if page == self.SPREAD:
            self.spread.show_items(pictures, chosen)
        else:
            self.panes[page].show_item(pictures, item)


def column_of(widget, *parts):
    """Fill a widget with others, widgets or (widget, stretch), below one another; the layout."""
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        column.addWidget(*part) if isinstance(part, tuple) else column.addWidget(part)
    return column


def problem_label():
    label = QLabel(objectName="problem", wordWrap=True)
    label.setSizePolicy(QSizePolicy.Ignored, QSizePolicy.Preferred)
    label.hide()
    return label


def tell(label, problem):
    """Show a problem, "" for none; lines may break inside a path."""
    label.setText(problem.replace("/", "/\u200b"))
    label.setVisible(bool(problem))
