"""What several modules' tests start from."""
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.tests.programs.engine.blobs import PHANTOMS, Blobs, cells_of


@pytest.fixture(scope="module")
def workers():
    workers = Workers(1)
    yield workers
    workers.close()


@pytest.fixture(scope="session", params=[(32, 16), (33, 130)], ids=["folded", "not folded"])
def scene(request):
    """Noisy images, a grid of five shifts, and their scores of all cells, computed from pixels."""
    n, n_psi = request.param
    rng = np.random.default_rng(3)
    grid = Grid(Disk(n, 0.45, n_psi), 2 * shift_grid(1), 2)
    images = np.stack([phantom.image(n) for phantom in (PHANTOMS[0], Blobs(3), Blobs(4))])
    images += 0.2 * rng.standard_normal(images.shape)
    expected = np.einsum("byx,ksmpyx->bksmp", images, cells_of(PHANTOMS, grid))
    templates = grid.templates(grid.disk.polar(np.stack([p.image(n) for p in PHANTOMS])))
    return SimpleNamespace(grid=grid, images=images, x=grid.disk.harmonics(images),
                           expected=expected.reshape(3, -1, 2, n_psi),
                           templates=templates.reshape(-1, *grid.disk.shape))
