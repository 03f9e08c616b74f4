"""Ring correlations against ones made from FFTs, and the rule by which resolution grows."""
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine import resolution
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.resolution import crossing, next_maxres, ring_correlation, smooth_rings

N, PAD = 48, 16


@pytest.fixture(scope="module")
def halves():
    """Two halves' averages (2, 3, N, N): signals of three sizes in common, noise of their own; in a circle."""
    rng = np.random.default_rng(1)
    signal = ndimage.gaussian_filter(rng.standard_normal((3, N, N)), (0, 1.2, 1.2))
    images = np.array([6.0, 2.0, 0.0])[:, None, None] * signal + rng.standard_normal((2, 3, N, N))
    y, x = np.mgrid[:N, :N] - N // 2
    return images * (np.hypot(x, y) < N / 2)


def fft_correlation(first, second, k):
    """FRC in thin shells of a finely sampled FFT, around the frequencies k (rad/px)."""
    a, b = np.fft.fft2(first, (PAD * N, PAD * N)), np.fft.fft2(second, (PAD * N, PAD * N))
    frequency = 2 * np.pi * np.hypot(*np.meshgrid(np.fft.fftfreq(PAD * N), np.fft.fftfreq(PAD * N)))
    found = []
    for radius in k:
        shell = np.abs(frequency - radius) < np.pi / (PAD * N)
        found.append((a[shell] * b[shell].conj()).real.sum()
                     / np.sqrt((np.abs(a[shell]) ** 2).sum() * (np.abs(b[shell]) ** 2).sum()))
    return found


def test_ring_correlation_is_that_of_ffts(halves):
    disk = Disk(N, 0.5, 24)
    sums = np.stack([disk.polar(half) for half in halves])
    frc = ring_correlation(5 * sums, np.full((2, 3), 5.0))
    beyond = disk.k > 2 * np.pi / N                   # nearer the origin a shell of the FFT has hardly a pixel
    for k in range(3):
        np.testing.assert_allclose(frc[k, beyond], fft_correlation(*halves[:, k], disk.k[beyond]), atol=0.02)
    assert frc[0, :10].mean() > 0.9 and abs(frc[2].mean()) < 0.2       # the test sees curves of all heights


def test_ring_correlation_of_empty_halves_is_zero(halves):
    disk = Disk(N, 0.5, 24)
    sums = np.stack([disk.polar(half) for half in halves])
    sums[1, 2] = 0
    frc = ring_correlation(sums, np.array([[5.0, 5, 5], [0, 5, 5]]))
    assert not frc[0].any() and frc[1].all() and not frc[2].any()


def test_smooth_rings():
    k, frc = np.array([0.1, 0.2, 0.25, 0.9]), np.array([[1.0, 0.5, 0.0, 0.7], [1.0, 1.0, 1.0, 1.0]])
    found = smooth_rings(frc, k, 0.1)
    np.testing.assert_allclose(found[1], 1)
    np.testing.assert_allclose(found[0], [(0.1 + 0.1) / 0.3, (0.1 + 0.1) / 0.55, 0.1 / 0.45, 0.7])


def test_crossing():
    frequency = np.array([0.1, 0.2, 0.3, 0.4])
    curves = np.array([[1.0, 0.5, 0.1, 0.6],        # between 0.2 and 0.3, the first of its crossings
                       [1.0, 0.9, 0.8, 0.7],        # never
                       [0.1, 0.9, 0.9, 0.9],        # from the start
                       [1.0, 0.3, 0.2, 0.0]])
    np.testing.assert_allclose(crossing(frequency, curves, 0.3), [0.25, 0.4, 0.0, 0.2])
    assert crossing(frequency, curves)[0] == pytest.approx(0.2 + 0.1 * (0.5 - 0.143) / 0.4)


@pytest.fixture
def rings():
    """Frequencies up to 0.2, curves trusted up to the edge, up to short of it, and nowhere."""
    frequency = np.linspace(0.01, 0.2, 20)
    return frequency, np.stack([np.ones(20), (frequency < 0.155).astype(float), np.zeros(20)])


@pytest.mark.parametrize("fractions, grows", [
    ((1.0, 0.0, 0.0), True), ((0.0, 1.0, 0.0), False), ((0.0, 0.0, 1.0), False),
    ((0.21, 0.4, 0.39), True), ((0.19, 0.4, 0.41), False), ((21.0, 40.0, 39.0), True)])
def test_next_maxres_grows_when_enough_particles_are_in_trusted_classes(rings, fractions, grows):
    found = next_maxres(0.2, *rings, np.array(fractions))
    assert found == pytest.approx(0.2 * resolution.GROWTH if grows else 0.2)


def test_next_maxres_stops_at_nyquist():
    frequency = np.linspace(0.02, 0.45, 20)
    assert next_maxres(0.45, frequency, np.ones((1, 20)), np.ones(1)) == 0.5


def test_wiener_brings_an_average_nearest_the_truth():
    """The weight of every shell is the one with the least error, when signal and noise have the power they have."""
    rng = np.random.default_rng(6)
    signal = np.array([3.0, 1.0, 0.7, 0.5])[:, None] * rng.standard_normal((4, 40000))
    halves = signal + rng.standard_normal((2, *signal.shape))
    fsc = (halves[0] * halves[1]).sum(1) / np.sqrt((halves[0]**2).sum(1) * (halves[1]**2).sum(1))
    weights, average = resolution.wiener(fsc), halves.mean(0)
    best = (signal * average).sum(1) / (average**2).sum(1)
    np.testing.assert_allclose(weights, best, atol=0.03)
    np.testing.assert_array_equal(resolution.wiener(np.array([1, 0.5, 0.1, 0.9])), [1, 2 / 3, 0, 0])
    np.testing.assert_array_equal(resolution.wiener(np.array([-0.2, 0.9])), 0)
    np.testing.assert_array_equal(resolution.wiener(np.array([1.0, 1.0])), 1)
