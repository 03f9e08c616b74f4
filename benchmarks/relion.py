"""RELION's 2D classification of simulated assemblies."""
import shutil
import sys

import numpy as np
from common import ASSEMBLIES_BOX, ASSEMBLIES_PIXEL, columns, run

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import adjusted_rand_index

OPTIONS = ("--psi_step", 10, "--offset_range", 5, "--offset_step", 2, "--oversampling", 1, "--tau2_fudge", 2,
           "--flatten_solvent", "--zero_mask", "--norm", "--scale", "--pad", 2, "--dont_combine_weights_via_disc",
           "--particle_diameter", 0.9 * ASSEMBLIES_BOX * ASSEMBLIES_PIXEL, "--random_seed", 1)


def check_installed():
    if not shutil.which("relion_refine"):
        sys.exit("relion_refine is not on the PATH; on Debian: apt-get install relion")


def class2d(star, classes, iterations, threads, *options):
    """Classify particles: the :class:`.Usage` and each particle's class, in the order of the input."""
    folder = star.parent / f"relion_{classes}"
    folder.mkdir(exist_ok=True)
    # image names in the metadata are relative to its folder, RELION's to the folder it runs in
    usage = run("relion_refine", "--i", star.name, "--o", f"{folder.name}/run", "--K", classes, "--iter", iterations,
                "--j", threads, *OPTIONS, *options, folder=star.parent)
    table = read_star(folder / f"run_it{iterations:03d}_data.star", ["particles"])["particles"]
    order = np.argsort([int(name.split("@")[0]) for name in table["rlnImageName"]])
    return usage, table["rlnClassNumber"][order]


def agreement(star, ref):
    """ARI of RELION's classes with the true views, and with the views where mirror images differ."""
    truth = columns(star.with_name("truth.xmd"))
    handed = {"ref": 2 * truth["ref"] + truth["flip"]}
    return [adjusted_rand_index(partition, {"ref": ref}) for partition in (truth, handed)]
