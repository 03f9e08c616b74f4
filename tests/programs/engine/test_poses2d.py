"""Poses of images as arrays: against matrices, images that are drawn, and themselves backwards."""
import numpy as np
import pytest

from mlalign.programs.engine.averaging import add_up
from mlalign.programs.engine.poses2d import Poses
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.posed_blobs import REFERENCES, N, drawn, random_poses

COUNT = 40
MIDDLES = np.random.default_rng(9).uniform(-5, 5, (COUNT, 2))


@pytest.fixture
def poses():
    return random_poses(COUNT, 0)


def affine(poses):
    """(N, 3, 3): every pose as one matrix, built from a turn and a mirror."""
    out = np.tile(np.eye(3), (len(poses), 1, 1))
    for matrix, mirrored, psi, place in zip(out, poses.mirrored, poses.psi, poses.place):
        turn = np.array([[np.cos(psi), -np.sin(psi)], [np.sin(psi), np.cos(psi)]])
        matrix[:2, :2] = turn @ np.diag([1, -1 if mirrored else 1])
        matrix[:2, 2] = place
    return out


def test_matrices(poses):
    assert poses.matrices() == pytest.approx(affine(poses)[:, :2, :2])
    assert np.linalg.det(poses.matrices()) == pytest.approx(np.where(poses.mirrored, -1, 1))


def test_a_chain_is_a_product_of_matrices(poses):
    inner = random_poses(COUNT, 1)
    both = poses.after(inner)
    assert affine(both) == pytest.approx(affine(poses) @ affine(inner))
    assert set(zip(poses.mirrored, inner.mirrored)) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    third = random_poses(COUNT, 2)
    assert affine(both.after(third)) == pytest.approx(affine(poses.after(inner.after(third))))


def test_nowhere_in_particular_changes_nothing(poses):
    still = Poses.at(np.zeros((COUNT, 2)))
    for same in (poses.after(still), still.after(poses)):
        assert affine(same) == pytest.approx(affine(poses))
    places = MIDDLES.copy()
    there = Poses.at(places)
    places += 1
    assert (there.place == MIDDLES).all() and not there.psi.any() and not there.mirrored.any()


def test_shifts_and_places_are_the_same_thing(poses):
    x, y = poses.shifts(MIDDLES).T
    again = Poses.shifted(poses.mirrored, poses.psi, x, y, MIDDLES)
    assert again.place == pytest.approx(poses.place)
    assert again.shifts(MIDDLES) == pytest.approx(np.stack([x, y], 1))
    for i in range(COUNT):
        assert poses.matrices()[i] @ [x[i], y[i]] + MIDDLES[i] == pytest.approx(poses.place[i])


def test_taking_and_putting(poses):
    rows, before = np.array([5, 2, 30]), poses.take(np.arange(COUNT))
    other = random_poses(3, 3)
    poses.put(rows, other)
    assert len(poses) == COUNT and len(poses.take(rows)) == 3
    assert affine(poses.take(rows)) == pytest.approx(affine(other))
    rest = np.setdiff1d(np.arange(COUNT), rows)
    assert (affine(poses)[rest] == affine(before)[rest]).all()
    assert affine(poses.take(np.arange(COUNT) < 0)).shape == (0, 3, 3)


def test_images_in_poses_average_to_their_references(poses):
    """Drawn in a pose, then turned back as :meth:`Poses.placed` says."""
    rings, ref = Rings(N, N / 2, 3), np.arange(COUNT) % 4
    x = rings.expand(rings.sample(drawn(ref, poses).astype(np.float32)))
    half = np.arange(COUNT) // 4 % 2
    placed = poses.placed(np.arange(COUNT), ref, half, np.zeros((COUNT, 2)))
    assert (placed.weight == 1).all() and (placed.half == half).all()
    got = rings.images(add_up(rings, x, placed, 4).averages()[1])
    assert np.abs(got - REFERENCES).max() < 0.01 * np.abs(REFERENCES).max()


def test_a_reference_within_a_reference(poses):
    """A blob drawn where one pose puts it in the other's image is where the chain puts it."""
    inner = random_poses(COUNT, 4, offset=1.0)
    chain = poses.after(inner)
    expected = [affine(poses)[i] @ affine(inner)[i] @ [1.0, 2.0, 1.0] for i in range(COUNT)]
    assert chain.matrices() @ [1.0, 2.0] + chain.place == pytest.approx(np.array(expected)[:, :2])
