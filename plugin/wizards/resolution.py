"""The wizard for limits of the resolution: particles without what the limits leave out."""
import numpy as np

from mlalign.programs import suggest
from mlalign.protocols import MlalignProtMLTomo

from .base import LiveWizard, last_number, number, particles_of, with_last
from .dialog import Control, Picture
from .sample import Sample, montage
from .targets import ML_2D

SHOWN = 4                   # particles
STEP, SLOW_STEP = 0.005, 0.0025     # 1/px, of the sliders
SLOWEST = 0.1               # 1/px: the low-resolution limit ends there
EDGE = 0.02                 # 1/px, over which the preview's filter falls off
NO_LOW_LIMIT = 999.0        # Å, of the form
COLOURS = {"high": "#ffb000", "low": "#1f9e89"}


class ResolutionPicture(Picture):
    """Particles and their average between the limits, and at which frequencies particles stand out of the noise.

    high, low : 1/px to begin with; ``low`` None when there is no such limit
    """

    title = "Resolution limit"
    size = (11, 4.2)

    def __init__(self, sample, high, low=None, stages=False):
        self.sample = sample
        first = np.ceil(2 / sample.size / STEP) * STEP
        self.controls = [Control("high", "Finest details", first, 0.5, STEP, high, self._text)]
        if low is not None:
            self.controls.append(Control("low", "Coarsest details", 0, SLOWEST, SLOW_STEP, low, self._low_text))
        self.suggestion = {} if sample.limit is None else {"high": sample.limit}
        self.intro = ("What is finer than the limit does not count.  Left: particles without it.  Middle: the mean of "
                      f"{len(sample.items)} particles, as they lie, without it.  Right: by how much the power of the "
                      "particles exceeds that of their surroundings.  Where that vanishes single particles show "
                      "nothing any more, but averages of many do, to details about twice as fine."
                      + ("  With several stages this is the limit of the last." if stages else ""))

    def draw(self, figure):
        grid = figure.add_gridspec(1, 3, left=0.01, right=0.97, top=0.92, bottom=0.16, wspace=0.2,
                                   width_ratios=[1, 1, 1.15])
        particles, mean, self._curve = (figure.add_subplot(grid[i]) for i in range(3))
        for axes, title in ((particles, "particles"), (mean, "mean of particles")):
            axes.set_axis_off()
            axes.set_title(title, fontsize=9)
        side = int(np.sqrt(SHOWN)) * self.sample.size
        self._tiles = particles.imshow(np.zeros((side, side)), cmap="gray", vmin=0, vmax=1)
        self._mean = mean.imshow(np.zeros((self.sample.size,) * 2), cmap="gray", vmin=0, vmax=1)
        self._draw_curve()

    def _draw_curve(self):
        axes, spectrum = self._curve, self.sample.spectrum
        if spectrum is None:
            axes.text(0.25, 0.5, "particles and surroundings\ncannot be told apart", ha="center", fontsize=9)
        else:
            axes.fill_between(spectrum.frequency, spectrum.ratio - 2 * spectrum.error,
                              spectrum.ratio + 2 * spectrum.error, alpha=0.3, lw=0)
            axes.plot(spectrum.frequency, spectrum.ratio)
            highest = max(0.1, np.sort(spectrum.ratio)[-2])
            axes.set_ylim(-0.1 * highest, 1.05 * highest)
        axes.axhline(0, color="0.6", lw=0.8)
        axes.set_xlim(0, 0.5)
        self._lines = {control.name: axes.axvline(0.5, color=COLOURS[control.name], lw=2) for control in self.controls}
        ticks = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
        axes.set_xticks(ticks, [f"{tick:g}\n{self.sample.pixel / tick:.3g} Å" for tick in ticks], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.set_title("signal over noise, by frequency (1/px)", fontsize=9)

    def update(self, values):
        high, low = values["high"], values.get("low", 0)
        self._tiles.set_data(montage(band(self.sample.images[:SHOWN], high, low), int(np.sqrt(SHOWN))))
        self._mean.set_data(montage(band(self.sample.average[None], high, low), 1))
        for name, line in self._lines.items():
            line.set_xdata([values[name]] * 2)

    def words(self, values):
        visible = None if self.sample.spectrum is None else suggest.visible_frequency(self.sample.spectrum)
        if visible is None:
            found = "No frequency at which the particles stand out of the noise was found among those looked at."
        else:
            pixel = self.sample.pixel
            found = (f"Single particles stand out of the noise to about {pixel / visible:.3g} Å.  A first "
                     f"classification needs little more, {pixel / self.sample.limit:.3g} Å for example: noise cannot "
                     "lead it, and coarse is fast.")
        if values["high"] >= 0.5:
            found += "  This limit leaves everything in, up to Nyquist."
        if values.get("low", 0) > 0 and self.sample.edge and values["low"] > 1 / (2 * self.sample.edge):
            found += "  The particle itself is coarser than the low-resolution limit, which takes away most of it."
        return found

    def pointed(self, axes, x, y):
        return {"high": x} if axes is self._curve else {}

    def _text(self, value):
        return f"{self.sample.pixel / value:.3g} Å = {value:.3g}/px"

    def _low_text(self, value):
        return f"{self.sample.pixel / value:.3g} Å = {value:.3g}/px" if value > 0 else "no limit"


def band(images, high, low=0.0):
    """Images (B, n, n) with the frequencies from ``low`` to ``high`` (1/px) alone, with soft edges."""
    n = images.shape[-1]
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n))
    keep = 1.0 if high >= 0.5 else 0.5 + 0.5 * np.cos(np.pi * np.clip((k - high + EDGE / 2) / EDGE, 0, 1))
    if low > 0:
        keep = keep * (0.5 - 0.5 * np.cos(np.pi * np.clip((k - low + EDGE / 2) / EDGE, 0, 1)))
    return np.fft.irfft2(np.fft.rfft2(images) * keep, (n, n))


def angstrom(pixel, frequency):
    """A limit in Å, to a hundredth, and never beyond what the pixels hold."""
    return float(np.ceil(np.round(100 * pixel / frequency, 6)) / 100)


class MlalignResolutionWizard(LiveWizard):
    """Shows particles, and their average, at the resolution chosen."""

    _targets = [*((protocol, ["highResLimit", "lowResLimit", "firstResLimit", "fixHigh", "maxFrequency"])
                  for protocol in ML_2D), (MlalignProtMLTomo, ["maxRes"])]

    def picture(self, protocol, name):
        sample = Sample(particles_of(protocol))
        otherwise = sample.limit or 0.5
        if name in ("maxRes", "maxFrequency"):
            stages = name == "maxRes"
            high = last_number(protocol, name, otherwise) if stages else number(protocol, name, otherwise)
            return ResolutionPicture(sample, high, stages=stages)
        limit = number(protocol, "highResLimit" if name == "lowResLimit" else name, 0)
        high = sample.pixel / limit if limit else otherwise
        low = None
        if protocol.doMlf and name != "firstResLimit":
            coarsest = number(protocol, "lowResLimit", NO_LOW_LIMIT)
            low = sample.pixel / coarsest if 0 < coarsest < NO_LOW_LIMIT else 0
        return ResolutionPicture(sample, high, low)

    def answers(self, protocol, name, values):
        if name == "maxRes":
            return {name: with_last(protocol, name, f"{values['high']:g}")}
        if name == "maxFrequency":
            return {name: values["high"]}
        pixel = particles_of(protocol).getSamplingRate()
        found = {"highResLimit" if name == "lowResLimit" else name: angstrom(pixel, values["high"])}
        if "low" in values:
            found["lowResLimit"] = angstrom(pixel, values["low"]) if values["low"] > 0 else NO_LOW_LIMIT
        return found
