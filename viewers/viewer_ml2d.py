"""What *Analyze results* shows for a run of ML2D or MLF2D, finished or not."""
from pwem.viewers.mdviewer.viewer import MDView
from pyworkflow.protocol.params import EnumParam, LabelParam, StringParam
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from mlalign.programs.errors import UserError
from mlalign.programs.results import parse_iterations
from mlalign.protocols import MlalignProtML2D, MlalignProtMLF2D

from . import plots, spectra
from .views import LARGE_CELL, GalleryView, plot_view

LAST, SELECTION = 0, 1


class MlalignViewerML2D(ProtocolViewer):
    """Opens the class gallery and the plots of a run of ML2D or MLF2D."""

    _label = "ML2D and MLF2D results"
    _targets = [MlalignProtML2D, MlalignProtMLF2D]
    _environments = [DESKTOP_TKINTER]

    @classmethod
    def getPlugin(cls):
        """Scipion gives protocols their plugin, not viewers, whose windows are then entitled "missing"."""
        return MlalignProtML2D.getPlugin()

    def _defineParams(self, form):
        form.addSection(label="Overall results")
        form.addParam("classesFrom", EnumParam, choices=["last", "selection"], default=LAST,
                      display=EnumParam.DISPLAY_HLIST,
                      label="Classes and spectra from iteration" if self._spectra() else "Classes from iteration",
                      help="*last*: the final result, or the newest iteration of a run that still goes on; "
                           "any other can be chosen in the gallery.\n"
                           "*selection*: only the iterations named below, the last of them first.")
        form.addParam("iterations", StringParam, default="", condition=f"classesFrom == {SELECTION}",
                      label="Iterations", help="Examples: 1,3,4 or 3-5")
        form.addParam("showClasses", LabelParam, important=True, label="Show the class gallery",
                      help="Class averages with their sizes and resolutions; a click shows a class large, "
                           "with its members aligned. It follows a run that still goes on.")
        if self.protocol.hasAttribute("outputClasses"):
            form.addParam("showOutput", LabelParam, label="Show the output classes in Scipion's viewer")
        form.addParam("showAllPlots", LabelParam, label="Show all plots")
        group = form.addGroup("Iteration plots")
        for name in self._plots():
            group.addParam(name, LabelParam, label=plots.PLOTS[name].title, help=plots.PLOTS[name].meaning)
        if self._spectra():
            group = form.addGroup("Spectra")
        for name in self._spectra():
            group.addParam(name, LabelParam, label=spectra.PLOTS[name].title, help=spectra.PLOTS[name].meaning)

    def _getVisualizeDict(self):
        return {"showClasses": self._showClasses, "showOutput": self._showOutput, "showAllPlots": self._showAllPlots,
                **dict.fromkeys(self._plots(), self._showPlots),
                **dict.fromkeys(self._spectra(), self._showSpectra)}

    def _validate(self):
        if self.classesFrom != SELECTION:
            return []
        try:
            wanted = parse_iterations(self.iterations.get(""))
        except UserError as error:
            return [str(error)]
        there = self.protocol.getRun().iterations()
        missing = [str(iteration) for iteration in wanted if iteration not in there]
        return [f"No iteration {', '.join(missing)}; there are {_range(there)}."] if missing else []

    def _plots(self):
        """Names of the plots that make sense for this run."""
        return [name for name in plots.PLOTS if name != "mirrorFraction" or self.protocol.doMirror]

    def _spectra(self):
        """Names of the plots of spectra that this run has."""
        return list(spectra.PLOTS) if self.protocol.doMlf else []

    def _showClasses(self, name=None):
        run = self.protocol.getRun()
        if not run.results():
            return [self.infoMessage("No iteration has finished yet.", "Class gallery")]
        return [GalleryView.of_run(run, self.protocol.getRunName(), self._selected(), self.protocol.isActive())]

    def _selected(self):
        """The iterations selected, None for all."""
        return parse_iterations(self.iterations.get("")) if self.classesFrom == SELECTION else None

    def _showOutput(self, name=None):
        return [MDView(self.protocol.outputClasses, self.protocol, self.getProject().port)]

    def _showAllPlots(self, name=None):
        windows = self._showPlots(*self._plots())
        if self._spectra() and self.protocol.getRun().results():
            windows += self._showSpectra(*self._spectra())
        return windows

    def _showPlots(self, *names):
        try:
            history = self.protocol.getRun().history()
        except UserError as error:
            return [self.infoMessage(str(error), "Plots")]
        return [plot_view(plots.draw, history, names, f"{self.protocol.getRunName()}: iterations",
                          eps=self.protocol.eps.get())]

    def _showSpectra(self, *names):
        run, selected = self.protocol.getRun(), self._selected()
        try:
            shown = selected[-1] if selected else run.newest()
            found = spectra.Spectra.of_run(run, shown, selected)
        except UserError as error:
            return [self.infoMessage(str(error), "Spectra")]
        title = f"{self.protocol.getRunName()}: spectra, {spectra.result_name(shown)}"
        return [plot_view(spectra.draw, found, names, title, LARGE_CELL)]


def _range(iterations):
    return f"{iterations[0]} to {iterations[-1]}" if iterations else "none yet"
