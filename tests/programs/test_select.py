"""mlalign select: what it writes, moves, prints and refuses."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs import select, selection
from mlalign.programs.centring import centre, centring_shift, moved, moved_poses
from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images, open_stack
from mlalign.programs.formats.mrc import open_mrc_volumes
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.geometry3d import pose_matrix3d
from mlalign.programs.phantoms import ball, phantoms
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.ranking import rank
from mlalign.programs.results import FINAL
from mlalign.programs.tomo_results import TomoRun
from mlalign.tests.programs import tomo_fabricate
from mlalign.tests.viewers import fabricate

SIZE = 32
OFF = (2.3, -1.6)           # px, where the particle of class 2 is


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    references = 2 * phantoms(3, SIZE)
    references[1] = moved(references[1], OFF)
    return fabricate.make_run(tmp_path_factory.mktemp("a run"), references, count=90, iterations=3, noise=1.0)[0]


@pytest.fixture(scope="module")
def tomo_run(tmp_path_factory):
    folder, references = tmp_path_factory.mktemp("tomo"), phantoms3d(2, 16)
    rows = tomo_fabricate.particles(folder, references, 20)
    found = TomoRun(str(folder / "mltomo"))
    for iteration in (1, 2, FINAL):
        tomo_fabricate.write_result(found, iteration, references, rows, 2)
    return found


def selected(run, *words):
    """Run the command in this process; UserErrors come through."""
    selection.run(select.parser().parse_args([str(run.classes_file()), *map(str, words)]))


def table(path):
    return read_star(path, ["particles"])["particles"]


# ---- what is written

def test_members_are_the_rows_of_the_run(run, tmp_path, capsys):
    selected(run, "-o", tmp_path / "good.star", "--classes", "1,3", "--rejected", tmp_path / "bad.xmd")
    good, bad = table(tmp_path / "good.star"), table(tmp_path / "bad.xmd")
    of_run = {ref: run.members(FINAL, ref) for ref in (1, 2, 3)}
    assert sorted(good["itemId"]) == sorted([*of_run[1]["itemId"], *of_run[3]["itemId"]])
    assert sorted(bad["itemId"]) == sorted(of_run[2]["itemId"])
    assert (np.diff(good["itemId"]) > 0).all()
    for ref in (1, 3):
        mine = good.take(good["ref"] == ref)
        assert mine.columns.keys() == of_run[ref].columns.keys()
        for label, values in of_run[ref].columns.items():
            np.testing.assert_array_equal(mine[label], values)
    assert "2 of 3 classes" in capsys.readouterr().out
    assert open_images(tmp_path / "good.star").count == len(good)


def test_averages_by_class_number(run, tmp_path):
    selected(run, "--averages", tmp_path / "good.mrcs", "--classes", "3,1")
    stack = open_stack(str(tmp_path / "good.mrcs"))
    all_of_them = open_stack(f"{run.oroot}classes.mrcs").read(slice(None))
    np.testing.assert_array_equal(stack.read(slice(None)), all_of_them[[0, 2]])
    assert stack.pixel_size == pytest.approx(fabricate.PIXEL)


def test_the_table_is_all_without_outputs(run, capsys, tmp_path):
    before = sorted(Path(run.oroot).parent.rglob("*"))
    selected(run)
    lines = capsys.readouterr().out.splitlines()
    ranking = rank(run)
    assert lines[0].split()[:2] == ["class", "particles"]
    rows = {int(line.split()[0]): line.split() for line in lines[1:4]}
    for k, ref in enumerate(ranking.refs):
        assert rows[ref][1] == str(ranking.sizes[k])
        assert rows[ref][-2:] == [f"{ranking.score[k]:.2f}", "chosen" if ranking.score[k] >= 0.5 else "rejected"]
    scores = [float(line.split()[-2]) for line in lines[1:4]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(Path(run.oroot).parent.rglob("*")) == before


def test_score_and_size_choose(run, tmp_path, capsys):
    ranking = rank(run)
    between = np.sort(ranking.score)[-2:].mean()
    selected(run, "-o", tmp_path / "best.star", "--score", f"{between:.6f}")
    best = int(ranking.refs[ranking.score.argmax()])
    assert set(table(tmp_path / "best.star")["ref"]) == {best}
    largest = ranking.sizes.max()
    selected(run, "-o", tmp_path / "large.star", "--score", 0, "--min_size", largest)
    assert set(table(tmp_path / "large.star")["ref"]) == {int(ranking.refs[ranking.sizes.argmax()])}


def test_an_iteration_and_the_newest_of_a_run_that_goes_on(run, tmp_path):
    selected(run, "-o", tmp_path / "two.star", "--classes", 2, "--iteration", 2)
    assert sorted(table(tmp_path / "two.star")["itemId"]) == sorted(run.members(2, 2)["itemId"])
    assert selection.open_run(run.classes_file(2))[1] == 2
    final = run.classes_file()
    final.rename(tmp_path / "away")
    try:
        assert selection.open_run(final)[1] == 3
    finally:
        (tmp_path / "away").rename(final)


def test_the_same_from_another_folder(run, tmp_path, monkeypatch):
    """Images that the run names from the folder where it ran are named from here."""
    monkeypatch.chdir(tmp_path)
    selected(run, "-o", "good.star", "--classes", 1)
    assert open_images("good.star").read(slice(0, 1)).shape == (1, SIZE, SIZE)


# ---- centring

def test_the_centre_is_the_centre_of_mass():
    image = moved(phantoms(1, SIZE)[0], OFF)
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    weight = np.clip(image, 0, None)
    wanted = [(weight * axis).sum() / weight.sum() for axis in (x, y)]
    np.testing.assert_allclose(centre(image), wanted, atol=0.4)
    noisy = image + np.random.default_rng(1).normal(0, 0.05, image.shape)
    np.testing.assert_allclose(centre(noisy), wanted, atol=0.6)
    assert list(centre(np.zeros((8, 8)))) == [0, 0]


def test_the_centre_of_a_volume():
    volume = 5 * ball(24, 4, 3)
    np.testing.assert_allclose(centre(ndimage.shift(volume, (3, -2, 1))), [1, -2, 3], atol=0.05)


def test_moved_averages_are_interpolated_ones():
    image = ndimage.gaussian_filter(phantoms(1, SIZE)[0], 1.5) + 3
    spline = ndimage.shift(image, OFF[::-1], order=5, mode="nearest")
    np.testing.assert_allclose(moved(image, OFF), spline, atol=2e-3 * np.ptp(image))
    np.testing.assert_allclose(moved(image, (0, 0)), image, atol=1e-9)
    pulse = np.zeros((8, 8))
    pulse[2, 6] = 1
    np.testing.assert_allclose(moved(pulse, (3, 0)), 0, atol=1e-9)         # it leaves, and does not come back in


def test_poses_follow_their_average():
    """What the pose and then the shift do to a point, the new pose does by itself."""
    rng = np.random.default_rng(2)
    pose = {"anglePsi": rng.uniform(0, 360, 4), "shiftX": rng.normal(0, 2, 4), "shiftY": rng.normal(0, 2, 4),
            "flip": np.array([0, 1, 0, 1])}
    shifts = rng.normal(0, 3, (4, 2))
    new = {**pose, **moved_poses(pose, shifts)}
    point = np.array([1.5, -2.5, 1])
    np.testing.assert_allclose((pose_matrix(*new.values()) @ point)[:, :2],
                               (pose_matrix(*pose.values()) @ point)[:, :2] + shifts)


def test_poses_in_three_dimensions_follow_their_average():
    rng = np.random.default_rng(3)
    angles = {label: rng.uniform(0, 180, 4) for label in ("angleRot", "angleTilt", "anglePsi")}
    pose = {**angles, **{label: rng.normal(0, 2, 4) for label in ("shiftX", "shiftY", "shiftZ")}}
    shifts = rng.normal(0, 3, (4, 3))
    new = {**pose, **moved_poses(pose, shifts)}

    def matrices(columns):
        return pose_matrix3d(*(columns[label] for label in angles), np.stack([columns[f"shift{a}"] for a in "XYZ"], 1))

    point = np.array([1.5, -2.5, 4, 1])
    np.testing.assert_allclose((matrices(new) @ point)[:, :3], (matrices(pose) @ point)[:, :3] + shifts)


def test_recentring_moves_averages_and_members_and_says_so(run, tmp_path, capsys):
    selected(run, "-o", tmp_path / "good.star", "--averages", tmp_path / "good.mrcs", "--classes", "1-3", "--recenter")
    printed = {int(line.split()[0]): [float(word) for word in line.split()[-2:]]
               for line in capsys.readouterr().out.splitlines()[1:4]}
    np.testing.assert_allclose(printed[2], -np.array(OFF), atol=0.5)
    averages, before = open_stack(str(tmp_path / "good.mrcs")).read(slice(None)), run.members(FINAL, 2)
    assert all(np.abs(centre(average)).max() < 0.3 for average in averages)
    after = table(tmp_path / "good.star")
    after = after.take(after["ref"] == 2)
    shift = centring_shift(open_stack(f"{run.oroot}classes.mrcs").read(slice(1, 2))[0])
    np.testing.assert_allclose(after.numbers("shiftX") - before.numbers("shiftX"), shift[0], atol=1e-6)
    np.testing.assert_allclose(after.numbers("shiftY") - before.numbers("shiftY"), shift[1], atol=1e-6)
    np.testing.assert_array_equal(after["anglePsi"], before["anglePsi"])


def test_subtomograms(tomo_run, tmp_path, capsys):
    selected(tomo_run, "-o", tmp_path / "good.xmd", "--averages", tmp_path / "good.mrc", "--classes", 2, "--recenter")
    found, before = table(tmp_path / "good.xmd"), tomo_run.members(FINAL, 2)
    np.testing.assert_array_equal(found["itemId"], before["itemId"])
    shift = np.array([float(word) for word in capsys.readouterr().out.splitlines()[1:][
        [line.split()[0] for line in _rows(tomo_run)].index("2")].split()[-3:]])
    old, new = (np.stack([t.numbers(f"shift{axis}") for axis in "XYZ"], 1) for t in (before, found))
    np.testing.assert_allclose(np.linalg.norm(new - old, axis=1), np.linalg.norm(shift), atol=0.02)
    stack = open_mrc_volumes(tmp_path / "good.mrc")
    assert stack.shape == (1, 16, 16, 16) and stack.pixel_size == pytest.approx(tomo_fabricate.PIXEL)


def _rows(run):
    return selection.table_lines(rank(run), [2])[1:]


# ---- what is refused

@pytest.mark.parametrize("words, said", [
    (["--classes", "9"], "no class 9; there are 1 to 3"),
    (["--classes", "1;2"], "'1;2' is no list of classes"),
    (["--score", "1", "--min_size", "5000"], "no class that scores 1 or more has 5000 or more particles"),
    (["--iteration", "8"], "--iteration 8: .* has no such iteration; there are 1 to 3"),
    (["-o", "x.mrcs"], r"-o x\.mrcs: expected a name that ends in \.star or \.xmd"),
    (["--averages", "x.star"], r"--averages x\.star: expected a name that ends in \.mrcs or \.mrc"),
    (["-o", "x.star", "--rejected", "x.star"], r"--rejected x\.star: is -o as well"),
    (["--rejected", "x.star", "--classes", "1-3"], "no particle is rejected"),
    (["--rejected", "x.star", "--classes", "1", "--recenter"], "--recenter: changes nothing"),
])
def test_errors(run, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=said):
        selected(run, *words)
    assert not list(tmp_path.iterdir())


def test_files_of_the_run_and_its_input_are_never_written(run):
    for path in (f"{run.oroot}images.xmd", f"{run.oroot}extra/x.star"):
        with pytest.raises(UserError, match="never modified"):
            selected(run, "-o", path, "--classes", 1)
    particles = Path(run.oroot).parent / "particles.mrcs"
    with pytest.raises(UserError, match="never modified"):
        selected(run, "--averages", particles, "--classes", 1)


def test_other_files_are_refused():
    with pytest.raises(UserError, match=r"particles\.star: expected the classes\.xmd of a run"):
        selection.open_run("particles.star")
    with pytest.raises(UserError, match="no such file"):
        selection.open_run("nowhere/ml2d_classes.xmd")


def test_from_a_shell(run, tmp_path):
    def call(*words):
        return subprocess.run([sys.executable, "-m", "mlalign.cli", "select", *map(str, words)], capture_output=True,
                              text=True)

    done = call(run.classes_file(), "-o", tmp_path / "good.star", "--classes", 1)
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("1 of 3 classes with ")
    failed = call(run.classes_file(), "--classes", 7)
    assert failed.returncode == 2 and failed.stderr == "select: error: no class 7; there are 1 to 3\n"
    both = call(run.classes_file(), "--classes", 1, "--score", 0.5)
    assert both.returncode == 2 and len(both.stderr.splitlines()) == 1
