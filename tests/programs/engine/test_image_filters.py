"""Correlations in shells, filters and centres, against loops, formulas and images known everywhere."""
import numpy as np
import pytest

from mlalign.programs.engine import image_filters
from mlalign.tests.programs.engine.blobs import Blobs

N = 32
RNG = np.random.default_rng(0)


def test_shell_correlation_coefficient_by_coefficient():
    first, second = RNG.normal(size=(2, N, N))
    second += first
    f, g = np.fft.fft2(first), np.fft.fft2(second)
    sums = np.zeros((N // 2 + 1, 4))
    for ky in range(-N // 2, N // 2):
        for kx in range(-N // 2, N // 2):
            r = round(np.hypot(kx, ky))
            if r <= N // 2:
                a, b = f[ky, kx], g[ky, kx]
                sums[r] += (a * b.conjugate()).real, abs(a) ** 2, abs(b) ** 2, 1
    frequency, correlation, pixels = image_filters.shell_correlation(first, second)
    assert frequency == pytest.approx(np.arange(N // 2 + 1) / N)
    assert correlation == pytest.approx(sums[:, 0] / np.sqrt(sums[:, 1] * sums[:, 2]))
    assert (pixels == sums[:, 3]).all()
    both = image_filters.shell_correlation(np.stack([first, first]), np.stack([second, first]))[1]
    assert both == pytest.approx(np.stack([correlation, np.ones_like(correlation)]))


def test_the_tangent_filter():
    k, cutoff, falloff = np.linspace(0, 0.5, 30), 0.2, 0.15
    width = np.pi / (2 * falloff * cutoff)
    expected = 0.5 * (np.tanh(width * (k + cutoff)) - np.tanh(width * (k - cutoff)))
    assert image_filters.tangent_filter(k, cutoff, falloff) == pytest.approx(expected)
    wave = np.cos(2 * np.pi * np.arange(N) * 8 / N) * np.ones((N, 1))
    passed = image_filters.filtered(wave + 3, lambda k: image_filters.tangent_filter(k, 0.1, 0.1))
    assert passed == pytest.approx(3 * np.ones((N, N)), abs=1e-6)


@pytest.mark.parametrize(("cutoff", "falloff"), [(0.15, 0.1), (0.3, 0.2)])
def test_the_filter_fitted_to_a_curve(cutoff, falloff):
    k = np.arange(33) / 64
    whole = image_filters.tangent_filter(k, cutoff, falloff)
    found = image_filters.fit_tangent(k, whole / (2 - whole))          # the halves' correlation that means this
    assert found[0] == pytest.approx(cutoff, abs=0.01)


def test_curves_without_an_end_pass_all_that_may_pass():
    k = np.arange(33) / 64
    assert image_filters.fit_tangent(k, np.ones(33)) == (image_filters.HIGH, image_filters.FALLOFF)
    nothing = image_filters.fit_tangent(k, np.zeros(33))
    assert nothing[0] == image_filters.LOW


def test_centres_of_an_image():
    blob = Blobs(1, count=1, reach=0)
    blob.heights[:], mask = 1, image_filters.distances(N) <= 12
    image = blob.image(N, shift=(2.3, -1.6))
    gaussian = np.exp(-(image_filters.distances(N) ** 2) / 8)
    assert image_filters.phase_centre(image) == pytest.approx((2.3, -1.6), abs=0.01)
    assert image_filters.correlation_centre(image, gaussian) == pytest.approx((2.3, -1.6), abs=0.05)
    assert image_filters.own_centre(image) == pytest.approx((2.3, -1.6), abs=0.2)
    bright = image_filters.bright_pixels(image, mask)
    assert image_filters.centre_of_mass(image * bright) == pytest.approx((2.3, -1.6), abs=0.1)
    assert image_filters.phase_centre(image_filters.shifted(image, -2.3, 1.6)) == pytest.approx((0, 0), abs=0.01)


def test_the_background_is_the_rims():
    mask = (image_filters.distances(N) <= 12).astype(float)
    image = Blobs(1).image(N) + 5
    clean = image_filters.without_background(image, mask)
    assert (clean[mask == 0] == 0).all() and clean == pytest.approx((image - 5) * mask, abs=0.02)


def test_a_rotational_average():
    image = image_filters.distances(N) ** 2
    assert image_filters.rotational_average(image) == pytest.approx(image, abs=20)
    assert image_filters.rotational_average(np.full((N, N), 2.0)) == pytest.approx(np.full((N, N), 2.0))
