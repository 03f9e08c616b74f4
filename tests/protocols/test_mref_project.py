"""Multi-ref ali2d in a real Scipion project, from the imported particles to the output."""
import time
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESUME

from mlalign.convert import read_table
from mlalign.programs.formats.images import open_images
from mlalign.programs.geometry import pose_parameters
from mlalign.tests.protocols.outputs import apply, assert_same_classes, members
from mlalign.tests.protocols.scipion import (
    PIXEL,
    assert_continue_does_nothing,
    connect,
    copy_of,
    json_round_trip,
    new_mref,
    run,
)
from mlalign.tests.protocols.test_mref import mask

QUICK = {"numberOfThreads": 1, "radius": 11, "maxIters": 4}


@pytest.fixture(scope="module")
def finished(imported):
    """A finished run with two references."""
    return run(imported.project, new_mref(imported.project, imported.particles, imported.averages, **QUICK))


def test_classes_are_the_planted_ones(imported, finished):
    """Classes keep the references' numbers, and disabled particles are left out."""
    truth = read_table(imported.folder / "truth.xmd")
    planted = dict(zip(truth["itemId"], truth["ref"]))
    found = {item: ref for ref, (ids, _) in members(finished.outputClasses).items() for item in ids}
    assert found.keys() == planted.keys() - imported.disabled
    assert np.mean([planted[i] == ref for i, ref in found.items()]) > 0.97


def test_aligned_particles_average_to_the_class_average(imported, finished):
    """Program, STAR file, Scipion's transforms and representatives: one convention."""
    images = open_images(imported.folder / "particles.mrcs").read(slice(None))
    y, x = np.mgrid[:images.shape[1], :images.shape[2]] - images.shape[1] // 2
    circle = np.hypot(x, y) < QUICK["radius"] - 1
    of_classes = members(finished.outputClasses)
    assert any((np.linalg.det(m[:, :2, :2]) < 0).any() for _, m in of_classes.values())
    for one in finished.outputClasses.iterItems():
        mean = np.mean([apply(m, images[i - 1]) for i, m in zip(*of_classes[one.getObjId()])], axis=0)
        index, path = one.getRepresentative().getLocation()
        average = open_images(path).read([index - 1])[0]
        assert np.corrcoef(mean[circle], average[circle])[0, 1] > 0.98


def test_outputs(imported, finished):
    classes, averages, aligned = finished.outputClasses, finished.outputAverages, finished.outputParticles
    assert classes.getSize() == averages.getSize() == 2
    assert aligned.getSize() == 120 - len(imported.disabled)
    assert aligned.hasAlignment2D() and aligned.getSamplingRate() == averages.getSamplingRate() == PIXEL
    of_classes = {item.getObjId(): item.clone() for one in classes.iterItems() for item in one}
    for item in aligned.iterItems():
        other = of_classes[item.getObjId()]
        assert item.getClassId() == other.getClassId()
        np.testing.assert_array_equal(item.getTransform().getMatrix(), other.getTransform().getMatrix())
        assert 0 < item._mlalignMaxCC.get() <= 1 and 0.5 <= item._mlalignClassProbability.get() <= 1 + 1e-6
        assert item._mlalignMaxCC.get() == other._mlalignMaxCC.get()
    assert all(one._mlalignResolution.get() > 0 and one._mlalignMaxCC.get() > 0 for one in classes.iterItems())
    sources = {row["object_parent_id"] for row in finished.getRelations()}
    assert sources == {imported.particles.getObjId(), imported.averages.getObjId()}


def test_summary_methods_and_leftovers(finished):
    summary = " ".join(finished.summary())
    assert "Stopped after the 4 iterations allowed." in summary and "Mean correlation" in summary
    assert "Log-likelihood" not in summary
    assert "120 particles" in finished.methods()[0] and "3 x 3 pixels" in finished.methods()[0]
    assert "Joyeux" in " ".join(finished.citations())
    assert not list(Path(finished._getTmpPath()).glob("*"))


def test_continue_without_a_change_does_nothing(imported, finished):
    assert_continue_does_nothing(imported.project, finished, finished._root() + "images.xmd")


def test_continue_with_more_and_with_fewer_iterations(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, maxIters=2))
    short = members(protocol.outputClasses)
    for iterations in (4, 2):
        protocol.maxIters.set(iterations)
        protocol.runMode.set(MODE_RESUME)
        run(imported.project, protocol)
        assert "continuing after iteration 2" in protocol.getRun().log_file.read_text()
        assert protocol.getRun().iterations()[-1] == iterations
        if iterations == 4:
            assert_same_classes(protocol.outputClasses, finished.outputClasses)
    for ref, (ids, transforms) in members(protocol.outputClasses).items():
        assert ids == short[ref][0]
        np.testing.assert_array_equal(transforms, short[ref][1])


def test_continue_with_another_search_starts_anew(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, shiftX=0.0, shiftY=0.0))
    assert not np.allclose(members(protocol.outputClasses)[1][1][:9], members(finished.outputClasses)[1][1][:9])
    protocol.shiftX.set(3.0)
    protocol.shiftY.set(3.0)
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert "continuing" not in protocol.getRun().log_file.read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses)
    assert protocol.outputParticles.getSize() == finished.outputParticles.getSize()


def test_killed_and_continued(imported, finished):
    """With so many iterations that it cannot be over."""
    protocol = copy_of(imported.project, finished, maxIters=300)
    imported.project.launchProtocol(protocol, wait=False)
    checkpoint = Path(protocol._root() + "extra/iter002/iter_checkpoint.npz")
    end = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    imported.project.stopProtocol(protocol)
    assert not Path(protocol._root() + "classes.xmd").exists(), "it ended before it could be killed"
    protocol.maxIters.set(4)
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert "continuing after iteration" in protocol.getRun().log_file.read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses)


def test_going_on_from_a_result(imported, finished):
    """Its particles with their alignment, and its classes, as input of another run."""
    protocol = new_mref(imported.project, finished, finished, "outputClasses", useAlignment=True,
                        **{**QUICK, "maxIters": 1, "shiftX": 0.0, "shiftY": 0.0})
    run(imported.project, protocol)
    table = read_table(protocol._particlesFile())
    given = {item.getObjId(): item.getTransform().getMatrix() for item in finished.outputParticles.iterItems()}
    matrices = np.array([given[i] for i in table["itemId"]])[:, [0, 1, 3]][:, :, [0, 1, 3]]
    for label, values in zip(("anglePsi", "shiftX", "shiftY", "flip"), pose_parameters(matrices)):
        np.testing.assert_allclose(table.numbers(label), values, atol=1e-3)
    before = {item.getObjId(): item.getClassId() for item in finished.outputParticles.iterItems()}
    assert np.mean([item.getClassId() == before[item.getObjId()]
                    for item in protocol.outputParticles.iterItems()]) > 0.97


def test_ctf_mask_function_and_headers(imported, with_ctf):
    from pwem.protocols import ProtImportMask
    protocol = new_mref(imported.project, with_ctf.particles, imported.averages, function=4, centring=0, snr=0.5,
                        writeHeaders=True, **{**QUICK, "maxIters": 2})
    path = with_ctf.folder / "mask.mrc"
    mask(path)
    masks = run(imported.project, imported.project.newProtocol(ProtImportMask, maskPath=str(path), samplingRate=PIXEL))
    connect(protocol.maskImage, masks, "outputMask")
    run(imported.project, protocol)
    log = Path(protocol.getStdoutLog()).read_text()
    assert "--CTF" in log and "--snr 0.5" in log and "mask.mrc" in log and "--function none" in log
    copy = open_images(protocol._getExtraPath("particles_aligned.hdf"))
    assert copy.count == 200


def test_until_it_stops_improving(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, maxIters=0))
    last = protocol.getRun().iterations()[-1]
    assert 1 < last < 100 and f"Converged after {last} iterations." in protocol.summary()


def test_json_round_trip(imported, tmp_path):
    values = {"useCtf": 1, "radius": 9, "shiftX": 1.5, "centring": 8, "function": 5, "ownFunction": "[a b,c,d]"}
    protocol = new_mref(imported.project, imported.particles, imported.averages, **values)
    connect(protocol.inputReferences, imported.particles, "outputParticles")      # exported with one source only
    loaded = json_round_trip(imported.project, imported.particles, protocol, tmp_path / "workflow.json")
    assert loaded.inputParticles.getExtended() == "outputParticles"
