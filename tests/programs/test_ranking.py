"""Scores of classes: each part against an obvious reference, and junk below particles."""
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs import ranking
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.members import particles_of
from mlalign.programs.phantoms import circle, phantoms
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.ranking import THRESHOLD, WEIGHTS, Evidence, rank, rank_classes, shell_power
from mlalign.programs.results import FINAL, Run
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.programs.mref_scene import Scene
from mlalign.tests.viewers import fabricate

SIZE = 32
NOISE, EDGE = 3, 4          # numbers of the classes of junk, from 1


def junk(rng, count):
    """An average of ``count`` images of noise that were aligned to fit, and one of edges, in the circle."""
    y = np.arange(SIZE)[:, None] - SIZE // 2 + np.zeros((SIZE, SIZE))
    noise = rng.normal(0, 2 / np.sqrt(count), (SIZE, SIZE)) * (1 + 0.4 * circle(SIZE, SIZE / 3, 4))
    return np.array([noise, 1.5 / (1 + np.exp(-y / 1.5))]) * circle(SIZE, SIZE / 2 - 1)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run with four classes, of which two are junk."""
    references = np.concatenate([2 * phantoms(2, SIZE), junk(np.random.default_rng(1), 60)])
    return fabricate.make_run(tmp_path_factory.mktemp("mixed"), references, count=240, iterations=4, noise=1.0)[0]


@pytest.fixture(scope="module")
def ranked(mixed):
    return rank(mixed)


def evidence(averages, sizes, members, **more):
    """Of averages (K, n, n) and of each one's members (B, n, n)."""
    count = len(averages)
    return Evidence(np.arange(1, count + 1), np.array(sizes), averages, lambda k: members[k],
                    more.pop("halves", np.full(count, np.nan)), **more)


# ---- what it is for

def test_junk_scores_lower_than_particles(ranked):
    good = [ranked.of(ref) for ref in ranked.refs if ref not in (NOISE, EDGE)]
    assert min(good) > THRESHOLD > max(ranked.of(NOISE), ranked.of(EDGE))
    assert set(ranked.chosen()) == set(ranked.refs) - {NOISE, EDGE}
    assert max(ranked.parts["signal"][NOISE - 1], ranked.parts["signal"][EDGE - 1]) < 0.3
    assert ranked.notes == ()


def test_halves_that_agree_do_not_save_noise(mixed):
    """Noise aligned to itself has the best FRC of all."""
    run = Run(mixed.oroot)
    run.frc = lambda iteration, ref: (np.linspace(0, 0.5, 17), np.full(17, 0.9 if ref == NOISE else 0.5))
    found = rank(run)
    assert found.resolution[NOISE - 1] < 0.5 * found.resolution[0] and found.parts["resolution"][NOISE - 1] < 0.5


def test_fine_detail_without_signal_is_none():
    """However far halves agree, and the average is clear of its rim."""
    rng = np.random.default_rng(7)
    averages = np.stack([2 * phantoms(1, SIZE)[0], 0.2 * phantoms(1, SIZE)[0]])
    members = averages[:, None] + rng.normal(0, 1, (2, 50, SIZE, SIZE))
    found = rank_classes(evidence(averages, [5000, 5000], members, halves=np.array([0.3, 0.3])))
    assert found.parts["resolution"][0] == 1
    assert found.parts["resolution"][1] == pytest.approx(2 * found.parts["signal"][1]) and found.resolution[1] > 0.1


def test_the_score_is_the_weighted_mean_of_the_parts(ranked):
    for k in range(len(ranked.refs)):
        wanted = sum(WEIGHTS[name] * ranked.parts[name][k] for name in WEIGHTS) / sum(WEIGHTS.values())
        assert ranked.score[k] == pytest.approx(wanted)
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert all(((part >= 0) & (part <= 1)).all() for part in ranked.parts.values())


def test_unknown_parts_are_left_out_and_said():
    averages = phantoms(2, SIZE)
    rng = np.random.default_rng(2)
    found = rank_classes(evidence(averages, [30, 10], averages[:, None] + rng.normal(0, 1, (2, 20, SIZE, SIZE))))
    assert np.isnan(found.parts["stability"]).all() and not np.isnan(found.score).any()
    known = ["signal", "resolution", "size"]
    wanted = sum(WEIGHTS[name] * found.parts[name][1] for name in known) / sum(WEIGHTS[name] for name in known)
    assert found.score[1] == pytest.approx(wanted)


# ---- the parts, one by one

def test_shell_power_is_that_of_a_loop_over_coefficients():
    rng = np.random.default_rng(3)
    mask = circle(9, 3, 1)
    image = rng.normal(2, 1, (9, 9))
    inside = (image - (image * mask).sum() / mask.sum()) * mask
    shells = {}
    for row in range(-4, 5):
        for column in range(-4, 5):
            total = sum(inside[y, x] * np.exp(-2j * np.pi * (row * y + column * x) / 9)
                        for y in range(9) for x in range(9))
            shells.setdefault(round(np.hypot(row, column)), []).append(abs(total) ** 2 / (mask**2).sum())
    wanted = [np.mean(shells[shell]) for shell in range(5)]
    np.testing.assert_allclose(shell_power(image[None], mask)[0], wanted, rtol=1e-5, atol=1e-6)


def test_white_noise_has_power_one():
    noise = np.random.default_rng(4).normal(0, 1, (200, 24, 24))
    np.testing.assert_allclose(shell_power(noise, circle(24, 10, 2)).mean(0)[2:], 1, atol=0.1)
    volumes = np.random.default_rng(4).normal(0, 1, (20, 12, 12, 12))
    np.testing.assert_allclose(shell_power(volumes, ranking.ball(12, 4, 2, 3)).mean(0)[2:], 1, atol=0.15)


def test_signal_is_the_share_beyond_noise():
    """Where nothing is at the rim, it is the share of the particles' power, less that of the mean of n images."""
    rng = np.random.default_rng(5)
    average = 3 * phantoms(1, SIZE)[0] * circle(SIZE, 9, 3)
    average[0, 0] = 0
    average[SIZE // 2, 1] = 1e-3        # draws the circle to the box
    members = average + rng.normal(0, 1, (50, SIZE, SIZE))
    whole, inner, rim = ranking._masks(average[None])
    share = shell_power(average[None], inner)[0] / shell_power(members, whole).mean(0)
    around = shell_power(average[None], rim)[0] / shell_power(members, whole).mean(0)
    wanted = [max(min(share[r], 1) - 1.5 * around[r] - 4 / 40, 0) for r in range(1, SIZE // 2 + 1)]
    signal, trusted = ranking._signal(evidence(average[None], [40], [members]), [])
    assert signal[0] == pytest.approx(np.mean(wanted))
    clear = [share[r] > 3 * max(around[r], 1 / 40) for r in range(1, SIZE // 2 + 1)]
    last = max(r for r in range(1, SIZE // 2 + 1) if clear[r - 1] and np.mean(clear[:r]) >= 0.5)
    assert trusted[0] == pytest.approx(last / SIZE)


def test_a_few_shells_may_be_unclear_below_a_trusted_frequency():
    """Where a CTF is near zero, there is no signal."""
    frequency = np.arange(1, 11) / 20
    last = ranking._last_clear
    assert last(frequency, np.array([1, 0, 1, 0, 0, 1, 0, 0, 0, 1], bool)) == frequency[5]
    assert last(frequency, np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)) == frequency[3]
    assert last(frequency, np.array([0, 0, 0, 1, 0, 0, 0, 0, 0, 0], bool)) == 0
    assert last(frequency, np.zeros(10, bool)) == 0


def test_frequencies_that_the_run_did_not_use_do_not_count():
    rng = np.random.default_rng(6)
    averages = phantoms(1, SIZE)
    members = [averages + rng.normal(0, 0.2, (20, SIZE, SIZE))]
    (low,), _ = ranking._signal(evidence(averages, [20], members, highest=4 / SIZE), [])
    (all_of_it,), _ = ranking._signal(evidence(averages, [20], members), [])
    assert low > 1.2 * all_of_it


def test_corrected_averages_are_seen_through_the_ctf():
    rng = np.random.default_rng(6)
    averages = phantoms(1, SIZE)
    members = [averages + rng.normal(0, 1, (20, SIZE, SIZE))]
    (plain,), _ = ranking._signal(evidence(averages, [500], members), [])
    (half,), _ = ranking._signal(evidence(averages, [500], members, transfer=lambda f: np.full(len(f), 0.5)), [])
    assert half < plain


def test_relative_to_the_best_quarter_of_the_particles():
    values, sizes = np.array([0.2, 0.8, 0.6, 0.9, np.nan]), np.array([50, 20, 20, 5, 5])
    # 0.9 holds 5 of the 95 particles whose value is known, less than a quarter; with those of 0.8 it is more
    np.testing.assert_allclose(ranking._relative(values, sizes), [0.25, 1, 0.75, 1, np.nan])
    assert np.isnan(ranking._relative(np.zeros(2), np.array([1, 1]))).all()
    np.testing.assert_allclose(ranking._relative(np.array([0, 0.2, 0.1]), np.array([90, 1, 1])), [0, 1, 0.5])


def test_stability_is_correlation_times_the_share_that_stayed(tmp_path):
    references = phantoms(2, SIZE)
    run, rows = fabricate.make_run(tmp_path, references, count=60, iterations=2)
    changed = dict(rows, ref=np.where(np.arange(60) < 10, 3 - rows["ref"], rows["ref"]))
    fabricate.write_result(run, 2, references, changed, 2)
    # as the program does, with the table of particles beside the classes
    for iteration, columns in ((1, rows), (2, changed)):
        write_star(f"{run.prefix(iteration)}images.xmd", {"particles": columns})
    first, second = (open_stack(f"{run.prefix(i)}classes.mrcs").read(slice(None)) for i in (1, 2))
    found = rank(run, 2).parts["stability"]
    for k in range(2):
        was, now = set(rows["itemId"][rows["ref"] == k + 1]), set(changed["itemId"][changed["ref"] == k + 1])
        wanted = np.corrcoef(first[k].ravel(), second[k].ravel())[0, 1] * len(was & now) / len(was | now)
        assert found[k] == pytest.approx(max(wanted, 0), abs=1e-5)


def test_averages_that_turn_are_not_compared(tmp_path):
    """Those of refine2d."""
    references = phantoms(2, SIZE)
    run, _ = fabricate.make_run(tmp_path, references, count=60, iterations=2)
    assert (rank(run).parts["stability"] < 1).all()
    Path(f"{run.oroot}0_refine2d_parms.json").write_text("{}")
    found = rank(run)
    assert (found.parts["stability"] == 1).all() and any("of the members alone" in note for note in found.notes)


def test_one_iteration_has_no_stability(mixed):
    found = rank(mixed, 1)
    assert np.isnan(found.parts["stability"]).all()
    assert any("stability" in note for note in found.notes)


def test_an_empty_class_scores_zero_and_is_never_chosen():
    averages = phantoms(2, SIZE)
    found = rank_classes(evidence(averages, [10, 0], [averages[:1], None]))
    assert found.score[1] == 0 and list(found.chosen(0.0)) == [1]


# ---- what may be missing

def test_particles_that_are_gone_leave_signal_out(tmp_path):
    run, _ = fabricate.make_run(tmp_path, 2 * phantoms(2, SIZE), noise=1.0)
    (tmp_path / "particles.mrcs").unlink()
    found = rank(run)
    assert np.isnan(found.parts["signal"]).all() and (found.score > 0).all()
    assert any(note.startswith("signal: the particles cannot be compared") for note in found.notes)
    assert not np.isnan(found.resolution).any()         # of the halves alone


def test_averages_that_are_gone_are_an_error(tmp_path):
    run, _ = fabricate.make_run(tmp_path, phantoms(2, SIZE))
    (tmp_path / "ml2d_classes.mrcs").unlink()
    with pytest.raises(UserError, match=r"ml2d_classes\.mrcs"):
        rank(run)


# ---- other programs' runs

def test_mref_iterations_have_all_columns_and_the_order_of_the_input(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp)
    outcome = scene.aligned()
    final, first = particles_of(outcome, FINAL), particles_of(outcome, 1)
    assert (first["itemId"] == final["itemId"]).all() and "samplingRate" in first
    blocks = read_star(outcome.classes_file(1))
    for ref in outcome.classes(1)["ref"]:
        assert set(first["itemId"][first["ref"] == ref]) == set(blocks[f"class{ref:06d}_images"]["itemId"])
    found = rank(outcome)
    assert (found.score > THRESHOLD).all() and not np.isnan(found.parts["stability"]).any()
    (outcome.outdir / "images.xmd").rename(outcome.outdir / "gone.xmd")
    try:
        assert (np.diff(particles_of(outcome, 1)["itemId"]) > 0).all()
    finally:
        (outcome.outdir / "gone.xmd").rename(outcome.outdir / "images.xmd")


def test_subtomograms(tmp_path):
    references = phantoms3d(2, 16)
    rows = tomo_fabricate.particles(tmp_path, references, 30)
    run = TomoRun(str(tmp_path / "mltomo"))
    for iteration in (1, 2, FINAL):
        tomo_fabricate.write_result(run, iteration, references, rows, 2)
    found = rank(run)
    assert (found.score > 0.4).all() and found.sizes.sum() == 30 and found.notes == ()
    halves = ranking._halves(run, FINAL, found.refs, [])
    frequency, curve = run.fsc(FINAL, 1)
    below = frequency[np.flatnonzero(curve < 0.143)[0]] * tomo_fabricate.PIXEL
    assert halves[0] == pytest.approx(below, abs=1 / 16)         # 1/px, not 1/Å


def test_spectra_give_the_mean_square_ctf():
    frequency = np.linspace(0, 0.5, 6)
    groups = [SimpleNamespace(count=10, frequency=frequency, ctf=np.full(6, 0.5)),
              SimpleNamespace(count=30, frequency=frequency, ctf=np.full(6, 1.0))]
    transfer = ranking._transfer(SimpleNamespace(spectra=lambda iteration: groups), FINAL)
    np.testing.assert_allclose(transfer(np.array([0.1, 0.33])), (10 * 0.25 + 30 * 1) / 40)


def test_blank_particles_tell_nothing(tmp_path):
    run, _ = fabricate.make_run(tmp_path, phantoms(2, SIZE))
    write_stack(tmp_path / "particles.mrcs", np.zeros((200, SIZE, SIZE)), 3.0)
    found = rank(run)
    assert np.isnan(found.parts["signal"]).all() and np.isfinite(found.score).all()
    assert any("no average stands out" in note for note in found.notes)


def test_averages_and_particles_of_different_sizes(tmp_path):
    run, _ = fabricate.make_run(tmp_path, phantoms(2, SIZE))
    write_stack(tmp_path / "particles.mrcs", np.ones((200, 8, 8)), 3.0)
    found = rank(run)
    assert np.isnan(found.parts["signal"]).all()
    assert any("8 px" in note and f"{SIZE} px" in note for note in found.notes)
