"""Numbers of all items that a gallery shows: what can be sorted by, filtered, and saved to tables.  No Qt here."""
from typing import Callable, NamedTuple

import numpy as np

ALWAYS = ("number", "particles", "share", "resolution")      # columns of classes, whether known or not


class Column(NamedTuple):
    """Numbers of all items: label, values (rows,), text of one value, whether the largest sorts first.

    percent: fractions that are told in per cent
    """
    label: str
    values: np.ndarray
    text: Callable
    descending: bool = True
    percent: bool = False


class Computed(NamedTuple):
    """A column that takes a while to compute, and so is computed when it is asked for: ``make()`` gives it."""
    label: str
    make: Callable
    descending: bool = True


def varying_columns(source):
    """Columns of a file's images or volumes: their number, and the numbers that differ between them."""
    columns = {"number": Column("Number", source.rows, str, descending=False)}
    for label, values in source.metadata.columns.items():
        if values.dtype != object and label not in ("itemId", "enabled") and values.min() != values.max():
            columns[label] = Column(label, values, "{:.6g}".format)
    return columns


def class_columns(table):
    """Columns of a table of classes (labels as in a run's block ``classes``)."""
    count = len(table)

    def column(label, default=np.nan):
        return table.numbers(label) if label in table else np.full(count, default)

    weight = column("weight")
    particles = column("classCount") if "classCount" in table else np.nan_to_num(np.round(weight))
    resolution = column("resolution")
    columns = {
        "number": Column("Number", table["ref"], str, descending=False),
        "particles": Column("Particles", particles, lambda value: f"{value:,.0f}"),
        "share": Column("Share", particles / max(particles.sum(), 1), lambda value: f"{100 * value:.1f} %",
                        percent=True),
        "resolution": Column("Resolution", np.where(resolution > 0, resolution, np.nan),
                             lambda value: f"{value:.1f} Å" if value > 0 else "unknown", descending=False),
        "weight": Column("Weight", weight, "{:,.1f}".format),
        "mirrorFraction": Column("Mirrored", column("mirrorFraction"), lambda value: f"{100 * value:.0f} %",
                                 percent=True),
        "maxCC": Column("Correlation", column("maxCC"), "{:.3f}".format),
        "used": Column("In the average", column("used"), "{:,.0f}".format),
        "contrast": Column("Contrast", column("contrast"), "{:.3g}".format),
        "signalChange": Column("Signal change", column("signalChange") / 1000, "{:.2g}".format),
    }
    return {key: column for key, column in columns.items()
            if key in ALWAYS or not np.isnan(column.values).all()}
