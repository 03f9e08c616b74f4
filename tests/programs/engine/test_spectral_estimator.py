"""MLF2D's EM on planted particles behind CTFs in coloured noise: it climbs, finds what was planted, beats plain EM."""
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine import spectral_pass
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.ctf import PhaseFlipped
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.model import signal_change
from mlalign.programs.engine.references import subset_averages
from mlalign.programs.engine.spectral import Regularisation, power_at, power_spectra
from mlalign.programs.engine.spectral_estimator import SpectralEstimator
from mlalign.programs.scoring import pose_errors
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack
from mlalign.tests.programs.engine.spectral_scenes import micrographs

N, COUNT, MAXRES, ITERATIONS = 40, 400, 0.3, 8
PHANTOMS = DISTINCT[:3]
REFERENCES = np.stack([phantom.image(N) for phantom in PHANTOMS])
BLURRED = np.stack([ndimage.gaussian_filter(reference, 1.5) for reference in REFERENCES])
ROWS = np.arange(COUNT)


def estimator_of(truth, workers, regularisation=None, maxres=MAXRES, **settings):
    """A :class:`SpectralEstimator` of particles, at this resolution."""
    source, optics = Stack(truth.images), truth.optics
    made = SpectralEstimator(source, Settings(mirror=True, **settings), workers, optics,
                             power_spectra(source, optics.group, optics.groups), regularisation)
    made.enter(maxres)
    return made


def climb(made, model, iterations):
    """EM: model, particles, and the likelihoods on the way."""
    particles, rows, history = Particles.unknown(made.source.count), np.arange(made.source.count), []
    for _ in range(iterations):
        statistics = made.expect(model, particles, rows)
        model = made.maximise(model, statistics)
        history.append(statistics.log_likelihood)
    return SimpleNamespace(model=model, particles=particles, history=history, disk=made.disk)


def similarity(model):
    """Correlation (K, rings) of the model's references with the phantoms."""
    truth = model.disk.polar(REFERENCES)
    cross = (model.polar * truth.conj()).real.sum(-1)
    return cross / np.sqrt((np.abs(model.polar) ** 2).sum(-1) * (np.abs(truth) ** 2).sum(-1))


@pytest.fixture(scope="module", params=[False, True], ids=["as they are", "phase-flipped"])
def planted(request, workers):
    """Particles and what both kinds of runs make of them, from blurred references."""
    truth = micrographs(PHANTOMS, COUNT, 0.12, seed=1, flipped=request.param, n=N)
    made = estimator_of(truth, workers)
    white = Estimator(made.source, Settings(mirror=True), workers)
    white.enter(MAXRES)
    polar = made.disk.polar(BLURRED)
    return SimpleNamespace(
        truth=truth, made=made, result=climb(made, made.initial_model(polar, 2.0), ITERATIONS),
        white=climb(white, white.initial_model(polar, truth.noise.std(), 2.0), ITERATIONS))


def test_classes_and_poses_are_recovered(planted):
    truth, found = planted.truth, planted.result.particles
    assert (found.ref == truth.ref).mean() > 0.98
    names = {"psi": "anglePsi", "shift_x": "shiftX", "shift_y": "shiftY", "flip": "flip"}
    tables = [{"ref": each.ref + 1, **{label: getattr(each, name) for name, label in names.items()}}
              for each in (truth, found)]
    angle, shift = pose_errors(*tables)
    good = np.isfinite(angle)
    assert good.mean() > 0.98
    assert np.median(angle[good]) < 3 and np.median(shift[good]) < 0.5


def test_noise_spectra_are_recovered(planted):
    """Within 5 % on every ring."""
    truth, disk = planted.truth, planted.result.disk
    noise = (np.abs(disk.polar(truth.noise)) ** 2).mean(2) / disk.circle.sum()
    for g, found in enumerate(planted.result.model.spectra):
        np.testing.assert_allclose(found, noise[truth.group == g].mean(0), rtol=0.05)


def test_references_are_recovered(planted):
    """Above 0.9 up to a third of Nyquist, but for the lowest frequencies, of which CTFs show nothing."""
    nyquists = planted.result.disk.k / np.pi
    found = similarity(planted.result.model)[:, (nyquists > 0.09) & (nyquists < 0.34)]
    assert found.min() > 0.9


def test_references_are_better_than_with_white_noise(planted):
    """From where the CTFs have zeros to where nothing is left of the phantoms."""
    nyquists = planted.result.disk.k / np.pi
    varied = (nyquists > 0.33) & (nyquists < 0.5)
    found, white = (similarity(each.model)[:, varied].mean(0) for each in (planted.result, planted.white))
    assert varied.sum() > 3
    assert (found > white + (0.01 if planted.truth.optics.flipped else 0.5)).all()


def test_references_have_the_height_of_the_phantoms(planted):
    """CTFs are corrected for where the signal is: amplitudes within 10 %."""
    disk, nyquists = planted.result.disk, planted.result.disk.k / np.pi
    middle = (nyquists > 0.1) & (nyquists < 0.25)
    truth = disk.polar(REFERENCES)[:, middle]
    height = (planted.result.model.polar[:, middle] * truth.conj()).real.sum((1, 2)) / (np.abs(truth) ** 2).sum((1, 2))
    np.testing.assert_allclose(height, 1, atol=0.1)


def test_other_parameters_are_recovered(planted):
    truth, model = planted.truth, planted.result.model
    np.testing.assert_allclose(model.fractions, np.bincount(truth.ref) / COUNT, atol=0.02)
    mirrored = [truth.flip[truth.ref == k].mean() for k in range(3)]
    np.testing.assert_allclose(model.mirror, mirrored, atol=0.04)
    spread = np.sqrt((truth.shift_x**2 + truth.shift_y**2).mean() / 2)
    assert model.sigma_offset == pytest.approx(spread, rel=0.05)


# ---- the climb

@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("df", [None, 6.0], ids=["gauss", "student"])
def test_the_likelihood_never_falls_without_a_prior(workers, groups, df):
    """From poor references; to rounding of 1e-4 nats an image."""
    count = 150
    truth = micrographs(PHANTOMS, count, 0.2, seed=2, groups=groups, n=32)
    made = estimator_of(truth, workers, Regularisation(None), 0.25, max_shift=4, df=df, psi_step=10)
    averages = subset_averages(made, np.arange(count), 3, np.random.default_rng(5))
    history = climb(made, made.initial_model(averages, 2.0), 20).history
    assert np.diff(history).min() > -1e-4 * count
    assert history[-1] > history[0] + 100


# ---- what does not matter

def test_threads_and_memory_change_nothing(planted):
    """Of the fast search, and of the models after two steps."""
    truth, results = planted.truth, []
    for threads, memory in ((1, 2**30), (2, 2**30), (1, 0)):
        workers = Workers(threads)
        made = estimator_of(truth, workers, maxres=0.4, fast=True, memory=memory)
        assert made.coarse_bank is not None and (made.bank.harmonics is None) == (memory == 0)
        results.append(made.run(made.initial_model(made.disk.polar(BLURRED), 2.0), ROWS[:100], 2))
        workers.close()
    (model, likelihood, _), *others = results
    for other, other_likelihood, _ in others:
        assert other_likelihood == likelihood
        np.testing.assert_array_equal(other.polar, model.polar)
        np.testing.assert_array_equal(other.spectra, model.spectra)


def test_fast_em_follows_exact_em(planted, workers):
    """To 0.02 nats an image and a relative change of 1e-3 of the references after three steps."""
    results = []
    for fast in (False, True):                      # at a resolution where the fast search has coarse grids
        made = estimator_of(planted.truth, workers, maxres=0.4, fast=fast)
        results.append(made.run(planted.result.model.on(made.disk), ROWS, 3))
    (exact, likelihood, particles), (quick, other, found) = results
    assert other == pytest.approx(likelihood, abs=0.02 * COUNT)
    assert signal_change(exact, quick).max() < 1e-3
    np.testing.assert_array_equal(found.ref, particles.ref)


# ---- first models

def slow_visibility(made):
    """Mean CTF^2 (G, rings) of each group's images, summed one by one."""
    optics, disk = made.optics, made.disk
    total = np.zeros((optics.groups, len(disk.k)))
    for one, group in enumerate(optics.group):
        total[group] += (optics.transfer(disk, np.array([one]))[0].astype(float) ** 2).mean(1)
    return total / np.bincount(optics.group)[:, None]


@pytest.mark.parametrize("affected", [False, True])
def test_what_references_leave_of_the_power_is_noise(planted, affected, monkeypatch):
    monkeypatch.setattr(spectral_pass, "LOOKED_AT", COUNT)
    made = planted.made
    polar = made.disk.polar(REFERENCES * np.array([1, 2, 8])[:, None, None])
    model = made.initial_model(polar, 1.7, [1, 2, 1], affected)
    mean = (np.abs(polar) ** 2).mean(-1)
    signal = (mean[0] + 2 * mean[1] + mean[2]) / 4 / made.disk.circle.sum()
    signal = signal if affected else signal * slow_visibility(made)
    power = power_at(made.power, made.disk.k, N)
    expected = np.maximum(power - signal, 0.2 * power)
    assert ((expected == 0.2 * power).any() and (expected > 0.2 * power).any())
    np.testing.assert_allclose(model.spectra, expected, rtol=0.01)
    assert model.sigma**2 == pytest.approx(np.average(expected.mean(0), weights=made.disk.weight), rel=0.01)
    np.testing.assert_allclose(model.fractions, [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(model.power, made.power)
    assert (model.sigma_offset, model.lowest, model.references) == (1.7, 0.0, 3)


def test_the_phantoms_leave_the_noise(planted):
    """Within 12 %, in both groups."""
    truth, disk = planted.truth, planted.made.disk
    noise = (np.abs(disk.polar(truth.noise)) ** 2).mean(2) / disk.circle.sum()
    for g, found in enumerate(planted.made.initial_model(disk.polar(REFERENCES), 1.5).spectra):
        np.testing.assert_allclose(found, noise[truth.group == g].mean(0), rtol=0.12)


def test_averages_without_correction_become_corrected_ones(planted, workers):
    """In one step: nearer to the phantoms wherever CTFs vary, and of their height."""
    truth, made = planted.truth, planted.made
    source = made.source
    if not truth.optics.flipped:
        source = PhaseFlipped(source, truth.optics.ctf, truth.optics.pixel_size)
    white = Estimator(source, Settings(mirror=True), workers)
    white.enter(MAXRES)
    averages = white.run(white.initial_model(white.disk.polar(BLURRED), truth.noise.std(), 2.0), ROWS, 5)[0]
    model = made.corrected(averages, white, ROWS)
    nyquists = made.disk.k / np.pi
    middle, varied = (nyquists > 0.1) & (nyquists < 0.3), (nyquists > 0.33) & (nyquists < 0.5)
    assert similarity(model)[:, middle].min() > 0.9
    assert similarity(model)[:, varied].mean() > similarity(averages)[:, varied].mean() + 0.02
    phantoms = made.disk.polar(REFERENCES)[:, middle]
    height, before = ((each.polar[:, middle] * phantoms.conj()).real.sum((1, 2)) / (np.abs(phantoms) ** 2).sum((1, 2))
                      for each in (model, averages))
    np.testing.assert_allclose(height, 1, atol=0.15)
    assert before.max() < 0.8
    first = made.initial_model(averages.polar, averages.sigma_offset, averages.fractions, affected=True)
    np.testing.assert_array_equal(model.spectra, first.spectra)
    np.testing.assert_allclose(model.fractions, np.bincount(truth.ref) / COUNT, atol=0.03)


# ---- what splits and mergers look at

def test_importance_is_what_images_show(planted, monkeypatch):
    monkeypatch.setattr(spectral_pass, "LOOKED_AT", COUNT)
    model = planted.result.model
    group = planted.made.optics.group
    expected = np.sqrt((slow_visibility(planted.made) / model.spectra)[group].mean(0))
    np.testing.assert_allclose(planted.made.importance(model), expected, rtol=0.01)


def test_members_differ_by_noise_of_unit_variance(planted, workers):
    """And not by their defocus: with noise alone, features are as long as the disk has dimensions."""
    truth, model = planted.truth, planted.result.model
    members = np.flatnonzero(truth.ref == 0)
    features = planted.made.members(model, planted.result.particles, members, 0).features
    assert features.shape[0] == len(members)
    assert (features**2).sum(1).mean() == pytest.approx(planted.made.disk.dimension, rel=0.05)
    half = np.argsort(truth.parameters[members, 0])[: len(members) // 2]
    between = features[half].mean(0) - np.delete(features, half, 0).mean(0)
    assert (between**2).sum() < 1.5 * 4 / len(members) * planted.made.disk.dimension


def test_members_of_another_class_stand_out(planted):
    """By what the phantoms differ, as importance says."""
    truth, made, model = planted.truth, planted.made, planted.result.model
    features = made.members(model, planted.result.particles, np.flatnonzero(truth.ref == 1), 0).features.mean(0)
    difference = (model.polar[1] - model.polar[0]) * made.importance(model)[:, None]
    expected = (made.disk.expand(difference[None])[0] * np.sqrt(made.disk.metric)).ravel()
    assert np.corrcoef(features, expected)[0, 1] > 0.9
    assert features @ expected / (expected @ expected) == pytest.approx(1, abs=0.1)


def test_the_average_of_members_is_corrected_for_their_ctfs(planted):
    truth, made, model = planted.truth, planted.made, planted.result.model
    rows = np.flatnonzero(truth.ref == 2)
    chosen = np.random.default_rng(1).random(len(rows)) < 0.7
    members = made.members(model, planted.result.particles, rows, 2)
    nyquists = made.disk.k / np.pi
    middle = (nyquists > 0.1) & (nyquists < 0.3)
    found, phantom = members.average(chosen)[middle], made.disk.polar(REFERENCES[2:])[0][middle]
    assert (found * phantom.conj()).real.sum() / (np.abs(phantom) ** 2).sum() == pytest.approx(1, abs=0.15)
    assert np.corrcoef(found.ravel(), phantom.ravel())[0, 1].real > 0.9
    assert np.abs(members.average(~chosen)[middle] - found).max() > 0.1
