"""What a run of ml_tomo writes under one root R: volumes, tables, shell correlations, checkpoints."""
import glob
import re
import shutil
from pathlib import Path

import numpy as np

from .engine import resolution
from .formats.checkpoint import load_checkpoint, save_checkpoint
from .formats.mrc import write_volume
from .formats.star import read_star, write_star
from .formats.whole import remove_leftovers, whole_file
from .geometry3d import euler_angles
from .sole_writer import Held

FSC_THRESHOLD = 0.5
UNKNOWN = -1.0
_RESULT = r"_(ref|wedge)\d{6,}\.mrc|_(ref|img)\.xmd|\.fsc"
_OWN = re.compile(rf"{_RESULT}|_it\d{{6,}}({_RESULT}|_log\.xmd|_checkpoint\.npz)|_run\.log")


class TomoFiles(Held):
    """Names and writes the files under one ``oroot``."""

    def __init__(self, oroot):
        self.oroot = oroot

    def prefix(self, iteration=None):
        """Of one iteration's files, or of the final result's, without the underscore."""
        return self.oroot if iteration is None else f"{self.oroot}_it{iteration:06d}"

    @property
    def log(self):
        return Path(f"{self.oroot}_run.log")

    @property
    def lock(self):
        return Path(f"{self.oroot}_run.lock")

    def iterations(self):
        """Numbers of the iterations that have a checkpoint, in order."""
        found = (re.fullmatch(re.escape(self.oroot) + r"_it(\d{6,})_checkpoint\.npz", path)
                 for path in glob.glob(glob.escape(self.oroot) + "_it*_checkpoint.npz"))
        return sorted(int(match[1]) for match in found if match)

    def owns(self, path):
        """Whether a run under this ``oroot`` writes its final result to the file that ``path`` names."""
        name, root = str(Path(path.rpartition("@")[2]).resolve()), str(Path(self.oroot).resolve())
        return name.startswith(root) and bool(re.fullmatch(rf"{_RESULT}|_run\.log", name[len(root):]))

    def forget(self, after=None, keep=()):
        """Remove the result of an earlier run and its iterations after a number; without one, its log and all.

        keep: files that the new run reads, left alone.
        """
        kept = {Path(path.rpartition("@")[2]).resolve() for path in keep if path}
        root = Path(self.oroot)
        remove_leftovers(root.parent, lambda path: path.startswith(str(root)) and _OWN.fullmatch(path[len(str(root)):]))
        gone = []
        for path in map(Path, glob.glob(glob.escape(self.oroot) + "*")):
            rest = str(path)[len(self.oroot):]
            numbered = re.match(r"_it(\d{6,})_?", rest)
            if not _OWN.fullmatch(rest) or path.resolve() in kept:
                continue
            if after is not None and (rest == "_run.log" or (numbered and int(numbered[1]) <= after)):
                continue
            gone.append(path)
        # Checkpoints first, the last one before all others: killed now, the run must not go on from what is half there.
        gone.sort(key=lambda path: (path.name.endswith("_checkpoint.npz"), path.name), reverse=True)
        for path in gone:
            path.unlink(missing_ok=True)

    def save_checkpoint(self, iteration, arrays, meta):
        self.check_held()
        save_checkpoint(f"{self.prefix(iteration)}_checkpoint.npz", arrays, meta)

    def load_checkpoint(self, iteration):
        return load_checkpoint(f"{self.prefix(iteration)}_checkpoint.npz")

    def write_iteration(self, iteration, result):
        """Write the volumes and tables of a :class:`TomoResult`; the ``_ref.xmd`` comes last."""
        self.check_held()
        prefix = self.prefix(iteration)
        result.write_volumes(prefix)
        write_star(f"{prefix}.fsc", result.fsc_blocks())
        write_star(f"{prefix}_img.xmd", {"particles": result.image_columns()})
        write_star(f"{prefix}_log.xmd", {"log": result.log_columns(prefix)})
        write_star(f"{prefix}_ref.xmd", result.class_blocks(prefix))

    def publish(self, result):
        """Write a :class:`TomoResult` as the run's final one; ``R_ref.xmd`` comes last."""
        prefix = self.prefix()
        result.write_volumes(prefix)
        write_star(f"{prefix}.fsc", result.fsc_blocks())
        columns = result.image_columns()
        write_star(f"{prefix}_img.xmd", {"particles": columns})
        write_star(f"{prefix}_ref.xmd", {**dict(result.class_blocks(prefix)), **dict(member_blocks(columns,
                                                                                                   result.classes))})

    def publish_iteration(self, iteration):
        """Make an iteration's outcome, as it is, the run's final one."""
        source, target = self.prefix(iteration), self.prefix()
        tables = read_star(f"{source}_ref.xmd")
        classes, info = dict(tables["classes"].columns), dict(tables["info"].columns)
        count = len(classes["ref"])
        names = [f"_{kind}{k:06d}.mrc" for k in range(1, count + 1) for kind in ("ref", "wedge")]
        for name in (*names, ".fsc", "_img.xmd"):
            with whole_file(f"{target}{name}") as temporary:
                shutil.copyfile(f"{source}{name}", temporary)
        classes["image"] = [f"{target}_ref{k:06d}.mrc" for k in range(1, count + 1)]
        columns = read_star(f"{target}_img.xmd")["particles"].columns
        write_star(f"{target}_ref.xmd", {"classes": classes, "info": info, **dict(member_blocks(columns, count))})


class TomoResult:
    """One iteration's outcome as volumes and tables.

    metadata: the input rows; poses: with shifts in voxels of the input; model, totals: of the iteration (totals None:
    nothing summed); coverage; change: (K,) of the references; info: values of the info block; size: the input's box;
    pixel_size: Å or None; half_of: (N,) shown when halves are persistent, else None.
    """

    def __init__(self, metadata, poses, model, totals, coverage, change, info, size, pixel_size, half_of=None):
        self.metadata, self.poses, self.model, self.totals = metadata, poses, model, totals
        self.change, self.info, self.half_of = change, info, half_of
        self.size, self.pixel_size = size, pixel_size
        self.coverage = coverage
        self.fsc = coverage.correlations(totals)
        # 1/voxel of the input
        self.frequency = model.ball.k / (2 * np.pi) * model.ball.n / size

    @property
    def classes(self):
        return self.model.classes

    def resolved(self):
        """Frequency (K,), 1/voxel of the input, up to which the FSC is above 0.5; 0 where it never is."""
        return resolution.crossing(self.frequency, self.fsc, FSC_THRESHOLD)

    def write_volumes(self, prefix):
        covered, mass = self.totals.coverage.sum(0), self.totals.mass.sum(0)
        for k, vector in enumerate(self.model.averages):
            write_volume(f"{prefix}_ref{k + 1:06d}.mrc", self.model.ball.volumes(vector[None], self.size)[0],
                         self.pixel_size)
            share = self.coverage.volume(covered[k]) / max(mass[k], 1e-9)
            write_volume(f"{prefix}_wedge{k + 1:06d}.mrc", np.clip(share, 0, 1), self.pixel_size)

    def image_columns(self):
        p, columns = self.poses, dict(self.metadata.columns)
        rot, tilt, psi = euler_angles(p.matrices)
        columns.update(angleRot=rot, angleTilt=tilt, anglePsi=psi, shiftX=p.shifts[:, 0], shiftY=p.shifts[:, 1],
                       shiftZ=p.shifts[:, 2], ref=p.ref + 1, logLikelihood=p.log_likelihood,
                       pMax=np.minimum(p.peak, 1), classProbability=np.minimum(p.class_probability, 1))
        columns.setdefault("missingRegionNumber", np.ones(len(rot), int))
        if self.half_of is not None:
            columns["halfSet"] = self.half_of + 1
        return columns

    def class_blocks(self, prefix):
        """Blocks ``classes`` and ``info``, as (name, columns)."""
        count, resolved = self.classes, self.resolved()
        known = (resolved > 0) & bool(self.pixel_size)
        yield "classes", {
            "ref": np.arange(1, count + 1),
            "image": [f"{prefix}_ref{k:06d}.mrc" for k in range(1, count + 1)],
            "enabled": np.ones(count, int),
            "weight": self.model.fractions,
            "classCount": np.bincount(self.poses.ref[self.poses.ref >= 0], minlength=count),
            "signalChange": 1000 * self.change,
            "resolution": np.where(known, (self.pixel_size or 1) / np.where(resolved > 0, resolved, 1), UNKNOWN),
        }
        yield "info", {name: [value] for name, value in self.info.items()}

    def fsc_blocks(self):
        frequency = self.frequency / (self.pixel_size or 1)
        for k, curve in enumerate(self.fsc):
            yield f"class_{k + 1:06d}", {"resolutionFreqFourier": frequency, "resolutionFRC": curve}

    def log_columns(self, prefix):
        labels = ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset", "iterationNumber")
        return {**{label: [self.info[label]] for label in labels},
                "imageMetaData": [f"{prefix}_img.xmd"], "referenceMetaData": [f"{prefix}_ref.xmd"]}


def member_blocks(columns, classes):
    """The members of every class as (name, columns)."""
    for k in range(1, classes + 1):
        rows = np.flatnonzero(np.asarray(columns["ref"]) == k)
        yield f"class{k:06d}_images", {
            name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
            for name, column in columns.items()}
