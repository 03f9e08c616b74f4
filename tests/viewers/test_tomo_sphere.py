"""Directions on the sphere: the maps keep areas and counts, and look where the particles do."""
import numpy as np
import pytest

from mlalign.programs.engine.missing import Region
from mlalign.programs.geometry3d import pose_matrix3d
from mlalign.viewers.tomo import sphere
from mlalign.viewers.tomo.sphere import AROUND, CELLS, RINGS


def random_directions(count, seed=0):
    found = np.random.default_rng(seed).normal(size=(count, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


AXES = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]])


def test_where_axes_lie_on_the_discs():
    points, below = sphere.disc(AXES)
    np.testing.assert_allclose(points, [[1, 0], [0, 1], [0, 0], [-1, 0], [0, -1], [0, 0]], atol=1e-12)
    assert below.tolist() == [False, False, False, False, False, True]


def test_distance_from_the_centre_keeps_areas():
    points, below = sphere.disc(random_directions(200_000))
    radius = np.hypot(*points.T)
    assert below.mean() == pytest.approx(0.5, abs=0.005)
    for part in (0.3, 0.5, 0.8):
        assert (radius < part).mean() == pytest.approx(part**2, abs=0.005)      # as much of a disc as of the sphere


def test_points_keep_their_azimuth():
    directions = random_directions(50)
    points, _ = sphere.disc(directions)
    np.testing.assert_allclose(np.arctan2(points[:, 1], points[:, 0]), np.arctan2(directions[:, 1], directions[:, 0]))


def test_cells_have_the_same_area():
    side = np.linspace(-1, 1, 1501)
    points = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    found = np.bincount(sphere.cells(points[np.hypot(*points.T) <= 1]), minlength=CELLS)
    assert len(found) == CELLS and found.std() / found.mean() < 0.03


def test_centres_are_in_their_cells():
    points, below = sphere.disc(sphere.centres())
    np.testing.assert_array_equal(sphere.cells(points), np.arange(CELLS))
    assert not below.any()


def test_cell_of_a_point_by_rings_and_sectors():
    for point in np.random.default_rng(3).uniform(-0.7, 0.7, (40, 2)):
        ring = int(np.hypot(*point) * RINGS)
        sectors = AROUND * (2 * ring + 1)
        before = sum(AROUND * (2 * inner + 1) for inner in range(ring))
        angle = np.degrees(np.arctan2(point[1], point[0])) % 360
        assert sphere.cells(point) == before + int(angle / (360 / sectors))


def test_counts_lose_nothing_not_even_on_borders():
    directions = np.concatenate([random_directions(999), AXES])
    found = sphere.counts(directions)
    assert found.shape == (2, CELLS) and found.sum() == 1005
    assert found[1].sum() == (directions[:, 2] < 0).sum()


def test_density_is_the_sum_of_a_kernel_around_each_direction():
    directions = random_directions(5)
    found = sphere.density(directions, width=12)
    half = sphere.centres()
    everywhere = np.concatenate([half, half * [1, 1, -1]])
    expected = np.zeros(2 * CELLS)
    for cell in np.flatnonzero(sphere.counts(directions).ravel()):
        kernel = np.exp((everywhere @ everywhere[cell] - 1) / np.radians(12) ** 2)
        expected += kernel / kernel.sum()
    np.testing.assert_allclose(found.ravel(), expected / expected.mean(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("count", [3, 100, 5000])
def test_density_has_mean_one_and_is_flat_for_even_directions(count):
    found = sphere.density(random_directions(count))
    assert found.mean() == pytest.approx(1)
    if count == 5000:
        assert found.min() > 0.4 and found.max() < 1.8


def test_each_direction_weighs_the_same_at_the_pole_and_at_the_border():
    pole, border = [[0, 0, 1.0]] * 3, [[0.6, 0.8, 0.0]] * 2
    found = sphere.density(np.array([*pole, *border]), width=8).ravel()
    half = sphere.centres()
    everywhere = np.concatenate([half, half * [1, 1, -1]])
    near_pole, near_border = (found[everywhere @ direction > 0.7].sum() for direction in (pole[0], border[0]))
    assert near_pole / near_border == pytest.approx(1.5, rel=0.01)


def test_density_of_nothing():
    assert not sphere.density(np.zeros((0, 3))).any()


def test_particles_look_along_their_z_axis_as_the_reference_sees_it():
    angles = np.random.default_rng(4).uniform(0, 180, (20, 3))
    for pose, direction in zip(angles, sphere.viewing_directions(*angles.T)):
        matrix = pose_matrix3d(*pose, np.zeros(3))      # particle -> reference
        np.testing.assert_allclose(direction, (matrix @ [0, 0, 1, 1])[:3], atol=1e-12)
    np.testing.assert_allclose(sphere.viewing_directions(30, 90, 0), [-1, 0, 0], atol=1e-12)


def frequencies(size):
    axis = 2 * np.pi / size * (np.arange(size) - size // 2)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z


@pytest.mark.parametrize("size", [32, 33])
def test_coverage_by_direction_is_that_of_the_region(size):
    region = Region(1, "wedge_y", y=(-60.0, 50.0))
    found = sphere.observed(region.observed(*frequencies(size)).astype(float), 0.5)
    x, y, z = sphere.centres().T
    tilt = np.degrees(np.arctan(-z / x))       # the central plane of that tilt holds the direction
    clear = abs(y) < 0.8                        # near the tilt axis all planes are close
    inside, outside = clear & (tilt > -50) & (tilt < 40), clear & ((tilt < -70) | (tilt > 60))
    assert found[inside].min() > 0.8 and found[outside].max() < 0.3
    assert found.min() >= 0 and found.max() <= 1


def test_coverage_goes_no_further_than_what_was_used():
    volume = np.zeros((32, 32, 32))
    x, y, z = frequencies(32)
    volume[np.sqrt(x**2 + y**2 + z**2) < 2 * np.pi * 0.25] = 1
    assert sphere.observed(volume, 0.2).min() > 0.99
    assert sphere.observed(volume, 0.5).max() < 0.7
