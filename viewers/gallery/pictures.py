"""What a gallery can show: images, each with numbers, a caption and perhaps members.  No Qt here.

Every kind is a sub-class of :class:`Pictures`; classes are in :mod:`.classes`, volumes in :mod:`..tomo.volumes`.
"""
import threading
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...programs.formats.images import ImageSource, open_images
from ...programs.results import FINAL
from . import imaging
from .columns import Column, Computed, varying_columns

SIMILARITY = "similarity"       # key of the column of places in an order in which neighbours look alike
IN_CAPTIONS = "number", "particles", "share", SIMILARITY        # what captions tell anyway, or not at all
OF_PARTICLES = ("maxCC", "pMax", "logLikelihood", "classProbability", "shiftX", "shiftY", "shiftZ", "angleRot",
                "angleTilt", "anglePsi", "flip")
SAMPLE = 100        # images looked at to choose grey levels that suit all


class Caption(NamedTuple):
    """Texts below a thumbnail; of ``right`` and ``below`` the first that fits is shown.  faded: dimmed."""
    strong: str
    right: tuple = ()
    below: tuple = ()
    faded: bool = False


class Pictures:
    """Images with numbers beside them.

    source  : :class:`ImageSource` of the images
    columns : key -> :class:`Column`, what can be sorted by and is saved to tables
    keys    : what identifies the items when another result of the same run is shown, one per item
    iteration : of the run that they are a result of, FINAL for its final one, or when there is no run
    aspect  : width of the images over their height
    centred : whether images are shown with their bright part in the middle
    computed : key -> :class:`Computed`, more columns, which are in ``columns`` once they were asked for
    told : key of the column whose numbers captions tell beside the name
    """
    has_members, aspect, unit, can_centre = False, 1, "images", True
    filter_example = "3-7, 12 or a part of a name"
    told, iteration, has_development = "resolution", FINAL, False
    centred, most_compared = False, 3000        # up to as many are all looked at, to be sorted by what they look like

    def __init__(self, title, source, columns, keys):
        self.title, self.source, self.columns, self.keys = title, source, columns, list(keys)
        self.pixel_size = source.pixel_size
        self.centre = lru_cache(None)(self._find_centre)
        self._computing = threading.Lock()
        self.computed = self._computed() if len(self) <= self.most_compared else {}

    def __len__(self):
        return self.source.count

    def image(self, item):
        """float32 (n, n), as it is to be shown"""
        image = self.raw_image(item)
        return imaging.moved(image, *(-shift for shift in self.centre(item))) if self.centred else image

    def raw_image(self, item):
        """float32 (n, n), as it is in its file"""
        return self.source.read(slice(item, item + 1))[0]

    def _find_centre(self, item):
        """(x, y) of the bright part's centre, px from the origin; kept as ``centre(item)``."""
        return imaging.bright_centre(self.raw_image(item))

    def column(self, key):
        """A :class:`Column`, computed when it was not yet.  Raises :class:`UserError` for images that are lost."""
        with self._computing:       # who asks for it meanwhile waits for it, rather than do it again
            if key not in self.columns:
                # a new dict: this may run beside a thread that goes through the old one
                self.columns = {**self.columns, key: self.computed[key].make()}
        return self.columns[key]

    def offered(self):
        """All that can be sorted by: key -> :class:`Column`, or :class:`Computed` of those not yet asked for."""
        return {**self.columns, **{key: more for key, more in self.computed.items() if key not in self.columns}}

    def levels(self):
        """Grey levels that suit all images, from a sample of them."""
        rows = np.unique(np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(int))
        return imaging.contrast(list(self.source.read(rows)))

    def order(self, key, descending):
        """Items sorted by a column; those without a number come last, equal ones keep their order."""
        values = np.asarray(self.column(key).values, float)
        rank = np.where(np.isnan(values), np.inf, -values if descending else values)
        return np.argsort(rank, kind="stable")

    def numbers(self, item):
        """(label, text) of every column but the number and the place, for the details."""
        told = [(column.label, column.text(column.values[item]))
                for key, column in self.columns.items() if key not in ("number", SIMILARITY)]
        return [*told, ("Moved by", self.shift_text(item))] if self.centred else told

    def describe(self, item):
        """One text with all numbers, for a tool tip."""
        return "\n".join(f"{label}: {text}" for label, text in self.numbers(item))

    @property
    def contents(self):
        """What tables of the items are called."""
        return self.unit

    def subtitle(self):
        return ", ".join([f"{len(self):,} {self.unit if len(self) > 1 else self.unit[:-1]}", *geometry(self.source)])

    def summary(self, items):
        """What the selected items amount to, in words."""
        return f"{len(items):,} of {len(self):,} selected"

    def name(self, item):
        return f"Image {self.keys[item]}"

    def caption(self, item):
        return Caption(str(self.keys[item]))

    def frc(self, item):
        return None

    def members(self, item):
        """The :class:`MemberPictures` of an item, None when it has none."""
        return None

    def particles(self, items):
        """What is known of the members of these items: label of :data:`OF_PARTICLES` -> (N,)."""
        return {}

    def shift_text(self, item):
        """By how much an image is moved when it is centred, in words."""
        x, y = (-shift for shift in self.centre(item))
        return f"x {x:+.1f}, y {y:+.1f} px ({self._moved(item)})"

    def _moved(self, item):
        length = np.hypot(*self.centre(item))
        return f"{length * self.pixel_size:.1f} Å" if self.pixel_size else f"{length:.1f} px"

    def usual(self, key):
        """The number of a column from which on items are worth keeping, as a first guess; -inf where there is none."""
        return -np.inf

    def _computed(self):
        return {SIMILARITY: Computed("Similarity", self._similarity, descending=False),
                "offCentre": Computed("Off centre", self._off_centre)}

    def _images(self):
        return np.stack([self.raw_image(item) for item in range(len(self))])

    def _similarity(self):
        from .similarity import places
        sizes = self.columns["particles"].values if "particles" in self.columns else None
        return Column("Similarity", places(self._alike(), sizes), "{:.0f}".format, descending=False)

    def _alike(self):
        """How much the images are alike: (K, K)"""
        from .similarity import similarities
        return similarities(self._images())

    def _off_centre(self):
        scale, unit = (self.pixel_size, "Å") if self.pixel_size else (1, "px")
        lengths = [np.hypot(*self.centre(item)) * scale for item in range(len(self))]
        return Column("Off centre", np.array(lengths), lambda value: f"{value:.1f} {unit}")


class FilePictures(Pictures):
    """The images of any stack or metadata file."""
    default_sort = "number"

    def __init__(self, path, source=None):
        """source: of the images, when it is open already"""
        source = open_images(path) if source is None else source
        super().__init__(Path(path).name, source, varying_columns(source), source.rows)


class MemberPictures(Pictures):
    """Particles in the frame of their class average.

    table  : rows with image, anglePsi, shiftX, shiftY, flip
    period : of the low-pass filter, px; 0 for none
    centre : (x, y) in px of the place in the class average that comes to the middle
    """
    SCORES = {"maxCC": "correlation", "pMax": "probability", "logLikelihood": "likelihood",
              "classProbability": "class probability"}
    LABELS = ("anglePsi", "shiftX", "shiftY", "flip", *SCORES, "defocusGroup")

    def __init__(self, table, pixel_size=None, period=0, centre=(0, 0)):
        numbers = {label: table.numbers(label) for label in self.LABELS if label in table}
        columns = {label: Column(label, values, "{:.6g}".format) for label, values in numbers.items()}
        source = ImageSource(table, Path(table.path).parent)
        keys = source.metadata["itemId"] if "itemId" in table else source.rows
        super().__init__("Members", source, columns, keys)
        self.poses = np.column_stack([source.metadata.numbers(label) for label in self.LABELS[:4]])
        self.poses[:, 1:3] -= centre
        self.pixel_size, self.period = pixel_size, period

    def name(self, item):
        return f"Particle {self.keys[item]}"

    def describe(self, item):
        return f"{self.name(item)}\n{super().describe(item)}"

    def image(self, item):
        image = self.raw_image(item)
        if self.period:
            image = imaging.low_pass(image, self.period)
        return imaging.align(image, *self.poses[item])


def joined(tables):
    """What several tables of particles tell, one after the other: label of :data:`OF_PARTICLES` -> (N,)."""
    tables = [table for table in tables if len(table)]
    labels = [label for label in OF_PARTICLES if tables and all(label in table for table in tables)]
    return {label: np.concatenate([table.numbers(label) for table in tables]) for label in labels}


def geometry(source, pixel_size=None):
    """Box and pixel size in words."""
    pixel_size = pixel_size or source.pixel_size
    return [f"{source.size} px", *([f"{pixel_size:.3g} Å/px"] if pixel_size else [])]
