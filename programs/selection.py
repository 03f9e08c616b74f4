"""The work of select: choose classes of a run, and write their members, averages and scores."""
from pathlib import Path

import numpy as np

from .centring import centring_shift, moved, moved_poses
from .errors import UserError
from .formats.images import ImageSource
from .formats.mrc import write_stack, write_volume_stack
from .formats.star import MetaData, write_star
from .formats.volumes import VolumeSource
from .members import particles_of
from .ml2d_files import RunFiles
from .ranking import WEIGHTS, rank
from .results import FINAL, Run, parse_iterations
from .select import THRESHOLD
from .tomo_files import TomoFiles
from .tomo_results import TomoRun

METADATA, STACKS = (".star", ".xmd"), (".mrcs", ".mrc")


def run(arguments):
    """Rank the classes, choose, print the table, and write what is asked for."""
    found, iteration = open_run(arguments.run, arguments.iteration)
    ranking = rank(found, iteration)
    chosen = choose(ranking, arguments.classes, arguments.score, arguments.min_size)
    result = Selection(found, iteration, chosen, arguments.recenter)
    _check_outputs(arguments, result)
    tables = {path: table() for path, table in ((arguments.output, result.members),
                                                (arguments.rejected, result.rejected)) if path}
    lines = table_lines(ranking, chosen, result.shifts if arguments.recenter else None, result.pixel_size)
    print("\n".join([*lines, *ranking.notes]))
    for path, table in tables.items():
        write_star(path, {"particles": table})
    if arguments.averages:
        result.write_averages(arguments.averages)
    counts = np.isin(ranking.refs, chosen)
    print(f"{len(chosen)} of {len(ranking.refs)} classes with {ranking.sizes[counts].sum()} of {ranking.sizes.sum()} "
          f"particles{_written(arguments)}")


# ---- which classes

def open_run(path, number=None):
    """(run, iteration) that the ``classes.xmd`` or ``ref.xmd`` of a run or an iteration names.

    number: of another iteration.  Without it the final result stands for the newest while there is none.
    """
    named = Run.of_file(path) or TomoRun.of_file(path)
    if named is None:
        raise UserError(f"{path}: expected the classes.xmd of a run, or the ref.xmd of a run of ml_tomo")
    found, iteration = named
    there = found.iterations()
    if number is not None:
        if number not in there:
            raise UserError(f"--iteration {number}: {found.oroot} has no such iteration; there are "
                            + (f"{there[0]} to {there[-1]}" if there else "none"))
        return found, number
    return found, found.newest() if iteration is FINAL else iteration


def choose(ranking, classes="", score=None, min_size=1):
    """Numbers (M,) of the classes that are listed in ``classes``, or else score enough, and have ``min_size`` members.

    classes: text such as ``1,4,7-9``; score: None is :data:`THRESHOLD`.  :class:`UserError` when none is left, and for
    a class that there is not.
    """
    if classes:
        chosen = np.array(parse_classes(classes))
        missing = [str(ref) for ref in chosen if ref not in ranking.refs]
        if missing:
            raise UserError(f"no class {', '.join(missing)}; there are {ranking.refs.min()} to {ranking.refs.max()}")
        said = f"of the classes {classes}"
    else:
        score = THRESHOLD if score is None else score
        chosen, said = ranking.chosen(score), f"that scores {score:g} or more"
    least = max(min_size, 1)
    large = np.intersect1d(chosen, ranking.refs[ranking.sizes >= least])
    if not len(large):
        raise UserError(f"no class {said} has {least} or more particles; the highest score is "
                        f"{ranking.score.max():.2f}, the largest class has {ranking.sizes.max()} particles")
    return large


def parse_classes(text):
    """Sorted numbers of a list of classes such as ``1,4,7-9``; :class:`UserError` when it is not one."""
    try:
        return parse_iterations(text)
    except UserError:
        raise UserError(f"'{text}' is no list of classes, expected something like 1,4,7-9") from None


# ---- what belongs to them

class Selection:
    """The members and averages of some classes of one result of a run.

    chosen : their numbers
    shifts : {number: (2,) or (3,)} px by which each class's average is moved, see :mod:`.centring`; zeros without
        ``recenter``
    """

    def __init__(self, run, iteration, chosen, recenter=False):
        self.run, self.iteration, self.chosen = run, iteration, np.sort(np.asarray(chosen))
        self.source_type = VolumeSource if isinstance(run, TomoRun) else ImageSource
        classes = run.classes(iteration)
        self._refs = classes["ref"]
        self._averages = self._source(MetaData({"image": classes["image"]}, classes.path))
        self.pixel_size = run.pixel_size(iteration) or self._averages.pixel_size
        self._particles = None
        self.recenter = recenter
        self.shifts = {int(ref): centring_shift(self._average(ref)) if recenter else
                       np.zeros(self._averages.dimensions) for ref in self.chosen}

    def particles(self):
        """The run's particles, with their images named from the current folder."""
        if self._particles is None:
            table = particles_of(self.run, self.iteration)
            source = self._source(table)        # enabled rows: all, as a run has only such
            self._particles = source.metadata
        return self._particles

    def members(self):
        """The table of the members of the chosen classes, with poses in the frames of the moved averages."""
        table = self.particles()
        table = table.take(np.isin(table["ref"], self.chosen))
        if not self.recenter:
            return table
        shifts = np.array([self.shifts[int(ref)] for ref in table["ref"]])
        return MetaData({**table.columns, **moved_poses(table.columns, shifts)}, table.path)

    def rejected(self):
        """The table of all other particles."""
        table = self.particles()
        rest = ~np.isin(table["ref"], self.chosen)
        if not rest.any():
            raise UserError("--rejected: no particle is rejected, all classes that have any were chosen")
        return table.take(rest)

    def averages(self):
        """The chosen averages (M, n, n[, n]), moved."""
        return np.stack([moved(self._average(ref), self.shifts[int(ref)]) if self.recenter else self._average(ref)
                         for ref in self.chosen])

    def write_averages(self, path):
        write = write_volume_stack if self._averages.dimensions == 3 else write_stack
        write(path, self.averages(), self.pixel_size)

    def inputs(self):
        """Paths of all files that this is read from."""
        named = {*self._averages.metadata["image"], *self.particles()["image"]}
        return {Path(image.partition("@")[2] or image).resolve() for image in named}

    def _average(self, ref):
        row = int(np.flatnonzero(self._refs == ref)[0])
        return self._averages.read(slice(row, row + 1))[0]

    def _source(self, table):
        return self.source_type(table, Path(table.path).parent)


# ---- what is printed and checked

def table_lines(ranking, chosen, shifts=None, pixel_size=None):
    """The scores of all classes, the best first: lines of a table.  shifts: {number: shift} or None."""
    unit = "Å" if pixel_size else "px"
    heads = ["class", "particles", f"trusted to ({unit})", *WEIGHTS, "score", ""]
    rows = [heads if shifts is None else [*heads, "moved by (px)"]]
    for k in sorted(range(len(ranking.refs)), key=lambda k: (-ranking.score[k], ranking.refs[k])):
        ref = int(ranking.refs[k])
        finest = ranking.resolution[k]
        row = [str(ref), str(ranking.sizes[k]), f"{(pixel_size or 1) / finest:.1f}" if finest > 0 else "-",
               *(_shown(ranking.parts[name][k]) for name in WEIGHTS), f"{ranking.score[k]:.2f}",
               "chosen" if ref in chosen else "rejected"]
        if shifts is not None:
            row.append(" ".join(f"{along:.2f}" for along in shifts[ref]) if ref in shifts else "-")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(word.rjust(width) for word, width in zip(row, widths)).rstrip() for row in rows]


def _shown(value):
    return "-" if np.isnan(value) else f"{value:.2f}"


def _written(arguments):
    files = [path for path in (arguments.output, arguments.rejected, arguments.averages) if path]
    return f": {', '.join(files)}" if files else ""


def _check_outputs(arguments, result):
    """:class:`UserError` for outputs of the wrong kind, equal ones, and those that the run or its input consist of."""
    outputs = {"-o": (arguments.output, METADATA), "--rejected": (arguments.rejected, METADATA),
               "--averages": (arguments.averages, STACKS)}
    outputs = {option: found for option, found in outputs.items() if found[0]}
    if arguments.recenter and not {"-o", "--averages"} & outputs.keys() and outputs:
        raise UserError("--recenter: changes nothing in the rejected particles, expected -o or --averages, too")
    owner = (TomoFiles if isinstance(result.run, TomoRun) else RunFiles)(result.run.oroot)
    inputs, seen = result.inputs() if outputs else set(), {}
    for option, (path, endings) in outputs.items():
        if Path(path).suffix.lower() not in endings:
            raise UserError(f"{option} {path}: expected a name that ends in {' or '.join(endings)}")
        place = Path(path).resolve()
        if place in inputs or owner.owns(path):
            raise UserError(f"{option} {path}: is a file of the run or of its input, which are never modified; "
                            "expected another name")
        if place in seen:
            raise UserError(f"{option} {path}: is {seen[place]} as well, expected another name")
        seen[place] = option
