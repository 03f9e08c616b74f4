"""Harmonics on the rings as the coarse search multiplies them: by order and ring."""
import numpy as np


class Packing:
    """The beginning of harmonic vectors, by order and ring, as matrix products want it.

    On ``angles`` angles an order q cannot be told from angles - q, whose correlations are conjugate: both share a row.

    orders: (Q,), even ones first, ``even`` of them.
    """

    def __init__(self, rings, last, angles):
        # of even and of odd orders: lists of (place of the real part, of the imaginary one, its sign)
        rows = [[[] for _ in range(parity, angles // 2 + 1, 2)] for parity in (0, 1)]
        for j in range(last):
            for q in range(rings.highest[j] + 1):
                parity, folded, count = q % 2, q % angles, rings.each[j]
                place = rings.start[j] + 2 * count * parity + q // 2
                sign = 1 if folded <= angles // 2 else -1
                rows[parity][min(folded, angles - folded) // 2].append((place, place + count, sign))
        rows = [[row for row in some if row] for some in rows]
        even, odd = map(len, rows)
        self.orders, self.even = np.concatenate([2 * np.arange(even), 2 * np.arange(odd) + 1]), even
        width = max(len(row) for some in rows for row in some)
        self._table = np.zeros((2, len(self.orders), width), int)
        self._sign = np.zeros((2, len(self.orders), 1, width), np.float32)
        for first, some in zip((0, self.even), rows):
            for i, row in enumerate(some, first):
                real, imag, sign = np.array(row).T
                self._table[:, i, : len(row)] = real, imag
                self._sign[0, i, 0, : len(row)] = 1
                self._sign[1, i, 0, : len(row)] = sign

    @property
    def shape(self):
        return self._table.shape

    def __call__(self, x):
        """float32 (2, Q, N, J) of vectors (N, size): real and imaginary parts."""
        return np.take(x, self._table, axis=1).transpose(1, 2, 0, 3) * self._sign
