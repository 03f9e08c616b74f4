"""Harmonics of images against the images themselves: blobs drawn where they should land, sums over pixels."""
import numpy as np
import pytest

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.model import Model
from mlalign.tests.programs.engine.blobs import Blobs

DISKS = [(32, 0.5, 16), (32, 0.45, 26), (33, 0.5, 24), (33, 0.45, 130)]      # the last has n_psi > 2 q_max: no folding


@pytest.fixture(scope="module", params=DISKS, ids=str)
def disk(request):
    return Disk(*request.param)


@pytest.fixture(scope="module")
def small():
    return Disk(24, 0.3, 20, radius=10)


def drawn(disk, harmonics):
    return disk.images(disk.synthesize(harmonics))


def used(disk):
    """Mask (bins, width) of the entries that are not padding."""
    mask = np.zeros(disk.sign.shape, bool)
    mask.flat[disk.used] = True
    return mask


def slow_polar(disk, image):
    """The Fourier transform of an image at a disk's samples, one by one, from its pixels within the circle."""
    n = disk.n
    out = np.zeros(disk.kx.shape, complex)
    for row in range(n):
        for column in range(n):
            y, x = row - n // 2, column - n // 2
            if x**2 + y**2 < disk.radius**2:
                out += image[row, column] * np.exp(-1j * (disk.kx * x + disk.ky * y))
    return out


# ---- images in the basis

def test_polar_samples_are_the_fourier_transform(small):
    image = np.random.default_rng(1).standard_normal((24, 24))
    expected = slow_polar(small, image)
    np.testing.assert_allclose(small.polar(image[None])[0], expected, atol=1e-4 * np.abs(expected).max())


def test_harmonics_are_the_angular_fourier_series(small):
    image = np.random.default_rng(2).standard_normal((24, 24))
    half = slow_polar(small, image)
    ring = np.concatenate([half, half.conj()], 1)                # the other half of the circle: a real image
    angle = np.arange(small.n_phi) * 2 * np.pi / small.n_phi
    expected = [(ring[r] * np.exp(-1j * q * angle)).mean() for q, r in zip(small.q, small.ring)]
    found = small.harmonics(image[None]).reshape(2, -1)[:, small.used]
    np.testing.assert_allclose(found[0] + 1j * found[1], expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("shift", [(0, 0), (2, -3)])
def test_references_in_the_circle_are_resampled_as_they_are(shift):
    """By models that go to another disk; to 0.2 %."""
    one, other, phantom = Disk(32, 0.45, 36), Disk(32, 0.3, 52), Blobs(5)
    samples = phantom.transform(one.kx, one.ky, shift=shift)[None].astype(np.complex64)
    ones = np.ones(1)
    found = Model(one, samples, ones, ones, 1.0, 1.0, ones).on(other).polar[0]
    expected = phantom.transform(other.kx, other.ky, shift=shift)
    np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())



def test_the_layout_folds_every_harmonic_onto_its_bin(disk):
    for place, q in zip(disk.used, disk.q):
        m, sign = place // disk.width, disk.sign.flat[place]
        assert (q - sign * m) % disk.n_psi == 0
    assert len(set(disk.used)) == len(disk.used)
    assert not disk.metric[~used(disk)].any()
    inside = np.arange(disk.width) < disk.widths[:, None]
    assert inside[used(disk)].all() and disk.widths.max() == disk.width
    for bins, width in disk.runs:
        assert (disk.widths[bins] == width).all()
    np.testing.assert_array_equal(np.concatenate([np.arange(disk.bins)[bins] for bins, _ in disk.runs]),
                                  np.arange(disk.bins))
    # J_q(k R) dies away beyond q = k R: no harmonic up to there may be missing
    there = set(zip(disk.q, disk.ring))
    assert len(there) == len(disk.q)
    assert all((q, ring) in there for ring, k in enumerate(disk.k) for q in range(int(k * disk.radius) + 1))


def test_an_image_comes_back(disk):
    image = Blobs(1).image(disk.n)
    np.testing.assert_allclose(drawn(disk, disk.harmonics(image[None]))[0], image, atol=1e-4 * image.max())


def test_nothing_outside_the_circle_counts():
    disk = Disk(32, 0.5, 16, radius=11)
    y, x = np.mgrid[:32, :32] - 16
    inside = np.hypot(x, y) < 11
    np.testing.assert_array_equal(disk.circle, inside)
    image = np.random.default_rng(3).standard_normal((32, 32))
    np.testing.assert_array_equal(disk.harmonics(image[None]), disk.harmonics((image * inside)[None]))
    back = drawn(disk, disk.harmonics(image[None]))[0]
    assert not back[~inside].any() and back[inside].all()
    assert Disk(32, 0.5, 16, radius=99).radius == 16


def test_an_odd_number_of_angles_is_refused():
    with pytest.raises(ValueError, match="even"):
        Disk(32, 0.5, 15)


# ---- inner products

def test_inner_products_are_those_of_the_images(disk):
    a, b = Blobs(1).image(disk.n), Blobs(2).image(disk.n)
    x, y = disk.harmonics(np.stack([a, b]))
    assert np.sum(x * y * disk.metric) == pytest.approx((a * b).sum(), rel=1e-4)


def test_power_is_the_sum_of_squares(disk):
    images = np.stack([Blobs(seed).image(disk.n) for seed in (1, 2, 3)])
    np.testing.assert_allclose(disk.power(disk.harmonics(images)), (images**2).sum((1, 2)), rtol=1e-4)


@pytest.mark.parametrize("n, maxres, radius", [(32, 0.5, None), (33, 0.3, 12), (32, 0.15, None)])
def test_dimension_is_the_mean_power_of_white_noise(n, maxres, radius):
    # Pixels are independent and of variance one, so the mean is the sum over images of one pixel each.
    disk = Disk(n, maxres, 16, radius)
    pixels = np.eye(n * n).reshape(-1, n, n)
    assert disk.power(disk.harmonics(pixels)).sum() == pytest.approx(disk.dimension, rel=1e-5)


# ---- motions

@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("psi", [0.0, 0.7, 2.9, -1.1])
def test_turned(disk, psi, mirrored):
    phantom = Blobs(1)
    x = disk.turned(disk.harmonics(phantom.image(disk.n)[None]), [psi], [mirrored])
    # A mirror after a rotation is the opposite rotation after the mirror.
    expected = phantom.image(disk.n, -psi if mirrored else psi, mirrored)
    np.testing.assert_allclose(drawn(disk, x)[0], expected, atol=1e-3 * expected.max())
    np.testing.assert_allclose(x[0], disk.harmonics(expected[None])[0], atol=1e-3 * np.abs(x).max())


def test_shifted(disk):
    phantom, shifts = Blobs(1), np.array([[0, 0], [3, 0], [0, -2], [-1.3, 2.2]])
    x = disk.shifted(disk.polar(phantom.image(disk.n)[None])[0], disk.phase(shifts))
    for found, shift in zip(drawn(disk, x), shifts):
        expected = phantom.image(disk.n, shift=shift)
        np.testing.assert_allclose(found, expected, atol=1e-3 * expected.max())


# ---- adjoints: <A u, v> = <u, A' v>, in the quadrature's metric

def polar_product(disk, p, q):
    return 2 / disk.n_phi * float((disk.weight[:, None] * (p.astype(complex).conj() * q).real).sum())


def product(disk, x, y):
    return float((x.astype(float) * y * disk.metric).sum())


def random_polar(disk, rng):
    real, imaginary = rng.standard_normal((2, *disk.kx.shape))
    return (real + 1j * imaginary).astype(np.complex64)


def random_harmonics(disk, rng, count=1):
    return (rng.standard_normal((count, *disk.shape)) * used(disk)).astype(np.float32)


def test_images_is_the_adjoint_of_polar(disk):
    rng = np.random.default_rng(5)
    image, polar = rng.standard_normal((disk.n, disk.n)), random_polar(disk, rng)
    left = polar_product(disk, disk.polar(image[None])[0], polar)
    right = float((image * disk.images(polar[None])[0]).sum())
    scale = np.linalg.norm(image) * np.sqrt(polar_product(disk, polar, polar))
    assert abs(left - right) < 1e-5 * scale


def test_synthesize_is_the_adjoint_of_expand(disk):
    rng = np.random.default_rng(6)
    polar, x = random_polar(disk, rng), random_harmonics(disk, rng)
    left, right = product(disk, disk.expand(polar[None]), x), polar_product(disk, polar, disk.synthesize(x)[0])
    assert abs(left - right) < 1e-5 * np.sqrt(product(disk, x, x) * polar_product(disk, polar, polar))


def test_unshifted_is_the_adjoint_of_shifted(disk):
    rng = np.random.default_rng(7)
    shifts = np.array([[0, 0], [2, -1], [-3, 1]])
    polar, x, phase = random_polar(disk, rng), random_harmonics(disk, rng, 3), disk.phase(shifts)
    left = product(disk, disk.shifted(polar, phase), x)
    right = polar_product(disk, polar, disk.unshifted(x, phase))
    assert abs(left - right) < 1e-5 * np.sqrt(product(disk, x, x) * polar_product(disk, polar, polar))
