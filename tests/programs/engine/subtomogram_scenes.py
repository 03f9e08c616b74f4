"""Subtomograms in planted poses, in noise, behind missing regions, and estimators for them."""
import numpy as np

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import EVERYTHING, Region
from mlalign.programs.engine.orientation_search import Orientations
from mlalign.programs.engine.sphere import directions, towards
from mlalign.programs.engine.subtomograms import Subtomograms
from mlalign.programs.engine.volume_estimator import Poses, VolumeEstimator, shift_grid3
from mlalign.programs.engine.volume_model import VolumeModel
from mlalign.tests.programs.engine.volume_scenes import Blobs3, Volumes, tilted_weight

N = 16
PHANTOMS = Blobs3(1, reach=2.5), Blobs3(2, reach=2.5)
WEDGES = [Region(1, "wedge_y", y=(-60, 60)), Region(2, "wedge_y", y=(-45, 65))]
REGIONS = {"everything": [EVERYTHING], "wedges": WEDGES, "weight": [tilted_weight()]}
COARSE = Orientations(towards(directions(45)), 2 * np.pi / 6 * np.arange(6))              # 72 orientations
FINE = Orientations(towards(directions(30)), 2 * np.pi / 12 * np.arange(12))              # 504
FEW = Orientations(towards(directions(45)[:6]), 2 * np.pi / 4 * np.arange(4))
ONE = Orientations(np.eye(3)[None], np.zeros(1))
SHIFTS = shift_grid3(1)


def of_all(orientations):
    """Every matrix of a grid, (D n, 3, 3)."""
    return np.stack([orientations.matrix(d, angle, np.eye(3)) for d in range(len(orientations.matrices))
                     for angle in range(len(orientations.angles))])


class Scene:
    """Particles in planted poses on a grid, in noise, behind missing regions; an estimator for them.

    classes (count,), rotations (count, 3, 3), shifts (count, 3); volumes (count, N, N, N); noise: white, or given.
    """

    def __init__(self, regions, count, sigma, orientations=FINE, seed=1, noise=None):
        rng = np.random.default_rng(seed)
        self.regions, self.count, self.sigma = regions, count, sigma
        self.classes, self.region_of = rng.integers(0, 2, count), rng.integers(0, len(regions), count)
        self.rotations = of_all(orientations)[rng.integers(0, len(orientations), count)]
        self.shifts = SHIFTS[rng.integers(0, len(SHIFTS), count)]
        clean = np.stack([PHANTOMS[k].volume(N, rotation, shift)
                          for k, rotation, shift in zip(self.classes, self.rotations, self.shifts)])
        clean *= self.amplitude
        noise = sigma * rng.standard_normal(clean.shape) if noise is None else noise
        self.volumes = self.through_regions(clean) + noise
        self.half_of = np.arange(count) % 2
        self.ball = Ball(N, 0.25, reach=1.8)
        self.coverage = Coverage(self.ball, regions[0].radial)

    amplitude = 10.0

    def through_regions(self, volumes):
        """What is missing of geometric regions is left out by the estimator; weights are in the particles."""
        if not self.regions[0].radial:
            return volumes
        k = 2 * np.pi * np.fft.fftfreq(N)
        kz, ky, kx = np.meshgrid(k, k, k, indexing="ij")
        weights = np.stack([region.observed(kx, ky, kz) for region in self.regions])[self.region_of]
        moved = np.fft.fftn(np.fft.ifftshift(volumes, axes=(1, 2, 3)), axes=(1, 2, 3)) * weights
        return np.fft.fftshift(np.fft.ifftn(moved, axes=(1, 2, 3)).real, axes=(1, 2, 3))

    def estimator(self, workers, memory=1e9):
        bank = Subtomograms(Volumes(self.volumes), self.ball, self.coverage, self.regions, self.region_of, memory,
                            workers)
        return VolumeEstimator(bank, self.ball, self.coverage, workers)

    def truth(self):
        """The model that the particles come from."""
        phantoms = self.amplitude * np.stack([phantom.volume(N) for phantom in PHANTOMS])
        return self.model(self.ball.vectors(self.ball.samples(phantoms))[None])

    def start(self, halves=1, seed=7):
        """Random references that are as strong as the true ones."""
        shape = halves, 2, self.ball.size
        size = np.sqrt((self.truth().vectors**2).mean())
        return self.model((size * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32))

    def model(self, vectors):
        variance = np.full(len(self.ball.k), float(self.sigma**2))
        return VolumeModel(self.ball, vectors, np.array([0.5, 0.5]), variance, 1.0)

    def poses(self):
        """Those that were planted."""
        poses = Poses.unknown(self.count)
        poses.ref, poses.matrices, poses.shifts = self.classes, self.rotations, self.shifts.astype(float)
        return poses


def e_step(estimator, scene, model, plan, rows=None):
    """(totals, poses) of an E-step."""
    poses = Poses.unknown(scene.count)
    return estimator.expect(model, poses, plan, scene.half_of, rows), poses


def assert_same(found, expected, **tolerance):
    for name, value in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), value, err_msg=name, **tolerance)
