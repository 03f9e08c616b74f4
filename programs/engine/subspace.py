"""Multivariate statistical analysis (MSA): the few images that most of what distinguishes class averages is made of.

van Heel & Frank, Ultramicroscopy 6 (1981) 187.  Aligned averages are vectors of one length; the principal components
of the set are a basis, in which particles aligned like them become short vectors.
"""
from dataclasses import dataclass

import numpy as np

from .averaging import BLOCK, samples_turned_back
from .correlation_kernels import unshifted
from .matching import masked

ROUNDING = 1e-7           # singular value, to that of as many different images, that means nothing


@dataclass
class Principal:
    """The principal components (V, F) of vectors (N, F), their mean (F,), and the components' singular values (V,) and
    shares of the variance (V,), the largest first.  The largest entry of each component is positive."""

    mean: np.ndarray
    components: np.ndarray
    values: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, vectors, count):
        mean = vectors.mean(0)
        _, values, components = np.linalg.svd(vectors - mean, full_matrices=False)
        shares = values**2 / max((values**2).sum(), np.finfo(float).tiny)
        components = components[:count]
        largest = np.abs(components).argmax(1)
        sign = np.where(components[np.arange(len(components)), largest] < 0, -1.0, 1.0)
        return cls(mean, components * sign[:, None], values[:count], shares[:count])

    def coefficients(self, vectors):
        """(N, V) of vectors (N, F) less the mean."""
        return (vectors - self.mean) @ self.components.T


@dataclass
class Subspace:
    """mean (n, n) and basis (V, n, n) inside a mask, orthonormal; values (V,): singular values; shares (V,): of the
    variance explained."""

    mean: np.ndarray
    basis: np.ndarray
    values: np.ndarray
    shares: np.ndarray

    @classmethod
    def of(cls, images, count, mask):
        """The first ``count`` components, or as many as there are, of images (K, n, n) aligned to each other.

        Where images do not differ at all there is one, of zeros.
        Each is brought to mean 0 and length 1 inside the mask; empty images count as they are.
        """
        vectors, power = masked(images, mask)
        vectors = vectors.reshape(len(images), -1) / np.sqrt(np.maximum(power, np.finfo(float).tiny))[:, None]
        inside = mask.ravel() > 0
        count = max(1, min(count, len(images) - 1, inside.sum()))
        principal = Principal.of(vectors[:, inside], count)
        values, shares = principal.values, principal.shares
        # what belongs to no variance is arbitrary: not even without a mean inside the mask
        real = values > ROUNDING * np.sqrt(len(images))
        kept = real | (np.arange(count) == 0)
        basis = _filled(principal.components * real[:, None], inside, mask.shape)
        return cls(_filled(principal.mean[None], inside, mask.shape)[0], basis[kept], (values * real)[kept],
                   (shares * real)[kept])

    def prepare(self, rings, mask):
        """What :meth:`coefficients` needs: :class:`Projection` on ``rings``."""
        images = self.basis
        real, imaginary = rings.sample(images.astype(np.float32)) * rings.share[:, None]
        return Projection(rings, np.concatenate([real, imaginary]).astype(np.float32), self._own(), mask)

    def _own(self):
        """Coefficients (V,) of the mean."""
        return np.tensordot(self.basis, self.mean, 2)


@dataclass
class Projection:
    """A subspace sampled on rings.  table: (2 P, V), what samples are multiplied by; own: (V,)."""

    rings: object
    table: np.ndarray
    own: np.ndarray
    mask: np.ndarray

    def coefficients(self, x, placed, inverse):
        """Coefficients (C, V) of images in their references' frames, of length 1 inside the mask, less the mean.

        x: harmonics (N, size); placed: :class:`.averaging.Placed` of C images; inverse: (C,) one over each image's
        deviation inside the mask.
        """
        out = np.empty((len(placed.image), self.table.shape[1]))
        rings = self.rings
        for begin in range(0, len(out), BLOCK):
            some = placed.take(slice(begin, begin + BLOCK))
            samples = samples_turned_back(rings, x, some)
            unshifted(samples, rings.kx.astype(np.float32), rings.ky.astype(np.float32), np.stack([some.x, some.y], 1))
            out[begin : begin + BLOCK] = samples.reshape(len(samples), -1) @ self.table
        # basis images have no mean inside the mask, so that of the image does not matter
        return out * (inverse / np.sqrt(self.mask.sum()))[:, None] - self.own


def normalised(vectors):
    """Vectors (N, V) of length 1; those of length 0 stay."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)


def _filled(vectors, inside, shape):
    images = np.zeros((len(vectors), inside.size))
    images[:, inside] = vectors
    return images.reshape(-1, *shape)
