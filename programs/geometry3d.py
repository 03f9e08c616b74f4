"""The one convention of 3-D poses, shared by programs, protocols and viewers.

A pose (rot, tilt, psi, shift) aligns a particle volume to its reference: a particle point p = (x, y, z), measured in
voxels from index N//2 of an array [z, y, x], is shifted first and then rotated, ``p_ref = A (p + shift)``, so that the
particle X and the reference F obey ``X(p) = F(A (p + shift))``.  In active matrices on columns (x, y, z)

    A = Rz(-psi) Ry(-tilt) Rz(-rot)

with angles in degrees: a turn by rot about z, by tilt about y and by psi about z again.  This is the geometry of
Xmipp's metadata (angleRot, angleTilt, anglePsi, shiftX, shiftY, shiftZ) and, as the matrix ``[A | A shift]``, of
Scipion's subtomograms.
"""
import numpy as np

_GIMBAL = 1e-8      # sin(tilt) below which rot and psi are one angle


def rotation_matrix(rot, tilt, psi):
    """Rotations A (..., 3, 3) of Euler angles in degrees, which broadcast together."""
    rot, tilt, psi = np.broadcast_arrays(*(np.deg2rad(np.asarray(angle, float)) for angle in (rot, tilt, psi)))
    (cos_rot, sin_rot), (cos_tilt, sin_tilt), (cos_psi, sin_psi) = ((np.cos(a), np.sin(a)) for a in (rot, tilt, psi))
    matrix = np.empty((*rot.shape, 3, 3))
    matrix[..., 0, 0] = cos_psi * cos_tilt * cos_rot - sin_psi * sin_rot
    matrix[..., 0, 1] = cos_psi * cos_tilt * sin_rot + sin_psi * cos_rot
    matrix[..., 0, 2] = -cos_psi * sin_tilt
    matrix[..., 1, 0] = -sin_psi * cos_tilt * cos_rot - cos_psi * sin_rot
    matrix[..., 1, 1] = -sin_psi * cos_tilt * sin_rot + cos_psi * cos_rot
    matrix[..., 1, 2] = sin_psi * sin_tilt
    matrix[..., 2, 0] = sin_tilt * cos_rot
    matrix[..., 2, 1] = sin_tilt * sin_rot
    matrix[..., 2, 2] = cos_tilt
    return matrix


def euler_angles(matrix):
    """The inverse of :func:`rotation_matrix`: (rot, tilt, psi) in degrees of rotations (..., 3, 3).

    tilt is in [0, 180], rot and psi are in [0, 360).  Where tilt is 0 or 180, rot and psi are one angle: rot is 0.
    """
    matrix = np.asarray(matrix, float)
    x, y = matrix[..., 2, 0], matrix[..., 2, 1]
    sin_tilt = np.hypot(x, y)
    rot = np.where(sin_tilt < _GIMBAL, 0.0, np.arctan2(y, x))
    # the middle column of A Rz(rot) = Rz(-psi) Ry(-tilt): good at every tilt, and right for whichever rot was taken
    sin_rot, cos_rot = np.sin(rot), np.cos(rot)
    sin_psi, cos_psi = (matrix[..., row, 1] * cos_rot - matrix[..., row, 0] * sin_rot for row in (0, 1))
    tilt = np.rad2deg(np.arctan2(sin_tilt, matrix[..., 2, 2]))
    return _full_turn(rot), tilt, _full_turn(np.arctan2(sin_psi, cos_psi))


def pose_matrix3d(rot, tilt, psi, shift):
    """Homogeneous matrices M = [A | A shift] (..., 4, 4): particle points (x, y, z, 1) to the reference's frame.

    rot, tilt, psi: degrees; shift: (..., 3) voxels (x, y, z), applied before the rotation.  They broadcast together.
    """
    rotation, shift = rotation_matrix(rot, tilt, psi), np.asarray(shift, float)
    moved = np.einsum("...ij,...j->...i", rotation, shift)
    matrix = np.zeros((*moved.shape[:-1], 4, 4))
    matrix[..., :3, :3] = rotation
    matrix[..., :3, 3] = moved
    matrix[..., 3, 3] = 1
    return matrix


def pose_parameters3d(matrix):
    """The inverse of :func:`pose_matrix3d`: (rot, tilt, psi, shift) of (..., 4, 4); angles as :func:`euler_angles`."""
    matrix = np.asarray(matrix, float)
    rotation = matrix[..., :3, :3]
    return *euler_angles(rotation), np.einsum("...ji,...j->...i", rotation, matrix[..., :3, 3])


def angular_distance(first, second, group=None):
    """Angle in degrees, in [0, 180], of the rotation between poses A (..., 3, 3), which broadcast together.

    group: rotations (G, 3, 3), or a SciPy Rotation, under which the reference does not change; A and g A are then the
    same pose, and the smallest angle counts.  None: no symmetry.
    """
    between = np.asarray(first, float) @ np.swapaxes(np.asarray(second, float), -1, -2)
    if group is None:
        return _rotation_angle(between)
    elements = np.asarray(group.as_matrix() if hasattr(group, "as_matrix") else group, float)
    return _rotation_angle(elements @ between[..., None, :, :]).min(axis=-1)


def to_tom(rot, tilt, psi, x, y, z, reference_moves=False):
    """A pose in the convention of the TOM toolbox: (phi, theta, psi, x, y, z), degrees and voxels.

    TOM's rotation is Rz(psi) Rx(theta) Rz(phi).  As here, it brings the particle onto the reference, shift first; with
    ``reference_moves`` it brings the reference onto the particle, as TOM's motive lists have it: rotation first.
    """
    phi, theta, psi = 90 - np.asarray(rot, float), np.asarray(tilt, float), 270 - np.asarray(psi, float)
    x, y, z = (np.asarray(shift, float) for shift in (x, y, z))
    return _the_other_way(phi, theta, psi, x, y, z) if reference_moves else (phi, theta, psi, x, y, z)


def from_tom(phi, theta, psi, x, y, z, reference_moves=False):
    """The inverse of :func:`to_tom`: (rot, tilt, psi, x, y, z); angles are not brought into any range."""
    pose = tuple(np.asarray(value, float) for value in (phi, theta, psi, x, y, z))
    phi, theta, psi, x, y, z = _the_other_way(*pose) if reference_moves else pose
    return 90 - phi, theta, 270 - psi, x, y, z


def _the_other_way(phi, theta, psi, x, y, z):
    """The inverse of a pose in TOM's angles; it is its own inverse."""
    return -psi, -theta, -phi, -x, -y, -z


def _full_turn(radians):
    degrees = np.rad2deg(radians) % 360
    return np.where(degrees == 360, 0.0, degrees)       # what a tiny negative angle rounds to


def _rotation_angle(matrix):
    """Degrees; from sine and cosine, as either alone loses digits somewhere."""
    sine = np.stack([matrix[..., i, j] - matrix[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    cosine = np.trace(matrix, axis1=-2, axis2=-1) - 1
    return np.rad2deg(np.arctan2(np.linalg.norm(sine, axis=-1), cosine))
