"""What the form says before a run: errors, warnings, citations."""
import re
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.utils import parseBibTex

import mlalign.bibtex
from mlalign.programs.formats.mrc import write_stack
from mlalign.protocols import gpu
from mlalign.protocols.particles import NEVER, WHEN_NEEDED
from mlalign.tests.protocols.scipion import BOX, PIXEL, connect, new_ml2d, run


@pytest.fixture
def protocol(imported):
    return new_ml2d(imported.project, imported.particles)


def errors(protocol, **values):
    for name, value in values.items():
        getattr(protocol, name).set(value)
    return protocol.validate()


def import_stack(imported, images, kind, pixel=PIXEL):
    path = imported.folder / f"{kind.__name__} {images.shape} {pixel}.mrcs"
    write_stack(path, images.astype(np.float32), pixel)
    return run(imported.project, imported.project.newProtocol(kind, filesPath=str(path), samplingRate=pixel))


@pytest.fixture(scope="module")
def odd_averages(imported):
    """Averages of another box and pixel size."""
    from pwem.protocols import ProtImportAverages
    return import_stack(imported, np.zeros((4, BOX - 8, BOX - 8)), ProtImportAverages, pixel=4.0)


@pytest.fixture(scope="module")
def raw_particles(imported):
    """Not normalised, not square."""
    from pwem.protocols import ProtImportParticles
    images = np.random.default_rng(0).normal(130, 20, (40, BOX, BOX - 4))
    return import_stack(imported, images, ProtImportParticles)


def test_defaults_are_valid(protocol):
    assert errors(protocol) == []


@pytest.mark.parametrize("installed", [False, True])
def test_a_gpu_needs_cupy(protocol, monkeypatch, installed):
    monkeypatch.setattr(gpu, "find_spec", lambda name: object() if installed and name == "cupy" else None)
    assert errors(protocol) == []
    found = errors(protocol, useGpu=True)
    assert found == [] if installed else "pip install 'cupy-cuda12x<14'" in found[0]


@pytest.mark.parametrize(("numbers", "processes", "queued", "said"), [
    ("0", 1, False, None), ("0,1", 2, False, None), ("0,0", 1, False, None), ("0,1", 4, True, None),
    ("0,1,2", 1, False, "names 3 GPUs, MPI asks for 1 process, .* set MPI to 3"),
    ("0,1", 4, False, "4 MPI processes would share 2 GPUs")])
def test_as_many_processes_as_gpus(protocol, monkeypatch, numbers, processes, queued, said):
    monkeypatch.setattr(protocol, "useQueue", lambda: queued)
    for name, value in {"useGpu": True, "gpuList": numbers, "numberOfMpi": processes}.items():
        getattr(protocol, name).set(value)
    found = [line for line in protocol._warnings() if "GPU" in line]
    assert len(found) == (said is not None) and all(re.search(said, line) for line in found)


@pytest.mark.parametrize(("numbers", "queued", "option"), [
    ("0", False, "0"), ("3,1", False, "3,1"), ("2 5-7", False, "2,5,6,7"), ("3,1,3", True, "0,1,0"), ("2", True, "0")])
def test_gpus_of_a_queue_count_from_zero(protocol, monkeypatch, numbers, queued, option):
    protocol.useGpu.set(True)
    protocol.gpuList.set(numbers)
    monkeypatch.setattr(protocol, "useQueue", lambda: queued)
    assert protocol._options()["--gpu"] == option


def test_without_particles(imported):
    from mlalign.protocols import MlalignProtML2D
    assert errors(imported.project.newProtocol(MlalignProtML2D)) == ["*Input particles* cannot be EMPTY."]


@pytest.mark.parametrize("values, message", [
    ({"numberOfClasses": 121}, "121 classes are more than the 120 particles"),
    ({"numberOfClasses": 0}, "*Number of classes*"),
    ({"radius": BOX}, f"*Particle radius* is {BOX} px, expected 2 to {BOX // 2}"),
    ({"radius": 0}, "*Particle radius* is 0 px"),
    ({"useGpu": True, "gpuList": ""}, "*GPU IDs* is ''"),
    ({"useGpu": True, "gpuList": "-2"}, "*GPU IDs* is '-2', expected numbers"),
    ({"useGpu": True, "gpuList": "first"}, "*GPU IDs* is 'first'"),
    ({"psiStep": 0.0}, "*In-plane rotation sampling (degrees)*"),
    ({"psiStep": 91.0}, "should be between 0.1 and 90 degrees"),
    ({"limitResolution": 1, "highResLimit": 5.0}, "is 5 Å, expected 6 Å (twice the pixel size) to 48 Å"),
    ({"limitResolution": 1, "highResLimit": 49.0}, "is 49 Å, expected 6 Å (twice the pixel size) to 48 Å (half"),
    ({"limitResolution": 1, "highResLimit": 0.0}, "is 0 Å, expected 6 Å"),
    ({"limitResolution": 2, "maxFrequency": 0.6}, "should be between 0.001 and 0.5"),
    ({"significance": 0.0}, "*Significance* is 0.0, expected more than 0 and at most 1, or -1"),
    ({"significance": 1.1}, "*Significance* is 1.1"),
    ({"doStudent": True, "studentDf": 0.0}, "*Degrees of freedom*"),
    ({"stdNoise": 0.0}, "*Std for pixel noise*"),
    ({"stdOffset": -1.0}, "*Std for origin offset (px)* should not be negative"),
    ({"maxIters": 0}, "*Maximum number of iterations*"),
    ({"randomSeed": -2}, "*Random seed*"),
    ({"iemBlocks": 0}, "*Blocks of incremental EM*"),
    ({"memory": 0.0}, "*Memory (GiB)*"),
    ({"fractions": "nowhere.txt"}, "*Initial fractions*: there is no file nowhere.txt"),
    ({"doGenerateReferences": False}, "*Class image(s)*: choose images"),
])
def test_error(protocol, values, message):
    found = errors(protocol, **values)
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("values", [
    {"limitResolution": 0, "highResLimit": 1.0}, {"fixHigh": 1.0, "lowResLimit": 2.0, "groupSize": 0},
    {"doFast": False, "significance": 0.0}, {"studentDf": 0.0},
    {"doGenerateReferences": True, "splitReferences": 0}])
def test_what_is_not_used_is_not_checked(protocol, values):
    assert errors(protocol, **values) == []


def test_references_of_another_box_and_pixel_size(protocol, odd_averages):
    connect(protocol.inputReferences, odd_averages, "outputAverages")
    assert errors(protocol) == []                       # generated ones are used
    box, pixel = errors(protocol, doGenerateReferences=False)
    assert f"{BOX - 8} px and the particles {BOX} px" in box
    assert "4 Å/px and the particles 3 Å/px" in pixel


def test_classes_from_references_are_counted(protocol, imported):
    connect(protocol.inputReferences, imported.averages, "outputAverages")
    assert errors(protocol, doGenerateReferences=False, splitReferences=60) == []
    assert "122 classes are more than the 120" in errors(protocol, splitReferences=61)[0]


def test_images_that_are_not_square(protocol, raw_particles):
    connect(protocol.inputParticles, raw_particles, "outputParticles")
    assert f"have {BOX - 4} x {BOX} pixels, expected a square box" in errors(protocol)[0]


@pytest.mark.parametrize("size", [None, 0.0])
def test_particles_without_a_pixel_size(protocol, imported, monkeypatch, size):
    monkeypatch.setattr(imported.particles.outputParticles, "getSamplingRate", lambda: size)
    assert errors(protocol) == [f"The particles' pixel size is {size} Å/px, expected more than 0."]


def test_unreadable_images(protocol, imported):
    stack = Path(imported.particles.outputParticles.getFirstItem().getFileName())
    away = stack.rename(stack.with_suffix(".away"))
    stack.write_bytes(b"nothing")
    try:
        found, = protocol.validate()
        assert "cannot be read" in found and str(stack) in found
    finally:
        away.replace(stack)


def test_warnings(protocol, raw_particles):
    assert protocol.warnings() == []
    protocol.numberOfClasses.set(3)
    assert protocol.warnings() == ["120 particles make 40 per class on average, less than 50: the averages "
                                   "may stay noisy.  They suffice for 2."]
    connect(protocol.inputParticles, raw_particles, "outputParticles")
    protocol.numberOfClasses.set(1)
    protocol.normaliseParticles.set(NEVER)
    few, raw = protocol.warnings()
    assert "40 particles" in few
    assert "not to be normalised" in raw and "mean is 1.3e+02" in raw and "Let *Normalise the particles first?*" in raw
    protocol.normaliseParticles.set(WHEN_NEEDED)
    assert protocol.warnings() == [few]


@pytest.mark.parametrize("size, classes", [(3, 1), (60, 1), (120, 2), (3050, 10), (10**6, 50)])
def test_as_many_classes_as_suit(protocol, imported, monkeypatch, size, classes):
    monkeypatch.setattr(imported.particles.outputParticles, "getSize", lambda: size)
    assert protocol._options()["--nref"] == classes
    assert f"{classes} classes, as suits {size} particles." in protocol._summary()
    protocol.numberOfClasses.set(7)
    assert protocol._options()["--nref"] == 7 and not any("as suits" in line for line in protocol._summary())


@pytest.mark.parametrize("name", ["numberOfClasses", "radius", "psiStep", "maxShift", "significance", "maxIters"])
def test_an_emptied_field_is_an_error_and_no_crash(protocol, name):
    found, = errors(protocol, **{name: None})
    assert found.startswith(f"*{protocol.getParam(name).getLabel()}* should be a")
    assert protocol.summary()


@pytest.mark.parametrize("name", ["fixHigh", "highResLimit", "groupSize", "reduceSnr"])
def test_an_emptied_field_of_mlf2d(with_ctf, name):
    protocol = new_ml2d(with_ctf.project, with_ctf.particles, doMlf=True)
    found, = errors(protocol, **{name: None})
    assert found.startswith(f"*{protocol.getParam(name).getLabel()}* should be a")


def test_warns_of_large_boxes(protocol, imported, monkeypatch):
    monkeypatch.setattr(imported.particles.outputParticles, "getXDim", lambda: 256)
    warning, = protocol.warnings()
    assert "boxes have 256 px" in warning and "(here of 12 Å)" in warning
    monkeypatch.setattr(imported.particles.outputParticles, "getXDim", lambda: 160)
    assert protocol.warnings() == []


@pytest.mark.parametrize("values, warned", [
    ({}, True), ({"limitResolution": 1, "highResLimit": 8.0}, True),
    ({"limitResolution": 1, "highResLimit": 30.0}, False), ({"limitResolution": 2, "maxFrequency": 0.1}, False),
    ({"doMlf": True}, False)])
def test_warns_of_details_beyond_the_first_zero(with_ctf, monkeypatch, values, warned):
    protocol = new_ml2d(with_ctf.project, with_ctf.particles)
    errors(protocol, **values)
    found = [line for line in protocol.warnings() if "first zero" in line]
    assert len(found) == warned
    if warned:
        # the mean defocus is about 11000 Å; 300 kV
        assert 12 < float(found[0].partition("than about ")[2].partition(" ")[0]) < 17
    monkeypatch.setattr(with_ctf.particles.outputParticles, "isPhaseFlipped", lambda: True)
    assert not any("first zero" in line for line in protocol.warnings())


@pytest.mark.parametrize("values, cited", [
    ({"doFast": False}, {"Scheres2005a", "Barnett2019"}),
    ({}, {"Scheres2005a", "Scheres2005b", "Barnett2019"}),
    ({"doFast": False, "doStudent": True}, {"Scheres2005a", "Scheres2009a", "Barnett2019"}),
    ({"doFast": False, "doNorm": True}, {"Scheres2005a", "Scheres2009b", "Barnett2019"}),
    ({"doMlf": True}, {"Scheres2005a", "Scheres2007", "Scheres2005b", "Barnett2019"}),
    ({"doMlf": True, "doGenerateReferences": False}, {"Scheres2007", "Scheres2005b", "Barnett2019"}),
])
def test_citations(protocol, values, cited):
    errors(protocol, **values)
    assert set(protocol._citations()) == cited
    assert cited <= set(parseBibTex(mlalign.bibtex.__doc__))
