"""The gallery's window: the grid, the details beside it, the bars, and the page of plots."""
from functools import partial

import numpy as np
from PyQt5.QtCore import QTimer
from PyQt5.QtGui import QKeySequence
from PyQt5.QtWidgets import (
    QFileDialog,
    QLabel,
    QMainWindow,
    QMessageBox,
    QShortcut,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from ...programs.errors import UserError
from ...programs.mref_results import MrefRun
from . import export
from .controls import IterationBar, TopBar, bar
from .details import Details
from .grid import ThumbnailDelegate, ThumbnailModel, ThumbnailView
from .pages import Page, PlotPage, draw_history, draw_poses, draw_spectra

POLL = 1500                 # ms between looks for new iterations
CLASSES, CONVERGENCE = range(2)     # pages; others may follow


class GalleryWindow(QMainWindow):
    """Shows a ``Pictures``; with a run, also its other iterations, its members and its plots.

    iterations : the only iterations that can be chosen, None for all (and the final result)
    follow     : show each new iteration as it comes
    title      : instead of the pictures' own
    """
    first_size, details_width, delegate = (1320, 860), 460, ThumbnailDelegate

    def __init__(self, pictures, run=None, iterations=None, follow=False, title=""):
        super().__init__()
        self.title = title
        self.run, self.only, self.pictures = run, iterations, pictures
        self.sort, self.descending = pictures.default_sort, pictures.columns[pictures.default_sort].descending
        self.each = False
        self.model = ThumbnailModel(aspect=pictures.aspect, parent=self)
        self.view = ThumbnailView(self.model, self.first_thumbnail(len(pictures)), 2 if run else 1, self.delegate)
        self.plots = self.make_pages() if run else []
        self.details = self.make_details()
        self.top = TopBar({"Classes": "The class averages", **{page.name: page.tip for page in self.plots}})
        self.iterations, self.status = IterationBar(), QLabel(objectName="muted")
        self._build()
        self._connect()
        self.top.offer(pictures.columns, self.sort)
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

    def make_grid(self):
        """What is left of the details: the thumbnails."""
        return self.view

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
        return pages

    def _build(self):
        self.resize(*self.first_size)
        split = QSplitter()
        split.addWidget(self.make_grid())
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
        row.addWidget(self.status)
        self.status.setMinimumHeight(34)
        self.iterations.setVisible(self.run is not None)
        self.top.pages.setVisible(self.run is not None)
        if self.run is None:
            row.insertStretch(0)
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.top)
        column.addWidget(self.pages, 1)
        column.addWidget(self.below)
        self.setCentralWidget(centre)
        menu = self.top.save.menu()
        menu.addAction("Picture of the gallery…", self._ask_picture)
        menu.addAction("Table of the numbers…", self._ask_table)
        for page in self.plots:
            menu.addAction(f"Picture of the {page.contents}…", partial(self._ask_page, page))

    def _connect(self):
        self.top.sort_chosen.connect(self.set_sort)
        self.top.contrast_chosen.connect(self.set_contrast)
        self.top.size_chosen.connect(self.view.set_size)
        self.top.zoomed.connect(self.view.zoom)
        self.top.page_chosen.connect(self.set_page)
        self.top.slider.setValue(self.view.size)
        self.view.zoomed.connect(self.top.slider.setValue)
        self.view.selectionModel().currentChanged.connect(lambda *_: self._show_details())
        self.view.selectionModel().selectionChanged.connect(self._count_selection)
        self.iterations.chosen.connect(self.show_result)
        self.iterations.follow.toggled.connect(self.poll)
        for keys, action in (("P", self.iterations.toggle), (",", lambda: self.iterations.step(-1)),
                             (".", lambda: self.iterations.step(1)), ("<", lambda: self.iterations.step(-1)),
                             (">", lambda: self.iterations.step(1))):
            if self.run:
                QShortcut(QKeySequence(keys), self, action)
        QShortcut(QKeySequence.Save, self, self._ask_picture)
        QShortcut(QKeySequence.Close, self, self.close)

    # ---- what it shows

    def set_page(self, page):
        self.top.pages.set(page)
        self.pages.setCurrentIndex(page)
        self.top.grid_controls.setVisible(page == CLASSES)
        self.below.setVisible(page == CLASSES or self.plots[page - 1].follows)
        self.status.setVisible(page == CLASSES)
        self._draw_page()

    def set_sort(self, key, descending):
        """Sort by a column; selected items stay selected."""
        self.sort, self.descending = key, descending
        chosen, current = self.view.selected_items(), self._current_item()
        self.model.set_order(self.pictures.order(key, descending))
        self.view.select_items(chosen, current)
        self.view.scrollTo(self.view.currentIndex())

    def set_contrast(self, each):
        """each: every image has grey levels of its own; otherwise all share theirs."""
        self.each = each
        self.top.contrast.set(int(each))
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
        places = [self.pictures.keys[item] for item in self.model.order] if self.iterations.playing else []
        self._show(pictures, places)
        items = {key: item for item, key in enumerate(pictures.keys)}
        self.view.select_items([items[key] for key in chosen if key in items], items.get(current))
        self._show_details()
        self._draw_page()

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

    def _draw_page(self):
        """Draw the plots of the page that is looked at."""
        page = self.pages.currentIndex()
        if page != CLASSES:
            self.plots[page - 1].widget.show_result(self.run, self.pictures.iteration, self.only)

    def _results(self):
        results = self.run.results()
        return [result for result in results if result in self.only] if self.only else results

    def _show(self, pictures, places=()):
        """Show other pictures, sorted, or in the order of the keys ``places`` as far as it goes."""
        self.pictures = pictures
        order = pictures.order(self.sort, self.descending)
        if places:
            rank = {key: place for place, key in enumerate(places)}
            order = sorted(order, key=lambda item: rank.get(pictures.keys[item], len(rank)))
        self.model.show(pictures, order, self._levels())
        self.top.title.setText(self.title or pictures.title)
        self.top.subtitle.setText(pictures.subtitle())
        self.setWindowTitle(f"{self.top.title.text()} - mlalign")
        self._count_selection()

    def _levels(self):
        return None if self.each else self.pictures.levels()

    # ---- selection

    def _select_first(self):
        if self.model.rowCount():
            self.view.select_items([int(self.model.order[0])], int(self.model.order[0]))

    def _current_item(self):
        index = self.view.currentIndex()
        return self.model.item(index) if index.isValid() else None

    def _show_details(self):
        self.details.show_item(self.pictures, self._current_item(), self.model.levels)

    def _count_selection(self, *_):
        self.status.setText(self.pictures.summary(self.view.selected_items()))

    # ---- saving

    def _ask_picture(self):
        self.ask("Save a picture of the gallery", "gallery.png", "Pictures (*.png *.jpg *.tif)",
                 lambda path: export.save_picture(path, self.view))

    def _ask_table(self):
        self.ask("Save the table", "classes.csv", "Comma-separated values (*.csv)",
                 lambda path: export.save_table(path, self.pictures, self.model.order))

    def _ask_page(self, page):
        page.widget.resize(self.pages.size())          # as large as when it is looked at
        page.widget.show_result(self.run, self.pictures.iteration, self.only)
        self.ask(f"Save a picture of the {page.contents}", f"{page.name.lower()}.png", "Pictures (*.png *.jpg *.tif)",
                 lambda path: export.save_image(path, page.widget.grab()))

    def ask(self, title, name, kinds, save):
        """Let the user choose a file, ``name`` proposed, and call ``save(path)``; its UserErrors are told."""
        path, _ = QFileDialog.getSaveFileName(self, title, name, kinds)
        if path:
            try:
                save(path)
            except UserError as error:
                self.tell(str(error))

    def tell(self, text):
        QMessageBox.warning(self, "mlalign view", text)

    def closeEvent(self, event):
        self._polling.stop()
        self.details.stop()
        super().closeEvent(event)
