"""The convention of 3-D poses, written out by hand and by a phantom that can be evaluated anywhere."""
import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from mlalign.programs.geometry3d import (angular_distance, euler_angles, from_tom, pose_matrix3d, pose_parameters3d,
                                         rotation_matrix, to_tom)

BLOBS = np.array([[6.0, 1.0, -2.0], [-3.0, 5.0, 1.5], [0.5, -2.0, 7.0]])     # x, y, z
HEIGHTS = np.array([1.0, 2.0, 3.0])


def turn(axis, degrees):
    """The active rotation about one axis, from the library."""
    return Rotation.from_euler(axis, degrees, degrees=True).as_matrix()


def phantom(points, centres=BLOBS, heights=HEIGHTS):
    """An asymmetric density, three Gaussian blobs, at points (..., 3) = (x, y, z)."""
    squares = ((points[..., None, :] - centres) ** 2).sum(-1)
    return np.exp(-squares / (2 * 1.5**2)) @ heights


def random_poses(count=200):
    rng = np.random.default_rng(3)
    return rng.uniform(0, 360, count), rng.uniform(0, 180, count), rng.uniform(0, 360, count)


def test_rotation_by_hand():
    np.testing.assert_allclose(rotation_matrix(90, 0, 0) @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(0, 90, 0) @ [1, 0, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(0, 0, 90) @ [1, 0, 0], [0, -1, 0], atol=1e-12)
    # the direction (rot, tilt) of the particle comes to the z axis
    np.testing.assert_allclose(rotation_matrix(90, 90, 37) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    sine, cosine = np.sin(np.deg2rad([20, 50, 70])), np.cos(np.deg2rad([20, 50, 70]))
    matrix = rotation_matrix(20, 50, 70)
    assert matrix[0, 2] == pytest.approx(-cosine[2] * sine[1])
    assert matrix[2, 0] == pytest.approx(sine[1] * cosine[0])


def test_rotation_is_three_turns():
    rot, tilt, psi = random_poses()
    expected = turn("z", -psi) @ turn("y", -tilt) @ turn("z", -rot)
    np.testing.assert_allclose(rotation_matrix(rot, tilt, psi), expected, atol=1e-12)


def test_arguments_broadcast():
    rot = np.arange(6.0).reshape(2, 3)
    assert rotation_matrix(rot, 30, [1, 2, 3]).shape == (2, 3, 3, 3)
    np.testing.assert_array_equal(rotation_matrix(rot, 30, [1, 2, 3])[1, 2], rotation_matrix(5, 30, 3))
    assert pose_matrix3d(rot, 30, 4, [1, 2, 3]).shape == (2, 3, 4, 4)
    assert pose_matrix3d(10, 30, 4, np.zeros((5, 3))).shape == (5, 4, 4)


def test_a_particle_is_its_reference_seen_through_the_pose():
    """X(p) = F(A (p + t)): a blob at c of the reference is at A^T c - t of the particle."""
    n, pose, shift = 33, (25, 60, 140), np.array([1.0, -2.0, 0.5])
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    points = np.stack([x, y, z], -1)
    matrix = pose_matrix3d(*pose, shift)
    in_reference = points @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(in_reference, (points + shift) @ rotation_matrix(*pose).T, atol=1e-12)
    particle = phantom(in_reference)
    turned = np.array([turn("z", 25) @ turn("y", 60) @ turn("z", 140) @ centre for centre in BLOBS])
    np.testing.assert_allclose(particle, phantom(points, turned - shift), atol=1e-12)
    for centre, height in zip(turned - shift, HEIGHTS):
        alone = phantom(in_reference, BLOBS[HEIGHTS == height], np.ones(1))
        np.testing.assert_allclose(np.array(center_of_mass(alone))[::-1] - n // 2, centre, atol=0.01)


def test_angles_come_back_out_of_the_matrix():
    for found, expected in zip(euler_angles(rotation_matrix(*random_poses())), random_poses()):
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("tilt", [0, 180])
def test_rot_is_zero_where_it_cannot_be_told_from_psi(tilt):
    rot, _, psi = random_poses()
    matrix = rotation_matrix(rot, tilt, psi)
    found = euler_angles(matrix)
    assert (found[0] == 0).all() and np.ptp(found[2]) > 90
    np.testing.assert_allclose(rotation_matrix(*found), matrix, atol=1e-7)


def test_angles_near_the_poles_give_the_rotation_back():
    rot, _, psi = random_poses(20)
    for tilt in (1e-12, 1e-7, 1e-5, 1e-3, 180 - 1e-3, 180 - 1e-5, 180 - 1e-7):
        matrix = rotation_matrix(rot, tilt, psi)
        np.testing.assert_allclose(rotation_matrix(*euler_angles(matrix)), matrix, atol=2e-8)


def test_angles_are_in_their_ranges():
    rot, tilt, psi = euler_angles(rotation_matrix([-1e-15, 370, -30], [20, -20, 200], [-1e-15, -400, 725]))
    assert ((0 <= rot) & (rot < 360) & (0 <= psi) & (psi < 360) & (0 <= tilt) & (tilt <= 180)).all()


def test_parameters_come_back_out_of_the_pose_matrix():
    shift = np.random.default_rng(4).normal(0, 3, (200, 3))
    for found, expected in zip(pose_parameters3d(pose_matrix3d(*random_poses(), shift)), (*random_poses(), shift)):
        np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("angle", [0, 1e-6, 3, 90, 179.9, 180])
def test_distance_is_the_angle_of_the_turn_between(angle):
    axis = np.array([1, 2, -2]) / 3
    between = Rotation.from_rotvec(np.deg2rad(angle) * axis).as_matrix()
    matrix = rotation_matrix(*random_poses(20))
    np.testing.assert_allclose(angular_distance(between @ matrix, matrix), angle, atol=1e-7)
    np.testing.assert_allclose(angular_distance(matrix, between @ matrix), angle, atol=1e-7)


def test_distance_under_symmetry_is_to_the_nearest_mate():
    group = Rotation.create_group("D3")
    rng = np.random.default_rng(5)
    first, second = Rotation.random(30, rng), Rotation.random(30, rng)
    expected = [min(np.rad2deg((g * a * b.inv()).magnitude()) for g in group) for a, b in zip(first, second)]
    found = angular_distance(first.as_matrix(), second.as_matrix(), group)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_array_equal(found, angular_distance(first.as_matrix(), second.as_matrix(), group.as_matrix()))
    mates = group.as_matrix() @ first.as_matrix()[0]
    np.testing.assert_allclose(angular_distance(mates, first.as_matrix()[0], group), 0, atol=1e-6)
    assert angular_distance(first.as_matrix()[0] @ group.as_matrix()[4], first.as_matrix()[0], group) > 1


def test_tom_angles_by_hand():
    assert to_tom(10, 20, 30, 1, 2, 3) == (80, 20, 240, 1, 2, 3)
    assert to_tom(10, 20, 30, 1, 2, 3, reference_moves=True) == (-240, -20, -80, -1, -2, -3)


def test_tom_turns_about_x_as_we_turn_about_y():
    """TOM's matrix is Rz(psi) Rx(theta) Rz(phi); when the reference moves it is turned, then shifted."""
    pose, shift, point = (25, 60, 140), np.array([1.0, -2.0, 0.5]), np.array([3.0, 4.0, 5.0])
    in_reference = rotation_matrix(*pose) @ (point + shift)
    phi, theta, psi, *offset = to_tom(*pose, *shift)
    tom = turn("z", psi) @ turn("x", theta) @ turn("z", phi)
    np.testing.assert_allclose(tom @ (point + offset), in_reference, atol=1e-12)
    phi, theta, psi, *offset = to_tom(*pose, *shift, reference_moves=True)
    tom = turn("z", psi) @ turn("x", theta) @ turn("z", phi)
    np.testing.assert_allclose(tom @ in_reference + offset, point, atol=1e-12)


@pytest.mark.parametrize("reference_moves", [False, True])
def test_tom_angles_come_back(reference_moves):
    pose = *random_poses(), *np.random.default_rng(6).normal(0, 3, (3, 200))
    for found, expected in zip(from_tom(*to_tom(*pose, reference_moves), reference_moves), pose):
        np.testing.assert_allclose(found, expected, atol=1e-12)
