"""Stepwise EM: what is known of images that come in batches, of which later ones count more."""
import threading

DECAY = 0.7            # between 1/2 (forgets fast) and 1 (weighs all batches alike)
READ_TOGETHER = 256    # images


def blended(running, fresh, seen, longest):
    """Statistics per image after another batch (Cappé & Moulines, J. R. Stat. Soc. B 71:593, 2009).

    running: :class:`.model.Statistics` per image so far, None for none; fresh: those of the batch; seen: batches in
    ``running``; longest: batches that are remembered in the long run.  The new batch counts (seen + 1)^-DECAY, not
    less than 1 / longest: batches of early, poor references are forgotten, those of late ones average out the noise.
    """
    fresh = fresh.scaled(1 / fresh.count)
    if running is None:
        return fresh
    share = max((seen + 1) ** -DECAY, 1 / longest)
    return running.scaled(1 - share) + fresh.scaled(share)


class ReadAhead:
    """Reads images before they are needed, in the background, so that they come from the system's cache then."""

    def __init__(self, source):
        self._source, self._thread, self._wanted = source, None, None

    def begin(self, rows):
        """Read the images ``rows`` from now on, and no longer others."""
        self._wanted = rows
        if len(rows):
            self._thread = threading.Thread(target=self._read, args=(rows,), daemon=True)
            self._thread.start()

    def _read(self, rows):
        for start in range(0, len(rows), READ_TOGETHER):
            if self._wanted is not rows:
                return
            try:
                self._source.read(rows[start : start + READ_TOGETHER])
            except Exception:           # whoever needs them will meet it, and say so
                return
