"""The gallery's window for volumes: cards of three planes, slices to scroll through, pages of plots of all classes."""
from functools import partial

from PyQt5.QtCore import QRect, QSize, Qt
from PyQt5.QtGui import QColor, QFont
from PyQt5.QtWidgets import QShortcut

from ..gallery import theme
from ..gallery.classes import Classes
from ..gallery.controls import Choice, bar
from ..gallery.grid import ThumbnailDelegate
from ..gallery.pages import Page, PlotPage
from ..gallery.window import GalleryWindow
from .details import VolumeDetails
from .planes import PLANES
from .volumes import PROJECTIONS, SLICES, ClassVolumes

GAP = 3                 # px between the planes of a card
LEAST_NAMED = 80        # px of a plane that has room for its name
CARD = QSize(20, 62)    # px of a card around its picture, with some to spare
SMALLEST_FIRST, LARGEST_FIRST = 64, 280         # px of the planes when the window opens


class StripDelegate(ThumbnailDelegate):
    """Paints cards whose picture is a strip of three planes: gaps between them, and their names."""

    def paint_over(self, painter, target):
        side = target.width() / len(PLANES)
        font = QFont(painter.font())
        font.setPixelSize(11)
        painter.setFont(font)
        for place, name in enumerate(PLANES):
            left = round(target.x() + place * side)
            if place:
                painter.fillRect(left - GAP // 2, target.y(), GAP, target.height(), QColor(theme.CARD))
            if side >= LEAST_NAMED:
                painter.setPen(QColor(255, 255, 255, 150))
                painter.drawText(QRect(left + 6, target.y() + 3, 40, 16), Qt.AlignLeft | Qt.AlignVCenter, name)


class VolumeWindow(GalleryWindow):
    """Shows a :class:`~.volumes.VolumePictures`; the arguments are those of the gallery."""
    first_size, delegate = (1500, 940), StripDelegate

    @property
    def details_width(self):
        """Where there is nothing but slices, these get more room."""
        return 570 if self.run else 760

    def first_thumbnail(self, count):
        """As large as lets all be seen at once, within limits."""
        width, height = self.first_size[0] - self.details_width - 20, self.first_size[1] - 160
        size = max(min((width / columns - CARD.width()) / len(PLANES), height / -(-count // columns) - CARD.height())
                   for columns in range(1, min(count, 20) + 1))
        return int(min(max(size, SMALLEST_FIRST), LARGEST_FIRST))

    def above_grid(self):
        """What changes the thumbnails' look is there, too: it would not fit into the bar of the window."""
        controls, row = bar()
        row.addWidget(self.top.grid_controls)
        row.addStretch(1)
        return [controls, *super().above_grid()]

    def make_details(self):
        return VolumeDetails(classes=isinstance(self.pictures, Classes))

    def make_pages(self):
        self.convergence = PlotPage(_draw_history)
        self.fsc, self.orientations, self.coverage = (
            PlotPage(partial(_draw_classes, name)) for name in ("fsc", "orientations", "coverage"))
        return [Page("Convergence", "Plots over the iterations", self.convergence, "plots", follows=False),
                Page("FSC", "Fourier shell correlation of every class", self.fsc, "FSC curves"),
                Page("Orientations", "Where the particles of every class look", self.orientations, "orientations"),
                Page("Coverage", "What was observed of every class in Fourier space", self.coverage, "coverage")]

    def _build(self):
        super()._build()
        self.views = Choice(("Slices", "Projections"), ("Central slices across z, y and x (V)",
                                                        "Sums along z, y and x (V)"))
        self.top.add_control("Show", self.views)
        self.saving.menu.addAction("Volume…", self._ask_volume)

    def _connect(self):
        super()._connect()
        self.views.chosen.connect(self.set_view)
        QShortcut("V", self, lambda: self.set_view(PROJECTIONS if self.pictures.view == SLICES else SLICES))

    def set_view(self, view):
        """Cards of central slices or of projections."""
        self.pictures.view = view
        self.views.set(view)
        self.model.set_levels(self._levels())
        self._show_details()

    def _ask_volume(self):
        item = self._current_item()
        if item is None:
            return self.tell("No volume is chosen.")
        name = self.pictures.name(item).lower().replace(" ", "")
        self.saving.ask("Save the volume", f"{name}.mrc", "MRC volumes (*.mrc)",
                        lambda path: self.pictures.save_volume(path, item))


def _draw_history(figure, run, iteration, only):
    from .. import plots3d, style
    plots3d.draw(figure, run.history(), style=style.DARK)


def _draw_classes(name, figure, run, iteration, only):
    from .. import plots3d, style
    plots3d.draw_classes(figure, ClassVolumes(run, iteration), name, style.DARK)
