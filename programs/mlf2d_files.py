"""What MLF2D writes besides: noise groups and spectra, signal-to-noise ratios."""
import numpy as np

from .engine.spectral import signal_power
from .formats.mrc import write_stack
from .formats.star import write_star
from .ml2d_files import UNKNOWN, Result, RunFiles
from .residuals import write_histograms

HIGHEST_SSNR = 25.0


class SpectralFiles(RunFiles):
    """:class:`.ml2d_files.RunFiles` with ``noise.xmd`` and ``ssnr.xmd``."""

    copied = (*RunFiles.copied, "noise.xmd", "ssnr.xmd")

    def write_result(self, iteration, images, result):
        write_star(f"{self.prefix(iteration)}noise.xmd", result.noise_blocks())
        write_star(f"{self.prefix(iteration)}ssnr.xmd", result.ssnr_blocks())
        if result.drawn:
            write_histograms(result.residuals, self.prefix(iteration))
        super().write_result(iteration, images, result)

    def write_uncorrected(self, averages, ref, pixel_size):
        """Write averages (K, n, n) that have not been corrected for the CTF; ref: (N,) class of every image, from 0."""
        stack = f"{self.oroot}extra/cref_classes.mrcs"
        write_stack(stack, averages, pixel_size)
        number = np.arange(1, len(averages) + 1)
        write_star(f"{self.oroot}extra/cref_classes.xmd", {"classes": {
            "ref": number, "image": [f"{k:06d}@{stack}" for k in number], "enabled": np.ones(len(number), int),
            "classCount": np.bincount(ref, minlength=len(number))}})


class SpectralResult(Result):
    """:class:`.ml2d_files.Result` with noise groups.

    groups: :class:`.noise_groups.NoiseGroups`; even: :class:`.engine.visibility.EvenHarmonics` of the disk;
    visible: (G, rings) mean CTF^2 of each group; snr: factor on the signal power.
    residuals: :class:`.residuals.Residuals`; tested: (n,) what :func:`.residuals.normality` says of them, or None;
    drawn: they are written as tables.
    """

    def __init__(self, *arguments, groups, even, visible, snr, residuals, tested, drawn):
        super().__init__(*arguments)
        self.groups, self.even, self.visible, self.snr = groups, even, visible, snr
        self.residuals, self.tested, self.drawn = residuals, tested, drawn
        self.shells = np.arange(1, int(self.model.disk.maxres * self.model.disk.n + 1e-6) + 1) / self.model.disk.n

    def image_columns(self):
        columns = {**super().image_columns(), "defocusGroup": self.groups.index + 1}
        if self.tested is not None:
            columns["kstest"] = self.tested
        return columns

    def noise_blocks(self):
        g = self.groups
        yield "groups", {"defocusGroup": np.arange(1, len(g) + 1), "opticsGroup": g.optics, "count": g.count,
                         "defocusMin": g.defocus_min, "defocusMax": g.defocus_max}
        for name, noise in zip(self._names(), self.model.spectra):
            yield name, {"resolutionFreqFourier": self.shells, "mlfNoise": self._at_shells(noise)}

    def ssnr_blocks(self):
        """Signal-to-noise ratio of the average of a class of mean size, if all images were like those of the group."""
        disk, mass = self.model.disk, self.statistics.class_mass
        power = self.snr * signal_power(self.statistics, disk, self.even)
        signal = self._at_shells(mass @ power / max(mass.sum(), 1e-30))
        real = self.pixel_size / self.shells if self.pixel_size else np.full(len(self.shells), UNKNOWN)
        for name, noise, visible in zip(self._names(), self.model.spectra, self.visible):
            noise, visible = self._at_shells(noise), self._at_shells(visible)
            ssnr = mass.mean() * visible * signal / noise
            yield name, {"resolutionFreqFourier": self.shells, "resolutionFreqReal": real,
                         "resolutionSSNR": np.minimum(ssnr, HIGHEST_SSNR), "mlfCtf": np.sqrt(visible),
                         "mlfWiener": ssnr / (ssnr + 1), "mlfSignal": signal, "mlfNoise": noise}

    def _names(self):
        return [f"ctf{g:06d}" for g in range(1, len(self.groups) + 1)]

    def _at_shells(self, curve):
        """A curve (rings,) at the frequencies of whole Fourier pixels."""
        return np.interp(self.shells, self.frequency, curve)
