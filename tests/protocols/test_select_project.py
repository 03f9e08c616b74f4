"""Select classes in a real Scipion project: what it makes of a run's classes, and of anybody's."""
from pathlib import Path

import numpy as np
import pytest
from pyworkflow.protocol.constants import MODE_RESUME

from mlalign.programs.centring import centre
from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.volumes import open_volume_file
from mlalign.programs.ranking import rank
from mlalign.protocols.select_form import ALL, LISTED, SCORED
from mlalign.protocols.select_sets import FOREIGN
from mlalign.tests.protocols.outputs import apply, members
from mlalign.tests.protocols.scipion import connect, copy_of, json_round_trip, new_mref, run
from mlalign.tests.protocols.subtomograms import QUICK as QUICK_TOMO
from mlalign.tests.protocols.subtomograms import new_tomo

QUICK = {"numberOfThreads": 1, "radius": 11, "maxIters": 3}


def new_select(project, source, output="outputClasses", **parameters):
    from mlalign.protocols import MlalignProtSelect
    protocol = project.newProtocol(MlalignProtSelect, **parameters)
    connect(protocol.inputClasses, source, output)
    return protocol


def ids(items):
    return sorted(item.getObjId() for item in type(items)(filename=items.getFileName()).iterItems())


def average(one):
    index, path = one.getRepresentative().getLocation()
    return open_stack(path).read([index - 1])[0]


@pytest.fixture(scope="module")
def classified(imported):
    """A finished run with two classes."""
    return run(imported.project, new_mref(imported.project, imported.particles, imported.averages, **QUICK))


@pytest.fixture(scope="module")
def listed(imported, classified):
    """Class 2 of the run, re-centred, with all outputs."""
    return run(imported.project, new_select(imported.project, classified, choose=LISTED, classList="2",
                                            makeRejected=True, recenter=True))


def test_listed_classes_with_all_their_members(classified, listed):
    before, after = members(classified.outputClasses), members(listed.outputClasses)
    assert list(after) == [2] and after[2][0] == before[2][0]
    assert ids(listed.outputParticles) == sorted(before[2][0])
    assert ids(listed.outputRejected) == sorted(before[1][0])
    assert ids(listed.outputAverages) == [2]
    assert listed.outputParticles.hasAlignment2D() and listed.outputClasses.getFirstItem().hasAlignment2D()
    assert {item.getClassId() for item in listed.outputParticles.iterItems()} == {2}
    assert listed.outputAverages.getSamplingRate() == classified.outputAverages.getSamplingRate()


def test_scores_go_with_the_classes(classified, listed):
    one, before = listed.outputClasses.getFirstItem(), classified.outputClasses[2].clone()
    assert one._mlalignScore.get() == pytest.approx(rank(classified.getRun()).of(2))
    assert one._mlalignResolution.get() == before._mlalignResolution.get()
    item = one.getFirstItem()
    assert item._mlalignMaxCC.get() > 0


def test_recentred_averages_and_members(imported, classified, listed):
    """The average moves to the middle, and the members with it: their mean is still the average."""
    one = listed.outputClasses.getFirstItem()
    moved = np.array([one._mlalignMovedX.get(), one._mlalignMovedY.get()])
    (item_ids, after), (_, before) = members(listed.outputClasses)[2], members(classified.outputClasses)[2]
    np.testing.assert_allclose(after[:, :2, 3] - before[:, :2, 3], np.tile(moved, (len(after), 1)), atol=1e-9)
    np.testing.assert_array_equal(after[:, :, :3], before[:, :, :3])
    assert np.abs(moved).max() > 0.3, "nothing to centre"
    assert np.abs(centre(average(one))).max() < 0.3
    images = open_stack(str(imported.folder / "particles.mrcs")).read(slice(None))
    mean = np.mean([apply(matrix, images[i - 1]) for i, matrix in zip(item_ids, after)], axis=0)
    y, x = np.mgrid[:len(mean), :len(mean)] - len(mean) // 2
    inside = np.hypot(x, y) < 10
    assert np.corrcoef(mean[inside], average(one)[inside])[0, 1] > 0.98
    np.testing.assert_array_equal(average(one), open_stack(listed.outputAverages.getFirstItem().getFileName())
                                  .read([0])[0])
    given = members(classified.outputClasses)[2][1]
    np.testing.assert_array_equal(given, before)        # the input is as it was


def test_provenance(imported, classified, listed):
    def relations(name):
        return {(row["object_parent_id"], row["object_parent_extended"]) for row in listed.getRelations()
                if row["name"] == name}

    assert relations("relation_transform") == {(imported.particles.getObjId(), "outputParticles")}
    assert relations("relation_datasource") >= {(classified.getObjId(), "outputClasses")}
    assert listed.outputClasses.getImages().getObjId() == imported.particles.outputParticles.getObjId()


def test_summary_and_methods(listed):
    summary = " ".join(listed.summary())
    assert "*1* of 2 classes kept" in summary and "from the list 2" in summary and "(rejected)" in summary
    assert "moved to the middle by" in summary
    assert "1 of 2 classes" in listed.methods()[0] and "re-centred" in listed.methods()[0]


def test_a_threshold_and_continue_with_another(imported, classified):
    ranking = rank(classified.getRun())
    between = float(ranking.score.mean())
    best = int(ranking.refs[ranking.score.argmax()])
    protocol = run(imported.project, new_select(imported.project, classified, choose=SCORED, minScore=between))
    assert list(members(protocol.outputClasses)) == [best]
    assert not protocol.hasAttribute("outputRejected")
    protocol.minScore.set(0.0)
    protocol.makeRejected.set(True)
    protocol.runMode.set(MODE_RESUME)
    run(imported.project, protocol)
    assert list(members(protocol.outputClasses)) == [1, 2]
    assert protocol.outputParticles.getSize() == classified.outputParticles.getSize()
    assert protocol.outputRejected.getSize() == 0
    protocol.minScore.set(1.0)
    protocol.minSize.set(1000)
    imported.project.launchProtocol(protocol, wait=True)
    assert protocol.isFailed() and "Nothing is selected: no class that scores 1" in protocol.getErrorMessage()


def test_only_what_is_wanted(imported, classified):
    protocol = run(imported.project, new_select(imported.project, classified, choose=ALL, makeClasses=False,
                                                makeParticles=False))
    assert [name for name, _ in protocol.iterOutputAttributes()] == ["outputAverages"]
    assert protocol.outputAverages.getSize() == 2
    assert not list(Path(protocol.getPath()).glob("classes*.sqlite"))
    np.testing.assert_array_equal(open_stack(protocol.outputAverages[2].getFileName()).read([1]),
                                  open_stack(classified.outputAverages[2].getFileName()).read([1]))


def test_classes_of_an_iteration(imported, classified):
    protocol = run(imported.project, new_select(imported.project, classified, choose=LISTED, classList="1",
                                                iteration=1))
    table = classified.getRun().members(1, 1)
    found, transforms = members(protocol.outputClasses)[1]
    assert found == sorted(table["itemId"])
    np.testing.assert_allclose(transforms[:, 0, 3], table.numbers("shiftX")[np.argsort(table["itemId"])], atol=1e-6)
    assert "iter001" in protocol.outputClasses.getFirstItem().getRepresentative().getFileName()


def test_classes_of_others_are_scored_by_what_is_known(imported, listed):
    """Such as those that this protocol itself made, which have no run."""
    protocol = run(imported.project, new_select(imported.project, listed, choose=ALL))
    assert protocol.outputParticles.getSize() == listed.outputParticles.getSize()
    ranking, _ = protocol.getScores()
    assert np.isnan(ranking.parts["stability"]).all() and not np.isnan(ranking.parts["signal"]).any()
    assert not np.isnan(ranking.parts["resolution"]).any() and FOREIGN in ranking.notes
    assert "not known of classes without a run" in " ".join(protocol.summary())
    np.testing.assert_array_equal(members(protocol.outputClasses)[2][1], members(listed.outputClasses)[2][1])


def test_subtomograms(tomography):
    pytest.importorskip("tomo")
    classified = run(tomography.project, new_tomo(
        tomography.project, tomography.subtomograms, "outputSubTomograms", (tomography.references, "outputVolumes"),
        **QUICK_TOMO))
    protocol = run(tomography.project, new_select(tomography.project, classified, choose=LISTED, classList="2",
                                                  recenter=True, makeRejected=True))
    (item_ids, after), (same_ids, before) = members(protocol.outputClasses)[2], members(classified.outputClasses)[2]
    assert item_ids == same_ids and ids(protocol.outputSubtomograms) == sorted(item_ids)
    assert type(protocol.outputSubtomograms) is type(classified.outputSubtomograms)
    one = protocol.outputClasses.getFirstItem()
    moved = [getattr(one, f"_mlalignMoved{axis}").get() for axis in "XYZ"]
    np.testing.assert_allclose(after[:, :3, 3] - before[:, :3, 3], np.tile(moved, (len(after), 1)), atol=1e-9)
    volume = open_volume_file(one.getRepresentative().getFileName()).read([0])[0]
    assert np.abs(centre(volume)).max() < 0.4
    assert type(protocol.outputAverages) is type(classified.outputAverages)
    assert protocol.outputRejected.getSize() + len(item_ids) == classified.outputSubtomograms.getSize()
    assert all(part[1] >= 0 for part in protocol.getScores()[0].parts.values())


@pytest.mark.parametrize("parameters, said", [
    ({"choose": LISTED, "classList": "7"}, "no class 7 (or it is empty); there are 1, 2"),
    ({"choose": LISTED, "classList": ""}, "is no list of classes"),
    ({"iteration": 9}, "*Iteration* is 9; there are 1 to 3"),
    (dict.fromkeys(("makeClasses", "makeParticles", "makeAverages"), False), "choose at least one"),
])
def test_errors(imported, classified, parameters, said):
    errors = new_select(imported.project, classified, **parameters).validate()
    assert len(errors) == 1 and said in errors[0]


def test_errors_of_others_classes(imported, listed):
    errors = new_select(imported.project, listed, iteration=1).validate()
    assert len(errors) == 1 and "come right from a protocol of this plugin" in errors[0]
    assert new_select(imported.project, listed, recenter=True).validate() == []


def test_json_round_trip(imported, classified, tmp_path):
    values = {"choose": LISTED, "classList": "1,2", "minScore": 0.3, "minSize": 4, "iteration": 2, "recenter": True,
              "makeClasses": False, "makeRejected": True}
    loaded = json_round_trip(imported.project, classified, new_select(imported.project, classified, **values),
                             tmp_path / "workflow.json")
    assert loaded.inputClasses.getExtended() == "outputClasses"


def test_a_copy_gives_the_same(imported, listed):
    again = run(imported.project, copy_of(imported.project, listed))
    np.testing.assert_array_equal(members(again.outputClasses)[2][1], members(listed.outputClasses)[2][1])
