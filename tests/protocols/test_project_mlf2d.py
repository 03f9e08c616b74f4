"""MLF2D in a real Scipion project: particles with CTFs, and the switch in ML2D."""
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESUME

from mlalign.convert import read_table
from mlalign.demo import as_reference
from mlalign.programs.formats.images import open_images
from mlalign.programs.imaging import Microscope
from mlalign.programs.particle_ctf import read_ctf
from mlalign.programs.phantoms import circle
from mlalign.programs.scoring import class_motions, score
from mlalign.protocols.particles import NO
from mlalign.tests.protocols.conftest import CTF
from mlalign.tests.protocols.outputs import apply, assert_same_classes, members
from mlalign.tests.protocols.scipion import (
    BOX,
    PIXEL,
    QUICK,
    connect,
    copy_of,
    import_particles_with_ctf,
    new_ml2d,
    new_mlf2d,
    run,
    simulated,
)

QUICK = {**QUICK, "maxIters": 4, "fixHigh": 7.0, "groupSize": 50}
CIRCLE = circle(BOX, BOX // 2 - 3) > 0


@pytest.fixture(scope="module")
def finished(with_ctf):
    """A finished run of MLF2D."""
    return run(with_ctf.project, new_mlf2d(with_ctf.project, with_ctf.particles, **QUICK))


@pytest.fixture(scope="module")
def from_averages(with_ctf):
    """Another, from the true references, which takes less time."""
    return run(with_ctf.project, new_mlf2d(with_ctf.project, with_ctf.particles, with_ctf.averages, **QUICK))


def correlation(one, other):
    return np.corrcoef(one[CIRCLE], other[CIRCLE])[0, 1]


def truth_and_result(with_ctf, protocol):
    truth, result = read_table(with_ctf.folder / "truth.xmd"), read_table(protocol._root() + "images.xmd")
    np.testing.assert_array_equal(truth["itemId"], result["itemId"])
    return truth, result


def test_classes_and_poses_are_the_planted_ones(with_ctf, finished):
    found = score(*truth_and_result(with_ctf, finished))
    assert found["accuracy"] > 0.95 and found["angle"] < 8 and found["shift"] < 1


def test_the_averages_are_the_references_without_their_ctf(with_ctf, finished):
    assert min(correlations_with_references(with_ctf, finished)) > 0.95


def correlations_with_references(with_ctf, protocol):
    references = open_images(with_ctf.folder / "references.mrcs").read(slice(None))
    averages = open_images(protocol._root() + "classes.mrcs").read(slice(None))
    return [correlation(as_reference(averages[ref - 1], motion), references[true - 1])
            for ref, (true, motion) in class_motions(*truth_and_result(with_ctf, protocol)).items()]


def test_phase_flipped_as_the_set_says(with_ctf, tmp_path):
    folder = simulated(tmp_path, *CTF, "--phase_flip", count=200)
    flipped = with_ctf._replace(
        folder=folder, particles=import_particles_with_ctf(with_ctf.project, folder, flipped=True))
    protocol = run(with_ctf.project, new_mlf2d(with_ctf.project, flipped.particles, **QUICK))
    assert "--not_phase_flipped" not in Path(protocol.getStdoutLog()).read_text()
    assert score(*truth_and_result(flipped, protocol))["accuracy"] > 0.95
    assert min(correlations_with_references(flipped, protocol)) > 0.95
    protocol.areImagesPhaseFlipped.set(NO)
    assert "marked as phase-flipped" in protocol.validate()[0]


def test_aligned_particles_average_to_the_class_average(with_ctf, finished):
    """Once their phases are flipped, without which they hardly do."""
    images = open_images(with_ctf.folder / "particles.mrcs").read(slice(None))
    ctf = read_ctf(open_images(finished._particlesFile()))
    flip = Microscope(ctf, BOX, PIXEL).flip
    for one in finished.outputClasses.iterItems():
        ids, transforms = members(finished.outputClasses)[one.getObjId()]
        index, path = one.getRepresentative().getLocation()
        average = open_images(path).read([index - 1])[0]
        mean = np.mean([apply(m, flip(images[i - 1], i - 1)) for i, m in zip(ids, transforms)], axis=0)
        assert correlation(mean, average) > 0.9


def test_outputs(with_ctf, finished):
    classes, averages = finished.outputClasses, finished.outputAverages
    assert classes.getSize() == averages.getSize() == 2 and not averages.hasCTF()
    assert classes.getImages().getObjId() == with_ctf.particles.outputParticles.getObjId()
    groups = [item._mlalignDefocusGroup.get() for one in classes.iterItems() for item in one]
    assert np.bincount(groups)[1:].tolist() == [50] * 4
    assert all(0 < item._mlalignPMax.get() <= 1 and item.hasCTF() for one in classes.iterItems() for item in one)


def test_summary_and_methods(finished):
    summary, methods = " ".join(finished.summary()), finished.methods()[0]
    assert "4 groups of particles with a noise spectrum each" in summary and "Resolution used" in summary
    assert "corrected for the CTF (not phase-flipped particles)" in summary
    assert "[Scheres2007]" in methods and "Wiener filter" in methods


def test_continue_goes_on(with_ctf, from_averages):
    protocol = run(with_ctf.project, copy_of(with_ctf.project, from_averages, maxIters=2))
    assert protocol.getRun().iterations()[-1] == 2
    protocol.maxIters.set(QUICK["maxIters"])
    protocol.runMode.set(MODE_RESUME)
    run(with_ctf.project, protocol)
    assert "--continue" in Path(protocol.getStdoutLog()).read_text()
    assert_same_classes(protocol.outputClasses, from_averages.outputClasses)


def test_a_finished_ml2d_becomes_mlf2d_by_its_switch(with_ctf, from_averages):
    protocol = run(with_ctf.project, new_ml2d(with_ctf.project, with_ctf.particles, with_ctf.averages,
                                              **{**QUICK, "maxIters": 1}))
    assert not hasattr(protocol.outputClasses.getFirstItem().getFirstItem(), "_mlalignDefocusGroup")
    assert list(Path(protocol._getExtraPath()).glob("ml2d_*"))
    protocol.doMlf.set(True)
    protocol.maxIters.set(QUICK["maxIters"])
    protocol.runMode.set(MODE_RESUME)
    run(with_ctf.project, protocol)
    assert_same_classes(protocol.outputClasses, from_averages.outputClasses)
    assert not list(Path(protocol._getExtraPath()).glob("ml2d_*"))
    assert protocol.getRun().iterations() == from_averages.getRun().iterations()


def test_without_ctf_and_from_the_averages_of_another_run(imported, finished):
    protocol = new_mlf2d(imported.project, imported.particles, **{**QUICK, "maxIters": 2, "numberOfClasses": 9})
    protocol.doCorrectAmplitudes.set(False)
    protocol.testResiduals.set(True)
    protocol.doGenerateReferences.set(False)
    connect(protocol.inputReferences, finished, "outputAverages")
    run(imported.project, protocol)
    assert protocol.outputClasses.getSize() == 2
    assert all(0 <= item._mlalignKstest.get() <= 1 for one in protocol.outputClasses.iterItems() for item in one)
    assert "averages are not corrected" in " ".join(protocol.summary())
    assert {row["object_parent_id"] for row in protocol.getRelations()} == {
        imported.particles.getObjId(), finished.getObjId()}
