"""The work of simulate: references, poses, particles, files."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .errors import UserError
from .formats.images import check_pixels, open_images
from .formats.labels import RELION
from .formats.mrc import stack_writer, write_stack
from .formats.star import write_star
from .imaging import ColouredNoise, Microscope, random_ctfs
from .maps import check_fits, read_maps, soft_edge
from .phantoms import Placer, ball, circle, phantoms, projections

POSE = "ref", "anglePsi", "shiftX", "shiftY", "flip", "intScale"
CHUNK = 1000          # images made at a time
VIEWS, BOX, PIXEL = 3, 64, 3.0  # when neither options nor files say otherwise
MEASURED = 1000       # particles on which the strength of the signal behind the CTF is measured, at most


def run(arguments):
    """Make the references, then the particles, and write them all."""
    _check(arguments)
    view_rng, pose_rng, noise_rng, ctf_rng, outlier_rng = (
        np.random.default_rng([arguments.seed, stream]) for stream in range(5))
    references, pixel = _references(arguments, view_rng)
    count, size = arguments.count, references.shape[-1]
    poses = truth(pose_rng, count, len(references), arguments.offset, arguments.mirror, arguments.contrast)
    ctfs, micrographs = _ctfs(arguments, ctf_rng)
    imaging = Imaging(
        microscope=Microscope(ctfs, size, pixel) if ctfs is not None else None,
        noise=ColouredNoise(arguments.noise_fall, size) if arguments.noise_fall > 1 else None,
        flip=arguments.phase_flip, outlier_noise=arguments.outlier_noise)
    if ctfs is not None:
        references *= np.sqrt(arguments.snr / signal_variance(references, poses, imaging.microscope))
    outliers = outlier_rng.permutation(count)[:round(arguments.outliers * count)]
    poses["ref"][outliers] = poses["intScale"][outliers] = 0

    stack, star = f"{arguments.oroot}particles.mrcs", f"{arguments.oroot}particles.star"
    write_stack(f"{arguments.oroot}references.mrcs", references, pixel)
    with stack_writer(stack, pixel) as writer, tqdm(total=count, unit=" particles", disable=None) as bar:
        for images in particles(references, poses, noise_rng, imaging=imaging):
            writer.append(images)
            bar.update(len(images))
    if imaging.noise:
        rows = dict(zip(("resolutionFreqFourier", "mlfNoise"), imaging.noise.spectrum()))
        write_star(f"{arguments.oroot}noise.xmd", {"ctf000001": rows})
    names = np.array([f"{i:06d}@{Path(stack).name}" for i in range(1, count + 1)], dtype=object)
    ones = np.ones(count, int)
    rows = {"rlnImageName": names, **_relion_ctf(ctfs, micrographs), "rlnOpticsGroup": ones}
    write_star(star, {"optics": _optics(arguments, size, pixel), "particles": rows})
    rows = {"itemId": np.arange(1, count + 1), "image": names, "enabled": ones, **poses}
    rows |= _xmipp_ctf(ctfs, micrographs, pixel)
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
    """References (K, n, n) or (K, n, n, n) on a zero background, cut to the box's circle or sphere.

    Their signal variance, over the pixels within n/2 of the origin, is ``snr``.  Raises ValueError for a constant one.
    """
    size, dimensions = references.shape[-1], references.ndim - 1
    each = slice(None), *[None] * dimensions
    edge = soft_edge(size)
    inside, mask = ball(size, size / 2, 0, dimensions) > 0, ball(size, size / 2 - 1 - edge, edge, dimensions)
    rim = inside & (mask < 0.5)
    images = (references - references[:, rim].mean(1)[each]) * mask
    deviation = images[:, inside].std(1)
    if not deviation.all():
        raise ValueError(f"{'image' if dimensions == 2 else 'volume'} {np.argmin(deviation) + 1} is constant")
    return images * (np.sqrt(snr) / deviation)[each]


@dataclass(frozen=True)
class Imaging:
    """What happens between a particle and its image; by default white noise of standard deviation 1 is added.

    microscope: the CTFs; noise: coloured noise; flip: whether phases are flipped in the end; outlier_noise: the
    noise's standard deviation in images of nothing (ref 0).
    """

    microscope: Microscope = None
    noise: ColouredNoise = None
    flip: bool = False
    outlier_noise: float = 1.0


def particles(references, poses, rng, chunk=CHUNK, imaging=Imaging()):
    """Yield the particles that ``poses`` describes, with noise, in stacks (chunk or fewer, n, n) float32.

    references: (K, n, n), zero at the edges; poses: as :func:`truth` gives; ref 0 is an image of noise only.
    Chunks do not change the images.
    """
    place, size, count = Placer(references), references.shape[-1], len(poses["ref"])
    microscope, noise = imaging.microscope, imaging.noise
    for first in range(0, count, chunk):
        rows = range(first, min(first + chunk, count))
        if noise:
            images = np.stack([noise(rng) for _ in rows])
        else:
            images = rng.standard_normal((len(rows), size, size), dtype=np.float32)
        for row, image in zip(rows, images):
            ref, *pose, scale = (poses[label][row] for label in POSE)
            if ref:
                signal = scale * place(ref - 1, *pose)
                image += microscope(signal, row) if microscope else signal
            else:
                image *= imaging.outlier_noise
            if imaging.flip:
                image[:] = microscope.flip(image, row)
        yield images


def signal_variance(references, poses, microscope):
    """Variance of the pixels inside the box's circle that the CTF leaves, as a mean over the particles.

    Of many particles an even sample is measured.  Contrasts do not count.
    """
    place, size, count = Placer(references), references.shape[-1], len(poses["ref"])
    disk = circle(size, size / 2) > 0
    rows = np.unique(np.linspace(0, count - 1, min(count, MEASURED)).astype(int))
    signals = (place(poses["ref"][row] - 1, *(poses[label][row] for label in POSE[1:-1])) for row in rows)
    return np.mean([microscope(signal, row)[disk].var() for row, signal in zip(rows, signals)])


def _check(arguments):
    """Options that contradict each other are a :class:`UserError`."""
    if arguments.defocus:
        low, high = arguments.defocus
        if low > high:
            raise UserError(f"--defocus {low:g} {high:g}: expected the lower value first")
        return
    for option in ("astigmatism", "phase_shift", "micrographs", "phase_flip"):
        if getattr(arguments, option):
            raise UserError(f"--{option} without a CTF: expected --defocus, too")


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
    maps = read_maps(arguments.maps)
    pixel = arguments.pixel_size or max(voxel for _, voxel in maps)
    check_fits(arguments.maps, maps, size, pixel, "--pixel_size")
    views = [projections(*each, arguments.views_per_map, size, pixel, rng) for each in maps]
    return np.concatenate(views), pixel


# ---- the CTF

def _ctfs(arguments, rng):
    """Every particle's CTF and the number of its micrograph; None for what was not asked for."""
    if not arguments.defocus:
        return None, None
    count = arguments.micrographs or arguments.count
    ctfs = random_ctfs(rng, count, arguments.defocus, arguments.astigmatism, arguments.voltage, arguments.cs,
                       arguments.q0, arguments.phase_shift)
    if not arguments.micrographs:
        return ctfs, None
    micrographs = np.arange(arguments.count) * count // arguments.count
    return ctfs[micrographs], micrographs


def _micrograph_names(micrographs):
    return np.array([f"micrograph{number + 1:05d}.mrc" for number in micrographs], dtype=object)


# ---- files

def _relion_ctf(ctfs, micrographs):
    """The columns of RELION's particles that tell of the CTF, beside the optics table."""
    columns = {} if micrographs is None else {"rlnMicrographName": _micrograph_names(micrographs)}
    if ctfs is not None:
        columns |= {"rlnDefocusU": ctfs.defocus_u, "rlnDefocusV": ctfs.defocus_v, "rlnDefocusAngle": ctfs.angle,
                    "rlnPhaseShift": ctfs.phase_shift}
    return columns


def _xmipp_ctf(ctfs, micrographs, pixel):
    """The same, all of it, in Xmipp's labels."""
    columns = {RELION[label]: values for label, values in _relion_ctf(ctfs, micrographs).items()}
    if ctfs is not None:
        columns |= {"ctfVoltage": ctfs.voltage, "ctfSphericalAberration": ctfs.cs, "ctfQ0": ctfs.q0,
                    "samplingRate": np.full(len(ctfs), float(pixel))}
    return columns


def _optics(arguments, size, pixel):
    """The optics table of RELION 3.1, one group."""
    return {
        "rlnOpticsGroupName": ["opticsGroup1"], "rlnOpticsGroup": [1],
        "rlnMicrographOriginalPixelSize": [pixel], "rlnVoltage": [arguments.voltage],
        "rlnSphericalAberration": [arguments.cs], "rlnAmplitudeContrast": [arguments.q0],
        "rlnImagePixelSize": [pixel], "rlnImageSize": [size], "rlnImageDimensionality": [2],
    }
