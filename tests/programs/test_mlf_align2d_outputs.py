"""What mlf_align2d writes beside what both programs do: noise, signal and CTF by group, uncorrected averages."""
import numpy as np
import pytest

from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star
from mlalign.programs.results import FINAL
from mlalign.tests.programs.conftest import PIXEL, pixels
from mlalign.tests.programs.engine.spectral_scenes import obvious_ctf
from mlalign.tests.programs.measures import correlation, shell_power

pytestmark = pytest.mark.programs("mlf_align2d")


@pytest.fixture(scope="module")
def found(classified):
    """A run with six noise groups."""
    return classified("--mirror --fix_high 10 --iter 2 --group_size 20")


def tables(outcome, name, iteration=FINAL):
    return read_star(f"{outcome.prefix(iteration)}{name}.xmd")


# ---- noise groups

@pytest.mark.parametrize("iteration", [0, 2, FINAL])
def test_blocks_and_labels(iteration, found):
    spectra = [f"ctf{g:06d}" for g in range(1, 7)]
    noise, ssnr = (tables(found, name, iteration) for name in ("noise", "ssnr"))
    assert list(noise) == ["groups", *spectra] and list(ssnr) == spectra
    assert list(noise["groups"].columns) == ["defocusGroup", "opticsGroup", "count", "defocusMin", "defocusMax"]
    for name in spectra:
        assert list(noise[name].columns) == ["resolutionFreqFourier", "mlfNoise"]
        assert list(ssnr[name].columns) == ["resolutionFreqFourier", "resolutionFreqReal", "resolutionSSNR", "mlfCtf",
                                            "mlfWiener", "mlfSignal", "mlfNoise"]


def test_groups_are_those_of_the_images(found):
    groups = tables(found, "noise")["groups"]
    np.testing.assert_array_equal(groups["defocusGroup"], np.arange(1, 7))
    np.testing.assert_array_equal(groups["count"], np.bincount(found.images["defocusGroup"], minlength=7)[1:])
    assert set(groups["opticsGroup"]) == {1} and found.info()["noiseGroups"] == 6


def test_the_reader_of_results_understands_them(found):
    assert found.has_spectra(0) and found.has_spectra(FINAL)
    groups = found.spectra(FINAL)
    assert [group.number for group in groups] == [1, 2, 3, 4, 5, 6]
    assert sum(group.count for group in groups) == 120
    for group in groups:
        assert 8000 < group.defocus[0] < group.defocus[1] < 21000
        assert group.frequency[0] == pytest.approx(1 / 32) and group.frequency[-1] <= 0.3


# ---- curves

def test_frequencies_reach_as_far_as_the_resolution(classified):
    found = classified("--mirror --fast")
    for iteration in found.iterations():
        last = int(32 * found.info(iteration)["maxres"] + 1e-6)
        for name in ("noise", "ssnr"):
            table = tables(found, name, iteration)["ctf000001"]
            np.testing.assert_allclose(table["resolutionFreqFourier"], np.arange(1, last + 1) / 32)
        np.testing.assert_allclose(table["resolutionFreqReal"], PIXEL / table["resolutionFreqFourier"])


def test_curves_agree_with_one_another(found):
    noise, ssnr = tables(found, "noise"), tables(found, "ssnr")
    mean_size = found.classes().numbers("weight").mean()
    capped = 0
    for name, table in ssnr.items():
        np.testing.assert_array_equal(table["mlfNoise"], noise[name]["mlfNoise"])
        np.testing.assert_array_equal(table["mlfSignal"], ssnr["ctf000001"]["mlfSignal"])       # of all groups
        expected = mean_size * table["mlfCtf"] ** 2 * table["mlfSignal"] / table["mlfNoise"]
        np.testing.assert_allclose(table["resolutionSSNR"], np.minimum(expected, 25), rtol=1e-4)
        np.testing.assert_allclose(table["mlfWiener"], expected / (expected + 1), rtol=1e-4)
        capped += np.sum(table["resolutionSSNR"] == 25)
    assert capped > 5


def test_ctf_is_the_root_mean_square_of_the_group_s(planted, found):
    """Over directions, too."""
    angle = np.linspace(0, np.pi, 45, endpoint=False)
    columns = [planted.truth[label] for label in ("ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "ctfVoltage",
                                                  "ctfSphericalAberration", "ctfQ0", "ctfPhaseShift")]
    for g, table in enumerate(tables(found, "ssnr").values(), 1):
        members = np.flatnonzero(found.images["defocusGroup"] == g)
        for shell in range(4):
            frequency = table["resolutionFreqFourier"][shell] / PIXEL
            x, y = frequency * np.cos(angle), frequency * np.sin(angle)
            squares = [obvious_ctf(x, y, *(column[i] for column in columns)) ** 2 for i in members]
            assert table["mlfCtf"][shell] == pytest.approx(np.sqrt(np.mean(squares)), abs=0.03)


def test_signal_is_that_of_the_references(planted, classified):
    """Their power per pixel: the variance that a shell's coefficients would have in white noise of that power."""
    found = classified("--mirror --fast")
    table = tables(found, "ssnr")["ctf000001"]
    circle = np.pi * 16**2
    true = shell_power(pixels(planted.references))[:10] / circle
    ratio = table.numbers("mlfSignal")[1:10] / true[1:]
    assert 0.5 < np.exp(np.log(ratio).mean()) < 2 and ratio.min() > 0.3 and ratio.max() < 3


def test_noise_of_white_images_of_deviation_one_is_one(planted, classified, tmp_path):
    images = np.random.default_rng(6).standard_normal((120, 32, 32))
    found = classified("--fix_high 7 --iter 1 --nref 1", images=planted.altered(tmp_path, images), references="")
    np.testing.assert_allclose(tables(found, "noise")["ctf000001"]["mlfNoise"], 1, atol=0.08)
    assert found.info()["sigmaNoise"] == pytest.approx(1, abs=0.02)
    assert tables(found, "ssnr")["ctf000001"].numbers("resolutionSSNR").mean() < 1


# ---- averages

def test_averages_not_corrected_for_the_ctf(planted, found):
    stack = f"{found.oroot}extra/cref_classes.mrcs"
    uncorrected, table = pixels(stack), read_star(f"{found.oroot}extra/cref_classes.xmd")["classes"]
    assert list(table.columns) == ["ref", "image", "enabled", "classCount"]
    assert list(table["image"]) == [f"{k:06d}@{stack}" for k in (1, 2, 3)]
    np.testing.assert_array_equal(table["classCount"], found.classes()["classCount"])
    assert open_stack(stack).pixel_size == pytest.approx(PIXEL)
    # the CTF's mean amplitude at every shell takes from what was corrected for it
    ctf = np.sqrt(np.mean([group["mlfCtf"] ** 2 for group in tables(found, "ssnr").values()], 0))
    ratio = np.sqrt(shell_power(uncorrected)[:9] / shell_power(pixels(planted.references))[:9])
    np.testing.assert_allclose(ratio[:7], ctf[:7], atol=0.15)
    assert ratio[0] < 0.3 and np.argmax(ratio[:9]) in (2, 3, 4)
    assert correlation(found.averages, pixels(planted.references)) > 0.9 > correlation(
        uncorrected, pixels(planted.references))


def test_empty_classes_have_black_averages(classified, tmp_path):
    (tmp_path / "fractions").write_text("1 1 0")
    found = classified(f"--mirror --fix_high 12 --iter 1 --min_class 0 --frac {tmp_path / 'fractions'}")
    assert not pixels(f"{found.oroot}extra/cref_classes.mrcs")[2].any()
    assert np.isfinite(found.averages).all()


# ---- likelihoods

def growing(outcome):
    """(change of the likelihood, whether the resolution had grown) from each iteration after the first."""
    return np.diff(outcome.column("logLikelihood"))[1:], np.diff(outcome.column("maxres"))[1:] > 0


@pytest.mark.parametrize("options", ["--mirror", "--mirror --fast"])
def test_likelihood_goes_on_where_it_was_when_the_resolution_grows(options, classified):
    change, grown = growing(classified(options))
    assert grown.sum() >= 2
    assert np.abs(change[grown]).max() < 0.25 * change[~grown].max()
    assert change.sum() > 5 * np.abs(change[grown]).max()


def test_likelihoods_of_noise_are_the_same_at_all_resolutions(scenes, classified, tmp_path):
    """Within a nat per image, of 900: what is not looked at is noise as the images have it."""
    noise = scenes("mlf_align2d", "--views 1 -n 60 --box 32 --outliers 1 --outlier_noise 1 --defocus 9000 20000 "
                   "--noise_fall 8 --phase_flip").planted
    write_stack(tmp_path / "nothing.mrcs", 1e-3 * np.random.default_rng(0).standard_normal((1, 32, 32)), PIXEL)
    likelihood = [classified(f"--offset 0 --fix_sigma_offset --iter 1 {options}", noise.star,
                             str(tmp_path / "nothing.mrcs")).info()["logLikelihood"]
                  for options in ("--fix_high 24", "--fix_high 7", "--include_allfreqs",
                                  "--fix_high 10 --limit_resolution 0 0 30")]
    assert np.ptp(likelihood) < 60


def test_exact_likelihood_never_falls_without_a_prior(classified):
    """--reduce_snr so large that averages are those of least squares, at one resolution."""
    for options in ("", "--student"):
        found = classified(f"--mirror --fix_high 8 --eps 0 --iter 10 --reduce_snr 1e9 {options}")
        change = np.diff(found.column("logLikelihood"))[1:]
        assert np.all(change > -0.05) and change[0] > 300


def test_likelihood_falls_by_little_with_a_prior(classified):
    """Signal power and averages come from the same images in turn, which has no one function to climb."""
    change = np.diff(classified("--mirror --fix_high 8 --eps 0 --iter 10").column("logLikelihood"))[1:]
    assert change[0] > 300 and change.min() > -0.01 * 120
