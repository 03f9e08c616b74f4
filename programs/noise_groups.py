"""Which images share a noise spectrum: those with the same optics and a similar defocus."""
from dataclasses import dataclass

import numpy as np

MOST_BINS = 8       # of defocus, in one optics group
SEVERAL = 0         # optics group of a noise group that takes images from several
UNKNOWN = -1.0      # defocus of images without CTF


@dataclass(frozen=True)
class NoiseGroups:
    """G groups of n images, none empty.

    index: (n,) the group of every image, from 0; optics: (G,) optics group, 0 where several were joined;
    count: (G,) images; defocus_min, defocus_max: (G,) mean defocus in Å, -1 without CTF.
    Groups are in the order of optics groups, then of defocus.
    """

    index: np.ndarray
    optics: np.ndarray
    count: np.ndarray
    defocus_min: np.ndarray
    defocus_max: np.ndarray

    def __len__(self):
        return len(self.count)


def optics_groups(source):
    """(n,) optics group of every image of an :class:`.formats.images.ImageSource`: RELION's, else 1."""
    if "rlnOpticsGroup" in source.metadata:
        return source.metadata["rlnOpticsGroup"]
    return np.ones(source.count, np.int64)


def noise_groups(ctf, optics, mode, smallest):
    """Group n images: :class:`NoiseGroups`.  The answer does not depend on the order of the images.

    ctf: :class:`.engine.ctf.Ctf` of the images, or None: then all are one group
    optics: (n,) whole numbers, see :func:`optics_groups`
    mode: "optics", each optics group is a noise group; "auto", optics groups are divided by mean defocus into
        as many equally filled bins, up to 8, as leave ``smallest`` images in each; "pooled", one group
    smallest: optics groups of fewer images are joined into one, if need be with the next larger optics group

    Images of equal defocus, such as those of a micrograph, stay together within their optics group.
    """
    if ctf is None or mode == "pooled":
        index = np.zeros(len(optics), np.int64)
    else:
        index = _join_small(optics, smallest)
        if mode == "auto":
            index = _divide(index, ctf.defocus, smallest)
    return _described(index, optics, None if ctf is None else ctf.defocus)


def _join_small(optics, smallest):
    """Group of every image: its optics group, or that into which small ones were joined."""
    _, index, count = np.unique(optics, return_inverse=True, return_counts=True)
    small = count < smallest
    if small.any() and not small.all() and count[small].sum() < smallest:
        small[np.argmin(np.where(small, np.inf, count))] = True
    group = np.arange(len(count))
    group[small] = np.flatnonzero(small)[:1]
    return group[index]


def _divide(index, defocus, smallest):
    """Groups divided by the defocus of the images: the new index."""
    divided = np.empty_like(index)
    for group in np.unique(index):
        here = np.flatnonzero(index == group)
        divided[here] = MOST_BINS * group + _bins(defocus[here], smallest)
    return divided


def _bins(defocus, smallest):
    """The bin of every image: as many as possible with ``smallest`` images each, and equal defocus undivided."""
    _, value, count = np.unique(defocus, return_inverse=True, return_counts=True)
    quantile = (np.cumsum(count) - count / 2) / len(defocus)
    best, most = np.zeros(len(count), np.int64), 1
    for bins in range(2, min(MOST_BINS, len(defocus) // smallest) + 1):
        bin_of = (bins * quantile).astype(np.int64)
        images = np.bincount(bin_of, count)
        images = images[images > 0]         # a large micrograph can fill more than one quantile
        if images.min() >= smallest and len(images) > most:
            best, most = bin_of, len(images)
    return best[value]


def _described(index, optics, defocus):
    _, index, count = np.unique(index, return_inverse=True, return_counts=True)
    lowest, highest = _extremes(optics, index, len(count))
    ends = np.full((2, len(count)), UNKNOWN) if defocus is None else _extremes(defocus, index, len(count))
    return NoiseGroups(index, np.where(lowest == highest, lowest, SEVERAL), count, *ends)


def _extremes(values, index, groups):
    """Smallest and largest value of every group."""
    order = np.lexsort((values, index))
    edges = np.searchsorted(index[order], np.arange(groups + 1))
    return values[order[edges[:-1]]], values[order[edges[1:] - 1]]
