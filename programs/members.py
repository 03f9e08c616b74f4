"""The particles of a run at any of its iterations, whichever program wrote it: one table, in the order of the input."""
from pathlib import Path

import numpy as np

from .formats.star import MetaData, read_star
from .results import FINAL
from .tomo_results import TomoRun


def particles_of(run, iteration=FINAL):
    """The table of a run's particles with their poses and classes (``ref``: 1, 2, …): a :class:`MetaData`.

    run: a :class:`.results.Results`.  Rows are in the order of the input and have the input's columns, too.  An
    iteration of mref_ali2d keeps no more than what aligns its particles: the other columns, and the order, are those
    of the final result, or where there is none yet, just these columns by itemId.
    """
    if isinstance(run, TomoRun):
        return run.images(iteration)
    path = Path(f"{run.prefix(iteration)}images.xmd")
    if path.exists():
        return read_star(path, ["particles"])["particles"]
    found = _joined(run, iteration)
    final = Path(f"{run.prefix()}images.xmd")
    return _in_the_order_of(read_star(final, ["particles"])["particles"], found) if final.exists() else found


def members_at(run, iteration):
    """{itemId: ref} of a run's particles at an iteration."""
    table = particles_of(run, iteration)
    return dict(zip(table["itemId"].tolist(), table["ref"].tolist()))


def _joined(run, iteration):
    """The members of all classes, by itemId."""
    refs = run.classes(iteration)["ref"]
    tables = read_star(run.classes_file(iteration), [f"class{ref:06d}_images" for ref in refs])
    filled = [table for table in tables.values() if len(table)]
    labels = filled[0].columns if filled else ()
    columns = {label: np.concatenate([table[label] for table in filled]) for label in labels}
    table = MetaData(columns, run.classes_file(iteration))
    return table.take(np.argsort(table["itemId"], kind="stable"))


def _in_the_order_of(final, found):
    """The rows of ``found`` as the final table has them, with those of its columns that ``found`` lacks."""
    place = {item: row for row, item in enumerate(found["itemId"].tolist())}
    there = np.array([item in place for item in final["itemId"].tolist()], bool)
    final = final.take(there)
    rows = np.array([place[item] for item in final["itemId"].tolist()], int)
    newer = {label: values[rows] for label, values in found.columns.items()}
    results = {"classProbability"}          # of the final result, and not those of this iteration
    older = {label: values for label, values in final.columns.items() if label not in results}
    return MetaData({**older, **newer}, found.path)
