"""How an iteration goes through the images: all under one model, or in blocks that each improve it (--iem).

Of few images the statistics of every block are kept, and replaced when its turn comes again: incremental EM (Neal &
Hinton, in Learning in Graphical Models, 1998).  Of many images, where a block tells enough of the classes by itself,
one set of statistics forgets old blocks as new ones come in: stepwise EM, see :mod:`.engine.stepwise`.  It takes the
same memory for any number of blocks, and the resolution may grow from block to block.  When it has settled, passes over
all images under one model end the run.

A pass that takes long is kept on disk from part to part, and goes on from there after an interruption.
"""
import json
import time
from dataclasses import fields, replace

import numpy as np

from .engine import resolution
from .engine.model import Statistics
from .engine.stepwise import blended
from .errors import UserError

MANY = 10_000             # images from which on blocks forget each other
TOGETHER = 128            # neighbours in their file that come into one block, so that reading is in long runs
RUNS = 50                 # of neighbours in a block, at least: they are alike in real data
STAGE_BLOCKS = 3          # at one resolution before it may grow
ENOUGH_BLOCKS = 20        # at the last resolution, before passes under one model end the run
PART = 50_000             # images between which a pass under one model may be kept on disk
KEPT_EVERY = 60           # s

# options that a pass goes on with although they have changed
INDIFFERENT = {"resume", "restart", "iter", "eps", "thr", "memory"}


class Passes:
    """The part of :class:`.ml2d.Classification` that goes through the images."""

    statistics_of_images = Statistics
    _interrupted = None       # (arrays, meta) of the pass that this run was interrupted in
    _first_statistics = None  # of iteration 0, as long as they are those of the model
    _kept_at = 0.0

    # ---- kinds of passes --------------------------------------------------------------------------------------

    @property
    def _many(self):
        return self.options.iem > 1 and self.source.count >= MANY

    @property
    def _in_blocks(self):
        """Whether the next pass is one of stepwise EM."""
        return self._many and (not self.grown or self._blocks_seen < ENOUGH_BLOCKS)

    @property
    def _blocks_seen(self):
        """By the one set of statistics that stepwise EM has."""
        return self.blocks_seen if self.block_statistics else 0

    def _em(self, estimator):
        """EM over all images; returns the statistics of all."""
        known, self._first_statistics = self._first_statistics, None
        if self._in_blocks:
            return self._stepwise_pass(estimator)
        if self.options.iem > 1 and not self._many:
            return self._incremental_pass(estimator)
        # the first iteration begins with the model that iteration 0 assigned the images to
        total = known or self._expect_all(estimator)
        self.model = estimator.maximise(self.model, total, self._centred)
        return total

    def _expect_all(self, estimator):
        """E-step over all images under the present model."""
        parts = dealt(self.source.count, -(-self.source.count // PART))
        done, total = self._take_up(estimator)
        for number, rows in self._parts_to_do(estimator, parts, done):
            fresh = self._expect(estimator, rows, self._centred)
            total = fresh if total is None else total + fresh
            self._keep(estimator, number, parts, total)
        return total

    def _stepwise_pass(self, estimator):
        blocks = self._blocks()
        done, told = self._take_up(estimator)
        for number, rows in self._parts_to_do(estimator, blocks, done):
            fresh = self._expect(estimator, rows, self._centred)
            running, = self.block_statistics or [None]
            running = blended(running, fresh, self._blocks_seen, len(blocks))
            self.blocks_seen, self.block_statistics = self._blocks_seen + 1, [running]
            frc = estimator.ranks.agree(resolution.smooth_correlation(running.half_sums, running.half_weights,
                                                                      estimator.disk))
            self.model = _filtered(estimator.maximise(self.model, running, self._centred), frc)
            fresh = replace(fresh, half_sums=np.zeros(1))     # they do not add up from one resolution to another
            told = fresh if told is None else told + fresh
            if number < len(blocks):
                self._grow_within_pass(estimator, frc)
            self._keep(estimator, number, blocks, told)
        # averages of what is remembered, and what was found of every image
        return replace(self.block_statistics[0].scaled(told.count), count=told.count, peak=told.peak,
                       log_likelihood=told.log_likelihood, class_mass=told.class_mass)

    def _grow_within_pass(self, estimator, frc):
        self.stage_iterations += 1
        if not self.grown and self.stage_iterations >= STAGE_BLOCKS:
            if self._raise_resolution(estimator, frc):
                self.log(f"iteration {self.iteration:3d}: on to {estimator.maxres:.3f}/px")

    def _incremental_pass(self, estimator):
        blocks, centred = self._blocks(), self._centred
        if len(self.block_statistics) != len(blocks):
            self.block_statistics = [self._expect(estimator, rows, centred) for rows in blocks]
            total = _sum(self.block_statistics)
            self.model = estimator.maximise(self.model, total, centred)
            return total
        total = _sum(self.block_statistics)
        for b, rows in enumerate(blocks):
            fresh = self._expect(estimator, rows, centred)
            total = total - self.block_statistics[b] + fresh
            self.block_statistics[b] = fresh
            self.model = estimator.maximise(self.model, total, centred)
        return total

    def _blocks(self):
        count = self.source.count
        blocks = min(self.options.iem, count)
        if not self._many:
            order = np.random.default_rng(self.seed).permutation(self.rows)
            return [np.sort(block) for block in np.array_split(order, blocks)]
        rng = np.random.default_rng([self.seed, self.iteration])
        return dealt(count, blocks, min(TOGETHER, max(1, count // (blocks * RUNS))), rng)

    def _parts_to_do(self, estimator, parts, done):
        """Numbers, from 1, and images of the parts that are not done; the next one's images are read meanwhile."""
        self._kept_at = time.monotonic()
        for number, rows in enumerate(parts[done:], done + 1):
            estimator.read_ahead(parts[number] if number < len(parts) else rows[:0])
            yield number, rows

    # ---- interruptions ----------------------------------------------------------------------------------------

    def _keep(self, estimator, number, parts, sums):
        """Keep on disk how far this pass has come, unless that was done a short while ago."""
        if number == len(parts) or not self.ranks.first or time.monotonic() < self._kept_at + KEPT_EVERY:
            return
        arrays, meta = self._state(estimator)
        arrays.update({f"pass.{f.name}": np.asarray(getattr(sums, f.name)) for f in fields(sums)})
        self.files.save_unfinished(arrays, {**meta, "parts_done": number, "parts": len(parts)})
        self._kept_at = time.monotonic()

    def _find_interrupted(self, iteration):
        """Look for what was kept of a pass of that iteration; the same options are a condition to go on from it."""
        if not self.options.resume or self.options.restart is not None:
            return
        if not self.ranks.agree(self.files.unfinished.exists()):
            return
        try:
            arrays, meta = self.files.load_unfinished()
        except UserError as error:
            self.log(f"note: {error}: iteration {iteration} begins anew")
            return
        self._check_same_run(meta)
        if meta["iteration"] != iteration:
            return
        if _what_matters(meta["options"]) != _what_matters(vars(self.options)):
            self.log(f"options have changed: iteration {iteration} begins anew")
            return
        self._interrupted = arrays, meta

    def _take_up(self, estimator):
        """Go back to where this pass was interrupted: the number of parts done, and their sums, or 0 and None."""
        if self._interrupted is None:
            return 0, None
        (arrays, meta), self._interrupted = self._interrupted, None
        self._set_state(estimator, arrays, meta)
        self.log(f"iteration {self.iteration} goes on after {meta['parts_done']} of {meta['parts']} parts")
        kind = self.statistics_of_images
        return meta["parts_done"], kind(**{f.name: arrays[f"pass.{f.name}"][()] for f in fields(kind)})


def dealt(count, parts, together=1024, rng=None):
    """Deal ``count`` images to parts, in runs of neighbours, in turn or at random: rows in ascending order, per part.

    Every part has images from everywhere.
    """
    if parts == 1:
        return [np.arange(count)]
    runs = np.array_split(np.arange(count), max(parts, -(-count // together)))
    order = np.arange(len(runs)) if rng is None else rng.permutation(len(runs))
    return [np.concatenate([runs[i] for i in np.sort(order[part::parts])]) for part in range(parts)]


def _filtered(model, frc):
    """The model with averages weighted, ring by ring, by what of them is signal: 2 FRC / (1 + FRC), frc: (K, rings).

    The next block's images have no part in an average's noise, which so makes them less likely, in classes of few
    images most of all: without the filter these lose their images from block to block.  Averages whose halves agree
    nowhere, or of one half alone, are left as they are.
    """
    weight = resolution.of_all(frc)
    weight = np.where(weight.any(1, keepdims=True), weight, 1)
    return replace(model, polar=(model.polar * weight[:, :, None]).astype(np.complex64))


def _what_matters(options):
    return json.dumps({name: value for name, value in options.items() if name not in INDIFFERENT}, sort_keys=True)


def _sum(statistics):
    total = statistics[0]
    for more in statistics[1:]:
        total = total + more
    return total
