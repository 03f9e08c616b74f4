"""The one convention of poses, shared by programs, protocols and viewers.

A pose (psi, shift, flip) aligns a particle to its class average: a particle point r, measured from the origin at
pixel N//2 with x = column to the right and y = row down, goes to ``r_ref = M r + shift``, where

    M = [[ cos psi, sin psi],        and a mirror (flip = 1) negates the first row of M
         [-sin psi, cos psi]]        (it negates x after the rotation; the shift is kept).

The shift is in pixels, applied after rotation and mirror.  This is the geometry of Xmipp's metadata (anglePsi,
shiftX, shiftY, flip) and of Scipion's 2-D transforms.
"""
import numpy as np


def pose_matrix(psi, shift_x, shift_y, flip):
    """Homogeneous matrices (..., 3, 3) that map particle points (x, y, 1) to the class average's frame.

    psi: degrees; shifts: pixels; flip: 0 or 1.  The arguments broadcast together.
    """
    psi, shift_x, shift_y, flip = np.broadcast_arrays(np.deg2rad(psi), shift_x, shift_y, flip)
    matrix = np.zeros((*psi.shape, 3, 3))
    sign = np.where(flip, -1.0, 1.0)
    matrix[..., 0, 0] = sign * np.cos(psi)
    matrix[..., 0, 1] = sign * np.sin(psi)
    matrix[..., 1, 0] = -np.sin(psi)
    matrix[..., 1, 1] = np.cos(psi)
    matrix[..., 0, 2] = shift_x
    matrix[..., 1, 2] = shift_y
    matrix[..., 2, 2] = 1
    return matrix


def pose_parameters(matrix):
    """The inverse of :func:`pose_matrix`: (psi in degrees in [0, 360), shift_x, shift_y, flip) of (..., 3, 3)."""
    matrix = np.asarray(matrix)
    flip = np.linalg.det(matrix[..., :2, :2]) < 0
    psi = np.rad2deg(np.arctan2(-matrix[..., 1, 0], matrix[..., 1, 1])) % 360
    return psi, matrix[..., 0, 2], matrix[..., 1, 2], flip.astype(int)
