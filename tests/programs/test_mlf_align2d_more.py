"""Options of mlf_align2d that look at how well the model describes the images, and that limit the search."""
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs import mlf2d, mlf_align2d
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry import pose_matrix
from mlalign.tests.programs.conftest import Outcome, Planted

OPTIONS = "--mirror --fast --fix_high 9"


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """240 images of 32 px, three classes, CTFs, coloured noise; 24 images of noise twice as strong."""
    return Planted(tmp_path_factory.mktemp("planted"), "--views 3 -n 240 --box 32 --mirror --snr 0.2 --offset 1.5 "
                   "--defocus 9000 20000 --astigmatism 900 --noise_fall 5 --phase_flip --outliers 0.1 "
                   "--outlier_noise 2")


@pytest.fixture(scope="module")
def run(particles, tmp_path_factory):
    """``run("--iter 2")`` runs on the planted images from their true references; runs are shared."""
    runs = {}

    def started(options, oroot=None):
        if (options, oroot) not in runs:
            arguments = mlf_align2d.parser().parse_args([
                "-i", particles.star, "--ref", particles.references, "--random_seed", "1", *options.split(),
                "--oroot", str(oroot or tmp_path_factory.mktemp("run") / "mlf2d_")])
            mlf2d.run(arguments)
            runs[options, oroot] = Outcome(arguments.oroot)
        return runs[options, oroot]

    return started


def images_of(outcome, iteration=None):
    return read_star(f"{outcome.prefix(iteration)}images.xmd")["particles"]


# ---- the residuals

def test_kstest_tells_outliers(particles, run):
    found = run(f"{OPTIONS} --iter 3 --kstest --student")
    probability, outlier = found.images.numbers("kstest"), particles.truth["ref"] == 0
    assert (probability[outlier] < 1e-3).mean() > 0.9
    assert (probability[~outlier] > 0.05).mean() > 0.85 and np.median(probability[~outlier]) > 0.3


def test_kstest_is_written_in_every_iteration_and_with_every_class(run):
    found = run(f"{OPTIONS} --iter 3 --kstest --student")
    before, last = images_of(found, 1).numbers("kstest"), images_of(found, 3).numbers("kstest")
    assert not np.array_equal(before, last)
    np.testing.assert_array_equal(found.images.numbers("kstest"), last)
    members = read_star(f"{found.oroot}classes.xmd")["class000002_images"]
    np.testing.assert_array_equal(members.numbers("kstest"), last[found.images["ref"] == 2])


def test_kstest_changes_nothing_else(run):
    tested, plain = run(f"{OPTIONS} --iter 2 --kstest"), run(f"{OPTIONS} --iter 2")
    assert "kstest" not in plain.images and set(tested.images.columns) == {*plain.images.columns, "kstest"}
    np.testing.assert_array_equal(tested.averages, plain.averages)


def test_iter_histogram(run):
    found = run(f"{OPTIONS} --iter 3 --iter_histogram 2")
    written = [i for i in found.iterations() if Path(f"{found.prefix(i)}avg.hist.log").exists()]
    assert written == [2] and Path(f"{found.prefix(2)}resol.hist").exists()
    _, density, normal = np.loadtxt(f"{found.prefix(2)}avg.hist.log").T
    assert np.abs(density - normal).max() < 0.05
    frequency, mean, variance, _ = np.loadtxt(f"{found.prefix(2)}resol.hist").T
    assert frequency[-1] == pytest.approx(1 / 3, abs=1 / 32)             # 9 Å at 3 Å/px
    assert np.abs(mean).max() < 0.1 and np.abs(variance - 1).max() < 0.2


def test_iter_histogram_is_not_written_unless_asked(run):
    found = run(f"{OPTIONS} --iter 2")
    assert not list(Path(f"{found.oroot}extra").rglob("*hist*"))


# ---- searches near where particles were found

def steps(outcome, iteration):
    """How far the particles' centres moved in their images (N,) from the iteration before to this one, in pixels."""
    places = []
    for i in (iteration - 1, iteration):
        table = images_of(outcome, i)
        pose = pose_matrix(*(table.numbers(label) for label in ("anglePsi", "shiftX", "shiftY", "flip")))
        places.append(np.linalg.inv(pose)[:, :2, 2])
    return np.hypot(*(places[1] - places[0]).T)


@pytest.mark.parametrize("search", ["", "--fast", "--student", "--norm", "--fast --norm --student 4"])
def test_search_shift_limits_steps_from_the_second_iteration_on(run, search):
    """Started from references that say little, so that particles are far from settled."""
    options = f"--mirror {search} --fix_high 16 --psi_step 10 --max_shift 5 --eps 0 --iter 3"
    found, free = run(f"{options} --search_shift 1"), run(options)
    assert free.info(2)["logLikelihood"] >= found.info(2)["logLikelihood"]
    np.testing.assert_array_equal(images_of(found, 1).numbers("anglePsi"), images_of(free, 1).numbers("anglePsi"))
    for iteration in (2, 3):
        assert steps(found, iteration).max() <= 1.3              # a mean over cells, each of them within one pixel
    assert max(steps(free, iteration).max() for iteration in (2, 3)) > 2


@pytest.mark.parametrize("search", ["", "--fast"])
def test_a_huge_search_shift_changes_no_bit(run, search):
    options = f"--mirror {search} --fix_high 9 --iter 3"
    found, free = run(f"{options} --search_shift 1000"), run(options)
    np.testing.assert_array_equal(found.averages, free.averages)
    for label, column in free.images.columns.items():
        np.testing.assert_array_equal(found.images.columns[label], column)


def test_search_shift_continues_as_if_never_stopped(run, tmp_path):
    options = f"{OPTIONS} --search_shift 2"
    whole = run(f"{options} --iter 4")
    run(f"{options} --iter 2", oroot=tmp_path / "mlf2d_")
    resumed = run(f"{options} --iter 4 --continue", oroot=tmp_path / "mlf2d_")
    np.testing.assert_array_equal(resumed.averages, whole.averages)
    np.testing.assert_array_equal(resumed.images["shiftX"], whole.images["shiftX"])


def test_search_shift_below_a_pixel_is_refused(capsys):
    with pytest.raises(SystemExit) as stopped:
        mlf_align2d.parser().parse_args(["-i", "x.star", "--search_shift", "0.5"])
    assert stopped.value.code == 2 and "--search_shift: 0.5 is out of range" in capsys.readouterr().err
