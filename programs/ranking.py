"""A score for every class, 0 to 1, that tells good averages from junk; each part of it can be seen.

The score is the weighted mean (:data:`WEIGHTS`) of what is known of these, each 0 to 1:

signal      How much more of its particles an average explains than noise would let it.  In shells of spatial frequency,
            share = power density of the average / mean power density of its particles.  Noise reaches 1 / n in the
            average of n images, and more where images were turned to fit each other; how much can be seen near the rim
            of the circle (or sphere) in which averages are drawn, where a particle has ended and a piece of carbon,
            a crowd or mere noise has not.  A share counts as far as it is above OF_RIM times that of the rim plus
            OF_NUMBER / n; the signal is the mean over all shells.
resolution  The frequency up to which the average can be trusted: where its halves stop to agree (FRC or FSC 0.143), or
            where its share stops to be CLEAR times what noise reaches, if that is lower.  Halves that were aligned to
            one reference agree in noise, too, and a class of pure noise has the highest FRC of all: so the second
            counts.  Fine detail that next to nothing is made of is none: this part is at most twice the signal.
stability   Over the last transitions between iterations: the correlation of the average with its predecessor times
            the share of members that stayed (those of both times among those of either); of refine2d, whose averages
            turn from cycle to cycle, this share alone.
size        Number of particles, compared with the mean class.

Signal and resolution are relative to what the better classes of the same run have: 1 for those that hold the best
quarter of its particles.  A class without particles scores 0.
"""
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Callable

import numpy as np
from scipy import fft

from .engine.resolution import crossing
from .errors import UserError
from .formats.images import ImageSource
from .formats.star import MetaData
from .formats.volumes import VolumeSource
from .members import members_at, particles_of
from .msa2d_results import Refine2dRun
from .phantoms import ball
from .results import FINAL
from .select import THRESHOLD
from .tomo_results import TomoRun

WEIGHTS = {"signal": 0.45, "resolution": 0.25, "stability": 0.15, "size": 0.15}
OF_RIM, OF_NUMBER = 1.5, 4.0        # what of a share of the power is taken for noise, see above
CLEAR, MOST = 3.0, 0.5  # a share is clear of noise from there on; shells below a trusted frequency of which it is
SAMPLE = {2: 50, 3: 10}             # members of a class that are looked at
TRANSITIONS = 3         # between iterations
INNER = 0.8             # of the radius: inside is the particle, outside the rim
EDGE = 2.0              # px, of the soft masks in which power is taken
BEST = 0.25             # share of the particles whose classes are the measure for the others


@dataclass(frozen=True)
class Ranking:
    """Scores of the classes of one result.

    refs       : (K,) numbers of the classes: 1, 2, …
    sizes      : (K,) particles
    parts      : name of :data:`WEIGHTS` -> (K,) 0 to 1, NaN where unknown
    score      : (K,) 0 to 1
    resolution : (K,) frequency in 1/px up to which each average can be trusted, NaN where unknown
    notes      : what is not known, and why: lines for the user
    """
    refs: np.ndarray
    sizes: np.ndarray
    parts: dict
    score: np.ndarray
    resolution: np.ndarray
    notes: tuple = ()

    def of(self, ref):
        """The score of class ``ref``."""
        return float(self.score[np.flatnonzero(self.refs == ref)[0]])

    def chosen(self, threshold=THRESHOLD):
        """Numbers of the classes that score ``threshold`` or more, in order; empty classes are never among them."""
        return self.refs[(self.score >= threshold) & (self.sizes > 0)]


@dataclass(frozen=True)
class Evidence:
    """What the scores of K classes come from; lengths are in pixels.

    refs, sizes : (K,)
    averages    : (K, n, n) or (K, n, n, n)
    sample      : index of a class -> some of its particles (B, n, n[, n]) as they are; may raise :class:`UserError`
    halves      : (K,) frequency where the halves stop to agree, NaN where unknown
    highest     : the highest frequency in the averages
    stability   : (K,) or None
    transfer    : function of frequencies (M,) -> the mean square CTF of the particles; None: averages are not corrected
    notes       : see :class:`Ranking`
    """
    refs: np.ndarray
    sizes: np.ndarray
    averages: np.ndarray
    sample: Callable
    halves: np.ndarray
    highest: float = 0.5
    stability: np.ndarray = None
    transfer: Callable = None
    notes: tuple = field(default=())


def rank(run, iteration=FINAL):
    """The :class:`Ranking` of a run's classes.  run: a :class:`.results.Results`, of any of the programs.

    Particles that cannot be read, and iterations that are not there, leave parts out, with a note; what else is wrong
    with the files is a :class:`UserError`.
    """
    return rank_classes(evidence_of(run, iteration))


def rank_classes(evidence):
    """The :class:`Ranking` that :class:`Evidence` gives."""
    sizes, notes = np.asarray(evidence.sizes), list(evidence.notes)
    signal, trusted = _signal(evidence, notes)
    cut = np.fmin(evidence.halves, trusted)
    if np.isnan(cut).all():
        notes.append("resolution: neither correlations of halves nor the particles are there")
    elif not (cut > 0).any():
        notes.append("resolution: no average is clear of what is at its rim")
    stability = np.full(len(sizes), np.nan) if evidence.stability is None else evidence.stability
    signal = _relative(signal, sizes)
    resolution = np.fmin(_relative(cut, sizes), 2 * signal)
    parts = {"signal": signal, "resolution": np.where(np.isnan(cut), np.nan, resolution), "stability": stability,
             "size": np.minimum(1, sizes / max(sizes.mean(), 1e-9))}
    return Ranking(np.asarray(evidence.refs), sizes, parts, _score(parts, sizes), cut, tuple(notes))


def _score(parts, sizes):
    values, weights = np.array([parts[name] for name in WEIGHTS]), np.array(list(WEIGHTS.values()))[:, None]
    weights = weights * ~np.isnan(values)
    score = (weights * np.nan_to_num(values)).sum(0) / np.maximum(weights.sum(0), 1e-9)
    return np.where(sizes > 0, score, 0.0)


def _relative(values, sizes):
    """Values (K,) over what the classes with the best :data:`BEST` of the particles reach; at most 1, NaN stays.

    All NaN when nothing is above zero: then it tells no class from another.
    """
    known = ~np.isnan(values) & (sizes > 0)
    if not (values[known] > 0).any():
        return np.full(len(values), np.nan)
    order = np.flatnonzero(known)[np.argsort(-values[known], kind="stable")]
    held = np.cumsum(sizes[order]) / sizes[order].sum()
    measure = values[order[np.searchsorted(held, BEST)]]
    return np.clip(values / (measure if measure > 0 else values[known].max()), 0, 1)


# ---- signal

def _signal(evidence, notes):
    """(mean share of the power beyond noise, frequency up to which there is any), each (K,); NaN where unknown."""
    count, size = len(evidence.averages), evidence.averages.shape[-1]
    whole, inner, rim = _masks(evidence.averages)
    frequency = np.arange(size // 2 + 1) / size
    inside = (frequency > 0) & (frequency <= max(evidence.highest, 2 / size))
    transfer = 1 if evidence.transfer is None else evidence.transfer(frequency)
    signal, trusted = np.full((2, count), np.nan)
    for k in np.flatnonzero(np.asarray(evidence.sizes) > 0):
        try:
            sample = evidence.sample(k)
            if sample.shape[1:] != evidence.averages.shape[1:]:
                raise UserError(f"they have {sample.shape[-1]} px and the averages {size} px")
            particles = np.maximum(shell_power(sample, whole).mean(0), 1e-30)
        except UserError as error:
            notes.append(f"signal: the particles cannot be compared ({error})")
            return np.full((2, count), np.nan)
        average = evidence.averages[k : k + 1]
        share, around = ((transfer * shell_power(average, mask)[0] / particles)[inside] for mask in (inner, rim))
        rest = 1 / evidence.sizes[k]
        signal[k] = np.clip(np.minimum(share, 1) - OF_RIM * around - OF_NUMBER * rest, 0, None).mean()
        trusted[k] = _last_clear(frequency[inside], share > CLEAR * np.maximum(around, rest))
    if not (signal > 0).any():
        notes.append("signal: no average stands out from what is at its rim")
    return signal, trusted


def _masks(averages):
    """The circle (or sphere) in which averages are drawn, its inner part, and its rim: (n, n[, n]) each."""
    size, dimensions, radius = averages.shape[-1], averages.ndim - 1, _support(averages)
    whole, inner = (ball(size, share * radius - EDGE, EDGE, dimensions) for share in (1, INNER))
    return whole, inner, whole - inner


def _last_clear(frequency, clear):
    """The highest frequency at which a shell is clear of noise, and MOST of those up to it; 0 when there is none."""
    last = np.flatnonzero(clear & (np.cumsum(clear) >= MOST * np.arange(1, len(clear) + 1)))
    return frequency[last[-1]] if len(last) else 0.0


def shell_power(images, mask):
    """Power density in shells one Fourier pixel wide: (B, n // 2 + 1), 1 for white noise of variance 1.

    images: (B, n, n) or (B, n, n, n); their mean inside the mask (n, n[, n]) is taken off, and they are masked.
    """
    axes, size = tuple(range(1, images.ndim)), images.shape[-1]
    mean = (images * mask).sum(axes, keepdims=True) / mask.sum()
    spectra = fft.rfftn(((images - mean) * mask).astype(np.float32), axes=axes)
    squares = (np.square(spectra.real, dtype=float) + np.square(spectra.imag, dtype=float)) / (mask**2).sum()
    shell, twice = _shells(size, len(axes))
    members = np.bincount(shell, twice)
    return np.array([np.bincount(shell, one.ravel() * twice) / members for one in squares])[:, : size // 2 + 1]


@lru_cache(maxsize=2)
def _shells(size, dimensions):
    """Shell of every coefficient of rfftn, flat, and how many of fftn's it stands for: 1 or 2."""
    axes = [fft.fftfreq(size)] * (dimensions - 1) + [fft.rfftfreq(size)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
    column = np.arange(size // 2 + 1)
    twice = np.where((column == 0) | (2 * column == size), 1.0, 2.0)
    return np.rint(radius * size).astype(int).ravel(), np.broadcast_to(twice, radius.shape).ravel()


def _support(averages):
    """Radius of the circle or sphere, about pixel n // 2, outside which all averages are flat."""
    size = averages.shape[-1]
    axis = (np.arange(size) - size // 2) ** 2
    distance = np.sqrt(sum(np.meshgrid(*[axis] * (averages.ndim - 1), indexing="ij", sparse=True)))
    outside = averages[(slice(None), *[0] * (averages.ndim - 1))].reshape(-1, *[1] * (averages.ndim - 1))
    drawn = (np.abs(averages - outside) > 1e-6 * np.abs(averages).max()).any(0)
    return float(min(distance[drawn].max(initial=0), size / 2)) or size / 2


# ---- from a run

def evidence_of(run, iteration=FINAL):
    """The :class:`Evidence` that a run's files hold."""
    table, notes = run.classes(iteration), []
    refs = table["ref"]
    particles = particles_of(run, iteration)
    rows = [np.flatnonzero(particles["ref"] == ref) for ref in refs]
    sizes = np.array([len(some) for some in rows])
    source = _open(run, MetaData({"image": table["image"]}, table.path))
    return Evidence(refs, sizes, _averages(source), _sampler(run, particles, rows, source.dimensions),
                    _halves(run, iteration, refs, notes), _highest(run, iteration),
                    _stability(run, iteration, refs, notes), _transfer(run, iteration), tuple(notes))


def _open(run, table):
    folder = table.path.rpartition("/")[0]
    return (VolumeSource if isinstance(run, TomoRun) else ImageSource)(table, folder)


def _sampler(run, particles, rows, dimensions):
    def sample(k):
        some = rows[k][np.unique(np.linspace(0, len(rows[k]) - 1, min(len(rows[k]), SAMPLE[dimensions])).astype(int))]
        return _open(run, MetaData({"image": particles["image"][some]}, particles.path)).read(slice(None))
    return sample


def _halves(run, iteration, refs, notes):
    tomo, cuts = isinstance(run, TomoRun), np.full(len(refs), np.nan)
    unit = (run.pixel_size(iteration) or 1) if tomo else 1       # ml_tomo's curves are over 1/Å
    for k, ref in enumerate(refs):
        curve = (run.fsc if tomo else run.frc)(iteration, int(ref))
        if curve is not None and len(curve[0]):
            cuts[k] = crossing(curve[0] * unit, curve[1][None])[0]
    if np.isnan(cuts).all():
        notes.append(f"resolution: the run wrote no {run.correlation}")
    return cuts


def _highest(run, iteration):
    used = run.info(iteration).get("maxres", 0)
    return float(used) if used and used > 0 else 0.5


def _transfer(run, iteration):
    """Mean square CTF over frequency of a run whose averages are corrected for it; else None."""
    spectra = [] if isinstance(run, TomoRun) else run.spectra(iteration)
    if not spectra:
        return None
    total = sum(group.count for group in spectra)
    return lambda frequency: sum(group.count / total * np.interp(frequency, group.frequency, group.ctf**2)
                                 for group in spectra)


def _stability(run, iteration, refs, notes):
    """(K,) mean over the last transitions, see the module; None without two iterations."""
    there = [number for number in run.iterations() if number >= 1 and (iteration is FINAL or number <= iteration)]
    there = there[-TRANSITIONS - 1 :]
    if len(there) < 2:
        notes.append("stability: fewer than two iterations are there")
        return None
    turning = not isinstance(run, TomoRun) and Refine2dRun.of_run(run) is not None
    if turning:
        notes.append("stability: of the members alone, for averages of refine2d turn from cycle to cycle")
    values = [_transition(run, refs, *pair, turning) for pair in zip(there, there[1:])]
    return np.mean(values, axis=0)


def _transition(run, refs, before, after, turning):
    stay = np.array(_staying(run, refs, before, after))
    if turning:
        return stay
    first, second = (_averages_of(run, number, refs) for number in (before, after))
    return stay * np.array([_correlation(one, other) for one, other in zip(first, second)])


def _averages_of(run, iteration, refs):
    table = run.classes(iteration)
    place = {int(ref): row for row, ref in enumerate(table["ref"])}
    rows = [place.get(int(ref)) for ref in refs]
    source = _open(run, MetaData({"image": table["image"]}, table.path))
    averages = _averages(source)
    return [None if row is None else averages[row] for row in rows]


def _averages(source):
    """All of them; :class:`UserError` when one has a pixel that is no number, as none of a sound run has."""
    averages = source.read(slice(None))
    bad = np.flatnonzero(~np.isfinite(averages).all(tuple(range(1, averages.ndim))))
    if len(bad):
        raise UserError(f"{source.metadata.path}: {source.names(bad[:1])[0]}: the average holds NaN or Inf")
    return averages


def _correlation(one, other):
    if one is None or other is None:
        return 0.0
    one, other = (image - image.mean() for image in (one.astype(float), other.astype(float)))
    norm = np.sqrt((one**2).sum() * (other**2).sum())
    return max(float((one * other).sum() / norm), 0.0) if norm > 0 else 0.0


def _staying(run, refs, before, after):
    """Share of members (K,) that are in a class at both iterations, among those that are at either."""
    first, second = members_at(run, before), members_at(run, after)
    both = np.array([(first[item], second[item]) for item in first.keys() & second.keys()], int).reshape(-1, 2)
    share = []
    for ref in refs:
        was, is_now = both[:, 0] == ref, both[:, 1] == ref
        share.append((was & is_now).sum() / max((was | is_now).sum(), 1))
    return share
