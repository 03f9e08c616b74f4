"""RELION's 2D classification of simulated assemblies."""
import shutil
import sys
from dataclasses import dataclass

import numpy as np
from common import ASSEMBLIES_BOX, ASSEMBLIES_PIXEL, columns, run

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import adjusted_rand_index

# what its coarse search steps by; its adaptive oversampling then halves both for what remains significant
SAMPLINGS = {
    "5° and 1 px": ("--psi_step", 10, "--offset_range", 5, "--offset_step", 2),
    "defaults": ("--psi_step", 12, "--offset_range", 5, "--offset_step", 2),           # of its window: 6° and 1 px
    "5° and 1 px within 9 px": ("--psi_step", 10, "--offset_range", 9, "--offset_step", 2),
    "2.5° and 0.5 px": ("--psi_step", 5, "--offset_range", 5, "--offset_step", 1),
}
OPTIONS = ("--oversampling", 1, "--tau2_fudge", 2, "--flatten_solvent", "--zero_mask", "--norm", "--scale", "--pad", 2,
           "--dont_combine_weights_via_disc", "--particle_diameter", 0.9 * ASSEMBLIES_BOX * ASSEMBLIES_PIXEL,
           "--random_seed", 1)


@dataclass(frozen=True)
class Classified:
    """A run of RELION: its :class:`.common.Usage`, and each particle's class in the order of the input."""

    usage: object
    iterations: int
    ref: np.ndarray

    @property
    def cpu(self):
        """CPU seconds of an iteration, the mean over the run."""
        return self.usage.cpu / self.iterations


def installed():
    return bool(shutil.which("relion_refine"))


def check_installed():
    if not installed():
        sys.exit("relion_refine is not on the PATH; on Debian: apt-get install relion")


def class2d(star, classes, iterations, threads, *options, sampling="5° and 1 px"):
    """Classify particles with a sampling of :data:`SAMPLINGS`: :class:`Classified`."""
    folder = star.parent / f"relion_{classes}_{list(SAMPLINGS).index(sampling)}"
    folder.mkdir(exist_ok=True)
    # image names in the metadata are relative to its folder, RELION's to the folder it runs in
    usage = run("relion_refine", "--i", star.name, "--o", f"{folder.name}/run", "--K", classes, "--iter", iterations,
                "--j", threads, *OPTIONS, *SAMPLINGS[sampling], *options, folder=star.parent)
    table = read_star(folder / f"run_it{iterations:03d}_data.star", ["particles"])["particles"]
    order = np.argsort([int(name.split("@")[0]) for name in table["rlnImageName"]])
    return Classified(usage, iterations, table["rlnClassNumber"][order])


def agreement(star, ref):
    """ARI of RELION's classes with the true views, and with the views where mirror images differ."""
    truth = columns(star.with_name("truth.xmd"))
    handed = {"ref": 2 * truth["ref"] + truth["flip"]}
    return [adjusted_rand_index(partition, {"ref": ref}) for partition in (truth, handed)]
