"""The convention of poses, written out by hand."""
import numpy as np
import pytest

from mlalign.programs.geometry import pose_matrix, pose_parameters


def moved(x, y, psi, shift_x, shift_y, flip):
    """The particle point (x, y) in its class average's frame: turned, then mirrored, then shifted."""
    psi = np.deg2rad(psi)
    column, row = np.cos(psi) * x + np.sin(psi) * y, -np.sin(psi) * x + np.cos(psi) * y
    return [(-column if flip else column) + shift_x, row + shift_y]


@pytest.mark.parametrize("pose", [(0, 0, 0, 0), (30, 2, -1, 0), (30, 2, -1, 1), (245, -0.5, 7, 1)])
def test_pose_matrix(pose):
    for x, y in ((1, 0), (0, 1), (-3.5, 2)):
        np.testing.assert_allclose(pose_matrix(*pose) @ [x, y, 1], [*moved(x, y, *pose), 1], atol=1e-12)


def test_a_quarter_turn_brings_the_row_axis_to_the_column_axis():
    np.testing.assert_allclose(pose_matrix(90, 0, 0, 0) @ [0, 1, 1], [1, 0, 1], atol=1e-12)
    np.testing.assert_allclose(pose_matrix(90, 0, 0, 1) @ [0, 1, 1], [-1, 0, 1], atol=1e-12)


def test_arguments_broadcast():
    psi = np.arange(12).reshape(3, 4)
    matrices = pose_matrix(psi, 1.5, np.arange(4), 1)
    assert matrices.shape == (3, 4, 3, 3)
    np.testing.assert_array_equal(matrices[2, 3], pose_matrix(11, 1.5, 3, 1))


def test_parameters_come_back_out_of_the_matrix():
    rng = np.random.default_rng(1)
    poses = rng.uniform(0, 360, 50), rng.normal(0, 3, 50), rng.normal(0, 3, 50), rng.integers(0, 2, 50)
    for found, expected in zip(pose_parameters(pose_matrix(*poses)), poses):
        np.testing.assert_allclose(found, expected, atol=1e-9)
