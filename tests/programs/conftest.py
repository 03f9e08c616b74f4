"""Particles with known truth, and runs of ml_align2d on them that tests share."""
from functools import cached_property
from pathlib import Path

import pytest

from mlalign.programs import ml2d, ml_align2d, simulate, simulation
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.star import read_star
from mlalign.programs.results import Run


class Planted:
    """Simulated particles: ``star``, ``stack``, ``references`` (paths), ``truth`` (label -> (N,))."""

    def __init__(self, folder, options):
        simulation.run(simulate.parser().parse_args([*options.split(), "-o", f"{folder}/"]))
        self.folder = folder
        self.star, self.stack = str(folder / "particles.star"), str(folder / "particles.mrcs")
        self.references = str(folder / "references.mrcs")
        self.truth = read_star(folder / "truth.xmd")["particles"].columns


class Outcome(Run):
    """The files of a finished run."""

    @cached_property
    def images(self):
        return read_star(f"{self.oroot}images.xmd")["particles"]

    @cached_property
    def averages(self):
        return pixels(f"{self.oroot}classes.mrcs")

    @property
    def probabilities(self):
        return read_star(f"{self.oroot}probs.xmd")["probabilities"]

    @property
    def log(self):
        return Path(f"{self.oroot}run.log").read_text()

    def column(self, label):
        """A label of the info blocks over the iterations."""
        return [self.info(iteration)[label] for iteration in self.iterations()]


def pixels(path):
    """All images of a stack (K, n, n)."""
    return open_stack(path).read(slice(None))


def run_program(*options):
    """Run ml_align2d in this process; UserErrors come through."""
    arguments = ml_align2d.parser().parse_args([str(option) for option in options])
    ml2d.run(arguments)
    return Outcome(arguments.oroot)


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """120 images of 32 px, three classes, mirrors, shifts of 1.5 px; pixel size 3 Å."""
    return Planted(tmp_path_factory.mktemp("planted"), "--views 3 -n 120 --box 32 --mirror --snr 0.2 --offset 1.5")


@pytest.fixture(scope="session")
def classified(planted, tmp_path_factory):
    """``classified("--mirror --iter 2")`` runs on the planted images from their true references; runs are shared."""
    runs = {}

    def run(options="", images=None, references=None):
        """references: file of the initial ones; "" generates them.  images: file."""
        key = options, images, references
        if key not in runs:
            given = planted.references if references is None else references
            runs[key] = run_program("-i", images or planted.star, *(("--ref", given) if given else ()),
                                    "--oroot", tmp_path_factory.mktemp("run") / "ml2d_", "--random_seed", 1,
                                    *options.split())
        return runs[key]

    return run
