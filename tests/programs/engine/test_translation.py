"""Images that are only shifted: every shift's correlation from pixels, its top, and the limits."""
import numpy as np
import pytest

from mlalign.programs.engine.matching import masked
from mlalign.programs.engine.translation import unturned
from mlalign.tests.programs.engine.posed_blobs import MASK, REFERENCES, coefficient, drawn, random_poses, search

COUNT = 12
TRUTH = random_poses(COUNT, 5, offset=2.0, turns=False, mirrors=False)
CLEAN = drawn(np.ones(COUNT, int), TRUTH).astype(np.float32)
NOISY = (CLEAN + 0.5 * np.random.default_rng(0).standard_normal(CLEAN.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def one():
    return search()


def found_by(one, images, limits=(-3, 3, -3, 3)):
    reference, power = masked(REFERENCES[1:2], MASK)
    norm = np.full((len(images), 1), 1 / np.sqrt(MASK.sum() * power[0]), np.float32)
    return unturned(one, one.views(images), one.references(reference), norm, np.tile(limits, (len(images), 1)))


def test_the_best_of_all_shifts_from_pixels(one):
    found = found_by(one, NOISY)
    assert (found.image == np.arange(COUNT)).all() and not found.ref.any() and not found.mirrored.any()
    for i in range(COUNT):
        table = {place: coefficient(NOISY[i], 1, x=place[0], y=place[1])
                 for place in map(tuple, one.fine_places) if max(map(abs, place)) <= 3}
        best = max(table, key=table.get)
        # the top of the parabolas is a little above
        assert table[best] - 0.005 < found.score[i] < table[best] + 0.05
        assert max(abs(found.x[i] - best[0]), abs(found.y[i] - best[1])) <= 1


def test_tops_between_pixels(one):
    found = found_by(one, CLEAN)
    away = np.hypot(found.x - TRUTH.place[:, 0], found.y - TRUTH.place[:, 1])
    assert away.max() < 0.25 and away.mean() < 0.15 and found.score.min() > 0.98
    assert np.abs(found.x - np.rint(found.x)).max() > 0.1 and not found.psi.any()


def test_the_top_is_that_of_parabolas(one):
    found = found_by(one, NOISY[:4])
    for i in range(4):
        x, y = np.rint([found.x[i], found.y[i]])
        # next to a half the rounding may go to the neighbour
        if max(abs(found.x[i] - x), abs(found.y[i] - y)) > 0.45 or np.hypot(x, y) > 2:
            continue
        for axis, got in ((0, found.x[i] - x), (1, found.y[i] - y)):
            values = [coefficient(NOISY[i], 1, x=x + step * (axis == 0), y=y + step * (axis == 1))
                      for step in (-1, 0, 1)]
            second, first, _ = np.polyfit([-1, 0, 1], values, 2)
            assert got == pytest.approx(-first / (2 * second), abs=0.05)


def test_limits(one):
    found = found_by(one, CLEAN, (-1.0, 1.0, 0.0, 0.0))
    assert (found.y == 0).all() and found.x.min() >= -1 and found.x.max() <= 1
    assert len(found.image) and found_by(one, CLEAN, (0.3, 0.6, 0, 0)).image.size == 0          # no shift is there


def test_blank_images_are_not_found(one):
    images = np.concatenate([np.zeros_like(CLEAN[:1]), CLEAN[:1], np.full_like(CLEAN[:1], 5)])
    assert found_by(one, images).image.tolist() == [1]
