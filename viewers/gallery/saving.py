"""The menu by which what the window shows is saved."""
import time
from functools import partial
from pathlib import Path

from PyQt5.QtWidgets import QApplication, QFileDialog

from ...programs.errors import UserError
from . import export

PATIENCE = 10           # s that a picture of the details waits for what is in view to be read


class Saving:
    """Fills the window's menu of what can be saved, asks for the files, and tells what went wrong."""

    def __init__(self, window):
        self.window, self.menu = window, window.top.save.menu()
        self.menu.addAction("Picture of the gallery…\tCtrl+S", self.picture)
        self.menu.addAction("Picture of the details…", self.details)
        self.menu.addAction("Table of the numbers…", self.table)
        for page in window.plots:
            self.menu.addAction(f"Picture of the {page.contents}…", partial(self.page, page))

    def picture(self):
        window = self.window
        self.ask("Save a picture of the gallery", "gallery.png", export.PICTURES,
                 lambda path: export.save_picture(path, window.view, window.pictures.pixel_size))

    def details(self):
        details = self.window.details
        name = details.heading.text().lower().replace(" ", "") or "details"

        def save(path):
            end = time.monotonic() + PATIENCE
            while (details.busy() or details.reading()) and time.monotonic() < end:
                QApplication.processEvents()
            export.save_widget(path, details)

        self.ask("Save a picture of the details", f"{name}.png", export.PICTURES, save)

    def table(self):
        window = self.window
        self.ask("Save the table", f"{window.pictures.contents}.csv", export.TABLES,
                 lambda path: export.save_table(path, window.pictures, window.model.order))

    def page(self, page):
        window = self.window
        page.widget.resize(window.pages.size())          # as large as when it is looked at
        page.widget.show_result(window.run, window.pictures.iteration, window.only)
        self.ask(f"Save a picture of the {page.contents}", f"{page.name.lower()}.png", export.PICTURES,
                 page.widget.save)

    def ask(self, title, name, kinds, save):
        """Let the user choose a file, ``name`` proposed, and call ``save(path)``; its UserErrors are told.

        A name without an ending gets the first of the kind that was chosen.
        """
        path, kind = QFileDialog.getSaveFileName(self.window, title, name, kinds)
        if not path:
            return
        if not Path(path).suffix:
            path += "." + kind.partition("*.")[2].split()[0].rstrip(")")
        try:
            save(path)
        except UserError as error:
            self.window.tell(str(error))
