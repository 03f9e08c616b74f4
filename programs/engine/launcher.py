"""What the launcher of an MPI run (mpirun, srun) tells each of its processes, known without importing anything."""
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

# names of variables: the process's number, how many there are, its number on its computer; the launcher
_TOLD = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "Open MPI"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPICH"),           # and what derives from it
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MVAPICH"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "srun"),
)
TURN = 0.2                # s that each process gives those before it to say what went wrong
MOST_TURNS = 10


@dataclass(frozen=True)
class Place:
    """Of a process among those that were started together: its number from 0, how many, its number on its computer.

    kind: the launcher.
    """

    rank: int = 0
    size: int = 1
    local: int = 0
    kind: str = ""

    @property
    def speaks(self):
        """Whether it tells what all processes of its computer would tell alike."""
        return self.local == 0


def place():
    """The :class:`Place` of this process; ``Place(0, 1)`` of one that no launcher started."""
    for rank, size, local, kind in _TOLD:
        values = [os.environ.get(name, "") for name in (rank, size)]
        if all(value.isdecimal() for value in values) and int(values[1]) > 1:
            here = os.environ.get(local, "")
            return Place(*map(int, values), int(here) if here.isdecimal() else int(values[0]), kind)
    return Place()


def mpirun():
    """The path of mpirun: the one installed beside this Python, whose MPI library mpi4py finds first; or None."""
    beside = Path(sys.executable).parent / "mpirun"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("mpirun")
