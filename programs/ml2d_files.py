"""What an ML run writes: class averages, tables, resolution curves, checkpoints."""
import re
import shutil
from pathlib import Path

import numpy as np

from .engine import resolution
from .formats.checkpoint import load_checkpoint, save_checkpoint
from .formats.mrc import write_stack
from .formats.star import Rows, copy_star, read_star, write_star
from .formats.whole import remove_leftovers, whole_file
from .sole_writer import Held

UNKNOWN = -1.0


class RunFiles(Held):
    """Names and writes the files under one ``oroot``."""

    copied = ("classes.mrcs", "frc.xmd", "images.xmd")      # from the last iteration to the result: after the prefix
    made = ("classes.xmd", "probs.xmd")                     # at the end
    # by any of the programs, which may have used this prefix before
    known = (*copied, *made, "noise.xmd", "ssnr.xmd", "extra/cref_classes.mrcs", "extra/cref_classes.xmd")

    def __init__(self, oroot):
        self.oroot = oroot

    def prefix(self, iteration=None):
        """Of one iteration's files, or of the final result's."""
        return self.oroot if iteration is None else f"{self._extra}/iter{iteration:03d}/iter_"

    @property
    def log(self):
        return Path(f"{self.oroot}run.log")

    @property
    def lock(self):
        return Path(f"{self.oroot}run.lock")

    @property
    def _extra(self):
        return f"{self.oroot}extra"

    def iterations(self):
        """Numbers of the iterations that have a checkpoint, in order."""
        found = (re.fullmatch(r"iter(\d{3,})", path.parent.name)
                 for path in Path(self._extra).glob("iter*/iter_checkpoint.npz"))
        return sorted(int(match[1]) for match in found if match)

    def owns(self, path):
        """Whether a run under this ``oroot`` writes or removes the file that ``path`` (``block@file``, too) names."""
        named = {Path(path).resolve(), Path(path.partition("@")[2] or path).resolve()}
        written = {Path(f"{self.oroot}{name}").resolve() for name in (*self.known, "run.log")}
        return bool(named & written) or any(Path(self._extra).resolve() in file.parents for file in named)

    def forget(self, after=None):
        """Remove the result of an earlier run and its iterations after a number; without one, its log and all."""
        for name in self.known:
            Path(f"{self.oroot}{name}").unlink(missing_ok=True)
        for folder in (self.log.parent, self._extra):
            remove_leftovers(folder, self.owns)
        if after is None:
            self.log.unlink(missing_ok=True)
            self.forget_unfinished()
        numbers = (re.fullmatch(r"iter(\d{3,})", folder.name) for folder in Path(self._extra).glob("iter*"))
        later = sorted((int(match[1]) for match in numbers if match and (after is None or int(match[1]) > after)),
                       reverse=True)
        # Checkpoints first, the last one before all others: killed now, the run must not go on from what is half there.
        for iteration in later:
            Path(f"{self.prefix(iteration)}checkpoint.npz").unlink(missing_ok=True)
        for iteration in later:
            shutil.rmtree(Path(self.prefix(iteration)).parent)

    def save_checkpoint(self, iteration, arrays, meta):
        self.check_held()
        save_checkpoint(f"{self.prefix(iteration)}checkpoint.npz", arrays, meta)

    def load_checkpoint(self, iteration):
        return load_checkpoint(f"{self.prefix(iteration)}checkpoint.npz")

    @property
    def unfinished(self):
        """A checkpoint within an iteration."""
        return Path(f"{self._extra}/unfinished.npz")

    def save_unfinished(self, arrays, meta):
        self.check_held()
        save_checkpoint(self.unfinished, arrays, meta)

    def load_unfinished(self):
        return load_checkpoint(self.unfinished)

    def forget_unfinished(self):
        self.unfinished.unlink(missing_ok=True)

    def write_result(self, iteration, images, result):
        """Write the averages (K, n, n) and the tables of a :class:`Result`; ``classes.xmd`` comes last."""
        self.check_held()
        prefix = self.prefix(iteration)
        write_stack(f"{prefix}classes.mrcs", images, result.pixel_size)
        write_star(f"{prefix}frc.xmd", result.frc_blocks())
        rows = Rows.of(result.image_columns())          # as text once: they are written twice
        write_star(f"{prefix}images.xmd", {"particles": rows})
        write_star(f"{prefix}classes.xmd", result.class_blocks(f"{prefix}classes.mrcs", rows))

    def publish(self, iteration):
        """Make an iteration's outcome the run's final result."""
        self.forget_unfinished()                        # of a run that was killed just after that iteration
        source, target = self.prefix(iteration), self.prefix()
        for name in self.copied:
            with whole_file(f"{target}{name}") as temporary:
                shutil.copyfile(f"{source}{name}", temporary)
        classes = read_star(f"{source}classes.xmd", ["classes"])["classes"].columns
        classes["image"] = [f"{k:06d}@{target}classes.mrcs" for k in classes["ref"]]
        copy_star(f"{source}classes.xmd", f"{target}classes.xmd", "classes", classes)

    def write_probabilities(self, item_ids, probabilities):
        """Every particle's probability of belonging to each class."""
        columns = {"itemId": item_ids}
        columns.update({f"class{k + 1:06d}": column for k, column in enumerate(probabilities.T)})
        write_star(f"{self.oroot}probs.xmd", {"probabilities": columns})


class Result:
    """One iteration's outcome as tables.

    metadata: the input rows' columns; particles: :class:`.engine.em.Particles`; model, statistics, change (K,):
    of the iteration; info: values of the info block; pixel_size: Å/px or None; settings: of the estimator.
    """

    def __init__(self, metadata, particles, model, statistics, change, info, pixel_size, settings):
        self.metadata, self.particles, self.model = metadata, particles, model
        self.statistics, self.change, self.info = statistics, change, info
        self.pixel_size, self.settings = pixel_size, settings
        self.frequency = model.disk.k / (2 * np.pi)
        self.frc = resolution.smooth_correlation(statistics.half_sums, statistics.half_weights, model.disk)

    def resolutions(self):
        """Resolution (K,) of each class in Å; -1 where unknown."""
        cut = resolution.crossing(self.frequency, self.frc)
        known = (cut > 0) & bool(self.pixel_size)
        return np.where(known, (self.pixel_size or 1) / np.where(cut > 0, cut, 1), UNKNOWN)

    def image_columns(self):
        p = self.particles
        columns = dict(self.metadata)
        columns.update(ref=p.ref + 1, anglePsi=_short(p.psi), shiftX=_short(p.shift_x), shiftY=_short(p.shift_y),
                       flip=p.flip, pMax=_short(np.minimum(p.peak, 1)), logLikelihood=p.log_likelihood,
                       classProbability=_short(np.minimum(p.class_probability, 1)))      # rounding may exceed one
        if self.settings.norm:
            columns.update(bgMean=_short(p.background), intScale=_short(p.scale))
        if self.settings.df is not None:
            columns.update(wRobust=_short(p.robust))
        return columns

    def class_blocks(self, stack, images):
        """Blocks ``classes``, ``info`` and the members of every class, as (name, columns).

        images: :class:`.formats.star.Rows` of all images.
        """
        m, ref = self.model, self.particles.ref
        count = m.references
        yield "classes", {
            "ref": np.arange(1, count + 1),
            "image": [f"{k:06d}@{stack}" for k in range(1, count + 1)],
            "enabled": np.ones(count, int),
            "weight": self.statistics.class_mass,
            "classCount": np.bincount(ref, minlength=count),
            "mirrorFraction": m.mirror,
            "signalChange": 1000 * self.change,
            "resolution": self.resolutions(),
            "scale": m.scale,
        }
        yield "info", {name: [value] for name, value in self.info.items()}
        order = np.argsort(ref, kind="stable")
        ends = np.searchsorted(ref[order], np.arange(count + 1))
        for k in range(count):
            yield f"class{k + 1:06d}_images", images.take(order[ends[k] : ends[k + 1]])

    def frc_blocks(self):
        for k, curve in enumerate(self.frc):
            yield f"class{k + 1:06d}", {"resolutionFreqFourier": self.frequency, "resolutionFRC": curve}


def _short(column):
    """Numbers with nine digits: more than is known of them, and written in half of the time."""
    return column.astype(np.float32)
