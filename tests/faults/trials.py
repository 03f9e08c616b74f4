"""Runs in processes that are copies of this one, where everything is loaded already: started, killed, compared."""
import contextlib
import io
import json
import os
import re
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mlalign.programs.formats.checkpoint import load_checkpoint

EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}
NOON = 1_700_000_000.0          # the time it always is for a run, so that its files can be compared
STAMP = re.compile(r"(?m)^[-\d]{10} [:\d]{8}  ")
GOES_ON = re.compile(r"(?m)^(continuing |nothing to (continue|resume)|iteration \d+ goes on after).*\n")
UNFINISHED = "unfinished.npz"   # a checkpoint within an iteration
MOST_UNTOLD = 3                 # lines of a log
# options in checkpoints and parameter files that say how a run was started, not what it computes
HOW = ("resume", "commandline", "timestamp", "thr")


@dataclass
class Ended:
    """A process that has ended: its exit status (negative: the signal that killed it) and its last words."""

    status: int
    errors: str
    seconds: float
    latency: float = 0.0        # s from the signal to the end

    @property
    def lines(self):
        return self.errors.splitlines()


class Process:
    """``main(words)`` in a copy of this process, with a folder as its working folder.

    prepare: called in the copy, first.  Output and errors go to files beside the folder.
    """

    def __init__(self, main, words, folder, prepare=None):
        self.folder, self.started = Path(folder), time.perf_counter()
        self.process = os.fork()
        if self.process == 0:
            _become(main, [str(word) for word in words], self.folder, prepare)

    def signal(self, number):
        os.kill(self.process, number)
        self.signalled = time.perf_counter()

    def wait(self):
        _, status = os.waitpid(self.process, 0)
        now, said = time.perf_counter(), Path(f"{self.folder}.err")
        return Ended(os.waitstatus_to_exitcode(status), said.read_text() if said.exists() else "", now - self.started,
                     now - getattr(self, "signalled", now))

    def ended(self):
        """Whether it has; it can still be waited for."""
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _become(main, words, folder, prepare):
    """What a shell would start; never returns."""
    status = 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
        for number, kind in ((1, "out"), (2, "err")):
            file = os.open(f"{folder}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        time.time = lambda: NOON
        tqdm.set_lock(threading.RLock())        # the usual one is of all copies: one that is killed may have it
        if prepare:
            prepare()
        main(words)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def warm_up(main, words, folder):
    """A run in this process, so that copies of it have loaded what they need."""
    before = os.getcwd()
    Path(folder).mkdir(parents=True)
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main([str(word) for word in words])
    finally:
        os.chdir(before)


def run(main, words, folder, prepare=None):
    """A process to its end: :class:`Ended`."""
    return Process(main, words, folder, prepare).wait()


class AtChange:
    """For ``prepare``: call ``act()`` when this process is about to change its files for the ``count``-th time.

    What it raises there is what the process meets.  watched: beginnings of the relative names of those files.
    """

    def __init__(self, count, act, watched=("out", "copy.hdf", ".copy.hdf")):
        self.count, self.act, self.watched, self.seen = count, act, watched, 0

    def __call__(self):
        sys.addaudithook(self._hook)
        sync = os.fsync

        def fsync(descriptor):
            self._count()
            sync(descriptor)

        os.fsync = fsync

    def _hook(self, event, arguments):
        changes = event in EVENTS and (event != "open" or _writes(arguments))
        if changes and any(isinstance(word, (str, Path)) and str(word).startswith(self.watched) for word in arguments):
            self._count()

    def _count(self):
        self.seen += 1
        if self.seen == self.count:
            self.act()


def signal_at(number, count):
    """For ``prepare``: a signal to this process, see :class:`AtChange`."""
    return AtChange(count, lambda: os.kill(os.getpid(), number))


def _writes(arguments):
    _, mode, flags = arguments
    return set(mode or "") & set("wax+") or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def count_changes(main, words, folder):
    """How often a run changes its files."""
    counter = AtChange(None, None)

    def prepare():
        counter()
        leave = os._exit

        def tell(status):
            Path(f"{folder}.count").write_text(str(counter.seen))
            leave(status)

        os._exit = tell

    ended = run(main, words, folder, prepare)
    assert ended.status == 0, ended.errors
    return int(Path(f"{folder}.count").read_text()), ended.seconds


# ---- what a run has left

def files(folder, hidden=False):
    """{relative name: path} of the files under a folder; hidden ones, or the others."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in found if path.name.startswith(".") == hidden}


def assert_same_files(folder, reference):
    """The same files to the last byte, but for what says how and when they came about."""
    here, there = files(folder), files(reference)
    assert sorted(here) == sorted(there)
    for name in there:
        assert_same_file(here[name], there[name])
    assert not files(folder, hidden=True)


def assert_whole(folder, reference, lock):
    """Every file that is there is whole: it is as in the uninterrupted run."""
    there = files(reference)
    for name, path in files(folder).items():
        if name.endswith(UNFINISHED):
            load_checkpoint(path)
        elif name != lock and not name.endswith("run.log"):
            assert_same_file(path, there[name])


def assert_same_file(path, other):
    if path.suffix == ".npz":
        (arrays, meta), (other_arrays, other_meta) = load_checkpoint(path), load_checkpoint(other)
        assert _what(meta) == _what(other_meta), path
        assert arrays.keys() == other_arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, other_arrays[name], f"{path}: {name}")
    elif path.suffix == ".json":
        assert _what(json.loads(path.read_text())) == _what(json.loads(other.read_text()))
    elif path.name.endswith("run.log"):
        # told twice, because it was done twice; or not, because the run was killed between the checkpoint and the line
        mine, its = (dict.fromkeys(_told(log)) for log in (path, other))
        assert list(mine) == [line for line in its if line in mine] and len(its) - len(mine) <= MOST_UNTOLD
    else:
        assert path.read_bytes() == other.read_bytes(), path


def _told(log):
    return GOES_ON.sub("", STAMP.sub("", log.read_text())).splitlines()


def _what(values):
    options = values.get("options", values)
    options = {name: value for name, value in options.items() if name not in HOW}
    return {**values, "options": options} if "options" in values else options
