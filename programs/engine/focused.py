"""Classes by what lies inside a mask, for particles whose poses are known.

A particle is turned onto the references' frame once; its missing region with it.  Then its squared distance from a
reference counts the voxels of the mask only:

    d^2 = sum over voxels of (m (X - W * A))^2,        W * A: the reference as the particle's region shows it.
"""
import finufft
import numpy as np
from scipy.special import logsumexp, softmax

from .ball import NUFFT_EPS
from .parallel import ALONE

ROUNDS = 5                # of finding the variance of the noise


class Focus:
    """Masked residuals of posed particles.

    mask: (n, n, n) weights m of 0 to 1, in the box of the bank's ball; poses: :class:`.volume_estimator.Poses` of the
    bank's particles; ranks: see :mod:`.parallel`, each has its own of them.
    """

    def __init__(self, bank, mask, poses, regions, workers, ranks=ALONE):
        self.bank, self.ball, self.workers, self.ranks = bank, bank.ball, workers, ranks
        n = self.ball.n
        self.mask = mask.astype(np.float32)
        z, y, x = (np.fft.fftfreq(n), np.fft.fftfreq(n), np.fft.rfftfreq(n))
        self._k = 2 * np.pi * np.stack(np.meshgrid(z, y, x, indexing="ij")[::-1])           # kx, ky, kz
        length = np.sqrt((self._k**2).sum(0))
        self._band = (length >= self.ball.k[0]) & (length <= self.ball.k[-1])
        self._origin = np.exp(-1j * (self._k * (n // 2)).sum(0))[self._band].astype(np.complex64)
        posed = workers.map(lambda i: self._posed(i, poses, regions), range(bank.source.count))
        self._particles, self._regions = (np.stack(part) for part in zip(*posed))
        # noise inside the mask has as many degrees of freedom as its share of the observed frequencies
        twice = np.broadcast_to(np.where((x > 0) & (x < 0.5), 2, 1), self._band.shape)[self._band]
        share = self._regions.astype(np.float32) @ twice.astype(np.float32) / n**3
        self.dimension = ranks.gather(share * float((self.mask**2).sum()))

    def _posed(self, i, poses, regions):
        """Particle i inside the mask (n, n, n), and its region's weights of the band's frequencies, in its frame."""
        matrix, shift = poses.matrices[i], poses.shifts[i]
        # the aligned particle is X(A^-1 r - t): its transform at k is that of X at A^-1 k, moved by t
        k = matrix.T @ self._k[:, self._band]
        kx, ky, kz = k.astype(np.float32)
        samples = finufft.nufft3d2(kz, ky, kx, self.bank.volume(i).astype(np.complex64), eps=NUFFT_EPS, isign=-1,
                                   nthreads=1)
        observed = regions[self.bank.region_of[i]].observed(*k).astype(np.float32)
        samples *= np.exp(-1j * (shift @ k)) * observed
        return self._in_mask(samples), observed.astype(np.float16)

    def _in_mask(self, band):
        """The volume of coefficients in the band about the box's centre, times the mask."""
        spectrum = np.zeros(self._band.shape, np.complex64)
        spectrum[self._band] = band * self._origin
        return self.mask * np.fft.irfftn(spectrum, self.mask.shape).astype(np.float32)

    def distances(self, vectors):
        """d^2, float64 (N, K), of every particle, of all ranks, from references (K, P)."""
        spectra = []
        for volume in self.ball.volumes(vectors):
            centred = np.fft.rfftn(volume)[self._band]
            spectra.append(centred / self._origin)
        return self.ranks.gather(np.array(self.workers.map(lambda i: self._distances(i, spectra),
                                                           range(len(self._particles)))))

    def _distances(self, i, spectra):
        region = self._regions[i].astype(np.float32)
        return [float(((self._particles[i] - self._in_mask(region * spectrum)) ** 2).sum(dtype=np.float64))
                for spectrum in spectra]

    def posterior(self, squared, log_class, variance=None):
        """Class probabilities (N, K) and log-likelihoods (N,) of :meth:`distances` under white noise.

        variance: of the noise per voxel; None: that which makes these distances most likely.
        """
        rounds = 1 if variance is not None else ROUNDS
        variance = squared.min(1).sum() / self.dimension.sum() if variance is None else variance
        for _ in range(rounds):
            log = log_class - squared / (2 * variance) - self.dimension[:, None] / 2 * np.log(2 * np.pi * variance)
            probability, likelihood = softmax(log, 1), logsumexp(log, 1)
            if rounds > 1:
                variance = (probability * squared).sum() / self.dimension.sum()
        return probability, likelihood
