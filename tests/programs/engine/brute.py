"""The E-step written out: every cell of a small scene, distances from pixels, sums one by one, float64."""
from types import SimpleNamespace

import numpy as np
from scipy.special import gammaln, logsumexp

from mlalign.tests.programs.engine.blobs import PHANTOMS

OFFSET = 1.5
FRACTIONS, MIRROR = np.array([0.3, 0.7]), np.array([0.4, 0.2])
WITH_MIRROR = np.log([FRACTIONS * (1 - MIRROR), FRACTIONS * MIRROR])
WITHOUT_MIRROR = np.stack([np.log(FRACTIONS), np.full(2, -np.inf)])


def posterior(scene, log_class, sigma, df=None, scale=None):
    """Of images against references: posterior weights ``gamma``, robust weights and scores, (B, K, S, 2, n_psi) each.

    Also power (B,), evidence (B,), grey scales r (B, K, 1, 1, 1) and norm (K, 1, 1, 1), the references' |A|^2.
    """
    grid = scene.grid
    n, d = grid.disk.n, grid.disk.dimension
    power = grid.disk.power(scene.x)
    r = np.ones((3, 2)) if scale is None else scale
    r = r[:, :, None, None, None]
    score = scene.expected.reshape(3, 2, len(grid.shifts), 2, grid.disk.n_psi)
    norm = np.array([(phantom.image(n) ** 2).sum() for phantom in PHANTOMS])[:, None, None, None]
    squared = power[:, None, None, None, None] - 2 * r * score + r**2 * norm
    gamma, evidence, robust = softmax(grid, squared / sigma**2, d, log_class, df)
    evidence -= d * np.log(sigma)
    return SimpleNamespace(power=power, gamma=gamma, evidence=evidence, robust=robust, r=r, score=score, norm=norm)


def softmax(grid, squared, d, log_class, df=None, allowed=True):
    """Weights and evidence (B,) of whitened squared distances (B, K, S, 2, n_psi) of d dimensions; robust weights.

    allowed: the cells (B, 1, S, 2, n_psi) that count.
    """
    if df is None:
        likelihood = -squared / 2 - d / 2 * np.log(2 * np.pi)
        robust = np.ones_like(squared)
    else:
        likelihood = (gammaln((df + d) / 2) - gammaln(df / 2) - d / 2 * np.log(np.pi * df)
                      - (df + d) / 2 * np.log(1 + squared / df))
        robust = (df + d) / (df + squared)
    prior = log_class.T[:, None, :, None] + shift_prior(grid, OFFSET)[:, None, None] - np.log(grid.disk.n_psi)
    logp = np.where(allowed, likelihood + prior, -np.inf)
    evidence = logsumexp(logp, axis=(1, 2, 3, 4))
    return np.exp(logp - evidence[:, None, None, None, None]), evidence, robust


def shift_prior(grid, sigma_offset):
    """Log-probability (S,) of a grid's shifts: a Gaussian, normalised by a sum over the lattice."""
    lattice = np.arange(-40, 41) * grid.step
    weight = np.exp(-(lattice**2) / (2 * sigma_offset**2))
    return -(grid.shifts**2).sum(1) / (2 * sigma_offset**2) - np.log(weight.sum() ** 2)


def turned_back(scene, weights):
    """Polar samples (B, K, rings, phi): each image in the references' frames, summed over poses with ``weights``."""
    disk, n_psi = scene.grid.disk, scene.grid.disk.n_psi
    out = np.zeros((3, 2, *disk.kx.shape), complex)
    for b, x in enumerate(scene.x):
        for m in (0, 1):
            psi = 2 * np.pi * np.arange(n_psi) / n_psi
            polar = disk.synthesize(disk.turned(np.repeat(x[None], n_psi, 0), -psi, np.full(n_psi, m)))
            for k in range(2):
                for s, phase in enumerate(scene.grid.phase):
                    out[b, k] += np.tensordot(weights[b, k, s, m], polar, 1) * phase.conj()
    return out
