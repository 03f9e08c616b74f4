"""Images cut around their particles, against pixels moved one by one."""
import numpy as np
import pytest

from mlalign.programs.engine.correlation import Search
from mlalign.programs.engine.rings import Rings
from mlalign.programs.engine.views import Bank
from mlalign.tests.programs.engine.blobs import Stack


def bank(n, m, workers, count=4):
    """A bank of random images of n px, cut to m px."""
    search = Search(Rings(m, m / 2, 1), np.ones((m, m)), m / 2 - 1, 1.0, 1.0)
    images = np.random.default_rng(0).standard_normal((count, n, n))
    return Bank(Stack(images), np.arange(count), search, workers, np.zeros((count, 2)), 1e9), images.astype(np.float32)


def cut_pixel_by_pixel(images, centres, m):
    n = images.shape[1]
    out = np.zeros((len(images), m, m), np.float32)
    for b, (x, y) in enumerate(centres):
        for row, column in np.ndindex(m, m):
            there = row - m // 2 + y + n // 2, column - m // 2 + x + n // 2
            if all(0 <= place < n for place in there):
                out[b, row, column] = images[b][there]
    return out


@pytest.mark.parametrize(("n", "m"), [(12, 12), (12, 18)])
@pytest.mark.parametrize("reach", [0, 3, 11])
def test_images_are_cut(workers, n, m, reach):
    made, images = bank(n, m, workers)
    centres = np.random.default_rng(1).integers(-reach, reach + 1, (4, 2))
    got = made.cut(images, centres)
    assert (got == cut_pixel_by_pixel(images, centres, m)).all() and got.dtype == np.float32


@pytest.mark.parametrize("centre", [(40, 0), (0, -40), (-40, 25), (15, 15)])
def test_nothing_is_left_of_particles_beyond_the_image(workers, centre):
    made, images = bank(12, 18, workers)
    assert not made.cut(images, np.tile(centre, (4, 1))).any()
