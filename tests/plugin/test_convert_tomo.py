"""Sets of subtomograms and volumes to metadata and back."""
from pathlib import Path

import numpy as np
import pytest
from pwem.objects import SetOfClassesVol, SetOfVolumes, Transform, Volume
from pyworkflow.object import Pointer

from mlalign.convert import append_averages
from mlalign.convert_tomo import (
    POSE,
    Tilts,
    coordinates,
    fill_aligned,
    fill_classes3d,
    pose_of,
    pose_transforms3d,
    tilt_range,
    volume_background,
    write_references,
    write_subtomograms,
)
from mlalign.programs.errors import UserError
from mlalign.programs.formats.metadata import read_metadata
from mlalign.programs.formats.mrc import read_volume, write_volume, write_volume_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.geometry3d import angular_distance, pose_matrix3d, rotation_matrix
from mlalign.programs.missing_regions import read_regions, write_regions
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.results import FINAL
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.programs.tomo_fabricate import PIXEL, REGIONS
from mlalign.tests.protocols.outputs import apply3d

tomo = pytest.importorskip("tomo.objects")
BOX, COUNT = 24, 9
DISABLED = {2, 9}
EVERYTHING = Tilts("everything")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder with noiseless particles and a finished run's files, columns of the particles, references)."""
    folder = tmp_path_factory.mktemp("some subtomograms")
    references = phantoms3d(2, BOX)
    rows = tomo_fabricate.particles(folder, references, COUNT, regions={1: tomo_fabricate.Region(1, "everything")},
                                    noisy=False)
    return folder, rows, references


@pytest.fixture
def subtomograms(made, tmp_path, monkeypatch):
    """A set of the particles, two of them disabled, without transforms, acquisitions and coordinates."""
    monkeypatch.chdir(tmp_path)
    return new_set(tomo.SetOfSubTomograms, tomo.SubTomogram, made[1]["image"])


def new_set(kind, item_kind, paths, name="particles.sqlite", change=lambda item: None):
    """A set of volumes; change: called with each before it is appended."""
    items = kind(filename=name)
    items.setSamplingRate(PIXEL)
    for number, path in enumerate(paths, 1):
        item = item_kind(location=path, objId=number)
        item.setSamplingRate(PIXEL)
        item.setEnabled(number not in DISABLED)
        change(item)
        items.append(item)
    items.write()
    return items


def enabled(rows):
    return np.array([item not in DISABLED for item in rows["itemId"]])


def transforms_of(rows):
    return pose_matrix3d(*(rows[label] for label in POSE[:3]), np.stack([rows[label] for label in POSE[3:]], -1))


def set_transforms(matrices):
    return lambda item: item.setTransform(Transform(matrices[item.getObjId() - 1]))


# ---- from Scipion

def test_rows(subtomograms, made):
    assert write_subtomograms(subtomograms, "x.xmd", EVERYTHING, aligned=True) == COUNT - 2
    table = read_star("x.xmd")["particles"]
    assert list(table.columns) == ["itemId", "image", "enabled", "samplingRate"]
    assert list(table["itemId"]) == [1, 3, 4, 5, 6, 7, 8] and set(table["samplingRate"]) == {PIXEL}
    assert list(table["image"]) == list(made[1]["image"][enabled(made[1])])
    assert open_volumes("x.xmd").pixel_size == PIXEL


def test_volumes_of_a_stack_and_of_mrc_files_called_otherwise(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volumes = open_volumes(made[0] / "particles.xmd").read(slice(None))
    write_volume_stack("stack.mrcs", volumes, PIXEL)
    write_volume("single.mrc", volumes[0], PIXEL)
    several = new_set(SetOfVolumes, Volume, [(3, "stack.mrcs"), (1, "stack.mrcs"), "single.mrc:mrc"])
    write_subtomograms(several, "x.xmd", EVERYTHING)
    np.testing.assert_array_equal(open_volumes("x.xmd").read([0, 1]), volumes[[2, 0]])      # one is disabled


def test_nothing_enabled(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    off = new_set(tomo.SetOfSubTomograms, tomo.SubTomogram, made[1]["image"][:2],
                  change=lambda item: item.setEnabled(False))
    with pytest.raises(ValueError, match="no enabled item"):
        write_subtomograms(off, "x.xmd", EVERYTHING)


def test_poses_there_and_back(made, tmp_path, monkeypatch):
    """Truth -> transforms of a set -> metadata: the same poses."""
    monkeypatch.chdir(tmp_path)
    truth = read_metadata(made[0] / "truth.xmd", dimensions=3)
    items = new_set(tomo.SetOfSubTomograms, tomo.SubTomogram, made[1]["image"],
                    change=set_transforms(pose_transforms3d(truth)))
    write_subtomograms(items, "x.xmd", EVERYTHING, aligned=True)
    found, rows = read_star("x.xmd")["particles"], truth.take(enabled(made[1]))
    one, other = (rotation_matrix(*(table[label] for label in POSE[:3])) for table in (found, rows))
    np.testing.assert_allclose(angular_distance(one, other), 0, atol=1e-5)
    for label in POSE[3:]:
        np.testing.assert_allclose(found[label], rows[label], atol=1e-9)
    write_subtomograms(items, "y.xmd", EVERYTHING)
    assert not set(POSE) & set(read_star("y.xmd")["particles"].columns)


def test_the_transform_aligns_a_particle_with_its_reference(made):
    """Scipion's M moves the particle onto the reference: aligned(M p) = particle(p)."""
    folder, rows, references = made
    volumes = open_volumes(folder / "particles.xmd").read(slice(None))
    for volume, matrix, ref in zip(volumes, pose_transforms3d(read_metadata(folder / "truth.xmd", dimensions=3)),
                                   rows["ref"]):
        assert correlation(apply3d(matrix, volume), references[ref - 1]) > 0.97
        assert correlation(apply3d(np.linalg.inv(matrix), volume), references[ref - 1]) < 0.8


def correlation(one, other):
    return np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_some_have_a_transform(subtomograms, monkeypatch):
    items = [item.clone() for item in subtomograms]
    for item in items:
        item.setTransform(Transform(np.eye(4)))
    items[4]._transform = None
    monkeypatch.setattr(subtomograms, "iterItems", lambda: items)
    with pytest.raises(ValueError, match="item 5 has no angleRot"):
        write_subtomograms(subtomograms, "x.xmd", EVERYTHING, aligned=True)


@pytest.mark.parametrize("matrix", [np.diag([1, 1, -1, 1.0]), np.diag([2, 2, 2, 1.0]), np.zeros((4, 4))])
def test_a_transform_that_is_no_pose(matrix):
    item = tomo.SubTomogram(objId=4)
    item.setTransform(Transform(matrix))
    with pytest.raises(ValueError, match="item 4: its transform is more than a rotation and a shift"):
        pose_of(item)


def test_classes_of_the_particles(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    items = new_set(tomo.SetOfSubTomograms, tomo.SubTomogram, made[1]["image"],
                    change=lambda item: item.setClassId(item.getObjId() // 4 or None))
    write_subtomograms(items, "x.xmd", EVERYTHING, classified=True)
    assert list(read_star("x.xmd")["particles"]["ref"]) == [1, 1, 1, 1, 1, 1, 2]


# ---- missing regions

def acquisition(low, high):
    return tomo.TomoAcquisition(angleMin=low, angleMax=high)


def with_coordinates(made, tmp_path, monkeypatch, tomograms):
    """A set whose particles come from tomograms: {name: (lowest, highest) tilt or None}, in turn."""
    monkeypatch.chdir(tmp_path)
    precedents = tomo.SetOfTomograms(filename="tomograms.sqlite")
    for name, tilts in tomograms.items():
        one = tomo.Tomogram()
        one.setTsId(name)
        one.setLocation(f"{name}.mrc")
        one.setAcquisition(acquisition(*tilts or (None, None)))
        super(type(precedents), precedents).append(one)     # its own append reads the file
    precedents.write()
    where = tomo.SetOfCoordinates3D(filename="coordinates.sqlite")
    where.setPrecedents(precedents)
    where.setSamplingRate(PIXEL)
    names = list(tomograms)

    def set_coordinate(item):
        coordinate = tomo.Coordinate3D()
        coordinate.setTomoId(names[item.getObjId() % len(names)])
        item.setCoordinate3D(coordinate)

    items = new_set(tomo.SetOfSubTomograms, tomo.SubTomogram, made[1]["image"], change=set_coordinate)
    items.setCoordinates3D(Pointer(where))
    return items


def test_tilts_of_particle_set_and_tomogram(made, tmp_path, monkeypatch):
    items = with_coordinates(made, tmp_path, monkeypatch, {"a": (-50, 55), "b": None})
    first, second = (items[number].clone() for number in (1, 2))
    assert tilt_range(second, items) == (-50, 55) and tilt_range(first, items) is None
    items.setAcquisition(acquisition(0, 60))                # 0 is a tilt, not the absence of one
    assert tilt_range(first, items) == tilt_range(second, items) == (0, 60)
    second.setAcquisition(acquisition(-40, 0))
    assert tilt_range(second, items) == (-40, 0)
    second.setAcquisition(acquisition(-40, None))
    assert tilt_range(second, items) == (0, 60)


def test_tilts_that_nobody_knows(subtomograms):
    assert tilt_range(subtomograms[1], subtomograms) is None and coordinates(subtomograms) is None
    volume = Volume(location="x.mrc")
    assert tilt_range(volume, SetOfVolumes(filename="volumes.sqlite")) is None


def test_one_region_per_distinct_range(made, tmp_path, monkeypatch):
    items = with_coordinates(made, tmp_path, monkeypatch, {"a": (-50.00001, 55), "b": None, "c": (-50, 55.0)})
    tilts = Tilts("wedge_y", (-60, 60))
    write_subtomograms(items, "x.xmd", tilts)
    table = read_star("x.xmd")["particles"]
    assert list(table["missingRegionNumber"]) == [1, 2, 1, 2, 2, 1, 2]
    assert [region.y for region in tilts.regions.values()] == [(-60, 60), (-50, 55)]
    write_regions("missing.xmd", tilts.regions)
    assert read_regions("missing.xmd") == tilts.regions


@pytest.mark.parametrize("tilts, kind, values", [
    (Tilts("wedge_y", (-60, 50)), "wedge_y", {"y": (-60, 50)}),
    (Tilts("wedge_y", (-60, 50), negate=True), "wedge_y", {"y": (-50, 60)}),
    (Tilts("wedge_x", (-60, 50)), "wedge_x", {"x": (-60, 50)}),
    (Tilts("pyramid", (-60, 50, -40, 45)), "pyramid", {"y": (-60, 50), "x": (-40, 45)}),
    (Tilts("pyramid", (-60, 50, -40, 45), negate=True), "pyramid", {"y": (-50, 60), "x": (-45, 40)}),
    (Tilts("cone", (55,)), "cone", {"cone": 55}),
    (Tilts("cone", (-55,)), "cone", {"cone": 55})])
def test_regions_of_the_form(subtomograms, tilts, kind, values):
    assert tilts.number(subtomograms[1], subtomograms) == 1
    region = tilts.regions[1]
    assert region.kind == kind and {name: getattr(region, name) for name in values} == values


def test_the_acquisition_is_not_asked_when_it_should_not(subtomograms):
    subtomograms.setAcquisition(acquisition(-30, 30))
    for tilts, expected in ((Tilts("wedge_y", (-60, 60)), (-30, 30)),
                            (Tilts("wedge_y", (-60, 60), from_acquisition=False), (-60, 60)),
                            (Tilts("pyramid", (-60, 60, -60, 60)), (-60, 60))):
        tilts.number(subtomograms[1], subtomograms)
        assert tilts.regions[1].y == expected


def test_a_weight_volume(subtomograms):
    weights = np.random.default_rng(0).random((BOX,) * 3)
    write_volume("weights.mrc", weights, PIXEL)
    tilts = Tilts("weight", weight="weights.mrc")
    write_subtomograms(subtomograms, "x.xmd", tilts)
    write_regions("missing.xmd", tilts.regions)
    np.testing.assert_allclose(read_regions("missing.xmd")[1].weight, weights, rtol=1e-6)


def test_absurd_tilts(subtomograms):
    subtomograms.setAcquisition(acquisition(60, -60))
    with pytest.raises(UserError, match=r"missing region 1 \(wedge_y\)"):
        write_subtomograms(subtomograms, "x.xmd", Tilts("wedge_y", (-60, 60)))


# ---- references

def images(path):
    return list(read_star(path)["particles"]["image"])


def test_references(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one = Volume(location="one.mrc", objId=7)
    one.setSamplingRate(PIXEL)
    assert write_references(one, "x.xmd") == 1 and images("x.xmd") == ["one.mrc"]
    average = tomo.AverageSubTomogram(location=(2, "stack.mrcs"), objId=1)
    average.setSamplingRate(PIXEL)
    write_references(average, "x.xmd")
    assert images("x.xmd") == ["000002@stack.mrcs"]
    several = new_set(tomo.SetOfAverageSubTomograms, tomo.AverageSubTomogram, ["a.mrc", "b.mrc", "c.mrc"])
    assert write_references(several, "x.xmd") == 2 and images("x.xmd") == ["a.mrc", "c.mrc"]        # b is disabled


@pytest.mark.parametrize("noise, mean", [(1.0, 0.0), (3.0, 7.0)])
def test_background(tmp_path, monkeypatch, noise, mean):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in "abc":
        volume = rng.normal(mean, noise, (BOX,) * 3)
        volume[8:16, 8:16, 8:16] += 50
        write_volume(f"{name}.mrc", volume, PIXEL)
    found = volume_background(new_set(SetOfVolumes, Volume, ["a.mrc", "b.mrc", "c.mrc"]))
    assert found == pytest.approx((mean, noise), abs=0.1 * noise)


# ---- to Scipion

@pytest.fixture
def result(made, tmp_path):
    """The final files of a run on the enabled particles, in the true poses."""
    folder, rows, references = made
    kept = {label: np.asarray(values)[enabled(rows)] for label, values in rows.items()}
    run = TomoRun(tmp_path / "mltomo")
    tomo_fabricate.write_result(run, FINAL, references, {**kept, "missingRegionNumber": kept["missingRegionNumber"]},
                                regions={1: REGIONS[1]})
    return run


def classes_of(items, kind):
    classes = kind(filename="classes.sqlite")
    classes.setImages(items)
    return classes


def test_classes_of_subtomograms(subtomograms, made, result):
    classes = classes_of(subtomograms, tomo.SetOfClassesSubTomograms)
    fill_classes3d(classes, result)
    check_classes(classes, made[1], result)
    assert isinstance(classes.getFirstItem().getRepresentative(), tomo.AverageSubTomogram)
    averages = tomo.SetOfAverageSubTomograms(filename="averages.sqlite")
    append_averages(averages, classes)
    assert averages.getSamplingRate() == PIXEL and len(averages) == 2
    for average in averages:
        assert Path(average.getFileName()) == result.average_path(FINAL, average.getObjId())
        assert average._mlalignResolution.get() > 0 and average.getSamplingRate() == PIXEL
        assert read_volume(average.getFileName())[0].shape == (BOX,) * 3


def test_classes_of_volumes(made, tmp_path, monkeypatch, result):
    monkeypatch.chdir(tmp_path)
    classes = classes_of(new_set(SetOfVolumes, Volume, made[1]["image"]), SetOfClassesVol)
    fill_classes3d(classes, result)
    check_classes(classes, made[1], result)


def check_classes(classes, rows, run):
    expected, found = run.images(), {}
    classes.write()
    for one in type(classes)(filename="classes.sqlite"):
        assert one.getSize() == np.count_nonzero(expected["ref"] == one.getObjId())
        assert one.getRepresentative().getSamplingRate() == PIXEL and one.hasAlignment3D()
        found.update({item.getObjId(): (one.getObjId(), item.clone()) for item in one})
    assert list(sorted(found)) == list(expected["itemId"])
    truth = dict(zip(rows["itemId"], transforms_of(rows)))
    for row, item_id in enumerate(expected["itemId"]):
        ref, item = found[item_id]
        assert ref == item.getClassId() == expected["ref"][row]
        np.testing.assert_allclose(item.getTransform().getMatrix(), truth[item_id], atol=1e-9)
        assert item._mlalignPMax.get() == expected["pMax"][row]
        assert item._mlalignLogLikelihood.get() == expected["logLikelihood"][row]
        assert item._mlalignClassProbability.get() == expected["classProbability"][row]


def test_aligned_particles(subtomograms, made, result):
    aligned = tomo.SetOfSubTomograms(filename="aligned.sqlite")
    fill_aligned(aligned, subtomograms, result)
    aligned.write()
    aligned = tomo.SetOfSubTomograms(filename="aligned.sqlite")
    aligned.setSamplingRate(PIXEL)
    assert [item.getObjId() for item in aligned] == list(result.images()["itemId"])
    assert all(item.getClassId() == ref for item, ref in zip(aligned, result.images()["ref"]))
    write_subtomograms(aligned, "again.xmd", EVERYTHING, aligned=True, classified=True)
    again = read_star("again.xmd")["particles"]
    np.testing.assert_allclose(transforms_of(again.columns), pose_transforms3d(result.images()), atol=1e-9)
    np.testing.assert_array_equal(again["ref"], result.images()["ref"])
    assert subtomograms[1].getTransform() is None           # the input is as it was


def test_rows_of_other_particles(subtomograms, result):
    columns = dict(result.images().columns)
    for change, message in ((lambda ids: ids[::-1], "expected itemId 1, found itemId 8"),
                            (lambda ids: ids[:-1], "expected itemId 8, found the end of the file"),
                            (lambda ids: np.append(ids, 99), "more than the set has enabled")):
        ids = change(columns["itemId"])
        rows = np.minimum(np.arange(len(ids)), len(columns["itemId"]) - 1)
        write_star(result.images_file(), {"particles": {**{k: v[rows] for k, v in columns.items()}, "itemId": ids}})
        with pytest.raises(ValueError, match=message):
            fill_aligned(tomo.SetOfSubTomograms(filename=f"{len(message)}.sqlite"), subtomograms,
                         TomoRun(result.oroot))
