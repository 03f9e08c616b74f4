"""The outer loop of mref_ali2d: align and assign, average, prepare the next references, write, resume."""
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np

from .engine import image_filters
from .engine.alignment import Aligner
from .engine.averaging import Sums, Transfer
from .engine.backend import Workers
from .engine.correlation import Search
from .engine.image_filters import padded
from .engine.parallel import run_on, started
from .engine.rings import Rings
from .engine.views import Bank
from .errors import UserError
from .formats.images import check_pixels
from .geometry import pose_matrix
from .mref_files import MrefFiles, MrefResult, check_copy, write_references, write_with_headers
from .mref_input import POSE, particle_radius, read_inputs
from .mref_references import MEAN_SHIFT, Preparation
from .options import GIB, RESUMES
from .running import check_same_run, tell

PROGRAM = "mref_ali2d"
LONGEST = 100             # iterations when the program is to stop by itself
RISING = 1e-4             # rise of the mean score, relative, that is still progress
FEW = 8                   # references, up to which the search had better be wider than views made again
DRIFT = 2.0               # px that particles may then move on before their views are made again
CHECKED_AT_ONCE = 500     # images


def run(options):
    """Run mref_ali2d with parsed ``options`` (see :mod:`.mref_ali2d`).  Raises :class:`.errors.UserError`."""
    ranks = started("--MPI" if options.MPI else "")
    run_on(ranks, PROGRAM, lambda: Alignment(options, ranks).run(), RESUMES)


@dataclass
class Particles:
    """What is known of each particle; arrays (N,).

    ref: class from 0, -1 for none yet.  psi in degrees, shift_x, shift_y in pixels and flip align it to its class
    average (:mod:`.geometry`).  score: of its class; probability: of its class, by the scores of all of them.
    """

    ref: np.ndarray
    psi: np.ndarray
    shift_x: np.ndarray
    shift_y: np.ndarray
    flip: np.ndarray
    score: np.ndarray
    probability: np.ndarray

    @classmethod
    def at(cls, pose):
        """Particles without a class.  pose: columns of :data:`.mref_input.POSE`."""
        psi, x, y, flip = (pose[label] for label in POSE)
        return cls(np.full(len(psi), -1), psi + 0.0, x + 0.0, y + 0.0, flip.astype(int), np.zeros(len(psi)),
                   np.ones(len(psi)))

    def places(self):
        """Where the particles' centres are in their images: (N, 2) = (x, y) in pixels from the images' origin."""
        matrix = self._matrices()
        return -np.linalg.solve(matrix, np.stack([self.shift_x, self.shift_y], 1)[..., None])[..., 0]

    def put(self, places):
        """Set the shifts so that the centres are at ``places`` (N, 2)."""
        self.shift_x, self.shift_y = -(self._matrices() @ places[..., None])[..., 0].T

    def _matrices(self):
        return pose_matrix(self.psi, 0, 0, self.flip)[:, :2, :2]


class Alignment:
    """One run: its images, its state between iterations, and the loop."""

    def __init__(self, options, ranks):
        self.options, self.ranks = options, ranks
        self.files = MrefFiles(options.outdir)
        self.files.check_new(options.resume)
        ranks.wait()                            # before the first of them makes the folder
        for path in (options.stack, options.refs, options.mask):
            if path and self.files.owns(path):
                raise UserError(f"{path}: a run in {options.outdir} would overwrite it, expected another output folder")
        self.inputs = inputs = read_inputs(options)
        check_copy(options.write_headers, inputs.raw)
        self.size, self.radius = inputs.raw.size, particle_radius(options, inputs.raw.size)
        self.room = max(0.0, np.floor(self.size // 2 - 1 - self.radius))       # for shifts, in pixels
        self.rows = ranks.share(inputs.raw.count)
        self.prepare = Preparation(options.function, inputs.mask, options.center, self.radius, inputs.references,
                                   self.room)
        # state that a checkpoint keeps
        self.iteration, self.references = 0, inputs.references
        self.particles, self.centres = Particles.at(inputs.pose), None
        self.score, self.converged = -np.inf, False

    # ---- the loop ---------------------------------------------------------------------------------------------

    def run(self):
        workers = Workers(self.options.thr)
        try:
            self._check_pixels()
            search = self._search(workers)
            with self.files.held(self.ranks.first):
                self._run(search, workers)
        finally:
            workers.close()

    def _run(self, search, workers):
        there = self.ranks.agree(self.files.iterations() if self.options.resume else [])
        if there:
            self._restore(there[-1])
        else:
            self._begin(search.reach)
        aligner = self._aligner(search, workers)
        while self.iteration < (self.options.maxit or LONGEST) and not self.converged:
            self._iterate(aligner)
        self._finish()

    def _check_pixels(self):
        raw = self.inputs.raw
        for start in range(0, len(self.rows), CHECKED_AT_ONCE):
            some = self.rows[start : start + CHECKED_AT_ONCE]
            check_pixels(raw.read(some), raw.names(some))

    def _begin(self, reach):
        options = self.options
        if self.ranks.first:
            self.files.forget()
        if options.resume:
            self.log(f"nothing to continue in {options.outdir}: starting anew")
        self.log(f"{PROGRAM}: {self.inputs.raw.count} images of {self.size} px, {len(self.references)} references, "
                 f"radius {self.radius:g} px{self.ranks.words()}")
        for name, wanted in (("xr", options.xr), ("yr", options.yr)):
            if wanted > self.room:
                self.log(f"warning: --{name} {wanted:g}: in boxes of {self.size} px a radius of {self.radius:g} px "
                         f"leaves room for shifts of {self.room:g} px, and no more are searched; a smaller --ou "
                         "leaves more")
        places = np.clip(self.particles.places(), -self.room, self.room)
        self.particles.put(places)
        self.centres = self._middles(places, reach)

    def _search(self, workers):
        """The grids of the search; its circle is that of the box, and larger only where shifts need it."""
        options = self.options
        ranges, reach = np.array([options.xr, options.yr]), 0.0
        if np.minimum(ranges, self.room).any():
            # views are made around whole pixels
            reach = np.hypot(*(np.minimum(ranges, self.room) + 0.5))
            if len(self.references) <= FEW:
                reach = max(reach, np.hypot(*np.minimum(ranges + DRIFT, self.room)))
        radius = max(self.size / 2, self.radius + reach)
        rings = Rings(2 * int(np.ceil(radius)), radius, reach)
        return Search(rings, padded(self.inputs.rings, rings.n), self.radius, options.ts, reach, options.exhaustive,
                      pool=workers.map)

    def _aligner(self, search, workers):
        options, inputs = self.options, self.inputs
        bank = Bank(inputs.source, self.rows, search, workers, self.centres[self.rows], options.memory * GIB)
        transfer = None
        if options.CTF:
            transfer = Transfer.of(search.rings, inputs.ctf, inputs.pixel_size, inputs.b_factor).take(self.rows)
        return Aligner(search, bank, transfer, options.scoring == "normalized", options.soft)

    def _iterate(self, aligner):
        """One iteration and its files."""
        started, before, last = time.time(), self.particles.ref, self.score
        self.iteration += 1
        best, sums = self._align(aligner)
        weight = sums.weight.sum(1)
        sums = self._revived(aligner, best, sums)
        change, curves, averages = self._next_references(aligner.search.rings, sums)
        changed, self.score = float(np.mean(before != self.particles.ref)), float(self.particles.score.mean())
        self.converged = (self.options.maxit == 0 and changed <= self.options.eps
                          and self.score - last <= RISING * abs(self.score))
        inside = self.inputs.mask / self.inputs.mask.sum()
        info = {"iterationNumber": self.iteration, "meanCC": self.score,
                "criterion": float((self.references**2 * inside).sum()), "changed": changed, "maxres": 0.5,
                "samplingRate": self.inputs.pixel_size or -1.0, "randomSeed": self.options.rand_seed}
        result = MrefResult(self.inputs, self.particles, averages, weight, change, curves, info)
        self._report(result, started)

    def _align(self, aligner):
        """Align all particles to the references: our :class:`.engine.alignment.Best`, and everybody's sums."""
        ours, bank = self.rows, aligner.bank
        places = np.clip(self.particles.places()[ours], -self.room, self.room)
        bank.recentre(self._middles(places, aligner.search.reach))
        limits = (self._limits(places) - bank.centres[:, :, None]).reshape(-1, 4)
        with self._progress(len(ours)) as progress:
            best, sums = aligner.run(padded(self.references, aligner.search.rings.n), limits, progress)
        # the engine mirrors y, before the turn; the convention mirrors x, after it: see em.note
        mine = Particles(best.ref, (np.rad2deg(best.psi) + 180 * best.mirrored) % 360, best.x, best.y, best.mirrored,
                         best.score, best.probability)
        mine.put(bank.centres)
        mine.shift_x, mine.shift_y = mine.shift_x - best.x, mine.shift_y - best.y
        self.particles = Particles(*(self.ranks.gather(column) for column in vars(mine).values()))
        self.centres = self.ranks.gather(bank.centres)
        return best, self._of_all(sums)

    @contextmanager
    def _progress(self, count):
        """A bar on a terminal: what to call with the number of images done, or None."""
        if not (self.ranks.first and sys.stderr.isatty()):
            yield None
            return
        from tqdm import tqdm
        with tqdm(total=count, desc=f"iteration {self.iteration}", unit="image", leave=False) as bar:
            yield bar.update

    def _limits(self, places):
        """Lowest and highest (N, 2, 2) x, and y, of places searched for particles last seen at ``places`` (N, 2)."""
        ranges = np.array([self.options.xr, self.options.yr])
        low, high = np.maximum(places - ranges, -self.room), np.minimum(places + ranges, self.room)
        return np.stack([low, high], 2)

    def _middles(self, places, reach):
        """What is to be in the middle of the views (N, 2) of particles last seen at ``places`` (N, 2).

        That of the image, or where this is too far from what is to be searched, the pixel the particle is at.
        """
        if self.options.xr == self.options.yr == 0:
            return places                       # the particles stay where they are, between pixels, too
        far = np.hypot(*np.abs(self._limits(places)).max(2).T) > reach + 1e-6
        return np.where(far[:, None], np.floor(places + 0.5), 0.0)

    def _of_all(self, sums):
        """Sums over the particles of all ranks."""
        return Sums(*(None if part is None else self.ranks.sum(part) for part in vars(sums).values()))

    def _revived(self, aligner, best, sums):
        """Sums in which classes that are too small begin anew with badly fitting members of the largest one."""
        sizes = np.bincount(self.particles.ref, minlength=len(self.references))
        poor = np.flatnonzero(sizes < self.options.min_class)
        rng = np.random.default_rng([self.options.rand_seed, self.iteration])
        for k in poor:
            parent = int(sizes.argmax())
            members = np.flatnonzero(self.particles.ref == parent)
            worst = members[np.argsort(self.particles.score[members], kind="stable")][: len(members) // 2]
            if len(worst) < 2 * self.options.min_class or parent in poor:
                self.log(f"class {k + 1} has {sizes[k]} members, and no class is large enough to give some")
                continue
            chosen = np.sort(rng.permutation(worst)[: len(worst) // 2 + 1])
            self.log(f"class {k + 1} has {sizes[k]} members and begins anew with {len(chosen)} of class {parent + 1}")
            which = np.flatnonzero(np.isin(self.rows, chosen))
            fresh = self._of_all(aligner.average(best, which, np.full(len(which), k), len(sizes)))
            for name, part in vars(fresh).items():
                if part is not None:
                    getattr(sums, name)[k] = part[k]
            sizes[parent] -= len(chosen)
        return sums

    def _next_references(self, rings, sums):
        """Prepare the references of the next iteration, and move the particles with the centres.

        Returns their squared change over squared signal (K,); frequencies, FRC (K, M) and pixels (M,); the averages
        (K, n, n) as they are.
        """
        halves, whole = (self._images(rings, part) for part in sums.averages(1 / self.options.snr))
        frequency, correlation, pixels = image_filters.shell_correlation(halves[:, 0], halves[:, 1])
        filled = (sums.weight > 0).all(1)
        correlation[~filled] = 0
        old, new, averages, centres = self.references, [], [], np.zeros((len(whole), 2))
        if self.options.center == MEAN_SHIFT:
            centres = self._mean_shifts()
            whole = np.stack([image_filters.shifted(image, *-centre) for image, centre in zip(whole, centres)])
        for k, image in enumerate(whole):
            reference, centre = self.prepare(self.iteration, k, image, (frequency, correlation[k], pixels))
            averages.append(image_filters.shifted(image, *-np.asarray(centre)) if any(centre) else image)
            centres[k] += centre
            new.append(reference)
        self.references = self.ranks.agree(np.stack(new).astype(np.float32).astype(float))      # as files keep them
        self.particles.shift_x, self.particles.shift_y = (
            np.stack([self.particles.shift_x, self.particles.shift_y]) - centres[self.particles.ref].T)
        power = (self.references**2).sum((1, 2))
        change = ((self.references - old) ** 2).sum((1, 2)) / np.where(power > 0, power, np.inf)
        return change, (frequency, correlation, pixels), np.stack(averages)

    def _images(self, rings, samples):
        """Images (..., n, n) of samples (..., P)."""
        edge = (rings.n - self.size) // 2
        images = rings.images(samples.reshape(-1, samples.shape[-1]))
        images = images[:, edge : edge + self.size, edge : edge + self.size]
        return images.reshape(*samples.shape[:-1], self.size, self.size)

    def _mean_shifts(self):
        """Mean shift (K, 2) of the members of every class; zero where there are none."""
        p, count = self.particles, len(self.references)
        sums = np.stack([np.bincount(p.ref, shift, minlength=count) for shift in (p.shift_x, p.shift_y)], 1)
        return sums / np.maximum(np.bincount(p.ref, minlength=count), 1)[:, None]

    # ---- results and state ------------------------------------------------------------------------------------

    def _report(self, result, started):
        """Write this iteration's files, its checkpoint and a line in the log."""
        info = result.info
        info["seconds"] = time.time() - started
        if self.ranks.first:
            self.files.write_iteration(self.iteration, self.references, result)
            self._checkpoint()
        sizes = np.bincount(self.particles.ref, minlength=len(self.references))
        self.log(f"iteration {self.iteration:3d}: mean score {info['meanCC']:.4f}, criterion {info['criterion']:.6g}, "
                 f"{100 * info['changed']:.1f} % changed class, classes of {sizes.min()} to {sizes.max()}, "
                 f"{info['seconds']:.1f} s")
        if self.converged:
            self.log(f"stops: at most {100 * self.options.eps:g} % of the particles changed class, and the mean score "
                     "no longer rises")

    def _finish(self):
        if self.ranks.first and self.iteration:
            self.files.publish(self.iteration)
            self.files.write_particles(self.inputs, self.particles)
            members = [np.flatnonzero(self.particles.ref == k) for k in range(len(self.references))]
            write_references(self.files.last_references, self.references, members, self.inputs.pixel_size)
            if self.options.write_headers:
                write_with_headers(self.options.write_headers, self.inputs, self.particles)
        if self.ranks.told():
            self.log(self.ranks.told())
        self.log(f"done: averages in {self.files.oroot}classes.mrcs and {self.files.last_references}, particles in "
                 f"{self.files.oroot}images.xmd")
        self.ranks.wait()

    def _checkpoint(self):
        arrays = {f"particles.{f.name}": getattr(self.particles, f.name) for f in fields(Particles)}
        arrays.update(references=self.references, centres=self.centres)
        meta = {"program": PROGRAM, "iteration": self.iteration, "images": self.inputs.raw.count, "size": self.size,
                "references": len(self.references), "fingerprint": self.inputs.fingerprint(), "score": self.score,
                "converged": self.converged, "options": vars(self.options)}
        self.files.save_checkpoint(self.iteration, arrays, meta)

    def _restore(self, iteration):
        arrays, meta = self.files.load_checkpoint(iteration)
        facts = (("images", self.inputs.raw.count, "images"), ("size", self.size, "px boxes"),
                 ("references", len(self.references), "references"))
        check_same_run(meta, PROGRAM, facts, self.inputs.fingerprint(), self.options.outdir, self.options.stack)
        self.iteration, self.score = meta["iteration"], meta["score"]
        self.particles = Particles(**{f.name: arrays[f"particles.{f.name}"] for f in fields(Particles)})
        self.references, self.centres = arrays["references"], arrays["centres"]
        self.converged = meta["converged"] and self.options.maxit == 0 and self.options.eps >= meta["options"]["eps"]
        self.ranks.wait()                       # until all have read what the first may remove
        if self.ranks.first:
            self.files.forget(after=iteration)
        self.log(f"continuing after iteration {iteration}{self.ranks.words()}")

    def log(self, line):
        if self.ranks.first:
            tell(self.files.log, line)
