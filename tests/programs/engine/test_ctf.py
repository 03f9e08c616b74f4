"""The CTF against physics written out for one coefficient at a time."""
import numpy as np
import pytest

from mlalign.programs.engine.ctf import Ctf, PhaseFlipped
from mlalign.tests.programs.engine.blobs import Stack
from mlalign.tests.programs.engine.spectral_scenes import obvious_ctf, wavelength

#             U      V     angle  kV   Cs   Q0   phase shift
PARAMETERS = [(15000, 15000, 0, 300, 2.7, 0.10, 0),
              (28000, 27100, 40, 300, 2.7, 0.07, 0),
              (9000, 12000, 170, 200, 2.0, 0.10, 60),
              (-4000, 3000, 95, 120, 6.3, 0.20, -30)]


def make(*rows):
    return Ctf(*np.array(rows, float).T)


def test_it_is_what_the_microscope_does():
    rng = np.random.default_rng(0)
    kx, ky = rng.uniform(-0.2, 0.2, (2, 50))
    found = make(*PARAMETERS)(np.hypot(kx, ky), np.arctan2(ky, kx))
    expected = [[obvious_ctf(x, y, *row) for x, y in zip(kx, ky)] for row in PARAMETERS]
    assert found.shape == (4, 50) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.parametrize("kilovolts", [80, 120, 200, 300])
def test_wavelength(kilovolts):
    found = make((1, 1, 0, kilovolts, 1, 0, 0)).wavelength()[0]
    assert found == pytest.approx(wavelength(kilovolts), rel=2e-5)


def test_it_begins_with_the_amplitude_contrast_and_is_positive():
    assert make(PARAMETERS[0])(0.0, 0.0)[0] == pytest.approx(0.1)
    low = make(PARAMETERS[0])(np.linspace(0, 0.05, 20), 0.0)
    assert np.all(low > 0)


def test_the_first_defocus_is_that_along_the_angle_from_x_towards_y():
    ctf, k = make((20000, 10000, 30, 300, 2.7, 0.1, 0)), np.linspace(0, 0.1, 30)
    for azimuth, defocus in ((30, 20000), (210, 20000), (120, 10000), (-60, 10000), (75, 15000), (-15, 15000)):
        plain = make((defocus, defocus, 0, 300, 2.7, 0.1, 0))
        np.testing.assert_allclose(ctf(k, np.deg2rad(azimuth)), plain(k, 0.0), atol=1e-6)


def test_a_phase_plate_of_90_degrees_turns_sine_into_cosine():
    k = np.linspace(0, 0.1, 30)
    plate, none = (make((9000, 9000, 0, 300, 2.7, 0, shift)) for shift in (90, 0))
    np.testing.assert_allclose(plate(k, 0.0), np.cos(none.phase(k, 0.0)), atol=1e-6)


def test_rows_can_be_taken():
    ctf = make(*PARAMETERS)
    part = ctf[[3, 1]]
    assert len(ctf) == 4 and len(part) == 2
    np.testing.assert_array_equal(part.defocus, [-500, 27550])
    np.testing.assert_array_equal(part(0.05, 0.3), ctf(0.05, 0.3)[[3, 1]])


# ---- flipped phases

@pytest.mark.parametrize("n", [24, 25])
def test_phases_are_flipped_where_the_ctf_is_negative(n):
    rng = np.random.default_rng(3)
    images, pixel_size, rows = rng.standard_normal((4, n, n)), 2.5, np.array([2, 0, 3])
    flipped = PhaseFlipped(Stack(images), make(*PARAMETERS), pixel_size)
    assert (flipped.count, flipped.size) == (4, n)
    found = flipped.read(rows)
    k = np.fft.fftfreq(n)
    below = np.ix_(np.abs(k) < 0.49, np.abs(k) < 0.49)             # the sign of k is not defined at Nyquist
    for image, row in zip(found, rows):
        sign = np.sign(obvious_ctf(k / pixel_size, k[:, None] / pixel_size, *PARAMETERS[row]))
        expected = np.fft.fft2(images[row]) * sign
        assert (sign[below] < 0).mean() > 0.2 and (sign != sign.T).any() == (row != 0)
        np.testing.assert_allclose(np.fft.fft2(image)[below], expected[below], atol=1e-4 * np.abs(expected).max())


def test_flipping_phases_twice_changes_nothing():
    images = np.random.default_rng(4).standard_normal((4, 25, 25))
    once = PhaseFlipped(Stack(images), make(*PARAMETERS), 2.5)
    twice = PhaseFlipped(once, make(*PARAMETERS), 2.5)
    rows = np.arange(4)
    assert np.abs(once.read(rows) - images).max() > 1
    np.testing.assert_allclose(twice.read(rows), images, atol=1e-5)
