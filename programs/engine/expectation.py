"""The E-step: posteriors of a block of images over references, mirrors, shifts and rotations, and what they weigh.

Blocks are small (tens of images), so that all scores of a block stay in memory; what survives of it is either the
dense table of weights or, as soon as posteriors are narrow, a short list of cells.
"""
from dataclasses import dataclass, field, replace

import numpy as np

from . import cell_kernels, kernels
from .cells import Cells, descent, empty_cells
from .counts import Counts
from .local import EVERYWHERE, Near, best_of_near_rows, strike_far
from .noise import log_shift_prior
from .search import Spare
from .templates import ByBin, ByShift
from .visibility import EvenHarmonics, rows_of

CUT = 25.0             # cells this far (in nats) below an image's best add less than float32 can resolve
LEFT_OUT = 1e-5        # share of an image's probability that a fast search may leave out of the averages
POSE_FLOOR = 0.02      # cells below this share of the best do not shape the reported pose
BROAD_SHARE = 0.25     # share of significant coarse rows from which an exhaustive fine search is cheaper
DENSE_SHARE = 0.1      # share of significant rows from which dense products are cheaper than lists of cells


@dataclass
class Images:
    """A block of images on one disk.

    x: harmonics (B, 2, bins, width).  power: squared norms (B,).  scale: grey scales (B, K), None for ones.
    visibility: (B, 2, L, rings), see :mod:`.visibility`; None where the images show references as they are.
    near: the cells they may be in, see :mod:`.local`; None for all.
    With ``visibility``, x and power are those of the whitened images: sums of C X / s^2 and |X|^2 / s^2.
    """

    x: np.ndarray
    power: np.ndarray
    scale: np.ndarray = None
    visibility: np.ndarray = None
    near: Near = None

    def __len__(self):
        return len(self.x)

    @property
    def shifts(self):
        """Indices of the shifts they may have."""
        return slice(None) if self.near is None else self.near.shifts

    def scales(self, references):
        """Grey scales as the kernels take them, float32 (B, K)."""
        ones = np.ones((len(self), references), np.float32)
        return ones if self.scale is None else self.scale.astype(np.float32)


@dataclass
class Block:
    """Posterior of B images.

    log_likelihood (B,); class_mass (B, K); row_mass (K, S, 2) posterior mass summed over images;
    class_weight (K,) of the averages; pose (B, 5): see cell_kernels.mean_poses; chosen (B,) most probable reference;
    robust (B,) mean robust weight and robust_power the sum of u |x|^2; expected_score (B,) of r <x, T a> and
    expected_reference (B,) of r^2 |a|^2, for grey-scale refinement; what the M-step spreads: cells, or dense weights
    (tile, partial weights of the ``shifts``).  counts: what was evaluated.
    """

    log_likelihood: np.ndarray
    class_mass: np.ndarray
    row_mass: np.ndarray
    class_weight: np.ndarray
    pose: np.ndarray
    chosen: np.ndarray
    robust: np.ndarray
    robust_power: float
    expected_score: np.ndarray = None
    expected_reference: np.ndarray = None
    cells: Cells = None
    dense: list = None
    shifts: np.ndarray = None
    counts: Counts = field(default_factory=Counts)


class Expectation:
    """Posteriors under one model on one grid (optionally preselected on a coarser one).

    grid: :class:`.search.Grid`.  polar: references' samples (K, rings, phi) on the grid's disk.
    log_class: (2, K) log-probability of each reference, plain and mirrored (-inf: not searched).
    noise: :class:`.noise.Noise`.  coarse: an Expectation on a coarser grid for the fast search, with
    ``significance`` the probability ratio below which its cells are dropped.  harmonics: of the images' visibility.
    """

    _expected_cells = 64       # per image and tile: how much to set aside before extracting

    def __init__(self, grid, polar, log_class, sigma_offset, noise, coarse=None, significance=1e-9, pool=map,
                 harmonics=1):
        self.grid, self.noise, self.coarse = grid, noise, coarse
        self.references = len(polar)
        self.templates = self._build_templates(polar, pool)
        self.seen = EvenHarmonics(grid.disk, harmonics)
        self.power = self.seen.expand(np.abs(polar.astype(np.complex128)) ** 2) * self.seen.metric
        prior = log_shift_prior(grid.shifts, sigma_offset, grid.step) - np.log(grid.disk.n_psi)
        self.prior = (log_class[:, :, None] + prior).astype(np.float32)             # (2, K, S)
        self.mirror = bool(np.isfinite(log_class[1]).any())
        self._spare = Spare(), Spare()
        if coarse is not None:
            self.descent = descent(coarse.grid, grid)
            self.cut = -np.log(significance)

    def _build_templates(self, polar, pool):
        return (ByBin if self.coarse is None else ByShift).of(self.grid, polar, pool)

    def products(self, sums, pool=map):
        """Products, float64 (bins, width), of sums (K, S, 2, bins, width) with the templates that they belong to."""
        return self.templates.products(sums, pool)

    def block(self, images, coarse=None):
        """Posterior of :class:`Images`, given on this grid's disk and, for a coarse search, on that one's: a Block."""
        counts = Counts(blocks=1)
        block = self._search(images, coarse, counts)
        if block.dense is None:
            counts.kept_cells = len(block.cells.image)
        else:
            counts.flops += sum(self.grid.flops(len(images), weights.shape[-1]) for _, weights in block.dense)
        block.counts = counts
        return block

    def _search(self, images, coarse, counts):
        if self.coarse is None:
            return self._exhaustive(images, counts)
        if images.near is not None:
            coarse = replace(coarse, near=images.near.parents(self.descent.children))
        swept = Counts()
        found = self.coarse.significant(coarse, self.cut, swept)
        counts.flops, counts.coarse_cells = swept.flops, swept.swept_cells
        if found is None:
            return self._exhaustive(images, counts)
        return self._around(*found, images, counts)

    # ---- exhaustive search -----------------------------------------------------------------------------------

    def _exhaustive(self, images, counts):
        scores, tops, top = self._scores(images, counts)
        narrow = _share_above(tops, top - CUT) < DENSE_SHARE
        if narrow or self.noise.df is not None or images.scale is not None:
            return self._from_cells(*self._listed(scores, tops, top - CUT, images), images)
        return self._dense(scores, top, images)

    def significant(self, images, cut, counts):
        """Cells within ``cut`` nats of each image's best in an exhaustive search here, and their log-posteriors.

        None when so many rows are significant that evaluating fine cells one by one would not pay.  counts: added to.
        """
        scores, tops, top = self._scores(images, counts)
        if _share_above(tops, top - cut) > BROAD_SHARE:
            self._give_back(scores)
            return None
        return self._listed(scores, tops, top - cut, images)

    def _listed(self, scores, tops, threshold, images):
        """Cells above a threshold (B,), and their log-posteriors, of scores that are not needed any more."""
        found = self._extract(scores, tops, threshold, images)
        self._give_back(scores)
        return found

    def _give_back(self, scores):
        for g in scores:
            self._spare[0].give(g)

    def _half_power(self, images):
        """Partial products of r <V, R |A|^2> / 2, float32 (4 or 1, L, B, K)."""
        if images.visibility is None:
            products = self.power[:, 0, 0].sum(-1)[None, None, None]
        else:
            products = self.seen.products(images.visibility, self.power)
        return (products * images.scales(self.references) / 2).astype(np.float32)

    def _scores(self, images, counts):
        """Partial scores per tile, log-posterior of every row's best cell per tile, and of every image's."""
        scores, tops = [], []
        best_of_all = np.full(len(images), -np.inf, np.float32)
        half, scales = self._half_power(images), images.scales(self.references)
        for tile in self.grid.tiles(self.references):
            templates = self.templates.tile(tile, images.shifts)
            g = self.grid.scores(images.x, templates, half[..., tile], self.seen.bins, self._spare)
            best = np.empty((2, len(images), g.shape[-1]), np.float32)
            if images.near is None:
                kernels.best_of_rows(g, self.mirror, best)
            else:
                best_of_near_rows(g, self.mirror, images.near.compact, best)
            best = self._log_posterior(best, self.prior[:, tile, images.shifts], images.power, scales[:, tile])
            np.maximum(best_of_all, best.max((0, 2)), out=best_of_all)
            counts.flops += self.grid.flops(len(images), g.shape[-1])
            counts.swept_cells += best.size // (1 if self.mirror else 2) * self.grid.disk.n_psi
            scores.append(g)
            tops.append(best)
        return scores, tops, best_of_all

    def _log_posterior(self, score, prior, power, scale):
        """Log-posteriors of scores (2, B, T).  prior: (2, K, S).  scale: (B, K)."""
        gain = score * (np.repeat(scale, prior.shape[2], axis=1) * np.float32(self.noise.kappa))
        prior = prior.reshape(2, 1, -1)
        return np.stack([self.noise.log_posterior(gain[m], prior[m], power) for m in range(2)])

    def _extract(self, scores, tops, threshold, images):
        """Cells above a threshold (B,) with their log-posteriors (in place of weights)."""
        parts, logs, first, count = [], [], 0, len(images)
        tau, scales = self.noise.tau(images.power), images.scales(self.references)
        allowed = EVERYWHERE if images.near is None else images.near.compact
        for tile, g, top in zip(self.grid.tiles(self.references), scores, tops):
            prior = self.prior[:, tile, images.shifts]
            arguments = (g, top, threshold.astype(np.float32), np.ascontiguousarray(prior.reshape(2, -1)),
                         np.ascontiguousarray(scales[:, tile]), prior.shape[2], np.float32(self.noise.kappa),
                         np.float32(self.noise.nu), tau, allowed, self.grid.disk.n_psi)
            image, row, angle, logp, gain = self._listed_by(kernels.extract_cells, arguments, count)
            parts.append(Cells(image, row + np.int32(2 * first), angle, None, gain))
            logs.append(logp)
            first += g.shape[-1]
        joined = Cells.joined(parts)
        if images.near is not None:
            joined.row = images.near.rows(joined.row)
        return joined, np.concatenate(logs)

    def _listed_by(self, kernel, arguments, count, columns=5):
        """Cells of ``count`` images as a kernel lists them; it is called again where they need more room."""
        cells = empty_cells(self._expected_cells * count)[:columns]
        found = kernel(*arguments, cells)
        if found > len(cells[0]):
            self._expected_cells = 2 * found // count
            cells = empty_cells(found)[:columns]
            kernel(*arguments, cells)
        return [column[:found] for column in cells]

    def _dense(self, scores, top, images):
        """Weights of all cells, when most of them matter: Gaussian noise, no grey scales."""
        count, power, prior = len(top), images.power, self.prior[:, :, images.shifts]
        shifts, n_psi, tiles = prior.shape[2], self.grid.disk.n_psi, self.grid.tiles(self.references)
        mass = []
        for tile, p in zip(tiles, scores):
            bias = np.ascontiguousarray(prior[:, tile].reshape(2, -1))
            kernels.to_log_posterior(p, self.mirror, bias, np.float32(self.noise.kappa), top, n_psi)
            if images.near is not None:
                strike_far(p, images.near.compact)
            np.exp(p, out=p)
            rows = np.empty((2, count, p.shape[-1]), np.float32)
            kernels.sum_rows(p, rows)
            mass.append(rows.reshape(2, count, -1, shifts))
        mass = np.concatenate(mass, axis=2)                                        # (2, B, K, S)
        class_mass = mass.sum((0, 3), dtype=np.float64)
        total = class_mass.sum(1)
        class_mass /= total[:, None]
        chosen = class_mass.argmax(1)
        peaks = []
        for tile, p in zip(tiles, scores):
            arguments = p, chosen, shifts, tile.start, POSE_FLOOR, n_psi
            peaks.append(self._listed_by(kernels.cells_of_class, arguments, count, columns=4))
            kernels.to_partial_weights(p, (1 / total).astype(np.float32))
        peaks = Cells(*(np.concatenate(column) for column in zip(*peaks)))
        peaks.weight /= total[peaks.image]
        if images.near is not None:
            peaks.row = images.near.rows(peaks.row)
        row_mass = np.zeros((self.references, len(self.grid.shifts), 2))
        row_mass[:, images.shifts] = np.einsum("mbks,b->ksm", mass, 1 / total, dtype=np.float64)
        return Block(
            log_likelihood=top + np.log(total) + self.noise.log_likelihood_of_noise(power),
            class_mass=class_mass, row_mass=row_mass, class_weight=row_mass.sum((1, 2)),
            pose=self._poses(peaks, chosen), chosen=chosen, robust=np.ones(count), robust_power=power.sum(),
            dense=list(zip(tiles, scores)), shifts=images.shifts)

    # ---- a list of cells -------------------------------------------------------------------------------------

    def _around(self, cells, logp, images, counts):
        """Evaluate the fine cells that coarse ones (with their log-posteriors) stand for, and on to the peaks."""
        half = rows_of(self._half_power(images))
        cells, logp, top = self.descent.run(cells, logp, len(images),
                                            lambda keys: self._score(keys, images, half, counts))
        probable = np.empty(len(logp), bool)
        cell_kernels.probable_cells(cells.image, logp, top, LEFT_OUT, probable)
        keep = np.flatnonzero(probable)
        cells, logp = cells.select(keep), logp[keep]
        order = cells.keys(len(images), self.grid.disk.n_psi).argsort(kind="stable")        # a few sorted lists in one
        return self._from_cells(cells.select(order), logp[order], images)

    def _score(self, keys, images, half, counts):
        """The cells with these sorted keys and their log-posteriors, without cells that images cannot be in.

        half: half of the references' power, see visibility.rows_of.
        """
        grid = self.grid
        if images.near is not None:
            keys = images.near.only(keys)
        image, row, angle, score, gain = empty_cells(len(keys))
        counts.fine_cells += len(keys)
        templates = self.templates.harmonics.reshape(-1, *grid.disk.shape)
        counts.fine_rows += grid.score_cells(keys, images.x, templates, half, self.seen.bins,
                                             (image, row, angle, score))
        logp = np.empty(len(keys), np.float32)
        cell_kernels.weigh_scores(image, row, score, self.prior.reshape(2, -1), images.scales(self.references),
                                  len(grid.shifts), np.float32(self.noise.kappa), np.float32(self.noise.nu),
                                  self.noise.tau(images.power), logp, gain)
        return Cells(image, row, angle, None, gain), logp

    def _from_cells(self, cells, logp, images):
        """Soft-max over listed cells, and everything the M-step needs of them."""
        count, shifts, power = len(images), len(self.grid.shifts), images.power
        weight, evidence = np.empty(len(logp), np.float32), np.empty(count)
        class_mass = np.empty((count, self.references))
        cell_kernels.normalise_cells(cells.image, cells.row, logp, shifts, weight, evidence, class_mass)
        chosen = class_mass.argmax(1)
        posterior = replace(cells, weight=weight)
        row_mass = np.bincount(cells.row, weight, minlength=2 * self.references * shifts)
        row_mass = row_mass.reshape(self.references, shifts, 2)
        block = Block(
            log_likelihood=evidence + self.noise.log_likelihood_of_noise(power),
            class_mass=class_mass, row_mass=row_mass, class_weight=row_mass.sum((1, 2)),
            pose=self._poses(posterior, chosen), chosen=chosen, robust=np.ones(count), robust_power=power.sum(),
            cells=posterior)
        if self.noise.df is not None or images.scale is not None:
            self._weigh(block, images)
        return block

    def _weigh(self, block, images):
        """Robust weights and grey scales enter the averages: cell weights become w u r, class weights sum w u r^2."""
        cells, power = block.cells, images.power
        reference = cells.row // 2 // len(self.grid.shifts)
        robust = self.noise.robust_weight(cells.gain, power[cells.image])
        r = 1.0 if images.scale is None else images.scale[cells.image, reference]
        count = len(power)
        weight = cells.weight.astype(np.float64)
        block.robust = np.bincount(cells.image, weight * robust, count)
        block.robust_power = float((block.robust * power).sum())
        block.class_weight = np.bincount(reference, weight * robust * r**2, self.references)
        if images.scale is not None:
            half = r * self._half_power_of_cells(cells, images)                     # r^2 |A|^2 / 2
            score = cells.gain / self.noise.kappa + half                            # r <x, T a>
            block.expected_score = np.bincount(cells.image, weight * score, count)
            block.expected_reference = np.bincount(cells.image, weight * 2 * half, count)
        block.cells = replace(cells, weight=(weight * robust * r).astype(np.float32))

    def _half_power_of_cells(self, cells, images):
        """r |A|^2 / 2 of each cell, as its image shows the reference."""
        rows = rows_of(self._half_power(images))[cells.image, cells.row // 2 // len(self.grid.shifts), cells.row % 2]
        return (rows[:, 0] * self.seen.cell_cosine[cells.angle] + rows[:, 1] * self.seen.cell_sine[cells.angle]).sum(1)

    def _poses(self, cells, chosen):
        pose = np.empty((len(chosen), 5))
        cell_kernels.mean_poses(cells.image, cells.row, cells.angle, cells.weight, chosen, self.grid.shifts,
                                self.grid.step, self.grid.disk.n_psi, POSE_FLOOR, pose)
        return pose

    # ---- the M-step's half -----------------------------------------------------------------------------------

    def spread(self, block, x, sums, tile):
        """Add a block's images, turned back and weighted, to ``sums`` (K, S, 2, bins, width), for one tile."""
        if block.dense is not None:
            self._spread_dense(block, x, sums, tile)
            return
        target = sums[tile].reshape(-1, *self.grid.disk.shape)
        first, last = np.searchsorted(block.cells.row, 2 * len(self.grid.shifts) * np.array([tile.start, tile.stop]))
        cells = block.cells.select(slice(first, last))
        cells.row = cells.row - 2 * tile.start * len(self.grid.shifts)
        self.grid.spread_cells(cells, x, target)

    def _spread_dense(self, block, x, sums, tile):
        """Dense weights come in the tiles of the search, which may be wider than the tile asked for."""
        for scored, weights in block.dense:
            start, stop = max(scored.start, tile.start), min(scored.stop, tile.stop)
            if start < stop:
                shifts = weights.shape[-1] // (scored.stop - scored.start)
                part = weights[..., (start - scored.start) * shifts : (stop - scored.start) * shifts]
                # a copy, unless these are all shifts; contiguous, so that what its rows gain is not lost
                some = np.ascontiguousarray(sums[start:stop, block.shifts])
                self.grid.spread(part, x, some.reshape(-1, *self.grid.disk.shape))
                if not np.may_share_memory(some, sums):
                    sums[start:stop, block.shifts] = some


def _share_above(tops, threshold):
    """Share of the rows, tiles of (2, B, T), whose best cell is above the images' thresholds (B,)."""
    above = sum(np.count_nonzero(top > threshold[:, None]) for top in tops)
    return above / sum(top.size for top in tops)
