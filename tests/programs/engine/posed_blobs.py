"""Images of :data:`.blobs.DISTINCT` in random poses, and a search for them, for tests of reference-free classes."""
import numpy as np

from mlalign.programs.engine.correlation import Search
from mlalign.programs.engine.poses2d import Poses
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT

N, RADIUS, REACH = 32, 12, 3.0
Y, X = np.mgrid[:N, :N] - N // 2
MASK = (np.hypot(X, Y) <= RADIUS).astype(float)
REFERENCES = np.stack([phantom.image(N) for phantom in DISTINCT])


def search(climbs=None):
    return Search(Rings(N, N / 2, REACH), MASK, RADIUS, 1.0, REACH, climbs=climbs)


def random_poses(count, seed, offset=1.8, turns=True, mirrors=True):
    """Any turn, mirrored or not, off the middle by ``offset`` px at most along x and y."""
    rng = np.random.default_rng(seed)
    mirrored, psi = rng.integers(0, 2, count) * mirrors, rng.uniform(-np.pi, np.pi, count) * turns
    return Poses(mirrored, psi, rng.uniform(-offset, offset, (count, 2)))


def drawn(ref, poses, n=N):
    """Images (C, n, n) of the references ``ref`` (C,) in poses (C,)."""
    shifts = poses.shifts(np.zeros((len(ref), 2)))
    return np.stack([DISTINCT[k].image(n, psi, bool(mirrored), shift)
                     for k, psi, mirrored, shift in zip(ref, poses.psi, poses.mirrored, shifts)])


def apart(one, other):
    """Angle in degrees (C,) and distance in px (C,) between poses of the same mirror."""
    turned = np.rad2deg(np.abs(np.angle(np.exp(1j * (one.psi - other.psi)))))
    return turned, np.hypot(*(one.place - other.place).T)


def coefficient(image, ref, psi=0.0, mirrored=0, x=0.0, y=0.0):
    """Correlation coefficient of an image with reference ``ref`` in a pose, in the mask moved along; from pixels."""
    pose = Poses.shifted(np.array([mirrored]), np.array([psi]), np.array([x]), np.array([y]), np.zeros((1, 2)))
    column, row = np.rint(pose.place[0]).astype(int)
    there = np.roll(MASK, (row, column), (0, 1)) > 0
    level = REFERENCES[ref][MASK > 0].mean()
    reference = drawn([ref], pose)[0] - level
    power = ((REFERENCES[ref] - level)[MASK > 0] ** 2).sum()
    return (reference * image)[there].sum() / (image[there].std() * np.sqrt(there.sum() * power))
