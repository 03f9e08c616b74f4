"""ML tomo in a real Scipion project, from the imported subtomograms to the output."""
import time
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESTART, MODE_RESUME
from scipy import ndimage

from mlalign.convert import read_table
from mlalign.convert_tomo import pose_transforms3d
from mlalign.programs.formats.mrc import read_volume, write_volume
from mlalign.programs.formats.volumes import open_volume_file, open_volumes
from mlalign.programs.geometry3d import angular_distance
from mlalign.programs.missing_regions import read_regions
from mlalign.programs.phantoms import ball
from mlalign.protocols.tomo_form import CLASSES, NOTHING, SHIFTS
from mlalign.tests.protocols.outputs import apply3d, assert_same_classes, members
from mlalign.tests.protocols.scipion import assert_continue_does_nothing, connect, copy_of, json_round_trip, run
from mlalign.tests.protocols.subtomograms import BOX, COUNT, PIXEL, QUICK, WEDGE, new_tomo

REFERENCES = "outputVolumes"
INSIDE = ball(BOX, BOX // 2 - 2) > 0


def new(tomography, references=None, **parameters):
    return new_tomo(tomography.project, tomography.subtomograms, "outputSubTomograms", references,
                    **{**QUICK, **parameters})


@pytest.fixture(scope="module")
def finished(tomography):
    """A finished run from the true references, which says where each particle and class belongs."""
    return run(tomography.project, new(tomography, (tomography.references, REFERENCES), angSampling="18",
                                       numberOfIterations="4", doRefine=True))


def correlation(one, other):
    return np.corrcoef(one[INSIDE], other[INSIDE])[0, 1]


# ---- what comes out

def test_the_converted_input(finished):
    regions = read_regions(finished._regionsFile())
    assert [region.y for region in regions.values()] == [WEDGE]         # what the import was told
    particles = open_volumes(finished._particlesFile())
    assert particles.count == COUNT and particles.pixel_size == PIXEL
    assert set(particles.metadata["missingRegionNumber"]) == {1} and "angleRot" not in particles.metadata
    assert open_volumes(finished._referencesFile()).count == 2


def test_classes_and_poses_are_the_planted_ones(tomography, finished):
    truth, found = read_table(tomography.folder / "truth.xmd"), members(finished.outputClasses)
    poses = dict(zip(truth["itemId"], pose_transforms3d(truth)))
    planted = dict(zip(truth["itemId"], truth["ref"]))
    assert sum(len(ids) for ids, _ in found.values()) == COUNT
    right = [planted[item] == ref for ref, (ids, _) in found.items() for item in ids]
    assert np.mean(right) > 0.9
    turned = [angular_distance(matrix[:3, :3], poses[item][:3, :3]) for ids, matrices in found.values()
              for item, matrix in zip(ids, matrices)]
    assert np.median(turned) < 10
    off = [np.linalg.norm(matrix[:3, 3] - poses[item][:3, 3]) for ids, matrices in found.values()
           for item, matrix in zip(ids, matrices)]
    assert np.median(off) < 1.5


def test_aligned_particles_average_to_the_class_average(tomography, finished):
    """Program, metadata, Scipion's transforms and representatives: one convention."""
    for one in finished.outputClasses.iterItems():
        ids, transforms = members(finished.outputClasses)[one.getObjId()]
        volumes = [read_volume(tomography.folder / f"particles/{item:06d}.mrc")[0] for item in ids]
        mean = np.mean([apply3d(m, volume) for m, volume in zip(transforms, volumes)], axis=0)
        average = read_volume(one.getRepresentative().getFileName())[0]
        wrong = np.mean([apply3d(np.linalg.inv(m), volume) for m, volume in zip(transforms, volumes)], axis=0)
        smooth = [ndimage.gaussian_filter(volume, 1) for volume in (mean, average, wrong)]     # as far as it was looked
        assert correlation(smooth[0], smooth[1]) > 0.9 > correlation(smooth[2], smooth[1]) + 0.2


def test_outputs(tomography, finished):
    classes, averages, aligned = finished.outputClasses, finished.outputAverages, finished.outputSubtomograms
    assert [type(output).__name__ for output in (classes, averages, aligned)] == [
        "SetOfClassesSubTomograms", "SetOfAverageSubTomograms", "SetOfSubTomograms"]
    assert classes.getImages().getObjId() == tomography.subtomograms.outputSubTomograms.getObjId()
    assert classes.getSize() == averages.getSize() == 2 and aligned.getSize() == COUNT
    assert aligned.hasAlignment3D() and aligned.getSamplingRate() == averages.getSamplingRate() == PIXEL
    for one, average in zip(classes.iterItems(), averages.iterItems()):
        assert one.getRepresentative().getSamplingRate() == average.getSamplingRate() == PIXEL
        assert one.getRepresentative().getFileName() == average.getFileName()
        assert open_volume_file(average.getFileName()).pixel_size == pytest.approx(PIXEL)
        assert one._mlalignResolution.get() > 0 and average.getClassId() == one.getObjId()
    classed = {item: ref for ref, (ids, _) in members(classes).items() for item in ids}
    for item in aligned:
        assert item.getClassId() == classed[item.getObjId()]
        assert 0 < item._mlalignPMax.get() <= item._mlalignClassProbability.get() + 1e-6 <= 1 + 2e-6
        assert item._mlalignLogLikelihood.get() < 0
        assert (item.getAcquisition().getAngleMin(), item.getAcquisition().getAngleMax()) == WEDGE
    sources = {row["object_parent_id"] for row in finished.getRelations()}
    assert sources == {tomography.subtomograms.getObjId(), tomography.references.getObjId()}


def test_summary_methods_and_leftovers(tomography, finished):
    summary = " ".join(finished.summary())
    for words in ("4 iterations", "Log-likelihood", "Resolution of the averages (FSC)", "Random seed 1", "Classes: ",
                  "tilts of -60 to 55 degrees about Y, 64 % of Fourier space"):
        assert words in summary
    methods = finished.methods()[0]
    assert f"aligned and classified the {COUNT} particles" in methods and "[Scheres2009c]" in methods \
        or "Scheres2009c" in methods
    assert "every 18 degrees" in methods
    assert not list(Path(finished._getTmpPath()).glob("*"))


# ---- going on

def test_continue_without_a_change_does_nothing(tomography, finished):
    assert_continue_does_nothing(tomography.project, finished, finished.getRun().images_file())


def test_continue_with_more_and_with_fewer_iterations(tomography, finished):
    protocol = run(tomography.project, copy_of(tomography.project, finished, numberOfIterations="2"))
    short = members(protocol.outputClasses)
    protocol.runMode.set(MODE_RESUME)
    protocol.numberOfIterations.set("4")
    run(tomography.project, protocol)
    assert "--continue" in Path(protocol.getStdoutLog()).read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses)
    protocol.numberOfIterations.set("2")
    run(tomography.project, protocol)
    assert protocol.getRun().iterations() == [0, 1, 2]
    again = members(protocol.outputClasses)
    assert all(again[ref][0] == short[ref][0] and np.allclose(again[ref][1], short[ref][1]) for ref in short)


def test_continue_after_a_change_of_what_is_computed_starts_anew(tomography, finished):
    protocol = run(tomography.project, copy_of(tomography.project, finished, numberOfIterations="1"))
    protocol.runMode.set(MODE_RESUME)
    for changes in ({"maxRes": "0.2", "generateReferences": True},
                    {"tiltFromAcquisition": False, "missingAng": "-45 45"}):
        for name, value in changes.items():
            getattr(protocol, name).set(value)
        log = len(Path(protocol.getStdoutLog()).read_text())
        run(tomography.project, protocol)
        assert "--continue" not in Path(protocol.getStdoutLog()).read_text()[log:]
        assert protocol.getRun().iterations() == [0, 1]
    assert [region.y for region in read_regions(protocol._regionsFile()).values()] == [(-45, 45)]
    protocol.runMode.set(MODE_RESTART)
    protocol.numberOfReferences.set(1)
    run(tomography.project, protocol)
    assert protocol.outputClasses.getSize() == protocol.outputAverages.getSize() == 1


def test_killed_and_continued(tomography, finished):
    protocol = copy_of(tomography.project, finished)
    tomography.project.launchProtocol(protocol, wait=False)
    end = time.monotonic() + 60
    while 1 not in protocol.getRun().checkpoints() and time.monotonic() < end:
        time.sleep(0.02)
    tomography.project.stopProtocol(protocol)
    assert not protocol.getRun().classes_file().exists(), "it ended before it could be killed"
    protocol.runMode.set(MODE_RESUME)
    run(tomography.project, protocol)
    assert "--continue" in Path(protocol.getStdoutLog()).read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses)


# ---- other ways

def test_stages_from_chance(tomography):
    """From random starts, in two stages, with half-sets."""
    protocol = run(tomography.project, new(tomography, angSampling="25 15", angSearch="-1 45", numberOfIterations="3 1",
                                           restarts=2, halfSets=True))
    history = protocol.getRun().history()
    assert list(history.info["stage"][1:]) == [1] * 3 + [2]
    assert list(history.info["angularSampling"][1:]) == [25] * 3 + [15]
    assert set(item._mlalignHalfSet.get() for item in protocol.outputSubtomograms) == {1, 2}
    assert "Stopped after the 4 iterations allowed" in protocol.summary()[0]


def test_volumes(tomography):
    protocol = run(tomography.project, new_tomo(tomography.project, tomography.volumes, "outputVolumes",
                                                (tomography.references, REFERENCES),
                                                **{**QUICK, "missingAng": "-60 55"}))
    assert [type(output).__name__ for output in (protocol.outputClasses, protocol.outputAverages,
            protocol.outputSubtomograms)] == ["SetOfClassesVol", "SetOfVolumes", "SetOfVolumes"]
    assert protocol.outputAverages.getSize() == 2 and protocol.outputSubtomograms.getSize() == COUNT
    assert sum(len(ids) for ids, _ in members(protocol.outputClasses).values()) == COUNT
    assert all(item.getTransform() is not None for item in protocol.outputSubtomograms)


@pytest.fixture(scope="module")
def aligned(tomography, finished):
    """The output of the finished run as input of the next."""
    def new_on_aligned(**parameters):
        protocol = new_tomo(tomography.project, finished, "outputSubtomograms",
                            **{**QUICK, "copyAlignment": True, **parameters})
        return protocol
    return new_on_aligned


def test_classes_of_an_earlier_run_as_references(tomography, finished):
    protocol = run(tomography.project, new(tomography, (finished, "outputClasses"), numberOfIterations="1"))
    assert protocol.outputClasses.getSize() == 2
    for ref, (ids, _) in members(finished.outputClasses).items():
        assert np.mean(np.isin(ids, members(protocol.outputClasses)[ref][0])) > 0.8
    protocol = new(tomography, (finished, "outputAverages"), numberOfIterations="1")
    assert protocol.validate() == []


def test_only_average(tomography, finished, aligned):
    protocol = run(tomography.project, aligned(searchMode=NOTHING))
    assert_same_classes(protocol.outputClasses, finished.outputClasses, 1e-9)       # through Euler angles and back
    for average, before in zip(protocol.outputAverages, [item.clone() for item in finished.outputAverages]):
        one, other = (ndimage.gaussian_filter(read_volume(item.getFileName())[0], 1) for item in (average, before))
        assert correlation(one, other) > 0.9


def test_classes_alone_behind_a_mask(tomography, finished, aligned):
    mask = ball(BOX, 6.0, 2.0)
    write_volume(tomography.folder / "mask.mrc", mask, PIXEL)
    from pwem.protocols import ProtImportMask
    imported = run(tomography.project, tomography.project.newProtocol(
        ProtImportMask, maskPath=str(tomography.folder / "mask.mrc"), samplingRate=PIXEL))
    protocol = aligned(searchMode=CLASSES, numberOfIterations="3", regIni=1.0, regSteps=2)
    connect(protocol.maskFile, imported, "outputMask")
    assert protocol.validate() == []
    run(tomography.project, protocol)
    before = dict(zip(*(lambda table: (table["itemId"], pose_transforms3d(table)))(finished.getRun().images())))
    for ids, matrices in members(protocol.outputClasses).values():
        for item, matrix in zip(ids, matrices):
            np.testing.assert_allclose(matrix, before[item], atol=1e-6)         # nothing has moved
    assert imported.getObjId() in {row["object_parent_id"] for row in protocol.getRelations()}


def test_local_search_of_one_class(tomography, finished, aligned):
    protocol = run(tomography.project, aligned(numberOfReferences=1, angSampling="10", angSearch="20",
                                               numberOfIterations="1"))
    assert protocol.outputClasses.getSize() == 1
    assert protocol.getRun().info()["angSearch"] == 20
    protocol = aligned(searchMode=SHIFTS)
    assert protocol.validate() == []


def test_the_programs_error_is_the_protocols(tomography, finished, tmp_path):
    fractions = tmp_path / "fractions.txt"
    fractions.write_text("0.5\n0.2\n0.3\n")                 # for two classes
    protocol = copy_of(tomography.project, finished, fractions=str(fractions))
    with pytest.raises(AssertionError, match=r"ml_tomo: error: .*fractions\.txt"):
        run(tomography.project, protocol)


def test_json_round_trip(tomography, tmp_path):
    protocol = new(tomography, angSampling="15 10 5", angSearch="-1 50 25", missingDataType=3, missingAng="55", maxCC=True)
    loaded = json_round_trip(tomography.project, tomography.subtomograms, protocol, tmp_path / "workflow.json")
    assert loaded.inputVolumes.getExtended() == "outputSubTomograms"
