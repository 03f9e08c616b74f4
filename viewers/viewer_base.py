"""What *Analyze results* shows for a run of any of the classification protocols, finished or not."""
from typing import Callable, NamedTuple

from pwem.viewers.mdviewer.viewer import MDView
from pyworkflow.protocol.params import EnumParam, LabelParam, StringParam
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from mlalign.programs.errors import UserError
from mlalign.programs.results import parse_iterations
from mlalign.protocols import MlalignProtML2D

from .views import GalleryView

LAST, SELECTION = 0, 1


class Group(NamedTuple):
    """Lines of the form below a title: name -> :class:`~.style.Plot`; ``show(*names)`` gives the views of some."""
    title: str
    plots: dict
    show: Callable


class RunViewer(ProtocolViewer):
    """Opens the class gallery and plots of a run; a base class.

    A sub-class defines ``_targets``, ``_label``, ``_galleryHelp`` and :meth:`_groups`.
    """
    _environments = [DESKTOP_TKINTER]
    _galleryHelp = ""
    _shownOf = "Classes"            # what the choice of iterations is for

    @classmethod
    def getPlugin(cls):
        """Scipion gives protocols their plugin, not viewers, whose windows are then entitled "missing"."""
        return MlalignProtML2D.getPlugin()

    def _groups(self):
        """The :class:`Group` list of plots, that of the iterations first."""
        raise NotImplementedError

    def _defineParams(self, form):
        form.addSection(label="Overall results")
        form.addParam("classesFrom", EnumParam, choices=["last", "selection"], default=LAST,
                      display=EnumParam.DISPLAY_HLIST, label=f"{self._shownOf} from iteration",
                      help="*last*: the final result, or the newest iteration of a run that still goes on; "
                           "any other can be chosen in the gallery.\n"
                           "*selection*: only the iterations named below, the last of them first.")
        form.addParam("iterations", StringParam, default="", condition=f"classesFrom == {SELECTION}",
                      label="Iterations", help="Examples: 1,3,4 or 3-5")
        form.addParam("showClasses", LabelParam, important=True, label="Show the class gallery",
                      help=self._galleryHelp)
        if self.protocol.hasAttribute("outputClasses"):
            form.addParam("showOutput", LabelParam, label="Show the output classes in Scipion's viewer")
        form.addParam("showAllPlots", LabelParam, label="Show all plots")
        for group in self._groups():
            lines = form.addGroup(group.title)
            for name, plot in group.plots.items():
                lines.addParam(name, LabelParam, label=plot.title, help=plot.meaning)

    def _getVisualizeDict(self):
        shown = {"showClasses": self._showClasses, "showOutput": self._showOutput, "showAllPlots": self._showAllPlots}
        for group in self._groups():
            shown.update(dict.fromkeys(group.plots, group.show))
        return shown

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

    def _showClasses(self, name=None):
        run = self.protocol.getRun()
        if not run.results():
            return [self.infoMessage("No iteration has finished yet.", "Class gallery")]
        return [GalleryView.of_run(run, self.protocol.getRunName(), self._selected(), self.protocol.isActive(),
                                   self.protocol)]

    def _selected(self):
        """The iterations selected, None for all."""
        return parse_iterations(self.iterations.get("")) if self.classesFrom == SELECTION else None

    def _shownIteration(self):
        """The iteration (or FINAL) that plots of one iteration show; UserError when there is none yet."""
        selected = self._selected()
        return selected[-1] if selected else self.protocol.getRun().newest()

    def _showOutput(self, name=None):
        return [MDView(self.protocol.outputClasses, self.protocol, self.getProject().port)]

    def _showAllPlots(self, name=None):
        groups = [group for group in self._groups() if group.plots]
        if not self.protocol.getRun().results():
            groups = groups[:1]         # once is enough to say so
        return [view for group in groups for view in group.show(*group.plots)]

    def _history(self, draw):
        """``[draw(history)]``, or the message that there is none."""
        try:
            history = self.protocol.getRun().history()
        except UserError as error:
            return [self.infoMessage(str(error), "Plots")]
        return [draw(history)]


def _range(iterations):
    return f"{iterations[0]} to {iterations[-1]}" if iterations else "none yet"
