"""Powers of turned references as images show them, against sums over polar samples drawn in every pose."""
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.templates import by_bin
from mlalign.programs.engine.visibility import EvenHarmonics, rows_of
from mlalign.tests.programs.engine.blobs import PHANTOMS, all_cells, partial_weights, table_of

IMAGES, COUNT = 3, 11        # the highest harmonic, q = 20, is folded more than once where n_psi is 16


class Shown:
    """Visibilities of three images: random real functions with harmonics q = 0, 2 ... 2 (COUNT - 1) on rings."""

    def __init__(self, rings):
        rng = np.random.default_rng(11)
        self.cosines, self.sines = rng.standard_normal((2, IMAGES, rings, COUNT))
        self.q = 2 * np.arange(COUNT)

    def __call__(self, phi):
        """(IMAGES, rings, len(phi))"""
        return self.cosines @ np.cos(np.outer(self.q, phi)) + self.sines @ np.sin(np.outer(self.q, phi))


def power_of(phantom, disk, phi, mirrored=False, psi=0.0):
    """|A|^2 (rings, len(phi)) of a phantom in a pose."""
    kx, ky = disk.k[:, None] * np.cos(phi), disk.k[:, None] * np.sin(phi)
    return np.abs(phantom.transform(kx, ky, psi, mirrored)) ** 2


@pytest.fixture(scope="module", params=[(32, 16), (33, 130), (32, 18)], ids=str)
def seen(request):
    """Visibilities, the powers of two phantoms, and <V, R |A|^2> of all poses (images, references, 2, n_psi)."""
    size, n_psi = request.param
    disk = Disk(size, 0.45, n_psi)
    even, shown, half = EvenHarmonics(disk, COUNT), Shown(len(disk.k)), disk.phi
    whole = np.arange(disk.n_phi) * 2 * np.pi / disk.n_phi
    v = shown(whole)
    expected = np.empty((IMAGES, 2, 2, n_psi))
    for k, phantom in enumerate(PHANTOMS):
        for m in (0, 1):
            for p in range(n_psi):
                turned = power_of(phantom, disk, whole, bool(m), 2 * np.pi * p / n_psi)
                expected[:, k, m, p] = (v * turned * disk.weight[:, None]).sum((1, 2)) / len(whole)
    power = np.stack([power_of(phantom, disk, half) for phantom in PHANTOMS])
    return SimpleNamespace(disk=disk, n_psi=n_psi, even=even, shown=shown, v=even.expand(shown(half)),
                           power=even.expand(power) * even.metric, expected=expected)


def close(found, expected, share=1e-5):
    np.testing.assert_allclose(found, expected, atol=share * np.abs(expected).max())


def random_weights(seen):
    """Weights (images, references, 2, n_psi) of all poses."""
    return np.random.default_rng(3).random((IMAGES, 2, 2, seen.n_psi), np.float32)


# ---- harmonics

def test_harmonics_are_fourier_coefficients(seen):
    phi = np.arange(360) * 2 * np.pi / 360
    v = seen.shown(phi)
    expected = np.stack([(v * np.exp(-1j * q * phi)).mean(-1) for q in range(0, 2 * COUNT, 2)], 1)
    assert len(seen.even) == COUNT
    close(seen.v[:, 0] + 1j * seen.v[:, 1], expected, 1e-12)


def test_samples_are_the_sum_of_their_harmonics(seen):
    close(seen.even.synthesize(seen.v), seen.shown(seen.disk.phi), 1e-12)


def test_the_first_harmonic_is_the_mean_over_a_ring(seen):
    samples = np.random.default_rng(1).random((2, *seen.disk.kx.shape))
    found = EvenHarmonics(seen.disk).expand(samples)
    close(found[:, 0, 0], samples.mean(-1), 1e-12)
    assert found.shape == (2, 2, 1, len(seen.disk.k)) and not found[:, 1].any()


# ---- powers in all poses

def test_products_are_powers_of_turned_references_as_images_show_them(seen):
    rows = rows_of(seen.even.products(seen.v, seen.power))
    assert rows.shape == (IMAGES, 2, 2, 2, COUNT) and rows.dtype == np.float32
    found = rows[..., 0, :] @ seen.even.cell_cosine.T + rows[..., 1, :] @ seen.even.cell_sine.T
    close(found, seen.expected)


def scores_of(seen, power=(), bins=()):
    """Scores (images, references, shifts, 2, n_psi) of random images and templates of two references."""
    grid = Grid(seen.disk, shift_grid(1))
    rng = np.random.default_rng(2)
    x = rng.standard_normal((IMAGES, *seen.disk.shape)).astype(np.float32)
    templates = rng.standard_normal((2 * len(grid.shifts), *seen.disk.shape)).astype(np.float32) * seen.disk.metric
    g = grid.scores(x, by_bin(templates), power, bins)
    return SimpleNamespace(grid=grid, x=x, templates=templates,
                           table=table_of(g, seen.n_psi).reshape(IMAGES, 2, len(grid.shifts), 2, seen.n_psi))


def test_powers_are_taken_off_all_scores(seen):
    plain = scores_of(seen)
    products = (seen.even.products(seen.v, seen.power) / 2).astype(np.float32)
    found = scores_of(seen, products, seen.even.bins)
    close(found.table, plain.table - seen.expected[:, :, None] / 2)


def test_powers_that_turning_does_not_change_need_one_product(seen):
    """Images that show references as they are."""
    plain = scores_of(seen)
    power = np.array([[3.0, 5.0]] * IMAGES, np.float32)
    found = scores_of(seen, power[None, None], np.array([0]))
    close(found.table, plain.table - power[:, :, None, None, None])
    rows = rows_of(power[None, None])
    assert rows.shape == (IMAGES, 2, 2, 2, 1) and not rows[:, :, :, 1].any()
    np.testing.assert_array_equal(rows[:, :, 0, 0, 0], power)
    np.testing.assert_array_equal(rows[:, :, 1, 0, 0], power)


def test_scores_of_single_cells_have_the_power_taken_off(seen):
    plain = scores_of(seen)
    grid, even = plain.grid, seen.even
    count = len(plain.templates) * IMAGES * 2 * seen.n_psi
    columns = [np.empty(count, kind) for kind in (np.int32, np.int32, np.int16, np.float32)]
    grid.score_cells(np.arange(count), plain.x, plain.templates, rows_of(even.products(seen.v, seen.power) / 2),
                     even.bins, columns)
    image, row, angle, score = columns
    expected = plain.table - seen.expected[:, :, None] / 2
    close(score, expected.reshape(IMAGES, -1, 2, seen.n_psi)[image, row // 2, row % 2, angle])


# ---- the adjoint

def test_spread_is_the_adjoint_of_products(seen):
    products = seen.even.products(seen.v, seen.power)
    weights = np.random.default_rng(4).standard_normal(products.shape)
    found = np.vdot(seen.even.spread(weights, seen.v), seen.power)
    assert found == pytest.approx(np.vdot(weights, products), rel=1e-10)


def test_spread_turns_visibilities_back(seen):
    """Every image's V, turned back by each pose and weighted, summed on polar samples."""
    weights = random_weights(seen)
    expected = np.zeros((2, *seen.disk.kx.shape))
    for m, sign in ((0, 1), (1, -1)):
        for p in range(seen.n_psi):
            back = seen.shown(2 * np.pi * p / seen.n_psi + sign * seen.disk.phi)
            expected += np.tensordot(weights[:, :, m, p].astype(float), back, (0, 0))
    found = seen.even.spread_cells(all_cells(weights.reshape(IMAGES, 4, -1)), seen.v.astype(np.float32), 2)
    close(seen.even.synthesize(found), expected)


def test_dense_and_sparse_sums_agree(seen):
    weights, even, quarter = random_weights(seen), seen.even, seen.n_psi // 4 + 1
    p = partial_weights(weights)[:, :, 0]                           # (4, images, quarter, references), of even bins
    tables = [table[:quarter].astype(float) for table in (even.cell_cosine, even.cell_cosine, even.cell_sine,
                                                          even.cell_sine)]
    by_harmonic = np.stack([np.einsum("hl,bhk->lbk", table, one) for table, one in zip(tables, p)])
    cells = all_cells(weights.reshape(IMAGES, 4, -1))
    sparse = even.spread_cells(cells, seen.v.astype(np.float32), 2)
    close(even.spread(by_harmonic, seen.v), sparse)
