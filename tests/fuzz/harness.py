"""Many cases for one reader, in a process of its own whose time and memory are limited, and what came of them."""
import mmap
import multiprocessing
import os
import random
import resource
import signal
import struct
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mlalign.programs.errors import UserError

SECONDS = 2             # CPU time for a case
PATIENCE = 300          # seconds without a finished case, after which the process is ended
MEMORY = 1 << 29        # bytes beyond what the process has when it begins
LONGEST = 10_000        # characters of a message
FAST = Path("/dev/shm")
_COUNTS = struct.Struct("<qqq")         # number of the case in work, accepted, refused


class WrongAcceptance(Exception):
    """What was read is not what the file says."""


class _Slow(BaseException):
    """A case has had its time; no Exception, so that nothing takes it for a failure to read."""


@dataclass
class Tally:
    """accepted, refused: numbers of cases; faults: what went wrong -> how often; examples: of each, what was said in
    the first case and its number."""

    accepted: int = 0
    refused: int = 0
    faults: Counter = field(default_factory=Counter)
    examples: dict = field(default_factory=dict)

    @property
    def cases(self):
        return self.accepted + self.refused + self.faults.total()

    def add_fault(self, what, said, number):
        self.faults[what] += 1
        self.examples.setdefault(what, (said, number))


def case(target, seed, number):
    """The case (bytes) of that number, which does not depend on those before."""
    return target.make(random.Random(f"{seed} {number}"))


def attempt(target, data):
    """Whether ``target.feed`` accepts a case; raises what it raises, but refusals in one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)      # numbers that overflow without a word to the user
        try:
            target.feed(data)
        except UserError as error:
            _check_message(str(error))
            return False
        except SystemExit as error:                         # how command lines are refused, and help is given
            if error.code not in (0, 2):
                raise
            return error.code == 0
    return True


def run(target_type, seed, cases):
    """:class:`Tally` of so many cases.  target_type: called with a folder, gives an object with ``make`` and ``feed``.

    A process that dies or does not get on is a fault; what is left goes on in another.
    """
    tally, counts = Tally(), mmap.mmap(-1, _COUNTS.size)
    first, place = 0, FAST if FAST.is_dir() else None
    while first < cases:
        with tempfile.TemporaryDirectory(prefix="mlalign_", dir=place) as folder:
            faults, ending = _in_process(target_type, Path(folder), seed, range(first, cases), counts)
        now, accepted, refused = _COUNTS.unpack(counts[:])
        tally.accepted, tally.refused = tally.accepted + accepted, tally.refused + refused
        for fault in faults:
            tally.add_fault(*fault)
        if ending:
            tally.add_fault(ending, "", now)
        first = now + 1
    return tally


def _in_process(target_type, folder, seed, numbers, counts):
    """(what went wrong in which cases, how the process ended: "" when it had done all)."""
    counts[:] = _COUNTS.pack(numbers[0], 0, 0)
    context, faults, seen = multiprocessing.get_context("fork"), [], None
    mine, its = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(target_type, folder, seed, numbers, counts, its), daemon=True)
    process.start()
    its.close()
    while True:
        try:
            if mine.poll(PATIENCE):
                faults.append(mine.recv())
                continue
        except EOFError:
            break
        if seen == counts[:]:
            process.kill()
            process.join()
            return faults, "hangs"
        seen = counts[:]
    process.join()
    return faults, f"process ended with status {process.exitcode}" if process.exitcode else ""


def _work(target_type, folder, seed, numbers, counts, out):
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    target = target_type(folder)
    signal.signal(signal.SIGPROF, _out_of_time)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    results = [0, 0]
    for number in numbers:
        counts[:] = _COUNTS.pack(number, *results)
        try:
            data = case(target, seed, number)
            signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)
            accepted = attempt(target, data)
            signal.setitimer(signal.ITIMER_PROF, 0)
            results[not accepted] += 1
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            out.send((*described(error), number))
        counts[:] = _COUNTS.pack(number, *results)
    out.close()


def described(error):
    """(type and place of an error: the last line of mlalign's own that led there and where it was raised; its words)"""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "fuzz" not in frame.filename]
    own = [frame for frame in frames if "programs" in frame.filename]
    places = dict.fromkeys(f"{Path(frame.filename).name}:{frame.lineno}" for frame in [*own[-1:], *frames[-1:]])
    return f"{type(error).__name__} at {', '.join(places)}", str(error)[:200]


def _out_of_time(signum, frame):
    raise _Slow(f"takes more than {SECONDS} s")


def _check_message(message):
    if not message or "\n" in message or len(message) > LONGEST:
        raise WrongAcceptance(f"refused with {len(message)} characters in {message.count(chr(10)) + 1} lines")
