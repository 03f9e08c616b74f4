"""Makes the files a run of ml_align2d leaves, from references and poses that are known."""
from pathlib import Path

import numpy as np

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.phantoms import Placer
from mlalign.programs.results import Run

PIXEL = 3.0


def particles(path, references, count, noise=0.0, seed=0):
    """Write ``count`` particles of the references (K, n, n) at random poses; dict of their columns, truth as result."""
    rng = np.random.default_rng(seed)
    refs = rng.choice(len(references), count, p=_unequal(len(references)))
    poses = (rng.uniform(0, 360, count), rng.normal(0, 2, count), rng.normal(0, 2, count), rng.integers(0, 2, count))
    place = Placer(references)
    images = np.array([place(ref, *pose) for ref, *pose in zip(refs, *poses)], np.float32)
    write_stack(path, images + rng.normal(0, noise, images.shape).astype(np.float32) if noise else images, PIXEL)
    return {"itemId": np.arange(1, count + 1), "image": [f"{i + 1:06d}@{path}" for i in range(count)],
            "ref": refs + 1, **dict(zip(("anglePsi", "shiftX", "shiftY", "flip"), poses)),
            "pMax": rng.uniform(0.2, 1, count), "logLikelihood": rng.normal(-2000, 50, count)}


def write_result(run, iteration, references, rows, last=10, seed=0):
    """Write one result of a run (``iteration`` or FINAL): the better the later of ``last`` iterations it is."""
    rng = np.random.default_rng(seed)
    done = 1 if iteration is None else iteration / last
    size, count = references.shape[-1], len(references)
    prefix, refs = run.prefix(iteration), np.asarray(rows["ref"])
    write_stack(f"{prefix}classes.mrcs", references * done + rng.normal(0, 0.3 * (1 - done) + 1e-6, references.shape),
                PIXEL)
    counts = np.bincount(refs - 1, minlength=count)
    frequency = np.linspace(0, 0.5, size // 2 + 1)
    crossings = rng.uniform(0.1, 0.1 + 0.3 * done, count)
    write_star(f"{prefix}frc.xmd", {f"class{k + 1:06d}": {
        "resolutionFreqFourier": frequency,
        "resolutionFRC": 1 / (1 + (frequency / crossing) ** 8) + rng.normal(0, 0.02, len(frequency)) * (frequency > 0)}
        for k, crossing in enumerate(crossings)})
    numbers = np.arange(1, count + 1)
    classes = {
        "ref": numbers, "image": [f"{k:06d}@{prefix}classes.mrcs" for k in numbers], "enabled": np.ones(count, int),
        "weight": counts + rng.normal(0, 0.3, count), "classCount": counts,
        "mirrorFraction": [np.mean(np.asarray(rows["flip"])[refs == k]) if (refs == k).any() else 0 for k in numbers],
        "signalChange": 1000 * np.exp(-11 * done) * rng.uniform(0.5, 1, count),
        "resolution": PIXEL / crossings, "scale": np.ones(count)}
    info = {"iterationNumber": last if iteration is None else iteration, "logLikelihood": -5e5 - 2e4 * np.exp(-5 * done),
            "pMax": 0.1 + 0.7 * done**0.5, "sigmaNoise": 1 - 0.05 * done, "sigmaOffset": 3 - done, "randomSeed": 1,
            "maxres": 0.12 + 0.3 * done, "changed": np.exp(-4 * done), "seconds": 1.5, "samplingRate": PIXEL}
    members = {f"class{k:06d}_images": {label: np.asarray(values, object if label == "image" else None)[refs == k]
                                        for label, values in rows.items()} for k in numbers}
    write_star(f"{prefix}classes.xmd", {"classes": classes, "info": {label: [value] for label, value in info.items()},
                                        **members})


def make_run(folder, references, count=200, iterations=4, final=True, noise=0.0):
    """A whole run under ``folder``: (Run, columns of the particles)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = particles(folder / "particles.mrcs", references, count, noise)
    run = Run(folder / "ml2d_")
    for iteration in [*range(1, iterations + 1), *([None] if final else [])]:
        write_result(run, iteration, references, rows, iterations)
    return run, rows


def _unequal(count):
    share = 1 / np.arange(2, count + 2)
    return share / share.sum()
