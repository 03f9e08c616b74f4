"""The reader of the files of ml_tomo."""
import os

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import read_volume
from mlalign.programs.formats.volumes import open_volumes
from mlalign.programs.geometry3d import pose_matrix3d
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.results import FINAL
from mlalign.programs.simulation_tomo import ANGLES, SHIFTS
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.programs.tomo_fabricate import PIXEL, make_run

ITERATIONS = [0, 1, 2, 3]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("a run"), size=16, count=20, iterations=3, stages=[1, 1, 2])


@pytest.fixture(scope="module")
def run(made):
    return made[0]


def test_names_follow_the_root(tmp_path):
    run = TomoRun(tmp_path / "out" / "nref1")
    names = [run.classes_file(12), run.images_file(12), run.average_path(12, 3), run.wedge_path(12, 3),
             run.classes_file(), run.images_file(), run.average_path(FINAL, 3), run.wedge_path(FINAL, 3), run.log_file]
    assert [str(name)[len(run.oroot):] for name in names] == [
        "_it000012_ref.xmd", "_it000012_img.xmd", "_it000012_ref000003.mrc", "_it000012_wedge000003.mrc",
        "_ref.xmd", "_img.xmd", "_ref000003.mrc", "_wedge000003.mrc", "_run.log"]


@pytest.mark.parametrize("iteration", [FINAL, 0, 7, 1234567])
@pytest.mark.parametrize("root", ["out/nref1", "mltomo", "out/", "an iteration_it7"])
def test_a_file_names_its_run_and_iteration(root, iteration):
    found, number = TomoRun.of_file(TomoRun(root).classes_file(iteration))
    assert found.oroot == root and number == iteration


def test_a_root_that_looks_like_an_iteration():
    assert TomoRun.of_file("a_it000002_it000007_ref.xmd")[0].oroot == "a_it000002"


def test_files_that_are_no_result_of_a_run():
    for path in ("a.star", "out/nref1_img.xmd", "class000001_images@out/nref1_ref.xmd", "classes.xmd"):
        assert TomoRun.of_file(path) is None


def test_what_is_there(run):
    assert run.iterations() == run.checkpoints() == ITERATIONS
    assert run.results() == [*ITERATIONS, FINAL] and run.newest() is FINAL
    assert TomoRun(run.oroot + "_other").iterations() == []
    with pytest.raises(UserError, match=r"_other_ref\.xmd: no such file"):
        TomoRun(run.oroot + "_other").newest()


def test_neighbours_whose_names_begin_alike(tmp_path):
    for root in ("a", "a_it000009", "a[1]"):
        run = TomoRun(tmp_path / root)
        run.classes_file(5).touch()
        assert run.iterations() == [5]


def test_the_final_result_is_outdated_by_later_iterations(tmp_path):
    run = TomoRun(tmp_path / "x")
    for when, iteration in enumerate((1, FINAL, 2)):
        run.classes_file(iteration).touch()
        os.utime(run.classes_file(iteration), ns=(0, 10**9 * (when + 1)))
    assert run.results() == [1, 2]


def test_tables(run, made):
    rows = made[1]
    assert len(run.classes(2)) == 2 and run.info(2)["stage"] == 1 and run.info(3)["stage"] == 2
    assert run.pixel_size() == PIXEL
    np.testing.assert_array_equal(run.images()["missingRegionNumber"], rows["missingRegionNumber"])
    np.testing.assert_array_equal(run.images()["ref"], rows["ref"])         # the final ones are the true ones
    for iteration in (1, FINAL):
        members = [run.members(iteration, ref) for ref in (1, 2)]
        assert [len(table) for table in members] == list(run.classes(iteration)["classCount"])
        assert set(members[1]["ref"]) == {2}
    assert len(run.members(1, 3)) == 0


def test_fsc(run):
    frequency, correlation = run.fsc(3, 2)
    assert frequency[-1] == pytest.approx(0.5 / PIXEL) and correlation[0] == pytest.approx(1)
    assert run.fsc(99, 1) is None
    with pytest.raises(UserError, match="no block data_class_000003"):
        run.fsc(3, 3)


def test_history(run):
    history = run.history()
    np.testing.assert_array_equal(history.iterations, ITERATIONS)
    np.testing.assert_array_equal(history.info["stage"], [1, 1, 1, 2])
    assert (np.diff(history.info["logLikelihood"]) > 0).all() and (np.diff(history.info["angleChange"]) < 0).all()
    assert history.classes["weight"].shape == (4, 2) and history.pixel_size == PIXEL
    with pytest.raises(UserError, match="no iterations yet"):
        TomoRun(run.oroot + "x").history()


def test_unknown_pixel_size(tmp_path):
    run, _ = make_run(tmp_path, size=12, count=4, iterations=1, pixel_size=None)
    assert run.pixel_size() is None and run.fsc(FINAL, 1)[0][-1] == 0.5
    assert (run.classes()["resolution"] == -1).all()


# ---- that what is made up hangs together

def test_fabricated_particles_are_references_in_their_poses(tmp_path):
    """X(p) = F(A (p + shift)), by spline interpolation of the reference."""
    references = phantoms3d(2, 24)
    everything = {5: tomo_fabricate.Region(5, "everything")}
    rows = tomo_fabricate.particles(tmp_path, references, 3, regions=everything, noisy=False)
    volumes = open_volumes(tmp_path / "particles.xmd").read(slice(None))
    poses = pose_matrix3d(*(rows[label] for label in ANGLES), np.stack([rows[label] for label in SHIFTS], -1))
    for volume, matrix, ref in zip(volumes, poses, rows["ref"]):
        linear, offset = matrix[2::-1, 2::-1], matrix[2::-1, 3]
        expected = ndimage.affine_transform(references[ref - 1], linear, 12 + offset - linear @ [12, 12, 12])
        assert np.corrcoef(volume.ravel(), expected.ravel())[0, 1] > 0.98


def test_fabricated_coverage(run, made):
    one, pixel = read_volume(run.wedge_path(FINAL, 1))
    assert pixel == pytest.approx(PIXEL) and one.shape == (16, 16, 16) and one[8, 8, 8] == 1
    rows = {label: values[:1] for label, values in made[1].items()}
    rows.update(dict.fromkeys(ANGLES, np.zeros(1)), missingRegionNumber=np.array([1]))
    wedge = tomo_fabricate.coverage(rows, np.ones(1, bool), tomo_fabricate.REGIONS, 16)
    assert wedge[12, 8, 8] == 0 and wedge[8, 8, 12] == 1            # along the beam, across it
