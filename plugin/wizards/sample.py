"""Some particles of a set, as wizards show them and learn from them."""
from functools import cached_property

import numpy as np
from pwem.objects import Volume
from scipy.ndimage import gaussian_filter

from mlalign.programs import suggest
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.volumes import open_volume_file

MOST, VALUES = 500, 1.5e7       # particles read, and pixels of all of them
FEWEST = 8
THICKNESS = 5                   # % of the box: of the section of a volume that is shown


class Sample:
    """Particles spread over a set: images (B, n, n) or volumes (B, n, n, n), normalised by their background.

    items : float32; count : how many the set has; pixel : Å/px; size : n; volumes : whether they are
    Raises :class:`UserError` for particles that cannot be read, or whose boxes are no squares or cubes of one size.
    """

    def __init__(self, particles, wanted=lambda item: True):
        """wanted: item -> whether to look at it."""
        self.count, self.pixel = particles.getSize(), particles.getSamplingRate()
        self.raw = _read(particles, wanted)
        self.size, self.volumes = self.raw.shape[-1], self.raw.ndim == 4
        self.items = suggest.standardised(self.raw)

    @cached_property
    def profile(self):
        return suggest.radial_profile(self.items)

    @cached_property
    def edge(self):
        """Where the particle ends, px; None when it cannot be told."""
        return suggest.particle_edge(self.profile)

    @cached_property
    def radius(self):
        """The suggested radius, px; None when it cannot be told."""
        return suggest.suggested_radius(self.profile)

    @cached_property
    def noise_ratio(self):
        """Signal-to-noise ratio of a single particle; None when the particle cannot be told from the background."""
        return None if self.edge is None else suggest.signal_to_noise(self.profile, self.edge) or None

    @cached_property
    def spectrum(self):
        """Signal over noise by frequency; None when it cannot be told."""
        return None if self.edge is None else suggest.signal_spectrum(self.items, self.edge)

    @cached_property
    def limit(self):
        """The suggested highest frequency, 1/px; None when it cannot be told."""
        return suggest.suggested_limit(self.spectrum)

    @cached_property
    def images(self):
        """(B, n, n): the particles as they can be shown; of volumes the middle section."""
        return np.array([section(item) for item in self.items])

    @cached_property
    def average(self):
        """(n, n): the mean of all, as they lie."""
        return section(self.items.mean(0))


def section(item):
    """An image as it is; of a volume the mean of its middle sections across z."""
    if item.ndim == 2:
        return item
    half = max(0, round(len(item) * THICKNESS / 200))
    return item[len(item) // 2 - half:len(item) // 2 + half + 1].mean(0)


def smooth(images):
    """Images (B, n, n) or (n, n) blurred so far that faint particles can be seen."""
    width = max(0.8, images.shape[-1] / 50)
    return gaussian_filter(images, (0,) * (images.ndim - 2) + (width, width))


def montage(images, columns):
    """Images (B, n, n) side by side, ``columns`` to a row, each scaled to its own range: 0 to 1."""
    low, high = np.percentile(images, (1, 99), axis=(1, 2), keepdims=True)
    images = np.clip((images - low) / np.maximum(high - low, 1e-30), 0, 1)
    count, n = len(images), images.shape[-1]
    rows = -(-count // columns)
    tiles = np.ones((rows * columns, n, n))
    tiles[:count] = images
    return tiles.reshape(rows, columns, n, n).swapaxes(1, 2).reshape(rows * n, columns * n)


def _read(particles, wanted):
    ids, items, files, read = sorted(particles.getIdSet()), [], {}, 0
    if not ids:
        raise UserError("the set has no particles")
    for place in _spread(len(ids)):
        item = particles[ids[place]]
        if not item.isEnabled() or not wanted(item):
            continue
        items.append(_pixels(item, files))
        if items[-1].shape != items[0].shape or len(set(items[-1].shape)) > 1:
            raise UserError(f"{item.getFileName()}: a box of {' x '.join(map(str, items[-1].shape[::-1]))}, expected "
                            f"sides of one length, as in all particles")
        read += items[-1].size
        if len(items) >= MOST or (read >= VALUES and len(items) >= FEWEST):
            break
    if not items:
        raise UserError("none of the particles looked at is enabled")
    return np.array(items)


def _spread(count):
    """Numbers below ``count`` in an order whose every beginning is spread evenly."""
    if count <= MOST:
        return np.random.default_rng(0).permutation(count)
    return np.random.default_rng(0).permutation(np.unique(np.linspace(0, count - 1, 2 * MOST).astype(int)))


def _pixels(item, files):
    """The image or volume of an item; files: what was opened before, by path."""
    index, path = item.getLocation()
    if path not in files:
        files[path] = open_volume_file(path) if isinstance(item, Volume) else open_stack(path)
    return files[path].read([max(index, 1) - 1])[0]

