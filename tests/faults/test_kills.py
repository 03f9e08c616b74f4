"""Programs that are killed at random moments go on as if nothing had happened, and leave nothing behind."""
import os
import shutil
import signal

import pytest

from mlalign.tests.faults import trials
from mlalign.tests.faults.killing import Tally
from mlalign.tests.faults.scenes import PROGRAMS, SCENES

KILLED = 3          # runs of each program; benchmarks/faults.py kills as many as one likes


@pytest.mark.parametrize("name", SCENES)
def test_killed_anywhere(name, killers):
    for seed in range(KILLED):
        killers(name).trial(seed, Tally())


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("ml")])
@pytest.mark.parametrize("removed", [1, 12, 15])
def test_killed_while_it_removes_an_earlier_run(name, removed, killers):
    """What there is to go on from is whole, or nothing."""
    killer = killers(name)
    folder = killer.fresh()
    shutil.copytree(killer.reference, folder)
    left, remove = iter(range(removed)), os.unlink

    def unlink(path, **options):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        remove(path, **options)

    def prepare():
        os.unlink = unlink

    ended = trials.run(killer.scene.main, killer.words, folder, prepare)
    assert ended.status == -signal.SIGKILL
    there = set(trials.files(folder))
    complete = {path.split("_checkpoint")[0] for path in there if path.endswith("checkpoint.npz")}
    for path in trials.files(killer.reference):
        if any(path.startswith(prefix) for prefix in complete):
            assert path in there
    assert len(complete) < 4 or removed == 1


def test_killed_between_the_last_checkpoint_and_the_end(killers):
    """What is kept of an unfinished pass is gone in the end."""
    killer = killers("ml_align2d, passes kept in parts")
    folder, remove = killer.fresh(), os.unlink
    last = max(path for name, path in trials.files(killer.reference).items() if name.endswith("iter_checkpoint.npz"))
    last = folder / last.relative_to(killer.reference)

    def unlink(path, **options):
        if str(path).endswith(trials.UNFINISHED) and last.exists():
            os.kill(os.getpid(), signal.SIGKILL)
        remove(path, **options)

    def prepare():
        os.unlink = unlink

    assert trials.run(killer.scene.main, killer.words, folder, prepare).status == -signal.SIGKILL
    assert any(name.endswith(trials.UNFINISHED) for name in trials.files(folder))
    killer.goes_on(folder)
