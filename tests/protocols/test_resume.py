"""What a run does with the files of an earlier one: resumes when only how far and how fast changed."""
import json
import os
from pathlib import Path

import pytest

from mlalign.tests.protocols.scipion import new_ml2d


@pytest.fixture
def protocol(imported, monkeypatch, tmp_path):
    """An ML2D whose program only leaves the files of five iterations; ``calls`` has its arguments."""
    protocol = new_ml2d(imported.project, imported.particles)
    protocol.setWorkingDir(str(tmp_path))
    protocol.makeWorkingDir()
    protocol.calls = []

    def program(arguments):
        protocol.calls.append(arguments)
        for iteration in range(1, 6):
            folder = Path(f"{protocol._root()}extra/iter{iteration:03d}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "iter_checkpoint.npz").touch()
        Path(protocol._root() + "images.xmd").touch()

    monkeypatch.setattr(protocol, "_runProgram", program)
    return protocol


def run(protocol):
    """Run the program's step as Scipion does; its arguments."""
    protocol.runProgramStep(protocol._options(), protocol._signature())
    return protocol.calls[-1]


def test_first_run_starts_from_scratch(protocol):
    arguments = run(protocol)
    assert "--continue" not in arguments and "--restart" not in arguments


def test_unchanged_run_goes_on(protocol):
    first = run(protocol)
    assert run(protocol) == [*first, "--continue"]


@pytest.mark.parametrize("name, value", [("maxIters", 300), ("eps", 1e-6), ("numberOfThreads", 5),
                                         ("memory", 2.0), ("writeProbs", True)])
def test_goes_on_after_a_change_of_how_far_and_how_fast(protocol, name, value):
    run(protocol)
    getattr(protocol, name).set(value)
    assert "--continue" in run(protocol)


@pytest.mark.parametrize("name, value", [
    ("numberOfClasses", 4), ("doMirror", False), ("psiStep", 6.0), ("randomSeed", 2), ("restarts", 1),
    ("doFast", False), ("radius", 9)])
def test_starts_anew_after_a_change_of_what_is_computed(protocol, name, value):
    run(protocol)
    getattr(protocol, name).set(value)
    protocol._runProgram, program = lambda arguments: protocol.calls.append(arguments), protocol._runProgram
    arguments = run(protocol)
    assert "--continue" not in arguments and "--restart" not in arguments
    assert not Path(protocol._root() + "extra").exists()
    assert not Path(protocol._root() + "images.xmd").exists()
    protocol._runProgram = program
    assert "--continue" not in run(protocol)            # nothing was there to go on from
    assert "--continue" in run(protocol)


def test_starts_anew_when_the_input_holds_something_else(protocol, imported):
    """A copy of the same, which is younger, is the same."""
    run(protocol)
    path = Path(imported.particles.outputParticles.getFileName())
    before = path.read_bytes()
    os.utime(path, (0, 0))
    assert "--continue" in run(protocol)
    try:
        path.write_bytes(before + b" ")
        assert "--continue" not in run(protocol)
    finally:
        path.write_bytes(before)


def test_the_other_program_starts_anew_and_leaves_nothing_of_the_first(protocol):
    run(protocol)
    files = set()
    for switch in (True, False):
        before = protocol._root()
        protocol.doMlf.set(switch)
        assert "--continue" not in run(protocol)
        assert protocol._root() != before
        files.add(frozenset(path.name for path in Path(protocol._getExtraPath()).iterdir()))
        assert "--continue" in run(protocol)
    assert files == {frozenset({f"{prefix}_extra", f"{prefix}_images.xmd", "run.json"}) for prefix in ("ml2d", "mlf2d")}


def test_fewer_iterations_than_done_already(protocol):
    run(protocol)
    protocol.maxIters.set(3)
    arguments = run(protocol)
    assert arguments[-2:] == ["--restart", "3"] and "--continue" not in arguments


def test_seed_from_the_clock_is_kept(protocol):
    protocol.randomSeed.set(-1)
    first = run(protocol)
    seed = first[first.index("--random_seed") + 1]
    assert int(seed) > 1e9
    second = run(protocol)
    assert second[second.index("--random_seed") + 1] == seed
    assert json.loads(Path(protocol._getExtraPath("run.json")).read_text())["seed"] == int(seed)


def test_files_of_others_are_kept(protocol):
    run(protocol)
    other = Path(protocol._getExtraPath("input_particles.xmd"))
    other.touch()
    protocol.numberOfClasses.set(5)
    run(protocol)
    assert other.exists()


@pytest.mark.parametrize("status, written, message, processes", [
    (2, "a warning\nml_align2d: error: x.xmd: no such file\n", "ml_align2d: error: x.xmd: no such file", 1),
    (1, "Traceback\nMemoryError\n\n", "ml_align2d failed with status 1: MemoryError", 1),
    (1, "", "ml_align2d failed with status 1: no message", 1),
    (137, "", "ml_align2d was killed, perhaps for lack of memory.", 1),
    (9, "", "One of the 4 processes of ml_align2d was killed, perhaps for lack of memory; the run mode Continue goes on "
            "from the last iteration.", 4),
])
def test_message_of_a_failed_program(imported, tmp_path, status, written, message, processes):
    protocol = new_ml2d(imported.project, imported.particles, numberOfMpi=processes)
    protocol.setWorkingDir(str(tmp_path))
    protocol.makeWorkingDir()
    Path(protocol.getStderrLog()).write_text(written)
    assert protocol._programError(status) == message
