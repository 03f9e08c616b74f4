"""The E-step for volumes: one particle's posterior over references, orientations and shifts.

Orientations are A = B_d Rz(w_j) F: a particle is first turned by a frame F of its own (the identity in exhaustive
searches, its present orientation in local ones), then about z by one of the angles w, for which scores come together
(:mod:`.harmonics`), then by one of a list of rotations B, which is done to the references instead: templates.  A
particle's rows are its shifted copies in its frame.
"""
from dataclasses import dataclass, field

import numpy as np

from .compiled import kernel

CUT = 30.0                # lines of cells this far (in nats) below a particle's best weigh nothing
MANY = 0.3                # share of such lines from which it pays to leave them out
NEGLIGIBLE = 1e-6         # posterior mass that rows, or templates, may lose


@dataclass(frozen=True)
class Orientations:
    """Where particles are searched for around their frames.

    matrices: (D, 3, 3) rotations B; angles: (n,) turns w about z, radians.
    """

    matrices: np.ndarray
    angles: np.ndarray

    def __len__(self):
        return len(self.matrices) * len(self.angles)

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
class Templates:
    """References turned by every rotation of a list, ready to be compared with particles.

    layout, coverage: :class:`.harmonics.Orders` of vectors and of weights; vectors: float32 (K D, P), times the noise's
    precision; power: (K D, Pw); log_class: (K,); rotations: D; table, weight_table: of the angles.
    """

    orientations: Orientations
    layout: object
    coverage: object
    vectors: np.ndarray
    power: np.ndarray
    log_class: np.ndarray
    tables: tuple = field(init=False)

    def __post_init__(self):
        angles = self.orientations.angles
        self.tables = self.layout.angular_table(angles), self.coverage.angular_table(angles)

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

    def log_posterior(self, particle, templates):
        """Log-posteriors (angles, S, T) of a particle's cells, and the highest (angles, S) of each line of templates.

        They lack what does not depend on the cell.

        templates: int (T,) those looked at.
        """
        part = _slice_of(templates)
        vectors, power = self.vectors[part], self.power[part]
        scores = self.layout.scores(particle.rows, vectors, self.tables[0])
        half = 0.5 * self.coverage.scores(particle.weights, power, self.tables[1])[:, 0]
        if particle.forbidden is not None:
            forbidden = np.tile(particle.forbidden, self.classes)[:, templates]
            half[forbidden] = np.inf
        tops = np.empty(scores.shape[:2], np.float32)
        to_log_posterior(scores, half, particle.prior.astype(np.float32), self.prior(templates), tops)
        return scores, tops

    def search(self, particle, templates=None):
        """The posterior of a particle over some templates (default: all): :class:`Found`."""
        templates = np.arange(len(self.vectors)) if templates is None else templates
        p, tops = self.log_posterior(particle, templates)
        top = tops.max()
        far = tops < top - CUT
        np.subtract(p, top, out=p)
        if far.mean() > MANY:
            near = ~far
            p[near] = np.exp(p[near])
        else:
            np.exp(p, out=p)
        p[far] = 0
        row_mass, template_mass = np.empty(p.shape[1]), np.empty(p.shape[2])
        sum_up(p, row_mass, template_mass)
        total = row_mass.sum()
        return self._found(p, particle, templates, row_mass / total, template_mass / total, total, top)

    def best(self, particle, templates=None):
        """Instead of a posterior, all to the cell of highest constrained cross-correlation: :class:`Found`."""
        templates = np.arange(len(self.vectors)) if templates is None else templates
        part = _slice_of(templates)
        scores = self.layout.scores(particle.rows, self.vectors[part], self.tables[0])
        power = self.coverage.scores(particle.weights, self.power[part], self.tables[1])
        norm = np.sqrt(np.maximum(power, 1e-6 * power.max()) * particle.power)
        scores /= norm
        if particle.forbidden is not None:
            scores[np.broadcast_to(np.tile(particle.forbidden, self.classes)[:, None, part], scores.shape)] = -np.inf
        angle, row, t = np.unravel_index(scores.argmax(), scores.shape)
        correlation = float(scores[angle, row, t])
        k, d = divmod(int(templates[t]), self.rotations)
        weights = np.zeros((len(scores), 1, 1), np.float32)
        weights[angle] = 1
        row_mass = np.zeros(len(particle.rows))
        row_mass[row] = 1
        return Found(weights, np.array([row]), templates[t : t + 1], np.eye(self.classes)[k], row_mass,
                     (k, d, int(angle), int(row)), correlation, correlation)

    def _found(self, p, particle, templates, row_mass, template_mass, total, top):
        k_of, d_of = np.divmod(templates, self.rotations)
        class_mass = np.bincount(k_of, template_mass, self.classes)
        chosen = int(class_mass.argmax())
        mine = np.flatnonzero(k_of == chosen)
        rows, kept = _heaviest(row_mass), _heaviest(template_mass)
        # the best cell of a class lies in its heaviest templates and rows, or within rounding of the best that does
        mine = mine[np.isin(mine, kept)] if np.isin(mine, kept).any() else mine
        cells = p[:, rows[:, None], mine]
        angle, row, t = np.unravel_index(cells.argmax(), cells.shape)
        best = chosen, int(d_of[mine[t]]), int(angle), int(rows[row])
        weights = p[:, rows[:, None], kept] / np.float32(total)
        likelihood = float(top) + np.log(total) + particle.constant
        return Found(weights, rows, templates[kept], class_mass, row_mass, best, float(cells[angle, row, t] / total),
                     likelihood)

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


@kernel
def to_log_posterior(scores, half, prior_row, prior_template, tops):
    """Turn scores (n, S, T) into log-posteriors: less half the power left (n, T), plus priors.

    tops: (n, S) to fill with the highest of each line.
    """
    n, rows, width = scores.shape
    for a in range(n):
        for s in range(rows):
            line, less, more = scores[a, s], half[a], prior_row[s]
            best = np.float32(-np.inf)
            for t in range(width):
                value = line[t] - less[t] + more + prior_template[t]
                line[t] = value
                best = value if value > best else best
            tops[a, s] = best


@kernel
def sum_up(p, row_mass, template_mass):
    """Add up weights p (n, S, T) over all but rows, and over all but templates."""
    n, rows, width = p.shape
    row_mass[:] = 0
    template_mass[:] = 0
    line_sum = np.zeros(width, np.float32)
    for a in range(n):
        line_sum[:] = 0
        for s in range(rows):
            line = p[a, s]
            total = np.float32(0)
            for t in range(width):
                total += line[t]
                line_sum[t] += line[t]
            row_mass[s] += total
        for t in range(width):
            template_mass[t] += line_sum[t]
