"""The M-step for volumes: direct formulas, and sums over particles and cells."""
from dataclasses import replace

import numpy as np
import pytest

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.engine.noise import log_shift_prior
from mlalign.programs.engine.sphere import random_rotations
from mlalign.programs.engine.volume_model import (
    SMALLEST_VARIANCE,
    Rules,
    Totals,
    VolumeModel,
    maximise,
    regularised,
    signal_change,
)
from mlalign.tests.programs.engine.volume_scenes import Blobs3, off, tilted_weight

N, COUNT, CELLS = 16, 14, 5
SHIFTS = np.array([(0, 0, 0), (1, 0, 0), (0, -1, 1), (1, -2, 0), (2, 1, 1)])
REGIONS = {"everything": [EVERYTHING], "wedges": [Region(1, "wedge_y", y=(-60, 50)), Region(2, "wedge_x", x=(-50, 65))],
           "weight": [tilted_weight()]}
AVERAGES = Rules(impute=None, threshold=0.0)


class Scene:
    """Particles of noise and a little signal, each with a posterior over a few cells of its own, summed up one by one.

    weights: (COUNT, CELLS) of cells; classes, shifts (indices), rotations: of each; samples: of each particle.
    """

    def __init__(self, regions):
        rng = np.random.default_rng(4)
        self.ball = ball = Ball(N, 0.25, reach=2)
        self.coverage = coverage = Coverage(ball, regions[0].radial)
        self.weights = rng.dirichlet(np.full(CELLS, 0.5), COUNT)
        self.classes, self.shifts = rng.integers(0, 2, (2, COUNT, CELLS)) * [[[1]], [[2]]]
        self.rotations = random_rotations(COUNT * CELLS, rng).reshape(COUNT, CELLS, 3, 3)
        particles = 4 * rng.standard_normal((COUNT, N, N, N)) + 3 * Blobs3(3).volume(N)
        self.samples = ball.samples(particles)
        self.half = np.arange(COUNT) % 2
        self.seen = [coverage.weights(regions[i % len(regions)]) for i in range(COUNT)]
        references = np.stack([[Blobs3(seed + half).volume(N) for seed in (1, 5)] for half in (0, 1)])
        self.vectors = np.stack([ball.vectors(ball.samples(each)) for each in references])       # (2, K, P)

    @property
    def share(self):
        """Weight of points in sums over a shell."""
        return self.ball.points.weights[:, None] * self.ball.weight

    def model(self, halves=1):
        variance = np.linspace(20, 10, len(self.ball.k))
        return VolumeModel(self.ball, self.vectors[:halves], np.array([0.4, 0.6]), variance, 1.5)

    def totals(self):
        """What an E-step would have gathered."""
        ball, coverage = self.ball, self.coverage
        totals = Totals.zero(ball, coverage, 2, 3)
        for i in range(COUNT):
            data, power, noise = self.seen[i]
            rows = ball.shifted(self.samples[i] * data, SHIFTS)
            for weight, k, s, rotation in self.cells(i):
                h = self.half[i]
                totals.sums[h, k] += weight * ball.layout.turned(rows[s : s + 1], rotation[None])[0]
                totals.coverage[h, k] += weight * coverage.layout.turned(coverage.vector(power), rotation[None])[0]
                totals.mass[h, k] += weight
                totals.squared_shift += weight * (SHIFTS[s]**2).sum()
            totals.power += (np.abs(self.samples[i])**2 * noise * self.share).sum((0, 1))
            totals.dimension += self.dimension(i)
            totals.count += 1
        return totals

    def cells(self, i):
        return zip(self.weights[i], self.classes[i], self.shifts[i], self.rotations[i])

    def dimension(self, i):
        """Degrees of freedom (J,) of what was observed of a particle."""
        voxels = np.count_nonzero(self.ball.seen)
        return (np.broadcast_to(self.seen[i][2], self.samples[i].shape) * self.share).sum((0, 1)) * voxels

    def in_pose(self, vector, s, rotation):
        """Samples of a reference as a particle in this pose shows it."""
        turned = self.ball.layout.turned(vector[None].astype(np.float32), rotation.T[None])
        return self.ball.transforms(turned)[0] * np.exp(1j * np.tensordot(SHIFTS[s], self.ball.frequencies(), 1))

    def residual(self, vectors, before=None):
        """Expected squared residuals (J,) of references (K, P) or (2, K, P) one for each half.

        before: the references that filled in what was missing, and that differ there; None: nothing was filled in.
        """
        total = np.zeros(len(self.ball.k))
        for i in range(COUNT):
            data, power, _ = self.seen[i]
            own = vectors[min(self.half[i], len(vectors) - 1)]
            for weight, k, s, rotation in self.cells(i):
                reference = self.in_pose(own[k], s, rotation)
                if self.coverage.shells > 1:
                    squared = np.abs(self.samples[i] - data * reference)**2
                else:
                    squared = np.abs(self.samples[i] - reference)**2 * data
                if before is not None:
                    old = self.in_pose(before[min(self.half[i], len(vectors) - 1)][k], s, rotation)
                    squared = squared + (1 - power) * np.abs(reference - old)**2
                total += weight * (squared * self.share).sum((0, 1))
        return total


@pytest.fixture(scope="module", params=REGIONS)
def scene(request):
    return Scene(REGIONS[request.param])


@pytest.fixture(scope="module")
def wedges():
    return Scene(REGIONS["wedges"])


@pytest.fixture(scope="module")
def totals(scene):
    return scene.totals()


# ---- averages

@pytest.mark.parametrize("halves", [1, 2])
def test_a_round_of_imputation_averages_completed_particles(scene, totals, halves):
    """What is missing of a particle is filled in with its class's present reference, in every cell."""
    model, ball = scene.model(halves), scene.ball
    expected = np.zeros((halves, 2, ball.size))
    for i in range(COUNT):
        data, power, _ = scene.seen[i]
        h = scene.half[i] if halves == 2 else 0
        for weight, k, s, rotation in scene.cells(i):
            present = scene.in_pose(model.vectors[h, k], s, rotation)
            completed = (scene.samples[i] * data + (1 - power) * present)
            row = ball.shifted(completed.astype(np.complex64), SHIFTS[s : s + 1])
            expected[h, k] += weight * ball.layout.turned(row, rotation[None])[0]
    mass = totals.mass if halves == 2 else totals.mass.sum(0, keepdims=True)
    found = maximise(model, totals, scene.coverage, Rules()).vectors
    assert found.dtype == np.float32 and found.shape == model.vectors.shape
    assert off(found, expected / mass[..., None]) < 1e-4


def test_imputation_goes_to_weighted_averages(scene, totals):
    model = scene.model()
    averages = maximise(model, totals, scene.coverage, AVERAGES)
    distance = [off(maximise(model, totals, scene.coverage, Rules(impute=rounds, fixed_noise=True)).vectors,
                    averages.vectors) for rounds in (1, 3, 15, 60)]
    assert distance[-1] < 1e-3
    assert all(later <= sooner + 1e-5 for sooner, later in zip(distance, distance[1:]))


def test_imputation_goes_to_the_noise_of_weighted_averages(wedges):
    scene, model, totals = wedges, wedges.model(), wedges.totals()
    averages = maximise(model, totals, scene.coverage, AVERAGES)
    many = maximise(model, totals, scene.coverage, Rules(impute=80))
    np.testing.assert_allclose(many.variance, averages.variance, rtol=5e-3)


def test_weighted_averages_have_the_smallest_residuals(scene, totals):
    found = maximise(scene.model(), totals, scene.coverage, AVERAGES).vectors
    least, rng = scene.residual(found).sum(), np.random.default_rng(1)
    for step in 0.05 * found.std() * rng.standard_normal((1, *found.shape)):
        up, down = (scene.residual(found + side * step).sum() for side in (1, -1))
        assert up > least and down > least
        assert abs(up - down) < 0.05 * (up + down - 2 * least)               # the slope is zero


def test_where_nothing_is_missing_one_round_is_the_average():
    scene = Scene(REGIONS["everything"])
    totals = scene.totals()
    found = maximise(scene.model(), totals, scene.coverage, Rules()).vectors[0]
    assert off(found, totals.sums.sum(0) / totals.mass.sum(0)[:, None]) < 1e-5


def test_a_class_without_particles_keeps_its_reference(wedges):
    totals, model = wedges.totals(), wedges.model()
    totals.sums[:, 0] = totals.coverage[:, 0] = totals.mass[:, 0] = 0
    for rules in (Rules(), AVERAGES, Rules(impute=5)):
        found = maximise(model, totals, wedges.coverage, rules)
        np.testing.assert_array_equal(found.vectors[0, 0], model.vectors[0, 0])
        assert off(found.vectors[0, 1], model.vectors[0, 1]) > 0.1
        assert found.fractions.tolist() == [0, 1] and np.isfinite(found.variance).all()


def test_a_threshold_that_nothing_reaches_leaves_nothing(wedges):
    found = maximise(wedges.model(), wedges.totals(), wedges.coverage, Rules(impute=None, threshold=100.0))
    np.testing.assert_array_equal(found.vectors, 0)


# ---- noise

@pytest.mark.parametrize("halves", [1, 2])
def test_the_noise_without_imputation_is_the_residual_per_degree_of_freedom(scene, totals, halves):
    freedom = sum(scene.dimension(i) for i in range(COUNT))
    white = maximise(scene.model(halves), totals, scene.coverage, AVERAGES)
    expected = scene.residual(white.vectors)
    np.testing.assert_allclose(white.variance, expected.sum() / freedom.sum(), rtol=1e-4)
    found = maximise(scene.model(halves), totals, scene.coverage, replace(AVERAGES, per_shell=True)).variance
    # shells share what the ball's functions leave of the particles' noise; of few particles this is much
    np.testing.assert_allclose(found, expected / freedom, rtol=0.1)
    assert found @ freedom == pytest.approx(expected.sum(), rel=1e-4)


def test_the_noise_of_imputed_particles_is_that_of_complete_ones(scene, totals):
    """What is missing is as noisy as was thought, and off by as much as the reference moves."""
    model, whole = scene.model(), COUNT * scene.coverage.degrees_of_freedom
    white = maximise(model, totals, scene.coverage, Rules())
    freedom = sum(scene.dimension(i) for i in range(COUNT))
    expected = scene.residual(white.vectors, model.vectors) + model.variance * (whole - freedom)
    np.testing.assert_allclose(white.variance, expected.sum() / whole.sum(), rtol=1e-4)
    found = maximise(model, totals, scene.coverage, Rules(per_shell=True)).variance
    np.testing.assert_allclose(found, expected / whole, rtol=0.1)
    assert found @ whole == pytest.approx(expected.sum(), rel=1e-4)


def test_the_noise_is_never_nothing(wedges):
    """Particles that their references explain to the last digit."""
    totals = wedges.totals()
    floor = SMALLEST_VARIANCE * totals.power.sum() / totals.dimension.sum()
    totals.power[:] = 0
    totals.power[0] = floor / SMALLEST_VARIANCE * totals.dimension.sum()
    totals.sums *= 1e3
    found = maximise(wedges.model(), totals, wedges.coverage, replace(AVERAGES, per_shell=True))
    np.testing.assert_allclose(found.variance[1:], floor, rtol=1e-6)


# ---- shifts, fractions, what is fixed

@pytest.mark.parametrize("mean_square", [0.02, 0.8, 6.0, 40.0])
def test_the_shifts_deviation_is_the_most_probable_one(wedges, mean_square):
    """No other makes shifts on the lattice of this mean square more probable."""
    totals = wedges.totals()
    totals.squared_shift = mean_square * totals.count
    sigma = maximise(wedges.model(), totals, wedges.coverage, Rules()).sigma_offset

    def log_probability(sigma):
        shortest, unit = log_shift_prior(np.array([(0, 0, 0), (1, 0, 0)]), sigma)
        return shortest + (unit - shortest) * mean_square

    assert all(log_probability(sigma) > log_probability(other * sigma) for other in (0.97, 1.03))
    if mean_square > 2:
        assert sigma == pytest.approx(np.sqrt(mean_square / 3), rel=0.01)       # three axes


def test_fractions_are_shares_of_the_mass(wedges):
    totals = wedges.totals()
    found = maximise(wedges.model(), totals, wedges.coverage, Rules()).fractions
    expected = [wedges.weights[wedges.classes == k].sum() / COUNT for k in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert 0.2 < found[0] < 0.8


@pytest.mark.parametrize("flag, names", [("fixed_noise", ["variance"]), ("fixed_offset", ["sigma_offset"]),
                                         ("fixed_fractions", ["fractions"]), (None, [])])
def test_what_is_fixed_stays_and_all_else_moves(wedges, flag, names):
    model = wedges.model()
    found = maximise(model, wedges.totals(), wedges.coverage, Rules(**({flag: True} if flag else {})))
    for name in ("variance", "sigma_offset", "fractions", "vectors"):
        same = np.array_equal(getattr(found, name), getattr(model, name))
        assert same == (name in names), name
    assert found.ball is model.ball


# ---- the model

def test_halves_have_references_of_their_own(wedges):
    one, two = wedges.model(1), wedges.model(2)
    np.testing.assert_array_equal(one.of_half(0), one.of_half(1))
    assert off(two.of_half(0), two.of_half(1)) > 0.1
    np.testing.assert_allclose(two.averages, (two.of_half(0) + two.of_half(1)) / 2)
    assert (one.classes, two.classes) == (2, 2)


def test_the_noise_s_deviation_is_over_all_shells(wedges):
    model = wedges.model()
    expected = (model.variance * wedges.coverage.degrees_of_freedom).sum() / wedges.coverage.degrees_of_freedom.sum()
    assert model.sigma == pytest.approx(np.sqrt(expected))
    assert replace(model, variance=np.full(len(model.variance), 9.0)).sigma == pytest.approx(3)


def test_log_fractions_of_empty_classes(wedges):
    assert replace(wedges.model(), fractions=np.array([0.0, 1.0])).log_class().tolist() == [-np.inf, 0]


def test_a_model_on_another_sampling(wedges):
    """A box of half as many voxels: the same signal, an eighth of the variance, half the shifts."""
    model, coarse = wedges.model(2), Ball(8, 0.45)
    found = model.on(coarse, 0.5)
    assert found.ball is coarse and found.vectors.shape == (2, 2, coarse.size) and found.sigma_offset == 0.75
    expected = np.stack([model.ball.on(coarse, half) for half in model.vectors])
    np.testing.assert_array_equal(found.vectors, expected)
    assert (found.vectors**2).sum() == pytest.approx((model.vectors**2).sum() / 8, rel=0.1)
    np.testing.assert_allclose(found.variance, np.interp(coarse.k / 2, model.ball.k, model.variance) / 8)


def test_changes_are_relative(wedges):
    old = wedges.model()
    new = replace(old, vectors=old.vectors * np.array([[[1.1], [0.5]]], np.float32))
    np.testing.assert_allclose(signal_change(old, new), [0.01, 0.25], rtol=1e-4)
    nothing = replace(old, vectors=np.zeros_like(old.vectors))
    assert np.isfinite(signal_change(nothing, new)).all()


@pytest.mark.parametrize("halves", [1, 2])
def test_regularised_references(wedges, halves):
    model, strength, count = wedges.model(halves), 0.7, 50
    found = regularised(model, strength, count)
    mu, n = strength * count / 2, model.fractions * count
    for h in range(halves):
        a = model.vectors[h].astype(float)
        for k in (0, 1):
            assert off(found.vectors[h, k], (n[k] * a[k] + mu * (a[0] + a[1])) / (n[k] + 2 * mu)) < 1e-5
    apart = 2 * ((model.averages[0].astype(float) - model.averages[1])**2).sum()        # |A_0 - A_1|^2 both ways
    np.testing.assert_allclose(found.variance, model.variance + mu * apart / (count * N**3), rtol=1e-5)
    assert regularised(model, 0, count) is model


def test_ever_stronger_regularisation_makes_all_references_alike(wedges):
    model = wedges.model()
    apart = [off(*regularised(model, strength, 50).vectors[0]) for strength in (0.01, 1, 1e4)]
    assert apart[0] > apart[1] > 100 * apart[2]


# ---- totals

def test_halves_together_or_apart(wedges):
    totals = wedges.totals()
    apart, together = totals.halves(True), totals.halves(False)
    assert len(apart) == 2 and len(together) == 1
    for one, two, both in zip(*apart, *together):
        np.testing.assert_allclose(one + two, both)


def test_the_reach_holds_all_but_a_little_of_the_mass():
    totals = Totals.zero(Ball(8, 0.25), Coverage(Ball(8, 0.25)), 1, 4)
    totals.beyond[:] = [90, 9, 1e-2, 1e-5, 0]
    assert (totals.reach(), totals.reach(1e-8), totals.reach(1e-3), totals.reach(0.5)) == (2, 3, 1, 0)
    assert Totals.zero(Ball(8, 0.25), Coverage(Ball(8, 0.25)), 1, 4).reach() == 0
