"""Slices and projections of volumes."""
import numpy as np
import pytest

from mlalign.viewers.tomo import planes


def places(nz, ny, nx):
    """A volume whose values say where they are: 10000 z + 100 y + x."""
    z, y, x = np.ogrid[:nz, :ny, :nx]
    return 10000.0 * z + 100 * y + x


def test_first_axis_goes_right_and_the_second_down():
    volume = places(5, 6, 7)
    for direction, name in enumerate(planes.PLANES):
        shown = planes.plane(volume, direction, 3)
        step = {"x": 1, "y": 100, "z": 10000}
        assert shown[0, 1] - shown[0, 0] == step[name[0]]
        assert shown[1, 0] - shown[0, 0] == step[name[1]]
        assert shown[0, 0] == 3 * step[planes.ACROSS[direction]]


def test_xy_is_an_image_as_they_are_in_stacks():
    volume = places(5, 6, 7)
    np.testing.assert_array_equal(planes.plane(volume, 0, 2), volume[2])


@pytest.mark.parametrize("size", [6, 7])
def test_central_slices_meet_at_the_origin(size):
    volume = places(size, size, size)
    assert [shown[size // 2, size // 2] for shown in planes.central_slices(volume)] == [10101 * (size // 2)] * 3
    assert [shown.shape for shown in planes.central_slices(places(2, 3, 4))] == [(3, 4), (2, 4), (2, 3)]


def test_projections_are_sums():
    volume = np.random.default_rng(1).normal(size=(3, 4, 5))
    xy, xz, yz = planes.projections(volume)
    for z in range(3):
        for y in range(4):
            for x in range(5):
                assert xy[y, x] == pytest.approx(sum(volume[i, y, x] for i in range(3)))
                assert xz[z, x] == pytest.approx(sum(volume[z, i, x] for i in range(4)))
                assert yz[z, y] == pytest.approx(sum(volume[z, y, i] for i in range(5)))


def test_strip_has_them_side_by_side():
    volume = places(4, 4, 4)
    shown = planes.strip(planes.central_slices(volume))
    assert shown.shape == (4, 12)
    for place, one in enumerate(planes.central_slices(volume)):
        np.testing.assert_array_equal(shown[:, 4 * place:4 * place + 4], one)
