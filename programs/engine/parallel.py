"""Ranks: processes that share the images of a run (MPI), or just one.

Sums are gathered and added up in the order of the ranks, so all ranks have the same ones.
"""
import sys

import numpy as np

from ..errors import UserError


def run_on(ranks, program, body):
    """Run ``body()`` on every one of the ranks; a :class:`.errors.UserError` in one of them ends all, and says why."""
    try:
        body()
    except UserError as error:
        ranks.abort(f"{program}: error: {error}")
        raise


class Alone:
    """The one rank of a run without MPI."""

    rank, size = 0, 1

    def share(self, count):
        """The images that this rank works on."""
        return np.arange(count)

    def gather(self, array):
        """What all ranks have of a column, in the order of their images."""
        return array

    def sum(self, array):
        return array

    def abort(self, message):
        """Say why and end all ranks, after an error in one of them; alone, nothing: the error will be reported."""

    def wait(self):
        """Until all ranks are here."""


class Ranks:
    """The ranks of an MPI run; the methods are those of :class:`Alone`.  option: what asked for it, for messages."""

    def __init__(self, option="--MPI"):
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise UserError(f"{option}: mpi4py cannot be used ({error}), expected `pip install mpi4py` and an MPI "
                            "library, and a start by mpirun") from error
        self._world = MPI.COMM_WORLD
        self.rank, self.size = self._world.Get_rank(), self._world.Get_size()

    def share(self, count):
        return np.array_split(np.arange(count), self.size)[self.rank]

    def gather(self, array):
        return np.concatenate(self._world.allgather(np.ascontiguousarray(array)))

    def sum(self, array):
        total = 0
        for part in self._world.allgather(array):
            total = total + part
        return total

    def abort(self, message):
        if self.size > 1:
            print(message, file=sys.stderr, flush=True)
            self._world.Abort(2)

    def wait(self):
        self._world.Barrier()
