"""How simulated particles are imaged: the microscope's CTFs, noise of a given spectrum, images of nothing."""
import numpy as np
from scipy import fft

from .engine.ctf import Ctf

LOW_EXCESS = 0.25     # of Nyquist: below about this frequency coloured noise is stronger


def random_ctfs(rng, count, defocus, astigmatism=0.0, voltage=300.0, cs=2.7, q0=0.1, phase_shift=0.0):
    """:class:`Ctf` of ``count`` images: mean defocus uniform in ``defocus`` (low, high), in Å.

    The two defoci differ by 0 to ``astigmatism`` Å, uniformly; the direction of the larger is uniform.
    """
    mean = rng.uniform(*defocus, count)
    half = rng.uniform(0, astigmatism, count) / 2
    constants = (np.full(count, value) for value in (voltage, cs, q0, phase_shift))
    return Ctf(mean + half, mean - half, rng.uniform(0, 180, count), *constants)


class Microscope:
    """Multiplies particles by their CTFs, in a box so wide that nothing comes back on the other side.

    A wave of frequency k travels sideways by wavelength x defocus x k; Nyquist's travels furthest.
    """

    def __init__(self, ctfs, size, pixel):
        """ctfs: :class:`Ctf` of all particles; images are (size, size) with ``pixel`` Å."""
        self.ctfs, self.size, self.pixel = ctfs, size, pixel
        defocus = np.maximum(np.abs(ctfs.defocus_u), np.abs(ctfs.defocus_v))
        reach = (ctfs.wavelength() * defocus).max() / (2 * pixel**2)
        self._wide = fft.next_fast_len(max(2 * size, size + int(np.ceil(reach))), real=True)

    def __call__(self, signal, particle):
        """The image (size, size) of ``signal`` (size, size) under the CTF of ``particle`` (counted from 0)."""
        return _filtered(signal, self._ctf(particle, self._wide), self.size)

    def flip(self, image, particle):
        """The image with the phases flipped where the CTF of ``particle`` is negative."""
        return _filtered(image, np.where(self._ctf(particle, self.size) < 0, np.float32(-1), 1), self.size)

    def _ctf(self, particle, size):
        radius, azimuth = _frequencies(size)
        return self.ctfs[particle:particle + 1](radius / self.pixel, azimuth)[0]


class ColouredNoise:
    """Stationary noise of variance 1 whose spectrum falls.

    Its variance is ``fall`` times larger at the lowest frequencies than at Nyquist.  Of the fall, the square root
    happens below about a quarter of Nyquist, as with ice and carbon, and the rest towards Nyquist, as with a
    detector's modulation transfer function.
    """

    def __init__(self, fall, size):
        """The images will be (size, size)."""
        self.size, self.excess = size, np.sqrt(fall) - 1
        self._wide = fft.next_fast_len(2 * size, real=True)     # the middle of it does not know that it wraps
        self._scale = 1 / self._shape(_whole(self._wide)).mean()
        self._amplitude = np.sqrt(self._variance(_frequencies(self._wide)[0])).astype(np.float32)

    def __call__(self, rng):
        """One image (size, size) float32 of noise."""
        return _filtered(rng.standard_normal((self._wide, self._wide), dtype=np.float32), self._amplitude, self.size)

    def spectrum(self):
        """Frequencies in 1/px (size // 2 + 1,) and the mean power of the images' coefficients around them.

        White noise has 1 everywhere.  It is exact for images of this size, whose edges spread every coefficient's
        power over its neighbours.
        """
        n, near = self.size, 1 - np.arange(self.size) / self.size
        covariance = fft.ifft2(self._variance(_whole(self._wide))).real
        for _ in range(2):          # the share of an image's pairs of pixels at each distance, either way round
            covariance = (covariance[:n].T * near + covariance[-n:].T * (1 - near))
        power = fft.fft2(covariance).real.ravel()
        shell = np.rint(_whole(n) * n).astype(int).ravel()
        means = np.bincount(shell, power) / np.bincount(shell)
        return np.arange(n // 2 + 1) / n, means[:n // 2 + 1]

    def _variance(self, frequency):
        return self._scale * self._shape(frequency)

    def _shape(self, frequency):
        nyquists = 2 * frequency
        return (1 + self.excess / (1 + (nyquists / LOW_EXCESS)**4)) / (1 + self.excess * nyquists**2)


def _whole(size):
    """Radius in 1/px of fft2's coefficients."""
    return np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size))


def _frequencies(size):
    """Radius in 1/px and azimuth, from x towards y, in radians, of rfft2's coefficients."""
    y, x = fft.fftfreq(size)[:, None], fft.rfftfreq(size)
    return np.hypot(y, x), np.arctan2(y, x)


def _filtered(image, filtering, size):
    """The image (m, m), padded with zeros, multiplied by ``filtering`` (w, w // 2 + 1), cut to (size, size)."""
    wide = len(filtering)
    return fft.irfft2(fft.rfft2(image, (wide, wide)) * filtering, (wide, wide))[:size, :size]
