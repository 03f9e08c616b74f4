"""The compiled loops against plain ones: dictionaries of cells, tables of scores."""
import itertools
from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import kernels
from mlalign.programs.engine.local import EVERYWHERE
from mlalign.tests.programs.engine.blobs import table_of

B, REFERENCES, SHIFTS, N_PSI = 3, 2, 5, 12
T, HALF = REFERENCES * SHIFTS, N_PSI // 2 + 1
KAPPA = np.float32(0.4)
NU, TAU = np.float32(20), np.array([0.005, 0.01, 0.02], np.float32)


def empty(count):
    return tuple(np.empty(count, kind) for kind in (np.int32, np.int32, np.int16, np.float32, np.float32))


@pytest.fixture
def partial():
    """Partial scores g with sines that vanish at 0 and pi, as they do; their scores; priors, powers, grey scales."""
    rng = np.random.default_rng(1)
    g = rng.standard_normal((4, HALF, B, T)).astype(np.float32)
    g[2:, [0, -1]] = 0
    return SimpleNamespace(
        g=g, table=table_of(g), prior=rng.standard_normal((2, T)).astype(np.float32),
        scale=rng.uniform(0.5, 1.5, (B, REFERENCES)).astype(np.float32))


def posterior(partial, scale=None, student=False):
    """Gains and log-posteriors (B, T, 2, N_PSI), written out."""
    r = np.repeat(np.ones((B, REFERENCES)) if scale is None else scale, SHIFTS, axis=1)[:, :, None, None]
    gain = r * partial.table * KAPPA
    tail = -NU * np.log(1 - TAU[:, None, None, None] * gain) if student else gain
    return gain, tail + partial.prior.T[:, :, None]


def extract(partial, threshold, scale, nu, room, allowed=EVERYWHERE):
    row_top = np.full((2, B, T), np.inf, np.float32)
    cells = empty(room)
    found = kernels.extract_cells(partial.g, row_top, threshold, partial.prior, scale, SHIFTS, KAPPA, nu, TAU,
                                  allowed, cells)
    return found, cells


@pytest.mark.parametrize("mirror", [True, False])
def test_best_of_rows(partial, mirror):
    best = np.full((2, B, T), np.nan, np.float32)
    kernels.best_of_rows(partial.g, mirror, best)
    expected = partial.table.max(3).transpose(2, 0, 1)
    np.testing.assert_allclose(best[0], expected[0], rtol=1e-5)
    if mirror:
        np.testing.assert_allclose(best[1], expected[1], rtol=1e-5)
    else:
        assert (best[1] == -np.inf).all()


@pytest.mark.parametrize("student", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_extract_cells(partial, scaled, student):
    scale = partial.scale if scaled else np.ones((B, REFERENCES), np.float32)
    gain, expected = posterior(partial, scale, student)
    threshold = np.float32([np.quantile(e, 0.7) for e in expected])
    nu = NU if student else np.float32(0)
    found, cells = extract(partial, threshold, scale, nu, T * 2 * N_PSI * B)
    image, row, psi, logp, e = (column[:found] for column in cells)
    listed = set(zip(image, row // 2, row % 2, psi))
    assert len(listed) == found
    assert listed == set(zip(*np.nonzero(expected >= threshold[:, None, None, None])))
    where = image, row // 2, row % 2, psi
    np.testing.assert_allclose(logp, expected[where], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e, gain[where], rtol=1e-4, atol=1e-5)


def test_extract_allowed_cells(partial):
    allowed = np.random.default_rng(5).random((B, 2, N_PSI, SHIFTS)) < 0.4
    threshold, room = np.full(B, -99, np.float32), T * 2 * N_PSI * B
    found, cells = extract(partial, threshold, partial.scale, np.float32(0), room, allowed)
    image, row, psi = (column[:found] for column in cells[:3])
    everywhere = np.repeat(allowed.transpose(0, 3, 1, 2)[:, None], REFERENCES, axis=1).reshape(B, T, 2, N_PSI)
    assert set(zip(image, row // 2, row % 2, psi)) == set(zip(*np.nonzero(everywhere)))
    order = list(zip(row, image, psi))
    assert order == sorted(order)


def test_extract_cells_counts_what_does_not_fit(partial):
    ones, threshold = np.ones((B, REFERENCES), np.float32), np.full(B, -np.inf, np.float32)
    assert extract(partial, threshold, ones, np.float32(0), 0)[0] == B * T * 2 * N_PSI
    found, cells = extract(partial, threshold, ones, np.float32(0), 7)
    _, all_cells = extract(partial, threshold, ones, np.float32(0), found)
    for some, every in zip(cells, all_cells):
        np.testing.assert_array_equal(some, every[:7])


def test_extract_cells_leaves_out_rows_whose_best_is_too_low(partial):
    row_top = np.full((2, B, T), -np.inf, np.float32)
    row_top[1, 2, 4] = 0
    cells = empty(100)
    found = kernels.extract_cells(partial.g, row_top, np.full(B, -99, np.float32), partial.prior,
                                  np.ones((B, REFERENCES), np.float32), SHIFTS, KAPPA, np.float32(0), TAU,
                                  EVERYWHERE, cells)
    assert found == N_PSI
    assert set(cells[0][:found]) == {2} and set(cells[1][:found]) == {9}


@pytest.mark.parametrize("mirror", [True, False])
def test_dense_weights(partial, mirror):
    """to_log_posterior, sum_rows and cells_of_class see each cell once, with its own log-posterior."""
    _, logp = posterior(partial)
    if not mirror:
        logp = np.where(np.arange(2)[:, None] == 1, -np.inf, logp)
    top = logp.max((1, 2, 3))
    p = partial.g.copy()
    kernels.to_log_posterior(p, mirror, partial.prior, KAPPA, top.astype(np.float32))
    np.exp(p, out=p)
    expected = np.exp(logp - top[:, None, None, None])
    rows = np.empty((2, B, T), np.float32)
    kernels.sum_rows(p, rows)
    np.testing.assert_allclose(rows, expected.sum(3).transpose(2, 0, 1), rtol=1e-4)

    floor, chosen = 0.1, np.array([0, 1, 0])
    cells = empty(B * T * 2 * N_PSI)[:4]
    listed = {}
    for first in range(REFERENCES):                                   # a tile for each reference
        tile = np.ascontiguousarray(p[..., first * SHIFTS : (first + 1) * SHIFTS])
        found = kernels.cells_of_class(tile, chosen, SHIFTS, first, floor, cells)
        assert found == kernels.cells_of_class(tile, chosen, SHIFTS, first, floor, empty(0)[:4])
        for b, row, psi, weight in zip(*(column[:found].tolist() for column in cells)):
            assert (b, row, psi) not in listed
            listed[b, row, psi] = weight
    for b, k in enumerate(chosen):
        mine = expected[b, k * SHIFTS : (k + 1) * SHIFTS]
        for t, m, psi in zip(*np.nonzero(mine > floor * mine.max() * 1.0001)):
            assert listed.pop((b, 2 * (k * SHIFTS + t) + m, psi)) == pytest.approx(mine[t, m, psi], rel=1e-4)
    assert not listed


def test_to_partial_weights_is_the_adjoint_of_the_scores(partial):
    """Sum of weights x scores = sum of partial weights x partial scores."""
    rng = np.random.default_rng(2)
    weights, inverse = rng.random((4, HALF, B, T)).astype(np.float32), np.array([1, 0.5, 2], np.float32)
    g0, g1, g2, g3 = partial.g.astype(float)
    u, y, v, z = g0 + g1, g2 - g3, g0 - g1, g2 + g3
    scores = np.stack([u + y, u - y, v - z, v + z])
    expected = np.einsum("phbt,phbt,b->", weights, scores, inverse)
    kernels.to_partial_weights(weights, inverse)
    assert np.vdot(weights, partial.g.astype(float)) == pytest.approx(expected, rel=1e-4)


def test_normalise_cells():
    rng = np.random.default_rng(3)
    count = 40
    image, row = rng.integers(0, B, count).astype(np.int32), rng.integers(0, 2 * T, count).astype(np.int32)
    logp = rng.normal(-100, 3, count).astype(np.float32)
    weight, evidence, mass = np.empty(count, np.float32), np.empty(B), np.empty((B, REFERENCES))
    kernels.normalise_cells(image, row, logp, SHIFTS, weight, evidence, mass)
    for b in range(B):
        expected = np.exp(logp[image == b].astype(float))
        assert evidence[b] == pytest.approx(np.log(expected.sum()), rel=1e-6)
        np.testing.assert_allclose(weight[image == b], expected / expected.sum(), rtol=1e-4)
        for k in range(REFERENCES):
            assert mass[b, k] == pytest.approx(weight[(image == b) & (row // 2 // SHIFTS == k)].sum(), rel=1e-5)


@pytest.mark.parametrize("student", [False, True])
def test_weigh_scores(partial, student):
    gain, expected = posterior(partial, partial.scale, student)
    image, template, m = np.indices(gain.shape).reshape(4, -1)[:3]
    score = partial.table.ravel().astype(np.float32)
    logp, e = np.empty((2, len(score)), np.float32)
    kernels.weigh_scores(image.astype(np.int32), (2 * template + m).astype(np.int32), score, partial.prior,
                         partial.scale, SHIFTS, KAPPA, NU if student else np.float32(0), TAU, logp, e)
    np.testing.assert_allclose(e, gain.ravel(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(logp, expected.ravel(), rtol=1e-4, atol=1e-5)


# ---- from coarse cells to fine ones

def bits(marks, n_psi):
    """Mask (T, B, 2, n_psi) of marks (T, B, 2, words)."""
    psi = np.arange(n_psi)
    return ((marks[..., psi >> 6] >> (psi & 63).astype(np.uint64)) & np.uint64(1)).astype(bool)


@pytest.mark.parametrize("n_psi", [12, 72, 132])
def test_mark_fine_cells_marks_the_documented_cells_and_nothing_else(n_psi):
    rng = np.random.default_rng(4)
    coarse_shifts, fine_shifts, count = 4, 9, 30
    children, neighbours = rng.integers(-1, fine_shifts, (coarse_shifts, 2)), rng.integers(-1, fine_shifts, (4, 3))
    image, row = rng.integers(0, B, count), rng.integers(0, 2 * REFERENCES * coarse_shifts, count)
    angle, near = rng.integers(0, n_psi // 2, count), rng.random(count) < 0.5
    marks = np.zeros((REFERENCES * fine_shifts, B, 2, -(-n_psi // 64)), np.uint64)
    kernels.mark_fine_cells(image.astype(np.int32), row.astype(np.int32), angle.astype(np.int16), near, children,
                            neighbours, fine_shifts, n_psi, marks)
    expected = np.zeros((REFERENCES * fine_shifts, B, 2, n_psi), bool)
    for b, r, p, is_near in zip(image, row, angle, near):
        reference, shift = divmod(r // 2, coarse_shifts)
        shifts, steps = (neighbours[shift], (-1, 0, 1)) if is_near else (children[shift], (0, 1))
        for fine, step in itertools.product(shifts, steps):
            if fine >= 0:
                expected[reference * fine_shifts + fine, b, r % 2, (2 * p + step) % n_psi] = True
    np.testing.assert_array_equal(bits(marks, n_psi), expected)


@pytest.mark.parametrize("n_psi", [12, 132])
def test_mark_surroundings_marks_what_is_new_next_to_near_cells(n_psi):
    rng = np.random.default_rng(9)
    shifts, count = 6, 25
    neighbours = rng.integers(-1, shifts, (shifts, 4))
    image, row = rng.integers(0, B, count), rng.integers(0, 2 * REFERENCES * shifts, count)
    angle, near = rng.integers(0, n_psi, count), rng.random(count) < 0.6
    known = rng.random((REFERENCES * shifts, B, 2, n_psi)) < 0.3
    marks = np.zeros((REFERENCES * shifts, B, 2, -(-n_psi // 64)), np.uint64)
    for psi in range(n_psi):
        marks[..., psi >> 6] |= known[..., psi].astype(np.uint64) << np.uint64(psi & 63)
    before, fresh = marks.copy(), np.zeros_like(marks)
    found = kernels.mark_surroundings(image.astype(np.int32), row.astype(np.int32), angle.astype(np.int16), near,
                                      neighbours, n_psi, marks, fresh)
    expected = np.zeros_like(known)
    for b, r, p in zip(image[near], row[near], angle[near]):
        reference, shift = divmod(r // 2, shifts)
        for next_shift, step in itertools.product(neighbours[shift], (-1, 0, 1)):
            if next_shift >= 0:
                expected[reference * shifts + next_shift, b, r % 2, (p + step) % n_psi] = True
    expected &= ~known
    np.testing.assert_array_equal(bits(fresh, n_psi), expected)
    assert found == expected.sum()
    np.testing.assert_array_equal(marks, before)


def test_score_cells_scores_the_marked_cells(scene):
    grid, n_psi = scene.grid, scene.grid.disk.n_psi
    count = len(scene.x)
    marks = np.random.default_rng(5).integers(0, 2**63, (len(scene.templates), count, 2, -(-n_psi // 64)), np.uint64)
    if n_psi % 64:
        marks[..., -1] &= np.uint64(2 ** (n_psi % 64) - 1)
    marks[3] = 0
    wanted = bits(marks, n_psi)
    harmonics = np.array([0, 2, 4])
    power = np.random.default_rng(6).random((count, 2, 2, 2, 3), np.float32)
    arguments = (scene.x, grid.disk.sign, scene.templates, grid.cell_cosine, grid.cell_sine, power, harmonics, marks)
    found = kernels.score_cells(*arguments, *empty(0)[:4])
    assert found == wanted.sum()
    image, row, angle, score = empty(found)[:4]
    assert kernels.score_cells(*arguments, image, row, angle, score) == found
    order = list(zip(row, image, angle))
    assert order == sorted(order)
    where = row // 2, image, row % 2, angle
    assert wanted[where].all() and len(set(order)) == found
    angles = 2 * np.pi / n_psi * np.outer(angle, harmonics)
    seen = power[image, row // 2 // len(grid.shifts), row % 2]
    expected = scene.expected.swapaxes(0, 1)[where] - (seen[:, 0] * np.cos(angles) + seen[:, 1] * np.sin(angles)).sum(1)
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
    kernels.mean_poses(image.astype(np.int32), row.astype(np.int32), angle.astype(np.int16),
                       weight.astype(np.float32), chosen, shifts, step, n_psi, floor, pose)
    np.testing.assert_allclose(pose, expected, rtol=1e-5, atol=1e-5)
