"""Seconds per iteration of ml_align2d's exact and fast search, and how near to the machine's limit they are.

    python benchmarks/ml2d_speed.py

1000 simulated images of 64 px, 3 references with mirrors, 5 degrees, up to Nyquist.  EM is timed near convergence,
started from the true references, and early, two iterations after averages of random thirds of the images: the fastest
of a few iterations (E-step and M-step; reading the images and expanding them, done once a run, is left out), on one
thread, for 149 shifts and for the shifts that the program chooses by itself.

Gflop counts the matrix products of one iteration, as the engine counts them, without padding: of images and templates
and of all angles from those.  Next to it the share of the CPU time that they take, and their own speed as a share of
what a product of two 2048 x 2048 matrices reaches on one thread, in single precision.  Cells are those scored by
products, and those that the fast search scores one by one.

The last lines compare the two searches near convergence under one model: their poses, their averages, and how much
log-likelihood the fast one lacks.  It sums over some of the cells, so it never finds more; and an image that lacks
d nats has a posterior that differs from the exact one by 1 - exp(-d) in total variation.  Then come the gains in wall
time of a second thread.
"""
import time
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
from climb import Climb, Images
from common import Table, parser, print_machine
from threadpoolctl import threadpool_limits

from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.search import Grid
from mlalign.programs.phantoms import phantoms
from mlalign.programs.simulation import normalised, particles, truth

SNR, OFFSET, CLASSES = 0.1, 2.0, 3
MAX_SHIFT = 7                   # pixels: 149 shifts
EARLY = 2                       # iterations after a random start
MATRIX = 2048


class Timed(Climb):
    """EM of ml_align2d; what one more iteration evaluates, and the seconds that its products take."""

    def __init__(self, images, references, settle, repeats, threads=1, **settings):
        super().__init__(lambda workers: Estimator(images, Settings(mirror=True, psi_step=5.0, **settings), workers),
                         lambda estimator, polar: estimator.initial_model(polar, 1.0, 3.0),
                         references, settle, repeats, threads)
        with self, timed_products() as self.products:
            self._time()
        self.counts = self.estimator.counts

    def expected(self, model):
        """Statistics and particles of an E-step under a model."""
        found = Particles.unknown(len(self.rows))
        return self.estimator.expect(model, found, self.rows), found


@contextmanager
def timed_products():
    """CPU seconds spent in products of images and templates: a list of them."""
    seconds, scores = [], Grid.scores

    def timed(*arguments):
        start = time.thread_time()
        found = scores(*arguments)
        seconds.append(time.thread_time() - start)
        return found

    with patch.object(Grid, "scores", timed):
        yield seconds


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


def random_averages(images):
    """Averages (K, n, n) of random parts of the images."""
    order = np.random.default_rng(2).permutation(images.count)
    return np.stack([images.pixels[part].mean(0) for part in np.array_split(order, CLASSES)])


def agreement(exact, fast):
    """How the two searches differ under one model, in words."""
    with exact, fast:
        (one, ours), (two, theirs) = (climb.expected(exact.model) for climb in (exact, fast))
        means = [climb.estimator.maximise(exact.model, found).images() for climb, found in ((exact, one), (fast, two))]
    lacking = ours.log_likelihood - theirs.log_likelihood
    difference = np.linalg.norm(means[0] - means[1]) / np.linalg.norm(means[0])
    return (f"fast and exact put {np.mean(ours.ref == theirs.ref):.1%} of the images into the same class, their "
            f"averages differ by {100 * difference:.2g} %, and an image lacks {lacking.mean():.2g} nats of "
            f"log-likelihood (mean; {lacking.max():.2g} at the most)")


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
    table = Table("iteration", "search", "shifts", "CPU s  ", "wall s ", "Gflop", "of CPU time", "of matrix rate",
                  "cells, products", "cells, single")
    starts = {"late": (references, options.settle), "early": (random_averages(images), EARLY)}
    notes = []
    for settings in ({"max_shift": MAX_SHIFT}, {}):
        climbs = {}
        for when, (start, settle) in starts.items():
            for search in ("exact", "fast"):
                climb = Timed(images, start, settle, options.repeats, fast=search == "fast", **settings)
                climbs[when, search] = climb
                counts, seconds = climb.counts, sum(climb.products)
                table.row(when, search, climb.shifts, f"{climb.cpu:.3f}", f"{climb.wall:.3f}",
                          f"{counts.flops / 1e9:.1f}", f"{seconds / climb.cpu:.0%}",
                          f"{counts.flops / seconds / rate:.0%}", counts.swept_cells + counts.coarse_cells,
                          counts.fine_cells)
        exact, fast = climbs["late", "exact"], climbs["late", "fast"]
        gains = [one.wall / Timed(images, references, options.settle, options.repeats, threads=2, fast=one is fast,
                                  **settings).wall for one in (exact, fast)]
        notes.append(f"{exact.shifts} shifts: fast is {exact.cpu / fast.cpu:.1f} times faster; "
                     f"{agreement(exact, fast)}. Two threads are {gains[0]:.2f} (exact) and {gains[1]:.2f} (fast) "
                     "times faster than one.")
    print("", *notes, sep="\n")


if __name__ == "__main__":
    main()
