"""Scipion's sets in the gallery: read as databases, compared with what Scipion wrote."""
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import write_volume
from mlalign.programs.formats.star import write_star
from mlalign.programs.phantoms import phantoms
from mlalign.programs.results import FINAL, Run
from mlalign.tests.protocols import scipion  # noqa: F401  first: it makes Scipion's environment
from mlalign.tests.viewers.conftest import settle
from mlalign.tests.viewers.fabricate import PIXEL, particles, write_result
from mlalign.tests.viewers.test_gallery import chosen, shown
from mlalign.viewers.tomo import scipion_sets
from mlalign.viewers.tomo.volumes import open_any

COUNT, CLASSES = 60, 4


def looking(number):
    """Scipion's transform of a projection along rot = 6 number, tilt = 3 number, made as Xmipp's plugin makes it."""
    from pwem.convert.transformations import euler_matrix
    projecting = euler_matrix(*(-np.deg2rad([6 * number, 3 * number, 25])), "szyz")
    projecting[:3, 3] = 3, 4, 0
    return np.linalg.inv(projecting)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder as of a project, with sets that Scipion's own classes wrote; and the columns of the particles."""
    from pwem.objects import (
        Particle,
        SetOfAverages,
        SetOfClasses2D,
        SetOfClasses3D,
        SetOfParticles,
        SetOfVolumes,
        Transform,
        Volume,
    )

    from mlalign.convert import fill_averages, fill_classes2d
    project = tmp_path_factory.mktemp("project")
    folder = project / "Runs" / "000002_Prot"
    folder.mkdir(parents=True)
    references = phantoms(CLASSES, 48)
    rows = particles(folder / "particles.mrcs", references, COUNT)
    prefix = f"{folder}/ml2d_"
    write_result(Run(prefix), FINAL, references, rows)
    write_star(f"{prefix}images.xmd", {"particles": rows})

    def new(kind, name, sampling):
        one = kind(filename=str(folder / name))
        one.setSamplingRate(sampling)
        return one

    def local(path):
        return str(path).replace(f"{project}/", "")

    images = new(SetOfParticles, "particles.sqlite", PIXEL)
    for number in range(1, COUNT + 1):
        image = Particle()
        image.setLocation(number, local(folder / "particles.mrcs"))
        images.append(image)
    images.write()
    classes = SetOfClasses2D(filename=str(folder / "classes2D.sqlite"))
    classes.setImages(images)
    fill_classes2d(classes, prefix)
    classes.write()
    averages = SetOfAverages(filename=str(folder / "averages.sqlite"))
    fill_averages(averages, classes)
    averages.write()
    volumes = new(SetOfVolumes, "volumes.sqlite", 5.0)
    for number in (1, 2):
        write_volume(folder / f"v{number}.mrc", np.random.default_rng(number).normal(size=(16, 16, 16)), 5.0)
        volume = Volume()
        volume.setLocation(local(folder / f"v{number}.mrc"))
        volumes.append(volume)
    volumes.write()
    classes3d = SetOfClasses3D(filename=str(folder / "classes3D.sqlite"))
    classes3d.setImages(images)

    def item(image, number):
        image.setClassId(1 + number % 2)
        image.setTransform(Transform(looking(number)))

    def update(one):
        volume = Volume()
        volume.setLocation(local(folder / f"v{one.getObjId()}.mrc"))
        volume.setSamplingRate(5.0)
        one.setRepresentative(volume)

    classes3d.classifyItems(item, update, iter(range(COUNT)))
    classes3d.write()
    for one in (images, classes, averages, volumes, classes3d):
        one.close()
    return folder, rows


def opened(sets, name):
    return open_any([str(sets[0] / name)])[0]


def test_classes_have_their_sizes_and_scores(sets):
    pictures, table = opened(sets, "classes2D.sqlite"), Run(f"{sets[0]}/ml2d_").classes()
    assert pictures.subtitle() == "4 classes, 60 particles, 48 px, 3 Å/px" and pictures.refs.tolist() == [1, 2, 3, 4]
    for key, label in (("particles", "classCount"), ("resolution", "resolution"), ("weight", "weight")):
        np.testing.assert_allclose(pictures.columns[key].values, table[label])
    assert list(pictures.columns) == ["number", "particles", "share", "resolution", "weight", "mirrorFraction",
                                      "signalChange"]
    source = Run(f"{sets[0]}/ml2d_").classes_file().parent / "ml2d_classes.mrcs"
    np.testing.assert_array_equal(pictures.image(2), open_any([str(source)])[0].image(2))


def test_members_are_aligned_as_the_set_says(sets):
    _, rows = sets
    pictures = opened(sets, "classes2D.sqlite")
    for item in range(CLASSES):
        mine = rows["ref"] == item + 1
        members = pictures.members(item)
        assert list(members.keys) == list(rows["itemId"][mine])
        expected = np.column_stack([rows[label][mine] for label in ("anglePsi", "shiftX", "shiftY", "flip")])
        np.testing.assert_allclose(members.poses, expected, atol=1e-6)
        np.testing.assert_allclose(members.columns["pMax"].values, rows["pMax"][mine])
        assert np.corrcoef(members.image(0).ravel(), pictures.image(item).ravel())[0, 1] > 0.9
    joined = pictures.particles([0, 2])
    assert sorted(joined["logLikelihood"]) == pytest.approx(sorted(rows["logLikelihood"][np.isin(rows["ref"], (1, 3))]))


@pytest.mark.parametrize("name, expected", [
    ("averages.sqlite", "4 images, 48 px, 3 Å/px"), ("particles.sqlite", "60 images, 48 px, 3 Å/px"),
    ("volumes.sqlite", "2 volumes, 16 px, 5 Å/px"), ("classes3D.sqlite", "2 classes, 60 particles, 16 px, 5 Å/px")])
def test_other_sets(sets, name, expected):
    assert opened(sets, name).subtitle() == expected


def test_averages_have_their_scores(sets):
    table = Run(f"{sets[0]}/ml2d_").classes()
    np.testing.assert_allclose(opened(sets, "averages.sqlite").columns["resolution"].values, table["resolution"])


def test_the_window_of_a_set_of_classes(sets, open_window):
    window = open_window(sets[0] / "classes2D.sqlite")
    counts = np.bincount(sets[1]["ref"], minlength=CLASSES + 1)[1:]
    assert shown(window) == list(1 + np.argsort(-counts, kind="stable"))
    assert len(window.details.members.members) == counts.max()
    assert not window.details.particles.choice.group.button(2).isEnabled()      # there are no iterations
    assert not window.iterations.isVisible()
    window.set_sort("similarity", False)
    settle(window)
    window.set_filter(f"size >= {counts.max()}")
    assert shown(window) == [int(np.argmax(counts)) + 1] and chosen(window) == shown(window)


def test_where_the_particles_of_volumes_look(sets):
    pictures = opened(sets, "classes3D.sqlite")
    rot, tilt = np.deg2rad([6, 3])[:, None] * np.arange(0, COUNT, 2)      # of class 1
    expected = np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=1)
    np.testing.assert_allclose(pictures.directions(0), expected, atol=1e-6)
    spread = pictures.particles([0, 1])
    assert sorted(spread["angleTilt"]) == pytest.approx(sorted(3.0 * np.arange(COUNT)), abs=1e-4)
    assert np.sqrt(sum(spread[f"shift{axis}"] ** 2 for axis in "XYZ")) == pytest.approx(5)


def test_the_window_of_classes_of_volumes(sets, open_window):
    window = open_window(sets[0] / "classes3D.sqlite")
    assert window.status.text() == "1 of 2 selected: 30 particles (50.0 %)"
    assert window.details.ortho.volume.shape == (16, 16, 16)


def test_scipion_is_not_imported(sets):
    code = ("import sys\nfrom mlalign.viewers.tomo.volumes import open_any\n"
            "open_any(sys.argv[1:])[0].members(0)\nprint(*sys.modules)")
    loaded = subprocess.run([sys.executable, "-c", code, str(sets[0] / "classes2D.sqlite")], capture_output=True,
                            text=True, check=True).stdout
    assert not {"pwem", "pyworkflow", "PyQt5"} & set(loaded.split())


def test_a_set_is_not_changed_by_looking(sets):
    path = sets[0] / "classes2D.sqlite"
    before = path.read_bytes()
    opened(sets, "classes2D.sqlite").members(1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("what, told", [("text", "is no set of Scipion"), ("another database", "is no set of Scipion"),
                                        ("nothing", "no such file"), ("no items", "the set has no items"),
                                        ("no images", "is no set of images or volumes")])
def test_what_is_no_set_is_told(tmp_path, what, told):
    path = tmp_path / "one.sqlite"
    if what == "text":
        path.write_text("this is no database, by far, and long enough to tell that from an empty one" * 10)
    elif what != "nothing":
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE Properties (key TEXT, value TEXT)")
            if what in ("no items", "no images"):
                database.execute("CREATE TABLE Classes (id INTEGER, label_property TEXT, column_name TEXT, "
                                 "class_name TEXT)")
                database.execute("CREATE TABLE Objects (id INTEGER, enabled INTEGER, c01 FLOAT)")
            if what == "no images":
                database.execute("INSERT INTO Classes VALUES (2, '_x', 'c01', 'Float')")
                database.execute("INSERT INTO Objects VALUES (1, 1, 0.5)")
        database.close()
    with pytest.raises(UserError, match=told):
        scipion_sets.open_set(path)
