"""Likelihoods against SciPy's distributions, lattice priors against plain sums."""
import numpy as np
import pytest
from scipy import stats

from mlalign.programs.engine import kernels
from mlalign.programs.engine.noise import Noise, log_shift_prior, sigma_of_mean_square
from mlalign.programs.engine.search import shift_grid

D, SIGMA = 8, 1.7


@pytest.fixture
def data():
    """Four images and two references of D numbers, and gains (4, 2) as the search makes them."""
    rng = np.random.default_rng(1)
    x, a = 2 * rng.standard_normal((4, D)), rng.standard_normal((2, D))
    gain = (x @ a.T - (a**2).sum(1) / 2) / SIGMA**2
    return x, a, gain.astype(np.float32)


def density(df):
    """log p(x) of noise."""
    if df is None:
        return stats.multivariate_normal(np.zeros(D), SIGMA**2 * np.eye(D)).logpdf
    return stats.multivariate_t(np.zeros(D), SIGMA**2 * np.eye(D), df).logpdf


@pytest.mark.parametrize("df", [None, 2.0, 6.0])
def test_log_likelihood_is_that_of_the_residual(data, df):
    x, a, gain = data
    noise, power = Noise(SIGMA, D, df), (x**2).sum(1)
    prior = np.log(np.array([[0.3, 0.7]], np.float32))
    np.testing.assert_allclose(noise.log_likelihood_of_noise(power), density(df)(x), rtol=1e-6)
    expected = density(df)(x[:, None] - a) + prior
    found = noise.log_posterior(gain, prior, power) + noise.log_likelihood_of_noise(power)[:, None]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_robust_weight(data):
    x, a, gain = data
    power = (x**2).sum(1)
    distance = ((x[:, None] - a) ** 2).sum(-1) / SIGMA**2
    found = Noise(SIGMA, D, 3.0).robust_weight(gain, power[:, None])
    np.testing.assert_allclose(found, (3 + D) / (3 + distance), rtol=1e-5)
    np.testing.assert_array_equal(Noise(SIGMA, D).robust_weight(gain, power[:, None]), np.ones_like(gain))


def test_rounding_does_not_make_distances_negative(data):
    """An image equal to its reference, whose gain float32 may round to more than |x|^2 / 2 sigma^2."""
    noise, power = Noise(1e-3, D, 1e-6), np.array([3.0])
    gain = np.array([[1.000001 * 1.5e6]], np.float32)
    found = noise.log_posterior(gain, np.zeros((1, 1), np.float32), power)
    assert np.isfinite(found).all()
    assert kernels.tail(gain[0, 0], np.float32(noise.nu), noise.tau(power)[0]) == pytest.approx(found[0, 0], rel=1e-4)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("sigma", [0.4, 1.3, 4.0])
def test_shift_prior_is_a_normalised_gaussian_on_the_lattice(sigma, step):
    shifts = shift_grid(60, step)
    log_prior = log_shift_prior(shifts, sigma, step)
    assert np.exp(log_prior).sum() == pytest.approx(1, abs=1e-9)
    slope = log_prior - log_prior[(shifts == 0).all(1)]
    np.testing.assert_allclose(slope, -(shifts**2).sum(1) / (2 * sigma**2))


def test_shift_prior_of_a_part_of_the_lattice_is_that_of_the_whole():
    whole, part = shift_grid(30), shift_grid(2)
    inside = (whole**2).sum(1) <= 4
    np.testing.assert_allclose(log_shift_prior(part, 2.5), log_shift_prior(whole, 2.5)[inside])


def test_without_offset_only_the_zero_shift_is_possible():
    shifts = shift_grid(2)
    expected = np.where((shifts == 0).all(1), 0, -np.inf)
    np.testing.assert_array_equal(log_shift_prior(shifts, 0.0), expected)


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.3])
def test_sigma_of_mean_square_inverts_the_prior(sigma, step):
    sigma, shifts = sigma * step, shift_grid(80, step)
    mean_square = np.exp(log_shift_prior(shifts, sigma, step)) @ (shifts**2).sum(1)
    assert sigma_of_mean_square(mean_square, step) == pytest.approx(sigma, rel=1e-6)


def test_sigma_of_mean_square_maximises_the_likelihood():
    shifts = np.random.default_rng(2).integers(-2, 3, (50, 2))
    best = sigma_of_mean_square((shifts**2).sum(1).mean())
    likelihood = [log_shift_prior(shifts, sigma).sum() for sigma in (0.99 * best, best, 1.01 * best)]
    assert likelihood[1] > max(likelihood[0], likelihood[2])
