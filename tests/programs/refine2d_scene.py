"""Particles with known truth and runs of refine2d on them that tests share."""
from functools import cache
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from mlalign.programs import eman_files, msa2d, refine2d
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.msa2d_results import Refine2dRun
from mlalign.tests.programs.conftest import PIXEL, Outcome, Planted

SIMULATED = "--views 6 -n 240 --box 32 --mirror --offset 1 --snr 0.5 --seed 3"
BEHIND_CTF = "--views 4 -n 160 --box 32 --mirror --offset 1 --snr 0.5 --defocus 9000 16000 --astigmatism 3000 --seed 3"
QUICK = "--ncls 6 --iter 1 --classiter 1 --random_seed 1"
USUAL = "--ncls 6 --iter 2 --classiter 2 --random_seed 1"


def run_refine2d(source, path, options=QUICK):
    """Run refine2d in this process; UserErrors come through."""
    arguments = refine2d.parser().parse_args(["--input", str(source), "--path", str(path), *options.split()])
    arguments.command = f"refine2d {options}"
    arguments.processes = refine2d.read_parallel(arguments)
    msa2d.run(arguments)
    return Classified(path)


class Classified(Outcome, Refine2dRun):
    """The files of a finished run."""

    def __init__(self, path):
        super().__init__(f"{path}/")
        self.path = Path(path)

    def classmx(self, cycle):
        return eman_files.read_classmx(self.path / f"classmx_{cycle:02d}.hdf")

    def eman_averages(self, cycle):
        return eman_files.read_averages(self.path / f"classes_{cycle:02d}.hdf")

    def projections(self, cycle=1):
        return eman_files.read_projections(self.path / f"input_{cycle:02d}_proj.hdf")

    @property
    def poses(self):
        """psi, shift x, shift y, flip (N,) of every particle."""
        return tuple(self.images.numbers(label) for label in ("anglePsi", "shiftX", "shiftY", "flip"))

    @property
    def notices(self):
        return [line.partition("note: ")[2] for line in self.log.splitlines() if "note: " in line]


class Scene:
    """Particles (``planted``) and runs on them (:meth:`classified`), which are shared."""

    def __init__(self, new_folder, simulated=SIMULATED):
        self.new_folder, self.planted = new_folder, Planted(new_folder("planted"), simulated)
        self.classified = cache(self._classified)

    def _classified(self, options="", base=QUICK):
        return run_refine2d(self.planted.star, self.new_folder("run") / "out", f"{base} {options}")


def hdf_of(images, path, headers=None):
    """HDF stack of images (N, n, n), with a header (dict) for each."""
    with hdf_writer(path, PIXEL) as out:
        for image, header in zip(images, headers or [{}] * len(images)):
            out.append(image, header)
    return path


def moved(images, psi, shift_x, shift_y, flip):
    """Images (N, n, n) posed, by interpolation of pixels with splines: out(M r + shift) = in(r)."""
    centre, out = np.full(2, images.shape[1] // 2), []
    for image, matrix in zip(images, pose_matrix(psi, shift_x, shift_y, flip)):
        back = np.linalg.inv(matrix)
        swapped, shift = back[:2, :2][::-1, ::-1], back[:2, 2][::-1]
        out.append(affine_transform(image, swapped, centre + shift - swapped @ centre, order=5))
    return np.array(out)


def likeness(first, second, radius=10):
    """Correlation coefficients (K,) of images (K, n, n) inside a circle."""
    n = first.shape[-1]
    inside = np.hypot(*(np.mgrid[:n, :n] - n // 2)) <= radius
    return np.array([np.corrcoef(one[inside], other[inside])[0, 1] for one, other in zip(first, second)])


def same(first, second):
    """Whether two runs found the same for every particle, to the last digit, and the same averages."""
    return (first.averages == second.averages).all() and all(
        (first.images[label] == second.images[label]).all()
        for label in ("ref", "anglePsi", "shiftX", "shiftY", "flip", "maxCC", "used"))


def edgemean(images):
    """Images (N, n, n) less the mean of their outermost pixels, over their deviation."""
    rim = np.ones(images.shape[1:], bool)
    rim[1:-1, 1:-1] = False
    return (images - images[:, rim].mean(1)[:, None, None]) / images.std((1, 2))[:, None, None]
