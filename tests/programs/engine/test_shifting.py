"""References at all shifts against the plain way: times a table of phases, one angular transform for all rings."""
import numpy as np
import pytest

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.shifting import filled
from mlalign.tests.programs.engine.blobs import PHANTOMS


@pytest.fixture(scope="module", params=[(24, 0.5, 16, 4, 1), (33, 0.3, 130, 7, 2)], ids=["folded", "every other shift"])
def grid(request):
    n, maxres, n_psi, radius, step = request.param
    return Grid(Disk(n, maxres, n_psi), shift_grid(radius, step), step)


def close(found, expected):
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.abs(expected).max())


def test_templates_are_the_shifted_harmonics_times_the_metric(grid):
    polar = grid.disk.polar(np.stack([phantom.image(grid.disk.n) for phantom in PHANTOMS]))
    for found, one in zip(grid.templates(polar), polar):
        close(found, grid.disk.shifted(one, grid.phase) * grid.disk.metric)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_sums_are_shifted_back(grid, share):
    """Also when only some shifts have gained anything."""
    rng = np.random.default_rng(1)
    sums = rng.standard_normal((2, len(grid.shifts), *grid.disk.shape)).astype(np.float32)
    sums[rng.random(sums.shape[:2]) >= share] = 0
    expected = np.stack([grid.disk.unshifted(one, grid.phase) for one in sums])
    close(grid.unshifted(sums), expected)


def test_filled():
    sums = np.zeros((4, 2, 3), np.float32)
    sums[1, 1, 2], sums[3, 0, 0] = 1e-30, -1
    np.testing.assert_array_equal(filled(sums), [False, True, False, True])
