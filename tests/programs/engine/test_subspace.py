"""Multivariate statistics of averages against a plain decomposition; particles projected, against pixels."""
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import correlation_kernels as kernels
from mlalign.programs.engine.poses2d import Poses
from mlalign.programs.engine.subspace import Subspace, normalised
from mlalign.tests.programs.engine.posed_blobs import MASK, REFERENCES, N, drawn, random_poses, search

COUNT = 150               # more than are worked on together


def vectors_of(images):
    """Of the pixels in the mask: mean 0, length 1."""
    inside = images[:, MASK > 0] - images[:, MASK > 0].mean(1, keepdims=True)
    return inside / np.linalg.norm(inside, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def averages():
    """The references and mixtures of them (10, n, n), of different strength and on different backgrounds."""
    rng = np.random.default_rng(0)
    mixed = np.tensordot(rng.normal(size=(10, 4)), REFERENCES, 1)
    return mixed * rng.uniform(0.5, 3, 10)[:, None, None] + rng.normal(size=10)[:, None, None]


@pytest.fixture(scope="module")
def scene(averages):
    """Particles in random poses, in the references' frames as they would be projected, and what is needed for it."""
    one, ref, poses = search(), np.arange(COUNT) % 4, random_poses(COUNT, 1, offset=1.5)
    images = (drawn(ref, poses) * 2 + 3).astype(np.float32)
    views = one.views(images)
    at = np.rint(poses.place).astype(int) + one.margin
    inverse = views.inverse[np.arange(COUNT), at[:, 1], at[:, 0]]
    zero = np.zeros(COUNT, int)
    placed = poses.placed(np.arange(COUNT), zero, zero, np.zeros((COUNT, 2)))
    return SimpleNamespace(search=one, ref=ref, views=views, inverse=inverse, placed=placed)


def test_components_against_a_plain_decomposition(averages):
    got, vectors = Subspace.of(averages, 3, MASK), vectors_of(averages)
    _, values, expected = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    assert got.values == pytest.approx(values[:3]) and got.shares == pytest.approx((values**2 / (values**2).sum())[:3])
    for image, vector in zip(got.basis, expected):
        assert abs(image[MASK > 0] @ vector) == pytest.approx(1) and not image[MASK == 0].any()
    assert got.mean[MASK > 0] == pytest.approx(vectors.mean(0))


def test_components_are_orthonormal_and_without_a_mean(averages):
    basis = Subspace.of(averages, 20, MASK).basis.reshape(-1, N * N)
    # four images were mixed
    assert len(basis) == 4 and basis @ basis.T == pytest.approx(np.eye(4), abs=1e-9)
    assert basis.sum(1) == pytest.approx(0, abs=1e-9)


def test_no_more_components_than_there_are(averages):
    assert [len(Subspace.of(averages[:k], 12, MASK).basis) for k in (2, 3, 5)] == [1, 2, 4]
    some = np.concatenate([averages[:1], averages[:1], np.zeros((2, N, N)), averages[:1]])
    assert len(Subspace.of(some, 4, MASK).basis) == 1


@pytest.mark.parametrize("which", [[0], [0, 0], [0, 0, 0]])
def test_averages_that_do_not_differ(averages, scene, which):
    """One average, or several alike: nothing is found, and nothing is said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for images in (averages[which], 0 * averages[which]):
            got = Subspace.of(images, 5, MASK)
            assert got.basis.shape == (1, N, N)
            assert not got.basis.any() and not got.values.any() and not got.shares.any()
            assert not got.prepare(scene.search.rings, MASK).coefficients(scene.views.x, scene.placed,
                                                                           scene.inverse).any()


def test_particles_are_projected(averages, scene):
    """What their reference, brought to mean 0 and length 1, gives by products of pixels."""
    subspace = Subspace.of(averages, 4, MASK)
    got = subspace.prepare(scene.search.rings, MASK).coefficients(scene.views.x, scene.placed, scene.inverse)
    expected = (vectors_of(REFERENCES) - subspace.mean[MASK > 0]) @ subspace.basis[:, MASK > 0].T
    assert got == pytest.approx(expected[scene.ref], abs=0.03)
    assert np.abs(got - expected[scene.ref]).mean() < 0.005


def test_particles_are_projected_one_by_one_or_together(averages, scene):
    projection = Subspace.of(averages, 3, MASK).prepare(scene.search.rings, MASK)
    whole = projection.coefficients(scene.views.x, scene.placed, scene.inverse)
    for row in (0, 77, COUNT - 1):
        one = projection.coefficients(scene.views.x, scene.placed.take([row]), scene.inverse[[row]])
        assert one[0] == pytest.approx(whole[row], abs=1e-5)
    blank = projection.coefficients(scene.views.x, scene.placed.take([0]), np.zeros(1))
    assert blank[0] == pytest.approx(-projection.own)


def test_vectors_of_length_one():
    vectors = np.array([[3.0, 4.0], [0.0, 0.0], [0.0, -2.0]])
    assert normalised(vectors) == pytest.approx(np.array([[0.6, 0.8], [0, 0], [0, -1]]))


def test_samples_shifted_back():
    """In place, by the shift theorem; what is shifted there and back is as it was."""
    rings, rng = search().rings, np.random.default_rng(2)
    kx, ky = rings.kx.astype(np.float32), rings.ky.astype(np.float32)
    samples, shift = rng.normal(size=(5, 2, len(kx))).astype(np.float32), rng.uniform(-20, 20, (5, 2))
    got = samples.copy()
    kernels.unshifted(got, kx, ky, shift)
    values = samples[:, 0] + 1j * samples[:, 1]
    expected = values * np.exp(1j * (np.outer(shift[:, 0], rings.kx) + np.outer(shift[:, 1], rings.ky)))
    assert got[:, 0] + 1j * got[:, 1] == pytest.approx(expected, abs=2e-4)
    kernels.unshifted(got, kx, ky, -shift)
    assert got == pytest.approx(samples, abs=2e-4)
    total = np.zeros((2, len(kx)), np.float32)
    kernels.add_unshifted(samples, kx, ky, shift, np.ones(5), total)
    assert total[0] + 1j * total[1] == pytest.approx(expected.sum(0), abs=1e-3)


def test_poses_of_no_particles(averages, scene):
    none = Poses.at(np.zeros((0, 2))).placed(*np.zeros((3, 0), int), np.zeros((0, 2)))
    projection = Subspace.of(averages, 3, MASK).prepare(scene.search.rings, MASK)
    assert projection.coefficients(scene.views.x, none, np.zeros(0)).shape == (0, 3)
