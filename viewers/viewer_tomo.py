"""What *Analyze results* shows for a run of ML tomo, finished or not."""
from mlalign.programs.errors import UserError
from mlalign.protocols import MlalignProtMLTomo

from . import plots3d
from .spectra import result_name
from .tomo.volumes import ClassVolumes
from .viewer_base import Group, RunViewer
from .views import figure_view, plot_view

SIZE = 9.0, 5.5         # inches of a window with a plot of all classes


class MlalignViewerMLTomo(RunViewer):
    """Opens the gallery of class volumes and the plots of a run of ML tomo."""

    _label = "ML tomo results"
    _targets = [MlalignProtMLTomo]
    _shownOf = "Classes and their plots"
    _galleryHelp = ("The class volumes as slices or projections in three directions, with their sizes and resolutions; "
                    "one of them large to scroll through, with its FSC curve, the orientations of its particles and "
                    "what they observed of its Fourier space. It follows a run that still goes on.")

    def _groups(self):
        return [Group("Iteration plots", plots3d.PLOTS, self._showPlots),
                Group("Classes", plots3d.CLASS_PLOTS, self._showClassPlots)]

    def _showPlots(self, *names):
        return self._history(lambda history: plot_view(plots3d.draw, history, names,
                                                       f"{self.protocol.getRunName()}: iterations",
                                                       eps=self.protocol.eps.get()))

    def _showClassPlots(self, *names):
        return [self._classPlot(name) for name in names]

    def _classPlot(self, name):
        title = plots3d.CLASS_PLOTS[name].title
        try:
            shown = self._shownIteration()
            classes = ClassVolumes(self.protocol.getRun(), shown)
            return figure_view(lambda figure: plots3d.draw_classes(figure, classes, name),
                               f"{self.protocol.getRunName()}: {title}, {result_name(shown)}", SIZE)
        except UserError as error:
            return self.infoMessage(str(error), title)
