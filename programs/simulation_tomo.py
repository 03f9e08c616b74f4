"""The work of simulate_tomo: references, poses, particles with a missing region, files."""
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from scipy.fft import irfftn, rfftn
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from .engine.missing import EVERYTHING, Region
from .engine.sphere import random_rotations
from .errors import UserError
from .formats.mrc import stack_writer, write_volume, write_volume_stack
from .formats.star import write_star
from .geometry3d import euler_angles, rotation_matrix
from .maps import check_fits, read_maps
from .missing_regions import read_regions, write_regions
from .phantoms3d import VolumePlacer, phantoms3d, resampled
from .simulation import normalised

ANGLES, SHIFTS = ("angleRot", "angleTilt", "anglePsi"), ("shiftX", "shiftY", "shiftZ")
PHANTOMS, VOXEL, WEDGE = 2, 10.0, (-60.0, 60.0)     # when the options do not say otherwise


def run(arguments):
    """Make the references, then the particles, and write them all."""
    pose_rng, noise_rng, start_rng = (np.random.default_rng([arguments.seed, stream]) for stream in range(3))
    references, voxel = _references(arguments)
    regions = _regions(arguments)
    poses = truth3d(pose_rng, arguments.count, len(references), arguments.offset, list(regions))
    oroot, count = arguments.oroot, arguments.count
    write_volume_stack(f"{oroot}references.mrcs", references, voxel)
    for ref, reference in enumerate(references, 1):
        write_volume(f"{oroot}reference{ref:06d}.mrc", reference, voxel)
    with _writer(arguments, voxel) as write:
        volumes = particles3d(references, poses, regions, noise_rng, arguments.noise_everywhere)
        names = [write(number, volume) for number, volume
                 in enumerate(tqdm(volumes, total=count, unit=" particles", disable=None), 1)]
    rows = {"itemId": np.arange(1, count + 1), "image": np.array(names, dtype=object), "enabled": np.ones(count, int)}
    if arguments.no_wedge:
        del poses["missingRegionNumber"]
    else:
        write_regions(f"{oroot}missing.xmd", regions)
    write_star(f"{oroot}truth.xmd", {"particles": {**rows, **poses}})
    if "missingRegionNumber" in poses:
        rows["missingRegionNumber"] = poses["missingRegionNumber"]
    if arguments.misaligned is not None:
        rows.update(zip(ANGLES, _misaligned(poses, arguments.misaligned, start_rng)))
    write_star(f"{oroot}particles.xmd", {"particles": rows})
    print(f"{count} particles of {len(references)} references, {references.shape[-1]} px of {voxel:g} Å: "
          f"{oroot}particles.xmd")


def truth3d(rng, count, references, offset=0.0, numbers=(0,)):
    """Random classes and poses: dict of equally long arrays, labels ref (from 1), ``ANGLES``, ``SHIFTS``, and
    missingRegionNumber, one of ``numbers``.

    All orientations are equally likely; offset: standard deviation of the shifts along each axis, px.
    """
    poses = {"ref": rng.integers(1, references + 1, count)}
    poses.update(zip(ANGLES, euler_angles(random_rotations(count, rng))))
    poses.update(zip(SHIFTS, offset * rng.standard_normal((3, count))))
    poses["missingRegionNumber"] = rng.choice(numbers, count)
    return poses


def particles3d(references, poses, regions, rng, noise_everywhere=False):
    """Yield the particles (n, n, n) float32 that ``poses`` describes, in noise, less what their regions miss.

    references: (K, n, n, n), zero at the edges; poses: as :func:`truth3d` gives; regions: number ->
    :class:`.engine.missing.Region`; noise_everywhere: the missing region has noise.
    """
    size = references.shape[-1]
    shifts = np.stack([poses[label] for label in SHIFTS], -1)
    place = VolumePlacer(references, np.abs(shifts).max())
    rotations = rotation_matrix(*(poses[label] for label in ANGLES))
    frequency = 2 * np.pi * np.fft.fftfreq(size)
    half = 2 * np.pi * np.fft.rfftfreq(size)
    seen = {number: region.observed(half, frequency[:, None], frequency[:, None, None])
            for number, region in regions.items()}
    for ref, rotation, shift, number in zip(poses["ref"], rotations, shifts, poses["missingRegionNumber"]):
        noise = rng.standard_normal((size, size, size))
        signal = place(ref - 1, rotation, shift)
        whole = signal if noise_everywhere else signal + noise
        volume = irfftn(rfftn(whole) * seen[number], s=whole.shape)
        yield (volume + noise if noise_everywhere else volume).astype(np.float32)


# ---- what to simulate

def _references(arguments):
    """The normalised references (K, n, n, n) and their voxel size in Å."""
    size, voxel = arguments.box, arguments.voxel_size
    if arguments.maps:
        source, maps = "--maps", read_maps(arguments.maps)
        voxel = voxel or max(given for _, given in maps)
        check_fits(arguments.maps, maps, size, voxel, "--voxel_size")
        volumes = np.stack([resampled(*each, size, voxel) for each in maps])
    else:
        source, voxel = "--phantoms", voxel or VOXEL
        volumes = phantoms3d(arguments.phantoms or PHANTOMS, size)
    try:
        return normalised(volumes, arguments.snr), voxel
    except ValueError as error:
        raise UserError(f"{source}: {error}, expected a map with contrast") from error


def _regions(arguments):
    """Number -> :class:`Region` of the missing regions."""
    if arguments.no_wedge:
        return {EVERYTHING.number: EVERYTHING}
    if arguments.missing:
        return read_regions(arguments.missing)
    low, high = arguments.wedge or WEDGE
    if low >= high:
        raise UserError(f"--wedge {low:g} {high:g}: expected the lower tilt first")
    return {1: Region(1, "wedge_y", y=(low, high))}


def _misaligned(poses, degrees, rng):
    """Angles (rot, tilt, psi) of the poses turned by ``degrees`` about random axes."""
    axes = rng.standard_normal((len(poses["ref"]), 3))
    axes /= np.linalg.norm(axes, axis=1)[:, None]
    turns = Rotation.from_rotvec(np.deg2rad(degrees) * axes).as_matrix()
    return euler_angles(turns @ rotation_matrix(*(poses[label] for label in ANGLES)))


# ---- files

@contextmanager
def _writer(arguments, voxel):
    """A function ``write(number, volume)`` that gives the particle's location, as the metadata beside it has it."""
    if not arguments.stack:
        folder = f"{arguments.oroot}particles"

        def write(number, volume):
            write_volume(f"{folder}/{number:06d}.mrc", volume, voxel)
            return f"{Path(folder).name}/{number:06d}.mrc"

        yield write
        return
    path = f"{arguments.oroot}particles.mrcs"
    with stack_writer(path, voxel, depth=arguments.box) as stack:

        def append(number, volume):
            stack.append(volume)
            return f"{number:06d}@{Path(path).name}"

        yield append
