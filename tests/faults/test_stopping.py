"""A program that is told to stop stops at once, whatever it is doing, says how to go on, and leaves nothing behind."""
import ctypes
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from mlalign.programs import command, options
from mlalign.tests.faults import trials
from mlalign.tests.faults.scenes import PROGRAMS

LONG = 60           # seconds that what is interrupted would take
AT_ONCE = 10        # seconds that stopping may take on a busy machine; it is some hundredths
ADVICE = "--continue resumes from the last finished iteration"


def stopped(killer, number, prepare, more=()):
    """A run that is sent a signal once ``prepare`` has made a file ``here``: :class:`.trials.Ended`."""
    folder = killer.fresh()
    process = trials.Process(killer.scene.main, [*killer.words, *more], folder, prepare)
    while not (folder / "here").exists():
        assert not process.ended()
        time.sleep(1e-3)
    process.signal(number)
    ended = process.wait()
    assert ended.latency < AT_ONCE
    assert not trials.files(folder, hidden=True) and not (folder / killer.scene.lock).exists()
    return ended


def in_library():
    """Reading hangs in a library's code, as from a disk that does not answer, or in a long computation."""
    sleep = ctypes.CDLL(None).sleep

    def preadv(*_):
        os.close(os.open("here", os.O_CREAT))
        sleep(LONG)

    os.preadv = preadv


def in_reading_again():
    """The same once there is something to go on from, in whatever thread reads what does not fit into memory."""
    read, sleep = os.preadv, ctypes.CDLL(None).sleep

    def preadv(*arguments):
        if any(Path("out").rglob("*checkpoint.npz")):
            os.close(os.open("here", os.O_CREAT))
            sleep(LONG)
        return read(*arguments)

    os.preadv = preadv


def in_writing():
    """A temporary file is there."""
    def fsync(_):
        os.close(os.open("here", os.O_CREAT))
        time.sleep(LONG)

    os.fsync = fsync


@pytest.mark.parametrize("number, status, word", [
    (signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted"), (signal.SIGHUP, 129, "hung up")])
@pytest.mark.parametrize("prepare", [in_library, in_writing])
def test_at_once(number, status, word, prepare, killers):
    ended = stopped(killers("mref_ali2d"), number, prepare, ("--thr", 2))
    assert (ended.status, ended.lines) == (status, [f"mref_ali2d: {word}; {ADVICE}"])


@pytest.mark.parametrize("name", PROGRAMS)
def test_at_once_while_a_read_stalls(name, killers):
    killer = killers(name)
    ended = stopped(killer, signal.SIGTERM, in_reading_again, ("--thr", 2, "--memory", "1e-6"))
    assert ended.status == 143 and len(ended.lines) == 1
    assert re.match(rf"{name}: terminated; {killer.scene.resume} .* last finished ", ended.errors)


def test_a_disk_that_does_not_answer_keeps_nobody(killers, monkeypatch):
    """Not even when what is unfinished cannot be removed."""
    def prepare():
        def fsync(_):
            os.unlink = lambda *_: time.sleep(LONG)
            os.close(os.open("here", os.O_CREAT))
            time.sleep(LONG)

        os.fsync = fsync

    monkeypatch.setattr(command, "PATIENCE", 0.1)
    with pytest.raises(AssertionError):         # it is still there
        stopped(killers("mref_ali2d"), signal.SIGTERM, prepare)


def test_under_nohup_a_hang_up_is_ignored(killers):
    killer = killers("mref_ali2d")

    def prepare():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        trials.signal_at(signal.SIGHUP, killer.changes // 2)()

    folder = killer.fresh()
    ended = trials.run(killer.scene.main, killer.words, folder, prepare)
    assert ended.status == 0
    trials.assert_same_files(folder, killer.reference)


@pytest.mark.parametrize("owner, step", [(signal, "signal"), (signal, "set_wakeup_fd"), (threading.Thread, "start")])
@pytest.mark.parametrize("number, status, word", [
    (signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")])
def test_at_once_while_it_gets_ready_to_stop(owner, step, number, status, word, killers):
    """Before somebody waits for signals, as afterwards."""
    def prepare():
        act = getattr(owner, step)

        def acts(*arguments, **named):
            result = act(*arguments, **named)
            os.kill(os.getpid(), number)
            return result

        signal.alarm(AT_ONCE)           # ends what waits for ever
        setattr(owner, step, acts)

    killer = killers("mref_ali2d")
    ended = trials.run(killer.scene.main, killer.words, killer.fresh(), prepare)
    assert (ended.status, ended.lines) == (status, [f"mref_ali2d: {word}; {ADVICE}"])


def test_at_once_while_the_lock_is_removed(killers):
    killer = killers("mref_ali2d")

    def prepare():
        remove, signals = os.unlink, iter([signal.SIGTERM])

        def unlink(path, **options):
            if str(path).endswith(killer.scene.lock):
                for number in signals:
                    os.kill(os.getpid(), number)
            remove(path, **options)

        os.unlink = unlink

    folder = killer.fresh()
    assert trials.run(killer.scene.main, killer.words, folder, prepare).status == 143
    assert not (folder / killer.scene.lock).exists()


def test_a_signal_at_the_very_end_comes_too_late(killers):
    """When the watcher is being told that its work is over."""
    killer, close = killers("mref_ali2d"), os.close

    def prepare():
        def kills(descriptor):
            if sys._getframe(1).f_code is command._stoppable.__wrapped__.__code__:
                os.kill(os.getpid(), signal.SIGINT)
            close(descriptor)

        os.close = kills

    folder = killer.fresh()
    ended = trials.run(killer.scene.main, killer.words, folder, prepare)
    assert (ended.status, ended.errors) == (0, "")
    trials.assert_same_files(folder, killer.reference)


@pytest.mark.parametrize("number, status, word", [(signal.SIGINT, 130, "interrupted"),
                                                  (signal.SIGTERM, 143, "terminated")])
def test_at_once_while_the_command_line_is_read(number, status, word, killers):
    killer = killers("mref_ali2d")

    def prepare():
        def kills(*_):
            os.kill(os.getpid(), number)
            time.sleep(60)

        options.Parser.parse_args = kills

    ended = trials.run(killer.scene.main, killer.words, killer.fresh(), prepare)
    assert ended.status == status and f"mref_ali2d: {word}" in ended.errors and "Traceback" not in ended.errors


def test_signals_are_as_before_when_a_program_has_ended():
    before = [signal.getsignal(number) for number in command.STOPS]
    command.run_program("x", lambda: None)
    with pytest.raises(SystemExit):
        command.run_program("x", lambda: open("/nowhere/at/all"))       # noqa: SIM115
    assert [signal.getsignal(number) for number in command.STOPS] == before
