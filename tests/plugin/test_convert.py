"""Sets to metadata and back."""
import numpy as np
import pytest
from pwem.constants import ALIGN_2D, ALIGN_NONE
from pwem.objects import (
    Acquisition,
    Coordinate,
    CTFModel,
    Particle,
    SetOfAverages,
    SetOfClasses2D,
    SetOfParticles,
    Transform,
)
from pyworkflow.object import Integer

from mlalign.convert import (
    background,
    fill_averages,
    fill_classes2d,
    pose_transforms,
    read_table,
    split_location,
    write_images,
)
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import MetaData, write_star
from mlalign.programs.geometry import pose_parameters

PIXEL = 2.5
IDS = [3, 4, 10, 11, 12, 40, 41]
DISABLED = {4, 12}
ENABLED = [item for item in IDS if item not in DISABLED]


@pytest.fixture
def particles(tmp_path, monkeypatch):
    """A set with gaps in its ids, two disabled items, and a stack whose name has a space."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    write_stack("my particles.mrcs", rng.normal(0, 1, (len(IDS), 16, 16)).astype(np.float32), PIXEL)
    items = SetOfParticles(filename="particles.sqlite")
    items.setSamplingRate(PIXEL)
    items.setAcquisition(Acquisition(voltage=300, sphericalAberration=2.7, amplitudeContrast=0.1,
                                     magnification=1))
    items.setHasCTF(True)
    for number, item_id in enumerate(IDS, 1):
        item = Particle(location=(number, "my particles.mrcs"), objId=item_id)
        item.setEnabled(item_id not in DISABLED)
        item.setCTF(CTFModel(defocusU=1e4 + number, defocusV=1e4 - number, defocusAngle=10 * number))
        item.setMicId(7)
        coordinate = Coordinate(x=1, y=2)
        coordinate.setMicName("mic 7.mrc")
        item.setCoordinate(coordinate)
        item.setTransform(Transform(np.diag([1, 1, 1, 1.0])))
        items.append(item)
    items.write()
    return items


def results(refs, prefix="out_"):
    """Write results for the enabled particles: (columns, table of the particles)."""
    rng = np.random.default_rng(2)
    count = len(refs)
    columns = {"itemId": ENABLED[:count], "ref": refs, "anglePsi": rng.uniform(0, 360, count),
               "shiftX": rng.normal(0, 3, count), "shiftY": rng.normal(0, 3, count),
               "flip": rng.integers(0, 2, count), "pMax": rng.random(count),
               "classProbability": rng.random(count), "logLikelihood": rng.normal(-9, 1, count)}
    write_star(prefix + "images.xmd", {"particles": columns})
    classes = {"ref": [1, 2, 3], "image": [f"00000{k}@{prefix}classes.mrcs" for k in (1, 2, 3)],
               "weight": [2.5, 2.4, 0.1], "classCount": [refs.count(k) for k in (1, 2, 3)],
               "resolution": [8.0, 9.0, -1.0]}
    write_stack(prefix + "classes.mrcs", np.zeros((3, 16, 16), np.float32), PIXEL)
    write_star(prefix + "classes.xmd", {"classes": classes, "info": {"iterationNumber": [1]}})
    return columns


def new_classes(particles):
    classes = SetOfClasses2D(filename="classes.sqlite")
    classes.setImages(particles)
    return classes


def test_written_columns(particles):
    assert write_images(particles, "extra/in.xmd") == len(ENABLED)
    table = read_table("extra/in.xmd")
    assert table["itemId"].tolist() == ENABLED
    assert table["image"].tolist() == [f"{IDS.index(i) + 1:06d}@my particles.mrcs" for i in ENABLED]
    assert set(table["enabled"]) == {1}
    assert set(table["samplingRate"]) == {PIXEL}
    assert table["ctfDefocusU"].tolist() == [1e4 + IDS.index(i) + 1 for i in ENABLED]
    assert table["ctfDefocusV"].tolist() == [1e4 - IDS.index(i) - 1 for i in ENABLED]
    assert table["ctfDefocusAngle"].tolist() == [10 * (IDS.index(i) + 1) for i in ENABLED]
    assert (table["ctfVoltage"][0], table["ctfSphericalAberration"][0], table["ctfQ0"][0]) == (300, 2.7, 0.1)
    assert set(table["micrograph"]) == {"mic 7.mrc"} and set(table["micrographId"]) == {7}


def test_the_program_reads_the_images_that_were_meant(particles):
    write_images(particles, "extra/in.xmd")
    source = open_images("extra/in.xmd")
    stack = open_images("my particles.mrcs")
    assert source.count == len(ENABLED) and source.pixel_size == PIXEL
    np.testing.assert_array_equal(source.read(slice(None)), stack.read([IDS.index(i) for i in ENABLED]))


def test_phase_shift(particles):
    item = particles[3]
    ctf = CTFModel(defocusU=1.0, defocusV=1.0, defocusAngle=0.0)
    ctf.setPhaseShift(90.0)
    item.setCTF(ctf)
    other = SetOfParticles(filename="other.sqlite")
    other.copyInfo(particles)
    other.append(item)
    write_images(other, "in.xmd")
    assert read_table("in.xmd")["ctfPhaseShift"].tolist() == [90]


def test_set_without_ctf(particles):
    particles.setHasCTF(False)
    write_images(particles, "in.xmd")
    assert not [label for label in read_table("in.xmd").columns if label.startswith("ctf")]


def copied(particles, change):
    """A set of the same items after ``change(item)``."""
    other = SetOfParticles(filename="changed.sqlite")
    other.copyInfo(particles)
    for item in particles:
        copy = item.clone()
        copy.setEnabled(item.isEnabled())
        change(copy)
        other.append(copy)
    other.write()
    return other


@pytest.mark.parametrize("without, message", [
    (11, "item 11 has no micrographId, unlike the first item"),
    (3, "item 10 has a micrographId, unlike the first item")])
def test_item_that_differs_from_the_first(particles, without, message):
    def change(item):
        if item.getObjId() == without:
            item.setMicId(None)
    with pytest.raises(ValueError, match=message):
        write_images(copied(particles, change), "in.xmd")


def test_optics_groups(particles):
    """RELION's protocols leave them as an attribute of every particle."""
    def change(item):
        item._rlnOpticsGroup = Integer(1 + item.getObjId() % 2)
    write_images(copied(particles, change), "in.xmd")
    source = open_images("in.xmd")
    assert source.metadata["rlnOpticsGroup"].tolist() == [1 + item_id % 2 for item_id in ENABLED]
    assert source.pixel_size == PIXEL                       # a column of RELION among those of Xmipp


def test_no_enabled_item(particles):
    other = SetOfParticles(filename="other.sqlite")
    other.copyInfo(particles)
    item = particles[4].clone()
    item.setEnabled(False)
    other.append(item)
    with pytest.raises(ValueError, match="no enabled item"):
        write_images(other, "in.xmd")


def test_classes_as_references(particles):
    results([1, 2, 2, 1, 1])
    classes = new_classes(particles)
    fill_classes2d(classes, "out_")
    write_images(classes, "refs.xmd")
    table = read_table("refs.xmd")
    assert table["itemId"].tolist() == [1, 2]
    assert table["image"].tolist() == ["000001@out_classes.mrcs", "000002@out_classes.mrcs"]
    assert set(table["samplingRate"]) == {PIXEL}


def test_classes_read_back(particles):
    columns = results([1, 2, 2, 1, 1])
    classes = new_classes(particles)
    fill_classes2d(classes, "out_")
    members = {one.getObjId(): [item.getObjId() for item in one] for one in classes.iterItems()}
    assert members == {1: [3, 40, 41], 2: [10, 11]}             # class 3 is empty
    for one in classes.iterItems():
        representative = one.getRepresentative()
        assert one.getAlignment() == ALIGN_2D
        assert representative.getLocation() == (one.getObjId(), "out_classes.mrcs")
        assert representative.getSamplingRate() == PIXEL
        assert one._mlalignResolution.get() == {1: 8, 2: 9}[one.getObjId()]
        for item in one:
            row = columns["itemId"].index(item.getObjId())
            assert item.getClassId() == one.getObjId()
            assert item._mlalignPMax.get() == pytest.approx(columns["pMax"][row])
            assert item._mlalignLogLikelihood.get() == pytest.approx(columns["logLikelihood"][row])
            matrix = item.getTransform().getMatrix()
            pose = pose_parameters(matrix[np.ix_([0, 1, 3], [0, 1, 3])])
            expected = [columns[label][row] for label in ("anglePsi", "shiftX", "shiftY", "flip")]
            np.testing.assert_allclose(pose, expected, atol=1e-6)
            assert matrix[2, 2] == (-1 if expected[3] else 1)


def test_noise_group_is_a_whole_number(particles):
    columns = results([1, 2, 2, 1, 1])
    columns["defocusGroup"] = [1, 2, 2, 3, 1]
    write_star("out_images.xmd", {"particles": columns})
    classes = new_classes(particles)
    fill_classes2d(classes, "out_")
    items = [item.clone() for one in classes.iterItems() for item in one]
    assert {item.getObjId(): item._mlalignDefocusGroup.get() for item in items} == dict(zip(ENABLED, [1, 2, 2, 3, 1]))
    assert all(isinstance(item._mlalignDefocusGroup, Integer) for item in items)


def test_the_input_set_is_not_changed(particles):
    results([1, 2, 2, 1, 1])
    fill_classes2d(new_classes(particles), "out_")
    again = SetOfParticles(filename="particles.sqlite")
    assert [item.getObjId() for item in again.iterItems()] == IDS
    for item in again.iterItems():
        np.testing.assert_array_equal(item.getTransform().getMatrix(), np.eye(4))
        assert not item.hasClassId() and not hasattr(item, "_mlalignPMax")


def test_averages(particles):
    results([1, 2, 2, 1, 1])
    classes = new_classes(particles)
    fill_classes2d(classes, "out_")
    averages = SetOfAverages(filename="averages.sqlite")
    fill_averages(averages, classes)
    assert [(a.getObjId(), a.getLocation(), a.getSamplingRate()) for a in averages.iterItems()] == [
        (1, (1, "out_classes.mrcs"), PIXEL), (2, (2, "out_classes.mrcs"), PIXEL)]
    assert averages.getSamplingRate() == PIXEL and averages.getAlignment() == ALIGN_NONE
    assert not averages.hasCTF()
    assert [a._mlalignResolution.get() for a in averages.iterItems()] == [8, 9]


@pytest.mark.parametrize("refs, message", [
    ([1, 2, 2, 1], "expected itemId 41, found the end of the file"),
    ([1, 2, 2, 1, 1, 1], "more than the set has"),
])
def test_wrong_number_of_rows(particles, refs, message):
    ENABLED.append(99)
    try:
        results(refs)
    finally:
        ENABLED.pop()
    with pytest.raises(ValueError, match=message):
        fill_classes2d(new_classes(particles), "out_")


def test_rows_of_other_items(particles):
    columns = results([1, 2, 2, 1, 1])
    columns["itemId"] = [3, 11, 10, 40, 41]
    write_star("out_images.xmd", {"particles": columns})
    with pytest.raises(ValueError, match="expected itemId 10, found itemId 11"):
        fill_classes2d(new_classes(particles), "out_")


def test_class_without_reference(particles):
    results([1, 2, 2, 1, 9])
    with pytest.raises(ValueError, match="0 rows with ref 9"):
        fill_classes2d(new_classes(particles), "out_")


def test_transforms_without_flip():
    table = MetaData({"anglePsi": np.array([90.0]), "shiftX": np.array([1.0]), "shiftY": np.array([2.0])})
    np.testing.assert_allclose(pose_transforms(table)[0],
                               [[0, 1, 0, 1], [-1, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]], atol=1e-12)


def test_background(particles):
    mean, deviation = background(particles)
    assert abs(mean) < 0.3 and 0.7 < deviation < 1.3
    rng = np.random.default_rng(1)
    write_stack("my particles.mrcs", rng.normal(5, 3, (len(IDS), 16, 16)).astype(np.float32), PIXEL)
    mean, deviation = background(particles, count=3)
    assert 4 < mean < 6 and 2 < deviation < 4


def test_background_looks_outside_the_circle(particles):
    y, x = np.mgrid[:16, :16] - 8
    inside = np.hypot(x, y) <= 8
    image = np.where(inside, 1e3, 1.0).astype(np.float32)
    write_stack("my particles.mrcs", np.repeat(image[None], len(IDS), 0), PIXEL)
    assert background(particles) == (1, 0)


def test_split_location():
    assert split_location("000012@a/b.mrcs") == (12, "a/b.mrcs")
    assert split_location("a/b.mrc") == (0, "a/b.mrc")
