"""Every option does what its help says: those that both programs have, and those of ml_align2d."""
import re
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import PROGRAMS, SIMULATED, Planted, pixels
from mlalign.tests.programs.measures import agreement, checkpoint, correlation, shift_lengths

pytestmark = pytest.mark.programs(*PROGRAMS)
SHORT = "--mirror --maxres 0.3 --iter 2"        # enough to see what most options do


def radius_of(images):
    """Distance of every pixel from the origin."""
    n = images.shape[-1]
    y, x = np.mgrid[:n, :n] - n // 2
    return np.hypot(x, y)


def test_every_option_is_tried_in_these_tests(program):
    files = [Path(__file__).with_name("test_gpu.py"), *Path(__file__).parent.glob("test_ml*_align2d*.py")]
    tests = "".join(path.read_text() for path in files)
    for action in PROGRAMS[program][0].parser()._actions:
        assert re.search(rf"{action.option_strings[-1]}\b", tests), action.option_strings


# ---- input and output

@pytest.mark.programs("ml_align2d")
def test_i_takes_stack_star_and_xmd(planted, classified):
    star = classified(SHORT)
    truth = classified(SHORT, images=str(planted.folder / "truth.xmd"))
    stack = classified(SHORT, images=planted.stack)
    for other in (truth, stack):
        np.testing.assert_array_equal(other.averages, star.averages)
        np.testing.assert_array_equal(other.images["anglePsi"], star.images["anglePsi"])
    assert stack.images["image"][6] == f"000007@{planted.stack}"


@pytest.mark.programs("ml_align2d")         # of mlf_align2d, see test_mlf_align2d_truth
def test_nref_generates_references(planted, classified):
    found = classified("--nref 3 --mirror --fast", references="")
    assert len(found.classes()) == 3
    assert score(planted.truth, found.images.columns)["ari"] > 0.95


def test_nref_is_one_by_default(classified):
    found = classified(SHORT, references="")
    assert len(found.classes()) == 1 and set(found.images["ref"]) == {1}


def test_ref_starts_from_the_given_images_in_their_order(planted, classified):
    found = classified(SHORT)
    for given, average in zip(pixels(planted.references), pixels(f"{found.prefix(0)}classes.mrcs")):
        assert correlation(given, average) > 0.97       # they lack the frequencies above --maxres
    assert np.mean(found.images["ref"] == planted.truth["ref"]) > 0.95


def test_ref_may_be_metadata_or_one_image_of_a_stack(planted, classified, tmp_path):
    reordered = tmp_path / "refs.xmd"
    write_star(reordered, {"refs": {"image": [f"{k:06d}@{planted.references}" for k in (3, 1, 2)]}})
    found = classified(SHORT, references=str(reordered))
    np.testing.assert_array_equal(np.array([3, 1, 2])[found.images["ref"] - 1], classified(SHORT).images["ref"])
    assert len(classified(SHORT, references=f"2@{planted.references}").classes()) == 1


def test_ref_with_nref_splits_every_reference(planted, classified):
    found = classified(f"{SHORT} --nref 2")
    assert len(found.classes()) == 6
    start = pixels(f"{found.prefix(0)}classes.mrcs")
    for k, given in enumerate(pixels(planted.references)):
        parts = start[2 * k : 2 * k + 2]
        assert min(correlation(given, part) for part in parts) > 0.7
        assert correlation(*parts) < 0.99
    assert np.mean((found.images["ref"] + 1) // 2 == planted.truth["ref"]) > 0.9


@pytest.mark.programs("ml_align2d")
def test_oroot_is_a_plain_prefix(classified):
    found = classified(SHORT)
    written = sorted(path.name for path in Path(found.oroot).parent.iterdir())
    assert written == [f"ml2d_{name}" for name in ("classes.mrcs", "classes.xmd", "extra", "frc.xmd", "images.xmd",
                                                   "run.log")]


@pytest.mark.programs("ml_align2d")
def test_sampling_rate_replaces_the_metadata_s(classified):
    own, doubled = classified(SHORT), classified(f"{SHORT} --sampling_rate 6")
    assert own.pixel_size() == 3 and doubled.pixel_size() == 6
    assert open_stack(f"{doubled.oroot}classes.mrcs").pixel_size == pytest.approx(6)
    np.testing.assert_allclose(doubled.classes().numbers("resolution"), 2 * own.classes().numbers("resolution"))


def test_write_probs(classified):
    plain, found = classified(SHORT), classified(f"{SHORT} --write_probs")
    table = found.probabilities
    assert list(table.columns) == ["itemId", "class000001", "class000002", "class000003"]
    np.testing.assert_array_equal(table["itemId"], found.images["itemId"])
    probabilities = np.stack([table.numbers(f"class{k:06d}") for k in (1, 2, 3)], 1)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(1) + 1, found.images["ref"])
    np.testing.assert_allclose(probabilities.max(1), found.images["classProbability"], atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(0), found.classes()["weight"], rtol=1e-4)
    assert not Path(f"{plain.oroot}probs.xmd").exists()
    np.testing.assert_array_equal(found.averages, plain.averages)


# ---- search

def test_mirror(planted, classified):
    without, found = classified("--maxres 0.3 --iter 2"), classified(SHORT)
    assert not without.images["flip"].any() and not without.classes()["mirrorFraction"].any()
    assert score(planted.truth, found.images.columns)["wrong_mirror"] < 0.03
    for k in (1, 2, 3):
        share = planted.truth["flip"][planted.truth["ref"] == k].mean()
        assert found.classes()["mirrorFraction"][k - 1] == pytest.approx(share, abs=0.07)
    assert found.info()["logLikelihood"] > without.info()["logLikelihood"]


def test_fast_finds_the_classes_of_the_exact_search(classified):
    exact, fast = classified("--mirror"), classified("--mirror --fast")
    assert agreement(exact, fast) >= 0.99


def test_fast_finds_the_averages_of_the_exact_search(classified):
    exact, fast = (classified(f"--mirror --maxres 0.4 --iter 4 {fast}") for fast in ("", "--fast"))
    assert agreement(exact, fast) >= 0.99
    assert np.linalg.norm(fast.averages - exact.averages) < 0.01 * np.linalg.norm(exact.averages)


def test_significance_of_the_fast_search(program, tmp_path, classified):
    """A coarse search that keeps only its best poses loses likelihood; one that keeps everything loses none."""
    noisy = Planted(tmp_path, f"{SIMULATED[program]} -n 60 --snr 0.05 --offset 2")

    def likelihood(options):
        found = classified(f"--mirror --maxres 0.5 --iter 0 {options}", noisy.star, noisy.references)
        return found.images.numbers("logLikelihood")

    exact = likelihood("")
    losses = [exact - likelihood(f"--fast -C {c}") for c in ("1e-30", "1e-3", "1")]
    assert np.abs(losses[0]).max() < 0.01
    assert losses[0].mean() < losses[1].mean() < losses[2].mean() and losses[2].mean() > 0.02
    assert losses[2].min() > -0.01


def test_zero_offsets_trusts_the_centres_at_first(classified):
    found = classified("--mirror --fast --iter 2 --zero_offsets")
    lengths = [shift_lengths(found, iteration) for iteration in (0, 1, 2)]
    assert not lengths[0].any() and not lengths[1].any()
    assert np.median(lengths[2]) > 0.5
    assert found.column("sigmaOffset")[:2] == [3, 3]        # nothing was learnt about the offsets yet


@pytest.mark.parametrize("asked, step", [(10, 10), (7, 90 / 13), (90, 90)])
def test_psi_step(asked, step, classified):
    found = classified(f"--mirror --maxres 0.5 --iter 1 --psi_step {asked}")
    sure = found.images.numbers("pMax") > 0.9999
    angles = found.images.numbers("anglePsi")[sure]
    assert sure.sum() >= 5
    np.testing.assert_allclose((angles + step / 2) % step, step / 2, atol=0.02)
    assert len(np.unique(np.rint(angles / step))) >= min(5, 360 / step - 1)


def test_finer_psi_steps_fit_better(classified):
    coarse, fine = (classified(f"--mirror --maxres 0.5 --iter 1 --psi_step {step}") for step in (10, 5))
    assert fine.info()["sigmaNoise"] < coarse.info()["sigmaNoise"]


@pytest.mark.parametrize("fast", ["", "--fast --maxres 0.5"])
def test_max_shift(fast, classified):
    found = classified(f"--mirror --iter 3 --max_shift 2 {fast}")
    for iteration in found.iterations():
        assert shift_lengths(found, iteration).max() <= 2 + 1e-6
    assert shift_lengths(found, 3).max() > 1


@pytest.mark.programs("ml_align2d")
def test_maxres_is_the_highest_frequency_throughout(classified):
    found = classified("--mirror --maxres 0.2")
    assert set(found.column("maxres")) == {0.2}
    power = np.abs(np.fft.fft2(found.averages)) ** 2
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(32)]))
    assert power[:, frequency > 0.27].sum() < 0.01 * power.sum()        # the circle's edge blurs the limit
    assert power[:, (frequency > 0.1) & (frequency < 0.2)].sum() > 0.02 * power.sum()


def test_resolution_grows_by_default(classified):
    maxres = classified("--mirror").column("maxres")
    assert np.all(np.diff(maxres) >= 0) and maxres[0] == 8 / 32 and maxres[-1] > 0.35


def test_radius(classified):
    found = classified(f"{SHORT} --radius 9")
    inside = radius_of(found.averages) < 9
    assert not found.averages[:, ~inside].any() and found.averages[:, inside].all()
    assert classified(SHORT).averages[:, (radius_of(found.averages) < 15) & ~inside].any()


# ---- model

@pytest.mark.programs("ml_align2d")
def test_noise_and_offset_are_first_values(classified):
    found = classified(f"{SHORT} --noise 1.4 --offset 1.1")
    noise, offset = found.column("sigmaNoise"), found.column("sigmaOffset")
    assert (noise[0], offset[0]) == (1.4, 1.1)
    assert noise[2] == pytest.approx(1, abs=0.05) and offset[2] == pytest.approx(1.5, abs=0.35)


@pytest.fixture
def fractions(tmp_path):
    """Files with the fractions 0.7, 0.3 and 0, by kind."""
    (tmp_path / "text").write_text("0.7 0.3\n0\n")
    write_star(tmp_path / "weight", {"classes": {"ref": [1, 2, 3], "weight": [7.0, 3.0, 0.0]}})
    write_star(tmp_path / "classCount", {"info": {"x": [1]}, "classes": {"ref": [1, 2, 3], "classCount": [70, 30, 0]}})
    return tmp_path


@pytest.mark.parametrize("kind", ["text", "weight", "classCount"])
def test_frac(kind, fractions, classified):
    found = classified(f"{SHORT} --min_class 0 --frac {fractions / kind}")
    np.testing.assert_allclose(checkpoint(found, 0)[0]["model.fractions"], [0.7, 0.3, 0])
    for iteration in found.iterations():
        assert found.classes(iteration)["classCount"][2] == 0       # a fraction of zero stays zero
    assert checkpoint(found, 2)[0]["model.fractions"][0] != pytest.approx(0.7, abs=1e-3)


@pytest.mark.programs("ml_align2d")
def test_frac_of_generated_references(fractions, classified):
    found = classified(f"{SHORT} --nref 3 --min_class 0 --fix_fractions --frac {fractions / 'text'}", references="")
    for iteration in found.iterations():
        np.testing.assert_allclose(checkpoint(found, iteration)[0]["model.fractions"], [0.7, 0.3, 0])


@pytest.mark.programs("ml_align2d")
@pytest.mark.parametrize("references", [None, ""])
def test_fixed_parameters_stay(references, classified):
    found = classified("--mirror --maxres 0.25 --nref 3 --fix_sigma_noise --noise 1.3 --fix_sigma_offset --offset 2.5 "
                       "--fix_fractions --iter 3", references=references)
    assert set(found.column("sigmaNoise")) == {1.3}
    assert set(found.column("sigmaOffset")) == {2.5}
    for iteration in found.iterations():
        arrays, _ = checkpoint(found, iteration)
        np.testing.assert_allclose(arrays["model.fractions"], 1 / len(found.classes()))
        np.testing.assert_array_equal(arrays["model.mirror"], 0.5)


@pytest.mark.programs("ml_align2d")
def test_each_parameter_is_fixed_alone(classified):
    values = {option: classified(f"{SHORT} {option} --noise 1.3 --offset 2.5") for option in (
        "--fix_sigma_noise", "--fix_sigma_offset", "--fix_fractions")}
    for option, found in values.items():
        moved = (found.info()["sigmaNoise"] != 1.3, found.info()["sigmaOffset"] != 2.5,
                 not np.allclose(checkpoint(found, 2)[0]["model.fractions"], 1 / 3))
        assert moved == tuple(option != other for other in values)


@pytest.fixture(scope="module")
def with_outliers(planted, tmp_path_factory):
    """The planted images, of which every tenth has three times the noise."""
    images = pixels(planted.stack)
    images[::10] += np.random.default_rng(5).normal(0, np.sqrt(8), images[::10].shape)
    return planted.altered(tmp_path_factory.mktemp("outliers"), images)


def test_student_weighs_outliers_down(with_outliers, classified):
    found = classified(f"{SHORT} --student", images=with_outliers)
    weight = found.images.numbers("wRobust")
    outlier = np.arange(len(weight)) % 10 == 0
    assert weight[outlier].max() < 0.3 and weight[~outlier].min() > 0.7
    gaussian = classified(SHORT, images=with_outliers)
    assert "wRobust" not in gaussian.images
    clean = classified(SHORT).info()["sigmaNoise"]
    assert found.info()["sigmaNoise"] < 1.1 * clean < gaussian.info()["sigmaNoise"]
    assert found.info()["logLikelihood"] > gaussian.info()["logLikelihood"] + 1000


def test_student_degrees_of_freedom(classified):
    """Few of them are heavy tails; very many are Gaussian noise."""
    gaussian, many, few = (classified(f"{SHORT} {option}") for option in ("", "--student 100000", "--student 2"))
    assert many.info()["logLikelihood"] == pytest.approx(gaussian.info()["logLikelihood"], rel=1e-3)
    np.testing.assert_allclose(many.images["wRobust"], 1, atol=0.01)
    assert few.images.numbers("wRobust").std() > 5 * many.images.numbers("wRobust").std()


def test_no_sigma_trick(with_outliers, classified):
    """Squared residuals are divided by the number of images, not by the sum of their weights."""
    trick, plain = (classified(f"--mirror --maxres 0.3 --iter 1 --student {option}", images=with_outliers)
                    for option in ("", "--no_sigma_trick"))
    ratio = trick.info()["sigmaNoise"] ** 2 / plain.info()["sigmaNoise"] ** 2
    assert ratio == pytest.approx(1 / plain.images.numbers("wRobust").mean(), rel=0.01)
    assert abs(ratio - 1) > 0.05


@pytest.mark.programs("ml_align2d")
def test_norm_recovers_contrast_and_background(tmp_path, classified):
    planted = Planted(tmp_path, "--views 2 -n 100 --box 32 --snr 0.5 --contrast 0.3 --offset 1 --seed 3")
    background = np.random.default_rng(1).normal(0, 0.2, 100)
    images = tmp_path / "images.mrcs"
    write_stack(images, pixels(planted.stack) + background[:, None, None])
    options = "--maxres 0.4 --iter 6"
    found = classified(f"{options} --norm", images=str(images), references=planted.references)
    scale, true = found.images.numbers("intScale"), planted.truth["intScale"]
    assert correlation(scale, true) > 0.9
    assert scale.mean() == pytest.approx(1, abs=0.05) and np.std(scale / true * true.mean()) < 0.15
    assert np.abs(found.images["bgMean"] - background).std() < 0.05
    plain = classified(options, images=str(images), references=planted.references)
    assert "intScale" not in plain.images and "bgMean" not in plain.images
    assert found.info()["sigmaNoise"] < plain.info()["sigmaNoise"]
