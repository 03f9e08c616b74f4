"""The grids an estimator chooses, and its EM steps."""
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import QUICK_RADIUS, QUICK_START_RADIUS, Estimator, Settings, quick_step
from mlalign.programs.engine.model import Fixed, signal_change
from mlalign.tests.programs.engine.blobs import PHANTOMS, Stack, planted

COUNT, ROWS = 120, np.arange(120)


@pytest.fixture(scope="module")
def truth():
    return planted(PHANTOMS, COUNT, 0.3, seed=3)


@pytest.fixture
def estimator(truth, workers):
    """``estimator(fast=True, ...)`` makes one with these settings."""
    return lambda **settings: Estimator(Stack(truth.images), Settings(mirror=True, **settings), workers)


def model_of(estimator, truth, sigma_offset=2.0):
    references = np.stack([ndimage.gaussian_filter(phantom.image(32), 1.5) for phantom in PHANTOMS])
    return estimator.initial_model(estimator.disk.polar(references), truth.sigma, sigma_offset)


# ---- grids

@pytest.mark.parametrize("psi_step, n_psi", [(5.0, 72), (7.0, 52), (90.0, 4), (2.5, 144)])
def test_angles_are_at_most_the_step_apart(estimator, psi_step, n_psi):
    made = estimator(psi_step=psi_step)
    assert made.n_psi == n_psi and 360 / n_psi <= psi_step and n_psi % 4 == 0


@pytest.mark.parametrize("size, step", [(16, 1), (32, 1), (63, 1), (64, 2), (100, 2), (256, 8)])
def test_quick_steps_grow_with_the_box(size, step):
    assert quick_step(size) == step


def test_exact_search_uses_the_full_grid_at_every_resolution(estimator):
    made = estimator(radius=13)
    for maxres in (0.1, 0.4):
        made.enter(maxres)
        assert (made.maxres, made.disk.n_psi, made.disk.radius, made.step_size) == (maxres, 72, 13, 1)
        assert made.coarse_bank is None


def boxes(size):
    return Stack(np.random.default_rng(1).standard_normal((4, size, size)))


def test_quick_grids_are_for_low_resolution_only(workers):
    made = Estimator(boxes(64), Settings(), workers)
    made.enter(QUICK_START_RADIUS / 64, quick=True)
    assert (made.disk.n_psi, made.step_size) == (36, 2)
    made.enter(1.01 * QUICK_START_RADIUS / 64, quick=True)
    assert (made.disk.n_psi, made.step_size) == (72, 1)


def test_fast_search_has_a_coarse_grid_where_the_resolution_is_high(workers):
    made = Estimator(boxes(64), Settings(fast=True), workers)
    made.enter(QUICK_RADIUS / 64)
    assert made.coarse_bank is None and (made.disk.n_psi, made.step_size) == (36, 2)
    made.enter(0.4)
    assert (made.disk.n_psi, made.step_size) == (72, 1)
    assert (made.coarse_bank.disk.maxres, made.coarse_bank.disk.n_psi) == (0.2, 36)
    made.enter(QUICK_RADIUS / 64)
    assert made.coarse_bank is None


def test_entering_the_same_resolution_again_computes_nothing(estimator):
    made = estimator(fast=True)
    made.enter(0.4)
    bank, coarse = made.bank, made.coarse_bank
    made.enter(0.4)
    assert made.bank is bank and made.coarse_bank is coarse


def test_harmonics_are_kept_when_they_fit(estimator):
    for memory, kept in ((2**30, True), (2**10, False)):
        made = estimator(memory=memory)
        made.enter(0.2)
        assert (made.bank.harmonics is not None) == kept


@pytest.mark.parametrize("settings, sigma_offset, radius", [
    ({}, 1.4, 6), ({"reach": 3.0}, 1.4, 5), ({}, 0.1, 2), ({}, 0.0, 0), ({}, 99, 15), ({"max_shift": 3}, 5.0, 3)])
def test_shifts_searched(estimator, truth, settings, sigma_offset, radius):
    made = estimator(**settings)
    made.enter(0.25)
    shifts = made.grid(model_of(made, truth, sigma_offset)).shifts
    assert np.hypot(*shifts.T).max() == radius


# ---- steps

def test_initial_model(estimator, truth):
    made = estimator()
    made.enter(0.25)
    model = model_of(made, truth)
    np.testing.assert_allclose(model.fractions, [0.5, 0.5])
    np.testing.assert_allclose(model.mirror, [0.5, 0.5])
    np.testing.assert_allclose(made.initial_model(model.polar, 1, 1, [3, 1]).fractions, [0.75, 0.25])


def by_hand(estimator, model, iterations):
    """EM, step by step: the model and the likelihoods."""
    particles, history = Particles.unknown(COUNT), []
    for _ in range(iterations):
        statistics = estimator.expect(model, particles, ROWS)
        model = estimator.maximise(model, statistics)
        history.append(statistics.log_likelihood)
    return model, history


def test_run_is_em(estimator, truth):
    made = estimator()
    made.enter(0.25)
    model, history = by_hand(made, model_of(made, truth), 4)
    made.shift_radius = None
    again, likelihood, particles = made.run(model_of(made, truth), ROWS, 4)
    assert likelihood == history[-1]
    np.testing.assert_array_equal(again.polar, model.polar)
    assert particles.log_likelihood.sum() == pytest.approx(likelihood)


def test_run_leaves_the_shifts_searched_as_they_were(estimator, truth):
    made = estimator()
    made.enter(0.25)
    made.shift_radius = 9
    made.run(model_of(made, truth), ROWS, 2)
    assert made.shift_radius == 9


def test_run_ends_when_the_likelihood_has_settled(estimator, truth):
    made = estimator()
    made.enter(0.25)
    history = by_hand(made, model_of(made, truth), 12)[1]
    tolerance = (history[4] - history[3] + history[5] - history[4]) / 2 / COUNT
    made.shift_radius = None
    assert made.run(model_of(made, truth), ROWS, 12, tolerance)[1] == pytest.approx(history[5])


def test_run_leaves_alone_what_is_fixed(estimator, truth):
    made = estimator()
    made.enter(0.25)
    start = model_of(made, truth)
    model = made.run(start, ROWS, 2, fixed=Fixed(noise=True, offset=True))[0]
    assert (model.sigma, model.sigma_offset) == (start.sigma, start.sigma_offset)
    assert not np.allclose(model.fractions, start.fractions)
    model = made.run(start, ROWS, 2)[0]
    assert model.sigma != start.sigma and model.sigma_offset != start.sigma_offset


def test_shifts_are_narrowed_to_where_the_particles_are(estimator, truth):
    made = estimator()
    made.enter(0.35)
    model, particles = model_of(made, truth, sigma_offset=3.5), Particles.unknown(COUNT)
    wide = made.expect(model, particles, ROWS)
    assert made.shift_radius == 14
    for _ in range(6):
        model = made.maximise(model, made.expect(model, particles, ROWS))
    assert 4 * model.sigma_offset <= made.shift_radius < 14
    length = np.arange(len(wide.beyond))
    final = made.expect(replace(model), particles, ROWS)
    assert final.beyond[length > made.shift_radius].sum() == 0
    assert final.beyond.sum() == pytest.approx(COUNT, rel=1e-4)


@pytest.mark.parametrize("far, radius", [(9, 9), (11, 10), (3, 4)])
def test_shifts_stay_as_wide_as_the_farthest_particle(estimator, truth, far, radius):
    """Between four standard deviations of the new offset and the radius of before."""
    made = estimator()
    made.enter(0.25)
    model = model_of(made, truth)
    statistics = made.expect(model, Particles.unknown(COUNT), ROWS)
    made.shift_radius = 10
    beyond = np.zeros_like(statistics.beyond)
    beyond[[0, far]] = COUNT - 1, 1
    made.maximise(model, replace(statistics, beyond=beyond, squared_shift=2.0 * 0.9**2 * COUNT))
    assert made.shift_radius == radius


@pytest.mark.parametrize("step", [2, 4])
def test_em_climbs_on_coarse_shifts(estimator, truth, step):
    """To rounding of 1e-4 nats an image."""
    made = estimator()
    made.enter(0.15, quick=True)
    made.step_size = step
    model, particles, history = model_of(made, truth), Particles.unknown(COUNT), []
    for _ in range(8):
        made.shift_radius = 10                                      # kept: a narrower grid is another model
        statistics = made.expect(model, particles, ROWS)
        model = made.maximise(model, statistics)
        history.append(statistics.log_likelihood)
    assert np.diff(history).min() > -1e-4 * COUNT
    assert set(np.abs(made.grid(model).shifts).ravel() % step) == {0}


def test_fast_em_follows_exact_em(estimator, truth):
    """To 0.01 nats an image and a relative change of 1e-4 of the references after four steps."""
    results = []
    for fast in (False, True):
        made = estimator(fast=fast)
        made.enter(0.4)
        results.append(made.run(model_of(made, truth), ROWS, 4))
    (exact, likelihood, particles), (quick, other, found) = results
    assert other == pytest.approx(likelihood, abs=0.01 * COUNT)
    assert signal_change(exact, quick).max() < 1e-4
    assert (found.ref == particles.ref).mean() > 0.99


def test_fast_em_does_not_depend_on_threads(truth):
    results = []
    for threads in (1, 2):
        workers = Workers(threads)
        made = Estimator(Stack(truth.images), Settings(mirror=True, fast=True), workers)
        made.enter(0.4)
        results.append(made.run(model_of(made, truth), ROWS, 2))
        workers.close()
    (one, likelihood, _), (two, other, _) = results
    assert likelihood == other
    np.testing.assert_array_equal(one.polar, two.polar)


def test_significance_reaches_the_fast_search(estimator, truth):
    likelihoods = []
    for significance in (1e-12, 0.9):
        made = estimator(fast=True, significance=significance)
        made.enter(0.4)
        model = replace(model_of(made, truth), sigma=2 * truth.sigma)
        likelihoods.append(made.expect(model, Particles.unknown(COUNT), ROWS).log_likelihood)
    assert likelihoods[0] > likelihoods[1] + 0.1


def test_centred_search_leaves_shifts_at_zero(estimator, truth):
    made = estimator()
    made.enter(0.25)
    model, particles = model_of(made, truth), Particles.unknown(COUNT)
    statistics = made.expect(model, particles, ROWS, centred=True)
    assert not particles.shift_x.any() and not particles.shift_y.any()
    assert statistics.squared_shift == 0
    assert made.maximise(model, statistics, centred=True).sigma_offset == model.sigma_offset


def test_centred_fast_search_stays_near_zero(estimator, truth):
    made, particles = estimator(fast=True), Particles.unknown(COUNT)
    made.enter(0.4)
    made.expect(model_of(made, truth), particles, ROWS, centred=True)
    assert np.abs([particles.shift_x, particles.shift_y]).max() <= 1
