"""The particles of a reference-free classification and what is done with all of them: aligned, averaged, projected."""
from dataclasses import dataclass

import numpy as np

from .engine import averagers, image_filters
from .engine.averaging import Transfer
from .engine.comparators import Ccc, score
from .engine.correlation import Search
from .engine.matching import masked, match
from .engine.poses2d import Poses
from .engine.rings import Rings
from .engine.views import Bank
from .options import GIB

REACH = 4.0               # px around where a particle is that are searched, at least
REACH_OF_BOX = 16         # a larger box has this fraction of it
CLIMBS = 2                # hills climbed for every image and reference
FAR = 0.5                 # of the reach, from which on the particle is put into the middle again


@dataclass(frozen=True)
class Stage:
    """How images are aligned to references.

    aligner: :class:`.modules2d.Aligner2d`.  mirror_by: comparator that chooses between the two mirrors.
    refiner: :class:`.modules2d.Refiner` or None, which maximises ``refine_by``.  similarity: comparator of the result.
    """

    aligner: object
    mirror_by: object
    refiner: object
    refine_by: object
    similarity: object

    @property
    def refines(self):
        """Whether refinement can add to the search, which ends at the highest correlation coefficient."""
        return self.refiner is not None and not isinstance(self.refine_by, Ccc)

    @property
    def compares(self):
        """Whether images are compared with references in other ways than by the search's correlation coefficients."""
        return self.refines or not (isinstance(self.mirror_by, Ccc) and isinstance(self.similarity, Ccc))


class Geometry:
    """Grids and masks for images of ``size`` px with particles of ``radius`` px."""

    def __init__(self, size, radius, pool):
        self.size, self.radius = size, radius
        self.reach = max(REACH, size / REACH_OF_BOX)
        circle = max(size / 2, radius + self.reach + 1.5)
        self.rings = Rings(2 * int(np.ceil(circle)), circle, self.reach)
        self.box = self.rings.n                     # of averages, wide enough for shifts
        self.mask = (image_filters.distances(self.box) <= radius).astype(float)
        # images are matched part by part, each by one worker
        self.search = Search(self.rings, self.mask, radius, 1.0, self.reach, climbs=CLIMBS)
        self.pool = pool

    def cropped(self, images):
        """The middle of images (..., box, box)."""
        edge = (self.box - self.size) // 2
        return images[..., edge : edge + self.size, edge : edge + self.size]

    def samples(self, images):
        """Samples complex (K, P) of images (K, box, box)."""
        real, imaginary = self.rings.sample(np.asarray(images, np.float32))
        return (real + 1j * imaginary).T

    def low_pass(self, images, frequency):
        """Images without what lies beyond a frequency in 1/px; None leaves them."""
        if frequency is None or frequency >= 0.5:
            return images
        return np.stack([image_filters.filtered(image, lambda k: k <= frequency) for image in images])


class Images:
    """Some of a run's particles, those of a rank, in views around where they are.

    inputs: :class:`.msa2d_input.Inputs`; which: (U,) their numbers among all images, of all ranks; ranks: see
    :mod:`.engine.parallel`; memory: GiB.  Arrays over particles are of all ranks, here and in what is returned.
    """

    def __init__(self, geometry, inputs, which, ranks, workers, memory, averager, places):
        self.geometry, self.inputs, self.which, self.ranks, self.workers = geometry, inputs, which, ranks, workers
        self.ours = ranks.share(len(which))
        self.half = which % 2
        self.centres = np.floor(np.asarray(places) + 0.5)
        self.bank = Bank(inputs.source, which[self.ours], geometry.search, workers, self.centres[self.ours],
                         memory * GIB)
        self.transfer = None
        if inputs.ctf is not None:
            nothing = np.zeros(len(which))
            self.transfer = Transfer.of(geometry.rings, inputs.ctf[which], inputs.pixel_size, nothing)
        ours = None if self.transfer is None else self.transfer.take(self.ours)
        self.averager = averagers.make(averager.name, averager.options, ours, geometry.rings, inputs.pixel_size)

    @property
    def count(self):
        return len(self.which)

    def recentre(self, poses):
        """Put particles that have moved far into the middle of their views."""
        far = np.hypot(*(poses.place - self.centres).T) > FAR * self.geometry.reach
        # where it may not be there is nothing to look for
        most = np.floor(self.inputs.max_shift)
        self.centres[far] = np.floor(poses.place[far] + 0.5).clip(-most, most)
        self.bank.recentre(self.centres[self.ours])

    def match(self, references, refs, stage, poses, members=None):
        """Align images to references: similarity (U, R), larger is better, and :class:`.engine.poses2d.Poses` (U R,).

        references: (K, box, box).  refs: (U, R) numbers of the references each is aligned to.  poses: where the
        images are now.  members: (K,) number of images in every reference.
        """
        references = self.geometry.low_pass(references, stage.aligner.max_frequency)
        samples = self.geometry.samples(masked(references, self.geometry.mask)[0]) if stage.compares else None
        similarity, parts = [], []
        for some, views in self.bank.chunks():
            here = self.ours[some]
            image, slot = (index.ravel() for index in np.indices((len(here), refs.shape[1])))
            ref = refs[here[image], slot]
            found = self._match(views, references, samples, image, ref, here, stage, poses, members)
            similarity.append(found[0])
            parts.append(found[1])
        columns = [self.ranks.gather(np.concatenate([getattr(part, name) for part in parts]))
                   for name in ("mirrored", "psi", "place")]
        return self.ranks.gather(np.concatenate(similarity)).reshape(refs.shape), Poses(*columns)

    def _match(self, views, references, samples, image, ref, here, stage, poses, members):
        """Similarity and poses of pairs of one chunk; here: (N,) numbers of its images."""
        geometry, aligner, pool = self.geometry, stage.aligner, self.workers.map
        middles = self.centres[here]
        limits = self.limits(here, aligner, poses)
        both = match(geometry.search, views, references, image, ref, limits, pool, aligner.turns,
                     aligner.mirrors and aligner.turns, not isinstance(stage.mirror_by, Ccc))
        pairs = [Poses.shifted(tops.mirrored, tops.psi, tops.x, tops.y, middles[image]) for tops in both]
        if not aligner.shifts:
            for one in pairs:
                one.place = poses.place[here[image]]

        def by(comparator, some):
            """Scores of pairs in given poses."""
            comparator = comparator.informed(members, self._snr(here))
            placed = some.placed(image, ref, np.zeros_like(ref), middles[image])
            return score(geometry.rings, views.x, samples, placed, comparator, pool)

        best, values = pairs[0], both[0].score
        if len(pairs) == 2:
            other = (by(stage.mirror_by, pairs[1]) > by(stage.mirror_by, pairs[0])) & (both[1].score > 0)
            best.put(other, pairs[1].take(other))
            values = np.where(other, both[1].score, values)
        if stage.refines:
            placed = best.placed(image, ref, np.zeros_like(ref), middles[image])
            placed = stage.refiner(geometry.rings, views.x, samples, placed,
                                   stage.refine_by.informed(members, self._snr(here)), pool)
            best = Poses.shifted(placed.mirrored, placed.psi, placed.x, placed.y, middles[image])
        return values if isinstance(stage.similarity, Ccc) else by(stage.similarity, best), best

    def _snr(self, here):
        """Squared CTFs (N, rings) of images, which their ratio of signal to noise follows."""
        return None if self.transfer is None else self.transfer.take(here).power()

    def limits(self, here, aligner, poses):
        """(N, 4) lowest and highest x, then y, searched in the views of images ``here``."""
        middles, reach = self.centres[here], self.geometry.reach
        if not aligner.shifts:
            at = np.rint(poses.place[here] - middles)
            return np.repeat(at, 2, axis=1)
        most = min(self.inputs.max_shift, np.inf if aligner.max_shift is None else aligner.max_shift)
        low, high = ((end - middles).clip(-reach, reach) for end in (-most, most))
        return np.stack([low, high], 2).reshape(-1, 4)

    def similarity(self, references, refs, poses, comparator, members=None):
        """Similarity (U,) of images and references ``refs`` (U,) of (K, box, box) in poses (U,)."""
        samples, parts = self.geometry.samples(masked(references, self.geometry.mask)[0]), []
        for some, views in self.bank.chunks():
            here = self.ours[some]
            placed = poses.take(here).placed(np.arange(len(here)), refs[here], self.half[here], self.centres[here])
            told = comparator.informed(members, self._snr(here))
            parts.append(score(self.geometry.rings, views.x, samples, placed, told, self.workers.map))
        return self.ranks.gather(np.concatenate(parts))

    def averages(self, labels, poses, weight, classes):
        """Averages of classes: whole (K, box, box), halves (K, 2, box, box), and weights (K, 2).

        labels: (U,) class from 0, -1 for none; poses (U,) in them; weight: (U,), of which 0 leaves an image out.
        """
        geometry, total = self.geometry, None
        for some, views in self.bank.chunks():
            here = self.ours[some]
            inside = np.flatnonzero((labels[here] >= 0) & (weight[here] > 0))
            at = here[inside]
            placed = poses.take(at).placed(inside, labels[at], self.half[at], self.centres[at], weight[at])
            sums = self.averager.add(geometry.rings, views.x, placed, classes, self.workers.map, some)
            total = sums if total is None else total + sums
        halves, whole = self.averager.finish(total.over(self.ranks))
        entered = np.zeros((classes, 2))
        chosen = (labels >= 0) & (weight > 0)
        np.add.at(entered, (labels[chosen], self.half[chosen]), weight[chosen])
        halves = geometry.rings.images(halves.reshape(-1, halves.shape[-1]))
        return geometry.rings.images(whole), halves.reshape(classes, 2, *geometry.mask.shape), entered

    def project(self, subspace, poses):
        """Coefficients (U, V) of the images among the basis of a :class:`.engine.subspace.Subspace`."""
        geometry = self.geometry
        projection = subspace.prepare(geometry.rings, geometry.mask)
        parts = []
        for some, views in self.bank.chunks():
            here = self.ours[some]
            at = np.rint(poses.place[here] - self.centres[here]).astype(int)
            at = at.clip(-geometry.search.margin, geometry.search.margin) + geometry.search.margin
            inverse = views.inverse[np.arange(len(here)), at[:, 1], at[:, 0]]
            placed = poses.take(here).placed(np.arange(len(here)), np.zeros(len(here), int), self.half[here],
                                             self.centres[here])
            blocks = np.array_split(np.arange(len(here)), max(1, len(here) // 512))
            parts += self.workers.map(lambda rows, placed=placed, views=views, inverse=inverse: projection.coefficients(
                views.x, placed.take(rows), inverse[rows]), blocks)
        return self.ranks.gather(np.concatenate(parts))
