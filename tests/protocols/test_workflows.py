"""Runs of all five protocols as a user comes back to them: exported and imported, continued, restarted, in a chain."""
from collections import OrderedDict

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESTART, MODE_RESUME

from mlalign.programs.results import FINAL
from mlalign.tests.protocols import scipion, subtomograms
from mlalign.tests.protocols.outputs import members
from mlalign.tests.protocols.scipion import connect, import_averages, import_particles, new_project, run, run_forked

ITERATIONS = "maxIters"
# name: (parameter that holds the iterations, its value for k of them)
LENGTH = {"ML2D": (ITERATIONS, int), "MLF2D": (ITERATIONS, int), "multi-ref ali2d": (ITERATIONS, int),
          "refine2d": ("numberOfIterations", int), "ML tomo": ("numberOfIterations", str)}
QUICK = {**scipion.QUICK, ITERATIONS: 2}
MREF = {"numberOfThreads": 1, "radius": 11, ITERATIONS: 2}
REFINE2D = {"numberOfThreads": 1, "radius": 12, "numberOfClassAvg": 4, "nbasisfp": 3, "numberOfAlignRef": 2,
            "numberOfIterations": 2, "classIter": 1}


@pytest.fixture(scope="module")
def executed(imported, tomography):
    """Runs of two iterations, and before them the imports that they start from: {label: protocol}."""
    project, volumes = imported.project, "outputVolumes"
    runs = OrderedDict(
        particles=import_particles(project, imported.folder), averages=import_averages(project, imported.folder),
        subtomograms=tomography.subtomograms, volumes=tomography.references)
    source = runs["particles"], runs["averages"]
    new = {"ML2D": scipion.new_ml2d(project, *source, **QUICK),
           "MLF2D": scipion.new_mlf2d(project, *source, **QUICK, fixHigh=9.0, doCorrectAmplitudes=False),
           "multi-ref ali2d": scipion.new_mref(project, *source, **MREF),
           "refine2d": scipion.new_refine2d(project, runs["particles"], **REFINE2D),
           "ML tomo": subtomograms.new_tomo(project, tomography.subtomograms, "outputSubTomograms",
                                            (tomography.references, volumes), **subtomograms.QUICK)}
    for label, protocol in new.items():
        runs[label] = run(project, protocol)
    return runs


def assert_equal(one, other):
    """Two results of :func:`members`."""
    assert {ref: ids for ref, (ids, _) in one.items()} == {ref: ids for ref, (ids, _) in other.items()}
    for ref in one:
        np.testing.assert_allclose(one[ref][1], other[ref][1], rtol=0, atol=1e-9)


def test_an_exported_workflow_gives_the_same_when_imported_and_executed(imported, executed, tmp_path):
    project, file = imported.project, tmp_path / "workflow.json"
    before = {label: members(executed[label].outputClasses) for label in LENGTH}
    project.getRunsGraph(refresh=True)
    project.exportProtocols(list(executed.values()), str(file))
    with new_project("Imported workflow") as other:
        loaded = dict(zip(executed, other.loadProtocols(str(file)).values()))
        for label, protocol in loaded.items():
            assert type(protocol) is type(executed[label])
            run(other, protocol)
        for label in LENGTH:
            assert_equal(members(loaded[label].outputClasses), before[label])


@pytest.mark.parametrize("label", LENGTH)
def test_continue_and_restart(imported, executed, label):
    protocol, (name, kind) = executed[label], LENGTH[label]
    before = members(protocol.outputClasses)

    def stamps():
        """When the first iteration and the result were written."""
        results = protocol.getRun()
        return [results.classes_file(which).stat().st_mtime_ns for which in (1, FINAL)]

    def again(mode, iterations):
        """What was written anew, of the first iteration and the result."""
        old = stamps()
        protocol.runMode.set(mode)
        getattr(protocol, name).set(kind(iterations))
        run(imported.project, protocol)
        assert protocol.getRun().iterations()[-1] == iterations
        return [one != other for one, other in zip(old, stamps())]

    assert again(MODE_RESUME, 2) == [False, False]
    assert again(MODE_RESUME, 3) == [False, True]
    assert again(MODE_RESTART, 2) == [True, True]
    assert_equal(members(protocol.outputClasses), before)


def test_a_chain_continued_and_restarted_from_its_first_run(imported, executed, monkeypatch):
    """As *Continue workflow* and *Restart workflow* do, whose scheduler would only wait longer."""
    from mlalign.protocols import MlalignProtSelect
    project, first = imported.project, executed["ML2D"]
    select = project.newProtocol(MlalignProtSelect, choose=1, classList="1,2")
    connect(select.inputClasses, first, "outputClasses")
    run(project, select)
    last = run(project, scipion.new_mref(project, select, select, **MREF))
    expected = members(last.outputClasses)

    def launch(protocol, **_):
        with run_forked(protocol):
            project.launchProtocol(protocol, wait=True, force=True)

    monkeypatch.setattr(project, "scheduleProtocol", launch)
    # Scipion continues the first only: what depends on it starts anew
    for mode, anew in (MODE_RESUME, [False, True]), (MODE_RESTART, [True, True]):
        stamps = [protocol.getRun().classes_file().stat().st_mtime_ns for protocol in (first, last)]
        project.getRunsGraph(refresh=True)
        chain, _ = project._getSubworkflow(first)
        assert [protocol.getObjId() for protocol, _ in chain.values()] == [
            protocol.getObjId() for protocol in (first, select, last)]
        assert project.launchWorkflow(chain, mode) == []
        assert all(protocol.isFinished() for protocol, _ in chain.values())
        now = [protocol.getRun().classes_file().stat().st_mtime_ns for protocol in (first, last)]
        assert [one != other for one, other in zip(now, stamps)] == anew
        assert_equal(members(chain[last.getObjId()][0].outputClasses), expected)
