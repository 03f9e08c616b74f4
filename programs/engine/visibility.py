"""How much of a reference's power an image shows, at every in-plane rotation.

Seen through a CTF C, in noise of spectrum s^2, a reference A turned by psi has the squared norm

    |C R_psi A / s|^2 = <V, R_psi |A|^2>,          V = C^2 / s^2,

the image's *visibility* V correlated with the reference's power.  V is real and V(-k) = V(k), so only even q occur;
without astigmatism only q = 0, and with the astigmatism of real microscopes only a few more.  The correlation has
the form of the scores themselves (see :mod:`.search`), so half of it is taken from a few bins of the scores'
products before those are transformed to angles: all rotations, shifts and mirrors follow at no cost.

Harmonics of V and |A|^2 are arrays (..., 2, L, rings): real and imaginary parts of q = 0, 2, 4 ... 2 (L - 1).
"""
import numpy as np

from .cell_kernels import accumulate_cells


class EvenHarmonics:
    """The first ``count`` even harmonics of real functions with period pi on the rings of a disk."""

    def __init__(self, disk, count=1):
        self.q = 2 * np.arange(count)
        folded = self.q % disk.n_psi
        self.bins = np.minimum(folded, disk.n_psi - folded)
        self.sign = np.where(folded > disk.n_psi // 2, -1, 1)
        self.metric = np.where(self.q == 0, 1, 2)[:, None] * disk.weight            # (L, rings)
        angle = np.outer(disk.phi, self.q)
        self._cos, self._sin = np.cos(angle), np.sin(angle)                         # (n_phi / 2, L)
        angle = 2 * np.pi / disk.n_psi * np.outer(np.arange(disk.n_psi), self.bins)
        self.cell_cosine, self.cell_sine = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)

    def __len__(self):
        return len(self.q)

    def expand(self, samples):
        """Harmonics (B, 2, L, rings) of samples (B, rings, n_phi / 2) on half of the circle."""
        real, imag = samples @ self._cos, -(samples @ self._sin)
        return np.stack([real, imag], 1).swapaxes(2, 3) / samples.shape[-1]

    def synthesize(self, harmonics):
        """Samples (..., rings, n_phi / 2) of harmonics (..., 2, L, rings)."""
        weighted = (harmonics * np.where(self.q == 0, 1, 2)[:, None]).swapaxes(-1, -2)
        return weighted[..., 0, :, :] @ self._cos.T - weighted[..., 1, :, :] @ self._sin.T

    def products(self, visibility, power):
        """Partial products of <V, R |A|^2>, float64 (4, L, B, K): what :meth:`.search.Grid.scores` makes of scores.

        visibility: (B, 2, L, rings); power: (K, 2, L, rings), :attr:`metric` included.
        """
        vr, vi = visibility.astype(float).transpose(1, 2, 0, 3)                     # (L, B, rings) each
        pr, pi = power.transpose(1, 2, 3, 0)                                        # (L, rings, K) each
        sign = self.sign[:, None, None]
        return np.stack([vr @ pr, vi @ pi, sign * (vr @ pi), sign * (vi @ pr)])

    def spread(self, weights, visibility):
        """Adjoint of :meth:`products`: harmonics (K, 2, L, rings) of V turned back, from weights (4, L, B, K)."""
        vr, vi = visibility.astype(float).transpose(1, 2, 0, 3)
        w = weights.swapaxes(2, 3) * np.stack([np.ones_like(self.sign)] * 2 + [self.sign] * 2)[..., None, None]
        return np.stack([w[0] @ vr + w[3] @ vi, w[1] @ vi + w[2] @ vr]).transpose(2, 0, 1, 3)

    def spread_cells(self, cells, visibility, references):
        """The same for a list of cells whose rows are 2 * reference + mirrored."""
        sums = np.zeros((references, 2, *self.metric.shape), np.float32)
        sign = np.repeat(self.sign[:, None], visibility.shape[-1], 1).astype(np.float32)
        accumulate_cells(visibility, sign, np.full(len(self), sign.shape[1]), np.ones(len(self), np.float32),
                         cells.image, cells.row, cells.angle, cells.weight, self.cell_cosine, self.cell_sine, sums)
        return sums.astype(float)


def rows_of(products):
    """Products (4, L, B, K), or (1, 1, B, K), as the search of single cells wants them.

    Returns float32 (B, K, 2, 2, L): for plain and mirrored references, the real and imaginary part per harmonic.
    """
    rr, ii, ri, ir = products if len(products) == 4 else (products[0], 0, 0, 0)
    rows = np.stack([np.stack([rr + ii, ri - ir + 0 * rr]), np.stack([rr - ii, -(ri + ir) + 0 * rr])])
    return np.ascontiguousarray(rows.transpose(3, 4, 0, 1, 2), np.float32)
