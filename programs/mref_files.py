"""What a multi-reference alignment writes: the original's files, and tables as the other programs write them."""
import glob
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from .engine import resolution
from .errors import UserError
from .formats.hdf import hdf_writer
from .formats.mrc import write_stack
from .formats.star import Rows, write_star
from .formats.whole import remove_leftovers, whole_file
from .geometry import pose_matrix
from .ml2d_files import UNKNOWN, Result, RunFiles

WRITTEN_AT_ONCE = 500      # images
MEMBER = {"itemId", "image", "micrograph", "ref", "anglePsi", "shiftX", "shiftY", "flip", "maxCC"}


class MrefFiles(RunFiles):
    """Names and writes the files in one output folder."""

    copied = ("classes.mrcs", "frc.xmd")                        # iterations have their particles in classes.xmd
    made = ("classes.xmd", "images.xmd")

    def __init__(self, outdir):
        super().__init__(f"{outdir}/")
        self.outdir = Path(outdir)

    def check_new(self, resume):
        """:class:`UserError` when the folder is there and nothing is to be continued."""
        if self.outdir.exists() and not resume:
            raise UserError(f"{self.outdir}: exists already, expected a new output folder, or --continue to go on "
                            "with the run in it")

    def aqm(self, iteration):
        """References after an iteration, counted from 1; the file's number counts from 0."""
        return self.outdir / f"aqm{iteration - 1:03d}.hdf"

    @property
    def last_references(self):
        return self.outdir / "multi_ref.hdf"

    def owns(self, path):
        return super().owns(path) or (Path(path).resolve().parent == self.outdir.resolve()
                                      and bool(re.fullmatch(r"(aqm\d+|multi_ref)\.hdf|drm\d+\.txt", Path(path).name)))

    def forget(self, after=None):
        """Remove what an earlier run left after an iteration; all of it without one."""
        super().forget(after)
        self.last_references.unlink(missing_ok=True)
        for path in map(Path, glob.glob(f"{glob.escape(str(self.outdir))}/*")):
            number = re.fullmatch(r"aqm(\d{3,})\.hdf|drm(\d{3,})\d{4}\.txt", path.name)
            if number and (after is None or int(number[1] or number[2]) >= after):
                path.unlink()

    def write_iteration(self, iteration, references, result):
        """The original's files of an iteration and ours.  references: (K, n, n), prepared."""
        self.check_held()
        write_references(self.aqm(iteration), references, result.members(), result.pixel_size)
        for k, curve in enumerate(result.frc):
            lines = "".join(f"{f:12.6f}{c:12.6f}{n:12.1f}\n" for f, c, n in zip(result.frequency, curve, result.pixels))
            with whole_file(self.outdir / f"drm{iteration - 1:03d}{k:04d}.txt") as temporary:
                Path(temporary).write_text(lines)
        prefix = self.prefix(iteration)
        write_stack(f"{prefix}classes.mrcs", result.averages, result.pixel_size)
        write_star(f"{prefix}frc.xmd", result.frc_blocks())
        write_star(f"{prefix}classes.xmd", result.class_blocks(f"{prefix}classes.mrcs", result.image_columns()))

    def write_particles(self, inputs, particles):
        """The particles' classes and poses, in the order of the input."""
        write_star(f"{self.prefix()}images.xmd", {"particles": image_columns(inputs, particles)})


def write_references(path, images, members, pixel_size):
    """References (K, n, n) as EMAN writes them, with the numbers (from 0) of their members."""
    with hdf_writer(path, pixel_size) as out:
        for image, some in zip(images, members):
            out.append(image, {"ave_n": len(some), "n_objects": len(some), "members": some.tolist()})


def write_with_headers(path, inputs, particles):
    """A copy of the particles with their poses and classes in the headers, as EMAN writes them."""
    remove_leftovers(Path(path).parent, str(Path(path)).__eq__)
    source = inputs.raw
    matrices = np.zeros((source.count, 3, 4))
    pose = pose_matrix(particles.psi, particles.shift_x, particles.shift_y, particles.flip)
    matrices[:, :2, :2], matrices[:, :2, 3], matrices[:, 2, 2] = pose[:, :2, :2], pose[:, :2, 2], 1
    with hdf_writer(path, inputs.pixel_size) as out:
        for start in range(0, source.count, WRITTEN_AT_ONCE):
            rows = np.arange(start, min(start + WRITTEN_AT_ONCE, source.count))
            for i, image in zip(rows, source.read(rows)):
                header = {} if inputs.attributes is None else inputs.attributes[i]
                out.append(image, {**header, "xform.align2d": matrices[i], "assign": int(particles.ref[i])})


def check_copy(path, source):
    """:class:`UserError` when a copy would overwrite an input file or cannot be an HDF stack."""
    if not path:
        return
    if not path.endswith(".hdf"):
        raise UserError(f"--write_headers {path}: expected a name that ends in .hdf")
    inputs = {Path(image.partition("@")[2] or image).resolve() for image in source.metadata["image"]}
    if Path(path).resolve() in inputs:
        raise UserError(f"--write_headers {path}: is one of the input stacks, which are never modified; "
                        "expected another name")


def image_columns(inputs, particles):
    """The input's columns with the particles' classes and poses."""
    p = particles
    return {**inputs.raw.metadata.columns, "ref": p.ref + 1, "anglePsi": p.psi, "shiftX": p.shift_x,
            "shiftY": p.shift_y, "flip": p.flip, "maxCC": p.score, "classProbability": p.probability}


class MrefResult(Result):
    """One iteration's outcome as tables.

    inputs: :class:`.mref_input.Inputs`; particles: :class:`.mref.Particles`; averages: (K, n, n);
    weight: (K,) sum of the members' weights; change: (K,) squared change over squared signal of the references;
    curves: frequencies in 1/px, FRC (K, M), pixels (M,); info: values of the info block.
    """

    def __init__(self, inputs, particles, averages, weight, change, curves, info):
        self.inputs, self.pixel_size = inputs, inputs.pixel_size
        self.particles, self.averages, self.change, self.info = particles, averages, change, info
        self.frequency, self.frc, self.pixels = curves
        count = len(averages)
        flipped = np.bincount(particles.ref, particles.flip, minlength=count)
        members = np.bincount(particles.ref, minlength=count)
        self.model = SimpleNamespace(references=count, mirror=flipped / np.maximum(members, 1), scale=np.ones(count))
        self.statistics = SimpleNamespace(class_mass=weight)

    def members(self):
        """Numbers (from 0) of every class's particles, rising."""
        return [np.flatnonzero(self.particles.ref == k) for k in range(len(self.averages))]

    def image_columns(self):
        return image_columns(self.inputs, self.particles)

    def class_blocks(self, stack, image_columns):
        # members' other columns are in images.xmd, once
        image_columns = {label: column for label, column in image_columns.items() if label in MEMBER}
        for name, columns in super().class_blocks(stack, Rows.of(image_columns)):
            if name == "classes":
                del columns["scale"]
                scores = np.bincount(self.particles.ref, self.particles.score, minlength=len(self.averages))
                columns["maxCC"] = scores / np.maximum(columns["classCount"], 1)
            yield name, columns

    def resolutions(self):
        return correlation_resolutions(self.frequency, self.frc, self.pixel_size)


def correlation_resolutions(frequency, curves, pixel_size):
    """Resolution (K,) in Å where curves (K, M) of shells end; -1 where unknown."""
    # the first shell is the images' mean, which says nothing
    cut = resolution.crossing(frequency[1:], curves[:, 1:])
    known = (cut > 0) & bool(pixel_size)
    return np.where(known, (pixel_size or 1) / np.where(cut > 0, cut, 1), UNKNOWN)
