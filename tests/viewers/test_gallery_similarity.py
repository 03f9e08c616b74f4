"""The order in which neighbours look alike, and the centre of what is bright."""
from itertools import permutations

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.phantoms import phantoms
from mlalign.tests.viewers.test_imaging import blob
from mlalign.viewers.gallery import imaging, similarity

ANGLES = np.arange(0, 360, 5)


def slow(one, other):
    """The best correlation of two centred images, tried at every rotation and mirror."""
    size = len(one)
    y, x = np.mgrid[:size, :size] - size // 2
    inside = np.hypot(x, y) < size // 2 - 1
    turned = [imaging.align(other, angle, 0, 0, flip) for angle in ANGLES for flip in (0, 1)]
    return max(np.corrcoef(one[inside], image[inside])[0, 1] for image in turned)


@pytest.fixture(scope="module")
def images():
    """Three centred phantoms; of each, one turned, one mirrored, one moved."""
    found = []
    for phantom in phantoms(3, 64):
        image = imaging.moved(phantom, *(-shift for shift in imaging.bright_centre(phantom)))
        found += [image, ndimage.rotate(image, 50, reshape=False), image[:, ::-1], imaging.moved(image, 4, -3)]
    return np.array(found, np.float32)


def test_similarity_is_that_of_the_best_rotation_and_mirror(images):
    alike = similarity.similarities(images)
    assert alike == pytest.approx(alike.T) and np.diag(alike) == pytest.approx(1, abs=1e-3)
    small = [imaging.reduced(images[place], 32) for place in (0, 4, 8)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert alike[4 * i, 4 * j] == pytest.approx(slow(small[i], small[j]), abs=0.05)


def test_turned_mirrored_and_moved_images_are_alike(images):
    alike = similarity.similarities(images)
    kind = np.arange(len(images)) // 4
    same = kind[:, None] == kind
    assert alike[same].min() > 0.93 > alike[~same].max() + 0.05
    order = similarity.chain(alike)
    assert (np.diff(kind[order]) != 0).sum() == 2


def test_what_changes_by_and_by_is_put_in_order():
    one, other = phantoms(2, 48)
    mixed = np.array([(1 - t) * one + t * other for t in np.linspace(0, 1, 15)])
    shuffled = np.random.default_rng(3).permutation(15)
    places = similarity.places(similarity.similarities(mixed[shuffled]))
    found = shuffled[np.argsort(places)]
    assert (np.diff(found) == np.sign(found[1] - found[0])).all()


@pytest.mark.parametrize("seed", range(6))
def test_the_path_is_about_as_short_as_any(seed):
    points = np.random.default_rng(seed).uniform(size=(7, 2))
    distance = np.hypot(*(points[:, None] - points).T)
    path = similarity.chain(1 - distance)
    assert sorted(path) == list(range(7))
    shortest = min(similarity._length(distance, np.array(order)) for order in permutations(range(7)))
    assert similarity._length(distance, path) <= 1.1 * shortest


def test_turning_stretches_makes_the_nearest_path_shorter():
    points = np.random.default_rng(0).uniform(size=(200, 2))
    distance = np.hypot(*(points[:, None] - points).T)
    first = similarity._length(distance, similarity._nearest(distance))
    assert similarity._length(distance, similarity.chain(1 - distance)) < 0.93 * first


def test_the_end_with_the_larger_comes_first():
    alike = 1 - np.abs(np.subtract.outer(np.arange(6), np.arange(6))) / 6
    assert similarity.places(alike, [9, 8, 7, 1, 1, 1]).tolist() == [0, 1, 2, 3, 4, 5]
    assert similarity.places(alike, [1, 1, 1, 7, 8, 9]).tolist() == [5, 4, 3, 2, 1, 0]
    assert similarity.places(np.eye(2), [1, 5]).tolist() == [1, 0]
    assert similarity.places(np.eye(1)).tolist() == [0]


# ---- the centre of what is bright

@pytest.mark.parametrize("size, place", [(48, (5, -7)), (49, (-6.5, 3)), (100, (0, 0)), (31, (2.25, 1))])
def test_the_bright_centre_is_where_the_blob_is(size, place):
    noise = 0.05 * np.random.default_rng(size).normal(size=(size, size))
    assert imaging.bright_centre(blob(size, *place) + noise + 7) == pytest.approx(place, abs=size / 150)


def test_an_image_of_nothing_has_its_centre_at_the_origin():
    assert imaging.bright_centre(np.full((32, 32), 3.0)) == (0, 0)
    assert imaging.bright_centre(np.full((32, 32), np.nan)) == (0, 0)


@pytest.mark.parametrize("size, side", [(64, 32), (65, 32), (48, 32), (33, 16), (20, 32)])
def test_reduced_images_keep_their_origin_and_their_mean(size, side):
    image = ndimage.gaussian_filter(blob(size, 0, 0), size / 16, mode="wrap") + 2
    small = imaging.reduced(image, side)
    assert len(small) == min(side, size) // 2 * 2
    assert small.mean() == pytest.approx(image.mean(), rel=1e-4)
    bright = np.maximum(small - 2 - 0.1 * np.ptp(small), 0)
    rows, columns = np.mgrid[:len(small), :len(small)] - len(small) // 2
    assert ((bright * rows).sum() / bright.sum(), (bright * columns).sum() / bright.sum()) == pytest.approx((0, 0),
                                                                                                             abs=0.02)


def test_moved_images_go_right_and_down():
    np.testing.assert_allclose(imaging.moved(blob(48, 1, 2), 4, -3)[8:40, 8:40], blob(48, 5, -1)[8:40, 8:40], atol=0.01)
