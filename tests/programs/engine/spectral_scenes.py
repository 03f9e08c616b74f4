"""Images behind CTFs in coloured noise, and their E-step written out on polar samples, in float64."""
from functools import cache, cached_property

import numpy as np
from scipy import constants

from mlalign.programs.engine.ctf import Ctf
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.spectral import SpectralModel
from mlalign.programs.engine.spectral_pass import Optics
from mlalign.tests.programs.engine.blobs import PHANTOMS, Blobs, planted
from mlalign.tests.programs.engine.brute import FRACTIONS, MIRROR, OFFSET, WITH_MIRROR, softmax


def wavelength(kilovolts):
    """de Broglie, in Å."""
    energy = kilovolts * 1e3 * constants.e
    momentum2 = 2 * constants.m_e * energy + (energy / constants.c)**2
    return 1e10 * constants.h / np.sqrt(momentum2)


def obvious_ctf(kx, ky, u, v, angle, kilovolts, cs, q0, phase_shift):
    """The CTF at (kx, ky) 1/Å: columns, rows."""
    turn = np.deg2rad(angle)
    # the defocus as a quadratic form: u along the axis at ``angle``, v across
    along, across = kx * np.cos(turn) + ky * np.sin(turn), ky * np.cos(turn) - kx * np.sin(turn)
    length = wavelength(kilovolts)
    k4 = (kx**2 + ky**2)**2
    waves = np.pi * length * (u * along**2 + v * across**2) - np.pi / 2 * cs * 1e7 * length**3 * k4
    waves += np.deg2rad(phase_shift)
    return np.sqrt(1 - q0**2) * np.sin(waves) + q0 * np.cos(waves)


def fourier(images, kx, ky):
    """Fourier sums (B, *shape) of images (B, n, n) at (kx, ky) rad/px, origin at pixel n // 2."""
    at = np.arange(images.shape[-1]) - images.shape[-1] // 2
    across, down = (np.exp(-1j * at[:, None] * k.ravel()) for k in (kx, ky))       # (n, samples)
    return (down * (images @ across)).sum(1).reshape(len(images), *kx.shape)


class SpectralScene:
    """Six noisy images behind CTFs of strong astigmatism, in two noise groups; a grid of shifts up to 2 px."""

    pixel_size = 4.0
    group = np.array([0, 1, 1, 0, 1, 0])

    def __init__(self, n, n_psi, step=2, flipped=False):
        """flipped: the images' phases have been flipped."""
        self.flipped = flipped
        rng = np.random.default_rng(8)
        self.grid = Grid(Disk(n, 0.3, n_psi), shift_grid(2, step), step)
        defocus, half = rng.uniform(9000, 28000, 6), rng.uniform(500, 4500, 6)
        self.parameters = np.column_stack([defocus + half, defocus - half, rng.uniform(0, 180, 6), np.full(6, 300),
                                           np.full(6, 2.7), np.full(6, 0.1), np.full(6, 20)])
        phantoms = [PHANTOMS[0], PHANTOMS[1], Blobs(3), PHANTOMS[0], PHANTOMS[1], PHANTOMS[0]]
        clean = [phantom.image(n, rng.uniform(0, 7), rng.random() < 0.5, rng.normal(0, 1.5, 2)) for phantom in phantoms]
        k = np.fft.fftfreq(n, self.pixel_size)
        ctf = np.stack([obvious_ctf(k, k[:, None], *one) for one in self.parameters])
        self.images = np.fft.ifft2(np.fft.fft2(clean) * ctf).real + 0.3 * rng.standard_normal((6, n, n))
        if flipped:
            self.images = np.fft.ifft2(np.fft.fft2(self.images) * np.sign(ctf)).real

    @property
    def optics(self):
        return Optics(Ctf(*self.parameters.T), self.pixel_size, self.flipped, self.group, 2)

    def transfer(self, turn=0.0, sign=1):
        """CTFs (B, rings, phi) on the disk's rings at azimuths turn + sign phi."""
        azimuth, k = turn + sign * self.grid.disk.phi, self.grid.disk.k[:, None] / (2 * np.pi * self.pixel_size)
        ctf = np.stack([obvious_ctf(k * np.cos(azimuth), k * np.sin(azimuth), *one) for one in self.parameters])
        return np.abs(ctf) if self.flipped else ctf

    def samples(self, turn=0.0, sign=1):
        """Fourier transforms (B, rings, phi) of the images within the circle at azimuths turn + sign phi."""
        azimuth, k = turn + sign * self.grid.disk.phi, self.grid.disk.k[:, None]
        return fourier(np.where(self.grid.disk.circle, self.images, 0.0), k * np.cos(azimuth), k * np.sin(azimuth))

    @cached_property
    def cells(self):
        """Fourier transforms (K, S, 2, n_psi, rings, phi) of the references in every pose."""
        disk = self.grid.disk
        return np.array([[[[phantom.transform(disk.kx, disk.ky, psi, mirrored, shift) for psi in self.angles]
                           for mirrored in (False, True)] for shift in self.grid.shifts] for phantom in PHANTOMS])

    @cached_property
    def turned(self):
        """{(mirrored, angle): samples and CTFs, (B, rings, phi) each, of the images at azimuths psi +- phi}."""
        return {(m, p): (self.samples(psi, sign), self.transfer(psi, sign))
                for p, psi in enumerate(self.angles) for m, sign in ((0, 1), (1, -1))}

    @property
    def angles(self):
        return 2 * np.pi * np.arange(self.grid.disk.n_psi) / self.grid.disk.n_psi

    def model(self, sigma, lowest=0.0):
        """The phantoms, in noise of about ``sigma`` that differs between the groups."""
        disk = self.grid.disk
        falling, rising = 1 / (0.2 + disk.k), 0.5 + disk.k
        power = 30 * sigma**2 / (1 + np.stack([1, 2] * np.arange(disk.n + 1)[:, None], 1) / 9)
        return SpectralModel(disk, disk.polar(np.stack([phantom.image(disk.n) for phantom in PHANTOMS])), FRACTIONS,
                             MIRROR, sigma, OFFSET, np.ones(2), sigma**2 * np.stack([falling, rising]), power, lowest)


@cache
def scene_of(n_psi, step=2, flipped=False):
    """A scene that tests share, 32 px."""
    return SpectralScene(32, n_psi, step, flipped)


class SpectralPosterior:
    """A spectral scene's E-step: residuals X - r C T A of all cells on polar samples, and sums over them.

    scene: a :class:`SpectralScene`; model: its model.  scale: grey scales (B, K).  affected: a scene of phase-flipped
    images that the references are compared with as if there were no CTF.  allowed: see brute.softmax.

    gamma, robust: (B, K, S, 2, n_psi); distance, cross, shown: |X - r C T A|^2, <X, C T A> and |C T A|^2, all
    (B, K, S, 2, n_psi, rings); ring_power (B, rings), evidence (B,); r (B, K, 1, 1, 1).
    """

    def __init__(self, scene, model, log_class=WITH_MIRROR, df=None, scale=None, affected=None,
                 allowed=True):
        self.scene, self.model, self.disk = scene, model, scene.grid.disk
        disk, count = self.disk, len(scene.images)
        self.r = (np.ones((count, 2)) if scale is None else scale)[:, :, None, None, None]
        x = scene.samples()
        compared, transfer = (x, scene.transfer()) if affected is None else (affected.samples(), np.ones(count))
        shape = (count, *scene.cells.shape[:-1])
        self.distance, self.cross, self.shown = np.empty((3, *shape))
        for b, one in enumerate(compared):
            seen = transfer[b] * scene.cells
            self.distance[b] = self.norm(one - self.r[b, ..., None, None] * seen)
            self.cross[b] = (one.conj() * seen).real.mean(-1) * disk.weight
            self.shown[b] = self.norm(seen)
        self.ring_power, power = self.norm(x), self.norm(compared)
        self.variance = model.spectra[scene.group]                                  # (B, rings)
        looked_at = disk.k / (2 * np.pi) >= model.lowest
        degrees = disk.circle.sum() * disk.weight
        squared = (self.distance / self.variance[:, None, None, None, None])[..., looked_at].sum(-1)
        self.gamma, self.evidence, self.robust = softmax(scene.grid, squared, degrees[looked_at].sum(), log_class, df,
                                                         allowed)
        self.evidence -= (np.log(self.variance) * degrees)[:, looked_at].sum(1) / 2
        self.evidence += self.density_elsewhere(looked_at, degrees)
        self.power = (power / self.variance)[:, looked_at].sum(1)

    def norm(self, samples):
        """Squared norms (..., rings) of polar samples."""
        return (np.abs(samples) ** 2).mean(-1) * self.disk.weight

    def density_elsewhere(self, looked_at, degrees):
        """Mean log-density (B,) of noise of the images' own power in the Fourier coefficients not looked at."""
        disk, found = self.disk, []
        shells = np.arange(self.model.power.shape[1]) / (2 * disk.n)
        step = (0.5 - disk.maxres) / 10000
        beyond = disk.maxres + step * (np.arange(10000) + 0.5)
        for power in self.model.power:
            inside, outside = (-(1 + np.log(2 * np.pi * np.interp(frequency, shells, power))) / 2
                               for frequency in (disk.k / (2 * np.pi), beyond))
            found.append((inside * degrees)[~looked_at].sum()
                         + (outside * disk.circle.sum() * 2 * np.pi * beyond * step).sum())
        return np.array(found)[self.scene.group]

    def sums(self):
        """What M-steps average: C X / s^2 and C^2 / s^2 turned back, polar samples (2, K, rings, phi) of two halves."""
        disk, grid, count = self.disk, self.scene.grid, len(self.scene.images)
        halves = [np.arange(count) % 2 == half for half in (0, 1)]
        weight = self.gamma * self.robust * self.r
        images = np.zeros((2, 2, len(grid.shifts), *disk.kx.shape), complex)
        visibility = np.zeros((2, 2, *disk.kx.shape))
        for (m, p), (x, transfer) in self.scene.turned.items():
            back, shown = (each / self.variance[:, :, None] for each in (transfer * x, transfer**2))
            for half, chosen in enumerate(halves):
                w = weight[chosen, :, :, m, p]
                images[half] += np.tensordot(w, back[chosen], (0, 0))
                visibility[half] += np.tensordot((w * self.r[chosen, :, :, 0, 0]).sum(2), shown[chosen], (0, 0))
        moved = np.exp(1j * (grid.shifts[:, :1, None] * disk.kx + grid.shifts[:, 1:, None] * disk.ky))
        return (self.kept(images) * moved).sum(2), visibility

    def kept(self, samples):
        """Samples without the harmonics that images of the circle do not have."""
        flat = samples.reshape(-1, *self.disk.kx.shape)
        return self.disk.synthesize(self.disk.expand(flat)).reshape(samples.shape)


def micrographs(phantoms, count, snr, seed, flipped=False, groups=2, n=48, pixel_size=3.0):
    """Particles of known truth, see blobs.planted, behind realistic CTFs in coloured noise; a namespace with besides

    images (count, n, n), noise (count, n, n) alone, optics, parameters (count, 7).  snr: mean square of the signal
    behind the CTFs to that of the noise.  The noise of the groups, by defocus, has different spectra.
    """
    truth, rng = planted(phantoms, count, 1.0, seed, n=n), np.random.default_rng(seed + 1000)
    defocus, half = rng.uniform(9000, 28000, count), rng.uniform(0, 450, count)
    truth.parameters = np.column_stack([defocus + half, defocus - half, rng.uniform(0, 180, count),
                                        *np.tile([300, 2.7, 0.1, 0], (count, 1)).T])
    truth.group = ((defocus - 9000) / 19000 * groups).astype(int)
    k = np.fft.fftfreq(3 * n)                          # a box so wide that nothing comes back on the other side
    frequency = np.hypot(k, k[:, None])
    spectra = [1 / (1 + (frequency / fall) ** 2) + 0.2 for fall in (0.1, 0.2, 0.15)[:groups]]
    signal, truth.noise = np.empty((2, count, n, n))
    for i, one in enumerate(truth.clean):
        ctf = obvious_ctf(k / pixel_size, k[:, None] / pixel_size, *truth.parameters[i])
        white = np.fft.fft2(rng.standard_normal((3 * n, 3 * n)))
        sign = np.sign(ctf) if flipped else 1
        signal[i] = np.fft.ifft2(np.fft.fft2(one, ctf.shape) * ctf * sign).real[:n, :n]
        truth.noise[i] = np.fft.ifft2(white * np.sqrt(spectra[truth.group[i]]) * sign).real[:n, :n]
    truth.noise *= np.sqrt((signal**2).mean() / snr / (truth.noise**2).mean())
    truth.images = signal + truth.noise
    truth.optics = Optics(Ctf(*truth.parameters.T), pixel_size, flipped, truth.group, groups)
    return truth
