"""Stepwise EM: what is known of images that come in batches, of which later ones count more."""
DECAY = 0.7            # between 1/2 (forgets fast) and 1 (weighs all batches alike)


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
