"""How a run of ml_tomo begins: the first references, from chance or from what is given."""
import time
from dataclasses import replace

import numpy as np

from .engine.resampling import resampled
from .engine.sphere import random_rotations
from .engine.volume_estimator import Poses, one_hot
from .engine.volume_model import Totals, VolumeModel, maximise, regularised
from .tomo_stages import start_maxres

START_ITERATIONS = 20      # of each random start, at most
STRIDE = 1.6               # from one resolution to the next, where only particles are looked for
ENOUGH_PER_CLASS = 60      # particles of a random start
SETTLED = 0.02             # nats per particle by which the likelihood still grows when a resolution has given all


class TomoStart:
    """The part of a :class:`.tomo.TomoClassification` that makes the model of iteration 0."""

    def _start(self):
        """Iteration 0: the first references."""
        started, o = time.time(), self.options
        self.poses = self._given_poses()
        radius = (o.radius or self.source.size / 2) * self.scale
        first = start_maxres(radius, self.stage.maxres) if self._grows or self._marches else self.stage.maxres
        self._enter(first, o.offset * self.scale)
        if self.inputs.given is not None:
            totals = self._start_from_given()
        elif self._grows:
            totals, self.model = self._best_start()
        else:
            totals, self.model = self._random_start(np.random.default_rng([self.seed, 2]))
        if o.ini_filter and totals is not None:
            self.model = self._filtered(self.model, totals)
        if o.istart == 1:
            self.model = regularised(self.model, self._regularisation(0), self.source.count)
        if totals is None:
            totals = Totals.zero(self.ball, self.coverage, self.references, 0)
        self._report(self._result(totals, np.zeros(self.references), 1.0, 0.0), started)

    def _start_from_given(self):
        """The user's references, and where the particles are, looked for at low resolution first; no totals."""
        volumes = resampled(self.inputs.given, self.stage.box)
        self.model = self._model_of(self.ball.from_volumes(volumes)[None])
        limit, rng = self.stage.maxres, np.random.default_rng([self.seed, 2])
        while self._marches and self.maxres < limit:
            totals = self._expect(self.model, self.poses, rng, f"looking at {self._finest()}")
            self.shift_radius = float(np.clip(totals.reach(), 1, self.shift_radius))
            self._climb(min(self.maxres * STRIDE, limit))
            self.model = replace(self.model, vectors=self._model_of(self.ball.from_volumes(volumes)[None]).vectors)

    @property
    def _marches(self):
        """Whether given references meet the particles at low resolution first."""
        return self.inputs.given is not None and not (self.options.no_grow or self.stage.local or self._poses_known)

    def _given_poses(self):
        """Poses as given, in the present box; those that a run from chance does not look at are left out."""
        poses = self.inputs.poses.copy()
        poses.shifts = poses.shifts * self.scale
        o = self.options
        if not (o.keep_angles or self.stage.local or self._poses_known):
            poses = replace(Poses.unknown(self.source.count), ref=poses.ref)
        return poses

    def _model_of(self, vectors):
        """A model of references (H, K, P) and of what the options say of everything else."""
        o, fractions = self.options, self.inputs.fractions
        if o.half_sets and len(vectors) == 1:
            vectors = np.repeat(vectors, 2, 0)
        noise = (o.noise * self.scale**1.5) ** 2          # white noise in fewer voxels
        return self.ranks.agree(VolumeModel(
            self.ball, self._symmetrised(vectors, self.ball.layout).astype(np.float32),
            np.full(self.references, 1 / self.references) if fractions is None else fractions,
            np.full(len(self.ball.k), noise), o.offset * self.scale))

    def _random_start(self, rng, rows=None):
        """(totals, model) of averages of random groups of ``rows``, in random orientations or those that are given."""
        poses, classes = self.poses.copy(), self.poses.ref
        if not self.options.only_average:
            rows = np.arange(self.source.count) if rows is None else rows
            classes = np.full(self.source.count, -1)
            classes[rows] = rng.permutation(len(rows)) % self.references
        if not (self.options.keep_angles or self.stage.local or self._poses_known):
            poses.matrices = random_rotations(self.source.count, rng)
        totals = self._symmetric(self.estimator.gather(one_hot(classes, self.references), poses, self.half_of))
        vectors = np.array([[self.coverage.average(v, s, self._threshold(v), None)
                             for v, s in zip(covered, sums)]
                            for sums, covered, _ in totals.halves(self.options.half_sets)])
        return totals, self._model_of(vectors)

    def _threshold(self, covered):
        """--noimp_threshold, but never so much that nothing is left."""
        return min(self.options.noimp_threshold, 0.5 * float(self.coverage.at_points(covered).max()))

    def _best_start(self):
        """The most likely of a few short random starts at low resolution, of not too many particles."""
        rng, best = np.random.default_rng([self.seed, 2]), None
        some = min(self.source.count, ENOUGH_PER_CLASS * self.references)
        rows = np.sort(rng.permutation(self.source.count)[:some])
        for trial in range(1, self.options.restarts + 1):
            _, self.model = self._random_start(rng, rows)
            likelihood, iterations = self._settle(rng, rows)
            self.log(f"start {trial}: log-likelihood {likelihood:.2f} of {some} volumes at {self._finest()} after "
                     f"{iterations} iterations")
            if best is None or likelihood > best[0]:
                best = likelihood, self.model
        self.model = best[1]
        return self._expect(self.model, self.poses, rng, "all volumes"), self.model

    def _settle(self, rng, rows):
        """EM at the present resolution until it has given what it can: (log-likelihood, iterations)."""
        poses, last = Poses.unknown(self.source.count), -np.inf
        for iteration in range(1, START_ITERATIONS + 1):
            totals = self._expect(self.model, poses, rng, f"iteration {iteration}", rows)
            self.model = self.ranks.agree(maximise(self.model, totals, self.coverage, self.rules))
            if totals.log_likelihood - last < SETTLED * len(rows):
                break
            last = totals.log_likelihood
        return totals.log_likelihood, iteration
