"""Protocols in several processes, as Scipion's MPI field asks for, here and through a queue."""
import os
import re
import subprocess
from pathlib import Path

import pytest
from pyworkflow.protocol import HostConfig

from mlalign.tests.programs.in_ranks import WILLING
from mlalign.tests.protocols import scipion
from mlalign.tests.protocols.outputs import assert_same_classes
from mlalign.tests.protocols.scipion import (
    QUICK,
    new_ml2d,
    new_mref,
    new_refine2d,
    run,
)
from mlalign.tests.protocols.subtomograms import new_tomo

SHORT = {**QUICK, "maxIters": 2}
# a queue of this computer alone, which runs a job before it returns its number
QUEUE = """
[localhost]
PARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s
NAME = BASH
MANDATORY = 0
SUBMIT_COMMAND = bash %_(JOB_SCRIPT)s > %_(JOB_LOGS)s.told 2>&1 ; echo 7
SUBMIT_TEMPLATE = #!/bin/bash
    echo asked for %_(JOB_NODES)d x %_(JOB_THREADS)d = %_(JOB_CORES)d
    %_(JOB_COMMAND)s
CANCEL_COMMAND = echo %_(JOB_ID)s
CHECK_COMMAND = echo %_(JOB_ID)s
QUEUES = { "default": {} }
"""


@pytest.fixture(autouse=True)
def willing(monkeypatch):
    for name, value in WILLING.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="module")
def alone(imported):
    return run(imported.project, new_ml2d(imported.project, imported.particles, **SHORT))


def processes(protocol):
    """How many processes shared the run."""
    log = Path(protocol.getStdoutLog()).read_text()
    found = re.search(r"shared by (\d+) processes", log)
    return int(found[1]) if found else 1


def test_two_processes_find_what_one_finds(imported, alone):
    both = run(imported.project, new_ml2d(imported.project, imported.particles, numberOfMpi=2, **SHORT))
    assert (processes(alone), processes(both)) == (1, 2)
    assert_same_classes(both.outputClasses, alone.outputClasses, 1e-3)


def test_a_queue_gets_processes_and_threads(imported, alone, monkeypatch):
    hosts = scipion.HOME / "hosts of a queue.conf"
    hosts.write_text(QUEUE)
    monkeypatch.setenv("SCIPION_HOSTS", str(hosts))
    protocol = new_ml2d(imported.project, imported.particles, numberOfMpi=2, **{**SHORT, "numberOfThreads": 2})
    host = HostConfig.load(str(hosts))["localhost"]
    monkeypatch.setattr(imported.project, "getHostConfig", lambda name: host)
    protocol._useQueue.set(True)
    protocol.setQueueParams(("default", {}))
    assert protocol.validate() == []
    imported.project.launchProtocol(protocol)
    imported.project._updateProtocol(protocol, checkPid=False)
    told = next(Path(protocol._getLogsPath()).glob("*.told")).read_text()
    assert told.startswith("asked for 2 x 2 = 4\n")
    assert protocol.isFinished(), told
    assert processes(protocol) == 2
    assert_same_classes(protocol.outputClasses, alone.outputClasses, 1e-3)


@pytest.mark.parametrize("kind", ["ML2D", "mref", "refine2d", "tomo"])
def test_every_program_is_started_by_mpirun(imported, tomography, kind, monkeypatch):
    project = imported.project
    protocol = {"ML2D": lambda: new_ml2d(project, imported.particles, **QUICK),
                "mref": lambda: new_mref(project, imported.particles, imported.averages),
                "refine2d": lambda: new_refine2d(project, imported.particles),
                "tomo": lambda: new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms")}[kind]()
    started = {}
    monkeypatch.setattr(protocol, "runJob", lambda program, arguments, **details: started.update(details))
    for count, asked in ((0, 1), (1, 1), (3, 3)):
        protocol.numberOfMpi.set(count)
        protocol._runProgram([])
        assert started["numberOfMpi"] == asked


def test_what_is_missing_is_said_beforehand(imported, monkeypatch):
    protocol = new_ml2d(imported.project, imported.particles, numberOfMpi=2, **SHORT)
    assert protocol.validate() == []
    host = HostConfig.load(os.environ["SCIPION_HOSTS"])["localhost"]
    host.setMpiCommand("no_such_mpirun -np 2")
    monkeypatch.setattr(imported.project, "getHostConfig", lambda name: host)
    assert "there is no no_such_mpirun here" in protocol.validate()[0]
    monkeypatch.setattr("mlalign.protocols.checks.find_spec", lambda name: None)
    assert "mpi4py is not installed" in protocol.validate()[0]
    protocol.numberOfMpi.set(1)
    assert protocol.validate() == []


def test_mpirun_beside_python_comes_first(imported):
    from mlalign import Plugin
    from mlalign.programs.engine.launcher import mpirun
    found = subprocess.run("command -v mpirun", shell=True, env=Plugin.getEnviron(), text=True, capture_output=True)
    assert found.stdout.strip() == mpirun()
