"""Masks that follow a particle, against phantoms whose outline is known."""
import numpy as np
import pytest

from mlalign.programs.engine.automask import _split, automask
from mlalign.programs.engine.processors import soft_disc

N = 64
Y, X = np.mgrid[:N, :N] - N // 2
DISTANCE = np.hypot(X, Y)


def rod(x=0, y=0):
    return ((np.abs((X - x) * 0.8 + (Y - y) * 0.6) < 14) & (np.abs((Y - y) * 0.8 - (X - x) * 0.6) < 5)).astype(float)


def shell(x=0, y=0):
    return ((np.hypot(X - x, Y - y) < 15) & (np.hypot(X - x, Y - y) > 11)).astype(float)


def noisy(image, deviation=0.5):
    return 3 * (image + deviation * np.random.default_rng(0).standard_normal(image.shape)) - 7


@pytest.mark.parametrize("place", [(0, 0), (4, -3)])
@pytest.mark.parametrize("deviation", [0, 0.5])
def test_the_mask_holds_the_particle_and_not_much_more(place, deviation):
    particle = rod(*place) > 0
    mask = automask(noisy(rod(*place), deviation))
    assert mask.shape == (N, N) and mask.min() >= 0 and mask.max() == 1
    assert (mask[particle] > 0.9).all()
    assert mask.sum() < 2.2 * particle.sum() + 200 and (mask[DISTANCE > 28] < 0.05).all()


def test_holes_belong_to_the_particle():
    mask = automask(noisy(shell(2, 1)))
    assert (mask[np.hypot(X - 2, Y - 1) < 13] == 1).all()


def test_neighbours_do_not():
    neighbour = np.hypot(X - 25, Y - 16) < 8
    mask = automask(noisy(rod(-6, -2) + 1.5 * neighbour))
    assert (mask[neighbour] < 0.1).mean() > 0.9 and (mask[rod(-6, -2) > 0] > 0.9).all()


def test_the_edge_is_soft():
    mask = automask(rod())
    assert np.abs(np.diff(mask, axis=0)).max() < 0.5 and ((mask > 0.05) & (mask < 0.95)).sum() > 50


@pytest.mark.parametrize("image", [np.zeros((N, N)), np.full((N, N), 3.0), (DISTANCE > 27) * 1.0,
                                   (DISTANCE < 1) * 1.0 + (DISTANCE > 26) * 5],
                         ids=["zero", "constant", "rim", "speck"])
def test_the_disc_where_no_particle_is(image):
    assert (automask(image) == soft_disc(N)).all()


def test_where_two_groups_of_values_part():
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 700), rng.normal(8, 1, 300)])

    def within(threshold):
        return sum(part.var() * len(part) for part in (values[values < threshold], values[values >= threshold]))

    best = min(np.linspace(values.min(), values.max(), 300)[1:-1], key=within)
    assert (values > _split(values)).sum() == pytest.approx((values > best).sum(), abs=10)
