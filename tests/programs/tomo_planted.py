"""Subtomograms with known truth, as small as can be, and runs of ml_tomo on them that tests share."""
from functools import cached_property
from pathlib import Path

import numpy as np

from mlalign.programs import ml_tomo, simulate_tomo, simulation_tomo, tomo
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.geometry3d import angular_distance, rotation_matrix
from mlalign.programs.scoring3d import score3d
from mlalign.programs.tomo_results import TomoRun

BOX, COUNT, VOXEL = 16, 24, 10.0        # px, particles, Å
SIMULATED = f"--phantoms 2 -n {COUNT} --box {BOX} --snr 1 --offset 0.7 --wedge -60 60 --misaligned 12 --seed 1"
SHORT = "--ang 30 --iter 2 --maxres 0.3 --limit_trans 2 --no_grow --no_refine"
POSES = ("angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ")


class TomoPlanted:
    """Simulated subtomograms: ``particles``, ``true``, ``missing``, ``references`` (paths), ``truth`` (label -> (N,)).

    ``particles`` has angles that are 12 degrees off; ``true`` has the poses and classes that were planted.
    """

    def __init__(self, folder, options=SIMULATED):
        simulation_tomo.run(simulate_tomo.parser().parse_args([*options.split(), "-o", f"{folder}/"]))
        self.folder = folder
        self.particles, self.true = f"{folder}/particles.xmd", f"{folder}/truth.xmd"
        self.missing, self.references = f"{folder}/missing.xmd", f"{folder}/references.mrcs"
        self.truth = read_star(self.true)["particles"].columns

    @cached_property
    def volumes(self):
        return volumes(self.particles)

    def table(self, path, source=None, without=(), **columns):
        """Write the particles' metadata (or that of ``source``) with other columns, and without some; its path."""
        table = read_star(source or self.particles)["particles"].columns
        kept = {label: column for label, column in table.items() if label not in without}
        kept["image"] = [f"{self.folder}/{name}" for name in table["image"]]
        write_star(path, {"particles": {**kept, **columns}})
        return str(path)


class TomoOutcome(TomoRun):
    """The files of a finished run."""

    @property
    def log(self):
        return self.log_file.read_text()

    @cached_property
    def particles(self):
        return self.images()

    @cached_property
    def averages(self):
        return self.averages_of()

    def averages_of(self, *iteration):
        return self._volumes(self.average_path, *iteration)

    def wedges(self):
        return self._volumes(self.wedge_path)

    def _volumes(self, path, *iteration):
        iteration = iteration or (None,)
        return np.stack([read_volume(path(*iteration, ref))[0] for ref in range(1, len(self.classes()) + 1)])

    def scores(self, truth):
        return score3d(truth, self.particles.columns)


def volumes(path):
    """All volumes (N, n, n, n) of a file."""
    source = open_volumes(str(path))
    return source.read(np.arange(source.count))


def matrices(table):
    """Orientations (N, 3, 3) in a table."""
    return rotation_matrix(*(table[label] for label in POSES[:3]))


def shifts(table):
    """(N, 3) voxels."""
    return np.stack([table[label] for label in POSES[3:]], 1)


def turned(one, other):
    """Degrees between particles' orientations in two tables."""
    return angular_distance(matrices(one), matrices(other))


def inside(radius=BOX / 2 - 1):
    """Which voxels are within a radius of the origin."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    return x**2 + y**2 + z**2 < radius**2


def run_tomo(*words):
    """Run ml_tomo in this process; UserErrors come through."""
    arguments = ml_tomo.parser().parse_args([str(word) for word in words])
    ml_tomo.check(arguments)
    tomo.run(arguments)
    return TomoOutcome(arguments.oroot)


class TomoScene:
    """Subtomograms (``planted``) and runs on them (:meth:`classified`), which are shared."""

    def __init__(self, new_folder):
        self.new_folder, self.runs = new_folder, {}
        self.planted = TomoPlanted(new_folder("planted3d"))

    def words(self, oroot, options="", particles=None, references=None):
        """The command line of a run from the true references; ``references`` "" leaves them to --nref."""
        p = self.planted
        given = p.references if references is None else references
        return ["-i", str(particles or p.particles), *(["--missing", p.missing] * ("--missing" not in options)),
                *(["--ref", str(given)] if given else []), "--oroot", str(oroot), "--random_seed", "1",
                *SHORT.split(), *options.split()]

    def classified(self, options="", particles=None, references=None):
        """A run with ``options``, which are added to those of ``SHORT`` and replace them where they are the same."""
        key = options, particles, references
        if key not in self.runs:
            root = Path(self.new_folder("tomo")) / "run"
            self.runs[key] = run_tomo(*self.words(root, options, particles, references))
        return self.runs[key]
