"""How much an image resembles a reference when it is turned, mirrored and shifted back onto it.

References are masked and have no mean in their mask; the mean of an image's circle is taken off here.  What most
comparators want to know are inner products over rings in Fourier space (:mod:`.rings`): of image and reference, and
of each with itself.  The latter do not depend on the pose, and one turn of an image serves many shifts.

**Larger is better**, in all comparators: scores are those of the original program with the sign turned round.
"""
from dataclasses import dataclass, replace
from functools import cached_property
from types import SimpleNamespace

import numpy as np

from .averaging import samples_turned_back
from .compiled import fast, inlined
from .correlation_kernels import _cos_sin

BLOCK = 128               # images worked on together
GAIN = 10.0               # of a filter that makes a reference's power an image's, at most, in units of its mean
TINY = np.finfo(np.float32).tiny


class Comparison:
    """Images beside their references, before anything is turned.

    rings: :class:`.rings.Rings`.  x: (N, size) harmonics of images.  references: complex (K, P) samples.
    """

    def __init__(self, rings, x, references):
        self.rings, self.x = rings, x
        self.planes = np.stack([references.real, references.imag], 1).astype(np.float32, "C")    # (K, 2, P)
        self.power = rings.power_of_rings(references)                                            # (K, rings)
        flat = rings.expand(rings.sample(np.ones((1, rings.n, rings.n), np.float32)))[0]
        self._flat, self._onto_flat = flat, flat * rings.metric / (flat**2 @ rings.metric)

    def block(self, image, ref, mirrored):
        """:class:`Block` of pairs of images and references by number, mirrored or not; arrays (B,)."""
        x = self.x[image]
        return Block(self, image, ref, mirrored, x - (x @ self._onto_flat)[:, None] * self._flat)


@dataclass
class Block:
    """Pairs of images and references whose poses are still free.

    image, ref, mirrored: (B,).  x: float32 (B, size), the images' harmonics without the mean in the circle.
    """

    comparison: Comparison
    image: np.ndarray
    ref: np.ndarray
    mirrored: np.ndarray
    x: np.ndarray

    @cached_property
    def power(self):
        """Share (B, rings) of every ring in the squared norms of the images."""
        rings = self.comparison.rings
        return np.add.reduceat(self.x**2 * rings.metric, rings.start[:-1], axis=1).astype(float)

    def pairs(self, rows, psi, shifts):
        """:class:`Pairs` of pairs ``rows`` (R,) with angles psi (R,) in radians and S shifts (R, S, 2) = (x, y) px."""
        turn = SimpleNamespace(image=rows, psi=np.asarray(psi, float), mirrored=self.mirrored[rows])
        return Pairs(self.comparison, self.image[rows, None], self.ref[rows, None], self.power[rows, None],
                     samples_turned_back(self.comparison.rings, self.x, turn), np.ascontiguousarray(shifts, float))


@dataclass
class Pairs:
    """Images turned back onto their references, each shifted back by S shifts.

    image, ref: (R, 1).  image_power: (R, 1, J) inner product of an image with itself in each of J rings.
    turned: float32 (R, 2, P) samples.  shifts: (R, S, 2) = (x, y) px by which the references are shifted in them.
    """

    comparison: Comparison
    image: np.ndarray
    ref: np.ndarray
    image_power: np.ndarray
    turned: np.ndarray
    shifts: np.ndarray

    @property
    def reference_power(self):
        """(R, 1, J) inner product of a reference with itself in each ring."""
        return self.comparison.power[self.ref]

    @cached_property
    def cross(self):
        """(R, S, J) inner product of image and reference in each ring."""
        rings = self.comparison.rings
        out = np.empty((*self.shifts.shape[:2], len(rings.k)), np.float32)
        _cross_of_rings(*self._samples(), out)
        return out * (rings.weight / np.diff(rings.points))

    def phase_errors(self, weigh):
        """Angle between image and reference, radians, in each ring: sums and what they are sums of, (R, S, J).

        weigh: by the reference's amplitudes; otherwise all samples of a ring count alike.
        """
        rings = self.comparison.rings
        error, total = np.empty((2, *self.shifts.shape[:2], len(rings.k)), np.float32)
        _phase_errors(*self._samples(), weigh, error, total)
        share = self.points / np.diff(rings.points)
        return error * share, total * share

    def _samples(self):
        rings = self.comparison.rings
        return (self.turned, self.comparison.planes, self.ref[:, 0], self.shifts, rings.kx.astype(np.float32),
                rings.ky.astype(np.float32), rings.points)

    @property
    def side(self):
        """Pixels along the side of the images."""
        return self.comparison.rings.n

    @property
    def points(self):
        """(J,) how many coefficients of a discrete Fourier transform each ring stands for."""
        return self.comparison.rings.weight * self.side**2

    @property
    def frequency(self):
        """(J,) of the rings, in 1/px."""
        return self.comparison.rings.k / (2 * np.pi)


def score(rings, x, references, placed, comparator, pool=map):
    """Scores (C,) of images in given poses; the same whatever the pool's number of workers.

    rings: :class:`.rings.Rings`.  x: (N, size) harmonics of images.  references: complex (K, P) samples.
    placed: :class:`.averaging.Placed`, whose weights and halves play no role.  comparator: one of those below.
    """
    comparison = Comparison(rings, x, references)

    def scores(begin):
        some = placed.take(slice(begin, begin + BLOCK))
        block = comparison.block(some.image, some.ref, some.mirrored)
        shifts = np.stack([some.x, some.y], 1)[:, None]
        return comparator(block.pairs(np.arange(len(some.image)), some.psi, shifts))[:, 0]

    return np.concatenate([np.zeros(0), *pool(scores, range(0, len(placed.image), BLOCK))])


# ---- the comparators: (R, S) scores of Pairs

class Comparator:
    """What all comparators have: :meth:`informed`."""

    def informed(self, members=None, snr=None):
        """This comparator, told what it may want to know: the number of images in every reference (K,), and the
        ratio of signal to noise power of every image's rings (N, J)."""
        known = {"members": members, "snr": snr}
        return replace(self, **{name: known[name] for name in vars(self) if known.get(name) is not None})


@dataclass(frozen=True)
class Ccc(Comparator):
    """Correlation coefficient of the image's circle with the reference."""

    def __call__(self, pairs):
        return _coefficient(pairs)


@dataclass(frozen=True)
class Dot(Comparator):
    """Product of image and reference, mean over the box; normalize: the cosine of the angle between the two.

    The means of both being zero, that is the correlation coefficient.
    """

    normalize: bool = False

    def __call__(self, pairs):
        return _coefficient(pairs) if self.normalize else pairs.cross.sum(-1) / pairs.side**2


@dataclass(frozen=True)
class SqEuclidean(Comparator):
    """Less the squared difference of image and reference, mean over the box.

    normto: the reference is multiplied so that it is smallest, unless by something negative.
    """

    normto: bool = False

    def __call__(self, pairs):
        image, reference, cross = (part.sum(-1) for part in (pairs.image_power, pairs.reference_power, pairs.cross))
        slope = np.where(cross > 0, cross / np.maximum(reference, TINY), 1) if self.normto else 1
        return (2 * slope * cross - slope**2 * reference - image) / pairs.side**2


@dataclass(frozen=True)
class Frc(Comparator):
    """Mean of the Fourier ring correlation.

    sweight: rings weigh by their number of Fourier coefficients; ampweight: by the image's amplitude; snrweight: by
    ``snr`` (N, J), see :meth:`Comparator.informed`; and less below ``low`` and above ``high``, 1/px, 0 for no limit.
    nweight: the mean is made that with a single one of the reference's ``members`` (K,).
    """

    sweight: bool = True
    ampweight: bool = False
    snrweight: bool = False
    nweight: bool = False
    low: float = 0.0
    high: float = 0.0
    members: np.ndarray = None
    snr: np.ndarray = None

    def __call__(self, pairs):
        both = pairs.image_power * pairs.reference_power
        curve = np.where(both > 0, pairs.cross / np.sqrt(np.where(both > 0, both, 1)), 0)
        weight = pairs.points * _band(pairs, self.low, self.high)
        if not self.sweight:
            weight = weight / pairs.frequency           # rings of equal width count alike
        if self.ampweight:
            weight = weight * np.sqrt(pairs.image_power / pairs.points)
        if self.snrweight:
            weight = weight * self.snr[pairs.image]
        mean = (curve * weight).sum(-1) / np.maximum(weight.sum(-1), TINY)
        return self._of_one_member(mean, self.members[pairs.ref]) if self.nweight else mean

    @staticmethod
    def _of_one_member(mean, members):
        usual = (mean >= 0) & (mean < 1) & (members > 0)
        ratio = np.where(usual, mean / np.where(usual, 1 - mean, 1), 0) / np.maximum(members, 1)
        return np.where(usual, ratio / (1 + ratio), mean)


@dataclass(frozen=True)
class Phase(Comparator):
    """Less the mean difference of phases, in radians, of image and reference; where one is nothing, a quarter turn.

    ampweight: coefficients weigh by the reference's amplitude.  snrweight, snr, low, high: as in :class:`Frc`.
    """

    ampweight: bool = False
    snrweight: bool = False
    low: float = 0.0
    high: float = 0.0
    snr: np.ndarray = None

    def __call__(self, pairs):
        error, total = pairs.phase_errors(self.ampweight)
        weight = _band(pairs, self.low, self.high)
        if self.snrweight:
            weight = weight * self.snr[pairs.image]
        total = (total * weight).sum(-1)
        return np.where(total > 0, -(error * weight).sum(-1) / np.where(total > 0, total, 1), -np.pi / 2)


@dataclass(frozen=True)
class OptVariance(Comparator):
    """Less the variance, over the box, of the image's difference from the reference made as like it as possible.

    matchfilt: the reference is first filtered to have the image's power in every ring.  It is then multiplied to make
    the variance smallest, but not by anything negative.  invert: the image is divided by that instead.
    """

    matchfilt: bool = True
    invert: bool = False

    def __call__(self, pairs):
        cross, power = pairs.cross, pairs.reference_power
        if self.matchfilt:
            gain = _matching_gain(pairs)
            cross, power = cross * gain, power * gain**2
        image, power, cross = pairs.image_power.sum(-1), power.sum(-1), np.maximum(cross.sum(-1), 0)
        left = image - cross**2 / np.maximum(power, TINY)
        if self.invert:
            # the least slope keeps the score finite
            slope = np.maximum(cross / np.maximum(power, TINY), 1e-6 * np.sqrt(image / np.maximum(power, TINY)))
            left = left / np.maximum(slope, TINY) ** 2
        return -left / pairs.side**2


def _coefficient(pairs):
    power = pairs.image_power.sum(-1) * pairs.reference_power.sum(-1)
    return np.where(power > 0, pairs.cross.sum(-1) / np.sqrt(np.where(power > 0, power, 1)), 0)


def _band(pairs, low, high):
    """Weights (J,) that fall off smoothly below and above two frequencies in 1/px, of which 0 is no limit."""
    weight = np.ones(len(pairs.frequency))
    if low > 0:
        weight = weight * (1 + np.tanh(5 * (pairs.frequency - low) / low)) / 2
    if high > 0:
        weight = weight * (1 - np.tanh(pairs.side * (pairs.frequency - high))) / 2
    return weight


def _matching_gain(pairs):
    """What gives the references the images' power in every ring (R, 1, J), where they have any to speak of."""
    power = pairs.reference_power
    gain = np.sqrt(np.where(power > 0, pairs.image_power / np.where(power > 0, power, 1), 0))
    # as the mean over Fourier coefficients' radius, of which all rings of a width have the same number
    width = pairs.points / pairs.frequency
    return np.minimum(gain, GAIN * (gain @ width / width.sum())[..., None])


@fast
def _cross_of_rings(turned, planes, ref, shifts, kx, ky, points, out):
    """Fill out (R, S, J) with the ring sums of products of shifted-back samples and references."""
    along, across, product = np.empty((3, len(kx)), np.float32)
    for r in range(len(turned)):
        _products(turned[r], planes[ref[r]], along, across)
        for s in range(shifts.shape[1]):
            x, y = np.float32(shifts[r, s, 0]), np.float32(shifts[r, s, 1])
            for p in range(len(kx)):
                cosine, sine = _cos_sin(kx[p] * x + ky[p] * y)
                product[p] = cosine * along[p] + sine * across[p]
            _ring_sums(product, points, out[r, s])


@fast
def _phase_errors(turned, planes, ref, shifts, kx, ky, points, weigh, error, total):
    """Fill error, total (R, S, J): ring sums of weighted angles between samples, and of the weights."""
    along, across, weight, angle = np.empty((4, len(kx)), np.float32)
    weight[:] = 1
    for r in range(len(turned)):
        u, v = turned[r], planes[ref[r]]
        _products(u, v, along, across)
        if weigh:
            for p in range(len(kx)):
                weight[p] = np.sqrt(v[0, p] ** 2 + v[1, p] ** 2)
        for s in range(shifts.shape[1]):
            x, y = np.float32(shifts[r, s, 0]), np.float32(shifts[r, s, 1])
            for p in range(len(kx)):
                cosine, sine = _cos_sin(kx[p] * x + ky[p] * y)
                real, imaginary = cosine * along[p] + sine * across[p], cosine * across[p] - sine * along[p]
                angle[p] = weight[p] * _angle(real, abs(imaginary))
            _ring_sums(angle, points, error[r, s])
            _ring_sums(weight, points, total[r, s])


@fast
def _products(u, v, along, across):
    """Real part, and less the imaginary part, of u conj(v), for samples (2, P)."""
    for p in range(len(along)):
        along[p] = u[0, p] * v[0, p] + u[1, p] * v[1, p]
        across[p] = u[0, p] * v[1, p] - u[1, p] * v[0, p]


@fast
def _ring_sums(values, points, out):
    for j in range(len(out)):
        total = np.float32(0)
        for value in values[points[j] : points[j + 1]]:
            total += value
        out[j] = total


@inlined
def _angle(x, y):
    """Angle of (x, y), y >= 0, from the axis x, to about 1e-5; a quarter turn for (0, 0)."""
    small, large = min(abs(x), y), max(abs(x), y)
    a = small / max(large, np.float32(1e-30))
    z = a * a
    angle = a * (np.float32(0.99997726) + z * (np.float32(-0.33262347) + z * (np.float32(0.19354346) + z * (
        np.float32(-0.11643287) + z * (np.float32(0.05265332) - z * np.float32(0.01172120))))))
    quarter = np.float32(np.pi / 2)
    angle = quarter - angle if y >= abs(x) else angle
    return 2 * quarter - angle if x < 0 else angle
