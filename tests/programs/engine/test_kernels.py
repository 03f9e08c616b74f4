"""The compiled loops against plain ones: dictionaries of cells, tables of scores."""
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import kernels
from mlalign.programs.engine.local import EVERYWHERE
from mlalign.tests.programs.engine.blobs import partial_weights, random_scores, table_of

B, REFERENCES, SHIFTS = 3, 2, 5
T = REFERENCES * SHIFTS
KAPPA = np.float32(0.4)
NU, TAU = np.float32(20), np.array([0.005, 0.01, 0.02], np.float32)


def empty(count):
    return tuple(np.empty(count, kind) for kind in (np.int32, np.int32, np.int16, np.float32, np.float32))


@pytest.fixture(params=[12, 18])                 # with pi / 2 among the angles, and without
def partial(request):
    """Partial scores g at n_psi angles; their scores; priors, grey scales."""
    rng, n_psi = np.random.default_rng(1), request.param
    g = random_scores(rng, B, T, n_psi)
    return SimpleNamespace(
        n_psi=n_psi, g=g, table=table_of(g, n_psi), prior=rng.standard_normal((2, T)).astype(np.float32),
        scale=rng.uniform(0.5, 1.5, (B, REFERENCES)).astype(np.float32))


def posterior(partial, scale=None, student=False):
    """Gains and log-posteriors (B, T, 2, n_psi), written out."""
    r = np.repeat(np.ones((B, REFERENCES)) if scale is None else scale, SHIFTS, axis=1)[:, :, None, None]
    gain = r * partial.table * KAPPA
    tail = -NU * np.log(1 - TAU[:, None, None, None] * gain) if student else gain
    return gain, tail + partial.prior.T[:, :, None]


def extract(partial, threshold, scale, nu, room, allowed=EVERYWHERE, tops=np.inf):
    row_top = np.full((2, B, T), tops, np.float32)
    cells = empty(room)
    found = kernels.extract_cells(partial.g, row_top, threshold, partial.prior, scale, SHIFTS, KAPPA, nu, TAU,
                                  allowed, partial.n_psi, cells)
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
    tops = expected.max(3).transpose(2, 0, 1)
    found, cells = extract(partial, threshold, scale, nu, T * 2 * partial.n_psi * B, tops=tops)
    image, row, psi, logp, e = (column[:found] for column in cells)
    listed = set(zip(image, row // 2, row % 2, psi))
    assert len(listed) == found
    assert listed == set(zip(*np.nonzero(expected >= threshold[:, None, None, None])))
    where = image, row // 2, row % 2, psi
    np.testing.assert_allclose(logp, expected[where], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(e, gain[where], rtol=1e-4, atol=1e-5)


def test_extract_allowed_cells(partial):
    allowed = np.random.default_rng(5).random((B, 2, partial.n_psi, SHIFTS)) < 0.4
    threshold, room = np.full(B, -99, np.float32), T * 2 * partial.n_psi * B
    found, cells = extract(partial, threshold, partial.scale, np.float32(0), room, allowed)
    image, row, psi = (column[:found] for column in cells[:3])
    everywhere = np.repeat(allowed.transpose(0, 3, 1, 2)[:, None], REFERENCES, axis=1).reshape(B, T, 2, partial.n_psi)
    assert set(zip(image, row // 2, row % 2, psi)) == set(zip(*np.nonzero(everywhere)))
    order = list(zip(row, image, psi))
    assert order == sorted(order)


def test_extract_cells_counts_what_does_not_fit(partial):
    ones, threshold = np.ones((B, REFERENCES), np.float32), np.full(B, -np.inf, np.float32)
    assert extract(partial, threshold, ones, np.float32(0), 0)[0] == B * T * 2 * partial.n_psi
    found, cells = extract(partial, threshold, ones, np.float32(0), 7)
    _, all_cells = extract(partial, threshold, ones, np.float32(0), found)
    for some, every in zip(cells, all_cells):
        np.testing.assert_array_equal(some, every[:7])


def test_the_best_cell_of_a_row_is_extracted_whatever_rounding_makes_of_it(partial):
    _, logp = posterior(partial)
    found, cells = extract(partial, np.full(B, 99, np.float32), np.ones((B, REFERENCES), np.float32), np.float32(0), 99)
    assert found == B * T * 2
    image, row, psi = (column[:found] for column in cells[:3])
    np.testing.assert_array_equal(psi, logp.argmax(3)[image, row // 2, row % 2])


def test_extract_cells_leaves_out_rows_whose_best_is_too_low(partial):
    row_top = np.full((2, B, T), -np.inf, np.float32)
    row_top[1, 2, 4] = 0
    cells = empty(100)
    found = kernels.extract_cells(partial.g, row_top, np.full(B, -99, np.float32), partial.prior,
                                  np.ones((B, REFERENCES), np.float32), SHIFTS, KAPPA, np.float32(0), TAU,
                                  EVERYWHERE, partial.n_psi, cells)
    assert found == partial.n_psi
    assert set(cells[0][:found]) == {2} and set(cells[1][:found]) == {9}


@pytest.mark.parametrize("mirror", [True, False])
def test_dense_weights(partial, mirror):
    """to_log_posterior, sum_rows and cells_of_class see each cell once, with its own log-posterior."""
    _, logp = posterior(partial)
    if not mirror:
        logp = np.where(np.arange(2)[:, None] == 1, -np.inf, logp)
    top = logp.max((1, 2, 3))
    p = partial.g.copy()
    kernels.to_log_posterior(p, mirror, partial.prior, KAPPA, top.astype(np.float32), partial.n_psi)
    np.exp(p, out=p)
    expected = np.exp(logp - top[:, None, None, None])
    rows = np.empty((2, B, T), np.float32)
    kernels.sum_rows(p, rows)
    np.testing.assert_allclose(rows, expected.sum(3).transpose(2, 0, 1), rtol=1e-4)

    floor, chosen = 0.1, np.array([0, 1, 0])
    cells = empty(B * T * 2 * partial.n_psi)[:4]
    listed = {}
    for first in range(REFERENCES):                                   # a tile for each reference
        tile = np.ascontiguousarray(p[..., first * SHIFTS : (first + 1) * SHIFTS])
        found = kernels.cells_of_class(tile, chosen, SHIFTS, first, floor, partial.n_psi, cells)
        assert found == kernels.cells_of_class(tile, chosen, SHIFTS, first, floor, partial.n_psi,
                                               empty(0)[:4])
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
    rng, inverse = np.random.default_rng(2), np.array([1, 0.5, 2], np.float32)
    weights = rng.random((B, T, 2, partial.n_psi)).astype(np.float32)
    found = partial_weights(weights, inverse)
    expected = np.einsum("btmp,btmp,b->", weights, partial.table, inverse)
    assert np.vdot(found, partial.g.astype(float)) == pytest.approx(expected, rel=1e-4)
