"""mlf_align2d beside ml_align2d on real particles.

    python benchmarks/mlf2d_apoferritin.py [--picture FILE]

Apoferritin, 937 images of 64 px of 3 Å (EMPIAR-10146), not phase-flipped, of which 96 show no particle:
$MLALIGN_TEST_DATA/apoferritin/apoferritin.star and apoferritin_labels.csv.  mlf_align2d takes them as they are,
ml_align2d as they are and phase-flipped, each with --mirror --fast --radius 26, which is a particle without most of
its neighbours, and one random start.

First, 8 classes: how pure they are in particles and non-particles (the share of images whose class has a majority of
their kind), where the non-particles are, and a picture of the averages.  Then the images labelled as particles in two
random halves, each averaged in one class from its own start: Fourier ring correlation of the two averages, aligned,
as far as both runs went in resolution.
"""
import csv
import sys

import matplotlib
import numpy as np
from averages import EDGE, aligned, frc
from common import Table, classify, data_file, parser, print_machine, working_folder

from mlalign.programs.engine.ctf import PhaseFlipped
from mlalign.programs.engine.resolution import FRC_THRESHOLD, crossing
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.particle_ctf import read_ctf

CLASSES = 8
RADIUS = 26           # px, of the circle that both programs look at: a particle and little of its neighbours
RUNS = {
    "mlf_align2d": ("as they are", "mlf_align2d", ("--not_phase_flipped",)),
    "ml_align2d": ("as they are", "ml_align2d", ()),
    "ml_align2d, phase-flipped": ("flipped", "ml_align2d", ()),
}


class Particles:
    """The images, as they are and flipped, and their labels."""

    def __init__(self, star, labels, folder):
        self.star, self.folder = star, folder
        source = open_images(str(star))
        self.count, self.pixel_size = source.count, source.pixel_size
        with open(labels, newline="") as file:
            self.good = np.array([row["label"] == "particle" for row in csv.DictReader(file)])
        flipped = PhaseFlipped(source, read_ctf(source), source.pixel_size).read(np.arange(source.count))
        self.stacks = {"as they are": star.with_suffix(".mrcs"), "flipped": folder / "flipped.mrcs"}
        write_stack(self.stacks["flipped"], flipped, source.pixel_size)

    def written(self, name, kind, rows):
        """Path of new metadata of the images ``rows``, from the stack of that kind."""
        blocks = read_star(self.star, ["optics", "particles"])
        columns = blocks["particles"].take(rows).columns
        columns["rlnImageName"] = np.array([f"{row + 1:06d}@{self.stacks[kind]}" for row in rows], object)
        path = self.folder / f"{name}.star"
        write_star(path, {"optics": blocks["optics"].columns, "particles": columns})
        return path


def classified(particles, name, rows, classes, seed, options):
    """Run the program ``name`` of :data:`RUNS` on images: its Usage and Run."""
    kind, program, words = RUNS[name]
    oroot = particles.folder / f"{name.replace(', ', '_')}_{classes}_{seed}"
    star = particles.written(oroot.name, kind, rows)
    return classify(star, f"{oroot}/", "--nref", classes, "--mirror", "--fast", "--radius", RADIUS,
                    "--random_seed", seed, *words, *(["--iter", 3] if options.quick else []), program=program)


def classes(particles, options):
    """The table of classes; returns for each run averages, members and non-particles, large classes first."""
    table = Table("program                  ", "pure ", "particles / non-particles in each class" + " " * 20, "to Å ",
                  "CPU s")
    found = {}
    for name in RUNS:
        usage, run = classified(particles, name, np.arange(particles.count), CLASSES, 1, options)
        ref = read_star(f"{run.oroot}images.xmd", ["particles"])["particles"]["ref"]
        good, bad = (np.bincount(ref[which], minlength=CLASSES + 1)[1:] for which in (particles.good, ~particles.good))
        order = np.argsort(-(good + bad))
        averages = open_images(f"{run.oroot}classes.mrcs").read(order)
        found[name] = averages, good[order], bad[order]
        table.row(name, f"{np.maximum(good, bad).sum() / len(ref):.1%}",
                  "  ".join(f"{good[k]}/{bad[k]}" for k in order),
                  f"{particles.pixel_size / run.info()['maxres']:.1f}", f"{usage.cpu:.0f}")
    return found


def halves(particles, options):
    """The table of half-set correlations."""
    rows = np.flatnonzero(particles.good)
    parts = np.array_split(np.random.default_rng(1).permutation(rows), 2)
    curves = []
    for name in RUNS:
        runs = [classified(particles, name, np.sort(part), 1, seed, options)[1] for seed, part in enumerate(parts)]
        first, second = (open_images(f"{run.oroot}classes.mrcs").read(slice(None))[0] for run in runs)
        curve = frc(aligned(first, second, RADIUS - EDGE), second, RADIUS - EDGE)
        frequency = np.arange(1, len(curve) + 1) / (2 * len(curve))
        curves.append(np.where(frequency <= min(run.info()["maxres"] for run in runs) + 1e-9, curve, 0))
    frequency /= particles.pixel_size
    print(f"\nhalves of {len(parts[0])} and {len(parts[1])} particles, Fourier ring correlation\n")
    table = Table("Å      ", *RUNS)
    for shell in np.flatnonzero(np.any(curves, 0)):
        table.row(f"{1 / frequency[shell]:.1f}", *(f"{curve[shell]:.3f}" for curve in curves))
    table.row(f"{FRC_THRESHOLD} at", *(f"{1 / reached:.1f} Å" for reached in crossing(frequency, np.array(curves))))


def draw(path, found):
    """The averages, row by row a program's, each with its particles and non-particles."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(len(found), CLASSES, figsize=(1.3 * CLASSES, 1.6 * len(found)), layout="constrained")
    for row, (name, (averages, good, bad)) in zip(axes, found.items()):
        for k, panel in enumerate(row):
            panel.imshow(averages[k], cmap="gray")
            panel.set_title(f"{good[k]} / {bad[k]}", fontsize="small", pad=3)
            panel.set_xticks([])
            panel.set_yticks([])
        row[0].set_ylabel(name.replace(", ", ",\n"), fontsize="small")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main():
    options = parser(__doc__)
    options.add_argument("--picture", default="", metavar="FILE", help="draw the averages of 8 classes (.png)")
    options = options.parse_args()
    star, labels = (data_file(f"apoferritin/{name}") for name in ("apoferritin.star", "apoferritin_labels.csv"))
    if not (star and labels):
        sys.exit("no apoferritin: set MLALIGN_TEST_DATA (docs/performance.md)")
    print_machine()
    with working_folder(options) as folder:
        particles = Particles(star, labels, folder)
        print(f"{particles.count} images, {np.sum(~particles.good)} non-particles, {CLASSES} classes\n")
        found = classes(particles, options)
        halves(particles, options)
        if options.picture:
            draw(options.picture, found)


if __name__ == "__main__":
    main()
