"""Grids of directions and point groups, against their definitions."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlalign.programs.engine.sphere import (EDGE, asymmetric_unit, cap, directions, random_rotations, small_rotation,
                                            symmetry, towards)
from mlalign.programs.errors import UserError
from mlalign.programs.geometry3d import angular_distance, euler_angles

Z = np.array([0.0, 0.0, 1.0])
# Xmipp's groups as two generating axes each: fold and direction
AXES = {
    "c7": [(7, Z)],
    "d2": [(2, Z), (2, [1, 0, 0])],
    "d7": [(7, Z), (2, [1, 0, 0])],
    "t": [(3, Z), (2, [0, 0.816496581, 0.577350269])],
    "o": [(4, Z), (3, [1, 1, 1])],
    "i1": [(2, [1, 0, 0]), (5, [0.850650808, 0, -0.525731112]), (3, [0.934172359, 0.356822090, 0])],
    "i2": [(2, Z), (5, [0.525731112, 0, 0.850650808]), (3, [0, 0.356822090, 0.934172359])],
    "i3": [(5, Z), (2, [-0.525731112, 0, 0.850650808]), (3, [-0.491123473, 0.356822090, 0.794654472])],
    "i4": [(2, [0.525731112, 0, 0.850650808]), (5, [0.894427191, 0, 0.447213595]),
           (3, [0.491123473, 0.356822090, 0.794654472])],
}
ORDER = {"c7": 7, "d2": 4, "d7": 14, "t": 12, "o": 24, "i1": 60, "i2": 60, "i3": 60, "i4": 60}


def angle_between(first, second):
    """Degrees from each of (M, 3) to each of (N, 3)."""
    return np.rad2deg(np.arccos(np.clip(first @ second.T, -1, 1)))


def random_directions(count, seed=0):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def closure(axes):
    """All products of turns about the axes, as matrices, by trying."""
    generators = [Rotation.from_rotvec(2 * np.pi / fold * np.asarray(axis) / np.linalg.norm(axis)).as_matrix()
                  for fold, axis in axes]
    found = [np.eye(3)]
    for element in found:
        for generator in generators:
            product = generator @ element
            if not any(np.allclose(product, other, atol=1e-5) for other in found):
                found.append(product)
    return np.array(found)


# ---- directions -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("step, count", [(45, 12), (30, 42), (20, 92), (15, 162), (10, 362), (5, 1692)])
def test_grid_is_even(step, count):
    grid = directions(step)
    assert grid.shape == (count, 3) and grid.dtype == np.float64
    np.testing.assert_array_equal(grid[0], Z)
    np.testing.assert_allclose(np.linalg.norm(grid, axis=1), 1, atol=1e-12)
    between = angle_between(grid, grid)
    np.fill_diagonal(between, 180)
    spacing = EDGE / max(1, round(EDGE / step))
    assert 0.99 * spacing < between.min() and between.min(1).max() < 1.2 * spacing
    # no hole: nothing is farther from the grid than a corner of a triangle from its middle, and a little
    assert angle_between(random_directions(2000), grid).min(1).max() < 0.7 * spacing
    np.testing.assert_allclose(grid.mean(0), 0, atol=1e-12)


def test_edge_is_the_angle_between_vertices():
    assert pytest.approx(63.4349, abs=1e-4) == EDGE
    assert np.sort(angle_between(directions(45), directions(45))[0])[1] == pytest.approx(EDGE)


@pytest.mark.parametrize("step", [0, -5, 0.01, 46, 63, np.nan, np.inf])
def test_absurd_step(step):
    with pytest.raises(UserError, match="angular step of .* expected 0.1 to 45"):
        directions(step)


def test_grid_can_be_written_to():
    directions(30)[:] = 0
    assert directions(30)[0, 2] == 1


def test_cap():
    near = cap(5, 20)
    np.testing.assert_array_equal(near[0], Z)
    grid = directions(5)
    inside = angle_between(grid, Z[None])[:, 0] <= 20
    assert 30 < len(near) == inside.sum()
    np.testing.assert_array_equal(near, grid[inside])
    assert len(cap(5, 0)) == 1 and len(cap(15, 180)) == 162


# ---- symmetry -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", AXES)
def test_group_is_what_its_axes_make(name):
    elements = symmetry(name).as_matrix()
    expected = closure(AXES[name])
    assert len(elements) == len(expected) == ORDER[name]
    distance = abs(elements[:, None] - expected).max((-1, -2))
    assert distance.min(0).max() < 1e-5 and distance.min(1).max() < 1e-5


@pytest.mark.parametrize("name", [*AXES, "c1", "d1", "i"])
def test_group_starts_with_the_identity_and_is_closed(name):
    elements = symmetry(name).as_matrix()
    np.testing.assert_allclose(elements[0], np.eye(3), atol=1e-12)
    products = np.einsum("aij,bjk->abik", elements, elements).reshape(-1, 3, 3)
    for product in products[::7]:
        assert abs(elements - product).max((-1, -2)).min() < 1e-9


def test_icosahedral_groups_are_turned_into_each_other():
    def same(first, second):
        return abs(first[:, None] - second).max((-1, -2)).min(1).max() < 1e-9

    def turned(name, axis, degrees):
        turn = Rotation.from_euler(axis, degrees, degrees=True)
        return (turn * symmetry(name) * turn.inv()).as_matrix()

    assert same(turned("i2", "z", 90), symmetry("i1").as_matrix())
    assert same(turned("i3", "z", 180), symmetry("i4").as_matrix())
    assert same(symmetry("i").as_matrix(), symmetry("I2").as_matrix())
    assert not same(symmetry("i1").as_matrix(), symmetry("i2").as_matrix())
    assert not same(symmetry("i3").as_matrix(), symmetry("i4").as_matrix())


@pytest.mark.parametrize("name", ["ci", "cs", "c4v", "c4h", "s6", "D3v", "d3h", "td", "th", "oh", "ih", "i2h"])
def test_groups_with_mirrors_are_refused(name):
    with pytest.raises(UserError, match=f"symmetry {name}: a group with mirrors"):
        symmetry(name)


@pytest.mark.parametrize("name", ["", "c", "c0", "c100", "x4", "i5", "helical", "c4 d2"])
def test_unknown_groups_are_refused(name):
    with pytest.raises(UserError, match=f"symmetry {name}: unknown point group, expected c1"):
        symmetry(name)


# ---- the asymmetric unit --------------------------------------------------------------------------------------

def without_mates(grid, kept, group, radius):
    """How many of (D, 3) have no mate of a kept direction within ``radius`` degrees."""
    mates = np.concatenate([grid[kept] @ element.T for element in group.as_matrix()])
    return (angle_between(grid, mates).min(1) > radius).sum()


@pytest.mark.parametrize("name", AXES)
def test_unit_holds_one_of_each_set_of_mates(name):
    group, generic = symmetry(name), random_directions(60, 1)
    mates = np.concatenate([generic @ element.T for element in group.as_matrix()])
    kept = asymmetric_unit(mates, group)
    assert kept.sum() == len(generic)
    assert (kept.reshape(len(group), -1).sum(0) == 1).all()


@pytest.mark.parametrize("name", AXES)
@pytest.mark.parametrize("step", [5, 15])
@pytest.mark.parametrize("seed", range(3))
def test_unit_of_any_grid(name, step, seed):
    group = symmetry(name)
    grid = directions(step) @ random_rotations(1, np.random.default_rng(seed))[0].T
    kept = asymmetric_unit(grid, group)
    expected = len(grid) / len(group)
    assert abs(kept.sum() - expected) < 3 + 0.05 * expected
    assert not without_mates(grid, kept, group, 1.2 * step)


def test_unit_of_a_grid_that_has_the_symmetry():
    """The grid is made from i4's axes; its vertices are one orbit of 12 directions, not of 60."""
    group, axes = symmetry("i4"), directions(10)
    kept = asymmetric_unit(axes, group)
    assert not without_mates(axes, kept, group, 1e-4)
    assert kept[:12].sum() == 1 and 6 < kept.sum() <= 12


def test_unit_that_is_narrower_than_the_grid():
    group, grid = symmetry("c60"), directions(15)
    tilted = grid @ random_rotations(1, np.random.default_rng(5))[0].T
    for some in (grid, tilted):
        kept = asymmetric_unit(some, group)
        assert not without_mates(some, kept, group, 17)
        assert kept.sum() < 20


def test_without_symmetry_all_is_kept():
    assert asymmetric_unit(directions(15), symmetry("c1")).all()
    assert asymmetric_unit(directions(15)[:1], symmetry("i1")).all()


# ---- rotations ------------------------------------------------------------------------------------------------

def test_towards_is_the_shortest_way():
    aims = np.concatenate([random_directions(200), directions(30), [[0, 1e-9, 1], [1e-9, 0, -1]]])
    turns = towards(aims)
    np.testing.assert_allclose(turns @ Z, aims, atol=1e-12)
    np.testing.assert_allclose(turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12)
    tilt = np.rad2deg(np.arctan2(np.hypot(aims[:, 0], aims[:, 1]), aims[:, 2]))
    np.testing.assert_allclose(angular_distance(turns, np.eye(3)), tilt, atol=1e-6)


def test_towards_the_poles():
    np.testing.assert_array_equal(towards(Z[None])[0], np.eye(3))
    np.testing.assert_allclose(towards(-Z[None])[0], np.diag([1, -1, -1]), atol=1e-12)


def test_random_rotations_are_uniform():
    matrices = random_rotations(20000, np.random.default_rng(2))
    np.testing.assert_array_equal(matrices[:5], random_rotations(20000, np.random.default_rng(2))[:5])
    np.testing.assert_allclose(np.linalg.det(matrices), 1)
    rot, tilt, psi = euler_angles(matrices)
    for values, span in ((rot, 360), (np.cos(np.deg2rad(tilt)) + 1, 2), (psi, 360)):
        counts, _ = np.histogram(values, 20, (0, span))
        assert abs(counts - 1000).max() < 150          # 5 standard deviations
    # a turn's angle w has density (1 - cos w) / pi
    angle = np.deg2rad(angular_distance(matrices, np.eye(3)))
    assert np.mean(angle) == pytest.approx(np.pi / 2 + 2 / np.pi, abs=0.03)


def test_small_rotation():
    rng = np.random.default_rng(3)
    turns = np.array([small_rotation(2, rng) for _ in range(4000)])
    rot, tilt, psi = euler_angles(turns)
    assert np.sqrt(np.mean(tilt**2)) == pytest.approx(2, rel=0.05)
    twist = (rot + psi + 180) % 360 - 180
    assert np.std(twist) == pytest.approx(2 * np.sqrt(2), rel=0.05)
    np.testing.assert_array_equal(small_rotation(0, rng), np.eye(3))
