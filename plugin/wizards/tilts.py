"""The wizard for the tilt range: where subtomograms have power, and where they lack it."""
import numpy as np
from matplotlib.patches import Polygon

from mlalign.convert_tomo import tilt_range
from mlalign.programs import suggest_tilts
from mlalign.programs.engine.missing import Region
from mlalign.programs.errors import UserError
from mlalign.protocols import MlalignProtMLTomo
from mlalign.protocols.tomo_form import REGIONS

from .base import LiveWizard, particles_of
from .dialog import Control, Picture
from .sample import Sample

COLOUR = "#ffb000"
AXES = {"wedge_y": ("y",), "wedge_x": ("x",), "pyramid": ("y", "x"), "cone": (None,)}     # None: no axis, a cone
USUAL = -60.0, 60.0


class TiltPicture(Picture):
    """Sections of the mean power spectrum, with the lines of the first and last tilt; the power at each tilt.

    kind : what is missing, as :class:`Region` has it; value : degrees to begin with, first and last of every axis
    known : what the acquisition says, (first, last) or None; negate : tilts are counted the other way round
    """

    title = "Tilt range"

    def __init__(self, power, kind, value, known=None, negate=False):
        self.power, self.kind, self.axes, self.known = power, kind, AXES[kind], known
        self.sign = -1 if negate else 1
        self.size = (10.5, 4) if len(self.axes) == 1 else (10.5, 6.5)
        self.found = {axis: self._estimated(axis) for axis in self.axes}
        self.controls = list(self._controls(value))
        found = self.known if known and len(self.axes) == 1 else None
        self.suggestion = self._named({axis: found or self.found[axis] for axis in self.axes})
        self.intro = ("Left: mean power spectrum of the particles, a section across the tilt axis; every frequency is "
                      "divided by the mean of its shell.  What the tilt series has not seen is dark: it should lie in "
                      "the shade between the lines, which are the first and last tilt.  Right: the power at each "
                      "tilt.")

    def _controls(self, value):
        for i, axis in enumerate(self.axes):
            if axis is None:
                yield Control("last", "Tilt", 1, 89, 1, value[0], "{:g} degrees".format)
            else:
                about = f" about {axis.upper()}"
                for j, label in enumerate(("First tilt", "Last tilt")):
                    yield Control(f"{label.split()[0].lower()}{axis}", label + about, -90, 90, 1, value[2 * i + j],
                                  "{:g} degrees".format)

    def _estimated(self, axis):
        found = suggest_tilts.estimated_tilts(self.power, axis)
        return found if found is None or self.sign == 1 else (-found[1], -found[0])

    def _named(self, ranges):
        """{control: value} of {axis: (first, last) or None}."""
        named = {}
        for axis, limits in ranges.items():
            if limits is not None:
                named.update({"last": limits[1]} if axis is None else {f"first{axis}": limits[0],
                                                                       f"last{axis}": limits[1]})
        return named

    def limits(self, values):
        """The numbers that the form wants."""
        return [values[control.name] for control in self.controls]

    def _range(self, values, axis):
        return (-values["last"], values["last"]) if axis is None else (values[f"first{axis}"], values[f"last{axis}"])

    def draw(self, figure):
        rows = len(self.axes)
        grid = figure.add_gridspec(rows, 2, left=0.07, right=0.97, top=0.93, bottom=0.13, wspace=0.15, hspace=0.45,
                                   width_ratios=[1, 1.9])
        self._artists, self._curves = {}, {}
        for row, axis in enumerate(self.axes):
            spectrum, curve = (figure.add_subplot(grid[row, column]) for column in range(2))
            across = {"y": "kx", "x": "ky", None: "distance from kz"}[axis]
            plane = suggest_tilts.section(self.power, axis)
            n = len(plane)
            low, high = -(n // 2 + 0.5) / n, (n - n // 2 - 0.5) / n
            spectrum.imshow(np.sqrt(plane), cmap="gray", origin="lower", extent=(low, high, low, high), vmin=0,
                            vmax=np.percentile(np.sqrt(plane), 99))
            spectrum.set(xlim=(low, high), ylim=(low, high))
            spectrum.set_xlabel(f"{across} (1/px)", fontsize=9)
            spectrum.set_ylabel("kz (1/px)", fontsize=9)
            lines = [spectrum.plot([], [], color=COLOUR, lw=1.5)[0] for _ in range(2)]
            shade = [spectrum.add_patch(Polygon([(0, 0)], color=COLOUR, alpha=0.2, lw=0)) for _ in range(2)]
            curve.plot(*self._profile(axis), drawstyle="steps-mid")
            curve.set_xlim(-90, 90)
            curve.set_ylim(bottom=0)
            curve.set_xticks(range(-90, 91, 30))
            curve.set_title("power" if axis is None else f"power at each tilt about {axis.upper()}", fontsize=9)
            curve.set_xlabel("tilt (degrees)", fontsize=9)
            for one in (spectrum, curve):
                one.tick_params(labelsize=8)
            self._artists[axis] = lines, shade, [curve.axvline(0, color=COLOUR, lw=2) for _ in range(2)]
            self._curves[curve] = axis

    def _profile(self, axis):
        tilts, values = suggest_tilts.tilt_profile(self.power, axis)
        return (tilts, values) if self.sign == 1 else (-tilts[::-1], values[::-1])

    def update(self, values):
        for axis, (lines, shade, marks) in self._artists.items():
            limits = self._range(values, axis)
            ends = [np.array([np.cos(np.deg2rad(tilt)), -self.sign * np.sin(np.deg2rad(tilt))]) for tilt in limits]
            for line, end in zip(lines, ends):
                line.set_data(*np.transpose([-end, end]))
            first, last = ends
            top = np.array([0, -self.sign])     # where the last tilt points to, as it nears 90 degrees
            shade[0].set_xy([(0, 0), last, last + top, top - first, -first])
            shade[1].set_xy([(0, 0), -last, -last - top, first - top, first])
            for mark, tilt in zip(marks, limits):
                mark.set_xdata([tilt] * 2)

    def words(self, values):
        try:
            limits = self._range(values, self.axes[0])
            more = {"x": self._range(values, "x")} if self.kind == "pyramid" else {}
            region = Region(1, self.kind, cone=limits[1]) if self.kind == "cone" else \
                Region(1, self.kind, **{self.axes[0]: limits, **more})
            found = f"{100 * region.coverage:.0f} % of Fourier space observed.  "
        except UserError:
            return "The last tilt must be above the first."
        if self.known is not None:
            found += (f"The acquisition says {self.known[0]:g} to {self.known[1]:g} degrees.  If you choose another "
                      "range, it holds for all particles: 'Tilt range of the acquisition?' becomes No.  ")
        for axis, tilts in self.found.items():
            about = "" if axis is None else f" about {axis.upper()}"
            found += f"The spectrum shows no missing part{about}.  " if tilts is None else (
                f"From the spectrum, tilts{about} are about {tilts[0]:g} to {tilts[1]:g} degrees.  ")
        if self.kind in ("wedge_y", "wedge_x") and self.found[self.axes[0]] is not None:
            likely = suggest_tilts.likely_axis(self.power)
            if likely != self.axes[0]:
                found += f"It looks more like a tilt axis {likely.upper()}: see 'What is missing'."
        return found

    def pointed(self, axes, x, y):
        """The nearer of the two limits goes there."""
        if axes not in self._curves:
            return {}
        axis = self._curves[axes]
        return {"last": abs(x)} if axis is None else {f"first{axis}" if x < 0 else f"last{axis}": x}


class MlalignTiltWizard(LiveWizard):
    """Shows the missing part of the particles' power spectrum, and finds the tilt range from it."""

    _targets = [(MlalignProtMLTomo, ["missingAng"])]

    def picture(self, protocol, name):
        volumes, kind = particles_of(protocol), REGIONS[protocol.missingDataType.get()]
        known, wanted = self._known(protocol), None
        if known is not None:
            def wanted(item):
                return tilt_range(item, volumes) == known
        sample = Sample(volumes, wanted) if wanted else Sample(volumes)
        return TiltPicture(suggest_tilts.mean_power(sample.raw), kind, self._value(protocol, kind, known), known,
                           protocol.negateTilts.get())

    def answers(self, protocol, name, values):
        found = {name: " ".join(f"{value:g}" for value in values.values())}
        known = self._known(protocol)
        if known is not None and tuple(values.values()) != tuple(float(round(tilt)) for tilt in known):
            found["tiltFromAcquisition"] = False
        return found

    def _known(self, protocol):
        """What the first particle's acquisition says of a wedge, when the form wants it; else None."""
        if REGIONS[protocol.missingDataType.get()] not in ("wedge_y", "wedge_x") or not protocol.tiltFromAcquisition:
            return None
        volumes = particles_of(protocol)
        return tilt_range(volumes.getFirstItem(), volumes)

    def _value(self, protocol, kind, known):
        """Degrees to begin with: the acquisition's, else the form's, else what is usual."""
        if known is not None:
            return known
        wanted = {"pyramid": 4, "cone": 1}.get(kind, 2)
        try:
            value = [float(word) for word in (protocol.missingAng.get() or "").replace(",", " ").split()]
        except ValueError:
            value = []
        return value if len(value) == wanted else (USUAL * 2)[:wanted] if wanted > 1 else USUAL[1:]
