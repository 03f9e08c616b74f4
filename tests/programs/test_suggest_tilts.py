"""What subtomograms tell about the tilts that observed them."""
import numpy as np
import pytest

from mlalign.programs import suggest_tilts
from mlalign.programs.engine.missing import Region

BOX = 24
REGIONS = {
    "wedge": (Region(1, "wedge_y", y=(-60, 50)), "y", (-60, 50)),
    "narrow": (Region(1, "wedge_y", y=(-35, 40)), "y", (-35, 40)),
    "about X": (Region(1, "wedge_x", x=(-45, 66)), "x", (-45, 66)),
    "cone": (Region(1, "cone", cone=50), None, (-50, 50)),
    "pyramid Y": (Region(1, "pyramid", y=(-60, 60), x=(-40, 55)), "y", (-60, 60)),
    "pyramid X": (Region(1, "pyramid", y=(-60, 60), x=(-40, 55)), "x", (-40, 55)),
}


def volumes(region=None, count=6, size=BOX, everywhere=0.0):
    """Noise that falls off with the frequency, where ``region`` was observed; ``everywhere``: share that is not cut."""
    k = np.fft.fftfreq(size)
    kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
    filled = np.random.default_rng(0).normal(0, 1, (count, size, size, size))
    weight = np.exp(-(kz**2 + ky**2 + kx**2) / 0.08)
    if region is not None:
        weight = weight * (everywhere + (1 - everywhere) * region.observed(kx, ky, kz))
    return np.fft.ifftn(np.fft.fftn(filled, axes=(1, 2, 3)) * weight, axes=(1, 2, 3)).real + 3


@pytest.mark.parametrize("name", REGIONS)
@pytest.mark.parametrize("size, everywhere", [(BOX, 0.0), (BOX + 1, 0.0), (BOX, 0.5)])
def test_estimated_tilts(name, size, everywhere):
    region, axis, expected = REGIONS[name]
    found = suggest_tilts.estimated_tilts(suggest_tilts.mean_power(volumes(region, 6, size, everywhere)), axis)
    assert np.abs(np.subtract(found, expected)).max() <= 3


@pytest.mark.parametrize("axis", ["y", "x", None])
def test_nothing_missing(axis):
    assert suggest_tilts.estimated_tilts(suggest_tilts.mean_power(volumes()), axis) is None


@pytest.mark.parametrize("name", ["wedge", "narrow", "about X"])
def test_likely_axis(name):
    region, axis, _ = REGIONS[name]
    assert suggest_tilts.likely_axis(suggest_tilts.mean_power(volumes(region))) == axis


@pytest.mark.parametrize("size", [8, 9])
def test_mean_power(size):
    """By its definition, coefficient after coefficient."""
    some = volumes(count=3, size=size)
    expected = np.zeros((size,) * 3)
    for volume in some:
        expected += np.abs(np.fft.fftshift(np.fft.fftn((volume - volume.mean()) / volume.std()))) ** 2
    shells = {}
    for place, value in np.ndenumerate(expected):
        shells.setdefault(round(np.linalg.norm(np.array(place) - size // 2)), []).append((place, value))
    for shell in shells.values():
        mean = np.mean([value for _, value in shell])
        for place, value in shell:
            expected[place] = value / max(mean, 1e-30)
    np.testing.assert_allclose(suggest_tilts.mean_power(some), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [8, 9])
def test_sections(size):
    power = np.random.default_rng(2).random((size,) * 3)
    middle = size // 2
    np.testing.assert_allclose(suggest_tilts.section(power, "y"), power[:, middle - 1:middle + 2].mean(1))
    np.testing.assert_allclose(suggest_tilts.section(power, "x"), power[:, :, middle - 1:middle + 2].mean(2))
    found = suggest_tilts.section(power, None)
    assert found.shape == (size, size)
    for column in range(size):
        ring = [power[:, y, x] for y in range(size) for x in range(size)
                if round(np.hypot(y - middle, x - middle)) == abs(column - middle)]
        np.testing.assert_allclose(found[:, column], np.mean(ring, axis=0))


def test_tilt_of_one_frequency():
    """A frequency on the plane kz = -kx tan(30) is at a tilt of 30 degrees."""
    power = np.zeros((33,) * 3)
    power[16 - 5, 16, 16 + 9] = 1
    tilts, values = suggest_tilts.tilt_profile(power, "y")
    assert tilts[values.argmax()] == pytest.approx(np.rad2deg(np.arctan(5 / 9)), abs=suggest_tilts.BIN)
    power = np.zeros((33,) * 3)
    power[16 - 5, 16 - 9, 16] = 1
    tilts, values = suggest_tilts.tilt_profile(power, "x")
    assert tilts[values.argmax()] == pytest.approx(-np.rad2deg(np.arctan(5 / 9)), abs=suggest_tilts.BIN)
