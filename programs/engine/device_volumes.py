"""The E-step for volumes of several particles at once as array operations, for a GPU.

The posteriors of :mod:`.orientation_search` and the products of :mod:`.harmonics`, one matrix product per order m:

    Z_m (2 B S, T) = [x_m ; x'_m] . a_m,          x' = (-sines, cosines) of x, a quarter of a turn / m further,

for the S shifted copies of B particles against T templates, and one more product turns orders to angles.  The M-step is
the transpose.  As in :mod:`.device_search` nothing is added up by atomic additions.
"""
from functools import partial

import numpy as np

from .orientation_search import NEGLIGIBLE, Found, Templates
from .volume_estimator import VolumeEstimator

MOST_PARTICLES = 64       # searched together, however much memory there is
CELL_BYTES = 20           # of scores, and of what is made of them
ENTRY_BYTES = 20          # of shifted copies and of regions' weights
MEMORY_SHARE = 0.7        # of the free memory
RESIDENT_SHARE = 0.4      # of the free memory, for shifted copies that are kept


class DeviceOrders:
    """:class:`.harmonics.Orders` whose templates (T, P) stay on a device; ``table``: of the angles."""

    def __init__(self, device, layout, templates, table):
        self.device, self.layout = device, layout
        self.parts = list(zip(layout.slices, layout.widths))
        self.templates = [device.put(templates[:, part].T) for part, _ in self.parts]
        # cosine and sine of an order stand together
        orders = len(self.parts)
        columns = [0, *np.stack([np.arange(1, orders), np.arange(orders, 2 * orders - 1)], 1).ravel()]
        self._to_angles, self._to_orders = device.put(table[:, columns]), device.put(table[:, columns].T)

    def rows(self, x):
        """What vectors x (B, P) of the device are multiplied by, for each order: (B, K_0), then (2 B, 2 K_m)."""
        xp, rows = self.device.xp, []
        for m, (part, width) in enumerate(self.parts):
            own = xp.ascontiguousarray(x[:, part])
            rows.append(xp.concatenate([own, xp.concatenate([-own[:, width:], own[:, :width]], 1)]) if m else own)
        return rows

    def scores(self, rows):
        """Scores (angles, B, T)."""
        xp, count = self.device.xp, rows[0].shape[0]
        products = xp.concatenate([xp.matmul(x, a).reshape(-1, count, a.shape[1])
                                   for x, a in zip(rows, self.templates)])
        scores = xp.matmul(self._to_angles, products.reshape(len(products), -1))
        return scores.reshape(len(scores), count, -1)

    def zero_sums(self):
        return [self.device.xp.zeros(a.shape, np.float32) for a in self.templates]

    def spread(self, weights, rows, sums, templates):
        """Adjoint of the scores: add vectors, weighted by (angles, B, T'), to the sums of ``templates`` (T',)."""
        xp = self.device.xp
        folded = xp.matmul(self._to_orders, weights.reshape(len(weights), -1)).reshape(-1, *weights.shape[1:])
        first = 0
        for x, total in zip(rows, sums):
            copies = x.shape[0] // weights.shape[1]
            part = folded[first : first + copies].reshape(x.shape[0], -1)
            total[:, templates] += xp.matmul(xp.ascontiguousarray(x.transpose()), part)
            first += copies

    def gathered(self, sums):
        """Sums as NumPy's float32 (T, P)."""
        return np.concatenate([self.device.get(total).T for total in sums], 1)


class DeviceTemplates:
    """:class:`.orientation_search.Templates` on a :class:`.backend.Device`."""

    def __init__(self, device, templates):
        self.device, self.host = device, templates
        self.vectors = DeviceOrders(device, templates.layout, templates.vectors, templates.tables[0])
        self.power = DeviceOrders(device, templates.coverage, templates.power, templates.tables[1])

    def zero_sums(self):
        return self.vectors.zero_sums(), self.power.zero_sums()

    def turn_all_back(self, sums):
        """The references' sums float64, (K, P) and (K, Pw)."""
        host = self.host
        return [host.turn_back(orders.gathered(total), orders.layout)
                for orders, total in zip((self.vectors, self.power), sums)]

    def together(self, shifts):
        """How many particles of so many shifted copies can be searched at a time."""
        host = self.host
        cells = shifts * len(host.orientations.angles) * len(host.vectors)
        entries = shifts * host.vectors.shape[1] + host.power.shape[1]
        particle = CELL_BYTES * cells + ENTRY_BYTES * entries
        size = int(MEMORY_SHARE * self.device.free() // particle)
        if size < 1:
            raise MemoryError("it has no room for one particle's scores")
        return min(size, MOST_PARTICLES)

    def search(self, particles, copies, sums, correlate=False):
        """:class:`.orientation_search.Found` of each of some particles; what they weigh is added to the sums.

        copies: the particles' rows on the device, (S, P) each.  correlate: all of a particle to its cell of highest
        constrained cross-correlation.
        """
        device, xp = self.device, self.device.xp
        count, shifts = len(particles), len(particles[0].rows)
        rows = self.vectors.rows(xp.concatenate(copies))
        seen = self.power.rows(device.put(np.concatenate([one.weights for one in particles])))
        scores = self.vectors.scores(rows)
        by_particle = scores.reshape(len(scores), count, shifts, -1)
        power = self.power.scores(seen)[:, :, None]                                      # (angles, B, 1, T)
        if correlate:
            weight, found = self._winners(by_particle, power, particles)
        else:
            weight, found = self._posterior(by_particle, power, particles)
        heavy = weight.sum((0, 2)).max(0) > NEGLIGIBLE / weight.shape[3]
        templates = xp.flatnonzero(heavy)
        weight = xp.take(weight, templates, axis=3)
        self.vectors.spread(weight.reshape(len(weight), count * shifts, -1), rows, sums[0], templates)
        self.power.spread(weight.sum(2), seen, sums[1], templates)
        return found

    def _forbidden(self, particles):
        """float32 (angles, B, 1, T): -inf for orientations that a particle must not have, else 0; None for none."""
        if particles[0].forbidden is None:
            return None
        tables = np.stack([np.tile(one.forbidden, self.host.classes) for one in particles], 1)
        return self.device.put(np.where(tables, -np.inf, 0)[:, :, None], np.float32)

    def _posterior(self, p, power, particles):
        """Weights (angles, B, S, T), in place of the scores ``p``, and the particles' Found."""
        device, host, count = self.device, self.host, len(particles)
        p -= 0.5 * power
        p += device.put(np.stack([one.prior for one in particles]), np.float32)[:, :, None]
        p += device.put(host.prior(np.arange(len(host.vectors))))
        forbidden = self._forbidden(particles)
        if forbidden is not None:
            p += forbidden
        top = p.max((0, 2, 3))
        p -= top[:, None, None]
        p = self.device.xp.exp(p)
        by_row = p.sum((0, 3), dtype=np.float64)
        total = by_row.sum(1)
        p /= total.astype(np.float32)[:, None, None]
        row_mass = device.get(by_row / total[:, None])
        class_mass = device.get(p.reshape(-1, count, p.shape[2], host.classes, host.rotations).sum(
            (0, 2, 4), dtype=np.float64))
        best, peak = self._best_cells(p, class_mass.argmax(1))
        likelihood = device.get(top) + np.log(device.get(total)) + [one.constant for one in particles]
        return p, [Found(None, None, None, class_mass[b], row_mass[b], best[b], float(peak[b]), float(likelihood[b]))
                   for b in range(count)]

    def _best_cells(self, p, chosen):
        """The most probable cell (class, rotation, angle, row) within each particle's ``chosen`` class; their mass."""
        device, xp, host = self.device, self.device.xp, self.host
        angles, count, shifts, _ = p.shape
        mine = xp.stack([p[:, b, :, k * host.rotations : (k + 1) * host.rotations]
                         for b, k in enumerate(chosen.tolist())]).reshape(count, -1)
        place = mine.argmax(1)
        peak = device.get(mine[xp.arange(count), place])
        angle, row, d = np.unravel_index(device.get(place), (angles, shifts, host.rotations))
        return list(zip(chosen.tolist(), d.tolist(), angle.tolist(), row.tolist())), peak

    def _winners(self, scores, power, particles):
        """Weights of one for each particle's cell of highest correlation, else zero; and the particles' Found."""
        device, xp, host = self.device, self.device.xp, self.host
        angles, count, shifts, templates = scores.shape
        most = power.max((0, 2, 3))[:, None, None]
        size = device.put(np.array([one.power for one in particles]), np.float32)[:, None, None]
        scores /= (xp.maximum(power, 1e-6 * most) * size) ** 0.5
        forbidden = self._forbidden(particles)
        if forbidden is not None:
            scores += forbidden
        flat = xp.ascontiguousarray(scores.transpose(1, 0, 2, 3)).reshape(count, -1)
        place = flat.argmax(1)
        correlation = device.get(flat[xp.arange(count), place]).astype(float)
        angle, row, t = np.unravel_index(device.get(place), (angles, shifts, templates))
        weight = np.zeros(scores.shape, np.float32)
        weight[angle, np.arange(count), row, t] = 1
        k, d = np.divmod(t, host.rotations)
        best = list(zip(k.tolist(), d.tolist(), angle.tolist(), row.tolist()))
        found = [Found(None, None, None, np.eye(host.classes)[k[b]], np.eye(shifts)[row[b]], best[b],
                       correlation[b], correlation[b]) for b in range(count)]
        return device.put(weight), found


class Copies:
    """Particles' shifted copies on a device: those that the bank keeps are kept there, too, as long as they fit."""

    def __init__(self, device):
        self._device, self._kept = device, {}
        self._room = RESIDENT_SHARE * device.free()

    def of(self, i, rows, stay):
        """Rows (S, P) of particle i on the device.  stay: the bank keeps them."""
        if not stay:
            return self._device.put(rows)
        owner = rows if rows.base is None else rows.base          # what stays the same from pass to pass
        before, there = self._kept.get(i, (None, None))
        if before is owner and len(there) == len(rows):
            return there
        self._room += self._kept.pop(i)[1].nbytes if i in self._kept else 0
        there = self._device.put(rows)
        if there.nbytes < self._room:
            self._room -= there.nbytes
            self._kept[i] = owner, there
        return there


class DeviceVolumeEstimator(VolumeEstimator):
    """A :class:`.volume_estimator.VolumeEstimator` whose E-steps are made on ``workers.device``."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._copies = Copies(self.workers.device)

    def expect(self, *arguments, **options):
        with self.workers.device.memory_guarded():
            return super().expect(*arguments, **options)

    def _templates(self, *arguments):
        return DeviceTemplates(self.workers.device, Templates.of(*arguments))

    def _together(self, templates, plan):
        return templates.together(len(plan.shifts))

    def _search(self, model, templates, plan, some, sums):
        particles = self.workers.map(partial(self._particle, model, plan), some)
        copies = [self._copies.of(i, particle.rows, plan.frames is None and self.bank.keeps(i))
                  for i, particle in zip(some.tolist(), particles)]
        return templates.search(particles, copies, sums, plan.correlate)


def volume_estimator(bank, ball, coverage, workers, *arguments):
    """The estimator for the CPU, or for the GPU when the workers have one."""
    kind = VolumeEstimator if workers.device is None else DeviceVolumeEstimator
    return kind(bank, ball, coverage, workers, *arguments)
