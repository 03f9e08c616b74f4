"""The M-step: direct formulas, and no better parameters nearby."""
from dataclasses import fields, replace

import numpy as np
import pytest

from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.model import Fixed, Model, Statistics, noise_share, polar_power, signal_change, update
from mlalign.programs.engine.resolution import smooth_correlation
from mlalign.programs.engine.search import Grid, shift_grid
from mlalign.tests.programs.engine.blobs import PHANTOMS, Blobs
from mlalign.tests.programs.engine.brute import (
    FRACTIONS,
    MIRROR,
    OFFSET,
    WITH_MIRROR,
    posterior,
    shift_prior,
    turned_back,
)

SIGMA, DF = 3.0, 300.0
SCALE = np.array([[0.8, 1.1], [1.3, 1.0], [0.9, 1.0]])


def model_of(scene):
    polar = scene.grid.disk.polar(np.stack([phantom.image(scene.grid.disk.n) for phantom in PHANTOMS]))
    return Model(scene.grid.disk, polar, FRACTIONS, MIRROR, SIGMA, OFFSET, np.ones(2))


def statistics_of(scene, truth):
    """What an E-step gathers, from the weights of all cells."""
    gamma, u, r = truth.gamma, truth.robust, truth.r
    back, half = turned_back(scene, gamma * u * r), np.array([0, 1, 0])
    weights = (gamma * u * r**2).sum((2, 3, 4))
    squared = (scene.grid.shifts**2).sum(1)
    return Statistics(
        half_sums=np.stack([back[half == h].sum(0) for h in (0, 1)]),
        half_weights=np.stack([weights[half == h].sum(0) for h in (0, 1)]),
        class_mass=gamma.sum((0, 2, 3, 4)), mirror_mass=gamma[:, :, :, 1].sum((0, 2, 3)),
        used_scale=gamma.sum((0, 2, 3, 4)), class_scale=gamma.sum((0, 2, 3, 4)), beyond=np.zeros(3),
        power=(gamma * u).sum((1, 2, 3, 4)) @ truth.power,
        robust=(gamma * u).sum(), squared_shift=gamma.sum((0, 1, 3, 4)) @ squared, count=3)


def expected_log_likelihood(model, scene, truth, back):
    """The function that the M-step maximises, with posterior and robust weights held fixed.

    back: the images in the references' frames, weighted.
    """
    grid, gamma = scene.grid, truth.gamma
    weight = 2 / model.disk.n_phi * model.disk.weight[:, None]
    cross = (weight * (back.conj() * model.polar).real).sum()
    norm = np.array([polar_power(model.disk, polar) for polar in model.polar])
    explained = ((gamma * truth.robust * truth.r**2).sum((0, 2, 3, 4)) * norm).sum()
    power = (gamma * truth.robust).sum((1, 2, 3, 4)) @ truth.power
    log_class = np.log([model.fractions * (1 - model.mirror), model.fractions * model.mirror])
    return (-(power - 2 * cross + explained) / (2 * model.sigma**2)
            - len(scene.x) * model.disk.dimension * np.log(model.sigma)
            + gamma.sum((0, 1, 3, 4)) @ shift_prior(grid, model.sigma_offset)
            + (gamma.sum((0, 2, 4)) * log_class.T).sum())


def perturbed(model):
    """Models a little to either side of this one in each parameter."""
    rng = np.random.default_rng(8)
    direction = model.disk.polar(rng.standard_normal((2, model.disk.n, model.disk.n)))
    for sign in (-1, 1):
        yield "sigma", replace(model, sigma=model.sigma * (1 + 0.02 * sign))
        yield "sigma_offset", replace(model, sigma_offset=model.sigma_offset * (1 + 0.02 * sign))
        yield "fractions", replace(model, fractions=model.fractions + sign * np.array([0.02, -0.02]))
        for k in range(2):
            other = 0.5 if sign > 0 else model.mirror[k] ** 2             # towards the middle, towards the end
            yield "mirror", replace(model, mirror=np.where(np.arange(2) == k, other, model.mirror))
        yield "polar", replace(model, polar=model.polar * (1 + 0.02 * sign))
        yield "polar", replace(model, polar=model.polar + 0.02 * sign * direction)


@pytest.mark.parametrize("df, scale", [(None, None), (DF, None), (None, SCALE)], ids=["gauss", "student", "scaled"])
def test_update_maximises_the_expected_log_likelihood(scene, df, scale):
    truth = posterior(scene, WITH_MIRROR, SIGMA, df, scale)
    new = update(model_of(scene), statistics_of(scene, truth), True, df=df, sigma_trick=False, step=scene.grid.step)
    back = turned_back(scene, truth.gamma * truth.robust * truth.r)
    best = expected_log_likelihood(new, scene, truth, back)
    for name, other in perturbed(new):
        assert expected_log_likelihood(other, scene, truth, back) < best, name


def test_update_by_direct_formulas(scene):
    truth = posterior(scene, WITH_MIRROR, SIGMA)
    gamma = truth.gamma
    new = update(model_of(scene), statistics_of(scene, truth), True, step=scene.grid.step)
    mass = gamma.sum((0, 2, 3, 4))
    np.testing.assert_allclose(new.fractions, mass / 3)
    np.testing.assert_allclose(new.mirror, gamma[:, :, :, 1].sum((0, 2, 3)) / mass)
    expected = turned_back(scene, gamma).sum(0) / mass[:, None, None]
    np.testing.assert_allclose(new.polar, expected, atol=1e-5 * np.abs(expected).max())
    norm = np.array([polar_power(new.disk, polar) for polar in expected])
    assert new.sigma**2 == pytest.approx((truth.power.sum() - mass @ norm) / (3 * new.disk.dimension), rel=1e-5)


def test_sigma_trick_divides_by_the_summed_weights(scene):
    truth = posterior(scene, WITH_MIRROR, SIGMA, DF)
    model, statistics = model_of(scene), statistics_of(scene, truth)
    plain, trick = (update(model, statistics, True, df=DF, sigma_trick=t, step=2).sigma for t in (False, True))
    assert (plain / trick) ** 2 == pytest.approx((truth.gamma * truth.robust).sum() / 3)
    assert plain != pytest.approx(trick, rel=0.01)


def test_fixed_parameters_stay(scene):
    model, statistics = model_of(scene), statistics_of(scene, posterior(scene, WITH_MIRROR, SIGMA))
    free = update(model, statistics, True, step=2)
    for name, kept in (("noise", ["sigma"]), ("offset", ["sigma_offset"]), ("fractions", ["fractions", "mirror"])):
        new = update(model, statistics, True, Fixed(**{name: True}), step=2)
        for f in ("sigma", "sigma_offset", "fractions", "mirror", "polar"):
            np.testing.assert_array_equal(getattr(new, f), getattr(model if f in kept else free, f))


def test_a_class_without_weight_keeps_its_reference(scene):
    with np.errstate(divide="ignore"):
        log_class = np.log([[0.6, 0.0], [0.4, 0.0]])
    model, statistics = model_of(scene), statistics_of(scene, posterior(scene, log_class, SIGMA))
    new = update(model, statistics, True, step=2)
    np.testing.assert_array_equal(new.polar[1], model.polar[1])
    assert new.fractions[1] == 0 and np.abs(new.polar[0] - model.polar[0]).max() > 0.1
    assert np.isfinite(new.mirror).all() and np.isfinite(new.sigma) and np.isfinite(new.scale).all()


def test_references_stand_for_members_of_mean_scale(scene):
    """A class's scale is the mean of its members'; images are in units of it, so references do not change with it."""
    model = replace(model_of(scene), scale=np.array([2.0, 0.5]))
    statistics = statistics_of(scene, posterior(scene, WITH_MIRROR, SIGMA))
    statistics = replace(statistics, used_scale=model.scale * statistics.class_mass,
                         class_scale=np.array([3.0, 2.0]) * statistics.class_mass)
    new = update(model, statistics, True, step=2)
    np.testing.assert_allclose(new.scale, [3, 2])
    mean = statistics.half_sums.sum(0) / statistics.half_weights.sum(0)[:, None, None]
    np.testing.assert_allclose(new.polar, mean, rtol=1e-5)


def test_noise_free_data_leaves_a_little_noise(scene):
    """No less than a thousandth of the images' standard deviation."""
    model, statistics = model_of(scene), statistics_of(scene, posterior(scene, WITH_MIRROR, SIGMA))
    polar = update(model, statistics, True, step=2).polar
    explained = statistics.half_weights.sum(0) @ [polar_power(model.disk, each) for each in polar]
    new = update(model, replace(statistics, power=explained), True, step=2)
    assert new.sigma**2 == pytest.approx(1e-6 * explained / (3 * model.disk.dimension), rel=0.2)
    assert update(model, replace(statistics, power=0.0), True, step=2).sigma > 0


# ---- statistics and models as values

def random_statistics(seed, longest=5):
    rng = np.random.default_rng(seed)
    return Statistics(rng.standard_normal((2, 2, 3, 4)) + 1j, rng.random((2, 2)), *rng.random((4, 2)),
                      rng.random(longest + 1), *rng.random(3), seed, *rng.random(2))


def test_statistics_add_and_subtract():
    a, b = random_statistics(1), random_statistics(2)
    for f in fields(Statistics):
        np.testing.assert_allclose(getattr(a + b, f.name), getattr(a, f.name) + getattr(b, f.name))
        np.testing.assert_allclose(getattr(a + b - b, f.name), getattr(a, f.name))


def test_statistics_of_different_shift_radii_add_up(scene):
    narrow, wide = (Statistics.zero(Grid(scene.grid.disk, shift_grid(radius)), 2) for radius in (1, 4))
    narrow.beyond[1], wide.beyond[4] = 3, 2
    assert (narrow + wide).beyond[[1, 4]].tolist() == [3, 2]


def test_reach_is_the_longest_shift_that_matters():
    statistics = replace(random_statistics(1), beyond=np.array([50, 40, 9, 0.999, 1e-3, 1e-6]))
    assert statistics.reach() == 4
    assert statistics.reach(tolerance=1e-4) == 3
    assert replace(statistics, beyond=np.zeros(4)).reach() == 0


def test_log_class(scene):
    model = model_of(scene)
    np.testing.assert_allclose(np.exp(model.log_class(True)), [FRACTIONS * (1 - MIRROR), FRACTIONS * MIRROR])
    np.testing.assert_allclose(np.exp(model.log_class(False)), [FRACTIONS, [0, 0]])


def test_a_model_on_another_disk_has_the_same_images(scene):
    model = model_of(scene)
    n = model.disk.n
    assert model.on(model.disk) is model
    moved = model.on(Disk(n, 0.4, 30))
    for found, phantom in zip(moved.images(), PHANTOMS):
        expected = phantom.image(n)
        np.testing.assert_allclose(found, expected, atol=2e-3 * expected.max())


def test_signal_change_is_the_relative_squared_change(scene):
    model, n = model_of(scene), scene.grid.disk.n
    images = np.stack([phantom.image(n) for phantom in PHANTOMS])
    other = np.stack([images[0] + 0.1 * Blobs(9).image(n), np.zeros((n, n))])
    expected = ((images - other) ** 2).sum((1, 2)) / (images**2).sum((1, 2))
    new = replace(model, polar=model.disk.polar(other))
    np.testing.assert_allclose(signal_change(model, new), expected, rtol=1e-3)
    empty = replace(model, polar=0 * model.polar)
    np.testing.assert_array_equal(signal_change(empty, empty), [0, 0])


def test_noise_share_is_that_of_the_noise_in_an_average():
    """Of 200 images of two phantoms in white noise, averaged in two halves."""
    n, each, sigma, rng = 64, 100, 1.0, np.random.default_rng(1)
    disk = Disk(n, 0.3, 36)
    images = np.stack([phantom.image(n) for phantom in PHANTOMS])
    signal = disk.polar(images)
    noise = disk.polar(rng.normal(0, sigma / np.sqrt(each), (4, n, n)).astype(np.float32)).reshape(2, *signal.shape)
    averages = signal + noise
    model = Model(disk, averages.mean(0), FRACTIONS, MIRROR, sigma, OFFSET, np.ones(2))
    frc = smooth_correlation(averages, np.ones((2, 2)), disk)
    expected = [polar_power(disk, a) / polar_power(disk, b) for a, b in zip(noise.mean(0), model.polar)]
    assert 0.02 < min(expected) and max(expected) < 0.5
    np.testing.assert_allclose(noise_share(model, frc), expected, rtol=0.3)
    np.testing.assert_array_equal(noise_share(replace(model, polar=0 * model.polar), frc), [0, 0])
    np.testing.assert_allclose(noise_share(model, np.zeros_like(frc)), [1, 1])
