"""Exchanges among processes, and what the launchers tell them."""
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from mlalign.programs.engine import launcher
from mlalign.programs.engine.launcher import Place, mpirun, place
from mlalign.programs.engine.parallel import ALONE, Part, part_of, run_on, started
from mlalign.programs.errors import UserError
from mlalign.tests.programs.in_ranks import WILLING

NAMES = [name for names in launcher._TOLD for name in names[:3]]


@dataclass
class Sums:
    table: np.ndarray
    weight: float
    count: int
    step: int


def mine(rank, size=7):
    """What a rank brings along."""
    return np.random.default_rng(rank).standard_normal((size, 3)) + 1j * rank


def exchange():
    """What every one of the processes does; called below."""
    ranks = started()
    run_on(ranks, "test", lambda: check_exchanges(ranks))
    agreeing = ranks.sum(np.ones(1, int))[0]
    if ranks.first:
        print(f"{agreeing} agree")


def check_exchanges(ranks):
    every = [mine(rank) for rank in range(ranks.size)]
    total = ranks.sum(every[ranks.rank])
    expected = every[0].copy()
    for other in every[1:]:
        expected += other
    assert (total == expected).all() and total.dtype == complex             # to the last bit, in the order of the ranks
    assert (ranks.sum(np.full(2, 3, np.int32)) == 3 * ranks.size).all()     # fewer numbers than processes
    assert ranks.sum(np.float64(1.5)) == 1.5 * ranks.size

    parts = [np.arange(1 + rank)[:, None] * np.ones(2, np.float32) + 10 * rank for rank in range(ranks.size)]
    parts[1] = parts[1][:0]                                                 # one has none
    assert (ranks.gather(parts[ranks.rank]) == np.concatenate(parts)).all()
    assert (ranks.gather(np.array([ranks.rank % 2 == 0])) == (np.arange(ranks.size) % 2 == 0)).all()

    sums = ranks.total(Sums(mine(ranks.rank), 0.5, 2, 4), constant=("step",))
    assert np.allclose(sums.table, expected) and (sums.weight, sums.count, sums.step) == (0.5 * ranks.size,
                                                                                       2 * ranks.size, 4)
    assert isinstance(sums.count, int) and sums.table.dtype == complex

    assert ranks.agree(ranks.rank + 5) == 5 and ranks.agree(f"rank {ranks.rank}") == "rank 0"
    assert (ranks.agree(mine(ranks.rank)) == every[0]).all()
    assert (ranks.agree(Sums(mine(ranks.rank), 0.5 + ranks.rank, ranks.rank, 1)).table == every[0]).all()

    ranges = [tuple(row) for row in ranks.gather(np.array([[ranks.part(11, 2).start, ranks.part(11, 2).stop]]))]
    assert ranges[0][0] == 0 and ranges[-1][1] == 11
    assert all(end == begin and not end % 2 for (_, end), (begin, _) in zip(ranges, ranges[1:]))
    assert (ranks.gather(ranks.share(11)) == np.arange(11)).all()
    try:
        ranks.part(2 * ranks.size - 1, 2)
    except UserError as error:
        assert "expected at least 2 for each" in str(error)
    else:
        raise AssertionError
    assert ranks.sent > 0


def test_exchanges():
    done = subprocess.run([mpirun(), "-n", "3", sys.executable, "-c",
                           "from mlalign.tests.programs.engine.test_parallel import exchange; exchange()"],
                          env={**os.environ, **WILLING}, text=True, capture_output=True, timeout=60)
    assert done.stdout == "3 agree\n", done.stderr


def test_alone():
    assert started() is ALONE
    array = np.arange(4)
    assert ALONE.sum(array) is ALONE.gather(array) is ALONE.agree(array) is array
    assert (ALONE.share(5) == np.arange(5)).all() and (ALONE.size, ALONE.first) == (1, True)


def test_a_part_of_a_source():
    class Source:
        count, size = 10, 4

        def read(self, rows):
            return 100 + np.asarray(rows)

    source = Source()
    assert part_of(source, slice(0, 10)) is source
    part = part_of(source, slice(4, 8))
    assert isinstance(part, Part) and (part.count, part.size) == (4, 4)
    assert part.read(np.array([0, 3])).tolist() == [104, 107] and part.read([1]).tolist() == [105]


@pytest.mark.parametrize("told, expected", [
    ({}, Place()), ({"PMI_SIZE": "1", "PMI_RANK": "0"}, Place()),
    ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_RANK": "1"},
     Place(3, 4, 1, "Open MPI")),
    ({"PMI_SIZE": "8", "PMI_RANK": "5", "MPI_LOCALRANKID": "0"}, Place(5, 8, 0, "MPICH")),
    ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1"}, Place(1, 2, 1, "srun")),
    ({"SLURM_NTASKS": "64", "SLURM_PROCID": "0"}, Place()),                    # the script of a job, not a step
])
def test_launchers_are_recognised(monkeypatch, told, expected):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert place() == expected and place().speaks == (expected.local == 0)
