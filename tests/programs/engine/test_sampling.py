"""Fourier transforms at given points against sums written out."""
import numpy as np
import pytest

from mlalign.programs.engine import sampling
from mlalign.programs.engine.sampling import Sampler

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("n", [16, 18, 32])
@pytest.mark.parametrize("batch", [4, 32])
def test_transforms_of_images(n, batch, monkeypatch):
    monkeypatch.setattr(sampling, "BATCH", batch)           # the last batch is smaller than the others
    images = RNG.normal(size=(7, n, n)).astype(np.float32)
    k, phi = np.pi * np.sqrt(RNG.random(200)), np.pi * RNG.random(200)
    k[:3], phi[:3] = (0, np.pi, np.pi), (0, 0, np.pi / 2)      # zero, and Nyquist along both axes
    kx, ky = k * np.cos(phi), k * np.sin(phi)
    y, x = np.mgrid[:n, :n] - n // 2
    expected = np.exp(-1j * (np.outer(kx, x) + np.outer(ky, y))) @ images.reshape(7, -1).T
    got = Sampler(n, kx, ky)(images)
    assert got.shape == (2, 200, 7) and got.dtype == np.float32
    assert np.abs(got[0] + 1j * got[1] - expected).max() < 2e-4 * np.abs(expected).max()
