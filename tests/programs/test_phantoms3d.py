"""Phantoms, resampled maps and their copies in any pose, against sums of Gaussian blobs, which are known exactly."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlalign.programs.geometry3d import rotation_matrix
from mlalign.programs.phantoms3d import SEEDS, VolumePlacer, blobs, phantom_blobs, phantoms3d, resampled

CENTRES = np.array([[7.0, -3, 2], [-5.0, 6, 1], [2.0, 3, -8]])          # (x, y, z) from the origin
HEIGHTS, WIDTH = np.array([1.0, 0.7, 0.4]), 2.0


def gaussians(size, centres, width=WIDTH):
    """A volume of three Gaussian blobs; size: one or three numbers; centres (3, 3) are in px from the origin."""
    shape = np.broadcast_to(size, 3)
    z, y, x = np.meshgrid(*(np.arange(n) - n // 2 for n in shape), indexing="ij")
    return sum(height * np.exp(-((x - a)**2 + (y - b)**2 + (z - c)**2) / (2 * width**2))
               for height, (a, b, c) in zip(HEIGHTS, centres))


@pytest.mark.parametrize("size", [32, 31])
@pytest.mark.parametrize("pose", [(0, 0, 0, 0, 0, 0), (90, 0, 0, 0, 0, 0), (0, 0, 0, 4, -2, 1.5),
                                  (40, 75, -50, 2.3, -4.1, 1.7), (200, 120, 10, 0, 3, 0)])
def test_a_particle_shows_its_reference_where_the_pose_says(size, pose):
    rotation, shift = rotation_matrix(*pose[:3]), np.array(pose[3:])
    # The particle's blobs are those points p that A (p + shift) carries onto the reference's.
    spots = CENTRES @ rotation - shift
    found = VolumePlacer(gaussians(size, CENTRES)[None], 6)(0, rotation, shift)
    np.testing.assert_allclose(found, gaussians(size, spots), atol=2e-3)


def test_what_leaves_the_box_does_not_come_back():
    found = VolumePlacer(gaussians(32, CENTRES)[None], 40)(0, np.eye(3), np.array([0, 0, 40.0]))
    assert np.abs(found).max() < 1e-3


def test_a_phantom_is_its_blobs():
    z, y, x = (np.mgrid[:24, :24, :24] - 12) / 24
    centres, widths, heights = phantom_blobs(SEEDS[2])
    expected = sum(height * np.exp(-((x - a)**2 + (y - b)**2 + (z - c)**2) / (2 * width**2))
                   for (a, b, c), width, height in zip(centres, widths, heights))
    np.testing.assert_allclose(blobs(centres, widths, heights, 24), expected / expected.max())


def test_phantoms_fit_their_box_and_differ():
    volumes = phantoms3d(12, 32)
    z, y, x = np.mgrid[:32, :32, :32] - 16
    radius = np.sqrt(x**2 + y**2 + z**2)
    assert np.abs(volumes[:, radius > 0.45 * 32]).max() < 0.05
    assert np.allclose(volumes.max((1, 2, 3)), 1)
    for axis in (x, y, z):
        assert np.abs((volumes * axis).sum((1, 2, 3)) / volumes.sum((1, 2, 3))).max() < 0.05
    # of any two, and of one and its mirror image, at random rotations, from the overlap of their blobs
    phantoms = [phantom_blobs(seed) for seed in SEEDS]
    turns = Rotation.random(1500, random_state=0)
    for i, phantom in enumerate(phantoms):
        mirrored = phantom[0] * [1, 1, -1], *phantom[1:]
        assert correlation(phantom, mirrored, turns).max() < 0.85
        assert correlation(phantom, phantom, turns[turns.magnitude() > np.pi / 4]).max() < 0.65
        for other in phantoms[:i]:
            assert correlation(phantom, other, turns).max() < 0.75


def correlation(first, second, turns):
    """Of two phantoms within the box's sphere, the second turned: (M,)."""
    def overlap(first, second, turns):
        (a, wa, ha), (b, wb, hb) = first, second
        squares = wa[:, None]**2 + wb**2
        weight = ha[:, None] * hb * (2 * np.pi * (wa[:, None] * wb)**2 / squares)**1.5
        turned = np.stack([turn.apply(b) for turn in turns])
        distance2 = ((a[:, None] - turned[:, None])**2).sum(-1)
        return (weight * np.exp(-distance2 / (2 * squares))).sum((1, 2)) - mass(first) * mass(second) / (np.pi / 6)

    def mass(phantom):
        return ((2 * np.pi)**1.5 * phantom[2] * phantom[1]**3).sum()

    one = Rotation.identity(1)
    norm = np.sqrt(overlap(first, first, one) * overlap(second, second, one))
    return overlap(first, second, turns) / norm


@pytest.mark.parametrize(("voxel", "pixel"), [(2.0, 3.0), (3.0, 2.5)])
def test_a_map_is_resampled_about_its_centre_of_mass(voxel, pixel):
    # Gaussian balls in a box that is not cubic
    balls = CENTRES - HEIGHTS @ CENTRES / HEIGHTS.sum()
    volume = gaussians((36, 44, 40), balls + [2, -1, 3])
    found = resampled(volume, voxel, 32, pixel)
    expected = gaussians(32, balls * voxel / pixel, WIDTH * voxel / pixel)
    np.testing.assert_allclose(found, expected, atol=5e-3)
