"""ML2D in a real Scipion project, from the imported particles to the output."""
import os
import time
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESTART, MODE_RESUME
from sklearn.metrics import adjusted_rand_score

from mlalign.convert import read_table
from mlalign.programs.formats.images import open_images
from mlalign.tests.protocols.outputs import apply, assert_same_classes, members
from mlalign.tests.protocols.scipion import (
    PIXEL,
    QUICK,
    assert_continue_does_nothing,
    copy_of,
    json_round_trip,
    new_ml2d,
    new_mlf2d,
    run,
    run_forked,
)


@pytest.fixture(scope="module")
def finished(imported):
    """A finished run of ML2D."""
    return run(imported.project, new_ml2d(imported.project, imported.particles, **QUICK))


def test_classes_are_the_planted_ones(imported, finished):
    truth = read_table(imported.folder / "truth.xmd")
    planted = dict(zip(truth["itemId"], truth["ref"]))
    found = {item: ref for ref, (ids, _) in members(finished.outputClasses).items() for item in ids}
    assert found.keys() == planted.keys() - imported.disabled
    assert adjusted_rand_score([planted[i] for i in found], list(found.values())) > 0.95


def test_aligned_particles_average_to_the_class_average(imported, finished):
    """Program, STAR file, Scipion's transforms and representatives: one convention."""
    images = open_images(imported.folder / "particles.mrcs").read(slice(None))
    y, x = np.mgrid[:images.shape[1], :images.shape[2]] - images.shape[1] // 2
    circle = np.hypot(x, y) < images.shape[1] // 2 - 3
    assert any((np.linalg.det(m[:, :2, :2]) < 0).any() for _, m in members(finished.outputClasses).values())
    for one in finished.outputClasses.iterItems():
        ids, transforms = members(finished.outputClasses)[one.getObjId()]
        mean = np.mean([apply(m, images[i - 1]) for i, m in zip(ids, transforms)], axis=0)
        index, path = one.getRepresentative().getLocation()
        average = open_images(path).read([index - 1])[0]
        assert np.corrcoef(mean[circle], average[circle])[0, 1] > 0.97


def test_outputs(imported, finished):
    classes, averages = finished.outputClasses, finished.outputAverages
    assert classes.getSize() == averages.getSize() == 2
    assert classes.getImages().getObjId() == imported.particles.outputParticles.getObjId()
    for one, average in zip(classes.iterItems(), averages.iterItems()):
        assert one.getRepresentative().getSamplingRate() == average.getSamplingRate() == PIXEL
        assert one.getRepresentative().getLocation() == average.getLocation()
        assert one._mlalignResolution.get() > 0
        for item in one:
            probability = item._mlalignClassProbability.get()
            assert 0 < item._mlalignPMax.get() <= probability + 1e-6
            assert 0.5 <= probability <= 1 + 1e-6
    sources = {row["object_parent_id"] for row in finished.getRelations()}
    assert sources == {imported.particles.getObjId()}


def test_summary_methods_and_leftovers(finished):
    summary = " ".join(finished.summary())
    assert "iterations" in summary and "Log-likelihood" in summary and "Random seed 1" in summary
    assert "120 particles" in finished.methods()[0]
    assert not list(Path(finished._getTmpPath()).glob("*"))


def test_continue_without_a_change_does_nothing(imported, finished):
    assert_continue_does_nothing(imported.project, finished, finished._root() + "images.xmd")


def test_same_seed_same_classes(imported, finished):
    again = run(imported.project, copy_of(imported.project, finished, numberOfThreads=2))
    assert_same_classes(again.outputClasses, finished.outputClasses)


def test_two_runs_at_the_same_time(imported, finished):
    """Of the same particles: neither minds the other."""
    project, both = imported.project, [copy_of(imported.project, finished) for _ in range(2)]
    for one in both:
        with run_forked(one, wait=False):
            project.launchProtocol(one, wait=False)
    logs = [Path(one._root() + "run.log") for one in both]
    end = time.monotonic() + 60
    while not all(log.exists() for log in logs) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any("done" in log.read_text() for log in logs), "one ended before the other began"
    for one in both:
        os.waitpid(one.getPid(), 0)
        project._updateProtocol(one)
        assert_same_classes(one.outputClasses, finished.outputClasses)
        assert one.outputAverages.getFiles() != finished.outputAverages.getFiles()


def test_continue_with_more_classes_starts_anew_and_restart_always_does(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, numberOfClasses=1))
    assert protocol.outputClasses.getSize() == 1
    protocol.numberOfClasses.set(2)
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert_same_classes(protocol.outputClasses, finished.outputClasses)
    assert protocol.outputAverages.getSize() == 2
    protocol.runMode.set(MODE_RESTART)
    protocol.maxIters.set(1)
    run(imported.project, protocol)
    assert protocol.getRun().iterations()[-1] == 1


def test_continue_with_more_and_with_fewer_iterations(imported, finished):
    protocol = run(imported.project, copy_of(imported.project, finished, maxIters=3))
    short = members(protocol.outputClasses)
    for iterations in (6, 3):
        protocol.maxIters.set(iterations)
        protocol.runMode.set(MODE_RESUME)
        run(imported.project, protocol)
        if iterations == 6:
            assert_same_classes(protocol.outputClasses, finished.outputClasses)
    for ref, (ids, transforms) in members(protocol.outputClasses).items():
        assert ids == short[ref][0]
        np.testing.assert_array_equal(transforms, short[ref][1])


def test_killed_and_continued(imported, finished):
    protocol = copy_of(imported.project, finished)
    imported.project.launchProtocol(protocol, wait=False)
    checkpoint = Path(protocol._root() + "extra/iter002/iter_checkpoint.npz")
    end = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < end:
        time.sleep(0.02)
    imported.project.stopProtocol(protocol)
    assert not Path(protocol._root() + "classes.xmd").exists(), "it ended before it could be killed"
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert "--continue" in Path(protocol.getStdoutLog()).read_text()
    assert_same_classes(protocol.outputClasses, finished.outputClasses)


def test_given_references(imported):
    project, particles, averages = imported.project, imported.particles, imported.averages
    protocol = run(project, new_ml2d(project, particles, averages, **{**QUICK, "maxIters": 3}))
    truth = read_table(imported.folder / "truth.xmd")
    for ref, (ids, _) in members(protocol.outputClasses).items():
        assert np.mean(truth["ref"][np.array(ids) - 1] == ref) > 0.95   # classes keep the references' numbers
    sources = {row["object_parent_id"] for row in protocol.getRelations()}
    assert sources == {particles.getObjId(), averages.getObjId()}


def test_the_programs_error_is_the_protocols(imported, finished, tmp_path):
    fractions = tmp_path / "fractions.txt"
    fractions.write_text("0.5\n0.2\n0.3\n")                 # for two classes
    protocol = copy_of(imported.project, finished, fractions=str(fractions))
    with pytest.raises(AssertionError, match=r"ml_align2d: error: .*fractions\.txt"):
        run(imported.project, protocol)


@pytest.mark.parametrize("new, values", [
    (new_ml2d, {"doStudent": True, "studentDf": 4.5, "limitResolution": 2, "maxFrequency": 0.3, "radius": 12,
                "doMirror": False, "fractions": "my fractions.txt"}),
    (new_ml2d, {"doMlf": True, "areImagesPhaseFlipped": 1, "highResLimit": 0.0}),
    (new_mlf2d, {"areImagesPhaseFlipped": 0, "fixHigh": 12.5, "noiseGroups": 1, "groupSize": 99})])
def test_json_round_trip(imported, tmp_path, new, values):
    loaded = json_round_trip(imported.project, imported.particles, new(imported.project, imported.particles, **values),
                             tmp_path / "workflow.json")
    pointer = loaded.inputParticles
    assert pointer.getObjValue().getClassName() == imported.particles.getClassName()
    assert pointer.getExtended() == "outputParticles"
