"""What a gallery of classes shows, of runs; those in Scipion's sets are in :mod:`.scipion_sets`.  No Qt here."""
from pathlib import Path

import numpy as np

from ...programs.errors import UserError
from ...programs.formats.images import ImageSource
from ...programs.formats.star import MetaData, read_star
from ...programs.results import FINAL, Run
from .columns import Column, Computed, class_columns
from .pictures import IN_CAPTIONS, Caption, FilePictures, MemberPictures, Pictures, geometry, joined


class Classes(Pictures):
    """Class averages, images or volumes, with their sizes: a base class.

    table : their rows, with ``ref``, ``image``, and labels as in a run's block ``classes``
    """
    default_sort, contents, filter_example = "particles", "classes", "particles > 50 and resolution < 12"
    open_source = None          # the class of the averages' source, for sub-classes to say

    def __init__(self, title, table):
        columns = {label: values for label, values in table.columns.items() if label != "enabled"}
        self.refs = table["ref"]
        super().__init__(title, self.open_source(MetaData(columns, table.path), Path(table.path).parent),
                         class_columns(table), self.refs)
        self.share = self.columns["share"].values

    def subtitle(self):
        particles = int(self.columns["particles"].values.sum())
        return ", ".join([f"{len(self)} classes", f"{particles:,} particles",
                          *geometry(self.source, self.pixel_size)])

    def summary(self, items):
        particles, share = self.columns["particles"], self.columns["share"]
        return (f"{super().summary(items)}: {particles.text(particles.values[items].sum())} particles "
                f"({share.text(share.values[items].sum())})")

    def name(self, item):
        return f"Class {self.refs[item]}"

    def caption(self, item):
        particles = int(self.columns["particles"].values[item])
        key = self.told if self.told in self.columns and self.told not in IN_CAPTIONS else "resolution"
        told = self.columns[key]
        right = () if np.isnan(told.values[item]) else (told.text(told.values[item]),)
        share = self.columns["share"].text(self.share[item])
        below = (f"{particles:,}  ·  {share}", f"{particles:,}")
        if self.centred:
            moved = f"moved {self._moved(item)}"
            below = (f"{particles:,}  ·  {moved}", moved, *below)
        return Caption(str(self.refs[item]), right, below, faded=particles == 0 and self.share.any())

    def particles(self, items):
        return joined(self.member_tables(items))

    def member_tables(self, items):
        """The table of every item's members."""
        raise NotImplementedError


class RunPictures(Classes):
    """The class averages of one result of a run, images or volumes: a base class.

    run : a :class:`~mlalign.programs.results.Results`
    """
    has_development = True

    def __init__(self, run, iteration):
        self.run, self.iteration, self.ranking = run, iteration, None
        table = run.classes(iteration)
        if not len(table):
            raise UserError(f"{table.path}: the block data_classes has no rows")
        super().__init__(Path(run.oroot).name.rstrip("_-.") or Path(run.oroot).parent.name or run.oroot, table)
        self.pixel_size = run.pixel_size(iteration) or self.source.pixel_size

    def _computed(self):
        return {"score": Computed("Score", self._score), **super()._computed()}

    def usual(self, key):
        from ...programs.ranking import THRESHOLD
        return THRESHOLD if key == "score" else super().usual(key)

    def _score(self):
        from ...programs.ranking import rank  # late: no first paint has to wait for what it needs
        self.ranking = rank(self.run, self.iteration)
        scores = [self.ranking.of(ref) for ref in self.refs]
        return Column("Score", np.array(scores), lambda value: f"{value:.2f}")

    def numbers(self, item):
        told = super().numbers(item)
        if self.ranking is not None:
            place = int(np.flatnonzero(self.ranking.refs == self.refs[item])[0])
            parts = {name: values[place] for name, values in self.ranking.parts.items() if not np.isnan(values[place])}
            told.append(("made of", "\n".join(f"{name} {value:.2f}" for name, value in parts.items())))
        return told

    def at(self, iteration):
        """The same run's pictures at another iteration (or FINAL), shown alike."""
        other = type(self)(self.run, iteration)
        other.centred = self.centred
        return other

    def development(self, item):
        """A class at all results of its run: a :class:`.development.Development`."""
        from .development import Development
        return Development(self, item)

    def member_tables(self, items):
        return [self.run.members(self.iteration, int(self.refs[item])) for item in items]


class ClassPictures(RunPictures):
    """The class averages of one result of a :class:`~mlalign.programs.results.Run`."""
    has_members = True
    open_source = ImageSource

    def frc(self, item):
        return self.run.frc(self.iteration, int(self.refs[item]))

    def member_tables(self, items):
        names = [f"class{int(self.refs[item]):06d}_images" for item in items]
        blocks = read_star(self.run.classes_file(self.iteration), names)
        return [blocks[name] for name in names]

    def members(self, item):
        return members_of(self, item)


def members_of(pictures, item):
    """The :class:`.pictures.MemberPictures` of a class of images, None for an empty one."""
    table, = pictures.member_tables([item])
    if not len(table):
        return None
    return MemberPictures(table, pictures.pixel_size, centre=pictures.centre(item) if pictures.centred else (0, 0))


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
