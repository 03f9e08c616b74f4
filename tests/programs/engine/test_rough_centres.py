"""Rough centres of particles: planted places, the reach, the steps against pixels, and images that say nothing."""
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine import rough_centres as module
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.rough_centres import rough_centres
from mlalign.tests.programs.engine.blobs import Stack


def particles(count, n, spread, noise=0.5, seed=0):
    """Images of lumpy discs of n / 5 px in radius, at places within ``spread`` px; a :class:`.blobs.Stack`, (x, y)."""
    rng = np.random.default_rng(seed)
    angle, distance = rng.uniform(0, 2 * np.pi, count), spread * np.sqrt(rng.random(count))
    places = np.stack([distance * np.cos(angle), distance * np.sin(angle)], 1)
    y, x = np.mgrid[:n, :n] - n // 2
    images = noise * rng.standard_normal((count, n, n))
    for image, (px, py) in zip(images, places):
        image += 1 / (1 + np.exp((np.hypot(x - px, y - py) - n / 5) / 1.5))
        lump = rng.uniform(0, 2 * np.pi)
        away = (x - px - n / 12 * np.cos(lump)) ** 2 + (y - py - n / 12 * np.sin(lump)) ** 2
        image += 0.6 * np.exp(-away / (2 * (n / 20) ** 2))
    return Stack(images), places


def found(stack, reach, radius=None, pool=map, rows=None):
    rows = np.arange(stack.count) if rows is None else rows
    return rough_centres(stack.read, rows, stack.size, reach, radius or 0.4 * stack.size, pool)


@pytest.mark.parametrize(("n", "spread"), [(96, 12), (50, 5), (64, 0)])
def test_planted_places_are_found(n, spread):
    stack, places = particles(60, n, spread)
    error = found(stack, n / 3) - places
    error -= error.mean(0)          # where the middle of a particle is may be a matter of taste, but the same for all
    assert np.hypot(*error.T).mean() < 0.02 * n and np.hypot(*error.T).max() < 0.06 * n
    assert np.abs((found(stack, n / 3) - places).mean(0)).max() < 0.02 * n


@pytest.mark.parametrize("reach", [0, 2.5, 8])
def test_the_reach_is_respected(reach):
    stack, places = particles(40, 96, 25)
    got = np.hypot(*found(stack, reach).T)
    assert got.max() <= reach + 1e-9
    assert (got[np.hypot(*places.T) > 2 * reach] > 0.6 * reach).all() or reach == 0


def test_some_of_the_images():
    stack, _ = particles(30, 48, 5)
    rows = np.array([3, 29, 7, 8, 0, 11, 2])
    assert found(stack, 10, rows=rows) == pytest.approx(found(Stack(stack.images[rows]), 10))
    assert found(stack, 10, rows=rows[:1]).shape == (1, 2)


def test_workers_and_strength_change_nothing(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    stack, _ = particles(50, 48, 5)
    workers = Workers(3)
    try:
        many = found(stack, 10, pool=workers.map)
    finally:
        workers.close()
    assert (many == found(stack, 10)).all()
    assert found(Stack(4 * stack.images + 7), 10) == pytest.approx(many, abs=0.05)


def test_images_that_say_nothing_stay_in_the_middle():
    stack, _ = particles(20, 48, 5)
    stack.images[[0, 7]] = 0
    got = found(stack, 12)
    assert got[[0, 7]] == pytest.approx(0, abs=1e-6) and np.abs(got[1:7]).max() > 1
    assert not found(Stack(np.zeros((3, 48, 48))), 12).any()


@pytest.mark.parametrize(("n", "m"), [(48, 24), (50, 24)])
def test_images_are_made_smaller(n, m):
    """What is smooth keeps its values, at the places between the old pixels; the middle stays the middle."""
    y, x = np.mgrid[:n, :n] - n // 2
    image = np.exp(-((x - 3) ** 2 + (y + 5) ** 2) / (2 * 4.0**2))
    got = np.fft.irfft2(module._reduced(image[None], m)[0], (m, m)) * (m / n) ** 2
    v, u = (np.mgrid[:m, :m] - m // 2) * n / m
    assert got == pytest.approx(np.exp(-((u - 3) ** 2 + (v + 5) ** 2) / (2 * 4.0**2)), abs=2e-3)


def test_sum_of_moved_images():
    images = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((4, 20, 20)), (0, 2, 2), mode="wrap")
    places = np.array([[2, 0], [0, -3], [5, 1], [-4, -4]])
    got = np.fft.irfft2(module._sum_of_moved(np.fft.rfft2(images), places.astype(float)), (20, 20))
    assert got == pytest.approx(sum(np.roll(image, (-y, -x), (0, 1)) for image, (x, y) in zip(images, places)))


def test_the_best_place_against_loops():
    """The highest product with the pattern moved to every allowed pixel, and the parabolas through it."""
    rng, m = np.random.default_rng(1), 16
    image, pattern = (ndimage.gaussian_filter(rng.standard_normal((m, m)), 1.5, mode="wrap") for _ in range(2))
    allowed = np.hypot(*(np.mgrid[:m, :m] - m // 2)) <= 5
    table = np.array([[(image * np.roll(pattern, (y, x), (0, 1))).sum() for x in range(-8, 8)] for y in range(-8, 8)])
    y, x = np.unravel_index(np.where(allowed, table, -np.inf).argmax(), table.shape)
    conjugate = np.conj(np.fft.rfft2(np.fft.ifftshift(pattern)))
    # products with a pattern whose middle is at pixel 0
    got = module._places(np.fft.rfft2(image)[None], conjugate, allowed)[0]
    assert np.abs(got - [x - 8, y - 8]).max() <= 0.5 and (got != np.rint(got)).any()
    for axis, values in ((0, table[y, x - 1 : x + 2]), (1, table[y - 1 : y + 2, x])):
        second, first, _ = np.polyfit([-1, 0, 1], values, 2)
        top = np.clip(-first / (2 * second), -0.5, 0.5) if second < 0 else 0
        assert got[axis] - [x - 8, y - 8][axis] == pytest.approx(top, abs=1e-6)


def test_images_beyond_the_memory_are_read_again_and_found_in_the_same_places(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 16)
    stack, _ = particles(50, 48, 5)
    read = []

    def reading(rows):
        read.append(len(rows))
        return stack.read(rows)

    rows, bytes_of_one = np.arange(stack.count), 8 * 24 * 13
    everything = rough_centres(reading, rows, 48, 10, 19)
    assert sum(read) == stack.count
    for blocks in (0, 2):
        read.clear()
        some = rough_centres(reading, rows, 48, 10, 19, memory=(16 * blocks + 1) * bytes_of_one)
        assert (some == everything).all()
        kept = blocks * read[0] if blocks else 0
        assert sum(read) == kept + 2 * module.ROUNDS * (stack.count - kept)
