"""Splits and mergers of classes whose content is known."""
import warnings
from dataclasses import replace

import numpy as np
import pytest

from mlalign.programs.engine import references
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.references import (
    Merger,
    Split,
    aligned,
    divided,
    heterogeneity,
    merge_classes,
    moved,
    signal_variance,
    similar_pairs,
    split_class,
    subset_averages,
)
from mlalign.programs.engine.templates import by_bin
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack, planted, table_of

COUNT, ROWS = 240, np.arange(240)


@pytest.fixture(scope="module")
def truth():
    return planted(DISTINCT[:3], COUNT, 0.3, seed=4)


@pytest.fixture(scope="module")
def estimator(truth):
    workers = Workers(1)
    made = Estimator(Stack(truth.images), Settings(mirror=True), workers)
    made.enter(0.25, quick=True)
    yield made
    workers.close()


def model_of(estimator, truth, phantoms, poses=None):
    """A model whose references are these phantoms, moved by poses (psi, mirrored, shift)."""
    images = [p.image(32, *pose) for p, pose in zip(phantoms, poses or [()] * len(phantoms))]
    estimator.shift_radius = None
    return estimator.initial_model(estimator.disk.polar(np.stack(images)), truth.sigma, 1.5)


def correlations(estimator, polar, phantoms):
    """Highest correlation (references, phantoms) over all poses."""
    grid = estimator.grid(estimator.initial_model(polar, 1, 1.5))
    x, templates = (estimator.disk.polar(np.stack([p.image(32) for p in phantoms])), grid.templates(polar))
    g = grid.scores(estimator.disk.expand(x), by_bin(templates))
    best = table_of(g, grid.disk.n_psi).max((2, 3))
    best = best.reshape(len(phantoms), len(polar), -1).max(2).T
    norm = [np.sqrt(grid.disk.power(grid.disk.expand(p))) for p in (polar, x)]
    return best / np.outer(*norm)


# ---- averages

def test_subset_averages_are_means_of_disjoint_groups(estimator, truth):
    averages = subset_averages(estimator, ROWS, 3, np.random.default_rng(1))
    order = np.random.default_rng(1).permutation(COUNT)
    for found, rows in zip(averages, order.reshape(3, -1)):
        expected = estimator.disk.polar(truth.images[rows].mean(0)[None])[0]
        np.testing.assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


def test_aligned_members_look_like_their_average(truth, estimator):
    """Clean particles, true poses: each becomes its phantom."""
    clean = Estimator(Stack(truth.clean), Settings(mirror=True), estimator.workers)
    clean.enter(0.45)
    particles = Particles.unknown(COUNT)
    for name in ("psi", "shift_x", "shift_y", "flip", "ref"):
        getattr(particles, name)[:] = getattr(truth, name)
    rows = np.arange(20)
    found = clean.disk.images(aligned(clean.disk, clean.bank.read(rows)[0], particles, rows))
    for image, k in zip(found, truth.ref[rows]):
        expected = DISTINCT[k].image(32)
        assert np.corrcoef(image.ravel(), expected.ravel())[0, 1] > 0.99


# ---- splits and mergers

@pytest.fixture(scope="module")
def mixed(estimator, truth):
    """Two classes: the first phantom, and an average of the second's and third's particles; settled."""
    model = model_of(estimator, truth, DISTINCT[:2])
    model, _, particles = estimator.run(model, ROWS, 6)
    assert (particles.ref[truth.ref == 0] == 0).mean() > 0.9
    return model, particles


def planted_particles(truth):
    """True poses; class 1 holds both the second and the third phantom's particles."""
    particles = Particles.unknown(COUNT)
    particles.ref[:] = truth.ref > 0
    for name in ("psi", "shift_x", "shift_y", "flip"):
        getattr(particles, name)[:] = getattr(truth, name)
    return particles


def planted_split(estimator, truth, mixed, k):
    return split_class(estimator, mixed[0], planted_particles(truth), ROWS, k, np.random.default_rng(2))


def test_heterogeneity_tells_the_groups_of_a_mixed_class(estimator, truth, mixed):
    (mixture, label, members, rows), (pure, *_) = (
        heterogeneity(estimator, mixed[0], planted_particles(truth), ROWS, k, np.random.default_rng(2)) for k in (1, 0))
    np.testing.assert_array_equal(rows, np.flatnonzero(truth.ref > 0))
    assert len(members.features) == len(rows)
    agreement = (label == (truth.ref[rows] == 2)).mean()
    assert max(agreement, 1 - agreement) > 0.95
    assert mixture > 500 and pure < 0                  # a pure class varies no more than noise does


@pytest.mark.parametrize("planted_variance", [2.0, 6.0])
def test_signal_variance_of_few_vectors(planted_variance):
    """Of as many vectors as dimensions, where the variance along the first component is far above the signal's."""
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(600, 600))
    vectors[:, 0] *= np.sqrt(1 + planted_variance)
    variance = np.linalg.svd(vectors - vectors.mean(0), compute_uv=False)[:3] ** 2 / 599
    found = signal_variance(variance, 1.0)
    assert variance[0] > planted_variance + 1.5
    assert found[0] == pytest.approx(planted_variance, rel=0.15)
    assert (found[1:] < 0.1).all()


def test_a_mixed_class_splits_into_its_two_phantoms(estimator, truth, mixed):
    split = planted_split(estimator, truth, mixed, 1)
    found = correlations(estimator, split.polar, DISTINCT[:3])
    assert split.parent == 1
    assert sorted(found.argmax(1)) == [1, 2]
    assert found.max(1).min() > 0.9


def test_a_pure_class_gains_little_by_a_split(estimator, truth, mixed):
    mixture, pure = (planted_split(estimator, truth, mixed, k) for k in (1, 0))
    assert mixture.gain > 500 and pure.gain < 0.2 * mixture.gain


def test_classes_are_judged_by_a_sample(estimator, truth, mixed, monkeypatch):
    """Of large classes some members are looked at; gains are those of all."""
    every = planted_split(estimator, truth, mixed, 1).gain
    monkeypatch.setattr(references, "MEMBERS", 60)
    assert len(heterogeneity(estimator, mixed[0], planted_particles(truth), ROWS, 1, np.random.default_rng(2))[3]) == 60
    assert planted_split(estimator, truth, mixed, 1).gain == pytest.approx(every, rel=0.3)


def test_a_class_of_few_members_is_not_split(estimator, truth, mixed):
    particles = Particles.unknown(COUNT)
    particles.ref[:19] = 0
    for judge in (heterogeneity, split_class):
        assert judge(estimator, mixed[0], particles, ROWS, 0, np.random.default_rng(1)) is None


def test_merging_twins_costs_less_than_merging_strangers(estimator, truth):
    poses = [(), (0.5, True, (1, 0)), ()]
    model = model_of(estimator, truth, [DISTINCT[0], DISTINCT[0], DISTINCT[1]], poses)
    model, _, particles = estimator.run(replace(model, fractions=np.array([0.5, 0.2, 0.3])), ROWS, 3)
    rng = np.random.default_rng(1)
    twins = merge_classes(estimator, model, particles, ROWS, 0, 1, rng)
    strangers = merge_classes(estimator, model, particles, ROWS, 0, 2, rng)
    assert twins.loss < 0.3 * strangers.loss
    larger = int(model.fractions[1] > model.fractions[0])
    assert (twins.kept, twins.freed) == (larger, 1 - larger)
    assert correlations(estimator, twins.polar[None], DISTINCT[:1]).min() > 0.9


def test_mergers_are_judged_by_a_sample(estimator, truth, monkeypatch):
    model, particles = model_of(estimator, truth, DISTINCT[:3]), planted_particles(truth)
    particles.ref[:] = truth.ref
    losses = []
    for members in (400, 60):
        monkeypatch.setattr(references, "MEMBERS", members)
        losses.append(merge_classes(estimator, model, particles, ROWS, 0, 1, np.random.default_rng(1)).loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.3)


def test_merging_empty_classes_is_quiet(estimator, truth):
    model, particles = model_of(estimator, truth, DISTINCT[:3]), Particles.unknown(COUNT)
    particles.ref[:] = 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        merger = merge_classes(estimator, model, particles, ROWS, 0, 1, np.random.default_rng(1))
    assert merger.loss == 0 and np.isfinite(merger.polar).all()


def test_similar_pairs_begin_with_the_same_phantom_in_another_pose(estimator, truth):
    poses = [(), (), (1.0, True, (2, -1)), ()]
    model = model_of(estimator, truth, [DISTINCT[0], DISTINCT[1], DISTINCT[0], DISTINCT[2]], poses)
    pairs = similar_pairs(estimator, model)
    assert pairs[0] == (0, 2)
    assert sorted(pairs) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_small_classes_are_cheap_to_merge(estimator, truth):
    model = model_of(estimator, truth, DISTINCT[:3])
    assert similar_pairs(estimator, replace(model, fractions=np.array([0.8, 0.198, 0.002])))[-1] == (0, 1)


def test_divided_classes_keep_their_particles(estimator, truth):
    polar = model_of(estimator, truth, DISTINCT).polar
    model = replace(model_of(estimator, truth, DISTINCT[:3]), fractions=np.array([0.5, 0.3, 0.2]),
                    mirror=np.array([0.1, 0.2, 0.3]))
    halves = {2: (polar[[0, 3]], 0.25), 0: (polar[[3, 1]], 0.6)}
    found = divided(model, halves)
    np.testing.assert_allclose(found.fractions, [0.2, 0.3, 0.15, 0.05, 0.3])
    np.testing.assert_allclose(found.mirror, [0.1, 0.2, 0.3, 0.3, 0.1])
    np.testing.assert_array_equal(found.polar, polar[[3, 1, 0, 3, 1]])
    assert len(found.scale) == 5 and len(model.polar) == 3


def test_moved_puts_the_split_into_the_freed_place(estimator, truth):
    model = replace(model_of(estimator, truth, DISTINCT), fractions=np.array([0.1, 0.2, 0.3, 0.4]),
                    mirror=np.array([0.1, 0.2, 0.3, 0.4]), scale=np.array([1.0, 1.1, 1.2, 1.3]))
    before = model.polar.copy()
    new = moved(model, Split(3, 1.0, np.stack([7 * before[3], 8 * before[3]])), Merger(1, 0, 1.0, 9 * before[1]))
    factors = [np.abs(new.polar[k]).sum() / np.abs(before[like]).sum() for k, like in ((0, 3), (1, 1), (2, 2), (3, 3))]
    np.testing.assert_allclose(factors, [8, 9, 1, 7], rtol=1e-5)
    np.testing.assert_allclose(new.fractions, [0.2, 0.3, 0.3, 0.2])
    np.testing.assert_allclose(new.mirror, [0.4, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(new.scale, [1.3, 1.1, 1.2, 1.3])
    np.testing.assert_array_equal(model.polar, before)                # the old model is untouched


def test_the_merged_class_may_be_split_anew(estimator, truth):
    model = replace(model_of(estimator, truth, DISTINCT[:2]), fractions=np.array([0.9, 0.1]))
    new = moved(model, Split(0, 1.0, 5 * model.polar), Merger(0, 1, 1.0, model.polar[0]))
    np.testing.assert_allclose(new.polar, 5 * model.polar)
    np.testing.assert_allclose(new.fractions, [0.5, 0.5])
