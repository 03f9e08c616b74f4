"""refine2d in a real Scipion project, from the imported particles to the output."""
import time
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESUME

from mlalign.convert import read_table
from mlalign.programs.formats.hdf import HdfStack
from mlalign.programs.formats.images import open_images
from mlalign.tests.protocols.outputs import apply, assert_same_classes, members
from mlalign.tests.protocols.scipion import (
    PIXEL,
    assert_continue_does_nothing,
    connect,
    copy_of,
    json_round_trip,
    new_refine2d,
    run,
)

CLASSES = 5
MEAN, AUTOFILT = 0, 5             # averagers
WRITTEN = 1e-5                    # poses are written to six digits
QUICK = {"numberOfThreads": 1, "numberOfClassAvg": CLASSES, "nbasisfp": 3, "numberOfAlignRef": 2, "radius": 12,
         "numberOfIterations": 2, "classIter": 1, "classAveragerType": MEAN}


@pytest.fixture(scope="module")
def finished(imported):
    """A finished run."""
    return run(imported.project, new_refine2d(imported.project, imported.particles, **QUICK))


def items(classes):
    """{id: item} of all the particles in a set of classes."""
    return {item.getObjId(): item.clone() for one in classes.iterItems() for item in one}


def test_classes_hold_one_view_each(imported, finished):
    """And disabled particles are left out."""
    truth = read_table(imported.folder / "truth.xmd")
    planted = dict(zip(truth["itemId"], truth["ref"]))
    of_classes = members(finished.outputClasses)
    assert {item for ids, _ in of_classes.values() for item in ids} == planted.keys() - imported.disabled
    pure = sum(np.bincount([planted[item] for item in ids]).max() for ids, _ in of_classes.values())
    assert pure > 0.95 * (len(planted) - len(imported.disabled))


def test_used_members_average_to_the_class_average(imported, finished):
    """Program, STAR file, Scipion's transforms and representatives: one convention, one numbering."""
    images = open_images(imported.folder / "particles.mrcs").read(slice(None))
    y, x = np.mgrid[:images.shape[1], :images.shape[2]] - images.shape[1] // 2
    circle = np.hypot(x, y) < QUICK["radius"] - 1
    of_classes, particles = members(finished.outputClasses), items(finished.outputClasses)
    assert any((np.linalg.det(m[:, :2, :2]) < 0).any() for _, m in of_classes.values())
    for one in finished.outputClasses.iterItems():
        mean = np.mean([apply(m, images[i - 1]) for i, m in zip(*of_classes[one.getObjId()])
                        if particles[i]._mlalignUsed.get()], axis=0)
        index, path = one.getRepresentative().getLocation()
        average = open_images(path).read([index - 1])[0]
        assert index == one.getObjId() and np.corrcoef(mean[circle], average[circle])[0, 1] > 0.95


def test_class_numbers_are_the_files(finished):
    table = read_table(finished._particlesFile())
    last = finished.getRun().cycle_file("classmx_YY.hdf")
    found = dict(zip(table["itemId"], HdfStack(last).read([0])[0].ravel().astype(int) + 1))
    assert {item_id: item.getClassId() for item_id, item in items(finished.outputClasses).items()} == found
    averages = HdfStack(finished.getRun().cycle_file("classes_YY.hdf"))
    assert averages.shape[0] == CLASSES


def test_outputs(imported, finished):
    classes, averages = finished.outputClasses, finished.outputAverages
    assert 2 <= classes.getSize() == averages.getSize() <= CLASSES
    assert averages.getSamplingRate() == PIXEL
    for item in items(classes).values():
        assert -1 <= item._mlalignMaxCC.get() <= 1 and item._mlalignUsed.get() in (0, 1)
    for one in classes.iterItems():
        used = sum(item._mlalignUsed.get() for item in one)
        assert one._mlalignUsed.get() == used and 0 < used <= one.getSize()
        assert np.isfinite(one._mlalignContrast.get()) and one._mlalignMaxCC.get() > 0
    assert {row["object_parent_id"] for row in finished.getRelations()} == {imported.particles.getObjId()}


def test_summary_methods_and_leftovers(finished):
    summary = " ".join(finished.summary())
    assert "Stopped after the 2 iterations allowed." in summary and "Mean correlation" in summary
    assert "120 particles" in finished.methods()[0] and f"into {CLASSES} classes" in finished.methods()[0]
    assert "harmonics" in finished.methods()[0] and "best fitting 85 %" in finished.methods()[0]
    assert "Tang" in " ".join(finished.citations())
    assert not list(Path(finished._getTmpPath()).glob("*"))


def test_continue_without_a_change_does_nothing(imported, finished):
    assert_continue_does_nothing(imported.project, finished, finished._root() + "images.xmd")


def test_continue_with_more_and_with_fewer_cycles(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, numberOfIterations=1))
    short = members(protocol.outputClasses)
    protocol.runMode.set(MODE_RESUME)
    for cycles in (2, 1):
        protocol.numberOfIterations.set(cycles)
        run(imported.project, protocol)
        assert "continuing after cycle 1" in protocol.getRun().log_file.read_text()
        assert protocol.getRun().iterations() == list(range(1, cycles + 1))
        assert Path(protocol._root() + "classes_02.hdf").exists() == (cycles == 2)
        if cycles == 2:
            assert_same_classes(protocol.outputClasses, finished.outputClasses, WRITTEN)
    for ref, (ids, transforms) in members(protocol.outputClasses).items():
        assert ids == short[ref][0]
        np.testing.assert_allclose(transforms, short[ref][1], atol=WRITTEN)


def test_killed_and_continued(imported, finished):
    """With so many cycles that it cannot be over."""
    protocol = copy_of(imported.project, finished, numberOfIterations=80)
    imported.project.launchProtocol(protocol, wait=False)
    checkpoint = Path(protocol._root() + "extra/iter001/iter_checkpoint.npz")
    end = time.monotonic() + 90
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    imported.project.stopProtocol(protocol)
    assert not Path(protocol._root() + "classes.xmd").exists(), "it ended before it could be killed"
    protocol.numberOfIterations.set(2)
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert "continuing after cycle" in protocol.getRun().log_file.read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses, WRITTEN)


def test_starting_averages_ctf_and_more_options(imported, with_ctf, finished):
    protocol = new_refine2d(imported.project, with_ctf.particles, extraParams="--resultmx",
                            **{**QUICK, "numberOfIterations": 1, "classAveragerType": AUTOFILT, "shrink": 2,
                               "simralignType": 1, "simcmpType": 3, "simcmpParams": "maxres=10"})
    connect(protocol.inputClassAvg, finished, "outputClasses")
    run(imported.project, protocol)
    log = Path(protocol.getStdoutLog()).read_text()
    assert "ctfDefocusU" in read_table(protocol._particlesFile())
    for words in ("--phase_flip", "--resultmx", "--initial", "--simralign refine", "--simraligncmp dot",
                  "--simcmp frc:maxres=10"):
        assert words in log
    assert protocol.getRun().cycle_file("resultmx_YY.hdf").exists()
    assert len(read_table(protocol._averagesFile())) == finished.outputClasses.getSize()
    assert {row["object_parent_id"] for row in protocol.getRelations()} == {with_ctf.particles.getObjId(),
                                                                           finished.getObjId()}


@pytest.mark.parametrize("use_ctf", [0, 1])
def test_ctfs_are_written_when_they_are_to_be_used(imported, with_ctf, use_ctf):
    protocol = new_refine2d(imported.project, with_ctf.particles, useCtf=use_ctf, **QUICK)
    imported.project.saveProtocol(protocol)
    protocol.makePathsAndClean()
    protocol.convertInputStep(protocol._signature())
    found = [label for label in read_table(protocol._particlesFile()).columns if label.startswith("ctf")]
    assert bool(found) == (use_ctf == 0)


def test_json_round_trip(imported, tmp_path):
    values = {"useCtf": 1, "radius": 9, "centerType": 2, "simcmpType": 3, "simcmpParams": "maxres=12:sweight=1",
              "extraParams": "--minchange 20", "classKeep": 0.7}
    protocol = new_refine2d(imported.project, imported.particles, **values)
    loaded = json_round_trip(imported.project, imported.particles, protocol, tmp_path / "workflow.json")
    assert loaded.inputParticles.getExtended() == "outputParticles"
