"""Turns of real spherical harmonics, against harmonics evaluated at turned points."""
import numpy as np
import pytest

from mlalign.programs.engine import wigner
from mlalign.programs.engine.wigner import euler_zyz, exchanges, legendre
from mlalign.tests.programs.engine.volume_scenes import real_harmonics, some_rotations, turn_about_y, turn_about_z

POINTS = np.random.default_rng(0).normal(size=(3, 200))
POINTS /= np.linalg.norm(POINTS, axis=0)


def about_z(l, angle):
    """Z of degree l (2 l + 1, 2 l + 1)."""
    matrix = np.eye(2 * l + 1)
    for m in range(1, l + 1):
        cos, sin = np.cos(m * angle), np.sin(m * angle)
        matrix[np.ix_([m, l + m], [m, l + m])] = [[cos, -sin], [sin, cos]]
    return matrix


@pytest.mark.parametrize("l", [0, 1, 2, 3, 8, 17])
def test_an_exchange_swaps_y_and_z(l):
    x, y, z = POINTS
    swapped = exchanges(17)[l] @ real_harmonics(l, POINTS)
    np.testing.assert_allclose(swapped, real_harmonics(l, np.stack([x, z, y])), atol=1e-12)


def test_exchanges_are_symmetric_and_their_own_inverses_to_high_degrees():
    for l, swap in enumerate(exchanges(80)):
        assert swap.shape == (2 * l + 1, 2 * l + 1)
        np.testing.assert_allclose(swap, swap.T, atol=1e-12)
        np.testing.assert_allclose(swap @ swap, np.eye(2 * l + 1), atol=1e-11)


def test_the_quarter_turns_of_low_degrees_by_hand():
    # with the half angle c = s = 1 / sqrt 2:  d^1 = (c^2, -sqrt 2 c s, s^2; ...)
    half = np.sqrt(0.5)
    one = [[0.5, -half, 0.5], [half, 0, -half], [0.5, half, 0.5]]
    np.testing.assert_allclose(wigner._quarter_turns(1)[1], one, atol=1e-15)


@pytest.mark.parametrize("rotation", some_rotations(1))
def test_a_turn_in_angles_and_exchanges_is_the_turn(rotation):
    """f(r) -> f(R^-1 r) by D = Z(a) J Z(-b) J Z(c), as the module says."""
    a, b, c = euler_zyz(rotation)
    for l in (1, 2, 6):
        swap, coefficients = exchanges(l)[l], np.random.default_rng(l).normal(size=2 * l + 1)
        turned = about_z(l, a) @ swap @ about_z(l, -b) @ swap @ about_z(l, c) @ coefficients
        expected = coefficients @ real_harmonics(l, rotation.T @ POINTS)
        np.testing.assert_allclose(turned @ real_harmonics(l, POINTS), expected, atol=1e-8)


def test_angles_give_the_rotation_back():
    rotations = some_rotations(2, 50)
    for rotation, a, b, c in zip(rotations, *euler_zyz(rotations)):
        np.testing.assert_allclose(turn_about_z(a) @ turn_about_y(b) @ turn_about_z(c), rotation, atol=1e-9)
        assert 0 <= b <= np.pi


def test_angles_keep_the_shape_of_their_rotations():
    rotations = some_rotations(3, 3)[:8].reshape(2, 4, 3, 3)
    for together, apart in zip(euler_zyz(rotations), euler_zyz(rotations.reshape(8, 3, 3))):
        np.testing.assert_array_equal(together, apart.reshape(2, 4))


# ---- Legendre functions

def test_legendre_functions_are_those_of_scipy():
    cosines = np.linspace(-1, 1, 31)
    tables = legendre(12, cosines)
    points = np.stack([np.sqrt(1 - cosines**2), np.zeros(31), cosines])
    for l in range(13):
        along = real_harmonics(l, points)               # at phi = 0 a cosine is sqrt 2 times its P_lm
        for m in range(l + 1):
            np.testing.assert_allclose(tables[m][:, l - m], along[m] / (np.sqrt(2) if m else 1), atol=1e-12)


@pytest.mark.parametrize("highest", [3, 40, 200])
def test_legendre_functions_are_orthonormal(highest):
    cosines, weights = np.polynomial.legendre.leggauss(highest + 1)
    for m, table in enumerate(legendre(highest, cosines)):
        assert table.shape == (highest + 1, highest + 1 - m)
        np.testing.assert_allclose(2 * np.pi * (table.T * weights) @ table, np.eye(highest + 1 - m), atol=1e-10)


def test_legendre_functions_are_positive_near_the_pole():
    assert all((table > 0).all() for table in legendre(6, [0.9999]))
