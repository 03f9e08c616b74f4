"""The E-step with CTFs and noise spectra against one written out on polar samples, and what must not matter to it."""
from dataclasses import fields, replace

import numpy as np
import pytest

from mlalign.programs.engine import em, spectral_pass
from mlalign.programs.engine import expectation as expectation_module
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.bank import ImageBank
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.em import Particles, Pass, WhiteEStep
from mlalign.programs.engine.local import Near, last_places
from mlalign.programs.engine.model import Model
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.programs.engine.spectral import SpectralStatistics
from mlalign.programs.engine.spectral_pass import SpectralBank, SpectralEStep, scale_to_mean
from mlalign.programs.engine.visibility import EvenHarmonics
from mlalign.tests.programs.engine.blobs import Stack
from mlalign.tests.programs.engine.brute import WITH_MIRROR, WITHOUT_MIRROR
from mlalign.tests.programs.engine.spectral_scenes import SpectralPosterior, scene_of

ROWS, NARROW, BROAD = np.arange(6), 0.4, 2.0      # noise of the scene's models, for posteriors of either kind
LOWEST = 0.08
SCALE, CLASS_SCALE = np.array([0.8, 1.1, 1.3, 1.0, 0.9, 0.7]), np.array([1.2, 0.9])


@pytest.fixture(autouse=True)
def all_harmonics(monkeypatch):
    """Leave out no harmonic of the CTFs, so that nothing but rounding differs."""
    monkeypatch.setattr(spectral_pass, "NEGLIGIBLE", 1e-6)


def bank_of(scene, workers, disk=None, memory=2**30, **optics):
    return SpectralBank(Stack(scene.images), disk or scene.grid.disk, workers, memory, replace(scene.optics, **optics))


def run(scene, model, workers, settings, coarse=None, affected=None):
    """An E-step over all images: statistics and particles.  coarse: a Grid."""
    bank, particles = bank_of(scene, workers), Particles.unknown(len(ROWS))
    if settings.norm:
        particles.scale[:] = SCALE
    coarse = None if coarse is None else (bank_of(scene, workers, coarse.disk), coarse)
    statistics = SpectralEStep(model, bank, particles, settings, workers, scene.grid, coarse, affected).run(ROWS)
    if settings.norm:
        scale_to_mean(statistics, particles, ROWS)
    return statistics, particles


def close(found, expected, share=2e-5):
    np.testing.assert_allclose(found, expected, atol=share * np.abs(expected).max(), rtol=0)


def over_cells(truth, weights, values):
    """Sums (G, rings) over a noise group's images and all cells of weights times values (..., rings)."""
    return np.eye(2)[truth.scene.group].T @ np.einsum("bksmp,bksmpr->br", weights, values)


def check(found, particles, truth, share=2e-5, nats=1e-3, kinks=0.0):
    """Compare what an E-step gathers, but for what it keeps to estimate noise from, with the brute force.

    kinks: of |CTF|, share of the images' sums that angular sampling gets wrong.
    """
    gamma, u, r, grid = truth.gamma, truth.robust, truth.r, truth.scene.grid
    np.testing.assert_allclose(particles.log_likelihood, truth.evidence, atol=nats)
    assert found.log_likelihood == pytest.approx(truth.evidence.sum(), abs=6 * nats)
    mass, robust = gamma.sum((2, 3, 4)), (gamma * u).sum((1, 2, 3, 4))
    np.testing.assert_array_equal(particles.ref, mass.argmax(1))
    np.testing.assert_allclose(particles.class_probability, mass.max(1), atol=share)
    np.testing.assert_allclose(particles.robust, robust, rtol=share)
    close(found.class_mass, mass.sum(0), share)
    close(found.mirror_mass, gamma[:, :, :, 1].sum((0, 2, 3)), share)
    close(found.class_scale, mass.T @ particles.scale, share)
    weights = (gamma * u * r**2).sum((2, 3, 4))
    close(found.half_weights, [weights[::2].sum(0), weights[1::2].sum(0)], share)
    assert found.squared_shift == pytest.approx(gamma.sum((0, 1, 3, 4)) @ (grid.shifts**2).sum(1), abs=1e-3)
    assert found.power == pytest.approx(robust @ truth.power, rel=share)
    images, visibility = truth.sums()
    close(found.half_sums, images, max(share, kinks))
    close(EvenHarmonics(grid.disk, found.visibility.shape[3]).synthesize(found.visibility), visibility, share)


def check_noise(found, truth, share=2e-5):
    """Compare what an E-step keeps to estimate noise from with the brute force."""
    gamma, u, r, group = truth.gamma, truth.robust, truth.r, truth.scene.group
    robust = (gamma * u).sum((1, 2, 3, 4))
    variance = truth.variance[:, None, None, None, None]
    np.testing.assert_array_equal(found.group_count, np.bincount(group))
    close(found.group_robust, np.bincount(group, robust), share)
    close(found.ring_power, np.eye(2)[group].T @ (robust[:, None] * truth.ring_power), share)
    close(found.cross, over_cells(truth, gamma * u * r, truth.cross / variance), share)
    close(found.seen, over_cells(truth, gamma * u * r**2, truth.shown / variance), share)
    # the three together are the distances themselves
    distance = found.ring_power - truth.model.spectra * (2 * found.cross - found.seen)
    close(distance, over_cells(truth, gamma * u, truth.distance), share)


# ---- every cell

@pytest.mark.parametrize("sigma, dense", [(NARROW, False), (BROAD, False), (BROAD, True)])
@pytest.mark.parametrize("n_psi", [16, 84], ids=["folded", "not folded"])
def test_gaussian_noise(workers, sigma, dense, n_psi, monkeypatch):
    monkeypatch.setattr(expectation_module, "DENSE_SHARE", 0 if dense else 2)
    scene = scene_of(n_psi)
    model = scene.model(sigma)
    found, particles = run(scene, model, workers, Pass(mirror=True))
    truth = SpectralPosterior(scene, model)
    check(found, particles, truth)
    check_noise(found, truth)


@pytest.mark.parametrize("case", ["student", "norm", "student norm", "lowest", "student norm lowest", "one hand",
                                  "flipped", "flipped norm"])
@pytest.mark.parametrize("sigma", [NARROW, BROAD])
def test_other_noise_and_other_images(workers, sigma, case):
    scene = scene_of(16, flipped="flipped" in case)
    df, norm, mirror = 6.0 if "student" in case else None, "norm" in case, "hand" not in case
    model = scene.model(sigma, LOWEST if "lowest" in case else 0.0)
    if norm:
        model = replace(model, scale=CLASS_SCALE)
    found, particles = run(scene, model, workers, Pass(mirror, df, norm))
    truth = SpectralPosterior(scene, model, WITH_MIRROR if mirror else WITHOUT_MIRROR, df,
                              SCALE[:, None] / CLASS_SCALE if norm else None)
    check(found, particles, truth, kinks=3e-3 if scene.flipped else 0)
    check_noise(found, truth)
    if norm:
        np.testing.assert_allclose(particles.scale, best_scale(truth), rtol=1e-3)


def best_scale(truth):
    """The grey scales (B,) nearest to the images, where the posterior looks, made one on average."""
    looked_at = truth.disk.k >= 2 * np.pi * truth.model.lowest
    inverse = np.where(looked_at, 1 / truth.variance, 0)[:, None, None, None, None]
    score = (truth.r * (truth.cross * inverse).sum(-1) * truth.gamma).sum((1, 2, 3, 4))
    reference = (truth.r**2 * (truth.shown * inverse).sum(-1) * truth.gamma).sum((1, 2, 3, 4))
    scale = np.clip(SCALE * score / reference, 0.1, 10)
    return scale / scale.mean()


@pytest.mark.parametrize("settings", [Pass(True), Pass(True, 6.0), Pass(True, None, True)],
                         ids=["gauss", "student", "norm"])
def test_fast_search(workers, settings, monkeypatch):
    """To 1e-3 of all sums: cells that the coarse search rules out."""
    monkeypatch.setattr(expectation_module, "BROAD_SHARE", 2)
    scene = scene_of(64, step=1)
    coarse = Grid(Disk(32, 0.2, 32), shift_grid(2, 2), 2)
    model = scene.model(0.8)
    found, particles = run(scene, model, workers, settings, coarse)
    truth = SpectralPosterior(scene, model, WITH_MIRROR, settings.df, SCALE[:, None] if settings.norm else None)
    check(found, particles, truth, 1e-3, 1e-2)
    check_noise(found, truth, 1e-3)


@pytest.mark.parametrize("dense", [True, False], ids=["dense", "cells"])
@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_search_near_where_particles_were(workers, df, dense, monkeypatch):
    """One image has not been searched before."""
    monkeypatch.setattr(expectation_module, "DENSE_SHARE", 0 if dense else 2)
    scene, model = scene_of(16), scene_of(16).model(BROAD)
    particles, rng = Particles.unknown(6), np.random.default_rng(1)
    particles.ref[:5], particles.psi[:], particles.flip[:] = 0, rng.uniform(0, 360, 6), rng.integers(0, 2, 6)
    particles.shift_x[:], particles.shift_y[:] = rng.normal(0, 1.5, (2, 6))
    near = Near.of(scene.grid, *last_places(particles, ROWS, 0.8)).allowed
    assert near[5].all() and 0.1 < near[:5].mean() < 0.8
    found = SpectralEStep(model, bank_of(scene, workers), particles, Pass(True, df, search_shift=0.8), workers,
                          scene.grid).run(ROWS)
    truth = SpectralPosterior(scene, model, df=df, allowed=near.transpose(0, 3, 1, 2)[:, None])
    check(found, particles, truth)
    check_noise(found, truth)


@pytest.mark.parametrize("lowest", [0.0, LOWEST])
@pytest.mark.parametrize("sigma", [NARROW, BROAD])
def test_references_that_are_not_corrected(workers, sigma, lowest):
    """They are compared with phase-flipped images; what is averaged are the images as they are."""
    scene, flipped = scene_of(16), scene_of(16, flipped=True)
    model = scene.model(sigma, lowest)
    found, particles = run(scene, model, workers, Pass(True), affected=bank_of(flipped, workers, ctf=None))
    check(found, particles, SpectralPosterior(scene, model, affected=flipped))
    assert not found.seen.any()


def test_white_noise_without_ctf_is_that_of_other_runs(workers):
    scene, sigma = scene_of(16), 1.3
    disk = scene.grid.disk
    model = scene.model(sigma)
    spectra, power = np.full_like(model.spectra, sigma**2), np.full_like(model.power, 2.0)
    model = replace(model, spectra=spectra, power=power, sigma=sigma)
    particles, expected = Particles.unknown(6), Particles.unknown(6)
    bank = bank_of(scene, workers, ctf=None)
    assert bank.harmonics_seen == 1
    found = SpectralEStep(model, bank, particles, Pass(True), workers, scene.grid).run(ROWS)
    plain = Model(**{f.name: getattr(model, f.name) for f in fields(Model)})
    white = WhiteEStep(plain, ImageBank(Stack(scene.images), disk, workers), expected, Pass(True), workers, scene.grid)
    same = white.run(ROWS)
    # what lies beyond the resolution is noise of variance 2, Nyquist's circle of it
    beyond = disk.circle.sum() * np.pi * (0.5**2 - disk.maxres**2)
    np.testing.assert_allclose(particles.log_likelihood + beyond / 2 * (1 + np.log(2 * np.pi * 2)),
                               expected.log_likelihood, atol=1e-2)
    close(found.half_sums * sigma**2, same.half_sums)
    close(found.visibility[:, :, 0, 0] * sigma**2, same.half_weights[:, :, None] + np.zeros(len(disk.k)))
    assert found.power * sigma**2 == pytest.approx(same.power, rel=1e-5)
    np.testing.assert_allclose(particles.psi, expected.psi, atol=1e-3)


# ---- what images are seen through

@pytest.mark.parametrize("flipped", [False, True])
def test_transfer_on_a_disk(flipped):
    scene = scene_of(16, flipped=flipped)
    found = scene.optics.transfer(scene.grid.disk, np.array([4, 1]))
    np.testing.assert_allclose(found, scene.transfer()[[4, 1]], atol=1e-3)
    assert (found.min() < -0.5) != flipped


def test_mean_square_of_a_group(monkeypatch):
    scene, disk = scene_of(16), scene_of(16).grid.disk
    for g in (0, 1):
        expected = (scene.transfer()[scene.group == g] ** 2).mean((0, 2))
        np.testing.assert_allclose(scene.optics.mean_square(disk, g), expected, atol=1e-3)
    monkeypatch.setattr(spectral_pass, "LOOKED_AT", 2)
    expected = (scene.transfer()[[1, 4]] ** 2).mean((0, 2))        # a sample of images 1, 2 and 4
    np.testing.assert_allclose(scene.optics.mean_square(disk, 1), expected, atol=1e-3)
    np.testing.assert_array_equal(replace(scene.optics, ctf=None).mean_square(disk, 0), 1)


def stretched(scene, astigmatism):
    """The optics of twelve images, the scene's twice, with astigmatism of these Å (12,)."""
    ctf, half = scene.optics.ctf[np.tile(ROWS, 2)], np.array(astigmatism) / 2
    ctf = replace(ctf, defocus_u=ctf.defocus + half, defocus_v=ctf.defocus - half)
    return replace(scene.optics, ctf=ctf, group=np.tile(scene.group, 2))


def twelve(scene, workers, optics):
    return SpectralBank(Stack(np.tile(scene.images, (2, 1, 1))), scene.grid.disk, workers, 0, optics)


def test_isotropic_ctfs_have_one_harmonic(workers):
    scene = scene_of(16)
    bank = twelve(scene, workers, stretched(scene, np.zeros(12)))
    assert bank.harmonics_seen == 1 and bank.visibility.shape == (12, 2, 1, len(scene.grid.disk.k))


@pytest.mark.parametrize("astigmatism", [100, 900, -9000])
def test_harmonics_left_out_are_negligible(workers, monkeypatch, astigmatism):
    """That of CTF^2, whose mean is 1/2, to 0.003 everywhere; one image of twelve has astigmatism."""
    monkeypatch.setattr(spectral_pass, "NEGLIGIBLE", 1e-3)
    scene, disk, rows = scene_of(16), scene_of(16).grid.disk, np.arange(12)
    optics = stretched(scene, astigmatism * np.eye(12)[4])
    bank = twelve(scene, workers, optics)
    square = optics.transfer(disk, rows) ** 2
    np.testing.assert_allclose(bank.even.synthesize(bank.observed(rows)[2]), square, atol=3e-3)
    fewer = EvenHarmonics(disk, bank.harmonics_seen - 1)
    assert np.abs(fewer.synthesize(fewer.expand(square)) - square).max() > 1e-3


# ---- what must not matter

def same(a, b):
    return all(np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in fields(SpectralStatistics))


@pytest.fixture(params=["dense", "cells", "student and norm", "fast"])
def one_step(request, monkeypatch):
    """A function that makes an E-step over 90 images, in blocks of a few, with workers and memory."""
    monkeypatch.setattr(expectation_module, "DENSE_SHARE", 0 if request.param == "dense" else 2)
    monkeypatch.setattr(expectation_module, "BROAD_SHARE", 2)
    scene = scene_of(32, step=1)
    rng, copies = np.random.default_rng(1), np.arange(90) % 6
    source = Stack(scene.images[copies] + rng.standard_normal((90, 32, 32)))
    optics = replace(scene.optics, ctf=scene.optics.ctf[copies], group=rng.integers(0, 2, 90))
    coarse_grid = Grid(Disk(32, 0.2, 16), shift_grid(2, 2), 2) if request.param == "fast" else None
    settings = Pass(True, 6.0, True) if "norm" in request.param else Pass(True)

    def step(workers, memory=2**30, rows=range(90)):
        bank = SpectralBank(source, scene.grid.disk, workers, memory, optics)
        assert (bank.harmonics is None) == (memory == 0)
        coarse = coarse_grid and (SpectralBank(source, coarse_grid.disk, workers, memory, optics), coarse_grid)
        particles = Particles.unknown(90)
        step = SpectralEStep(scene.model(1.0), bank, particles, settings, workers, scene.grid, coarse)
        return step.run(np.array(rows)), particles

    return step


def test_threads_change_nothing(one_step, workers):
    two = Workers(2)
    try:
        (alone, one), (together, other) = one_step(workers), one_step(two)
    finally:
        two.close()
    assert same(alone, together)
    for name, value in one.arrays().items():
        np.testing.assert_array_equal(value, getattr(other, name))


def test_harmonics_are_the_same_cached_or_not(one_step, workers):
    assert same(one_step(workers)[0], one_step(workers, memory=0)[0])


def test_the_size_of_blocks_changes_rounding_only(one_step, workers, monkeypatch):
    large, _ = one_step(workers)
    monkeypatch.setattr(em, "BLOCK_BYTES", 0)
    small, _ = one_step(workers)
    for f in fields(SpectralStatistics):
        close(getattr(small, f.name), np.array(getattr(large, f.name)), 1e-5)


@pytest.mark.parametrize("one_step", ["dense", "cells", "fast"], indirect=True)
def test_statistics_of_parts_add_up(one_step, workers):
    """Also where a part has images of one half only.  (Grey scales are relative to those of all images looked at.)"""
    whole, parts = range(30), (range(0, 30, 2), range(1, 20, 2), range(21, 30, 2))
    total, first, *rest = (one_step(workers, rows=rows)[0] for rows in (whole, *parts))
    for other in rest:
        first = first + other
    for f in fields(SpectralStatistics):
        close(getattr(first, f.name), np.array(getattr(total, f.name)), 1e-5)
