"""Volumes on finer and coarser grids, against phantoms drawn there and waves one by one."""
import numpy as np
import pytest

from mlalign.programs.engine.resampling import resampled
from mlalign.tests.programs.engine.volume_scenes import Blobs3

SIZES = [(16, 24), (17, 24), (16, 25), (17, 25), (24, 16), (24, 17), (25, 16), (25, 17), (16, 17), (17, 16), (18, 16)]


def scaled(seed, factor):
    """A phantom and its copy on a grid of ``factor`` times as many voxels along each axis."""
    phantom, other = (Blobs3(seed, reach=2.0, widths=(1.4, 1.6)) for _ in range(2))
    other.centres, other.widths = factor * other.centres, factor * other.widths
    return phantom, other


@pytest.mark.parametrize("m, n", SIZES)
def test_a_phantom_is_the_one_drawn_on_the_other_grid(m, n):
    """Grey values and the origin stay what and where they are."""
    small, large = min(m, n), max(m, n)
    phantom, other = scaled(1, large / small)
    at_size = {small: phantom.volume(small), large: other.volume(large)}
    found = resampled(at_size[m][None], n)
    assert found.dtype == np.float32 and found.shape == (1, n, n, n)
    np.testing.assert_allclose(found[0], at_size[n], atol=0.01 * np.abs(at_size[n]).max())


@pytest.mark.parametrize("m, n", SIZES)
def test_waves_that_both_grids_hold_stay_and_others_go(m, n):
    """cos(2 pi j x / m + phase) for every j, along each axis; an even grid's Nyquist is no frequency of its own."""
    place_m, place_n = (np.arange(size) - size // 2 for size in (m, n))
    for j in range(m // 2 + 1):
        wave_m, wave_n = (np.cos(2 * np.pi * j * place / size + 0.3) for place, size in ((place_m, m), (place_n, n)))
        expected = wave_n if 2 * j < min(m, n) else 0 * wave_n
        for axis in range(3):
            shape = [1, 1, 1]
            shape[axis] = -1
            volume = np.broadcast_to(wave_m.reshape(shape), (m, m, m))
            along = resampled(volume[None], n)[0]
            np.testing.assert_allclose(along, np.broadcast_to(expected.reshape(shape), (n, n, n)), atol=1e-5)


def test_there_and_back():
    volumes = np.random.default_rng(1).standard_normal((2, 15, 15, 15)).astype(np.float32)
    np.testing.assert_allclose(resampled(resampled(volumes, 22), 15), volumes, atol=1e-5)
    assert resampled(volumes, 15) is volumes


def test_white_noise_is_averaged():
    """Its variance falls as the number of voxels does."""
    noise = np.random.default_rng(2).standard_normal((4, 32, 32, 32))
    assert resampled(noise, 16).var() == pytest.approx(15**3 / 32**3, rel=0.05)            # of 15 frequencies an axis
