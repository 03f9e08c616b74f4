"""What a multi-reference alignment is given: particles, references, mask, poses, CTFs; whether they fit together."""
from dataclasses import dataclass

import numpy as np
from scipy import fft

from .engine import image_filters
from .engine.ctf import Ctf
from .errors import UserError
from .formats.hdf import HdfStack
from .formats.images import check_pixels, open_images
from .geometry import pose_parameters
from .particle_ctf import known_pixel_size, read_ctf
from .running import fingerprint

POSE = "anglePsi", "shiftX", "shiftY", "flip"
UNIT = 1e-3                # how far a transform's scale may be from one
# what EMAN's text of a CTF holds, and what that can be
CTF_LIMITS = {"defocus in µm": (-20, 20), "its difference": (-20, 20), "angle": (-360, 360), "B factor": (-1e5, 1e5),
              "amplitude contrast in %": (-200, 200), "voltage in kV": (1, 3000), "Cs in mm": (-100, 100),
              "pixel size in Å": (1e-3, 100)}


@dataclass
class Inputs:
    """The images of a run and where it starts from.

    source: :class:`.formats.images.ImageSource` of the particles, multiplied by their CTFs where asked for; raw: the
    same as in the files; pixel_size: Å/px or None.  references: (K, n, n).  mask: (n, n), of what is averaged and
    correlated.  rings: (n, n), the part of it that is correlated.  pose: {label: (N,)} where each particle was last;
    attributes: of each image of an HDF stack, None for other files.  ctf, b_factor: of every particle, or None.
    """

    source: object
    raw: object
    pixel_size: float
    references: np.ndarray
    mask: np.ndarray
    rings: np.ndarray
    pose: dict
    attributes: list = None
    ctf: Ctf = None
    b_factor: np.ndarray = None

    def fingerprint(self):
        return fingerprint(self.raw)


class Weighted:
    """Images multiplied by their CTFs, in a box so wide that nothing comes back on the other side.

    Reads like the source itself.  flipped: the images' phases have been flipped already.
    """

    def __init__(self, source, ctf, b_factor, pixel_size, flipped):
        self.source, self.ctf, self.b_factor, self.flipped = source, ctf, b_factor, flipped
        self.count, self.size, self.metadata, self.names = source.count, source.size, source.metadata, source.names
        self._wide = fft.next_fast_len(2 * source.size, real=True)
        y, x = fft.fftfreq(self._wide)[:, None], fft.rfftfreq(self._wide)
        self._radius, self._azimuth = np.hypot(y, x) / pixel_size, np.arctan2(y, x)

    def read(self, rows):
        """float32 (B, size, size)."""
        images, wide = self.source.read(rows), (self._wide, self._wide)
        transfer = self.ctf[rows](self._radius, self._azimuth)
        transfer *= np.exp(-self.b_factor[rows][:, None, None] * self._radius**2 / 4)
        if self.flipped:
            transfer = np.abs(transfer)
        # what surrounds a particle is taken for its mean, which has no edge
        level = images.mean((1, 2), keepdims=True)
        spectra = fft.rfft2(images - level, wide) * transfer
        return fft.irfft2(spectra, wide)[:, : self.size, : self.size].astype(np.float32)


def read_inputs(options):
    """Open what ``options`` name (see :mod:`.mref_ali2d`); :class:`UserError` for what does not fit."""
    source = open_images(options.stack)
    size = source.size
    if size % 2:
        raise UserError(f"{options.stack}: images of {size} px, expected an even number")
    radius = particle_radius(options, size)
    references = _read_references(options.refs, size, options.stack)
    if len(references) > source.count:
        raise UserError(f"{options.refs}: {len(references)} references for {source.count} images, expected at least "
                        "one image per reference")
    distance = image_filters.distances(size)
    mask = (distance <= radius).astype(float)
    if options.mask:
        mask = _read_mask(options.mask, size)
    rings = mask * _rings(distance, options.ir, radius, options.rs)
    if rings.sum() < 10:
        raise UserError(f"{options.mask or '--ou'}: the mask holds {int(rings.sum())} pixels of the rings searched, "
                        "expected at least 10")
    attributes = header_attributes(source)
    pixel_size = options.sampling_rate or source.pixel_size
    inputs = Inputs(source, source, pixel_size, references, mask, rings, _poses(source, attributes), attributes)
    if options.CTF:
        inputs.pixel_size, inputs.ctf, inputs.b_factor, applied = read_ctfs(source, attributes, options.sampling_rate)
        if not applied:
            inputs.source = Weighted(source, inputs.ctf, inputs.b_factor, inputs.pixel_size, options.phase_flipped)
    return inputs


def particle_radius(options, size):
    """Radius of the last ring in px: ``--ou``, or the largest there is."""
    radius = size // 2 - 2 if options.ou == -1 else options.ou
    if not 1 < radius < size / 2 - 1:
        raise UserError(f"--ou: {radius:g} px, expected more than 1 and less than {size / 2 - 1:g} for images of "
                        f"{size} px (-1 for {size // 2 - 2})")
    if options.ir > radius:
        raise UserError(f"--ir: the first ring at {options.ir:g} px lies outside the last one at {radius:g}")
    return float(radius)


def _rings(distance, first, last, step):
    """Pixels (n, n) of the rings at first, first + step ... last, one pixel wide each; weights keep their area."""
    nearest = np.rint((distance - first) / step)
    on_ring = (np.abs(distance - first - step * nearest) <= 0.5) & (distance <= last)
    # the centre is no ring, but nothing is gained by leaving it out
    inside = distance >= first - 0.5 if first > 1 else True
    return (on_ring & inside) * float(step)


def _read_references(path, size, stack):
    source = open_images(path)
    if source.size != size:
        raise UserError(f"{path}: references of {source.size} px, expected {size} px like the images of {stack}")
    rows = np.arange(source.count)
    images = source.read(rows)
    check_pixels(images, source.names(rows))
    return images.astype(float)


def _read_mask(path, size):
    source = open_images(path)
    if source.count != 1 or source.size != size:
        raise UserError(f"{path}: {source.count} images of {source.size} px, expected one mask of {size} px")
    mask = source.read([0])[0].astype(float)
    if not np.isfinite(mask).all() or mask.min() < 0 or mask.max() > 1:
        raise UserError(f"{path}: values from {mask.min():g} to {mask.max():g}, expected a mask from 0 to 1")
    return mask


# ---- poses and CTFs from EMAN's headers or from metadata columns

def header_attributes(source):
    """Attributes of every image, if all of them are in one HDF stack; else None."""
    places = {image.partition("@")[2] for image in source.metadata["image"]}
    if len(places) != 1 or not next(iter(places)).lower().endswith((".hdf", ".h5", ".hdf5")):
        return None
    stack = HdfStack(next(iter(places)))
    return [stack.attributes(int(image.partition("@")[0]) - 1) for image in source.metadata["image"]]


def _poses(source, attributes):
    """Where each particle was last, columns of :data:`POSE`; zero where nothing says."""
    table, count = source.metadata, source.count
    if any(label in table for label in POSE):
        return {label: table.numbers(label) if label in table else np.zeros(count) for label in POSE}
    matrices = np.tile(np.eye(3), (count, 1, 1))
    for i, header in enumerate(attributes or ()):
        if "xform.align2d" in header:
            transform = np.asarray(header["xform.align2d"])
            if transform.shape != (3, 4) or not np.isfinite(transform).all():
                raise UserError(f"{table.path}: {source.names([i])[0]}: xform.align2d is no transform")
            matrices[i, :2, :2], matrices[i, :2, 2] = transform[:2, :2], transform[:2, 3]
    scale = np.sqrt(np.abs(np.linalg.det(matrices[:, :2, :2])))
    bad = np.flatnonzero(np.abs(scale - 1) > UNIT)
    if len(bad):
        raise UserError(f"{table.path}: {source.names(bad[:1])[0]}: xform.align2d scales by {scale[bad[0]]:.3g}, "
                        "expected a transform of scale 1")
    return dict(zip(POSE, pose_parameters(matrices)))


def read_ctfs(source, attributes, sampling_rate=None):
    """Pixel size, :class:`Ctf`, B factors, and whether images have been multiplied by their CTFs already.

    From metadata columns, else from ``attributes``, see :func:`header_attributes`.  sampling_rate: Å/px from the user.
    """
    if attributes is None or "ctfDefocusU" in source.metadata:
        return known_pixel_size(source, sampling_rate), read_ctf(source, sampling_rate), np.zeros(source.count), False
    names = source.names(np.arange(source.count))
    values = np.array([_header_ctf(header, name) for header, name in zip(attributes, names)])
    defocus, difference, angle, b_factor, contrast, voltage, cs, apix = values.T
    ctf = Ctf(1e4 * (defocus + difference / 2), 1e4 * (defocus - difference / 2), angle, voltage, cs,
              contrast / 100, np.zeros(len(values)))
    sizes = set(np.round(apix, 4))
    if not sampling_rate and len(sizes) > 1:
        raise UserError(f"{source.metadata.path}: pixel sizes from {min(sizes):g} to {max(sizes):g} Å in the ctf "
                        "headers, expected one for all images")
    applied = {bool(header.get("ctf_applied", 0)) for header in attributes}
    if len(applied) > 1:
        raise UserError(f"{source.metadata.path}: ctf_applied is set for some images only, expected all or none")
    return sampling_rate or float(apix[0]), ctf, b_factor, applied.pop()


def _header_ctf(header, name):
    """defocus (µm), difference, angle, B, amplitude contrast (%), voltage, Cs, Å/px from EMAN's text ``E...``."""
    text = header.get("ctf")
    if not isinstance(text, str) or not text.startswith("E"):
        raise UserError(f"{name}: no CTF in the header, expected an attribute ctf such as "
                        "'E1.5 0 0 0 10 300 2.7 1.2 ...'; or leave out --CTF")
    try:
        values = [float(word) for word in text[1:].split()[:8]]
    except ValueError:
        values = []
    if len(values) < len(CTF_LIMITS) or not all(low <= value <= high for value, (low, high)
                                                in zip(values, CTF_LIMITS.values())):
        raise UserError(f"{name}: ctf is {text[:60]!r}, expected E and eight numbers: "
                        + ", ".join(f"{what} ({low:g} to {high:g})" for what, (low, high) in CTF_LIMITS.items()))
    return values
