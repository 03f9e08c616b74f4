"""Kinds of class averages, by the names of the original's averagers.

Images are placed as for :func:`.averaging.add_up`, and summed for every half set so that sums of other images, here or
on other ranks, can be added.  The phases of images with CTFs are flipped: what is left of the CTF is its modulus c.
Every sample is weighed by c in its own direction, so astigmatism counts.  With squares c^2 and F the images' samples:

    ctf.weight            sum F c^2 / sum c^2
    ctf.weight.autofilt   sum F c^2 / (0.1 + sum c^2), times 2 s / (1 + 2 s) with s the signal to noise in each ring,
                          known from the correlation of the halves
    ctf.auto              sum F s / max(c, 0.05), over max(sum s, 0.05);   s = max(snr c^2, 0.001)
    ctfw.auto             the same over 1 + sum s, with c falling as exp(-B k^2 / 4), B = 100 Å^2

The option ``snr`` (1) is the signal to noise that a particle would have without its CTF; nothing in the data tells how
it falls with the frequency.  Without CTFs all of them are the mean, ``autofilt`` the filtered mean.
"""
from dataclasses import dataclass, fields

import numpy as np

from .averaging import BLOCK, add_up, groups_of, samples_turned_back, transfer_in_frame
from .compiled import fast
from .correlation_kernels import _cos_sin
from .resolution import smooth_rings

FAINTEST = np.float32(0.05)       # CTF that is divided by, and sum of signal-to-noise ratios
LOWEST_SNR = np.float32(0.001)
FILL = 0.1                        # added to sums of squared CTFs, which have zeros
CORRELATIONS = 0.001, 0.9999      # between which those of halves are taken
B_FACTOR = 100.0                  # Å^2
TINY = np.finfo(np.float32).tiny


@dataclass
class Totals:
    """Sums over images, which can be added (``+``) and summed over ranks.

    rings: :class:`.rings.Rings`.  numerator: complex (K, 2, P); weight: (K, 2); denominator: (K, 2, P), with CTFs;
    coverage: (K, 2, n, n), sum of the weights of images that reach a pixel, when pixels outside do not count.
    """

    rings: object
    numerator: np.ndarray
    weight: np.ndarray
    denominator: np.ndarray = None
    coverage: np.ndarray = None

    def __add__(self, other):
        return Totals(self.rings, *(None if mine is None else mine + its
                                    for mine, its in zip(self._arrays(), other._arrays())))

    def over(self, ranks):
        """The sums of all ranks, see :mod:`.parallel`."""
        return Totals(self.rings, *(None if mine is None else ranks.sum(mine) for mine in self._arrays()))

    def _arrays(self):
        return [getattr(self, field.name) for field in fields(self)[1:]]


@dataclass
class Members:
    """Images themselves, in their references' frames: pixels float32 (C, those in the circle), ref and half (C,)."""

    rings: object
    references: int
    pixels: np.ndarray
    ref: np.ndarray
    half: np.ndarray

    def __add__(self, other):
        return self._joined(lambda name: np.concatenate([getattr(self, name), getattr(other, name)]))

    def over(self, ranks):
        """The members of all ranks."""
        return self._joined(lambda name: ranks.gather(getattr(self, name)))

    def _joined(self, column):
        return Members(self.rings, self.references, *(column(name) for name in ("pixels", "ref", "half")))


class Mean:
    """The mean.  ignore0: every pixel is the mean of the images that reach it; beyond their circles they are zero."""

    def __init__(self, ignore0=False):
        self.ignore0 = ignore0

    def add(self, rings, x, placed, references, pool=map, which=None):
        sums = add_up(rings, x, placed, references, pool=pool)
        coverage = _coverage(rings, placed, references, pool) if self.ignore0 else None
        return Totals(rings, sums.numerator, sums.weight, coverage=coverage)

    def finish(self, sums):
        halves, whole = _means(sums)
        if sums.coverage is None:
            return halves, whole
        weight, coverage = sums.weight, sums.coverage
        shape = halves.shape[:2]
        halves = _covered(sums.rings, halves.reshape(-1, halves.shape[-1]), weight.ravel(),
                          coverage.reshape(-1, *coverage.shape[2:]))
        return halves.reshape(*shape, -1), _covered(sums.rings, whole, weight.sum(1), coverage.sum(1))


class Median:
    """The median of every pixel over the members whose weight is above 0; weights do not count otherwise.

    All members are kept until the end, see :func:`memory`.
    """

    def add(self, rings, x, placed, references, pool=map, which=None):
        placed = placed.take(placed.weight > 0)
        blocks = [placed.take(slice(start, start + BLOCK)) for start in range(0, len(placed.image), BLOCK)]
        pixels = list(pool(lambda some: _pixels(rings, x, some), blocks))
        empty = np.zeros((0, int(rings.circle.sum())), np.float32)
        return Members(rings, references, np.concatenate([empty, *pixels]), placed.ref, placed.half)

    def finish(self, sums):
        rings = sums.rings
        images = np.zeros((sums.references, 3, rings.n, rings.n), np.float32)
        for k, three in enumerate(images):
            of_class = sums.ref == k
            for image, chosen in zip(three, (of_class & (sums.half == 0), of_class & (sums.half == 1), of_class)):
                if chosen.any():
                    image[rings.circle] = np.median(sums.pixels[chosen], axis=0)
        samples = _sampled(rings, images.reshape(-1, rings.n, rings.n)).reshape(len(images), 3, -1)
        return samples[:, :2], samples[:, 2]


class CtfAverage:
    """Averages of images weighed by their CTFs.

    transfer: :class:`.averaging.Transfer` of all images, or None: the mean.
    snr: signal to noise without the CTF, for weights by SNR; None for weights c^2.  falloff: (rings,) what the CTF
    that is divided by is multiplied by.  divide: sum of weights -> denominator.  autofilt: see the module.
    """

    def __init__(self, transfer, divide, snr=None, falloff=None, autofilt=False):
        self.transfer, self.divide, self.snr, self.falloff, self.autofilt = transfer, divide, snr, falloff, autofilt

    def add(self, rings, x, placed, references, pool=map, which=None):
        if self.transfer is None:
            sums = add_up(rings, x, placed, references, pool=pool)
            return Totals(rings, sums.numerator, sums.weight)
        transfer = self.transfer if which is None else self.transfer.take(which)
        groups = groups_of(placed, references)
        parts = list(pool(lambda some: self._sum_of_group(rings, x, some, transfer), groups))
        numerator, denominator = (np.stack(part).reshape(references, 2, -1) for part in zip(*parts))
        weight = np.array([some.weight.sum() for some in groups]).reshape(references, 2)
        return Totals(rings, numerator, weight, denominator)

    def finish(self, sums):
        halves, whole = self._averages(sums)
        if self.autofilt:
            whole = whole * frc_filter(sums.rings, halves, sums.weight)[:, sums.rings.ring]
        return halves, whole

    def _averages(self, sums):
        if sums.denominator is None:
            return _means(sums)
        return (sums.numerator / self.divide(sums.denominator),
                sums.numerator.sum(1) / self.divide(sums.denominator.sum(1)))

    def _sum_of_group(self, rings, x, placed, transfer):
        total, weights = np.zeros((2, len(rings.kx))), np.zeros(len(rings.kx))
        frequencies = rings.kx.astype(np.float32), rings.ky.astype(np.float32), rings.ring
        by_snr, snr = self.snr is not None, np.float32(self.snr or 0)
        falloff = np.ones(len(rings.k)) if self.falloff is None else self.falloff
        for begin in range(0, len(placed.image), BLOCK):
            some = placed.take(slice(begin, begin + BLOCK))
            out = np.zeros((3, len(rings.kx)), np.float32)
            _add_weighed(samples_turned_back(rings, x, some), frequencies, np.stack([some.x, some.y], 1), some.weight,
                         transfer_in_frame(rings, some, transfer), by_snr, snr, falloff.astype(np.float32), out)
            total += out[:2]
            weights += out[2]
        return total[0] + 1j * total[1], weights


# name -> its options and their defaults
OPTIONS = {"mean": {"ignore0": False}, "median": {}, "ctf.auto": {"snr": 1.0}, "ctfw.auto": {"snr": 1.0},
           "ctf.weight": {}, "ctf.weight.autofilt": {}}


def make(name, options=None, ctf=None, rings=None, pixel_size=None):
    """The averager of that name: an object with

    ``add(rings, x, placed, references, pool=map, which=None)`` -> sums of images with harmonics x (C, size), which are
    the images ``which`` (C,) of those that ``ctf`` knows (default: all of them); sums have ``+`` and ``over(ranks)``;
    ``finish(sums)`` -> samples complex (K, 2, P) of the half sets' averages, not filtered, and (K, P) of the whole's.

    options: see :data:`OPTIONS`.  ctf: :class:`.averaging.Transfer` of all images, without a B factor, or None.
    rings, pixel_size (Å/px): where its frequencies are; only ctfw.auto with CTFs needs them.
    """
    options = {**OPTIONS[name], **(options or {})}
    if name == "mean":
        return Mean(**options)
    if name == "median":
        return Median()
    if name == "ctf.auto":
        return CtfAverage(ctf, lambda total: np.maximum(total, FAINTEST), options["snr"])
    if name == "ctfw.auto":
        falloff = None if ctf is None else np.exp(-B_FACTOR / 4 * (rings.k / (2 * np.pi * pixel_size)) ** 2)
        return CtfAverage(ctf, lambda total: 1 + total, options["snr"], falloff)
    if name == "ctf.weight":
        return CtfAverage(ctf, lambda total: np.maximum(total, TINY))
    return CtfAverage(ctf, lambda total: FILL + total, autofilt=True)


def memory(name, rings, references, members):
    """Bytes that the sums of ``members`` images in so many references need at most, and what is made of them."""
    if name == "median":
        return members * (2 * 4 * int(rings.circle.sum()) + 16)     # twice when all members are in one class
    sums, coverage = 24 * 2 * references * len(rings.kx), 8 * 2 * references * rings.n**2
    return 2 * (sums + (coverage if name == "mean" else 0))         # a chunk's and the total


def frc_filter(rings, halves, weight):
    """(K, rings): 2 s / (1 + 2 s) with s = f / (1 - f) and f the correlation of halves (K, 2, P).

    f is averaged over one Fourier pixel.  A class with an empty half, where weight (K, 2) is 0, is not filtered.
    """
    cross = rings_sums(rings, (halves[:, 0] * halves[:, 1].conj()).real)
    first, second = (rings_sums(rings, np.abs(halves[:, half]) ** 2) for half in (0, 1))
    norm = np.sqrt(first * second)
    frc = np.where(norm > 0, cross / np.where(norm > 0, norm, 1), 0)
    f = np.clip(smooth_rings(frc, rings.k, np.pi / rings.n), *CORRELATIONS)
    return np.where((weight > 0).all(1)[:, None], 2 * f / (1 + f), 1.0)


def rings_sums(rings, values):
    """Sums (K, rings) over each ring of values (K, P)."""
    return np.add.reduceat(values, rings.points[:-1], axis=1)


def _means(sums):
    weight = np.maximum(sums.weight, TINY)[..., None]
    return sums.numerator / weight, sums.numerator.sum(1) / np.maximum(sums.weight.sum(1), TINY)[:, None]


# ---- pixels

def _pixels(rings, x, some):
    """float32 (B, pixels in the circle) of images in their references' frames."""
    samples = samples_turned_back(rings, x, some)
    shift = np.exp(1j * (some.x[:, None] * rings.kx + some.y[:, None] * rings.ky))
    return rings.images((samples[:, 0] + 1j * samples[:, 1]) * shift)[:, rings.circle].astype(np.float32)


def _sampled(rings, images):
    """Samples complex (B, P) of images."""
    real, imaginary = rings.sample(images.astype(np.float32))
    return (real + 1j * imaginary).T.astype(complex)


def _coverage(rings, placed, references, pool):
    """(K, 2, n, n): sum of the weights of the images whose circle reaches a pixel of their average."""
    y, x = np.mgrid[: rings.n, : rings.n] - rings.n // 2

    def of_group(some):
        out = np.zeros((rings.n, rings.n))
        for at_x, at_y, weight in zip(some.x, some.y, some.weight):
            # turns and mirrors leave a circle about the image's origin, which lies at -(x, y), as it is
            out += weight * ((x + at_x) ** 2 + (y + at_y) ** 2 < rings.radius**2)
        return out

    return np.stack(list(pool(of_group, groups_of(placed, references)))).reshape(references, 2, rings.n, rings.n)


def _covered(rings, samples, weight, coverage):
    """Samples (B, P) of means over ``weight`` (B,) images, made means over those that cover (B, n, n) each pixel."""
    reached = coverage > 0
    factor = np.where(reached, weight[:, None, None] / np.where(reached, coverage, 1), 0)
    return _sampled(rings, rings.images(samples) * factor)


@fast
def _add_weighed(samples, frequencies, shift, weight, transfer, by_snr, snr, falloff, out):
    """Add weighed samples (B, 2, P), shifted by -shift (B, 2) px, to out (3, P): real, imaginary, sum of weights.

    frequencies: kx, ky, ring (P,).  transfer: see averaging.transfer_in_frame.  weight: (B,)
    """
    kx, ky, ring = frequencies
    cosine, sine, phase, along, across, envelope = transfer
    for b in range(len(samples)):
        x, y, w = np.float32(shift[b, 0]), np.float32(shift[b, 1]), np.float32(weight[b])
        for p in range(len(kx)):
            j = ring[p]
            _, amplitude = _cos_sin(phase[b, j] + along[b, j] * cosine[p] + across[b, j] * sine[p])
            square = envelope[b, j] * amplitude * amplitude
            up = down = square
            if by_snr:
                down = max(snr * square, LOWEST_SNR)
                up = down / max(np.sqrt(square) * falloff[j], FAINTEST)
            c, s = _cos_sin(kx[p] * x + ky[p] * y)
            out[0, p] += w * up * (c * samples[b, 0, p] - s * samples[b, 1, p])
            out[1, p] += w * up * (c * samples[b, 1, p] + s * samples[b, 0, p])
            out[2, p] += w * down
