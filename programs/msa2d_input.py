"""What a reference-free classification is given: particles, those to leave out, CTFs, averages to start from."""
import zlib
from dataclasses import dataclass

import numpy as np

from .engine.ctf import Ctf, PhaseFlipped
from .engine.processors import process
from .errors import UserError
from .formats.images import check_pixels, open_images
from .formats.stack import small_text
from .formats.whole_numbers import DIGITS
from .mref_input import fingerprint, header_attributes, read_ctfs

CHECKED_AT_ONCE = 500     # images
FEWEST = 2                # particles
SMALLEST_BOX = 16         # px


@dataclass
class Inputs:
    """The particles of a run.

    source: as they are averaged, normalised and with flipped phases; raw: as in the files.  pixel_size: Å/px or None.
    used: (U,) numbers of those that are not left out.  ctf: of all particles, or None.  radius, max_shift: px.
    initial: (K, n, n), or None.
    """

    source: object
    raw: object
    pixel_size: float
    used: np.ndarray
    ctf: Ctf
    radius: float
    max_shift: float
    initial: np.ndarray = None

    def fingerprint(self):
        """A number that tells these images, and those of them in use, from others."""
        return zlib.crc32(self.used.astype("<i8").tobytes(), fingerprint(self.raw))


class Normalised:
    """Images of a source after a processor; reads like the source itself."""

    def __init__(self, source, processor):
        self.source, self.processor, self.count, self.size = source, processor, source.count, source.size

    def read(self, rows):
        return process(self.processor.name, self.source.read(rows), **self.processor.options)


def read_inputs(options):
    """Open what ``options`` name (see :mod:`.refine2d`); :class:`UserError` for what does not fit."""
    raw = open_images(options.input)
    size = raw.size
    if size % 2 or size < SMALLEST_BOX:
        raise UserError(f"{options.input}: images of {size} px, expected an even number, at least {SMALLEST_BOX}")
    used = _used(options.exclude, raw.count, options.input)
    if len(used) < max(FEWEST, options.ncls):
        raise UserError(f"{options.input}: {len(used)} particles for {options.ncls} classes, expected at least "
                        f"{max(FEWEST, options.ncls)}")
    pixel_size, ctf = _ctfs(options, raw)
    source = PhaseFlipped(raw, ctf, pixel_size) if options.phase_flip else raw
    return Inputs(source, raw, pixel_size, used, ctf, _radius(options.radius, size),
                  size // 3 if options.maxshift < 0 else float(options.maxshift), _initial(options, size))


def check_particles(inputs, processor):
    """:class:`UserError` for the first particle that cannot be used, and where nothing is left of one.

    processor: what was given as --classnormproc, for the message.
    """
    for start in range(0, len(inputs.used), CHECKED_AT_ONCE):
        some = inputs.used[start : start + CHECKED_AT_ONCE]
        check_pixels(inputs.raw.read(some), inputs.raw.names(some))
    first = inputs.source.read(inputs.used[:1])
    if not (np.isfinite(first).all() and np.ptp(first) > 0):
        raise UserError(f"--classnormproc {processor}: leaves nothing of the particles, expected other options of it")


def _used(path, count, stack):
    """Numbers (U,) of the particles that the file of --exclude does not list."""
    left_out = np.zeros(count, bool)
    if path:
        for word in small_text(path).replace(",", " ").split():
            if not (word.isascii() and word.isdigit()) or len(word) > DIGITS or int(word) >= count:
                raise UserError(f"--exclude {path}: found '{word:.40}', expected numbers of particles from 0 to "
                                f"{count - 1}, for {stack} has {count}")
            left_out[int(word)] = True
    return np.flatnonzero(~left_out)


def _ctfs(options, raw):
    """Pixel size and CTFs; None for what is not known."""
    attributes = None if "ctfDefocusU" in raw.metadata else header_attributes(raw)
    in_headers = attributes is not None and all("ctf" in header for header in attributes)
    if "ctfDefocusU" in raw.metadata or "ctfModel" in raw.metadata or in_headers:
        return read_ctfs(raw, attributes, options.sampling_rate)[:2]
    if options.phase_flip:
        raise UserError(f"--phase_flip: {options.input} has no CTFs, expected columns such as _rlnDefocusU, or "
                        "attributes ctf in HDF headers")
    return options.sampling_rate or raw.pixel_size, None


def _radius(wanted, size):
    if wanted == -1:
        return size / 2 - max(5, size / 12)
    if not 2 <= wanted <= size / 2:
        raise UserError(f"--radius: {wanted:g} px, expected 2 to {size / 2:g} for images of {size} px")
    return wanted


def _initial(options, size):
    if not options.initial:
        return None
    source = open_images(options.initial)
    if source.size != size:
        raise UserError(f"{options.initial}: averages of {source.size} px, expected {size} px like the images of "
                        f"{options.input}")
    images = source.read(np.arange(source.count))
    alike = images.min((1, 2)) == images.max((1, 2))           # empty classes
    if alike.all():
        raise UserError(f"{options.initial}: all {len(images)} averages are constant, expected some with signal")
    images = images[~alike]
    check_pixels(images, source.names(np.flatnonzero(~alike)))
    return images
