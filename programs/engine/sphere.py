"""Orientations: directions on the sphere, point groups, and rotations that bring z onto a direction.

Directions and axes are unit columns (x, y, z); angles are degrees; rotations are active matrices (see ``geometry3d``).
A grid of orientations is the directions of a geodesic grid times turns about z.  Where the reference has a symmetry
group, A and g A are one pose, and one of each set of equivalent directions is enough.
"""
import re
from functools import lru_cache

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from ..errors import UserError
from ..geometry3d import rotation_matrix

EDGE = float(np.rad2deg(np.arctan(2)))      # angle between neighbouring vertices of an icosahedron: 63.43 degrees
STEPS = 0.1, 45.0                           # finest and coarsest step of a grid
_GENERIC = np.array([0.2726, 0.1457, 0.9510]) / np.linalg.norm([0.2726, 0.1457, 0.9510])    # on no plane of symmetry
_CYCLIC = re.compile(r"[cd]([1-9]\d?)")
_IMPROPER = re.compile(r"ci|cs|s\d+|[cd]\d+[vh]|t[dh]|oh|i[1-5]?h")


# ---- directions -----------------------------------------------------------------------------------------------

def directions(step):
    """The geodesic grid of about ``step`` degrees between neighbours: (10 n^2 + 2, 3), n = round(63.43 / step).

    The faces of an icosahedron, with a vertex at either pole, are divided into n^2 triangles.  The first direction is
    exactly +z; there are no near duplicates.  Sensible steps are 3 to 30 degrees: from 25.4 to 42.2 all give n = 2, 42
    directions 31.7 degrees apart, and from 42.3 on only the 12 vertices are left.
    """
    if not STEPS[0] <= step <= STEPS[1]:        # NaN, too
        raise UserError(f"angular step of {step:g} degrees, expected {STEPS[0]:g} to {STEPS[1]:g}")
    return _geodesic(max(1, round(EDGE / step))).copy()


def cap(step, radius):
    """The directions of the grid within ``radius`` degrees of +z, which comes first: (D, 3)."""
    grid = directions(step)
    return grid[grid[:, 2] >= np.cos(np.deg2rad(np.clip(radius, 0, 180))) - 1e-9]


@lru_cache(maxsize=8)
def _geodesic(n):
    """Unit vectors of an icosahedron's vertices, then points on its edges, then points inside its faces."""
    vertices = _icosahedron()
    near = np.isclose(vertices @ vertices.T, np.cos(np.deg2rad(EDGE)))
    first, second = np.nonzero(np.triu(near))
    edges = np.stack([first, second], 1)
    faces = np.array([(a, b, c) for a, b in edges for c in range(b + 1, len(vertices)) if near[a, c] and near[b, c]])
    inner = np.array([(i, j, n - i - j) for i in range(1, n) for j in range(1, n - i)]).reshape(-1, 3)
    along = np.stack([np.arange(1, n), n - np.arange(1, n)], 1)
    # weights that divide every edge, and nearly every line parallel to one, into equal angles
    points = [np.einsum("pv,fvx->fpx", np.sin(np.deg2rad(EDGE) * part / n), vertices[corners]).reshape(-1, 3)
              for part, corners in ((along, edges), (inner, faces))]
    grid = np.concatenate([vertices, *points])
    grid /= np.linalg.norm(grid, axis=1, keepdims=True)
    grid.flags.writeable = False
    return grid


def _icosahedron():
    """(12, 3): the vertices, +z first and one of its neighbours in the half plane of x > 0, y = 0."""
    upper = np.deg2rad(72 * np.arange(5))
    lower = upper + np.deg2rad(36)
    height, width = 1 / np.sqrt(5), 2 / np.sqrt(5)
    rings = [np.stack([width * np.cos(angle), width * np.sin(angle), np.full(5, z)], 1)
             for angle, z in ((upper, height), (lower, -height))]
    return np.concatenate([[[0.0, 0.0, 1.0]], *rings, [[0.0, 0.0, -1.0]]])


# ---- symmetry -------------------------------------------------------------------------------------------------

def symmetry(name):
    """The rotations, a SciPy Rotation with the identity first, of a point group under its name in Xmipp.

    ======== ========== =====================================================================================
    c1 … c99 N          N-fold axis along z
    d1 … d99 2 N        N-fold axis along z, a 2-fold axis along x
    t        12         3-fold axis along z, a 2-fold axis in the yz plane at (0, 0.8165, 0.5774)
    o        24         4-fold axes along x, y and z
    i1       60         2-fold axes along x, y, z; the 5-fold axis nearest z in the yz plane, (0, 0.5257, 0.8507)
    i2, i    60         2-fold axes along x, y, z; the 5-fold axis nearest z in the xz plane, (0.5257, 0, 0.8507)
    i3       60         5-fold axis along z, the 2-fold axis nearest z at (-0.5257, 0, 0.8507)
    i4       60         5-fold axis along z, the 2-fold axis nearest z at (0.5257, 0, 0.8507)
    ======== ========== =====================================================================================

    i1 is i2 turned by 90 degrees about z, i4 is i3 turned by 180.  Raises :class:`UserError` for unknown names, and
    for groups with mirrors or an inversion, which no chiral molecule has.
    """
    group = name.strip().lower()
    if _IMPROPER.fullmatch(group):
        raise UserError(f"symmetry {name}: a group with mirrors or an inversion, which no molecule of one hand can "
                        "have; expected a group of rotations: c1 c2 … d2 d3 … t o i1 i2 i3 i4")
    if _CYCLIC.fullmatch(group):
        elements = Rotation.create_group(group.upper())
    elif group in _POLYHEDRAL:
        letter, turn = _POLYHEDRAL[group]
        elements = turn * Rotation.create_group(letter) * turn.inv()
    else:
        raise UserError(f"symmetry {name}: unknown point group, expected c1 c2 … d2 d3 … t o i1 i2 i3 i4")
    return elements[np.argsort(elements.magnitude(), kind="stable")]


def _about(axis, degrees):
    return Rotation.from_euler(axis, degrees, degrees=True)


_FIVE_FOLD = float(np.rad2deg(np.arctan2(2, 1 + np.sqrt(5))))       # tilt of i2's 5-fold axis in the xz plane: 31.7
_NO_TURN = Rotation.identity()
_TO_I2 = _about("z", 90)                                            # SciPy's group is i1
# SciPy's t has its 3-fold axes along the diagonals of the cube: bring one of them to z
_TO_T = Rotation.from_matrix(np.array([[-3, 3, 0], [-1, -1, 2], [1, 1, 1]]) / np.sqrt([[18], [6], [3]]))
# SciPy's group, and what turns its axes to Xmipp's
_POLYHEDRAL = {
    "t": ("T", _TO_T),
    "o": ("O", _NO_TURN),
    "i1": ("I", _NO_TURN),
    "i2": ("I", _TO_I2),
    "i": ("I", _TO_I2),
    "i3": ("I", _about("y", -_FIVE_FOLD) * _TO_I2),
    "i4": ("I", _about("y", _FIVE_FOLD) * _TO_I2),
}


def asymmetric_unit(directions, group):
    """Which directions (D, 3) to keep, bool (D,), so that of each set of equivalent ones, g d, one is left.

    group : SciPy Rotation, see :func:`symmetry`

    Kept is what lies nearest a fixed generic direction, of all its mates: about D / len(group) directions.  Where the
    group does not map the grid onto itself, a direction near the seams of the unit, or in a unit that is narrower than
    the grid, can be left without a mate nearby.  What is missing so is added, until every direction has a kept one's
    mate within a grid spacing.
    """
    directions, elements = np.asarray(directions, float), group.as_matrix()
    if len(elements) == 1 or len(directions) < 2:
        return np.ones(len(directions), bool)
    # v . (g d) = (g^T v) . d; a direction on an axis ties with itself
    heights = directions @ (_GENERIC @ elements).T
    kept = directions @ _GENERIC >= heights.max(1) - 1e-9
    _cover(directions, elements, kept)
    return kept


def _cover(directions, elements, kept):
    """Mark in ``kept`` (D,) what more is needed for every direction to have a kept one's mate within a spacing."""
    spacing = np.median(cKDTree(directions).query(directions, 2)[0][:, 1])
    nearest = np.full(len(directions), np.inf)
    if kept.any():
        mates = np.einsum("gij,dj->gdi", elements, directions[kept]).reshape(-1, 3)
        nearest = cKDTree(mates).query(directions)[0]
    while nearest.max() > spacing * (1 + 1e-6):
        worst = np.argmax(nearest)
        kept[worst] = True
        distance = np.linalg.norm((elements @ directions[worst])[:, None] - directions, axis=-1)
        nearest = np.minimum(nearest, distance.min(0))


# ---- rotations ------------------------------------------------------------------------------------------------

def towards(directions):
    """Rotations B (D, 3, 3) with B z = d for directions d (D, 3), by the shortest way; for -z: about x."""
    directions = np.asarray(directions, float)
    sine = np.hypot(directions[:, 0], directions[:, 1])
    at_pole = sine == 0
    axis = np.zeros_like(directions)
    axis[:, 0] = np.where(at_pole, 1, -directions[:, 1]) / np.where(at_pole, 1, sine)
    axis[:, 1] = np.where(at_pole, 0, directions[:, 0]) / np.where(at_pole, 1, sine)
    angle = np.arctan2(sine, directions[:, 2])
    return Rotation.from_rotvec(angle[:, None] * axis).as_matrix()


def random_rotations(count, rng):
    """Uniformly distributed rotations (count, 3, 3).  rng : numpy Generator"""
    return Rotation.from_quat(rng.normal(size=(count, 4))).as_matrix()


def small_rotation(sd_degrees, rng):
    """A rotation (3, 3) of three Euler angles from a normal distribution of standard deviation ``sd_degrees``."""
    return rotation_matrix(*rng.normal(0, sd_degrees, 3))
