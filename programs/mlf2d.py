"""The run of mlf_align2d: that of ml_align2d, with CTFs and noise spectra."""
from dataclasses import dataclass, replace

import numpy as np

from .engine.ctf import PhaseFlipped
from .engine.estimator import Estimator
from .engine.parallel import ALONE, part_of, run_on, started
from .engine.references import aligned
from .engine.spectral import Regularisation, SpectralModel, SpectralStatistics, power_spectra
from .engine.spectral_estimator import SpectralEstimator
from .engine.spectral_pass import Optics
from .engine.starts import random_start, start_maxres
from .engine.visibility import EvenHarmonics
from .errors import UserError
from .ml2d import Classification
from .mlf2d_files import SpectralFiles, SpectralResult
from .noise_groups import noise_groups, optics_groups
from .options import RESUMES
from .particle_ctf import known_pixel_size, read_ctf
from .residuals import Residuals, normality

READ_TOGETHER = 256       # images


def run(options):
    """Run mlf_align2d with parsed ``options`` (see :mod:`.mlf_align2d`).  Raises :class:`.errors.UserError`."""
    ranks = started()
    run_on(ranks, SpectralClassification.program, lambda: SpectralClassification(options, ranks).run(), RESUMES)


class SpectralClassification(Classification):
    """A :class:`.ml2d.Classification` in Fourier space."""

    program = "mlf_align2d"
    files_of_run = SpectralFiles
    statistics_of_images = SpectralStatistics
    model_arrays = (*Classification.model_arrays, "spectra")

    def __init__(self, options, ranks=ALONE):
        if options.ctf_affected_refs and not options.ref:
            raise UserError("--ctf_affected_refs: expected references, too (--ref)")
        options.iem = 1
        options.maxres = None         # until the pixel size is known
        super().__init__(options, ranks)
        self.inputs.pixel_size = pixel_size = known_pixel_size(self.source, options.sampling_rate)
        self.limits = _limits(options, pixel_size, self.source.size)
        options.maxres = self.limits.fixed
        self.grown = options.maxres is not None
        ctf = None if options.no_ctf else read_ctf(self.source, pixel_size)
        mode = "pooled" if options.no_ctf else options.noise_groups
        self.groups = noise_groups(ctf, optics_groups(self.source), mode, options.group_size)
        self.settings = replace(self.settings, psi_follows=options.var_psi, shift_follows=options.var_trans)
        self._visible_on = None, None
        self.optics = Optics(ctf, pixel_size, not options.not_phase_flipped, self.groups.index, len(self.groups))

    def _estimator(self, workers):
        self.power = self.ranks.agree(power_spectra(self.source, self.groups.index, len(self.groups),
                                                    self.options.radius))
        return SpectralEstimator(self.source, self.settings, workers, self.optics, self.power,
                                 Regularisation(self.options.reduce_snr), self.limits.lowest, self.ranks)

    # ---- the start ----------------------------------------------------------------------------------------------

    def _first_model(self, estimator, rng):
        options = self.options
        first = self.limits.fixed or self.limits.first or min(start_maxres(self.source.size), self._finest)
        if self.inputs.given is None:
            return self._from_nothing(estimator, rng).on(estimator.disk)
        estimator.enter(first)
        estimator.shift_radius = None
        polar = estimator.disk.polar(self.inputs.given)
        if options.ctf_affected_refs:
            white = self._white(estimator.workers)
            white.enter(first)
            averages = white.initial_model(white.disk.polar(self.inputs.given), options.noise, options.offset)
            model = estimator.corrected(averages, white, self.rows)
        else:
            model = estimator.initial_model(polar, options.offset)
        return self._split(estimator, rng, model)

    def _from_nothing(self, estimator, rng):
        """References from a coarse classification of the phase-flipped images with white noise."""
        options = self.options
        white = self._white(estimator.workers)
        highest = self.limits.fixed or self.limits.first or self._finest
        model = random_start(estimator, self.references, options.noise, options.offset, options.restarts, rng, self.log,
                             highest, self._splits, self.inputs.fractions, white)
        estimator.enter(self.limits.fixed or self.limits.first or estimator.maxres)
        estimator.shift_radius = None
        return model

    def _white(self, workers):
        """The estimator of a classification that knows no CTF, of images whose phases are flipped."""
        return Estimator(self._phase_flipped(), replace(self.settings, fast=False, norm=False), workers, self.ranks)

    def _phase_flipped(self):
        """The images with their phases flipped, by us where the user has not."""
        ctf, optics = self.optics.ctf, self.optics
        return self.source if ctf is None or optics.flipped else PhaseFlipped(self.source, ctf, optics.pixel_size)

    @property
    def _search_shift(self):
        return self.options.search_shift if self.iteration > 1 else None

    @property
    def _finest(self):
        return self.limits.highest

    def _fix_parameters(self):
        fixed_noise = self.model.sigma
        super()._fix_parameters()
        self.model = replace(self.model, sigma=fixed_noise)       # spectra stay as the start found them

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _more_arrays(self):
        return {"group": self.groups.index}

    def _model(self, disk, parts, arrays):
        before, now = arrays["group"], self.groups.index
        if (before != now).any():
            # a new group's noise is the mean of what its images had
            count = np.zeros((len(self.groups), before.max() + 1))
            np.add.at(count, (now, before), 1)
            parts["spectra"] = count @ parts["spectra"] / count.sum(1, keepdims=True)
        return SpectralModel(disk, **parts, power=self.power, lowest=self.limits.lowest)

    # ---- results --------------------------------------------------------------------------------------------------

    def _table(self, columns, particles, model, statistics, change, info, pixel_size, settings):
        info["noiseGroups"] = len(self.groups)
        even = EvenHarmonics(model.disk, statistics.visibility.shape[3])
        return SpectralResult(columns, particles, model, statistics, change, info, pixel_size, settings,
                              groups=self.groups, even=even, visible=self._visible(model.disk),
                              snr=self.options.reduce_snr,
                              residuals=Residuals(self.source, self.optics, model, particles),
                              tested=self._normality(model, particles) if self.options.kstest else None,
                              drawn=self.iteration == self.options.iter_histogram)

    def _normality(self, model, particles):
        """What :func:`.residuals.normality` says of every image."""
        part = self.ranks.part(self.source.count)
        return self.ranks.gather(normality(Residuals(part_of(self.source, part), self.optics.part(part), model,
                                                     particles.part(part))))

    def _finish(self, estimator):
        averages = self._uncorrected()
        if self.ranks.first:
            self.files.write_uncorrected(averages, self.particles.ref, self.inputs.pixel_size)
        super()._finish(estimator)

    def _uncorrected(self):
        """Averages (K, n, n) of the images at their best poses, phases flipped, amplitudes as they are."""
        source, disk, particles = self._phase_flipped(), self.model.disk, self.particles
        sums = np.zeros((self.references, *disk.kx.shape), complex)
        ours = self.ranks.share(source.count)
        for rows in np.array_split(ours, -(-len(ours) // READ_TOGETHER)):
            np.add.at(sums, particles.ref[rows], aligned(disk, disk.harmonics(source.read(rows)), particles, rows))
        sums = self.ranks.sum(sums)
        count = np.maximum(np.bincount(particles.ref, minlength=self.references), 1)
        return disk.images(sums / count[:, None, None])

    def _visible(self, disk):
        """Mean CTF^2 (G, rings) of each noise group on a disk."""
        if disk is not self._visible_on[0]:
            self._visible_on = disk, np.stack([self.optics.mean_square(disk, g) for g in range(len(self.groups))])
        return self._visible_on[1]


@dataclass(frozen=True)
class Limits:
    """Frequencies in 1/px: of the first iteration (None: any), of all (None: they grow), most and least ever used."""

    first: float
    fixed: float
    highest: float
    lowest: float


def _limits(options, pixel_size, size):
    """The limits that options in Å ask for; :class:`UserError` where they contradict each other or the pixels."""
    first, high, low = options.limit_resolution
    if bool(options.include_allfreqs) + bool(options.fix_high) + bool(first or high) > 1:
        raise UserError("--include_allfreqs, --fix_high and the first two numbers of --limit_resolution exclude one "
                        "another, expected one of them")
    if first and high and first < high:
        raise UserError(f"--limit_resolution: {first:g} Å in the first iteration and {high:g} Å in all, expected a "
                        "larger number for the first")
    if options.fix_high and options.fix_high < 2 * pixel_size:
        raise UserError(f"--fix_high: {options.fix_high:g} Å, expected at least {2 * pixel_size:g}, Nyquist of "
                        f"{pixel_size:g} Å pixels")
    for name, finest in (("fix_high", options.fix_high), ("limit_resolution", high), ("limit_resolution", first)):
        if finest and finest * 2 > size * pixel_size:
            raise UserError(f"--{name}: {finest:g} Å, expected at most {size * pixel_size / 2:g} Å, half of the box")
    if options.include_allfreqs:
        return Limits(None, 0.5, 0.5, 0.0)
    highest = min(0.5, pixel_size / high) if high else 0.5
    limits = Limits(first=min(highest, pixel_size / first) if first else None,
                    fixed=pixel_size / options.fix_high if options.fix_high else None,
                    highest=highest, lowest=pixel_size / low if low else 0.0)
    begin = limits.fixed or limits.first or min(start_maxres(size), highest)
    if limits.lowest >= begin / 2:
        raise UserError(f"--limit_resolution: {low:g} Å as the lowest resolution, expected at least "
                        f"{2 * pixel_size / begin:.4g} Å, twice the highest one of the first iteration")
    return limits
