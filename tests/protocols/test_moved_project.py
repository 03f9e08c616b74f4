"""Runs that were stopped go on in a project that was closed, copied to another place and opened there."""
import os
import shutil
import time
from pathlib import Path

import pytest
from pyworkflow.protocol.constants import MODE_RESTART, MODE_RESUME

from mlalign.tests.protocols import scipion, subtomograms
from mlalign.tests.protocols.outputs import members

PATIENCE = 120      # s
# of every protocol: parameters of a run that does not end by itself, what ends it, and how its log says that it goes on
ENDLESS = {
    "ml2d": ({**scipion.QUICK, "maxIters": 500}, ("maxIters", 3), "continuing after iteration"),
    "mlf2d": ({**scipion.QUICK, "maxIters": 500, "areImagesPhaseFlipped": 0}, ("maxIters", 3),
              "continuing after iteration"),
    "tomo": ({**subtomograms.QUICK, "numberOfIterations": "500"}, ("numberOfIterations", "2"),
             "continuing after iteration"),
    "mref": ({"numberOfThreads": 1, "radius": 11, "maxIters": 500}, ("maxIters", 3), "continuing after iteration"),
    "refine2d": ({"numberOfThreads": 1, "numberOfClassAvg": 3, "nbasisfp": 2, "numberOfAlignRef": 2, "radius": 12,
                  "numberOfIterations": 500, "classIter": 1}, ("numberOfIterations", 2), "continuing after cycle")}


def stop_after_checkpoint(project, protocol):
    """Launch a protocol, and stop it as its window would once there is something to go on from."""
    with scipion.run_forked(protocol, wait=False):
        project.launchProtocol(protocol, wait=False)
    end = time.monotonic() + PATIENCE
    while not protocol.getRun().checkpoints() and time.monotonic() < end:
        time.sleep(0.02)
    project.stopProtocol(protocol)
    assert protocol.getRun().checkpoints()
    assert not protocol.getRun().classes_file().exists(), "it ended before it could be stopped"


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A project in another place than where its protocols were stopped, and their numbers there."""
    from pyworkflow.project import Project
    images = scipion.simulated(tmp_path_factory.mktemp("images"))
    with_ctf = scipion.simulated(tmp_path_factory.mktemp("with CTF"), "--defocus", "6000", "16000", count=60)
    volumes = subtomograms.simulated(tmp_path_factory.mktemp("volumes"))
    with scipion.new_project("Moved") as project:
        particles, averages = scipion.import_particles(project, images), scipion.import_averages(project, images)
        new = {"ml2d": (scipion.new_ml2d, particles), "mref": (scipion.new_mref, particles, averages),
               "refine2d": (scipion.new_refine2d, particles),
               "mlf2d": (scipion.new_mlf2d, scipion.import_particles_with_ctf(project, with_ctf)),
               "tomo": (subtomograms.new_tomo, subtomograms.import_subtomograms(project, volumes),
                        "outputSubTomograms")}
        numbers = {}
        for name, (make, *inputs) in new.items():
            protocol = make(project, *inputs, **ENDLESS[name][0])
            stop_after_checkpoint(project, protocol)
            numbers[name] = protocol.getObjId()
        project.closeMapper()
        old = Path(project.path)
    # as deep in the tree: Scipion's import from RELION's files links to them by relative paths
    place = old.parents[1] / "elsewhere" / "copy"
    shutil.copytree(old, place, symlinks=True, copy_function=shutil.copy)      # whose files are younger
    shutil.rmtree(old)
    before = os.getcwd()
    project = Project(project.getDomain(), str(place))
    project.load()
    try:
        yield project, numbers
    finally:
        os.chdir(before)


@pytest.mark.parametrize("name", ENDLESS)
def test_goes_on_elsewhere(name, moved):
    project, numbers = moved
    _, (parameter, value), going_on = ENDLESS[name]
    protocol = project.getProtocol(numbers[name])
    assert protocol.isAborted()
    done = protocol.getRun().checkpoints()[-1]
    getattr(protocol, parameter).set(value)
    protocol.runMode.set(MODE_RESUME)
    scipion.run(project, protocol)
    log = protocol.getRun().log_file.read_text()
    assert going_on in log or done > int(value)         # it had gone farther: back to an earlier iteration, then
    assert log.count(" random seed ") <= 1              # it has not begun twice
    for one in protocol.outputClasses.iterItems():
        assert Path(one.getRepresentative().getFileName()).exists()
    assert sum(len(ids) for ids, _ in members(protocol.outputClasses).values()) > 20


def test_restart_begins_anew(moved):
    project, numbers = moved
    protocol = project.getProtocol(numbers["mref"])
    protocol.runMode.set(MODE_RESTART)
    scipion.run(project, protocol)
    assert "continuing" not in protocol.getRun().log_file.read_text()
