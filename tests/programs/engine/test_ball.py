"""Vectors of volumes, against ball harmonics written out at voxels, and against phantoms drawn in other poses."""
import numpy as np
import pytest
from scipy.special import spherical_jn

from mlalign.programs.engine.ball import BEYOND, CONCENTRATED, Ball
from mlalign.tests.programs.engine.volume_scenes import Blobs3, off, real_harmonics, some_rotations

BALLS = [(12, 0.25, None, 0), (13, 0.3, None, 1.5), (14, 0.25, 5.5, 2)]        # n, maxres, radius, reach
SHIFTS = np.array([(0, 0, 0), (1, 0, 0), (0, 2, -1), (0, 2, 1), (-1, 0.5, 0), (0.3, -0.2, 1.7)])
PHANTOM, OTHER = Blobs3(1), Blobs3(2)


@pytest.fixture(scope="module", params=BALLS, ids=str)
def small(request):
    """So small that sums over all voxels are quick."""
    return Ball(*request.param)


@pytest.fixture(scope="module")
def ball():
    """Large enough for the phantoms."""
    return Ball(24, 0.3, reach=3)


def vectors_of(ball, *volumes):
    return ball.vectors(ball.samples(np.stack(volumes)))


def random_vectors(ball, count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, ball.size)).astype(np.float32)


def radial_part(ball, l, r):
    """Of the ball harmonics of degree l at distances r (...,): (N_l, ...), by a sum over shells."""
    waves = 4 * np.pi * spherical_jn(l, np.multiply.outer(ball.k, r))
    return np.tensordot((ball.radial[l].T * np.sqrt(ball.weight)), waves, 1)


def ball_harmonics(ball, points):
    """Every function of the basis at points (3, ...) = (x, y, z) in voxels: (P, ...).

    exp(-i k r) = 4 pi sum (-i)^l j_l(k r) Y_lm(k) Y_lm(r), of which vectors hold the part without i.
    """
    r = np.linalg.norm(points, axis=0)
    directions = np.where(r > 0, points, np.array([0, 0, 1.0]).reshape(3, *[1] * r.ndim)) / np.where(r > 0, r, 1)
    out = np.empty((ball.size, *r.shape))
    for l, places in enumerate(ball.layout.degrees):
        sign = ((-1j)**l / 1j**(l % 2)).real
        out[places] = sign * real_harmonics(l, directions)[:, None] * radial_part(ball, l, r)
    return out


def voxels(n):
    """(3, n, n, n) = (x, y, z)."""
    return np.mgrid[:n, :n, :n][::-1].astype(float) - n // 2


# ---- the basis

def test_radial_functions_are_orthonormal_and_mostly_inside():
    ball = Ball(16, 0.3, 7)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r, dr = (nodes + 1) / 2 * ball.radius, weights / 2 * ball.radius
    for l, (radial, share) in enumerate(zip(ball.radial, ball.concentration)):
        count = radial.shape[1]
        np.testing.assert_allclose(radial.T @ radial, np.eye(count), atol=1e-10)
        functions = radial_part(ball, l, r)
        inside = (functions * r**2 * dr) @ functions.T                 # orthogonal there, too
        np.testing.assert_allclose(inside, np.diag(share), atol=1e-4)
        assert (share > CONCENTRATED).all() and (share < 1.0001).all()


def test_every_degree_that_fits_is_there():
    """About as many functions as the volume of the ball times that of its frequencies holds."""
    ball = Ball(32, 0.4, 14)
    k = 2 * np.pi * np.array([0.5 / 32, 0.4])
    expected = 4 / 3 * np.pi * 14**3 * 4 / 3 * np.pi * (k[1]**3 - k[0]**3) / (2 * np.pi)**3
    assert ball.size == pytest.approx(expected, rel=0.15)
    assert ball.k[0] > k[0] and ball.k[-1] < k[1]
    assert 4 * np.pi * ball.weight.sum() == pytest.approx(4 / 3 * np.pi * (k[1]**3 - k[0]**3) / (2 * np.pi)**3)


def test_no_ball_is_larger_than_its_box():
    assert Ball(12, 0.25, 9).radius == Ball(12, 0.25).radius == 6
    with pytest.raises(ValueError, match="below the first Fourier voxel"):
        Ball(16, 0.03)


# ---- volumes -> vectors

def test_samples_are_the_fourier_transform(small):
    n = small.n
    volume = np.random.default_rng(1).standard_normal((n, n, n))
    points = voxels(n)
    seen = (points**2).sum(0) < (BEYOND * small.radius)**2
    k = small.frequencies()[..., ::3, ::2, ::4]
    waves = np.exp(-1j * np.tensordot(points[:, seen], k, (0, 0)))
    found = small.samples(volume[None])[0, ::3, ::2, ::4]
    assert off(found, np.tensordot(volume[seen], waves, 1)) < 1e-4


def test_a_vector_is_the_inner_products_with_every_ball_harmonic(small):
    """Of noise, that reaches to the edges and the corners of the box."""
    n = small.n
    volumes = np.random.default_rng(2).standard_normal((2, n, n, n))
    points = voxels(n)
    seen = (points**2).sum(0) < (BEYOND * small.radius)**2
    expected = volumes[:, seen] @ ball_harmonics(small, points[:, seen]).T
    assert off(vectors_of(small, *volumes), expected) < 1e-4


@pytest.mark.parametrize("seed", [1, 3])
def test_shifted_vectors_are_those_of_moved_voxels(small, seed):
    n = small.n
    volume = np.random.default_rng(seed).standard_normal((n, n, n))
    points = voxels(n)
    seen = (points**2).sum(0) < (BEYOND * small.radius)**2
    shifts = SHIFTS[np.linalg.norm(SHIFTS, axis=1) <= small.reach]
    found = small.shifted(small.samples(volume[None])[0], shifts)
    assert found.dtype == np.float32
    for one, shift in zip(found, shifts):
        moved = points[:, seen] + shift[:, None]
        assert off(one, ball_harmonics(small, moved) @ volume[seen]) < 1e-4


def test_weights_of_points_multiply_samples(small):
    samples = small.samples(np.random.default_rng(4).standard_normal((2, small.n, small.n, small.n)))
    weights = np.random.default_rng(5).random(samples.shape[1:]).astype(np.float32)
    np.testing.assert_array_equal(small.vectors(samples, weights), small.vectors(samples * weights))


# ---- phantoms

def test_inner_products_are_sums_over_voxels(ball):
    a, b = PHANTOM.volume(24), OTHER.volume(24)
    x, y = vectors_of(ball, a, b).astype(float)
    size = np.linalg.norm(a) * np.linalg.norm(b)
    assert x @ y == pytest.approx((a * b).sum(), abs=2e-4 * size)
    assert x @ x == pytest.approx((a**2).sum(), rel=2e-4)


@pytest.mark.parametrize("n, maxres, radius", [(24, 0.3, None), (23, 0.25, None), (24, 0.25, 10), (24, 0.4, 9)])
def test_a_turned_vector_is_that_of_the_turned_phantom(n, maxres, radius):
    ball = Ball(n, maxres, radius)
    own = vectors_of(ball, PHANTOM.volume(n))
    for rotation in some_rotations(6):
        # X(p) = F(A p) is F turned by A^-1
        assert off(ball.layout.turned(own, rotation.T[None]), vectors_of(ball, PHANTOM.volume(n, rotation))) < 5e-4


def test_a_shifted_vector_is_that_of_the_moved_phantom(ball):
    samples = ball.samples(PHANTOM.volume(24)[None])[0]
    for found, shift in zip(ball.shifted(samples, SHIFTS), SHIFTS):
        assert off(found, vectors_of(ball, PHANTOM.volume(24, shift=-shift))[0]) < 2e-3          # tails leave the box


def test_a_particle_shifted_and_turned_is_its_reference(ball):
    """X(p) = F(A (p + t)): X moved by t and turned by A is F."""
    shift = np.array([1, -2, 1.5])
    reference = vectors_of(ball, PHANTOM.volume(24))
    for rotation in some_rotations(7):
        rows = ball.shifted(ball.samples(PHANTOM.volume(24, rotation, shift)[None])[0], shift[None])
        assert off(ball.layout.turned(rows, rotation[None]), reference) < 2e-3


# ---- vectors -> volumes

def test_volumes_are_sums_of_ball_harmonics(small):
    vectors, points = random_vectors(small, 2), voxels(small.n)
    inside = (points**2).sum(0) < small.radius**2
    found = small.volumes(vectors)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, ~inside], 0)
    assert off(found[:, inside], vectors @ ball_harmonics(small, points[:, inside])) < 2e-5


def test_volumes_on_a_finer_grid(small):
    n, finer = small.n, 2 * small.n + 1
    vectors, points = random_vectors(small, 1), voxels(finer) * n / finer
    inside = (points**2).sum(0) < small.radius**2
    found = small.volumes(vectors, finer)
    np.testing.assert_array_equal(found[:, ~inside], 0)
    assert off(found[:, inside], vectors @ ball_harmonics(small, points[:, inside])) < 2e-5


def test_a_phantom_comes_back_from_its_vector(ball):
    phantom = PHANTOM.volume(24)
    assert off(ball.volumes(vectors_of(ball, phantom))[0], phantom) < 0.01


def test_transforms_at_points_of_any_grid(ball):
    found = ball.transforms(vectors_of(ball, PHANTOM.volume(24)))[0]
    assert off(found, PHANTOM.transform(ball.frequencies())) < 0.01
    other = ball.points.exact(ball.highest, 12)
    found = ball.transforms(vectors_of(ball, PHANTOM.volume(24, some_rotations(8)[0])), other)[0]
    assert off(found, PHANTOM.transform(ball.frequencies(other), some_rotations(8)[0])) < 0.01


def test_from_volumes_undoes_volumes(ball):
    """But for the ball's edge, which follows the voxels; random vectors have much there."""
    own = vectors_of(ball, PHANTOM.volume(24), OTHER.volume(24))
    assert off(ball.from_volumes(ball.volumes(own)), own) < 1e-3
    anything = random_vectors(ball, 2)
    assert off(ball.from_volumes(ball.volumes(anything)), anything) < 0.1


def test_another_ball_with_another_sampling(ball):
    own, fine = vectors_of(ball, PHANTOM.volume(24)), Ball(48, 0.15)
    drawn = Blobs3(1)
    drawn.centres, drawn.widths = 2 * drawn.centres, 2 * drawn.widths
    assert off(ball.on(fine, own), vectors_of(fine, drawn.volume(48))) < 2e-3
    assert off(fine.on(ball, ball.on(fine, own)), own) < 2e-3
    assert ball.on(ball, own) is own


# ---- spectra

def test_products_of_shells_are_integrals_over_them(ball):
    a, b = (PHANTOM.transform(ball.frequencies(), some_rotations(9)[0]), OTHER.transform(ball.frequencies()))
    expected = np.einsum("ark,r->k", (a * b.conj()).real, ball.points.weights) * ball.weight
    x, y = vectors_of(ball, PHANTOM.volume(24, some_rotations(9)[0])), vectors_of(ball, OTHER.volume(24))
    found = ball.shell_products(x, y)
    assert found.shape == (1, len(ball.k)) and found.dtype == np.float64
    np.testing.assert_allclose(found[0], expected, atol=5e-3 * np.abs(expected).max())


def test_products_of_shells_add_up_to_inner_products(small):
    x, y = random_vectors(small, 3, 1), random_vectors(small, 3, 2)
    found = small.shell_products(x, y).sum(1)
    np.testing.assert_allclose(found, (x.astype(float) * y).sum(1), rtol=1e-5, atol=1e-4)


def test_filters(small):
    vectors = random_vectors(small, 2)
    np.testing.assert_allclose(small.filtered(vectors, np.full(len(small.k), 3.0)), 3 * vectors, rtol=1e-5, atol=1e-5)
    response = np.linspace(1, 0.2, len(small.k))
    other = random_vectors(small, 2, 1)
    # the response weighs shells of inner products
    expected = small.shell_products(vectors, other) @ response
    found = (small.filtered(vectors, response).astype(float) * other).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_low_pass_of_a_phantom(ball):
    falling = np.exp(-ball.k**2)                          # adds 2 to the squared widths of blobs
    blurred = Blobs3(1)
    blurred.heights = blurred.heights * (blurred.widths**2 / (blurred.widths**2 + 2))**1.5
    blurred.widths = np.sqrt(blurred.widths**2 + 2)
    found = ball.filtered(vectors_of(ball, PHANTOM.volume(24)), falling)
    assert off(found, vectors_of(ball, blurred.volume(24))) < 0.01
