"""Makes the files a run of ml_align2d or mlf_align2d leaves, from references and poses that are known."""
from pathlib import Path

import numpy as np

from mlalign.programs.engine.ctf import Ctf
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.phantoms import Placer
from mlalign.programs.results import FINAL, Run

PIXEL = 3.0


def particles(path, references, count, noise=0.0, seed=0):
    """Write ``count`` particles of the references (K, n, n) at random poses: dict of their columns."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(2, len(references) + 2)
    refs = rng.choice(len(references), count, p=share / share.sum())
    shifts = rng.normal(0, 2, (2, count))
    poses = {"anglePsi": rng.uniform(0, 360, count), "shiftX": shifts[0], "shiftY": shifts[1],
             "flip": rng.integers(0, 2, count)}
    place = Placer(references)
    images = np.array([place(ref, *pose) for ref, *pose in zip(refs, *poses.values())])
    write_stack(path, images + rng.normal(0, noise, images.shape), PIXEL)
    return {"itemId": np.arange(1, count + 1), "ref": refs + 1, **poses,
            "image": np.array([f"{i + 1:06d}@{path}" for i in range(count)], object),
            "pMax": rng.uniform(0.2, 1, count), "logLikelihood": rng.normal(-2000, 50, count)}


def write_result(run, iteration, references, rows, last=10, seed=0, groups=0):
    """Write a result of a run (``iteration`` or FINAL), the better the later of ``last`` iterations it is.

    groups: of noise, for a run of mlf_align2d; 0 for one of ml_align2d
    """
    rng = np.random.default_rng(seed)
    done = 1 if iteration is FINAL else iteration / last
    numbers = np.arange(1, len(references) + 1)
    crossings = rng.uniform(0.1, 0.1 + 0.3 * done, len(numbers))
    prefix = run.prefix(iteration)
    blur = rng.normal(0, 0.3 * (1 - done), references.shape)
    write_stack(f"{prefix}classes.mrcs", references * done + blur, PIXEL)
    write_star(f"{prefix}frc.xmd", {f"class{k:06d}": _frc(crossing, references.shape[-1], rng)
                                    for k, crossing in zip(numbers, crossings)})
    if groups:
        write_spectra(prefix, groups, done, 0.12 + 0.3 * done)
    counts = np.bincount(rows["ref"] - 1, minlength=len(numbers))
    mirrored = np.bincount(rows["ref"] - 1, rows["flip"], minlength=len(numbers))
    classes = {
        "ref": numbers, "image": [f"{k:06d}@{prefix}classes.mrcs" for k in numbers],
        "enabled": np.ones_like(numbers), "weight": counts + rng.normal(0, 0.3, len(numbers)),
        "classCount": counts, "mirrorFraction": mirrored / np.maximum(counts, 1),
        "signalChange": 1000 * np.exp(-11 * done) * rng.uniform(0.5, 1, len(numbers)),
        "resolution": PIXEL / crossings, "scale": np.ones(len(numbers))}
    info = {
        "iterationNumber": last if iteration is FINAL else iteration, "randomSeed": 1,
        "logLikelihood": -5e5 - 2e4 * np.exp(-5 * done), "pMax": 0.1 + 0.7 * done**0.5,
        "sigmaNoise": 1 - 0.05 * done, "sigmaOffset": 3 - done, "maxres": 0.12 + 0.3 * done,
        "changed": np.exp(-4 * done), "seconds": 1.5, "samplingRate": PIXEL}
    members = {f"class{k:06d}_images": {label: values[rows["ref"] == k] for label, values in rows.items()}
               for k in numbers}
    write_star(f"{prefix}classes.xmd",
               {"classes": classes, "info": {label: [value] for label, value in info.items()}, **members})


def write_spectra(prefix, groups, done, maxres, pixel_size=PIXEL, ctf=True, optics=1):
    """Write the noise and SSNR of ``groups`` groups of 0.9 to 2.8 µm defocus.

    done: 0 to 1, how good they are; maxres: highest frequency used in 1/px; optics: number of optics groups
    """
    k, images = np.linspace(0.004, 0.5, 100), 250
    numbers, edges = np.arange(1, groups + 1), np.linspace(9000, 28000, groups + 1)
    low, high = (edges[:-1], edges[1:]) if ctf else (np.full(groups, -1.0),) * 2
    write_star(f"{prefix}noise.xmd", {
        "groups": {"defocusGroup": numbers, "opticsGroup": numbers % optics + 1, "count": images + 10 * numbers,
                   "defocusMin": low, "defocusMax": high},
        **{f"ctf{g:06d}": {"resolutionFreqFourier": k, "mlfNoise": _noise(k, g)} for g in numbers}})
    signal = 0.3 * np.exp(-(k / (0.05 + 0.07 * done)) ** 1.5) * (0.3 + 0.7 * done)
    write_star(f"{prefix}ssnr.xmd", {f"ctf{g:06d}": _ssnr(k, edges[g - 1:g + 1], _noise(k, g), signal, maxres,
                                                         pixel_size, images) for g in numbers})


def make_run(folder, references, count=200, iterations=4, final=True, noise=0.0, groups=0,
             prefix="ml2d"):
    """A whole run under ``folder``: (Run, columns of the particles)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = particles(folder / "particles.mrcs", references, count, noise)
    run = Run(folder / f"{prefix}_")
    for iteration in [*range(1, iterations + 1), *([FINAL] if final else [])]:
        write_result(run, iteration, references, rows, iterations, groups=groups)
    return run, rows


def _frc(crossing, size, rng):
    frequency = np.linspace(0, 0.5, size // 2 + 1)
    noise = rng.normal(0, 0.02, len(frequency)) * (frequency > 0)
    correlation = 1 / (1 + (frequency / crossing) ** 8) + noise
    return {"resolutionFreqFourier": frequency, "resolutionFRC": correlation}


def _noise(k, group):
    """Ice and slow drifts at low frequency, a camera that falls off at high."""
    return 0.7 * np.exp(-1.5 * k) + (1.2 + 0.15 * group) * np.exp(-(k / 0.06) ** 2) + 0.15


def _ssnr(k, defocus, noise, signal, maxres, pixel_size, images):
    z, one = np.linspace(*defocus, 20), np.ones(20)
    ctf = np.sqrt((Ctf(z, z, 0 * z, 300 * one, 2.7 * one, 0.1 * one, 0 * z)(k / 3, 0.0) ** 2).mean(axis=0))
    ssnr = np.where(k <= maxres, np.minimum(images / 10 * ctf**2 * signal / noise, 25), 0)
    return {"resolutionFreqFourier": k, "resolutionFreqReal": pixel_size / k if pixel_size else np.full(len(k), -1),
            "resolutionSSNR": ssnr, "mlfCtf": ctf, "mlfWiener": ssnr / (ssnr + 1), "mlfSignal": signal,
            "mlfNoise": noise}
