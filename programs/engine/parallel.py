"""Ranks: the processes that share the images of a run (MPI), or just one.

Every rank holds the whole state of a run and takes the same decisions; it works on its own images, a range of them.
Sums are added up in the order of the ranks, slice by slice, each slice by one rank that sends it to all: they are the
same to the last bit everywhere, whatever the MPI library, and every rank sends about twice their size at most.
"""
import os
import platform
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace

import numpy as np

from ..errors import UserError, ending
from .launcher import MOST_TURNS, TURN, place

LONGEST_NAP = 0.02        # s between looks at whether all are there
FIRSTS_TURN = 4.0         # s that ranks wait for the first to say what went wrong, then for each other
FORWARDED = 0.3           # s: a launcher under load drops what it has not passed on when its processes end


def started(asked=""):
    """The ranks of this run: :class:`Ranks` when mpirun has started several processes, else :data:`ALONE`.

    asked: an option that asks for MPI, also where the environment does not show that mpirun is at work.
    """
    size = place().size
    return Ranks(asked or f"mpirun of {size} processes", size) if asked or size > 1 else ALONE


def run_on(ranks, program, body, advice=""):
    """Run ``body()`` on every one of the ranks; an error in one of them ends all, and says why.

    advice: how to go on, for those that the next run can go on after.
    """
    try:
        body()
    except BaseException as error:      # the others must not wait for one that was interrupted, either
        ranks.abort(program, error, advice)
        raise


class Alone:
    """The one rank of a run without MPI."""

    rank, size, first, local = 0, 1, True, 0       # local: its number among those of its computer

    def part(self, count, multiple=1):
        """The range of ``count`` images that this rank works on, a slice; ranges begin at multiples of ``multiple``."""
        return slice(0, count)

    def share(self, count):
        """The images that this rank works on, their numbers."""
        return np.arange(count)[self.part(count)]

    def gather(self, array):
        """What all ranks have, joined along the first axis in the order of the ranks."""
        return array

    def sum(self, array):
        """The sum of all ranks' arrays of one shape."""
        return array

    def total(self, sums, constant=()):
        """The sum of all ranks' ``sums``, a dataclass of numbers and arrays.  constant: fields alike everywhere."""
        return sums

    def agree(self, value):
        """The first rank's value: an array of one shape everywhere, a dataclass's arrays and floats, or what pickles.

        Rounding may differ between processors: what decides how a run goes on must be the same for all.
        """
        return value

    def wait(self):
        """Until all ranks are here."""

    def abort(self, program, error, advice=""):
        """Say why and end all ranks, after an error in one of them; nothing of one alone: its error will be told."""

    def words(self):
        """How many they are and where, to end a line with; asked by all of them."""
        return ""

    def told(self):
        """A line for the log on what has been exchanged, or None."""


ALONE = Alone()


class Part:
    """The images of ``source`` (see :mod:`..formats.images`) in a range, a slice, numbered from 0."""

    def __init__(self, source, part):
        self._source, self._first = source, part.start
        self.count, self.size = part.stop - part.start, source.size

    def read(self, rows):
        return self._source.read(np.asarray(rows) + self._first)


def part_of(source, part):
    """The images of ``source`` in a range: a :class:`Part`, or the source itself."""
    return source if part == slice(0, source.count) else Part(source, part)


class Ranks(Alone):
    """The ranks of an MPI run.  asked: what asked for it, for messages; size: how many there should be, 1: unknown.

    sent: bytes that this rank has given to others; waited, exchanged: seconds until others were there, and with them.
    """

    def __init__(self, asked="--MPI", size=1):
        self._mpi = MPI = _mpi_of(asked)
        self._world = MPI.COMM_WORLD
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()
        self.first, self.local = self.rank == 0, place().local
        self.sent, self.waited, self.exchanged = 0, 0.0, 0.0
        if self.size == 1 < size:
            raise _another(asked, MPI)

    def part(self, count, multiple=1):
        if count < self.size * multiple:
            raise UserError(f"{self.size} processes share {count} images, expected at least {multiple} for each: start "
                            f"mpirun with at most {max(1, count // multiple)}")
        ends = np.arange(self.size + 1) * (count // multiple) // self.size * multiple
        ends[-1] = count
        return slice(int(ends[self.rank]), int(ends[self.rank + 1]))

    def gather(self, array):
        array = np.ascontiguousarray(array)
        with self._together():
            counts = np.empty(self.size, np.int64)
            self._world.Allgather(np.array([len(array)]), counts)
            joined = np.empty((counts.sum(), *array.shape[1:]), array.dtype)
            self._join(array, joined, counts)
        return joined

    def sum(self, array):
        array = np.asarray(array)
        flat = np.ascontiguousarray(array).ravel()
        ends = np.arange(self.size + 1) * flat.size // self.size
        counts, mine = np.diff(ends), int(ends[self.rank + 1] - ends[self.rank])
        parts, total = np.empty((self.size, mine), flat.dtype), np.empty_like(flat)
        with self._together():
            with self._items(flat.itemsize) as item:
                self._world.Alltoallv([flat, counts, ends[:-1], item],
                                      [parts, np.full(self.size, mine), mine * np.arange(self.size), item])
            self.sent += (flat.size - mine) * flat.itemsize
            own = parts[0]
            for part in parts[1:]:
                own += part
            self._join(own, total, counts)
        return total.reshape(array.shape)

    def _join(self, own, joined, counts):
        """Fill ``joined`` with what all ranks have, ``counts`` items of each along the first axis."""
        size = own.itemsize * int(np.prod(own.shape[1:]))
        with self._items(size) as item:
            self._world.Allgatherv([own, len(own), item], [joined, counts, np.cumsum(counts) - counts, item])
        self.sent += own.nbytes * (self.size - 1)

    @contextmanager
    def _items(self, size):
        """MPI's type of items of ``size`` bytes: items are counted, whose number may not exceed 31 bits, not bytes."""
        kind = self._mpi.BYTE.Create_contiguous(size).Commit()
        yield kind
        kind.Free()

    @contextmanager
    def _together(self):
        """An exchange, once all ranks are here."""
        self.wait()
        begun = time.perf_counter()
        yield
        self.exchanged += time.perf_counter() - begun

    def total(self, sums, constant=()):
        names = [f.name for f in fields(sums) if f.name not in constant]
        values = [np.asarray(getattr(sums, name)) for name in names]
        doubles = [np.atleast_1d(v.astype(complex if v.dtype.kind == "c" else float)).view(float).ravel()
                   for v in values]
        joined = np.split(self.sum(np.concatenate(doubles)), np.cumsum([len(d) for d in doubles])[:-1])
        changes = {}
        for name, value, part in zip(names, values, joined):
            part = (part.view(complex) if value.dtype.kind == "c" else part).reshape(value.shape)
            changes[name] = part.astype(value.dtype) if isinstance(getattr(sums, name), np.ndarray) else part.item()
            if isinstance(getattr(sums, name), int):
                changes[name] = round(changes[name])
        return replace(sums, **changes)

    def agree(self, value):
        if is_dataclass(value):
            return replace(value, **{f.name: self.agree(getattr(value, f.name)) for f in fields(value)
                                     if isinstance(getattr(value, f.name), (np.ndarray, float))})
        with self._together():
            if not isinstance(value, np.ndarray):
                return self._world.bcast(value)
            value = np.array(value, order="C")          # a copy, which may be written to
            with self._items(value.itemsize) as item:
                self._world.Bcast([value, value.size, item])
            self.sent += value.nbytes if self.first else 0
        return value

    def wait(self):
        """Until all ranks are here, without keeping a processor busy, and open to signals."""
        begun = time.perf_counter()
        request = self._world.Ibarrier()
        while not request.Test():
            time.sleep(min(LONGEST_NAP, (time.perf_counter() - begun) / 8))
        self.waited += time.perf_counter() - begun

    def abort(self, program, error, advice=""):
        if self.size == 1:
            return
        # what one of them has met all may have met: the first says so, the others if it cannot
        time.sleep(0 if self.first else FIRSTS_TURN + TURN * min(self.rank, MOST_TURNS))
        where = f"process {self.rank + 1} of {self.size} on {platform.node()}"
        status, line = ending(program, error, advice) or (1, None)
        if line is None:
            traceback.print_exception(type(error), error, error.__traceback__)
            line = f"{program}: failed in {where}{advice and '; ' + advice}"
        elif not isinstance(error, UserError):
            line = f"{line} ({where})"
        print(line, file=sys.stderr, flush=True)
        time.sleep(FORWARDED)
        self._world.Abort(status)
        os._exit(status)                    # some libraries only ask the launcher, and return

    def words(self):
        every = self._world.allgather((platform.node(), os.getpid()))
        hosts = "; ".join(f"{host}: {' '.join(str(number) for name, number in every if name == host)}"
                          for host in dict(every))
        return (f", shared by {self.size} processes ({hosts}); should one of them end, all do, and a continued run "
                "goes on from its last iteration")

    def told(self):
        return (f"{self.size} processes: the first sent {self.sent / 1e6:.3g} MB, exchanged for {self.exchanged:.1f} s "
                f"and waited {self.waited:.1f} s for the others")


def _mpi_of(asked):
    """The module mpi4py.MPI, ready for use; :class:`UserError` where it cannot be.  asked: what needs it."""
    try:
        import mpi4py
        mpi4py.rc(initialize=False, finalize=True)          # with another launcher's library that would be fatal
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise UserError(f"{asked}: mpi4py cannot be used ({str(error).splitlines()[0]}), expected `pip install mpi4py` "
                        "and an MPI library, and a start by mpirun") from error
    if not MPI.Is_initialized():
        if place().kind == "Open MPI" and _library(MPI).startswith(("MPICH", "Intel")):
            raise _another(asked, MPI)
        MPI.Init_thread(MPI.THREAD_FUNNELED)                # it is called by one thread
    return MPI


def _library(MPI):
    return MPI.Get_library_version().split(",")[0].split("\n")[0].strip("\0 ")


def _another(asked, MPI):
    return UserError(f"{asked}: this is the mpirun of another MPI than mpi4py uses ({_library(MPI)}), expected the one "
                     "that belongs to it")
