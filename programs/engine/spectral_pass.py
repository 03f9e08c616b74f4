"""The E-step with CTFs and noise spectra: images are whitened, references are seen through each image's CTF."""
from dataclasses import dataclass, replace

import numpy as np

from .bank import ImageBank
from .ctf import Ctf
from .em import EStep, Found, note
from .expectation import Cells, Images
from .spectral import SpectralStatistics
from .visibility import EvenHarmonics

MOST_HARMONICS = 12       # of an astigmatic CTF: angular frequencies up to 22
LOOKED_AT = 200           # images of a group whose CTFs stand for all
NEGLIGIBLE = 1e-3         # rms of the harmonics of CTF^2 that are left out


@dataclass(frozen=True)
class Optics:
    """What the images of a run were seen through.

    ctf: :class:`.ctf.Ctf` of all n images, or None to model none.  pixel_size: Å/px.  flipped: the images have been
    phase-flipped, so their CTF is |CTF|.  group: (n,) noise group of each image, from 0; groups: their number.
    """

    ctf: Ctf
    pixel_size: float
    flipped: bool
    group: np.ndarray
    groups: int

    def part(self, part):
        """That of the images in a slice."""
        return replace(self, ctf=None if self.ctf is None else self.ctf[part], group=self.group[part])

    def transfer(self, disk, rows):
        """CTF (B, rings, n_phi / 2) of images on a disk."""
        ctf = self.ctf[rows](disk.k[:, None] / (2 * np.pi * self.pixel_size), disk.phi)
        return np.abs(ctf) if self.flipped else ctf

    def mean_square(self, disk, group):
        """Mean CTF^2 (rings,) of a noise group's images, or of a sample of them."""
        if self.ctf is None:
            return np.ones(len(disk.k))
        members = np.flatnonzero(self.group == group)
        return (self.transfer(disk, members[:: -(-len(members) // LOOKED_AT)]) ** 2).mean((0, 2))


class SpectralBank(ImageBank):
    """Harmonics of images times their CTF; the visibility CTF^2 and the power per ring of each image.

    visibility: float32 (n, 2, L, rings), see :mod:`.visibility`.  ring_powers: float32 (n, rings), of the images
    without the CTF; their sum over rings is the squared norm.  harmonics: L, by default as many as the images need.
    """

    def __init__(self, source, disk, workers, memory, optics, harmonics=None):
        self.optics = optics
        self.even = EvenHarmonics(disk, harmonics or harmonics_needed(optics, disk))
        self.harmonics_seen = len(self.even)
        self.visibility = np.zeros((source.count, 2, len(self.even), len(disk.k)), np.float32)
        self.visibility[:, 0, 0] = 1
        self.ring_powers = np.full((source.count, len(disk.k)), np.nan, np.float32)
        super().__init__(source, disk, workers, memory)

    def _compute(self, rows):
        polar = self.disk.polar(self.source.read(rows))
        self.ring_powers[rows] = (np.abs(polar) ** 2).mean(-1) * self.disk.weight
        if self.optics.ctf is not None:
            transfer = self.optics.transfer(self.disk, rows)
            self.visibility[rows] = self.even.expand(transfer**2)
            polar *= transfer
        return self.disk.expand(polar)

    def read(self, rows):
        """Harmonics (B, 2, bins, width) of C X and ring powers (B, rings) of X."""
        x = self._harmonics_of(rows)
        return x, self.ring_powers[rows]

    def observed(self, rows):
        """What :meth:`whitened` needs of images: harmonics of C X, ring powers of X, visibility C^2."""
        return (*self.read(rows), self.visibility[rows])

    def whitened(self, observed, inverse, scale=None):
        """:class:`.expectation.Images` in noise of inverse variance (rings,); scale: grey scales (B, K)."""
        x, powers, visibility = observed
        return Images(x * self.disk.by_ring(inverse), powers @ inverse, scale, visibility * inverse.astype(np.float32))


def harmonics_needed(optics, disk):
    """How many even harmonics the most astigmatic CTF^2 has."""
    ctf = optics.ctf
    if ctf is None:
        return 1
    worst = np.argsort(np.abs(ctf.defocus_u - ctf.defocus_v))[-8:]
    most = min(MOST_HARMONICS, disk.n_phi // 4)
    found = EvenHarmonics(disk, most).expand(optics.transfer(disk, worst) ** 2)
    rms = np.sqrt((found**2).sum(1).max((0, 2)))
    return int(np.flatnonzero(rms > NEGLIGIBLE).max(initial=0)) + 1


@dataclass
class SpectralFound(Found):
    """:class:`.em.Found` for images of one noise ``group``.

    visibility: (K, 2, L, rings), sum of u r^2 C^2 / s^2 turned back; ring_power: (rings,), sum of u |X|^2.
    """

    group: int
    visibility: np.ndarray
    ring_power: np.ndarray


class SpectralEStep(EStep):
    """Images whitened by their group's noise spectrum, compared with references seen through their CTF.

    affected: a :class:`SpectralBank` of phase-flipped images without CTF, on the same disk, when the references are
    averages that have not been corrected for the CTF: those are what they are compared with, while the statistics
    still are those of the images seen through their CTF.  Noise cannot be estimated then.
    """

    def __init__(self, model, bank, particles, settings, workers, grid, coarse=None, affected=None):
        self.seen = affected or bank
        super().__init__(model, bank, particles, settings, workers, grid, coarse)
        self.inverse = {b: model.inverse(b.disk) for b in (self.seen, *(coarse or ())[:1])}
        self.inverse_everywhere = 1 / model.variances(bank.disk)
        self.log_determinant = model.log_determinant(bank.disk)

    @property
    def _searched(self):
        return self.seen

    def _zero(self):
        return SpectralStatistics.zero(self.grid, self.model.references, len(self.model.spectra),
                                       self.bank.harmonics_seen)

    def _portions(self, rows):
        group = self.bank.optics.group[rows]
        return [rows[group == g] for g in np.unique(group)]

    def _block(self, rows):
        particles, group = self.particles, self.bank.optics.group[rows[0]]
        used = particles.scale[rows].copy()
        scale = used[:, None] / self.model.scale if self.settings.norm else None
        observed = self.seen.observed(rows)
        images = self.seen.whitened(observed, self.inverse[self.seen][group], scale)
        coarse = None
        if self.coarse is not None:
            bank = self.coarse[0]
            coarse = bank.whitened(bank.observed(rows), self.inverse[bank][group], scale)
        block = self.search.block(replace(images, near=self._near(rows)), coarse)
        block.log_likelihood -= self.log_determinant[group]
        if self.settings.norm:
            change = block.expected_score / np.maximum(block.expected_reference, 1e-30)
            # an image without signal has no grey scale of its own; keep it within reason
            particles.scale[rows] = np.clip(used * change, 0.1, 10)
        note(particles, rows, block, self.grid.disk.n_psi, self.settings.probabilities)
        if self.seen is not self.bank:
            observed = self.bank.observed(rows)
        if self.seen is not self.bank or not self.inverse[self.bank].all():
            images = self.bank.whitened(observed, self.inverse_everywhere[group], scale)
        return SpectralFound(images.x, block, np.stack([used, particles.scale[rows]]), group,
                             self._visibility_sums(block, images), block.robust @ observed[1].astype(float))

    def _visibility_sums(self, block, images):
        """Sums (K, 2, L, rings) of u r^2 C^2 / s^2 over a block, turned back and weighted by the posterior."""
        even, shifts, references = self.bank.even, len(self.grid.shifts), self.model.references
        if block.dense is None:
            cells = block.cells
            row = 2 * (cells.row // 2 // shifts) + cells.row % 2
            weight = cells.weight * images.scales(references)[cells.image, row // 2]
            return even.spread_cells(Cells(cells.image, row, cells.angle, weight), images.visibility, references)
        sums = np.zeros((references, 2, *even.metric.shape))
        cosine, sine = even.cell_cosine[: self.grid.quarter], even.cell_sine[: self.grid.quarter]
        for tile, weights in block.dense:
            of_even = weights[:, :, 0]                                  # no other harmonics occur
            by_reference = of_even.reshape(*of_even.shape[:3], tile.stop - tile.start, -1).sum(-1)
            products = np.stack([np.einsum("hl,bhk->lbk", table, one)
                                 for table, one in zip((cosine, cosine, sine, sine), by_reference)])
            sums[tile] += even.spread(products, images.visibility)
        return sums

    def _gather(self, total, half, found):
        super()._gather(total, half, found)
        total.visibility[half] += found.visibility
        total.ring_power[found.group] += found.ring_power
        total.group_robust[found.group] += found.block.robust.sum()
        total.group_count[found.group] += len(found.block.robust)
        if self.seen is self.bank:
            total.seen[found.group] += np.einsum("kclr,kclr->r", found.visibility, self.search.power)

    def _portion_done(self, total, portion, sums, before):
        """What ``sums`` grew by with the images of a group, against the references: that group's cross term."""
        disk = self.grid.disk
        by_ring = np.bincount(disk.ring, self.search.products(sums, self.workers.map).flat[disk.used], len(disk.k))
        total.cross[self.bank.optics.group[portion[0]]] += by_ring - (0 if before is None else before)
        return by_ring


def scale_to_mean(statistics, particles, rows):
    """Make 1 the mean grey scale of all images ``rows``, whose statistics these are.

    Filtered references are weak, which would let all scales grow together for ever.
    """
    mean = particles.scale[rows].mean()
    particles.scale[rows] /= mean
    statistics.class_scale /= mean
