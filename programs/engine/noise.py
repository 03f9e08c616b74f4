"""Noise models: how likely a squared distance between an image and a reference is."""
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from .kernels import ALMOST_ONE


@dataclass(frozen=True)
class Noise:
    """White noise of standard deviation ``sigma`` per pixel, Gaussian or (with ``df``) Student-t.

    The t-distribution is that of Scheres & Carazo, Acta Cryst. D 65:672 (2009): one heavy-tailed distance per image,
    so outlier images weigh less.  dimension: real degrees of freedom D of an image in the circle and band used.
    """

    sigma: float
    dimension: float
    df: float = None

    @property
    def kappa(self):
        return 1 / self.sigma**2

    @property
    def nu(self):
        """(df + D) / 2 for Student-t noise, 0 for Gaussian."""
        return 0.0 if self.df is None else (self.df + self.dimension) / 2

    def tau(self, power):
        """2 / (df + |x|^2 / sigma^2), float32 (B,), of images with squared norm ``power``; unused for Gaussian."""
        return (2 / ((self.df or 0) + power * self.kappa)).astype(np.float32)

    def log_posterior(self, gain, prior, power):
        """Prior plus log-likelihood of gains (B, T), defined in :mod:`.kernels`, of images with norms (B,)."""
        if self.df is None:
            return gain + prior
        return prior - np.float32(self.nu) * np.log1p(-np.minimum(self.tau(power)[:, None] * gain, ALMOST_ONE))

    def robust_weight(self, gain, power):
        """Weight u = (df + D) / (df + d^2 / sigma^2) of cells with these gains; 1 for Gaussian noise."""
        if self.df is None:
            return np.ones_like(gain)
        return (self.df + self.dimension) / (self.df + power * self.kappa - 2 * gain)

    def log_likelihood_of_noise(self, power):
        """Log-density (B,) of images with squared norm ``power`` under no reference at all."""
        if self.df is None:
            return -power * self.kappa / 2 - self.dimension / 2 * np.log(2 * np.pi * self.sigma**2)
        return (gammaln(self.nu) - gammaln(self.df / 2)
                - self.dimension / 2 * np.log(np.pi * self.df * self.sigma**2)
                - self.nu * np.log1p(power * self.kappa / self.df))


def log_shift_prior(shifts, sigma_offset, step=1):
    """Log-probability (S,) of integer shifts (S, 2 or 3) under an isotropic Gaussian, normalised over the lattice.

    With ``sigma_offset`` zero only the zero shift is possible.  step: spacing of the lattice in pixels.
    """
    shifts = np.asarray(shifts)
    squared = (shifts**2).sum(1)
    if sigma_offset <= 0:
        return np.where(squared == 0, 0.0, -np.inf)
    line = np.arange(-int(12 * sigma_offset) - step, int(12 * sigma_offset) + step + 1)
    line = line[line % step == 0]
    one_axis = np.log(np.exp(-(line**2) / (2 * sigma_offset**2)).sum())
    return -squared / (2 * sigma_offset**2) - shifts.shape[1] * one_axis


def sigma_of_mean_square(mean_square, step=1, dimensions=2):
    """The sigma_offset whose lattice prior has this mean squared shift: its maximum-likelihood estimate."""
    def variance(sigma):
        line = np.arange(-int(12 * sigma) - step, int(12 * sigma) + step + 1)
        line = line[line % step == 0]
        weight = np.exp(-(line**2) / (2 * sigma**2))
        return (weight * line**2).sum() / weight.sum()

    low, high = 0.1 * step, max(np.sqrt(mean_square), step) * 2
    for _ in range(60):                               # the variance grows with sigma: bisect
        middle = (low + high) / 2
        low, high = (middle, high) if dimensions * variance(middle) < mean_square else (low, middle)
    return (low + high) / 2
