"""The wizard for angular steps: what a step means for the rim of the particle, and what it costs."""
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle

from mlalign.programs import suggest
from mlalign.protocols import MlalignProtMLTomo

from .base import LiveWizard, last_number, number, particles_of, with_last
from .dialog import Control, Picture
from .sample import Sample, smooth
from .targets import ML_2D

COLOUR = "#ffb000"
MARK = 0.12             # length of a mark on the rim, in radii
STEPS = 0.5, 45.0       # degrees of the curve


class StepPicture(Picture):
    """The rotations that would be tried, as marks on the rim of the average particle, and how many poses there are.

    value : the step in degrees to begin with; diameter : Å
    """

    title = "Angular step"
    size = (10, 4.2)

    def __init__(self, sample, value, diameter, stages=False):
        self.sample, self.before = sample, value
        pixel, box = sample.pixel, sample.size * sample.pixel
        coarsest = max(box / 2, 4 * pixel)
        resolution = 2 * diameter * np.sin(np.deg2rad(min(value, 90) / 2))
        self.controls = [
            Control("resolution", "Resolution", pixel / 2, coarsest, pixel / 20, resolution, "{:.3g} Å".format),
            Control("diameter", "Particle's diameter", 4 * pixel, box, pixel, diameter, "{:.4g} Å".format)]
        self.suggestion = {}
        if sample.limit is not None:
            self.suggestion = {"resolution": pixel / sample.limit, "diameter": 2 * pixel * sample.edge}
        self.intro = ("Between two neighbouring rotations the rim of the particle moves; by half the resolution is "
                      "fine enough.  So step = 2 asin(resolution / (2 diameter)).  Left: the mean of the particles "
                      "with the rotations that are tried.  Right: how many poses there are for each step; the time "
                      "grows with them."
                      + ("  With several stages this is the step of the last." if stages else ""))

    def step(self, values):
        """The step in degrees that the values make, a plain number."""
        return suggest.round_step(suggest.angular_step(values["resolution"], values["diameter"]))

    def draw(self, figure):
        grid = figure.add_gridspec(1, 2, left=0.01, right=0.97, top=0.92, bottom=0.14, wspace=0.12,
                                   width_ratios=[1, 1.4])
        mean, axes = (figure.add_subplot(grid[i]) for i in range(2))
        mean.set_axis_off()
        mean.imshow(smooth(self.sample.average), cmap="gray")
        self._marks = LineCollection([], colors=COLOUR, lw=0.8)
        mean.add_collection(self._marks)
        self._circle = mean.add_patch(Circle((self.sample.size // 2,) * 2, 1, fill=False, color=COLOUR, lw=0.8))
        steps = np.geomspace(*STEPS, 60)
        axes.plot(steps, [self._poses(step) for step in steps])
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = (0.5, 1, 2, 5, 10, 20, 45)
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)
        axes.tick_params(labelsize=8)
        axes.set_xlabel("step (degrees)", fontsize=9)
        what = "orientations everywhere" if self.sample.volumes else "rotations of each class average"
        axes.set_title(f"{what}; grey: as the form has it", fontsize=9)
        axes.axvline(self.before, color="0.6", ls="--")
        self._line = axes.axvline(1, color=COLOUR, lw=2)

    def _poses(self, step):
        return suggest.orientations(step) if self.sample.volumes else suggest.rotations(step)

    def update(self, values):
        step, middle = self.step(values), self.sample.size // 2
        radius = values["diameter"] / self.sample.pixel / 2
        self._line.set_xdata([step] * 2)
        self._circle.set_radius(radius)
        angle = np.deg2rad(np.arange(0, 360, step))
        ends = np.stack([np.cos(angle), np.sin(angle)], -1)
        self._marks.set_segments(middle + radius * np.stack([ends * (1 - MARK), ends], 1))

    def words(self, values):
        step = self.step(values)
        moved = values["diameter"] * np.sin(np.deg2rad(step / 2))
        poses, before = self._poses(step), self._poses(self.before)
        found = (f"{step:g} degrees: neighbouring rotations move the rim by {moved:.3g} Å.  {poses} "
                 + (f"orientations ({suggest.rotations(step)} turns about each direction)" if self.sample.volumes else
                    "rotations") + ", ")
        if poses == before:
            return f"{found}as many as with the form's step.{self._beyond(values)}"
        more = poses > before
        found += f"{poses / before:.3g} times as many as" if more else f"{before / poses:.3g} times fewer than"
        return f"{found} with the form's step of {self.before:g} degrees.{self._beyond(values)}"

    def _beyond(self, values):
        nyquist = 2 * self.sample.pixel
        return "" if values["resolution"] >= nyquist else f"  Nothing is finer than {nyquist:.3g} Å (Nyquist) here."


class MlalignStepWizard(LiveWizard):
    """Finds the angular step for a resolution and a diameter, and shows what it costs."""

    _targets = [*((protocol, ["psiStep"]) for protocol in ML_2D), (MlalignProtMLTomo, ["angSampling", "psiSampling"])]

    def picture(self, protocol, name):
        sample = Sample(particles_of(protocol))
        stages = isinstance(protocol, MlalignProtMLTomo)
        radius = number(protocol, "radius", 0) or sample.edge or sample.size // 2
        if not stages:
            return StepPicture(sample, number(protocol, name, 5.0) or 5.0, 2 * radius * sample.pixel)
        step = last_number(protocol, name, 0) or last_number(protocol, "angSampling", 0) or 15.0
        return StepPicture(sample, step, 2 * radius * sample.pixel, stages=True)

    def answers(self, protocol, name, values):
        step = suggest.round_step(suggest.angular_step(values["resolution"], values["diameter"]))
        return {name: step if name == "psiStep" else with_last(protocol, name, f"{step:g}")}
