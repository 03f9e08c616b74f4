"""Missing regions, against the planes that a tilt series observes one by one."""
from functools import partial

import numpy as np
import pytest

from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.errors import UserError

RANGES = [(-60, 60), (-64, 50), (10, 60), (-60, -10), (-30, 60), (-90, -80), (0, 30), (-90, 90), (40, 90), (-45, 0)]
K = np.random.default_rng(0).normal(size=(3, 4000))


def on_a_plane(across, along, limits):
    """Whether a point lies on, or between, planes along = -across tan(theta): signed distances to many of them."""
    theta = np.deg2rad(np.linspace(*limits, 2000))[:, None]
    distance = across * np.sin(theta) + along * np.cos(theta)
    return (distance == 0).any(0) | (np.diff(np.sign(distance), axis=0) != 0).any(0)


def error(*arguments, **options):
    with pytest.raises(UserError) as caught:
        Region(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("limits", RANGES)
def test_wedges_are_the_planes_between_the_limits(limits):
    kx, ky, kz = K
    found = Region(1, "wedge_y", y=limits).observed(*K)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, on_a_plane(kx, kz, limits))
    np.testing.assert_array_equal(Region(1, "wedge_x", x=limits).observed(*K), on_a_plane(ky, kz, limits))


@pytest.mark.parametrize("y, x", zip(RANGES, RANGES[::-1]))
def test_a_pyramid_is_what_neither_wedge_observes(y, x):
    kx, ky, kz = K
    expected = on_a_plane(kx, kz, y) | on_a_plane(ky, kz, x)
    np.testing.assert_array_equal(Region(1, "pyramid", y=y, x=x).observed(*K), expected)


@pytest.mark.parametrize("tilt", [5, 30, 60, 90])
def test_a_cone_is_what_planes_of_one_tilt_in_every_direction_observe(tilt):
    kx, ky, kz = K
    azimuth, tilt_angle = np.deg2rad(np.linspace(0, 360, 2000))[:, None], np.deg2rad(tilt)
    distance = (kx * np.cos(azimuth) + ky * np.sin(azimuth)) * np.sin(tilt_angle) + kz * np.cos(tilt_angle)
    expected = (np.diff(np.sign(distance), axis=0) != 0).any(0)
    np.testing.assert_array_equal(Region(1, "cone", cone=tilt).observed(*K), expected)


def test_by_hand():
    wedge = Region(1, "wedge_y", y=(-30, 60))
    # the plane of tilt theta holds (1, 0, -tan(theta))
    planes = np.deg2rad([-89, -31, -30, -29, 0, 59, 60, 61, 89])
    along = -np.tan(planes)
    expected = [0, 0, 1, 1, 1, 1, 1, 0, 0]
    assert wedge.observed(1, 0, along).tolist() == expected
    assert wedge.observed(-1, 5, -along).tolist() == expected
    assert wedge.observed([0, 0, 0], [1, 0, 0], [0, 0, 1]).tolist() == [1, 1, 0]      # the tilt axis, the origin, z
    assert Region(1, "cone", cone=60).observed([1, 1, 0], [0, 0, 0], [1.73, 1.74, 0]).tolist() == [1, 0, 1]


@pytest.mark.parametrize("region", [Region(1, "wedge_y", y=(10, 60)), Region(1, "pyramid", y=(-60, 20), x=(30, 60)),
                                    Region(1, "cone", cone=50), EVERYTHING])
def test_geometric_kinds_know_the_direction_alone(region):
    assert not region.radial
    np.testing.assert_array_equal(region.observed(*K), region.observed(*(-1e-3 * K)))


@pytest.mark.parametrize("make", [partial(Region, 1, "wedge_y", y=(-63, 63)), partial(Region, 1, "wedge_x", x=(0, 45)),
                                  partial(Region, 1, "cone", cone=45)])
def test_the_edge_itself_is_observed_however_it_is_rounded(make):
    region = make()
    limits = region.y or region.x or (-45, 45)
    size = np.geomspace(1e-3, 4, 50)
    for tilt in limits:
        across, along = size * np.cos(np.deg2rad(tilt)), -size * np.sin(np.deg2rad(tilt))
        if region.kind == "wedge_x":
            assert region.observed(0, across, along).all()
        else:
            assert region.observed(across, 0, along).all()


def test_everything():
    assert EVERYTHING.observed(*K).all() and EVERYTHING.observed(0, 0, 0) == 1 and EVERYTHING.coverage == 1


def test_arguments_broadcast():
    axis = np.linspace(-1, 1, 5)
    seen = Region(1, "wedge_y", y=(-60, 60)).observed(axis, axis[:, None], axis[:, None, None])
    assert seen.shape == (5, 5, 5)
    assert seen[0, 2, 2] == 0 or seen[4, 2, 2] == 0       # the z axis is the first of [z, y, x]
    assert seen[2, 2, 0] == 1


# ---- coverage -------------------------------------------------------------------------------------------------

def monte_carlo(region):
    return region.observed(*np.random.default_rng(1).normal(size=(3, 200_000))).mean()


@pytest.mark.parametrize("y, x", zip(RANGES, RANGES[3:] + RANGES[:3]))
def test_coverage(y, x):
    for region in (Region(1, "wedge_y", y=y), Region(1, "wedge_x", x=x), Region(1, "pyramid", y=y, x=x)):
        assert region.coverage == pytest.approx(monte_carlo(region), abs=0.005)


def test_coverage_by_hand():
    assert Region(1, "wedge_y", y=(-60, 60)).coverage == pytest.approx(2 / 3)
    assert Region(1, "cone", cone=30).coverage == pytest.approx(0.5)
    assert Region(1, "cone", cone=60).coverage == pytest.approx(monte_carlo(Region(1, "cone", cone=60)), abs=0.005)
    assert Region(1, "pyramid", y=(-60, 60), x=(-60, 60)).coverage == pytest.approx(0.839, abs=5e-4)
    assert Region(1, "pyramid", y=(-90, 90), x=(-60, 60)).coverage == 1


# ---- weights --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [8, 9])
def test_a_weight_is_found_at_its_voxels(n):
    volume = np.random.default_rng(2).uniform(0, 1, (n, n, n)).astype(np.float32)
    region = Region(1, "weight", weight=volume)
    assert region.radial
    inner = np.arange(1, n) if n % 2 == 0 else np.arange(n)        # an even box has no mate of its first planes
    z, y, x = np.meshgrid(inner, inner, inner, indexing="ij")
    found = region.observed(*(2 * np.pi / n * (index - n // 2) for index in (x, y, z)))
    mate = 2 * (n // 2) - inner
    expected = (volume[np.ix_(inner, inner, inner)] + volume[np.ix_(mate, mate, mate)]) / 2
    expected[n // 2 - inner[0], n // 2 - inner[0], n // 2 - inner[0]] = 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n", [8, 9])
def test_a_weight_is_symmetric_everywhere(n):
    region = Region(1, "weight", weight=np.random.default_rng(3).uniform(0, 1, (n, n, n)))
    np.testing.assert_allclose(region.observed(*K), region.observed(*-K), atol=1e-6)


def test_nyquist_planes_of_an_even_box_are_one():
    volume = np.zeros((8, 8, 8))
    volume[:, :, 0] = 1         # kx = -pi, and so kx = pi
    region = Region(1, "weight", weight=volume)
    assert region.observed([-np.pi, np.pi, 4, 0.4 * np.pi], 0, 0).tolist() == [1, 1, 1, 0]
    assert region.observed(0.875 * np.pi, 0.1, 0.2) == pytest.approx(0.5)


def test_a_weight_is_linear_between_voxels():
    n, rng = 10, np.random.default_rng(4)
    slope = rng.normal(size=3)

    def plane(kx, ky, kz):
        return 0.5 + 0.02 * abs(slope[0] * kx + slope[1] * ky + slope[2] * kz)

    axis = 2 * np.pi / n * (np.arange(n) - n // 2)
    volume = plane(axis, axis[:, None], axis[:, None, None])
    k = rng.uniform(-0.8 * np.pi, 0.8 * np.pi, (3, 500))
    far = abs(slope @ k) > 2 * np.pi / n * abs(slope).sum()         # from the kink
    assert far.sum() > 100
    found = Region(1, "weight", weight=volume).observed(*k)
    np.testing.assert_allclose(found[far], plane(*k)[far], atol=1e-5)


def test_a_weight_volume_of_a_wedge_is_the_wedge():
    wedge, n = Region(1, "wedge_y", y=(-30, 60)), 64
    axis = 2 * np.pi / n * (np.arange(n) - n // 2)
    weight = Region(2, "weight", weight=wedge.observed(axis, axis[:, None], axis[:, None, None]))
    k = 0.9 * np.pi * K / np.linalg.norm(K, axis=0)
    assert abs(weight.observed(*k) - wedge.observed(*k)).mean() < 0.03
    assert weight.coverage == pytest.approx(wedge.coverage, abs=0.01)


# ---- what makes no sense --------------------------------------------------------------------------------------

@pytest.mark.parametrize("limits, fault", [
    ((60, -60), "tilts from 60 to -60 about Y, expected the last to be above the first"),
    ((30, 30), "tilts from 30 to 30 about Y, expected the last to be above the first"),
    ((-100, 60), "tilts from -100 to 60 about Y, expected -90 to 90 degrees"),
    ((-60, 90.5), "tilts from -60 to 90.5 about Y, expected -90 to 90 degrees"),
    ((np.nan, 60), "tilts from nan to 60 about Y, expected -90 to 90 degrees"),
    (None, "no tilt range about Y"),
])
def test_absurd_limits(limits, fault):
    assert error(7, "wedge_y", y=limits) == f"missing region 7 (wedge_y): {fault}"
    assert error(7, "pyramid", y=limits, x=(-60, 60)) == f"missing region 7 (pyramid): {fault}"
    assert error(7, "wedge_x", x=limits) == f"missing region 7 (wedge_x): {fault}".replace("about Y", "about X")


@pytest.mark.parametrize("tilt", [0, -60, 91, np.nan, None])
def test_absurd_cones(tilt):
    assert error(3, "cone", cone=tilt).startswith("missing region 3 (cone): a tilt of ")


@pytest.mark.parametrize("weight, fault", [
    (None, "no volume of weights"),
    (np.ones((4, 4)), "w.mrc has 4 x 4 voxels, expected a cube"),
    (np.ones((4, 4, 5)), "w.mrc has 5 x 4 x 4 voxels, expected a cube"),
    (np.full((4, 4, 4), 2.0), "w.mrc holds values from 2 to 2, expected 0 to 1 and not 0 alone"),
    (np.zeros((4, 4, 4)), "w.mrc holds values from 0 to 0, expected 0 to 1 and not 0 alone"),
    (np.full((4, 4, 4), np.nan), "w.mrc holds values from nan to nan, expected 0 to 1 and not 0 alone"),
])
def test_absurd_weights(weight, fault):
    assert error(4, "weight", weight=weight, path="w.mrc") == f"missing region 4 (weight): {fault}"


def test_unknown_kind():
    assert error(5, "wedge_z") == ("missing region 5 (wedge_z): unknown type, expected one of "
                                   "wedge_y wedge_x pyramid cone weight")
