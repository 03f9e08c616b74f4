"""The CTF of every particle, from the columns of its metadata or from Xmipp's CTF files."""
from dataclasses import dataclass

import numpy as np

from .engine.ctf import Ctf
from .errors import UserError
from .formats.labels import RELION
from .formats.metadata import with_our_labels
from .formats.star import missing_block, read_star

LARGEST_PIXEL = 100.0       # Å/px
ASTIGMATISM = 0.5           # of the mean defocus, beyond which it is a mistake
RADIANS = np.pi             # phase shifts that are nowhere larger than this, but not zero, are not in degrees
_RELION_LABEL = {ours: label for label, ours in RELION.items()}
_NO_MODEL = ("", "NULL", "None")


@dataclass(frozen=True)
class _Quantity:
    """One CTF parameter: what it may be, and a unit in which it is often given instead (times: to ours)."""

    label: str
    lowest: float
    highest: float
    unit: str
    other: str = ""
    times: float = np.nan

    @property
    def name(self):
        """The column as messages call it, whichever program wrote it."""
        return f"_{self.label} (_{_RELION_LABEL[self.label]})"

    @property
    def expected(self):
        return f"{self.lowest:g} to {self.highest:g} {self.unit}"

    def looks_like(self, value):
        fits = self.lowest < value * self.times <= self.highest
        return f", which looks like {self.other}" if fits else ""


_DEFOCUS = 50, 200000, "Å, positive for underfocus", "µm", 1e4
_U = _Quantity("ctfDefocusU", *_DEFOCUS)
_V = _Quantity("ctfDefocusV", *_DEFOCUS)
_ANGLE = _Quantity("ctfDefocusAngle", -360, 360, "degrees")
_VOLTAGE = _Quantity("ctfVoltage", 10, 3000, "kV", "volts", 1e-3)
_CS = _Quantity("ctfSphericalAberration", 0, 100, "mm", "µm", 1e-3)
_Q0 = _Quantity("ctfQ0", 0, 1, "(a fraction)", "per cent", 1e-2)
_PHASE = _Quantity("ctfPhaseShift", -360, 360, "degrees")


def read_ctf(source, pixel_size=None):
    """The :class:`Ctf` of every image of an :class:`.formats.images.ImageSource`, in its order.

    pixel_size: Å/px from the user, which goes before the metadata's (see :func:`known_pixel_size`)

    Columns: ctfDefocusU, ctfVoltage, ctfSphericalAberration, ctfQ0 are needed; without ctfDefocusV there is no
    astigmatism, with it ctfDefocusAngle is needed unless U = V; ctfPhaseShift is 0 when absent.  A parameter without
    column comes from the files that column ctfModel names.  Amplitude contrasts are taken without their sign, which
    older versions of Xmipp wrote negative.
    Raises :class:`UserError` naming file and row for what is missing, not a number, absurd or in another unit.
    """
    known_pixel_size(source, pixel_size)
    table = _Parameters(source)
    table.need(_U, _VOLTAGE, _CS, _Q0)
    defocus_u = table.read(_U)
    defocus_v = table.read(_V) if _V in table else defocus_u
    table.check(np.abs(defocus_u - defocus_v) <= ASTIGMATISM * (defocus_u + defocus_v) / 2, lambda i: (
        f"defocus from {defocus_v[i]:g} to {defocus_u[i]:g} Å, expected less astigmatism, at most half the defocus"))
    if (defocus_u != defocus_v).any():
        table.need(_ANGLE)
    nothing = np.zeros(source.count)
    angle = table.read(_ANGLE) if _ANGLE in table else nothing
    phase_shift = table.read(_PHASE) if _PHASE in table else nothing
    if 0 < np.abs(phase_shift).max() <= RADIANS:
        raise UserError(f"{table.path}: {_PHASE.name} is nowhere larger than {np.abs(phase_shift).max():g}, which "
                        "looks like radians, expected degrees")
    return Ctf(defocus_u, defocus_v, angle, table.read(_VOLTAGE), table.read(_CS), table.read(_Q0, np.abs),
               phase_shift)


def known_pixel_size(source, pixel_size=None):
    """Å/px: the user's, else that of the source; :class:`UserError` when there is none or it is absurd."""
    size = pixel_size or source.pixel_size
    path = source.metadata.path
    if size is None:
        raise UserError(f"{path}: the pixel size is not known, expected column _samplingRate (_rlnImagePixelSize) "
                        "in Å/px or option --sampling_rate")
    if not 0 < size <= LARGEST_PIXEL:
        where = "--sampling_rate" if pixel_size else path
        raise UserError(f"{where}: a pixel size of {size:g} Å/px, expected more than 0 and at most "
                        f"{LARGEST_PIXEL:g}; --sampling_rate gives the right one")
    return size


class _Parameters:
    """The CTF parameters that columns give, or else the files named in column ctfModel."""

    def __init__(self, source):
        self.source, self.path = source, source.metadata.path
        self._columns = source.metadata.columns
        self._models = _Models(source) if "ctfModel" in source.metadata else None

    def __contains__(self, quantity):
        return quantity.label in self._columns or self._in_models(quantity)

    def need(self, *quantities):
        missing = [quantity for quantity in quantities if quantity not in self]
        if missing:
            what = ", ".join(f"{quantity.name}: {quantity.expected}" for quantity in missing)
            raise UserError(f"{self.path}: the CTF is not complete, expected also {what}; "
                            "--no_ctf does without the CTF")

    def read(self, quantity, convert=np.asarray):
        """The values (n,), checked."""
        from_models = quantity.label not in self._columns
        values = self._models.values(quantity.label) if from_models else self._columns[quantity.label]
        values = convert(values.astype(np.float64))

        def fault(i):
            where = f" in {self._models.file(i)}" if from_models else ""
            return (f"{quantity.name} is {values[i]:.10g}{where}{quantity.looks_like(values[i])}, "
                    f"expected {quantity.expected}")

        self.check((values >= quantity.lowest) & (values <= quantity.highest), fault)       # neither holds for NaN
        return values

    def check(self, good, fault):
        """:class:`UserError` for the first image that is not good (n,): ``fault(index)`` says why."""
        bad = np.flatnonzero(~good)
        if len(bad):
            others = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
            raise UserError(f"{self.path}: {self.source.names(bad[:1])[0]}: {fault(bad[0])}{others}")

    def _in_models(self, quantity):
        return self._models is not None and quantity.label in self._models


class _Models:
    """Xmipp's files of CTF parameters (.ctfparam), one per micrograph, that the rows name."""

    def __init__(self, source):
        self._source, self._names = source, {}      # name as written -> its place
        written = source.metadata["ctfModel"]
        self._of = np.fromiter((self._names.setdefault(name, len(self._names)) for name in written), int, len(written))
        self._files, self._rows = [], None

    def __contains__(self, label):
        return any(label in row for row in self._read())

    def values(self, label):
        """(n,) what every image's file says, NaN where it says nothing."""
        return np.array([row.get(label, np.nan) for row in self._read()], np.float64)[self._of]

    def file(self, image):
        return self._files[self._of[image]]

    def _read(self):
        """Of every file: label -> value."""
        if self._rows is None:
            first = np.unique(self._of, return_index=True)[1]
            self._rows = [self._read_one(name, i) for name, i in zip(self._names, first)]
        return self._rows

    def _read_one(self, name, image):
        if name in _NO_MODEL:
            raise UserError(f"{self._source.metadata.path}: {self._source.names([image])[0]}: _ctfModel is {name!r}, "
                            "expected a file of CTF parameters")
        block, _, path = name.rpartition("@")
        self._files.append(path := self._source.find(path, image))
        tables = read_star(path)
        if block and block not in tables:
            raise missing_block(path, block, tables)
        columns = with_our_labels(tables[block] if block else next(iter(tables.values())))
        # one column that is text, such as the names of pictures, is no parameter
        return {label: values[0] for label, values in columns.items() if len(values) and values.dtype != object}
