"""How near a classification of subtomograms comes to the truth it was simulated from.

Truth and result are dicts of equally long arrays keyed by label (ref, angleRot, angleTilt, anglePsi, shiftX, shiftY,
shiftZ), row by row the same particles; ref counts from 1.  Rows with a true ref of 0 count nowhere.

A symmetry group, where one is given, holds the rotations under which the true references do not change: (G, 3, 3) or
a SciPy Rotation, or a dict of true ref -> group where the references differ in it.
"""
import numpy as np
from scipy.spatial.transform import Rotation

from .geometry3d import angular_distance, pose_matrix3d
from .scoring import accuracy, adjusted_rand_index, class_members

CANDIDATES = 400        # particles tried as the centre of a class's rotations
OUTLIER = 30.0          # degrees from the centre beyond which it no longer matters how far a particle is
ROUNDS, BLUNT = 20, 0.5     # of refining the centre; degrees within which all particles weigh alike


def pose_errors3d(truth, result, group=None):
    """Errors of each particle's pose: angle in degrees, shift in px; two arrays (particles,).

    The shift is that of the particle's centre, seen in the class average.  A class average may be turned and shifted
    as a whole against the true reference; that is nobody's error, so the motion that most members share is taken out
    first.  Each found class is compared with the true class that most of its members belong to: its other members have
    NaN errors, as have rows without a particle.
    """
    angle, shift = np.full((2, len(truth["ref"])), np.nan)
    motions = _motions(truth, result)
    centres = class_motions3d(truth, result, group)
    for found, true, members in class_members(truth, result):
        centre = centres[found][1]
        angle[members] = _distances(motions[members], centre, _group_of(group, true))
        shift[members] = np.linalg.norm(motions[members, :3, 3] - centre[:3, 3], axis=1)
    return angle, shift


def class_motions3d(truth, result, group=None):
    """Where each class average stands against its true reference: dict found -> (true, motion).

    true: the true class of most members; motion: (4, 4), maps points (x, y, z, 1) of that reference to points of the
    average, as most of those members agree, up to the reference's symmetry.
    """
    motions = _motions(truth, result)
    return {found: (true, _consensus(motions[members], _group_of(group, true)))
            for found, true, members in class_members(truth, result)}


def score3d(truth, result, group=None):
    """All of it: dict of ari, accuracy, angle and shift (medians, degrees and px).

    The medians are over the particles that belong to their class's true reference, see :func:`pose_errors3d`.
    """
    angle, shift = pose_errors3d(truth, result, group)
    return {
        "ari": adjusted_rand_index(truth, result),
        "accuracy": accuracy(truth, result),
        "angle": float(np.nanmedian(angle)),
        "shift": float(np.nanmedian(shift)),
    }


def _motions(truth, result):
    """(n, 4, 4): from the true reference to the class average, by way of each particle."""
    def matrices(poses):
        shift = np.stack([poses[f"shift{axis}"] for axis in "XYZ"], -1)
        return pose_matrix3d(*(poses[label] for label in ("angleRot", "angleTilt", "anglePsi")), shift)

    return matrices(result) @ np.linalg.inv(matrices(truth))


def _consensus(motions, group):
    """The motion (4, 4) that most of ``motions`` (n, 4, 4) are near to, whatever the others are."""
    tried = motions[np.linspace(0, len(motions) - 1, min(len(motions), CANDIDATES)).astype(int)]
    cost = [np.minimum(_distances(motions, candidate, group), OUTLIER).sum() for candidate in tried]
    centre = tried[np.argmin(cost)].copy()
    for _ in range(ROUNDS):
        distances = _distances(motions, centre, group)
        near = distances < OUTLIER
        rotations = _symmetry_mates(motions[near, :3, :3], centre[:3, :3], group)
        # weights of a median: the sum of distances, not of their squares, becomes least
        mean = Rotation.from_matrix(rotations).mean(1 / np.maximum(distances[near], BLUNT))
        centre[:3, :3] = mean.as_matrix()
    centre[:3, 3] = np.median(motions[near, :3, 3], axis=0)
    return centre


def _distances(motions, centre, group):
    """Degrees between the rotations of ``motions`` (n, 4, 4) and ``centre``, whichever symmetry mate is nearest."""
    return angular_distance(centre[:3, :3].T, motions[:, :3, :3].swapaxes(-1, -2), group)


def _symmetry_mates(rotations, centre, group):
    """Rotations (n, 3, 3), each replaced by that of its equals R g which is nearest to ``centre``."""
    if group is None:
        return rotations
    equals = rotations[:, None] @ _elements(group)
    nearest = np.einsum("ij,ngij->ng", centre, equals).argmax(1)
    return equals[np.arange(len(equals)), nearest]


def _elements(group):
    return np.asarray(group.as_matrix() if hasattr(group, "as_matrix") else group, float)


def _group_of(group, true):
    return group.get(true) if isinstance(group, dict) else group
