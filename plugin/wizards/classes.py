"""The wizard for the number of classes: how clear averages of so few particles are."""
import numpy as np

from mlalign.programs import suggest
from mlalign.protocols import MlalignProtMLTomo, MlalignProtRefine2D

from .base import LiveWizard, number, particles_of
from .dialog import Control, Picture
from .sample import Sample
from .targets import ML_2D

MOST = 200          # classes of the slider, unless there are more already
FEWEST = 5          # particles per class at its end
COLOUR = "#ffb000"


class ClassesPicture(Picture):
    """A mean of as many particles as a class would have, and the signal-to-noise ratio for any number of classes."""

    title = "Number of classes"
    size = (10, 4)

    def __init__(self, sample, value, rule):
        self.sample, self.rule = sample, rule
        suggested, self.why = suggest.suggested_classes(sample.count, sample.noise_ratio, self.rule)
        self.suggestion, value = {"classes": suggested}, value or suggested
        highest = max(2, value, suggested, min(MOST, sample.count // FEWEST))
        self.controls = [Control("classes", "Classes", 1, highest, 1, value, self._text)]
        self.intro = (f"The more classes, the finer the distinctions, and the fewer {self.rule.item}s make up each "
                      "average.  Left: the mean of so many of them, as they lie: its grain is what would remain in a "
                      "class average.  Right: the signal-to-noise ratio of the averages, if all classes were alike.")

    def draw(self, figure):
        grid = figure.add_gridspec(1, 2, left=0.01, right=0.97, top=0.92, bottom=0.14, wspace=0.15,
                                   width_ratios=[1, 1.5])
        mean, self._curve = (figure.add_subplot(grid[i]) for i in range(2))
        mean.set_axis_off()
        average = self.sample.average
        middle, spread = np.median(average), max(np.ptp(average), 1e-9)
        self._mean = mean.imshow(average, cmap="gray", vmin=middle - spread, vmax=middle + spread)
        self._title = mean.set_title("", fontsize=9)
        axes, highest = self._curve, self.controls[0].high
        axes.set_xlabel("classes", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.set_xscale("log")
        axes.set_xlim(1, max(highest, 2))
        axes.set_yscale("log")
        classes, ratio = np.geomspace(1, max(highest, 2), 50), self.sample.noise_ratio
        if ratio is None:
            axes.plot(classes, self.sample.count / classes)
            axes.axhspan(1e-3, self.rule.bearable, color="0.9", zorder=0)
            axes.set_title(f"{self.rule.item}s per class; grey: too few", fontsize=9)
        else:
            axes.plot(classes, ratio * self.sample.count / classes)
            axes.axhspan(1e-3, self.rule.clear / 4, color="0.9", zorder=0)
            axes.set_title("signal over noise of a class average; grey: noisy", fontsize=9)
        low, high = axes.get_lines()[0].get_ydata()[[-1, 0]]
        axes.set_ylim(low / 2, high * 2)
        ticks = [tick for tick in (1, 2, 5, 10, 20, 50, 100, 200) if tick <= max(highest, 2)]
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.set_xticks([], minor=True)
        self._line = axes.axvline(1, color=COLOUR, lw=2)

    def update(self, values):
        each = max(1, self.sample.count // int(values["classes"]))
        shown = min(each, len(self.sample.images))
        self._mean.set_data(self.sample.images[:shown].mean(0))
        self._title.set_text(f"mean of {shown} {self.rule.item}s" + (" (of more, it is finer)" if shown < each else ""))
        self._line.set_xdata([values["classes"]] * 2)

    def words(self, values):
        each, ratio = self.sample.count // int(values["classes"]), self.sample.noise_ratio
        found = f"About {each} {self.rule.item}s in each class"
        if ratio is not None:
            found += f", whose average has a signal-to-noise ratio of about {each * ratio:.2g} (one has {ratio:.2g})"
        if each < self.rule.bearable:
            found += ": too few for clear averages"
        return (f"{found}.  Suggested: {self.why}  More is right when you know of more views; see whether classes "
                "repeat.")

    def pointed(self, axes, x, y):
        return {"classes": round(x)} if axes is self._curve else {}

    def _text(self, value):
        return f"{value:g}"


class MlalignClassesWizard(LiveWizard):
    """Suggests how many classes the particles suffice for, and shows what averages of so few would look like."""

    _targets = [*((protocol, ["numberOfClasses"]) for protocol in ML_2D), (MlalignProtMLTomo, ["numberOfReferences"]),
                (MlalignProtRefine2D, ["numberOfClassAvg"])]

    def picture(self, protocol, name):
        sample, many = Sample(particles_of(protocol)), isinstance(protocol, MlalignProtRefine2D)
        rule = suggest.VOLUMES if sample.volumes else suggest.MANY if many else suggest.IMAGES
        return ClassesPicture(sample, number(protocol, name, None), rule)

    def answers(self, protocol, name, values):
        return {name: int(values["classes"])}
