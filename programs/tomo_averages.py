"""What is done to a run's averages beyond the M-step: symmetry, filters, and poses refined in the end."""
from dataclasses import replace

import numpy as np

from .engine import resolution
from .engine.pose_refinement import Refinement
from .engine.volume_estimator import one_hot
from .tomo_stages import start_maxres

MARGIN = 1.1               # frequencies looked at then, over the highest that averages agree in
FILTER_WIDTH = 0.02        # of the low-pass of --filter, 1/voxel
REFINED = 3                # rounds of refining poses and averaging in the end


class TomoAverages:
    """The part of a :class:`.tomo.TomoClassification` that works on averages."""

    def _symmetric(self, totals):
        """Totals averaged over the references' symmetry."""
        totals.sums = self._symmetrised(totals.sums, self.ball.layout)
        totals.coverage = self._symmetrised(totals.coverage, self.coverage.layout)
        return totals

    def _symmetrised(self, vectors, layout):
        """Vectors (..., P) averaged over the symmetry group."""
        elements = self.inputs.group.as_matrix()
        if len(elements) == 1:
            return vectors
        flat = vectors.reshape(-1, vectors.shape[-1])
        return np.stack([layout.turned(one[None], elements).mean(0) for one in flat]).reshape(vectors.shape)

    def _filtered(self, model, totals):
        """References without the frequencies beyond their resolution (FSC 0.5)."""
        frequency = model.ball.k / (2 * np.pi)

        def low_pass(curve):
            cut = resolution.crossing(frequency, curve[None], 0.5)[0]
            edge = np.clip((frequency - cut) / FILTER_WIDTH + 0.5, 0, 1) if cut < frequency[-1] else 0 * frequency
            return 0.5 + 0.5 * np.cos(np.pi * edge)

        return self._weighted(model, self.coverage.correlations(totals), low_pass)

    @staticmethod
    def _weighted(model, fsc, response):
        """References times a radial response (J,) that each one's correlation gives."""
        vectors = np.stack([model.ball.filtered(model.vectors[:, k], response(curve))
                            for k, curve in enumerate(fsc)], 1)
        return replace(model, vectors=vectors)

    def _refined(self):
        """The :class:`.tomo_files.TomoResult` of poses refined off the grid; None where they stay as they are."""
        o = self.options
        if o.no_refine or o.dont_align or o.only_average or self.iteration < o.istart:
            return None
        totals = self._average()
        self.log("refining orientations and shifts off their grids")
        step, finest, noise = self.stage.ang, self.maxres, (self.ball.k, self.model.variance)
        self._work_at(min(finest, self.ranks.agree(MARGIN * float(resolution.crossing(
            self.ball.k / (2 * np.pi), self.coverage.correlations(totals)).max()))))
        totals = self._average()
        for _ in range(REFINED):
            # without the frequencies in which averages are noise: there every particle would stay with its own
            trusted = self._weighted(self.model, self.coverage.correlations(totals), resolution.wiener)
            refinement = Refinement(self.bank, trusted, self.coverage, o.maxCC, turn=not o.dont_rotate)
            ours = self.poses.part(self.part), self.half_of[self.part]
            self.poses = refinement.run(*ours, step, self.workers).of_all(self.ranks)
            totals = self._average()
            step /= 2
        self._work_at(finest)
        self.model = replace(self.model, variance=np.interp(self.ball.k, *noise))
        totals = self._average()
        result = self._result(totals, np.zeros(self.references), 0.0, 0.0)
        result.info.update(self.last_info)
        return result

    def _work_at(self, maxres):
        """Bring everything to another highest frequency."""
        maxres = max(maxres, start_maxres(self.ball.radius, self.maxres))
        if maxres != self.maxres:
            self._enter(maxres, self.model.sigma_offset)
            self.model = self.model.on(self.ball)

    def _average(self):
        """Make the references averages of the particles in their poses; their totals."""
        shares = one_hot(self.poses.ref, self.references)
        totals = self._symmetric(self.estimator.gather(shares, self.poses, self.half_of))
        vectors = self.model.vectors.copy()
        for h, (sums, covered, mass) in enumerate(totals.halves(self.options.half_sets)):
            for k in np.flatnonzero(mass):
                vectors[h, k] = self.coverage.average(covered[k], sums[k], self.rules.threshold, vectors[h, k])
        self.model = self.ranks.agree(replace(self.model, vectors=vectors))
        return totals
