"""The outer loop of ml_tomo: stages, iterations, growth of the resolution, files."""
import sys
import time
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from .engine import resolution
from .engine.backend import Workers, open_device
from .engine.ball import Ball
from .engine.coverage import Coverage
from .engine.device_volumes import volume_estimator
from .engine.focused import Focus
from .engine.parallel import ALONE, part_of, run_on, started
from .engine.resampling import resampled
from .engine.subtomograms import Subtomograms
from .engine.volume_estimator import one_hot
from .engine.volume_model import Rules, maximise, regularised, signal_change
from .errors import UserError
from .geometry3d import angular_distance
from .options import GIB, RESUMES
from .running import duration, tell
from .tomo_averages import TomoAverages
from .tomo_files import TomoFiles, TomoResult
from .tomo_input import read_inputs
from .tomo_options import restart_iteration
from .tomo_resume import TomoResumable
from .tomo_stages import WINDOW, Search, stages_of
from .tomo_start import SETTLED, TomoStart

REACH = 4.0                # shifts searched, in standard deviations
SMALLEST_OFFSET = 0.5      # voxels
LOCAL_WINDOW = 2.0         # voxels around where a particle is, when its orientation is known
LONGEST_GROWTH = 4         # iterations at one resolution before growing anyway
GROWTH_SHARE = 0.6         # of a stage's iterations, by which its full resolution should be reached
GROWTH = 1.3


def run(options):
    """Run ml_tomo with parsed ``options`` (see :mod:`.ml_tomo`).  Raises :class:`.errors.UserError`."""
    ranks = started()
    run_on(ranks, TomoClassification.program, lambda: TomoClassification(options, ranks).run(), RESUMES)


class TomoClassification(TomoStart, TomoAverages, TomoResumable):
    """One run: its particles, its state between iterations, and the loop.

    ranks: that share the particles, see :mod:`.engine.parallel`.  All of them have all of the state; the first writes.
    """

    program = "ml_tomo"

    def __init__(self, options, ranks=ALONE):
        self.options, self.ranks = options, ranks
        self.files = TomoFiles(options.oroot)
        self.inputs = read_inputs(options, self.files)
        self.source, self.references = self.inputs.source, self.inputs.references
        self.part = ranks.part(self.source.count)           # of the particles, which this rank works on
        self.stages = stages_of(options, self.source.size)
        self.search = Search(options, self.inputs.group)
        self.rules = Rules(
            impute=None if options.dont_impute or options.maxCC or options.only_average else options.impute_iter,
            threshold=options.noimp_threshold if options.dont_impute or options.only_average else 0.0,
            per_shell=options.sigma_shells, fixed_noise=options.fix_sigma_noise or options.maxCC,
            fixed_offset=options.fix_sigma_offset or options.maxCC, fixed_fractions=options.fix_fractions)
        self.seed = ranks.agree(options.random_seed if options.random_seed >= 0 else time.time_ns() % 2**31)
        # state that a checkpoint keeps
        self.iteration = options.istart - 1
        self.stage = self.stages[0]
        self.model = None
        self.poses = None                # shifts in voxels of the present box
        self.half_of = np.random.default_rng([self.seed, 1]).permutation(self.source.count) % 2
        self.maxres = None
        self.shift_radius = None
        self.growth_iterations = 0
        self.last_likelihood = -np.inf
        self.converged = False
        self.last_info = {}

    # ---- the loop ---------------------------------------------------------------------------------------------

    def run(self):
        self.workers = Workers(self.options.thr, open_device(self.options.gpu, self.ranks.local))
        try:
            with self.files.held(self.ranks.first):
                self._run()
        finally:
            self.workers.close()

    def _run(self):
        options = self.options
        self.inputs.check_voxels(self.ranks.share(self.source.count))
        resumed = self.ranks.agree(self._resume_point())
        where = self.ranks.words()
        where += f", on {self.workers.device.name}" if self.workers.device else ""
        if resumed is None:
            if self.ranks.first:
                self.files.forget(keep=(options.input, options.doc, options.ref, options.frac, options.mask))
            if options.resume:
                self.log(f"nothing to continue under {options.oroot}: starting anew")
            self.log(f"{self.program}: {self.source.count} volumes of {self.source.size} voxels, {self.references} "
                     f"references, {len(self.inputs.regions)} missing regions, random seed {self.seed}{where}")
            warning = self.ranks.first and self.inputs.normalisation_warning()
            if warning:
                self.log(warning)
            self._start()
        else:
            self._restore(resumed)
            self.ranks.wait()               # until all have read what the first may remove
            if self.ranks.first:
                self.files.forget(after=resumed)
            self.log(f"continuing after iteration {resumed}{where}")
        while not self._done():
            self._iterate()
        self._finish()

    def _resume_point(self):
        there, wanted = self.files.iterations(), restart_iteration(self.options)
        if wanted is not None and wanted not in there:
            raise UserError(f"--restart: no checkpoint of iteration {wanted} under {self.options.oroot}, expected one "
                            f"of {', '.join(map(str, there)) or 'none (nothing to restart from)'}")
        if wanted is None and self.options.resume and there:
            return there[-1]
        return wanted

    def _done(self):
        """Whether no stage is left; moves on to the next stage where the present one has ended."""
        while self.iteration >= self.stage.last or self.converged:
            later = self.stages[self.stage.number :]
            if not later:
                return True
            self._next_stage(later[0])
        return False

    def _next_stage(self, stage):
        scale = stage.box / self.stage.box
        self.stage, self.converged, self.growth_iterations = stage, False, 0
        self.shift_radius = None
        self.poses.shifts *= scale
        model = replace(self.model, sigma_offset=self.model.sigma_offset * scale)
        self._enter(min(stage.maxres, self.maxres / scale) if self._grows else stage.maxres, model.sigma_offset)
        self.model = self.model.on(self.ball, scale)
        self.log(f"stage {stage.number}: {stage.ang:g} degrees"
                 + (f" within {stage.search:g}" if stage.local else " everywhere")
                 + f", box of {stage.box} voxels, frequencies up to {stage.maxres:g}/voxel")

    # ---- the present resolution ---------------------------------------------------------------------------------

    @property
    def scale(self):
        """Voxels of the present box in one of the input's."""
        return self.stage.box / self.source.size

    def _enter(self, maxres, sigma_offset, reach=None):
        """Work at frequencies up to ``maxres`` (1/voxel of the stage's box) from now on.

        reach: longest shift in voxels of that box (default: what is searched now).
        """
        self.maxres, self.estimator, self.bank, self.focus = maxres, None, None, None
        radius = None if self.options.radius is None else self.options.radius * self.scale
        if self.shift_radius is None:
            self.shift_radius = self._wanted_radius(sigma_offset)
        if reach is None:
            reach = self.shift_radius + np.ceil(np.abs(self.poses.shifts).max())
        self.ball = Ball(self.stage.box, maxres, radius, reach)
        self.coverage = Coverage(self.ball, any(region.radial for region in self.inputs.regions))
        self.bank = Subtomograms(part_of(self.source, self.part), self.ball, self.coverage, self.inputs.regions,
                                 self.inputs.region_of[self.part], self.options.memory * GIB, self.workers)
        self.estimator = volume_estimator(self.bank, self.ball, self.coverage, self.workers, self.ranks, self.part)
        self.search.growing = maxres < self.stage.maxres

    def _wanted_radius(self, sigma_offset):
        if self.stage.limit is not None:
            return self.stage.limit * self.scale
        if self.options.dont_align or self.options.only_average:
            return 0.0
        if self._shifts_known:
            return LOCAL_WINDOW
        return float(min(np.ceil(REACH * max(sigma_offset, SMALLEST_OFFSET)), self.stage.box // 2 - 1))

    @property
    def _grows(self):
        """Whether the run begins at low resolution: where references come from chance."""
        o = self.options
        return o.nref is not None and not (o.no_grow or o.keep_angles or self.stages[0].local or self._poses_known)

    @property
    def _shifts_known(self):
        """Whether particles are nearly where they were given, or found in an earlier stage."""
        return self.stage.local or self.options.dont_rotate or self.options.keep_angles

    @property
    def _poses_known(self):
        o = self.options
        return o.dont_align or o.dont_rotate or o.only_average

    # ---- an iteration -------------------------------------------------------------------------------------------

    def _expect(self, model, poses, rng, title, rows=None):
        """E-step over ``rows`` (default: all), symmetrised; updates ``poses``."""
        plan = self.search.plan(self.stage, self.ball, poses, self._anchor(), self.shift_radius, rng)
        if self.options.only_average:
            shares = one_hot(poses.ref, self.references)
            return self._symmetric(self.estimator.gather(shares, self._anchor(), self.half_of))
        if self.inputs.mask is not None:
            return self._symmetric(self._expect_in_mask(model, poses))
        half_of = self.half_of if self.options.half_sets else rng.permutation(self.source.count) % 2
        count = len(self.estimator.own(np.arange(self.source.count) if rows is None else rows))
        shown = self.ranks.first and sys.stderr.isatty()
        with tqdm(total=count, desc=title, unit="volume", leave=False, disable=not shown) as bar:
            return self._symmetric(self.estimator.expect(model, poses, plan, half_of, rows, bar.update))

    def _expect_in_mask(self, model, poses):
        """E-step over classes alone, by what lies inside --mask."""
        if self.focus is None:
            mask = np.clip(resampled(self.inputs.mask[None], self.stage.box)[0], 0, 1)
            self.focus = Focus(self.bank, mask, self._anchor().part(self.part), self.inputs.regions, self.workers,
                               self.ranks)
        shares, likelihoods = np.zeros((self.source.count, self.references)), np.zeros(self.source.count)
        variance = float(model.variance.mean()) if self.rules.fixed_noise else None
        for half in (0, 1):
            mine = self.half_of == half
            squared = self.focus.distances(model.of_half(half))
            of_half = self.focus.posterior(squared, model.log_class(), variance)
            shares[mine], likelihoods[mine] = (part[mine] for part in of_half)
        poses.ref, poses.peak, poses.log_likelihood = shares.argmax(1), shares.max(1), likelihoods
        poses.class_probability = poses.peak.copy()
        totals = self.estimator.gather(shares, self._anchor(), self.half_of)
        totals.log_likelihood, totals.peak = float(likelihoods.sum()), float(poses.peak.sum())
        return totals

    def _anchor(self):
        """Poses as they were given, shifts in the present box, or None."""
        if not self.inputs.angles_given:
            return None
        poses = self.inputs.poses
        return replace(poses, shifts=poses.shifts * self.scale)

    def _iterate(self):
        """One iteration: EM, growth of the resolution; its files."""
        started, before = time.time(), self.poses.copy()
        self.iteration += 1
        rng = np.random.default_rng([self.seed, 3, self.iteration])
        totals, old = self._expect(self.model, self.poses, rng, f"iteration {self.iteration}"), self.model
        self.model = maximise(old, totals, self.coverage, self.rules)
        strength = self._regularisation(self.iteration)
        self.model = regularised(self.model, strength, self.source.count)
        if self.options.filter:
            self.model = self._filtered(self.model, totals)
        self.model = self.ranks.agree(self.model)
        change = signal_change(old, self.model)
        changed = float(np.mean(before.ref != self.poses.ref))
        turned = float(np.mean(angular_distance(self.poses.matrices, before.matrices, self.inputs.group)))
        result = self._result(totals, change, changed, turned)
        self._narrow(totals)
        self.growth_iterations += 1
        grown = self._grow(result, totals)
        self.last_likelihood = totals.log_likelihood if not grown else -np.inf
        settled = self.ranks.agree(bool((change <= self.options.eps).all()))
        self.converged = not self.search.growing and not grown and strength <= self.options.regF and settled
        self._report(result, started)
        if self.converged:
            self.log(f"converged: no reference changed by more than {self.options.eps:g}")

    def _regularisation(self, iteration):
        o = self.options
        return max(o.regF, o.reg0 - iteration * (o.reg0 - o.regF) / o.reg_steps)

    def _narrow(self, totals):
        """Search shifts no farther than particles have weight."""
        if self.stage.limit is None and totals.squared_shift > 0:
            near = self.search.grown or self._shifts_known
            wanted = 1.0 if near else self._wanted_radius(self.model.sigma_offset)
            self.shift_radius = float(np.clip(totals.reach(), min(wanted, self.shift_radius), self.shift_radius))

    def _grow(self, result, totals):
        """Raise the highest frequency once this one has given what it can and the averages allow it; whether it was."""
        if not self.search.growing:
            return False
        left, steps = self.stage.last - self.iteration, np.log(self.stage.maxres / self.maxres) / np.log(GROWTH)
        hurried = left <= np.ceil(steps) + (1 - GROWTH_SHARE) * (self.stage.last - self.stage.first)
        settled = totals.log_likelihood - self.last_likelihood < SETTLED * self.source.count
        if not (hurried or settled or self.growth_iterations >= LONGEST_GROWTH):
            return False
        wanted = self.ranks.agree(min(self.stage.maxres, resolution.next_maxres(
            self.maxres, self.ball.k / (2 * np.pi), result.fsc, self.model.fractions, GROWTH)))
        if wanted == self.maxres:
            self.search.growing = not (settled or self.growth_iterations >= LONGEST_GROWTH)
            return False
        self._climb(wanted)
        self.growth_iterations = 0
        return True

    def _climb(self, maxres):
        """Go on at a higher frequency, with shifts around those found at the present one."""
        self.search.grown = True
        self.shift_radius = float(min(np.ceil(WINDOW / self.maxres), self.shift_radius))
        self._enter(maxres, self.model.sigma_offset)
        self.model = self.model.on(self.ball)

    # ---- results ------------------------------------------------------------------------------------------------

    def _result(self, totals, change, changed, turned):
        model, count = self.model, max(totals.count, 1)
        poses = replace(self.poses, shifts=self.poses.shifts / self.scale)
        info = {
            "iterationNumber": self.iteration, "logLikelihood": totals.log_likelihood, "pMax": totals.peak / count,
            "sigmaNoise": model.sigma / self.scale**1.5, "sigmaOffset": model.sigma_offset / self.scale,
            "randomSeed": self.seed, "maxres": self.maxres * self.scale, "changed": changed, "angleChange": turned,
            "samplingRate": self.inputs.pixel_size or -1.0, "eps": self.options.eps,
            "angularSampling": self.stage.ang, "angSearch": self.stage.search or -1.0, "workingBox": self.stage.box,
            "stage": self.stage.number,
        }
        return TomoResult(self.inputs.metadata, poses, model, totals, self.coverage, change, info, self.source.size,
                          self.inputs.pixel_size, self.half_of if self.options.half_sets else None)

    def _report(self, result, started):
        """Write this iteration's files, its checkpoint and a line in the log."""
        result.info["seconds"] = seconds = time.time() - started
        self.last_info = result.info
        if not self.ranks.first:
            return
        self.files.write_iteration(self.iteration, result)
        self._checkpoint()
        info, share = result.info, 100 * self.model.fractions
        resolved = result.resolved().max()
        left = (self.stages[-1].last - self.iteration) * seconds
        self.log(f"iteration {self.iteration:3d}: to {self._finest()}, log-likelihood {info['logLikelihood']:.2f}, "
                 f"pMax {info['pMax']:.2f}, noise {info['sigmaNoise']:.4f}, offset {info['sigmaOffset']:.2f} px, "
                 f"FSC 0.5 at {self._length(resolved)}, {100 * info['changed']:.1f} % changed class, turned by "
                 f"{info['angleChange']:.1f} degrees, signal change {result.change.max():.1e}, classes "
                 f"{share.min():.1f} to {share.max():.1f} %, {seconds:.1f} s"
                 + (f", at most {duration(left)} to go" if left and self.iteration else ""))

    def _finest(self):
        return self._length(self.maxres * self.scale)

    def _length(self, frequency):
        """A frequency in 1/voxel of the input as the length of its wave."""
        if frequency <= 0:
            return "nothing"
        pixel = self.inputs.pixel_size
        return f"{pixel / frequency:.3g} Å" if pixel else f"{1 / frequency:.3g} px"

    def _finish(self):
        refined = self._refined()
        if self.ranks.first and refined is None:
            self.files.publish_iteration(self.iteration)
        elif self.ranks.first:
            self.files.publish(refined)
        if self.ranks.told():
            self.log(self.ranks.told())
        self.log(f"done: class averages in {self.options.oroot}_ref*.mrc, tables in {self.options.oroot}_ref.xmd")

    def log(self, line):
        if self.ranks.first:
            tell(self.files.log, line)
