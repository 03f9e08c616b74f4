"""The E-step of many images at once as array operations, for a GPU.

The same posteriors as :mod:`.expectation`'s exhaustive search, in a form that suits a device: few, large products of
matrices, and no loop over cells.  An image's harmonics stand in four rows: as they are, turned a quarter (times i),
and both mirrored,

    x = (xr, s xi),  i x = (-s xi, xr),  p (xr, -s xi),  p (-s xi, -xr)       (s: folding sign, p: parity of the bin)

so that their products with a template a = (ar, s ai) are the real and imaginary parts of all bins, plain and mirrored,
and one more product turns the bins to angles:

    Z (bins, 4 B, T) = X (bins, 4 B, 2 width) . A (bins, 2 width, T)
    scores (n_psi, 2 B, T) = [cos m psi, sin m psi] (n_psi, 2 bins) . Z

A *row* is an image, a mirror state and a template; a *pair* is a row some cell of which has weight.  All that follows
the scores is done for pairs alone, whose number shrinks as posteriors get narrow.  The M-step is the transpose of the
two products, or, when pairs are few, a sum over them.

Sums of floating-point numbers are taken by reductions and products only, never by atomic additions, so that the same
input gives the same output every time.
"""
from dataclasses import dataclass

import numpy as np

from .expectation import CUT, POSE_FLOOR, Block, Expectation
from .kernels import ALMOST_ONE
from .visibility import rows_of

MOST_IMAGES = 4096        # searched together, however much memory there is
CELL_BYTES = 32           # of scores, and of what is made of them when all cells have weight
ENTRY_BYTES = 64          # of an image's harmonics, and of their rows
MEMORY_SHARE = 0.8        # of the free memory
SHIFTS = 256              # shifts of a reference made, or taken back, together
PAIRS = 2048              # added to the sums together
DENSE_SHARE = 0.03        # of all rows; from there on products of all cost less than adding up pairs


@dataclass
class Pairs:
    """Pairs of a block, sorted by template, then mirror state, then image; arrays (P,) on the device.

    row: (mirrored * B + image) * T + template.  spectrum: float32 (bins, 2, P), what the M-step weighs the image's
    harmonics with: cosine and sine sums over angles of the cells' weights.  rows: their number in all, 2 B T.
    """

    row: object
    mirrored: object
    image: object
    template: object
    rows: int
    spectrum: object = None

    def __len__(self):
        return len(self.row)


class DeviceExpectation(Expectation):
    """An :class:`.expectation.Expectation` whose templates, scores and sums stay on a :class:`.backend.Device`.

    Images' harmonics are *folded*: (B, bins, 2 width) on the device, real parts beside imaginary ones times the
    layout's sign (see :func:`folded`).  Sums are (bins, 2 width, K S).
    """

    def __init__(self, device, *arguments):
        self.device, self.xp = device, device.xp
        super().__init__(*arguments)
        disk = self.grid.disk
        self._parity = device.put(disk.parity)
        self._angles = device.put(np.stack([self.grid.cell_cosine, self.grid.cell_sine], 2).reshape(disk.n_psi, -1))
        self._bins_of_angles = device.put(np.stack([self.grid.cell_cosine.T, self.grid.cell_sine.T], 1))
        self._prior = device.put(self.prior[: self._mirrors].reshape(self._mirrors, -1))

    @property
    def _mirrors(self):
        """Number of mirror states searched."""
        return 2 if self.mirror else 1

    # ---- templates and their adjoint -------------------------------------------------------------------------

    def _build_templates(self, polar, pool):
        """A (bins, 2 width, K S), metric included."""
        device, grid, disk = self.device, self.grid, self.grid.disk
        out = self.zero_sums(len(polar))
        twin, metric, sign = disk.held_by(self.xp), device.put(disk.metric), device.put(disk.sign)
        for part in self._pieces():
            phase = device.put(grid.phase[part])
            for k in range(len(polar)):
                harmonics = twin.expand(device.put(polar[k]) * phase) * metric
                out[:, :, self._columns(k, part)] = folded(self.xp, harmonics, sign).transpose(1, 2, 0)
        return out

    def unshifted(self, sums):
        """Polar samples complex128 (K, rings, phi) of sums, shifts taken back; adjoint of the templates' making."""
        device, disk = self.device, self.grid.disk
        twin, sign, xp = disk.held_by(self.xp), device.put(disk.sign), self.xp
        out = np.zeros((self.references, *disk.kx.shape), complex)
        for part in self._pieces():
            phase = device.put(self.grid.phase[part].conj())
            for k in range(self.references):
                columns = xp.ascontiguousarray(sums[:, :, self._columns(k, part)].transpose(2, 0, 1))
                width = disk.width
                harmonics = xp.stack([columns[..., :width], columns[..., width:] * sign], 1)
                out[k] += device.get((twin.synthesize(harmonics) * phase).sum(0))
        return out

    def zero_sums(self, references=None):
        disk = self.grid.disk
        count = (references or self.references) * len(self.grid.shifts)
        return self.xp.zeros((disk.bins, 2 * disk.width, count), np.float32)

    def products(self, sums, pool=map):
        """Products, float64 (bins, width), of sums with the templates that they belong to."""
        parts = [(sums[m] * self.templates[m]).sum(1, dtype=np.float64) for m in range(len(sums))]
        return self.device.get(self.xp.stack(parts)).reshape(len(sums), 2, -1).sum(1)

    def _pieces(self):
        count = len(self.grid.shifts)
        return [slice(start, min(start + SHIFTS, count)) for start in range(0, count, SHIFTS)]

    def _columns(self, k, part):
        count = len(self.grid.shifts)
        return slice(k * count + part.start, k * count + part.stop)

    def block_size(self):
        """How many images can be searched together."""
        disk, rows = self.grid.disk, self._mirrors * self.references * len(self.grid.shifts)
        image = CELL_BYTES * disk.n_psi * rows + ENTRY_BYTES * disk.bins * disk.width
        return int(min(MEMORY_SHARE * self.device.free() // image, MOST_IMAGES))

    # ---- the posterior ---------------------------------------------------------------------------------------

    def block(self, images, coarse=None):
        """Posterior of :class:`.expectation.Images` with folded harmonics: a Block whose ``cells`` are Pairs."""
        half = self._half(images)
        scores = self._scores_of(images, half)
        tops = self._log_posterior(scores.max(0), images)
        top = tops.max((0, 2))
        pairs = self._significant(tops, top)
        cells = self.xp.take(scores, pairs.row, axis=1)
        del scores                                        # there is room for a few arrays of their size, no more
        return self._posterior(pairs, cells, top, half, images)

    def _half(self, images):
        """Half of the references' power as the images show it, (L, 2, mirrors, B, K): see visibility.rows_of."""
        rows = rows_of(self._half_power(images))
        return self.device.put(rows.transpose(4, 3, 2, 0, 1)[:, :, : self._mirrors])

    def _rows(self, x):
        """Folded images (B, bins, 2 width) as the rows X (bins, 2 mirrors B, 2 width) of the products."""
        xp, width = self.xp, self.grid.disk.width
        x = x.transpose(1, 0, 2)
        real, imag = x[..., :width], x[..., width:]
        rows = [(real, imag)], [(-imag, real)]
        if self.mirror:
            p = self._parity[:, None, None]
            rows[0].append((p * real, -p * imag))
            rows[1].append((-p * imag, -p * real))
        return xp.concatenate([xp.concatenate(row, 2) for row in rows[0] + rows[1]], 1)

    def _scores_of(self, images, half):
        """Scores (n_psi, mirrors B K S) of all cells; cells that the images may not be in have -inf."""
        disk, count, shifts = self.grid.disk, len(images), len(self.grid.shifts)
        products = self.xp.matmul(self._rows(images.x), self.templates)
        seen = products.reshape(disk.bins, 2, self._mirrors, count, self.references, shifts)
        for power, m in zip(half, self.seen.bins.tolist()):
            seen[m] -= power[..., None]
        scores = self.xp.matmul(self._angles, products.reshape(2 * disk.bins, -1))
        if images.near is not None:
            by_cell = scores.reshape(disk.n_psi, self._mirrors, count, self.references, shifts)
            by_cell += images.near.penalty(self.device, self.grid, self._mirrors)[:, :, :, None]
        return scores

    def _log_posterior(self, best, images):
        """Log-posteriors (mirrors, B, K S) of the rows' best scores."""
        scale = self.device.put(images.scales(self.references) * np.float32(self.noise.kappa))
        best = best.reshape(self._mirrors, len(images), self.references, -1) * scale[:, :, None]
        tau = self.device.put(self.noise.tau(images.power))
        return self._tail(best.reshape(self._mirrors, len(images), -1), tau[:, None]) + self._prior[:, None]

    def _tail(self, gain, tau):
        """Log-likelihoods of gains, see kernels.tail."""
        if self.noise.df is None:
            return gain
        return self.xp.log1p(-self.xp.minimum(tau * gain, float(ALMOST_ONE))) * -float(self.noise.nu)

    def _significant(self, tops, top):
        """Pairs of the rows whose best cell, ``tops`` (mirrors, B, T), is not far below the image's, ``top`` (B,)."""
        above = tops > (top - CUT)[:, None]
        mirrors, count, templates = above.shape
        place = self.xp.flatnonzero(above.transpose(2, 0, 1))
        template, rest = place // (mirrors * count), place % (mirrors * count)
        return Pairs(rest * templates + template, rest // count, rest % count, template, above.size)

    def _posterior(self, pairs, scores, top, half, images):
        """The Block of pairs whose cells have ``scores`` (n_psi, P); they are overwritten."""
        device, count, shifts = self.device, len(images), len(self.grid.shifts)
        r = device.put(images.scales(self.references))[pairs.image, pairs.template // shifts]
        gain = scores
        gain *= r * float(self.noise.kappa)
        logp = self._tail(gain, device.put(self.noise.tau(images.power))[pairs.image])
        weight = self.xp.exp(logp + (self._prior[pairs.mirrored, pairs.template] - top[pairs.image]))
        table = self._table(weight.sum(0), pairs, count)
        total = table.sum((0, 2), dtype=np.float64)
        weight /= total.astype(np.float32)[pairs.image]
        table /= total.astype(np.float32)[:, None]
        class_mass = device.get(table.reshape(self._mirrors, count, self.references, shifts)
                                .sum((0, 3), dtype=np.float64))
        row_mass = np.zeros((self.references, shifts, 2))
        row_mass[..., : self._mirrors] = device.get(table.sum(1, dtype=np.float64)).reshape(
            self._mirrors, self.references, shifts).transpose(1, 2, 0)
        chosen, power = class_mass.argmax(1), images.power
        evidence = device.get(top) + np.log(device.get(total))
        block = Block(
            log_likelihood=evidence + self.noise.log_likelihood_of_noise(power), class_mass=class_mass,
            row_mass=row_mass, class_weight=row_mass.sum((1, 2)),
            pose=poses_of(self, pairs, weight, chosen), chosen=chosen, robust=np.ones(count), robust_power=power.sum(),
            cells=pairs)
        if self.noise.df is not None or images.scale is not None:
            weight = self._weighed(block, weight, gain, r, half, images)
        pairs.spectrum = self.xp.matmul(self._bins_of_angles, weight).reshape(self.grid.disk.bins, 2, -1)
        return block

    def _table(self, values, pairs, count):
        """Values (P,) of pairs as a table of all rows (mirrors, B, T)."""
        table = self.xp.zeros(pairs.rows, values.dtype)
        table[pairs.row] = values
        return table.reshape(self._mirrors, count, -1)

    def _weighed(self, block, weight, gain, r, half, images):
        """Weights times u r, and their sums in the block; see Expectation._weigh.  r: (P,) grey scales."""
        device, pairs, power, count = self.device, block.cells, images.power, len(images)
        if images.scale is not None:
            half = self._half_of_cells(pairs, half) * r                                     # r^2 |A|^2 / 2
            score = self.xp.where(weight > 0, gain / float(self.noise.kappa) + half, 0)     # r <x, T a>
            block.expected_score = self._of_images(weight * score, pairs, count)
            block.expected_reference = self._of_images(weight * (2 * half), pairs, count)
        if self.noise.df is not None:
            spread = device.put(self.noise.df + power * self.noise.kappa, np.float32)[pairs.image]
            weight = weight * (float(self.noise.df + self.noise.dimension) / (spread - 2 * gain))
        block.robust = self._of_images(weight, pairs, count)
        block.robust_power = float((block.robust * power).sum())
        by_template = self._table(weight.sum(0) * r**2, pairs, count).sum((0, 1), dtype=np.float64)
        block.class_weight = device.get(by_template).reshape(self.references, -1).sum(1)
        return weight * r

    def _of_images(self, values, pairs, count):
        """Sums (B,) over each image's cells of values (n_psi, P), as a NumPy array."""
        return self.device.get(self._table(values.sum(0), pairs, count).sum((0, 2), dtype=np.float64))

    def _half_of_cells(self, pairs, half):
        """r |A|^2 / 2 of each cell, (n_psi, P), as its image shows the reference."""
        rows = half[:, :, pairs.mirrored, pairs.image, pairs.template // len(self.grid.shifts)]     # (L, 2, P)
        angles = np.stack([self.seen.cell_cosine, self.seen.cell_sine], 2).reshape(self.grid.disk.n_psi, -1)
        return self.xp.matmul(self.device.put(angles), rows.reshape(angles.shape[1], -1))

    # ---- the M-step's half -----------------------------------------------------------------------------------

    def spread(self, block, x, sums):
        """Add a block's folded images, turned back and weighted, to ``sums``."""
        if len(block.cells) > DENSE_SHARE * block.cells.rows:
            self._spread_rows(block.cells, x, sums)
        else:
            for start in range(0, len(block.cells), PAIRS):
                self._spread_pairs(block.cells, slice(start, start + PAIRS), x, sums)

    def _spread_rows(self, pairs, x, sums):
        """By the transpose of the products that made the scores."""
        bins = self.grid.disk.bins
        rows = self.xp.zeros((2 * bins, pairs.rows), np.float32)
        rows[:, pairs.row] = pairs.spectrum.reshape(2 * bins, -1)
        images = self.xp.ascontiguousarray(self._rows(x).swapaxes(1, 2))
        sums += self.xp.matmul(images, rows.reshape(bins, images.shape[2], -1))

    def _spread_pairs(self, pairs, some, x, sums):
        """One by one, those of the same template together: a matrix of zeros and ones adds them up."""
        xp, width = self.xp, self.grid.disk.width
        mirrored, spectrum = pairs.mirrored[some], pairs.spectrum[:, :, some]
        state = xp.where(mirrored[:, None] > 0, self._parity, 1.0).astype(np.float32)               # (P, bins)
        cosine, sine = (spectrum[:, part].transpose(1, 0)[..., None] * state[..., None] for part in (0, 1))
        images = xp.take(x, pairs.image[some], axis=0)
        real, imag = images[..., :width], images[..., width:]
        side = xp.where(mirrored > 0, -1.0, 1.0).astype(np.float32)[:, None, None]
        turned = xp.concatenate([cosine * real - sine * imag, (cosine * imag + sine * real) * side], 2)
        templates, which = xp.unique(pairs.template[some], return_inverse=True)
        belongs = (xp.arange(len(templates))[:, None] == which).astype(np.float32)
        added = xp.matmul(belongs, turned.reshape(len(turned), -1)).reshape(len(templates), *turned.shape[1:])
        sums[:, :, templates] += added.transpose(1, 2, 0)

    def visibility_sums(self, block, images, even):
        """Sums (K, 2, L, rings) of u r^2 times the images' visibility, turned back and weighted.

        even: :class:`.visibility.EvenHarmonics` of the visibility.
        """
        pairs, shifts = block.cells, len(self.grid.shifts)
        r = self.device.put(images.scales(self.references))[pairs.image, pairs.template // shifts]
        weights = np.zeros((4, len(even), len(images), self.references))
        for i, m in enumerate(even.bins.tolist()):
            tables = [self._table(pairs.spectrum[m, part] * r, pairs, len(images)) for part in (0, 1)]
            cosine, sine = (self.device.get(table.reshape(self._mirrors, len(images), self.references, shifts)
                                            .sum(3, dtype=np.float64)) for table in tables)
            # the mirror image changes the sign of what is odd
            weights[:, i] = cosine.sum(0), 2 * cosine[0] - cosine.sum(0), 2 * sine[0] - sine.sum(0), -sine.sum(0)
        return even.spread(weights, images.visibility)


def folded(xp, harmonics, sign):
    """Harmonics (B, 2, bins, width) as (B, bins, 2 width): real parts beside imaginary parts times the folding sign."""
    return xp.concatenate([harmonics[:, 0], harmonics[:, 1] * sign], 2)


def poses_of(search, pairs, weight, chosen):
    """Mean poses (B, 5) around each image's best cell within its ``chosen`` reference; see kernels.mean_poses.

    weight: (n_psi, P), posterior.
    """
    xp, device, grid = search.xp, search.device, search.grid
    count, shifts, n_psi = len(chosen), len(grid.shifts), grid.disk.n_psi
    mine = device.put(chosen)
    image = xp.arange(count)
    index = xp.full(pairs.rows, -1, np.int64)
    index[pairs.row] = xp.arange(len(pairs))
    index = index.reshape(-1, count, search.references, shifts)
    in_class = search._table(weight.max(0), pairs, count).reshape(index.shape)[:, image, mine]     # (mirrors, B, S)
    in_class = in_class.transpose(1, 0, 2).reshape(count, -1)
    place = in_class.argmax(1)
    mirrored, shift = place // shifts, place % shifts
    best = in_class[image, place]
    psi = weight.argmax(0)[index[mirrored, image, mine, shift]]
    # cells around it, (turns, B, neighbours)
    around, offsets = _surroundings(grid)
    neighbour = device.put(around)[shift]
    pair = index[mirrored[:, None], image[:, None], mine[:, None], xp.maximum(neighbour, 0)]
    turns = np.array([turn for turn in range(-2, 3) if -n_psi // 2 <= turn < n_psi / 2])
    angle = (psi[:, None] + device.put(turns)[:, None, None]) % n_psi
    near = weight[angle.reshape(len(turns), count, 1), xp.maximum(pair, 0)]
    counts = (neighbour >= 0) & (pair >= 0) & (near > POSE_FLOOR * best[:, None])
    near = device.get(xp.where(counts, near, 0)).astype(float)
    total = near.sum((0, 2))
    mean_turn, mean_shift = np.einsum("tbn,t->b", near, turns), np.einsum("tbn,nd->bd", near, offsets)
    shift = grid.shifts[device.get(shift)] + mean_shift / total[:, None]
    return np.column_stack([device.get(psi) + mean_turn / total, shift, device.get(mirrored), device.get(best)])


def _surroundings(grid):
    """Indices (S, 25) of the shifts within two steps of each, -1 for none, and their offsets (25, 2) in pixels."""
    offsets = np.array([(x, y) for y in range(-2, 3) for x in range(-2, 3)]) * grid.step
    index = {tuple(shift): i for i, shift in enumerate(grid.shifts.tolist())}
    return np.array([[index.get((x + dx, y + dy), -1) for dx, dy in offsets.tolist()]
                     for x, y in grid.shifts.tolist()]), offsets
