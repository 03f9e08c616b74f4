"""What *Analyze results* shows for a run of ML2D or MLF2D, finished or not."""
from mlalign.programs.errors import UserError
from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D

from . import plots, spectra
from .viewer_base import Group, RunViewer
from .views import LARGE_CELL, plot_view


class MlalignViewerML2D(RunViewer):
    """Opens the class gallery and the plots of a run of ML2D or MLF2D."""

    _label = "ML2D and MLF2D results"
    _targets = [MlalignProtML2D, MlalignProtMLF2D]
    _galleryHelp = ("Class averages with their sizes and resolutions; a click shows a class large, "
                    "with its members aligned. It follows a run that still goes on.")

    @property
    def _shownOf(self):
        return "Classes and spectra" if self.protocol.doMlf else "Classes"

    def _groups(self):
        shown = {name: plot for name, plot in plots.PLOTS.items() if name != "mirrorFraction" or self.protocol.doMirror}
        groups = [Group("Iteration plots", shown, self._showPlots)]
        if self.protocol.doMlf:
            groups.append(Group("Spectra", spectra.PLOTS, self._showSpectra))
        return groups

    def _showPlots(self, *names):
        return self._history(lambda history: plot_view(plots.draw, history, names,
                                                       f"{self.protocol.getRunName()}: iterations",
                                                       eps=max(self.protocol.eps.get(), 0)))

    def _showSpectra(self, *names):
        try:
            shown = self._shownIteration()
            found = spectra.Spectra.of_run(self.protocol.getRun(), shown, self._selected())
        except UserError as error:
            return [self.infoMessage(str(error), "Spectra")]
        title = f"{self.protocol.getRunName()}: spectra, {spectra.result_name(shown)}"
        return [plot_view(spectra.draw, found, names, title, LARGE_CELL)]
