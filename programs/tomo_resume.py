"""What the checkpoints of a run of ml_tomo hold, and how a run goes on from one."""
import numpy as np

from .engine.ball import Ball
from .engine.volume_estimator import Poses
from .engine.volume_model import VolumeModel
from .errors import UserError
from .running import check_same_run

POSES = ("ref", "matrices", "shifts", "peak", "class_probability", "log_likelihood")


class TomoResumable:
    """The part of a :class:`.tomo.TomoClassification` that saves and restores its state."""

    def _checkpoint(self):
        model = self.model
        arrays = {f"poses.{name}": getattr(self.poses, name) for name in POSES}
        arrays.update(vectors=model.vectors, fractions=model.fractions, variance=model.variance, half_of=self.half_of)
        meta = {
            "program": self.program, "iteration": self.iteration, "seed": self.seed, "references": self.references,
            "volumes": self.source.count, "size": self.source.size, "fingerprint": self.inputs.fingerprint(),
            "stage": self.stage.number, "box": self.stage.box, "maxres": self.maxres, "radius": model.ball.radius,
            "reach": model.ball.reach, "shift_radius": self.shift_radius, "sigma_offset": model.sigma_offset,
            "growing": self.search.growing, "grown": self.search.grown, "growth_iterations": self.growth_iterations,
            "last_likelihood": self.last_likelihood, "converged": self.converged, "info": self.last_info,
            "options": vars(self.options),
        }
        self.files.save_checkpoint(self.iteration, arrays, meta)

    def _restore(self, iteration):
        arrays, meta = self.files.load_checkpoint(iteration)
        self._check_same_run(meta)
        self.iteration, self.seed, self.half_of = meta["iteration"], meta["seed"], arrays["half_of"]
        self.stage = self._stage_of(meta)
        self.poses = Poses(**{name: arrays[f"poses.{name}"] for name in POSES})
        self.shift_radius, self.growth_iterations = meta["shift_radius"], meta["growth_iterations"]
        self.last_likelihood, self.last_info = meta["last_likelihood"], meta["info"]
        self.search.grown = meta["grown"]
        growing = meta["growing"] and meta["maxres"] < self.stage.maxres
        as_then = growing or meta["maxres"] == self.stage.maxres
        self._enter(meta["maxres"] if growing else self.stage.maxres, meta["sigma_offset"],
                    meta["reach"] if as_then else None)
        then = self.ball
        if (meta["maxres"], meta["radius"], meta["reach"]) != (then.maxres, then.radius, then.reach):
            then = Ball(meta["box"], meta["maxres"], meta["radius"], meta["reach"])
        vectors = arrays["vectors"]
        if self.options.half_sets and len(vectors) == 1:
            vectors = np.repeat(vectors, 2, 0)
        elif not self.options.half_sets:
            vectors = vectors.mean(0, keepdims=True)
        model = VolumeModel(then, vectors, arrays["fractions"], arrays["variance"], meta["sigma_offset"])
        self.model = model if then is self.ball else model.on(self.ball)
        self.converged = meta["converged"] and not growing and self.options.eps >= meta["options"]["eps"]

    def _stage_of(self, meta):
        """The stage that the checkpoint's iteration was in; it must work in the same box now."""
        stage = self.stages[min(meta["stage"], len(self.stages)) - 1]
        if stage.box != meta["box"]:
            raise UserError(f"--continue: iteration {meta['iteration']} worked in a box of {meta['box']} voxels, "
                            f"expected --dim as it was then instead of {stage.box}; start anew without --continue")
        return stage

    def _check_same_run(self, meta):
        facts = (("volumes", self.source.count, "volumes"), ("size", self.source.size, "voxel boxes"),
                 ("references", self.references, "references"))
        check_same_run(meta, self.program, facts, self.inputs.fingerprint(), self.options.oroot,
                       self.options.input)
