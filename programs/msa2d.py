"""The outer loop of refine2d: align class averages and particles, analyse, classify, average; write, resume."""
import time
from dataclasses import dataclass, replace

import numpy as np

from .engine import consensus
from .engine.alignment import Aligner
from .engine.averaging import add_up
from .engine.backend import Workers
from .engine.grouping import group
from .engine.image_filters import padded
from .engine.matching import masked
from .engine.parallel import run_on, started
from .engine.poses2d import Poses
from .engine.rough_centres import rough_centres
from .engine.subspace import Subspace, normalised
from .errors import UserError
from .modules2d import Modules
from .msa2d_averages import ClassAverages, Recipe, make_averages
from .msa2d_files import Msa2dFiles, Msa2dResult, next_folder
from .msa2d_images import Geometry, Images, Stage
from .msa2d_input import Normalised, check_particles, read_inputs
from .msa2d_start import Starter
from .options import GIB
from .refine2d import RESUMES
from .running import check_same_run, duration, tell

PROGRAM = "refine2d"
FRACTION = 25             # of the mean class size that may change class when k-means ends
FEWEST_RINGS = 2          # Fourier pixels that are looked at, at least
SIMILAR_SIZE = 0.05       # of the mean class size: smaller classes are no alignment references


def run(options):
    """Run refine2d with parsed ``options`` (see :mod:`.refine2d`).  Raises :class:`.errors.UserError`."""
    ranks = started(f"--parallel {options.parallel}" if options.processes else "")
    run_on(ranks, PROGRAM, lambda: Classification(options, ranks).run(), RESUMES)


@dataclass
class Cycle:
    """What a cycle found on the way to its classes.

    aligned: (K, n, n) averages aligned to each other, with their headers; subspace: as it is written.
    chosen: (R, n, n) alignment references, with their headers.  similarity: (U, R), with poses (U R,).
    poses: (U,) in the common frame; coefficients: (U, V); labels: (U,).
    """

    aligned: np.ndarray
    headers: list
    subspace: Subspace
    chosen: np.ndarray
    chosen_headers: list
    similarity: np.ndarray
    similarity_poses: Poses
    poses: Poses
    coefficients: np.ndarray
    labels: np.ndarray


class Classification:
    """One run: its particles, its state between cycles, and the loop."""

    def __init__(self, options, ranks):
        self.options, self.ranks = options, ranks
        options.path = options.path or ranks.agree(next_folder(options.resume))
        self.files = Msa2dFiles(options.path)
        self.files.check_new(options.resume)
        ranks.wait()                            # before the first of them makes the folder
        self._check_not_ours(options.input, options.initial, options.exclude)
        self.inputs = inputs = read_inputs(options)
        self._check_not_ours(*{image.partition("@")[2] for image in inputs.raw.metadata["image"]})
        self.seed = self._chosen_seed()
        self.notices = self._read_modules()
        # state that a checkpoint keeps
        self.cycle, self.averages = 0, None
        self.changed, self.converged = 1.0, False
        self.inputs.source = Normalised(inputs.source, self.normalise) if self.normalise else inputs.source

    def _check_not_ours(self, *paths):
        """:class:`UserError` for files that this run would write or remove."""
        for path in paths:
            if path and self.files.owns(path):
                raise UserError(f"{path}: a run in {self.options.path} would overwrite it, expected another --path")

    def _chosen_seed(self):
        seed = int(time.time()) if self.options.random_seed < 0 else self.options.random_seed
        return self.ranks.agree(seed)

    def _read_modules(self):
        """Turn the names of modules into what they stand for; lines to tell."""
        o, inputs = self.options, self.inputs
        modules = Modules(inputs.raw.size, inputs.pixel_size, inputs.ctf is not None)
        self.averager = modules.averager("--classaverager", o.classaverager)
        self.normalise = modules.processor("--classnormproc", o.classnormproc)
        by_similarity = self.normalise is not None and self.normalise.name == "normalize.toimage"
        if by_similarity:
            # the scale that fits a normalised particle to its average is proportional to their correlation
            self.normalise = modules.processor("--classnormproc", "normalize.edgemean")
        if o.classkeep > 1 and not o.classkeepsig:
            raise UserError(f"--classkeep: {o.classkeep:g} is more than all particles of a class, expected a fraction, "
                            "or --classkeepsig for standard deviations")
        stages = [self._stage(modules, kind) for kind in ("sim", "class")]
        self.similar = self._shrunk(stages[0])
        self.recipe = Recipe(stages[1], o.classiter + 1, o.classkeep, o.classkeepsig, o.classrefsf, o.automask,
                             modules.centring("--center", o.center), by_similarity)
        for name in ("dbls", "ppid", "centeracf", "check"):
            if getattr(o, name):
                modules.notices.append(f"--{name} has nothing to do here")
        return modules.notices

    def _stage(self, modules, kind):
        def of(reader, name):
            return reader(f"--{kind}{name}", getattr(self.options, f"{kind}{name}"))

        aligner = of(modules.aligner, "align")
        self._check_frequency(f"--{kind}align {getattr(self.options, f'{kind}align')}", aligner.max_frequency)
        refiner, refine_by = of(modules.refiner, "ralign"), of(modules.comparator, "raligncmp")
        return Stage(aligner, of(modules.comparator, "aligncmp"), refiner, refine_by, of(modules.comparator, "cmp"))

    def _check_frequency(self, given, frequency):
        """:class:`UserError` where a limit in 1/px leaves too little to align by."""
        size = self.inputs.raw.size
        if frequency is not None and frequency * size < FEWEST_RINGS:
            raise UserError(f"{given}: leaves frequencies up to {frequency * size:.3g} Fourier pixels of boxes of "
                            f"{size} px, expected at least {FEWEST_RINGS}")

    def _shrunk(self, stage):
        """The stage of alignment references, at the resolution that --shrink leaves."""
        if self.options.shrink < 2:
            return stage
        limit = 0.5 / self.options.shrink
        self._check_frequency(f"--shrink {self.options.shrink}", limit)
        own = stage.aligner.max_frequency
        return replace(stage, aligner=replace(stage.aligner, max_frequency=min(limit, own or limit)))

    # ---- the loop ---------------------------------------------------------------------------------------------

    def run(self):
        workers = Workers(self.options.thr)
        try:
            check_particles(self.inputs, self.options.classnormproc)
            self.geometry = Geometry(self.inputs.raw.size, self.inputs.radius, workers.map)
            self.workers = workers
            with self.files.held(self._first):
                self._run()
        finally:
            workers.close()

    def _run(self):
        there = self.ranks.agree(self.files.iterations() if self.options.resume else [])
        if there:
            self._restore(there[-1])
        else:
            self._begin()
        while self.cycle < self.options.iter and not self.converged:
            self._iterate()
        self._finish()

    def _images(self, which, places):
        return Images(self.geometry, self.inputs, which, self.ranks, self.workers, self.options.memory, self.averager,
                      places)

    def _begin(self):
        options, inputs = self.options, self.inputs
        if self._first:
            self.files.forget()
            self.files.write_parameters(options)
        if options.resume:
            self.log(f"nothing to resume in {options.path}: starting anew")
        self.log(f"{PROGRAM}: {len(inputs.used)} particles of {inputs.raw.size} px"
                 + (f" ({inputs.raw.count - len(inputs.used)} left out)" if len(inputs.used) < inputs.raw.count else "")
                 + f", {options.ncls} classes, radius {inputs.radius:g} px, random seed {self.seed}"
                 f"{self.ranks.words()}")
        for line in self.notices:
            self.log(f"note: {line}")
        places = self._rough_centres()
        self.log("rough centres of the particles are known", 1)
        if inputs.initial is not None:
            self._begin_from(inputs.initial, places)
            return
        starter = Starter(options, inputs, self.geometry, self._images, self.recipe, self.workers,
                          np.random.default_rng([self.seed, 0]), self.log)
        some, start = starter.run(self.files if self._first else _NoFiles(), places)
        if len(some) == len(inputs.used):
            self.averages, self.images = start.averages, start.particles
        else:
            places[some] = start.averages.poses.place
            self._begin_from(start.averages.filtered(self.geometry.mask), places)

    def _rough_centres(self):
        aligners = self.similar.aligner, self.recipe.stage.aligner
        used = self.inputs.used
        if not any(aligner.shifts for aligner in aligners):
            return np.zeros((len(used), 2))
        limit = min([self.inputs.max_shift, *(aligner.max_shift for aligner in aligners if aligner.max_shift)])
        return rough_centres(self.inputs.source.read, used, self.inputs.raw.size, limit, self.inputs.radius,
                             self.workers.map, self.options.memory * GIB)

    def _begin_from(self, references, places):
        """Assign every particle to the most similar of the averages (K, n, n) or (K, box, box)."""
        geometry, inputs = self.geometry, self.inputs
        if references.shape[-1] != geometry.box:
            references = padded(references, geometry.box)
        self.images = images = self._images(inputs.used, places)
        labels, score, poses = self._most_similar(references, Poses.at(places))
        images.recentre(poses)
        count = len(references)
        parts = images.averages(labels, poses, np.ones(len(labels)), count)
        self.averages = ClassAverages(*parts, labels, poses, score, np.ones(len(labels), bool))
        self.log(f"particles assigned to {count} averages")

    def _most_similar(self, references, poses):
        """Reference (U,) from 0 that each particle resembles most, score (U,) and poses (U,)."""
        images, aligner = self.images, self.similar.aligner
        if not (aligner.turns and aligner.mirrors and aligner.shifts):
            refs = np.tile(np.arange(len(references)), (images.count, 1))
            score, found = images.match(references, refs, self.similar, poses)
            best = score.argmax(1)
            return best, score.max(1), found.take(np.arange(images.count) * len(references) + best)
        limits = images.limits(images.ours, aligner, poses)
        search = replace(self.geometry.search, climbs=None, pool=self.workers.map)
        best, _ = Aligner(search, images.bank).run(references, limits)
        columns = [self.ranks.gather(getattr(best, name)) for name in ("ref", "score", "mirrored", "psi", "x", "y")]
        return columns[0], columns[1], Poses.shifted(*columns[2:], images.centres)

    def _iterate(self):
        started = time.time()
        self.cycle += 1
        before, rng = self.averages, np.random.default_rng([self.seed, self.cycle])
        cycle = self._classify(before, rng)
        if self._first:
            self.files.write_alignment(self.cycle, self.inputs, cycle)
        self.images.recentre(cycle.poses)
        self.averages = make_averages(self.images, cycle.labels, cycle.poses, self.options.ncls, self.recipe)
        changed = float(np.mean(cycle.labels != before.labels)) if len(before.images) == self.options.ncls else 1.0
        self.changed, self.converged = changed, 0 < self.options.eps >= changed
        self._report(changed, started)

    def _classify(self, before, rng):
        """:class:`Cycle`: align averages, choose references, align and project the particles, group them."""
        geometry, options, mask = self.geometry, self.options, self.geometry.mask
        filled = np.flatnonzero(before.members > 0)
        images = before.filtered(mask)[filled]
        shifts = self.similar.aligner.shifts or self.recipe.stage.aligner.shifts
        poses, order = consensus.aligned_to_each_other(geometry.search, images, geometry.reach if shifts else 0,
                                                       self.workers.map)
        aligned = self._in_common_frame(images, poses)
        self.log(f"cycle {self.cycle}: averages aligned to each other", 1)
        subspace = Subspace.of(aligned, options.nbasisfp, mask)
        vectors, power = masked(aligned, mask)
        vectors = normalised(vectors.reshape(len(vectors), -1))
        likeness, size = vectors @ vectors.T, before.members[filled]
        quality = consensus.contrast(aligned, mask, self.inputs.pixel_size)
        allowed = (size >= SIMILAR_SIZE * size.mean()) & (power > 0)
        chosen = consensus.most_different(likeness, quality, options.naliref, allowed)
        chosen = chosen[consensus.in_a_chain(likeness[np.ix_(chosen, chosen)], 0)]
        similarity, candidates, best = self._align(before, filled, poses, aligned, chosen)
        self.log(f"cycle {self.cycle}: particles aligned to {len(chosen)} references and their own averages", 1)
        coefficients = self.images.project(subspace, best)
        if options.normproj:
            coefficients = normalised(coefficients)
        labels = self._group(coefficients, before, rng)
        chain = order[consensus.in_a_chain(likeness[np.ix_(order, order)], 0)]
        headers = [{"ptcl_repr": int(size[k]), "class_id": int(filled[k]), "contrast": float(quality[k])}
                   for k in range(len(filled))]
        crop = geometry.cropped
        return Cycle(crop(aligned[chain]), [headers[k] for k in chain],
                     Subspace(crop(subspace.mean), crop(subspace.basis), subspace.values, subspace.shares),
                     crop(aligned[chosen]), [headers[k] for k in chosen], similarity, candidates, best, coefficients,
                     labels)

    def _in_common_frame(self, images, poses):
        """Images (K, box, box), posed (K,), as they lie in the common frame."""
        rings, count = self.geometry.rings, len(images)
        x = rings.expand(rings.sample(images.astype(np.float32)))
        every = np.arange(count)
        placed = poses.placed(every, every, np.zeros(count, int), np.zeros((count, 2)))
        return rings.images(add_up(rings, x, placed, count, pool=self.workers.map).averages()[1])

    def _align(self, before, filled, average_poses, aligned, chosen):
        """Similarity (U, R) and poses (U R,) of particles and alignment references, and the best poses (U,).

        A particle may also stay with its own average, aligned as it was just now and seen in the common frame.
        """
        count, references = self.images.count, aligned[chosen]
        refs = np.tile(np.arange(len(chosen)), (count, 1))
        size = before.members[filled][chosen]
        similarity, candidates = self.images.match(references, refs, self.similar, before.poses, size)
        rows = np.arange(count)
        best = similarity.argmax(1)
        poses = candidates.take(rows * len(chosen) + best)
        place = np.full(len(before.images), -1)
        place[filled] = np.arange(len(filled))
        own = before.poses.after(average_poses.take(place[before.labels]))
        similar = self.images.similarity(aligned, place[before.labels], own, self.similar.similarity,
                                         before.members[filled])
        stays = similar >= self.images.similarity(references, best, poses, self.similar.similarity, size)
        poses.put(stays, own.take(stays))
        return similarity, candidates, poses

    def _group(self, coefficients, before, rng):
        options = self.options
        least = options.minchange
        if least < 0:
            least = len(coefficients) // (FRACTION * options.ncls) + 1
        known = before.labels if len(before.images) == options.ncls else None
        labels = group(coefficients, options.ncls, rng, options.fastseed, known, least)
        return self.ranks.agree(labels)

    # ---- results and state ------------------------------------------------------------------------------------

    def _report(self, changed, started):
        """Write this cycle's files, its checkpoint and a line in the log."""
        averages, geometry = self.averages, self.geometry
        images = geometry.cropped(averages.images)
        seconds = time.time() - started
        mean = float(averages.similarity.mean())
        contrast = consensus.contrast(averages.images, geometry.mask, self.inputs.pixel_size)
        info = {"iterationNumber": self.cycle, "meanCC": mean, "changed": changed, "maxres": 0.5,
                "samplingRate": self.inputs.pixel_size or -1.0, "randomSeed": self.seed, "seconds": seconds}
        if self._first:
            result = Msa2dResult(self.inputs, averages, images, geometry.cropped(averages.halves), contrast,
                                 info, geometry.cropped(geometry.mask))
            self.files.write_iteration(self.cycle, self.inputs, averages, result, self.options.resultmx)
            self._checkpoint()
        sizes, left = averages.members, self.options.iter - self.cycle
        to_go = f", at most {duration(left * seconds)} to go" if left else ""
        self.log(f"cycle {self.cycle:3d}: mean similarity {mean:.4f}, {100 * changed:.1f} % changed class, classes of "
                 f"{sizes.min()} to {sizes.max()}, {seconds:.1f} s{to_go}")
        if self.converged:
            self.log(f"stops: at most {100 * self.options.eps:g} % of the particles changed class")

    def _finish(self):
        if self._first:
            self.files.publish(self.cycle)
            self.files.write_particles(self.inputs, self.averages)
        if self.ranks.told():
            self.log(self.ranks.told())
        self.log(f"done: averages in {self.files.cycle('classes_YY.hdf', self.cycle)} and "
                 f"{self.files.oroot}classes.mrcs, particles in {self.files.oroot}images.xmd")
        self.ranks.wait()

    def _checkpoint(self):
        averages, poses = self.averages, self.averages.poses
        arrays = {name: getattr(averages, name) for name in ("entered", "labels", "similarity", "used")}
        arrays.update({name: getattr(poses, name) for name in ("mirrored", "psi", "place")})
        arrays.update(images=averages.images, halves=averages.halves, centres=self.images.centres)
        self.files.save_checkpoint(self.cycle, arrays, {
            "program": PROGRAM, "cycle": self.cycle, "particles": len(self.inputs.used), "size": self.inputs.raw.size,
            "radius": self.inputs.radius, "fingerprint": self.inputs.fingerprint(), "seed": self.seed,
            "changed": self.changed})

    def _restore(self, cycle):
        arrays, meta = self.files.load_checkpoint(cycle)
        facts = (("particles", len(self.inputs.used), "particles"), ("size", self.inputs.raw.size, "px boxes"),
                 ("radius", self.inputs.radius, "px of radius"))
        check_same_run(meta, PROGRAM, facts, self.inputs.fingerprint(), self.options.path, self.options.input)
        self.cycle, self.seed = meta["cycle"], meta["seed"]
        self.converged = 0 < self.options.eps >= meta["changed"]
        poses = Poses(arrays["mirrored"], arrays["psi"], arrays["place"])
        self.averages = ClassAverages(arrays["images"], arrays["halves"], arrays["entered"], arrays["labels"], poses,
                                      arrays["similarity"], arrays["used"])
        self.images = self._images(self.inputs.used, arrays["centres"])
        self.ranks.wait()                       # until all have read what the first may remove
        if self._first:
            self.files.forget(after=cycle)
            self.files.write_parameters(self.options)
        self.log(f"continuing after cycle {cycle}{self.ranks.words()}")

    @property
    def _first(self):
        return self.ranks.first

    def log(self, line, verbose=0):
        """Tell a line, if --verbose is at least so much."""
        if self._first and self.options.verbose >= verbose:
            tell(self.files.log, line)


class _NoFiles:
    """What ranks other than the first write: nothing."""

    def __getattr__(self, name):
        return lambda *arguments: None
