"""EM steps on subtomograms: poses and references that were planted, a likelihood that never falls."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.noise import log_shift_prior
from mlalign.programs.engine.orientation_search import Orientations
from mlalign.programs.engine.sphere import directions, random_rotations, towards
from mlalign.programs.engine.volume_estimator import Plan, Poses, shift_grid3, one_hot
from mlalign.programs.engine.volume_model import Rules, maximise
from mlalign.programs.geometry3d import angular_distance, euler_angles
from mlalign.tests.programs.engine.subtomogram_scenes import (
    COARSE,
    FEW,
    FINE,
    ONE,
    REGIONS,
    SHIFTS,
    WEDGES,
    N,
    Scene,
    assert_same,
    e_step,
    of_all,
)
from mlalign.tests.programs.engine.volume_scenes import off

AVERAGES = Rules(impute=None, threshold=0.0)


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
    totals, poses = e_step(clear.estimator, clear.scene, clear.scene.truth(), plan)
    np.testing.assert_array_equal(poses.ref, clear.scene.classes)
    np.testing.assert_allclose(angular_distance(poses.matrices, clear.scene.rotations), 0, atol=1e-5)
    np.testing.assert_array_equal(poses.shifts, clear.scene.shifts)
    np.testing.assert_array_equal(totals.mass.sum(0), np.bincount(clear.scene.classes, minlength=2))
    assert poses.peak.min() > 0 and poses.peak.max() < 1


def test_correlation_does_not_mind_grey_scales(clear):
    truth = clear.scene.truth()
    bright = replace(truth, vectors=truth.vectors * np.array([[[5.0], [0.2]]], np.float32))
    _, poses = e_step(clear.estimator, clear.scene, bright, Plan(FINE, SHIFTS, correlate=True))
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
    _, poses = e_step(clear.estimator, scene, model, plan)
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
    _, whole = e_step(estimator, scene, model, Plan(FEW, SHIFTS))
    logs = np.array([e_step(estimator, scene, model, Plan(ONE, SHIFTS, np.repeat(matrix[None], scene.count, 0)))[1]
                     .log_likelihood for matrix in of_all(FEW)])
    np.testing.assert_allclose(whole.log_likelihood, logsumexp(logs, axis=0) - np.log(len(FEW)), atol=5e-3)
    assert 0.03 < whole.peak.mean() < 0.9                                       # more than one counts
    mass = np.exp(logs - logsumexp(logs, axis=0))
    for i, matrix in enumerate(whole.matrices):
        assert whole.peak[i] <= mass[angular_distance(of_all(FEW), matrix).argmin(), i] + 1e-3


def test_centres_of_the_grid_one_by_one_are_all_its_shifts(noisy):
    """Shifts are as probable as their distance from the origin says, wherever they are searched around."""
    model, (scene, estimator) = noisy.scene.truth(), (noisy.scene, noisy.estimator)
    totals, whole = e_step(estimator, scene, model, Plan(COARSE, SHIFTS))
    logs = []
    for shift in SHIFTS:
        centres = np.repeat(shift[None].astype(float), scene.count, 0)
        some, poses = e_step(estimator, scene, model, Plan(COARSE, SHIFTS[:1], centres=centres))
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
    _, poses = e_step(clear.estimator, scene, scene.truth(), Plan(small, SHIFTS, frames, centres))
    np.testing.assert_allclose(angular_distance(poses.matrices, scene.rotations), 0, atol=1e-5)
    np.testing.assert_allclose(poses.shifts, scene.shifts, atol=1e-9)


@pytest.mark.parametrize("local", [False, True])
def test_tilts_are_kept_within_limits(noisy, local):
    scene, model = noisy.scene, noisy.scene.truth()
    frames = random_rotations(scene.count, np.random.default_rng(4)) if local else None
    limits, logs = (20.0, 100.0), []
    _, poses = e_step(noisy.estimator, scene, model, Plan(FEW, SHIFTS, frames, tilts=limits))
    tilt = euler_angles(poses.matrices)[1]
    assert (tilt >= limits[0] - 1e-4).all() and (tilt <= limits[1] + 1e-4).all()
    for matrix in of_all(FEW):
        own = matrix @ (np.eye(3)[None].repeat(scene.count, 0) if frames is None else frames)
        log_likelihood = e_step(noisy.estimator, scene, model, Plan(ONE, SHIFTS, own))[1].log_likelihood
        tilt = euler_angles(own)[1]
        logs.append(np.where((tilt >= limits[0]) & (tilt <= limits[1]), log_likelihood, -np.inf))
    np.testing.assert_allclose(poses.log_likelihood, logsumexp(logs, axis=0) - np.log(len(FEW)), atol=5e-3)


def test_some_particles_alone(noisy):
    scene, model, plan = noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS)
    totals, poses = e_step(noisy.estimator, scene, model, plan)
    rows, done = np.array([1, 2, 6]), []
    some = Poses.unknown(scene.count)
    part = noisy.estimator.expect(model, some, plan, scene.half_of, rows, done.append)
    rest, _ = e_step(noisy.estimator, scene, model, plan, np.setdiff1d(np.arange(scene.count), rows))
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
    _, poses = e_step(noisy.estimator, scene, both, plan)
    for half, alone in ((0, truth), (1, scene.start())):
        _, own = e_step(noisy.estimator, scene, alone, plan)
        mine = scene.half_of == half
        np.testing.assert_allclose(poses.log_likelihood[mine], own.log_likelihood[mine], rtol=1e-6)


# ---- threads

def test_threads_change_nothing(noisy):
    workers = Workers(3)
    totals, poses = e_step(noisy.estimator, noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS))
    many = e_step(noisy.scene.estimator(workers), noisy.scene, noisy.scene.truth(), Plan(COARSE, SHIFTS))
    workers.close()
    assert_same(many[0], totals, rtol=0)
    assert_same(many[1], poses, rtol=0)


# ---- sums in known poses

def test_averages_in_known_poses_are_the_references(clear):
    scene = clear.scene
    classes = np.where(np.arange(scene.count) == 3, -1, scene.classes)
    totals = clear.estimator.gather(one_hot(classes, 2), scene.poses(), scene.half_of)
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
    totals = clear.estimator.gather(one_hot(clear.scene.classes, 2), clear.scene.poses(), clear.scene.half_of)
    assert off(clear.totals.sums, totals.sums) < 0.02 and off(clear.totals.coverage, totals.coverage) < 0.02


# ---- EM

@pytest.mark.parametrize("rules, halves", [(Rules(), 1), (AVERAGES, 1), (AVERAGES, 2), (Rules(impute=3), 2)],
                         ids=["impute", "averages", "averages of halves", "impute thrice, halves"])
@pytest.mark.parametrize("regions", REGIONS)
def test_the_likelihood_never_falls(workers, regions, rules, halves):
    scene = Scene(REGIONS[regions], 20, 15.0, COARSE, seed=3)
    estimator, model, found = scene.estimator(workers), scene.start(halves), []
    for _ in range(10):
        totals, _ = e_step(estimator, scene, model, Plan(COARSE, SHIFTS))
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
        totals, _ = e_step(estimator, scene, model, Plan(COARSE, SHIFTS))
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
        totals, _ = e_step(estimator, scene, model, Plan(COARSE, SHIFTS))
        model = maximise(model, totals, scene.coverage, AVERAGES)
        assert np.isfinite(totals.log_likelihood) and np.isfinite(model.vectors).all() and (model.variance > 0).all()
