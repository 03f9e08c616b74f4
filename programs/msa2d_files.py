"""What a reference-free classification writes: EMAN's files of every cycle, and tables as the other programs'."""
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from . import eman_files
from .engine import image_filters
from .errors import UserError
from .formats.mrc import write_stack
from .formats.star import Rows, write_star
from .geometry import pose_matrix
from .ml2d_files import Result
from .mref_files import MrefFiles, correlation_resolutions

MEMBER = {"itemId", "image", "micrograph", "ref", "anglePsi", "shiftX", "shiftY", "flip", "maxCC", "used"}
OF_A_CYCLE = re.compile(r"(?:allrefs|basis|aliref|simmx|input|classmx|classes|resultmx)_(\d{2,})(?:_proj)?\.hdf")
_FOLDER = re.compile(r"r2d_(\d+)")
OF_THE_START = ("0_refine2d_parms.json", "input_subset.lst", "input_fp.hdf", "input_fp_basis.hdf",
                "input_fp_basis_proj.hdf", "classmx_00.hdf", "classes_init.hdf")


def next_folder(resume=False):
    """r2d_NN with the number after the highest there is; to ``resume``, with the highest itself."""
    names = sorted((int(match[1]), path.name) for path in Path().iterdir() if (match := _FOLDER.fullmatch(path.name)))
    if resume and names:
        return names[-1][1]
    return f"r2d_{names[-1][0] + 1 if names else 1:02d}"


def convention(poses):
    """Poses (N,) of the engine in the convention of :mod:`.geometry`: :class:`.eman_files.Poses`, psi in degrees.

    The engine mirrors y, before the turn; the convention mirrors x, after it.
    """
    psi = (np.rad2deg(poses.psi) + 180 * poses.mirrored) % 360
    turn = pose_matrix(psi, 0, 0, poses.mirrored)[:, :2, :2]
    x, y = -np.einsum("nij,nj->in", turn, poses.place)
    return eman_files.Poses(psi, x, y, poses.mirrored)


class Msa2dFiles(MrefFiles):
    """Names and writes the files in one folder."""

    def check_new(self, resume):
        """:class:`UserError` when there is a run in the folder and it is not to be continued."""
        if self.outdir.exists() and not self.outdir.is_dir():
            raise UserError(f"--path {self.outdir}: is a file, expected a folder, or a new name")
        if not resume and (self.iterations() or (self.outdir / OF_THE_START[0]).exists()):
            raise UserError(f"{self.outdir}: has a run of refine2d already, expected another --path, or --resume to go "
                            "on with it")

    def cycle(self, name, number):
        """Path of a cycle's file, ``YY`` in its name being the number."""
        return self.outdir / name.replace("YY", f"{number:02d}")

    def owns(self, path):
        name = Path(path).name
        inside = Path(path).resolve().parent == self.outdir.resolve()
        return super().owns(path) or (inside and (bool(OF_A_CYCLE.fullmatch(name)) or name in OF_THE_START))

    def forget(self, after=None):
        super().forget(after)
        if not self.outdir.is_dir():
            return
        for path in self.outdir.iterdir():
            number = OF_A_CYCLE.fullmatch(path.name)
            of_start = path.name in OF_THE_START or (number and int(number[1]) == 0)
            if (after is None and (number or of_start)) or (after is not None and number and int(number[1]) > after):
                path.unlink()

    # ---- the start

    def write_parameters(self, options):
        eman_files.write_parameters(self.outdir / OF_THE_START[0],
                                    {name: value for name, value in vars(options).items() if name != "command"},
                                    options.command)

    def write_subset(self, inputs, which):
        eman_files.write_list(self.outdir / "input_subset.lst", inputs.raw.metadata["image"][which])

    def write_features(self, features, shape, principal, coefficients):
        """The invariants (S, F) that first classes come from, their basis and the images' coefficients (S, V).

        shape: of the features as an image; None for mere numbers, which are rows of one image.
        """
        images = features[None] if shape is None else features.reshape(-1, *shape)
        eman_files.write_images(self.outdir / "input_fp.hdf", images)
        shape = shape or (1, features.shape[1])
        eman_files.write_basis(self.outdir / "input_fp_basis.hdf", principal.mean.reshape(shape),
                               principal.components.reshape(-1, *shape), principal.values, principal.shares)
        eman_files.write_projections(self.outdir / "input_fp_basis_proj.hdf", coefficients)

    def write_start(self, inputs, start):
        """classmx_00 and classes_init, of the images that the first classes were made from."""
        averages = start.averages
        eman_files.write_classmx(self.cycle("classmx_YY.hdf", 0), averages.labels, averages.used,
                                 convention(averages.poses))
        self._write_averages(self.outdir / "classes_init.hdf", inputs, averages, start.which, start.images)

    def _write_averages(self, path, inputs, averages, which, images, more=()):
        """which: (U,) numbers of the particles among all; images: (K, n, n) as they are written."""
        count = len(images)
        members = [np.flatnonzero((averages.labels == k) & averages.used) for k in range(count)]
        others = [np.flatnonzero((averages.labels == k) & ~averages.used) for k in range(count)]
        similar = [averages.similarity[rows] for rows in members]
        quality, spread = ([float(measure(some)) if len(some) else 0.0 for some in similar]
                           for measure in (lambda some: -some.mean(), np.std))
        eman_files.write_averages(path, eman_files.Averages(
            images, [which[rows] for rows in members], [which[rows] for rows in others], quality, spread,
            inputs.raw.metadata.path), inputs.pixel_size, more)

    # ---- a cycle

    def write_alignment(self, number, inputs, cycle):
        """Files of a cycle up to its classes.  cycle: :class:`.msa2d.Cycle`."""
        self.check_held()
        size, space = inputs.pixel_size, cycle.subspace
        eman_files.write_images(self.cycle("allrefs_YY.hdf", number), cycle.aligned, cycle.headers, size)
        eman_files.write_basis(self.cycle("basis_YY.hdf", number), space.mean, space.basis, space.values, space.shares,
                               size)
        eman_files.write_images(self.cycle("aliref_YY.hdf", number), cycle.chosen, cycle.chosen_headers, size)
        everybody = Everybody(inputs)
        similarity, poses = cycle.similarity, convention(cycle.similarity_poses)
        table = eman_files.Poses(*(everybody.of(column.reshape(similarity.shape)) for column in vars(poses).values()))
        eman_files.write_simmx(self.cycle("simmx_YY.hdf", number), -everybody.of(similarity), table)
        own = everybody.poses(convention(cycle.poses))
        eman_files.write_projections(self.cycle("input_YY_proj.hdf", number), everybody.of(cycle.coefficients), own)
        eman_files.write_classmx(self.cycle("classmx_YY.hdf", number), everybody.of(cycle.labels, -1),
                                 everybody.of(np.ones(len(cycle.labels))), own)

    def write_iteration(self, number, inputs, averages, result, all_members):
        """A cycle's averages and tables.  all_members: also resultmx."""
        self.check_held()
        more = [{"contrast": float(value)} for value in result.contrast]
        self._write_averages(self.cycle("classes_YY.hdf", number), inputs, averages, inputs.used, result.averages, more)
        if all_members:
            everybody = Everybody(inputs)
            eman_files.write_classmx(self.cycle("resultmx_YY.hdf", number), everybody.of(averages.labels, -1),
                                     everybody.of(averages.used.astype(float)),
                                     everybody.poses(convention(averages.poses)))
        prefix = self.prefix(number)
        write_stack(f"{prefix}classes.mrcs", result.averages, inputs.pixel_size)
        write_star(f"{prefix}frc.xmd", result.frc_blocks())
        write_star(f"{prefix}classes.xmd", result.class_blocks(f"{prefix}classes.mrcs", result.image_columns()))

    def write_particles(self, inputs, averages):
        """Every particle's class and pose, in the order of the input; those left out have class 0."""
        everybody, pose = Everybody(inputs), convention(averages.poses)
        columns = dict(inputs.raw.metadata.columns)
        columns.update({name: everybody.of(column) for name, column in particle_columns(averages, pose).items()})
        if len(inputs.used) < inputs.raw.count:
            columns["enabled"] = (columns["ref"] > 0).astype(int)
        write_star(f"{self.prefix()}images.xmd", {"particles": columns})


class Everybody:
    """Columns of the particles in use as columns of all of them."""

    def __init__(self, inputs):
        self.count, self.used = inputs.raw.count, inputs.used

    def of(self, column, other=0):
        """Column (U, ...) in the rows of the input (N, ...); ``other`` for those left out."""
        out = np.full((self.count, *column.shape[1:]), other, column.dtype)
        out[self.used] = column
        return out

    def poses(self, poses):
        return eman_files.Poses(*(self.of(column) for column in vars(poses).values()))


def particle_columns(averages, pose):
    """Labels and columns (U,) of particles in :class:`.msa2d_averages.ClassAverages`."""
    return {"ref": averages.labels + 1, "anglePsi": pose.psi, "shiftX": pose.shift_x, "shiftY": pose.shift_y,
            "flip": pose.flip, "maxCC": averages.similarity, "used": averages.used.astype(int)}


class Msa2dResult(Result):
    """One cycle's outcome as tables.

    averages: :class:`.msa2d_averages.ClassAverages`; images, halves: (K, n, n), (K, 2, n, n) of them as they are
    written; contrast: (K,); info: values of the info block; mask: (n, n) of the particle.
    """

    def __init__(self, inputs, averages, images, halves, contrast, info, mask):
        self.inputs, self.classes, self.averages = inputs, averages, images
        self.pixel_size, self.contrast, self.info = inputs.pixel_size, contrast, info
        self.pose = convention(averages.poses)
        self.frequency, self.frc, _ = image_filters.shell_correlation(halves[:, 0] * mask, halves[:, 1] * mask)
        self.frc[~(averages.entered > 0).all(1)] = 0
        count = len(images)
        self.change = np.zeros(count)           # not written: averages are turned anew in every cycle
        self.particles = SimpleNamespace(ref=averages.labels)
        flipped = np.bincount(averages.labels, self.pose.flip, minlength=count)
        self.model = SimpleNamespace(references=count, mirror=flipped / np.maximum(averages.members, 1),
                                     scale=np.ones(count))
        self.statistics = SimpleNamespace(class_mass=averages.entered.sum(1))

    def image_columns(self):
        columns = {label: column[self.inputs.used] for label, column in self.inputs.raw.metadata.columns.items()}
        columns.update(particle_columns(self.classes, self.pose))
        return {label: column for label, column in columns.items() if label in MEMBER}

    def class_blocks(self, stack, image_columns):
        labels, used = self.classes.labels, self.classes.used
        count = len(self.averages)
        for name, columns in super().class_blocks(stack, Rows.of(image_columns)):
            if name == "classes":
                del columns["scale"], columns["signalChange"]
                columns["used"] = np.bincount(labels[used], minlength=count)
                scores = np.bincount(labels, self.classes.similarity, minlength=count)
                columns["maxCC"] = scores / np.maximum(columns["classCount"], 1)
                columns["contrast"] = self.contrast
            yield name, columns

    def resolutions(self):
        return correlation_resolutions(self.frequency, self.frc, self.pixel_size)


