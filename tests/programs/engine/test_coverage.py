"""Missing regions of references and averages, against sums over points and over particles, one by one."""
import numpy as np
import pytest

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.engine.sphere import random_rotations
from mlalign.tests.programs.engine.volume_scenes import (
    Blobs3,
    off,
    real_harmonics,
    some_rotations,
    tilted_weight,
    written_out,
)

WEDGE = Region(1, "wedge_y", y=(-60, 50))
REGIONS = {"wedge_y": WEDGE, "wedge_x": Region(2, "wedge_x", x=(-40, 70)), "cone": Region(3, "cone", cone=50),
           "pyramid": Region(4, "pyramid", y=(-60, 60), x=(-45, 60)), "everything": EVERYTHING}
REGIONS["weight"] = tilted_weight()


@pytest.fixture(scope="module")
def ball():
    return Ball(16, 0.25, reach=1)


@pytest.fixture(scope="module", params=REGIONS)
def case(request, ball):
    """(region, its coverage)."""
    region = REGIONS[request.param]
    return region, Coverage(ball, region.radial)


def random_vectors(ball, count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, ball.size)).astype(np.float32)


def transform(ball, vector, directions):
    """Of a vector (P,), written out at directions (3, ...): (..., J)."""
    layout = ball.points.layout(len(ball.k))
    return np.moveaxis(written_out(layout, ball.shells(vector[None])[0], directions), 0, -1)


def at_points(coverage, vector, points):
    """A coverage vector (P,), written out at the points of a grid: (across, rings, J or 1)."""
    return np.moveaxis(written_out(coverage.layout, vector, points.directions).real, 0, -1)


def seen_through(ball, coverage, region, rotation, vector):
    """What a particle in pose A adds to its class's sum, and to its coverage, where it shows a reference's vector."""
    data, power, _ = coverage.weights(region)
    own = ball.layout.turned(vector[None], rotation.T[None])
    row = ball.vectors(ball.transforms(own), data**2 if region.radial else data)      # X = W A, and W X is summed up
    weights = coverage.vector(power)
    return ball.layout.turned(row, rotation[None])[0], coverage.layout.turned(weights, rotation[None])[0]


def gathered(ball, coverage, region, rotations, vector):
    return (sum(part) for part in zip(*(seen_through(ball, coverage, region, r, vector) for r in rotations)))


# ---- regions

def test_weights_of_points_are_what_a_region_observes(case, ball):
    region, coverage = case
    data, power, noise = coverage.weights(region)
    observed = region.observed(*ball.frequencies())
    if region.radial:
        np.testing.assert_allclose(data, observed)
        np.testing.assert_allclose(power, observed**2)
        np.testing.assert_array_equal(noise, 1)             # a weighted volume has noise everywhere
        return
    np.testing.assert_array_equal(data, power)
    np.testing.assert_array_equal(data, noise)
    assert data.shape == (ball.points.across, ball.points.rings, 1) and data.min() >= 0 and data.max() <= 1
    solid = (data[..., 0] * ball.points.weights).sum() / (4 * np.pi)
    assert solid == pytest.approx(region.coverage, abs=0.01)
    whole = (data == 0) | (data == 1)
    np.testing.assert_array_equal(np.broadcast_to(data, observed.shape)[whole[..., 0]], observed[whole[..., 0]])
    assert whole.mean() > 0.7                               # only cells on the border are divided


def test_a_region_s_vector_is_its_harmonics(case, ball):
    region, coverage = case
    power = coverage.weights(region)[1]
    found = coverage.vector(power)
    assert found.shape == (1, coverage.size) and found.dtype == np.float32
    for l, places in enumerate(coverage.layout.degrees):
        assert places.size == (0 if l % 2 else (2 * l + 1) * power.shape[2])          # it is even
        if places.size:
            y = real_harmonics(l, ball.points.directions)
            expected = np.einsum("arj,mar,r->mj", power.astype(float), y, ball.points.weights)
            np.testing.assert_allclose(found[0, places], expected, atol=2e-5)


# ---- power

@pytest.mark.parametrize("seed", [1, 2])
def test_power_left_in_every_orientation_is_the_sum_over_points(case, ball, seed):
    region, coverage = case
    power_weights = coverage.weights(region)[1]
    precision = np.linspace(2, 0.5, len(ball.k))
    vectors = random_vectors(ball, 2, seed)
    power, weights = coverage.power(vectors, precision), coverage.vector(power_weights)[0]
    share = ball.points.weights[:, None] * ball.weight * precision * power_weights
    for rotation in some_rotations(seed, 2):
        found = coverage.layout.turned(power, rotation[None]) @ weights
        directions = np.tensordot(rotation.T, ball.points.directions, 1)
        expected = [(np.abs(transform(ball, vector, directions))**2 * share).sum() for vector in vectors]
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_power_of_everything_is_that_of_the_vector(ball):
    vectors, coverage = random_vectors(ball, 2), Coverage(ball)
    weights = coverage.vector(coverage.weights(EVERYTHING)[1])[0]
    found = coverage.power(vectors, np.full(len(ball.k), 3.0)) @ weights
    np.testing.assert_allclose(found, 3 * (vectors.astype(float)**2).sum(1), rtol=1e-4)


def test_power_seen_on_each_shell(case, ball):
    region, coverage = case
    vector = random_vectors(ball, 1)[0]
    covered = coverage.layout.turned(coverage.vector(coverage.weights(region)[1]), some_rotations(3)[:1])[0]
    points = ball.points.exact(2 * ball.highest, 4 * ball.highest)
    power = np.abs(transform(ball, vector, points.directions))**2 * at_points(coverage, covered, points)
    expected = np.einsum("ark,r->k", power, points.weights) * ball.weight
    found = coverage.power_seen(coverage.at_points(covered), vector)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())


def test_degrees_of_freedom_are_the_power_of_white_noise(ball):
    coverage, rng = Coverage(ball), np.random.default_rng(5)
    power = np.zeros(len(ball.k))
    for _ in range(4):
        noise = ball.samples(rng.standard_normal((50, 16, 16, 16)))
        power += np.einsum("bark,r->k", np.abs(noise)**2, ball.points.weights) * ball.weight / 200
    np.testing.assert_allclose(power, coverage.degrees_of_freedom, rtol=0.1)
    assert power.sum() == pytest.approx(coverage.degrees_of_freedom.sum(), rel=0.02)


# ---- coverage of a class

def test_coverage_at_points(case):
    _, coverage = case
    vector = np.random.default_rng(6).standard_normal(coverage.size)
    found = coverage.at_points(vector)
    grid = coverage.ball.points.exact(2 * coverage.ball.highest, 4 * coverage.ball.highest)
    np.testing.assert_allclose(found, at_points(coverage, vector, grid), atol=1e-4)


def test_what_a_class_shows_of_a_reference_is_the_sum_over_its_particles(case, ball):
    region, coverage = case
    vector = random_vectors(ball, 1)[0]
    expected, covered = gathered(ball, coverage, region, some_rotations(7, 3), vector)
    assert off(coverage.covered(coverage.at_points(covered), vector), expected) < 1e-4


def test_a_class_shows_a_reference_alike_both_ways(ball):
    """P V P is symmetric."""
    coverage = Coverage(ball)
    covered = coverage.layout.turned(coverage.vector(coverage.weights(WEDGE)[1]), some_rotations(3)[:1])[0]
    x, y = random_vectors(ball, 2)
    v = coverage.at_points(covered)
    assert np.vdot(x, coverage.covered(v, y)) == pytest.approx(np.vdot(coverage.covered(v, x), y), rel=1e-4)


def test_a_coverage_on_the_box_s_grid_of_frequencies(case, ball):
    region, coverage = case
    covered = coverage.vector(coverage.weights(region)[1])[0]
    found = coverage.volume(covered)
    assert found.shape == (16, 16, 16) and found.dtype == np.float32
    z, y, x = np.mgrid[:16, :16, :16] - 8
    k = np.sqrt(x**2 + y**2 + z**2) * 2 * np.pi / 16
    inside = (k > ball.k[0]) & (k < ball.k[-1])
    np.testing.assert_array_equal(found[k > ball.k[-1] + 0.5 * 2 * np.pi / 16], 0)
    directions = np.stack([x, y, z])[:, inside] * 2 * np.pi / 16 / k[inside]
    shells = written_out(coverage.layout, covered, directions).real                    # (J or 1, voxels)
    expected = (shells[0] if len(shells) == 1 else
                np.array([np.interp(one, ball.k, shell) for one, shell in zip(k[inside], shells.T)]))
    assert np.abs(found[inside] - expected).mean() < 0.05
    assert np.abs(found[inside] - expected).max() < 0.25            # linear in between the points


# ---- averages

def test_an_average_of_incomplete_particles_is_the_truth(case, ball):
    region, coverage = case
    truth = random_vectors(ball, 1)[0]
    summed, covered = gathered(ball, coverage, region, random_rotations(12, np.random.default_rng(8)), truth)
    average = coverage.average(covered, summed)
    assert average.dtype == np.float32
    assert off(average, truth) < 1e-3
    assert off(coverage.average(covered, summed, start=truth), truth) < 1e-3


def test_an_average_solves_its_equation_where_little_was_seen(ball):
    """Particles of one orientation: what is missing in all of them stays at about zero."""
    coverage, truth = Coverage(ball), random_vectors(ball, 1)[0]
    summed, covered = gathered(ball, coverage, WEDGE, some_rotations(9)[:1].repeat(3, 0), truth)
    average = coverage.average(covered, summed)
    shown = np.maximum(coverage.at_points(covered), 0)              # smoothed edges swing about zero
    assert off(coverage.covered(shown, average), summed) < 0.03
    assert np.linalg.norm(average) < 1.1 * np.linalg.norm(truth)


def test_an_average_starts_from_a_guess(ball, monkeypatch):
    """A good guess needs no steps."""
    coverage, truth = Coverage(ball), random_vectors(ball, 1)[0]
    summed, covered = gathered(ball, coverage, WEDGE, some_rotations(10), truth)
    monkeypatch.setattr("mlalign.programs.engine.coverage.LONGEST_SOLUTION", 0)
    np.testing.assert_array_equal(coverage.average(covered, summed, start=truth), truth)
    np.testing.assert_array_equal(coverage.average(covered, summed), 0)


def test_an_average_is_zero_where_no_more_than_a_threshold_was_seen(ball):
    """One particle in nine sees what is near the z axis."""
    coverage, truth = Coverage(ball), ball.vectors(ball.samples(Blobs3(3).volume(16)[None]))[0]
    about_x = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    rotations = np.stack([*np.tile(np.eye(3), (8, 1, 1)), about_x])
    summed, covered = gathered(ball, coverage, WEDGE, rotations, truth)
    points = ball.points.exact(ball.highest, 4 * ball.highest)
    near = points.cosines > np.cos(np.deg2rad(15))
    away = np.arccos(points.directions[0]) < np.deg2rad(45)

    def share(threshold, directions):
        average = coverage.average(covered, summed, threshold)
        found, expected = (ball.transforms(one[None], points)[0].swapaxes(0, 1)[directions] for one in (average, truth))
        return np.vdot(expected, found).real / np.vdot(expected, expected).real

    assert share(0.0, near) == pytest.approx(1, abs=0.1)
    assert abs(share(2.0, near)) < 0.2             # of what was seen once, where most was seen nine times
    assert share(2.0, away.T) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(coverage.average(covered, summed, threshold=30.0), 0)


# ---- correlation

def test_halves_that_are_alike_correlate_perfectly(case, ball):
    region, coverage = case
    truth = random_vectors(ball, 1)[0]
    halves = [tuple(gathered(ball, coverage, region, some_rotations(seed, 20), truth)) for seed in (13, 14)]
    sums, coverages = zip(*halves)
    found = coverage.correlation(coverages, sums)
    assert found.shape == ball.k.shape
    np.testing.assert_allclose(coverage.correlation([coverages[0]] * 2, [sums[0]] * 2), 1, atol=1e-6)
    np.testing.assert_allclose(coverage.correlation([coverages[0]] * 2, [sums[0], -2 * sums[0]]), -1, atol=1e-6)
    assert found.min() > 0.98                         # seen from other directions


def test_halves_of_noise_do_not_correlate(ball):
    coverage = Coverage(ball)
    covered = 20 * coverage.vector(coverage.weights(WEDGE)[1])[0]
    found = np.array([coverage.correlation([covered] * 2, random_vectors(ball, 2, seed)) for seed in range(20)])
    assert np.abs(found.mean(0)).max() < 0.3 and np.abs(found.mean()) < 0.06


def test_a_half_without_particles_does_not_correlate(ball):
    coverage = Coverage(ball)
    covered = coverage.vector(coverage.weights(WEDGE)[1])[0]
    sums, nothing = random_vectors(ball, 1)[0], np.zeros(ball.size, np.float32)
    np.testing.assert_array_equal(coverage.correlation([covered, 0 * covered], [sums, nothing]), 0)


def test_correlation_is_that_of_transforms(ball):
    """Of particles of which nothing is missing: shell by shell, by hand."""
    coverage = Coverage(ball)
    a, b = (ball.vectors(ball.samples(Blobs3(seed).volume(16)[None]))[0] for seed in (1, 2))
    covered = coverage.vector(coverage.weights(EVERYTHING)[1])[0]
    cross, one, two = (ball.shell_products(x[None], y[None])[0] for x, y in ((a, b), (a, a), (b, b)))
    np.testing.assert_allclose(coverage.correlation([3 * covered, covered], [a, b]), cross / np.sqrt(one * two),
                               atol=1e-5)
