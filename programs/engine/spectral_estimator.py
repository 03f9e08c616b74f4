"""EM steps with CTFs and noise spectra, on grids chosen as for white noise."""
from dataclasses import replace

import numpy as np

from .device_pass import DeviceSpectralEStep
from .em import Particles
from .estimator import Estimator
from .parallel import ALONE
from .references import Members, aligned
from .spectral import Regularisation, SpectralModel, band_sigma, power_at, update
from .spectral_pass import SpectralBank, SpectralEStep, harmonics_needed, scale_to_mean

SMALLEST_SHARE = 0.2      # of the images' power that is noise, in the first guess
RIDGE = 0.01              # of the strongest ring's visibility, added to averages of few images


class SpectralEstimator(Estimator):
    """An :class:`.estimator.Estimator` of :class:`.spectral.SpectralModel`.

    optics: :class:`.spectral_pass.Optics`; power: (G, shells) mean power per pixel of each noise group's images;
    regularisation: :class:`.spectral.Regularisation`; lowest: frequency in 1/px below which posteriors do not look.
    """

    def __init__(self, source, settings, workers, optics, power, regularisation=None, lowest=0.0, ranks=ALONE):
        super().__init__(source, settings, workers, ranks)
        self.optics, self.power, self.lowest = optics, power, lowest
        self._own_optics = optics.part(self.part)
        self.regularisation = regularisation or Regularisation()

    def _bank(self, disk):
        return SpectralBank(self.ours, disk, self.workers, self.settings.memory / 2, self._own_optics,
                            harmonics_needed(self.optics, disk))

    def _estep(self, model, particles, settings, grid, coarse=None, affected=None):
        step = SpectralEStep if self.workers.device is None else DeviceSpectralEStep
        return step(model, self.bank, particles, settings, self.workers, grid, coarse, affected)

    def _of_all(self, statistics, particles, rows):
        total = super()._of_all(statistics, particles, rows)
        if self.settings.norm:
            scale_to_mean(total, particles, rows)
        return total

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
        seen = SpectralBank(white.ours, self.disk, self.workers, 0, replace(self._own_optics, ctf=None), 1)
        particles = Particles.unknown(self.source.count)
        step = self._estep(model, particles.part(self.part), self._pass(None), self.grid(model), affected=seen)
        statistics = self._of_all(step.run(self.own(rows)), particles, rows)
        return self.maximise(model, statistics, fixed=replace(self.settings.fixed, noise=True))

    def _visibilities(self):
        """Mean CTF^2 (G, rings) of each noise group's images."""
        return np.stack([self.optics.mean_square(self.disk, g) for g in range(self.optics.groups)])

    # ---- what starts need ----------------------------------------------------------------------------------------

    def members(self, model, particles, rows, k):
        """:class:`.references.Members`: what each member adds to the gradient of its class average.

        Less what the average itself explains, so that members do not differ by their defocus alone.
        """
        bank, disk, ours, inside = self.bank, self.disk, self.own(rows), self._are_ours(rows)
        inverse = model.inverse(disk)[self._own_optics.group[ours]]                 # (B, rings)
        x, _, visibility = bank.observed(ours)
        weights = np.array([disk.by_ring(one) for one in inverse]).reshape(len(ours), *disk.shape[1:])
        polar = aligned(disk, x * weights[:, None], particles.part(self.part), ours)
        seen = visibility[:, 0, 0] * inverse
        mean = self.ranks.sum(seen.sum(0)) / len(rows)
        factor = np.where(mean > 0, 1 / np.sqrt(np.where(mean > 0, mean, 1)), 0)
        difference = (polar - seen[:, :, None] * model.polar[k]) * factor[:, None]
        features = disk.expand(difference.astype(np.complex64)) * np.sqrt(disk.metric)

        def average(chosen):
            total = self.ranks.sum(seen[chosen[inside]].sum(0))
            return self.ranks.sum(polar[chosen[inside]].sum(0)) / (total + RIDGE * total.max())[:, None]

        return Members(self.ranks.gather(features.reshape(len(ours), np.prod(self.disk.shape))), average)

    def importance(self, model):
        """Factors (rings,): the amplitude of what images show of references, in units of the noise."""
        seen = self._visibilities() * model.inverse(self.disk)
        return np.sqrt(np.average(seen, axis=0, weights=np.bincount(self.optics.group, minlength=len(seen))))


def _mean_power(model):
    """Mean |A|^2 (rings,) of a model's references, each counted by its class fraction."""
    return model.fractions @ (np.abs(model.polar) ** 2).mean(-1)
