"""The model with a CTF for every image and a noise spectrum for every group of images, and its M-step.

An image's Fourier transform is X = C T A + noise: the reference A in pose T, times the image's CTF, plus Gaussian
noise whose variance s^2 depends on the shell of frequency and on the group of images (Scheres et al., Structure
15:1167, 2007).  A has a Gaussian prior of variance t^2 per shell, its signal power, so that the M-step is a Wiener
filter:  A = sum(C X / s^2) / (sum(C^2 / s^2) + 1 / t^2),  all images turned back and weighted by their posterior.

Variances are per pixel: 1 for white noise of standard deviation 1.
"""
from dataclasses import dataclass, fields, replace

import numpy as np
from scipy import fft

from .model import Model, Statistics, at_mean_scale, estimated_priors
from .noise import Noise
from .resolution import smooth_rings

SPECTRUM_IMAGES = 1000     # of each group whose power spectra are averaged
READ_TOGETHER = 200        # images
NYQUIST_STEPS = 256        # of an integral up to Nyquist
FAINTEST = 1e-3            # noise variance, as a share of the images' mean power, that estimates do not fall below


@dataclass(frozen=True)
class SpectralModel(Model):
    """A :class:`.model.Model` with noise spectra.

    spectra: (G, rings) noise variance of each group on the rings of ``disk``.  power: (G, shells) that of the images
    themselves, see :func:`power_spectra`; beyond the disk's all of it is noise.  ``sigma`` is the root
    mean variance on the disk.  lowest: frequency in 1/px below which the posterior does not look.
    """

    spectra: np.ndarray = None
    power: np.ndarray = None
    lowest: float = 0.0

    def on(self, disk):
        """The same model sampled on another disk; references have no power at frequencies they were not made for."""
        if disk is self.disk:
            return self
        model = super().on(disk)
        known = disk.k <= 2 * np.pi * self.disk.maxres
        return replace(model, polar=model.polar * known[:, None].astype(np.float32), spectra=self.variances(disk))

    def variances(self, disk):
        """Noise variance (G, rings) on a disk's rings."""
        if disk is self.disk:
            return self.spectra
        inside = np.stack([np.interp(disk.k, self.disk.k, one) for one in self.spectra])
        return np.where(disk.k <= 2 * np.pi * self.disk.maxres, inside, power_at(self.power, disk.k, disk.n))

    def inverse(self, disk):
        """1 / variance (G, rings), zero where the posterior does not look."""
        return np.where(disk.k >= 2 * np.pi * self.lowest, 1 / self.variances(disk), 0.0)

    def noise(self, disk, df=None):
        """Of whitened images."""
        return Noise(1.0, float(dimensions(disk)[disk.k >= 2 * np.pi * self.lowest].sum()), df)

    def log_determinant(self, disk):
        """What a whitened image's log-density, (G,), lacks to be that of all Fourier coefficients up to Nyquist.

        Half of the sum of log s^2, and where the posterior does not look the whole density of noise with the images'
        own power.  So likelihoods at different resolutions are those of the same data and can be compared.
        """
        degrees, looked_at = dimensions(disk), disk.k >= 2 * np.pi * self.lowest
        inside = (np.log(self.variances(disk)) * degrees * looked_at).sum(1)
        below = self._log_density(disk.k, disk.n) @ (degrees * ~looked_at)
        step = (0.5 - disk.maxres) / NYQUIST_STEPS
        frequency = disk.maxres + step * (np.arange(NYQUIST_STEPS) + 0.5)
        above = self._log_density(2 * np.pi * frequency, disk.n) @ (disk.circle.sum() * 2 * np.pi * frequency * step)
        return (inside + below + above) / 2

    def _log_density(self, k, n):
        """Minus twice the log-density per degree of freedom of noise with the images' own power, (G, len(k))."""
        return 1 + np.log(2 * np.pi * power_at(self.power, k, n))


def power_at(power, k, n):
    """Power spectra (G, shells), see :func:`power_spectra`, of images of side n at frequencies k in rad/px."""
    return np.stack([np.interp(k * n / np.pi, np.arange(len(one)), one) for one in power])


def dimensions(disk):
    """Real degrees of freedom (rings,) of an image on each ring."""
    return disk.circle.sum() * disk.weight


def power_spectra(source, group, groups, radius=None):
    """Mean power per pixel (G, shells) of each noise group's images inside the circle, from a sample of them.

    source: images; group: (n,) of each image, from 0; groups: their number G; radius: of the circle in pixels.
    Shells are half a Fourier pixel apart, of twice the box, so that curved spectra can be interpolated.
    """
    n = source.size
    y, x = np.mgrid[:n, :n] - n // 2
    circle = x**2 + y**2 < min(n / 2, radius or n) ** 2
    wide = 2 * n
    shell = np.rint(np.hypot(fft.fftfreq(wide)[:, None], fft.rfftfreq(wide)) * wide).astype(int).ravel()
    weight = np.full((wide, n + 1), 2)                 # both halves of the plane
    weight[:, [0, n]] = 1
    count = np.bincount(shell, weight.ravel())[: n + 1]
    spectra = np.empty((groups, n + 1))
    for g in range(groups):
        members = np.flatnonzero(group == g)
        sample = members[:: -(-len(members) // SPECTRUM_IMAGES)]
        total = sum((np.abs(fft.rfft2(np.where(circle, source.read(rows), 0), (wide, wide))) ** 2).sum(0)
                    for rows in np.array_split(sample, -(-len(sample) // READ_TOGETHER)))
        power = np.bincount(shell, (total * weight).ravel())[: n + 1] / count
        spectra[g] = np.maximum(power / (len(sample) * circle.sum()), 1e-18)
    return spectra


@dataclass
class SpectralStatistics(Statistics):
    """:class:`.model.Statistics` of whitened images, and what noise spectra and Wiener filters need besides.

    half_sums: sums of C X / s^2.  visibility: (2, K, 2, L, rings) of C^2 / s^2, turned back alike.
    Per group and ring, (G, rings): ring_power, sum of u |X|^2; cross, sum of u r <X, C T A> / s^2; seen, sum of
    u r^2 |C T A|^2 / s^2.  Per group, (G,): group_robust, sum of u; group_count.
    """

    visibility: np.ndarray = None
    ring_power: np.ndarray = None
    cross: np.ndarray = None
    seen: np.ndarray = None
    group_robust: np.ndarray = None
    group_count: np.ndarray = None

    @classmethod
    def zero(cls, grid, references, groups, harmonics):
        base = Statistics.zero(grid, references)
        rings = len(grid.disk.k)
        return cls(**{f.name: getattr(base, f.name) for f in fields(base)},
                   visibility=np.zeros((2, references, 2, harmonics, rings)), ring_power=np.zeros((groups, rings)),
                   cross=np.zeros((groups, rings)), seen=np.zeros((groups, rings)), group_robust=np.zeros(groups),
                   group_count=np.zeros(groups))


@dataclass(frozen=True)
class Regularisation:
    """The prior on references: ``snr`` multiplies the estimated signal power; None: no prior, least squares."""

    snr: float = 1.0


def update(model, statistics, even, mirror, regularisation, fixed, df=None, sigma_trick=True, step=1):
    """The M-step.  even: :class:`.visibility.EvenHarmonics` of the disk; other arguments as for model.update."""
    s, disk = statistics, model.disk
    weight = s.half_weights.sum(0)
    alive = weight > 1e-12 * max(s.count, 1)
    seen = even.synthesize(s.visibility.sum(0))                                     # (K, rings, phi)
    if regularisation.snr is None:
        polar = s.half_sums.sum(0) / np.maximum(seen, 1e-12 * seen.max())
    else:
        power = (regularisation.snr * signal_power(s, disk, even))[:, :, None]
        polar = s.half_sums.sum(0) * power / (np.maximum(seen, 0) * power + 1)
        polar = disk.polar(disk.images(polar))                  # particles lie inside the circle
    polar = np.where(alive[:, None, None], polar, model.polar)
    changes = estimated_priors(model, s, mirror, fixed, alive, step)
    if not fixed.noise:
        spectra = _spectra(model, s, df is not None and sigma_trick)
        changes.update(spectra=spectra, sigma=band_sigma(spectra, disk))
    return replace(model, polar=at_mean_scale(polar, model, s, alive), **changes)


def _spectra(model, s, robust):
    """Noise spectra (G, rings) from the images' distances to the references they were compared with."""
    images = (s.group_robust if robust else s.group_count)[:, None]
    degrees = np.maximum(images, 1) * dimensions(model.disk)
    distance = s.ring_power - model.spectra * (2 * s.cross - s.seen)
    spectra = np.maximum(distance, FAINTEST * s.ring_power) / degrees
    return np.where(images > 0, np.maximum(spectra, 1e-18), model.spectra)


def band_sigma(spectra, disk):
    """Root of the noise variance (G, rings), averaged over groups and over the frequencies of a disk."""
    return float(np.sqrt(np.average(spectra.mean(0), weights=dimensions(disk))))


def signal_power(statistics, disk, even):
    """Signal power per pixel (K, rings) of each class, from the agreement of the two halves' averages.

    What two halves have in common is signal, however strong the noise.  A class too small to say for itself takes
    over the power that all classes have on average: its own estimate counts with weight s / (s + 1), s being the
    signal-to-noise ratio that its average then has.
    """
    first, second = statistics.half_sums
    seen = even.synthesize(statistics.visibility)                                   # (2, K, rings, phi)
    pixels, width = disk.circle.sum(), 2 * np.pi / disk.n
    common = smooth_rings((first * second.conj()).real.mean(-1), disk.k, width)
    both = smooth_rings((seen[0] * seen[1]).mean(-1), disk.k, width)
    own = np.maximum(common, 0) / np.maximum(both, 1e-30) / pixels
    mass = np.where((statistics.half_weights > 0).all(0), statistics.class_mass, 0)[:, None]
    pooled = (mass * own).sum(0) / max(mass.sum(), 1e-30)
    ratio = seen.sum(0).mean(-1) * pooled
    trust = np.where(mass > 0, ratio / (ratio + 1), 0)
    return trust * own + (1 - trust) * pooled
