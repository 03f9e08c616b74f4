"""Averages of images turned, mirrored and shifted back into their references' frames."""
from dataclasses import dataclass

import numpy as np

from . import correlation_kernels as kernels

BLOCK = 128               # images worked on together


@dataclass
class Placed:
    """Images (by number) and how they enter which average; arrays (C,).

    The image is the reference shifted by (x, y) px, then (mirrored) y -> -y, then turned by psi radians from x to y.
    half: 0 or 1, the half set it belongs to.
    """

    image: np.ndarray
    ref: np.ndarray
    mirrored: np.ndarray
    psi: np.ndarray
    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    half: np.ndarray

    def take(self, rows):
        return Placed(*(column[rows] for column in vars(self).values()))


@dataclass
class Transfer:
    """Squared CTFs of images on the rings: phase and what its cosine and sine of twice the azimuth are multiplied by.

    phase, along, across, envelope: (N, rings), radians; ``envelope`` multiplies the squared CTF.
    """

    phase: np.ndarray
    along: np.ndarray
    across: np.ndarray
    envelope: np.ndarray

    @classmethod
    def of(cls, rings, ctf, pixel_size, b_factor):
        """Of :class:`.ctf.Ctf`, with b_factor (N,) in Å^2."""
        radius = rings.k / (2 * np.pi * pixel_size)
        zero, right, half = (ctf.phase(radius, azimuth) for azimuth in (0, np.pi / 2, np.pi / 4))
        mean = (zero + right) / 2
        # whole turns would only cost precision
        return cls(mean % (2 * np.pi), zero - mean, half - mean, np.exp(-b_factor[:, None] * radius**2 / 2))

    def take(self, rows):
        return Transfer(*(column[rows] for column in vars(self).values()))

    def power(self):
        """Mean squared CTF over the azimuth (N, rings)."""
        angle = np.arange(8) * np.pi / 8
        phases = (self.phase[..., None] + self.along[..., None] * np.cos(2 * angle)
                  + self.across[..., None] * np.sin(2 * angle))
        return (np.sin(phases) ** 2).mean(-1) * self.envelope


@dataclass
class Sums:
    """Sums over images: numerator complex (K, 2, P), weight (K, 2), and with CTFs their squares (K, 2, P)."""

    numerator: np.ndarray
    weight: np.ndarray
    power: np.ndarray = None

    def averages(self, noise=None):
        """Samples complex (K, 2, P) of the half sets' averages, and (K, P) of both.  noise: Wiener constant."""
        whole = self.numerator.sum(1)
        if self.power is not None:
            return self.numerator / (self.power + noise), whole / (self.power.sum(1) + noise)
        weight = np.maximum(self.weight, np.finfo(float).tiny)[..., None]
        return self.numerator / weight, whole / np.maximum(self.weight.sum(1), np.finfo(float).tiny)[:, None]


def add_up(rings, x, placed, references, transfer=None, pool=map):
    """:class:`Sums` of images with harmonics x (N, size).  The same whatever the pool's number of workers."""
    weight = np.zeros((references, 2))
    np.add.at(weight, (placed.ref, placed.half), placed.weight)
    parts = list(pool(lambda some: _sum_of_group(rings, x, some, transfer), groups_of(placed, references)))
    numerator = np.stack([part[0] for part in parts]).reshape(references, 2, -1)
    if transfer is None:
        return Sums(numerator, weight)
    return Sums(numerator, weight, np.stack([part[1] for part in parts]).reshape(references, 2, -1))


def groups_of(placed, references):
    """What goes into the half sets' averages, one after the other: a list of 2 K :class:`Placed`."""
    placed = placed.take(np.lexsort((placed.image, placed.half, placed.ref)))
    ends = np.searchsorted(2 * placed.ref + placed.half, np.arange(2 * references + 1))
    return [placed.take(slice(a, b)) for a, b in zip(ends, ends[1:])]


def samples_turned_back(rings, x, some):
    """Samples float32 (B, 2, P) of images in the references' frames but for the shift."""
    turned = np.empty((len(some.image), rings.size), np.float32)
    psi = np.ascontiguousarray(some.psi)
    kernels.turned_back(x[some.image], (rings.start[:-1], rings.each), psi, some.mirrored, turned)
    return rings.synthesize(turned)


def transfer_in_frame(rings, some, transfer):
    """What the kernels want of squared CTFs in the references' frames, float32.

    Cosine and sine (P,) of twice the azimuth; then phase, along, across and envelope (B, rings).
    """
    c, s = np.cos(2 * some.psi)[:, None], np.sin(2 * some.psi)[:, None]
    along, across = transfer.along[some.image], transfer.across[some.image]
    sign = np.where(some.mirrored == 1, -1, 1)[:, None]
    twice = 2 * np.arctan2(rings.ky, rings.kx)
    parts = (np.cos(twice), np.sin(twice), transfer.phase[some.image], along * c + across * s,
             sign * (across * c - along * s), transfer.envelope[some.image])
    return tuple(part.astype(np.float32) for part in parts)


def _sum_of_group(rings, x, placed, transfer):
    kx, ky = rings.kx.astype(np.float32), rings.ky.astype(np.float32)
    total, power = np.zeros(len(kx), complex), np.zeros(len(kx))
    for begin in range(0, len(placed.image), BLOCK):
        some = placed.take(slice(begin, begin + BLOCK))
        shift, part = np.stack([some.x, some.y], 1), np.zeros((2, len(kx)), np.float32)
        kernels.add_unshifted(samples_turned_back(rings, x, some), kx, ky, shift, some.weight, part)
        total += part[0] + 1j * part[1]
        if transfer is not None:
            power += _power_of_block(rings, some, transfer)
    return total, power


def _power_of_block(rings, some, transfer):
    """Sum (P,) of the images' weighted squared CTFs in the references' frames."""
    out = np.zeros(len(rings.ring), np.float32)
    kernels.add_ctf_power(rings.ring, *transfer_in_frame(rings, some, transfer), some.weight, out)
    return out
