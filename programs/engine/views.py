"""The images of a run as the search wants them, each around where its particle is, kept when memory allows."""
import numpy as np

from .correlation import BLOCK, Views


class Bank:
    """Images of a source, cut around their particles' centres.

    source: has ``size`` and ``read(rows)``; rows: (N,) of it that are ours; search: :class:`.correlation.Search`.
    centres: (N, 2) = (x, y) in pixels from pixel size / 2, what is in the middle of the views.
    memory: bytes that may be used.
    """

    def __init__(self, source, rows, search, workers, centres, memory):
        self.source, self.rows, self.search, self.workers = source, rows, search, workers
        self.centres = np.array(centres, float)
        per_image = 4 * (search.rings.size + np.prod(search.packed_shape) + (2 * search.margin + 1) ** 2)
        self._size = max(BLOCK, int(memory // per_image))
        self._whole = self._make(np.arange(len(rows))) if len(rows) <= self._size else None

    def chunks(self):
        """(numbers among ours, :class:`.correlation.Views`) of as many images at a time as fit into memory."""
        if self._whole is not None:
            yield np.arange(len(self.rows)), self._whole
            return
        for some in np.array_split(np.arange(len(self.rows)), -(-len(self.rows) // self._size)):
            yield some, self._make(some)

    def recentre(self, centres):
        """Put other places (N, 2) into the middle of the views."""
        which = np.flatnonzero((centres != self.centres).any(1))
        self.centres = np.array(centres, float)
        if self._whole is not None and len(which):
            self._fill(self._whole, which, which)

    def _make(self, which):
        search = self.search
        orders, width = search.packed_shape[1:]
        views = Views(np.empty((len(which), search.rings.size), np.float32),
                      np.empty((2, orders, len(which), width), np.float32),
                      np.empty((len(which), *(2 * search.margin + 1,) * 2), np.float32))
        self._fill(views, np.arange(len(which)), which)
        return views

    def _fill(self, views, places, which):
        """Write the views of ours ``which`` to ``places``.

        The same however many are written at a time: every image keeps its place among those worked on together, for
        the rounding of matrix products depends on it.
        """
        slot = which % BLOCK
        order = np.argsort(slot, kind="stable")
        first = np.searchsorted(slot[order], slot[order])
        batch = np.empty(len(which), int)
        batch[order] = np.arange(len(which)) - first        # how many with the same place come before

        def fill(number):
            part = np.flatnonzero(batch == number)
            made, at, here = self._view(which[part]), places[part], slot[part]
            views.x[at], views.inverse[at] = made.x[here], made.inverse[here]
            views.packed[:, :, at] = made.packed[:, :, here]

        self.workers.map(fill, range(batch.max(initial=-1) + 1))

    def _view(self, which):
        """:class:`.correlation.Views` of BLOCK images, ours ``which`` in their places and nothing in others."""
        slot, n = which % BLOCK, self.source.size
        images, centres = np.zeros((BLOCK, n, n), np.float32), np.zeros((BLOCK, 2))
        images[slot], centres[slot] = self.source.read(self.rows[which]), self.centres[which]
        whole = np.floor(centres + 0.5).astype(int)
        return self.search.views(self.cut(images, whole), centres - whole)

    def cut(self, images, centres):
        """float32 (B, m, m) around pixel m / 2, which holds each image's centre; zero outside the images."""
        n, m = self.source.size, self.search.rings.n
        if n == m and not centres.any():
            return images
        out, edge = np.zeros((len(images), m, m), np.float32), (m - n) // 2
        farthest = (n + m) // 2                    # from where on nothing of the image is left
        for image, target, (x, y) in zip(images, out, centres.clip(-farthest, farthest)):
            # the pixel at (column, row) goes to (column + edge - x, row + edge - y)
            rows, columns = (slice(max(0, edge - shift), min(m, n + edge - shift)) for shift in (y, x))
            target[rows, columns] = image[rows.start - edge + y : rows.stop - edge + y,
                                          columns.start - edge + x : columns.stop - edge + x]
        return out
