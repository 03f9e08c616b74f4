"""One class at every iteration of its run, as pictures.  No Qt here."""
import numpy as np

from ...programs.errors import UserError
from ...programs.results import FINAL
from . import imaging
from .pictures import Caption, Pictures


class Development(Pictures):
    """A class's average at all results of its run.

    pictures : the :class:`~.pictures.RunPictures` shown, which are one of these results
    item     : the class in them
    results  : the iterations' numbers, perhaps FINAL; those where the class is not, or which are broken, are left out
    shown    : which of them ``pictures`` are, None when they are none of these
    """

    def __init__(self, pictures, item):
        key, self.results, self._places = pictures.keys[item], [], []
        for result in pictures.run.results():
            try:
                there = pictures if result == pictures.iteration else pictures.at(result)
            except UserError:
                continue
            if key in there.keys:
                self.results.append(result)
                self._places.append((there, there.keys.index(key)))
        if not self.results:
            raise UserError(f"{pictures.run.oroot}: no iterations yet")
        self.shown = self.results.index(pictures.iteration) if pictures.iteration in self.results else None
        self.title, self.columns, self.keys = pictures.name(item), {}, self.results
        self.pixel_size, self.aspect = pictures.pixel_size, pictures.aspect

    def __len__(self):
        return len(self.results)

    def image(self, item):
        pictures, place = self._places[item]
        return pictures.image(place)

    def levels(self):
        return imaging.contrast([self.image(item) for item in np.unique(
            np.linspace(0, len(self) - 1, min(len(self), 12)).astype(int))])

    def name(self, item):
        return "Final result" if self.results[item] is FINAL else f"Iteration {self.results[item]}"

    def describe(self, item):
        pictures, place = self._places[item]
        return f"{self.name(item)}\n{pictures.describe(place)}"

    def caption(self, item):
        pictures, place = self._places[item]
        caption = pictures.caption(place)
        return Caption("final" if self.results[item] is FINAL else str(self.results[item]), caption.right, (),
                       caption.faded)
