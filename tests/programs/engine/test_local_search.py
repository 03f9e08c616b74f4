"""Searches near where particles were found, against all cells of which the far ones are struck out."""
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import em, kernels
from mlalign.programs.engine import expectation as expectation_module
from mlalign.programs.engine.bank import ImageBank
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles, Pass, WhiteEStep, note
from mlalign.programs.engine.expectation import Expectation, Images
from mlalign.programs.engine.local import Near, best_of_near_rows, last_places, strike_far
from mlalign.programs.engine.model import Model
from mlalign.programs.engine.noise import Noise
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.geometry import pose_matrix
from mlalign.tests.programs.engine.blobs import PHANTOMS, Stack, all_cells, planted, random_scores, table_of
from mlalign.tests.programs.engine.brute import OFFSET, WITH_MIRROR, posterior

PLACES = np.array([[1.5, 0.3], [-0.4, -1.8], [0.0, 0.2]])
RADIUS = np.array([0.4, 0.7, np.inf])          # the third image may be anywhere
SCALE = np.array([[0.8, 1.1], [1.3, 1.0], [0.9, 1.0]])


def place_of(shift, mirrored, psi):
    """Where a cell puts the particle's centre: the image is R_psi F S_t A."""
    x, y = shift
    if mirrored:
        y = -y
    return np.array([x * np.cos(psi) - y * np.sin(psi), x * np.sin(psi) + y * np.cos(psi)])


def distances(grid, place):
    """Of all cells' places from one, (2, n_psi, S)."""
    n_psi = grid.disk.n_psi
    return np.array([[[np.hypot(*(place_of(shift, m, 2 * np.pi * p / n_psi) - place)) for shift in grid.shifts]
                      for p in range(n_psi)] for m in (0, 1)])


# ---- which cells are near

def test_last_places_are_where_the_cells_put_the_particles():
    rng, n_psi, count = np.random.default_rng(0), 72, 20
    pose = np.stack([rng.uniform(0, n_psi, count), *rng.uniform(-5, 5, (2, count)), np.arange(count) % 2,
                     np.ones(count)], 1)
    block = SimpleNamespace(pose=pose, chosen=np.zeros(count, int), class_mass=np.ones((count, 1)),
                            log_likelihood=np.zeros(count), robust=np.ones(count))
    particles = Particles.unknown(count)
    note(particles, np.arange(count), block, n_psi)
    particles.ref[3] = -1
    places, radius = last_places(particles, np.arange(count), 2.5)
    expected = [place_of(shift, m, 2 * np.pi * psi / n_psi) for psi, *shift, m, _ in pose]
    np.testing.assert_allclose(places, expected, atol=1e-9)
    assert radius[3] == np.inf and set(np.delete(radius, 3)) == {2.5}


@pytest.mark.parametrize("step", [1, 2])
def test_near_cells(step):
    """Half a step more on a coarse grid; where nothing is near, everything is allowed."""
    grid = Grid(Disk(16, 0.3, 12), shift_grid(4, step), step)
    places, radius = np.array([[1.3, -2.4], [0.1, 3.3], [9.0, 0.0]]), np.array([1.0, 2.0, 1.0])
    allowed = Near.of(grid, places, radius).allowed
    for b in (0, 1):
        expected = distances(grid, places[b]) <= radius[b] + (1 if step == 2 else 0)
        np.testing.assert_array_equal(allowed[b], expected)
        assert expected.any() and not expected.all()
    assert allowed[2].all()


def test_nothing_is_made_when_everything_is_near():
    grid = Grid(Disk(16, 0.3, 12), shift_grid(4))
    assert Near.of(grid, np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([7.0, 8.0])) is None
    assert Near.of(grid, np.array([[3.0, 0.0], [0.0, 4.0]]), np.array([7.0, 7.9])) is not None


def test_coarse_cells_near_are_those_with_a_near_child():
    fine, coarse = Grid(Disk(16, 0.3, 12), shift_grid(4)), Grid(Disk(16, 0.15, 6), shift_grid(4, 2), 2)
    near = Near.of(fine, PLACES, RADIUS)
    children = coarse.children(fine)
    found = near.parents(children).allowed
    for b, m, p, s in np.ndindex(found.shape):
        mine = [near.allowed[b, m, angle, child] for angle in (2 * p, 2 * p + 1) for child in children[s] if child >= 0]
        assert found[b, m, p, s] == any(mine)
    assert found[:2].any((1, 2, 3)).all() and not found[:2].all()


def test_far_cells_are_struck_off():
    grid, rng = Grid(Disk(16, 0.3, 130), shift_grid(2)), np.random.default_rng(1)
    near = Near.of(grid, PLACES, RADIUS)
    keys = np.flatnonzero(rng.random(2 * 13 * 2 * 3 * 130) < 0.5)        # of (K, S, 2, B, n_psi)
    _, s, m, b, psi = np.unravel_index(keys, (2, 13, 2, 3, 130))
    np.testing.assert_array_equal(near.only(keys), keys[near.allowed[b, m, psi, s]])


@pytest.mark.parametrize("n_psi", [12, 18])
@pytest.mark.parametrize("mirror", [True, False])
def test_best_of_near_rows(mirror, n_psi):
    rng = np.random.default_rng(2)
    g = random_scores(rng, 3, 10, n_psi)                                 # 3 images, 2 references of 5 shifts
    allowed = rng.random((3, 2, n_psi, 5)) < 0.2
    allowed[0, 0, :, 0] = False
    best = np.full((2, 3, 10), np.nan, np.float32)
    best_of_near_rows(g, mirror, allowed, best)
    by_cell = np.tile(allowed.transpose(0, 3, 1, 2), (1, 2, 1, 1))       # (B, T, 2, n_psi)
    expected = np.where(by_cell, table_of(g, n_psi), -np.inf).max(3).transpose(2, 0, 1)
    np.testing.assert_allclose(best[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(best[1], expected[1] if mirror else -np.inf, rtol=1e-5)
    assert (best[0] == -np.inf).any()


@pytest.mark.parametrize("n_psi", [12, 18])
def test_strike_far(n_psi):
    """What remains of dense log-posteriors is what is allowed, every cell once."""
    rng = np.random.default_rng(3)
    g = random_scores(rng, 3, 10, n_psi)
    allowed = rng.random((3, 2, n_psi, 5)) < 0.3
    table = np.where(np.tile(allowed.transpose(0, 3, 1, 2), (1, 2, 1, 1)), table_of(g, n_psi), -np.inf)
    kernels.to_log_posterior(g, True, np.zeros((2, 10), np.float32), np.float32(1), np.zeros(3, np.float32), n_psi)
    strike_far(g, allowed)
    for b in range(3):
        for t in range(10):
            for m in range(2):
                left = g[2 * m : 2 * m + 2, b, :, :, t]
                expected = table[b, t, m][allowed[b, m, :, t % 5]]
                np.testing.assert_allclose(np.sort(left[left > -np.inf]), np.sort(expected), rtol=1e-4, atol=1e-5)


# ---- posteriors

def expectation(grid, sigma, df=None, *more):
    n = grid.disk.n
    polar = grid.disk.polar(np.stack([phantom.image(n) for phantom in PHANTOMS]))
    return Expectation(grid, polar, WITH_MIRROR, OFFSET, Noise(sigma, grid.disk.dimension, df), *more)


def check(scene, sigma, df, scale, places, radius):
    """Compare a block with the brute force; returns the block."""
    truth = posterior(scene, WITH_MIRROR, sigma, df, scale)
    near = Near.of(scene.grid, places, radius)
    search = expectation(scene.grid, sigma, df)
    block = search.block(Images(scene.x, truth.power, scale, near=near))
    allowed = near.allowed.transpose(0, 3, 1, 2)[:, None]
    gamma = truth.gamma * allowed
    left = gamma.sum((1, 2, 3, 4))
    assert left.min() > 1e-200
    np.testing.assert_allclose(block.log_likelihood, truth.evidence + np.log(left), rtol=1e-5, atol=0.01)
    gamma /= left[:, None, None, None, None]
    close = {"rtol": 1e-3, "atol": 3e-4}
    np.testing.assert_allclose(block.class_mass, gamma.sum((2, 3, 4)), **close)
    np.testing.assert_allclose(block.row_mass, gamma.sum((0, 4)), **close)
    np.testing.assert_allclose(block.class_weight, (gamma * truth.robust * truth.r**2).sum((0, 2, 3, 4)), **close)
    np.testing.assert_allclose(block.robust, (gamma * truth.robust).sum((1, 2, 3, 4)), **close)
    for b, k in enumerate(block.chosen):
        assert block.pose[b, 4] == pytest.approx(gamma[b, k].max(), rel=2e-3)
    expected = np.zeros((10, *scene.grid.disk.shape), np.float32)
    everything = all_cells((gamma * truth.robust * truth.r).reshape(3, 10 * 2, -1))
    scene.grid.spread_cells(everything, scene.x, expected)
    found = np.zeros((2, 5, *scene.grid.disk.shape), np.float32)
    for tile in (slice(0, 1), slice(1, 2)):
        search.spread(block, scene.x, found, tile)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-3 * np.abs(expected).max())
    if block.cells is not None:
        cells = block.cells
        assert near.allowed[cells.image, cells.row % 2, cells.angle, cells.row // 2 % 5].all()
        order = list(zip(cells.row, cells.image, cells.angle))
        assert order == sorted(order)
    return block


@pytest.mark.parametrize("sigma", [1.0, 3.0])
@pytest.mark.parametrize("scale", [None, SCALE], ids=["", "scaled"])
@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_posterior_is_that_of_the_near_cells(scene, sigma, scale, df):
    """With the prior of the whole grid: what is struck out is lost."""
    check(scene, sigma, df, scale, PLACES, RADIUS)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("places, radius", [(PLACES, RADIUS), (np.zeros((3, 2)), np.full(3, 0.5))],
                         ids=["", "no shift"])
def test_dense_posterior_is_that_of_the_near_cells(scene, dense, places, radius, monkeypatch):
    monkeypatch.setattr(expectation_module, "DENSE_SHARE", 0 if dense else 2)
    block = check(scene, 2.0, None, None, places, radius)
    assert (block.dense is not None) == dense
    if dense:
        assert block.dense[0][1].shape[-1] == 2 * (1 if radius[2] < 1 else 5)


def images_and_searches(df=None):
    """Sixty noisy images, where they are said to have been found, an exhaustive and a fast search."""
    truth = planted(PHANTOMS, 60, 0.2, seed=4)
    fine = Grid(Disk(32, 0.45, 72), shift_grid(5))
    coarse = Grid(Disk(32, 0.225, 36), shift_grid(5, 2), 2)
    pose = pose_matrix(truth.psi, truth.shift_x, truth.shift_y, truth.flip)
    places = np.linalg.inv(pose)[:, :2, 2] + np.random.default_rng(5).uniform(-2, 2, (60, 2))
    near = Near.of(fine, places, np.full(60, 2.0))
    x, xc = fine.disk.harmonics(truth.images), coarse.disk.harmonics(truth.images)
    images = Images(x, fine.disk.power(x), near=near), Images(xc, coarse.disk.power(xc))
    exhaustive = expectation(fine, truth.sigma, df)
    return images, exhaustive, expectation(fine, truth.sigma, df, expectation(coarse, truth.sigma, df))


@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_fast_search_gives_the_exhaustive_answer(df, monkeypatch):
    monkeypatch.setattr(expectation_module, "BROAD_SHARE", 2)                 # however broad the posterior
    (images, coarse), exhaustive, fast = images_and_searches(df)
    expected, found = exhaustive.block(images), fast.block(images, coarse)
    np.testing.assert_allclose(found.log_likelihood, expected.log_likelihood, atol=0.05)
    np.testing.assert_allclose(found.class_mass, expected.class_mass, atol=2e-3)
    cells, shifts = found.cells, images.near.allowed.shape[3]
    assert images.near.allowed[cells.image, cells.row % 2, cells.angle, cells.row // 2 % shifts].all()


def test_fast_search_of_broad_posteriors_is_exhaustive(monkeypatch):
    monkeypatch.setattr(expectation_module, "BROAD_SHARE", 0)
    (images, coarse), exhaustive, fast = images_and_searches()
    np.testing.assert_array_equal(fast.block(images, coarse).log_likelihood, exhaustive.block(images).log_likelihood)


def test_cells_on_a_slope_keep_images_with_all_that_is_significant_outside():
    """Hardly any noise and a place far from the particle's: the best cells are on the disc's rim, not lost."""
    fine, coarse = Grid(Disk(32, 0.45, 72), shift_grid(5)), Grid(Disk(32, 0.225, 36), shift_grid(5, 2), 2)
    images = np.stack([PHANTOMS[0].image(32, shift=(-4, 0)), PHANTOMS[1].image(32, shift=(0, 4))])
    near = Near.of(fine, np.array([[4.0, 0.0], [0.0, -4.0]]), np.ones(2))
    x, xc = fine.disk.harmonics(images), coarse.disk.harmonics(images)
    search = expectation(fine, 0.05, None, expectation(coarse, 0.05))
    block = search.block(Images(x, fine.disk.power(x), near=near), Images(xc, coarse.disk.power(xc)))
    assert np.isfinite(block.log_likelihood).all()
    np.testing.assert_allclose(block.class_mass.sum(1), 1, atol=1e-5)


# ---- E-steps

@pytest.fixture(scope="module")
def local_scene(workers):
    """A run's images with places from an E-step of other noise, and ``step(search_shift)`` from there."""
    truth = planted(PHANTOMS, 90, 0.1, seed=9)
    grid = Grid(Disk(32, 0.35, 72), shift_grid(6))
    bank = ImageBank(Stack(truth.images), grid.disk, workers)
    polar = grid.disk.polar(np.stack([phantom.image(32) for phantom in PHANTOMS]))
    half = np.full(2, 0.5)

    def step(search_shift, sigma=1.0, before=None, **settings):
        model = Model(grid.disk, polar, half, half, sigma * truth.sigma, 2.0, np.ones(2))
        particles = Particles.unknown(90)
        if before is not None:
            particles = Particles(**{name: value.copy() for name, value in before.arrays().items()})
        settings = Pass(mirror=True, search_shift=search_shift, **settings)
        statistics = WhiteEStep(model, bank, particles, settings, workers, grid).run(np.arange(90))
        return statistics, particles

    return SimpleNamespace(step=step, before=step(None, 3.0)[1], grid=grid, bank=bank, polar=polar, truth=truth)


@pytest.mark.parametrize("settings", [{}, {"df": 6.0}, {"norm": True}], ids=str)
def test_a_huge_disc_changes_no_bit(local_scene, settings):
    whole, particles = local_scene.step(None, before=local_scene.before, **settings)
    disc, same = local_scene.step(1000.0, before=local_scene.before, **settings)
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(disc, name), value)
    for name, value in particles.arrays().items():
        np.testing.assert_array_equal(getattr(same, name), value)


def test_images_never_searched_are_searched_everywhere(local_scene):
    np.testing.assert_array_equal(local_scene.step(2.0)[1].psi, local_scene.step(None)[1].psi)


def test_every_image_is_searched_near_its_own_place(local_scene, monkeypatch):
    """Whatever the blocks: beside each image alone, its cells struck out one by one."""
    monkeypatch.setattr(em, "block_size", lambda grid, references, most=0: 7)
    found = local_scene.step(2.0, before=local_scene.before)[1]
    grid, before = local_scene.grid, local_scene.before
    search = Expectation(grid, local_scene.polar, np.log(np.full((2, 2), 0.25)), 2.0,
                         Noise(local_scene.truth.sigma, grid.disk.dimension))
    pose = pose_matrix(before.psi, before.shift_x, before.shift_y, before.flip)
    places = np.linalg.inv(pose)[:, :2, 2]
    restricted = 0
    for i in range(0, 90, 9):
        allowed = distances(grid, places[i]) <= 2
        restricted += not allowed.all()
        x, power = local_scene.bank.read(np.array([i]))
        alone = search.block(Images(x, power, near=Near(allowed[None])))
        assert found.log_likelihood[i] == pytest.approx(alone.log_likelihood[0], abs=1e-3)
        assert found.peak[i] == pytest.approx(alone.pose[0, 4], abs=1e-3)
    assert restricted == 10


def test_a_particle_walks_to_a_better_centre(workers):
    """An oval six pixels from where it was said to be: two pixels an iteration, and then it stays."""
    target, grid = np.array([5.0, -3.5]), Grid(Disk(32, 0.3, 72), shift_grid(8))
    y, x = np.mgrid[-16:16, -16:16]
    reference = np.exp(-(x**2) / 18 - y**2 / 10)
    image = np.exp(-((x - target[0]) ** 2) / 18 - (y - target[1]) ** 2 / 10)[None]
    bank = ImageBank(Stack(image), grid.disk, workers)
    model = Model(grid.disk, grid.disk.polar(reference[None]), np.ones(1), np.full(1, 0.5), 0.2 * image.std(), 4.0,
                  np.ones(1))
    particles = Particles.unknown(1)
    particles.ref[:] = 0                                  # found at the origin, unturned
    path = [np.zeros(2)]
    for _ in range(6):
        WhiteEStep(model, bank, particles, Pass(mirror=True, search_shift=2.0), workers, grid).run(np.arange(1))
        path.append(last_places(particles, np.arange(1), 2.0)[0][0])
    steps = np.hypot(*np.diff(path, axis=0).T)
    assert (steps <= 2.1).all() and steps[0] > 1.5
    remaining = np.hypot(*(np.array(path) - target).T)
    assert (np.diff(remaining[:4]) < 0).all() and remaining[1] > 3 and remaining[-1] < 0.5
