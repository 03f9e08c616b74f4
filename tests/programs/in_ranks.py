"""Programs in several processes, started by mpirun, for tests."""
import os
import subprocess
import sys

from mlalign.programs.engine.launcher import mpirun

# OpenMPI does not start for root, or more processes than there are processors, unless it is told to
WILLING = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PRTE_ALLOW_RUN_AS_ROOT": "1",
           "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
           "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe", "OMP_NUM_THREADS": "1"}


def command(processes, *words):
    """The command line of ``mlalign WORDS`` in so many processes."""
    return [mpirun(), "-n", str(processes), sys.executable, "-m", "mlalign.cli", *map(str, words)]


def in_ranks(processes, *words, status=0, timeout=120, **environment):
    """Run ``mlalign WORDS`` in so many processes, to the exit ``status``: what it wrote to stderr."""
    ran = subprocess.run(command(processes, *words), env={**os.environ, **WILLING, **environment}, text=True,
                         capture_output=True, timeout=timeout)
    assert ran.returncode == status, ran.stderr
    return ran.stderr
