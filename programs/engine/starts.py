"""Finding a good start: short random starts at low resolution, then splits where the likelihood wants them."""
import numpy as np

from .references import SPLIT_ITERATIONS, propose_splits, split_into, subset_averages

STAGES = (8, 11, 16)          # Fourier pixels (box times highest frequency) that a start goes through
START_ITERATIONS = 16
STAGE_ITERATIONS = 8          # at each later stage, before classes are split
SETTLED = 5e-4                # nats per image and iteration below which a short run has settled
IMAGES_PER_CLASS = 250        # looked at by random starts
FEWEST_IMAGES = 2000


def start_maxres(size):
    """Highest frequency (1/px) of random starts for boxes of ``size`` pixels."""
    return min(0.5, STAGES[0] / size)


def random_start(estimator, count, sigma, sigma_offset, restarts, rng, log, maxres=0.5, split=True, fractions=None):
    """The most likely of ``restarts`` short runs from averages of random subsets, with poor classes split anew.

    All on a random subset of the images when there are many.  Returns the model on the disk the estimator is left
    with: that of the last stage, or ``maxres``.  log: called with lines for the run's log.
    """
    total, size = estimator.source.count, estimator.source.size
    rows = np.sort(rng.permutation(total)[: max(FEWEST_IMAGES, IMAGES_PER_CLASS * count)])
    estimator.enter(min(maxres, start_maxres(size)), quick=True)
    best = None
    for attempt in range(restarts):
        estimator.shift_radius = None
        averages = subset_averages(estimator.bank, rows, count, rng)
        model = estimator.initial_model(averages, sigma, sigma_offset, fractions)
        state = estimator.run(model, rows, START_ITERATIONS, SETTLED)
        log(f"start {attempt + 1} of {restarts}: log-likelihood {state[1]:.1f}, "
            f"class sizes {_sizes(state[0], len(rows))}")
        if best is None or state[1] > best[1]:
            best = state
    if not split or count == 1:
        return best[0]
    model = _improve(estimator, best, rows, rng, log)
    for radius in STAGES[1:]:
        if estimator.maxres < min(maxres, radius / size):
            estimator.enter(min(maxres, radius / size), quick=True)
            state = estimator.run(model.on(estimator.disk), rows, STAGE_ITERATIONS, SETTLED)
            model = _improve(estimator, state, rows, rng, log)
    return model


def _improve(estimator, state, rows, rng, log):
    """Move the smallest classes to where others want to be split, as long as that raises the likelihood.

    Several classes move at once; when a trial fails, half as many are tried, down to one.
    """
    model, likelihood, particles = state
    moved = max(1, model.references // 5)
    for _ in range(2 * model.references):
        victims = list(np.argsort(model.fractions, kind="stable")[:moved])
        pairs = propose_splits(model, estimator.bank, particles, rows, rng, victims)
        if not pairs:
            break
        estimator.shift_radius = None
        trial = estimator.run(split_into(model, pairs), rows, SPLIT_ITERATIONS)
        gain = trial[1] - likelihood
        log(f"split of class {', '.join(str(p[1] + 1) for p in pairs)} up to {estimator.maxres:.3f}/px: "
            f"log-likelihood {gain:+.1f}, "
            f"{'kept' if gain > 0 else 'dropped'}, class sizes {_sizes(trial[0], len(rows))}")
        if gain > 0:
            model, likelihood, particles = trial
        elif moved > 1:
            moved //= 2
        else:
            break
    return model


def _sizes(model, count):
    return " ".join(f"{size:.0f}" for size in np.sort(model.fractions)[::-1] * count)
