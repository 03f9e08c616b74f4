"""Particles with known truth, and runs of the 2-D maximum-likelihood programs on them that tests share.

Tests try ml_align2d, unless they or their module are marked ``programs`` with others.
"""
import shutil
from functools import cache, cached_property
from pathlib import Path

import pytest

from mlalign.programs import ml2d, ml_align2d, mlf2d, mlf_align2d, simulate, simulation
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star
from mlalign.programs.results import Run
from mlalign.tests.programs.tomo_planted import TomoScene

PROGRAMS = {"ml_align2d": (ml_align2d, ml2d), "mlf_align2d": (mlf_align2d, mlf2d)}      # command line, run
BARE = {"ml_align2d": [], "mlf_align2d": ["--no_ctf", "--sampling_rate", "3"]}          # for images without metadata
PIXEL = 3           # Å
PARTICLES = "--views 3 -n 120 --box 32 --mirror --offset 1.5"
BEHIND_CTF = "--snr 0.3 --defocus 9000 20000 --astigmatism 900 --noise_fall 8"
SIMULATED = {"ml_align2d": f"{PARTICLES} --snr 0.2", "mlf_align2d": f"{PARTICLES} {BEHIND_CTF} --phase_flip"}


def pytest_configure(config):
    config.addinivalue_line("markers", "programs(*names): the programs that a test tries, one by one")


def pytest_generate_tests(metafunc):
    said = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "program" in metafunc.fixturenames and not any("program" in names for names in said):
        mark = metafunc.definition.get_closest_marker("programs")
        metafunc.parametrize("program", mark.args if mark else ["ml_align2d"], indirect=True, scope="module")


class Planted:
    """Simulated particles: ``star``, ``stack``, ``references`` (paths), ``truth`` (label -> (N,))."""

    def __init__(self, folder, options):
        simulation.run(simulate.parser().parse_args([*options.split(), "-o", f"{folder}/"]))
        self.folder = folder
        self.star, self.stack = str(folder / "particles.star"), str(folder / "particles.mrcs")
        self.references = str(folder / "references.mrcs")
        self.truth = read_star(folder / "truth.xmd")["particles"].columns

    def altered(self, folder, images):
        """File of the same particles with other pixels, written to a folder."""
        write_stack(folder / "particles.mrcs", images, PIXEL)
        return shutil.copy(self.star, folder)


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
    return open_stack(str(path)).read(slice(None))


def spoken(program, words):
    """Words of a command line; what ml_align2d calls --maxres is --fix_high for mlf_align2d."""
    words = [str(word) for word in words]
    if program == "mlf_align2d":
        for i in (i for i, word in enumerate(words) if word == "--maxres"):
            words[i : i + 2] = "--fix_high", f"{PIXEL / float(words[i + 1]):.17g}"
    return words


def run_program(*options, program="ml_align2d"):
    """Run a program in this process; UserErrors come through."""
    command, work = PROGRAMS[program]
    arguments = command.parser().parse_args(spoken(program, options))
    work.run(arguments)
    return Outcome(arguments.oroot)


class Scene:
    """Particles (``planted``) and a program's runs on them (:meth:`classified`), which are shared."""

    def __init__(self, program, new_folder, simulated):
        self.program, self.new_folder, self.runs = program, new_folder, {}
        self.planted = Planted(new_folder("planted"), simulated)

    def classified(self, options="", images=None, references=None):
        """A run with ``options`` from the true references; ``classified("--mirror --iter 2")``.

        references: file of other initial ones; "" generates them.  images: file of others than the planted.
        """
        key = options, images, references
        if key not in self.runs:
            given = self.planted.references if references is None else references
            self.runs[key] = run_program("-i", images or self.planted.star, *(("--ref", given) if given else ()),
                                         "--oroot", self.new_folder("run") / "ml2d_", "--random_seed", 1,
                                         *options.split(), program=self.program)
        return self.runs[key]


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    """``scenes(program)``, and ``scenes(program, simulated)`` with other particles: a :class:`Scene`."""
    return cache(lambda program, simulated=None: Scene(program, tmp_path_factory.mktemp,
                                                       simulated or SIMULATED[program]))


@pytest.fixture(scope="module")
def program(request):
    """The name of the program that a test tries."""
    return request.param


@pytest.fixture(scope="module")
def scene(program, scenes):
    return scenes(program)


@pytest.fixture(scope="module")
def planted(scene):
    """120 images of 32 px, three classes, mirrors, shifts of 1.5 px; pixel size 3 Å.

    For mlf_align2d they are phase-flipped, in coloured noise.
    """
    return scene.planted


@pytest.fixture(scope="module")
def classified(scene):
    return scene.classified


@pytest.fixture(scope="session")
def tomo_scene(tmp_path_factory):
    """24 subtomograms of 16 px, two classes, shifts of 0.7 px, a missing wedge; runs of ml_tomo on them."""
    return TomoScene(tmp_path_factory.mktemp)
