"""What an ML2D run is given: images, references, class fractions, and whether they fit together."""
from dataclasses import dataclass

import numpy as np

from .errors import UserError
from .formats.images import check_pixels, open_images
from .formats.stack import small_text
from .formats.star import read_star
from .running import fingerprint

CHECKED_AT_ONCE = 500      # images
NORMALISED = 0.3           # background mean, and deviation of its sd from one, that pass as normalised


@dataclass
class Inputs:
    """The images of a run and where it starts from.

    source: :class:`.formats.images.ImageSource`; pixel_size: Å/px or None.
    given: references (G, n, n) of the user, or None; references: their number K once split or generated.
    fractions: (K,) class fractions of the user, with sum one, or None.
    """

    source: object
    pixel_size: float
    given: np.ndarray
    references: int
    fractions: np.ndarray

    def check_pixels(self, rows):
        """:class:`UserError` for the first of the images ``rows`` that holds NaN or Inf, or is constant."""
        for some in np.array_split(rows, -(-len(rows) // CHECKED_AT_ONCE)):
            check_pixels(self.source.read(some), self.source.names(some))

    def normalisation_warning(self, norm):
        """A line for the user when the background is not what the model expects, else None.  norm: --norm is on."""
        rows = np.unique(np.linspace(0, self.source.count - 1, 200).astype(int))
        n = self.source.size
        y, x = np.mgrid[:n, :n] - n // 2
        corners = self.source.read(rows)[:, x**2 + y**2 >= (n / 2) ** 2]
        mean, sd = float(np.median(corners.mean(1))), float(np.median(corners.std(1)))
        if abs(mean) <= NORMALISED and abs(sd - 1) <= NORMALISED:
            return None
        return (f"warning: the background has mean {mean:.3g} and standard deviation {sd:.3g}; "
                f"the model expects 0 and 1: normalise the images first{'' if norm else ', or use --norm'}")

    def fingerprint(self):
        return fingerprint(self.source)


def read_inputs(options, files):
    """Open what ``options`` name (see :mod:`.ml_align2d`); :class:`UserError` for what does not fit.

    files: the :class:`.ml2d_files.RunFiles` that will be written.
    """
    for path in (options.input, options.ref, options.frac):
        if path and files.owns(path):
            raise UserError(f"{path}: a run with --oroot {options.oroot} would overwrite it, expected another --oroot")
    source = open_images(options.input)
    _check_lengths(options, source.size)
    given = _given_references(options, source.size)
    references = (options.nref or 1) * (1 if given is None else len(given))
    if references > source.count:
        raise UserError(f"{'--nref' if given is None else '--ref'}: {references} references for {source.count} "
                        "images, expected at least one image per reference")
    return Inputs(source, options.sampling_rate or source.pixel_size, given, references,
                  given_fractions(options.frac, references))


def _check_lengths(options, size):
    """Lengths that the size of the images limits."""
    for name, highest in (("radius", size / 2), ("max_shift", size / 2), ("offset", size)):
        value = getattr(options, name)
        if value is not None and value > highest:
            raise UserError(f"--{name}: {value:g} px, expected at most {highest:g} for images of {size} px")
    if options.maxres is not None and options.maxres * size < 2:
        raise UserError(f"--maxres: {options.maxres:g}, expected at least {2 / size:.3g} for images of {size} px")


def _given_references(options, size):
    if not options.ref:
        return None
    source = open_images(options.ref)
    if source.size != size:
        raise UserError(f"{options.ref}: references of {source.size} px, expected {size} px "
                        f"like the images of {options.input}")
    rows = np.arange(source.count)
    images = source.read(rows)
    check_pixels(images, source.names(rows))
    return images


def given_fractions(path, references):
    if not path:
        return None
    fractions = _read_fractions(path)
    if len(fractions) != references:
        raise UserError(f"{path}: {len(fractions)} fractions, expected {references}, one per reference")
    if not (np.isfinite(fractions).all() and (fractions >= 0).all() and (fractions > 0).any()):
        raise UserError(f"{path}: fractions must be numbers of at least zero, not all of them zero")
    fractions = fractions / fractions.max()         # whose sum is no more than a number can be
    return fractions / fractions.sum()


def _read_fractions(path):
    """Class fractions from metadata (column weight or classCount) or a text file of numbers."""
    text = small_text(path)
    if "data_" in text:
        for table in read_star(path).values():
            for label in ("weight", "classCount"):
                if label in table:
                    return table.numbers(label)
        raise UserError(f"{path}: no column weight or classCount")
    try:
        return np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise UserError(f"{path}: {error!s:.80}, expected numbers or metadata with a weight column") from None
