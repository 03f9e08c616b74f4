"""What *Analyze results* shows for a run of refine2d, finished or not."""
from typing import NamedTuple

from pyworkflow.protocol.params import IntParam, LabelParam, Line, Positive

from mlalign.programs.errors import UserError
from mlalign.protocols import MlalignProtRefine2D

from . import cycles, particle_map
from .spectra import result_name
from .style import grid
from .viewer_base import Group
from .viewer_mref import MlalignViewerMref
from .views import GalleryView, figure_view, plot_view

MAP_CELL, PAIR_CELL = (9.0, 7.2), (4.2, 3.7)       # inches of the large map, and of a small one


class Images(NamedTuple):
    """A file of images that every cycle leaves: a title, the file's name, and what it tells."""
    title: str
    file: str
    meaning: str


IMAGES = {
    "basis": Images("Eigenimages", "basis_YY.hdf",
                    "The mean of the aligned averages and, after it, their main differences: what particles were told "
                    "apart by. Sharp details in the first are differences between views; noise in the last says that "
                    "there are more than enough."),
    "aliref": Images("Alignment references", "aliref_YY.hdf",
                     "The few averages, as different from each other as possible, that particles were aligned to. They "
                     "should be distinct views of the particle; where they are not, other particles suffer as well."),
    "allrefs": Images("Aligned averages", "allrefs_YY.hdf",
                      "The averages that the cycle began with, filtered, centred and aligned to each other, so that "
                      "their differences are those of the particles and not of how they lie."),
}


class MlalignViewerRefine2D(MlalignViewerMref):
    """Opens the class gallery, the images of a cycle and the plots of a run of refine2d."""

    _label = "refine2d results"
    _targets = [MlalignProtRefine2D]
    _shownOf = "Classes, images, curves and maps"
    _galleryHelp = ("Class averages with their sizes and resolutions; a click shows a class large, with its resolution "
                    "curve and its members aligned. It follows a run that still goes on.")

    def _defineParams(self, form):
        super()._defineParams(form)
        axes = form.addGroup("Axes of the particle map").addParam(
            "mapAxes", Line, form=form, label="Eigenimages", help="The numbers, from 1, of the eigenimages along x and "
            "y of the particle map. The first explain most of the averages' variance.")
        for number, (name, label) in enumerate((("mapX", "along x"), ("mapY", "along y")), 1):
            axes.addParam(name, IntParam, default=number, label=label, validators=[Positive])
        images = form.addGroup("Images of the cycle")
        for name, image in IMAGES.items():
            images.addParam(name, LabelParam, label=image.title, help=image.meaning)

    def _groups(self):
        first, *others = super()._groups()
        return [first._replace(title="Cycles", plots=cycles.PLOTS), *others,
                Group("Particles among the eigenimages", particle_map.PLOTS, self._showMaps)]

    def _getVisualizeDict(self):
        return {**super()._getVisualizeDict(), **dict.fromkeys(IMAGES, self._showImages)}

    def _showPlots(self, *names):
        return self._history(lambda history: plot_view(
            cycles.draw, history, names, f"{self.protocol.getRunName()}: cycles", eps=self.protocol.eps.get()))

    def _showMaps(self, *names):
        """A window for each."""
        return [self._ofResult("Particle map", lambda shown, title, name=name: self._map(shown, title, name))
                for name in names]

    def _map(self, shown, title, name):
        found = particle_map.ParticleMap.of_run(self.protocol.getRun(), shown, (self.mapX.get(), self.mapY.get()))
        columns, rows = grid(particle_map.panels(found, [name]))
        cell = MAP_CELL if name == "map" else PAIR_CELL
        return figure_view(lambda figure: particle_map.draw(figure, found, [name]), title,
                           (columns * cell[0], rows * cell[1]))

    def _showImages(self, name):
        """The gallery of a file of the cycle shown."""
        image = IMAGES[name]
        try:
            shown = self._shownIteration()
            path = self.protocol.getRun().cycle_file(image.file, shown)
        except UserError as error:
            return [self.infoMessage(str(error), image.title)]
        title = f"{self.protocol.getRunName()}: {image.title.lower()}, {result_name(shown)}"
        return [GalleryView(path, "--title", title)]
