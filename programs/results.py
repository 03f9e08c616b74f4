"""What a classification run has written: the reader that summaries, plots and windows share.

A run is known by its prefix ``<oroot>``: the final result of a 2-D program is ``<oroot>classes.xmd`` and its like,
the result of iteration NNN is ``<oroot>extra/iterNNN/iter_classes.xmd`` and its like (of ml_tomo, see
:mod:`.tomo_results`).  Files appear whole, so a run can be read while it goes on.
"""
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import UserError
from .formats.star import missing_block, read_star

FINAL = None            # in place of an iteration's number: the run's final result
INFO = ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset", "maxres", "changed", "seconds")
PER_CLASS = ("weight", "classCount", "mirrorFraction", "signalChange", "resolution")
CURVES = {"noise": "mlfNoise", "signal": "mlfSignal", "ssnr": "resolutionSSNR", "ctf": "mlfCtf",
          "wiener": "mlfWiener"}

_ITERATION = re.compile(r"iter(\d{3,})$")
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")        # no more numbers than memory holds


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


@dataclass(frozen=True)
class NoiseGroup:
    """Images that share a noise spectrum (MLF2D), and what is known of it; every curve is (M,) over frequency.

    number       : 1, 2, …
    optics_group : number of the optics group that they belong to
    count        : images
    defocus      : (least, largest) in Å; None without CTF
    frequency    : 1/px, rising
    noise        : variance, 1 for white noise of images with deviation 1
    signal       : power of the class averages, in the noise's unit
    ssnr         : spectral signal-to-noise ratio of the average of a class of mean size
    ctf, wiener  : root mean square CTF, and SSNR / (SSNR + 1)
    """
    number: int
    optics_group: int
    count: int
    defocus: tuple
    frequency: np.ndarray
    noise: np.ndarray
    signal: np.ndarray
    ssnr: np.ndarray
    ctf: np.ndarray
    wiener: np.ndarray


class Results:
    """The files of one run, whatever the program.  Tables already read are kept, and read again when changed.

    A sub-class says where files are: every method that raises NotImplementedError here.
    """

    info_labels, class_labels = INFO, PER_CLASS     # of the :class:`History`
    correlation = "FRC"                             # what the averages' resolution comes from

    def __init__(self, oroot):
        self.oroot = str(oroot)
        self._kept = {}

    @property
    def log_file(self):
        """The log that people read."""
        raise NotImplementedError

    def prefix(self, iteration=FINAL):
        """What the names of a result's files begin with."""
        raise NotImplementedError

    def classes_file(self, iteration=FINAL):
        """The file with blocks ``classes`` and ``info``, which is written last."""
        raise NotImplementedError

    def iterations(self):
        """Numbers of the iterations whose result is on disk, rising."""
        raise NotImplementedError

    def checkpoints(self):
        """Numbers of the iterations that the program can go on from, rising."""
        raise NotImplementedError

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
            raise UserError(f"{self.classes_file()}: no such file, and no iterations under {self._place()}")
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

    def history(self, iterations=None):
        """The :class:`History` of these iterations (default: all on disk); UserError when there is none."""
        iterations = self.iterations() if iterations is None else list(iterations)
        if not iterations:
            raise UserError(f"{self._place()}: no iterations yet")
        infos, tables = [self.info(i) for i in iterations], [self.classes(i) for i in iterations]
        count = max(map(len, tables))
        return History(
            np.array(iterations),
            {label: np.array([info.get(label, np.nan) for info in infos], float) for label in self.info_labels},
            {label: np.array([_column(table, label, count) for table in tables]) for label in self.class_labels},
            self.pixel_size(iterations[-1]))

    def _place(self):
        """Where iterations are, for messages."""
        raise NotImplementedError

    def _tables(self, iteration):
        return self._read("classes", iteration, [self.classes_file(iteration)], _classes_and_info)

    def _curve(self, iteration, path, block):
        """(frequencies, correlations) of one class, each (M,); None when the run wrote none."""
        if not path.exists():
            return None
        blocks = self._read("curves", iteration, [path], read_star)
        if block not in blocks:
            raise missing_block(path, block, blocks)
        table = blocks[block]
        return table.numbers("resolutionFreqFourier"), table.numbers("resolutionFRC")

    def _read(self, what, iteration, paths, read):
        """``read(*paths)``, kept until one of the files changes."""
        modified = [_modified(path) for path in paths]
        kept = self._kept.get((what, iteration))
        if kept is None or kept[0] != modified:
            kept = self._kept[what, iteration] = modified, read(*paths)
        return kept[1]


class Run(Results):
    """The files of one run of a 2-D program."""

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

    @property
    def log_file(self):
        return Path(self.oroot + "run.log")

    def prefix(self, iteration=FINAL):
        return self.oroot if iteration is FINAL else f"{self.oroot}extra/iter{iteration:03d}/iter_"

    def classes_file(self, iteration=FINAL):
        return Path(self.prefix(iteration) + "classes.xmd")

    def iterations(self):
        return self._numbers("classes.xmd")

    def checkpoints(self):
        # the first iteration may have been interrupted, and goes on where it was
        begun = [0] if Path(f"{self.oroot}extra/unfinished.npz").exists() else []
        return self._numbers("checkpoint.npz") or begun

    def members(self, iteration, ref):
        """Table of the particles of class ``ref`` (1, 2, …) with their poses; empty for an empty class."""
        block = f"class{ref:06d}_images"
        return read_star(self.classes_file(iteration), [block])[block]

    def frc(self, iteration, ref):
        """(frequencies in 1/px, correlations) of class ``ref``, each (M,); None when the run wrote none."""
        return self._curve(iteration, Path(self.prefix(iteration) + "frc.xmd"), f"class{ref:06d}")

    def has_spectra(self, iteration=FINAL):
        """Whether that result has noise spectra, as those of MLF2D do."""
        return all(path.exists() for path in self._spectra_files(iteration))

    def spectra(self, iteration=FINAL):
        """The run's :class:`NoiseGroup` list at that iteration, by number; empty when the run wrote none (ML2D)."""
        if not self.has_spectra(iteration):
            return []
        return self._read("spectra", iteration, self._spectra_files(iteration), _noise_groups)

    def _place(self):
        return f"{self.oroot}extra"

    def _numbers(self, name):
        """The iterations that have a file of this name."""
        found = Path(self.oroot + "extra").glob(f"iter*/iter_{name}")
        return sorted(int(match[1]) for path in found if (match := _ITERATION.match(path.parent.name)))

    def _spectra_files(self, iteration):
        return [Path(f"{self.prefix(iteration)}{name}.xmd") for name in ("noise", "ssnr")]


def parse_iterations(text):
    """Sorted iteration numbers of a selection such as ``1,3-5 8``; :class:`UserError` when it is not one."""
    numbers = set()
    for part in re.split(r"[,\s]+", re.sub(r"\s*-\s*", "-", text.strip())):
        match = _RANGE.fullmatch(part)
        if not match or int(match[2] or match[1]) < int(match[1]):
            raise UserError(f"'{text}' is no selection of iterations, expected something like 1,3-5")
        numbers.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return sorted(numbers)


def _classes_and_info(path):
    blocks = read_star(path, ["classes", "info"])
    for name, table in blocks.items():
        if not len(table):
            raise UserError(f"{path}: block data_{name} has no rows")
    info = {label: values[0] for label, values in blocks["info"].columns.items()}
    for label, value in info.items():
        if isinstance(value, str):
            raise UserError(f"{path}: _{label} is {value!r}, expected a number")
    return blocks["classes"], info


def _noise_groups(noise_path, ssnr_path):
    groups = read_star(noise_path, ["groups"])["groups"]
    names = [f"ctf{number:06d}" for number in groups["defocusGroup"]]
    spectra = read_star(ssnr_path, names)
    whole = [groups[label] for label in ("defocusGroup", "opticsGroup", "count")]
    defocus = zip(groups.numbers("defocusMin"), groups.numbers("defocusMax"))
    return [NoiseGroup(*map(int, numbers), None if extent == (-1, -1) else extent,
                       spectra[name].numbers("resolutionFreqFourier"),
                       **{curve: spectra[name].numbers(label) for curve, label in CURVES.items()})
            for name, extent, *numbers in zip(names, defocus, *whole)]


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
