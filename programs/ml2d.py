"""The outer loop of the 2-D maximum-likelihood programs: start, iterate, grow the resolution, write, resume."""
import sys
import time
from copy import deepcopy
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from .engine import resolution
from .engine.backend import Workers, open_device
from .engine.em import Particles
from .engine.estimator import Estimator, Settings
from .engine.model import Fixed, noise_share, signal_change
from .engine.parallel import ALONE, run_on, started
from .engine.starts import Improvement, looked_at, moved_together, random_start, start_maxres
from .errors import UserError
from .ml2d_files import Result, RunFiles
from .ml2d_input import read_inputs
from .ml2d_resume import Resumable
from .options import GIB, RESUMES
from .passes import Passes
from .running import duration, tell

SETTLED_SHARE = 0.02       # particles changing class below which a resolution has given what it can
WITHIN_NOISE = 0.05        # of the power of a reference's noise: a change that is not worth another iteration
SMALLEST_CHANGE = 5e-5     # of references, relative, at which a run ends in any case, unless --eps says otherwise
LONGEST_STAGE = 8          # iterations at one resolution before growing anyway


def run(options):
    """Run ml_align2d with parsed ``options`` (see :mod:`.ml_align2d`).  Raises :class:`.errors.UserError`."""
    ranks = started()
    run_on(ranks, Classification.program, lambda: Classification(options, ranks).run(), RESUMES)


class Classification(Passes, Resumable):
    """One run: its images, its state between iterations, and the loop.

    ranks: that share the images, see :mod:`.engine.parallel`.  All of them have all of the state; the first writes.
    """

    program = "ml_align2d"
    files_of_run = RunFiles
    _search_shift = None       # pixels from its last place within which each particle is searched for; None: anywhere

    def __init__(self, options, ranks=ALONE):
        self.options, self.ranks = options, ranks
        self.files = self.files_of_run(options.oroot)
        self.inputs = read_inputs(options, self.files)
        self.source = self.inputs.source
        self.references = self.inputs.references
        self.settings = _settings(options)
        self.rows = np.arange(self.source.count)
        # state that a checkpoint keeps
        self.iteration = 0
        self.model = None
        self.particles = Particles.unknown(self.source.count)
        self.stage_iterations = 0
        self.grown = options.maxres is not None
        self.converged = False
        self.block_statistics = []
        self.blocks_seen = 0
        self.unrevived = []
        self.probabilities = None
        self.seed = ranks.agree(options.random_seed if options.random_seed >= 0 else time.time_ns() % 2**31)

    # ---- the loop ---------------------------------------------------------------------------------------------

    def run(self):
        workers = Workers(self.options.thr, open_device(self.options.gpu, self.ranks.local))
        try:
            with self.files.held(self.ranks.first):
                self.inputs.check_pixels(self.ranks.share(self.source.count))
                self._run(self._estimator(workers))
        finally:
            workers.close()

    def _estimator(self, workers):
        return Estimator(self.source, self.settings, workers, self.ranks)

    def _run(self, estimator):
        options = self.options
        resumed = self.ranks.agree(self._resume_point())
        where = self.ranks.words()
        where += f", on {estimator.workers.device.name}" if estimator.workers.device else ""
        self._find_interrupted(0 if resumed is None else resumed + 1)
        self.ranks.wait()                   # until all have looked at what the first may remove
        if resumed is None and self._interrupted is not None:
            self.log("continuing in iteration 0")
            self._start(estimator)
        elif resumed is None:
            if self.ranks.first:
                self.files.forget()
            if options.resume:
                self.log(f"nothing to continue under {options.oroot}: starting anew")
            self.log(f"{self.program}: {self.source.count} images of {self.source.size} px, "
                     f"{self.references} references, random seed {self.seed}{where}")
            if options.save_memA:
                self.log("note: --save_memA has nothing to save here and is ignored")
            warning = self.ranks.first and self.inputs.normalisation_warning(options.norm)
            if warning:
                self.log(warning)
            self._start(estimator)
        else:
            self._restore(estimator, resumed)
            self.ranks.wait()               # until all have read what the first may remove
            if self.ranks.first:
                self.files.forget(after=resumed)
            self.log(f"continuing after iteration {resumed}{where}")
        while self.iteration < max(options.iter, self._many) and not self.converged:
            self._iterate(estimator)
        self._finish(estimator)

    def _resume_point(self):
        options = self.options
        if not options.resume and options.restart is None:
            return None
        there = self.files.iterations()
        if options.restart is not None:
            if options.restart not in there:
                raise UserError(f"--restart: no iteration {options.restart} under {options.oroot}, "
                                f"expected one of {', '.join(map(str, there)) or 'none (nothing to restart from)'}")
            return options.restart
        return there[-1] if there else None

    def _start(self, estimator):
        """Iteration 0: the first references."""
        started, rng = time.time(), np.random.default_rng(self.seed)
        if self._interrupted is None:
            self.model = self._first_model(estimator, rng)
            if self.inputs.fractions is not None:
                self.model = replace(self.model, fractions=self.inputs.fractions)
            self._fix_parameters()
        if self._many:              # the first block will improve the references: no pass without a gain
            self.log(f"start: to {estimator.maxres:.3f}/px, {time.time() - started:.1f} s")
            if self.ranks.first:
                self._checkpoint(estimator)
            return
        # iteration 0 assigns the images to these references and leaves the references alone
        statistics = self._expect_all(estimator)
        if not self.settings.norm:      # which refines the images between two E-steps
            self._first_statistics = statistics
        self._report(estimator, self._result(statistics, np.zeros(self.references), 1.0), started)

    def _first_model(self, estimator, rng):
        """The model to begin with, at the resolution the estimator is left with."""
        options = self.options
        first = options.maxres or start_maxres(self.source.size)
        if self.inputs.given is None:
            model = random_start(estimator, self.references, options.noise, options.offset, options.restarts, rng,
                                 self.log, options.maxres or 0.5, self._splits, self.inputs.fractions)
            first = options.maxres or estimator.maxres
        estimator.enter(first)
        estimator.shift_radius = None
        if self.inputs.given is not None:
            model = self._split(estimator, rng, estimator.initial_model(
                estimator.disk.polar(self.inputs.given), options.noise, options.offset))
        return model.on(estimator.disk)

    @property
    def _splits(self):
        """Whether classes may be split at the start."""
        return self.options.min_class is None or self.options.min_class > 0

    def _split(self, estimator, rng, model):
        """A model of the given references, each split into --nref by what random groups of images make of it."""
        parts = self.options.nref or 1
        if parts == 1:
            return model
        groups = np.array_split(rng.permutation(self.rows), parts)
        updates = [estimator.maximise(model, estimator.expect(model, Particles.unknown(len(self.rows)), np.sort(group)))
                   for group in groups]
        every = np.repeat(np.arange(model.references), parts)
        polar = np.stack([u.polar for u in updates], axis=1).reshape(-1, *model.polar.shape[1:])
        return model.only(every, polar)

    def _fix_parameters(self):
        """Parameters the user fixed keep their initial values, whatever the start made of them."""
        options, fixed = self.options, self.settings.fixed
        if fixed.fractions:
            equal = np.full(self.references, 1 / self.references)
            mirror = np.full(self.references, 0.5 if options.mirror else 0.0)
            given = self.inputs.fractions
            self.model = replace(self.model, fractions=equal if given is None else given, mirror=mirror)
        if fixed.noise:
            self.model = replace(self.model, sigma=options.noise)
        if fixed.offset:
            self.model = replace(self.model, sigma_offset=options.offset)

    def _iterate(self, estimator):
        """One iteration: EM, revival, growth of the resolution; its files."""
        started = time.time()
        self.iteration += 1
        previous, old, in_blocks = self.particles.ref.copy(), self.model, self._in_blocks
        statistics = self._em(estimator)
        change = signal_change(old.on(self.model.disk), self.model)
        changed = float(np.mean(previous != self.particles.ref))
        result = self._result(statistics, change, changed)
        settled = self.ranks.agree(None if in_blocks else self._settled(result, changed))
        revived = self._revive(estimator, statistics)
        self.stage_iterations += 1
        self.converged = self.grown and not revived and settled is not None
        if not self.grown and not revived:
            self._grow(estimator, result.frc, 0 if in_blocks else changed)
        self._report(estimator, result, started)
        if self.converged:
            self.log(f"converged: {settled}")

    def _settled(self, result, changed):
        """Why another iteration would not pay, in words; None where it may.

        EM goes on for long with changes of references that are small beside their noise.  By then it fits the noise:
        poses and class averages come no nearer the truth, rather the contrary.
        """
        smallest = self._smallest_change
        if (result.change <= smallest).all():
            return f"no reference changed by more than {smallest:g}"
        if changed > SETTLED_SHARE:
            return None
        few = f"at most {SETTLED_SHARE:.0%} of the images changed class"
        if self._many:
            return few
        noise = WITHIN_NOISE * noise_share(result.model, result.frc)
        if self.options.eps is None and (result.change <= noise).all():
            return f"{few}, and no reference changed by more than {WITHIN_NOISE:.0%} of the power of its noise"
        return None

    @property
    def _smallest_change(self):
        return SMALLEST_CHANGE if self.options.eps is None else self.options.eps

    @property
    def _centred(self):
        """Whether this iteration trusts the given centres."""
        return self.options.zero_offsets and self.settings.fast and self.iteration <= 1

    def _expect(self, estimator, rows, centred=False):
        if self.options.write_probs and self.probabilities is None:
            self.probabilities = np.zeros((self.source.count, self.references), np.float32)
        bar = tqdm(total=len(estimator.own(rows)), desc=f"iteration {self.iteration}", unit="image", leave=False,
                   disable=not (self.ranks.first and sys.stderr.isatty()))
        with bar:
            return estimator.expect(self.model, self.particles, rows, centred, self.probabilities, bar.update,
                                    self._search_shift)

    def _revive(self, estimator, statistics):
        """Put classes that hold too few particles where another class wants to be split; True when one was.

        Kept only if it raises the likelihood.
        """
        smallest = self.options.min_class
        smallest = 0.1 * self.source.count / self.references if smallest is None else smallest
        poor = np.flatnonzero(statistics.class_mass < smallest)
        victims = [int(k) for k in poor if int(k) not in self.unrevived]
        if not victims or self.references == 1 or self.settings.fixed.fractions:
            return False
        self.log(f"class {', '.join(str(k + 1) for k in victims)} with fewer than {smallest:.3g} particles: "
                 "looking for a class to split instead")
        self.unrevived += victims        # once at each resolution is enough: a class that dies again is not wanted
        rng = np.random.default_rng([self.seed, self.iteration])
        rows = looked_at(self.source.count, self.references, rng) if self._many else self.rows
        improvement = Improvement(estimator, rows, rng, self.log)
        trials = -(-len(victims) // moved_together(self.references))
        state = improvement.run((self.model, statistics.log_likelihood, self.particles), trials)
        if not improvement.kept:
            return False
        self.model, self.block_statistics = state[0], []
        if not self._many:          # of many, not all have been looked at
            self.particles = replace(state[2], scale=self.particles.scale, background=self.particles.background)
        return True

    def _grow(self, estimator, frc, changed):
        """Raise the highest frequency once this one has given what it can and the averages allow it."""
        if self.stage_iterations < 2 or (changed > SETTLED_SHARE and self.stage_iterations < LONGEST_STAGE):
            return
        if not self._raise_resolution(estimator, frc):
            self.grown = True

    def _raise_resolution(self, estimator, frc):
        """Raise the highest frequency if the averages allow it; True when they do."""
        frequency = estimator.disk.k / (2 * np.pi)
        wanted = self.ranks.agree(resolution.next_maxres(estimator.maxres, frequency, frc, self.model.fractions))
        wanted = min(wanted, self._finest)
        if wanted == estimator.maxres:
            return False
        self.grown = wanted >= self._finest
        estimator.enter(wanted)
        self.model = self.model.on(estimator.disk)
        self.stage_iterations, self.block_statistics, self.unrevived = 0, [], []
        return True

    @property
    def _finest(self):
        """The highest frequency that may ever be used, in 1/px."""
        return 0.5

    # ---- results ----------------------------------------------------------------------------------------------

    def _result(self, statistics, change, changed):
        model, pixel_size = self.model, self.inputs.pixel_size
        info = {
            "iterationNumber": self.iteration, "logLikelihood": statistics.log_likelihood,
            "pMax": statistics.peak / statistics.count, "sigmaNoise": model.sigma, "sigmaOffset": model.sigma_offset,
            "randomSeed": self.seed, "maxres": model.disk.maxres, "changed": changed,
            "samplingRate": pixel_size or -1.0, "eps": self._smallest_change,
        }
        return self._table(self.source.metadata.columns, self.particles, model, statistics, change, info, pixel_size,
                           self.settings)

    def _table(self, *parts):
        return Result(*parts)

    def _report(self, estimator, result, started):
        """Write this iteration's files, its checkpoint and a line in the log."""
        result.info["seconds"] = seconds = time.time() - started
        if not self.ranks.first:
            return
        self.files.write_result(self.iteration, result.model.images(), result)
        self._checkpoint(estimator)
        self.files.forget_unfinished()
        info, maxres = result.info, result.model.disk.maxres
        share = 100 * result.statistics.class_mass / result.statistics.count
        finest = f"{self.inputs.pixel_size / maxres:.3g} Å" if self.inputs.pixel_size else f"{1 / maxres:.3g} px"
        left = (self.options.iter - self.iteration) * seconds
        self.log(f"iteration {self.iteration:3d}: to {finest}, log-likelihood {info['logLikelihood']:.2f}, "
                 f"pMax {info['pMax']:.2f}, noise {info['sigmaNoise']:.4f}, offset {info['sigmaOffset']:.2f} px, "
                 f"{100 * info['changed']:.1f} % changed class, signal change {result.change.max():.1e}, "
                 f"classes {share.min():.1f} to {share.max():.1f} %, {seconds:.1f} s"
                 + (f", at most {duration(left)} to go" if left and self.iteration else ""))

    def _finish(self, estimator):
        if self.options.write_probs and self.probabilities is None:     # asked for now that nothing is left to iterate
            self.probabilities = np.zeros((self.source.count, self.references), np.float32)
            estimator.expect(self.model, deepcopy(self.particles), self.rows, probabilities=self.probabilities,
                             search_shift=self._search_shift)
        if self.ranks.first:
            self._publish()
        if self.ranks.told():
            self.log(self.ranks.told())
        self.log(f"done: class averages in {self.options.oroot}classes.mrcs, tables in {self.options.oroot}classes.xmd")

    def _publish(self):
        self.files.publish(self.iteration)
        if self.options.write_probs:
            self.files.write_probabilities(self.source.metadata["itemId"], self.probabilities)

    def log(self, line):
        if self.ranks.first:
            tell(self.files.log, line)


def _settings(options):
    return Settings(
        mirror=options.mirror, fast=options.fast, significance=options.significance, psi_step=options.psi_step,
        max_shift=options.max_shift, reach=3.0 if options.save_memB else 4.0, radius=options.radius,
        df=options.student, sigma_trick=not options.no_sigma_trick, norm=options.norm,
        fixed=Fixed(options.fix_sigma_noise, options.fix_sigma_offset, options.fix_fractions),
        memory=options.memory * GIB)
