"""Vectors of harmonics: their layout, turns and scores, against functions written out and vectors turned one by one."""
import numpy as np
import pytest

from mlalign.programs.engine import harmonics
from mlalign.programs.engine.harmonics import Compared, Orders
from mlalign.tests.programs.engine.volume_scenes import some_rotations, turn_about_z, written_out

LAYOUTS = [(2, 2, 2, 2, 2), (4, 3, 2, 2, 1, 1), (3, 0, 3, 0, 3), (0, 2, 0, 1), (1,), (2, 1, 0)]
ANGLES = [[0.0], [0.3, -2.2, 11.0], 2 * np.pi / 7 * np.arange(7), 0.05 + np.pi / 4 * np.arange(8)]


@pytest.fixture(params=LAYOUTS, ids=str)
def layout(request):
    return Orders(request.param)


def vectors(layout, count, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((count, layout.size)).astype(dtype)


def explicit_scores(layout, x, templates, angles):
    """Every x turned by every angle, in float64, and its inner product with every template: (angles, B, T)."""
    turns = np.stack([turn_about_z(angle) for angle in angles])
    return np.stack([layout.turned(x.astype(float), turn[None]) @ templates.T.astype(float) for turn in turns])


# ---- the layout

def test_every_component_has_one_place():
    layout = Orders((3, 0, 2, 1))
    assert layout.size == 3 * 1 + 2 * 5 + 1 * 7 and layout.highest == 3
    assert [places.shape for places in layout.degrees] == [(1, 3), (3, 0), (5, 2), (7, 1)]
    assert sorted(np.concatenate([places.ravel() for places in layout.degrees])) == list(range(layout.size))
    assert [np.count_nonzero(layout.degree == l) for l in range(4)] == [3, 0, 10, 7]


def test_places_stand_by_order_cosines_before_sines():
    layout = Orders((2, 1, 3))
    # m = 0: (0, a), (0, b), (1, a), (2, a), (2, b), (2, c); m = 1: (1, a), (2, a), (2, b), (2, c) of both; m = 2: l = 2
    assert [(part.start, part.stop) for part in layout.slices] == [(0, 6), (6, 14), (14, 20)]
    assert layout.degrees[0].tolist() == [[0, 1]]
    assert layout.degrees[1].tolist() == [[2], [6], [10]]
    assert layout.degrees[2].tolist() == [[3, 4, 5], [7, 8, 9], [14, 15, 16], [11, 12, 13], [17, 18, 19]]


# ---- turns

@pytest.mark.parametrize("rotation", some_rotations(1))
def test_a_turned_vector_is_the_turned_function(rotation):
    layout = Orders((2, 0, 2, 2))
    points = np.random.default_rng(2).normal(size=(3, 40))
    points /= np.linalg.norm(points, axis=0)
    vector = vectors(layout, 1, dtype=float)
    turned = layout.turned(vector, rotation[None])[0]
    np.testing.assert_allclose(written_out(layout, turned, points), written_out(layout, vector[0], rotation.T @ points),
                               atol=1e-8)


def test_turns_compose_and_keep_inner_products(layout):
    first, second = some_rotations(3)[:, None], some_rotations(4)[:, None]
    x, y = vectors(layout, 2, dtype=float)[:, None]
    for a, b in zip(first, second):
        np.testing.assert_allclose(layout.turned(layout.turned(x, b), a), layout.turned(x, a @ b), atol=1e-7)
        np.testing.assert_allclose(layout.turned(x, a) @ layout.turned(y, a).T, x @ y.T, atol=1e-10)
        np.testing.assert_allclose(layout.turned(layout.turned(x, a), np.swapaxes(a, 1, 2)), x, atol=1e-7)


def test_each_vector_has_its_rotation_or_all_share_one(layout, monkeypatch):
    rotations, x = some_rotations(5), vectors(layout, 9)
    one_by_one = np.concatenate([layout.turned(a[None], r[None]) for a, r in zip(x, rotations)])
    many_of_one = np.concatenate([layout.turned(x[:1], r[None]) for r in rotations])
    all_by_one = np.concatenate([layout.turned(a[None], rotations[:1]) for a in x])
    for at_a_time in (2**22, 2 * layout.size, 1):               # numbers in flight: all vectors, two, one
        monkeypatch.setattr(harmonics, "TURNED_TOGETHER", at_a_time)
        for found, expected in ((layout.turned(x, rotations), one_by_one),
                                (layout.turned(x[:1], rotations), many_of_one),
                                (layout.turned(x, rotations[:1]), all_by_one)):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-6)


def test_turns_about_z_are_turns(layout):
    angles, x = np.array([0.0, 0.4, -3.0, 7.0]), vectors(layout, 4, dtype=float)
    expected = layout.turned(x, np.stack([turn_about_z(angle) for angle in angles]))
    np.testing.assert_allclose(layout.turned_about_z(x, angles), expected, atol=1e-12)


# ---- scores at all angles

def by_angle(scores):
    """Scores (T, angles, B) as (angles, B, T)."""
    return scores.transpose(1, 2, 0)


@pytest.mark.parametrize("angles", ANGLES, ids=len)
def test_scores_are_inner_products_of_turned_vectors(layout, angles):
    x, templates = vectors(layout, 3, 1), vectors(layout, 5, 2)
    found = layout.scores(x, Compared(layout, templates), layout.angular_table(angles))
    assert found.dtype == np.float32 and found.shape == (1, 5, len(angles), 3)
    np.testing.assert_allclose(by_angle(found[0]), explicit_scores(layout, x, templates, angles), atol=2e-5)


@pytest.mark.parametrize("angles", ANGLES, ids=len)
def test_halves_are_the_scores_of_templates_half_a_turn_apart(layout, angles):
    x, templates = vectors(layout, 3, 1), vectors(layout, 4, 2)
    found = layout.scores(x, Compared(layout, templates, halves=True), layout.angular_table(angles))
    assert found.shape == (2, 4, len(angles), 3)
    opposite = layout.turned(templates, np.diag([1.0, -1, -1])[None])
    for ours, theirs in ((found[0] + found[1], templates), (found[0] - found[1], opposite)):
        np.testing.assert_allclose(by_angle(ours), explicit_scores(layout, x, theirs, angles), atol=3e-5)


@pytest.mark.parametrize("halves", [False, True])
def test_templates_may_have_angles_of_their_own(layout, halves):
    """The first two, and the next two, have the same."""
    angles, x, templates = np.array([[0.1, -2.0], [1.0, 0.4], [3.0, 9.0]]), vectors(layout, 3, 1), vectors(layout, 4, 2)
    compared = Compared(layout, templates, halves)
    found = layout.scores(x, compared, layout.angular_table(angles))
    for t in range(4):
        expected = layout.scores(x, compared, layout.angular_table(angles[:, t % 2]))
        np.testing.assert_allclose(found[:, t], expected[:, t], atol=1e-5)


@pytest.mark.parametrize("angles", ANGLES, ids=len)
def test_spread_adds_turned_and_weighted_vectors(layout, angles):
    rng = np.random.default_rng(3)
    x, weights = vectors(layout, 3, 1), rng.random((len(angles), 3, 5), np.float32)
    expected = np.ones((5, layout.size))
    for w, angle in zip(weights, angles):
        expected += w.T @ layout.turned(x.astype(float), turn_about_z(angle)[None])
    sums = np.ones((5, layout.size), np.float32)
    layout.spread(weights, x, layout.angular_table(angles), sums)
    np.testing.assert_allclose(sums, expected, atol=2e-5)


def test_spread_is_the_adjoint_of_scores(layout):
    angles = np.array([0.2, 1.0, 4.0])
    table, rng = layout.angular_table(angles), np.random.default_rng(4)
    x, templates = vectors(layout, 3, 1), vectors(layout, 5, 2)
    weights = rng.standard_normal((3, 3, 5)).astype(np.float32)
    sums = np.zeros((5, layout.size), np.float32)
    layout.spread(weights, x, table, sums)
    scores = by_angle(layout.scores(x, Compared(layout, templates), table)[0])
    forth = np.vdot(weights, scores.astype(float))
    assert np.vdot(sums.astype(float), templates) == pytest.approx(forth, rel=1e-5, abs=1e-4)
