"""A run that was killed, stopped or finished goes on as if nothing had happened."""
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

from mlalign.programs import ml_align2d
from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.tests.programs.conftest import Outcome, pixels, run_program

# A program that kills itself when it has written so many times (twice per file: contents, then name).
KILLED = """
import os, sys
from mlalign.programs import ml_align2d
from mlalign.programs.formats import whole
sync, left = whole._sync, iter(range(int(sys.argv[1])))
def kill_at_last(path):
    if next(left, None) is None:
        os.kill(os.getpid(), 9)
    sync(path)
whole._sync = kill_at_last
ml_align2d.main(sys.argv[2:])
"""
PER_ITERATION = 10          # syncs: five files
BASE = "--mirror --maxres 0.3 --eps 1e-6"


def arguments(planted, oroot, options, references=None):
    given = planted.references if references is None else references
    return ["-i", planted.star, *(("--ref", given) if given else ()), "--oroot", str(oroot), "--random_seed", "1",
            *options.split()]


def kill_9(count, command):
    """Run until the ``count``-th sync, then kill -9."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(count), *command], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr


def assert_same(one, other, but=("seconds",)):
    """Bit for bit the same result and history, but for names and these labels."""
    for name in ("classes.mrcs", "images.xmd", "frc.xmd"):
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

@pytest.mark.parametrize("count", [
    PER_ITERATION - 1,              # iteration 0's checkpoint is renamed, its folder not synced
    PER_ITERATION + 1,              # iteration 1: averages written
    3 * PER_ITERATION - 2,          # iteration 2: its checkpoint not yet renamed
    3 * PER_ITERATION + 4,          # iteration 3: its images not yet renamed
    5 * PER_ITERATION,              # the final averages not yet renamed
    5 * PER_ITERATION + 5,          # some final files are there
])
def test_killed_anywhere_it_comes_to_the_same_end(count, planted, classified, tmp_path):
    options = f"{BASE} --iter 4"
    command = arguments(planted, tmp_path / "ml2d_", options)
    kill_9(count, command)
    outcome = run_program(*command, "--continue")
    assert_same(outcome, classified(options))
    assert not hidden(tmp_path)
    done = max(count // PER_ITERATION - (count % PER_ITERATION < PER_ITERATION - 1), 0)
    assert f"continuing after iteration {min(done, 4)}" in outcome.log


@pytest.mark.parametrize("options", [
    "--mirror --fast --iter 6", "--mirror --iter 5", f"{BASE} --iem 3 --iter 4", f"{BASE} --student --iter 4",
    f"{BASE} --norm --iter 4", f"{BASE} --fast --norm --student --iem 2 --write_probs --iter 4"])
def test_killed_with_these_options_it_comes_to_the_same_end(options, planted, classified, tmp_path):
    command = arguments(planted, tmp_path / "ml2d_", options)
    kill_9(3 * PER_ITERATION + 2, command)
    outcome, expected = run_program(*command, "--continue"), classified(options)
    assert_same(outcome, expected)
    if "--write_probs" in options:
        assert Path(f"{outcome.oroot}probs.xmd").read_bytes() == Path(f"{expected.oroot}probs.xmd").read_bytes()


def test_killed_twice_from_generated_references(planted, classified, tmp_path):
    options = "--nref 3 --mirror --fast --min_class 0 --iter 4 --eps 1e-9"
    command = arguments(planted, tmp_path / "ml2d_", options, references="")
    kill_9(1, command)
    assert Outcome(tmp_path / "ml2d_").iterations() == []
    kill_9(2 * PER_ITERATION + 3, [*command, "--continue"])         # nothing to go on from: it starts anew
    outcome = run_program(*command, "--continue")
    assert "nothing to continue" in outcome.log and "continuing after iteration 1" in outcome.log
    assert_same(outcome, classified(options, references=""))


def test_killed_while_a_class_is_revived(planted, classified, tmp_path):
    """What a checkpoint keeps includes which revivals were tried."""
    first, second, third = pixels(planted.references)
    far = 30 * np.random.default_rng(2).standard_normal(first.shape)
    references = str(tmp_path / "references.mrcs")
    write_stack(references, np.stack([first, second + third, far]))
    options = f"{BASE} --iter 4"
    command = arguments(planted, tmp_path / "ml2d_", options, references)
    for count in (2 * PER_ITERATION + 2, PER_ITERATION + 2):
        kill_9(count, [*command, "--continue"])
    outcome = run_program(*command, "--continue")
    assert "kept" in outcome.log            # a move of a class, that is
    assert_same(outcome, classified(options, references=references))


# ---- further, again, from elsewhere

def test_more_iterations(planted, classified, finished):
    longer = f"{BASE} --iter 5"
    outcome = run_program(*arguments(planted, finished.oroot, longer), "--continue")
    assert_same(outcome, classified(longer))


def test_fewer_iterations_keep_what_there_is(planted, finished):
    before = Path(f"{finished.oroot}classes.mrcs").read_bytes()
    outcome = run_program(*arguments(planted, finished.oroot, f"{BASE} --iter 1"), "--continue")
    assert outcome.iterations() == [0, 1, 2, 3] and Path(f"{finished.oroot}classes.mrcs").read_bytes() == before


def test_after_convergence_it_just_finishes(planted, classified, tmp_path):
    options = "--mirror --maxres 0.3 --eps 1e-3 --write_probs"
    expected = classified(options)
    shutil.copytree(Path(expected.oroot).parent, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "ml2d_extra" / "iter000")          # not needed
    (tmp_path / "run" / "ml2d_images.xmd").unlink()
    outcome = run_program(*arguments(planted, tmp_path / "run" / "ml2d_", options), "--continue")
    assert outcome.iterations() == expected.iterations()[1:]
    for name in ("classes.mrcs", "images.xmd", "frc.xmd", "probs.xmd"):
        assert Path(outcome.oroot + name).read_bytes() == Path(expected.oroot + name).read_bytes()


def test_after_convergence_a_smaller_eps_goes_on(planted, classified, tmp_path):
    expected = classified("--mirror --maxres 0.3 --eps 1e-3")
    shutil.copytree(Path(expected.oroot).parent, tmp_path / "run")
    outcome = run_program(*arguments(planted, tmp_path / "run" / "ml2d_", "--mirror --maxres 0.3 --eps 1e-5"),
                          "--continue")
    assert_same(outcome, classified("--mirror --maxres 0.3 --eps 1e-5"), but=("seconds", "eps"))


def test_probabilities_asked_for_afterwards(planted, finished):
    outcome = run_program(*arguments(planted, finished.oroot, f"{BASE} --iter 3 --write_probs"), "--continue")
    probabilities = np.stack([outcome.probabilities.numbers(f"class{k:06d}") for k in (1, 2, 3)], 1)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    assert np.mean(probabilities.argmax(1) + 1 == outcome.images["ref"]) > 0.98
    assert outcome.iterations() == [0, 1, 2, 3]


def test_restart_from_an_earlier_iteration(planted, classified, finished):
    outcome = run_program(*arguments(planted, finished.oroot, f"{BASE} --iter 1"), "--restart", "1")
    assert_same(outcome, classified(f"{BASE} --iter 1"))
    assert outcome.iterations() == [0, 1]
    outcome = run_program(*arguments(planted, finished.oroot, f"{BASE} --iter 4"), "--restart", "0")
    assert_same(outcome, classified(f"{BASE} --iter 4"))


def test_continue_with_nothing_there_starts_anew(planted, classified, tmp_path):
    outcome = run_program(*arguments(planted, tmp_path / "new" / "ml2d_", f"{BASE} --iter 3"), "--continue")
    assert_same(outcome, classified(f"{BASE} --iter 3"))
    assert "nothing to continue" in outcome.log


def test_continue_keeps_seed_and_log(planted, finished):
    outcome = run_program("-i", planted.star, "--ref", planted.references, "--oroot", finished.oroot, "--mirror",
                          "--iter", 4, "--continue")
    assert outcome.info()["randomSeed"] == 1
    assert outcome.log.startswith(finished.log[:200]) and outcome.log.count("iteration   3:") == 1


def test_images_may_move(planted, finished, tmp_path):
    """Other paths to the same images are the same images."""
    moved = tmp_path / "elsewhere"
    shutil.copytree(planted.folder, moved)
    outcome = run_program("-i", moved / "particles.star", "--ref", planted.references, "--oroot", finished.oroot,
                          "--mirror", "--maxres", 0.3, "--iter", 4, "--continue")
    assert outcome.iterations()[-1] == 4 and str(moved) in outcome.images["image"][0]


@pytest.mark.parametrize("change", [
    "--psi_step 9", "--fast", "--fast --maxres 0.5", "--maxres 0.45", "--maxres 0.2", "--radius 10", "--max_shift 3",
    "--max_shift 6", "--norm", "--student", "--iem 4", "--write_probs", "--save_memB", "--min_class 0", "--thr 2",
    "--memory 1e-6", "--sampling_rate 5"])
def test_options_may_change(change, planted, finished):
    outcome = run_program(*arguments(planted, finished.oroot, f"--mirror --maxres 0.3 {change} --iter 5"), "--continue")
    assert outcome.iterations()[-1] == 5
    assert np.isfinite(outcome.averages).all()
    assert np.mean(outcome.images["ref"] == planted.truth["ref"]) > 0.95


@pytest.mark.parametrize("options, dropped", [
    ("--maxres 0.3 --iem 3", "--maxres 0.3"), ("--mirror --maxres 0.3", "--maxres 0.3"),
    ("--maxres 0.3 --mirror", "--mirror"), ("--norm --maxres 0.3", "--maxres 0.3"),
    ("--student --maxres 0.3", "--maxres 0.3"), ("--fast --maxres 0.4", "--maxres 0.4"),
    ("--mirror", "--mirror --fast")])
def test_options_may_be_dropped(options, dropped, planted, tmp_path):
    run_program(*arguments(planted, tmp_path / "ml2d_", f"{options} --iter 3"))
    outcome = run_program(*arguments(planted, tmp_path / "ml2d_", f"{dropped} --iter 5"), "--continue")
    assert outcome.iterations()[-1] == 5 and np.isfinite(outcome.averages).all()
    if "--mirror" not in dropped:
        assert not outcome.images["flip"].any() and not outcome.classes()["mirrorFraction"].any()
    if "--norm" not in dropped:
        np.testing.assert_allclose(outcome.classes()["scale"], 1)


def test_mirror_may_be_added(planted, tmp_path):
    run_program(*arguments(planted, tmp_path / "ml2d_", "--maxres 0.3 --iter 2"))
    outcome = run_program(*arguments(planted, tmp_path / "ml2d_", f"{BASE} --iter 4"), "--continue")
    assert 0.3 < outcome.images["flip"].mean() < 0.7


# ---- what does not belong together

def refused(*command):
    with pytest.raises(UserError) as error:
        run_program(*command)
    return str(error.value)


def snapshot(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_other_references_are_refused(planted, finished, capfd):
    before = snapshot(Path(finished.oroot).parent)
    with pytest.raises(SystemExit) as stop:
        ml_align2d.main([*arguments(planted, finished.oroot, "--nref 2"), "--continue"])
    line, = capfd.readouterr().err.splitlines()
    assert stop.value.code == 2
    assert line.startswith("ml_align2d: error: --continue: ") and "3 references" in line and "6" in line
    assert snapshot(Path(finished.oroot).parent) == before


def test_other_images_are_refused(planted, finished, tmp_path):
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
        line = refused("-i", tmp_path / name, "--ref", references, "--oroot", finished.oroot, "--continue")
        assert words in line and "--continue" in line and "\n" not in line
    assert snapshot(Path(finished.oroot).parent) == before


def test_restart_of_an_iteration_that_does_not_exist(planted, finished, tmp_path):
    line = refused(*arguments(planted, finished.oroot, BASE), "--restart", 7)
    assert "--restart: no iteration 7" in line and "0, 1, 2, 3" in line
    assert "nothing to restart from" in refused(*arguments(planted, tmp_path / "none_", BASE), "--restart", 0)
    assert finished.iterations() == [0, 1, 2, 3] and finished.classes_file().exists()


def test_damaged_checkpoint(planted, classified, finished):
    path = Path(f"{finished.prefix(3)}checkpoint.npz")
    path.write_bytes(path.read_bytes()[:-1000])
    line = refused(*arguments(planted, finished.oroot, BASE), "--continue")
    assert str(path) in line and "damaged" in line
    outcome = run_program(*arguments(planted, finished.oroot, f"{BASE} --iter 3"), "--restart", "2")
    assert_same(outcome, classified(f"{BASE} --iter 3"))


# ---- SIGTERM and SIGINT

@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("threads, awaited", [(1, "ml2d_extra/iter002/iter_images.xmd"), (2, "ml2d_run.log")])
def test_stopped(number, status, threads, awaited, planted, tmp_path):
    """In the middle of iterations, and early, while references are generated."""
    command = arguments(planted, tmp_path / "ml2d_", "--nref 3 --mirror --fast --min_class 0 --eps 0 --iter 100000 "
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
    outcome = run_program(*command, "--continue", "--iter", (there or [0])[-1] + 1, "--thr", 1)
    assert outcome.iterations()[-1] == (there or [0])[-1] + 1


def wait_for(path, program, patience=60):
    end = time.monotonic() + patience
    while not path.exists():
        assert program.poll() is None and time.monotonic() < end
        time.sleep(0.01)
