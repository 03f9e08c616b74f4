"""Random starts and moves between classes, on particles whose classes are known."""
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine import starts
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.ctf import PhaseFlipped
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.spectral import power_spectra
from mlalign.programs.engine.spectral_estimator import SpectralEstimator
from mlalign.programs.engine.starts import Improvement, random_start, sizes, start_maxres
from mlalign.programs.scoring import adjusted_rand_index
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack, planted
from mlalign.tests.programs.engine.spectral_scenes import micrographs

COUNT, ROWS, MAXRES, OFFSET = 160, np.arange(160), 0.25, 0.8


@pytest.fixture(scope="module")
def truth():
    return planted(DISTINCT, COUNT, 0.3, seed=5, offset=0.7)


@pytest.fixture
def estimator(truth):
    workers = Workers(1)
    yield Estimator(Stack(truth.images), Settings(mirror=True), workers)
    workers.close()


@pytest.fixture
def two_phantoms():
    """An estimator of the particles of two phantoms, and their truth."""
    workers, truth = Workers(1), planted(DISTINCT[:2], COUNT, 0.3, seed=6, offset=0.7)
    yield Estimator(Stack(truth.images), Settings(mirror=True), workers), truth
    workers.close()


def judged(estimator, model, truth):
    """Agreement with the planted classes, and the likelihood."""
    particles = Particles.unknown(COUNT)
    estimator.shift_radius = None
    likelihood = estimator.expect(model, particles, ROWS).log_likelihood
    return adjusted_rand_index({"ref": truth.ref}, {"ref": particles.ref}), likelihood


def start(estimator, truth, seed, restarts=1, log=None, **more):
    rng = np.random.default_rng(seed)
    lines = [] if log is None else log
    return random_start(estimator, 4, truth.sigma, OFFSET, restarts, rng, lines.append, MAXRES, **more)


def test_start_maxres():
    assert start_maxres(64) == pytest.approx(8 / 64)
    assert start_maxres(12) == 0.5


def test_sizes(estimator):
    estimator.enter(MAXRES)
    model = estimator.initial_model(np.zeros((3, *estimator.disk.kx.shape)), 1, 1, [0.2, 0.5, 0.3])
    assert sizes(model, 100) == "50 30 20"


def test_moves_lead_out_of_a_trap(estimator, truth):
    """Two classes for one phantom and none for another: EM stays there, a split and a merger together do not."""
    estimator.enter(MAXRES, quick=True)
    references = [phantom.image(32) for phantom in DISTINCT[:3]] + [DISTINCT[0].image(32, 2.0)]
    model = estimator.initial_model(estimator.disk.polar(np.stack(references)), truth.sigma, OFFSET)
    stuck = estimator.run(model, ROWS, 12)
    trapped, before = judged(estimator, stuck[0], truth)
    lines = []
    model, likelihood, particles = Improvement(estimator, ROWS, np.random.default_rng(1), lines.append).run(stuck, 8)
    free, after = judged(estimator, model, truth)
    assert trapped < 0.85 and free > 0.95
    assert after > before + 500 and likelihood > stuck[1] + 500
    assert adjusted_rand_index({"ref": truth.ref}, {"ref": particles.ref}) > 0.95
    assert any("kept" in line for line in lines)
    for line in lines:
        parent, freed = re.search(r"split class (\d+), merge \d+ and (\d+)", line).groups()
        assert parent != freed


def test_moves_that_gain_little_are_not_kept(estimator, truth, monkeypatch):
    """Twice what the right move gains is asked for."""
    estimator.enter(MAXRES, quick=True)
    references = [phantom.image(32) for phantom in DISTINCT[:3]] + [DISTINCT[0].image(32, 2.0)]
    model = estimator.initial_model(estimator.disk.polar(np.stack(references)), truth.sigma, OFFSET)
    stuck = estimator.run(model, ROWS, 12)
    moved = Improvement(estimator, ROWS, np.random.default_rng(1), str)
    gain = moved.run(stuck, 1)[1] - stuck[1]
    assert moved.kept == 1
    monkeypatch.setattr(starts, "WORTHWHILE", 2 * gain / COUNT)
    lines = []
    left = Improvement(estimator, ROWS, np.random.default_rng(1), lines.append)
    left.run(stuck, 8)
    assert left.kept == 0 and "dropped" in lines[0] and len(lines) <= starts.PATIENCE


def test_moves_revive_one_of_two_classes(two_phantoms):
    """Two phantoms in one class, the other class dead."""
    estimator, truth = two_phantoms
    estimator.enter(MAXRES, quick=True)
    first = DISTINCT[0].image(32)
    model = estimator.initial_model(estimator.disk.polar(np.stack([first, 0 * first])), truth.sigma, OFFSET, [1, 1e-9])
    stuck = estimator.run(model, ROWS, 3)
    assert stuck[0].fractions[1] < 0.01
    model, _, particles = Improvement(estimator, ROWS, np.random.default_rng(1), lambda line: None).run(stuck, 4)
    assert adjusted_rand_index({"ref": truth.ref}, {"ref": particles.ref}) > 0.95


@pytest.mark.parametrize("tried", [False, True], ids=["by what moves promise", "by trials"])
def test_a_good_classification_is_left_alone(estimator, truth, tried, monkeypatch):
    if tried:
        monkeypatch.setattr(starts, "HOPELESS", -np.inf)
    estimator.enter(MAXRES, quick=True)
    references = np.stack([phantom.image(32) for phantom in DISTINCT])
    state = estimator.run(estimator.initial_model(estimator.disk.polar(references), truth.sigma, OFFSET), ROWS, 8)
    lines = []
    model, likelihood, _ = Improvement(estimator, ROWS, np.random.default_rng(1), lines.append).run(state, 8)
    assert likelihood >= state[1]
    assert judged(estimator, model, truth)[0] > 0.95
    assert tried <= len(lines) <= (starts.PATIENCE + 2 if tried else 0)
    for line in lines:
        parent, freed = re.search(r"split class (\d+), merge \d+ and (\d+)", line).groups()
        assert parent != freed


def test_starts_with_moves_recover_what_single_starts_miss(estimator, truth):
    seeds = 3, 5
    single = [judged(estimator, start(estimator, truth, seed, split=False), truth)[0] for seed in seeds]
    moved = [judged(estimator, start(estimator, truth, seed), truth)[0] for seed in seeds]
    assert min(single) < 0.8
    assert min(moved) > 0.95


def test_the_most_likely_start_is_kept(estimator, truth):
    lines = []
    model = start(estimator, truth, 5, restarts=3, log=lines, split=False)
    likelihoods = [float(re.search(r"log-likelihood (-?[\d.]+)", line)[1]) for line in lines]
    assert len(likelihoods) == 3 and max(likelihoods) > min(likelihoods) + 100
    # one more M-step was taken after that likelihood
    assert max(likelihoods) - 1 < judged(estimator, model, truth)[1] < max(likelihoods) + 50


def test_the_same_seed_gives_the_same_start(estimator, truth, monkeypatch):
    monkeypatch.setattr(starts, "START_ITERATIONS", 2)
    one, same, other = (start(estimator, truth, seed, split=False).polar for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1


def test_large_sets_are_sampled(estimator, truth, monkeypatch):
    monkeypatch.setattr(starts, "FEWEST_IMAGES", 40)
    monkeypatch.setattr(starts, "IMAGES_PER_CLASS", 12)
    seen = []
    monkeypatch.setattr(estimator, "run", lambda model, rows, *_: seen.append(rows) or (model, 0.0, None))
    start(estimator, truth, 1, restarts=2, split=False)
    assert len(seen) == 2 and len(seen[0]) == 48
    np.testing.assert_array_equal(seen[0], seen[1])                   # likelihoods must be comparable
    np.testing.assert_array_equal(seen[0], np.unique(seen[0]))
    assert 100 < seen[0].max() < COUNT


@pytest.mark.parametrize("maxres, last", [(0.5, 0.49), (0.3, 0.3), (0.2, 0.2)])
def test_a_start_grows_to_the_last_stage(truth, maxres, last):
    workers = Workers(1)
    made = Estimator(Stack(truth.images[:60]), Settings(mirror=False, psi_step=15), workers)
    entered, enter = [], made.enter
    made.enter = lambda resolution, quick=False, rows=None: (entered.append(resolution), enter(resolution, quick, rows))
    model = random_start(made, 2, truth.sigma, OFFSET, 1, np.random.default_rng(1), lambda line: None, maxres)
    workers.close()
    stages = [min(maxres, pixels / 32) for pixels in starts.STAGES]
    assert entered == sorted(set(stages))
    assert model.disk is made.disk and made.maxres == pytest.approx(last)


def test_one_class_needs_no_moves(estimator, truth):
    lines = []
    random_start(estimator, 1, truth.sigma, OFFSET, 2, np.random.default_rng(1), lines.append, MAXRES)
    assert len(lines) == 2


def test_a_start_of_many_classes_divides_a_few(truth, estimator, monkeypatch):
    """Each class that divides makes the images more likely, and no view is missed."""
    monkeypatch.setattr(starts, "FIRST_CLASSES", 1)
    seen, run = [], estimator.run

    def noted(model, rows, *arguments, **more):
        seen.append((model.references, len(rows)))
        return run(model, rows, *arguments, **more)

    monkeypatch.setattr(estimator, "run", noted)
    model = start(estimator, truth, 3)
    assert [references for references, images in seen if images == COUNT][:3] == [1, 2, 3]
    assert judged(estimator, model, truth)[0] > 0.95


def test_classes_that_vary_no_more_than_noise_wait_for_a_higher_resolution(truth, estimator, monkeypatch):
    """Where there is none, they divide all the same: as many classes as were asked for."""
    judge = starts.heterogeneity
    monkeypatch.setattr(starts, "heterogeneity", lambda *arguments: (-1.0, *judge(*arguments)[1:]))
    monkeypatch.setattr(starts, "OVERSIZE", 9)
    estimator.enter(MAXRES, quick=True)
    references = np.stack([phantom.image(32) for phantom in DISTINCT[:2]])
    model = estimator.initial_model(estimator.disk.polar(references), truth.sigma, OFFSET)
    state = estimator.run(model, ROWS, 4)
    assert starts._grown(estimator, state, ROWS, 3, np.random.default_rng(1))[0].references == 2
    assert starts._grown(estimator, state, ROWS, 3, np.random.default_rng(1), anyway=True)[0].references == 3


def test_classes_that_are_far_too_large_divide_although_they_seem_uniform(truth, estimator, monkeypatch):
    """At random, and EM finds the two views in one of them, which an average too blurred to align to has hidden."""
    judge = starts.heterogeneity
    monkeypatch.setattr(starts, "heterogeneity", lambda *arguments: (-1.0, *judge(*arguments)[1:]))
    estimator.enter(MAXRES, quick=True)
    model = estimator.initial_model(estimator.disk.polar(DISTINCT[0].image(32)[None]), truth.sigma, OFFSET)
    state = estimator.run(model, ROWS, 4)
    for count, grown in ((2, 1), (3, 2)):                      # a class of twice the mean size may well be one view
        found = starts._grown(estimator, state, ROWS, count, np.random.default_rng(1))
        assert found[0].references == grown
    assert found[1] > state[1] + 500


def test_classes_of_images_that_are_all_alike(truth):
    """They cannot divide: there is but one group."""
    workers = Workers(1)
    alike = Estimator(Stack(np.repeat(truth.images[:1], 120, axis=0)), Settings(psi_step=15), workers)
    model = random_start(alike, 6, truth.sigma, OFFSET, 1, np.random.default_rng(1), lambda line: None, MAXRES)
    workers.close()
    assert model.references == 6 and np.isfinite(model.polar).all() and np.isfinite(model.fractions).all()


def test_more_classes_than_can_divide_begin_with_random_images(truth):
    workers = Workers(1)
    few = Estimator(Stack(truth.images[:30]), Settings(mirror=True, psi_step=15), workers)
    model = random_start(few, 9, truth.sigma, OFFSET, 1, np.random.default_rng(1), lambda line: None, MAXRES)
    workers.close()
    assert model.references == 9 and np.isfinite(model.polar).all()
    assert model.fractions.sum() == pytest.approx(1)


def test_given_fractions_are_where_starts_begin(estimator, truth, monkeypatch):
    begun = []
    monkeypatch.setattr(estimator, "run", lambda model, *_: begun.append(model) or (model, 0.0, None))
    start(estimator, truth, 1, split=False, fractions=[4, 3, 2, 1])
    np.testing.assert_allclose(begun[0].fractions, [0.4, 0.3, 0.2, 0.1])


# ---- starts with CTFs

class BehindCtfs:
    """Particles of three phantoms behind CTFs, 32 px, and the estimators that a start needs."""

    settings = Settings(mirror=True, psi_step=10)

    def __init__(self, workers, count=150):
        self.truth = micrographs(DISTINCT[:3], count, 0.2, seed=1, n=32)
        self.source, self.optics = Stack(self.truth.images), self.truth.optics
        self.rows, self.workers = np.arange(count), workers
        self.power = power_spectra(self.source, self.optics.group, self.optics.groups)
        self.references = np.stack([phantom.image(32) for phantom in DISTINCT[:3]])

    def estimators(self):
        flipped = PhaseFlipped(self.source, self.optics.ctf, self.optics.pixel_size)
        return (SpectralEstimator(self.source, self.settings, self.workers, self.optics, self.power),
                Estimator(flipped, self.settings, self.workers))

    def averages(self, white, references):
        """EM from these references (K, 32, 32) on the phase-flipped images: a model."""
        white.enter(start_maxres(32), quick=True)
        model = white.initial_model(white.disk.polar(references), self.truth.images.std(), 2.0)
        return white.run(model, self.rows, 4)[0]

    def judged(self, estimator, model):
        """Agreement with the planted classes, and the likelihood per image after EM from centred references.

        EM leaves averages off their centre for long, for which the shifts' prior pays.
        """
        estimator.enter(MAXRES)
        estimator.shift_radius = None
        model, _, particles = estimator.run(model.on(estimator.disk), self.rows, 2)
        shifts = np.stack([particles.shift_x, particles.shift_y], 1)
        centre = [np.round(shifts[particles.ref == k].mean(0)) for k in range(model.references)]
        centred = model.polar * estimator.disk.phase(-np.array(centre))
        _, likelihood, particles = estimator.run(replace(model, polar=centred), self.rows, 10)
        agreement = adjusted_rand_index({"ref": self.truth.ref + 1}, {"ref": particles.ref + 1})
        return agreement, likelihood / len(self.rows)


@pytest.fixture(scope="module")
def behind_ctfs():
    workers = Workers(1)
    yield BehindCtfs(workers)
    workers.close()


def start_with_ctfs(behind_ctfs, seed, split):
    """The estimator that a start of three classes leaves behind, and its model."""
    made, white = behind_ctfs.estimators()
    model = random_start(made, 3, behind_ctfs.truth.images.std(), 1.5, 1, np.random.default_rng(seed), str, MAXRES,
                         split, white=white)
    return made, model


def test_starts_with_ctfs_reach_the_truth(behind_ctfs):
    """Its likelihood to 0.3 nats an image, from random references."""
    made, _ = behind_ctfs.estimators()
    made.enter(MAXRES)
    agreement, best = behind_ctfs.judged(made, made.initial_model(made.disk.polar(behind_ctfs.references), 1.5))
    assert agreement == 1
    for seed in (0, 1):
        agreement, likelihood = behind_ctfs.judged(*start_with_ctfs(behind_ctfs, seed, split=False))
        assert agreement > 0.98 and likelihood > best - 0.3


def test_classes_divide_once_they_are_corrected(behind_ctfs, monkeypatch):
    monkeypatch.setattr(starts, "FIRST_CLASSES", 1)
    seen, run = [], SpectralEstimator.run

    def noted(self, model, *arguments, **more):
        seen.append(model.references)
        return run(self, model, *arguments, **more)

    monkeypatch.setattr(SpectralEstimator, "run", noted)
    made, model = start_with_ctfs(behind_ctfs, 1, split=True)
    assert seen[:3] == [1, 2, 3]
    assert behind_ctfs.judged(made, model)[0] > 0.98


def test_moves_lead_out_of_a_trap_behind_ctfs(behind_ctfs):
    """Averages with two classes for one phantom and one for two."""
    made, white = behind_ctfs.estimators()
    first, second, third = behind_ctfs.references
    averages = behind_ctfs.averages(white, np.stack([first, first[::-1], second + third]))
    made.enter(MAXRES, quick=True)
    stuck = made.run(made.corrected(averages, white, behind_ctfs.rows), behind_ctfs.rows, 12)
    assert behind_ctfs.judged(made, stuck[0])[0] < 0.8
    made.enter(MAXRES, quick=True)
    model = Improvement(made, behind_ctfs.rows, np.random.default_rng(1), str).run(stuck, 2)[0]
    assert behind_ctfs.judged(made, model)[0] > 0.98


@pytest.fixture
def stages(behind_ctfs, monkeypatch):
    """A function that makes a start with CTFs without EM: where it went, and the resolutions improved at."""
    def go(maxres, split=True):
        made, white = behind_ctfs.estimators()
        seen = SimpleNamespace(entered=[], improved=[], rows=[], estimator=made)
        enter = made.enter
        monkeypatch.setattr(made, "enter", lambda resolution, quick=False, rows=None: (
            seen.entered.append(resolution), enter(resolution, quick, rows)))
        for one in (made, white):
            monkeypatch.setattr(one, "run", lambda model, rows, *_: seen.rows.append(rows) or (model, 0.0, None))
        monkeypatch.setattr(Improvement, "run", lambda self, state, trials: seen.improved.append(made.maxres) or state)
        seen.model = random_start(made, 3, behind_ctfs.truth.images.std(), 2.0, 1, np.random.default_rng(1), str,
                                  maxres, split, white=white)
        return seen

    return go


@pytest.mark.parametrize("maxres, expected", [(0.5, [0.25, 0.35, 0.49]), (0.4, [0.25, 0.35, 0.4]), (0.25, [0.25])])
def test_starts_with_ctfs_grow_as_they_sharpen(stages, maxres, expected):
    """Classes are moved once, at the second resolution, or at the only one."""
    seen = stages(maxres)
    np.testing.assert_allclose(seen.entered, expected)
    np.testing.assert_allclose(seen.improved, expected[:2][-1:])
    assert seen.model.disk is seen.estimator.disk
    assert not stages(maxres, split=False).improved


def test_starts_with_ctfs_look_at_a_sample(stages, monkeypatch):
    monkeypatch.setattr(starts, "FEWEST_IMAGES", 40)
    monkeypatch.setattr(starts, "IMAGES_PER_CLASS", 20)
    for rows in stages(0.5).rows:
        assert len(rows) == 60 and len(np.unique(rows)) == 60 and rows.max() < 150
