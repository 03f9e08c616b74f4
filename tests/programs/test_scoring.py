"""The scores of a classification, on results made from a known truth."""
import numpy as np
import pytest

from mlalign.programs.geometry import pose_matrix, pose_parameters
from mlalign.programs.scoring import adjusted_rand_index, match_classes, pose_errors, score
from mlalign.programs.simulation import truth

GAUGES = [(77.0, 3.0, -1.5, 1), (190.0, -0.5, 2.0, 0), (5.0, 0.0, 0.0, 1), (300.0, 4.0, 4.0, 0)]
LABELS = "anglePsi", "shiftX", "shiftY", "flip"


@pytest.fixture
def planted():
    return truth(np.random.default_rng(1), 800, 4, offset=3, mirror=True)


def moved(planted, errors=None):
    """The same poses, each class in a frame of its own (GAUGES), after each particle's ``errors``."""
    motion = pose_matrix(*(planted[label] for label in LABELS))
    if errors is not None:
        motion = pose_matrix(*errors) @ motion
    gauges = pose_matrix(*np.array(GAUGES).T)
    return {"ref": planted["ref"], **dict(zip(LABELS, pose_parameters(gauges[planted["ref"] - 1] @ motion)))}


def test_a_class_seen_in_another_frame_is_no_error(planted):
    angle, shift = pose_errors(planted, moved(planted))
    assert np.all(angle < 1e-6) and np.all(shift < 1e-6)


def test_planted_errors_are_found(planted):
    rng = np.random.default_rng(2)
    count = len(planted["ref"])
    psi, x = rng.normal(0, 2, count), rng.normal(0, 0.7, count)
    psi[:100], x[:100] = 120, 9                # outliers, which move the estimate of the frame by less than 1
    angle, shift = pose_errors(planted, moved(planted, (psi, x, 0, 0)))
    np.testing.assert_allclose(angle, np.abs(psi), atol=1)
    assert np.median(np.abs(shift - np.abs(x))) < 0.1


def test_a_wrong_mirror_is_an_infinite_error(planted):
    flip = np.zeros(len(planted["ref"]), int)
    flip[::10] = 1
    result = moved(planted, (0, 0, 0, flip))
    angle, shift = pose_errors(planted, result)
    np.testing.assert_array_equal(np.isinf(angle), flip == 1)
    np.testing.assert_array_equal(np.isinf(shift), flip == 1)
    assert score(planted, result)["wrong_mirror"] == pytest.approx(0.1)


def test_classes_are_matched_whatever_their_numbers(planted):
    renamed = {**moved(planted), "ref": np.array([0, 3, 1, 4, 2])[planted["ref"]]}
    assert match_classes(planted, renamed) == {3: 1, 1: 2, 4: 3, 2: 4}
    summary = score(planted, renamed)
    assert summary["ari"] == 1 and summary["accuracy"] == 1
    assert summary["angle"] < 1e-6 and summary["shift"] < 1e-6


def test_members_of_another_true_class_have_no_pose_error(planted):
    merged = {**moved(planted), "ref": np.where(planted["ref"] == 2, 1, planted["ref"])}
    angle, _ = pose_errors(planted, merged)
    lost = {1, 2} - {int(np.bincount(planted["ref"][merged["ref"] == 1]).argmax())}
    np.testing.assert_array_equal(np.isnan(angle), planted["ref"] == lost.pop())
    summary = score(planted, merged)
    assert summary["accuracy"] == pytest.approx(1 - np.isnan(angle).mean())
    assert 0.5 < summary["ari"] < 0.9


def test_unrelated_partitions_have_no_agreement(planted):
    shuffled = {**planted, "ref": np.random.default_rng(3).permutation(planted["ref"])}
    assert abs(adjusted_rand_index(planted, shuffled)) < 0.02


def test_images_without_a_particle_count_nowhere(planted):
    rng = np.random.default_rng(4)
    result = moved(planted)
    result["ref"] = np.where(rng.random(800) < 0.1, 1 + rng.integers(0, 4, 800), result["ref"])
    # most of class 5 is empty, and class 6 is nothing else
    extra, junk = 60, rng.integers(0, 800, 60)
    mixed = {label: np.concatenate([values, values[junk]]) for label, values in planted.items()}
    mixed["ref"][-extra:] = 0
    longer = {label: np.concatenate([values, values[junk]]) for label, values in result.items()}
    longer["ref"][-extra:] = np.where(np.arange(extra) < 30, 5, 6)
    result["ref"][:5] = longer["ref"][:5] = 5
    assert score(mixed, longer) == pytest.approx(score(planted, result))
    assert match_classes(mixed, longer) == match_classes(planted, result)
    assert np.isnan(pose_errors(mixed, longer)[0][-extra:]).all()
