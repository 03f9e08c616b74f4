"""The file of scores that a selection leaves: what was looked at, what was chosen, and by how much averages moved."""
import numpy as np
from pyworkflow.utils import cleanPath

from mlalign.convert import image_row, write_rows
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.ranking import WEIGHTS, Ranking

UNKNOWN = -1.0
MOVED = ("movedX", "movedY", "movedZ")


def write_scores(path, ranking, chosen=(), shifts=None):
    """Write a ranking, which classes were chosen, and their shifts {class: (x, y[, z])} px, as a STAR file.

    Block ``scores``: a class a row, -1 for what is unknown; the shifts of classes that did not move are zero.
    Block ``notes``: what is unknown, and why.
    """
    columns = {"ref": ranking.refs, "classCount": ranking.sizes, "selected": np.isin(ranking.refs, chosen).astype(int),
               "score": ranking.score,
               **{name: np.where(np.isnan(part), UNKNOWN, part) for name, part in ranking.parts.items()},
               "trustedFrequency": np.where(np.isnan(ranking.resolution), UNKNOWN, ranking.resolution)}
    if shifts:
        dimensions = len(next(iter(shifts.values())))
        moved = np.array([shifts.get(int(ref), np.zeros(dimensions)) for ref in ranking.refs])
        columns.update(zip(MOVED, moved.T))
    write_star(path, {"scores": columns, "notes": {"note": np.array(ranking.notes, object)}})


def write_averages(path, classes, refs, ranking):
    """Write where the averages of some classes of a set are, with their scores, for the gallery; no file for none."""
    cleanPath(path)
    rows = []
    for one in classes.iterItems():
        ref = one.getObjId()
        if ref in refs:
            k = int(np.flatnonzero(ranking.refs == ref)[0])
            rows.append({**image_row(one.getRepresentative(), ref, classes.getSamplingRate()), "ref": ref,
                         "classCount": int(ranking.sizes[k]), "score": float(ranking.score[k]),
                         **{name: float(part[k]) for name, part in ranking.parts.items() if not np.isnan(part[k])}})
    if rows:
        write_rows(path, rows, classes)


def read_scores(path):
    """The :class:`Ranking` of a file of scores, and its table."""
    blocks = read_star(path)
    table = blocks["scores"]
    parts = {name: _known(table, name) for name in WEIGHTS}
    ranking = Ranking(table["ref"], table["classCount"], parts, table.numbers("score"),
                      _known(table, "trustedFrequency"), tuple(blocks["notes"]["note"].tolist()))
    return ranking, table


def _known(table, label):
    values = table.numbers(label)
    return np.where(values == UNKNOWN, np.nan, values)
