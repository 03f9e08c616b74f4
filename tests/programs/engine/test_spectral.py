"""Models with noise spectra and their M-step: least squares sample by sample, mean residuals, planted halves."""
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import spectral
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles, Pass
from mlalign.programs.engine.model import Fixed
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.spectral import (
    Regularisation,
    SpectralModel,
    SpectralStatistics,
    power_at,
    power_spectra,
    signal_power,
    update,
)
from mlalign.programs.engine.spectral_pass import SpectralBank, SpectralEStep, scale_to_mean
from mlalign.programs.engine.visibility import EvenHarmonics
from mlalign.tests.programs.engine.blobs import Blobs, Stack
from mlalign.tests.programs.engine.brute import WITH_MIRROR
from mlalign.tests.programs.engine.spectral_scenes import SpectralPosterior, scene_of

NO_PRIOR, PRIOR = Regularisation(None), Regularisation(2.0)
SCALE, CLASS_SCALE = np.array([0.8, 1.1, 1.3, 1.0, 0.9, 0.7]), np.array([1.2, 0.9])


@pytest.fixture(scope="module", params=["gauss", "student", "norm"])
def step(request, workers):
    """An E-step of the scene, its brute force, and the M-step's arguments."""
    scene, df, norm = scene_of(16), 6.0 if request.param == "student" else None, request.param == "norm"
    model, particles = scene.model(1.0), Particles.unknown(6)
    if norm:
        particles.scale[:], model = SCALE, replace(model, scale=CLASS_SCALE)
    bank = SpectralBank(Stack(scene.images), scene.grid.disk, workers, 2**30, scene.optics)
    statistics = SpectralEStep(model, bank, particles, Pass(True, df, norm), workers, scene.grid).run(np.arange(6))
    if norm:
        scale_to_mean(statistics, particles, np.arange(6))
    truth = SpectralPosterior(scene, model, WITH_MIRROR, df, SCALE[:, None] / CLASS_SCALE if norm else None)
    mass = truth.gamma.sum((2, 3, 4))
    used = SCALE @ mass / mass.sum(0) / CLASS_SCALE if norm else np.ones(2)
    return SimpleNamespace(scene=scene, model=model, statistics=statistics, even=bank.even, df=df, truth=truth,
                           mean_scale=used)


def least_squares(truth, k, ring, at, prior):
    """The sample of reference k that the images, in all poses, are nearest to; prior: its own variance, or None."""
    scene, disk = truth.scene, truth.disk
    t = np.exp(1j * (scene.grid.shifts @ [disk.kx[ring, at], disk.ky[ring, at]]))
    left, right = [], []
    for (m, p), (x, transfer) in scene.turned.items():
        for b in range(len(x)):
            for s, phase in enumerate(t):
                weight = np.sqrt(truth.gamma[b, k, s, m, p] * truth.robust[b, k, s, m, p] / truth.variance[b, ring])
                left.append(weight * truth.r[b, k, 0, 0, 0] * transfer[b, ring, at])
                right.append(weight * x[b, ring, at] * phase)
    if prior is not None:
        left.append(max(prior, 1e-12) ** -0.5)
        right.append(0)
    return np.linalg.lstsq(np.array(left)[:, None], np.array(right), rcond=None)[0][0]


def some_samples(disk):
    rng = np.random.default_rng(1)
    return zip(rng.integers(0, 2, 30), rng.integers(0, len(disk.k), 30), rng.integers(0, len(disk.phi), 30))


def test_references_are_nearest_to_the_images(step):
    """To 1e-3, which harmonics that no image of the circle has are good for."""
    new = update(step.model, step.statistics, step.even, True, NO_PRIOR, Fixed(), step.df)
    for k, ring, at in some_samples(step.model.disk):
        expected = step.mean_scale[k] * least_squares(step.truth, k, ring, at, None)
        assert abs(new.polar[k, ring, at] - expected) < 1e-3 * np.abs(new.polar[k]).max()


def test_references_with_a_prior_are_filtered_and_kept_in_the_circle(step):
    s, disk = step.statistics, step.model.disk
    new = update(step.model, s, step.even, True, PRIOR, Fixed(), step.df)
    power = PRIOR.snr * signal_power(s, disk, step.even)
    images, visibility = (each.sum(0) for each in step.truth.sums())
    filtered = images * power[:, :, None] / (visibility * power[:, :, None] + 1)
    for k, ring, at in some_samples(disk):
        expected = least_squares(step.truth, k, ring, at, power[k, ring])
        assert abs(filtered[k, ring, at] - expected) < 1e-3 * np.abs(filtered[k]).max()
    expected = disk.polar(disk.images(filtered)) * step.mean_scale[:, None, None]
    np.testing.assert_allclose(new.polar, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("trick", [True, False])
def test_noise_is_the_mean_distance_from_the_references_of_before(step, trick):
    s, disk, truth = step.statistics, step.model.disk, step.truth
    new = update(step.model, s, step.even, True, NO_PRIOR, Fixed(), step.df, trick)
    for g in (0, 1):
        mine = truth.scene.group == g
        weight = (truth.gamma * truth.robust)[mine]
        distance = np.einsum("bksmp,bksmpr->r", weight, truth.distance[mine])
        images = weight.sum() if trick else np.count_nonzero(mine)
        np.testing.assert_allclose(new.spectra[g], distance / (images * disk.circle.sum() * disk.weight), rtol=1e-4)
    mean = (new.spectra * disk.weight).sum(1).mean() / disk.weight.sum()
    assert new.sigma == pytest.approx(np.sqrt(mean))


def test_what_else_is_estimated(step):
    s, truth = step.statistics, step.truth
    new = update(step.model, s, step.even, True, PRIOR, Fixed(), step.df, step=2)
    mass = truth.gamma.sum((0, 2, 3, 4))
    np.testing.assert_allclose(new.fractions, mass / 6, rtol=1e-4)
    np.testing.assert_allclose(new.mirror, truth.gamma[:, :, :, 1].sum((0, 2, 3)) / mass, rtol=1e-4)
    np.testing.assert_allclose(new.scale, s.class_scale / mass, rtol=1e-4)
    assert new.sigma_offset != step.model.sigma_offset
    assert (new.power, new.lowest) == (step.model.power, step.model.lowest)


def test_fixed_parameters_stay(step):
    model, names = step.model, ("spectra", "sigma", "sigma_offset", "fractions", "mirror", "polar")
    free = update(model, step.statistics, step.even, True, PRIOR, Fixed(), step=2)
    for name, kept in (("noise", names[:2]), ("offset", names[2:3]), ("fractions", names[3:5])):
        new = update(model, step.statistics, step.even, True, PRIOR, Fixed(**{name: True}), step=2)
        for each in names:
            np.testing.assert_array_equal(getattr(new, each), getattr(model if each in kept else free, each))
            assert not np.array_equal(getattr(model, each), getattr(free, each))


@pytest.mark.parametrize("regularisation", [NO_PRIOR, PRIOR], ids=["no prior", "prior"])
def test_a_class_without_images_keeps_its_reference(workers, regularisation):
    scene = scene_of(16)
    model = replace(scene.model(1.0), fractions=np.array([1.0, 0.0]))
    bank = SpectralBank(Stack(scene.images), scene.grid.disk, workers, 2**30, scene.optics)
    s = SpectralEStep(model, bank, Particles.unknown(6), Pass(True), workers, scene.grid).run(np.arange(6))
    new = update(model, s, bank.even, True, regularisation, Fixed())
    np.testing.assert_array_equal(new.polar[1], model.polar[1])
    assert new.fractions[1] == 0 and np.abs(new.polar[0] - model.polar[0]).max() > 0.1
    assert all(np.isfinite(each).all() for each in (new.polar, new.spectra, new.mirror, new.scale))


def test_a_group_without_images_keeps_its_noise(workers):
    scene = scene_of(16)
    model = scene.model(1.0)
    bank = SpectralBank(Stack(scene.images), scene.grid.disk, workers, 2**30, scene.optics)
    step = SpectralEStep(model, bank, Particles.unknown(6), Pass(True), workers, scene.grid)
    new = update(model, step.run(np.flatnonzero(scene.group == 1)), bank.even, True, PRIOR, Fixed())
    np.testing.assert_array_equal(new.spectra[0], model.spectra[0])
    assert np.abs(new.spectra[1] / model.spectra[1] - 1).min() > 0.01


def test_noise_of_perfect_images_does_not_vanish(step):
    """A thousandth of their power stays."""
    s, disk = step.statistics, step.model.disk
    perfect = replace(s, cross=s.ring_power / step.model.spectra, seen=s.ring_power / step.model.spectra)
    new = update(step.model, perfect, step.even, True, PRIOR, Fixed())
    power = s.ring_power / (s.group_count[:, None] * disk.circle.sum() * disk.weight)
    np.testing.assert_allclose(new.spectra, 1e-3 * power, rtol=1e-6)


# ---- signal power

DISK = Disk(40, 0.4, 72)
EVEN = EvenHarmonics(DISK, 3)
PIXELS = DISK.circle.sum()


def halves(signals, visibilities, noise, seed=1):
    """Statistics of classes with these references (K, n, n): halves whose V (2, K, rings, phi) are given, noise added.

    noise: its standard deviation in units of what V says.
    """
    rng, (_, count) = np.random.default_rng(seed), visibilities.shape[:2]
    grains = rng.standard_normal((2, count, DISK.n, DISK.n))
    grid = Grid(DISK, shift_grid(0))
    s = SpectralStatistics.zero(grid, count, 1, len(EVEN))
    for half in (0, 1):
        s.half_sums[half] = visibilities[half] * DISK.polar(signals)
        s.half_sums[half] += noise * np.sqrt(visibilities[half]) * DISK.polar(grains[half])
        s.visibility[half] = EVEN.expand(visibilities[half])
        s.half_weights[half] = visibilities[half].mean((1, 2))
    s.class_mass[:] = s.used_scale[:] = visibilities.mean((0, 2, 3))
    return s


def visible(levels):
    """V (2, K, rings, phi): the halves differ, the rings differ, some astigmatism."""
    shape = (1 + 0.5 * np.cos(4 * DISK.k))[:, None] + 0.1 * np.cos(2 * DISK.phi)
    return np.array([1.0, 0.7])[:, None, None, None] * np.asarray(levels, float)[:, None, None] * shape


def images_of(power, count, seed=2):
    """Random images (count, n, n) whose spectrum is ``power`` of the frequency in 1/px, of variance per pixel."""
    rng, frequency = np.random.default_rng(seed), np.hypot(np.fft.fftfreq(DISK.n)[:, None], np.fft.fftfreq(DISK.n))
    white = rng.standard_normal((count, DISK.n, DISK.n))
    return np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power(frequency))).real


def fall(frequency):
    return 0.2 / (1 + (frequency / 0.2) ** 2)


def by_band(values):
    """Averages (..., 5) over bands of frequencies, weighted by the number of coefficients."""
    band = np.minimum(DISK.k / DISK.k.max() * 5, 4).astype(int)
    weights = np.eye(5)[band] * DISK.weight[:, None]
    return values @ weights / weights.sum(0)


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_power_of_known_signals_is_found(noise):
    """Within 5 % in every band of frequencies, mean over 200 classes."""
    signals = images_of(fall, 200)
    found = signal_power(halves(signals, visible(np.full(200, 20.0)), noise), DISK, EVEN)
    expected = (np.abs(DISK.polar(signals)) ** 2).mean((0, -1)) / PIXELS
    np.testing.assert_allclose(by_band(found.mean(0)), by_band(expected), rtol=0.05)
    np.testing.assert_allclose(by_band(expected), by_band(fall(DISK.k / (2 * np.pi))), rtol=0.1)


def test_strong_classes_have_their_own_power():
    """That of the rings around, as far as they can be seen."""
    signals, v = images_of(fall, 2) * np.array([1.0, 3.0])[:, None, None], visible([1e5, 1e5])
    found = signal_power(halves(signals, v, 1.0), DISK, EVEN)
    power, weight = np.abs(DISK.polar(signals)) ** 2 / PIXELS, v[0] * v[1] * DISK.k[:, None]
    for ring, k in enumerate(DISK.k):
        near = np.abs(DISK.k - k) <= 2 * np.pi / DISK.n
        expected = (weight * power)[:, near].sum((1, 2)) / weight[:, near].sum((1, 2))
        np.testing.assert_allclose(found[:, ring], expected, rtol=0.01)


def test_noise_alone_has_hardly_any_power():
    """Less than a fifth of the noise's own in the averages, mean over 60 classes."""
    found = signal_power(halves(np.zeros((60, DISK.n, DISK.n)), visible(np.full(60, 20.0)), 1.0), DISK, EVEN)
    noise = 1 / visible([20.0]).sum(0)[0].mean(-1)
    assert (found >= 0).all()
    assert (by_band(found.mean(0)) < 0.2 * by_band(noise)).all()


def test_power_does_not_depend_on_how_strong_the_noise_is():
    """Classes of noise alone do not differ from what the halves have in common."""
    signals = images_of(fall, 60)
    weak, strong = (signal_power(halves(signals, visible(np.full(60, 20.0)), noise), DISK, EVEN).mean(0)
                    for noise in (0.5, 2.0))
    np.testing.assert_allclose(by_band(strong), by_band(weak), rtol=0.1)


@pytest.mark.parametrize("level", [0.01, 0.0])
def test_small_classes_take_the_power_of_all(level):
    """A class whose average is noise is regularised like the others, not less, and not more."""
    levels = np.array([300.0, 300.0, level])
    signals = images_of(fall, 3) * np.array([1, 2, 1])[:, None, None]
    s = halves(signals, visible(levels), 1.0)
    found = signal_power(s, DISK, EVEN)
    pooled = (np.abs(DISK.polar(signals[:2])) ** 2).mean((0, -1)) / PIXELS
    np.testing.assert_allclose(by_band(found[2]), by_band(pooled), rtol=0.15)


def test_classes_in_one_half_only_say_nothing_about_power():
    signals = images_of(fall, 3)
    s = halves(signals, visible(np.full(3, 300.0)), 1.0)
    for each in (s.half_sums, s.visibility, s.half_weights):
        each[1, 2] = 0
    found = signal_power(s, DISK, EVEN)
    pooled = (np.abs(DISK.polar(signals[:2])) ** 2).mean((0, -1)) / PIXELS
    np.testing.assert_allclose(by_band(found[2]), by_band(pooled), rtol=0.1)


def test_references_are_filtered_by_their_signal_to_noise_ratio():
    """Weak classes are damped where noise is stronger: the Wiener form gives less error than no filter, or twice it."""
    signals = images_of(fall, 30)
    s = halves(signals, visible(np.full(30, 4.0)), 1.0)
    model = SpectralModel(DISK, DISK.polar(np.zeros_like(signals)), np.full(30, 1 / 30), np.zeros(30), 1.0, 1.0,
                          np.ones(30), np.ones((1, len(DISK.k))), np.ones((1, DISK.n + 1)))
    errors = []
    for snr in (1.0, None, 0.1, 10.0):
        new = update(model, s, EVEN, False, Regularisation(snr), Fixed(noise=True, offset=True))
        errors.append((np.abs(new.polar - DISK.polar(signals)) ** 2).mean((0, -1)) @ DISK.weight)
    assert errors[0] < 0.9 * min(errors[1:])


# ---- models

def smooth_model(disk, lowest=0.0, seed=0):
    """Two groups of noise with smooth spectra, the same in the images' power."""
    def density(frequency):
        return np.stack([2 / (1 + (frequency / 0.1) ** 2), 1 + frequency])
    power = density(np.arange(disk.n + 1) / (2 * disk.n))
    polar = disk.polar(Blobs(seed).image(disk.n)[None])
    return SpectralModel(disk, polar, np.ones(1), np.zeros(1), 1.0, 1.0, np.ones(1), density(disk.k / (2 * np.pi)),
                         power, lowest)


def test_spectra_on_another_disk():
    """Within the old disk as they were; beyond, all of the images' power is noise."""
    model, wide, narrow = smooth_model(Disk(32, 0.25, 36)), Disk(32, 0.45, 36), Disk(32, 0.2, 36)
    model = replace(model, power=3 * model.power)
    found, inside = model.on(wide), wide.k < 2 * np.pi * 0.25
    expected = smooth_model(wide).spectra * np.where(inside, 1, 3)
    np.testing.assert_allclose(found.spectra, expected, rtol=0.02)
    np.testing.assert_array_equal(found.spectra, model.variances(wide))
    assert not found.polar[:, ~inside].any() and found.polar[:, inside].all()
    np.testing.assert_allclose(model.on(narrow).spectra, smooth_model(narrow).spectra, rtol=0.02)
    assert model.on(model.disk) is model and found.disk is wide
    np.testing.assert_allclose(found.images(), model.images(), atol=0.01 * model.images().max())


def test_nothing_is_looked_at_below_the_lowest_frequency():
    disk = Disk(32, 0.4, 36)
    model = smooth_model(disk, lowest=0.1)
    low = disk.k / (2 * np.pi) < 0.1
    assert 0 < low.sum() < len(disk.k)
    np.testing.assert_allclose(model.inverse(disk), np.where(low, 0, 1 / model.spectra))
    # an annulus of Fourier space
    assert model.noise(disk).dimension == pytest.approx(np.pi * (0.4**2 - 0.1**2) * disk.circle.sum(), rel=0.05)
    assert smooth_model(disk).noise(disk).dimension == pytest.approx(disk.dimension)
    assert model.noise(disk, 6.0).df == 6.0 and model.noise(disk).sigma == 1


@pytest.mark.parametrize("lowest", [0.0, 0.05])
@pytest.mark.parametrize("maxres", [0.15, 0.3, 0.5])
def test_likelihoods_of_noise_do_not_depend_on_the_resolution(maxres, lowest):
    """Expected log-density of noise with the model's spectra, of all coefficients up to Nyquist, by a plain sum."""
    disk = Disk(48, maxres, 36)
    model = smooth_model(disk, lowest)
    frequency = (np.arange(100000) + 0.5) / 200000
    shells = np.arange(disk.n + 1) / (2 * disk.n)
    expected = [-((1 + np.log(2 * np.pi * np.interp(frequency, shells, power))) * frequency).sum() * np.pi
                * disk.circle.sum() / 200000 for power in model.power]
    found = -model.noise(disk).dimension / 2 * (1 + np.log(2 * np.pi)) - model.log_determinant(disk)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


# ---- power spectra

def periodogram(images, n, radius):
    """Mean power of the images' pixels in a circle by shells of half a Fourier pixel, coefficient by coefficient."""
    y, x = np.mgrid[:n, :n] - n // 2
    circle = x**2 + y**2 < radius**2
    padded = np.zeros((len(images), 2 * n, 2 * n))
    padded[:, :n, :n] = images * circle
    power = (np.abs(np.fft.fft2(padded)) ** 2).mean(0) / circle.sum()
    k = np.fft.fftfreq(2 * n) * 2 * n
    shells = [[] for _ in range(n + 1)]
    for i in range(2 * n):
        for j in range(2 * n):
            shell = round(np.hypot(k[i], k[j]))
            if shell <= n:
                shells[shell].append(power[i, j])
    return [np.mean(shell) for shell in shells]


@pytest.mark.parametrize("n, radius, within", [(16, None, 8), (17, 5, 5), (16, 30, 8)])
def test_power_spectra_are_periodograms(n, radius, within):
    rng = np.random.default_rng(1)
    images, group = rng.standard_normal((30, n, n)).cumsum(1), rng.integers(0, 2, 30)
    found = power_spectra(Stack(images), group, 2, radius)
    assert found.shape == (2, n + 1)
    for g in (0, 1):
        np.testing.assert_allclose(found[g], periodogram(images[group == g], n, within), rtol=1e-4)


def test_power_spectra_of_large_groups_are_those_of_a_sample(monkeypatch):
    monkeypatch.setattr(spectral, "SPECTRUM_IMAGES", 5)
    monkeypatch.setattr(spectral, "READ_TOGETHER", 2)
    images = np.random.default_rng(2).standard_normal((24, 16, 16)) * np.arange(1, 25)[:, None, None]
    group = np.array([0, 1] * 12)
    found = power_spectra(Stack(images), group, 2)
    for g in (0, 1):
        np.testing.assert_allclose(found[g], periodogram(images[group == g][::3], 16, 8), rtol=1e-4)


def test_power_spectra_of_white_noise_are_its_variance():
    images = 3 * np.random.default_rng(3).standard_normal((2000, 24, 24))
    found = power_spectra(Stack(images), np.zeros(2000, int), 1)[0]
    np.testing.assert_allclose(found[2:], 9, rtol=0.05)
    assert power_spectra(Stack(0 * images[:5]), np.zeros(5, int), 1).min() > 0


def test_power_at():
    power = np.array([[1.0, 3.0, 5.0], [2.0, 2.0, 8.0]])           # shells at 0, 1/4 and 1/2 per px of a box of 2
    found = power_at(power, 2 * np.pi * np.array([0, 0.125, 0.25, 0.5]), 2)
    np.testing.assert_allclose(found, [[1, 2, 3, 5], [2, 2, 2, 8]])
