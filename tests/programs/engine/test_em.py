"""Expectation-maximisation on planted particles: it climbs, and finds what was planted."""
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine import em
from mlalign.programs.engine import expectation as expectation_module
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.bank import ImageBank
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles, Pass, WhiteEStep
from mlalign.programs.engine.model import Model, Statistics, update
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.scoring import pose_errors
from mlalign.tests.programs.engine.blobs import PHANTOMS, Blobs, Stack, planted
from mlalign.tests.programs.engine.brute import FRACTIONS, MIRROR, OFFSET, WITH_MIRROR, posterior, turned_back

N, COUNT, ITERATIONS = 32, 200, 15
ROUNDING = 1e-4 * COUNT       # nats: scores are float32 sums


def expectation(model, bank, rows, particles, settings, workers, grid, coarse=None, progress=None):
    return WhiteEStep(model, bank, particles, settings, workers, grid, coarse).run(rows, progress)


@pytest.fixture(scope="module")
def grid():
    return Grid(Disk(N, 0.35, 72), shift_grid(6))


def model_of(disk, references, sigma, sigma_offset=2.5):
    """A model of references (K, n, n) with nothing else known."""
    count = len(references)
    return Model(disk, disk.polar(references), np.full(count, 1 / count), np.full(count, 0.5), sigma, sigma_offset,
                 np.ones(count))


def blurred(disk):
    return np.stack([ndimage.gaussian_filter(phantom.image(disk.n), 1.5) for phantom in PHANTOMS])


def climb(model, bank, workers, grid, settings, iterations=ITERATIONS):
    """EM: the model after ``iterations``, the particles, and the likelihoods on the way."""
    particles, rows = Particles.unknown(bank.source.count), np.arange(bank.source.count)
    history = []
    for _ in range(iterations):
        statistics = expectation(model, bank, rows, particles, settings, workers, grid)
        model = update(model, statistics, settings.mirror, df=settings.df)
        history.append(statistics.log_likelihood)
    return SimpleNamespace(model=model, particles=particles, history=history, statistics=statistics)


@pytest.fixture(scope="module")
def truth():
    return planted(PHANTOMS, COUNT, 0.3, seed=1)


@pytest.fixture(scope="module")
def bank(truth, grid, workers):
    return ImageBank(Stack(truth.images), grid.disk, workers)


@pytest.fixture(scope="module")
def converged(truth, bank, grid, workers):
    """Started from blurred references, wrong noise and offsets, equal fractions."""
    return climb(model_of(grid.disk, blurred(grid.disk), 1.3 * truth.sigma), bank, workers, grid, Pass(mirror=True))


# ---- what an E-step gathers

@pytest.mark.parametrize("sigma, df", [(0.4, None), (3.0, None), (3.0, 6.0)])
def test_statistics_are_sums_over_all_cells(scene, workers, sigma, df):
    grid, n = scene.grid, scene.grid.disk.n
    polar = grid.disk.polar(np.stack([phantom.image(n) for phantom in PHANTOMS]))
    model = Model(grid.disk, polar, FRACTIONS, MIRROR, sigma, OFFSET, np.ones(2))
    truth = posterior(scene, WITH_MIRROR, sigma, df)
    gamma, u = truth.gamma, truth.robust
    particles, probabilities = Particles.unknown(3), np.full((3, 2), np.nan)
    found = expectation(model, ImageBank(Stack(scene.images), grid.disk, workers), np.arange(3), particles,
                        Pass(True, df, probabilities=probabilities), workers, grid)
    back = turned_back(scene, gamma * u)
    expected = np.stack([back[[0, 2]].sum(0), back[1]])               # halves of even and odd rows
    close = {"rtol": 1e-3, "atol": 5e-4}
    np.testing.assert_allclose(found.half_sums, expected, atol=1e-3 * np.abs(expected).max())
    weights = (gamma * u).sum((2, 3, 4))
    np.testing.assert_allclose(found.half_weights, [weights[[0, 2]].sum(0), weights[1]], **close)
    np.testing.assert_allclose(found.class_mass, gamma.sum((0, 2, 3, 4)), **close)
    np.testing.assert_allclose(found.class_scale, gamma.sum((0, 2, 3, 4)), **close)
    np.testing.assert_allclose(found.mirror_mass, gamma[:, :, :, 1].sum((0, 2, 3)), **close)
    by_shift = gamma.sum((0, 1, 3, 4))
    assert found.squared_shift == pytest.approx(by_shift @ (grid.shifts**2).sum(1), rel=1e-3, abs=1e-3)
    still = (grid.shifts == 0).all(1)
    np.testing.assert_allclose(found.beyond[:3], [by_shift[still].sum(), 0, by_shift[~still].sum()], **close)
    assert not found.beyond[3:].any()
    assert found.count == 3
    assert found.log_likelihood == pytest.approx(truth.evidence.sum(), rel=1e-5, abs=0.02)
    assert found.robust == pytest.approx((gamma * u).sum(), rel=1e-3)
    assert found.power == pytest.approx((gamma * u).sum((1, 2, 3, 4)) @ truth.power, rel=1e-3)

    mass = gamma.sum((2, 3, 4))
    np.testing.assert_allclose(probabilities, mass, **close)
    np.testing.assert_array_equal(particles.ref, mass.argmax(1))
    np.testing.assert_allclose(particles.class_probability, mass.max(1), **close)
    np.testing.assert_allclose(particles.log_likelihood, truth.evidence, rtol=1e-5, atol=0.01)
    peaks = [gamma[b, k].max() for b, k in enumerate(mass.argmax(1))]
    np.testing.assert_allclose(particles.peak, peaks, rtol=2e-3)
    assert found.peak == pytest.approx(sum(peaks), rel=2e-3)
    np.testing.assert_allclose(particles.robust, (gamma * u).sum((1, 2, 3, 4)), **close)


def test_only_the_rows_asked_for_count(truth, bank, grid, workers):
    model, particles = model_of(grid.disk, blurred(grid.disk), truth.sigma), Particles.unknown(COUNT)
    done = []

    def gather(rows):
        return expectation(model, bank, rows, particles, Pass(mirror=True), workers, grid, progress=done.append)

    first, rest = gather(np.arange(30)), gather(np.arange(30, 50))
    assert first.count == 30 and rest.count == 20 and sum(done) == 50
    assert (particles.ref[:50] >= 0).all() and (particles.ref[50:] == -1).all()
    both = gather(np.arange(50))
    for f in fields(Statistics):
        expected = getattr(both, f.name)
        np.testing.assert_allclose(getattr(first + rest, f.name), expected, atol=1e-5 * np.abs(expected).max())


# ---- the climb

def test_the_likelihood_never_falls(converged):
    assert np.diff(converged.history).min() > -ROUNDING
    assert converged.history[-1] > converged.history[0] + 1000


@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_the_likelihood_never_falls_from_a_poor_start(truth, bank, grid, workers, df):
    model = model_of(grid.disk, blurred(grid.disk), truth.sigma)
    groups = np.random.default_rng(5).permutation(COUNT).reshape(2, -1)
    averages = grid.disk.polar(np.stack([truth.images[group].mean(0) for group in groups]))
    result = climb(replace(model, polar=averages), bank, workers, grid, Pass(mirror=True, df=df))
    assert np.diff(result.history).min() > -ROUNDING


def test_classes_and_poses_are_recovered(converged, truth):
    found = converged.particles
    assert (found.ref == truth.ref).mean() > 0.95
    names = {"psi": "anglePsi", "shift_x": "shiftX", "shift_y": "shiftY", "flip": "flip"}
    tables = [{"ref": each.ref + 1, **{label: getattr(each, name) for name, label in names.items()}}
              for each in (truth, found)]
    angle, shift = pose_errors(*tables)
    good = np.isfinite(angle)
    assert good.mean() > 0.9
    assert np.median(angle[good]) < 3 and np.median(shift[good]) < 0.5


def test_parameters_are_recovered(converged, truth):
    model = converged.model
    # 2 % of the noise is fitted by the references and poses of 200 images
    assert model.sigma == pytest.approx(truth.sigma, rel=0.02)
    spread = np.sqrt((truth.shift_x**2 + truth.shift_y**2).mean() / 2)
    assert model.sigma_offset == pytest.approx(spread, rel=0.05)
    np.testing.assert_allclose(model.fractions, np.bincount(truth.ref) / COUNT, atol=0.03)
    mirrored = [truth.flip[truth.ref == k].mean() for k in range(2)]
    np.testing.assert_allclose(model.mirror, mirrored, atol=0.05)


def test_references_are_recovered(converged, grid):
    for found, phantom in zip(converged.model.images(), PHANTOMS):
        inside = grid.disk.circle
        assert np.corrcoef(found[inside], phantom.image(N)[inside])[0, 1] > 0.95


# ---- poses

def warped(image, psi, shift_x, shift_y, flip):
    """The particle in its class average's frame, by SciPy: out(r_ref) = image(M^-1 (r_ref - t))."""
    matrix = np.linalg.inv(pose_matrix(psi, shift_x, shift_y, flip))
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]])                     # SciPy's coordinates are (row, column)
    centre = np.array([[1, 0, N // 2], [0, 1, N // 2], [0, 0, 1]])
    return ndimage.affine_transform(image, centre @ swap @ matrix @ swap @ np.linalg.inv(centre), order=3)


@pytest.mark.parametrize("pose", [(0, 0, 0, 0), (0, 2, -1, 0), (90, 0, 0, 0), (0, 0, 0, 1), (37, 2.4, -1.3, 0),
                                  (37, 2.4, -1.3, 1), (284, -0.5, 3, 1)])
@pytest.mark.parametrize("fast", [False, True])
def test_the_pose_carries_the_particle_onto_its_average(grid, workers, pose, fast):
    image, other = PHANTOMS[1].particle(N, *pose), PHANTOMS[0].particle(N, 10, 0, 0, 0)
    source, particles = Stack([image, other]), Particles.unknown(2)
    model = model_of(grid.disk, np.stack([phantom.image(N) for phantom in PHANTOMS]), 0.3, 2.0)
    coarse_grid = Grid(Disk(N, 0.175, 36), shift_grid(6, 2), 2)
    coarse = (ImageBank(source, coarse_grid.disk, workers), coarse_grid) if fast else None
    expectation(model, ImageBank(source, grid.disk, workers), np.arange(2), particles, Pass(mirror=True), workers, grid,
                coarse)
    p = particles
    found = [float(values[0]) for values in (p.psi, p.shift_x, p.shift_y, p.flip)]
    assert p.ref[0] == 1 and found[3] == pose[3]
    turn = (found[0] - pose[0] + 180) % 360 - 180
    assert abs(turn) < 4 and abs(found[1] - pose[1]) < 0.6 and abs(found[2] - pose[2]) < 0.6
    aligned, reference = warped(image, *found), PHANTOMS[1].image(N)
    assert np.corrcoef(aligned.ravel(), reference.ravel())[0, 1] > 0.98


# ---- what must not matter

def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(Statistics))


@pytest.fixture(params=[("dense", 3.0), ("cells", 1.0)], ids=lambda p: p[0])
def one_step(request, truth, grid, monkeypatch):
    """A function that makes one E-step (broad or narrow posteriors) with a bank and workers."""
    kind, factor = request.param
    monkeypatch.setattr(expectation_module, "DENSE_SHARE", 0 if kind == "dense" else 2)
    references = np.concatenate([blurred(grid.disk), [phantom.image(N) for phantom in PHANTOMS]])
    model = model_of(grid.disk, references, factor * truth.sigma)

    def step(workers, memory=2**30, settings=None):
        source = Stack(truth.images[:75])
        particles = Particles.unknown(75)
        found = expectation(model, ImageBank(source, grid.disk, workers, memory), np.arange(75), particles,
                            settings or Pass(mirror=True), workers, grid)
        return found, particles

    return step


def test_threads_change_nothing(one_step, workers):
    two = Workers(2)
    try:
        (alone, one), (together, other) = one_step(workers), one_step(two)
    finally:
        two.close()
    assert same(alone, together)
    for name, value in one.arrays().items():
        np.testing.assert_array_equal(value, getattr(other, name))


def test_harmonics_are_the_same_cached_or_not(one_step, workers):
    assert same(one_step(workers)[0], one_step(workers, memory=0)[0])


def test_the_size_of_blocks_changes_rounding_only(one_step, workers, monkeypatch):
    large, _ = one_step(workers)
    monkeypatch.setattr(em, "BLOCK_BYTES", 0)
    small, _ = one_step(workers)
    for f in fields(Statistics):
        expected = getattr(large, f.name)
        np.testing.assert_allclose(getattr(small, f.name), expected, atol=1e-5 * np.abs(expected).max())


# ---- images of other kinds

@pytest.fixture(scope="module")
def uneven(grid, workers):
    """Particles of different scales and backgrounds, and EM on them."""
    truth = planted(PHANTOMS, COUNT, 0.5, seed=2, contrast=0.3, background=0.7)
    bank = ImageBank(Stack(truth.images), grid.disk, workers)
    start = model_of(grid.disk, blurred(grid.disk), truth.sigma)
    return truth, climb(start, bank, workers, grid, Pass(mirror=True, norm=True))


def test_grey_scales_and_backgrounds_are_recovered(uneven):
    truth, result = uneven
    found = result.particles
    # scales are known up to a factor that the references take up; noise of sigma blurs them by sigma / |A|
    ratio = found.scale / truth.scale
    expected_error = truth.sigma / np.sqrt((truth.clean**2).sum((1, 2)).mean())
    for k in range(2):
        members = truth.ref == k
        assert np.std(np.log(ratio[members])) < 1.5 * expected_error
        assert np.corrcoef(found.scale[members], truth.scale[members])[0, 1] > 0.95
    # a constant in the references may pass for background
    assert np.abs(np.median(found.background - truth.background)) < 0.1 * truth.sigma
    assert np.std(found.background - truth.background) < 0.1 * truth.sigma
    assert (found.ref == truth.ref).mean() > 0.95


def test_scales_and_references_together_have_the_planted_height(uneven):
    truth, result = uneven
    scale = result.particles.scale
    for k, (image, phantom) in enumerate(zip(result.model.images(), PHANTOMS)):
        members = truth.ref == k
        assert result.model.scale[k] == pytest.approx(scale[members].mean(), rel=0.02)
        reference = phantom.image(N)
        height = (image * reference).sum() / (reference**2).sum()
        signal = height * scale[members] / result.model.scale[k]
        assert signal.mean() == pytest.approx(truth.scale[members].mean(), rel=0.07)


def test_the_likelihood_never_falls_while_normalising(uneven):
    """Apart from the first iterations: scales, backgrounds and references are updated at once, not in turn."""
    assert np.diff(uneven[1].history)[2:].min() > -ROUNDING


def test_scale_and_background_of_clean_images_are_exact(grid, workers):
    """Also of references with a large mean, which looks like background; scales stay between 0.1 and 10."""
    phantom = Blobs(1)
    phantom.heights = np.abs(phantom.heights)
    scale, background = np.array([1.0, 1.8, 0.6, -1.0, 30.0]), np.array([0.0, 0.3, -0.5, 0.1, 0.0])
    poses = [(0, 0, 0, 0), (30, 1, -2, 0), (75, 0, 1, 1), (10, 0, 0, 0), (10, 0, 0, 0)]
    clean = np.stack([phantom.particle(N, *pose) for pose in poses])
    images = scale[:, None, None] * clean + background[:, None, None]
    model, particles = model_of(grid.disk, phantom.image(N)[None], 0.1), Particles.unknown(5)
    bank = ImageBank(Stack(images), grid.disk, workers)
    for _ in range(6):
        statistics = expectation(model, bank, np.arange(5), particles, Pass(mirror=True, norm=True), workers, grid)
    np.testing.assert_allclose(particles.scale, np.clip(scale, 0.1, 10), rtol=0.01)
    np.testing.assert_allclose(particles.background[:3], background[:3], atol=0.01)
    assert statistics.class_scale == pytest.approx(particles.scale.sum())


def test_fast_search_takes_off_backgrounds_too(grid, workers):
    """To 0.01 nats; the backgrounds are known."""
    truth = planted(PHANTOMS, 40, 0.3, seed=4, background=3.0)
    source, coarse_grid = Stack(truth.images), Grid(Disk(N, 0.175, 36), shift_grid(6, 2), 2)
    model = model_of(grid.disk, np.stack([phantom.image(N) for phantom in PHANTOMS]), truth.sigma)
    banks = [ImageBank(source, disk, workers) for disk in (grid.disk, coarse_grid.disk)]
    found = []
    for coarse in (None, (banks[1], coarse_grid)):
        particles = Particles.unknown(40)
        particles.background[:] = truth.background
        expectation(model, banks[0], np.arange(40), particles, Pass(mirror=True, norm=True), workers, grid, coarse)
        found.append(particles)
    exact, fast = found
    np.testing.assert_allclose(fast.log_likelihood, exact.log_likelihood, atol=0.01)
    np.testing.assert_allclose(fast.scale, exact.scale, rtol=1e-3)


def test_without_norm_nothing_is_rescaled(converged):
    np.testing.assert_array_equal(converged.particles.scale, 1)
    np.testing.assert_array_equal(converged.particles.background, 0)


def test_background_is_taken_off_with_its_norm(truth, bank):
    rows, background = np.arange(5), np.linspace(-1, 1, 5)
    x, power, sums = bank.without_background(*bank.read(rows), background)
    expected = bank.disk.harmonics(truth.images[rows] - background[:, None, None])
    np.testing.assert_allclose(x, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(power, bank.disk.power(expected), rtol=1e-4)
    drawn = bank.disk.images(bank.disk.synthesize(bank.read(rows)[0]))
    np.testing.assert_allclose(sums, drawn.sum((1, 2)), atol=0.01 * np.abs(sums).max())


def test_outliers_weigh_less_with_student_noise(truth, grid, workers):
    rng = np.random.default_rng(3)
    outliers = 3 * truth.sigma * rng.standard_normal((20, N, N))
    bank = ImageBank(Stack(np.concatenate([truth.images, outliers])), grid.disk, workers)
    start = model_of(grid.disk, blurred(grid.disk), truth.sigma)
    student, gauss = (climb(start, bank, workers, grid, Pass(mirror=True, df=df), 5) for df in (6.0, None))
    robust = student.particles.robust
    assert robust[:COUNT].min() > 3 * robust[COUNT:].max()
    assert student.model.sigma == pytest.approx(truth.sigma, rel=0.05)
    assert gauss.model.sigma > 1.2 * truth.sigma
    np.testing.assert_array_equal(gauss.particles.robust, 1)
