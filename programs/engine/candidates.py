"""Where the coarse search found something: columns of candidates, and which of them are an image's best."""
import numpy as np


def empty(count):
    """Columns to fill: image, reference, mirrored, angle, shift, score."""
    return (*(np.empty(count, np.int64) for _ in range(5)), np.empty(count, np.float32))


def among_highest(values, count, sides):
    """bool (B, K, 8): whether a sector's value is one of its image's ``count`` highest; of ``sides`` mirrors each."""
    of_sides = values.reshape(*values.shape[:2], sides, -1)
    ordered = np.sort(of_sides.transpose(0, 2, 1, 3).reshape(len(values), sides, -1))
    return (of_sides >= ordered[:, None, :, -min(count, ordered.shape[2]), None]).reshape(values.shape)


def rank(image, score):
    """(C,) place of every candidate among those of its image, or of its image and mirror, from 0 for the best."""
    order = np.lexsort((-score, image))
    begin = np.flatnonzero(np.diff(image[order], prepend=-1))
    place = np.empty(len(image), int)
    place[order] = np.arange(len(image)) - np.repeat(begin, np.diff(begin, append=len(image)))
    return place
