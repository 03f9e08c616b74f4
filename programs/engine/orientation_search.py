"""The E-step for volumes: one particle's posterior over references, orientations and shifts.

Orientations are A = B_d Rz(w_j) F: a particle is first turned by a frame F of its own (the identity in exhaustive
searches, its present orientation in local ones), then about z by one of the angles w, for which scores come together
(:mod:`.harmonics`), then by one of a list of rotations B, which is done to the references instead: templates.  A
particle's rows are its shifted copies in its frame.

Grids of directions all round hold with each direction its opposite.  Templates of two such rotations are half a turn
about an axis in the xy plane apart, and share their products (:mod:`.harmonics`).
"""
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock

import numpy as np
from scipy.spatial import cKDTree

from .compiled import kernel, part
from .harmonics import Compared

CUT = 30.0                # lines of cells this far (in nats) below a particle's best weigh nothing
NEGLIGIBLE = 1e-6         # posterior mass that rows, or templates, may lose
SAME = 1e-6               # distance of directions that are one


@dataclass(frozen=True)
class Orientations:
    """Where particles are searched for around their frames.

    matrices: (D, 3, 3) rotations B; angles: (n,) turns w about z, radians.
    """

    matrices: np.ndarray
    angles: np.ndarray

    def __len__(self):
        return len(self.matrices) * len(self.angles)

    @cached_property
    def opposites(self):
        """Pairs of rotations B, C = B R towards opposite directions, R half a turn about an axis in the xy plane.

        None where a rotation has no such mate; else numbers (D / 2,) of the Bs, of the Cs, and azimuths of the axes.
        """
        towards = self.matrices[:, :, 2]
        distance, mate = cKDTree(towards).query(-towards)
        number = np.arange(len(towards))
        if (distance > SAME).any() or (mate[mate] != number).any():
            return None
        first = np.flatnonzero(number < mate)
        turns = np.swapaxes(self.matrices[first], 1, 2) @ self.matrices[mate[first]]
        return first, mate[first], np.arctan2(turns[:, 1, 0], turns[:, 0, 0]) / 2

    def matrix(self, d, angle, frame):
        """A (3, 3) of the d-th rotation and the angle-th turn in a frame (3, 3)."""
        cos, sin = np.cos(self.angles[angle]), np.sin(self.angles[angle])
        about_z = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        return self.matrices[d] @ about_z @ frame


@dataclass
class Particle:
    """One particle as the search sees it.

    rows: float32 (S, P) shifted copies in its frame; shifts: (S, 3) voxels, from where it is searched around;
    prior: (S,) log-probabilities; weights: (1, Pw) harmonics of its missing region in its frame;
    power: sum of its squares, weighted by precision; constant: of its log-likelihood;
    forbidden: bool (angles, D) orientations that it must not have, or None.
    """

    rows: np.ndarray
    shifts: np.ndarray
    prior: np.ndarray
    weights: np.ndarray
    power: float = 0.0
    constant: float = 0.0
    forbidden: np.ndarray = None


@dataclass
class Found:
    """A particle's posterior.

    weights: float32 (angles, S', T') of the significant rows and templates, sum about 1; class_mass: (K,);
    best: (class, rotation d, angle, row) of the most probable cell in the most probable class, with its mass ``peak``.
    row_mass: (S,) over all rows.
    """

    weights: np.ndarray
    rows: np.ndarray
    templates: np.ndarray
    class_mass: np.ndarray
    row_mass: np.ndarray
    best: tuple
    peak: float
    log_likelihood: float


@dataclass
class Chosen:
    """Templates that particles are compared with.

    numbers: int (T,) among all.  vectors, power: :class:`.harmonics.Compared`, whole or in halves; tables: of the
    angles, for each.
    """

    numbers: np.ndarray
    vectors: Compared
    power: Compared
    tables: tuple
    _known: dict = field(init=False, repr=False, default_factory=dict)

    def __len__(self):
        return len(self.numbers)

    def scores(self, particle):
        """Of a particle's rows: float32 (parts, T / parts, angles, S), parts to be added and subtracted."""
        return self.vectors.layout.scores(particle.rows, self.vectors, self.tables[0])

    def power_left(self, particle):
        """What a particle's region leaves of the templates' power: float32 (T, angles).

        Kept for regions that come again, as many as take the room of one particle's scores.
        """
        region = particle.weights.tobytes()
        power = self._known.get(region)
        if power is None:
            power = self.power.layout.scores(particle.weights, self.power, self.tables[1])
            if len(power) == 2:
                add_and_subtract(*power)
            power = power.reshape(len(self), -1)
            if len(self._known) < len(particle.rows):
                self._known[region] = power
        return power

    def forbidden(self, particle):
        """Cells (templates, angles) that a particle must not have, as indices."""
        return np.nonzero(particle.forbidden.T[self.numbers % particle.forbidden.shape[1]])


@dataclass
class Templates:
    """References turned by every rotation of a list, ready to be compared with particles.

    layout, coverage: :class:`.harmonics.Orders` of vectors and of weights; vectors: float32 (K D, P), times the noise's
    precision; power: (K D, Pw); log_class: (K,); rotations: D; tables: of the angles, for vectors and for weights.
    """

    orientations: Orientations
    layout: object
    coverage: object
    vectors: np.ndarray
    power: np.ndarray
    log_class: np.ndarray
    tables: tuple = field(init=False)
    _laying_out: object = field(init=False, repr=False, default_factory=Lock)

    def __post_init__(self):
        self.tables = self._tables_of(self.orientations.angles)

    def _tables_of(self, angles):
        return self.layout.angular_table(angles), self.coverage.angular_table(angles)

    @classmethod
    def of(cls, ball, coverage, vectors, precision, log_class, orientations):
        """Templates of references (K, P) under a noise of ``precision`` (J,), one over its variance per shell."""
        back = np.swapaxes(orientations.matrices, 1, 2)
        sharp = ball.filtered(vectors, precision)
        power = coverage.power(vectors, precision)
        turned = [np.concatenate([layout.turned(one[None], back) for one in each])
                  for layout, each in ((ball.layout, sharp), (coverage.layout, power))]
        return cls(orientations, ball.layout, coverage.layout, *turned, np.asarray(log_class))

    @property
    def rotations(self):
        return len(self.orientations.matrices)

    @property
    def classes(self):
        return len(self.log_class)

    def prior(self, templates):
        """Log-probability of each of some templates' cells."""
        return (self.log_class[templates // self.rotations] - np.log(len(self.orientations))).astype(np.float32)

    # ---- what particles are compared with ------------------------------------------------------------------------

    def some(self, templates):
        """:class:`Chosen` of templates int (T,)."""
        these = _slice_of(templates)
        return Chosen(templates, Compared(self.layout, self.vectors[these]),
                      Compared(self.coverage, self.power[these]), self.tables)

    def all(self):
        """:class:`Chosen` of all templates, those towards opposite directions together."""
        with self._laying_out:
            return self._all

    @cached_property
    def _all(self):
        opposites = self.orientations.opposites
        return self.some(np.arange(len(self.vectors))) if opposites is None else self._in_pairs(*opposites)

    def _in_pairs(self, first, second, axes):
        """:class:`Chosen` of the pairs :attr:`Orientations.opposites`."""
        numbers = np.concatenate([np.add.outer(np.arange(self.classes) * self.rotations, some).ravel()
                                  for some in (first, second)])
        ours, back = numbers[: len(numbers) // 2], -np.tile(axes, self.classes)
        # the axis of half a turn is turned onto x, and particles by as much less
        vectors, power = (Compared(layout, layout.turned_about_z(every[ours], back), halves=True)
                          for layout, every in ((self.layout, self.vectors), (self.coverage, self.power)))
        return Chosen(numbers, vectors, power, self._tables_of(np.subtract.outer(self.orientations.angles, axes)))

    # ---- a particle's search ----------------------------------------------------------------------------------------

    def log_posterior(self, particle, chosen):
        """Log-posteriors (T, angles, S) of a particle's cells, and the highest (T, angles) of each line of rows.

        They lack what does not depend on the cell.

        chosen: :class:`Chosen` templates.
        """
        scores = chosen.scores(particle)
        of_lines = self.prior(chosen.numbers)[:, None] - 0.5 * chosen.power_left(particle)
        if particle.forbidden is not None:
            of_lines[chosen.forbidden(particle)] = -np.inf
        shape, tops = (*of_lines.shape, scores.shape[3]), np.empty(of_lines.shape, np.float32)
        to_log_posterior(scores, of_lines, particle.prior.astype(np.float32), tops)
        return scores.reshape(shape), tops

    def search(self, particle, templates=None):
        """The posterior of a particle over some templates (default: all): :class:`Found`."""
        chosen = self.all() if templates is None else self.some(templates)
        p, tops = self.log_posterior(particle, chosen)
        top = tops.max()
        lines = np.nonzero(tops >= top - CUT)
        p = p[lines]
        p -= top
        np.exp(p, out=p)
        return self._found(p, lines, particle, chosen.numbers, float(top))

    def best(self, particle, templates=None):
        """Instead of a posterior, all to the cell of highest constrained cross-correlation: :class:`Found`."""
        chosen = self.all() if templates is None else self.some(templates)
        scores, power = chosen.scores(particle), chosen.power_left(particle)
        if len(scores) == 2:
            add_and_subtract(*scores)
        scores = scores.reshape(*power.shape, -1)
        scores /= np.sqrt(np.maximum(power, 1e-6 * power.max()) * particle.power)[..., None]
        if particle.forbidden is not None:
            scores[chosen.forbidden(particle)] = -np.inf
        t, angle, row = (int(i) for i in np.unravel_index(scores.argmax(), scores.shape))
        correlation, number = float(scores[t, angle, row]), chosen.numbers[t]
        k, d = divmod(int(number), self.rotations)
        weights = np.zeros((scores.shape[1], 1, 1), np.float32)
        weights[angle] = 1
        row_mass = np.zeros(len(particle.rows))
        row_mass[row] = 1
        return Found(weights, np.array([row]), np.array([number]), np.eye(self.classes)[k], row_mass,
                     (k, d, angle, row), correlation, correlation)

    def _found(self, p, lines, particle, numbers, top):
        """:class:`Found` of the weights p (L, S) of some lines (template, angle)."""
        template, angle = lines
        line_mass, row_mass = p.sum(1, dtype=float), p.sum(0, dtype=float)
        total = row_mass.sum()
        template_mass = np.bincount(template, line_mass, len(numbers)) / total
        row_mass /= total
        k_of = numbers // self.rotations
        class_mass = np.bincount(k_of, template_mass, self.classes)
        chosen = int(class_mass.argmax())
        mine = np.flatnonzero(k_of[template] == chosen)
        line, row = np.unravel_index(p[mine].argmax(), (len(mine), p.shape[1]))
        line = mine[line]
        best = chosen, int(numbers[template[line]] % self.rotations), int(angle[line]), int(row)
        rows, kept = _heaviest(row_mass), _heaviest(template_mass)
        weights = self._of_heaviest(p / np.float32(total), lines, rows, kept)
        likelihood = top + np.log(total) + particle.constant
        return Found(weights, rows, numbers[kept], class_mass, row_mass, best, float(p[line, row] / total), likelihood)

    def _of_heaviest(self, p, lines, rows, kept):
        """Weights (angles, S', T') of some rows and of the templates ``kept``, of weights p (L, S) of lines."""
        template, angle = lines
        weights = np.zeros((len(self.orientations.angles), len(rows), len(kept)), np.float32)
        place = np.minimum(np.searchsorted(kept, template), len(kept) - 1)
        found = np.flatnonzero(kept[place] == template)
        weights[angle[found], :, place[found]] = p[found[:, None], rows]
        return weights

    def spread(self, particle, found):
        """What a particle adds to its significant templates: (T', P) of its rows, (T', Pw) of its weights."""
        sums = np.zeros((len(found.templates), self.vectors.shape[1]), np.float32)
        self.layout.spread(found.weights, particle.rows[found.rows], self.tables[0], sums)
        covered = np.zeros((len(found.templates), self.power.shape[1]), np.float32)
        self.coverage.spread(found.weights.sum(1, keepdims=True), particle.weights, self.tables[1], covered)
        return sums, covered

    def zero_sums(self):
        """Where particles, weighted, are added up: of their rows (K D, P), and of their weights (K D, Pw)."""
        return np.zeros(self.vectors.shape, np.float32), np.zeros(self.power.shape, np.float32)

    def turn_all_back(self, sums):
        """The references' sums float64, (K, P) and (K, Pw), of both sums of their templates."""
        return [self.turn_back(one, layout) for one, layout in zip(sums, (self.layout, self.coverage))]

    def turn_back(self, sums, layout):
        """The references' sums float64 (K, P) of those of their templates (K D, P)."""
        out = np.zeros((self.classes, sums.shape[1]))
        for k in range(self.classes):
            mine = sums[k * self.rotations : (k + 1) * self.rotations]
            filled = np.flatnonzero(mine.any(1))
            if len(filled):
                out[k] = layout.turned(mine[filled], self.orientations.matrices[filled]).sum(0, dtype=float)
        return out


def _heaviest(mass):
    """Indices, rising, of the fewest that hold all but ``NEGLIGIBLE`` of a mass of one."""
    order = np.argsort(-mass, kind="stable")
    last = np.searchsorted(np.cumsum(mass[order]), 1 - NEGLIGIBLE) + 1
    return np.sort(order[:last])


def _slice_of(indices):
    """Consecutive indices as a slice, which copies nothing."""
    if len(indices) and (np.diff(indices) == 1).all():
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


@part
def add_and_subtract(a, b):
    """Replace a and b, float32 of one shape, by a + b and a - b."""
    a, b = a.reshape(-1), b.reshape(-1)
    for i in range(len(a)):
        one, other = a[i], b[i]
        a[i] = one + other
        b[i] = one - other


@kernel
def to_log_posterior(scores, of_lines, of_rows, tops):
    """Turn scores (parts, T / parts, n, S), their parts added and subtracted, into log-posteriors (T, n, S).

    of_lines: (T, n), and of_rows: (S,), what is added.  tops: (T, n) to fill with the highest of each line.
    """
    parts, count, n, rows = scores.shape
    for t in range(count):
        for a in range(n):
            if parts == 2:
                add_and_subtract(scores[0, t, a], scores[1, t, a])
            for i in range(parts):
                line, more, best = scores[i, t, a], of_lines[i * count + t, a], np.float32(-np.inf)
                for s in range(rows):
                    value = line[s] + of_rows[s] + more
                    line[s] = value
                    best = value if value > best else best
                tops[i * count + t, a] = best
