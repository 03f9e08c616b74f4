"""Samples and rows of subtomograms: the same whatever memory there is, of the right shifts and sampling."""
import numpy as np
import pytest

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING
from mlalign.programs.engine.subtomograms import Subtomograms
from mlalign.programs.engine.volume_estimator import Plan
from mlalign.tests.programs.engine.subtomogram_scenes import (
    COARSE,
    PHANTOMS,
    SHIFTS,
    WEDGES,
    N,
    Scene,
    assert_same,
    e_step,
)
from mlalign.tests.programs.engine.volume_scenes import Blobs3, Volumes, off


@pytest.fixture(scope="module")
def scene():
    return Scene(WEDGES, 9, 12.0, COARSE)


@pytest.mark.parametrize("memory", [0, 2e6], ids=["nothing kept", "some kept"])
def test_memory_changes_nothing(scene, workers, memory):
    generous, frugal = scene.estimator(workers), scene.estimator(workers, memory)
    for plan in (Plan(COARSE, SHIFTS), Plan(COARSE, SHIFTS[:5]), Plan(COARSE, SHIFTS), Plan(COARSE, SHIFTS)):
        totals, poses = e_step(generous, scene, scene.truth(), plan)
        again = e_step(frugal, scene, scene.truth(), plan)
        assert_same(again[0], totals, rtol=1e-3, atol=1e-2)
        assert_same(again[1], poses, rtol=1e-3, atol=1e-5)


def test_rows_are_kept_for_their_own_shifts_and_centres(scene, workers):
    bank = scene.estimator(workers).bank
    for shifts, centre in ((SHIFTS, None), (SHIFTS[:4], None), (SHIFTS, np.array([0.5, 0, 0])), (SHIFTS[1:], None),
                           (SHIFTS, np.zeros(3)), (SHIFTS[::-1], None), (SHIFTS, None), (SHIFTS, np.zeros(3))):
        expected = scene.ball.shifted(bank.samples(2), shifts if centre is None else shifts + centre)
        np.testing.assert_allclose(bank.rows(2, shifts, centre), expected, atol=1e-5 * np.abs(expected).max())


def test_larger_particles_are_brought_to_the_ball_s_box(workers):
    ball, region = Ball(N, 0.25), [EVERYTHING]
    coverage = Coverage(ball)
    drawn = Blobs3(1, reach=2.5)
    drawn.centres, drawn.widths = 2 * drawn.centres, 2 * drawn.widths
    large = Subtomograms(Volumes([drawn.volume(2 * N)]), ball, coverage, region, np.zeros(1, int), 1e9, workers)
    small = Subtomograms(Volumes([PHANTOMS[0].volume(N)]), ball, coverage, region, np.zeros(1, int), 1e9, workers)
    assert off(large.rows(0, SHIFTS), small.rows(0, SHIFTS)) < 0.01
