"""Makes the files a run of ml_tomo leaves, from references and poses that are known."""
from pathlib import Path

import numpy as np

from mlalign.programs.engine.missing import Region
from mlalign.programs.formats.mrc import write_volume
from mlalign.programs.formats.star import write_star
from mlalign.programs.geometry3d import rotation_matrix
from mlalign.programs.missing_regions import write_regions
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.results import FINAL
from mlalign.programs.simulation import normalised
from mlalign.programs.simulation_tomo import ANGLES, SHIFTS, particles3d, truth3d
from mlalign.programs.tomo_results import TomoRun

PIXEL = 10.0
REGIONS = {1: Region(1, "wedge_y", y=(-60.0, 60.0)), 3: Region(3, "wedge_y", y=(-40.0, 65.0))}


def particles(folder, references, count, seed=0, regions=REGIONS, noisy=True):
    """Write particles of the references (K, n, n, n) at random poses, and their regions: dict of their columns.

    Files: ``folder``/particles/000001.mrc …, particles.xmd (image, missingRegionNumber), truth.xmd and missing.xmd.
    """
    folder, rng = Path(folder), np.random.default_rng(seed)
    poses = truth3d(rng, count, len(references), 1.5, list(regions))
    volumes = list(particles3d(references, poses, regions, rng if noisy else _Silent()))
    names = [str(folder / "particles" / f"{i:06d}.mrc") for i in range(1, count + 1)]
    for name, volume in zip(names, volumes):
        write_volume(name, volume, PIXEL)
    rows = {"itemId": np.arange(1, count + 1), "image": np.array(names, object), "enabled": np.ones(count, int)}
    write_regions(folder / "missing.xmd", regions)
    write_star(folder / "particles.xmd",
               {"particles": {**rows, "missingRegionNumber": poses["missingRegionNumber"]}})
    write_star(folder / "truth.xmd", {"particles": {**rows, **poses}})
    return {**rows, **poses}


class _Silent:
    """Noise of nothing, in place of a random generator."""

    def standard_normal(self, shape, *_, **__):
        return np.zeros(shape, np.float32)


def write_result(run, iteration, references, rows, last=10, seed=0, pixel_size=PIXEL, regions=REGIONS, stage=1):
    """Write a result of a run (``iteration`` or FINAL), the better the later of ``last`` iterations it is.

    rows: columns of the particles with their true poses, from which earlier iterations are further away
    """
    rng = np.random.default_rng([seed, 0 if iteration is FINAL else iteration])
    done = 1.0 if iteration is FINAL else iteration / last
    numbers, size = np.arange(1, len(references) + 1), references.shape[-1]
    found = _found(rows, 1 - done, len(references), rng)
    crossings = rng.uniform(0.1, 0.12 + 0.25 * done, len(numbers))
    for k, reference in zip(numbers, references):
        blurred = reference * done + rng.normal(0, (1.05 - done) * reference.std(), reference.shape)
        write_volume(run.average_path(iteration, k), blurred, pixel_size)
        write_volume(run.wedge_path(iteration, k), coverage(found, found["ref"] == k, regions, size), pixel_size)
    write_star(f"{run.prefix(iteration)[:-1]}.fsc", {
        f"class_{k:06d}": _fsc(crossing, size, pixel_size, rng) for k, crossing in zip(numbers, crossings)})
    counts = np.bincount(found["ref"] - 1, minlength=len(numbers))
    classes = {
        "ref": numbers, "image": [str(run.average_path(iteration, k)) for k in numbers],
        "enabled": np.ones_like(numbers), "weight": counts / counts.sum(), "classCount": counts,
        "signalChange": 1000 * np.exp(-9 * done) * rng.uniform(0.5, 1, len(numbers)),
        "resolution": pixel_size / crossings if pixel_size else np.full(len(numbers), -1.0)}
    info = {
        "iterationNumber": last if iteration is FINAL else iteration, "randomSeed": 1,
        "logLikelihood": -2e6 - 3e4 * np.exp(-5 * done), "pMax": 0.05 + 0.8 * done**0.5, "sigmaNoise": 1 - 0.05 * done,
        "sigmaOffset": 3 - done, "maxres": 0.1 + 0.3 * done, "changed": np.exp(-4 * done),
        "angleChange": 90 * np.exp(-3 * done), "samplingRate": pixel_size or -1.0, "eps": 5e-5, "seconds": 8.0,
        "angularSampling": (15.0, 10.0, 5.0)[stage - 1], "angSearch": (-1.0, 50.0, 25.0)[stage - 1],
        "workingBox": size, "stage": stage}
    write_star(run.images_file(iteration), {"particles": found})
    blocks = {"classes": classes, "info": {label: [value] for label, value in info.items()}}
    if iteration is FINAL:
        blocks.update({f"class{k:06d}_images": {label: values[found["ref"] == k] for label, values in found.items()}
                       for k in numbers})
    else:
        Path(f"{run.prefix(iteration)}checkpoint.npz").touch()
    write_star(run.classes_file(iteration), blocks)


def coverage(rows, members, regions, size):
    """How well the particles ``members`` (bool) of a class observe its Fourier space: (n, n, n), 0 to 1, centred."""
    axis = 2 * np.pi / size * (np.arange(size) - size // 2)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    total = np.zeros((size,) * 3)
    for rotation, number in zip(rotation_matrix(*(rows[label][members] for label in ANGLES)),
                                rows["missingRegionNumber"][members]):
        total += regions[number].observed(*np.einsum("ji,jzyx->izyx", rotation, np.stack([x, y, z])))
    return total / max(np.count_nonzero(members), 1)


def make_run(folder, species=2, size=24, count=40, iterations=4, final=True, pixel_size=PIXEL, stages=None, snr=0.3):
    """A whole run under ``folder``: (TomoRun, columns of the particles with their true poses).

    stages: the stage (1, 2, …) of each iteration; default: all of the first
    """
    folder = Path(folder)
    references = normalised(phantoms3d(species, size), snr)
    rows = particles(folder, references, count)
    run = TomoRun(folder / "out" / "mltomo")
    stages = stages or [1] * iterations
    for iteration in range(iterations + 1):
        write_result(run, iteration, references, rows, iterations, pixel_size=pixel_size,
                     stage=stages[max(iteration - 1, 0)])
    if final:
        write_result(run, FINAL, references, rows, iterations, pixel_size=pixel_size, stage=stages[-1])
    run.log_file.write_text("2026-01-01 12:00:00  ml_tomo: 40 volumes of 24 px, 2 references, random seed 1\n")
    return run, rows


def _found(rows, error, references, rng):
    """Columns of the particles as a run finds them: with poses up to ``error`` (0 to 1) off, and scores."""
    count = len(rows["itemId"])
    found = {label: np.array(values) for label, values in rows.items()}
    for label in ANGLES:
        found[label] = found[label] + 60 * error * rng.standard_normal(count)
    for label in SHIFTS:
        found[label] = found[label] + 2 * error * rng.standard_normal(count)
    lost = rng.random(count) < 0.6 * error
    found["ref"][lost] = rng.integers(1, references + 1, np.count_nonzero(lost))
    p_max = rng.uniform(0.1, 1, count) * (1 - 0.8 * error)
    return {**found, "logLikelihood": rng.normal(-5e4, 300, count) - 1e3 * error, "pMax": p_max,
            "classProbability": p_max + rng.uniform(0, 1, count) * (1 - p_max)}


def _fsc(crossing, size, pixel_size, rng):
    frequency = np.linspace(0, 0.5, size // 2 + 1)
    noise = rng.normal(0, 0.02, len(frequency)) * (frequency > 0)
    return {"resolutionFreqFourier": frequency / (pixel_size or 1),
            "resolutionFRC": 1 / (1 + (frequency / crossing) ** 8) + noise}
