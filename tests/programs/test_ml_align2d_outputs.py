"""What both programs write: files, labels, numbers that must agree, poses, names."""
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.results import FINAL, INFO, PER_CLASS, Run
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import PROGRAMS, pixels, run_program

pytestmark = pytest.mark.programs(*PROGRAMS)
FILES = {"classes.mrcs", "classes.xmd", "images.xmd", "frc.xmd"}
RESULT = {"ml_align2d": FILES, "mlf_align2d": FILES | {"noise.xmd", "ssnr.xmd"}}
IN_EXTRA = {"ml_align2d": set(), "mlf_align2d": {"cref_classes.mrcs", "cref_classes.xmd"}}
OWN_COLUMNS = {"ml_align2d": [], "mlf_align2d": ["defocusGroup"]}
POSE = ["ref", "anglePsi", "shiftX", "shiftY", "flip", "pMax", "logLikelihood", "classProbability"]


@pytest.fixture(scope="module")
def found(classified):
    """The planted images classified from generated references."""
    return classified("--nref 3 --mirror --fast", references="")


@pytest.fixture(scope="module")
def every_table(classified):
    """A short run with all optional columns and files."""
    return classified("--mirror --maxres 0.3 --iter 2 --norm --student --write_probs")


# ---- files and labels

def test_files(program, every_table):
    folder = Path(every_table.oroot).parent
    assert {path.name for path in folder.iterdir()} == {
        f"ml2d_{name}" for name in RESULT[program] | {"probs.xmd", "extra", "run.log"}}
    assert {path.name for path in (folder / "ml2d_extra").iterdir()} == {
        "iter000", "iter001", "iter002"} | IN_EXTRA[program]
    for iteration in range(3):
        there = {path.name for path in (folder / "ml2d_extra" / f"iter{iteration:03d}").iterdir()}
        assert there == {f"iter_{name}" for name in RESULT[program] | {"checkpoint.npz"}}


def test_labels(program, every_table):
    for iteration in (0, 2, FINAL):
        prefix = every_table.prefix(iteration)
        blocks = read_star(f"{prefix}classes.xmd")
        assert list(blocks) == ["classes", "info", *(f"class{k:06d}_images" for k in (1, 2, 3))]
        assert list(blocks["classes"].columns) == ["ref", "image", "enabled", "weight", "classCount", "mirrorFraction",
                                                   "signalChange", "resolution", "scale"]
        assert {"iterationNumber", "randomSeed", "samplingRate", *INFO} <= set(blocks["info"].columns)
        assert len(blocks["info"]) == 1
        images = read_star(f"{prefix}images.xmd")
        assert list(images) == ["particles"]
        columns = list(images["particles"].columns)
        ours = [*POSE, "bgMean", "intScale", "wRobust", *OWN_COLUMNS[program]]
        assert columns[-len(ours):] == ours
        assert list(blocks["class000001_images"].columns) == columns
        for block in read_star(f"{prefix}frc.xmd").values():
            assert list(block.columns) == ["resolutionFreqFourier", "resolutionFRC"]


def test_optional_columns_need_their_options(found):
    assert not {"bgMean", "intScale", "wRobust"} & set(found.images.columns)


def test_the_reader_of_results_understands_a_run(found):
    run = Run(found.oroot)
    assert run.newest() is FINAL and run.results() == [*run.iterations(), FINAL]
    history = run.history()
    assert list(history.iterations) == list(range(len(history.iterations)))
    for label in INFO:
        assert np.isfinite(history.info[label]).all(), label
    for label in PER_CLASS:
        assert history.classes[label].shape == (len(history.iterations), 3)
        assert np.isfinite(history.classes[label]).all(), label
    assert history.pixel_size == 3
    for ref in (1, 2, 3):
        assert len(run.members(FINAL, ref)) == run.classes()["classCount"][ref - 1]
        frequency, correlation = run.frc(FINAL, ref)
        assert frequency.max() <= 0.5 and np.all(np.diff(frequency) > 0)
        assert correlation.max() > 0.9 and np.all(np.abs(correlation) <= 1)


def test_the_result_is_the_last_iteration_s(program, found):
    last = found.iterations()[-1]
    for name in RESULT[program] - {"classes.xmd"}:
        assert Path(found.prefix() + name).read_bytes() == Path(found.prefix(last) + name).read_bytes()
    result, iteration = read_star(found.classes_file()), read_star(found.classes_file(last))
    for block, table in iteration.items():
        for label, values in table.columns.items():
            if (block, label) == ("classes", "image"):
                assert list(values) == [f"{k:06d}@{found.prefix(last)}classes.mrcs" for k in (1, 2, 3)]
                values = [f"{k:06d}@{found.oroot}classes.mrcs" for k in (1, 2, 3)]
            np.testing.assert_array_equal(result[block][label], values)


def test_the_log_tells_the_story(found):
    lines = found.log.splitlines()
    assert "120 images of 32 px, 3 references" in lines[0] and "done" in lines[-1]
    for iteration in found.iterations():
        assert sum(f"iteration {iteration:3d}:" in line for line in lines) == 1


# ---- numbers that must agree

def test_likelihood_and_pmax_are_those_of_the_particles(found, every_table):
    for outcome in (found, every_table):
        for iteration in outcome.iterations():
            images = read_star(f"{outcome.prefix(iteration)}images.xmd")["particles"]
            info = outcome.info(iteration)
            assert info["logLikelihood"] == pytest.approx(images.numbers("logLikelihood").sum(), rel=1e-9)
            assert info["pMax"] == pytest.approx(images.numbers("pMax").mean(), rel=1e-6)


@pytest.mark.programs("ml_align2d")
def test_exact_likelihood_never_falls(classified):
    likelihood = classified("--mirror --maxres 0.4 --eps 0 --iter 12").column("logLikelihood")
    assert len(likelihood) == 13 and np.all(np.diff(likelihood) > -0.01)


def test_probabilities_are_probabilities(found):
    for label in ("pMax", "classProbability"):
        values = found.images.numbers(label)
        assert values.min() > 0 and values.max() <= 1
    assert np.all(found.images.numbers("pMax") <= found.images.numbers("classProbability") + 1e-6)


def test_class_counts_are_those_of_the_particles(found):
    classes = found.classes()
    np.testing.assert_array_equal(classes["classCount"], np.bincount(found.images["ref"], minlength=4)[1:])
    assert classes["weight"].sum() == pytest.approx(120, rel=1e-5)
    np.testing.assert_allclose(classes["weight"], classes["classCount"], atol=3)
    for k in (1, 2, 3):
        flips = found.images["flip"][found.images["ref"] == k]
        assert classes["mirrorFraction"][k - 1] == pytest.approx(flips.mean(), abs=0.05)


def test_class_blocks_hold_exactly_their_particles(found):
    for ref in (1, 2, 3):
        members, rows = found.members(FINAL, ref), found.images["ref"] == ref
        for label, values in found.images.columns.items():
            np.testing.assert_array_equal(members[label], values[rows])


def test_an_empty_class_has_an_empty_block(planted, classified, tmp_path):
    (tmp_path / "fractions").write_text("1 1 0")
    outcome = classified(f"--mirror --maxres 0.3 --iter 1 --min_class 0 --frac {tmp_path / 'fractions'}")
    members = outcome.members(FINAL, 3)
    assert len(members) == 0 and list(members.columns) == list(outcome.images.columns)
    assert outcome.classes()["classCount"][2] == 0 and outcome.classes()["weight"][2] == 0


def test_changed_is_the_share_of_particles_that_changed_class(found):
    refs = [read_star(f"{found.prefix(i)}images.xmd")["particles"]["ref"] for i in found.iterations()]
    for iteration in found.iterations()[1:]:
        expected = np.mean(refs[iteration] != refs[iteration - 1])
        assert found.info(iteration)["changed"] == pytest.approx(expected)


def test_signal_change_is_that_of_the_averages(classified):
    outcome = classified("--mirror --maxres 0.3 --iter 2")
    before, after = (pixels(f"{outcome.prefix(i)}classes.mrcs") for i in (1, 2))
    change = ((after - before) ** 2).sum((1, 2)) / (before**2).sum((1, 2))
    np.testing.assert_allclose(outcome.classes()["signalChange"], 1000 * change, rtol=0.3)     # ours is of rings


def test_resolution_is_where_the_curve_crosses(found):
    for ref in (1, 2, 3):
        frequency, correlation = found.frc(FINAL, ref)
        cut = 3 / found.classes()["resolution"][ref - 1]
        below = np.flatnonzero(correlation < 0.143)
        first = below[0] if len(below) else len(frequency) - 1
        assert frequency[first - 1] <= cut + 1e-9 and cut <= frequency[first] + 1e-9


@pytest.mark.programs("ml_align2d")
def test_without_a_pixel_size_there_is_no_resolution(planted, classified, tmp_path):
    write_stack(tmp_path / "bare.mrcs", pixels(planted.stack))
    outcome = classified("--mirror --maxres 0.3 --iter 1", images=str(tmp_path / "bare.mrcs"))
    assert outcome.pixel_size() is None and outcome.info()["samplingRate"] == -1
    assert set(outcome.classes()["resolution"]) == {-1}
    assert "to 3.33 px" in outcome.log and "Å" not in outcome.log


# ---- poses

def test_poses_and_classes_are_the_planted_ones(planted, found):
    scores = score(planted.truth, found.images.columns)
    assert scores["ari"] > 0.95 and scores["wrong_mirror"] < 0.02
    assert scores["angle"] < 2 and scores["shift"] < 0.5


@pytest.mark.parametrize("options", ["--mirror --maxres 0.4", "--mirror --fast --maxres 0.5", "--mirror --norm"])
def test_particles_moved_by_their_poses_average_to_the_class_average(options, program, planted, classified):
    """r_ref = M r + shift, about pixel n // 2; checked with SciPy's resampling."""
    outcome = classified(f"{options} --iter 4")
    images, particles, averages = outcome.images, pixels(planted.stack), outcome.averages
    if program == "mlf_align2d":
        averages = pixels(f"{outcome.oroot}extra/cref_classes.mrcs")        # not corrected for the CTF
    circle = averages[0] != 0
    inverse = np.linalg.inv(pose_matrix(*(images.numbers(label) for label in ("anglePsi", "shiftX", "shiftY")),
                                        images["flip"]))
    for k, average in enumerate(averages, 1):
        total = np.zeros_like(average)
        for i in np.flatnonzero(images["ref"] == k):
            matrix = inverse[i][1::-1, 1::-1]               # (x, y) -> (row, column)
            offset = 16 + inverse[i][1::-1, 2] - matrix @ [16, 16]
            total += ndimage.affine_transform(particles[i], matrix, offset, order=3)
        smooth = [ndimage.gaussian_filter(image, 1)[circle] for image in (total, average)]
        assert np.corrcoef(*smooth)[0, 1] > 0.97


def test_averages_show_the_true_references(planted, classified):
    outcome = classified("--mirror --fast")
    for average, reference in zip(outcome.averages, pixels(planted.references)):
        assert np.corrcoef(average.ravel(), reference.ravel())[0, 1] > 0.8


# ---- input

@pytest.mark.programs("ml_align2d")
def test_ids_and_columns_of_the_input_come_through(planted, tmp_path):
    count = 120
    ids = 10**9 + 7 * np.arange(count)[::-1]
    enabled = (np.arange(count) % 5 != 0).astype(int)
    names = [f"mic {i % 3}.mrc" for i in range(count)]
    write_star(tmp_path / "in.xmd", {"notes": {"x": [1.5]}, "particles": {
        "itemId": ids, "enabled": enabled, "image": [f"{i + 1:06d}@{planted.stack}" for i in range(count)],
        "anglePsi": np.full(count, 12.5), "micrograph": names, "zScore": np.linspace(0, 1, count)}})
    outcome = run_program("-i", tmp_path / "in.xmd", "--ref", planted.references, "--iter", 1, "--maxres", 0.3,
                          "--oroot", tmp_path / "out_", "--random_seed", 1)
    images, kept = outcome.images, enabled == 1
    assert len(images) == kept.sum()
    np.testing.assert_array_equal(images["itemId"], ids[kept])
    np.testing.assert_array_equal(images["zScore"], np.linspace(0, 1, count)[kept])
    assert list(images["micrograph"]) == [name for name, keep in zip(names, kept) if keep]
    assert list(images["image"]) == [f"{i + 1:06d}@{planted.stack}" for i in np.flatnonzero(kept)]
    assert len(set(images["anglePsi"])) > 10                    # the pose is ours, not the input's


def test_input_is_not_touched(program, planted, tmp_path):
    files = {name: tmp_path / Path(getattr(planted, name)).name for name in ("star", "stack", "references")}
    for name, path in files.items():
        path.write_bytes(Path(getattr(planted, name)).read_bytes())
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.values()}
    run_program("-i", files["star"], "--ref", files["references"], "--iter", 2, "--norm", "--oroot", tmp_path / "ml2d_",
                program=program)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files.values()} == before


@pytest.mark.programs("ml_align2d")
@pytest.mark.parametrize("folder", ["with space", "прогон é 粒子", "it's #1", "a@b"])
def test_odd_names(folder, planted, tmp_path, monkeypatch):
    """Input and output under such folders; images named relative to their metadata, read from elsewhere."""
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    write_stack(Path(folder) / "the images.mrcs", pixels(planted.stack)[:40])
    write_star(Path(folder) / "in.star", {"particles": {"image": [f"{i + 1:06d}@the images.mrcs" for i in range(40)]}})
    outcome = run_program("-i", f"{folder}/in.star", "--ref", planted.references, "--iter", 1, "--maxres", 0.2,
                          "--oroot", f"{folder}/out of it_")
    assert len(outcome.images) == 40 and len(outcome.classes()) == 3
    again = run_program("-i", f"{folder}/out of it_images.xmd", "--ref", f"{folder}/out of it_classes.xmd", "--iter", 1,
                        "--maxres", 0.2, "--oroot", f"{folder}/again_")
    assert len(again.images) == 40
    assert not (tmp_path / folder / folder).exists()


def test_a_new_run_replaces_the_old_one(program, planted, tmp_path):
    base = ["-i", planted.star, "--ref", planted.references, "--maxres", 0.2, "--oroot", tmp_path / "ml2d_"]
    run_program(*base, "--iter", 3, "--write_probs", program=program)
    outcome = run_program(*base, "--iter", 1, program=program)
    assert outcome.iterations() == [0, 1]
    assert not (tmp_path / "ml2d_probs.xmd").exists()
    assert outcome.log.count("random seed") == 1
