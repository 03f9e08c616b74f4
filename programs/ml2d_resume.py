"""What the checkpoints of an ML2D run hold, and how a run goes on from one."""
from dataclasses import fields, replace

import numpy as np

from .engine.disk import Disk
from .engine.em import Particles
from .engine.model import Model, Statistics
from .running import check_same_run


class Resumable:
    """The part of a :class:`.ml2d.Classification` that saves and restores its state."""

    program = None
    model_arrays = ("polar", "fractions", "mirror", "scale")
    model_numbers = ("sigma", "sigma_offset")

    def _checkpoint(self, estimator):
        self.files.save_checkpoint(self.iteration, *self._state(estimator))

    def _state(self, estimator):
        """All that a run needs to go on: (arrays, meta) of a checkpoint."""
        model, blocks = self.model, self.block_statistics
        arrays = {f"particles.{name}": value for name, value in self.particles.arrays().items()}
        arrays.update({f"model.{name}": getattr(model, name) for name in self.model_arrays})
        for b, statistics in enumerate(blocks):
            arrays.update({f"block{b}.{f.name}": np.asarray(getattr(statistics, f.name)) for f in fields(Statistics)})
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        arrays.update(self._more_arrays())
        meta = {
            "program": self.program, "iteration": self.iteration, "seed": self.seed, "references": self.references,
            "images": self.source.count, "size": self.source.size, "fingerprint": self.inputs.fingerprint(),
            "maxres": estimator.maxres, "radius": model.disk.radius, "shift_radius": estimator.shift_radius,
            **{name: getattr(model, name) for name in self.model_numbers},
            "stage_iterations": self.stage_iterations, "unrevived": self.unrevived,
            "grown": self.grown, "finest": self._finest, "converged": self.converged, "blocks": len(blocks),
            "blocks_seen": self.blocks_seen, "options": vars(self.options),
        }
        return arrays, meta

    def _check_same_run(self, meta):
        facts = (("images", self.source.count, "images"), ("size", self.source.size, "px boxes"),
                 ("references", self.references, "references"))
        check_same_run(meta, self.program, facts, self.inputs.fingerprint(), self.options.oroot,
                       self.options.input)

    def _restore(self, estimator, iteration):
        arrays, meta = self.files.load_checkpoint(iteration)
        self._check_same_run(meta)
        self._set_state(estimator, arrays, meta)

    def _set_state(self, estimator, arrays, meta):
        """Become what :meth:`_state` told, under the present options."""
        self.iteration, self.seed = meta["iteration"], meta["seed"]
        self.stage_iterations, self.unrevived = meta["stage_iterations"], meta["unrevived"]
        estimator.enter(self.options.maxres or min(meta["maxres"], self._finest))
        estimator.shift_radius = meta["shift_radius"]
        if self.settings.max_shift is not None:
            estimator.shift_radius = self.settings.max_shift
        self.particles = Particles(**{f.name: arrays[f"particles.{f.name}"] for f in fields(Particles)})
        disk = estimator.disk
        if (meta["maxres"], meta["radius"]) != (disk.maxres, disk.radius):
            disk = Disk(self.source.size, meta["maxres"], disk.n_psi, meta["radius"])
        parts = {**{name: meta[name] for name in self.model_numbers},
                 **{name: arrays[f"model.{name}"] for name in self.model_arrays}}
        self.model = self._model(disk, parts, arrays).on(estimator.disk)
        as_far = meta["grown"] and self._finest <= meta["finest"]
        self.grown = as_far or self.options.maxres is not None or estimator.maxres < meta["maxres"]
        if disk is estimator.disk:
            self.block_statistics = [
                Statistics(**{f.name: arrays[f"block{b}.{f.name}"][()] for f in fields(Statistics)})
                for b in range(meta["blocks"])]
            self.blocks_seen = meta.get("blocks_seen", 0)
        self.converged = meta["converged"] and self.grown and self._no_stricter(meta["options"]["eps"])
        if self.options.write_probs:
            self.probabilities = arrays.get("probabilities")
        self._adapt(meta["options"])

    def _no_stricter(self, eps):
        """Whether a run that has converged under that --eps has under the present one."""
        return self.options.eps == eps or (eps is not None and self._smallest_change >= eps)

    def _more_arrays(self):
        """What else a checkpoint keeps: {name: array}."""
        return {}

    def _model(self, disk, parts, arrays):
        """The model of its saved parts; arrays: all those of the checkpoint."""
        return Model(disk, **parts)

    def _adapt(self, earlier):
        """What was estimated under ``earlier`` options and means something else under the present ones."""
        options, count = self.options, self.references
        if options.mirror != earlier["mirror"]:
            self.model = replace(self.model, mirror=np.full(count, 0.5 if options.mirror else 0.0))
        if earlier["norm"] and not options.norm:
            self.model = replace(self.model, scale=np.ones(count))
            unknown = Particles.unknown(self.source.count)
            self.particles = replace(self.particles, scale=unknown.scale, background=unknown.background)
