"""Odd but legal input: few images, all alike, without noise, in strange units and sizes."""
import mrcfile
import numpy as np
import pytest

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import BARE, PROGRAMS, Planted, pixels, run_program

BOTH_PROGRAMS = pytest.mark.programs(*PROGRAMS)
BOTH_SEARCHES = pytest.mark.parametrize("search", ["", "--fast"])


@pytest.fixture
def run(program, tmp_path):
    """Classify images (N, n, n) or those of a file; the result is checked to be made of numbers."""
    def classify(images, *options):
        if not isinstance(images, str):
            write_stack(tmp_path / "in.mrcs", images)
            images = tmp_path / "in.mrcs"
        words = [word for option in options for word in str(option).split()]
        outcome = run_program("-i", images, "--oroot", tmp_path / "out_", "--random_seed", 1, *BARE[program], *words,
                              program=program)
        assert np.isfinite(outcome.averages).all()
        for label in ("anglePsi", "shiftX", "shiftY", "pMax", "logLikelihood", "classProbability"):
            outcome.images.numbers(label)               # refuses NaN and Inf
        for label in ("weight", "mirrorFraction", "signalChange", "resolution", "scale"):
            outcome.classes().numbers(label)
        assert outcome.classes()["classCount"].sum() == len(outcome.images)
        return outcome
    return classify


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(4).standard_normal((12, 24, 24)).astype(np.float32)


@BOTH_PROGRAMS
@BOTH_SEARCHES
def test_one_image_one_reference(search, noise, run):
    outcome = run(noise[:1], "--iter 3", search)
    assert len(outcome.images) == 1 and outcome.classes()["classCount"][0] == 1


@BOTH_SEARCHES
def test_as_many_references_as_images(search, noise, run):
    outcome = run(noise, "--nref 12 --mirror --iter 3 --restarts 2", search)
    assert len(outcome.classes()) == 12
    assert outcome.classes()["classCount"].max() <= 4           # each image is a class of its own, or nearly so


@BOTH_PROGRAMS
def test_images_as_their_own_references(noise, run, tmp_path):
    write_stack(tmp_path / "refs.mrcs", noise)
    outcome = run(noise, f"--ref {tmp_path / 'refs.mrcs'} --maxres 0.5 --iter 0")
    np.testing.assert_array_equal(outcome.images["ref"], np.arange(1, 13))
    for label in ("shiftX", "shiftY"):
        np.testing.assert_allclose(outcome.images[label], 0, atol=1e-3)
    np.testing.assert_allclose((outcome.images["anglePsi"] + 180) % 360, 180, atol=0.1)


@BOTH_PROGRAMS
@BOTH_SEARCHES
def test_all_images_alike(search, noise, run):
    run(np.repeat(noise[:1], 30, axis=0), "--nref 3 --mirror --iter 4", search)


@BOTH_PROGRAMS
@BOTH_SEARCHES
@pytest.mark.parametrize("options", ["", "--student", "--norm"])
def test_images_without_noise(search, options, planted, run):
    """Copies of the references in exactly sampled poses; the noise found is next to nothing."""
    references = pixels(planted.references)
    images = np.concatenate([np.rot90(references, turns, (1, 2)) for turns in range(4)] * 8)
    outcome = run(images, f"--ref {planted.references} --maxres 0.4 --iter 6", search, options)
    np.testing.assert_array_equal(outcome.images["ref"], np.arange(len(images)) % 3 + 1)
    assert outcome.info()["sigmaNoise"] < 0.1 * images.std()


@BOTH_SEARCHES
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_grey_scales(scale, search, planted, classified, run):
    """Units do not matter, as long as --noise is in the same."""
    options = f"--ref {{}} --mirror --maxres 0.3 --iter 3 {search}"
    write_stack(planted.folder / f"{scale}.mrcs", scale * pixels(planted.references))
    outcome = run(scale * pixels(planted.stack), options.format(planted.folder / f"{scale}.mrcs"), f"--noise {scale}")
    plain = classified(options.format(planted.references).split(maxsplit=2)[2])
    assert np.mean(outcome.images["ref"] == plain.images["ref"]) >= 0.99
    assert outcome.info()["sigmaNoise"] == pytest.approx(scale * plain.info()["sigmaNoise"], rel=1e-3)
    np.testing.assert_allclose(outcome.averages / scale, plain.averages, atol=0.02)


def test_grey_scale_far_from_what_was_said(planted, run):
    """The noise is estimated: that --noise is wrong by a thousand is forgiven."""
    write_stack(planted.folder / "bright.mrcs", 1000 * pixels(planted.references))
    outcome = run(1000 * pixels(planted.stack), f"--ref {planted.folder / 'bright.mrcs'} --mirror --maxres 0.3")
    assert "warning: the background has mean" in outcome.log and "normalise" in outcome.log
    assert score(planted.truth, outcome.images.columns)["ari"] > 0.9


def test_normalised_images_bring_no_warning(classified):
    assert "warning" not in classified("--mirror --maxres 0.3 --iter 2").log


@pytest.mark.parametrize("box, options", [
    (16, "--fast"), (16, ""), (17, "--fast"), (33, "--fast"), (33, ""), (47, "--fast --norm")])
def test_boxes(box, options, tmp_path, run):
    planted = Planted(tmp_path, f"--views 2 -n 60 --box {box} --snr 0.5 --mirror --offset 1")
    outcome = run(planted.star, f"--ref {planted.references} --mirror --iter 6", options)
    scores = score(planted.truth, outcome.images.columns)
    assert scores["ari"] > 0.9 and scores["shift"] < 0.6 and scores["angle"] < 4


def test_large_box(tmp_path, run):
    planted = Planted(tmp_path, "--views 2 -n 12 --box 200 --snr 0.05 --offset 2")
    outcome = run(planted.star, f"--ref {planted.references} --iter 2 --maxres 0.1 --fast")
    assert score(planted.truth, outcome.images.columns)["ari"] == 1


@BOTH_PROGRAMS
def test_tiny_box(run):
    images = np.random.default_rng(1).standard_normal((10, 8, 8)).astype(np.float32)
    assert len(run(images, "--nref 2 --mirror --fast --iter 2").images) == 10


def test_images_of_many_stacks(planted, tmp_path, run):
    """The rows go back and forth between stacks, and use some images twice."""
    images = pixels(planted.stack)
    names, expected = [], []
    for i in (5, 70, 6, 71, 5, 119, 0, 1):
        write_stack(tmp_path / f"s{i % 2}.mrcs", images[i % 2 :: 2])
        names.append(f"{i // 2 + 1:06d}@{tmp_path}/s{i % 2}.mrcs")
        expected.append(i)
    write_star(tmp_path / "in.xmd", {"particles": {"image": names}})
    write_stack(tmp_path / "same.mrcs", images[expected])
    options = f"--ref {planted.references} --mirror --maxres 0.3 --iter 1"
    scattered = run(str(tmp_path / "in.xmd"), options).averages
    np.testing.assert_array_equal(run(str(tmp_path / "same.mrcs"), options).averages, scattered)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.float16])
def test_integer_and_half_stacks(kind, planted, tmp_path, run):
    with mrcfile.new(tmp_path / "in.mrcs") as out:
        out.set_data(np.clip(np.rint(20 * pixels(planted.stack)), -127, 127).astype(kind))
    write_stack(tmp_path / "refs.mrcs", 20 * pixels(planted.references))
    outcome = run(str(tmp_path / "in.mrcs"), f"--ref {tmp_path / 'refs.mrcs'} --mirror --noise 20 --iter 2",
                  "--maxres 0.3")
    assert np.mean(outcome.images["ref"] == planted.truth["ref"]) > 0.95
    assert outcome.info()["sigmaNoise"] == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("contrast", [0.2, 5])
def test_references_of_another_contrast(contrast, planted, run, tmp_path):
    """--norm says how much stronger than the given references the particles are."""
    write_stack(tmp_path / "refs.mrcs", contrast * pixels(planted.references))
    outcome = run(planted.stack, f"--ref {tmp_path / 'refs.mrcs'} --mirror --maxres 0.3 --iter 8 --norm")
    assert score(planted.truth, outcome.images.columns)["ari"] > 0.9
    scale = outcome.images.numbers("intScale")
    assert scale.mean() == pytest.approx(1 / contrast, rel=0.1)
    for k in (1, 2, 3):
        assert scale[outcome.images["ref"] == k].mean() == pytest.approx(outcome.classes()["scale"][k - 1], rel=0.01)
