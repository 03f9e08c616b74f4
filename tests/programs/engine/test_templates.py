"""Templates in either order of memory are the same templates."""
import numpy as np
import pytest

from mlalign.programs.engine import search
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.templates import ByBin, ByShift, by_bin
from mlalign.tests.programs.engine.blobs import DISTINCT

KINDS = pytest.mark.parametrize("kind", [ByShift, ByBin])


@pytest.fixture
def grid(monkeypatch):
    monkeypatch.setattr(search, "TILE", 30)                 # two references of 13 shifts
    return Grid(Disk(16, 0.4, 24), shift_grid(2))


@pytest.fixture
def polar(grid):
    return grid.disk.polar(np.stack([phantom.image(16) for phantom in DISTINCT[:3]]))


@KINDS
@pytest.mark.parametrize("shifts", [slice(None), np.array([0, 4, 11])], ids=["all", "some"])
def test_tiles_are_the_shifted_references(grid, polar, kind, shifts):
    templates, expected = kind.of(grid, polar), grid.templates(polar)
    tiles = grid.tiles(len(polar))
    assert len(tiles) == 2
    for tile in tiles:
        np.testing.assert_array_equal(templates.tile(tile, shifts), by_bin(expected[tile][:, shifts]))


@KINDS
def test_products_with_sums(grid, polar, kind):
    expected = grid.templates(polar)
    sums = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    products = np.einsum("ksbmj,ksbmj->mj", sums.astype(float), expected.astype(float))
    np.testing.assert_allclose(kind.of(grid, polar).products(sums), products, atol=1e-5 * np.abs(products).max())


def test_tiles_are_read_as_they_stand(grid, polar):
    """Matrix products take operands that need not be copied."""
    templates = ByBin.of(grid, polar)
    for tile in grid.tiles(len(polar)):
        assert templates.tile(tile, slice(None)).flags.c_contiguous
