"""What *Analyze results* shows for a run of select classes."""
from pwem.viewers.mdviewer.viewer import MDView
from pyworkflow.protocol.params import LabelParam
from pyworkflow.viewer import DESKTOP_TKINTER, ProtocolViewer

from mlalign.protocols import MlalignProtSelect
from mlalign.protocols.select_form import SCORED

from . import scores
from .views import GalleryView, figure_view

SIZE = 8.0, 4.0         # inches
AVERAGES = {"showKept": ("Show the chosen averages", "getKeptFile"),
            "showRejected": ("Show the rejected averages", "getRejectedFile")}


class MlalignViewerSelect(ProtocolViewer):
    """Opens the averages that were kept and rejected, the plot of the scores, and the outputs in Scipion's viewer."""

    _label = "select classes results"
    _targets = [MlalignProtSelect]
    _environments = [DESKTOP_TKINTER]

    @classmethod
    def getPlugin(cls):
        """Scipion gives protocols their plugin, not viewers, whose windows are then entitled "missing"."""
        return MlalignProtSelect.getPlugin()

    def _defineParams(self, form):
        form.addSection(label="Results")
        form.addParam("showScores", LabelParam, important=True, label="Plot the scores", help=scores.PLOT.meaning)
        for name, (label, _) in AVERAGES.items():
            form.addParam(name, LabelParam, label=label,
                          help="The averages with their sizes, scores and the parts of these; sort them by any.")
        outputs = [name for name, _ in self.protocol.iterOutputAttributes()]
        group = form.addGroup("Outputs in Scipion's viewer") if outputs else None
        for name in outputs:
            group.addParam(_line(name), LabelParam, label=name.removeprefix("output"))

    def _getVisualizeDict(self):
        return {"showScores": self._showScores, **dict.fromkeys(AVERAGES, self._showAverages),
                **{_line(name): self._showOutput for name, _ in self.protocol.iterOutputAttributes()}}

    def _showScores(self, name=None):
        found = self.protocol.getScores()
        if found is None:
            return [self.infoMessage("There are no scores yet.", "Scores")]
        ranking, table = found
        threshold = self.protocol.minScore.get() if self.protocol.choose == SCORED else None
        return [figure_view(lambda figure: scores.draw(figure, ranking, table["selected"] == 1, threshold),
                            f"{self.protocol.getRunName()}: scores", SIZE)]

    def _showAverages(self, name):
        label, method = AVERAGES[name]
        path = getattr(self.protocol, method)()
        if path is None:
            return [self.infoMessage("There are none.", label)]
        return [GalleryView(path, "--title", f"{self.protocol.getRunName()}: {label.removeprefix('Show the ')}")]

    def _showOutput(self, name):
        output = getattr(self.protocol, "output" + name.removeprefix("showOutput"))
        return [MDView(output, self.protocol, self.getProject().port)]


def _line(output):
    """The name of the form's line that shows an output."""
    return "showOutput" + output.removeprefix("output")
