"""The gallery's window: the grid, the details beside it, the bars, and the page of plots."""
import numpy as np
from PyQt5.QtCore import Qt, QTimer
from PyQt5.QtGui import QKeySequence
from PyQt5.QtWidgets import QMainWindow, QMessageBox, QShortcut, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from ...programs.errors import UserError
from ...programs.mref_results import MrefRun
from ...programs.msa2d_results import Refine2dRun
from . import filters
from .background import Background
from .controls import IterationBar, TopBar, bar
from .details import Details
from .grid import ThumbnailDelegate, ThumbnailModel, ThumbnailView
from .gridbar import GridBar
from .pages import Page, PlotPage, draw_history, draw_map, draw_poses, draw_spectra
from .saving import Saving
from .selection import SelectionBar, SubsetMaker

POLL = 1500                 # ms between looks for new iterations
CLASSES, CONVERGENCE = range(2)     # pages; others may follow


class GalleryWindow(QMainWindow):
    """Shows a ``Pictures``; with a run, also its other iterations, its members and its plots.

    iterations : the only iterations that can be chosen, None for all (and the final result)
    follow     : show each new iteration as it comes
    title      : instead of the pictures' own
    project, protocol_id : where subsets are made, see :meth:`offer_subsets`; None: nowhere
    """
    first_size, details_width, delegate = (1400, 900), 520, ThumbnailDelegate

    def __init__(self, pictures, run=None, iterations=None, follow=False, title=""):
        super().__init__()
        self.title = title
        self.run, self.only, self.pictures = run, iterations, pictures
        self.project = self.protocol_id = self.subsets = None
        self.sort, self.descending = pictures.default_sort, pictures.columns[pictures.default_sort].descending
        self.filter, self.each, self.places, self.missing = "", False, [], set()
        self.computing = Background(self)
        self.model = ThumbnailModel(aspect=pictures.aspect, parent=self)
        self.view = ThumbnailView(self.model, self.first_thumbnail(len(pictures)),
                                  2 if "particles" in pictures.columns else 1, self.delegate)
        self.plots = self.make_pages() if run else []
        self.details = self.make_details()
        self.top = TopBar({"Classes": "The class averages", **{page.name: page.tip for page in self.plots}})
        self.gridbar, self.selection = GridBar(pictures.filter_example, pictures.can_centre), SelectionBar()
        self.iterations, self.status, self.strip = IterationBar(), self.selection.status, self.selection.strip
        self._build()
        self._connect()
        self.top.offer(pictures.offered(), self.sort)
        self._show(pictures)
        self._select_first()
        self._polling = QTimer(self, interval=POLL, timeout=self.poll)
        if run:
            self.iterations.set_results(self._results(), pictures.iteration)
            self.iterations.follow.setChecked(follow)
            self._polling.start()
        self.view.setFocus()

    # ---- what it is made of

    def first_thumbnail(self, count):
        """Size of thumbnails of which a few dozen can be seen at once."""
        return int(np.clip(round(760 / np.sqrt(max(count, 1))), 96, 260))

    def above_grid(self):
        """Widgets above the thumbnails."""
        return [self.gridbar]

    def make_details(self):
        """The :class:`~.details.DetailsPane` beside the grid."""
        return Details()

    def make_pages(self):
        """The run's :class:`~.pages.Page` list, that of the convergence first."""
        self.convergence, self.spectra = PlotPage(draw_history), PlotPage(draw_spectra)
        pages = [Page("Convergence", "Plots over the iterations", self.convergence, "plots", follows=False)]
        if self.run.has_spectra(self.pictures.iteration):
            pages.append(Page("Spectra", "Power of noise and signal at an iteration", self.spectra, "spectra"))
        if MrefRun.of_run(self.run):
            pages.append(Page("Poses", "Shifts, rotations and correlations of the particles at an iteration",
                              PlotPage(draw_poses), "poses"))
        if Refine2dRun.of_run(self.run):
            pages.append(Page("Map", "Particles along the eigenimages of a cycle, coloured by class",
                              PlotPage(draw_map), "map"))
        return pages

    def _build(self):
        self.resize(*self.first_size)
        split = QSplitter()
        split.addWidget(_column(*self.above_grid(), self.view, self.selection, stretched=self.view))
        split.addWidget(self.details)
        split.setHandleWidth(1)
        split.setStretchFactor(0, 1)
        split.setSizes([self.first_size[0] - self.details_width, self.details_width])
        split.setCollapsible(0, False)
        self.pages = QStackedWidget()
        self.pages.addWidget(split)
        for page in self.plots:
            self.pages.addWidget(page.widget)
        self.below, row = bar()
        row.setContentsMargins(0, 0, 14, 0)
        row.addWidget(self.iterations, 1)
        self.below.setVisible(self.run is not None)
        self.top.pages.setVisible(self.run is not None)
        self.setCentralWidget(_column(self.top, self.pages, self.below, stretched=self.pages))
        self.saving = Saving(self)

    def _connect(self):
        self.top.sort_chosen.connect(self.set_sort)
        self.top.contrast_chosen.connect(self.set_contrast)
        self.top.size_chosen.connect(self.view.set_size)
        self.top.zoomed.connect(self.view.zoom)
        self.top.page_chosen.connect(self.set_page)
        self.top.slider.setValue(self.view.size)
        self.view.zoomed.connect(self.top.slider.setValue)
        self.view.arranged.connect(self._scale)
        self.view.selectionModel().currentChanged.connect(lambda *_: self._show_details())
        self.view.selectionModel().selectionChanged.connect(self._count_selection)
        self.gridbar.filtered.connect(self.set_filter)
        self.gridbar.centred.connect(self.set_centred)
        self.gridbar.left.connect(self.view.setFocus)
        self.view.setContextMenuPolicy(Qt.CustomContextMenu)
        self.view.customContextMenuRequested.connect(
            lambda place: self.selection.choose.menu().popup(self.view.viewport().mapToGlobal(place)))
        self.selection.all_asked.connect(self.view.selectAll)
        self.selection.none_asked.connect(self.view.clearSelection)
        self.selection.invert_asked.connect(self.view.invert)
        self.selection.by_score.toggled.connect(self.choose_by_score)
        self.strip.moved.connect(self._threshold_moved)
        self.strip.closed.connect(lambda: self.selection.by_score.setChecked(False))
        self.strip.failed.connect(lambda problem: self.selection.say(problem, True))
        self.iterations.chosen.connect(self.show_result)
        self.iterations.follow.toggled.connect(self.poll)
        self.details.result_chosen.connect(self._go_to)
        for keys, action in (("P", self.iterations.toggle), (",", lambda: self.iterations.step(-1)),
                             (".", lambda: self.iterations.step(1)), ("<", lambda: self.iterations.step(-1)),
                             (">", lambda: self.iterations.step(1))):
            if self.run:
                QShortcut(QKeySequence(keys), self, action)
        for keys, action in ((QKeySequence.Save, self.saving.picture), (QKeySequence.Close, self.close),
                             (QKeySequence.Find, self.gridbar.filter.setFocus),
                             ("Ctrl+I", self.view.invert), ("C", self.gridbar.centre.click)):
            QShortcut(QKeySequence(keys), self, action)

    # ---- what it shows

    def set_page(self, page):
        self.top.pages.set(page)
        self.pages.setCurrentIndex(page)
        self.top.grid_controls.setVisible(page == CLASSES)
        self.below.setVisible(self.run is not None and (page == CLASSES or self.plots[page - 1].follows))
        self._draw_page()

    def set_sort(self, key, descending):
        """Sort by a column, when it has been computed; selected items stay selected."""
        self.sort, self.descending, self.places = key, descending, self._places(key)
        self.top.show_sort(key, descending)
        self._arrange()

    def set_filter(self, text):
        """Show only what the filter lets through (see :mod:`.filters`); a wrong one is told, and changes nothing."""
        self.filter = text
        self._arrange()

    def set_contrast(self, each):
        """each: every image has grey levels of its own; otherwise all share theirs."""
        self.each = each
        self.top.contrast.set(int(each))
        self.model.set_levels(self._levels())
        self._show_details()

    def set_centred(self, centred):
        """Whether every image's bright part is moved into the middle."""
        self.pictures.centred = centred
        self.gridbar.centre.setChecked(centred)
        self.model.set_levels(self._levels())
        self._show_details()

    def show_result(self, iteration):
        """Show the classes of another iteration (or FINAL); selection and, while playing, places stay."""
        try:
            pictures = self.pictures.at(iteration)
        except UserError as error:
            return self.iterations.say(str(error))
        self.iterations.say("")
        chosen = [self.pictures.keys[item] for item in self.view.selected_items()]
        current = self._current_item()
        current = None if current is None else self.pictures.keys[current]
        self.places = self._places(self.sort if self.sort in pictures.columns else None)
        self._show(pictures)
        items = {key: item for item, key in enumerate(pictures.keys)}
        self.view.select_items([items[key] for key in chosen if key in items], items.get(current))
        self._show_details()
        self._draw_page()

    def _places(self, sort):
        """Keys of the items where they are, which is where they stay while playing or until ``sort`` is known."""
        stay = self.iterations.playing or sort not in self.pictures.columns
        return [self.pictures.keys[item] for item in self.model.order] if stay else []

    def poll(self):
        """Look for new iterations; show the newest when following, or when the one shown has gone."""
        results, current = self._results(), self.pictures.iteration
        if not results:
            return
        follow = self.iterations.follow.isChecked() or current not in results
        wanted = results[-1] if follow else current
        new = results != self.iterations.results
        self.iterations.set_results(results, wanted)
        if wanted != current:
            self.show_result(wanted)
        elif new:
            self._draw_page()

    def _go_to(self, result):
        """Show a result as if it were chosen by the slider."""
        if result in self.iterations.results:
            self.iterations.slider.setValue(self.iterations.results.index(result))

    def _draw_page(self):
        """Draw the plots of the page that is looked at."""
        page = self.pages.currentIndex()
        if page != CLASSES:
            self.plots[page - 1].widget.show_result(self.run, self.pictures.iteration, self.only)

    def _results(self):
        results = self.run.results()
        return [result for result in results if result in self.only] if self.only else results

    def _show(self, pictures):
        """Show other pictures."""
        self.pictures = pictures
        self.model.show(pictures, self._order(), self._levels())
        self.top.title.setText(self.title or pictures.title)
        self.top.subtitle.setText(pictures.subtitle())
        self.setWindowTitle(f"{self.top.title.text()} - mlalign")
        self._scale()
        self._count_selection()
        self._compute()
        self.strip.follow(pictures, self.model.order)

    def _arrange(self):
        """Order and filter what is shown anew; selected items stay selected."""
        chosen, current = self.view.selected_items(), self._current_item()
        self.model.set_order(self._order())
        self.view.select_items(chosen, current)
        self.view.scrollTo(self.view.currentIndex())
        self._count_selection()
        self._compute()
        self.strip.follow(self.pictures, self.model.order)

    def _order(self):
        """The items to show, in order, as far as what they are sorted by and filtered is known."""
        pictures, shown = self.pictures, np.ones(len(self.pictures), bool)
        pictures.told, unfiltered = self.sort, filters.needed(pictures, self.filter)
        self.missing = unfiltered | ({self.sort} - pictures.columns.keys())
        order = (pictures.order(pictures.default_sort, pictures.columns[pictures.default_sort].descending)
                 if self.sort in self.missing else pictures.order(self.sort, self.descending))
        if self.places:
            rank = {key: place for place, key in enumerate(self.places)}
            order = sorted(order, key=lambda item: rank.get(pictures.keys[item], len(rank)))
        if not unfiltered:
            try:
                shown = filters.matching(pictures, self.filter)
            except UserError as error:
                self.gridbar.say(str(error))
                return order
        self.gridbar.say("", f"{shown.sum():,} of {len(pictures):,}" if self.filter.strip() else "")
        return [item for item in order if shown[item]]

    def _compute(self):
        """Compute the columns that were missing when things were put in order, then arrange anew."""
        pictures, needed = self.pictures, self.missing - ({self.sort} if self.iterations.playing else set())
        if not needed:
            return
        names = " and ".join(pictures.computed[key].label.lower() for key in sorted(needed))
        self.selection.say(f"Computing the {names}…")

        def arrived(_, problem):
            self.selection.say(problem, bool(problem))
            if not problem and pictures is self.pictures:
                self.places = []
                self._arrange()
                self._show_details()

        self.computing.start(lambda: [pictures.column(key) for key in needed], arrived)

    def _levels(self):
        return None if self.each else self.pictures.levels()

    def _scale(self):
        pictures = self.pictures
        self.gridbar.scale.show_scale(pictures.pixel_size, pictures.source.size, self.view.shown)

    # ---- selection

    def choose_by_score(self, on):
        """Open or close the strip by which items are chosen whose score or other number is good enough."""
        self.selection.by_score.setChecked(on)
        if on:
            self.strip.begin(self.pictures, self.model.order)
        else:
            self.strip.finish()
            self.model.set_rejected(())
            self.view.setFocus()

    def offer_subsets(self, project, protocol_id):
        """Offer to make subsets of the classes of that protocol in that Scipion project."""
        self.project, self.protocol_id = project, protocol_id
        self.subsets = SubsetMaker(project, protocol_id, self)
        self.subsets.said.connect(self.selection.say)
        self.selection.subset.show()
        self.selection.subset_asked.connect(
            lambda kind: self.create_subset(kind, sorted(int(self.pictures.keys[item])
                                                         for item in self.view.selected_items())))

    def create_subset(self, kind, refs):
        """Make a set in the project of the classes of these numbers; the answer is told in the bar below.

        kind: ``classes``, ``particles`` or ``averages``, what the set is to hold
        """
        self.subsets.make(kind, refs, self.pictures.iteration)

    def _threshold_moved(self, kept, rejected):
        self.model.set_rejected(rejected.tolist())
        self.view.select_items(kept)

    def _select_first(self):
        if self.model.rowCount():
            self.view.select_items([int(self.model.order[0])], int(self.model.order[0]))

    def _current_item(self):
        index = self.view.currentIndex()
        return self.model.item(index) if index.isValid() else None

    def _show_details(self):
        self.details.show_item(self.pictures, self._current_item(), self.model.levels, self.view.selected_items())

    def _count_selection(self, *_):
        items = self.view.selected_items()
        columns = self.pictures.columns
        particles = columns["particles"].values[items].sum() if "particles" in columns else 0
        self.selection.count(self.pictures.summary(items), len(items), particles)
        self.details.show_chosen(items)

    # ---- the end

    def tell(self, text):
        QMessageBox.warning(self, "mlalign view", text)

    def closeEvent(self, event):
        self._polling.stop()
        self.computing.forget()
        self.details.stop()
        super().closeEvent(event)


def _column(*parts, stretched):
    """A widget with others below one another, of which one takes the room that is left."""
    widget = QWidget()
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for part in parts:
        column.addWidget(part, int(part is stretched))
    return widget
