"""The compiled loops over lists of cells against plain ones."""
import itertools
from collections import defaultdict

import numpy as np
import pytest

from mlalign.programs.engine import cell_kernels
from mlalign.programs.engine.cells import empty_cells

B, REFERENCES, SHIFTS = 3, 2, 5
T = REFERENCES * SHIFTS


def random_cells(rng, count, rows, n_psi):
    """image, row, angle (count,) as the kernels take them."""
    return tuple(rng.integers(0, high, count).astype(kind) for high, kind in ((B, np.int32), (rows, np.int32),
                                                                             (n_psi, np.int16)))


def test_normalise_cells():
    rng = np.random.default_rng(3)
    count = 40
    image, row = rng.integers(0, B, count).astype(np.int32), rng.integers(0, 2 * T, count).astype(np.int32)
    logp = rng.normal(-100, 3, count).astype(np.float32)
    weight, evidence, mass = np.empty(count, np.float32), np.empty(B), np.empty((B, REFERENCES))
    cell_kernels.normalise_cells(image, row, logp, SHIFTS, weight, evidence, mass)
    for b in range(B):
        expected = np.exp(logp[image == b].astype(float))
        assert evidence[b] == pytest.approx(np.log(expected.sum()), rel=1e-6)
        np.testing.assert_allclose(weight[image == b], expected / expected.sum(), rtol=1e-4)
        for k in range(REFERENCES):
            assert mass[b, k] == pytest.approx(weight[(image == b) & (row // 2 // SHIFTS == k)].sum(), rel=1e-5)


@pytest.mark.parametrize("left_out", [1e-2, 1e-5])
def test_probable_cells_leave_out_as_much_as_they_may_and_no_more(left_out):
    rng = np.random.default_rng(5)
    image = rng.integers(0, B, 6000).astype(np.int32)
    logp = (-100 * image - rng.gamma(4, 3, len(image))).astype(np.float32)
    logp[::50] = -np.inf                                                       # of a class that is empty
    top = np.array([logp[image == b].max() for b in range(B)])
    probable = np.empty(len(image), bool)
    cell_kernels.probable_cells(image, logp, top, left_out, probable)
    for b in range(B):
        mine, kept = np.sort(logp[image == b])[::-1], logp[(image == b) & probable]
        share = np.exp(mine - top[b]) / np.exp(mine - top[b]).sum()
        assert mine[len(kept) - 1] == kept.min()                                # the best of them
        assert share[len(kept):].sum() <= left_out
        needed = np.count_nonzero(np.cumsum(share[::-1])[::-1] > left_out / np.exp(mine - top[b]).sum())
        assert len(kept) <= np.count_nonzero(mine >= mine[needed - 1] - 0.5)    # of a bin and its bound


@pytest.mark.parametrize("student", [False, True])
def test_weigh_scores(student):
    rng = np.random.default_rng(1)
    kappa, nu, tau = np.float32(0.4), np.float32(20 if student else 0), np.array([0.005, 0.01, 0.02], np.float32)
    image, row, _ = random_cells(rng, 50, 2 * T, 1)
    score, prior = rng.standard_normal(50).astype(np.float32), rng.standard_normal((2, T)).astype(np.float32)
    scale = rng.uniform(0.5, 1.5, (B, REFERENCES)).astype(np.float32)
    logp, gain = np.empty((2, 50), np.float32)
    cell_kernels.weigh_scores(image, row, score, prior, scale, SHIFTS, kappa, nu, tau, logp, gain)
    expected = scale[image, row // 2 // SHIFTS] * score * kappa
    np.testing.assert_allclose(gain, expected, rtol=1e-5)
    if student:
        expected = -nu * np.log(1 - tau[image] * expected)
    np.testing.assert_allclose(logp, expected + prior[row % 2, row // 2], rtol=1e-4, atol=1e-5)


# ---- from coarse cells to fine ones

def cells_of(keys, n_psi):
    """(row, image, angle) of keys."""
    return np.unravel_index(keys, (2**31, B, n_psi))


@pytest.mark.parametrize("n_psi", [12, 72, 132])
def test_list_fine_cells_lists_the_documented_cells_and_nothing_else(n_psi):
    rng = np.random.default_rng(4)
    coarse_shifts, fine_shifts, count = 4, 9, 30
    children, neighbours = rng.integers(-1, fine_shifts, (coarse_shifts, 2)), rng.integers(-1, fine_shifts, (4, 3))
    cells, near = random_cells(rng, count, 2 * REFERENCES * coarse_shifts, n_psi // 2), rng.random(count) < 0.5
    keys = np.empty(9 * count, np.int64)
    found = cell_kernels.list_fine_cells(*cells, near, children, neighbours, fine_shifts, B, n_psi, keys)
    expected = []
    for b, r, p, is_near in zip(*(column.tolist() for column in cells), near):
        reference, shift = divmod(r // 2, coarse_shifts)
        shifts, steps = (neighbours[shift], (-1, 0, 1)) if is_near else (children[shift], (0, 1))
        expected += [(2 * (reference * fine_shifts + fine) + r % 2, b, (2 * p + step) % n_psi)
                     for fine, step in itertools.product(shifts, steps) if fine >= 0]
    assert sorted(zip(*cells_of(keys[:found], n_psi))) == sorted(expected)


@pytest.mark.parametrize("n_psi", [12, 132])
def test_list_surroundings_lists_what_is_at_and_next_to_near_cells(n_psi):
    rng = np.random.default_rng(9)
    shifts, count = 6, 25
    neighbours = rng.integers(-1, shifts, (shifts, 4))
    cells, near = random_cells(rng, count, 2 * REFERENCES * shifts, n_psi), rng.random(count) < 0.6
    keys = np.empty(12 * count, np.int64)
    found = cell_kernels.list_surroundings(*cells, near, neighbours, B, n_psi, keys)
    expected = []
    for b, r, p in zip(*(column[near].tolist() for column in cells)):
        reference, shift = divmod(r // 2, shifts)
        expected += [(2 * (reference * shifts + other) + r % 2, b, (p + step) % n_psi)
                     for other, step in itertools.product(neighbours[shift], (-1, 0, 1)) if other >= 0]
    assert sorted(zip(*cells_of(keys[:found], n_psi))) == sorted(expected)


def test_score_cells_scores_the_cells_of_the_keys(scene):
    grid, n_psi = scene.grid, scene.grid.disk.n_psi
    count = len(scene.x)
    wanted = np.random.default_rng(5).random((2 * len(scene.templates), count, n_psi)) < 0.4
    wanted[3], wanted[4] = False, True
    keys = np.flatnonzero(wanted)
    harmonics = np.array([0, 2, 4])
    power = np.random.default_rng(6).random((count, 2, 2, 2, 3), np.float32)
    image, row, angle, score, _ = empty_cells(len(keys))
    rows = grid.score_cells(keys, scene.x, scene.templates, power, harmonics, (image, row, angle, score))
    assert rows == wanted.any(2).sum()
    np.testing.assert_array_equal((row, image, angle), np.nonzero(wanted))
    angles = 2 * np.pi / n_psi * np.outer(angle, harmonics)
    seen = power[image, row // 2 // len(grid.shifts), row % 2]
    expected = scene.expected.swapaxes(0, 1)[row // 2, image, row % 2, angle]
    expected = expected - (seen[:, 0] * np.cos(angles) + seen[:, 1] * np.sin(angles)).sum(1)
    np.testing.assert_allclose(score, expected, atol=1e-4 * np.abs(expected).max())


# ---- poses

def test_mean_poses():
    """Against means over the cells near the best one of the chosen reference, the circle of angles unrolled."""
    rng = np.random.default_rng(6)
    shifts = np.array([(x, y) for x in (-6, -3, 0, 3, 6, 9) for y in (-3, 0, 3)])
    step, count, n_psi, floor = 3, 400, 20, 0.2
    cells = np.unique(np.stack([rng.integers(0, 3, count), rng.integers(0, 2 * 2 * len(shifts), count),
                                rng.integers(0, n_psi, count)]), axis=1)
    image, row, angle = cells
    weight, chosen = rng.random(len(image)), np.array([0, 1, 1])
    weight[np.flatnonzero((image == 0) & (row < 2 * len(shifts)) & (angle == 0))[0]] = 2      # at the circle's seam
    best = [max((w, c) for c, w in enumerate(weight) if image[c] == b and row[c] // 2 // len(shifts) == chosen[b])[1]
            for b in range(3)]
    expected, members = np.empty((3, 5)), defaultdict(list)
    for b, o in enumerate(best):
        at = shifts[row[o] // 2 % len(shifts)]
        for c in np.flatnonzero((image == b) & (row // 2 // len(shifts) == chosen[b]) & (row % 2 == row[o] % 2)
                                & (weight > floor * weight[o])):
            turn = min((angle[c] - angle[o] + n_psi * k for k in (-1, 0, 1)), key=abs)
            move = shifts[row[c] // 2 % len(shifts)] - at
            if abs(turn) <= 2 and np.abs(move).max() <= 2 * step:
                members[b].append((weight[c], turn, *move))
        w, turn, dx, dy = np.array(members[b]).T
        expected[b] = angle[o] + w @ turn / w.sum(), at[0] + w @ dx / w.sum(), at[1] + w @ dy / w.sum(), row[o] % 2, \
            weight[o]
        assert len(w) > 1
    pose = np.empty((3, 5))
    cell_kernels.mean_poses(image.astype(np.int32), row.astype(np.int32), angle.astype(np.int16),
                       weight.astype(np.float32), chosen, shifts, step, n_psi, floor, pose)
    np.testing.assert_allclose(pose, expected, rtol=1e-5, atol=1e-5)
