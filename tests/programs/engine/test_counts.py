"""What iterations of ml_align2d evaluate of fixed data: it may become less, never more.  No seconds.

A change that raises a number here makes the program slower wherever it runs: think again, or, when it is worth it,
measure anew and say so.
"""
import numpy as np
import pytest

from mlalign.programs.engine.counts import Counts
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack, planted

COUNT, N, CLASSES = 128, 32, 3
SHIFTS, COARSE_SHIFTS = 113, 29                    # within 6 px of the origin: all, and every other along x and y
ANGLES, COARSE_ANGLES = 72, 36
CELLS = COUNT * CLASSES * 2 * SHIFTS * ANGLES
COARSE_CELLS = COUNT * CLASSES * 2 * COARSE_SHIFTS * COARSE_ANGLES
FLOPS, COARSE_FLOPS = 571732992, 54700032          # of products, without their adjoint
LAST = 5                                           # iteration


@pytest.fixture(scope="module")
def truth():
    return planted(DISTINCT[:CLASSES], COUNT, 0.1, seed=2, n=N)


@pytest.fixture(scope="module", params=["true references", "means of some images"])
def start(request, truth):
    """Name and references (3, n, n) of a start: posteriors are narrow from the one and broad from the other."""
    true = request.param.startswith("true")
    return request.param, np.stack([DISTINCT[k].image(N) if true else truth.images[k::CLASSES].mean(0)
                                    for k in range(CLASSES)])


def counted(truth, start, workers, fast):
    """Counts of the first and of the last iteration."""
    estimator = Estimator(Stack(truth.images), Settings(mirror=True, fast=fast, max_shift=6), workers)
    estimator.enter(0.5)
    model = estimator.initial_model(estimator.disk.polar(start), truth.sigma, 1.5)
    particles, found = Particles.unknown(COUNT), []
    for _ in range(LAST):
        model = estimator.maximise(model, estimator.expect(model, particles, np.arange(COUNT)))
        found.append(estimator.counts)
    return found[0], found[-1]


def test_exact_search(truth, start, workers):
    name, references = start
    first, last = counted(truth, references, workers, fast=False)
    for counts in (first, last):
        assert counts.swept_cells <= CELLS and counts.blocks <= 2
        assert counts.coarse_cells == counts.fine_cells == counts.fine_rows == 0
    narrow = name.startswith("true")
    assert first.flops <= (1 if narrow else 2) * FLOPS         # with the adjoint of the products when all cells count
    assert last.flops <= FLOPS
    assert 0 < last.kept_cells <= (2600 if narrow else 12500)


def test_fast_search(truth, start, workers):
    name, references = start
    first, last = counted(truth, references, workers, fast=True)
    for counts in (first, last):
        assert counts.coarse_cells <= COARSE_CELLS and counts.blocks <= 2
    if name.startswith("true"):
        assert first.flops <= COARSE_FLOPS and first.swept_cells == 0
        assert first.fine_cells <= 37500 and first.fine_rows <= 7200
        assert last.fine_cells <= 26700 and last.fine_rows <= 4800 and last.kept_cells <= 2500
    else:                                                      # so broad at first that the search is exhaustive
        assert first.flops <= COARSE_FLOPS + 2 * FLOPS and first.swept_cells <= CELLS and first.fine_cells == 0
        assert last.fine_cells <= 99500 and last.fine_rows <= 14700 and last.kept_cells <= 11500
    assert last.flops <= COARSE_FLOPS and last.swept_cells == 0


def test_counts_add_up():
    one, other = Counts(1.0, 2, 3, 4, 5, 6, 7), Counts(10.0, 20, 30, 40, 50, 60, 70)
    one.add(other)
    assert one == Counts(11.0, 22, 33, 44, 55, 66, 77)
