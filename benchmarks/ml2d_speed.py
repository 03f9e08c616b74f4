"""Seconds per iteration of ml_align2d's exact and fast search, and how near to the machine's limit they are.

    python benchmarks/ml2d_speed.py

1000 simulated images of 64 px, 3 references with mirrors, 5 degrees, up to Nyquist.  EM starts from the true
references and is timed near convergence: the fastest of a few iterations (E-step and M-step; reading the images and
expanding them, done once a run, is left out), on one thread, for 149 shifts and for the shifts that the program
chooses by itself.

Gflop counts the matrix products of one iteration from their shapes, padding included; the share is their number per
CPU second over the rate that a product of two 2048 x 2048 matrices reaches on one thread, in single precision.  For
the fast search only the products of its coarse search count.

The last lines compare the two searches, each having gone its own way from the true references for as many
iterations, and give the gain in wall time of a second thread.
"""
import time
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from climb import Climb, Images
from common import Table, parser, print_machine
from threadpoolctl import threadpool_limits

from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.search import Grid
from mlalign.programs.phantoms import phantoms
from mlalign.programs.simulation import normalised, particles, truth

SNR, OFFSET, CLASSES = 0.1, 2.0, 3
MAX_SHIFT = 7                   # pixels: 149 shifts
MATRIX = 2048


class Timed(Climb):
    """EM of ml_align2d, and the matrix products of one more iteration."""

    def __init__(self, images, references, options, threads=1, **settings):
        super().__init__(lambda workers: Estimator(images, Settings(mirror=True, psi_step=5.0, **settings), workers),
                         lambda estimator, polar: estimator.initial_model(polar, 1.0, 3.0),
                         references, options.settle, options.repeats, threads)
        with self, counted_products() as counted:
            self.step()
        self.flops = counted.flops

    def agreement(self, other):
        """Share of images in the same class, and the norm of the averages' difference over theirs."""
        mine, theirs = self.model.images(), other.model.images()
        return (np.mean(self.particles.ref == other.particles.ref),
                np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))


class Products:
    """Counts the floating-point operations of the search's matrix products."""

    flops = 0

    def add(self, images, templates, disk):
        """``images`` times ``templates``: four products per bin, each followed (or led) by an angular transform."""
        self.flops += 4 * 2 * disk.bins * images * templates * (disk.width + disk.bins)


@contextmanager
def counted_products():
    counted, scores, spread = Products(), Grid.scores, Grid.spread

    def count_scores(grid, x, templates, *power):
        counted.add(len(x), len(templates), grid.disk)
        return scores(grid, x, templates, *power)

    def count_spread(grid, weights, x, sums):
        counted.add(len(x), len(sums), grid.disk)
        return spread(grid, weights, x, sums)

    with patch.object(Grid, "scores", count_scores), patch.object(Grid, "spread", count_spread):
        yield counted


def matrix_rate(repeats):
    """Floating-point operations per second of a large single-precision matrix product on one thread."""
    matrix = np.random.default_rng(0).standard_normal((MATRIX, MATRIX), np.float32)
    seconds = []
    with threadpool_limits(1):
        for _ in range(repeats + 1):
            start = time.process_time()
            matrix @ matrix
            seconds.append(time.process_time() - start)
    return 2 * MATRIX**3 / min(seconds)


def simulated(count, size):
    """(Images, true references)."""
    references = normalised(phantoms(CLASSES, size), SNR)
    poses = truth(np.random.default_rng(0), count, CLASSES, OFFSET, mirror=True)
    return Images(np.concatenate(list(particles(references, poses, np.random.default_rng(1))))), references


def main():
    options = parser(__doc__)
    options.add_argument("-n", dest="count", type=int, default=1000, help="images (default: %(default)s)")
    options.add_argument("--box", type=int, default=64, help="their side in px (default: %(default)s)")
    options.add_argument("--settle", type=int, default=8, help="iterations before timing (default: %(default)s)")
    options.add_argument("--repeats", type=int, default=3, help="iterations timed (default: %(default)s)")
    options = options.parse_args()
    if options.quick:
        options.count, options.box, options.settle, options.repeats = 60, 32, 3, 1

    print_machine()
    rate = matrix_rate(options.repeats)
    print(f"{MATRIX} x {MATRIX} product, single precision, one thread: {rate / 1e9:.0f} Gflop/s")
    images, references = simulated(options.count, options.box)
    print(f"{images.count} images of {images.size} px, {CLASSES} references; per iteration, one thread:\n")
    table = Table("search", "shifts", "CPU s  ", "wall s ", "Gflop", "share of matrix rate")
    notes = []
    for settings in ({"max_shift": MAX_SHIFT}, {}):
        climbs = {name: Timed(images, references, options, fast=name == "fast", **settings)
                  for name in ("exact", "fast")}
        for name, climb in climbs.items():
            table.row(name, climb.shifts, f"{climb.cpu:.3f}", f"{climb.wall:.3f}", f"{climb.flops / 1e9:.1f}",
                      f"{climb.flops / climb.cpu / rate:.0%}")
        exact, fast = climbs["exact"], climbs["fast"]
        same, difference = fast.agreement(exact)
        two = Timed(images, references, options, threads=2, **settings)
        notes.append(f"{exact.shifts} shifts: fast is {exact.cpu / fast.cpu:.1f} times faster, agrees on the class of "
                     f"{same:.1%} of the images, its averages differ by {100 * difference:.2g} %; "
                     f"two threads are {exact.wall / two.wall:.2f} times faster than one (exact)")
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
