"""The scores of a classification of subtomograms, on results made from a known truth."""
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlalign.programs.engine.sphere import symmetry
from mlalign.programs.geometry3d import pose_matrix3d, pose_parameters3d
from mlalign.programs.scoring3d import class_motions3d, pose_errors3d, score3d
from mlalign.programs.simulation_tomo import truth3d

COUNT, CLASSES = 240, 3
LABELS = "angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ"
# where the class averages sit: one far off, one turned over
GAUGES = pose_matrix3d([0, 77, 300], [0, 120, 179], [0, -40, 5], [[0, 0, 0], [6, -3, 8], [1, 1, 1]])


@pytest.fixture
def planted():
    return truth3d(np.random.default_rng(1), COUNT, CLASSES, offset=3)


def matrices(poses):
    return pose_matrix3d(*(poses[label] for label in LABELS[:3]), np.stack([poses[label] for label in LABELS[3:]], -1))


def small_turns(degrees, rng):
    axes = rng.standard_normal((COUNT, 3))
    turns = np.tile(np.eye(4), (COUNT, 1, 1))
    turns[:, :3, :3] = Rotation.from_rotvec(np.radians(degrees)[:, None] * axes
                                            / np.linalg.norm(axes, axis=1)[:, None]).as_matrix()
    return turns


def moved(planted, errors=None):
    """The same poses, each class in a frame of its own (GAUGES), after each particle's ``errors`` (n, 4, 4)."""
    motion = matrices(planted) if errors is None else errors @ matrices(planted)
    *angles, shift = pose_parameters3d(GAUGES[planted["ref"] - 1] @ motion)
    return {"ref": planted["ref"], **dict(zip(LABELS, [*angles, *shift.T]))}


def test_a_class_seen_in_another_frame_is_no_error(planted):
    angle, shift = pose_errors3d(planted, moved(planted))
    assert angle.max() < 1e-5 and shift.max() < 1e-6
    for ref, (true, motion) in class_motions3d(planted, moved(planted)).items():
        assert true == ref
        np.testing.assert_allclose(motion, GAUGES[ref - 1], atol=1e-6)


def test_planted_errors_are_found(planted):
    rng = np.random.default_rng(2)
    degrees = np.abs(rng.normal(0, 5, COUNT))
    errors = small_turns(degrees, rng)
    errors[:, :3, 3] = rng.normal(0, 0.7, (COUNT, 3))
    angle, shift = pose_errors3d(planted, moved(planted, errors))
    assert np.abs(angle - degrees).max() < 1.5          # the centre is an estimate from 80 members
    assert np.abs(shift - np.linalg.norm(errors[:, :3, 3], axis=1)).max() < 0.3


def test_the_most_frequent_motion_wins_over_particles_that_are_lost(planted):
    rng = np.random.default_rng(3)
    lost = rng.random(COUNT) < 0.6
    errors = small_turns(np.full(COUNT, 2.0), rng)
    errors[lost, :3, :3] = Rotation.random(lost.sum(), random_state=4).as_matrix()
    errors[lost, :3, 3] = rng.normal(0, 8, (lost.sum(), 3))
    angle, shift = pose_errors3d(planted, moved(planted, errors))
    assert np.abs(angle[~lost] - 2).max() < 1 and shift[~lost].max() < 1.5
    assert np.median(angle[lost]) > 100 and np.median(shift[lost]) > 6


@pytest.mark.parametrize("name", ["c7", "d2", "o"])
def test_symmetry_mates_are_no_error(planted, name):
    group = symmetry(name)
    rng = np.random.default_rng(5)
    degrees = np.abs(rng.normal(0, 2, COUNT))
    errors = small_turns(degrees, rng)
    errors[:, :3, :3] = errors[:, :3, :3] @ group.as_matrix()[rng.integers(0, len(group), COUNT)]
    result = moved(planted, errors)
    angle, shift = pose_errors3d(planted, result, group)
    assert np.abs(angle - degrees).max() < 1 and shift.max() < 1e-6
    assert score3d(planted, result, group)["angle"] < 3 < 30 < score3d(planted, result)["angle"]
    by_class = pose_errors3d(planted, result, {1: group, 3: group})[0]
    np.testing.assert_array_equal(by_class[planted["ref"] != 2], angle[planted["ref"] != 2])
    assert np.median(by_class[planted["ref"] == 2]) > 30


def test_classes_are_matched_whatever_their_numbers(planted):
    renamed = {**moved(planted), "ref": np.array([0, 3, 1, 2])[planted["ref"]]}
    summary = score3d(planted, renamed)
    assert summary["ari"] == 1 and summary["accuracy"] == 1
    assert summary["angle"] < 1e-5 and summary["shift"] < 1e-6


def test_members_of_another_true_class_and_empty_volumes_have_no_pose_error(planted):
    merged = {**moved(planted), "ref": np.where(planted["ref"] == 2, 1, planted["ref"])}
    planted["ref"][:20] = 0
    lost = 2 if (planted["ref"] == 1).sum() >= (planted["ref"] == 2).sum() else 1
    angle, shift = pose_errors3d(planted, merged)
    np.testing.assert_array_equal(np.isnan(angle), (planted["ref"] == lost) | (planted["ref"] == 0))
    np.testing.assert_array_equal(np.isnan(shift), np.isnan(angle))
    assert np.nanmax(angle) < 1e-5
    assert score3d(planted, merged)["accuracy"] == pytest.approx((planted["ref"] > 0)[~np.isnan(angle)].sum() / (COUNT - 20))


def test_a_class_of_one(planted):
    result = moved(planted)
    result["ref"] = result["ref"].copy()
    result["ref"][0] = 9
    assert pose_errors3d(planted, result)[0][0] == pytest.approx(0, abs=1e-5)
