"""The wizard for the radius of the particle."""
import numpy as np
from matplotlib.patches import Circle

from mlalign.protocols import MlalignProtMLTomo, MlalignProtMref

from .base import LiveWizard, number, particles_of
from .dialog import Control, Picture
from .sample import Sample, montage, smooth
from .targets import IN_2D

ROWS = 3
COLOUR = "#ffb000"


class RadiusPicture(Picture):
    """The circle on particles and on their average, and how the average falls off from the centre.

    room : px that must stay between the circle and the edge of the box, besides shifts; None when it may touch
    """

    title = "Particle radius"
    size = (11, 4.2)

    def __init__(self, sample, value, room=None):
        self.sample, self.room, self._page = sample, room, 0
        self.highest = sample.size // 2 - (room or 0)
        begin = value or sample.radius or self.highest
        self.controls = [Control("radius", "Radius", 2, self.highest, 1, begin, self._text)]
        self.suggestion = {} if sample.radius is None else {"radius": sample.radius}
        self.buttons = {"Other particles": self.next_page}
        self.intro = ("The circle should hold the whole particle, with a few pixels to spare, and little else.  Left: "
                      f"some particles, blurred.  Middle: the mean of {len(sample.items)} particles"
                      + (", middle section" if sample.volumes else "") + ", as they lie in their boxes.  Right: how "
                      "far it stands out at each distance from the centre.  Click into the mean or the curve, or move "
                      "the slider.")

    def next_page(self):
        self._page += 1

    def draw(self, figure):
        grid = figure.add_gridspec(1, 3, left=0.01, right=0.985, top=0.92, bottom=0.13, wspace=0.14,
                                   width_ratios=[1, 1, 1.15])
        self._particles, self._mean, self._curve = (figure.add_subplot(grid[i]) for i in range(3))
        n = self.sample.size
        self._tiles = self._particles.imshow(np.zeros((ROWS * n, ROWS * n)), cmap="gray", vmin=0, vmax=1)
        self._circles = [Circle((column * n + n // 2, row * n + n // 2), 1, fill=False, color=COLOUR, lw=0.8)
                         for row in range(ROWS) for column in range(ROWS)]
        self._circles.append(Circle((n // 2, n // 2), 1, fill=False, color=COLOUR, lw=1.5))
        for circle in self._circles[:-1]:
            self._particles.add_patch(circle)
        mean = self.sample.average
        self._mean.imshow(mean, cmap="gray", vmin=np.percentile(mean, 0.5), vmax=np.percentile(mean, 99.5))
        self._mean.add_patch(self._circles[-1])
        self._mean.set_title("mean of particles", fontsize=9)
        self._particles.set_title("particles", fontsize=9)
        for axes in (self._particles, self._mean):
            axes.set_axis_off()
        self._draw_curve()

    def _draw_curve(self):
        axes, profile = self._curve, self.sample.profile
        axes.fill_between(profile.radius, profile.mean - 2 * profile.mean_error, profile.mean + 2 * profile.mean_error,
                          alpha=0.3, lw=0)
        axes.plot(profile.radius, profile.mean, label="mean")
        axes.plot(profile.radius, profile.excess, lw=1, ls="--", label="power above the noise")
        axes.axhline(0, color="0.6", lw=0.8)
        self._line = axes.axvline(1, color=COLOUR, lw=2)
        axes.set_xlim(0, profile.radius[-1])
        seen = slice(2, None)       # the innermost rings are a few pixels of noise
        low, high = (f(np.concatenate([profile.mean[seen], profile.excess[seen]])) for f in (np.min, np.max))
        axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        axes.set_xlabel("distance from the centre (px)", fontsize=9)
        axes.set_title("over the noise's standard deviation", fontsize=9)
        axes.tick_params(labelsize=8)
        axes.legend(fontsize=8, frameon=False)

    def update(self, values):
        count = ROWS**2
        some = np.arange(self._page * count, (self._page + 1) * count) % len(self.sample.images)
        self._tiles.set_data(montage(smooth(self.sample.images[some]), ROWS))
        for circle in self._circles:
            circle.set_radius(values["radius"])
        self._line.set_xdata([values["radius"]] * 2)

    def words(self, values):
        radius, edge = values["radius"], self.sample.edge
        if edge is None:
            found = "Nothing stands out from the background, so that the end of the particle cannot be told from here."
        else:
            found = f"On average the particle ends about {edge:g} px from the centre"
            if radius < edge:
                found += ": this circle cuts it."
            elif radius > 1.4 * self.sample.radius:
                found += ": this circle holds much of the surroundings as well."
            else:
                found += "."
        if self.room is not None:
            found += f"  In this box the circle leaves room for shifts of {self.sample.size // 2 - 1 - radius:g} px."
        return found

    def pointed(self, axes, x, y):
        if axes is self._mean:
            return {"radius": np.hypot(x - self.sample.size // 2, y - self.sample.size // 2)}
        return {"radius": x} if axes is self._curve else {}

    def _text(self, value):
        return f"{value:g} px = {value * self.sample.pixel:.4g} Å"


class MlalignRadiusWizard(LiveWizard):
    """Draws the circle of a given radius on particles and on their average; of subtomograms on their sections."""

    _targets = [(protocol, ["radius"]) for protocol in (*IN_2D, MlalignProtMLTomo)]

    def picture(self, protocol, name):
        room = 2 if isinstance(protocol, MlalignProtMref) else None
        return RadiusPicture(Sample(particles_of(protocol)), number(protocol, name, 0), room)

    def answers(self, protocol, name, values):
        return {name: int(values["radius"])}
