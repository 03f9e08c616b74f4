"""Footprints: what they do not depend on, what they tell apart, and the steps they are made by, one by one."""
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine.footprint import Footprint
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack

N = 48
POSES = [(0, False, (0, 0)), (0.7, False, (0, 0)), (2.9, True, (0, 0)), (4.4, False, (4, -3)), (5.5, True, (-3.4, 2.2))]


@pytest.fixture(scope="module")
def footprint():
    return Footprint(N)


@pytest.fixture(scope="module")
def features(footprint):
    """(views, poses, m), each of length 1"""
    images = np.stack([phantom.image(N, *pose) for phantom in DISTINCT for pose in POSES]).astype("f4")
    found = footprint(images).astype(float)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).reshape(len(DISTINCT), len(POSES), -1)


def test_step_by_step(footprint):
    image = DISTINCT[0].image(N).astype("f4") + np.random.default_rng(0).standard_normal((N, N)).astype("f4")
    size, half, width = 90, 36, 80
    rim = np.ones((N, N), bool)
    rim[1:-1, 1:-1] = False
    padded = np.zeros((size, size))
    padded[:N, :N] = (image - image[rim].mean()) / image.std()
    k = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    power = abs(np.fft.fft2(padded)) ** 2 * (1 - np.exp(-((k / (1.5 / N)) ** 2)))
    correlation = np.fft.fftshift(np.fft.ifft2(power).real)[size // 2 - half : size // 2 + half + 1,
                                                           size // 2 - half : size // 2 + half + 1]
    edge = np.concatenate([correlation[0], correlation[-1], correlation[1:-1, 0], correlation[1:-1, -1]])
    rows = []
    for r in range(8, half - 2):
        angle = np.arange(width) * np.pi / width
        places = half + r * np.sin(angle), half + r * np.cos(angle)
        line = r * ndimage.map_coordinates(correlation - edge.mean(), places, order=1)
        rows.append([line @ np.roll(line, -lag) for lag in range(width // 2)])
    assert footprint.shape == np.shape(rows)
    got = footprint(image[None])[0].reshape(footprint.shape)
    assert np.abs(got - rows).max() < 1e-4 * np.abs(rows).max()


def test_turned_shifted_and_mirrored_particles_have_one_footprint(features):
    for view in features:
        assert (view @ view.T).min() > 0.98


def test_views_are_told_apart(features):
    flat = features.reshape(-1, features.shape[-1])
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    same = np.equal.outer(*[np.repeat(np.arange(len(DISTINCT)), len(POSES))] * 2)
    assert distance[~same].min() > 2 * distance[same].max()


def test_scale_and_offset_do_not_matter(footprint):
    image = DISTINCT[1].image(N)[None].astype("f4")
    assert footprint(3 * image - 8) == pytest.approx(footprint(image), rel=1e-2, abs=1e-3 * footprint(image).max())


def test_many_and_none(footprint, workers):
    images = Stack(np.random.default_rng(1).standard_normal((130, N, N))).images
    found = footprint(images, workers.map)
    assert found.dtype == np.float32 and found.shape == (130, np.prod(footprint.shape))
    one_by_one = np.concatenate([footprint(images[i : i + 1]) for i in (0, 64, 129)])
    assert found[[0, 64, 129]] == pytest.approx(one_by_one, rel=1e-3, abs=1e-3 * found.max())
    assert footprint(images[:0]).shape == (0, np.prod(footprint.shape))
    assert (footprint(np.zeros((1, N, N), "f4")) == 0).all()


@pytest.mark.parametrize("n", [16, 33, 100])
def test_any_box(n):
    images = np.random.default_rng(2).standard_normal((2, n, n)).astype("f4")
    found = Footprint(n)(images)
    assert np.isfinite(found).all() and (found.std(1) > 0).all()
