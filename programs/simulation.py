"""The work of simulate: references, poses, particles, files."""
from pathlib import Path

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from .errors import UserError
from .formats.images import check_pixels, open_images
from .formats.mrc import read_volume, stack_writer, write_stack
from .formats.star import write_star
from .phantoms import Placer, circle, phantoms, projections

CHUNK = 1000          # images made at a time
VIEWS, BOX, PIXEL = 3, 64, 3.0  # when neither options nor files say otherwise
INSIDE = 0.99         # share of a map's power that the box's circle must hold


def run(arguments):
    """Make the references, then the particles, and write them all."""
    view_rng, pose_rng, noise_rng = (np.random.default_rng([arguments.seed, stream]) for stream in range(3))
    references, pixel = _references(arguments, view_rng)
    count, size = arguments.count, references.shape[-1]
    poses = truth(pose_rng, count, len(references), arguments.offset, arguments.mirror, arguments.contrast)

    stack, star = f"{arguments.oroot}particles.mrcs", f"{arguments.oroot}particles.star"
    write_stack(f"{arguments.oroot}references.mrcs", references, pixel)
    with stack_writer(stack, pixel) as writer, tqdm(total=count, unit=" particles", disable=None) as bar:
        for images in particles(references, poses, noise_rng):
            writer.append(images)
            bar.update(len(images))
    names = np.array([f"{i:06d}@{Path(stack).name}" for i in range(1, count + 1)], dtype=object)
    ones = np.ones(count, int)
    rows = {"rlnImageName": names, "rlnOpticsGroup": ones}
    write_star(star, {"optics": _optics(size, pixel), "particles": rows})
    rows = {"itemId": np.arange(1, count + 1), "image": names, "enabled": ones, **poses}
    write_star(f"{arguments.oroot}truth.xmd", {"particles": rows})
    print(f"{count} particles of {len(references)} references, {size} px of {pixel:g} Å: {star}")


def truth(rng, count, classes, offset=2.0, mirror=False, contrast=0.0):
    """Random classes and poses of ``count`` particles: dict of arrays (count,) keyed by label.

    ref counts from 1; anglePsi is in degrees, shifts in px; the pose aligns a particle with its reference;
    intScale multiplies its signal.
    """
    return {
        "ref": rng.integers(1, classes + 1, count),
        "anglePsi": rng.uniform(0, 360, count),
        "shiftX": offset * rng.standard_normal(count),
        "shiftY": offset * rng.standard_normal(count),
        "flip": rng.integers(0, 2, count) if mirror else np.zeros(count, int),
        "intScale": np.exp(contrast * rng.standard_normal(count)),
    }


def normalised(references, snr):
    """References (K, n, n) on a zero background, cut to the box's circle, of signal variance ``snr``.

    The variance is over the pixels within n/2 of the origin.  Raises ValueError for a constant image.
    """
    size = references.shape[-1]
    edge = _soft_edge(size)
    disk, mask = circle(size, size / 2) > 0, circle(size, size / 2 - 1 - edge, edge)
    rim = disk & (mask < 0.5)
    images = (references - references[:, rim].mean(1)[:, None, None]) * mask
    deviation = images[:, disk].std(1)
    if not deviation.all():
        raise ValueError(f"image {np.argmin(deviation) + 1} is constant")
    return images * (np.sqrt(snr) / deviation)[:, None, None]


def particles(references, poses, rng, chunk=CHUNK):
    """Yield the particles that ``poses`` describes, with noise, in stacks (chunk or fewer, n, n) float32.

    references: (K, n, n), zero at the edges; poses: as :func:`truth` gives.  Chunks do not change the images.
    """
    place = Placer(references)
    size = references.shape[-1]
    columns = [poses[label] for label in ("ref", "anglePsi", "shiftX", "shiftY", "flip", "intScale")]
    for first in range(0, len(columns[0]), chunk):
        rows = list(zip(*(column[first:first + chunk].tolist() for column in columns)))
        images = rng.standard_normal((len(rows), size, size), dtype=np.float32)
        for image, (ref, psi, x, y, flip, scale) in zip(images, rows):
            image += scale * place(ref - 1, psi, x, y, flip)
        yield images


# ---- references

def _references(arguments, rng):
    """The normalised references (K, n, n) and their pixel size in Å."""
    if arguments.refs:
        source, (images, pixel) = arguments.refs, _given(arguments)
    elif arguments.maps:
        source, (images, pixel) = "--maps", _projected(arguments, rng)
    else:
        source, images, pixel = "--views", phantoms(arguments.views or VIEWS, arguments.box or BOX), PIXEL
    try:
        return normalised(images, arguments.snr), arguments.pixel_size or pixel
    except ValueError as error:
        raise UserError(f"{source}: {error}, expected an image with contrast") from error


def _given(arguments):
    """The references of a stack (K, n, n) and their pixel size."""
    source = open_images(arguments.refs)
    if arguments.box not in (None, source.size):
        raise UserError(f"{arguments.refs}: images of {source.size} pixels, expected {arguments.box} (--box)")
    images = source.read(slice(None))
    check_pixels(images, source.names(slice(None)))
    return images.astype(float), source.pixel_size or PIXEL


def _projected(arguments, rng):
    """Projections of the maps (K, n, n), map by map, and their pixel size."""
    size = arguments.box or BOX
    maps = [read_volume(path) for path in arguments.maps]
    for path, (volume, voxel) in zip(arguments.maps, maps):
        if voxel is None or len(volume) == 1:
            raise UserError(f"{path}: expected a 3-D map with its voxel size in the header")
    pixel = arguments.pixel_size or max(voxel for _, voxel in maps)
    for path, (volume, voxel) in zip(arguments.maps, maps):
        if _radius(volume) * voxel / pixel > size / 2 - 1 - _soft_edge(size) / 2:
            raise UserError(f"{path}: does not fit in {size} pixels of {pixel:g} Å, "
                            "expected a larger --box or --pixel_size")
    views = [projections(*each, arguments.views_per_map, size, pixel, rng) for each in maps]
    return np.concatenate(views), pixel


def _radius(volume):
    """Distance in voxels from a map's centre of mass within which nearly all of its power lies."""
    axes = [np.arange(n) - c for n, c in zip(volume.shape, ndimage.center_of_mass(volume))]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    distance = np.sqrt(z**2 + y**2 + x**2).ravel()
    order = np.argsort(distance)
    power = np.cumsum(np.square(volume, dtype=float).ravel()[order])
    return distance[order[np.searchsorted(power, INSIDE * power[-1])]]


def _soft_edge(size):
    """Width in px of the references' soft edge."""
    return max(2.0, size / 20)


# ---- files

def _optics(size, pixel):
    """The optics table of RELION 3.1, one group."""
    return {
        "rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [pixel], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [pixel], "rlnImageSize": [size],
        "rlnImageDimensionality": [2],
    }
