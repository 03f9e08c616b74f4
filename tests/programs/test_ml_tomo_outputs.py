"""What ml_tomo writes: every file, its labels, and values that the truth and each other bear out."""
import re
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.engine.missing import Region
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry3d import rotation_matrix
from mlalign.tests.programs.measures import correlation
from mlalign.tests.programs.tomo_planted import BOX, COUNT, POSES, VOXEL, TomoOutcome, run_tomo, volumes

OF_ITERATION = ["ref000001.mrc", "ref000002.mrc", "wedge000001.mrc", "wedge000002.mrc", "ref.xmd", "img.xmd"]
INFO = ("iterationNumber logLikelihood pMax sigmaNoise sigmaOffset randomSeed maxres changed angleChange samplingRate "
        "eps seconds angularSampling angSearch workingBox stage").split()


@pytest.fixture(scope="module")
def found(tomo_scene):
    """A run to the end, its poses refined."""
    root = Path(tomo_scene.new_folder("whole")) / "tomo"
    words = [word for word in tomo_scene.words(root) if word not in ("--no_refine", "--no_grow")]
    before = contents(tomo_scene.planted.folder)
    outcome = run_tomo(*words)
    assert contents(tomo_scene.planted.folder) == before        # input is never modified
    return outcome


def contents(folder):
    return {path: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}


def test_all_files_and_no_others(found):
    root = Path(found.oroot)
    expected = {f"{root.name}_{name}" for name in (*OF_ITERATION, "run.log")} | {f"{root.name}.fsc"}
    for iteration in range(3):
        prefix = f"{root.name}_it{iteration:06d}"
        expected |= {f"{prefix}_{name}" for name in (*OF_ITERATION, "log.xmd", "checkpoint.npz")} | {f"{prefix}.fsc"}
    assert {path.name for path in root.parent.iterdir()} == expected


def test_truth_is_recovered(found, tomo_scene):
    scores = found.scores(tomo_scene.planted.truth)
    assert scores["ari"] == 1 and scores["accuracy"] == 1
    assert scores["angle"] < 6 and scores["shift"] < 0.5
    np.testing.assert_array_equal(found.particles["ref"], tomo_scene.planted.truth["ref"])


def test_averages_are_the_references(found, tomo_scene):
    true = volumes(tomo_scene.planted.references)
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    inside = x**2 + y**2 + z**2 < (BOX / 2 - 1) ** 2
    for k in range(2):
        assert correlation(found.averages[k][inside], true[k][inside]) > 0.8
        assert correlation(found.averages[k][inside], true[1 - k][inside]) < 0.6


def test_volumes_have_the_input_s_box_and_voxel(found):
    for ref in (1, 2):
        for path in (found.average_path(None, ref), found.wedge_path(None, ref), found.average_path(1, ref)):
            volume, voxel = read_volume(path)
            assert volume.shape == (BOX,) * 3 and voxel == pytest.approx(VOXEL)


def test_coverage(found):
    """Between 0 and 1, and the share of the members whose wedge, turned with them, holds a frequency."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    length = np.sqrt(x**2 + y**2 + z**2)
    band = (length > 1.5) & (length < 0.3 * BOX - 0.5)
    k = np.stack([x[band], y[band], z[band]]) * (2 * np.pi / BOX)
    for ref, wedge in enumerate(found.wedges(), 1):
        members = found.particles["ref"] == ref
        turned = rotation_matrix(*(found.particles[label][members] for label in POSES[:3])).swapaxes(1, 2) @ k
        expected = np.mean([Region(1, "wedge_y", y=(-60, 60)).observed(*one) for one in turned], axis=0)
        assert wedge.min() >= 0 and wedge.max() <= 1
        assert not wedge[length > 0.3 * BOX + 1].any()
        assert wedge[band].mean() == pytest.approx(expected.mean(), abs=0.02)
        assert correlation(wedge[band], expected) > 0.8             # it has the edges of wedges less sharply


@pytest.mark.parametrize("iteration", [None, 0, 1, 2])
def test_class_tables(iteration, found):
    tables = read_star(found.classes_file(iteration))
    classes, info = tables["classes"], tables["info"]
    assert list(classes.columns) == ["ref", "image", "enabled", "weight", "classCount", "signalChange", "resolution"]
    assert set(info.columns) == set(INFO) and len(info) == 1
    np.testing.assert_array_equal(classes["ref"], [1, 2])
    assert [str(found.average_path(iteration, k)) for k in (1, 2)] == list(classes["image"])
    assert all(Path(name).exists() for name in classes["image"])
    assert classes["weight"].sum() == pytest.approx(1)
    assert info["randomSeed"][0] == 1 and info["samplingRate"][0] == VOXEL and info["workingBox"][0] == BOX
    assert info["angularSampling"][0] == 30 and info["angSearch"][0] == -1 and info["stage"][0] == 1
    assert info["iterationNumber"][0] == (2 if iteration is None else iteration)
    if iteration:
        members = found.images(iteration)["ref"]
        np.testing.assert_array_equal(classes["classCount"], np.bincount(members, minlength=3)[1:])


def test_members_of_the_final_classes(found):
    tables = read_star(f"{found.oroot}_ref.xmd")
    assert list(tables) == ["classes", "info", "class000001_images", "class000002_images"]
    for k in (1, 2):
        rows = found.particles["ref"] == k
        np.testing.assert_array_equal(tables[f"class{k:06d}_images"]["itemId"], found.particles["itemId"][rows])
        np.testing.assert_allclose(tables[f"class{k:06d}_images"]["anglePsi"], found.particles["anglePsi"][rows])


@pytest.mark.parametrize("iteration", [None, 2])
def test_particle_table(iteration, found, tomo_scene):
    given, table = read_star(tomo_scene.planted.particles)["particles"], found.images(iteration)
    labels = ["itemId", "image", "enabled", "missingRegionNumber", *POSES, "ref", "logLikelihood", "pMax",
              "classProbability"]
    assert set(table.columns) == set(labels) and len(table) == COUNT
    np.testing.assert_array_equal(table["itemId"], given["itemId"])
    np.testing.assert_array_equal(table["missingRegionNumber"], 1)
    for label in ("pMax", "classProbability"):
        values = table.numbers(label)
        assert ((values > 0) & (values <= 1)).all()
    assert (table.numbers("classProbability") >= table.numbers("pMax") - 1e-6).all()
    for name, original in zip(table["image"], given["image"]):
        path = Path(name) if Path(name).is_absolute() else Path(found.oroot).parent / name
        assert path.read_bytes() == (tomo_scene.planted.folder / original).read_bytes()


def test_likelihoods_add_up(found):
    for iteration in (1, 2):
        info, table = found.info(iteration), found.images(iteration)
        assert table.numbers("logLikelihood").sum() == pytest.approx(info["logLikelihood"], rel=1e-6)
        assert table.numbers("pMax").mean() == pytest.approx(info["pMax"], rel=1e-4)
    assert found.info(2)["logLikelihood"] > found.info(1)["logLikelihood"]


def test_log_tables(found):
    log = read_star(f"{found.oroot}_it000002_log.xmd")["log"]
    assert log["imageMetaData"][0] == f"{found.oroot}_it000002_img.xmd"
    assert log["referenceMetaData"][0] == f"{found.oroot}_it000002_ref.xmd"
    for label in ("logLikelihood", "pMax", "sigmaNoise", "sigmaOffset", "iterationNumber"):
        assert log[label][0] == pytest.approx(found.info(2)[label])


def test_shell_correlations(found):
    for iteration in (None, 2):
        for ref in (1, 2):
            frequency, fsc = found.fsc(iteration, ref)
            assert (np.diff(frequency) > 0).all() and frequency[-1] <= 0.3 / VOXEL * 1.001
            assert (np.abs(fsc) <= 1 + 1e-6).all() and fsc[len(fsc) // 4 : len(fsc) // 2].mean() > 0.6
            below = np.flatnonzero(fsc < 0.5)
            edge = frequency[below[0] if len(below) else -1]
            assert 1 / found.classes(iteration)["resolution"][ref - 1] <= edge * 1.001


def test_noise_and_shifts_are_estimated(found):
    info = found.info(2)
    assert info["sigmaOffset"] == pytest.approx(0.7, abs=0.25)
    assert 1 < info["sigmaNoise"] < 1.5         # what the coarse grid misses of the signal is noise to it


def test_refining_brings_poses_nearer_the_truth(found, tomo_scene):
    on_grid = TomoOutcome(found.oroot)
    on_grid.particles = found.images(2)
    before, after = (outcome.scores(tomo_scene.planted.truth) for outcome in (on_grid, found))
    assert after["angle"] < 0.6 * before["angle"] and after["shift"] < before["shift"]
    assert correlation(found.averages, volumes(tomo_scene.planted.references)) > 0.85


def test_the_log_that_people_read(found):
    assert re.search(rf"{COUNT} volumes of {BOX} voxels, 2 references, 1 missing regions, random seed 1", found.log)
    assert len(re.findall(r"iteration +\d+: to ", found.log)) == 3
    assert "refining" in found.log and found.log.rstrip().endswith("_ref.xmd")
