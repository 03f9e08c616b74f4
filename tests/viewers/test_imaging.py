"""Images on their way to the screen."""
import numpy as np
import pytest

from mlalign.viewers.gallery import imaging


def blob(size, x, y):
    """A Gaussian at (x, y) px right of and below the origin."""
    rows, columns = np.mgrid[:size, :size] - size // 2
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)


def centroid(image):
    rows, columns = np.mgrid[:image.shape[0], :image.shape[1]] - image.shape[0] // 2
    weight = np.maximum(image - 0.05, 0)
    return (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()


@pytest.mark.parametrize("size", [48, 49])
@pytest.mark.parametrize("pose", [(0, 0, 0, 0), (90, 0, 0, 0), (30, 2.5, -1, 0), (200, -3, 4, 1)])
def test_align_moves_points_as_the_convention_says(size, pose):
    psi, shift_x, shift_y, flip = pose
    x, y = 9.0, -4.0
    angle = np.radians(psi)
    expected_x = (np.cos(angle) * x + np.sin(angle) * y) * (-1 if flip else 1) + shift_x
    expected_y = -np.sin(angle) * x + np.cos(angle) * y + shift_y
    aligned = imaging.align(blob(size, x, y), *pose)
    assert centroid(aligned) == pytest.approx((expected_x, expected_y), abs=0.02)


def test_low_pass_halves_its_period_and_keeps_the_mean():
    row = np.arange(64)
    image = np.tile(3 + np.cos(2 * np.pi * row / 8), (64, 1))
    filtered = imaging.low_pass(image, 8)
    assert filtered.mean() == pytest.approx(3, abs=1e-5)
    assert np.ptp(filtered) == pytest.approx(1, abs=1e-3)


def test_contrast_ignores_outliers_and_holes():
    image = np.random.default_rng(1).normal(size=(100, 100))
    image[0, 0], image[0, 1] = 1e6, np.nan
    low, high = imaging.contrast([image])
    assert -4 < low < -2 and 2 < high < 4
    grey = imaging.to_grey(image, (low, high))
    assert grey[0, 0] == 255 and grey[0, 1] == 0 and grey.dtype == np.uint8


@pytest.mark.parametrize("image", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_images_without_contrast_are_shown_all_the_same(image):
    low, high = imaging.contrast([image])
    assert high > low
    imaging.to_grey(image, (low, high))


@pytest.mark.parametrize("longest, length", [(99, 50), (100, 100), (210, 200), (7.3, 5), (0.25, 0.2)])
def test_scale_bars_have_round_lengths(longest, length):
    assert imaging.nice_length(longest) == pytest.approx(length)
