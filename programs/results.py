"""What a classification run has written: the reader that summaries, plots and windows share.

A run is known by its prefix ``<oroot>``: the final result is ``<oroot>classes.xmd`` and its like, the result
of iteration NNN is ``<oroot>extra/iterNNN/iter_classes.xmd`` and its like.  Files appear whole, so a run can
be read while it goes on.
"""
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError
from .formats.star import read_star

FINAL = None            # in place of an iteration's number: the run's final result
INFO = ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset", "maxres", "changed", "seconds")
PER_CLASS = ("weight", "classCount", "mirrorFraction", "signalChange", "resolution")

_ITERATION = re.compile(r"iter(\d{3,})$")


@dataclass(frozen=True)
class History:
    """What the iterations of a run reported; NaN where a file does not say.

    iterations : (T,) int
    info       : label of :data:`INFO` -> (T,)
    classes    : label of :data:`PER_CLASS` -> (T, K), class k + 1 in column k
    pixel_size : Å/px, or None when unknown
    """
    iterations: np.ndarray
    info: dict
    classes: dict
    pixel_size: float = None


class Run:
    """The files of one run.  Tables already read are kept, and read again when their file has changed."""

    def __init__(self, oroot):
        self.oroot = str(oroot)
        self._kept = {}

    @classmethod
    def of_file(cls, path):
        """(run, iteration) of a ``…classes.xmd``, there or still to come; None for any other file."""
        path = Path(path)
        if not path.name.endswith("classes.xmd") or "@" in path.parts[0]:
            return None
        numbered = _ITERATION.match(path.parent.name)
        if path.name == "iter_classes.xmd" and numbered and path.parent.parent.name.endswith("extra"):
            return cls(str(path.parent.parent)[:-len("extra")]), int(numbered[1])
        return cls(str(path)[:-len("classes.xmd")]), FINAL

    def prefix(self, iteration=FINAL):
        """What the names of a result's files begin with."""
        return self.oroot if iteration is FINAL else f"{self.oroot}extra/iter{iteration:03d}/iter_"

    def classes_file(self, iteration=FINAL):
        return Path(self.prefix(iteration) + "classes.xmd")

    def iterations(self):
        """Numbers of the iterations whose result is on disk, rising."""
        folders = Path(self.oroot + "extra").glob("iter*/iter_classes.xmd")
        return sorted(int(match[1]) for folder in folders if (match := _ITERATION.match(folder.parent.name)))

    def results(self):
        """All there is to look at, in order: iterations, then FINAL unless a later iteration outdates it."""
        found = self.iterations()
        final = _modified(self.classes_file())
        if final and (not found or final >= _modified(self.classes_file(found[-1]))):
            found.append(FINAL)
        return found

    def newest(self):
        """The last of :meth:`results`; a :class:`UserError` when there is none."""
        found = self.results()
        if not found:
            raise UserError(f"{self.classes_file()}: no such file, and no iterations under {self.oroot}extra")
        return found[-1]

    def classes(self, iteration=FINAL):
        """Table of the classes (block ``classes``): a :class:`~mlalign.programs.formats.star.MetaData`."""
        return self._tables(iteration)[0]

    def info(self, iteration=FINAL):
        """The run's numbers at that iteration (block ``info``): dict of label -> number."""
        return self._tables(iteration)[1]

    def pixel_size(self, iteration=FINAL):
        """Å/px, or None when the run does not know."""
        size = self.info(iteration).get("samplingRate", -1)
        return float(size) if size > 0 else None

    def members(self, iteration, ref):
        """Table of the particles of class ``ref`` (1, 2, …) with their poses; empty for an empty class."""
        block = f"class{ref:06d}_images"
        return read_star(self.classes_file(iteration), [block])[block]

    def frc(self, iteration, ref):
        """(frequencies in 1/px, correlations) of class ``ref``, each (M,); None when the run wrote none."""
        path, block = Path(self.prefix(iteration) + "frc.xmd"), f"class{ref:06d}"
        if not path.exists():
            return None
        table = read_star(path, [block])[block]
        return table.numbers("resolutionFreqFourier"), table.numbers("resolutionFRC")

    def history(self, iterations=None):
        """The :class:`History` of these iterations (default: all on disk); UserError when there is none."""
        iterations = self.iterations() if iterations is None else list(iterations)
        if not iterations:
            raise UserError(f"{self.oroot}extra: no iterations yet")
        infos, tables = [self.info(i) for i in iterations], [self.classes(i) for i in iterations]
        count = max(map(len, tables))
        return History(
            np.array(iterations),
            {label: np.array([info.get(label, np.nan) for info in infos], float) for label in INFO},
            {label: np.array([_column(table, label, count) for table in tables]) for label in PER_CLASS},
            self.pixel_size(iterations[-1]))

    def _tables(self, iteration):
        path = self.classes_file(iteration)
        modified = _modified(path)
        kept = self._kept.get(iteration)
        if kept is None or kept[0] != modified:
            blocks = read_star(path, ["classes", "info"])
            info = {label: values[0] for label, values in blocks["info"].columns.items()}
            kept = self._kept[iteration] = modified, blocks["classes"], info
        return kept[1:]


def parse_iterations(text):
    """Sorted iteration numbers of a selection such as ``1,3-5 8``; :class:`UserError` when it is not one."""
    numbers = set()
    for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip())):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"'{text}' is no selection of iterations, expected something like 1,3-5")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def _modified(path):
    """Time of the last change in ns, 0 when there is no such file."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _column(table, label, count):
    values = np.full(count, np.nan)
    if label in table:
        values[:len(table)] = table.numbers(label)
    return values
