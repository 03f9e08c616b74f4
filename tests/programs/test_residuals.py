"""Residuals of images in units of the noise, against sums over pixels; their tests and tables."""
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.spectral import SpectralModel
from mlalign.programs.engine.spectral_pass import Optics
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.imaging import ColouredNoise, Microscope, random_ctfs
from mlalign.programs.residuals import Residuals, kolmogorov_smirnov, normality, write_histograms
from mlalign.tests.programs.engine.blobs import PHANTOMS, Stack, planted

PIXEL = 4.0


def residuals(images, truth, spectra, ctf=None, flipped=True, group=None, radius=None, maxres=0.4, lowest=0.0,
              mean_scale=(1.0, 1.0)):
    """:class:`Residuals` of images (B, n, n) at their true poses.  spectra: functions of the frequency in 1/px."""
    count, n = images.shape[:2]
    disk = Disk(n, maxres, 16, radius)
    noise = np.stack([spectrum(disk.k / (2 * np.pi)) for spectrum in spectra])
    model = SpectralModel(disk, disk.polar(np.stack([p.image(n) for p in PHANTOMS])), np.ones(2) / 2, np.zeros(2),
                          1.0, 1.0, np.array(mean_scale), spectra=noise, lowest=lowest)
    particles = Particles.unknown(count)
    for name in ("ref", "psi", "shift_x", "shift_y", "flip", "scale"):
        setattr(particles, name, getattr(truth, name))
    group = np.zeros(count, int) if group is None else group
    return Residuals(Stack(images), Optics(ctf, PIXEL, flipped, group, len(spectra)), model, particles)


def white(frequency):
    return np.ones_like(frequency)


def steep(frequency):
    return 4 / (1 + 10 * frequency)


@pytest.fixture(scope="module")
def truth():
    return planted(PHANTOMS, 300, snr=0.3, seed=5, contrast=0.3)


@pytest.mark.parametrize("flipped", [True, False])
def test_residuals_are_those_of_sums_over_pixels(truth, flipped):
    count, n = 6, 32
    ctf = random_ctfs(np.random.default_rng(1), count, (9000, 20000), 900)
    group = np.arange(count) % 2
    images = truth.images[:count].astype(np.float32)
    found = residuals(images, truth, [white, steep], ctf, flipped, group, mean_scale=(0.8, 1.1))
    values = found(np.arange(count))
    y, x = np.mgrid[:n, :n] - n // 2
    circle = x**2 + y**2 < (n / 2) ** 2
    averages = found.model.images()
    m = averages.shape[-1]
    wide_y, wide_x = np.mgrid[:m, :m] - m // 2
    rng = np.random.default_rng(2)
    for i in range(count):
        pose = pose_matrix(truth.psi[i], truth.shift_x[i], truth.shift_y[i], truth.flip[i])
        k = truth.ref[i]
        for j in rng.choice(len(found.radius), 10, replace=False):
            wave = found.wave[:, j]
            seen = (images[i] * circle * np.exp(-1j * (wave[0] * x + wave[1] * y))).sum()
            # every pixel of the average, put where it came from in the particle
            to = np.linalg.inv(pose) @ np.stack([wide_x.ravel(), wide_y.ravel(), np.ones(m * m)])
            expected = (averages[k].ravel() * np.exp(-1j * (wave @ to[:2]))).sum()
            transfer = ctf[[i]](np.hypot(*wave) / (2 * np.pi * PIXEL), np.arctan2(wave[1], wave[0]))[0]
            expected *= (np.abs(transfer) if flipped else transfer) * truth.scale[i] / (0.8, 1.1)[k]
            variance = [white, steep][group[i]](np.hypot(*wave) / (2 * np.pi)) * circle.sum()
            residual = (seen - expected) / np.sqrt(variance / 2)
            assert values[i, 0, j] == pytest.approx(residual.real, abs=5e-3)
            assert values[i, 1, j] == pytest.approx(residual.imag, abs=5e-3)


def test_an_image_without_noise_leaves_next_to_nothing(truth):
    """A particle drawn in its pose and imaged by the simulator's microscope; another pose leaves a lot."""
    rows = np.arange(20)
    ctf = random_ctfs(np.random.default_rng(1), len(rows), (3000, 6000), 900)
    microscope = Microscope(ctf, 32, PIXEL)
    images = np.stack([truth.scale[i] * microscope(truth.clean[i], i) for i in rows])
    signal = (residuals(images, SimpleNamespace(**{**vars(truth), "scale": 0 * truth.scale}), [white], ctf, False)(rows)
              ** 2).sum((1, 2))
    here = (residuals(images, truth, [white], ctf, False)(rows) ** 2).sum((1, 2))
    turned = SimpleNamespace(**{**vars(truth), "psi": truth.psi + 30})
    elsewhere = (residuals(images, turned, [white], ctf, False)(rows) ** 2).sum((1, 2))
    assert (here < 0.03 * signal).all() and (elsewhere > 0.1 * signal).all()


def test_frequencies_are_those_of_the_resolution(truth):
    found = residuals(truth.images, truth, [white], maxres=0.25, lowest=0.1)
    assert found.radius.min() >= 0.1 and found.radius.max() == 0.25
    y, x = np.mgrid[-15:16, -15:16] / 32
    whole_plane = (np.hypot(x, y) >= 0.1) & (np.hypot(x, y) <= 0.25)
    assert len(found.radius) == whole_plane.sum() / 2


def test_a_band_without_coefficients_says_nothing(truth, tmp_path):
    found = residuals(truth.images, truth, [white], maxres=0.06, lowest=0.05)
    assert (normality(found) == 1).all()
    write_histograms(found, f"{tmp_path}/")
    assert not np.loadtxt(tmp_path / "avg.hist.log")[:, 1].any()


@pytest.mark.parametrize("n, radius", [(32, None), (33, 10.0)])
def test_noise_becomes_normal_numbers(truth, n, radius):
    """Images of coloured noise only, of two strengths, each whitened by its group's spectrum; p-values are uniform."""
    count, rng = 300, np.random.default_rng(3)
    noise = ColouredNoise(8, n)
    group = np.arange(count) % 2
    images = np.stack([noise(rng) for _ in range(count)]) * np.where(group, 2, 1)[:, None, None]
    nothing = SimpleNamespace(**{**vars(truth), "scale": np.zeros(count)})

    def spectrum(frequency):
        return np.interp(frequency, *noise.spectrum())

    found = residuals(images, nothing, [spectrum, lambda f: 4 * spectrum(f)], group=group, radius=radius)
    values = found(np.arange(count))
    assert values.mean() == pytest.approx(0, abs=0.01)
    for low in (0.05, 0.1, 0.2, 0.3):                # the mask blurs the spectrum where it is steep, at the centre
        inside = (found.radius > low) & (found.radius < low + 0.1)
        assert values[:, :, inside].var() == pytest.approx(1, abs=0.04)
    probability = normality(found)
    assert probability.shape == (count,)
    assert 0.02 < (probability < 0.05).mean() < 0.08 and (probability < 0.01).mean() < 0.03
    assert probability.mean() == pytest.approx(0.5, abs=0.06)


def test_normality_tells_images_that_do_not_fit(truth):
    """Images that fit, images of noise twice as strong, and images of another particle."""
    variance = truth.sigma**2
    fitting = residuals(truth.images, truth, [lambda f: variance * white(f)])
    images = truth.images.copy()
    images[:20] = 2 * truth.sigma * np.random.default_rng(6).standard_normal(images[:20].shape)
    images[20:40] += 10 * truth.clean[20:40, ::-1, ::-1]
    probability, odd = normality(fitting), normality(residuals(images, truth, [lambda f: variance * white(f)]))
    assert (probability < 0.05).mean() < 0.1 and probability.min() > 1e-5
    assert (odd[:40] < 1e-5).all()
    np.testing.assert_array_equal(odd[40:], probability[40:])


def test_kolmogorov_smirnov_is_scipy_s():
    samples = np.random.default_rng(8).normal(0.1, 1.1, (5, 400))
    expected = [stats.kstest(one, "norm", method="asymp").pvalue for one in samples]
    np.testing.assert_allclose(kolmogorov_smirnov(samples, 400), expected)
    assert (kolmogorov_smirnov(samples, 100) > expected).all()      # fewer numbers prove less


def test_histograms(truth, tmp_path):
    found = residuals(truth.images, truth, [lambda f: truth.sigma**2 * (1 + f)])
    write_histograms(found, f"{tmp_path}/iter_")
    every = found(np.arange(300))
    residual, density, normal = np.loadtxt(tmp_path / "iter_avg.hist.log").T
    np.testing.assert_allclose(normal, stats.norm.pdf(residual), rtol=1e-5)
    here = (every >= residual[40] - 0.05) & (every < residual[40] + 0.05)
    assert density[40] == pytest.approx(here.mean() / 0.1, rel=1e-5)
    assert density.sum() * 0.1 == pytest.approx((np.abs(every) <= 5).mean(), rel=1e-5)
    frequency, mean, variance, count = np.loadtxt(tmp_path / "iter_resol.hist").T
    np.testing.assert_array_equal(np.rint(frequency * 32), np.arange(1, 14))
    shell = every[:, :, (found.radius >= 6.5 / 32) & (found.radius < 7.5 / 32)]
    row = np.flatnonzero(np.rint(frequency * 32) == 7)[0]
    assert (mean[row], variance[row], count[row]) == pytest.approx((shell.mean(), shell.var(), shell.size), rel=1e-4)
    assert (variance[-1] < variance[2]) and (variance < 1.1).all()            # the noise was said to grow
