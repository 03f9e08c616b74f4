"""The maximum-likelihood programs in several processes: the same answers, whatever their number; and how they end."""
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from mlalign.programs.formats.mrc import write_volume
from mlalign.tests.programs.conftest import Outcome, pixels
from mlalign.tests.programs.in_ranks import WILLING, command, in_ranks
from mlalign.tests.programs.tomo_planted import VOXEL, TomoOutcome, run_tomo

QUICK = "--random_seed 1 --mirror --iter 1"
PATIENCE = 60         # seconds
FEW = "--views 2 -n 60 --mirror --offset 1 --seed 5"
SMALL = {"ml_align2d": f"{FEW} --box 16 --snr 0.5", "mlf_align2d":
         f"{FEW} --box 24 --snr 0.5 --defocus 9000 20000 --astigmatism 900 --noise_fall 8 --phase_flip"}
# what each takes along: random starts and moves of classes, grey scales, blocks, all probabilities; averages without
# their CTF, tests of residuals
CASES = [("ml_align2d", 2, "--nref 2 --fast --restarts 2"),
         ("ml_align2d", 4, "--ref references --norm --iem 2 --write_probs"),
         ("mlf_align2d", 2, "--ref references --ctf_affected_refs --fast --norm --kstest")]


@pytest.fixture
def scene_of(scenes):
    return lambda program="ml_align2d": scenes(program, SMALL[program])


def same_poses(found, expected, tolerance):
    """As rounding allows: equal classes, and angles (0 = 360), shifts and likelihoods that differ that little."""
    assert (found["ref"] == expected["ref"]).all()
    for label in ("shiftX", "shiftY", "classProbability"):
        np.testing.assert_allclose(found[label], expected[label], atol=tolerance)
    turned = np.abs(found["anglePsi"] - expected["anglePsi"])
    assert np.minimum(turned, 360 - turned).max() < 20 * tolerance
    np.testing.assert_allclose(found["logLikelihood"], expected["logLikelihood"], atol=20 * tolerance)


@pytest.mark.parametrize("program, processes, options", CASES)
def test_processes_find_what_one_finds(scene_of, tmp_path, program, processes, options):
    scene = scene_of(program)
    others = options.replace("--ref references", "")
    alone = scene.classified(f"{others} {QUICK}", references="" if "--nref" in options else None)
    words = options.replace("references", scene.planted.references).split()
    in_ranks(processes, program, "-i", scene.planted.star, *words, *QUICK.split(), "--oroot", f"{tmp_path}/run_")
    shared = Outcome(f"{tmp_path}/run_")
    same_poses(shared.images, alone.images, 2e-3)
    assert np.abs(shared.averages - alone.averages).max() < 1e-4 * np.abs(alone.averages).max()
    assert shared.iterations() == alone.iterations()
    assert f"shared by {processes} processes" in shared.log and "processes: the first sent" in shared.log
    if "--write_probs" in options:
        for label, column in alone.probabilities.columns.items():
            np.testing.assert_allclose(shared.probabilities[label], column, atol=1e-3)
    if "--kstest" in options:
        np.testing.assert_allclose(shared.images["kstest"], alone.images["kstest"], atol=0.02)


@pytest.mark.parametrize("processes, options", [
    (2, "--nref 2 --restarts 1 --iter 1 --ang 40 --maxres 0.25 --half_sets --reg0 2 --limit_trans 1 --dim 12"),
    (3, "--ref references --dont_align --mask mask --iter 1 --maxres 0.3")])
def test_processes_find_the_same_volumes(tomo_scene, tmp_path, processes, options):
    planted = tomo_scene.planted
    files = {"references": planted.references, "mask": mask_of(planted, tmp_path / "mask.mrc")}
    words = ["-i", planted.true, "--missing", planted.missing, "--random_seed", "1",
             *(files.get(word, word) for word in options.split()), "--oroot"]
    in_ranks(processes, "ml_tomo", *words, tmp_path / "shared")
    alone, shared = run_tomo(*words, tmp_path / "alone"), TomoOutcome(str(tmp_path / "shared"))
    assert f"shared by {processes} processes" in shared.log and "shared by" not in alone.log
    assert np.abs(shared.averages - alone.averages).max() < 1e-4 * np.abs(alone.averages).max()
    for label in ("shiftX", "shiftY", "shiftZ", "pMax"):
        np.testing.assert_allclose(shared.particles[label], alone.particles[label], atol=1e-3)
    assert (shared.particles["ref"] == alone.particles["ref"]).all()


def mask_of(planted, path):
    """A mask of the right half of the box."""
    mask = np.zeros_like(planted.volumes[0])
    mask[..., mask.shape[-1] // 2 :] = 1
    write_volume(path, mask, VOXEL)
    return str(path)


def test_a_killed_process_ends_all_and_the_run_goes_on_with_others(scene_of, tmp_path):
    """However many there are then."""
    scene = scene_of()
    options = f"--ref {scene.planted.references} --mirror --random_seed 1 --eps 0 --maxres 0.3"
    words = "ml_align2d", "-i", scene.planted.star, *options.split(), "--oroot", f"{tmp_path}/run_"
    run = Outcome(f"{tmp_path}/run_")
    with subprocess.Popen(command(3, *words, "--iter", "100000"), env={**os.environ, **WILLING}, text=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True) as started:
        wait_for(lambda: len(run.iterations()) > 2)
        numbers = run.log.split("shared by 3 processes (")[1].split(")")[0].split(": ")[1].split()
        os.kill(int(numbers[1]), signal.SIGKILL)
        assert started.wait(PATIENCE) != 0
    wait_for(lambda: not any(os.path.exists(f"/proc/{number}") for number in numbers))
    done = run.checkpoints()[-1]            # its last iteration may have left averages, and died before its checkpoint
    last = done + 1
    in_ranks(2, *words, "--continue", "--iter", last)
    assert f"continuing after iteration {done}" in run.log
    alone = scene.classified(f"--mirror --eps 0 --maxres 0.3 --iter {last}")
    same_poses(Outcome(f"{tmp_path}/run_").images, alone.images, 2e-3)


def wait_for(condition):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() < begun + PATIENCE
        time.sleep(0.05)


# ---- what goes wrong is said once, and nothing is written twice

def test_an_error_that_all_meet_is_told_once(tmp_path):
    error = in_ranks(2, "ml_align2d", "-i", tmp_path / "nothing.star", "--nref", "2", status=2)
    assert error.count("ml_align2d: error: cannot read") == 1
    error = in_ranks(2, "ml_align2d", "-i", tmp_path / "nothing.star", "--nerf", "2", status=2)
    assert error.count("ml_align2d: error: unrecognized arguments: --nerf") == 1


def test_an_error_of_one_process_ends_all(scene_of, tmp_path):
    planted = scene_of().planted
    images = pixels(planted.stack)
    images[-1] = np.nan                                     # in the last one's share
    error = in_ranks(2, "ml_align2d", "-i", planted.altered(tmp_path, images), "--nref", "2", "--oroot",
                     f"{tmp_path}/run_", status=2)
    assert error.count("the image holds NaN or Inf") == 1


def test_programs_of_one_process_refuse_several(tmp_path):
    error = in_ranks(2, "simulate", "-o", f"{tmp_path}/", status=2)
    assert error.count("simulate is a matter of one process") == 1 and not list(tmp_path.iterdir())


def test_mpirun_without_mpi4py_is_an_error(scene_of, tmp_path):
    (tmp_path / "mpi4py.py").write_text("raise ImportError('not for this test')")
    error = in_ranks(2, "ml_align2d", "-i", scene_of().planted.star, "--nref", "2", "--oroot",
                     f"{tmp_path}/run_", status=2, PYTHONPATH=str(tmp_path))
    assert error.count("mpi4py cannot be used (not for this test), expected `pip install mpi4py`") == 1
    assert not list(tmp_path.glob("run_*"))


def test_processes_that_cannot_see_each_other_are_an_error(scene_of, tmp_path):
    """As under another MPI's launcher: they would all write the same files."""
    told = {"PMI_SIZE": "2", "PMI_RANK": "0", "MPI_LOCALRANKID": "0"}
    words = command(1, "ml_align2d", "-i", scene_of().planted.star, "--nref", "2", "--oroot",
                    f"{tmp_path}/run_")[3:]
    alone = subprocess.run(words, env={**os.environ, "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", **told},
                           text=True, capture_output=True)
    assert alone.returncode == 2 and "the mpirun of another MPI" in alone.stderr


def test_without_mpirun_mpi_is_not_imported(scene_of, tmp_path):
    words = ["-i", scene_of().planted.star, "--ref", scene_of().planted.references, "--iter", "0",
             "--oroot", f"{tmp_path}/run_", "--maxres", "0.25"]
    code = f"import sys; from mlalign.programs import ml_align2d; ml_align2d.main({words!r}); print(*sys.modules)"
    told = subprocess.run([*command(1)[3:4], "-c", code], text=True, capture_output=True, check=True).stdout
    assert "mlalign.programs.engine.parallel" in told and "mpi4py" not in told
