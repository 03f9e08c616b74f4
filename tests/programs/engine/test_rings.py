"""Harmonics on rings against blobs whose rotations, mirror images, shifts and inner products are known."""
import numpy as np
import pytest

from mlalign.programs.engine import correlation_kernels as kernels
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import PHANTOMS

N = 32


@pytest.fixture(scope="module", params=[(32, 16), (34, 16.5)])
def rings(request):
    n, radius = request.param
    return Rings(n, radius, 4)


def complex_samples(rings, images):
    samples = rings.sample(np.asarray(images, np.float32))
    return (samples[0] + 1j * samples[1]).T


def harmonics(rings, *images):
    return rings.expand(rings.sample(np.stack(images).astype(np.float32)))


def close(got, expected, tolerance=2e-3):
    assert np.abs(got - expected).max() < tolerance * np.abs(expected).max()


def test_samples_are_the_transform(rings):
    got = complex_samples(rings, [phantom.image(rings.n) for phantom in PHANTOMS])
    close(got, np.array([phantom.transform(rings.kx, rings.ky) for phantom in PHANTOMS]))


def test_inner_products_are_those_of_pixels(rings):
    first, second = (phantom.image(rings.n) for phantom in PHANTOMS)
    x = harmonics(rings, first, second)
    got = (x * rings.metric) @ x.T
    close(got, np.array([[(a * b).sum() for b in (first, second)] for a in (first, second)]))


def test_the_rings_share_an_images_power(rings):
    image = PHANTOMS[0].image(rings.n)
    power = rings.power_of_rings(complex_samples(rings, [image]))[0]
    assert power.shape == rings.k.shape
    assert power.sum() == pytest.approx((image**2).sum(), rel=1e-3)


def test_shifts(rings):
    phantom, shifts = PHANTOMS[0], [(0, 0), (2, -1), (-1.5, 0.25)]
    samples = complex_samples(rings, [phantom.image(rings.n)])[0]
    expected = harmonics(rings, *(phantom.image(rings.n, shift=shift) for shift in shifts))
    close(rings.shifted(samples, rings.phase(shifts)), expected)
    some = rings.within(0.2)
    assert 1 < some < len(rings.k) and rings.k[some - 1] <= 0.4 * np.pi < rings.k[some]
    close(rings.shifted(samples, rings.phase(shifts), some), expected[:, : rings.start[some]])


@pytest.mark.parametrize("mirrored", [0, 1])
def test_an_image_turned_back(rings, mirrored):
    phantom, psi = PHANTOMS[1], 0.7
    x, out = harmonics(rings, phantom.image(rings.n, psi, bool(mirrored))), np.empty((1, rings.size), np.float32)
    kernels.turned_back(x, (rings.start[:-1], rings.each), np.array([psi]), np.array([mirrored]), out)
    close(out, harmonics(rings, phantom.image(rings.n)))


def test_entries_know_their_orders(rings):
    """A turn by psi multiplies order q by exp(-i q psi): by nothing where q psi is a whole turn."""
    order = rings.order_of_entries
    x = harmonics(rings, PHANTOMS[0].image(rings.n), PHANTOMS[0].image(rings.n, 2 * np.pi / 3))
    third = order % 3 == 0
    close(x[1, third], x[0, third])
    assert np.abs(x[1, ~third] - x[0, ~third]).max() > 0.1 * np.abs(x).max()
    assert sorted(set(order)) == sorted(rings.orders)


def test_samples_and_images_back_from_harmonics(rings):
    image = PHANTOMS[0].image(rings.n)
    samples = rings.sample(image[None].astype(np.float32))
    back = rings.synthesize(rings.expand(samples))
    close(back[0], samples[..., 0], 5e-3)
    close(rings.images(complex_samples(rings, [image]))[0], image)


def test_images_is_the_adjoint_of_sample(rings):
    rng = np.random.default_rng(2)
    image = np.where(rings.circle, rng.normal(size=(rings.n, rings.n)), 0)
    samples = rng.normal(size=len(rings.kx)) + 1j * rng.normal(size=len(rings.kx))
    left = (complex_samples(rings, [image])[0].conj() * samples * rings.share).sum().real
    assert left == pytest.approx((image * rings.images(samples[None])[0]).sum(), rel=1e-3)
