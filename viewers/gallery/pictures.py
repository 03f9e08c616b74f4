"""What a gallery can show: images, each with numbers, a caption and perhaps members.  No Qt here.

Every kind is a sub-class of :class:`Pictures`; volumes are in :mod:`..tomo.volumes`.
"""
from pathlib import Path
from typing import Callable, NamedTuple

import numpy as np

from ...programs.errors import UserError
from ...programs.formats.images import ImageSource, open_images
from ...programs.formats.star import MetaData
from ...programs.results import FINAL, Run
from . import imaging

ALWAYS = ("number", "particles", "share", "resolution")      # columns of classes, whether known or not
SAMPLE = 100        # images looked at to choose grey levels that suit all


class Column(NamedTuple):
    """Numbers of all items: label, values (rows,), text of one value, whether the largest sorts first."""
    label: str
    values: np.ndarray
    text: Callable
    descending: bool = True


class Caption(NamedTuple):
    """Texts below a thumbnail; of ``right`` and ``below`` the first that fits is shown.  faded: dimmed."""
    strong: str
    right: tuple = ()
    below: tuple = ()
    faded: bool = False


class Pictures:
    """Images with numbers beside them.

    source  : :class:`ImageSource` of the images
    columns : key -> :class:`Column`, what can be sorted by and is saved to tables
    keys    : what identifies the items when another result of the same run is shown, one per item
    aspect  : width of the images over their height
    """
    has_members, aspect, unit = False, 1, "images"

    def __init__(self, title, source, columns, keys):
        self.title, self.source, self.columns, self.keys = title, source, columns, list(keys)
        self.pixel_size = source.pixel_size

    def __len__(self):
        return self.source.count

    def image(self, item):
        """float32 (n, n)"""
        return self.source.read(slice(item, item + 1))[0]

    def levels(self):
        """Grey levels that suit all images, from a sample of them."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(int))
        return imaging.contrast(list(self.source.read(rows)))

    def order(self, key, descending):
        """Items sorted by a column; those without a number come last, equal ones keep their order."""
        values = np.asarray(self.columns[key].values, float)
        rank = np.where(np.isnan(values), np.inf, -values if descending else values)
        return np.argsort(rank, kind="stable")

    def numbers(self, item):
        """(label, text) of every column but the number, for the details."""
        return [(column.label, column.text(column.values[item]))
                for key, column in self.columns.items() if key != "number"]

    def describe(self, item):
        """One text with all numbers, for a tool tip."""
        return "\n".join(f"{label}: {text}" for label, text in self.numbers(item))

    def subtitle(self):
        return ", ".join([f"{len(self):,} {self.unit if len(self) > 1 else self.unit[:-1]}", *_geometry(self.source)])

    def summary(self, items):
        """What the selected items amount to, in words."""
        return f"{len(items):,} of {len(self):,} selected"

    def name(self, item):
        return f"Image {self.keys[item]}"

    def caption(self, item):
        return Caption(str(self.keys[item]))

    def frc(self, item):
        return None

    def members(self, item):
        return None


class FilePictures(Pictures):
    """The images of any stack or metadata file."""
    default_sort = "number"

    def __init__(self, path):
        source = open_images(path)
        super().__init__(Path(path).name, source, varying_columns(source), source.rows)


class RunPictures(Pictures):
    """The class averages of one result of a run, images or volumes: a base class.

    run : a :class:`~mlalign.programs.results.Results`
    """
    default_sort = "particles"
    open_source = None          # the class of the averages' source, for sub-classes to say

    def __init__(self, run, iteration):
        self.run, self.iteration = run, iteration
        table = run.classes(iteration)
        if not len(table):
            raise UserError(f"{table.path}: the block data_classes has no rows")
        columns = {label: values for label, values in table.columns.items() if label != "enabled"}
        self.refs = table["ref"]
        super().__init__(Path(run.oroot).name.rstrip("_-.") or Path(run.oroot).parent.name or run.oroot,
                         self.open_source(MetaData(columns, table.path), Path(table.path).parent),
                         _class_columns(table), self.refs)
        self.pixel_size = run.pixel_size(iteration) or self.source.pixel_size
        self.share = self.columns["share"].values

    def at(self, iteration):
        """The same run's pictures at another iteration (or FINAL)."""
        return type(self)(self.run, iteration)

    def subtitle(self):
        particles = int(self.columns["particles"].values.sum())
        return ", ".join([f"{len(self)} classes", f"{particles:,} particles",
                          *_geometry(self.source, self.pixel_size)])

    def summary(self, items):
        particles, share = self.columns["particles"], self.columns["share"]
        return (f"{super().summary(items)}: {particles.text(particles.values[items].sum())} particles "
                f"({share.text(share.values[items].sum())})")

    def name(self, item):
        return f"Class {self.refs[item]}"

    def caption(self, item):
        particles = int(self.columns["particles"].values[item])
        resolution = self.columns["resolution"]
        right = (resolution.text(resolution.values[item]),) if resolution.values[item] > 0 else ()
        share = self.columns["share"].text(self.share[item])
        below = (f"{particles:,}  ·  {share}", f"{particles:,}")
        return Caption(str(self.refs[item]), right, below, faded=particles == 0 and self.share.any())


class ClassPictures(RunPictures):
    """The class averages of one result of a :class:`~mlalign.programs.results.Run`."""
    has_members = True
    open_source = ImageSource

    def frc(self, item):
        return self.run.frc(self.iteration, int(self.refs[item]))

    def members(self, item):
        table = self.run.members(self.iteration, int(self.refs[item]))
        return MemberPictures(table, self.pixel_size) if len(table) else None


class MemberPictures(Pictures):
    """Particles in the frame of their class average.

    table  : rows with image, anglePsi, shiftX, shiftY, flip
    period : of the low-pass filter, px; 0 for none
    """
    LABELS = ("anglePsi", "shiftX", "shiftY", "flip", "pMax", "logLikelihood", "classProbability",
              "defocusGroup")

    def __init__(self, table, pixel_size=None, period=0):
        numbers = {label: table.numbers(label) for label in self.LABELS if label in table}
        columns = {label: Column(label, values, "{:.6g}".format) for label, values in numbers.items()}
        source = ImageSource(table, Path(table.path).parent)
        keys = source.metadata["itemId"] if "itemId" in table else source.rows
        super().__init__("Members", source, columns, keys)
        self.poses = np.column_stack([source.metadata.numbers(label) for label in self.LABELS[:4]])
        self.pixel_size, self.period = pixel_size, period

    def name(self, item):
        return f"Particle {self.keys[item]}"

    def describe(self, item):
        return f"{self.name(item)}\n{super().describe(item)}"

    def image(self, item):
        image = super().image(item)
        if self.period:
            image = imaging.low_pass(image, self.period)
        return imaging.align(image, *self.poses[item])


def open_pictures(path):
    """(pictures, run) of a file: a run's classes for its ``…classes.xmd``, else the file's images and None.

    The final ``…classes.xmd`` of a run that has not ended stands for its newest iteration.
    Raises :class:`UserError`.
    """
    found = Run.of_file(path)
    if found is None:
        return FilePictures(path), None
    run, iteration = found
    return ClassPictures(run, run.newest() if iteration is FINAL else iteration), run


def varying_columns(source):
    """Columns of a file's images or volumes: their number, and the numbers that differ between them."""
    columns = {"number": Column("Number", source.rows, str, descending=False)}
    for label, values in source.metadata.columns.items():
        if values.dtype != object and label not in ("itemId", "enabled") and values.min() != values.max():
            columns[label] = Column(label, values, "{:.6g}".format)
    return columns


def _class_columns(table):
    count = len(table)

    def column(label, default=np.nan):
        return table.numbers(label) if label in table else np.full(count, default)

    weight = column("weight")
    particles = column("classCount") if "classCount" in table else np.nan_to_num(np.round(weight))
    resolution = column("resolution")
    columns = {
        "number": Column("Number", table["ref"], str, descending=False),
        "particles": Column("Particles", particles, lambda value: f"{value:,.0f}"),
        "share": Column("Share", particles / max(particles.sum(), 1), lambda value: f"{100 * value:.1f} %"),
        "resolution": Column("Resolution", np.where(resolution > 0, resolution, np.nan),
                             lambda value: f"{value:.1f} Å" if value > 0 else "unknown", descending=False),
        "weight": Column("Weight", weight, "{:,.1f}".format),
        "mirrorFraction": Column("Mirrored", column("mirrorFraction"), lambda value: f"{100 * value:.0f} %"),
        "maxCC": Column("Correlation", column("maxCC"), "{:.3f}".format),
        "signalChange": Column("Signal change", column("signalChange") / 1000, "{:.2g}".format),
    }
    return {key: column for key, column in columns.items()
            if key in ALWAYS or not np.isnan(column.values).all()}


def _geometry(source, pixel_size=None):
    """Box and pixel size in words."""
    pixel_size = pixel_size or source.pixel_size
    return [f"{source.size} px", *([f"{pixel_size:.3g} Å/px"] if pixel_size else [])]
