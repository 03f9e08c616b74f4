"""What ML tomo's form says before a run, and what it offers without scipion-em-tomo."""
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pwem.objects import Transform
from pyworkflow.utils import parseBibTex

import mlalign.bibtex
from mlalign.programs.formats.mrc import write_volume
from mlalign.protocols.tomo_form import CLASSES, NOTHING, SHIFTS
from mlalign.tests.protocols.scipion import connect
from mlalign.tests.protocols.subtomograms import BOX, COUNT, PIXEL, import_volumes, new_tomo


@pytest.fixture
def protocol(tomography):
    return new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms")


def errors(protocol, **values):
    for name, value in values.items():
        getattr(protocol, name).set(value)
    return protocol.validate()


def imported_volume(tomography, name, volume, pixel=PIXEL):
    """The protocol that imported one volume."""
    write_volume(tomography.folder / name, volume, pixel)
    return import_volumes(tomography.project, tomography.folder, name)


@pytest.fixture(scope="module")
def small(tomography):
    return imported_volume(tomography, "small.mrc", np.random.default_rng(0).random((BOX - 4,) * 3))


@pytest.fixture(scope="module")
def flat(tomography):
    return imported_volume(tomography, "flat.mrc", np.random.default_rng(0).normal(9, 3, (BOX - 4, BOX, BOX)))


def test_defaults_are_valid(protocol):
    assert errors(protocol) == []


def test_without_particles(tomography):
    from mlalign.protocols import MlalignProtMLTomo
    protocol = tomography.project.newProtocol(MlalignProtMLTomo)
    assert errors(protocol) == ["*Input subtomograms* cannot be EMPTY."]
    assert protocol.summary()[0] == "No iteration has finished yet."


@pytest.mark.parametrize("values, message", [
    ({"numberOfReferences": COUNT + 1}, f"{COUNT + 1} classes are more than the {COUNT} particles"),
    ({"numberOfReferences": 0}, "*Number of references*"),
    ({"generateReferences": False}, "*Reference volume(s)*: choose volumes"),
    ({"symmetry": "q4"}, "*Symmetry*: "),
    ({"symmetry": ""}, "*Symmetry*"),
    ({"missingDataType": 2}, "*Tilt range*: '-60 60', expected 4 numbers for a pyramid"),
    ({"missingDataType": 3}, "*Tilt range*: '-60 60', expected 1 number for a cone"),
    ({"missingAng": "-60"}, "*Tilt range*: '-60', expected 2 numbers for a wedge"),
    ({"missingAng": "-60 sixty"}, "*Tilt range*: '-60 sixty', expected 2 numbers"),
    ({"tiltFromAcquisition": False, "missingAng": "60 -60"}, "*Tilt range*: missing region 1 (wedge_y): "),
    ({"missingDataType": 4}, "*Weight volume*: choose the volume"),
    ({"copyAlignment": True}, "*Start from their alignment?*: the particles have no alignment"),
    ({"searchMode": SHIFTS}, "*What to search*: to keep what the particles bring along"),
    ({"searchMode": NOTHING}, "*What to search*: to keep what the particles bring along"),
    ({"angSearch": "50"}, "*Search range (degrees)*: the first search can only be around"),
    ({"angSearch": "5"}, "*Search range (degrees)*: 5 degrees is less than the step"),
    ({"angSampling": "15 10", "dim": "1 2 3"}, "one per stage"),
    ({"dim": str(BOX + 1)}, f"*Box to work in (voxels)* is {BOX + 1}, expected at most that of the particles, {BOX}"),
    ({"dim": "4"}, "*Box to work in (voxels)*: 4, expected at least 8"),
    ({"radius": BOX}, f"*Particle radius (voxels)* is {BOX}, expected at most {BOX // 2}"),
    ({"radius": 1}, "*Particle radius (voxels)*: 1 is out of range, expected at least 2"),
    ({"maxRes": "0.7"}, "*Highest digital frequency*: 0.7 is out of range"),
    ({"tiltMin": -5.0}, "*Smallest tilt (degrees)*: -5 is out of range, expected 0 to 180"),
    ({"numberOfIterations": "-1"}, "*Maximum number of iterations*: -1 is out of range"),
    ({"fractions": "nowhere.txt"}, "*Initial fractions*: there is no file nowhere.txt"),
    ({"stdNoise": 0.0}, "*Std for voxel noise*"),
    ({"memory": 0.0}, "*Memory (GiB)*"),
])
def test_error(protocol, values, message):
    found = errors(protocol, **values)
    assert len(found) == 1 and message in found[0]


@pytest.mark.parametrize("values", [
    {"missingDataType": 5, "missingAng": "nonsense"}, {"angSampling": "15 10 5", "angSearch": "-1 50 25"},
    {"missingDataType": 3, "missingAng": "55"}, {"maxCC": True, "stdNoise": 0.0},
    {"generateReferences": True, "numberOfReferences": 1}, {"regFinal": -1.0}])
def test_what_is_good_or_not_used(protocol, values):
    assert errors(protocol, **values) == []


def test_references_of_another_box(protocol, small):
    connect(protocol.inputReferences, small, "outputVolume")
    assert errors(protocol) == []                       # generated ones are used
    box, = errors(protocol, generateReferences=False)
    assert f"small.mrc (references) has {BOX - 4} x {BOX - 4} x {BOX - 4} voxels, expected {BOX} x {BOX} x {BOX}" in box


def test_references_of_another_voxel_size(protocol, tomography):
    references = import_volumes(tomography.project, tomography.folder, "reference0*.mrc")
    references.outputVolumes.setSamplingRate(1.1 * PIXEL)
    connect(protocol.inputReferences, references, "outputVolumes")
    found, = errors(protocol, generateReferences=False)
    assert f"{1.1 * PIXEL:g} Å/px and the particles {PIXEL:g} Å/px" in found


def test_mask_and_weight_of_another_box(protocol, small, monkeypatch):
    monkeypatch.setattr("mlalign.protocols.tomo_checks._alignment_errors", lambda *_: [])
    connect(protocol.maskFile, small, "outputVolume")
    assert errors(protocol) == []
    assert "small.mrc (mask) has" in errors(protocol, searchMode=CLASSES)[0]
    connect(protocol.missingWeight, small, "outputVolume")          # any box will do
    assert errors(protocol, searchMode=0, missingDataType=4) == []
    assert protocol._signature()[1][0] == small.outputVolume.getFileName()


def test_volumes_that_are_no_cubes(protocol, flat):
    connect(protocol.inputReferences, flat, "outputVolume")
    found = errors(protocol, generateReferences=False)[0]
    assert f"flat.mrc (references) has {BOX} x {BOX} x {BOX - 4} voxels, expected a cubic box" in found


def test_unreadable_volumes(protocol, tomography):
    path = Path(tomography.subtomograms.outputSubTomograms.getFirstItem().getFileName())
    away, content = os.readlink(path), b"nothing of any kind"
    path.unlink()
    other = path.with_name("other.em")
    other.write_bytes(content)
    path.symlink_to(other.resolve())
    try:
        found, = errors(protocol)
        assert f"Particles: {path}: " in found and "not a readable MRC file" in found
    finally:
        path.unlink()
        path.symlink_to(away)


def test_warnings(protocol, tomography, monkeypatch):
    assert protocol.warnings() == [f"{COUNT} particles make 8 per class on average, less than 20: the averages may "
                                   "stay noisy.  They suffice for 1."]
    protocol.numberOfReferences.set(1)
    assert protocol.warnings() == []
    monkeypatch.setattr("mlalign.protocols.tomo_checks.volume_background", lambda _: (3.0, 20.0))
    assert "not to be normalised" in protocol.warnings()[0]


@pytest.mark.parametrize("values, warned", [
    ({}, True), ({"dim": "32"}, False), ({"dim": "72"}, True), ({"dim": "32 -1", "angSearch": "-1 50"}, False),
    ({"angSearch": "50"}, False), ({"searchMode": SHIFTS}, False)])
def test_search_everywhere_in_a_large_box(protocol, monkeypatch, values, warned):
    protocol.numberOfReferences.set(1)
    for name, value in values.items():
        getattr(protocol, name).set(value)
    assert not any("takes many times longer" in line for line in protocol.warnings() if protocol.dim != "72")
    monkeypatch.setattr("mlalign.protocols.tomo_checks.box_of", lambda _: 96)
    found = [line for line in protocol.warnings() if "takes many times longer" in line]
    assert len(found) == warned and (not warned or values or "in a box of 96 voxels" in found[0])


def test_alignment_that_nobody_searched(protocol, tomography, monkeypatch):
    particles = tomography.subtomograms.outputSubTomograms
    items = [item.clone() for item in particles]
    monkeypatch.setattr(particles, "iterItems", lambda *_, **__: iter(items))
    for item in items:
        item.setTransform(Transform(np.eye(4)))
    protocol.numberOfReferences.set(1)
    assert protocol.warnings() == []
    protocol.copyAlignment.set(True)
    assert "are all the same" in protocol.warnings()[0]
    items[3].setTransform(Transform(np.diag([-1, -1, 1, 1.0])))
    assert protocol.warnings() == []


def test_citation(protocol):
    assert set(protocol._citations()) == {"Scheres2009c"} <= set(parseBibTex(mlalign.bibtex.__doc__))


# ---- without scipion-em-tomo

WITHOUT = """
import sys
sys.modules["tomo"] = None
from mlalign.protocols import MlalignProtMLTomo, MlalignProtML2D
from mlalign.protocols import tomo_base
from pwem.protocols import ProtClassify3D
protocol = MlalignProtMLTomo()
assert isinstance(protocol, ProtClassify3D) and not tomo_base.are_subtomograms(None)
definition = protocol.getDefinition()
print(definition.getParam("inputVolumes").pointerClass)
print(definition.getParam("inputReferences").pointerClass)
print("not installed" in definition.getParam("inputVolumes").getHelp(), "not installed" in tomo_base.note())
print({name: cls.__name__ for name, cls in protocol._possibleOutputs.items()})
"""


def test_without_tomo_volumes_are_taken():
    environment = {**os.environ, "SCIPION_DOMAIN": "pwem"}
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == [
        "SetOfVolumes", "['Volume', 'SetOfVolumes', 'SetOfClasses3D']", "True True",
        "{'outputClasses': 'SetOfClassesVol', 'outputAverages': 'SetOfVolumes', 'outputSubtomograms': 'SetOfVolumes'}"]


def test_with_tomo_nothing_is_said_of_it(protocol):
    help_text = protocol.getDefinition().getParam("inputVolumes").getHelp()
    assert "not installed" not in help_text and not any("not installed" in line for line in protocol.summary())


def test_kinds_of_outputs(protocol, tomography):
    assert protocol._possibleOutputs["outputClasses"].__name__ == "SetOfClassesSubTomograms"
    connect(protocol.inputVolumes, tomography.volumes, "outputVolumes")
    assert protocol._possibleOutputs["outputClasses"].__name__ == "SetOfClassesVol"


def test_classes_know_the_coordinates_of_their_particles(protocol, tomography, tmp_path):
    protocol.setWorkingDir(str(tmp_path))
    particles, elsewhere = tomography.subtomograms.outputSubTomograms, tomography.volumes.outputVolumes
    assert not protocol._outputSets(particles)[0]._coordsPointer.hasValue()
    particles.setCoordinates3D(elsewhere)           # whatever they are: only the pointer counts here
    try:
        classes = protocol._outputSets(particles)[0]
        assert classes._coordsPointer.get() is elsewhere
        assert classes._coordsPointer is not particles.getCoordinates3D(asPointer=True)
    finally:
        particles.setCoordinates3D(None)
