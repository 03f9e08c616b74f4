"""Finding a good start: a few classes of random images at low resolution, which divide where the images ask for it.

Dividing the most varied classes until there are enough (Linde, Buzo and Gray, IEEE Trans. Commun. 28:84, 1980) puts
classes where the images are.  As many random averages at once leave some classes with several views and others empty,
and cost as much per iteration from the beginning.
"""
import numpy as np

from .references import (
    MERGERS,
    SPLITS,
    divided,
    heterogeneity,
    merge_classes,
    moved,
    similar_pairs,
    split_class,
    subset_averages,
)
from .resolution import GROWTH

STAGES = 8 * GROWTH ** np.arange(3)      # Fourier pixels (box times highest frequency) that a start goes through
FIRST_CLASSES = 4             # that a start begins with
FIRST_ITERATIONS = 8          # of EM before these divide
GROWTH_ITERATIONS = 4         # after each division
OVERSIZE = 2                  # times the mean size of classes when they are enough: then one is not of one view
FEW = 0.125                   # of the classes, that are not worth these iterations
START_ITERATIONS = 16         # of classes that are as many as they will be
SETTLING_ITERATIONS = 8       # at the second stage, before classes are moved: similar views come apart slowly
STAGE_ITERATIONS = 4          # at each later stage
SETTLED = 0.03                # nats per image and iteration below which a short run has settled
IMAGES_PER_CLASS = 100        # looked at by random starts
FEWEST_IMAGES = 2000
MOVE_ITERATIONS = 5           # of EM before a move is judged by its likelihood
TRIALS = 10                   # of moves, in a start
PATIENCE = 2                  # moves that may fail in a row
WORTHWHILE = 0.02             # nats per image that a move must gain to be kept: as much may be noise's
HOPELESS = -0.01              # nats per image: moves that promise less, split and merger judged alone, are not tried
MOST_MOVED = 32               # classes: of more, a move changes little and costs as much as iterations of all
UNCHANGED = 0.2               # share of a class's members that may change before it is judged anew


def start_maxres(size):
    """Highest frequency (1/px) of random starts for boxes of ``size`` pixels."""
    return min(0.5, STAGES[0] / size)


def looked_at(total, classes, rng):
    """Numbers, in ascending order, of the images among ``total`` that are enough to judge so many classes."""
    return np.sort(rng.permutation(total)[: max(FEWEST_IMAGES, IMAGES_PER_CLASS * classes)])


def random_start(estimator, count, sigma, sigma_offset, restarts, rng, log, maxres=0.5, split=True, fractions=None,
                 white=None):
    """The most likely of ``restarts`` short runs from averages of random subsets: a model of ``count`` classes.

    split: begin with a few, which divide as the resolution grows, and move those that are not needed where they are.
    All on a random subset of the images when there are many.  Returns the model on the disk the estimator is left
    with: that of the last stage, or ``maxres``.  log: called with lines for the run's log.  white: for a
    :class:`.spectral_estimator.SpectralEstimator`, the :class:`.estimator.Estimator` of the phase-flipped images.  It
    finds the first classes, which are then corrected for the CTF: EM with CTFs collapses from random averages.
    """
    total = estimator.source.count
    rows = looked_at(total, count, rng)
    kept = rows if len(rows) < total else None
    stages = sorted({min(maxres, radius / estimator.source.size) for radius in STAGES})
    split = split and count > 1
    grows = split and fractions is None and count > FIRST_CLASSES
    first, iterations = (FIRST_CLASSES, FIRST_ITERATIONS) if grows else (count, START_ITERATIONS)
    finder = estimator if white is None else white
    finder.enter(stages[0], quick=True, rows=kept)
    if white is not None:
        estimator.enter(stages[0], quick=True, rows=kept)
    best = None
    for attempt in range(restarts):
        finder.shift_radius = estimator.shift_radius = None
        averages = subset_averages(finder, rows, first, rng)
        state = finder.run(finder.initial_model(averages, sigma, sigma_offset, fractions), rows, iterations, SETTLED)
        if white is not None:
            state = estimator.run(estimator.corrected(state[0], white, rows), rows, iterations, SETTLED)
        state = _grown(estimator, state, rows, count, rng)
        log(f"start {attempt + 1} of {restarts}: log-likelihood {state[1]:.1f}, "
            f"class sizes {sizes(state[0], len(rows))}")
        if best is None or state[1] > best[1]:
            best = state
    if split or white is not None:
        best = _sharpened(estimator, best, rows, kept, stages, count, split, rng, log)
    return _grown(estimator, best, rows, count, rng, anyway=True)[0]


def _sharpened(estimator, state, rows, kept, stages, count, split, rng, log):
    """(model, log-likelihood, particles) at the last of the ``stages``; the estimator has entered the first.

    split: more classes divide where there are too few, and are moved, once.  That is at the second stage: at the first,
    similar views are hardly told apart, and at the last, a view that falls between the coarse poses seems to be worth
    two classes.
    """
    judged = stages[min(1, len(stages) - 1)]
    for stage in stages:
        done = stage > judged and state[0].references == count
        if stage > stages[0]:
            estimator.enter(stage, quick=True, rows=kept)
            iterations = SETTLING_ITERATIONS if stage == judged else STAGE_ITERATIONS
            state = estimator.run(state[0].on(estimator.disk), rows, iterations, SETTLED)
            state = _grown(estimator, state, rows, count, rng)
        if split and stage >= judged and not done:
            state = _improved(estimator, state, rows, count, rng, log)
    return state


def _grown(estimator, state, rows, count, rng, anyway=False):
    """(model, log-likelihood, particles) after the most varied classes have divided, until there are ``count``.

    Classes that vary no more than noise makes them do not, unless they are far too large, and when there are few others
    a higher resolution will tell more; unless ``anyway``: then even random images become classes where there are not
    enough that can divide.
    """
    while (present := state[0].references) < count:
        model, _, particles = state
        varied = {k: found for k in range(present)
                  if (found := heterogeneity(estimator, model, particles, rows, k, rng))
                  and 0 < found[1].mean() < 1}
        blurred = _blurred(varied, particles.ref[rows], OVERSIZE * len(rows) / count)
        chosen = blurred + sorted((k for k in varied if k not in blurred and (anyway or varied[k][0] > 0)),
                                  key=lambda k: -varied[k][0])
        chosen = chosen[: min(count - present, -(-present // 2))]
        if len(chosen) < min(count - present, max(1, int(FEW * present))) and not anyway:
            break
        if chosen:
            labels = {k: rng.permutation(len(varied[k][1])) % 2 if k in blurred else varied[k][1] for k in chosen}
            model = divided(model, {k: _halves(labels[k], varied[k][2]) for k in chosen})
        else:
            model = model.with_more(subset_averages(estimator, rows, count - present, rng))
        state = estimator.run(model, rows, GROWTH_ITERATIONS, SETTLED)
    return state


def _blurred(varied, ref, largest):
    """Classes of more than ``largest`` members whose variance noise explains all the same.

    They are many views, aligned to an average too blurred to show them: EM tells them apart from halves at random.
    """
    sizes = np.bincount(ref)
    return [k for k, found in varied.items() if found[0] <= 0 and sizes[k] > largest]


def _halves(label, members):
    """References (2, rings, n_phi / 2) of two groups (B,) of a class's members, and the second one's share."""
    return np.stack([members.average(label == part) for part in (0, 1)]), label.mean()


def _improved(estimator, state, rows, count, rng, log):
    """A state after moves of classes, once there are as many as wanted, and not too many."""
    if state[0].references < count or count > MOST_MOVED:
        return state
    return Improvement(estimator, rows, rng, log).run(state, TRIALS)


class Improvement:
    """Moves a class from where two describe one view to where one describes two, while the likelihood rises.

    rows: images it works on.  log: called with lines for the run's log.  kept: number of trials that were.
    """

    def __init__(self, estimator, rows, rng, log):
        self.estimator, self.rows, self.rng, self.log = estimator, rows, rng, log
        self.kept = 0
        self._splits, self._members = {}, {}

    def run(self, state, trials):
        """Improve (model, log-likelihood, particles) in up to ``trials`` trials; returns the same three.

        With many classes several moves are tried together, fewer of them after a trial that gained little.
        """
        together, failures = moved_together(state[0].references), 0
        worthwhile = WORTHWHILE * len(self.rows)
        moves = control = None
        for _ in range(trials):
            moves = self._moves(*state) if moves is None else moves
            chosen = _disjoint(moves, together)
            if not chosen or failures >= PATIENCE:
                break
            # judged beside as many iterations without a move: EM alone gains, too
            control = self.estimator.run(state[0], self.rows, MOVE_ITERATIONS) if control is None else control
            model = state[0]
            for split, merger in chosen:
                model = moved(model, split, merger)
            trial = self.estimator.run(model, self.rows, MOVE_ITERATIONS, goal=control[1] + worthwhile)
            gain = trial[1] - control[1]
            kept = gain > worthwhile
            self.log(f"to {self.estimator.maxres:.3f}/px: {_in_words(chosen)}: log-likelihood {gain:+.1f}, "
                     f"{'kept' if kept else 'dropped'}, class sizes {sizes(trial[0], len(self.rows))}")
            if kept:
                state, control, moves, failures = trial, None, None, 0
                self.kept += 1
            elif together > 1:
                together //= 2
            else:
                moves, failures = moves[1:], failures + 1
        return control or state

    def _moves(self, model, likelihood, particles):
        """Pairs of a split and a merger, the most promising first, without hopeless ones.

        The merged class itself may be split anew.  Tried, a pair gains a bit more than its parts promise when judged
        alone.
        """
        count = model.references
        varied = {k: found[0] for k in range(count)
                  if (found := heterogeneity(self.estimator, model, particles, self.rows, k, self.rng))}
        chosen = sorted(varied, key=lambda k: -varied[k])[: max(SPLITS, count // 4)]
        splits = [self._split(model, particles, k) for k in chosen]
        pairs = similar_pairs(self.estimator, model)[: max(MERGERS, count // 4)]
        mergers = [self._merger(model, particles, *pair) for pair in pairs]
        moves = [(s, m) for s in splits for m in mergers
                 if s.parent != m.freed and s.gain - m.loss >= HOPELESS * len(self.rows)]
        return sorted(moves, key=lambda move: move[1].loss - move[0].gain)

    def _split(self, model, particles, k):
        return self._known(("split", k), particles, (k,), lambda: split_class(
            self.estimator, model, particles, self.rows, k, self.rng))

    def _merger(self, model, particles, first, second):
        return self._known(("merger", first, second), particles, (first, second), lambda: merge_classes(
            self.estimator, model, particles, self.rows, first, second, self.rng))

    def _known(self, key, particles, classes, judge):
        """What was found before, as long as few of the classes' members have changed."""
        members = np.isin(particles.ref[self.rows], classes)
        before = self._members.get(key)
        if before is None or np.count_nonzero(members != before) > UNCHANGED * max(np.count_nonzero(members), 1):
            self._members[key], self._splits[key] = members, judge()
        return self._splits[key]


def moved_together(classes):
    """How many of so many classes are moved in one trial, at first."""
    return max(1, classes // 8)


def _disjoint(moves, most):
    """The first of the moves that have no class in common, up to ``most``."""
    chosen, used = [], set()
    for split, merger in moves:
        classes = {split.parent, merger.kept, merger.freed}
        if len(chosen) < most and not classes & used:
            chosen.append((split, merger))
            used |= classes
    return chosen


def _in_words(moves):
    return "; ".join(f"split class {split.parent + 1}, merge {merger.kept + 1} and {merger.freed + 1}"
                     for split, merger in moves)


def sizes(model, count):
    """Class sizes of ``count`` images in words, the largest first."""
    return " ".join(f"{size:.0f}" for size in np.sort(model.fractions)[::-1] * count)
