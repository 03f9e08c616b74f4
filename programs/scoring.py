"""How near a classification comes to the truth it was simulated from.

Truth and result are dicts of equally long arrays keyed by label (ref, anglePsi, shiftX, shiftY, flip),
row by row the same particles; ref counts from 1.  Rows with a true ref of 0, images without a particle, count
nowhere.
"""
import numpy as np

from .geometry import pose_matrix, pose_parameters

CANDIDATES = 500      # particles tried as the centre of a class's rotations


def adjusted_rand_index(truth, result):
    """Agreement of two partitions, whatever their labels: 1 when equal, about 0 when unrelated."""
    from sklearn.metrics import adjusted_rand_score
    shown = truth["ref"] > 0
    return float(adjusted_rand_score(truth["ref"][shown], result["ref"][shown]))


def match_classes(truth, result):
    """Pair found classes with true ones, one to one, so that the most particles agree: dict found -> true."""
    from scipy.optimize import linear_sum_assignment
    counts = np.zeros((max(result["ref"]) + 1, max(truth["ref"]) + 1), int)
    np.add.at(counts, (result["ref"], truth["ref"]), 1)
    found, true = linear_sum_assignment(counts[1:, 1:], maximize=True)
    return {int(f) + 1: int(t) + 1 for f, t in zip(found, true) if counts[f + 1, t + 1]}


def accuracy(truth, result):
    """Share of the particles whose class is the one paired with their true class by :func:`match_classes`."""
    pairs = match_classes(truth, result)
    paired = np.array([pairs.get(int(ref), 0) for ref in result["ref"]])
    return float(np.mean((paired == truth["ref"])[truth["ref"] > 0]))


def class_members(truth, result):
    """Yield (found, true, members) for every found class that shows particles.

    true: the true class of most of them; members: (particles,) bool, those in both classes.
    """
    shown = truth["ref"] > 0
    for found in np.unique(result["ref"][shown]):
        inside = shown & (result["ref"] == found)
        true = np.bincount(truth["ref"][inside]).argmax()
        yield int(found), int(true), inside & (truth["ref"] == true)


def pose_errors(truth, result):
    """Errors of each particle's pose: angle in degrees, shift in px; two arrays (particles,).

    A class average may be turned, shifted or mirrored as a whole against the true reference; that is nobody's
    error, so the motion that most members share is taken out first.  Each found class is compared with the
    true class that most of its members belong to: its other members have NaN errors, as have images without a
    particle; members whose mirror differs from the majority's have infinite ones.
    """
    angle, shift = np.full((2, len(truth["ref"])), np.nan)
    motions = _matrices(result) @ np.linalg.inv(_matrices(truth))
    centres = class_motions(truth, result)
    for found, _, members in class_members(truth, result):
        psi, x, y, flip = pose_parameters(np.linalg.inv(centres[found][1]) @ motions[members])
        angle[members] = np.where(flip, np.inf, np.abs(_wrap(psi)))
        shift[members] = np.where(flip, np.inf, np.hypot(x, y))
    return angle, shift


def class_motions(truth, result):
    """Where each class average stands against its true reference: dict found -> (true, motion).

    true: the true class of most members; motion: (3, 3), maps points of that reference to points of the
    average, as most of those members agree.
    """
    motions = _matrices(result) @ np.linalg.inv(_matrices(truth))
    return {found: (true, _consensus(motions[members])) for found, true, members in class_members(truth, result)}


def score(truth, result):
    """All of it: dict of ari, :func:`accuracy`, angle and shift (medians, degrees and px) and wrong_mirror (share).

    The medians are over the particles that belong to their class's true reference, see :func:`pose_errors`.
    """
    angle, shift = pose_errors(truth, result)
    compared = ~np.isnan(angle)
    return {
        "ari": adjusted_rand_index(truth, result),
        "accuracy": accuracy(truth, result),
        "angle": float(np.median(angle[compared])),
        "shift": float(np.median(shift[compared])),
        "wrong_mirror": float(np.mean(np.isinf(angle[compared]))),
    }


def _matrices(poses):
    return pose_matrix(poses["anglePsi"], poses["shiftX"], poses["shiftY"], poses["flip"])


def _consensus(motions):
    """The motion (3, 3) that most of ``motions`` (n, 3, 3) are near to: majority mirror, then medians."""
    psi, x, y, flip = pose_parameters(motions)
    majority = flip == (flip.mean() > 0.5)
    psi, x, y = psi[majority], x[majority], y[majority]
    centres = psi[np.linspace(0, len(psi) - 1, min(len(psi), CANDIDATES)).astype(int)]
    cost = [np.abs(_wrap(psi - centre)).sum() for centre in centres]
    centre = centres[np.argmin(cost)]
    centre += np.median(_wrap(psi - centre))
    return pose_matrix(centre, np.median(x), np.median(y), flip.mean() > 0.5)


def _wrap(degrees):
    """Angles in [-180, 180)."""
    return (degrees + 180) % 360 - 180
