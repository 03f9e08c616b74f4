"""What a run of ML tomo does with the files of an earlier one, and what it says while it goes on."""
from pathlib import Path

import pytest

from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.results import FINAL
from mlalign.protocols.summary import final_lines, progress_lines
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.protocols.subtomograms import new_tomo

STAGES = {"angSampling": "15 10 5", "angSearch": "-1 50 25", "numberOfIterations": "2 2 2"}


@pytest.fixture
def protocol(tomography, monkeypatch, tmp_path):
    """An ML tomo whose program only leaves the files of six iterations; ``calls`` has its arguments."""
    protocol = new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms", numberOfIterations="6")
    protocol.setWorkingDir(str(tmp_path))
    protocol.makeWorkingDir()
    protocol.calls = []

    def program(arguments):
        protocol.calls.append(arguments)
        for iteration in range(7):
            Path(f"{protocol._root()}_it{iteration:06d}_checkpoint.npz").touch()
        protocol.getRun().images_file().touch()

    monkeypatch.setattr(protocol, "_runProgram", program)
    return protocol


def run(protocol, **values):
    """Run the program's step as Scipion does; its arguments."""
    for name, value in values.items():
        getattr(protocol, name).set(value)
    protocol.runProgramStep(protocol._options(), protocol._signature())
    return protocol.calls[-1]


def test_first_run_starts_from_scratch_and_the_same_goes_on(protocol):
    first = run(protocol)
    assert "--continue" not in first and "--restart" not in first
    assert run(protocol) == [*first, "--continue"]


@pytest.mark.parametrize("name, value", [("numberOfIterations", "30"), ("eps", 1e-6), ("numberOfThreads", 5),
                                         ("memory", 2.0)])
def test_goes_on_after_a_change_of_how_far_and_how_fast(protocol, name, value):
    run(protocol)
    assert "--continue" in run(protocol, **{name: value})


@pytest.mark.parametrize("name, value", [
    ("numberOfReferences", 4), ("angSampling", "10"), ("maxRes", "0.3"), ("randomSeed", 2), ("doPerturb", False),
    ("missingAng", "-50 50"), ("negateTilts", True), ("missingDataType", 1), ("tiltFromAcquisition", False)])
def test_starts_anew_after_a_change_of_what_is_computed(protocol, monkeypatch, name, value):
    run(protocol)
    converted = Path(protocol._particlesFile())
    converted.touch()
    monkeypatch.setattr(protocol, "_runProgram", protocol.calls.append)
    arguments = run(protocol, **{name: value})
    assert "--continue" not in arguments and "--restart" not in arguments
    assert not protocol.getRun().checkpoints() and not protocol.getRun().images_file().exists()
    assert converted.exists()


def test_fewer_iterations_than_done_already(protocol):
    run(protocol)
    assert run(protocol, numberOfIterations="4")[-2:] == ["--restart", f"{protocol._root()}_it000004_img.xmd"]


@pytest.mark.parametrize("values, goes_on", [
    ({"numberOfIterations": "2 2 9"}, "--continue"), ({"numberOfIterations": "2 2 1"}, "--restart"),
    ({"numberOfIterations": "3 2 2"}, None), ({"numberOfIterations": "2 3 2"}, None), ({"eps": 1e-3}, None),
    ({"numberOfIterations": "2"}, "--continue"), ({"numberOfIterations": "5"}, None)])
def test_earlier_stages_must_be_the_same(protocol, values, goes_on):
    """2 for all stages are 2 for each."""
    run(protocol, **STAGES)
    arguments = run(protocol, **values)
    assert [option for option in ("--continue", "--restart") if option in arguments] == ([goes_on] if goes_on else [])
    if goes_on == "--restart":
        assert arguments[-1] == f"{protocol._root()}_it000005_img.xmd"


# ---- the summary while it goes on

@pytest.fixture(scope="module")
def going_on(tmp_path_factory):
    """A run in its second stage of two."""
    return tomo_fabricate.make_run(tmp_path_factory.mktemp("run"), size=12, count=12, iterations=4, stages=[1, 1, 1, 2],
                                   final=False)[0]


def test_progress_of_stages(going_on):
    text = "\n".join(progress_lines(going_on, 8, [3, 5]))
    assert "Iteration *4* of at most 8" in text and "Orientations changed by" in text
    assert "8 s per iteration, so at most 32 s to the end of stage 2 of 2." in text
    assert "so at most 32 s to go." in "\n".join(progress_lines(going_on, 8, [8]))


def test_final_words(tmp_path):
    references = phantoms3d(2, 12)
    rows = tomo_fabricate.particles(tmp_path, references, 6)
    run = tomo_fabricate.TomoRun(tmp_path / "mltomo")
    for iteration in (0, 1, FINAL):
        tomo_fabricate.write_result(run, iteration, references, rows, last=1)
    text = "\n".join(final_lines(run, 5))
    assert "Converged after 1 iterations." in text and "Resolution of the averages (FSC)" in text


def test_summary_of_many_regions(protocol, monkeypatch):
    from mlalign.programs.engine.missing import Region
    from mlalign.programs.missing_regions import write_regions
    write_regions(protocol._regionsFile(), {k: Region(k, "wedge_y", y=(-40.0 - k, 60.0)) for k in range(1, 7)})
    assert "6 different missing regions; 56 to 59 % of Fourier space observed of a particle." in protocol.summary()
    write_regions(protocol._regionsFile(), {1: Region(1, "pyramid", y=(-60.0, 60.0), x=(-60.0, 60.0)),
                                            2: Region(2, "cone", cone=60.0)})
    pyramid, cone = protocol.summary()[-2:]
    assert "tilts of -60 to 60 degrees about Y and -60 to 60 degrees about X, 84 % of Fourier space" in pyramid
    assert "all directions of 60 degrees of tilt, 87 % of Fourier space" in cone
    protocol.missingDataType.set(5)
    assert protocol.summary()[-1] == "Nothing is missing of the particles."
