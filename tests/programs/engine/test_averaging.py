"""Averages of images moved back, against the reference they were drawn from; CTFs against their formula."""
import numpy as np
import pytest

from mlalign.programs.engine.averaging import Transfer, add_up
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT
from mlalign.tests.programs.engine.placed_images import PIXEL, N, drawn, random_ctf, random_placed

COUNT = 150


@pytest.fixture(scope="module")
def rings():
    return Rings(N, N / 2, 3)


@pytest.fixture(scope="module")
def placed():
    return random_placed(COUNT)


def test_averages_are_the_references(rings, placed):
    x = rings.expand(rings.sample(drawn(placed).astype(np.float32)))
    sums = add_up(rings, x, placed, 4)
    halves, whole = sums.averages()
    for k in range(3):
        expected = DISTINCT[k].image(N)
        for got in rings.images(np.stack([whole[k], *halves[k]])):
            assert np.abs(got - expected).max() < 0.01 * np.abs(expected).max()
        for half in (0, 1):
            mine = (placed.ref == k) & (placed.half == half)
            assert sums.weight[k, half] == pytest.approx(placed.weight[mine].sum())
    assert (sums.weight[3] == 0).all() and (whole[3] == 0).all()


def test_a_pool_changes_nothing(rings, placed, workers):
    x = rings.expand(rings.sample(drawn(placed).astype(np.float32)))
    assert (add_up(rings, x, placed, 3).numerator == add_up(rings, x, placed, 3, pool=workers.map).numerator).all()


def test_squared_ctfs_in_the_frame_of_the_average(rings, placed):
    ctf, b_factor = random_ctf(COUNT), np.full(COUNT, 30.0)
    transfer = Transfer.of(rings, ctf, PIXEL, b_factor)
    x = np.zeros((COUNT, rings.size), np.float32)
    got = add_up(rings, x, placed, 3, transfer).power
    expected = np.zeros((3, 2, len(rings.kx)))
    for i in range(COUNT):
        # where the average's frequency lies in the image: mirrored, then turned
        kx, ky = rings.kx, rings.ky * (-1 if placed.mirrored[i] else 1)
        azimuth, radius = np.arctan2(ky, kx) + placed.psi[i], np.hypot(kx, ky) / (2 * np.pi * PIXEL)
        squared = ctf[i : i + 1](radius, azimuth)[0].astype(float) ** 2 * np.exp(-b_factor[i] * radius**2 / 2)
        expected[placed.ref[i], placed.half[i]] += placed.weight[i] * squared
    assert got == pytest.approx(expected, abs=2e-3 * expected.max())


def test_mean_squared_ctfs(rings):
    ctf = random_ctf(3)
    angle = np.arange(360) * np.pi / 180
    radius = rings.k / (2 * np.pi * PIXEL)
    expected = (ctf(radius[:, None], angle).astype(float) ** 2).mean(-1)
    assert Transfer.of(rings, ctf, PIXEL, np.zeros(3)).power() == pytest.approx(expected, abs=0.05)
    assert Transfer.of(rings, ctf, PIXEL, np.zeros(3)).power().mean() == pytest.approx(expected.mean(), abs=0.01)


def test_wiener_averages(rings, placed):
    transfer = Transfer.of(rings, random_ctf(COUNT), PIXEL, np.zeros(COUNT))
    x = rings.expand(rings.sample(drawn(placed).astype(np.float32)))
    sums = add_up(rings, x, placed, 3, transfer)
    halves, whole = sums.averages(noise=2.0)
    assert whole == pytest.approx(sums.numerator.sum(1) / (sums.power.sum(1) + 2))
    assert halves == pytest.approx(sums.numerator / (sums.power + 2))
