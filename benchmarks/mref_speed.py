"""How fast mref_ali2d aligns, and how well it finds what was planted.

    python benchmarks/mref_speed.py [--seeds 3] [--large]

Phantoms of 64 px at a signal-to-noise ratio of 0.2, shifts of 2 px, half of them mirrored, 2000 particles of 3 and of
20 references, "--ou=27 --xr=3 --yr=3 --maxit=6": the command line in the documentation of the original.  Right is the
share of particles that are assigned to the reference they were made from; errors are medians.

With --large also 5000 particles of 90 px and 10, 50 and 200 references, "--ou=36 --xr=3 --yr=3 --maxit=2": the time
of an iteration is what the second one adds.

One thread; CPU seconds of the whole process.  Compiled code is cached by a first run, which is not counted.
"""
import os
import sys
from itertools import combinations

import numpy as np
from common import Table, columns, parser, print_machine, run, simulate, working_folder

from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.scoring import score

SNR = 0.2
LARGE = (10, 50, 200)       # references


def align(star, refs, outdir, *options):
    """Run mref_ali2d: its :class:`common.Usage`."""
    return run(sys.executable, "-m", "mlalign.programs.mref_ali2d", star, refs, outdir, "--xr=3", "--yr=3", *options)


def planted(folder, options):
    """Phantoms in boxes of 64 px."""
    count = 200 if options.quick else 2000
    print(f"{count} images of 64 px, SNR {SNR}, six iterations\n")
    table = Table("references", "seed", "right  ", "angle error °", "shift error px", "wrong mirror %", "CPU s",
                  "wall s")
    for references in (3, 20):
        for seed in range(1, options.seeds + 1):
            here = folder / f"planted{references}_{seed}"
            star = simulate(here, "--views", references, "-n", count, "--snr", SNR, "--mirror", "--seed", seed)
            usage = align(star, here / "references.mrcs", here / "out", "--ou=27", "--maxit=6")
            truth, found = columns(here / "truth.xmd"), columns(here / "out/images.xmd")
            scores = score(truth, found)
            table.row(references, seed, f"{(truth['ref'] == found['ref']).mean():.4f}", f"{scores['angle']:.2f}",
                      f"{scores['shift']:.2f}", f"{100 * scores['wrong_mirror']:.2f}", f"{usage.cpu:.2f}",
                      f"{usage.wall:.2f}")


def many_references(folder, number):
    """A stack of phantoms of 90 px and, for more than twenty, of pairs of them put together."""
    simulate(folder, "--views", 20, "-n", 1, "--box", 90)
    phantoms = open_images(folder / "references.mrcs").read(slice(None))
    pairs = [(phantoms[i] + np.roll(np.rot90(phantoms[j]), 1, 0)) / 2 for i, j in combinations(range(20), 2)]
    write_stack(folder / "many.mrcs", np.concatenate([phantoms, pairs])[:number], 3.0)
    return folder / "many.mrcs"


def large(folder, options):
    """Time against the number of references."""
    count = 300 if options.quick else 5000
    print(f"\n{count} images of 90 px, SNR {SNR}\n")
    table = Table("references", "right  ", "CPU s, 2 iterations", "CPU s per iteration", "peak GiB")
    for number in LARGE:
        here = folder / f"large{number}"
        refs = many_references(here / "phantoms", number)
        star = simulate(here, "--refs", refs, "-n", count, "--snr", SNR, "--mirror", "--pixel_size", 3)
        once = align(star, refs, here / "once", "--ou=36", "--maxit=1")
        twice = align(star, refs, here / "twice", "--ou=36", "--maxit=2")
        truth, found = columns(here / "truth.xmd"), columns(here / "twice/images.xmd")
        table.row(number, f"{(truth['ref'] == found['ref']).mean():.4f}", f"{twice.cpu:.1f}",
                  f"{twice.cpu - once.cpu:.1f}", f"{twice.peak:.2f}")


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=3, metavar="N", help="data sets of each kind")
    options.add_argument("--large", action="store_true", help="also many references")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print_machine()
    with working_folder(options) as folder:
        star = simulate(folder / "first", "--views", 2, "-n", 20)
        align(star, folder / "first/references.mrcs", folder / "first/out", "--ou=27", "--maxit=1")
        planted(folder, options)
        if options.large:
            large(folder, options)


if __name__ == "__main__":
    main()
