"""Images in random places of averages, and their CTFs."""
import numpy as np

from mlalign.programs.engine.averaging import Placed
from mlalign.programs.engine.ctf import Ctf
from mlalign.tests.programs.engine.blobs import DISTINCT

N = 32
CLASSES = 3
PIXEL = 2.0               # Å


def random_placed(count):
    """Images in the first three of :data:`.blobs.DISTINCT`, shifted by 2 px at most, of weights around 1."""
    rng = np.random.default_rng(0)
    return Placed(np.arange(count), rng.integers(0, CLASSES, count), rng.integers(0, 2, count),
                  rng.uniform(0, 7, count), *rng.uniform(-2, 2, (2, count)), rng.uniform(0.5, 1.5, count),
                  rng.integers(0, 2, count))


def drawn(placed):
    """The images themselves (C, N, N), without noise."""
    poses = zip(placed.ref, placed.psi, placed.mirrored, placed.x, placed.y)
    return np.stack([DISTINCT[ref].image(N, psi, bool(mirrored), (x, y)) for ref, psi, mirrored, x, y in poses])


def random_ctf(count):
    """Defocus of 0.8 to 2 µm, astigmatic."""
    rng = np.random.default_rng(1)
    mean, half = rng.uniform(8e3, 2e4, count), rng.uniform(0, 800, count)
    return Ctf(mean + half, mean - half, rng.uniform(0, 180, count), np.full(count, 300.0), np.full(count, 2.7),
               np.full(count, 0.1), np.zeros(count))
