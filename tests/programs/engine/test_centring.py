"""Centres of class averages, against phantoms placed where they are, in noise as averages of 30 particles have it."""
import numpy as np
import pytest

from mlalign.programs.engine.centring import CENTRES, centre
from mlalign.tests.programs.engine.blobs import DISTINCT, Blobs

N = 48
NOISE = np.sqrt(1 / (0.1 * 30))         # standard deviation to the signal's: particles of SNR 0.1
Y, X = np.mgrid[:N, :N] - N // 2
OFF = [(0.0, 0.0), (4.3, -2.6), (-3.4, -5.1), (1.5, 4.5)]
METHODS = [name for name in CENTRES if name != "nocenter"]


def bright(seed):
    """A phantom without symmetry, bright on dark."""
    blobs = Blobs(seed, count=10, reach=8)
    blobs.heights = abs(blobs.heights)
    return blobs


def mass_of(blobs):
    weight = blobs.heights * blobs.widths**2
    return weight @ blobs.centres / weight.sum()


def ring(x, y):
    return np.exp(-((np.hypot(X - x, Y - y) - 9) / 2.5) ** 2)


def disc(x, y):
    return 1 / (1 + np.exp(2 * (np.hypot(X - x, Y - y) - 9)))


def rod(x, y):
    return np.exp(-(((X - x) * 0.8 + (Y - y) * 0.6) / 9) ** 4 - (((Y - y) * 0.8 - (X - x) * 0.6) / 3) ** 4)


def noisy(image, seed=0):
    signal = image[np.hypot(X, Y) <= N / 2].std()
    return image + NOISE * signal * np.random.default_rng(seed).standard_normal(image.shape)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shape", [ring, disc, rod])
@pytest.mark.parametrize("off", OFF)
def test_symmetric_particles(name, shape, off):
    assert centre(name, shape(*off)) == pytest.approx(off, abs=0.5)
    for seed in range(5):
        assert centre(name, noisy(shape(*off), seed) * 3 - 20) == pytest.approx(off, abs=1)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("off", OFF)
def test_particles_without_symmetry_are_followed(name, seed, off):
    """Where the centre of such a particle is, is a matter of opinion, but the opinion moves with the particle."""
    there, here = (np.array(centre(name, bright(seed).image(N, shift=shift))) for shift in (off, (0, 0)))
    assert there - here == pytest.approx(off, abs=1)
    if name != "xform.centeracf":           # its peaks in such a particle are many, and noise decides among them
        assert np.array(centre(name, noisy(bright(seed).image(N, shift=off)))) - here == pytest.approx(off, abs=1)


@pytest.mark.parametrize("seed", range(6))
def test_centre_of_mass_is_that(seed):
    mass = mass_of(bright(seed))
    assert centre("xform.centerofmass", bright(seed).image(N)) == pytest.approx(mass, abs=1)


@pytest.mark.parametrize("name", METHODS)
def test_dark_and_bright_parts(name):
    for phantom in DISTINCT:
        there, here = (np.array(centre(name, phantom.image(N, shift=shift))) for shift in ((3, -2), (0, 0)))
        assert there - here == pytest.approx((3, -2), abs=1)


@pytest.mark.parametrize("name", CENTRES)
def test_nothing_to_centre(name):
    for value in (0, 7.5):
        assert centre(name, np.full((N, N), value)) == (0, 0)


def test_no_centring():
    assert centre("nocenter", ring(5, 5)) == (0, 0)


@pytest.mark.parametrize("name", METHODS)
def test_odd_boxes(name):
    image = disc(3, -2)[: N - 1, : N - 1]           # pixel n / 2 is one further to the left
    assert centre(name, image) == pytest.approx((4, -1), abs=0.5)
