"""Missing regions: what they leave of a reference's power, and of averages.

A region's weights W are functions on spheres of frequencies; so is the power |A|^2 of a reference.  The power that is
left of it in every orientation, the sum of W |R A|^2, is an inner product of their harmonics, found for all turns about
z by the same products as the scores (:mod:`.harmonics`).  |A|^2 has degrees up to 2 L, so no more of W is needed, and
both are even: only even degrees.  What does not depend on |k| is kept summed over shells.

The adjoint collects the coverage V of a class from its particles' weights, and an average is the a that solves

    (P V P) a = s,           P: onto the ball's functions,

with s the sum of the particles: the maximum-likelihood average of incomplete particles (Scheres et al., Structure
17:1563, 2009, whose imputation converges to it).  V is needed to degree 2 L only, again exactly.
"""
from functools import cached_property

import numpy as np
from scipy.ndimage import map_coordinates

from .harmonics import Orders
from .hemisphere import Hemisphere

SUBSAMPLES = 5            # per direction, of each point's cell: a region's border seldom follows the points
ENOUGH = 1e-5             # relative residual of averages
UNSEEN = 1e-4             # of the largest coverage, in the direction of a step
LONGEST_SOLUTION = 60     # steps of conjugate gradients


class Coverage:
    """Weights of missing regions for a :class:`.ball.Ball`; ``radial``: whether any of them depends on |k|."""

    def __init__(self, ball, radial=False):
        self.ball, self.shells = ball, len(ball.k) if radial else 1
        highest = 2 * ball.highest
        self.layout = Orders(tuple(self.shells * (l % 2 == 0) for l in range(highest + 1)))
        self._points = ball.points.to(highest)
        self._fine = Hemisphere.exact(highest, 2 * highest)

    @property
    def size(self):
        return self.layout.size

    # ---- regions ----------------------------------------------------------------------------------------------

    def weights(self, region):
        """Weights of the ball's points, float32 (across, rings, J or 1): of data, of references' power, of noise."""
        if region.radial:
            observed = region.observed(*self.ball.frequencies()).astype(np.float32)
            return observed, observed**2, np.ones_like(observed)
        observed = self._observed(region)[..., None]
        return observed, observed, observed

    def _observed(self, region):
        """The share of each point's cell that a region observes: (across, rings)."""
        points = self.ball.points
        edges = 1 - np.concatenate([[0], np.cumsum(points.weights[::-1])]) * points.across / (4 * np.pi)
        edges = edges[::-1]                                          # of the rings' cells in cos(theta), rising from 0
        step = (np.arange(SUBSAMPLES) + 0.5) / SUBSAMPLES
        cosines = edges[:-1, None] + step * np.diff(edges)[:, None]
        phi = points.phi[:, None] + (step - 0.5) * 2 * np.pi / points.across
        sine = np.sqrt(1 - cosines**2)
        kx = np.cos(phi)[:, None, :, None] * sine[:, None, :]
        ky = np.sin(phi)[:, None, :, None] * sine[:, None, :]
        kz = np.broadcast_to(cosines[:, None, :], kx.shape)
        return region.observed(kx, ky, kz).mean((2, 3)).astype(np.float32)

    def vector(self, power_weights):
        """Harmonics float32 (1, P) of the weights of references' power (across, rings, J or 1)."""
        weights = np.broadcast_to(power_weights, (*power_weights.shape[:2], self.shells))
        return self._even(self._points.analyse(weights[None]), self._points)

    # ---- power of references ----------------------------------------------------------------------------------

    def power(self, vectors, precision):
        """Harmonics (B, P) of |A|^2, shells weighted by ``precision`` (J,), of references' vectors.

        Inner products with a region's are the power it leaves.
        """
        out = np.empty((len(vectors), self.size), np.float32)
        shell = (self.ball.weight * precision).astype(np.float32)
        for b, vector in enumerate(vectors):
            power = np.abs(self._transform(vector)) ** 2 * shell
            if self.shells == 1:
                power = power.sum(-1, keepdims=True)
            out[b] = self._even(self._fine.analyse(power[None]), self._fine)[0]
        return out

    # ---- averages ---------------------------------------------------------------------------------------------

    def at_points(self, vector):
        """A coverage vector (P,) at the points of the fine grid: float32 (across, rings, J or 1)."""
        full = np.zeros((1, self._fine.layout(self.shells).size), np.float32)
        for ours, theirs in self._even_places(self._fine):
            full[0, theirs] = vector[ours]
        return self._fine.synthesize(full).real[0]

    def volume(self, vector):
        """A coverage vector (P,) on the grid of frequencies of the ball's box: float32 (n, n, n), centred, zero beyond
        the ball's highest frequency."""
        ball, fine = self.ball, self._fine
        n = ball.n
        z, y, x = (np.mgrid[:n, :n, :n] - n // 2) * (2 * np.pi / n)
        flip = np.where(z < 0, -1, 1)                                           # V is even: only z >= 0 is held
        k = np.sqrt(x**2 + y**2 + z**2)
        cosine = np.abs(z) / np.maximum(k, 1e-12)
        turn = np.arctan2(flip * y, flip * x) % (2 * np.pi) / (2 * np.pi) * fine.across
        # beyond the first ring lies its mirror image through the origin, beyond the last one the pole
        cosines = np.concatenate([[-fine.cosines[0]], fine.cosines, [1.0]])
        ring = np.interp(cosine, cosines, np.arange(fine.rings + 2))
        shell = np.interp(k, ball.k, np.arange(len(ball.k))) if self.shells > 1 else np.zeros_like(k)
        points = self.at_points(vector)
        half = [fine.across // 2, -(-fine.across // 2)]                         # half a turn, also of an odd number
        opposite = np.mean([np.roll(points[:, :1], turns, 0) for turns in half], 0)
        pole = np.broadcast_to(points[:, -1:].mean(0, keepdims=True), points[:, :1].shape)
        points = np.concatenate([opposite, points, pole], 1)
        around = np.concatenate([points, points[:1]])                           # phi goes all the way round
        values = map_coordinates(around, [turn, ring, shell], order=1, mode="nearest")
        return np.where(k <= ball.k[-1] + np.pi / n, values, 0).astype(np.float32)

    def covered(self, at_points, vector):
        """P V P a (P,) of a reference's vector, with V given :meth:`at_points`."""
        return self._back(self._transform(vector) * at_points)

    def power_seen(self, at_points, vector):
        """The sum of V |A|^2 on each shell, float64 (J,), of a reference's vector, with V given :meth:`at_points`."""
        power = np.abs(self._transform(vector)) ** 2 * at_points
        return np.einsum("ark,r->k", power, self._fine.weights, dtype=np.float64) * self.ball.weight

    @cached_property
    def degrees_of_freedom(self):
        """Of the noise in a particle of which nothing is missing, per shell: float64 (J,)."""
        return 4 * np.pi * self.ball.weight * np.count_nonzero(self.ball.seen)

    def average(self, coverage, summed, threshold=0.0, start=None):
        """The average a (P,) of particles: (P V P) a = s, by conjugate gradients.

        coverage: V's vector; summed: s (P,).  Where V is at or below ``threshold``, a is kept near zero: divided by the
        largest V instead.
        start: a first guess of the average.
        """
        # V, cut off at degree 2 L, may ripple below zero, but P V P is what it should be
        weight = self.at_points(coverage)
        most = weight.max()
        if most <= threshold:
            return np.zeros_like(summed)
        if threshold > 0:
            weight = np.where(weight <= threshold, most, weight)
        a = np.zeros(len(summed)) if start is None else start.astype(float)
        residual = summed - (self.covered(weight, a.astype(np.float32)) if start is not None else 0.0)
        direction, left = residual.copy(), residual @ residual
        goal = ENOUGH**2 * float(summed.astype(float) @ summed)
        for _ in range(LONGEST_SOLUTION):
            if left <= goal:
                break
            ahead = self.covered(weight, direction.astype(np.float32)).astype(float)
            seen = direction @ ahead
            if seen <= UNSEEN * most * (direction @ direction):
                break                                    # what nothing has seen stays as it is
            step = left / seen
            a += step * direction
            residual = residual - step * ahead
            before, left = left, residual @ residual
            direction = residual + left / before * direction
        return a.astype(np.float32)

    def correlation(self, coverages, sums):
        """Fourier shell correlation (J,) of two halves' averages, of their coverages (2, P) and sums (2, P).

        Re sum (V2 S1)* (V1 S2): averages are never divided by coverages that may be zero.
        """
        (v1, v2), (s1, s2) = ([self.at_points(v) for v in coverages], [self._transform(s) for s in sums])
        first, second = v2 * s1, v1 * s2
        rings = self._fine.weights[:, None]
        cross, one, two = (np.sum(rings * product, axis=(0, 1), dtype=np.float64) for product in (
            (first * second.conj()).real, np.abs(first) ** 2, np.abs(second) ** 2))
        norm = np.sqrt(one * two)
        return np.where(norm > 0, cross / np.where(norm > 0, norm, 1), 0.0)

    def correlations(self, totals):
        """Fourier shell correlation (K, J) of every class's halves, of :class:`.volume_model.Totals`."""
        return np.array([self.correlation(totals.coverage[:, k], totals.sums[:, k])
                         for k in range(totals.sums.shape[1])])

    def _transform(self, vector):
        """(across, rings, J) on the fine grid, of a reference's vector."""
        return self.ball.transforms(vector[None], self._small)[0]

    def _back(self, transform):
        return self.ball.compressed(self._small.analyse(transform[None]))[0]

    @cached_property
    def _small(self):
        return self._fine.to(self.ball.highest)

    def _even(self, vectors, points):
        out = np.empty((len(vectors), self.size), np.float32)
        for ours, theirs in self._even_places(points):
            out[:, ours] = vectors[:, theirs]
        return out

    def _even_places(self, points):
        """Places (2 l + 1, shells) of each even degree here and in all-degree vectors at ``points``."""
        return zip(self.layout.degrees[::2], points.layout(self.shells).degrees[::2])
