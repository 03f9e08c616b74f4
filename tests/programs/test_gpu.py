"""Whole runs with --gpu, on a stand-in for CuPy, against those without; and what is said when there is no GPU."""
import sys

import numpy as np
import pytest

from mlalign.programs import ml_tomo
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import PROGRAMS, Outcome, run_program
from mlalign.tests.programs.engine.strict_cupy import StrictCupy, install
from mlalign.tests.programs.in_ranks import in_ranks
from mlalign.tests.programs.measures import correlation
from mlalign.tests.programs.test_ml_align2d_errors import the_line
from mlalign.tests.programs.tomo_planted import POSES

pytestmark = pytest.mark.programs(*PROGRAMS)


@pytest.fixture
def cupy(monkeypatch):
    """The stand-in, installed."""
    module = StrictCupy(gpus=2)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def same(found, expected, nats=1e-2):
    """The same classification: likelihoods of every iteration, classes, poses, averages, up to rounding."""
    assert found.iterations() == expected.iterations()
    np.testing.assert_allclose(found.column("logLikelihood"), expected.column("logLikelihood"), atol=nats)
    np.testing.assert_array_equal(found.images["ref"], expected.images["ref"])
    np.testing.assert_array_equal(found.images["flip"], expected.images["flip"])
    turn = np.abs(found.images.numbers("anglePsi") - expected.images.numbers("anglePsi"))
    assert np.minimum(turn, 360 - turn).max() < 0.05
    for label in ("shiftX", "shiftY"):
        np.testing.assert_allclose(found.images.numbers(label), expected.images.numbers(label), atol=0.01)
    for one, other in zip(found.averages, expected.averages):
        assert correlation(one, other) > 1 - 1e-6


@pytest.mark.parametrize("options", ["--mirror --maxres 0.3 --iter 3", "--mirror --student --norm --iter 4 --thr 2"])
def test_a_gpu_changes_nothing(classified, cupy, options):
    before = cupy.made
    found = classified(f"{options} --gpu 1")
    assert cupy.made > before and cupy.current == 1 and "on GPU 1 (stand-in)" in found.log
    same(found, classified(options))


def test_fast_searches_everything_at_once(planted, classified, cupy):
    """Once the resolution has grown beyond what is quick, as exact runs do from there on."""
    found = classified("--mirror --fast --iter 7 --gpu 0,1")
    assert found.info()["maxres"] > found.info(0)["maxres"]
    assert score(planted.truth, found.images.columns)["ari"] > 0.9


@pytest.mark.programs("ml_align2d")
def test_a_run_goes_on_with_or_without_the_gpu(classified, planted, cupy, tmp_path):
    whole = classified("--mirror --maxres 0.3 --iter 3")
    words = ["-i", planted.star, "--ref", planted.references, "--random_seed", 1, "--mirror", "--maxres", 0.3]
    for more in (["--iter", 1, "--gpu", 0], ["--iter", 2, "--continue"], ["--iter", 3, "--continue", "--gpu", 0]):
        found = run_program(*words, "--oroot", tmp_path / "ml2d_", *more)
    same(found, whole)


@pytest.mark.programs("ml_align2d")
def test_processes_take_a_gpu_each(planted, classified, tmp_path):
    """From the command line, where the stand-in is a module on the path."""
    install(tmp_path)
    in_ranks(2, "ml_align2d", "-i", planted.star, "--ref", planted.references, "--random_seed", 1, "--mirror",
             "--maxres", 0.3, "--iter", 3, "--oroot", tmp_path / "ml2d_", "--gpu", "2,0", PYTHONPATH=str(tmp_path))
    assert {path.name for path in tmp_path.glob("gpu*")} == {"gpu0", "gpu2"}
    same(Outcome(f"{tmp_path}/ml2d_"), classified("--mirror --maxres 0.3 --iter 3"))


@pytest.fixture
def error(program, planted, tmp_path, capfd):
    """The message of a run that fails."""
    def run(*options):
        with pytest.raises(SystemExit) as stop:
            PROGRAMS[program][0].main(["-i", planted.star, "--oroot", f"{tmp_path}/ml2d_", *options])
        assert stop.value.code == 2
        return the_line(program, capfd.readouterr().err)
    return run


def test_errors(error, cupy, monkeypatch, tmp_path):
    for text in ("x", "-1", "0,", "0 1", "1.5", ""):
        assert "--gpu" in error(f"--gpu={text}")
    assert "--gpu 2: no such GPU" in error("--gpu", "2")
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "pip install 'cupy-cuda12x<14'" in error("--gpu", "0")
    assert not any(tmp_path.iterdir())
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    cupy.free = 1000
    assert "not enough memory on the GPU" in error("--gpu", "0", "--nref", "2")
    assert not list(tmp_path.glob("*classes*"))


# ---- subtomograms

@pytest.mark.parametrize("options", ["", "--maxCC --dont_impute"])
def test_subtomograms(tomo_scene, cupy, options):
    before = cupy.made
    found, expected = (tomo_scene.classified(f"{options} {more}") for more in ("--gpu 1 --thr 2", ""))
    assert cupy.made > before and "on GPU 1 (stand-in)" in found.log
    one, other = found.particles, expected.particles
    np.testing.assert_array_equal(one["ref"], other["ref"])
    for label in POSES:
        np.testing.assert_allclose(one.numbers(label), other.numbers(label), atol=0.01, err_msg=label)
    np.testing.assert_allclose(found.averages, expected.averages, atol=1e-3 * np.abs(expected.averages).max())
    assert found.info()["logLikelihood"] == pytest.approx(expected.info()["logLikelihood"], rel=1e-5)


def test_errors_of_ml_tomo(tomo_scene, monkeypatch, tmp_path, capfd):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(SystemExit) as stop:
        ml_tomo.main(["-i", tomo_scene.planted.particles, "--missing", tomo_scene.planted.missing, "--nref", "1",
                      "--oroot", f"{tmp_path}/out", "--gpu", "0"])
    assert stop.value.code == 2 and not any(tmp_path.iterdir())
    assert "pip install 'cupy-cuda12x<14'" in the_line("ml_tomo", capfd.readouterr().err)
