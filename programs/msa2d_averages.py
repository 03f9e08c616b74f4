"""Class averages: members aligned to their average again and again, the less similar ones left out."""
from dataclasses import dataclass

import numpy as np

from .engine import centring, image_filters
from .engine.automask import automask
from .engine.matching import masked
from .engine.poses2d import Poses

LEAST = 0.001, 0.9999     # correlations of halves that a filter is made from


@dataclass(frozen=True)
class Recipe:
    """How averages are made.

    stage: :class:`.msa2d_images.Stage`.  passes: times that members are aligned.  keep: fraction, or with ``by_sigma``
    standard deviations.  filtered: averages are filtered before members are aligned to them.  automask: and masked to
    the particle.  centring: method.  by_similarity: particles weigh by their similarity.
    """

    stage: object
    passes: int
    keep: float
    by_sigma: bool
    filtered: bool
    automask: bool
    centring: str
    by_similarity: bool = False


@dataclass
class ClassAverages:
    """Averages of a particle set, in boxes of the geometry.

    images: (K, m, m); halves: (K, 2, m, m); entered: (K, 2), weight of the members in each half.
    labels: (U,) class from 0; poses (U,) in it; similarity (U,) to it; used: bool (U,), whether it is in the average.
    """

    images: np.ndarray
    halves: np.ndarray
    entered: np.ndarray
    labels: np.ndarray
    poses: Poses
    similarity: np.ndarray
    used: np.ndarray

    @property
    def members(self):
        """(K,) number of members."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.images))

    def filtered(self, mask):
        """Images low-passed to where their halves agree, see :func:`frc_filtered`."""
        return frc_filtered(self.images, self.halves, self.entered, mask)


def make_averages(images, labels, poses, classes, recipe):
    """:class:`ClassAverages` of :class:`.msa2d_images.Images` in classes ``labels`` (U,), beginning from ``poses``."""
    weight = (labels >= 0).astype(float)
    averages = ClassAverages(*images.averages(labels, poses, weight, classes), labels, poses,
                             np.zeros(len(labels)), weight > 0)
    for _ in range(recipe.passes):
        references = averages.filtered(images.geometry.mask) if recipe.filtered else averages.images
        if recipe.automask:
            references = np.stack([image * automask(image) for image in references])
        refs = np.maximum(labels, 0)[:, None]
        similarity, poses = images.match(references, refs, recipe.stage, averages.poses, averages.members)
        similarity = similarity[:, 0]
        used = kept(similarity, labels, classes, recipe.keep, recipe.by_sigma)
        weight = used * (np.maximum(similarity, 0) if recipe.by_similarity else 1.0)
        averages = ClassAverages(*images.averages(labels, poses, weight, classes), labels, poses,
                                 similarity, used)
    return centred(averages, recipe.centring, images.geometry)


def kept(similarity, labels, classes, keep, by_sigma):
    """bool (U,): whether each particle is similar enough to stay in its class's average; the best one always is.

    keep: fraction of each class that stays, or with ``by_sigma`` how many standard deviations below the mean of its
    class a similarity may be.
    """
    used = np.zeros(len(labels), bool)
    for k in range(classes):
        members = np.flatnonzero(labels == k)
        if not len(members):
            continue
        values = similarity[members]
        if by_sigma:
            stays = values >= values.mean() - keep * values.std()
        else:
            count = min(len(values), max(1, int(np.ceil(keep * len(values) - 1e-9))))
            stays = values >= np.sort(values)[-count]
        stays[values.argmax()] = True
        used[members[stays]] = True
    return used


def centred(averages, method, geometry):
    """The averages with their particles in the middle, and the poses that follow; those too far off stay."""
    offset = np.zeros((len(averages.images), 2))
    for k, image in enumerate(averages.images):
        if image.any():
            offset[k] = centring.centre(method, geometry.cropped(image))
    offset[np.abs(offset).max(1) > geometry.reach] = 0
    moved = offset.any(1)
    images, halves = averages.images.copy(), averages.halves.copy()
    for k in np.flatnonzero(moved):
        images[k] = image_filters.shifted(images[k], *-offset[k])
        halves[k] = [image_filters.shifted(half, *-offset[k]) for half in halves[k]]
    poses = averages.poses
    place = poses.place + np.einsum("nij,nj->ni", poses.matrices(), offset[averages.labels]) \
        * (averages.labels >= 0)[:, None]
    return ClassAverages(images, halves, averages.entered, averages.labels, Poses(poses.mirrored, poses.psi, place),
                         averages.similarity, averages.used)


def frc_filtered(images, halves, entered, mask):
    """Images (K, m, m) multiplied by 2 f / (1 + f), with f the correlation of their halves inside the mask.

    Those with an empty half are left alone.
    """
    inside = masked(halves.reshape(-1, *halves.shape[2:]), mask)[0].reshape(halves.shape)
    frequency, curves, _ = image_filters.shell_correlation(inside[:, 0], inside[:, 1])
    out = images.copy()
    for k in np.flatnonzero((entered > 0).all(1)):
        f = np.clip(curves[k], *LEAST)
        gain = 2 * f / (1 + f)
        out[k] = image_filters.filtered(images[k], lambda radius, gain=gain: np.interp(radius, frequency, gain))
    return out
