"""A run of ml_tomo that was killed, stopped or finished goes on as if nothing had happened."""
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.star import read_star
from mlalign.tests.programs.tomo_planted import TomoOutcome, run_tomo

# A program that kills itself when it has written so many times (twice per file: contents, then name).
KILLED = """
import os, sys
from mlalign.programs import ml_tomo
from mlalign.programs.formats import whole
sync, left = whole._sync, iter(range(int(sys.argv[1])))
def kill_at_last(path):
    if next(left, None) is None:
        os.kill(os.getpid(), 9)
    sync(path)
whole._sync = kill_at_last
ml_tomo.main(sys.argv[2:])
"""
BASE = "--perturb --ang 30 25 --ang_search -1 25 --iter 2 2 --eps 0"
RESULT = ["_img.xmd", "_ref000001.mrc", "_ref000002.mrc", "_wedge000001.mrc", "_wedge000002.mrc", ".fsc"]


@pytest.fixture(scope="module")
def whole_run(tomo_scene):
    """Four iterations in two stages, uninterrupted."""
    return tomo_scene.classified(BASE)


@pytest.fixture
def words(tomo_scene, tmp_path):
    """The same run's command line, with more options, under another root."""
    return lambda more="", **given: [*tomo_scene.words(tmp_path / "run", BASE, **given), *more.split()]


@pytest.fixture
def copied(whole_run, tmp_path):
    """A copy of the finished run, to go on from: its outcome."""
    for path in Path(whole_run.oroot).parent.iterdir():
        shutil.copy(path, tmp_path)
    return TomoOutcome(str(tmp_path / "run"))


def assert_same(one, other):
    """Byte for byte the same volumes and particles, and the same history but for times."""
    assert one.iterations() == other.iterations()
    for prefix in ("", *(f"_it{iteration:06d}" for iteration in one.iterations())):
        for name in RESULT:
            mine, its = (Path(f"{outcome.oroot}{prefix}{name}").read_bytes() for outcome in (one, other))
            assert mine == its, prefix + name
    for iteration in (None, *one.iterations()):
        first, second = ({**outcome.info(iteration)} for outcome in (one, other))
        assert {**first, "seconds": 0} == {**second, "seconds": 0}


def stopped_after(outcome, iteration):
    """Leave a run as one that ended abruptly after an iteration."""
    for path in Path(outcome.oroot).parent.iterdir():
        number = path.name.partition("_it")[2][:6]
        if not number.isdigit() and path.name != "run_run.log" or number.isdigit() and int(number) > iteration:
            path.unlink()


@pytest.mark.parametrize("iteration", [0, 1, 2, 3, 4])
def test_continue_is_the_same_run(iteration, whole_run, copied, words):
    stopped_after(copied, iteration)
    again = run_tomo(*words("--continue"))
    assert f"continuing after iteration {iteration}" in again.log
    assert_same(again, whole_run)


def test_fewer_iterations_first(whole_run, words):
    run_tomo(*words("--iter 2 1"))
    again = run_tomo(*words("--continue"))
    assert_same(again, whole_run)


def test_continue_of_a_finished_run_keeps_its_result(whole_run, copied, words):
    assert_same(run_tomo(*words("--continue")), whole_run)


@pytest.mark.parametrize("syncs", [5, 50])
def test_killed(syncs, whole_run, words, tmp_path):
    """kill -9 leaves whole files, and the run goes on to the same result."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(syncs), *words()], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    for path in tmp_path.glob("run_it*.xmd"):
        read_star(path)
    again = run_tomo(*words("--continue"))
    assert_same(again, whole_run)


def test_continue_of_nothing_starts_anew(whole_run, words):
    again = run_tomo(*words("--continue"))
    assert "nothing to continue" in again.log
    assert_same(again, whole_run)


@pytest.mark.parametrize("name", ["img.xmd", "ref.xmd", "log.xmd"])
def test_restart(name, whole_run, copied, words):
    again = run_tomo(*words(f"--restart {copied.oroot}_it000002_{name}"))
    assert "continuing after iteration 2" in again.log
    assert_same(again, whole_run)


def test_restart_of_an_iteration_that_is_not_there(copied, words):
    with pytest.raises(UserError, match="iteration 9 under .*expected one of 0, 1, 2, 3, 4"):
        run_tomo(*words(f"--restart {copied.oroot}_it000009_img.xmd"))


def test_a_new_run_forgets_the_old_one(copied, words):
    again = run_tomo(*words("--iter 1 0"))
    assert again.iterations() == [0, 1] and "continuing" not in again.log


def test_more_iterations(copied, words):
    again = run_tomo(*words("--continue --iter 2 3"))
    assert again.iterations() == [0, 1, 2, 3, 4, 5]


def test_other_volumes_or_references_are_refused(tomo_scene, copied, words, tmp_path):
    planted, there = tomo_scene.planted, {path: path.read_bytes() for path in tmp_path.iterdir()}
    table = read_star(planted.particles)["particles"]
    fewer = planted.table(planted.folder / "fewer.xmd", enabled=np.arange(len(table)) % 2)
    others = planted.table(planted.folder / "others.xmd", itemId=np.arange(101, 101 + len(table)))
    for given, message in (({"particles": fewer}, "24 volumes, expected 12"), ({"particles": others}, "other volumes"),
                           ({"references": f"1@{planted.references}"}, "2 references, expected 1")):
        with pytest.raises(UserError, match=f"--continue: .*{message}"):
            run_tomo(*words("--continue", **given))
    with pytest.raises(UserError, match="--continue: .*box of 16 voxels"):
        run_tomo(*words("--continue --dim 12 --maxres 0.3"))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == there
