"""Numbers that must be whole: items, classes, regions."""
import numpy as np

_EXACT = 2**53          # up to here float64 has every whole number
DIGITS = 18             # of a whole number in a text that fits 64 bits


def not_whole(values):
    """Indices of those values (n,) that are no whole numbers, or so large that nobody knows which."""
    values = np.atleast_1d(values)
    if values.dtype.kind in "iu":
        return np.empty(0, np.int64)
    return np.flatnonzero(~((np.abs(values) <= _EXACT) & (values == np.rint(values))))          # NaN, too
