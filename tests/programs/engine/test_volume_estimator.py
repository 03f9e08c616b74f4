"""EM steps on subtomograms: poses and references that were planted, a likelihood that never falls."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.engine.noise import log_shift_prior
from mlalign.programs.engine.orientation_search import Orientations
from mlalign.programs.engine.sphere import directions, random_rotations, towards
from mlalign.programs.engine.subtomograms import Subtomograms
from mlalign.programs.engine.volume_estimator import Plan, Poses, VolumeEstimator, shift_grid3
from mlalign.programs.engine.volume_model import Rules, VolumeModel, maximise
from mlalign.programs.geometry3d import angular_distance, euler_angles
from mlalign.tests.programs.engine.test_coverage import tilted_weight
from mlalign.tests.programs.engine.volume_scenes import Blobs3, Volumes

N = 16
PHANTOMS = Blobs3(1, reach=2.5), Blobs3(2, reach=2.5)
WEDGES = [Region(1, "wedge_y", y=(-60, 60)), Region(2, "wedge_y", y=(-45, 65))]
REGIONS = {"everything": [EVERYTHING], "wedges": WEDGES, "weight": [tilted_weight()]}
COARSE = Orientations(towards(directions(45)), 2 * np.pi / 6 * np.arange(6))              # 72 orientations
FINE = Orientations(towards(directions(30)), 2 * np.pi / 12 * np.arange(12))              # 504
FEW = Orientations(towards(directions(45)[:6]), 2 * np.pi / 4 * np.arange(4))
ONE = Orientations(np.eye(3)[None], np.zeros(1))
SHIFTS = shift_grid3(1)
AVERAGES = Rules(impute=None, threshold=0.0)


def of_all(orientations):
    """Every matrix of a grid, (D n, 3, 3)."""
    return np.stack([orientations.matrix(d, angle, np.eye(3)) for d in range(len(orientations.matrices))
                     for angle in range(len(orientations.angles))])


class Scene:
    """Particles in planted poses on a grid, in noise, behind missing regions; an estimator for them.

    classes (count,), rotations (count, 3, 3), shifts (count, 3); volumes (count, N, N, N); noise: white, or given.
    """

    def __init__(self, regions, count, sigma, orientations=FINE, seed=1, noise=None):
        rng = np.random.default_rng(seed)
        self.regions, self.count, self.sigma = regions, count, sigma
        self.classes, self.region_of = rng.integers(0, 2, count), rng.integers(0, len(regions), count)
        self.rotations = of_all(orientations)[rng.integers(0, len(orientations), count)]
        self.shifts = SHIFTS[rng.integers(0, len(SHIFTS), count)]
        clean = np.stack([PHANTOMS[k].volume(N, rotation, shift)
                          for k, rotation, shift in zip(self.classes, self.rotations, self.shifts)])
        clean *= self.amplitude
        noise = sigma * rng.standard_normal(clean.shape) if noise is None else noise
        self.volumes = self.through_regions(clean) + noise
        self.half_of = np.arange(count) % 2
        self.ball = Ball(N, 0.25, reach=1.8)
        self.coverage = Coverage(self.ball, regions[0].radial)

    amplitude = 10.0

    def through_regions(self, volumes):
        """What is missing of geometric regions is left out by the estimator; weights are in the particles."""
        if not self.regions[0].radial:
            return volumes
        k = 2 * np.pi * np.fft.fftfreq(N)
        kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
        weights = np.stack([region.observed(kx, ky, kz) for region in self.regions])[self.region_of]
        moved = np.fft.fftn(np.fft.ifftshift(volumes, axes=(1, 2, 3)), axes=(1, 2, 3)) * weights
        return np.fft.fftshift(np.fft.ifftn(moved, axes=(1, 2, 3)).real, axes=(1, 2, 3))

    def estimator(self, workers, memory=1e9):
        bank = Subtomograms(Volumes(self.volumes), self.ball, self.coverage, self.regions, self.region_of, memory,
                            workers)
        return VolumeEstimator(bank, self.ball, self.coverage, workers)

    def truth(self):
        """The model that the particles come from."""
        phantoms = self.amplitude * np.stack([phantom.volume(N) for phantom in PHANTOMS])
        return self.model(self.ball.vectors(self.ball.samples(phantoms))[None])

    def start(self, halves=1, seed=7):
        """Random references that are as strong as the true ones."""
        shape = halves, 2, self.ball.size
        size = np.sqrt((self.truth().vectors**2).mean())
        return self.model((size * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))

    def model(self, vectors):
        variance = np.full(len(self.ball.k), float(self.sigma**2))
        return VolumeModel(self.ball, vectors, np.array([0.5, 0.5]), variance, 1.0)

    def poses(self):
        """Those that were planted."""
        poses = Poses.unknown(self.count)
        poses.ref, poses.matrices, poses.shifts = self.classes, self.rotations, self.shifts.astype(float)
        return poses


@pytest.fixture(scope="module", params=REGIONS)
def clear(request, workers):
    """Particles in little noise, their estimator, and an E-step from the true model."""
    scene = Scene(REGIONS[request.param], 16, 1.0)
    estimator, poses = scene.estimator(workers), Poses.unknown(16)
    totals = estimator.expect(scene.truth(), poses, Plan(FINE, SHIFTS), scene.half_of)
    return SimpleNamespace(scene=scene, estimator=estimator, poses=poses, totals=totals)


@pytest.fixture(scope="module")
def noisy(workers):
    """Particles behind wedges in noise that leaves more than one pose possible, and a coarse grid."""
    scene = Scene(WEDGES, 9, 12.0, COARSE)
    return SimpleNamespace(scene=scene, estimator=scene.estimator(workers))


def expected(estimator, scene, model, plan, rows=None):
    """(totals, poses) of an E-step."""
    poses = Poses.unknown(scene.count)
    return estimator.expect(model, poses, plan, scene.half_of, rows), poses


def off(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def assert_same(found, expected, **tolerance):
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, err_msg=name, **tolerance)


# ---- shifts

@pytest.mark.parametrize("radius, step", [(0, 1), (1, 1), (2.5, 1), (4, 2), (5, 3)])
def test_grids_of_shifts(radius, step):
    found = shift_grid3(radius, step)
    length = np.linalg.norm(found, axis=1)
    assert found[0].tolist() == [0, 0, 0] and (np.diff(length) > -1e-9).all() and length.max() <= radius
    expected = {(x, y, z) for x in range(-6, 7) for y in range(-6, 7) for z in range(-6, 7)
                if x**2 + y**2 + z**2 <= radius**2 and not (x % step or y % step or z % step)}
    assert {tuple(shift) for shift in found.tolist()} == expected and len(found) == len(expected)


# ---- the E-step

def test_planted_poses_are_found(clear):
    scene, poses = clear.scene, clear.poses
    np.testing.assert_array_equal(poses.ref, scene.classes)
    np.testing.assert_allclose(angular_distance(poses.matrices, scene.rotations), 0, atol=1e-5)
    np.testing.assert_array_equal(poses.shifts, scene.shifts)
    assert poses.peak.min() > 0.9 and poses.class_probability.min() > 0.99
    assert (poses.peak <= poses.class_probability + 1e-5).all()


def test_poses_found_by_correlation(clear):
    plan = Plan(FINE, SHIFTS, correlate=True)
    totals, poses = expected(clear.estimator, clear.scene, clear.scene.truth(), plan)
    np.testing.assert_array_equal(poses.ref, clear.scene.classes)
    np.testing.assert_allclose(angular_distance(poses.matrices, clear.scene.rotations), 0, atol=1e-5)
    np.testing.assert_array_equal(poses.shifts, clear.scene.shifts)
    np.testing.assert_array_equal(totals.mass.sum(0), np.bincount(clear.scene.classes, minlength=2))
    assert 0 < poses.peak.min() and poses.peak.max() < 1


def test_correlation_does_not_mind_grey_scales(clear):
    truth = clear.scene.truth()
    bright = replace(truth, vectors=truth.vectors * np.array([[[5.0], [0.2]]], np.float32))
    _, poses = expected(clear.estimator, clear.scene, bright, Plan(FINE, SHIFTS, correlate=True))
    np.testing.assert_array_equal(poses.ref, clear.scene.classes)


def test_totals_add_up(clear):
    totals, scene = clear.totals, clear.scene
    assert totals.count == 16 and totals.mass.sum() == pytest.approx(16, abs=1e-3)
    for half in (0, 1):
        own = np.bincount(scene.classes[scene.half_of == half], minlength=2)
        np.testing.assert_allclose(totals.mass[half], own, atol=0.01)
    squared = (scene.shifts**2).sum(1)
    assert totals.squared_shift == pytest.approx(squared.sum(), abs=0.1)
    np.testing.assert_allclose(totals.beyond, np.bincount(np.ceil(np.sqrt(squared)).astype(int)), atol=0.1)
    assert totals.log_likelihood == pytest.approx(clear.poses.log_likelihood.sum())
    assert totals.peak == pytest.approx(clear.poses.peak.sum())
    np.testing.assert_allclose(totals.power, clear.estimator.bank.power.sum(0))


def test_a_likelihood_is_the_density_of_a_particle(clear):
    """Of one orientation, no shift, known references: by hand from samples at the points."""
    scene, ball = clear.scene, clear.scene.ball
    model, frames = scene.truth(), scene.rotations
    plan = Plan(ONE, np.zeros((1, 3), int), frames, scene.shifts.astype(float))
    _, poses = expected(clear.estimator, scene, model, plan)
    share = ball.points.weights[:, None] * ball.weight
    for i in (0, 3, 7):
        data, _, noise = scene.coverage.weights(scene.regions[scene.region_of[i]])
        samples, logs = ball.samples(scene.volumes[i][None])[0], []
        for k in (0, 1):
            turned = ball.layout.turned(model.vectors[0, k : k + 1], frames[i].T[None])
            seen = ball.transforms(turned)[0] * np.exp(1j * np.tensordot(scene.shifts[i], ball.frequencies(), 1))
            residual = (np.abs(samples - data * seen)**2 if scene.regions[0].radial else
                        np.abs(samples - seen)**2 * data)
            logs.append(-(residual * share).sum() / (2 * scene.sigma**2) + np.log(model.fractions[k]))
        freedom = (np.broadcast_to(noise, samples.shape) * share).sum() * np.count_nonzero(ball.seen)
        rest = log_shift_prior(scene.shifts[i : i + 1], 1.0)[0] - freedom / 2 * np.log(2 * np.pi * scene.sigma**2)
        # samples differ by what single precision leaves of sums of some thousand
        assert poses.log_likelihood[i] == pytest.approx(logsumexp(logs) + rest, abs=0.2)
        assert poses.matrices[i] == pytest.approx(frames[i]) and poses.shifts[i] == pytest.approx(scene.shifts[i])


def test_frames_of_the_grid_one_by_one_are_the_exhaustive_search(noisy):
    """The likelihood of all orientations is the mean of those of each alone."""
    scene, model, estimator = noisy.scene, noisy.scene.truth(), noisy.estimator
    _, whole = expected(estimator, scene, model, Plan(FEW, SHIFTS))
    logs = np.array([expected(estimator, scene, model, Plan(ONE, SHIFTS, np.repeat(matrix[None], scene.count, 0)))[1]
                     .log_likelihood for matrix in of_all(FEW)])
    np.testing.assert_allclose(whole.log_likelihood, logsumexp(logs, axis=0) - np.log(len(FEW)), atol=5e-3)
    assert 0.03 < whole.peak.mean() < 0.9                                       # more than one counts
    mass = np.exp(logs - logsumexp(logs, axis=0))
    for i, matrix in enumerate(whole.matrices):
        assert whole.peak[i] <= mass[angular_distance(of_all(FEW), matrix).argmin(), i] + 1e-3


def test_centres_of_the_grid_one_by_one_are_all_its_shifts(noisy):
    """Shifts are as probable as their distance from the origin says, wherever they are searched around."""
    model, (scene, estimator) = noisy.scene.truth(), (noisy.scene, noisy.estimator)
    totals, whole = expected(estimator, scene, model, Plan(COARSE, SHIFTS))
    logs = []
    for shift in SHIFTS:
        centres = np.repeat(shift[None].astype(float), scene.count, 0)
        some, poses = expected(estimator, scene, model, Plan(COARSE, SHIFTS[:1], centres=centres))
        np.testing.assert_array_equal(poses.shifts, centres)
        assert some.squared_shift == pytest.approx(scene.count * (shift**2).sum(), rel=1e-4)
        logs.append(poses.log_likelihood)
    np.testing.assert_allclose(whole.log_likelihood, logsumexp(logs, axis=0), atol=5e-3)
    mass = np.exp(logs - logsumexp(logs, axis=0))
    assert totals.squared_shift == pytest.approx(mass.sum(1) @ (SHIFTS**2).sum(1), rel=1e-2)


def test_a_local_search_finds_what_is_near_its_frame(clear):
    """Around orientations and shifts that are off by a step."""
    scene, rng = clear.scene, np.random.default_rng(3)
    small = Orientations(towards(directions(10)[:6]), np.deg2rad([0, -30, 30, 60]))
    chosen = rng.integers(0, len(small), scene.count)
    matrices = of_all(small)[chosen]
    frames = np.swapaxes(matrices, 1, 2) @ scene.rotations                      # A = B Rz(w) F
    centres = scene.shifts - SHIFTS[rng.integers(0, len(SHIFTS), scene.count)].astype(float)
    _, poses = expected(clear.estimator, scene, scene.truth(), Plan(small, SHIFTS, frames, centres))
    np.testing.assert_allclose(angular_distance(poses.matrices, scene.rotations), 0, atol=1e-5)
    np.testing.assert_allclose(poses.shifts, scene.shifts, atol=1e-9)


@pytest.mark.parametrize("local", [False, True])
def test_tilts_are_kept_within_limits(noisy, local):
    scene, model = noisy.scene, noisy.scene.truth()
    frames = random_rotations(scene.count, np.random.default_rng(4)) if local else None
    limits, logs = (20.0, 100.0), []
    _, poses = expected(noisy.estimator, scene, model, Plan(FEW, SHIFTS, frames, tilts=limits))
    tilt = euler_angles(poses.matrices)[1]
    assert (tilt >= limits[0] - 1e-4).all() and (tilt <= limits[1] + 1e-4).all()
    for matrix in of_all(FEW):
        own = matrix @ (np.eye(3)[None].repeat(scene.count, 0) if frames is None else frames)
        log_likelihood = expected(noisy.estimator, scene, model, Plan(ONE, SHIFTS, own))[1].log_likelihood
        tilt = euler_angles(own)[1]
        logs.append(np.where((tilt >= limits[0]) & (tilt <= limits[1]), log_likelihood, -np.inf))
    np.testing.assert_allclose(poses.log_likelihood, logsumexp(logs, axis=0) - np.log(len(FEW)), atol=5e-3)


def test_known_classes_are_kept(noisy):
    scene = noisy.scene
    known = 1 - scene.classes
    totals, poses = expected(noisy.estimator, scene, scene.truth(), Plan(COARSE, SHIFTS, classes=known))
    np.testing.assert_array_equal(poses.ref, known)
    np.testing.assert_allclose(totals.mass.sum(0), np.bincount(known, minlength=2), atol=1e-4)


def test_some_particles_alone(noisy):
    scene, model, plan = noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS)
    totals, poses = expected(noisy.estimator, scene, model, plan)
    rows, done = np.array([1, 2, 6]), []
    some = Poses.unknown(scene.count)
    part = noisy.estimator.expect(model, some, plan, scene.half_of, rows, done.append)
    rest, _ = expected(noisy.estimator, scene, model, plan, np.setdiff1d(np.arange(scene.count), rows))
    assert part.count == 3 and sum(done) == 3
    np.testing.assert_array_equal(some.log_likelihood[rows], poses.log_likelihood[rows])
    assert (np.delete(some.ref, rows) == -1).all()
    for name in ("sums", "coverage", "mass", "power", "dimension", "beyond", "squared_shift", "log_likelihood"):
        np.testing.assert_allclose(getattr(part, name) + getattr(rest, name), getattr(totals, name), rtol=1e-4,
                                   atol=1e-3, err_msg=name)


def test_halves_are_compared_with_references_of_their_own(noisy):
    scene, truth = noisy.scene, noisy.scene.truth()
    both = replace(truth, vectors=np.concatenate([truth.vectors, scene.start().vectors]))
    plan = Plan(COARSE, SHIFTS)
    _, poses = expected(noisy.estimator, scene, both, plan)
    for half, alone in ((0, truth), (1, scene.start())):
        _, own = expected(noisy.estimator, scene, alone, plan)
        mine = scene.half_of == half
        np.testing.assert_allclose(poses.log_likelihood[mine], own.log_likelihood[mine], rtol=1e-6)


# ---- threads and memory

def test_threads_change_nothing(noisy):
    workers = Workers(3)
    totals, poses = expected(noisy.estimator, noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS))
    many = expected(noisy.scene.estimator(workers), noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS))
    workers.close()
    assert_same(many[0], totals, rtol=0)
    assert_same(many[1], poses, rtol=0)


@pytest.mark.parametrize("memory", [0, 2e6], ids=["nothing kept", "some kept"])
def test_memory_changes_nothing(noisy, workers, memory):
    scene = noisy.scene
    frugal = scene.estimator(workers, memory)
    for plan in (Plan(COARSE, SHIFTS), Plan(COARSE, SHIFTS[:5]), Plan(COARSE, SHIFTS), Plan(COARSE, SHIFTS)):
        totals, poses = expected(noisy.estimator, scene, scene.truth(), plan)
        again = expected(frugal, scene, scene.truth(), plan)
        assert_same(again[0], totals, rtol=1e-3, atol=1e-2)
        assert_same(again[1], poses, rtol=1e-3, atol=1e-5)


def test_rows_are_kept_for_their_own_shifts_and_centres(noisy, workers):
    bank = noisy.scene.estimator(workers).bank
    for shifts, centre in ((SHIFTS, None), (SHIFTS[:4], None), (SHIFTS, np.array([0.5, 0, 0])), (SHIFTS[1:], None),
                           (SHIFTS, np.zeros(3)), (SHIFTS[::-1], None), (SHIFTS, None), (SHIFTS, np.zeros(3))):
        expected = noisy.scene.ball.shifted(bank.samples(2), shifts if centre is None else shifts + centre)
        np.testing.assert_allclose(bank.rows(2, shifts, centre), expected, atol=1e-5 * np.abs(expected).max())


def test_larger_particles_are_brought_to_the_ball_s_box(workers):
    ball, region = Ball(N, 0.25), [EVERYTHING]
    coverage = Coverage(ball)
    drawn = Blobs3(1, reach=2.5)
    drawn.centres, drawn.widths = 2 * drawn.centres, 2 * drawn.widths
    large = Subtomograms(Volumes([drawn.volume(2 * N)]), ball, coverage, region, np.zeros(1, int), 1e9, workers)
    small = Subtomograms(Volumes([PHANTOMS[0].volume(N)]), ball, coverage, region, np.zeros(1, int), 1e9, workers)
    assert off(large.rows(0, SHIFTS), small.rows(0, SHIFTS)) < 0.01


# ---- sums in known poses

def test_averages_in_known_poses_are_the_references(clear):
    scene = clear.scene
    classes = np.where(np.arange(scene.count) == 3, -1, scene.classes)
    totals = clear.estimator.gather(classes, scene.poses(), 2, scene.half_of)
    assert totals.count == scene.count - 1
    for half in (0, 1):
        own = classes[(scene.half_of == half) & (classes >= 0)]
        np.testing.assert_array_equal(totals.mass[half], np.bincount(own, minlength=2))
    used = classes >= 0
    np.testing.assert_allclose(totals.power, clear.estimator.bank.power[used].sum(0))
    np.testing.assert_allclose(totals.dimension, clear.estimator.bank.dimension[scene.region_of[used]].sum(0))
    found = maximise(scene.start(), totals, scene.coverage, AVERAGES)
    assert off(found.vectors, scene.truth().vectors) < 0.3      # there is noise
    assert found.sigma == pytest.approx(1, rel=0.1)


def test_sums_in_known_poses_are_those_of_sharp_posteriors(clear):
    totals = clear.estimator.gather(clear.scene.classes, clear.scene.poses(), 2, clear.scene.half_of)
    assert off(clear.totals.sums, totals.sums) < 0.02 and off(clear.totals.coverage, totals.coverage) < 0.02


# ---- EM

@pytest.mark.parametrize("rules, halves", [(Rules(), 1), (AVERAGES, 1), (AVERAGES, 2), (Rules(impute=3), 2)],
                         ids=["impute", "averages", "averages of halves", "impute thrice, halves"])
@pytest.mark.parametrize("regions", REGIONS)
def test_the_likelihood_never_falls(workers, regions, rules, halves):
    scene = Scene(REGIONS[regions], 20, 15.0, COARSE, seed=3)
    estimator, model, found = scene.estimator(workers), scene.start(halves), []
    for _ in range(10):
        totals, _ = expected(estimator, scene, model, Plan(COARSE, SHIFTS))
        found.append(totals.log_likelihood)
        model = maximise(model, totals, scene.coverage, rules)
    assert found[-1] > found[0] + 100
    assert np.diff(found).min() > -1e-6 * abs(found[0])


def test_random_starts_find_both_references(workers):
    """From noise, behind wedges: classes apart, and references that look like the phantoms."""
    scene = Scene(WEDGES, 60, 4.0, COARSE, seed=5)
    estimator, model = scene.estimator(workers), scene.start()
    for _ in range(15):
        poses = Poses.unknown(60)
        totals = estimator.expect(model, poses, Plan(COARSE, SHIFTS), scene.half_of)
        model = maximise(model, totals, scene.coverage, AVERAGES)
    agree = (poses.ref == scene.classes).mean()
    assert max(agree, 1 - agree) > 0.9
    assert model.sigma == pytest.approx(4, rel=0.1)


def coloured(count, seed):
    """Noise whose variance falls with frequency, (count, N, N, N)."""
    k = 2 * np.pi * np.fft.fftfreq(2 * N)
    variance = 400 / (1 + (k**2 + k[:, None]**2 + k[:, None, None]**2) / 0.6**2)
    white = np.random.default_rng(seed).standard_normal((count, 2 * N, 2 * N, 2 * N))
    noise = np.fft.ifftn(np.fft.fftn(white, axes=(1, 2, 3)) * np.sqrt(variance), axes=(1, 2, 3)).real
    return noise[:, :N, :N, :N]


@pytest.mark.parametrize("rules", [Rules(per_shell=True), Rules(impute=None, threshold=0.0, per_shell=True)],
                         ids=["impute", "averages"])
def test_the_noise_of_each_shell_is_found(workers, rules):
    noise = coloured(60, 6)
    scene = Scene(WEDGES, 60, 10.0, COARSE, seed=6, noise=noise)
    estimator, model, found = scene.estimator(workers), scene.truth(), []
    for _ in range(8):
        totals, _ = expected(estimator, scene, model, Plan(COARSE, SHIFTS))
        found.append(totals.log_likelihood)
        model = maximise(model, totals, scene.coverage, rules)
    alone = np.abs(scene.ball.samples(noise))**2
    expected_noise = np.einsum("bark,r->k", alone, scene.ball.points.weights) * scene.ball.weight / 60
    expected_noise /= scene.coverage.degrees_of_freedom
    assert expected_noise[0] > 4 * expected_noise[-1]
    np.testing.assert_allclose(model.variance, expected_noise, rtol=0.15)
    assert np.diff(found).min() > -1e-5 * abs(found[0])


def test_tight_posteriors_without_noise_stay_finite(workers):
    scene = Scene(WEDGES, 6, 0.01, COARSE)
    estimator, model = scene.estimator(workers), scene.truth()
    for _ in range(3):
        totals, _ = expected(estimator, scene, model, Plan(COARSE, SHIFTS))
        model = maximise(model, totals, scene.coverage, AVERAGES)
        assert np.isfinite(totals.log_likelihood) and np.isfinite(model.vectors).all() and (model.variance > 0).all()
