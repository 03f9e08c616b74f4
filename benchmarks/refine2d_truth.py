"""How well refine2d's classes agree with the views that particles were made from.

    python benchmarks/refine2d_truth.py [maps] [--seeds 3] [--starts harmonics footprint ml] [--options "..."]

2000 particles of ten views of five assemblies (64 px of 5 Å, shifts of 2 px, half of them mirrored) at signal-to-noise
ratios of 0.2 and 0.06, sorted into 20 and 48 classes in eight cycles.  Purity is the share of particles that belong
to the majority view of their class; the adjusted Rand index (ARI) compares the views with the classes, those with the
same majority view taken together.

"Shuffled" compares two runs on the easier particles, six classes of six views, one of them with the input in another
order and with another seed: the ARI between their classes.  One thread, CPU seconds of the whole process.
"""
import os
import sys

import numpy as np
from common import Table, assembly_maps, parser, print_machine, run, simulate_assemblies, working_folder

from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.scoring import adjusted_rand_index

CYCLES = 8


def classify(star, folder, *options):
    """Run refine2d in a folder: its :class:`common.Usage`."""
    return run(sys.executable, "-m", "mlalign.programs.refine2d", "--input", star, "--path", folder, *options)


def classes(path):
    return np.asarray(read_star(path, ["particles"])["particles"]["ref"])


def merged(truth, found):
    """The majority view (N,) of every particle's class."""
    views = np.zeros(len(truth), int)
    for k in np.unique(found):
        views[found == k] = np.bincount(truth[found == k]).argmax()
    return views


def agreement(folder, maps, options):
    count, cycles = (300, 2) if options.quick else (2000, CYCLES)
    print(f"{count} particles of ten views, {cycles} cycles\n")
    table = Table("SNR ", "classes", "start    ", "purity             ", "ARI, merged        ", "CPU s")
    for snr in (0.2, 0.06):
        star = simulate_assemblies(folder / f"snr{snr}", maps, count, snr)
        truth = classes(star.with_name("truth.xmd"))
        for number in (20, 48):
            for start in options.starts:
                scores = []
                for seed in range(1, options.seeds + 1):
                    out = folder / f"snr{snr}" / f"{start}_{number}_{seed}"
                    used = classify(star, out, "--ncls", number, "--iter", cycles, "--start", start, "--random_seed",
                                    seed, *options.options.split())
                    found = merged(truth, classes(out / "images.xmd"))
                    scores.append((np.mean(found == truth), adjusted_rand_index({"ref": truth}, {"ref": found}),
                                   used.cpu))
                purity, ari, cpu = zip(*scores)
                table.row(snr, number, start, " ".join(f"{one:.3f}" for one in purity),
                          " ".join(f"{one:.3f}" for one in ari), f"{np.mean(cpu):.0f}")


def shuffled(folder, maps, options):
    """The same particles in two orders."""
    count = 300 if options.quick else 2000
    star = simulate_assemblies(folder / "easy", maps[:3], count, 0.2)
    table = read_star(star, ["particles"])["particles"]
    order = np.random.default_rng(1).permutation(len(table))
    other = folder / "easy" / "shuffled.xmd"
    write_star(other, {"particles": {name: column[order] for name, column in table.columns.items()}})
    truth, found = classes(star.with_name("truth.xmd")), []
    for name, path in (("first", star), ("second", other)):
        out = folder / "easy" / name
        classify(path, out, "--ncls", 6, "--iter", CYCLES, "--random_seed", len(found) + 1)
        found.append(classes(out / "images.xmd"))
    again = np.empty_like(found[1])
    again[order] = found[1]
    between = adjusted_rand_index({"ref": found[0]}, {"ref": again})
    print(f"\nshuffled: ARI between the two runs {between:.3f}, with the views "
          + " and ".join(f"{adjusted_rand_index({'ref': truth}, {'ref': one}):.3f}" for one in (found[0], again)))


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", help="density maps (default: those of the test data)")
    options.add_argument("--seeds", type=int, default=3, metavar="N", help="runs of each kind")
    options.add_argument("--starts", nargs="+", default=["harmonics", "footprint", "ml"], metavar="NAME",
                         help="values of --start")
    options.add_argument("--options", default="", metavar="TEXT", help="further options of refine2d, as one text")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print_machine()
    maps = assembly_maps(options.maps)
    with working_folder(options) as folder:
        agreement(folder, maps, options)
        shuffled(folder, maps, options)


if __name__ == "__main__":
    main()
