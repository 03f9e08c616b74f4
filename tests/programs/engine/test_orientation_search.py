"""One particle's posterior, against residuals of references put into every pose, cell by cell."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import logsumexp

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.engine.orientation_search import CUT, NEGLIGIBLE, Orientations, Particle, Templates
from mlalign.programs.engine.sphere import directions, towards
from mlalign.tests.programs.engine.volume_scenes import Blobs3, some_rotations, tilted_weight, turn_about_z

N = 16
PHANTOMS = Blobs3(1, reach=2.5), Blobs3(2, reach=2.5)
FRACTIONS = np.array([0.3, 0.7])
SHIFTS = np.array([(0, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 1), (0, 0, -2)])
PRIOR = np.log([0.4, 0.2, 0.2, 0.15, 0.05])
REST = 17.0                  # of a particle's log-likelihood: the noise's normalisation
REGIONS = {"everything": EVERYTHING, "wedge": Region(1, "wedge_y", y=(-60, 50)), "weight": tilted_weight()}
FRAMES = {"own": some_rotations(5)[0], "none": np.eye(3)}


class Scene:
    """A particle of the second phantom in noise, its frame and its missing region, and templates of two phantoms."""

    def __init__(self, region, frame, sigma=3.0):
        self.ball = ball = Ball(N, 0.25, reach=2)
        self.coverage, self.frame, self.sigma = Coverage(ball, region.radial), frame, sigma
        self.orientations = Orientations(some_rotations(1, 2)[:4], np.array([0.1, 1.5, 2.0, -0.4, 3.0]))
        self.vectors = ball.vectors(ball.samples(np.stack([phantom.volume(N) for phantom in PHANTOMS])))
        self.precision = np.full(len(ball.k), 1 / sigma**2)
        self.templates = Templates.of(ball, self.coverage, self.vectors, self.precision, np.log(FRACTIONS),
                                      self.orientations)
        own = PHANTOMS[1].volume(N, self.orientations.matrix(2, 1, frame), SHIFTS[3])
        self.weights, self.region = self.coverage.weights(region), region
        self.samples = ball.samples((own + sigma * np.random.default_rng(6).standard_normal(own.shape))[None])[0]
        self.share = ball.points.weights[:, None] * ball.weight * self.precision      # of points in sums of squares
        self.power = float((np.abs(self.samples)**2 * self.weights[2] * self.share).sum())
        self.constant = -0.5 * self.power - REST
        self.particle = self.seen(SHIFTS, PRIOR)

    def seen(self, shifts, prior, forbidden=None):
        """The particle as the search is given it."""
        ball, coverage = self.ball, self.coverage
        rows = ball.layout.turned(ball.shifted(self.samples * self.weights[0], shifts), self.frame[None])
        weights = coverage.layout.turned(coverage.vector(self.weights[1]), self.frame[None])
        return Particle(rows, shifts, prior, weights, self.power, self.constant, forbidden)

    def in_pose(self, angle, s, k, d):
        """Samples of a reference as the particle shows it in a cell, but for what is missing."""
        rotation = self.orientations.matrices[d] @ turn_about_z(self.orientations.angles[angle]) @ self.frame
        turned = self.ball.layout.turned(self.vectors[k : k + 1], rotation.T[None])
        return self.ball.transforms(turned)[0] * np.exp(1j * np.tensordot(SHIFTS[s], self.ball.frequencies(), 1))

    def log_probability(self, angle, s, k, d):
        """-|X - W T A|^2 / 2 s^2 of one cell over what the region observes, and its prior."""
        reference, weights = self.in_pose(angle, s, k, d), self.weights[0]
        if self.region.radial:
            squared = np.abs(self.samples - weights * reference)**2
        else:
            squared = np.abs(self.samples - reference)**2 * weights
        prior = np.log(FRACTIONS[k]) - np.log(len(self.orientations)) + PRIOR[s]
        return -0.5 * (squared * self.share).sum() + prior

    @property
    def shape(self):
        """Of tables of cells: (angles, S, K, D)."""
        return len(self.orientations.angles), len(SHIFTS), 2, len(self.orientations.matrices)


@pytest.fixture(scope="module", params=[("everything", "none"), ("wedge", "own"), ("wedge", "none"), ("weight", "own")],
                ids="-".join)
def case(request):
    region, frame = request.param
    scene = Scene(REGIONS[region], FRAMES[frame])
    cells = np.array([scene.log_probability(*cell) for cell in np.ndindex(scene.shape)]).reshape(scene.shape)
    return SimpleNamespace(scene=scene, cells=cells, found=scene.templates.search(scene.particle))


@pytest.fixture(scope="module")
def wedge():
    return Scene(REGIONS["wedge"], FRAMES["own"])


def by_cell(table, scene):
    """A table (K D, angles, S) as one (angles, S, K, D)."""
    return table.transpose(1, 2, 0).reshape(scene.shape).astype(float)


def whole(found, scene):
    """Posterior weights of all cells, (angles, S, K D), of those of the significant ones."""
    angles, shifts, classes, rotations = scene.shape
    out = np.zeros((angles, shifts, classes * rotations))
    out[:, found.rows[:, None], found.templates] = found.weights
    return out


# ---- orientations

def test_orientations_are_turns_between_two_rotations():
    orientations, frame = Orientations(some_rotations(3)[:3], np.array([0.2, -1.0])), some_rotations(4)[0]
    assert len(orientations) == 6
    expected = orientations.matrices[2] @ turn_about_z(-1.0) @ frame
    np.testing.assert_allclose(orientations.matrix(2, 1, frame), expected, atol=1e-12)


def test_rotations_towards_opposite_directions_are_half_a_turn_apart():
    grid = np.random.default_rng(2).permutation(directions(30))
    orientations = Orientations(some_rotations(7)[0] @ towards(grid) @ turn_about_z(0.3), np.zeros(1))
    first, second, axes = orientations.opposites
    assert sorted([*first, *second]) == list(range(len(grid)))
    for one, other, axis in zip(orientations.matrices[first], orientations.matrices[second], axes):
        half_turn = turn_about_z(axis) @ np.diag([1, -1, -1]) @ turn_about_z(-axis)
        np.testing.assert_allclose(one @ half_turn, other, atol=1e-6)


@pytest.mark.parametrize("lacking", [0, 1, 5])
def test_rotations_without_an_opposite_are_not_paired(lacking):
    grid = np.delete(directions(45), lacking, 0)
    assert Orientations(towards(grid), np.zeros(1)).opposites is None


# ---- posteriors

def test_log_posteriors_are_residuals_and_priors(case):
    scene = case.scene
    found, tops = scene.templates.log_posterior(scene.particle, scene.templates.some(np.arange(8)))
    assert (tops == found.max(2)).all()
    found = by_cell(found, scene)
    # the particle's own power is a constant that they leave out
    np.testing.assert_allclose(found, case.cells + 0.5 * scene.power, rtol=1e-4, atol=2e-3)


def test_the_cells_are_different_enough_for_these_tests(case):
    assert case.cells.max() - np.median(case.cells) > 2
    assert 0.02 < np.exp(case.cells.max() - logsumexp(case.cells)) < 0.98


def test_the_posterior_is_that_of_all_cells(case):
    scene, found = case.scene, case.found
    expected = np.exp(case.cells - logsumexp(case.cells))
    np.testing.assert_allclose(whole(found, scene).reshape(scene.shape), expected, atol=5e-4)
    np.testing.assert_allclose(found.class_mass, expected.sum((0, 1, 3)), atol=5e-4)
    np.testing.assert_allclose(found.row_mass, expected.sum((0, 2, 3)), atol=5e-4)
    assert found.class_mass.sum() == pytest.approx(1, abs=1e-5) == found.row_mass.sum()
    assert found.weights.sum() == pytest.approx(1, abs=1e-5)


def test_the_likelihood_of_a_particle_is_the_sum_over_cells(case):
    assert case.found.log_likelihood == pytest.approx(logsumexp(case.cells) - REST, abs=5e-3)


def test_the_best_cell_is_that_of_the_most_probable_class(case):
    found = case.found
    chosen = np.exp(case.cells).sum((0, 1, 3)).argmax()
    angle, row, d = np.unravel_index(case.cells[:, :, chosen].argmax(), case.cells[:, :, chosen].shape)
    assert found.best == (chosen, d, angle, row)
    assert found.peak == pytest.approx(np.exp(case.cells[angle, row, chosen, d] - logsumexp(case.cells)), abs=5e-4)


def test_classes_have_rotations_one_after_the_other(wedge):
    templates = wedge.templates
    assert (templates.classes, templates.rotations, len(templates.vectors)) == (2, 4, 8)
    turned = wedge.ball.layout.turned(wedge.vectors[1:], templates.orientations.matrices[2].T[None])
    np.testing.assert_allclose(templates.vectors[6], turned[0] / wedge.sigma**2, atol=1e-4)


def test_a_noise_of_many_colours(wedge):
    """Shells count by their precision."""
    precision = np.linspace(3, 0.2, len(wedge.ball.k)) / wedge.sigma**2
    templates = Templates.of(wedge.ball, wedge.coverage, wedge.vectors, precision, np.log(FRACTIONS),
                             wedge.orientations)
    found, _ = templates.log_posterior(wedge.particle, templates.some(np.arange(8)))
    for angle, s, k, d in ((0, 0, 0, 0), (1, 3, 1, 2), (4, 2, 1, 3)):
        turn = turn_about_z(wedge.orientations.angles[angle])
        reference = wedge.ball.layout.turned(wedge.vectors[k : k + 1], (wedge.orientations.matrices[d] @ turn).T[None])
        cross = wedge.ball.shell_products(wedge.particle.rows[s : s + 1], reference)[0] @ precision
        seen = np.abs(wedge.ball.transforms(wedge.ball.layout.turned(reference, wedge.frame.T[None]))[0])**2
        left = (seen * wedge.weights[1] * wedge.ball.points.weights[:, None] * wedge.ball.weight * precision).sum()
        prior = np.log(FRACTIONS[k]) - np.log(len(wedge.orientations)) + PRIOR[s]
        assert found[4 * k + d, angle, s] == pytest.approx(cross - left / 2 + prior, rel=1e-4, abs=2e-3)


@pytest.mark.parametrize("region", ["wedge", "weight"])
def test_templates_in_pairs_are_those_one_by_one(region):
    """Log-posteriors and the best correlation of a grid that holds every direction's opposite."""
    scene = Scene(REGIONS[region], FRAMES["own"])
    grid = Orientations(towards(directions(30)), scene.orientations.angles)
    templates = Templates.of(scene.ball, scene.coverage, scene.vectors, scene.precision, np.log(FRACTIONS), grid)
    together, apart = templates.all(), templates.some(np.arange(len(templates.vectors)))
    assert together.vectors.halves and not apart.vectors.halves
    forbidden = np.random.default_rng(3).random((len(grid.angles), len(grid.matrices))) < 0.3
    for particle in (scene.particle, scene.seen(SHIFTS, PRIOR, forbidden)):
        (found, tops), (expected, highest) = (templates.log_posterior(particle, chosen) for chosen in (together, apart))
        np.testing.assert_allclose(found, expected[together.numbers], rtol=1e-5, atol=2e-3)
        np.testing.assert_allclose(tops, highest[together.numbers], rtol=1e-5, atol=2e-3)
        best, plain = templates.best(particle), templates.best(particle, apart.numbers)
        assert best.best == plain.best and best.templates == plain.templates
        assert best.peak == pytest.approx(plain.peak, rel=1e-4)


def test_the_power_left_is_kept_for_regions_that_come_again(wedge):
    chosen = wedge.templates.some(np.arange(8))
    first = chosen.power_left(wedge.particle)
    assert chosen.power_left(wedge.seen(SHIFTS, PRIOR)) is first
    others = [replace(wedge.particle, weights=factor * wedge.particle.weights) for factor in (2, 3, 4, 5, 6, 7)]
    for factor, other in zip((2, 3, 4, 5, 6, 7), others):
        np.testing.assert_allclose(chosen.power_left(other), factor * first, rtol=1e-4)
    # no more than a particle has rows
    assert [chosen.power_left(other) is chosen.power_left(other) for other in others] == [True] * 4 + [False] * 2


# ---- significant cells

def test_little_of_the_posterior_is_left_out(case):
    scene = case.scene
    p, tops = scene.templates.log_posterior(scene.particle, scene.templates.all())
    p = np.exp(np.maximum(p.astype(float) - tops.max(), -CUT))
    mass = (p / p.sum()).transpose(1, 2, 0)
    kept = mass[:, case.found.rows[:, None], case.found.templates].sum()
    assert 1 - kept < 3 * NEGLIGIBLE


def test_a_sharp_posterior_keeps_few_rows_and_templates():
    scene = Scene(REGIONS["everything"], FRAMES["own"], sigma=0.05)
    found = scene.templates.search(scene.particle)
    assert found.best == (1, 2, 1, 3) and found.peak > 0.999
    assert found.rows.tolist() == [3] and found.templates.tolist() == [6] and found.weights.shape == (5, 1, 1)


@pytest.mark.parametrize("chosen", [[4, 5, 6, 7], [1], [0, 3, 5], [2, 7]], ids=str)
def test_some_templates_alone(case, chosen):
    scene, chosen = case.scene, np.array(chosen)
    found = scene.templates.search(scene.particle, chosen)
    cells = case.cells.reshape(*case.cells.shape[:2], -1)[:, :, chosen]
    expected = np.exp(cells - logsumexp(cells))
    assert np.isin(found.templates, chosen).all()
    np.testing.assert_allclose(whole(found, scene)[:, :, chosen], expected, atol=5e-4)
    assert found.log_likelihood == pytest.approx(logsumexp(cells) - REST, abs=5e-3)
    angle, row, t = np.unravel_index(expected.argmax(), expected.shape)
    masses = np.bincount(chosen // 4, expected.sum((0, 1)), 2)
    if masses.argmax() == chosen[t] // 4:
        assert found.best == (chosen[t] // 4, chosen[t] % 4, angle, row)
    np.testing.assert_allclose(found.class_mass, masses, atol=5e-4)


@pytest.mark.parametrize("chosen", [np.arange(8), np.array([0, 2, 5]), np.array([6])], ids=str)
def test_forbidden_orientations_have_no_mass(case, chosen):
    scene = case.scene
    forbidden = np.random.default_rng(1).random((5, 4)) < 0.5
    forbidden[case.found.best[2], case.found.best[1]] = True
    found = scene.templates.search(scene.seen(SHIFTS, PRIOR, forbidden), chosen)
    cells = np.where(forbidden[:, None, None, :], -np.inf, case.cells).reshape(*case.cells.shape[:2], -1)[:, :, chosen]
    expected = np.exp(cells - logsumexp(cells))
    np.testing.assert_allclose(whole(found, scene)[:, :, chosen], expected, atol=5e-4)
    assert not forbidden[found.best[2], found.best[1]]


def test_a_class_of_fraction_zero_has_no_mass(wedge):
    with np.errstate(divide="ignore"):
        never = np.log([1.0, 0.0])
    templates = Templates.of(wedge.ball, wedge.coverage, wedge.vectors, wedge.precision, never, wedge.orientations)
    found = templates.search(wedge.particle)
    np.testing.assert_allclose(found.class_mass, [1, 0], atol=1e-12)
    assert found.best[0] == 0 and np.isfinite(found.log_likelihood) and np.isfinite(found.weights).all()


# ---- constrained cross-correlation

def test_the_best_cell_by_correlation(case):
    """Winner takes all: <X, T A> over the sizes of the particle and of what the region leaves of A."""
    scene = case.scene
    found = scene.templates.best(scene.particle)
    correlation = np.empty(scene.shape)
    for angle, s, k, d in np.ndindex(scene.shape):
        seen = scene.in_pose(angle, s, k, d)
        cross = (scene.samples * scene.weights[0] * seen.conj() * scene.share).real.sum()
        left = (np.abs(seen)**2 * scene.weights[1] * scene.share).sum()
        correlation[angle, s, k, d] = cross / np.sqrt(left * scene.power)
    angle, row, k, d = np.unravel_index(correlation.argmax(), scene.shape)
    assert found.best == (k, d, angle, row)
    assert found.peak == pytest.approx(correlation.max(), rel=1e-3) and found.peak <= 1
    expected = np.zeros((5, 5, 8))
    expected[angle, row, 4 * k + d] = 1
    np.testing.assert_array_equal(whole(found, scene), expected)
    np.testing.assert_array_equal(found.class_mass, np.eye(2)[k])
    np.testing.assert_array_equal(found.row_mass, np.eye(5)[row])


@pytest.mark.parametrize("chosen", [np.arange(4), np.array([0, 2, 5])], ids=str)
def test_the_best_of_some_templates_that_are_not_forbidden(wedge, chosen):
    forbidden = np.zeros((5, 4), bool)
    first = wedge.templates.best(wedge.particle, chosen)
    forbidden[first.best[2], first.best[1]] = True
    second = wedge.templates.best(wedge.seen(SHIFTS, PRIOR, forbidden), chosen)
    assert first.best[0] * 4 + first.best[1] in chosen and second.best[0] * 4 + second.best[1] in chosen
    assert second.best[1:3] != first.best[1:3] and second.peak < first.peak


# ---- what a particle adds

def test_a_particle_adds_its_rows_to_every_template_turned_and_weighted(case):
    scene = case.scene
    sums, covered = scene.templates.spread(scene.particle, case.found)
    weights = case.found.weights.astype(float)
    expected, expected_covered = np.zeros(sums.shape), np.zeros(covered.shape)
    for a, angle in enumerate(scene.orientations.angles):
        turn = turn_about_z(angle)[None]
        rows = scene.ball.layout.turned(scene.particle.rows[case.found.rows].astype(float), turn)
        expected += weights[a].T @ rows
        region = scene.coverage.layout.turned(scene.particle.weights.astype(float), turn)[0]
        expected_covered += np.outer(weights[a].sum(0), region)
    np.testing.assert_allclose(sums, expected, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(covered, expected_covered, atol=1e-4)


def test_sums_of_templates_are_turned_back_onto_references(wedge):
    layout, rng = wedge.ball.layout, np.random.default_rng(2)
    sums = rng.standard_normal((8, layout.size)).astype(np.float32)
    sums[[1, 4, 5, 6, 7]] = 0                               # a class without any
    expected = sum(layout.turned(sums[d][None].astype(float), wedge.orientations.matrices[d][None])[0]
                   for d in range(4))
    found = wedge.templates.turn_back(sums, layout)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    np.testing.assert_array_equal(found[1], 0)


def test_a_particle_adds_itself_in_the_reference_s_frame():
    """All the way: a particle in little noise adds its reference to its class."""
    scene = Scene(REGIONS["everything"], FRAMES["own"], sigma=0.02)
    found = scene.templates.search(scene.particle)
    some, _ = scene.templates.spread(scene.particle, found)
    sums = np.zeros((8, scene.ball.size), np.float32)
    sums[found.templates] = some
    sums = scene.templates.turn_back(sums, scene.ball.layout)
    np.testing.assert_allclose(sums[1], scene.vectors[1], atol=0.05 * np.abs(scene.vectors[1]).max())
    assert np.abs(sums[0]).max() < 1e-3
