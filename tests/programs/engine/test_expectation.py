"""Posteriors against a soft-max over every cell, its distances computed from pixels."""
import numpy as np
import pytest

from mlalign.programs.engine import expectation as module
from mlalign.programs.engine import search
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.expectation import Expectation, Images
from mlalign.programs.engine.noise import Noise
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.tests.programs.engine.blobs import DISTINCT, PHANTOMS, all_cells
from mlalign.tests.programs.engine.brute import OFFSET, WITH_MIRROR, WITHOUT_MIRROR, posterior

SCALE = np.array([[0.8, 1.1], [1.3, 1.0], [0.9, 1.0]])          # of three images against two references


def make(scene, log_class, sigma, df=None):
    grid = scene.grid
    polar = grid.disk.polar(np.stack([phantom.image(grid.disk.n) for phantom in PHANTOMS]))
    return Expectation(grid, polar, log_class, OFFSET, Noise(sigma, grid.disk.dimension, df))


def sums_of(search, block, x, grid, tiles):
    sums = np.zeros((2, len(grid.shifts), *grid.disk.shape), np.float32)
    for tile in tiles:
        search.spread(block, x, sums, tile)
    return sums.reshape(-1, *grid.disk.shape)


def check(scene, log_class, sigma, df=None, scale=None, tiles=(slice(0, 2),)):
    """Compare a block with the brute force; returns both."""
    truth, engine = posterior(scene, log_class, sigma, df, scale), make(scene, log_class, sigma, df)
    block = engine.block(Images(scene.x, truth.power, scale))
    gamma, u, r = truth.gamma, truth.robust, truth.r
    close = {"rtol": 1e-3, "atol": 2e-4}
    np.testing.assert_allclose(block.log_likelihood, truth.evidence, rtol=1e-5, atol=0.01)
    np.testing.assert_allclose(block.class_mass, gamma.sum((2, 3, 4)), **close)
    np.testing.assert_allclose(block.row_mass, gamma.sum((0, 4)), **close)
    np.testing.assert_allclose(block.class_weight, (gamma * u * r**2).sum((0, 2, 3, 4)), **close)
    np.testing.assert_array_equal(block.chosen, gamma.sum((2, 3, 4)).argmax(1))
    np.testing.assert_allclose(block.robust, (gamma * u).sum((1, 2, 3, 4)), **close)
    assert block.robust_power == pytest.approx(((gamma * u).sum((1, 2, 3, 4)) * truth.power).sum(), rel=1e-3)
    if scale is not None:
        np.testing.assert_allclose(block.expected_score, (gamma * r * truth.score).sum((1, 2, 3, 4)), rtol=2e-3)
        np.testing.assert_allclose(block.expected_reference, (gamma * r**2 * truth.norm).sum((1, 2, 3, 4)), rtol=2e-3)
    for b, k in enumerate(block.chosen):
        assert block.pose[b, 4] == pytest.approx(gamma[b, k].max(), rel=2e-3)
        assert block.pose[b, 3] == np.unravel_index(gamma[b, k].argmax(), gamma[b, k].shape)[1]
    expected = np.zeros((10, *scene.grid.disk.shape), np.float32)
    scene.grid.spread_cells(all_cells((gamma * u * r).reshape(3, 20, -1)), scene.x, expected)
    found = sums_of(engine, block, scene.x, scene.grid, tiles)
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())
    return block, truth


@pytest.mark.parametrize("sigma", [0.4, 3.0])
@pytest.mark.parametrize("log_class", [WITH_MIRROR, WITHOUT_MIRROR], ids=["mirror", "no mirror"])
@pytest.mark.parametrize("dense", [True, False])
def test_gaussian_posterior(scene, log_class, sigma, dense, monkeypatch):
    monkeypatch.setattr(module, "DENSE_SHARE", 0 if dense else 2)
    block, _ = check(scene, log_class, sigma)
    assert (block.dense is not None) == dense


@pytest.mark.parametrize("dense", [True, False])
def test_tiles_change_nothing(scene, dense, monkeypatch):
    """Tiles of the search and of the sums need not be the same."""
    monkeypatch.setattr(module, "DENSE_SHARE", 0 if dense else 2)
    halves = slice(0, 1), slice(1, 2)
    check(scene, WITH_MIRROR, 3.0, tiles=halves)
    monkeypatch.setattr(search, "TILE", 5)
    check(scene, WITH_MIRROR, 3.0)
    check(scene, WITH_MIRROR, 3.0, tiles=halves)


def test_narrow_posteriors_become_lists_of_cells(scene):
    power = scene.grid.disk.power(scene.x)
    assert make(scene, WITH_MIRROR, 0.05).block(Images(scene.x, power)).cells is not None
    assert make(scene, WITH_MIRROR, 9.0).block(Images(scene.x, power)).dense is not None


@pytest.mark.parametrize("sigma", [0.4, 3.0])
@pytest.mark.parametrize("scale", [None, SCALE], ids=["", "scaled"])
@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_student_and_grey_scale_posteriors(scene, sigma, scale, df):
    check(scene, WITH_MIRROR, sigma, df, scale)


def test_a_class_of_fraction_zero_gets_nothing(scene):
    with np.errstate(divide="ignore"):
        log_class = np.log([[0.6, 0.0], [0.4, 0.0]])
    block, _ = check(scene, log_class, 3.0)
    assert (block.class_mass[:, 1] == 0).all()


def test_pose_is_that_of_the_image(scene):
    """The posterior of a nearly clean image: its cell, and its neighbours' mean when it lies between cells."""
    grid, n_psi = scene.grid, scene.grid.disk.n_psi
    between = PHANTOMS[0].image(grid.disk.n, 2 * np.pi * 4.5 / n_psi, True, grid.shifts[3])
    x = grid.disk.harmonics(between[None])
    pose = make(scene, WITH_MIRROR, 0.5).block(Images(x, grid.disk.power(x))).pose[0]
    assert pose[0] == pytest.approx(4.5, abs=0.05)
    np.testing.assert_allclose(pose[1:3], grid.shifts[3], atol=0.05)
    assert pose[3] == 1


# ---- the fast search

def noisy(snr):
    """Sixty images of three phantoms, 32 px, in random poses."""
    n, rng = 32, np.random.default_rng(7)
    images = np.stack([DISTINCT[i % 3].image(n, rng.uniform(0, 2 * np.pi), rng.random() < 0.5,
                                             rng.normal(0, 1.2, 2)) for i in range(60)])
    sigma = np.sqrt((images**2).mean() / snr)
    images += sigma * rng.standard_normal(images.shape)
    return images, sigma, np.stack([phantom.image(n) for phantom in DISTINCT[:3]])


def exhaustive_and_fast(snr, df=None, significance=1e-12):
    """The blocks of the same images from both searches of the same model."""
    images, sigma, references = noisy(snr)
    fine = Grid(Disk(32, 0.45, 72), shift_grid(5))
    coarse = Grid(Disk(32, 0.225, 36), shift_grid(5, 2), 2)
    log_class = np.log(np.full((2, 3), 1 / 6))

    def one(grid, *more):
        noise = Noise(sigma, grid.disk.dimension, df)
        return Expectation(grid, grid.disk.polar(references), log_class, 1.2, noise, *more)

    x, xc = fine.disk.harmonics(images), coarse.disk.harmonics(images)
    fast = one(fine, one(coarse), significance)
    images = Images(x, fine.disk.power(x))
    return one(fine).block(images), fast.block(images, Images(xc, coarse.disk.power(xc)))


@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
@pytest.mark.parametrize("snr", [0.05, 0.2, 0.5])
def test_fast_search_gives_the_exhaustive_answer(snr, df, monkeypatch):
    """To 0.05 nats per image, 0.001 of class probability, a tenth of a step of angle and of a pixel."""
    monkeypatch.setattr(module, "BROAD_SHARE", 2)                 # however broad the posterior
    exact, fast = exhaustive_and_fast(snr, df)
    order = list(zip(fast.cells.row, fast.cells.image))
    assert order == sorted(order)
    np.testing.assert_allclose(fast.log_likelihood, exact.log_likelihood, atol=0.05)
    np.testing.assert_allclose(fast.class_mass, exact.class_mass, atol=1e-3)
    np.testing.assert_allclose(fast.pose, exact.pose, atol=0.1)


@pytest.mark.parametrize("snr, significance", [(0.05, 1e-12), (0.05, 1e-3), (0.5, 1e-12), (1.0, 1e-12)])
def test_missing_likelihood_bounds_what_the_fast_search_gets_wrong(snr, significance, monkeypatch):
    """Its posterior is the exact one of some of the cells: d nats less, and 1 - exp(-d) away in total variation."""
    monkeypatch.setattr(module, "BROAD_SHARE", 2)
    exact, fast = exhaustive_and_fast(snr, significance=significance)
    missing = exact.log_likelihood - fast.log_likelihood
    rounding = 2e-3                                                  # of scores, which are float32 sums
    assert missing.min() > -rounding
    distance = np.abs(fast.class_mass - exact.class_mass).sum(1) / 2
    assert (distance <= 1 - np.exp(-missing.clip(0)) + rounding).all()


def test_fast_search_at_a_very_high_snr_keeps_the_classes():
    """Coarse cells are far from the peak then, in nats: a few images may end on a slope of theirs."""
    exact, fast = exhaustive_and_fast(1.0)
    loss = exact.log_likelihood - fast.log_likelihood
    assert (loss < 0.01).mean() > 0.95 and loss.max() < 10
    np.testing.assert_allclose(fast.class_mass, exact.class_mass, atol=1e-3)


def test_fast_search_of_broad_posteriors_is_exhaustive():
    exact, fast = exhaustive_and_fast(0.01)
    assert fast.counts.swept_cells == exact.counts.swept_cells and not fast.counts.fine_cells
    np.testing.assert_allclose(fast.log_likelihood, exact.log_likelihood, rtol=1e-10)


def test_a_looser_significance_costs_little_and_drops_cells(monkeypatch):
    monkeypatch.setattr(module, "BROAD_SHARE", 2)
    strict, loose = (exhaustive_and_fast(0.05, significance=s)[1] for s in (1e-12, 1e-3))
    assert len(loose.cells.image) < 0.8 * len(strict.cells.image)
    np.testing.assert_allclose(loose.log_likelihood, strict.log_likelihood, atol=0.01)
