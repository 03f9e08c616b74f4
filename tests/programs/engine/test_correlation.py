"""The maximum-correlation search against correlations of pixels, cell by cell."""
import numpy as np
import pytest

from mlalign.programs.engine import climbing
from mlalign.programs.engine import correlation_kernels as kernels
from mlalign.programs.engine.correlation import Search
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT, PHANTOMS, planted

N, RADIUS, REACH = 32, 12, 3.0
Y, X = np.mgrid[:N, :N] - N // 2
MASK = (np.hypot(X, Y) <= RADIUS).astype(float)
ANYWHERE = [-3.0, 3.0, -3.0, 3.0]


def search(exhaustive=False, step=1.0):
    return Search(Rings(N, N / 2, REACH), MASK, RADIUS, step, REACH, exhaustive)


def masked(phantoms):
    images = np.stack([phantom.image(N) for phantom in phantoms])
    return MASK * (images - ((images * MASK).sum((1, 2)) / MASK.sum())[:, None, None])


def norms(images, references):
    norm = 1 / np.sqrt(MASK.sum() * (references**2).sum((1, 2)))
    return np.tile(norm.astype(np.float32), (len(images), 1))


def found_by(one, images, references, limits=ANYWHERE):
    limits = np.tile(limits, (len(images), 1))
    return one.run(one.views(images.astype(np.float32)), one.references(references), norms(images, references),
                   limits, MASK.sum())


def best_of(found, count):
    """Each image's best top."""
    order = np.lexsort((-found.score, found.image))
    firsts = np.searchsorted(found.image[order], np.arange(count))
    return found.take(order[firsts])


def coefficient(image, reference, psi, mirrored, x, y):
    """Correlation coefficient of an image with a masked reference in a pose, in the mask moved along, from pixels."""
    def moved(picture):
        """Shifted, mirrored and turned, by sums over its Fourier coefficients."""
        k = np.fft.fftfreq(N) * 2 * np.pi
        spectrum = np.fft.fft2(np.fft.ifftshift(picture))
        inside = np.hypot(k[:, None], k) < np.pi
        c, s = np.cos(psi), np.sin(psi)
        u, v = c * X + s * Y, c * Y - s * X                    # turned back
        v = -v if mirrored else v
        u, v = (u - x).ravel(), (v - y).ravel()
        waves_y, waves_x = np.exp(1j * np.outer(v, k)), np.exp(1j * np.outer(u, k))
        return np.einsum("pk,kl,pl->p", waves_y, spectrum * inside, waves_x).real.reshape(N, N) / N**2

    c, s = np.cos(psi), np.sin(psi)
    flip = -y if mirrored else y
    at = np.rint([c * x - s * flip, s * x + c * flip]).astype(int)
    there = np.roll(MASK, at[::-1], (0, 1)) > 0
    return (moved(reference) * image).sum() / (
        there.sum() * image[there].std() * np.sqrt((reference**2).sum() / MASK.sum()))


@pytest.fixture(scope="module")
def noisy():
    return planted(DISTINCT, 48, 0.5, seed=3, offset=0.8)


def test_deviations_in_the_moved_mask():
    one, image = search(), PHANTOMS[0].image(N) + np.random.default_rng(0).normal(size=(N, N))
    inverse = one.views(image[None].astype(np.float32)).inverse[0]
    for x, y in ((0, 0), (2, -1), (-3, 3)):
        there = np.roll(MASK, (y, x), (0, 1)) > 0
        assert inverse[one.margin + y, one.margin + x] == pytest.approx(1 / image[there].std(), rel=1e-4)


@pytest.mark.parametrize("exhaustive", [False, True])
def test_coarse_scores_are_correlations(exhaustive):
    """Every coarse cell's score from g, put together as documented, is that of the harmonics themselves."""
    one = search(exhaustive)
    images = np.stack([PHANTOMS[0].image(N, 0.4, True, (1, -1)), PHANTOMS[1].image(N, 2.0)]).astype(np.float32)
    views, references = one.views(images), one.references(masked(PHANTOMS))
    g = one._scores(views.packed, references.packed)
    rings, last, shifts = one.rings, one.coarse_rings, len(one.places)
    metric = rings.metric[: rings.start[last]]
    rng = np.random.default_rng(1)
    for _ in range(30):
        b, k, s = rng.integers(2), rng.integers(2), rng.integers(shifts)
        c, h = rng.integers(8), rng.integers(g.shape[1])
        theta = 2 * np.pi * h / one.coarse_angles
        psi = (theta, -theta, np.pi - theta, np.pi + theta)[c % 4]
        image, back = views.x[b : b + 1], np.empty((1, rings.size), np.float32)
        kernels.turned_back(image, (rings.start[:-1], rings.each), np.array([psi]), np.array([c // 4]), back)
        template = rings.shifted(references.samples[k], rings.phase([one.places[s]]), last)
        expected = (back[:, : rings.start[last]] * template * metric).sum()
        got = kernels._of_sector.py_func(g[:, h, b, k * shifts + s], c)
        assert got == pytest.approx(expected, abs=2e-3 * (PHANTOMS[k].image(N) ** 2).sum())


@pytest.mark.parametrize("small", [10**6, 12 * 150, 1])            # all pairs together, 128, 64
def test_products_become_sums_over_even_and_over_odd_orders(monkeypatch, small):
    monkeypatch.setattr(kernels, "SMALL_PRODUCT", small)
    rng, even = np.random.default_rng(1), 4
    product, (cosine, sine) = rng.standard_normal((4, 7, 200)), rng.standard_normal((2, 3, 7))
    g = np.full((8, 3, 200), np.nan, np.float32)
    kernels.transform(*(a.astype(np.float32) for a in (product, cosine, sine)), even, g)
    for plane, wave in enumerate((cosine, cosine, sine, sine)):
        np.testing.assert_allclose(g[plane], wave[:, :even] @ product[plane, :even], atol=1e-5)
        np.testing.assert_allclose(g[4 + plane], wave[:, even:] @ product[plane, even:], atol=1e-5)


def test_the_best_of_sectors_and_where_it_is():
    rng = np.random.default_rng(4)
    half, count, references, shifts = 4, 3, 2, 8
    g = rng.normal(size=(8, half, count, references * shifts)).astype(np.float32)
    factor = rng.random((count, 8, half, shifts)).astype(np.float32)
    values = np.empty((count, references, 8, half, shifts))
    for b, k, c, h, s in np.ndindex(values.shape):
        values[b, k, c, h, s] = factor[b, c, h, s] * kernels._of_sector.py_func(g[:, h, b, k * shifts + s], c)
    best = np.empty((count, references, 8), np.float32)
    kernels.best_of_sectors(g, factor, best)
    assert best == pytest.approx(np.maximum(values.max((3, 4)), 0), abs=1e-5)
    wanted = best >= np.median(best)
    found = (*(np.zeros(wanted.sum(), np.int64) for _ in range(5)), np.zeros(wanted.sum(), np.float32))
    kernels.locate(g, factor, wanted, 5, found)
    n_psi = 4 * (half - 1)
    for b, k, mirrored, angle, s, score in zip(*found):
        sectors = [(c, h) for c in range(4 * mirrored, 4 * mirrored + 4) for h in range(half)
                   if (h, -h, n_psi // 2 - h, n_psi // 2 + h)[c % 4] % n_psi == angle]
        assert any(values[b, k - 5, c, h, s] == pytest.approx(score, abs=1e-5)
                   and score == pytest.approx(best[b, k - 5, c], abs=1e-5) for c, h in sectors)


def test_scores_are_correlation_coefficients(noisy):
    one, references = search(), masked(DISTINCT)
    best = best_of(found_by(one, noisy.images, references), 48)
    for i in range(0, 48, 7):
        got = coefficient(noisy.images[i], references[best.ref[i]], best.psi[i], best.mirrored[i], best.x[i], best.y[i])
        assert best.score[i] == pytest.approx(got, abs=0.01)


def test_known_poses_are_found():
    """Without noise: the reference, its mirror, the angle to half a degree, the shift to 0.05 px, on the average."""
    rng, images, truth = np.random.default_rng(5), [], []
    for i in range(24):
        psi, (x, y) = rng.uniform(0, 2 * np.pi), rng.uniform(-1.8, 1.8, 2)
        truth.append((i % 4, i // 4 % 2, psi, x, y))
        images.append(DISTINCT[i % 4].image(N, psi, bool(i // 4 % 2), (x, y)))
    best = best_of(found_by(search(), np.stack(images), masked(DISTINCT)), 24)
    ref, mirrored, psi, x, y = np.array(truth).T
    assert (best.ref == ref).all() and (best.mirrored == mirrored).all()
    turned = np.angle(np.exp(1j * (best.psi - psi)))
    assert np.rad2deg(np.abs(turned)).max() < 1.5 and np.rad2deg(np.abs(turned)).mean() < 0.5
    shift = np.hypot(best.x - x, best.y - y)
    assert shift.max() < 0.15 and shift.mean() < 0.05
    assert best.score.min() > 0.99


def test_coarse_to_fine_finds_what_scoring_everything_finds(noisy):
    references = masked(DISTINCT)
    fast, slow = (best_of(found_by(search(exhaustive), noisy.images, references), 48) for exhaustive in (False, True))
    assert (fast.ref == slow.ref).all() and (fast.mirrored == slow.mirrored).all()
    # along a ridge the two may end half a step apart, equally high
    turned = np.rad2deg(np.abs(np.angle(np.exp(1j * (fast.psi - slow.psi)))))
    assert np.median(turned) < 0.3 and turned.max() < 5
    assert fast.score == pytest.approx(slow.score, abs=5e-3)


def test_everything_scored_is_the_best_of_all_cells(noisy):
    """The exhaustive search ends at least as high as any of the cells of its grid, evaluated from pixels."""
    references = masked(PHANTOMS)
    one = search(True)
    best = best_of(found_by(one, noisy.images[:1], references), 1)
    angles = np.arange(0, one.fine_angles, 8) * 2 * np.pi / one.fine_angles
    cells = [coefficient(noisy.images[0], references[k], psi, mirrored, x, y)
             for k in (0, 1) for mirrored in (0, 1) for psi in angles for x in (-2, 0, 2) for y in (-2, 0, 2)]
    assert best.score[0] > max(cells) - 0.01


def test_limits_hold_whatever_the_angle(noisy):
    def farthest(limits):
        """How far in the images the tops are beyond 1 px along x, and below 0 or above 2 px along y."""
        best = best_of(found_by(search(), noisy.images, masked(DISTINCT), limits), 48)
        c, s, y = np.cos(best.psi), np.sin(best.psi), np.where(best.mirrored, -best.y, best.y)
        return np.abs([c * best.x - s * y, s * best.x + c * y - 1]).max() - 1

    # the lattice reaches half a step beyond, a fit its own step more; what uses the tops puts them on the limits
    assert farthest([-1.0, 1.0, 0.0, 2.0]) < 1.5 < farthest(ANYWHERE)


def test_a_search_without_shifts():
    one = Search(Rings(N, N / 2, 0), MASK, RADIUS, 1.0, 0.0)
    image = PHANTOMS[0].image(N, 1.0)
    best = best_of(found_by(one, image[None], masked(PHANTOMS), [0.0] * 4), 1)
    assert (best.ref[0], best.x[0], best.y[0]) == (0, 0, 0) and best.psi[0] == pytest.approx(1, abs=0.02)
    offset = np.array([[0.4, -0.3]])
    views = one.views(PHANTOMS[0].image(N, shift=(0.4, -0.3))[None].astype(np.float32), offset)
    centred = one.views(PHANTOMS[0].image(N)[None].astype(np.float32))
    assert views.x == pytest.approx(centred.x, abs=2e-3 * np.abs(centred.x).max())
    assert (views.inverse == views.inverse[0, 0, 0]).all()


def test_the_top_of_a_paraboloid():
    top, curvature = np.array([0.3, -0.2, 0.4]), -np.array([[2, 0.3, 0.5], [0.3, 1, -0.2], [0.5, -0.2, 1.5]])
    y, x, a = np.mgrid[-1:2, -1:2, -1:2]
    away = np.stack([x, y, a], -1) - top
    v = 5 + np.einsum("...i,ij,...j", away, curvature, away) / 2
    assert climbing._paraboloid(v) == pytest.approx((*top, 5))
    v[0] = 10 * climbing.NOWHERE                # nothing known on one side: y stays
    x, y, a, height = climbing._paraboloid(v)
    assert y == 0 and abs(x) < 1 and np.isfinite(height)
