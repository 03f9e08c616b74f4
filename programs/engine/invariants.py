"""What images of particles look like whichever way they are turned, from their angular harmonics.

Steerable principal components (Zhao & Singer, J. Opt. Soc. Am. A 30 (2013) 871): for every order q the covariance over
images of the harmonics x_q(k) on all rings is diagonalised; the components c_{q,l} that stand out of the noise hold
what the images have in common.  A turn by psi multiplies c_{q,l} by exp(-i q psi), so products c_{q,l} conj(c_{q,m})
do not know it, and their real parts do not know mirrors either.  They are the features; unlike the angular power
spectrum they know how rings lie to each other.
"""
from dataclasses import dataclass

import numpy as np

HIGHEST = 0.2             # 1/px: frequencies looked at
COMPONENTS = 15           # at most, of all orders
ANGLES = 72               # at which members are turned to each other
TRIALS, ROUNDS = 4, 8     # of turning the members of a class to each other


@dataclass
class Components:
    """Coefficients complex (N, C) of images, each divided by its deviation and weighed by its share of signal, and
    the order q (C,) of each."""

    values: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, rings, x, count=COMPONENTS, highest=HIGHEST):
        """The ``count`` strongest steerable components of images with harmonics x (N, size), centred and masked."""
        values, order, variance = [], [], []
        for q, harmonics in _orders(rings, x, rings.within(highest)):
            covariance = (harmonics.conj().T @ harmonics).real / len(x)
            own, vectors = np.linalg.eigh(covariance)
            values.append(harmonics @ vectors[:, ::-1])
            order.append(np.full(len(own), q))
            variance.append(own[::-1])
        values, order, variance = np.concatenate(values, 1), np.concatenate(order), np.concatenate(variance)
        noise = np.median(variance)
        best = np.argsort(-variance, kind="stable")[:count]
        best = best[variance[best] > noise]
        scale = np.sqrt(1 - noise / variance[best]) / np.sqrt(variance[best])
        return cls(values[:, best] * scale, order[best])

    def features(self):
        """(N, F) real numbers that turns and mirrors of the images do not change."""
        parts = [self.values[:, self.order == 0].real]
        for q in np.unique(self.order):
            some = self.values[:, self.order == q]
            first, second = np.triu_indices(some.shape[1])
            parts.append((some[:, first] * some[:, second].conj()).real)
        return np.concatenate(parts, 1)

    def turned_together(self, labels, classes, rng, mirrors=True):
        """mirrored (N,), psi (N,) radians: how images lie, when the members of each class are to lie alike.

        labels: (N,) class from 0.  Members are turned to one of them, then to the average, again and again.
        mirrors: whether they may be mirrored, too.
        """
        mirrored, psi = np.zeros(len(labels), int), np.zeros(len(labels))
        for k in range(classes):
            members = np.flatnonzero(labels == k)
            if len(members):
                attempts = [self._turned_to(members, first, mirrors) for first in rng.choice(members, TRIALS)]
                _, mirrored[members], psi[members] = max(attempts, key=lambda attempt: attempt[0])
        return mirrored, psi

    def _turned_to(self, members, first, mirrors):
        """(how alike, mirrored, psi) of members turned to image ``first``, then to their average."""
        plain = self.values[members]
        # y -> -y takes c_q to (-1)^q conj(c_q)
        flipped = (-1.0) ** self.order * plain.conj()
        weight = np.where(self.order == 0, 1.0, 2.0)
        angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
        waves = np.exp(1j * np.outer(self.order, angle))
        template = self.values[first]
        for _ in range(ROUNDS):
            scores = np.stack([((some * template.conj() * weight) @ waves).real for some in (plain, flipped)])
            at, best = scores.argmax(2), scores.max(2)
            mirror = mirrors & (best[1] > best[0])
            turn = angle[np.where(mirror, at[1], at[0])]
            aligned = np.where(mirror[:, None], flipped, plain) * np.exp(1j * np.outer(turn, self.order))
            template = aligned.mean(0)
        length = np.sqrt(max((np.abs(template) ** 2 * weight).sum(), np.finfo(float).tiny))
        # an image is turned, then mirrored, to lie like the average: the average is mirrored first, then turned
        return np.where(mirror, best[1], best[0]).sum() / length, mirror.astype(int), np.where(mirror, -turn, turn)


def _orders(rings, x, last):
    """(q, harmonics complex (N, rings) times the root of the ring's weight) on the first ``last`` rings."""
    for q in range(int(rings.highest[last - 1]) + 1):
        on = [j for j in range(last) if q <= rings.highest[j]]
        start = np.array([rings.start[j] + 2 * rings.each[j] * (q % 2) + q // 2 for j in on])
        values = x[:, start] + 1j * x[:, start + rings.each[on]]
        if q == 0:
            values = values - values.mean(0)
        yield q, values * np.sqrt(rings.weight[on])
