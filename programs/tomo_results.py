"""What a run of ml_tomo has written: the reader that its summaries, plots and windows share.

A run is known by its ``--oroot`` R: the final result is ``R_ref.xmd`` and its like, the result of iteration NNNNNN is
``R_itNNNNNN_ref.xmd`` and its like, and iteration 0 holds the first references.
"""
import glob
import re
from pathlib import Path

import numpy as np

from .formats.star import read_star
from .results import FINAL, Results

_OF_ITERATION = re.compile(r"(?P<root>.*)_it(?P<iteration>\d{6,})_ref\.xmd", re.DOTALL)


class TomoRun(Results):
    """The files of one run of ml_tomo."""

    info_labels = ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset", "maxres", "changed", "angleChange", "seconds",
                   "angularSampling", "angSearch", "workingBox", "stage")
    class_labels = ("weight", "classCount", "signalChange", "resolution")
    correlation = "FSC"

    @classmethod
    def of_file(cls, path):
        """(run, iteration) of a ``…_ref.xmd``, there or still to come; None for any other file."""
        path = str(path)
        if not path.endswith("_ref.xmd") or "@" in Path(path).parts[0]:
            return None
        match = _OF_ITERATION.fullmatch(path)
        return (cls(match["root"]), int(match["iteration"])) if match else (cls(path[:-len("_ref.xmd")]), FINAL)

    @property
    def log_file(self):
        return Path(self.oroot + "_run.log")

    def prefix(self, iteration=FINAL):
        return f"{self.oroot}_" if iteration is FINAL else f"{self.oroot}_it{iteration:06d}_"

    def classes_file(self, iteration=FINAL):
        return Path(self.prefix(iteration) + "ref.xmd")

    def images_file(self, iteration=FINAL):
        """The table of the particles."""
        return Path(self.prefix(iteration) + "img.xmd")

    def iterations(self):
        return self._numbers("ref.xmd")

    def checkpoints(self):
        return self._numbers("checkpoint.npz")

    def images(self, iteration=FINAL):
        """Table of the particles with their poses, classes (``ref``: 1, 2, …) and scores."""
        return self._read("images", iteration, [self.images_file(iteration)],
                          lambda path: read_star(path, ["particles"])["particles"])

    def members(self, iteration, ref):
        """The rows of :meth:`images` of class ``ref`` (1, 2, …); empty for an empty class."""
        images = self.images(iteration)
        return images.take(np.flatnonzero(images["ref"] == ref))

    def fsc(self, iteration, ref):
        """(frequencies, correlations) of class ``ref``, each (M,); None when the run wrote none.

        Frequencies are in 1/Å, or in 1/px where :meth:`pixel_size` is None.
        """
        return self._curve(iteration, Path(self.prefix(iteration)[:-1] + ".fsc"), f"class_{ref:06d}")

    def average_path(self, iteration, ref):
        """The volume that is the average of class ``ref``; not always there yet."""
        return Path(f"{self.prefix(iteration)}ref{ref:06d}.mrc")

    def wedge_path(self, iteration, ref):
        """The volume (0 to 1, centred Fourier space) of what was observed of class ``ref``; not always there."""
        return Path(f"{self.prefix(iteration)}wedge{ref:06d}.mrc")

    def _place(self):
        return f"{self.oroot}_it…"

    def _numbers(self, name):
        """The iterations that have a file of this name."""
        root = Path(self.oroot)
        pattern = re.compile(rf"{re.escape(root.name)}_it(\d{{6,}})_{re.escape(name)}", re.DOTALL)
        found = root.parent.glob(f"{glob.escape(root.name)}_it*_{name}")
        return sorted(int(match[1]) for path in found if (match := pattern.fullmatch(path.name)))
