"""Particles with known truth and runs of mref_ali2d on them that tests share."""
from functools import cache
from pathlib import Path

import numpy as np

from mlalign.programs import mref, mref_ali2d
from mlalign.programs.formats.images import open_stack
from mlalign.tests.programs.conftest import Outcome, Planted

SIMULATED = "--views 3 -n 150 --box 32 --mirror --offset 1 --snr 0.5 --seed 3"
BEHIND_CTF = "--views 3 -n 200 --box 32 --mirror --offset 1 --snr 0.5 --defocus 9000 16000 --astigmatism 3000 --seed 3"
SEARCH = "--ou=12 --xr=2 --yr=2"


def run_mref(stack, refs, outdir, options=SEARCH):
    """Run mref_ali2d in this process; UserErrors come through."""
    mref.run(mref_ali2d.parser().parse_args([str(stack), str(refs), str(outdir), *options.split()]))
    return Aligned(outdir)


class Aligned(Outcome):
    """The files of a finished run."""

    def __init__(self, outdir):
        super().__init__(f"{outdir}/")
        self.outdir = Path(outdir)

    def references(self, number):
        return open_stack(f"{self.outdir}/aqm{number:03d}.hdf").read(slice(None))


class Scene:
    """Particles (``planted``) and runs on them (:meth:`aligned`), which are shared."""

    def __init__(self, new_folder, simulated=SIMULATED):
        self.new_folder, self.planted = new_folder, Planted(new_folder("planted"), simulated)
        self.aligned = cache(self._aligned)

    def _aligned(self, options="--maxit 2"):
        folder = self.new_folder("run") / "out"
        return run_mref(self.planted.star, self.planted.references, folder, f"{SEARCH} {options}")


def same(first, second):
    """Whether two runs found the same for every particle, to the last digit."""
    return all((first.images[label] == second.images[label]).all()
               for label in ("ref", "anglePsi", "shiftX", "shiftY", "flip", "maxCC"))


def near(first, second, tolerance=1e-3):
    return np.abs(first - second).max() < tolerance * np.abs(second).max()
