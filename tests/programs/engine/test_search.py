"""Scores of every cell against sums over pixels of references drawn in every pose; adjoints by dot products."""
import numpy as np
import pytest

from mlalign.programs.engine import search
from mlalign.programs.engine.expectation import Cells
from mlalign.programs.engine.search import Grid, Spare, shift_grid
from mlalign.programs.engine.templates import by_bin
from mlalign.tests.programs.engine.blobs import PHANTOMS, all_cells, partial_weights, table_of


def random_weights(scene):
    """Weights (B, rows, n_psi) of all cells."""
    return np.random.default_rng(4).random((3, 2 * len(scene.templates), scene.grid.disk.n_psi), np.float32)


def test_shift_grid():
    np.testing.assert_array_equal(shift_grid(0), [[0, 0]])
    assert sorted(map(tuple, shift_grid(1))) == [(-1, 0), (0, -1), (0, 0), (0, 1), (1, 0)]
    for radius, step in ((3, 1), (3.7, 1), (5, 2), (9, 4)):
        expected = {(x, y) for x in range(-12, 13) for y in range(-12, 13)
                    if x % step == y % step == 0 and x * x + y * y <= radius**2}
        found = list(map(tuple, shift_grid(radius, step)))
        assert len(found) == len(expected) and set(found) == expected


def test_scores_of_all_cells_are_sums_over_pixels(scene):
    found = table_of(scene.grid.scores(scene.x, by_bin(scene.templates)), scene.grid.disk.n_psi)
    assert found.shape == scene.expected.shape
    np.testing.assert_allclose(found, scene.expected, atol=1e-4 * np.abs(scene.expected).max())


def test_a_template_turned_in_real_space_scores_highest_where_it_was_put(scene):
    grid, psi, shift = scene.grid, 5, 3
    image = PHANTOMS[1].image(grid.disk.n, 2 * np.pi * psi / grid.disk.n_psi, True, grid.shifts[shift])
    found = table_of(grid.scores(grid.disk.harmonics(image[None]), by_bin(scene.templates)), grid.disk.n_psi)[0]
    assert np.unravel_index(found.argmax(), found.shape) == (len(grid.shifts) + shift, 1, psi)


def test_spread_is_the_adjoint_of_scores(scene):
    rng = np.random.default_rng(5)
    g = scene.grid.scores(scene.x, by_bin(scene.templates))
    weights = rng.standard_normal(g.shape).astype(np.float32)
    sums = np.zeros_like(scene.templates)
    scene.grid.spread(weights, scene.x, sums)
    scale = np.linalg.norm(weights) * np.linalg.norm(g)
    assert abs(np.vdot(weights, g.astype(float)) - np.vdot(sums, scene.templates.astype(float))) < 1e-5 * scale


@pytest.mark.parametrize("fewest, together", [(1, 1), (2, 3)])
def test_images_multiplied_together_make_no_difference(scene, fewest, together, monkeypatch):
    grid, templates = scene.grid, by_bin(scene.templates)
    power = np.random.default_rng(6).random((4, 2, 3, 2), np.float32)
    arguments = scene.x, templates, power, np.array([0, 3])
    expected = grid.scores(*arguments)
    monkeypatch.setattr(search, "SMALL_PRODUCT", len(scene.templates) * grid.disk.widths.max())      # of one image
    monkeypatch.setattr(search, "FEW", fewest)
    assert grid._together(3, len(scene.templates)) == together
    np.testing.assert_allclose(grid.scores(*arguments), expected, atol=1e-5 * np.abs(expected).max())


def test_spread_adds_to_what_is_there(scene):
    weights = np.ones_like(scene.grid.scores(scene.x, by_bin(scene.templates)))
    once, twice = np.zeros((2, *scene.templates.shape), np.float32)
    scene.grid.spread(weights, scene.x, once)
    for _ in range(2):
        scene.grid.spread(weights, scene.x, twice)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4, atol=1e-4 * np.abs(once).max())


def test_spread_cells_is_the_adjoint_of_the_scores_of_all_cells(scene):
    weights = random_weights(scene)
    sums = np.zeros_like(scene.templates)
    scene.grid.spread_cells(all_cells(weights), scene.x, sums)
    left = np.vdot(weights, scene.expected.reshape(weights.shape))
    right = np.vdot(sums, scene.templates.astype(float))
    assert abs(left - right) < 1e-4 * np.linalg.norm(weights) * np.linalg.norm(scene.expected)


def test_dense_and_sparse_sums_agree(scene):
    """Partial weights made from the weights of cells spread what the list of the same cells spreads."""
    weights = random_weights(scene)
    inverse = np.array([1, 0.5, 2], np.float32)
    p = partial_weights(weights.reshape(3, -1, 2, scene.grid.disk.n_psi), inverse)
    dense, sparse = np.zeros((2, *scene.templates.shape), np.float32)
    scene.grid.spread(p, scene.x, dense)
    scene.grid.spread_cells(all_cells(weights * inverse[:, None, None]), scene.x, sparse)
    np.testing.assert_allclose(dense, sparse, atol=1e-5 * np.abs(sparse).max())


def test_spread_cells_turns_images_back(scene):
    """One cell of weight one: the sum is its image in the template's frame."""
    grid, phantom, shift = scene.grid, PHANTOMS[0], 1
    psi, n = 7, grid.disk.n
    image = phantom.image(n, 2 * np.pi * psi / grid.disk.n_psi, True, grid.shifts[shift])
    one = np.ones(1, np.float32)
    cell = Cells(np.zeros(1, np.int32), np.array([2 * shift + 1], np.int32), np.array([psi], np.int16), one)
    sums = np.zeros((len(grid.shifts), *grid.disk.shape), np.float32)
    grid.spread_cells(cell, grid.disk.harmonics(image[None]), sums)
    back = grid.disk.images(grid.disk.unshifted(sums, grid.phase)[None])[0]
    expected = phantom.image(n)
    np.testing.assert_allclose(back, expected, atol=1e-3 * expected.max())


def test_templates_are_the_shifted_references_times_the_metric(scene):
    grid, n = scene.grid, scene.grid.disk.n
    found = scene.templates.reshape(2, len(grid.shifts), *grid.disk.shape)
    for k, phantom in enumerate(PHANTOMS):
        for s, shift in enumerate(grid.shifts):
            expected = grid.disk.harmonics(phantom.image(n, shift=shift)[None])[0] * grid.disk.metric
            np.testing.assert_allclose(found[k, s], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("references, parts", [(1, 1), (7, 1), (200, 1), (7, 3), (3, 8)])
def test_tiles_cover_all_references_once(scene, references, parts):
    tiles = scene.grid.tiles(references, parts)
    covered = [k for tile in tiles for k in range(tile.start, tile.stop)]
    assert covered == list(range(references))
    assert len(tiles) >= min(parts, references)
    assert max(tile.stop - tile.start for tile in tiles) * len(scene.grid.shifts) <= search.TILE


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 5])
def test_every_fine_shift_is_the_child_of_its_nearest_coarse_one(radius):
    fine, coarse = Grid(None, shift_grid(radius)), Grid(None, shift_grid(radius, 2), 2)
    parent = {}
    for shift, children in zip(coarse.shifts, coarse.children(fine)):
        for child in children[children >= 0]:
            assert child not in parent
            parent[child] = tuple(shift)
    assert sorted(parent) == list(range(len(fine.shifts)))
    for child, chosen in parent.items():
        squared = ((coarse.shifts - fine.shifts[child]) ** 2).sum(1)
        assert chosen == min(map(tuple, coarse.shifts[squared == squared.min()]))


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 5])
def test_neighbours_are_the_fine_shifts_at_and_next_to_coarse_ones(radius):
    fine, coarse = Grid(None, shift_grid(radius)), Grid(None, shift_grid(radius, 2), 2)
    reached = set()
    for shift, found in zip(coarse.shifts, coarse.neighbours(fine)):
        near = np.flatnonzero(np.abs(fine.shifts - shift).max(1) <= 1)
        assert sorted(found[found >= 0]) == sorted(near)
        reached.update(near)
    assert reached == set(range(len(fine.shifts)))          # no fine shift is out of the coarse ones' reach


def test_spare_arrays_are_used_again():
    spare = Spare()
    first = spare.take((2, 3))
    again = first.reshape(3, 2)
    first[:] = 7
    spare.give(again)
    second = spare.take((5,))
    assert np.shares_memory(first, second) and second.shape == (5,)
    assert not np.shares_memory(first, spare.take((5,)))
    spare.give(second)
    larger = spare.take((4, 4))
    assert larger.shape == (4, 4) and not np.shares_memory(first, larger)
