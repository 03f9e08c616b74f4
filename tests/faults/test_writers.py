"""One process at a time writes a run's files; readers beside it never see half a file."""
import errno
import fcntl
import os
import shutil
import signal
import socket

import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.mref_results import MrefRun
from mlalign.programs.msa2d_results import Refine2dRun
from mlalign.programs.results import FINAL, Run
from mlalign.programs.sole_writer import sole_writer
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.faults import trials
from mlalign.tests.faults.scenes import PROGRAMS

READERS = {"ml_align2d": (Run, "x_"), "mlf_align2d": (Run, "x_"), "ml_tomo": (TomoRun, "x"),
           "mref_ali2d": (MrefRun, ""), "refine2d": (Refine2dRun, "")}


# ---- two writers

@pytest.mark.parametrize("name", PROGRAMS)
def test_the_second_is_refused(name, killers):
    """Whether it is to begin or to go on; the first comes to its end all the same."""
    killer = killers(name)
    folder, main = killer.fresh(), killer.scene.main
    waiting, go = os.pipe(), os.pipe()

    def wait():
        os.write(waiting[1], b"x")
        os.read(go[0], 1)

    first = trials.Process(main, killer.words, folder, trials.AtChange(killer.changes // 2, wait))
    os.read(waiting[0], 1)
    try:
        second = trials.run(main, [*killer.words, killer.scene.resume], folder)
        lock = (folder / killer.scene.lock).read_text().split()
    finally:
        os.write(go[1], b"x")
    assert first.wait().status == 0
    trials.assert_same_files(folder, killer.reference)
    assert second.status == 2 and len(second.lines) == 1
    assert f"process {first.process} on {socket.gethostname()} has been writing a run there" in second.errors
    assert lock[:2] == [str(first.process), socket.gethostname()]


@pytest.fixture
def killed(killers):
    """Folder of a run that was killed in the middle, and its killer."""
    killer = killers("mref_ali2d")
    folder = killer.fresh()
    ended = trials.run(killer.scene.main, killer.words, folder,
                       trials.signal_at(signal.SIGKILL, killer.changes // 2))
    assert ended.status == -signal.SIGKILL and (folder / killer.scene.lock).exists()
    return folder, killer


def test_what_a_killed_run_left_stops_nobody(killed):
    folder, killer = killed
    killer.goes_on(folder)


def test_nor_does_it_in_a_copy_made_elsewhere(killed, tmp_path):
    folder, killer = killed
    lock = folder / killer.scene.lock
    lock.write_text(f"{os.getpid()} elsewhere 1700000000\n")
    shutil.copytree(folder, tmp_path / "run")
    killer.goes_on(tmp_path / "run")


# ---- the lock itself

@pytest.fixture
def lock(tmp_path):
    return tmp_path / "out" / "run.lock"


def test_it_is_gone_afterwards(lock):
    with sole_writer(lock, "out/") as writer:
        writer.check()
        with pytest.raises(UserError, match=rf"out/: process {os.getpid()} on .* has been writing a run there since"), \
                sole_writer(lock, "out/"):
            pass
        writer.check()
    assert not lock.exists()
    with sole_writer(lock, "out/"):
        pass


def test_a_lock_that_others_removed_or_made_anew_is_noticed_and_left_alone(lock):
    with sole_writer(lock, "out/") as writer:
        lock.unlink()
        with pytest.raises(UserError, match=r"run\.lock: removed while the run wrote under out/"):
            writer.check()
        with sole_writer(lock, "out/") as other:
            with pytest.raises(UserError, match="removed while"):
                writer.check()
            other.check()
    assert not lock.exists()


def test_a_lock_that_is_not_ours_any_more_is_not_removed(lock):
    with sole_writer(lock, "out/"):
        lock.unlink()
        lock.write_text("another's")
    assert lock.exists()


@pytest.fixture
def no_locks(monkeypatch):
    """A file system that cannot lock."""
    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    monkeypatch.setattr(fcntl, "flock", flock)


def test_without_locks_the_file_says_who_writes(lock, no_locks):
    lock.parent.mkdir()
    for process, host, refused in ((os.getppid(), socket.gethostname(), True), (1, "elsewhere", True),
                                   (gone(), socket.gethostname(), False), (os.getpid(), socket.gethostname(), False)):
        lock.write_text(f"{process} {host} 1700000000\n")
        if refused:
            with pytest.raises(UserError, match=rf"process {process} on {host} .*if that is not so any more, "), \
                    sole_writer(lock, "out/"):
                pass
            assert lock.exists()
        else:
            with sole_writer(lock, "out/"):
                assert lock.read_text().split()[0] == str(os.getpid())
            assert not lock.exists()
    lock.write_text("half a l")
    with sole_writer(lock, "out/"):
        pass


def gone():
    """The number of a process that has ended."""
    process = os.fork()
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)
    return process


# ---- readers

@pytest.mark.parametrize("name", READERS)
def test_who_reads_along_never_sees_half_a_file(name, killers):
    """Everything that viewers read, again and again until the run has ended, and what they kept is up to date."""
    killer = killers(name)
    folder = killer.fresh()
    reader, prefix = READERS[name]
    run = reader(f"{folder}/out/{prefix}")
    process = trials.Process(killer.scene.main, killer.words, folder)
    looks = 0
    while not process.ended():
        look(run, folder)
        looks += 1
    assert process.wait().status == 0
    assert looks > 1
    look(run, folder)
    fresh = reader(run.oroot)
    assert run.info() == fresh.info() and run.iterations() == fresh.iterations() != []
    for label, values in run.history().classes.items():
        assert ((values == fresh.history().classes[label]) | (values != values)).all()


def look(run, folder):
    """At all that is there of a run in a folder."""
    results = run.iterations()
    if results:
        run.history()
    if run.classes_file(FINAL).exists():
        results.append(FINAL)
    for result in results:
        table = run.classes(result)
        for ref in table["ref"]:
            run.members(result, ref)
            run.fsc(result, ref) if isinstance(run, TomoRun) else run.frc(result, ref)
        for location in table["image"]:
            number, _, path = location.rpartition("@")
            if number:
                open_stack(str(folder / path)).read([int(number) - 1])
            else:
                read_volume(folder / path)
