"""Going on with refine2d after it was stopped, with the same or other options; and in several processes."""
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mlalign.programs import msa2d, refine2d
from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import HdfStack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.scoring import adjusted_rand_index
from mlalign.tests.programs.conftest import PIXEL, pixels
from mlalign.tests.programs.in_ranks import WILLING
from mlalign.tests.programs.refine2d_scene import QUICK, Classified, Scene, run_refine2d, same


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def planted(scene):
    return scene.planted


@pytest.fixture
def goes_on(scene, planted, tmp_path):
    """``goes_on(options)``: a copy of a run of one cycle, resumed."""
    def run(options, source=planted.star, base=QUICK, earlier=""):
        if not (tmp_path / "out").exists():
            shutil.copytree(scene.classified(earlier).path, tmp_path / "out")
        return run_refine2d(source, tmp_path / "out", f"{base} {options} --resume")
    return run


class Stopped(Exception):
    """In place of a signal."""


def test_a_continued_run_is_an_uninterrupted_one(scene, goes_on):
    whole, run = scene.classified("--iter 3"), goes_on("--iter 3")
    assert "continuing after cycle 1" in run.log and run.iterations() == [1, 2, 3]
    assert same(run, whole) and run.column("meanCC") == whole.column("meanCC")
    assert {path.name for path in run.path.iterdir()} == {path.name for path in whole.path.iterdir()}
    for name in ("classes.mrcs", "frc.xmd", "classmx_03.hdf", "simmx_02.hdf", "input_03_proj.hdf", "basis_03.hdf"):
        assert (run.path / name).read_bytes() == (whole.path / name).read_bytes()


@pytest.mark.parametrize("where", ["write_alignment", "write_iteration", "save_checkpoint", "publish"])
def test_a_run_stopped_anywhere_goes_on(scene, planted, tmp_path, monkeypatch, where):
    """In the middle of the second cycle, after its classes, before its checkpoint, and at the very end."""
    work = getattr(msa2d.Msa2dFiles, where)

    def stops(files, number, *arguments):
        if number == 2:
            raise Stopped
        work(files, number, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(msa2d.Msa2dFiles, where, stops)
        with pytest.raises(Stopped):
            run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --iter 2")
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --iter 2 --resume")
    assert f"continuing after cycle {2 if where == 'publish' else 1}" in run.log
    assert same(run, scene.classified("--iter 2"))


def test_a_finished_run_is_not_changed(scene, goes_on):
    run = goes_on("")
    assert "continuing after cycle 1" in run.log and run.iterations() == [1] and same(run, scene.classified())


def test_what_later_cycles_left_is_removed(scene, planted, tmp_path):
    """A cycle whose checkpoint is gone is done again, and nothing of it stays if it is not."""
    shutil.copytree(scene.classified("--iter 3").path, tmp_path / "out")
    for number in (2, 3):
        (tmp_path / f"out/extra/iter{number:03d}/iter_checkpoint.npz").unlink()
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --iter 1 --resume")
    assert not [path.name for path in run.path.iterdir() if "_02" in path.name or "_03" in path.name]
    assert run.iterations() == [1] and run.info()["iterationNumber"] == 1
    assert same(run, scene.classified())


def test_nothing_to_resume(scene, planted, tmp_path):
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --resume")
    assert "nothing to resume in" in run.log and "starting anew" in run.log and same(run, scene.classified())


def test_a_run_stopped_before_its_first_cycle_ended(scene, planted, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/0_refine2d_parms.json").write_text("{}")
    (tmp_path / "out/allrefs_01.hdf").write_text("half")
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"out: has a run of refine2d already, expected another --path, or --resume"):
        run_refine2d(planted.star, tmp_path / "out")
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --resume")
    assert same(run, scene.classified()) and (tmp_path / "out/notes.txt").read_text() == "mine"


def test_other_options_are_allowed(goes_on, planted):
    options = "--iter 2 --simcmp frc --naliref 3 --nbasisfp 2 --normproj --classkeep 0.5 --thr 2 --center nocenter"
    run = goes_on(options)
    assert run.iterations() == [1, 2] and HdfStack(run.path / "simmx_02.hdf").shape == (6, 240, 3)
    assert HdfStack(run.path / "input_02_proj.hdf").shape == (1, 240, 6)
    assert run.images["used"].mean() < 0.6
    assert '"naliref": 3' in (run.path / "0_refine2d_parms.json").read_text()
    assert run.info()["randomSeed"] == 1


@pytest.mark.parametrize("count", [3, 10])
def test_another_number_of_classes(goes_on, planted, count):
    run = goes_on(f"--iter 2 --ncls {count}")
    assert len(run.averages) == len(run.classes()) == count and len(run.classes(1)) == 6
    assert set(run.images["ref"]) == set(range(1, count + 1)) and run.column("changed")[1] == 1
    assert HdfStack(run.path / "basis_02.hdf").shape[0] == 6                    # from the six averages that there were
    if count > 6:
        assert adjusted_rand_index(planted.truth, run.images.columns) > 0.6


def test_an_earlier_end_is_kept_to(scene, goes_on):
    """With --eps a run that has ended has ended, until a smaller share is asked for."""
    ended = scene.classified("--iter 3 --eps 0.9")
    assert ended.iterations() == [1] and "stops: at most 90 % of the particles changed class" in ended.log
    run = goes_on("--iter 3 --eps 0.9", earlier="--iter 3 --eps 0.9")
    assert run.iterations() == [1] and same(run, ended)
    assert goes_on("--iter 2").iterations() == [1, 2]


def test_a_run_of_other_particles_is_not_resumed(goes_on, planted, tmp_path):
    with pytest.raises(UserError, match=r"--continue: the run under .* classified other particles, expected .*other"):
        write_stack(tmp_path / "other.mrcs", pixels(planted.stack)[::-1], PIXEL)
        goes_on("", tmp_path / "other.mrcs")
    with pytest.raises(UserError, match=r"the run under .* has 240 particles, expected 200 as now asked for"):
        write_stack(tmp_path / "fewer.mrcs", pixels(planted.stack)[:200], PIXEL)
        goes_on("", tmp_path / "fewer.mrcs")
    with pytest.raises(UserError, match=r"has 11.0 px of radius, expected 9.0 as now asked for"):
        goes_on("--radius 9")


def test_other_particles_left_out_are_other_particles(goes_on, planted, tmp_path):
    """Classes would go to the wrong ones, if they are as many."""
    for name, numbers in (("first", "0 1 2"), ("other", "3 4 5")):
        (tmp_path / name).write_text(numbers)
    run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --exclude {tmp_path / 'first'}")
    with pytest.raises(UserError, match="classified other particles"):
        goes_on(f"--exclude {tmp_path / 'other'}")
    assert goes_on(f"--iter 2 --exclude {tmp_path / 'first'}").iterations() == [1, 2]


def test_without_a_folder_the_last_run_goes_on(scene, planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(scene.classified().path, "r2d_03")
    refine2d.main(["--input", planted.star, *QUICK.split(), "--iter", "2", "--continue"])
    assert (tmp_path / "r2d_03/classes_02.hdf").exists() and not (tmp_path / "r2d_04").exists()


def test_a_terminated_run_says_how_to_go_on(planted, tmp_path):
    """A signal in the middle: exit status 143, and what was finished is there."""
    command = [sys.executable, "-m", "mlalign.programs.refine2d", "--input", planted.star, "--path", tmp_path / "out",
               *QUICK.split(), "--iter", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not process.stdout.readline().startswith("cycle   2"):
            assert process.poll() is None
        process.terminate()
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert error == "refine2d: terminated; --resume goes on after the last finished cycle\n"
    checkpoints = sorted((tmp_path / "out/extra").glob("iter*/iter_checkpoint.npz"))
    assert len(checkpoints) >= 2 and not list((tmp_path / "out").rglob("*.tmp"))


def test_two_processes_find_what_one_finds(scene, planted, tmp_path):
    alone = scene.classified()
    command = [sys.executable, "-m", "mlalign.programs.refine2d", "--input", planted.star, "--path", tmp_path / "out",
               *QUICK.split(), "--parallel", "mpi:2:scratch"]
    subprocess.run(command, env={**os.environ, **WILLING}, check=True, capture_output=True, timeout=120)
    both = Classified(tmp_path / "out")
    # sums that are rounded differently may decide where a particle goes
    assert adjusted_rand_index(alone.images.columns, both.images.columns) > 0.8
    assert adjusted_rand_index(planted.truth, both.images.columns) > 0.8


def test_mpi_without_its_library_is_an_error(planted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(UserError, match=r"mpi4py cannot be used .*expected `pip install mpi4py`"):
        run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --parallel mpi:2")
    monkeypatch.setattr(refine2d, "mpirun", lambda: None)
    arguments = refine2d.parser().parse_args(["--input", planted.star, "--parallel", "mpi:2"])
    with pytest.raises(UserError, match=r"--parallel mpi:2: no mpirun found, expected an installed MPI"):
        refine2d._start_processes(arguments, [])


def test_cycles_are_whole(scene):
    """Each cycle's tables belong to its averages."""
    run = scene.classified("--iter 3")
    for cycle in run.iterations():
        averages = run.eman_averages(cycle)
        for k in range(6):
            members = np.sort(np.concatenate([averages.members[k], averages.excluded[k]]))
            assert (np.flatnonzero(run.classmx(cycle).ref == k) == members).all()
