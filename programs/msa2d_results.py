"""What refine2d has written, for readers: a run of a 2-D program with the files of EMAN's e2refine2d beside it."""
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import UserError
from .mref_results import MrefRun
from .results import FINAL

FIRST_COEFFICIENT = 4       # before them a particle's shift, rotation and mirror stand in input_YY_proj.hdf


class Coordinates(NamedTuple):
    """Where the particles are among the eigenimages of one cycle.

    values  : (N, B) float32, of every image of the input along every eigenimage
    classes : (N,) int, the classes that the cycle gave them, from 1; 0 for images that were left out
    share   : (B,) share of the class averages' variance along each eigenimage; NaN where the files do not say
    """
    values: np.ndarray
    classes: np.ndarray
    share: np.ndarray


class Refine2dRun(MrefRun):
    """The files of one run of refine2d; ``oroot`` is its folder and a slash.  Iterations are its cycles."""

    class_labels = (*MrefRun.class_labels, "used", "contrast")

    @classmethod
    def of_run(cls, run):
        """The same files as a run of refine2d; None when another program wrote them."""
        return cls(run.oroot) if Path(run.oroot + "0_refine2d_parms.json").exists() else None

    def cycle(self, result):
        """The number of the cycle that a result is of: an iteration's own, the last one's for FINAL."""
        if result is not FINAL:
            return result
        if "iterationNumber" not in self.info():
            raise UserError(f"{self.classes_file()}: no _iterationNumber in block data_info")
        return int(self.info()["iterationNumber"])

    def cycle_file(self, name, result=FINAL):
        """The file of a result's cycle whose name is ``name`` with the cycle in place of ``YY``; UserError without it.
        """
        path = Path(self.oroot + name.replace("YY", f"{self.cycle(result):02d}"))
        if not path.exists():
            raise UserError(f"{path}: no such file")
        return path

    def coordinates(self, result=FINAL):
        """The :class:`Coordinates` of a result's cycle; UserError when files are missing or disagree."""
        files = [self.cycle_file(name, result) for name in ("input_YY_proj.hdf", "classmx_YY.hdf", "basis_YY.hdf")]
        return self._read("coordinates", result, files, _coordinates)


def _coordinates(projections, matrix, basis):
    from .formats.hdf import HdfStack  # late: every window looks whether its run is one of these
    values = HdfStack(projections).read([0])[0][:, FIRST_COEFFICIENT:]
    classes = HdfStack(matrix).read([0])[0].ravel().round().astype(int) + 1
    if len(values) != len(classes):
        raise UserError(f"{matrix}: {len(classes)} images, expected {len(values)} as in {projections}")
    images = HdfStack(basis)
    share = [images.attributes(index).get("explvarfrac", np.nan) for index in range(1, images.shape[0])]
    if len(share) != values.shape[1]:
        raise UserError(f"{basis}: {len(share)} eigenimages, expected {values.shape[1]} as in {projections}")
    return Coordinates(values, classes, np.array(share, float))
