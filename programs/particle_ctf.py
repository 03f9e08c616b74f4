"""The CTF of every particle, from the columns of its metadata or from Xmipp's CTF files."""
from dataclasses import dataclass

import numpy as np

from .engine.ctf import Ctf
from .errors import UserError
from .formats.labels import RELION
from .formats.metadata import with_our_labels
from .formats.star import missing_block, read_star

LARGEST_PIXEL = 100.0       # Å/px
ASTIGMATISM = 0.5           # of the mean defocus; more is a mistake
_RELION_LABEL = {ours: label for label, ours in RELION.items()}
_NO_MODEL = ("", "NULL", "None")


@dataclass(frozen=True)
class _Parameter:
    """What a CTF parameter may be, and the unit in which it is often given by mistake (``factor``: from it to ours)."""

    label: str
    lowest: float
    highest: float
    expected: str
    mistaken: str = ""
    factor: float = 0

    @property
    def name(self):
        """The column as messages call it, whichever program wrote it."""
        return f"_{self.label} (_{_RELION_LABEL[self.label]})"

    def good(self, values):
        return (values >= self.lowest) & (values <= self.highest)       # neither holds for NaN

    def hint(self, value):
        other = float(value) * self.factor
        return f", which looks like {self.mistaken}" if other > 0 and self.good(other) else ""


_DEFOCUS = 50, 2e5, "50 to 200000 Å, positive for underfocus", "µm", 1e4
_U = _Parameter("ctfDefocusU", *_DEFOCUS)
_V = _Parameter("ctfDefocusV", *_DEFOCUS)
_ANGLE = _Parameter("ctfDefocusAngle", -360, 360, "degrees from -360 to 360")
_VOLTAGE = _Parameter("ctfVoltage", 10, 3000, "10 to 3000 kV", "volts", 1e-3)
_CS = _Parameter("ctfSphericalAberration", 0, 100, "0 to 100 mm", "µm", 1e-3)
_Q0 = _Parameter("ctfQ0", -1, 1, "an amplitude contrast from 0 to 1", "per cent", 1e-2)
_PHASE = _Parameter("ctfPhaseShift", -360, 360, "degrees from -360 to 360")


def read_ctf(source, pixel_size=None):
    """The :class:`Ctf` of every image of an :class:`.formats.images.ImageSource`, in its order.

    pixel_size: Å/px from the user, which goes before the metadata's (see :func:`known_pixel_size`)

    Columns ctfDefocusU, ctfVoltage, ctfSphericalAberration and ctfQ0 are needed; without ctfDefocusV there is no
    astigmatism, with it ctfDefocusAngle is needed unless U = V; ctfPhaseShift is 0 when absent.  What has no column
    comes from the files that column ctfModel names.  The sign of ctfQ0, negative in older versions of Xmipp, is
    ignored.  Raises :class:`UserError`, naming file and row, for what is missing, not a number, absurd or in
    another unit.
    """
    known_pixel_size(source, pixel_size)
    table = _Table(source)
    table.need(_U, _VOLTAGE, _CS, _Q0)
    u = table.read(_U)
    v = table.read(_V, u)
    table.check(np.abs(u - v) <= ASTIGMATISM * (u + v) / 2, lambda i: (
        f"defocus {u[i]:g} Å in one direction and {v[i]:g} Å in the other, expected less astigmatism"))
    if (u != v).any():
        table.need(_ANGLE)
    nothing = np.zeros(source.count)
    phase_shift = table.read(_PHASE, nothing)
    if 0 < np.abs(phase_shift).max() <= np.pi:
        # some versions of Xmipp write them so
        raise UserError(f"{table.path}: {_PHASE.name} is {np.abs(phase_shift).max():g} at most, which looks like "
                        "radians, expected degrees")
    return Ctf(u, v, table.read(_ANGLE, nothing), table.read(_VOLTAGE), table.read(_CS), np.abs(table.read(_Q0)),
               phase_shift)


def known_pixel_size(source, pixel_size=None):
    """Å/px: the user's, else that of the source; :class:`UserError` when there is none or it is absurd."""
    size = pixel_size or source.pixel_size
    path = source.metadata.path
    if size is None:
        raise UserError(f"{path}: the pixel size is not known, expected a positive _samplingRate "
                        "(_rlnImagePixelSize) in Å/px, or option --sampling_rate")
    if not 0 < size <= LARGEST_PIXEL:
        raise UserError(f"{'--sampling_rate' if pixel_size else path}: a pixel size of {size:g} Å/px, expected "
                        f"at most {LARGEST_PIXEL:g}; option --sampling_rate gives the right one")
    return size


class _Table:
    """The CTF parameters of a source's images."""

    def __init__(self, source):
        self.source, self.path = source, source.metadata.path
        self._models = _Models(source) if "ctfModel" in source.metadata else None

    def __contains__(self, parameter):
        label = parameter.label
        return label in self.source.metadata or (self._models is not None and label in self._models.labels)

    def need(self, *parameters):
        missing = [f"{one.name}: {one.expected}" for one in parameters if one not in self]
        if missing:
            raise UserError(f"{self.path}: the CTF is incomplete, expected {'; '.join(missing)}"
                            "; or option --no_ctf, which does without the CTF")

    def read(self, parameter, default=None):
        """The values (n,), checked; images without any have ``default`` (n,)."""
        if parameter not in self:
            return default
        in_columns = parameter.label in self.source.metadata
        if in_columns:
            values = self.source.metadata[parameter.label].astype(np.float64)
        else:
            values = self._models.values(parameter.label, default)

        def fault(i):
            place = "" if in_columns else f" in {self._models.name(i)}"
            return (f"{parameter.name} is {values[i]:.10g}{place}{parameter.hint(values[i])}, "
                    f"expected {parameter.expected}")

        self.check(parameter.good(values), fault)
        return values

    def check(self, good, fault):
        """:class:`UserError` for the first image that is not good (n,): ``fault(index)`` says why."""
        bad = np.flatnonzero(~good)
        if len(bad):
            others = f" ({len(bad) - 1} more like it)" if len(bad) > 1 else ""
            raise UserError(f"{self.path}: {self.source.names(bad[:1])[0]}: {fault(bad[0])}{others}")


class _Models:
    """Xmipp's files of CTF parameters (.ctfparam), one per micrograph; each is read once.

    labels: what at least one of them holds
    """

    def __init__(self, source):
        self._source = source
        first = {}          # name as written -> the first image that has it
        for image, name in enumerate(source.metadata["ctfModel"]):
            first.setdefault(name, image)
        self._names = list(first)
        place = {name: i for i, name in enumerate(first)}
        self._of_image = np.array([place[name] for name in source.metadata["ctfModel"]])
        self._models = [self._read(name, image) for name, image in first.items()]
        self.labels = set().union(*self._models)

    def values(self, label, default):
        """(n,) what the file of every image says, ``default`` (n,) or NaN where it says nothing."""
        values = np.array([model.get(label, np.nan) for model in self._models], np.float64)[self._of_image]
        return values if default is None else np.where(np.isnan(values), default, values)

    def name(self, image):
        return self._names[self._of_image[image]]

    def _read(self, name, image):
        """Label -> number."""
        if name in _NO_MODEL:
            return {}
        block, _, written = name.rpartition("@")
        path = self._source.find(written, image)
        tables = read_star(path)
        if block and block not in tables:
            raise missing_block(path, block, tables)
        columns = with_our_labels(tables[block] if block else next(iter(tables.values())))
        return {label: values[0] for label, values in columns.items() if len(values) and values.dtype != object}
