"""How the time of an iteration grows with what there is to do, for every program.

    python benchmarks/scaling.py [--large] [--pictures FOLDER] [--only PART ...]

ml_align2d, exact and fast, against the number of images, of classes, the box, the shifts searched, threads and ranks
(processes started by mpirun); the other programs against the number of particles and of classes.  Phantoms, half of
them mirrored, signal-to-noise ratio 0.1, 1000 images of 64 px, 3 classes, shifts to 5 px, one thread, where nothing
else is said; ml_tomo: 32 voxels, 15 degrees, shifts to 2 voxels.  Whole programs are run on files as users run them,
from the true references, at full resolution; an iteration is the fastest of the last ones, with the files it writes.

CPU seconds; for threads and ranks wall seconds, which are worth something on an idle machine only.  Slope is that of a
straight line through the logarithms: 1 means that twice as much takes twice as long.  Expected are 1 for images (all is
done image by image) and shifts, 1 or less for classes (files and transforms of images do not depend on them), 2 for the
box (rings times angular frequencies) where shifts stay the same.

--large goes to 100,000 images and 200 classes, and shares 10,000 images among threads and ranks.  --pictures draws
scaling_ml2d.png and scaling_programs.png.
"""
import json
import os
import sys
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
from common import Table, parser, print_machine, run, simulate, working_folder

from mlalign.programs.engine.launcher import mpirun
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.phantoms import SEEDS, phantoms

MEASURED = Path(__file__).with_name("measured.py")
ITERATIONS, LAST = 3, 2                 # taken, and looked at
COUNT, CLASSES, BOX, SHIFT, PIXEL = 1000, 3, 64, 5, 4
SEED = ("--random_seed", 1)
EXPECTED = {"images": 1, "classes": 1, "box": 2, "shifts": 1}


class Particles:
    """Simulated particles, made once for each size."""

    def __init__(self, folder):
        self.folder, self.made = folder, {}

    def images(self, count=COUNT, classes=CLASSES, box=BOX):
        """The folder of ``count`` images, behind CTFs and phase-flipped, so that all 2-D programs can work on them."""
        def make(folder):
            folder.mkdir(exist_ok=True)
            write_stack(folder / "views.mrcs", views(classes, box), PIXEL)
            simulate(folder, "--refs", folder / "views.mrcs", "-n", count, "--snr", 0.1, "--offset", 1, "--mirror",
                     "--seed", 1, "--pixel_size", PIXEL, "--defocus", 9000, 20000, "--phase_flip")
        return self._once(f"images_{count}_{classes}_{box}", make)

    def volumes(self, count, classes):
        def make(folder):
            folder.mkdir(exist_ok=True)
            run(sys.executable, "-m", "mlalign.programs.simulate_tomo", "-o", f"{folder}/", "--phantoms", classes,
                "-n", count, "--snr", 0.1, "--offset", 0.7, "--stack", "--seed", 1)
        return self._once(f"volumes_{count}_{classes}", make)

    def _once(self, name, make):
        folder = self.folder / name
        if name not in self.made:
            make(folder)
            self.made[name] = folder
        return folder


def views(classes, box):
    """Images (classes, box, box): phantoms and, where these are not enough, pairs of them put together."""
    single = phantoms(min(classes, len(SEEDS)), box)
    pairs = (single[i] + np.rot90(single[j]) for i, j in combinations(range(len(single)), 2))
    return np.concatenate([single, [next(pairs) / 2 for _ in range(classes - len(single))]]
                          if classes > len(single) else [single]).astype(np.float32)


# ---- the seconds of an iteration

def em2d(program, particles, search, radius=SHIFT, threads=1, ranks=1, what="cpu", **size):
    """Of ml_align2d or mlf_align2d.  radius: of shifts; size: of :meth:`Particles.images`; what: or "wall"."""
    folder = particles.images(**size)
    words = ["-i", folder / "particles.star", "--ref", folder / "references.mrcs", "--mirror", "--max_shift", radius,
             *(["--fast"] if search == "fast" else []), "--iter", ITERATIONS, "--eps", 0, "--min_class", 0, *SEED,
             "--thr", threads, "--oroot", "{out}/",
             *(["--maxres", 0.5] if program == "ml_align2d" else ["--fix_high", 2 * PIXEL])]
    return seconds(folder, program, words, what, [mpirun(), "-np", ranks] if ranks > 1 else [])


def align(particles, count=COUNT, classes=CLASSES):
    """Of mref_ali2d."""
    folder = particles.images(count, classes)
    words = [folder / "particles.star", folder / "references.mrcs", "{out}/mref", "--ou=27", "--xr=3", "--yr=3",
             "--maxit", ITERATIONS]
    return seconds(folder, "mref_ali2d", words)


def refine(particles, count=COUNT, classes=CLASSES):
    """Of refine2d, in as many classes of views of a few phantoms."""
    folder = particles.images(count, CLASSES)
    words = ["--input", folder / "particles.star", "--path", "{out}/refine", "--ncls", classes, "--iter", ITERATIONS,
             "--fastseed", *SEED]
    return seconds(folder, "refine2d", words)


def volumes(particles, count, classes):
    """Of ml_tomo."""
    folder = particles.volumes(count, classes)
    words = ["-i", folder / "particles.xmd", "--missing", folder / "missing.xmd", "--ref", folder / "references.mrcs",
             "--ang", 15, "--limit_trans", 2, "--maxres", 0.35, "--no_refine", "--iter", ITERATIONS, "--eps", 0,
             "--oroot", "{out}/", *SEED]
    return seconds(folder, "ml_tomo", words)


def seconds(folder, program, words, what="cpu", launcher=()):
    """What the fastest of the last iterations takes.  Words with {out} get a folder that is new each time."""
    with TemporaryDirectory(dir=folder) as out:
        words = [str(word).replace("{out}", out) for word in words]
        path = Path(out, "iterations.json")
        run(*launcher, sys.executable, MEASURED, path, program, *words)
        return min(one[what] for one in json.loads(path.read_text())[-LAST:])


# ---- curves

class Curves:
    """Measured points, printed as they come: ``points[panel][line]`` is a list of (x, seconds)."""

    def __init__(self):
        self.points = {}

    def measure(self, panel, line, of, as_x=int, **varied):
        """Seconds that ``of`` gives for a keyword's values, which ``as_x`` makes x of; prints a row with the slope."""
        (name, values), = varied.items()
        points = [(as_x(value), of(**{name: value})) for value in values]
        self.points.setdefault(panel, {})[line] = points
        slope = np.polyfit(*np.log(np.array(points, float)).T, 1)[0] if len(points) > 1 else np.nan
        print(f"| {panel} | {line} | " + ", ".join(f"{x}: {value:.3g}" for x, value in points)
              + f" | {slope:.2f} | {EXPECTED.get(panel.split()[-1], -1)} |", flush=True)


def curves_of_ml2d(curves, particles, sizes):
    for search in ("fast", "exact"):
        of = partial(em2d, "ml_align2d", particles, search)
        curves.measure("images", search, of, count=sizes["images"])
        curves.measure("classes", search, of, classes=sizes["classes"])
        curves.measure("box", search, partial(of, count=sizes["few"]), box=sizes["boxes"])
        curves.measure("shifts", search, of, within, radius=sizes["radii"])


def curves_of_threads(curves, particles, sizes):
    for search in ("fast", "exact"):
        of = partial(em2d, "ml_align2d", particles, search, what="wall", count=sizes["parallel"])
        curves.measure("threads", search, of, threads=sizes["threads"])
        if mpirun():
            curves.measure("ranks", search, of, ranks=sizes["ranks"])


def curves_of_programs(curves, particles, sizes):
    programs = {"mlf_align2d": partial(em2d, "mlf_align2d", particles, "fast"), "mref_ali2d": partial(align, particles),
                "refine2d": partial(refine, particles), "ml_tomo": partial(volumes, particles)}
    for program, of in programs.items():
        counts, classes = sizes[program]
        curves.measure(f"{program} images", program, partial(of, classes=classes[0]), count=counts)
        curves.measure(f"{program} classes", program, partial(of, count=counts[0]), classes=classes)


def within(radius):
    """Number of pixels within a radius."""
    line = np.arange(-radius, radius + 1)
    return int((line**2 + line[:, None] ** 2 <= radius**2).sum())


# ---- pictures

def draw(folder, curves):
    """PNGs of the curves in a folder."""
    matplotlib.use("Agg")
    panels = {name: lines for name, lines in curves.points.items() if " " not in name}
    _draw(folder / "scaling_ml2d.png", panels)
    merged = {}
    for name, lines in curves.points.items():
        if " " in name:
            merged.setdefault("particles" if name.endswith("images") else "classes", {}).update(lines)
    _draw(folder / "scaling_programs.png", merged)


def _draw(path, panels):
    from matplotlib import pyplot as plt
    if not panels:
        return
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.1 * rows), layout="constrained",
                                squeeze=False)
    for panel, (name, lines) in zip(axes.flat, panels.items()):
        for line, points in lines.items():
            x, y = np.array(points, float).T
            panel.loglog(x, y, "o-", ms=4, label=line)
        x, y = np.array(max(lines.values(), key=lambda points: points[0][1]), float).T
        slope = -1 if name in ("threads", "ranks") else EXPECTED.get(name, 1)
        panel.loglog(x, 1.3 * y[0] * (x / x[0]) ** slope, "k:", lw=1, label=f"slope {slope}")
        panel.set(xlabel=name, ylabel="wall s" if slope < 0 else "CPU s per iteration")
        ticks = sorted({x for points in lines.values() for x, _ in points})
        panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks], rotation=30 if max(ticks) > 999 else 0)
        panel.minorticks_off()
        panel.legend(fontsize="small", frameon=False)
    for panel in axes.flat[len(panels):]:
        panel.axis("off")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def sizes_of(options):
    """What is measured: tiny, usual or large."""
    if options.quick:
        return {"images": [100, 200], "classes": [1, 3], "boxes": [32, 48], "few": 60, "radii": [1, 3],
                "parallel": 200, "threads": [1, 2], "ranks": [1, 2], "mlf_align2d": ([100, 200], [2, 3]),
                "mref_ali2d": ([100, 200], [2, 3]), "refine2d": ([200, 300], [3, 6]), "ml_tomo": ([4, 8], [1, 2])}
    sizes = {"images": [1000, 3000, 10_000], "classes": [1, 3, 10, 30, 100], "boxes": [32, 64, 128, 256],
             "few": 300, "radii": [2, 4, 6, 8, 12], "parallel": 3000, "threads": [1, 2], "ranks": [1, 2, 4],
             "mlf_align2d": ([1000, 3000], [1, 3, 10, 30]), "mref_ali2d": ([1000, 3000, 10_000], [3, 10, 50]),
             "refine2d": ([1000, 2000, 4000], [6, 20, 50]), "ml_tomo": ([20, 60], [1, 2, 4])}
    if options.large:
        sizes["images"] += [30_000, 100_000]
        sizes["classes"] += [200]
        sizes["mref_ali2d"][1].append(200)
        sizes["parallel"] = 10_000
    return sizes


PARTS = {"ml2d": curves_of_ml2d, "threads": curves_of_threads, "programs": curves_of_programs}


def main():
    options = parser(__doc__)
    options.add_argument("--large", action="store_true", help="also 100,000 images, 200 classes")
    options.add_argument("--pictures", default="", metavar="FOLDER", help="draw the curves there")
    options.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the curves")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print_machine()
    sizes, curves = sizes_of(options), Curves()
    with working_folder(options) as folder:
        particles = Particles(folder)
        for search in ("fast", "exact"):                     # compiled code is cached
            em2d("ml_align2d", particles, search, count=60, box=32)
        Table("against", "search or program", "x: seconds per iteration", "slope", "expected")
        for part in options.only:
            PARTS[part](curves, particles, sizes)
    if options.pictures:
        draw(Path(options.pictures), curves)


if __name__ == "__main__":
    main()
