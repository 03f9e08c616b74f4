"""The E-step, which computes in single precision, against the same in double: 1e5 cells and more, any noise."""
import numpy as np
import pytest
from scipy.special import logsumexp

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.expectation import Expectation, Images
from mlalign.programs.engine.noise import Noise
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.tests.programs.engine.blobs import DISTINCT
from mlalign.tests.programs.engine.brute import OFFSET, shift_prior

N, REFERENCES, PSI, REACH = 32, 3, 48, 11
SINGLE = 1e-5           # of the images' power: what scores may be off by


def double(disk, images):
    """Harmonics complex128 (B, entries) of images (B, n, n), by their definition, in the disk's list of entries."""
    y, x = np.mgrid[: disk.n, : disk.n] - disk.n // 2
    wave = np.exp(-1j * (disk.kx.reshape(-1, 1) * x[disk.circle] + disk.ky.reshape(-1, 1) * y[disk.circle]))
    polar = (images[:, disk.circle] @ wave.T).reshape(len(images), *disk.kx.shape)
    return polar, of_polar(disk, polar)


def of_polar(disk, polar):
    whole = np.concatenate([polar, polar.conj()], -1)           # of a real image
    return np.fft.fft(whole, axis=-1)[..., disk.ring, disk.q] / disk.n_phi


def scores(grid, images, references):
    """Every cell's score (B, K, S, 2, n_psi) in double precision."""
    disk = grid.disk
    _, x = double(disk, images)
    polar, _ = double(disk, references)
    phase = np.exp(-1j * (grid.shifts[:, 0, None, None] * disk.kx + grid.shifts[:, 1, None, None] * disk.ky))
    a = of_polar(disk, polar[:, None] * phase)                  # (K, S, entries)
    a = np.stack([a, np.where(disk.q % 2, -1, 1) * a.conj()], 2)
    weight = disk.weight[disk.ring] * np.where(disk.q == 0, 1, 2)
    turns = np.exp(-2j * np.pi * np.outer(disk.q, np.arange(disk.n_psi)) / disk.n_psi)
    products = (x.conj() * weight)[:, None, None, None] * a
    return np.einsum("bksmq,qp->bksmp", products, turns, optimize=True).real, (np.abs(x) ** 2 * weight).sum(1)


@pytest.fixture(scope="module")
def scene():
    """Three images, 217,152 cells, and their scores."""
    rng = np.random.default_rng(2)
    references = np.stack([phantom.image(N) for phantom in DISTINCT[:REFERENCES]])
    images = references + 0.1 * references.std() * rng.standard_normal(references.shape)
    grid = Grid(Disk(N, 0.45, PSI), shift_grid(REACH))
    expected, power = scores(grid, images, references)
    assert expected[0].size > 1e5
    return grid, images, references, expected, power


@pytest.mark.parametrize("snr", [1e-4, 1, 100, 1e4])
@pytest.mark.parametrize("scale", [1, 1e-6, 1e6])
def test_single_precision_is_enough(snr, scale, scene):
    """Evidences, classes and peaks; the greyscale may be any.  At an SNR of 1e4 the likeliest cells differ by 1e5."""
    grid, images, references, expected, power = scene
    sigma = scale * references.std() / np.sqrt(snr)
    log_class = np.log(np.full((2, REFERENCES), 0.5 / REFERENCES))
    expectation = Expectation(grid, grid.disk.polar(scale * references), log_class, OFFSET,
                              Noise(sigma, grid.disk.dimension))
    with np.errstate(all="raise", under="ignore"):
        x = grid.disk.harmonics(scale * images)
        block = expectation.block(Images(x, grid.disk.power(x)))
    norm = (np.abs(double(grid.disk, references)[1]) ** 2 * grid.disk.weight[grid.disk.ring]
            * np.where(grid.disk.q == 0, 1, 2)).sum(1)[:, None, None, None]
    squared = scale**2 * (power[:, None, None, None, None] - 2 * expected + norm) / sigma**2
    d = grid.disk.dimension
    prior = shift_prior(grid, OFFSET)[:, None, None] - np.log(PSI) + np.log(0.5 / REFERENCES)
    logp = prior - squared / 2 - d / 2 * np.log(2 * np.pi * sigma**2)
    evidence = logsumexp(logp, axis=(1, 2, 3, 4))
    error = SINGLE * scale**2 * power / sigma**2 + 1e-3 + 1e-6 * np.abs(evidence)
    assert (np.abs(block.log_likelihood - evidence) <= error).all()
    mass = np.exp(logsumexp(logp, axis=(2, 3, 4)) - evidence[:, None])
    np.testing.assert_allclose(block.class_mass, mass, atol=np.minimum(2 * error, 1).max())
    assert np.isfinite(block.class_mass).all() and np.isfinite(block.row_mass).all() and np.isfinite(block.pose).all()
    np.testing.assert_allclose(block.class_mass.sum(1), 1, atol=1e-3)
    if snr >= 1:
        np.testing.assert_array_equal(block.chosen, np.arange(3))
