"""How both programs run: iterations, restarts, revival, threads, seeds, questions."""
import re
from pathlib import Path

import numpy as np
import pytest

from mlalign import __version__
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import PROGRAMS, Planted, pixels, run_program
from mlalign.tests.programs.measures import agreement, checkpoint, correlation, shift_lengths

pytestmark = pytest.mark.programs(*PROGRAMS)
SHORT = "--mirror --maxres 0.3 --iter 2"        # enough to see what most options do


# ---- iterations

def test_iter(classified):
    for count in (0, 1, 2):
        found = classified(f"--mirror --maxres 0.3 --iter {count}")
        assert found.iterations() == list(range(count + 1))
        assert found.info()["iterationNumber"] == count
    assert found.info(0)["changed"] == 1


def test_iter_0_leaves_the_references_alone(planted, classified):
    found = classified("--mirror --maxres 0.5 --iter 0")
    for given, average in zip(pixels(planted.references), found.averages):
        assert correlation(given, average) > 0.999


def test_eps(classified):
    hasty, patient = (classified(f"--mirror --maxres 0.3 --eps {eps}") for eps in ("1e-3", "1e-6"))
    for found, eps in ((hasty, 1e-3), (patient, 1e-6)):
        changes = [found.classes(i).numbers("signalChange").max() / 1000 for i in found.iterations()[1:]]
        assert changes[-1] <= eps and min(changes[:-1]) > eps
        assert found.info()["eps"] == eps and "converged" in found.log
    assert len(hasty.iterations()) < len(patient.iterations())


def test_it_ends_when_changes_are_small_beside_the_noise(classified):
    found = classified("--mirror --maxres 0.3")
    last = found.iterations()[-1]
    changes = [found.classes(i).numbers("signalChange").max() / 1000 for i in range(1, last + 1)]
    assert 1 < last < 100 and "of the power of its noise" in found.log
    assert min(changes) > found.info()["eps"] == 5e-5
    to_the_end = classified("--mirror --maxres 0.3 --eps 5e-5")
    assert to_the_end.iterations()[-1] > last and "by more than 5e-05" in to_the_end.log
    assert agreement(found, to_the_end) >= 0.98


@pytest.mark.programs("ml_align2d")
def test_iem_needs_no_more_passes(planted, classified):
    options = "--mirror --maxres 0.3 --eps 1e-4"
    whole, blocks = classified(options), classified(f"{options} --iem 3")
    assert len(blocks.iterations()) <= len(whole.iterations())
    assert agreement(whole, blocks) >= 0.98
    assert score(planted.truth, blocks.images.columns)["ari"] > 0.9
    np.testing.assert_allclose(blocks.classes()["weight"].sum(), 120, rtol=1e-5)


@pytest.mark.programs("ml_align2d")
def test_restarts_keep_the_most_likely(classified):
    found = classified("--nref 3 --mirror --fast --restarts 4 --min_class 0 --maxres 0.25 --iter 0", references="")
    starts = [float(value) for value in re.findall(r"start \d of 4: log-likelihood (\S+),", found.log)]
    assert len(starts) == 4 and len(set(starts)) > 1
    assert found.info()["logLikelihood"] >= max(starts)     # it is one step of EM further


@pytest.fixture(scope="module")
def one_far(planted, tmp_path_factory):
    """References: the first, a mixture of the others, and one unlike any image."""
    first, *others = pixels(planted.references)
    far = 30 * np.random.default_rng(2).standard_normal(first.shape)
    path = tmp_path_factory.mktemp("far") / "references.mrcs"
    write_stack(path, np.stack([first, np.mean(others, 0), far]))
    return str(path)


def test_min_class_revives_a_dead_class(planted, classified, one_far):
    found = classified("--mirror --maxres 0.3", references=one_far)
    assert found.classes(0)["classCount"][2] == 0
    assert "class 3 with fewer than 4 particles" in found.log and "split class 2" in found.log
    assert score(planted.truth, found.images.columns)["ari"] > 0.9


@pytest.mark.programs("ml_align2d")
def test_min_class_revives_one_of_two(tmp_path, classified):
    planted = Planted(tmp_path, "--views 2 -n 100 --box 32 --mirror --snr 0.2")
    both = pixels(planted.references).mean(0)
    write_stack(tmp_path / "one_far.mrcs", np.stack([both, 30 * np.random.default_rng(2).standard_normal(both.shape)]))
    found = classified("--mirror --maxres 0.3", planted.star, str(tmp_path / "one_far.mrcs"))
    assert score(planted.truth, found.images.columns)["ari"] > 0.9


def test_min_class_0_never_revives(classified, one_far):
    found = classified("--mirror --maxres 0.3 --min_class 0", references=one_far)
    assert found.classes()["classCount"][2] == 0 and "fewer than" not in found.log
    assert np.isfinite(found.averages).all()


def test_min_class_is_a_number_of_particles(classified):
    weights = classified(SHORT).classes().numbers("weight")
    assert "fewer than" not in classified(f"{SHORT} --min_class {weights.min() - 1}").log
    assert "fewer than" in classified(f"{SHORT} --min_class {np.median(weights)}").log


# ---- running

@pytest.mark.parametrize("options", [SHORT, "--mirror --fast --maxres 0.5 --iter 2", f"{SHORT} --norm --student"])
def test_thr_does_not_change_the_answer(options, classified):
    one, three = classified(options), classified(f"{options} --thr 3")
    np.testing.assert_array_equal(three.averages, one.averages)
    for label in ("ref", "anglePsi", "shiftX", "logLikelihood"):
        np.testing.assert_array_equal(three.images[label], one.images[label])


@pytest.mark.parametrize("options", [SHORT, "--mirror --fast --maxres 0.5 --iter 2", f"{SHORT} --norm"])
def test_memory_for_nothing_reads_again(options, classified):
    roomy, tight = classified(options), classified(f"{options} --memory 1e-6")
    np.testing.assert_array_equal(tight.images["ref"], roomy.images["ref"])
    np.testing.assert_allclose(tight.averages, roomy.averages, atol=1e-4)


@pytest.mark.programs("ml_align2d")
def test_random_seed_repeats_a_run(planted, tmp_path):
    def files(seed):
        found = run_program("-i", planted.star, "--nref", 3, "--mirror", "--fast", "--maxres", 0.25, "--iter", 2,
                            "--psi_step", 10, "--random_seed", seed, "--oroot", tmp_path / "ml2d_")
        assert found.info()["randomSeed"] == seed
        return {name: Path(f"{found.oroot}{name}").read_bytes() for name in ("classes.mrcs", "images.xmd", "frc.xmd")}

    first = files(7)
    assert files(7) == first
    assert files(8)["classes.mrcs"] != first["classes.mrcs"]


@pytest.mark.programs("ml_align2d")
def test_random_seed_is_the_time_by_default(planted, tmp_path):
    seeds = [run_program("-i", planted.star, "--iter", 0, "--oroot", tmp_path / name).info()["randomSeed"]
             for name in "ab"]
    assert seeds[0] != seeds[1] and min(seeds) >= 0


def test_save_memB_searches_less_far(classified):
    far, near = classified("--mirror --maxres 0.3 --iter 0"), classified("--mirror --maxres 0.3 --iter 0 --save_memB")
    assert checkpoint(far, 0)[1]["shift_radius"] == 12 and checkpoint(near, 0)[1]["shift_radius"] == 9
    assert shift_lengths(near, 0).max() <= 9


def test_save_memA_says_that_it_does_nothing(classified):
    plain, found = classified(SHORT), classified(f"{SHORT} --save_memA")
    assert "--save_memA" in found.log and "--save_memA" not in plain.log
    np.testing.assert_array_equal(found.averages, plain.averages)


@pytest.mark.parametrize("option, expected", [
    ("--version", f"mlalign {__version__}"), ("--help", "usage: {}"), ("-h", "examples:")])
def test_questions(option, expected, program, capsys):
    with pytest.raises(SystemExit) as stop:
        PROGRAMS[program][0].main([option])
    assert stop.value.code == 0
    assert expected.format(program) in capsys.readouterr().out


def test_help_explains_every_option(program):
    for action in PROGRAMS[program][0].parser()._actions:
        assert action.help and len(action.help) > 5, action.option_strings
