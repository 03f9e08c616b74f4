"""Images known everywhere: sums of Gaussian blobs, moved by moving their centres, and what tests make of them."""
from types import SimpleNamespace

import numpy as np

from mlalign.programs.engine import kernels
from mlalign.programs.engine.expectation import Cells
from mlalign.programs.geometry import pose_matrix


class Blobs:
    """A phantom without symmetry: blobs of ``heights``, ``centres`` (count, 2) = (x, y) from the origin, ``widths``.

    Wide enough to have no power at the highest frequencies, near enough to the origin to stay in a circle of
    radius 15 when shifted by 3 px.
    """

    def __init__(self, seed, count=8, reach=6):
        rng = np.random.default_rng(seed)
        angle, distance = rng.uniform(0, 2 * np.pi, count), reach * np.sqrt(rng.random(count))
        self.centres = np.stack([distance * np.cos(angle), distance * np.sin(angle)], 1)
        self.heights, self.widths = rng.uniform(0.5, 1.5, count), rng.uniform(1.5, 2.0, count)
        self.heights[1::3] *= -1                   # differences in sign make phantoms, and mirror images, distinct

    def image(self, n, psi=0.0, mirrored=False, shift=(0, 0)):
        """The phantom shifted by (x, y) px, then (``mirrored``) y -> -y, then turned by psi radians from x to y."""
        return self._drawn(n, *self._moved(psi, mirrored, shift))

    def transform(self, kx, ky, psi=0.0, mirrored=False, shift=(0, 0)):
        """Fourier transform of :meth:`image` at frequencies (kx, ky) in rad/px, of the same shape."""
        x, y = self._moved(psi, mirrored, shift)
        falls = 2 * np.pi * self.widths**2 * np.exp(-(kx**2 + ky**2)[..., None] * self.widths**2 / 2)
        return (self.heights * falls * np.exp(-1j * (kx[..., None] * x + ky[..., None] * y))).sum(-1)

    def _moved(self, psi, mirrored, shift):
        x, y = (self.centres + shift).T
        if mirrored:
            y = -y
        return x * np.cos(psi) - y * np.sin(psi), x * np.sin(psi) + y * np.cos(psi)

    def particle(self, n, psi, shift_x, shift_y, flip):
        """The particle (n, n) that this pose aligns with the phantom, see :mod:`mlalign.programs.geometry`."""
        points = np.column_stack([self.centres, np.ones(len(self.centres))])
        x, y, _ = np.linalg.solve(pose_matrix(psi, shift_x, shift_y, flip), points.T)
        return self._drawn(n, x, y)

    def _drawn(self, n, x, y):
        row, column = np.mgrid[:n, :n] - n // 2
        squared = (column[..., None] - x) ** 2 + (row[..., None] - y) ** 2
        return (self.heights * np.exp(-squared / (2 * self.widths**2))).sum(-1)


# Distinct: at any rotation, mirror and shift no two correlate above 0.75, nor one with its own mirror image.
DISTINCT = [Blobs(seed) for seed in (44, 36, 54, 37)]
PHANTOMS = DISTINCT[:2]                  # the references of most tests


class Stack:
    """Images in memory, as programs hand them to the engine."""

    def __init__(self, images):
        self.images = np.asarray(images, np.float32)
        self.count, self.size = len(images), self.images.shape[-1]

    def read(self, rows):
        return self.images[rows]


def cells_of(phantoms, grid):
    """Every reference in every pose of a grid, drawn one by one: (K, S, 2, n_psi, n, n)."""
    n, n_psi = grid.disk.n, grid.disk.n_psi
    return np.array([[[[phantom.image(n, 2 * np.pi * p / n_psi, mirrored, shift) for p in range(n_psi)]
                       for mirrored in (False, True)] for shift in grid.shifts] for phantom in phantoms])


def random_scores(rng, count, width, n_psi):
    """Random partial scores (4, B, 2, quarter, T), with sums that vanish at 0 and pi / 2 as they must."""
    g = rng.standard_normal((4, count, 2, n_psi // 4 + 1, width)).astype(np.float32)
    g[2:, :, :, 0] = 0                          # sines of zero
    if n_psi % 4 == 0:
        g[:2, :, 1, -1] = g[2:, :, 0, -1] = 0   # odd cosines and even sines of pi / 2
    return g


def at_all_angles(g, n_psi):
    """Partial scores (4, half, B, T) at theta_h from 0 to pi, of g (4, B, 2, quarter, T) as documented."""
    half = n_psi // 2 + 1
    even, odd = g.astype(float).transpose(2, 0, 3, 1, 4)                # (4, quarter, B, T) each
    sign = np.array([1, 1, -1, -1])[:, None, None, None]
    near, far = even + odd, sign * (even - odd)                         # at theta_h, at pi - theta_h
    return np.concatenate([near, far[:, : half - g.shape[3]][:, ::-1]], 1)


def table_of(g, n_psi):
    """Scores (B, T, 2, n_psi) of all cells, put together from partial scores (4, B, 2, quarter, T) as documented."""
    half = n_psi // 2 + 1
    table = np.full((g.shape[1], g.shape[4], 2, n_psi), np.nan)
    for h, (g0, g1, g2, g3) in enumerate(at_all_angles(g, n_psi).swapaxes(0, 1)):
        u, y, v, z = g0 + g1, g2 - g3, g0 - g1, g2 + g3
        table[:, :, 0, h % n_psi] = u + y
        table[:, :, 0, -h % n_psi] = u - y
        table[:, :, 1, (half - 1 + h) % n_psi] = v - z
        table[:, :, 1, (half - 1 - h) % n_psi] = v + z
    return table


def all_cells(weights):
    """The list of all cells, sorted as the engine keeps them, with weights (B, rows, n_psi)."""
    row, image, angle = np.indices(weights.swapaxes(0, 1).shape).reshape(3, -1)
    return Cells(image.astype(np.int32), row.astype(np.int32), angle.astype(np.int16),
                 np.ascontiguousarray(weights.swapaxes(0, 1), np.float32).ravel())


def partial_weights(weights, inverse=None):
    """Partial weights (4, B, 2, quarter, T) of the weights (B, T, 2, n_psi) of all cells, times ``inverse`` (B,)."""
    count, width, _, n_psi = weights.shape
    half, quarter = n_psi // 2, n_psi // 4 + 1
    p = np.zeros((4, count, 2, quarter, width), np.float32)
    for theta in range(half + 1):
        side, h = (0, theta) if theta < quarter else (1, half - theta)
        for plane, m, psi in ((0, 0, theta), (1, 0, -theta), (2, 1, half + theta), (3, 1, half - theta)):
            if plane % 2 == 0 or 0 < theta < half:                      # theta = 0 and pi have one angle, not two
                p[plane, :, side, h] = weights[:, :, m, psi % n_psi]
    kernels.to_partial_weights(p, np.ones(count, np.float32) if inverse is None else inverse)
    return p


def planted(phantoms, count, snr, seed, offset=1.5, contrast=0.0, background=0.0, n=32):
    """Particles of known truth, n px: shares of 0.6, 0.4 (of two) or equal ones, mirrored in 3 of 10 cases.

    A namespace: ref, psi, shift_x, shift_y, flip, scale, background (count,); clean and noisy images (count, n, n);
    sigma, the noise that makes the mean square of signal to noise ``snr``.  contrast: spread of the scales' logarithms;
    background: spread of the backgrounds in units of sigma.
    """
    rng = np.random.default_rng(seed)
    share = [0.6, 0.4] if len(phantoms) == 2 else None
    truth = SimpleNamespace(
        ref=rng.choice(len(phantoms), count, p=share), psi=rng.uniform(0, 360, count),
        shift_x=rng.normal(0, offset, count), shift_y=rng.normal(0, offset, count),
        flip=(rng.random(count) < 0.3).astype(int), scale=np.exp(rng.normal(0, contrast, count)))
    poses = zip(truth.ref, truth.psi, truth.shift_x, truth.shift_y, truth.flip)
    truth.clean = np.stack([phantoms[k].particle(n, *pose) for k, *pose in poses])
    truth.sigma = np.sqrt((truth.clean**2).mean() / snr)
    truth.background = truth.sigma * rng.normal(0, background, count)
    truth.images = (truth.scale[:, None, None] * truth.clean + truth.background[:, None, None]
                    + truth.sigma * rng.standard_normal(truth.clean.shape))
    return truth
