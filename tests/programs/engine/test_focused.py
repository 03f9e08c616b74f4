"""Classes by what lies inside a mask, against particles turned as blobs and looked at voxel by voxel."""
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp

from mlalign.programs.engine.focused import Focus
from mlalign.programs.engine.sphere import random_rotations
from mlalign.tests.programs.engine.subtomogram_scenes import N, PHANTOMS, REGIONS, Scene

HALF = N // 2


def band(ball):
    """Which of the FFT's frequencies are worked at, and where they are: bool (N, N, N), (3, N, N, N)."""
    k = 2 * np.pi * np.fft.fftfreq(N)
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    length = np.sqrt(kx**2 + ky**2 + kz**2)
    return (length >= ball.k[0]) & (length <= ball.k[-1]), np.stack([kx, ky, kz])


def through(volume, weights):
    """A volume about the box's centre after a filter on the FFT's frequencies."""
    return np.fft.ifftn(np.fft.fftn(volume) * weights).real


@pytest.fixture(scope="module")
def mask():
    """Soft, off centre."""
    z, y, x = np.mgrid[:N, :N, :N] - HALF
    return np.clip(4.5 - np.sqrt((x - 1)**2 + (y + 2)**2 + z**2), 0, 1)


@pytest.fixture(scope="module", params=["everything", "wedges"])
def scene(request):
    made = Scene(REGIONS[request.param], 4, 0.2, noise=np.zeros(()))
    made.name = request.param
    return made


@pytest.fixture(scope="module")
def focus(scene, mask, workers):
    return Focus(scene.estimator(workers).bank, mask, scene.poses(), scene.regions, workers)


def brute_distance(scene, i, reference, mask):
    """(particle - reference)^2 inside the mask; the particle as its blobs are in the reference's frame."""
    seen, k = band(scene.ball)
    matrix = scene.rotations[i]
    observed = scene.regions[scene.region_of[i]].observed(*np.einsum("ji,j...->i...", matrix, k))
    weights = seen * observed
    aligned = scene.amplitude * PHANTOMS[scene.classes[i]].volume(N)
    return ((mask * through(aligned - reference, weights))**2).sum()


def test_distances(scene, focus, mask):
    """All particles from all references, by blobs that were never turned."""
    vectors = scene.truth().vectors[0]
    references = scene.ball.volumes(vectors)
    found = focus.distances(vectors)
    expected = np.array([[brute_distance(scene, i, reference, mask) for reference in references]
                         for i in range(scene.count)])
    other = expected[np.arange(scene.count), 1 - scene.classes]
    assert found.shape == (scene.count, 2)
    np.testing.assert_allclose(found, expected, atol=0.03 * other.min())


def test_distances_depend_on_what_is_inside_alone(scene, focus, workers):
    """Of references that differ outside a small mask, the differences hardly count."""
    z, y, x = np.mgrid[:N, :N, :N] - HALF
    far = np.exp(-((x - 4)**2 + y**2 + z**2) / 4)
    small = (np.sqrt((x + 3)**2 + y**2 + z**2) < 2).astype(float)
    bank = scene.estimator(workers).bank
    truth = scene.truth().vectors[0]
    vectors = truth[:1] + np.stack([np.zeros_like(truth[0]), 10 * scene.ball.from_volumes(far[None])[0]])
    left, everywhere = (Focus(bank, where, scene.poses(), scene.regions, workers).distances(vectors)
                        for where in (small, np.ones_like(small)))
    assert np.abs(left[:, 1] - left[:, 0]).max() < 0.2 * np.abs(everywhere[:, 1] - everywhere[:, 0]).min()


def test_dimension_is_the_mean_square_of_noise_inside(scene, focus, mask):
    """Degrees of freedom: what white noise of variance 1 has inside the mask on average."""
    rng = np.random.default_rng(1)
    seen, k = band(scene.ball)
    for i in range(2):
        observed = scene.regions[scene.region_of[i]].observed(*np.einsum("ji,j...->i...", scene.rotations[i], k))
        squares = [((mask * through(rng.standard_normal((N,) * 3), seen * observed))**2).sum() for _ in range(150)]
        assert focus.dimension[i] == pytest.approx(np.mean(squares), rel=0.08)


def test_dimension_grows_with_the_mask_s_squares(scene, workers):
    bank, ones = scene.estimator(workers).bank, np.ones((N,) * 3)
    whole, half = (Focus(bank, scale * ones, scene.poses(), scene.regions, workers).dimension for scale in (1, 0.5))
    np.testing.assert_allclose(half, whole / 4)
    seen, _ = band(scene.ball)
    if scene.name == "everything":
        np.testing.assert_allclose(whole, seen.sum(), rtol=1e-3)
    else:
        assert (whole < 0.75 * seen.sum()).all()


def test_the_posterior_picks_the_right_class(scene, focus):
    model = scene.truth()
    for variance in (None, 0.04):
        probability, likelihood = focus.posterior(focus.distances(model.vectors[0]), model.log_class(), variance)
        np.testing.assert_array_equal(probability.argmax(1), scene.classes)
        np.testing.assert_allclose(probability.sum(1), 1)
        assert np.isfinite(likelihood).all() and probability.max(1).min() > 0.9


def posterior(squared, dimension, fractions, variance=None):
    return Focus.posterior(SimpleNamespace(dimension=dimension), squared, np.log(fractions), variance)


def test_posterior_written_out():
    squared, dimension = np.array([[3.0, 5.0], [8.0, 2.0]]), np.array([4.0, 6.0])
    fractions, variance = np.array([0.3, 0.7]), 0.8
    probability, likelihood = posterior(squared, dimension, fractions, variance)
    density = fractions * np.exp(-squared / (2 * variance)) * (2 * np.pi * variance) ** (-dimension[:, None] / 2)
    np.testing.assert_allclose(likelihood, np.log(density.sum(1)))
    np.testing.assert_allclose(probability, density / density.sum(1)[:, None])


def test_the_variance_is_the_most_likely_one():
    rng = np.random.default_rng(3)
    squared, dimension = 100 + 30 * rng.random((40, 3)), np.full(40, 60.0)
    _, likelihood = posterior(squared, dimension, np.full(3, 1 / 3))
    for variance in np.linspace(1, 3, 41):
        assert posterior(squared, dimension, np.full(3, 1 / 3), variance)[1].sum() < likelihood.sum() + 1e-2


def test_likelihoods_are_densities():
    """Of two classes alike, the evidence is that of one."""
    squared, dimension = np.array([[7.0], [9.0]]), np.array([10.0, 12.0])
    one = posterior(squared, dimension, np.array([1.0]), 1.1)[1]
    two = posterior(np.repeat(squared, 2, 1), dimension, np.array([0.5, 0.5]), 1.1)[1]
    np.testing.assert_allclose(two, one)
    assert logsumexp(one) < 0


def test_any_frame_gives_the_same_distances(scene, mask, workers):
    """Turned particles and their poses: nothing changes, but for frequencies of the coarse grid at a wedge's edge."""
    turn = random_rotations(1, np.random.default_rng(4))[0]
    poses = scene.poses().copy()
    poses.matrices = turn @ poses.matrices
    truth = scene.truth().vectors[0]
    turned = scene.ball.layout.turned(truth, turn[None]).reshape(truth.shape)
    ball = np.ones((N,) * 3)
    bank = scene.estimator(workers).bank
    before = Focus(bank, ball, scene.poses(), scene.regions, workers).distances(truth)
    after = Focus(bank, ball, poses, scene.regions, workers).distances(turned)
    atol = {"everything": 0.05, "wedges": 0.25}[scene.name] * before.max()
    np.testing.assert_allclose(after, before, atol=atol)
