"""One table of all programs: time, memory, share of the machine's matrix rate, RELION's time, and how right they are.

    python benchmarks/table.py [--threads 1 2] [--relion 25] [MAP ...]

Whole runs as a user starts them, on simulated data, every one in a process of its own:

    views       2000 images of 64 px, 10 views of five assemblies, half of them mirrored, signal-to-noise ratio 0.06
    with CTF    the same behind CTFs, in coloured noise, signal-to-noise ratio 0.08
    phantoms    1000 images of 64 px, 3 phantoms, half of them mirrored, signal-to-noise ratio 0.1
    volumes     60 subtomograms of 32 voxels, 2 phantoms, tilts of -60 to 60 degrees, from the true references

The maps are those of $MLALIGN_TEST_DATA unless named.  The 2-D classifications have as many classes as there are views
and take 25 iterations (or end earlier, converged); s/it. is what an iteration takes in the mean, and the total includes
start-up and finding a first set of references.  Share is that of the rate that a product of two 2048 x 2048 matrices
reaches on one thread, measured in this run, which the matrix products counted in iterations come to.  ARI is the
adjusted Rand index of found and true classes (1: the same); of mref_ali2d, which is given its references, too.

RELION (relion_refine, Debian's package relion) classifies the same images on one thread into as many classes, at
5 degrees and 1 px, as the programs here do, without mirrors, which it does not know: without --mirror our run is most
like its.  times: RELION's CPU seconds for 25 iterations over the program's, in all.  These take RELION most of an hour;
with --relion N it takes N iterations, its time is scaled up, and its ARI left out; with 0 it does not run.
"""
import datetime
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from common import (
    Table,
    assembly_maps,
    parser,
    print_machine,
    run,
    simulate,
    simulate_assemblies,
    simulate_with_ctf,
    working_folder,
)
from ml2d_speed import matrix_rate
from relion import agreement, class2d, installed

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import adjusted_rand_index

MEASURED = Path(__file__).with_name("measured.py")
ITERATIONS = 25
VOLUME_ITERATIONS = 5
SEED = ("--random_seed", 1)


@dataclass(frozen=True)
class Set:
    """Simulated particles: what to call them, their metadata, how many and of how many classes."""

    name: str
    star: Path
    count: int
    classes: int

    def size(self):
        return f"{self.count} x {self.classes}"


class Measured:
    """A whole run of a program: its :class:`.common.Usage`, and its ``iterations`` as measured.py tells them."""

    def __init__(self, program, *options, folder):
        path = folder / "iterations.json"
        self.usage = run(sys.executable, MEASURED, path, program, *options)
        self.iterations = json.loads(path.read_text())

    def mean(self, what):
        return sum(one[what] for one in self.iterations) / len(self.iterations)


class Report:
    """The table, and what RELION took for the sets it is compared on."""

    def __init__(self, rate):
        self.rate, self.relion = rate, {}
        self.table = Table("program", "options  ", "data     ", "particles x classes", "threads", "iterations",
                           "CPU s", "wall s", "CPU s/it.", "wall s/it.", "peak GiB", "share", "ARI  ", "RELION CPU s",
                           "RELION ARI", "times")

    def row(self, program, options, data, threads, measured, found):
        """A run of ours.  found: the metadata it wrote."""
        usage, ari = measured.usage, adjusted_rand_index(columns_of(data), {"ref": read_ref(found)})
        share = sum(one["flops"] for one in measured.iterations) / sum(one["cpu"] for one in measured.iterations)
        other = self.relion.get(data.name)
        self.table.row(program, options, data.name, data.size(), threads, len(measured.iterations),
                       f"{usage.cpu:.1f}", f"{usage.wall:.1f}", f"{measured.mean('cpu'):.2f}",
                       f"{measured.mean('wall'):.2f}", f"{usage.peak:.2f}", f"{share / self.rate:.0%}", f"{ari:.3f}",
                       *(["-"] * 3 if other is None else [f"{other[0]:.0f}", other[1], f"{other[0] / usage.cpu:.1f}"]))

    def race(self, data, iterations, *options):
        """Let RELION classify a set, for some iterations of those that count."""
        found = class2d(data.star, data.classes, iterations, 1, *options)
        ari = f"{agreement(data.star, found.ref)[0]:.3f}" if iterations == ITERATIONS else "-"
        self.relion[data.name] = ITERATIONS * found.cpu, ari


def columns_of(data):
    """The true classes of a set."""
    return {"ref": read_ref(data.star.with_name("truth.xmd"))}


def read_ref(path):
    return read_star(path, ["particles"])["particles"]["ref"]


# ---- the programs

def classify2d(report, program, data, threads, iterations, *options):
    """Classification by maximum likelihood: fast, exact where it is quick enough, and without mirrors."""
    common = ["-i", data.star, "--nref", data.classes, "--iter", iterations, *SEED, *options]
    variants = [("--mirror --fast", thr) for thr in threads] + [("--fast", 1)]
    if program == "ml_align2d":
        variants.append(("--mirror", 1))
    for words, thr in variants:
        folder = data.star.parent / f"{program}{words.replace(' ', '')}{thr}"
        folder.mkdir(exist_ok=True)
        measured = Measured(program, *common, "--oroot", f"{folder}/", "--thr", thr, *words.split(), folder=folder)
        report.row(program, words, data, thr, measured, folder / "images.xmd")


def align_to_references(report, data, threads, radius=27):
    for thr in threads:
        folder = data.star.parent / f"mref{thr}"
        measured = Measured("mref_ali2d", data.star, data.star.with_name("references.mrcs"), folder, f"--ou={radius}",
                            "--xr=3", "--yr=3", "--maxit=6", "--thr", thr, folder=data.star.parent)
        report.row("mref_ali2d", "--maxit=6", data, thr, measured, folder / "images.xmd")


def refine(report, data, threads):
    for thr in threads:
        folder = data.star.parent / f"refine{thr}"
        measured = Measured("refine2d", "--input", data.star, "--path", folder, "--ncls", data.classes, "--iter", 8,
                            "--parallel", f"thread:{thr}", *SEED, folder=data.star.parent)
        report.row("refine2d", "--iter 8", data, thr, measured, folder / "images.xmd")


def classify3d(report, data, threads, iterations):
    for thr in threads:
        folder = data.star.parent / f"tomo{thr}"
        folder.mkdir(exist_ok=True)
        measured = Measured("ml_tomo", "-i", data.star, "--missing", data.star.with_name("missing.xmd"), "--ref",
                            data.star.with_name("references.mrcs"), "--ang", 15, "--limit_trans", 3, "--iter",
                            iterations, "--no_refine", *SEED, "--oroot", f"{folder}/ml", "--thr", thr, folder=folder)
        report.row("ml_tomo", "--ang 15", data, thr, measured, folder / "ml_img.xmd")


def simulated_volumes(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "mlalign.programs.simulate_tomo", "-o", f"{folder}/", "--phantoms", 2, "-n", count,
        "--box", 32, "--snr", 0.1, "--offset", 1, "--stack", "--seed", 1)
    return Set("volumes", folder / "particles.xmd", count, 2)


def warm(folder, threads):
    """Cache compiled code: a first run of everything on a few particles, which is not shown."""
    star = simulate(folder / "warm", "--views", 2, "-n", 60, "--box", 32, "--snr", 1)
    ctf = simulate(folder / "warm_ctf", "--views", 2, "-n", 60, "--box", 32, "--snr", 1, "--pixel_size", 5,
                   "--defocus", 9000, 28000)
    silent = Silent()
    for data in (Set("", star, 60, 2), Set("", ctf, 60, 2)):
        for program, options in (("ml_align2d", ()), ("mlf_align2d", ("--not_phase_flipped",))):
            if program == "ml_align2d" or data.star == ctf:
                classify2d(silent, program, data, threads, 2, *options)
    refine(silent, Set("", star, 60, 2), threads)
    align_to_references(silent, Set("", star, 60, 2), threads, 8)
    classify3d(silent, simulated_volumes(folder / "warm_tomo", 4), threads, 1)


class Silent:
    """A report of nothing."""

    def row(self, *cells):
        pass


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="(default: 1 2)")
    options.add_argument("--relion", type=int, default=ITERATIONS, metavar="N",
                         help="iterations of RELION, 0 for none (default: %(default)s)")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    few, iterations = (10, 3) if options.quick else (1, ITERATIONS)
    maps, threads = assembly_maps(options.maps), options.threads
    views = 2 * len(maps)

    print(datetime.date.today())
    print_machine()
    rate = matrix_rate(3)
    print(f"2048 x 2048 product, single precision, one thread: {rate / 1e9:.0f} Gflop/s\n", flush=True)
    with working_folder(options) as folder:
        warm(folder, threads)
        plain = Set("views", simulate_assemblies(folder / "views", maps, 2000 // few, 0.06), 2000 // few, views)
        ctf = Set("with CTF", simulate_with_ctf(folder / "ctf", maps, 2000 // few, 0.08, False), 2000 // few, views)
        phantoms = Set("phantoms", simulate(folder / "phantoms", "--views", 3, "-n", 1000 // few, "--box", 64, "--snr",
                                            0.1, "--offset", 2, "--mirror", "--seed", 1), 1000 // few, 3)
        volumes = simulated_volumes(folder / "volumes", 60 // few)
        report = Report(rate)
        if installed() and options.relion:
            report.race(plain, options.relion)
            report.race(ctf, options.relion, "--ctf")
        classify2d(report, "ml_align2d", plain, threads, iterations)
        classify2d(report, "ml_align2d", phantoms, threads, iterations)
        classify2d(report, "mlf_align2d", ctf, threads, iterations, "--not_phase_flipped")
        align_to_references(report, phantoms, threads)
        refine(report, plain, threads)
        classify3d(report, volumes, threads, 1 if options.quick else VOLUME_ITERATIONS)


if __name__ == "__main__":
    main()
