"""EM steps with CTFs and noise spectra, on grids chosen as for white noise."""
from dataclasses import replace

import numpy as np

from .disk import Disk
from .device_pass import DeviceSpectralEStep
from .em import Particles
from .estimator import Estimator
from .references import Members, aligned
from .spectral import Regularisation, SpectralModel, band_sigma, power_at, update
from .spectral_pass import SpectralBank, SpectralEStep

SMALLEST_SHARE = 0.2      # of the images' power that is noise, in the first guess
RIDGE = 0.01              # of the strongest ring's visibility, added to averages of few images


class SpectralEstimator(Estimator):
    """An :class:`.estimator.Estimator` of :class:`.spectral.SpectralModel`.

    optics: :class:`.spectral_pass.Optics`; power: (G, shells) mean power per pixel of each noise group's images;
    regularisation: :class:`.spectral.Regularisation`; lowest: frequency in 1/px below which posteriors do not look.
    """

    def __init__(self, source, settings, workers, optics, power, regularisation=None, lowest=0.0):
        super().__init__(source, settings, workers)
        self.optics, self.power, self.lowest = optics, power, lowest
        self.regularisation = regularisation or Regularisation()

    def _bank(self, maxres, n_psi):
        disk = Disk(self.source.size, maxres, n_psi, self.settings.radius)
        return SpectralBank(self.source, disk, self.workers, self.settings.memory / 2, self.optics)

    def _estep(self, model, particles, settings, grid, coarse=None, affected=None):
        step = SpectralEStep if self.workers.device is None else DeviceSpectralEStep
        return step(model, self.bank, particles, settings, self.workers, grid, coarse, affected)

    def _update(self, model, statistics, fixed):
        s = self.settings
        return update(model, statistics, self.bank.even, s.mirror, self.regularisation, fixed, s.df, s.sigma_trick,
                      self.step_size)

    # ---- first models ------------------------------------------------------------------------------------------

    def initial_model(self, polar, sigma_offset, fractions=None, affected=False):
        """A model with the given references; what they leave of the images' power is noise.

        affected: the references have not been corrected for the CTF.
        """
        model = super().initial_model(polar, 1.0, sigma_offset, fractions)
        visible = 1.0 if affected else self._visibilities()
        signal = _mean_power(model) * visible / self.disk.circle.sum()              # (G, rings)
        power = power_at(self.power, self.disk.k, self.disk.n)
        spectra = np.maximum(power - signal, SMALLEST_SHARE * power)
        return SpectralModel(**{**vars(model), "sigma": band_sigma(spectra, self.disk)}, spectra=spectra,
                             power=self.power, lowest=self.lowest)

    def corrected(self, averages, white, rows):
        """A model of the images ``rows``' properly corrected averages, aligned to averages that are not corrected.

        averages: a model on the disk of ``white``, the :class:`.estimator.Estimator` of the phase-flipped images.
        """
        first = self.initial_model(averages.polar, averages.sigma_offset, averages.fractions, affected=True)
        model = replace(first, mirror=averages.mirror)
        seen = SpectralBank(white.source, self.disk, self.workers, 0, replace(self.optics, ctf=None))
        particles = Particles.unknown(self.source.count)
        step = self._estep(model, particles, self._pass(None), self.grid(model), affected=seen)
        return self.maximise(model, step.run(rows), fixed=replace(self.settings.fixed, noise=True))

    def _visibilities(self):
        """Mean CTF^2 (G, rings) of each noise group's images."""
        return np.stack([self.optics.mean_square(self.disk, g) for g in range(self.optics.groups)])

    # ---- what starts need ----------------------------------------------------------------------------------------

    def members(self, model, particles, rows, k):
        """:class:`.references.Members`: what each member adds to the gradient of its class average.

        Less what the average itself explains, so that members do not differ by their defocus alone.
        """
        bank, disk = self.bank, self.disk
        inverse = model.inverse(disk)[self.optics.group[rows]]                      # (B, rings)
        x, _, visibility = bank.observed(rows)
        weights = np.stack([disk.by_ring(one) for one in inverse])
        polar = aligned(disk, x * weights[:, None], particles, rows)
        seen = visibility[:, 0, 0] * inverse
        mean = seen.mean(0)
        factor = np.where(mean > 0, 1 / np.sqrt(np.where(mean > 0, mean, 1)), 0)
        difference = (polar - seen[:, :, None] * model.polar[k]) * factor[:, None]
        features = disk.expand(difference.astype(np.complex64)) * np.sqrt(disk.metric)

        def average(chosen):
            total = seen[chosen].sum(0)
            return polar[chosen].sum(0) / (total + RIDGE * total.max())[:, None]

        return Members(features.reshape(len(rows), -1), average)

    def importance(self, model):
        """Factors (rings,): the amplitude of what images show of references, in units of the noise."""
        seen = self._visibilities() * model.inverse(self.disk)
        return np.sqrt(np.average(seen, axis=0, weights=np.bincount(self.optics.group, minlength=len(seen))))


def _mean_power(model):
    """Mean |A|^2 (rings,) of a model's references, each counted by its class fraction."""
    return model.fractions @ (np.abs(model.polar) ** 2).mean(-1)
