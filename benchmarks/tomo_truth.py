"""How well ml_tomo tells two species apart, aligns them and averages them, from nothing.

    python benchmarks/tomo_truth.py [--seeds 3] [--picture FILE] [MAP MAP]

120 subtomograms of 32 voxels of 10 Å, of two density maps (by default those of a proteasome and a ribosome in
$MLALIGN_TEST_DATA/maps), in random orientations, shifts of 2 voxels, tilts of -60 to 60 degrees, signal-to-noise ratio
0.15; one set, and for each seed a random start: "ml_tomo --nref 2 --ang 15 --iter 25 --random_seed SEED --thr 1";
beside them, as seed 0, a start from the true references (--ref instead of --nref).

ARI is the adjusted Rand index of found and true classes (1: the same).  Errors are medians over the particles of a
species that are in its class; the proteasome's orientation counts up to its symmetry (D7, about the axes that its map
has), of which the direction of its 7-fold axis is given, too.  The Fourier shell correlation is that of a class average
with the true reference, brought onto it as well as can be, per shell of one Fourier voxel.  --picture draws central
slices of truth and averages of seed 1.
"""
import os
import sys
from pathlib import Path

import matplotlib
import numpy as np
from common import Table, data_file, parser, print_machine, run, working_folder
from scipy import fft, optimize
from scipy.spatial.transform import Rotation

from mlalign.programs.engine.resolution import crossing
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry3d import pose_parameters3d, rotation_matrix
from mlalign.programs.phantoms import ball
from mlalign.programs.phantoms3d import VolumePlacer
from mlalign.programs.results import FINAL
from mlalign.programs.scoring3d import class_motions3d, pose_errors3d, score3d
from mlalign.programs.tomo_results import TomoRun

SPECIES = {"proteasome": ("3j9i_10A", "D7"), "ribosome": ("4v4r_10A", "C1")}       # map, point group
BOX, VOXEL, SNR = 32, 10, 0.15            # voxels, Å
POSE = ("ref", "angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ")
ANGLES = POSE[1:4]
ERRORS = "angle error °", "of its axis °", "shift error px", "FSC 0.5 at Å"
REACH = 8                                 # voxels that a class average may be off its reference
EDGE = 4                                  # voxels, of the soft mask that volumes are compared inside
HALF = 0.5                                # a Fourier shell correlation that counts as resolved


# ---- truth

def own_symmetry(volume, name):
    """The rotations (G, 3, 3) of a point group Cn or Dn about the axes that a volume has, wherever these are.

    The n-fold axis is that of the moments of inertia; a 2-fold one is where half a turn changes least.
    """
    group = Rotation.create_group(name).as_matrix()
    if len(group) == 1:
        return group
    mass = np.maximum(volume, 0)
    points = np.indices(volume.shape)[::-1].reshape(3, -1) - len(volume) // 2
    spread, axes = np.linalg.eigh((points * mass.ravel()) @ points.T)
    last = abs(spread - np.median(spread)).argmax()
    frame = np.roll(axes, 2 - last, axis=1)                    # the axis that differs becomes z
    frame[:, 0] *= np.linalg.det(frame)
    turns = frame @ rotation_matrix(np.arange(0, 180 / int(name[1:]), 0.5), 0, 0)
    place, half_turn = VolumePlacer(volume[None], 0), np.diag([1, -1, -1])
    likeness = [np.vdot(place(0, turn @ half_turn @ turn.T, np.zeros(3)), volume) for turn in turns]
    best = turns[np.argmax(likeness)]
    return best @ group @ best.T


def columns(table):
    return {label: table[label] for label in POSE}


def axis_errors(group, motion, true, found):
    """Degrees (N,) between a symmetry axis in rotations (N, 3, 3) that are true and in those that were found.

    The axis is that of the group's second element; motion: (4, 4) from the reference to the class average.
    """
    if len(group) == 1:
        return np.nan
    axis = Rotation.from_matrix(group[1]).as_rotvec()
    axis /= np.linalg.norm(axis)
    expected, there = axis @ true, (motion[:3, :3] @ axis) @ found          # in the particles
    return np.rad2deg(np.arccos(np.minimum(abs((expected * there).sum(-1)), 1)))


# ---- averages

def compared(reference, average, motion):
    """(the true reference as it stands in the average, its Fourier shell correlation with it (n // 2,)).

    motion: (4, 4) from the reference to the average, nearly.
    """
    place, mask = VolumePlacer(reference[None], REACH), ball(BOX, BOX / 2 - EDGE, EDGE, 3)
    *angles, shift = pose_parameters3d(np.linalg.inv(motion))
    rotation = rotation_matrix(*angles)

    def placed(pose):
        return place(0, Rotation.from_rotvec(pose[:3], degrees=True).as_matrix() @ rotation, shift + pose[3:])

    def unlikeness(pose):
        return -np.corrcoef((placed(pose) * mask).ravel(), (average * mask).ravel())[0, 1]

    steps = np.concatenate([np.zeros((1, 6)), np.diag([3.0] * 3 + [0.5] * 3)])       # degrees and voxels
    best = placed(optimize.minimize(unlikeness, np.zeros(6), method="Nelder-Mead",
                                    options={"initial_simplex": steps, "xatol": 0.02, "fatol": 1e-6}).x)
    return best, shell_correlation(best * mask, average * mask)


def shell_correlation(first, second):
    """Fourier shell correlation (n // 2,) of volumes (n, n, n) at 1, 2 ... n // 2 Fourier voxels."""
    n = len(first)
    a, b = (fft.fftn(volume).ravel() for volume in (first, second))
    line = fft.fftfreq(n, 1 / n)
    shell = np.rint(np.sqrt(line[:, None, None]**2 + line[:, None]**2 + line**2)).astype(int).ravel()
    cross, one, other = (np.bincount(shell, values.real)[1:n // 2 + 1]
                         for values in (a * b.conj(), abs(a)**2, abs(b)**2))
    return cross / np.sqrt(one * other)


# ---- a run

def call(program, *options):
    """Run a program: its :class:`common.Usage`."""
    return run(sys.executable, "-m", f"mlalign.programs.{program}", *options)


class Found:
    """What a run says of simulated particles: scores, and for each class its species, truth, average and FSC."""

    def __init__(self, result, truth, references, groups):
        images = columns(result.images())
        self.ari = score3d(truth, images, groups)["ari"]
        self.angle, self.shift = pose_errors3d(truth, images, groups)
        self.species, self.axis = truth["ref"], np.full(len(truth["ref"]), np.nan)
        self.classes = []
        for found, (true, motion) in class_motions3d(truth, images, groups).items():
            mine = (self.species == true) & (images["ref"] == found)
            self.axis[mine] = axis_errors(groups[true], motion, *(
                rotation_matrix(*(poses[label][mine] for label in ANGLES)) for poses in (truth, images)))
            average = read_volume(result.average_path(FINAL, found))[0]
            self.classes.append((true, average, *compared(references[true - 1], average, motion)))

    def errors(self, true):
        """Median errors of a species: degrees, degrees of its axis, voxels; NaN where it has no axis, or no class."""
        mine = (self.species == true) & np.isfinite(self.angle)
        return [np.median(errors[mine]) if mine.any() else np.nan for errors in (self.angle, self.axis, self.shift)]

    def curve(self, true):
        """FSC of the class of a species, of the better one where it has several; None where it has none."""
        curves = [fsc for species, _, _, fsc in self.classes if species == true]
        return max(curves, key=np.sum) if curves else None


def print_scores(seed, found, cpu, table):
    """A row of the table."""
    cells = []
    for true in range(1, len(SPECIES) + 1):
        errors = [f"{error:.2f}" if np.isfinite(error) else "-" for error in found.errors(true)]
        cells += [*errors, resolved(found.curve(true))]
    table.row(seed, f"{found.ari:.3f}", *cells, f"{cpu:.0f}")


def resolved(curve):
    """Å at which an FSC falls below one half, as text."""
    if curve is None:
        return "-"
    frequency = np.arange(1, len(curve) + 1) / BOX
    where = crossing(frequency, curve[None], HALF)[0]
    return f"{VOXEL / where:.0f}" if where else "-"


def print_correlations(runs):
    shells = np.arange(2, BOX // 2 + 1, 2)
    print("\nFourier shell correlation of averages and truth, by 1/voxel\n")
    table = Table("seed", "species   ", *(f"{shell / BOX:.3f}" for shell in shells))
    for seed, found in runs.items():
        for true, name in enumerate(SPECIES, 1):
            curve = found.curve(true)
            table.row(seed, name, *(["-"] * len(shells) if curve is None else
                                    [f"{curve[shell - 1]:.3f}" for shell in shells]))


def draw(path, found):
    """Central slices of the true references and of the averages, in the averages' frames."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    classes = sorted(found.classes, key=lambda one: one[0])
    figure, axes = plt.subplots(len(classes), 6, figsize=(9, 1.7 * len(classes) + 0.3), layout="constrained",
                                squeeze=False)
    middle = BOX // 2
    for row, (true, average, reference, _) in zip(axes, classes):
        for first, title, volume in ((0, "truth", reference), (3, "average", average)):
            for place, (name, cut) in enumerate(zip("zyx", (volume[middle], volume[:, middle], volume[:, :, middle]))):
                panel = row[first + place]
                panel.imshow(cut, cmap="gray", origin="lower", vmin=volume.min(), vmax=volume.max())
                panel.set(xticks=[], yticks=[])
                panel.set_title(f"{title}, {name} = 0", fontsize="small")
        row[0].set_ylabel(list(SPECIES)[true - 1])
    figure.savefig(path, dpi=90)
    plt.close(figure)


def measure(folder, maps, options):
    """Simulate, run, compare; prints the tables and draws the picture."""
    count, iterations = (24, 3) if options.quick else (120, 25)
    data = folder / "data"
    data.mkdir(exist_ok=True)
    call("simulate_tomo", "--maps", *maps, "-n", count, "--box", BOX, "--voxel_size", VOXEL, "--snr", SNR,
         "--wedge", -60, 60, "--seed", 1, "-o", f"{data}/")
    references = [read_volume(data / f"reference{number:06d}.mrc")[0] for number in range(1, len(SPECIES) + 1)]
    groups = {true: own_symmetry(reference, name)
              for true, (reference, (_, name)) in enumerate(zip(references, SPECIES.values()), 1)}
    truth = columns(read_star(data / "truth.xmd", ["particles"])["particles"])
    print(f"{count} subtomograms of {BOX} voxels, SNR {SNR}\n")
    table = Table("seed", "ARI   ", *(f"{name}: {what}" for name in SPECIES for what in ERRORS), "CPU s")
    runs = {}
    for seed in range(options.seeds + 1):
        start = ("--nref", len(SPECIES)) if seed else ("--ref", data / "references.mrcs")
        oroot = folder / f"seed{seed}" / "tomo"
        usage = call("ml_tomo", "-i", data / "particles.xmd", "--missing", data / "missing.xmd", *start,
                     "--ang", 15, "--iter", iterations, "--random_seed", seed, "--thr", 1, "--oroot", oroot)
        runs[seed] = Found(TomoRun(str(oroot)), truth, references, groups)
        print_scores(seed, runs[seed], usage.cpu, table)
    print_correlations(runs)
    if options.picture:
        draw(options.picture, runs[min(1, options.seeds)])


def main():
    parsing = parser(__doc__)
    parsing.add_argument("maps", nargs="*", metavar="MAP", help="a proteasome and a ribosome "
                                                                "(default: of $MLALIGN_TEST_DATA)")
    parsing.add_argument("--seeds", type=int, default=3, help="number of random starts (default: %(default)s)")
    parsing.add_argument("--picture", default="", metavar="FILE", help="draw slices of truth and averages (.png)")
    options = parsing.parse_args()
    maps = [Path(path).resolve() for path in options.maps] or [data_file(f"maps/{name}.mrc")
                                                               for name, _ in SPECIES.values()]
    if None in maps or len(maps) != len(SPECIES):
        parsing.error("needs two density maps: name them, or set MLALIGN_TEST_DATA (docs/performance.md)")
    if options.quick:
        options.seeds = 1

    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print_machine()
    with working_folder(options) as folder:
        measure(folder, maps, options)


if __name__ == "__main__":
    main()
