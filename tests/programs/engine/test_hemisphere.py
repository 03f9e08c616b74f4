"""Harmonics of functions on half a sphere, against harmonics written out and sums over points."""
import numpy as np
import pytest

from mlalign.programs.engine.hemisphere import Hemisphere
from mlalign.tests.programs.engine.volume_scenes import real_harmonics, written_out


@pytest.fixture(scope="module", params=[(0, 0), (3, 6), (6, 12), (6, 19), (5, 15)], ids=str)
def grid(request):
    """Exact for products of functions of the harmonics that are wanted, or for more."""
    return Hemisphere.exact(*request.param)


def vectors(grid, count, shells, seed=0):
    return np.random.default_rng(seed).standard_normal((count, grid.layout(shells).size)).astype(np.float32)


def functions(grid, count, shells, seed=1):
    rng = np.random.default_rng(seed)
    shape = count, grid.across, grid.rings, shells
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def slow_analysis(grid, samples):
    """Vectors (B, P): sums over the points and their opposites, which have the conjugate value, of f* i^parity Y."""
    shells = samples.shape[-1]
    out = np.empty((len(samples), grid.layout(shells).size))
    for l, places in enumerate(grid.layout(shells).degrees):
        y = real_harmonics(l, grid.directions)                                     # (2 l + 1, across, rings)
        own, opposite = samples, samples.conj()                                    # Y(-r) = (-1)^l Y(r)
        both = (own + (-1)**l * opposite) / 1j**(l % 2) / 2
        out[:, places] = np.einsum("barj,mar,r->bmj", both, y, grid.weights).real
    return out


# ---- points

def test_directions_are_unit_vectors_of_one_half():
    grid = Hemisphere.exact(4, 9)
    assert grid.directions.shape == (3, grid.across, grid.rings)
    np.testing.assert_allclose(np.linalg.norm(grid.directions, axis=0), 1, atol=1e-12)
    assert (grid.directions[2] > 0).all()
    np.testing.assert_allclose(grid.directions[2, 0], grid.cosines)
    assert grid.across * grid.weights.sum() == pytest.approx(4 * np.pi)


@pytest.mark.parametrize("degrees", range(0, 14))
def test_exact_grids_are_so_and_no_larger_than_needed(degrees):
    """Sums over points and their opposites: of Y_lm of degree l > 0 they are zero, as the integral is."""
    grid = Hemisphere.exact(2, degrees)
    for l in range(1, degrees + 1):
        both = (1 + (-1)**l) / 2 * real_harmonics(l, grid.directions)
        np.testing.assert_allclose((both * grid.weights).sum((1, 2)), 0, atol=1e-12)
    assert 4 * grid.rings > degrees >= 4 * (grid.rings - 1) and grid.across > degrees


def test_too_few_points_are_not_exact():
    """The test above can fail: what lies just beyond a grid's degrees it cannot tell from zero."""
    few_rings, few_across = Hemisphere(2, 2, 20), Hemisphere(2, 6, 8)
    assert abs((real_harmonics(8, few_rings.directions)[0] * few_rings.weights).sum()) > 0.1
    assert abs((real_harmonics(8, few_across.directions)[8] * few_across.weights).sum()) > 0.1


def test_the_same_points_for_other_degrees(grid):
    other = grid.to(2)
    assert other.highest == 2
    np.testing.assert_array_equal(other.directions, grid.directions)


# ---- harmonics -> points -> harmonics

def test_synthesis_is_the_function_written_out(grid):
    v = vectors(grid, 2, 3)
    found = grid.synthesize(v)
    assert found.dtype == np.complex64 and found.shape == (2, grid.across, grid.rings, 3)
    for one, vector in zip(found, v):
        expected = np.moveaxis(written_out(grid.layout(3), vector, grid.directions), 0, -1)
        np.testing.assert_allclose(one, expected, atol=1e-5)


def test_even_degrees_are_the_real_part_and_odd_ones_the_imaginary(grid):
    v, even = vectors(grid, 1, 2), grid.layout(2).degree % 2 == 0
    np.testing.assert_array_equal(grid.synthesize(np.where(even, v, 0)).imag, 0)
    np.testing.assert_array_equal(grid.synthesize(np.where(even, 0, v)).real, 0)


def test_analysis_is_the_sum_over_points_and_their_opposites(grid):
    samples = functions(grid, 2, 3)
    found = grid.analyse(samples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, slow_analysis(grid, samples.astype(complex)), atol=2e-5)


def test_real_functions_have_even_degrees_alone(grid):
    samples = functions(grid, 2, 1).real
    found = grid.analyse(samples)
    np.testing.assert_array_equal(found[:, grid.layout(1).degree % 2 == 1], 0)
    np.testing.assert_allclose(found, grid.analyse(samples.astype(np.complex64)), atol=1e-6)


def test_analysis_undoes_synthesis(grid):
    v = vectors(grid, 3, 2)
    np.testing.assert_allclose(grid.analyse(grid.synthesize(v)), v, atol=1e-5)


def test_analysis_is_the_adjoint_of_synthesis():
    grid = Hemisphere(5, 3, 7)                         # exact or not
    v, samples = vectors(grid, 2, 3), functions(grid, 2, 3)
    weights = grid.weights[:, None]
    forth = np.sum(grid.synthesize(v).astype(complex).conj() * samples * weights).real
    assert np.vdot(v.astype(float), grid.analyse(samples)) == pytest.approx(forth, rel=1e-5)
