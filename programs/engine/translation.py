"""The search of images that are not turned or mirrored: correlation at every shift, one product for all images."""
import numpy as np

from .correlation import Found


def unturned(search, views, references, norm, limits):
    """:class:`.correlation.Found`, like :meth:`.correlation.Search.run`: the best shift of one reference.

    All shifts of the fine lattice within the limits are scored; the top is that of parabolas through the best one.
    """
    template = search.rings.shifted(references.samples[0], search.fine_phase) * search.rings.metric
    x, y = search.step * search.fine_places.T
    low_x, high_x, low_y, high_y = (column[:, None] for column in np.asarray(limits, float).T)
    inside = (x >= low_x) & (x <= high_x) & (y >= low_y) & (y <= high_y)
    score = views.x @ template.T * _inverse_at(search, views.inverse, x, y) * norm
    score = np.where(inside, score, -np.inf)
    rows, best = np.flatnonzero(score.max(1) > 0), score.argmax(1)
    best = best[rows]
    at, offset, height = search.fine_places[best], np.zeros((len(rows), 2)), score[rows, best]
    for axis, step in enumerate(np.eye(2, dtype=int)):
        before, after = _score_at(search, score, rows, at - step), _score_at(search, score, rows, at + step)
        bend = before + after - 2 * score[rows, best]
        free = np.isfinite(bend) & (bend < 0)
        offset[free, axis] = ((before[free] - after[free]) / (2 * bend[free])).clip(-1, 1)
        height[free] += (after[free] - before[free]) / 4 * offset[free, axis]
    place = search.step * (at + offset)
    none = np.zeros(len(rows), int)
    return Found(rows, none, none, height, np.zeros(len(rows)), *place.T)


def _inverse_at(search, inverse, x, y):
    """(N, T): one over the deviations of the images inside the mask moved to the whole pixels nearest x, y (T,)."""
    column, row = (np.rint(v).astype(int).clip(-search.margin, search.margin) + search.margin for v in (x, y))
    return inverse[:, row, column]


def _score_at(search, score, rows, places):
    """Scores (C,) of images ``rows`` at lattice points (C, 2); -inf where there is none."""
    edge = len(search.index) // 2
    x, y = places.T + edge
    inside = (np.minimum(x, y) >= 0) & (np.maximum(x, y) < len(search.index))
    which = np.where(inside, search.index[y.clip(0, 2 * edge), x.clip(0, 2 * edge)], -1)
    return np.where(which >= 0, score[rows, which], -np.inf)
