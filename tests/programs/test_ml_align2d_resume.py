"""A run that was killed, stopped or finished goes on as if nothing had happened: of both programs."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.tests.programs.conftest import BARE, PROGRAMS, Outcome, pixels, run_program, spoken

pytestmark = pytest.mark.programs(*PROGRAMS)
# A program that kills itself when it has written so many times (twice per file: contents, then name).
KILLED = """
import importlib, os, sys
from mlalign.programs.formats import whole
program = importlib.import_module("mlalign.programs." + sys.argv[1])
sync, left = whole._sync, iter(range(int(sys.argv[2])))
def kill_at_last(path):
    if next(left, None) is None:
        os.kill(os.getpid(), 9)
    sync(path)
whole._sync = kill_at_last
program.main(sys.argv[3:])
"""
PER_ITERATION = {"ml_align2d": 10, "mlf_align2d": 14}       # syncs: two for each file
BEFORE_RESULT = {"ml_align2d": 0, "mlf_align2d": 4}         # syncs between the last iteration and the result
MORE_FILES = {"ml_align2d": (), "mlf_align2d": ("noise.xmd", "ssnr.xmd", "extra/cref_classes.mrcs")}
BASE = "--mirror --maxres 0.3 --eps 1e-6"


@pytest.fixture
def arguments(program, planted):
    """``arguments(oroot, options, references)`` of a run on the planted images; references as for ``classified``."""
    def words(oroot, options, references=None):
        given = planted.references if references is None else references
        return ["-i", planted.star, *(("--ref", given) if given else ()), "--oroot", str(oroot), "--random_seed", "1",
                *spoken(program, options.split())]
    return words


@pytest.fixture
def start(program):
    """Run the program in this process."""
    return lambda *options: run_program(*options, program=program)


def kill_9(program, count, command):
    """Run until the ``count``-th sync, then kill -9."""
    done = subprocess.run([sys.executable, "-c", KILLED, program, str(count), *command], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def assert_same(one, other, but=("seconds",)):
    """Bit for bit the same result and history, but for names and these labels."""
    more = [name for files in MORE_FILES.values() for name in files if Path(other.oroot + name).exists()]
    for name in ("classes.mrcs", "images.xmd", "frc.xmd", *more):
        assert Path(one.oroot + name).read_bytes() == Path(other.oroot + name).read_bytes(), name
    assert one.iterations() == other.iterations()
    for iteration in [None, *one.iterations()]:
        tables = [read_star(outcome.classes_file(iteration)) for outcome in (one, other)]
        assert list(tables[0]) == list(tables[1])
        for block in tables[0]:
            for label in set(tables[0][block].columns) - set(but):
                a, b = (table[block][label] for table in tables)
                if (block, label) == ("classes", "image"):
                    a, b = ([name.split("@")[0] for name in names] for names in (a, b))
                np.testing.assert_array_equal(a, b, f"iteration {iteration}, {block}, {label}")


def hidden(folder):
    return list(Path(folder).rglob(".*"))


@pytest.fixture
def finished(classified, tmp_path):
    """A copy of a run of three iterations, to go on from: its outcome."""
    source = classified(f"{BASE} --iter 3")
    shutil.copytree(Path(source.oroot).parent, tmp_path / "run")
    return Outcome(tmp_path / "run" / "ml2d_")


# ---- kill -9

@pytest.mark.parametrize("iterations, syncs", [
    (1, -1),                # iteration 0's checkpoint is renamed, its folder not synced
    (1, 1),                 # iteration 1: its first file written
    (3, -2),                # iteration 2: its checkpoint not yet renamed
    (3, 4),                 # iteration 3: some files not yet renamed
    (5, 0),                 # the final averages not yet renamed
    (5, 5),                 # some final files are there
])
def test_killed_anywhere_it_comes_to_the_same_end(iterations, syncs, program, arguments, start, classified, tmp_path):
    options = f"{BASE} --iter 4"
    command = arguments(tmp_path / "ml2d_", options)
    kill_9(program, iterations * PER_ITERATION[program] + (BEFORE_RESULT[program] if iterations == 5 else 0) + syncs,
           command)
    outcome = start(*command, "--continue")
    assert_same(outcome, classified(options))
    assert not hidden(tmp_path)
    assert f"continuing after iteration {iterations - 1 - (syncs < -1)}" in outcome.log


KILLED_WITH = {
    "ml_align2d": [
        "--mirror --fast --iter 6", "--mirror --iter 5", f"{BASE} --iem 3 --iter 4", f"{BASE} --student --iter 4",
        f"{BASE} --norm --iter 4", f"{BASE} --fast --norm --student --iem 2 --write_probs --iter 4"],
    "mlf_align2d": [
        "--mirror --fast --group_size 20 --iter 6",
        f"{BASE} --norm --student --search_shift 2 --var_psi --write_probs --iter 4"]}


@pytest.mark.parametrize("program, options", [(program, one) for program in PROGRAMS for one in KILLED_WITH[program]],
                         indirect=["program"])
def test_killed_with_these_options_it_comes_to_the_same_end(options, program, arguments, start, classified, tmp_path):
    command = arguments(tmp_path / "ml2d_", options)
    kill_9(program, 3 * PER_ITERATION[program] + 2, command)
    outcome, expected = start(*command, "--continue"), classified(options)
    assert_same(outcome, expected)
    if "--write_probs" in options:
        assert Path(f"{outcome.oroot}probs.xmd").read_bytes() == Path(f"{expected.oroot}probs.xmd").read_bytes()


@pytest.mark.programs("ml_align2d")
def test_killed_twice_from_generated_references(program, arguments, start, classified, tmp_path):
    options = "--nref 3 --mirror --fast --min_class 0 --iter 4 --eps 1e-9"
    command = arguments(tmp_path / "ml2d_", options, references="")
    kill_9(program, 1, command)
    assert Outcome(tmp_path / "ml2d_").iterations() == []
    kill_9(program, 2 * PER_ITERATION[program] + 3, [*command, "--continue"])    # nothing to go on from: it starts anew
    outcome = start(*command, "--continue")
    assert "nothing to continue" in outcome.log and "continuing after iteration 1" in outcome.log
    assert_same(outcome, classified(options, references=""))


@pytest.mark.programs("ml_align2d")
def test_killed_while_a_class_is_revived(program, arguments, start, planted, classified, tmp_path):
    """What a checkpoint keeps includes which revivals were tried."""
    first, second, third = pixels(planted.references)
    far = 30 * np.random.default_rng(2).standard_normal(first.shape)
    references = str(tmp_path / "references.mrcs")
    write_stack(references, np.stack([first, second + third, far]))
    options = f"{BASE} --iter 4"
    command = arguments(tmp_path / "ml2d_", options, references)
    for iterations in (2, 1):
        kill_9(program, iterations * PER_ITERATION[program] + 2, [*command, "--continue"])
    outcome = start(*command, "--continue")
    assert "kept" in outcome.log            # a move of a class, that is
    assert_same(outcome, classified(options, references=references))


# ---- further, again, from elsewhere

def test_more_iterations(arguments, start, classified, finished):
    longer = f"{BASE} --iter 5"
    outcome = start(*arguments(finished.oroot, longer), "--continue")
    assert_same(outcome, classified(longer))


def test_fewer_iterations_keep_what_there_is(arguments, start, finished):
    before = Path(f"{finished.oroot}classes.mrcs").read_bytes()
    outcome = start(*arguments(finished.oroot, f"{BASE} --iter 1"), "--continue")
    assert outcome.iterations() == [0, 1, 2, 3] and Path(f"{finished.oroot}classes.mrcs").read_bytes() == before


def test_after_convergence_it_just_finishes(arguments, start, classified, tmp_path):
    options = "--mirror --maxres 0.3 --eps 1e-3 --write_probs"
    expected = classified(options)
    shutil.copytree(Path(expected.oroot).parent, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "ml2d_extra" / "iter000")          # not needed
    (tmp_path / "run" / "ml2d_images.xmd").unlink()
    outcome = start(*arguments(tmp_path / "run" / "ml2d_", options), "--continue")
    assert outcome.iterations() == expected.iterations()[1:]
    for name in ("classes.mrcs", "images.xmd", "frc.xmd", "probs.xmd"):
        assert Path(outcome.oroot + name).read_bytes() == Path(expected.oroot + name).read_bytes()


@pytest.mark.programs("ml_align2d")
def test_after_convergence_a_smaller_eps_goes_on(arguments, start, classified, tmp_path):
    expected = classified("--mirror --maxres 0.3 --eps 1e-3")
    shutil.copytree(Path(expected.oroot).parent, tmp_path / "run")
    outcome = start(*arguments(tmp_path / "run" / "ml2d_", "--mirror --maxres 0.3 --eps 1e-5"),
                          "--continue")
    assert_same(outcome, classified("--mirror --maxres 0.3 --eps 1e-5"), but=("seconds", "eps"))


@pytest.mark.programs("ml_align2d")
def test_after_convergence_to_the_noise_an_eps_goes_on(arguments, start, classified, tmp_path):
    expected = classified("--mirror --maxres 0.3")
    shutil.copytree(Path(expected.oroot).parent, tmp_path / "run")
    oroot = tmp_path / "run" / "ml2d_"
    assert start(*arguments(oroot, "--mirror --maxres 0.3"), "--continue").iterations() == expected.iterations()
    outcome = start(*arguments(oroot, "--mirror --maxres 0.3 --eps 5e-5"), "--continue")
    assert_same(outcome, classified("--mirror --maxres 0.3 --eps 5e-5"), but=("seconds", "eps"))


def test_probabilities_asked_for_afterwards(arguments, start, finished):
    outcome = start(*arguments(finished.oroot, f"{BASE} --iter 3 --write_probs"), "--continue")
    probabilities = np.stack([outcome.probabilities.numbers(f"class{k:06d}") for k in (1, 2, 3)], 1)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.mean(probabilities.argmax(1) + 1 == outcome.images["ref"]) > 0.98
    assert outcome.iterations() == [0, 1, 2, 3]


def test_restart_from_an_earlier_iteration(arguments, start, classified, finished):
    outcome = start(*arguments(finished.oroot, f"{BASE} --iter 1"), "--restart", "1")
    assert_same(outcome, classified(f"{BASE} --iter 1"))
    assert outcome.iterations() == [0, 1]
    outcome = start(*arguments(finished.oroot, f"{BASE} --iter 4"), "--restart", "0")
    assert_same(outcome, classified(f"{BASE} --iter 4"))


def test_continue_with_nothing_there_starts_anew(arguments, start, classified, tmp_path):
    outcome = start(*arguments(tmp_path / "new" / "ml2d_", f"{BASE} --iter 3"), "--continue")
    assert_same(outcome, classified(f"{BASE} --iter 3"))
    assert "nothing to continue" in outcome.log


def test_continue_keeps_seed_and_log(start, planted, finished):
    outcome = start("-i", planted.star, "--ref", planted.references, "--oroot", finished.oroot, "--mirror",
                    "--iter", 4, "--continue")
    assert outcome.info()["randomSeed"] == 1
    assert outcome.log.startswith(finished.log[:200]) and outcome.log.count("iteration   3:") == 1


@pytest.mark.programs("ml_align2d")
def test_images_may_move(start, planted, finished, tmp_path):
    """Other paths to the same images are the same images."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(planted.folder, moved)
    outcome = start("-i", moved / "particles.star", "--ref", planted.references, "--oroot", finished.oroot,
                    "--mirror", "--maxres", 0.3, "--iter", 4, "--continue")
    assert outcome.iterations()[-1] == 4 and str(moved) in outcome.images["image"][0]


CHANGES = [
    "--psi_step 9", "--fast", "--maxres 0.45", "--maxres 0.2", "--radius 10", "--max_shift 3", "--norm", "--student",
    "--write_probs", "--min_class 0", "--thr 2", "--memory 1e-6"]
CHANGES_OF_ONE = {
    "ml_align2d": ["--fast --maxres 0.5", "--max_shift 6", "--iem 4", "--save_memB", "--sampling_rate 5"],
    "mlf_align2d": ["--group_size 20", "--reduce_snr 0.5", "--limit_resolution 0 0 90", "--search_shift 2",
                    "--var_psi --var_trans --fast", "--kstest"]}


@pytest.mark.parametrize("program, change", [
    (program, change) for program in PROGRAMS for change in (*CHANGES, *CHANGES_OF_ONE[program])], indirect=["program"])
def test_options_may_change(change, arguments, start, planted, finished):
    outcome = start(*arguments(finished.oroot, f"--mirror --maxres 0.3 {change} --eps 0 --iter 5"), "--continue")
    assert outcome.iterations()[-1] == 5
    assert np.isfinite(outcome.averages).all()
    assert np.mean(outcome.images["ref"] == planted.truth["ref"]) > 0.95


@pytest.mark.parametrize("program, options, dropped", [
    ("ml_align2d", "--maxres 0.3 --iem 3", "--maxres 0.3"), ("ml_align2d", "--mirror --maxres 0.3", "--maxres 0.3"),
    ("ml_align2d", "--maxres 0.3 --mirror", "--mirror"), ("ml_align2d", "--norm --maxres 0.3", "--maxres 0.3"),
    ("ml_align2d", "--student --maxres 0.3", "--maxres 0.3"), ("ml_align2d", "--fast --maxres 0.4", "--maxres 0.4"),
    ("ml_align2d", "--mirror", "--mirror --fast"),
    ("mlf_align2d", "--norm --student --mirror --group_size 20 --maxres 0.3", "--maxres 0.3"),
    ("mlf_align2d", "--maxres 0.3 --mirror", "--mirror")], indirect=["program"])
def test_options_may_be_dropped(options, dropped, arguments, start, tmp_path):
    start(*arguments(tmp_path / "ml2d_", f"{options} --eps 0 --iter 3"))
    outcome = start(*arguments(tmp_path / "ml2d_", f"{dropped} --eps 0 --iter 5"), "--continue")
    assert outcome.iterations()[-1] == 5 and np.isfinite(outcome.averages).all()
    if "--mirror" not in dropped:
        assert not outcome.images["flip"].any() and not outcome.classes()["mirrorFraction"].any()
    if "--norm" not in dropped:
        np.testing.assert_allclose(outcome.classes()["scale"], 1)


def test_mirror_may_be_added(arguments, start, tmp_path):
    start(*arguments(tmp_path / "ml2d_", "--maxres 0.3 --iter 2"))
    outcome = start(*arguments(tmp_path / "ml2d_", f"{BASE} --iter 4"), "--continue")
    assert 0.3 < outcome.images["flip"].mean() < 0.7


# ---- what does not belong together

@pytest.fixture
def refused(start):
    """Run the program, which refuses; its message."""
    def run(*command):
        with pytest.raises(UserError) as error:
            start(*command)
        return str(error.value)
    return run


def snapshot(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_other_references_are_refused(program, arguments, finished, capfd):
    before = snapshot(Path(finished.oroot).parent)
    with pytest.raises(SystemExit) as stop:
        PROGRAMS[program][0].main([*arguments(finished.oroot, "--nref 2"), "--continue"])
    line, = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith(f"{program}: error: --continue: ") and "3 references" in line and "6" in line
    assert snapshot(Path(finished.oroot).parent) == before


def test_other_images_are_refused(program, refused, planted, finished, tmp_path):
    images = pixels(planted.stack)
    write_stack(tmp_path / "fewer.mrcs", images[:-1])
    write_stack(tmp_path / "others.mrcs", np.random.default_rng(0).standard_normal(images.shape))
    write_stack(tmp_path / "smaller.mrcs", images[:, 1:-1, 1:-1])
    write_stack(tmp_path / "refs.mrcs", pixels(planted.references)[:, 1:-1, 1:-1])
    write_star(tmp_path / "reordered.xmd", {"particles": {
        "itemId": range(120, 0, -1), "image": [f"{i:06d}@{planted.stack}" for i in range(120, 0, -1)]}})
    before = snapshot(Path(finished.oroot).parent)
    for name, words in (("fewer.mrcs", "120 images"), ("others.mrcs", "other images"),
                        ("reordered.xmd", "other images"), ("smaller.mrcs", "32 px")):
        references = tmp_path / "refs.mrcs" if name == "smaller.mrcs" else planted.references
        line = refused("-i", tmp_path / name, "--ref", references, "--oroot", finished.oroot, "--continue",
                       *BARE[program])
        assert words in line and "--continue" in line and "\n" not in line
    assert snapshot(Path(finished.oroot).parent) == before


def test_restart_of_an_iteration_that_does_not_exist(refused, arguments, finished, tmp_path):
    line = refused(*arguments(finished.oroot, BASE), "--restart", 7)
    assert "--restart: no iteration 7" in line and "0, 1, 2, 3" in line
    assert "nothing to restart from" in refused(*arguments(tmp_path / "none_", BASE), "--restart", 0)
    assert finished.iterations() == [0, 1, 2, 3] and finished.classes_file().exists()


def test_damaged_checkpoint(refused, arguments, start, classified, finished):
    path = Path(f"{finished.prefix(3)}checkpoint.npz")
    path.write_bytes(path.read_bytes()[:-1000])
    line = refused(*arguments(finished.oroot, BASE), "--continue")
    assert str(path) in line and "damaged" in line
    outcome = start(*arguments(finished.oroot, f"{BASE} --iter 3"), "--restart", "2")
    assert_same(outcome, classified(f"{BASE} --iter 3"))


# ---- SIGTERM and SIGINT

@pytest.mark.programs("ml_align2d")
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("threads, awaited", [(1, "ml2d_extra/iter002/iter_images.xmd"), (2, "ml2d_run.log")])
def test_stopped(number, status, threads, awaited, arguments, start, tmp_path):
    """In the middle of iterations, and early, while references are generated."""
    command = arguments(tmp_path / "ml2d_", "--nref 3 --mirror --fast --min_class 0 --eps 0 --iter 100000 "
                        f"--thr {threads}", references="")
    program = subprocess.Popen([sys.executable, "-m", "mlalign.programs.ml_align2d", *command], text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    wait_for(tmp_path / awaited, program)
    os.kill(program.pid, number)
    _, stderr = program.communicate(timeout=30)
    assert program.returncode == status
    line, = stderr.splitlines()
    assert line.startswith("ml_align2d: ") and re.search("interrupted|terminated", line) and "--continue" in line
    assert not hidden(tmp_path)
    there = Outcome(tmp_path / "ml2d_").iterations()
    outcome = start(*command, "--continue", "--iter", (there or [0])[-1] + 1, "--thr", 1)
    assert outcome.iterations()[-1] == (there or [0])[-1] + 1


def wait_for(path, program, patience=60):
    end = time.monotonic() + patience
    while not path.exists():
        assert program.poll() is None and time.monotonic() < end
        time.sleep(0.01)
