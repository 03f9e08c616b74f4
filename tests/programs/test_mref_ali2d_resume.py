"""Going on with mref_ali2d: in the same folder, in another one, and in several processes."""
import shutil
import sys

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import HdfStack
from mlalign.tests.programs.conftest import pixels
from mlalign.tests.programs.in_ranks import in_ranks
from mlalign.tests.programs.mref_scene import SEARCH, Scene, near, run_mref, same


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


def test_a_continued_run_is_an_uninterrupted_one(scene, tmp_path):
    whole = scene.aligned("--maxit 4 --min_class 60")           # classes begin anew: random numbers go on, too
    shutil.copytree(scene.aligned("--maxit 2 --min_class 60").outdir, tmp_path / "out")
    planted = scene.planted
    run = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 4 --min_class 60 --continue")
    assert "continuing after iteration 2" in run.log and run.iterations() == [1, 2, 3, 4]
    assert same(run, whole) and (run.averages == whole.averages).all()
    assert (run.references(3) == whole.references(3)).all()
    assert run.column("meanCC") == whole.column("meanCC")


@pytest.mark.parametrize("headers", [False, True])
def test_going_on_in_another_folder_from_references_and_poses(scene, tmp_path, headers):
    """As in the original's documentation: the last references, and the particles with what is known of them."""
    planted, whole = scene.planted, scene.aligned("--maxit 4")
    copy = tmp_path / "copy.hdf"
    first = run_mref(planted.star, planted.references, tmp_path / "first",
                     f"{SEARCH} --maxit 2 --write_headers {copy}")
    second = run_mref(copy if headers else first.outdir / "images.xmd", first.outdir / "aqm001.hdf",
                      tmp_path / "second", f"{SEARCH} --maxit 2")
    if headers:         # which hold poses in single precision
        assert near(second.references(1), whole.references(3), 1e-5)
    else:
        assert same(second, whole) and (second.references(1) == whole.references(3)).all()


def test_what_a_killed_run_left_is_done_again(scene, tmp_path):
    whole = scene.aligned("--maxit 4")
    shutil.copytree(whole.outdir, tmp_path / "out")
    (tmp_path / "out/extra/iter004/iter_checkpoint.npz").unlink()
    planted = scene.planted
    run = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 4 --continue")
    assert "continuing after iteration 3" in run.log and same(run, whole)


def test_nothing_to_continue(scene, tmp_path):
    planted = scene.planted
    run = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 1 --continue")
    assert "nothing to continue" in run.log and run.iterations() == [1]
    again = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 1 --continue")
    assert again.iterations() == [1]


def test_a_run_of_other_images_is_not_continued(scene, tmp_path):
    planted = scene.planted
    shutil.copytree(scene.aligned().outdir, tmp_path / "out")
    with pytest.raises(UserError, match=r"--continue: the run under .* classified other images, expected .*particles"):
        other = planted.altered(tmp_path, pixels(planted.stack)[::-1])
        run_mref(other, planted.references, tmp_path / "out", f"{SEARCH} --continue")
    with pytest.raises(UserError, match=r"--continue: the run under .* has 3 references, expected 2 as now asked for"):
        run_mref(planted.star, f"fewer@{two_references(planted, tmp_path)}", tmp_path / "out", f"{SEARCH} --continue")


def two_references(planted, folder):
    path = folder / "two.star"
    path.write_text(f"data_fewer\nloop_\n_image\n1@{planted.references}\n2@{planted.references}\n")
    return path


def test_two_processes_find_what_one_finds(scene, tmp_path):
    planted, alone = scene.planted, scene.aligned("--maxit 2")
    words = "mref_ali2d", planted.star, planted.references, tmp_path / "out", *SEARCH.split(), "--maxit", "2"
    in_ranks(2, *words)
    references = HdfStack(tmp_path / "out/aqm001.hdf").read(slice(None))
    assert near(references, alone.references(1), 1e-4)
    assert "exists already" in in_ranks(2, *words, "--MPI", status=2)       # what the original wanted to be told


def test_mpi_without_its_library_is_an_error(scene, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    planted = scene.planted
    with pytest.raises(UserError, match=r"--MPI: mpi4py cannot be used .*expected `pip install mpi4py`"):
        run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --MPI")


def test_iterations_are_whole(scene):
    """Each iteration's tables belong to its averages: the members' numbers are those of the HDF header."""
    run = scene.aligned()
    for iteration in run.iterations():
        stack = HdfStack(run.outdir / f"aqm{iteration - 1:03d}.hdf")
        for k in range(3):
            members = run.members(iteration, k + 1)["itemId"] - 1
            assert np.array_equal(stack.attributes(k)["members"], members)
