"""First class averages: from what images show whichever way they are turned, or by maximum likelihood."""
from dataclasses import dataclass

import numpy as np

from .engine.footprint import Footprint
from .engine.grouping import group
from .engine.invariants import Components
from .engine.matching import masked
from .engine.poses2d import Poses
from .engine.subspace import Principal, normalised
from .msa2d_averages import make_averages

MOST_CLASSES = 50
FEWEST_IMAGES, IMAGES_PER_CLASS = 2000, 10       # that first classes are made from, if there are so many
ROUNDS = 2                # of classes from harmonics: the first ones' averages tell better where particles are
AT_ONCE = 256             # images
OFFSET = 3.0              # px: deviation of particles from their rough centres, to begin with


@dataclass
class Start:
    """First classes of the particles ``which`` (S,): :class:`.msa2d_averages.ClassAverages` of them, and the averages
    (K, n, n) as they are written; particles: their :class:`.msa2d_images.Images`."""

    which: np.ndarray
    averages: object
    images: np.ndarray
    particles: object


class Starter:
    """Makes first classes.

    make_images: which, places -> :class:`.msa2d_images.Images`.  rng: numpy Generator; log: called with lines.
    """

    def __init__(self, options, inputs, geometry, make_images, recipe, workers, rng, log):
        self.options, self.inputs, self.geometry, self.workers = options, inputs, geometry, workers
        self.make_images, self.recipe, self.rng, self.log = make_images, recipe, rng, log
        self.classes = min(MOST_CLASSES, options.ncls)

    def run(self, files, places):
        """:class:`Start`, and its files.  places: (U, 2) where particles are."""
        used = self.inputs.used
        most = max(FEWEST_IMAGES, IMAGES_PER_CLASS * self.options.ncls)
        some = np.arange(0, len(used), max(1, len(used) // most))
        if len(some) < self.inputs.raw.count:
            files.write_subset(self.inputs, used[some])
        if len(some) < len(used):
            self.log(f"first classes come from {len(some)} of the {len(used)} particles")
        images = self.make_images(used[some], places[some])
        start = self._likely(images) if self.options.start == "ml" else self._invariant(images, files)
        members = start.averages.members
        self.log(f"{np.count_nonzero(members)} first classes of {members.min()} to {members.max()} particles")
        files.write_start(self.inputs, start)
        return some, start

    def _start(self, images, averages):
        return Start(images.which, averages, self.geometry.cropped(averages.images), images)

    # ---- invariants

    def _invariant(self, images, files):
        """By k-means of what turns do not change."""
        poses = Poses.at(images.centres)
        for remaining in reversed(range(ROUNDS if self.options.start == "harmonics" else 1)):
            components = Components.of(self.geometry.rings, self._harmonics(images, poses.place))
            features, shape = components.features(), None
            if self.options.start == "footprint":
                features, shape = self._footprints(images, poses)
            coefficients = self._msa(features, shape, None if remaining else files)
            labels = group(coefficients, self.classes, self.rng, self.options.fastseed)
            poses = Poses(*self._turns(components, labels), poses.place)
            images.recentre(poses)
            averages = make_averages(images, labels, poses, self.classes, self.recipe)
            poses = averages.poses
            images.recentre(poses)
        return self._start(images, averages)

    def _turns(self, components, labels):
        """How images lie, as far as their aligner may turn and mirror them: mirrored (S,), psi (S,)."""
        aligner = self.recipe.stage.aligner
        if not aligner.turns:
            return np.zeros(len(labels), int), np.zeros(len(labels))
        return components.turned_together(labels, self.classes, self.rng, aligner.mirrors)

    def _footprints(self, images, poses):
        footprint = Footprint(self.inputs.raw.size)
        return self._in_blocks(images, lambda rows: footprint(self.centred(images, rows, poses))), footprint.shape

    def _msa(self, features, shape, files):
        """Coefficients (S, V) of features among their first principal components."""
        vectors = normalised(features) if shape else features
        count = min(self.options.nbasisfp, *vectors.shape)
        principal = Principal.of(vectors, count)
        coefficients = principal.coefficients(vectors)
        if files:
            files.write_features(vectors, shape, principal, coefficients)
        return normalised(coefficients) if self.options.normproj and shape else coefficients

    def _harmonics(self, images, places):
        """Harmonics (S, size) of images with what is at ``places`` (S, 2) in the middle, masked and without a mean."""
        rings, mask = self.geometry.rings, self.geometry.mask

        def of(rows):
            whole = np.floor(places[rows] + 0.5).astype(int)
            cut = images.bank.cut(self.inputs.source.read(images.which[rows]), whole)
            samples = rings.sample(masked(cut, mask)[0].astype(np.float32))
            moved = (samples[0] + 1j * samples[1]) * rings.phase(whole - places[rows])
            return rings.expand(np.stack([moved.real, moved.imag]).astype(np.float32))

        return self._in_blocks(images, of)

    def centred(self, images, rows, poses):
        """Images (B, n, n) with the particle in the middle, to a pixel."""
        whole = np.floor(poses.place[rows] + 0.5).astype(int)
        return self.geometry.cropped(images.bank.cut(self.inputs.source.read(images.which[rows]), whole))

    def _in_blocks(self, images, function):
        blocks = np.array_split(np.arange(images.count), -(-images.count // AT_ONCE))
        return np.concatenate(self.workers.map(function, blocks))

    # ---- likelihood

    def _likely(self, images):
        """By a short maximum-likelihood classification at low resolution, see :mod:`.engine.starts`."""
        from .engine.estimator import Estimator, Settings  # much to load, for this alone
        from .engine.starts import random_start, start_maxres
        source = _Centred(self, images)
        settings = Settings(mirror=self.recipe.stage.aligner.mirrors, fast=True, radius=self.geometry.radius)
        estimator = Estimator(source, settings, self.workers)
        model = random_start(estimator, self.classes, 1.0, OFFSET, 1, self.rng, self.log,
                             start_maxres(source.size), split=True)
        _, _, particles = estimator.run(model, np.arange(source.count), 1)
        # from the convention of geometry back to the engine's, see em.note
        mirrored = particles.flip.astype(int)
        poses = Poses.shifted(mirrored, np.deg2rad(particles.psi - 180 * mirrored), -particles.shift_x,
                              -particles.shift_y, images.centres)
        images.recentre(poses)
        averages = make_averages(images, particles.ref, poses, self.classes, self.recipe)
        return self._start(images, averages)


class _Centred:
    """Some images around where their particles are; reads like a source."""

    def __init__(self, starter, images):
        self.starter, self.images = starter, images
        self.count, self.size = images.count, starter.inputs.raw.size

    def read(self, rows):
        rows = np.arange(self.count)[rows]
        return self.starter.centred(self.images, rows, Poses.at(self.images.centres)).astype(np.float32)
