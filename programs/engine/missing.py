"""Missing regions: which part of Fourier space an electron tomogram has seen.

Frequencies k = (kx, ky, kz) are radians per voxel in the frame of the particle's volume: z is along the beam at zero
tilt.  A tilt series about axis Y observes the central planes ``kz = -kx tan(theta)`` for every tilt theta between its
limits; about axis X, ``kz = -ky tan(theta)``.
"""
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from ..errors import UserError

KINDS = "wedge_y", "wedge_x", "pyramid", "cone", "weight"
_EDGE = 1e-9        # how far, relative to |k|^2, beyond the first or last plane still counts as on it


@dataclass(frozen=True)
class Region:
    """What one kind of tilt geometry leaves unobserved; :class:`UserError` for limits that make no sense.

    number : the key by which particles refer to it
    kind : ``wedge_y``, ``wedge_x`` (single tilt about that axis), ``pyramid`` (both), ``cone`` (all directions of tilt,
        as in random conical tilt), ``weight`` (any, given as a volume) or ``everything`` (nothing is missing)
    y, x : (first, last) tilt in degrees about that axis, within -90 to 90
    cone : the tilt in degrees, above 0, up to 90: frequencies nearer the z axis than 90 - cone are missing
    weight : (n, n, n) values 0 to 1, Fourier space on the grid of an n-voxel box with the origin at n // 2; W(k) and
        W(-k) are averaged
    path : where the weight came from
    """

    number: int
    kind: str
    y: tuple = None
    x: tuple = None
    cone: float = None
    weight: np.ndarray = field(default=None, repr=False, compare=False)
    path: str = ""

    def __post_init__(self):
        if self.kind in ("wedge_y", "pyramid"):
            self._check_limits("Y", self.y)
        if self.kind in ("wedge_x", "pyramid"):
            self._check_limits("X", self.x)
        if self.kind == "cone" and not (self.cone is not None and 0 < self.cone <= 90):
            raise self._error(f"a tilt of {_shown(self.cone)}, expected more than 0, up to 90 degrees")
        if self.kind == "weight":
            self._check_weight()
        elif self.kind not in (*KINDS, "everything"):
            raise self._error("unknown type, expected one of " + " ".join(KINDS))

    @property
    def radial(self):
        """Whether the weight of a frequency depends on its length, too, and not on its direction alone."""
        return self.kind == "weight"

    def observed(self, kx, ky, kz):
        """float32 weights, 0 (missing) to 1 (observed), at frequencies in radians per voxel, which broadcast together.

        The geometric kinds know 0 and 1 alone; their edges, and the origin of every kind, are observed.  Beyond the
        Nyquist frequency the outermost values of a weight volume go on.
        """
        kx, ky, kz = np.broadcast_arrays(*(np.asarray(k, np.float64) for k in (kx, ky, kz)))
        if self.kind == "wedge_y":
            seen = _between_planes(kx, kz, self.y)
        elif self.kind == "wedge_x":
            seen = _between_planes(ky, kz, self.x)
        elif self.kind == "pyramid":
            seen = _between_planes(kx, kz, self.y) | _between_planes(ky, kz, self.x)
        elif self.kind == "cone":
            across, along = np.sin(np.deg2rad(self.cone)) ** 2, np.cos(np.deg2rad(self.cone)) ** 2
            seen = (kx**2 + ky**2) * (across + _EDGE) >= kz**2 * (along - _EDGE)
        elif self.kind == "weight":
            seen = self._interpolated(kx, ky, kz)
        else:
            seen = np.ones(kx.shape)
        return np.asarray(seen, np.float32)

    @cached_property
    def coverage(self):
        """The observed fraction of all directions; for a weight its mean over the ball of frequencies up to Nyquist."""
        if self.kind == "wedge_y":
            return (self.y[1] - self.y[0]) / 180
        if self.kind == "wedge_x":
            return (self.x[1] - self.x[0]) / 180
        if self.kind == "pyramid":
            return 1 - sum(_solid_angle(u, v) for u in _missing(self.y) for v in _missing(self.x)) / (2 * np.pi)
        if self.kind == "cone":
            return float(np.sin(np.deg2rad(self.cone)))
        if self.kind == "weight":
            return self._mean_weight()
        return 1.0

    # ---- limits ----------------------------------------------------------------------------------------------

    def _error(self, fault):
        return UserError(f"missing region {self.number} ({self.kind}): {fault}")

    def _check_limits(self, axis, limits):
        if limits is None:
            raise self._error(f"no tilt range about {axis}")
        first, last = limits
        if not (-90 <= first <= 90 and -90 <= last <= 90):
            raise self._error(f"tilts from {_shown(first)} to {_shown(last)} about {axis}, expected -90 to 90 degrees")
        if last <= first:
            raise self._error(f"tilts from {_shown(first)} to {_shown(last)} about {axis}, "
                              "expected the last to be above the first")

    # ---- weights ---------------------------------------------------------------------------------------------

    def _check_weight(self):
        if self.weight is None:
            raise self._error("no volume of weights")
        where, shape = self.path or "its volume", np.shape(self.weight)
        if len(shape) != 3 or len(set(shape)) != 1 or shape[0] < 2:
            raise self._error(f"{where} has {' x '.join(map(str, shape[::-1]))} voxels, expected a cube")
        lowest, highest = np.min(self.weight), np.max(self.weight)
        if not (-1e-6 <= lowest and 1e-6 < highest <= 1 + 1e-6):        # NaN, too
            raise self._error(f"{where} holds values from {lowest:g} to {highest:g}, expected 0 to 1 and not 0 alone")

    @cached_property
    def _centred(self):
        """The weight on -half … half along every axis, so that -k has its place, too; symmetric."""
        n = len(self.weight)
        ends = 1 - n % 2        # an even box lacks +Nyquist, which is the same as -Nyquist
        whole = np.pad(np.clip(self.weight, 0, 1).astype(np.float32), [(0, ends)] * 3, mode="wrap")
        return (whole + whole[::-1, ::-1, ::-1]) / 2

    def _interpolated(self, kx, ky, kz):
        n, half = len(self.weight), len(self._centred) // 2
        places = np.stack([kz.ravel(), ky.ravel(), kx.ravel()]) * (n / (2 * np.pi)) + half
        values = map_coordinates(self._centred, places, np.float32, order=1, mode="nearest").reshape(kx.shape)
        return np.where((kx == 0) & (ky == 0) & (kz == 0), 1, values)

    def _mean_weight(self):
        axis = np.arange(len(self._centred)) - len(self._centred) // 2
        square = axis**2 + (axis**2)[:, None] + (axis**2)[:, None, None]
        inside = (square <= (len(self.weight) / 2) ** 2) & (square > 0)
        return float(self._centred[inside].mean())


EVERYTHING = Region(0, "everything")


def _between_planes(across, along, limits):
    """Whether points (across, along) lie on a line ``along = -across tan(theta)``, theta between the limits.

    With the line's angle a, sin(a - first) and sin(last - a) have one sign between the limits, on either half of it.
    """
    (cos_first, sin_first), (cos_last, sin_last) = ((np.cos(a), np.sin(a)) for a in np.deg2rad(limits))
    after_first = -along * cos_first - across * sin_first
    before_last = across * sin_last + along * cos_last
    return after_first * before_last >= -_EDGE * (across**2 + along**2)


def _missing(limits):
    """The missing values of across / along = -1 / tan(theta): a list of one or two (lowest, highest)."""
    first, last = limits
    if last - first >= 180:
        return []
    low, high = last - 90, first + 90           # degrees whose tangents are the limits
    if low < -90:
        degrees = [(low + 180, 90), (-90, high)]
    elif high > 90:
        degrees = [(low, 90), (-90, high - 180)]
    else:
        degrees = [(low, high)]
    return [tuple(np.tan(np.deg2rad(pair))) for pair in degrees]


def _solid_angle(u, v):
    """Of the directions (x, y, z > 0) with x / z between the two values of u and y / z between those of v."""
    def corner(u, v):
        return np.arctan(u * v / np.sqrt(1 + u**2 + v**2))

    return corner(u[1], v[1]) - corner(u[0], v[1]) - corner(u[1], v[0]) + corner(u[0], v[0])


def _shown(degrees):
    return "nothing" if degrees is None else f"{degrees:g}"
