"""Poses refined by comparators, against scores of all poses around them."""
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from mlalign.programs.engine.averaging import Placed
from mlalign.programs.engine.comparators import Ccc, Dot, Frc, OptVariance, Phase, SqEuclidean, score
from mlalign.programs.engine.local_refinement import refine
from mlalign.tests.programs.engine.test_comparators import drawn

COMPARATORS = [Ccc(), Dot(), SqEuclidean(normto=True), Frc(high=0.2), Phase(ampweight=True), OptVariance()]


class Start:
    """A scene whose poses are off by up to 1.2 px and 5 degrees."""

    def __init__(self, snr=None):
        scene, rng = drawn(), np.random.default_rng(2)
        images = scene.images
        if snr is not None:
            images = images + np.sqrt((images**2).mean() / snr) * rng.standard_normal(images.shape)
        self.truth = scene.placed
        self.common = scene.rings, scene.harmonics(images), scene.samples()
        off = rng.uniform(-1, 1, (3, len(images)))
        self.placed = replace(self.truth, x=self.truth.x + 1.2 * off[0], y=self.truth.y + 1.2 * off[1],
                              psi=self.truth.psi + np.deg2rad(5) * off[2])

    def refine(self, comparator, placed=None, **more):
        return refine(*self.common, self.placed if placed is None else placed, comparator, **more)

    def score(self, placed, comparator):
        return score(*self.common, placed, comparator)

    def errors(self, placed):
        """Of shifts in px, of angles in degrees."""
        turned = np.rad2deg(np.abs(np.angle(np.exp(1j * (placed.psi - self.truth.psi)))))
        return np.hypot(placed.x - self.truth.x, placed.y - self.truth.y), turned


@pytest.fixture(scope="module")
def clean():
    return Start()


@pytest.fixture(scope="module")
def noisy():
    return Start(snr=0.3)


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_images_without_noise_come_home(clean, comparator):
    """Those that have nothing added, or only a little."""
    like = clean.score(clean.truth, Ccc()) > 0.95
    got = clean.refine(comparator)
    shift, turned = (errors[like] for errors in clean.errors(got))
    before, _ = clean.errors(clean.placed)
    assert like.sum() > 8 and before[like].mean() > 0.6
    assert np.median(shift) < 0.05 and np.median(turned) < 0.5 and shift.max() < 0.4
    for name in ("image", "ref", "mirrored", "weight", "half"):
        assert (getattr(got, name) == getattr(clean.placed, name)).all()


@pytest.mark.parametrize("comparator", COMPARATORS)
def test_no_score_becomes_worse(noisy, comparator):
    before, after = (noisy.score(placed, comparator) for placed in (noisy.placed, noisy.refine(comparator)))
    assert (after >= before - 1e-5 * np.abs(before)).all() and (after > before + 1e-4).mean() > 0.9
    again = noisy.score(noisy.refine(comparator, noisy.refine(comparator)), comparator)
    # a rugged score has other hills within a first step
    assert (again >= after - 1e-5 * np.abs(after)).all() and (again < after + 0.01 * np.ptp(after)).mean() > 0.9


def test_nothing_around_is_better(noisy):
    """Every pose of a grid around where it ended has a lower score, and few of those farther away a higher one."""
    got = noisy.refine(Ccc())
    best = noisy.score(got, Ccc())

    def highest(step, angle):
        return np.max([noisy.score(replace(got, x=got.x + step * x, y=got.y + step * y,
                                           psi=got.psi + np.deg2rad(angle) * a), Ccc())
                       for x, y, a in product((-1, 0, 1), repeat=3) if (x, y, a) != (0, 0, 0)], 0)

    assert (best >= highest(0.05, 0.5) - 1e-5).all()
    assert (best >= highest(0.3, 3)).mean() > 0.95


def test_axes_without_a_step_stay(noisy):
    turned = noisy.refine(Ccc(), step=(0, 0, 5))
    assert (turned.x == noisy.placed.x).all() and (turned.y == noisy.placed.y).all()
    moved = noisy.refine(Ccc(), step=(1, 1, 0))
    assert (moved.psi == noisy.placed.psi).all()
    along = noisy.refine(Ccc(), step=(1, 0, 0))
    assert (along.y == noisy.placed.y).all() and (along.x != noisy.placed.x).mean() > 0.9
    start = noisy.score(noisy.placed, Ccc())
    for some in (turned, moved, along):
        rise = noisy.score(some, Ccc()) - start
        assert rise.min() >= -1e-6 and (rise > 1e-3).mean() > 0.5
    still = noisy.refine(Ccc(), step=(0, 0, 0))
    assert (still.x == noisy.placed.x).all() and (still.psi == noisy.placed.psi).all()


def test_shifts_stay_within_the_limit(noisy):
    start = np.hypot(noisy.placed.x, noisy.placed.y)
    got = noisy.refine(Ccc(), maxshift=1.5)
    length = np.hypot(got.x, got.y)
    assert (length <= np.maximum(start, 1.5) + 1e-6).all()
    free = noisy.refine(Ccc())
    assert (np.hypot(free.x, free.y) > np.maximum(start, 1.5) + 0.05).sum() > 3
    inside = np.hypot(free.x, free.y) < 1
    assert (got.x - free.x)[inside] == pytest.approx(0, abs=0.1)
    along = noisy.refine(Ccc(), step=(1, 0, 5), maxshift=1.5)
    assert (along.y == noisy.placed.y).all() and (np.hypot(along.x, along.y) <= np.maximum(start, 1.5) + 1e-6).all()


def test_precision_and_rounds(clean):
    none = clean.refine(Ccc(), maxiter=0)
    assert (none.x == clean.placed.x).all()
    like = clean.score(clean.truth, Ccc()) > 0.95
    errors = [clean.errors(clean.refine(Ccc(), **how))[0][like].mean() for how in (
        {"maxiter": 1}, {"precision": 0.6}, {})]
    assert errors[0] > 2 * errors[2] and errors[1] > errors[2]


def test_blocks_and_pools_change_nothing(noisy, workers, monkeypatch):
    whole = noisy.refine(Ccc())
    pooled = noisy.refine(Ccc(), pool=workers.map)
    assert (pooled.x == whole.x).all() and (pooled.psi == whole.psi).all()
    monkeypatch.setattr("mlalign.programs.engine.local_refinement.BLOCK", 11)
    parts = noisy.refine(Ccc())
    assert noisy.score(parts, Ccc()) == pytest.approx(noisy.score(whole, Ccc()), abs=1e-4)
    nobody = noisy.refine(Ccc(), Placed(*(column[:0] for column in vars(noisy.placed).values())))
    assert nobody.x.shape == nobody.psi.shape == (0,)
