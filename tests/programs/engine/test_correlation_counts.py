"""What a correlation search evaluates of fixed data: it may become less, never more.  No seconds.

As for ``test_counts.py``: a change that raises a number here makes mref_ali2d and refine2d slower wherever they run.
"""
import numpy as np
import pytest

from mlalign.programs.engine.counts import Counts
from mlalign.programs.engine.matching import masked, match
from mlalign.tests.programs.engine.posed_blobs import MASK, N, REFERENCES, drawn, random_poses, search

COUNT = 96
REF = np.arange(COUNT) % len(REFERENCES)
LIMITS = np.tile([-2.0, 2.0, -2.0, 2.0], (COUNT, 1))
PLACES, ANGLES = 9, 32                             # coarse shifts within 3 px, and angles
COARSE_CELLS = 2 * ANGLES * PLACES                 # of a pair of image and reference
FLOPS = 30.3e3                                       # of them


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(1).normal(0, 1.5, (COUNT, N, N))
    return (drawn(REF, random_poses(COUNT, 2)) + noise).astype(np.float32)


def counted(images, climbs):
    """Counts of the search for every image among all references, or with ``climbs`` in its own."""
    one = search(climbs)
    views = one.views(images)
    if climbs:
        match(one, views, REFERENCES, np.arange(COUNT), REF, LIMITS, other=False)
    else:
        references, power = masked(REFERENCES, MASK)
        norm = np.tile((1 / np.sqrt(MASK.sum() * power)).astype(np.float32), (COUNT, 1))
        one.run(views, one.references(references), norm, LIMITS, MASK.sum())
    return one.counts


def test_search_among_all_references(images):
    counts, pairs = counted(images, None), COUNT * len(REFERENCES)
    assert 0 < counts.coarse_cells <= pairs * COARSE_CELLS and counts.swept_cells == 0
    assert counts.flops <= pairs * FLOPS and counts.blocks <= 2
    assert 0 < counts.fine_cells <= 168000 and counts.turns <= 20000


def test_alignment_to_one_reference_each(images):
    counts = counted(images, 2)
    assert 0 < counts.coarse_cells <= COUNT * COARSE_CELLS
    assert counts.flops <= COUNT * FLOPS and counts.blocks <= len(REFERENCES)
    assert 0 < counts.fine_cells <= 9900 and counts.turns <= 1200


def test_counts_add_up_over_runs_and_workers(images):
    from concurrent.futures import ThreadPoolExecutor
    one = search(2)
    views = one.views(images)
    match(one, views, REFERENCES, np.arange(COUNT), REF, LIMITS, other=False)
    once = Counts()
    once.add(one.counts)
    with ThreadPoolExecutor(2) as pool:
        match(one, views, REFERENCES, np.arange(COUNT), REF, LIMITS, lambda *work: list(pool.map(*work)), other=False)
    once.add(once)
    assert one.counts == once
