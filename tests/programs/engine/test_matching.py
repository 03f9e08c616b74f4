"""Pairs of images and references: planted poses, correlations of pixels, limits, and what may not be turned."""
import numpy as np
import pytest

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.matching import BLOCK, Tops, masked, match
from mlalign.programs.engine.poses2d import Poses
from mlalign.tests.programs.engine import posed_blobs
from mlalign.tests.programs.engine.posed_blobs import MASK, REACH, REFERENCES, apart, drawn, random_poses, search

COUNT = 48
REF = np.arange(COUNT) % 4
EVERY = np.arange(COUNT)
ANYWHERE = np.tile([-REACH, REACH], 2)
TRUTH = random_poses(COUNT, 0)
CLEAN = drawn(REF, TRUTH).astype(np.float32)
NOISY = (CLEAN + 0.4 * np.random.default_rng(1).standard_normal(CLEAN.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def quick():
    return search(climbs=2)


def matched(one, images, image=EVERY, ref=REF, limits=ANYWHERE, references=REFERENCES, **options):
    limits = np.broadcast_to(limits, (len(images), 4)).astype(float)
    return match(one, one.views(images), references, image, ref, limits, **options)


def poses_of(tops):
    return Poses.shifted(tops.mirrored, tops.psi, tops.x, tops.y, np.zeros((len(tops.psi), 2)))


def scores_from_pixels(images, ref, tops):
    return [posed_blobs.coefficient(*row) for row in zip(images, ref, tops.psi, tops.mirrored, tops.x, tops.y)]


def test_masked_against_loops():
    images, power = masked(REFERENCES + 3, MASK)
    for image, reference, square in zip(images, REFERENCES, power):
        expected = np.where(MASK > 0, reference - reference[MASK > 0].mean(), 0)
        assert image == pytest.approx(expected) and square == pytest.approx((expected**2).sum())


@pytest.mark.parametrize("climbs", [None, 2])
def test_every_image_is_found_in_its_pose(climbs):
    best, _ = matched(search(climbs), CLEAN)
    assert (best.mirrored == TRUTH.mirrored).all() and best.score.min() > 0.99
    angle, distance = apart(poses_of(best), TRUTH)
    assert angle.max() < 2 and angle.mean() < 0.5 and distance.max() < 0.15 and distance.mean() < 0.05


def test_scores_are_correlation_coefficients(quick):
    for tops in matched(quick, NOISY):
        # tops that were put on the limits keep the score that they had beyond
        inside = np.flatnonzero(np.abs(poses_of(tops).place).max(1) < REACH - 1e-6)[::4]
        expected = scores_from_pixels(NOISY[inside], REF[inside], tops.take(inside))
        assert len(inside) >= 8 and tops.score[inside] == pytest.approx(expected, abs=0.015)


def test_the_other_mirror_is_as_good_as_it_can_be(quick):
    """The best, and the best with the other mirror: what a search of mirrored images finds without mirrors."""
    best, other = matched(quick, NOISY)
    assert (other.mirrored != best.mirrored).all() and (other.score > 0).all() and (best.score >= other.score).all()
    (plain,) = matched(quick, NOISY, mirrors=False)
    assert (plain.mirrored == 0).all() and (plain.score > 0).all()
    expected = np.where(best.mirrored == 0, best.score, other.score)
    assert plain.score == pytest.approx(expected, abs=1e-4)


def test_without_mirrors_mirrored_images_are_placed_too():
    """As high as the highest of many poses, none of which is mirrored, each scored from pixels."""
    some = np.flatnonzero(TRUTH.mirrored)[:3]
    (plain,) = matched(search(climbs=2), CLEAN[some], np.arange(3), REF[some], mirrors=False)
    for i, k in enumerate(some):
        cells = [posed_blobs.coefficient(CLEAN[k], REF[k], psi, 0, x, y) for psi in np.arange(24) * np.pi / 12
                 for x in (-2, 0, 2) for y in (-2, 0, 2)]
        assert plain.score[i] > max(cells) - 0.01 and plain.score[i] < 0.9


def test_the_best_alone(quick):
    both, alone = matched(quick, NOISY), matched(quick, NOISY, other=False)
    assert len(alone) == 1 and alone[0].score == pytest.approx(both[0].score, abs=0.01)
    assert (alone[0].mirrored == both[0].mirrored).mean() > 0.95


def test_few_climbs_lose_next_to_nothing():
    few, all_of_them = (matched(search(climbs), NOISY, other=False)[0].score for climbs in (2, None))
    assert (few <= all_of_them + 1e-6).all()
    assert np.mean(all_of_them - few) < 1e-3 and np.max(all_of_them - few) < 0.02


def test_without_turns():
    truth = random_poses(COUNT, 3, turns=False, mirrors=False)
    images = drawn(REF, truth).astype(np.float32)
    (best,) = matched(search(), images, turns=False, mirrors=False)
    assert not best.psi.any() and not best.mirrored.any() and best.score.min() > 0.98
    assert apart(poses_of(best), truth)[1].max() < 0.25


@pytest.mark.parametrize("turns", [True, False])
def test_limits_hold(quick, turns):
    limits = [-1.0, 0.5, 0.0, 2.0]
    for tops in matched(quick, NOISY, limits=limits, turns=turns, mirrors=turns):
        x, y = poses_of(tops).place.T
        assert x.min() > -1 - 1e-9 and x.max() < 0.5 + 1e-9 and y.min() > -1e-9 and y.max() < 2 + 1e-9
        found = tops.score > 0
        assert found.any() and (x[found] != y[found]).any()


def test_limits_of_each_image(quick):
    """Every image may be within half a pixel of where it is, and only there."""
    limits = np.repeat(TRUTH.place, 2, axis=1) + 0.5 * np.array([-1, 1, -1, 1])
    best = matched(quick, CLEAN, limits=limits, other=False)[0]
    assert best.score.min() > 0.99 and apart(poses_of(best), TRUTH)[1].max() < 0.15


def test_pairs_in_any_order(quick):
    """All images with all references, shuffled: the same as each reference on its own."""
    image, ref = (index.ravel() for index in np.indices((12, 4)))
    order = np.random.default_rng(2).permutation(len(image))
    best = matched(quick, NOISY[:12], image[order], ref[order], other=False)[0]
    for k in range(4):
        alone = matched(quick, NOISY[:12], np.arange(12), np.zeros(12, int), references=REFERENCES[k : k + 1],
                        other=False)[0]
        rows = np.flatnonzero(ref[order] == k)
        assert best.score[rows] == pytest.approx(alone.score[image[order][rows]], abs=1e-5)
    matrix = np.zeros((12, 4))
    matrix[image[order], ref[order]] = best.score
    assert (matrix.argmax(1) == REF[:12]).all()


def test_workers_and_blocks_change_nothing(quick):
    image = np.arange(BLOCK + 9) % COUNT
    ref = np.zeros(len(image), int)
    workers = Workers(3)
    try:
        one = matched(quick, NOISY, image, ref)
        many = matched(quick, NOISY, image, ref, pool=workers.map)
    finally:
        workers.close()
    for a, b in zip(one, many):
        assert all((getattr(a, name) == getattr(b, name)).all() for name in vars(a))
    again = one[0].take(np.arange(COUNT, len(image)))
    assert again.score == pytest.approx(one[0].score[: len(again.score)], abs=1e-5)


def test_blank_images_and_references_are_nowhere(quick):
    blank, empty = np.zeros_like(CLEAN[:1]), REFERENCES[:2] * [[[0]], [[1]]]
    for images, ref in ((blank, 1), (CLEAN[:1], 0), (blank, 0)):
        for turns in (True, False):
            for tops in matched(quick, images, np.array([0]), np.array([ref]), references=empty, turns=turns,
                                mirrors=turns):
                assert not any(column.any() for column in vars(tops).values())
    both = matched(quick, np.concatenate([CLEAN[:1], blank]), np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1]),
                   references=REFERENCES[:2])
    assert (both[0].score > 0).tolist() == [True, False, True, False]


def test_no_pairs(quick):
    none = np.zeros(0, int)
    assert [len(tops.score) for tops in matched(quick, CLEAN[:2], none, none)] == [0, 0]
    assert Tops.nowhere(3).take(none).score.shape == (0,)
