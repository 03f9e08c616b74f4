"""What Scipion's viewers show: the class gallery, in a process of its own, and plot windows."""
import subprocess

from pwem.viewers import EmPlotter
from pyworkflow import PYTHON
from pyworkflow.viewer import View

from mlalign.programs.results import FINAL

from .style import grid

CELL, LARGE_CELL = (4.0, 2.9), (5.2, 3.4)       # inches of one plot


class GalleryView(View):
    """The gallery of a run's classes: a program of its own, for Qt and Tk do not live in one process.

    path    : a file that ``mlalign view`` opens
    options : more of its arguments
    """

    def __init__(self, path, *options):
        super().__init__()
        self.command = [PYTHON, "-m", "mlalign.viewers.gallery", str(path), "--dialog", *options]

    @classmethod
    def of_run(cls, run, title, iterations=None, follow=False, protocol=None):
        """The classes of a :class:`~mlalign.programs.results.Results`.

        iterations : the ones to choose from, last first; None: all of them, and the final result
        follow     : go on with each new iteration
        protocol   : in whose project the gallery can make subsets of the classes; None: it cannot
        """
        options = ["--title", title]
        if iterations:
            options += ["--iterations", ",".join(map(str, iterations))]
        if follow:
            options.append("--follow")
        if protocol is not None:
            options += ["--project", protocol.getProject().getPath(), "--protocol", str(protocol.getObjId())]
        return cls(run.classes_file(FINAL), *options)

    def show(self):
        return subprocess.Popen(self.command)


def plot_view(draw, subject, names, title, cell=CELL, **options):
    """A window of Scipion's with plots: ``draw`` of :mod:`.plots` or its like, and what it is called with."""
    columns, rows = grid(len(names))
    return figure_view(lambda figure: draw(figure, subject, names, **options), title,
                       (columns * cell[0], rows * cell[1]))


def figure_view(draw, title, size):
    """A window of Scipion's with a figure of ``size`` inches that ``draw(figure)`` fills."""
    plotter = EmPlotter(windowTitle=title, figsize=size)
    draw(plotter.getFigure())
    plotter.tightLayoutOn = False           # the figure lays itself out
    return plotter
