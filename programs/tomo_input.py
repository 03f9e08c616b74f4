"""What a run of ml_tomo is given: particles with regions and poses, references, a mask, and whether they fit."""
from dataclasses import dataclass

import numpy as np

from .engine.missing import EVERYTHING
from .engine.sphere import symmetry
from .engine.volume_estimator import Poses
from .errors import UserError
from .formats.docfile import merged, read_orientations
from .formats.images import check_pixels
from .formats.volumes import open_volumes
from .geometry3d import rotation_matrix
from .missing_regions import read_regions
from .ml2d_input import given_fractions
from .running import fingerprint

ANGLES, SHIFTS = ("angleRot", "angleTilt", "anglePsi"), ("shiftX", "shiftY", "shiftZ")
LOOKED_AT = 20             # volumes, for the normalisation
FOURIER_VOXELS = 2         # from the origin that --maxres must reach


@dataclass
class TomoInputs:
    """The particles of a run and where it starts from.

    source: :class:`.formats.volumes.VolumeSource`; metadata: its rows with --doc merged in; pixel_size: Å or None.
    regions: list of the missing regions in use; region_of: (N,) index into it.
    poses: :class:`.engine.volume_estimator.Poses` as given, shifts in voxels of the input; what is not given is zero.
    angles_given: whether the angles are.  given: references (G, n, n, n) or None; references: their number K;
    fractions: (K,) or None.  mask: (n, n, n) or None.  group: SciPy Rotation, the references' symmetry.
    """

    source: object
    metadata: object
    pixel_size: float
    regions: list
    region_of: np.ndarray
    poses: Poses
    angles_given: bool
    given: np.ndarray
    references: int
    fractions: np.ndarray
    mask: np.ndarray
    group: object

    def check_voxels(self, rows):
        """:class:`UserError` for the first of the volumes ``rows`` that holds NaN or Inf, or is constant."""
        for row in rows:
            check_pixels(self.source.read([row]), self.source.names([row]))

    def normalisation_warning(self):
        """A line for the user when the volumes are not what the model expects, else None."""
        rows = np.unique(np.linspace(0, self.source.count - 1, LOOKED_AT).astype(int))
        deviations = np.array([float(self.source.read([row]).std()) for row in rows])
        low, high = deviations.min(), deviations.max()
        if low > 0.3 and high < 3:
            return None
        return (f"warning: standard deviations of the volumes are {low:.3g} to {high:.3g}; the model expects noise of "
                "about 1 in all of them: normalise the volumes first")

    def fingerprint(self):
        return fingerprint(self.source)


def read_inputs(options, files):
    """Open what ``options`` name (see :mod:`.ml_tomo`); :class:`UserError` for what does not fit.

    files: the :class:`.tomo_files.TomoFiles` that will be written.
    """
    for path in (options.input, options.doc, options.missing, options.ref, options.frac, options.mask):
        if path and files.owns(path):
            raise UserError(f"{path}: a run with --oroot {options.oroot} would overwrite it, expected another --oroot")
    source = open_volumes(options.input)
    metadata = merged(source.metadata, read_orientations(options.doc)) if options.doc else source.metadata
    _check_lengths(options, source.size)
    given, weights = _given_references(options, source.size)
    references = options.nref if given is None else len(given)
    if references > source.count:
        raise UserError(f"{'--nref' if given is None else '--ref'}: {references} references for {source.count} "
                        "volumes, expected at least one volume per reference")
    angles_given = all(label in metadata for label in ANGLES)
    _check_poses(options, metadata, angles_given)
    regions, region_of = _regions(options, source, metadata)
    fractions = given_fractions(options.frac, references) if options.frac else weights
    return TomoInputs(source, metadata, options.pixel_size or source.pixel_size, regions, region_of,
                      _poses(metadata, references, options, source), angles_given, given, references, fractions,
                      _mask(options, source.size), symmetry(options.sym))


def working_box(dim, size):
    """Side of the box worked in for a value of --dim: of the input's parity, so that origins agree."""
    if dim <= 0:
        return size
    return min(dim + (dim - size) % 2, size)


def _check_lengths(options, size):
    for dim in options.dim:
        if dim > size:
            raise UserError(f"--dim: {dim}, expected at most the input's box, {size} voxels")
    boxes = [working_box(dim, size) for dim in options.dim]
    for maxres in options.maxres:
        if maxres * min(boxes) < FOURIER_VOXELS:
            raise UserError(f"--maxres: {maxres:g}, expected at least {FOURIER_VOXELS / min(boxes):.3g} for a box of "
                            f"{min(boxes)} voxels")
    for name, highest in (("radius", size / 2), ("offset", size)):
        value = getattr(options, name)
        if value is not None and value > highest:
            raise UserError(f"--{name}: {value:g} voxels, expected at most {highest:g} for volumes of {size} voxels")
    for limit in options.limit_trans:
        if limit > size / 2:
            raise UserError(f"--limit_trans: {limit:g} voxels, expected at most {size / 2:g} for volumes of {size}")


def _given_references(options, size):
    """(volumes (G, n, n, n) or None, their class fractions or None)."""
    if not options.ref:
        return None, None
    source = open_volumes(options.ref)
    if source.size != size:
        raise UserError(f"{options.ref}: references of {source.size} voxels, expected {size} like the volumes of "
                        f"{options.input}")
    rows = np.arange(source.count)
    volumes = source.read(rows)
    check_pixels(volumes, source.names(rows))
    if "weight" not in source.metadata:
        return volumes, None
    weights = source.metadata.numbers("weight")
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise UserError(f"{options.ref}: weights must be numbers of at least zero, not all of them zero")
    return volumes, weights / weights.sum()


def _check_poses(options, metadata, angles_given):
    """Options that need the particles' poses have them."""
    needing = [f"--{name}" for name in ("keep_angles", "dont_rotate", "dont_align", "only_average")
               if getattr(options, name)]
    fixed = [name for name in needing if name != "--keep_angles"]
    local = options.ang_search[0] > 0
    for option, labels in ((fixed[:1], ANGLES + SHIFTS), (needing[:1], ANGLES), (["--ang_search"] * local, ANGLES),
                           (["--anchor"] * options.anchor, ANGLES)):
        lacking = [label for label in labels if label not in metadata]
        if option and lacking:
            raise UserError(f"{option[0]}: {options.doc or metadata.path} has no column _{lacking[0]}, expected every "
                            f"volume's {' '.join('_' + label for label in labels)}")


def _regions(options, source, metadata):
    """(regions in use, index of each particle's)."""
    if not options.missing:
        return [EVERYTHING], np.zeros(source.count, int)
    regions = read_regions(options.missing)
    if "missingRegionNumber" not in metadata:
        if len(regions) > 1:
            raise UserError(f"{metadata.path}: no column _missingRegionNumber, expected which of the {len(regions)} "
                            f"regions of {options.missing} each volume has")
        return list(regions.values()), np.zeros(source.count, int)
    numbers = metadata.numbers("missingRegionNumber")
    unknown = np.flatnonzero(~np.isin(numbers, list(regions)))
    if len(unknown):
        row = unknown[0]
        raise UserError(f"{metadata.path}: {source.names([row])[0]}: missing region {numbers[row]:g} is not defined in "
                        f"{options.missing}, expected one of {', '.join(map(str, regions))}")
    used = sorted(set(numbers.astype(int)))
    return [regions[number] for number in used], np.searchsorted(used, numbers)


def _poses(metadata, references, options, source):
    count = source.count
    poses = Poses.unknown(count)
    columns = {label: metadata.numbers(label) if label in metadata else np.zeros(count) for label in (*ANGLES, *SHIFTS)}
    for label, values in columns.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise UserError(f"{metadata.path}: {source.names([bad[0]])[0]}: _{label} is {values[bad[0]]}, expected a "
                            "number")
    poses.matrices = rotation_matrix(*(columns[label] for label in ANGLES))
    poses.shifts = np.stack([columns[label] for label in SHIFTS], 1)
    if "ref" in metadata:
        ref = metadata.numbers("ref")
        poses.ref = np.where((ref >= 1) & (ref <= references), ref, 0).astype(int) - 1
    if options.only_average:
        _check_classes(metadata, poses, references, source)
    return poses


def _check_classes(metadata, poses, references, source):
    if references == 1 and "ref" not in metadata:
        poses.ref[:] = 0
    unknown = np.flatnonzero(poses.ref < 0)
    if len(unknown):
        raise UserError(f"--only_average: {source.names([unknown[0]])[0]}: expected its class in column _ref, 1 to "
                        f"{references}")


def _mask(options, size):
    if not options.mask:
        return None
    source = open_volumes(options.mask)
    if source.count != 1 or source.size != size:
        raise UserError(f"{options.mask}: {source.count} volumes of {source.size} voxels, expected one of {size} "
                        f"voxels like those of {options.input}")
    mask = source.read([0])[0]
    if not (np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1 and mask.max() > 0):
        raise UserError(f"{options.mask}: values from {mask.min():g} to {mask.max():g}, expected a mask of 0 to 1")
    return mask
