"""What *Analyze results* shows for a run of multi-ref ali2d, finished or not."""
from mlalign.programs.errors import UserError
from mlalign.protocols import MlalignProtMref

from . import alignments, curves
from .spectra import result_name
from .style import grid
from .viewer_base import Group, RunViewer
from .views import LARGE_CELL, figure_view, plot_view


class MlalignViewerMref(RunViewer):
    """Opens the class gallery and the plots of a run of multi-ref ali2d."""

    _label = "multi-ref ali2d results"
    _targets = [MlalignProtMref]
    _shownOf = "Classes, curves and poses"
    _galleryHelp = ("Class averages with their sizes and resolutions; a click shows a class large, with its resolution "
                    "curve and its members aligned. It follows a run that still goes on.")

    def _groups(self):
        return [Group("Iteration plots", alignments.PLOTS, self._showPlots),
                Group("Resolution", curves.PLOTS, self._showCurves),
                Group("Particles", alignments.POSE_PLOTS, self._showPoses)]

    def _showPlots(self, *names):
        eps = self.protocol.eps.get() if self.protocol.maxIters == 0 else None
        return self._history(lambda history: plot_view(alignments.draw, history, names,
                                                       f"{self.protocol.getRunName()}: iterations", eps=eps))

    def _showCurves(self, *names):
        """A window for each, as the panels of one are many."""
        return [self._ofResult("Resolution", lambda shown, title, name=name: self._curves(shown, title, name))
                for name in names]

    def _curves(self, shown, title, name):
        found = curves.Curves.of_run(self.protocol.getRun(), shown, self._selected())
        columns, rows = grid(curves.panels(found, [name]))
        return figure_view(lambda figure: curves.draw(figure, found, [name]), title,
                           (columns * LARGE_CELL[0], rows * LARGE_CELL[1]))

    def _showPoses(self, *names):
        return [self._ofResult("Particles", lambda shown, title: plot_view(
            alignments.draw_poses, alignments.Poses.of_run(self.protocol.getRun(), shown), names, title, LARGE_CELL))]

    def _ofResult(self, subject, view):
        """``view(result shown, title)``, or a message of what is missing."""
        try:
            shown = self._shownIteration()
            return view(shown, f"{self.protocol.getRunName()}: {subject.lower()}, {result_name(shown)}")
        except UserError as error:
            return self.infoMessage(str(error), subject)
