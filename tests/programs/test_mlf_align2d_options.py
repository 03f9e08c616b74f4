"""Options that mlf_align2d alone has, or that mean something else to it; the rest is in test_ml_align2d_options."""
import re

import numpy as np
import pytest

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import BEHIND_CTF, PARTICLES, PIXEL, Planted, pixels, run_program
from mlalign.tests.programs.measures import agreement, checkpoint, correlation, shell_power

pytestmark = pytest.mark.programs("mlf_align2d")
SHORT = "--mirror --fix_high 10 --iter 2"       # enough to see what most options do
LOW, HIGH = slice(0, 2), slice(8, 12)           # shells: where CTFs are weak, where the images are


def noise_spectra(outcome, iteration=None):
    """Noise variances (G, shells)."""
    blocks = read_star(f"{outcome.prefix(iteration)}noise.xmd")
    return np.stack([table.numbers("mlfNoise") for name, table in blocks.items() if name.startswith("ctf")])


def groups(outcome):
    return read_star(f"{outcome.oroot}noise.xmd")["groups"]


def particles_of(planted, folder, optics=None, **columns):
    """File of the planted particles with other columns; optics: function of the optics table's columns."""
    blocks = {name: dict(table.columns) for name, table in read_star(planted.star).items()}
    names = [f"{i + 1:06d}@{planted.stack}" for i in range(len(planted.truth["ref"]))]
    blocks["particles"].update(rlnImageName=names, **columns)
    blocks["optics"] = optics(blocks["optics"]) if optics else blocks["optics"]
    write_star(folder / "particles.star", blocks)
    return str(folder / "particles.star")


# ---- CTF

@pytest.fixture(scope="module")
def unflipped(scenes):
    """The same particles before their phases were flipped: a scene."""
    return scenes("mlf_align2d", f"{PARTICLES} {BEHIND_CTF}")


def test_i_takes_ctfs_of_relion_and_of_xmipp(planted, classified):
    relion, xmipp = classified(SHORT), classified(SHORT, images=str(planted.folder / "truth.xmd"))
    np.testing.assert_array_equal(relion.averages, xmipp.averages)
    for label in ("ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "ctfVoltage"):
        np.testing.assert_array_equal(xmipp.images[label], planted.truth[label])


def test_phases_are_taken_as_said(planted, unflipped, classified):
    """Signed or not, the CTF that the images were made with describes them best and finds their poses."""
    flipped = {False: classified(SHORT), True: classified(f"{SHORT} --not_phase_flipped")}
    signed = {True: unflipped.classified(f"{SHORT} --not_phase_flipped"), False: unflipped.classified(SHORT)}
    for right, wrong in ((flipped[False], flipped[True]), (signed[True], signed[False])):
        good, bad = (score(planted.truth, found.images.columns) for found in (right, wrong))
        assert good["ari"] == 1 and good["wrong_mirror"] == 0 and good["angle"] < 2.5 and good["shift"] < 0.5
        assert bad["wrong_mirror"] > 0.1 and bad["shift"] > 1.3 * good["shift"]
        assert right.info()["logLikelihood"] > wrong.info()["logLikelihood"] + 1000


def test_flipped_and_not_are_the_same_in_the_end(unflipped, classified):
    one, other = classified(SHORT), unflipped.classified(f"{SHORT} --not_phase_flipped")
    assert agreement(one, other) > 0.98
    assert correlation(one.averages, other.averages) > 0.98


def test_no_ctf_needs_none_and_corrects_for_none(planted, classified):
    plain = classified(SHORT)
    found = classified(f"{SHORT} --no_ctf --group_size 20", images=planted.stack)
    assert len(groups(found)) == 1 and set(found.images["defocusGroup"]) == {1}
    assert set(groups(found)["defocusMin"]) == set(groups(found)["defocusMax"]) == {-1}
    ssnr = read_star(f"{found.oroot}ssnr.xmd")["ctf000001"]
    np.testing.assert_array_equal(ssnr["mlfCtf"], 1)
    truth = shell_power(pixels(planted.references))[LOW]
    assert (shell_power(plain.averages)[LOW] > 0.5 * truth).all()
    assert (shell_power(found.averages)[LOW] < 0.3 * truth).all()


def test_no_ctf_ignores_what_the_metadata_say(planted, classified, tmp_path):
    """Nor does it look at phases."""
    broken = particles_of(planted, tmp_path, rlnDefocusU=np.full(120, np.nan))
    one = classified(f"{SHORT} --no_ctf --group_size 20", images=planted.stack)
    for other in (classified(f"{SHORT} --no_ctf", images=broken), classified(f"{SHORT} --no_ctf --not_phase_flipped")):
        np.testing.assert_array_equal(one.averages, other.averages)


@pytest.fixture(scope="module")
def affected(planted, tmp_path_factory):
    """Averages made by ml_align2d of the phase-flipped images."""
    return run_program("-i", planted.star, "--ref", planted.references, "--mirror", "--fast", "--iter", 4, "--maxres",
                       0.4, "--oroot", tmp_path_factory.mktemp("averages") / "ml2d_")


@pytest.mark.parametrize("flip", [True, False])
def test_ctf_affected_refs(flip, affected, planted, scene, unflipped):
    """The first references are corrected already, and fit better than those taken at their word."""
    options = "--mirror --fast --fix_high 7 --iter 2" + ("" if flip else " --not_phase_flipped")
    classified = (scene if flip else unflipped).classified
    names = (options, f"{options} --ctf_affected_refs")
    plain, found = (classified(one, references=f"{affected.oroot}classes.mrcs") for one in names)
    truth = shell_power(pixels(planted.references))
    first = [shell_power(pixels(f"{outcome.prefix(0)}classes.mrcs")) for outcome in (plain, found)]
    assert (first[0][LOW] < 0.3 * truth[LOW]).all() and (first[1][LOW] > 0.5 * truth[LOW]).all()
    assert found.info(0)["logLikelihood"] > plain.info(0)["logLikelihood"] + 300
    best = classified(options)
    assert score(planted.truth, found.images.columns)["ari"] == 1
    assert agreement(found, best) > 0.98 and correlation(found.averages, best.averages) > 0.95


def test_ctf_affected_refs_can_be_split(affected, planted, classified):
    found = classified("--mirror --fast --fix_high 10 --iter 1 --nref 2 --ctf_affected_refs",
                       references=f"{affected.oroot}classes.mrcs")
    assert len(found.classes()) == 6
    assert np.mean((found.images["ref"] + 1) // 2 == planted.truth["ref"]) > 0.95


def test_sampling_rate_goes_before_the_metadata_s(planted, classified, tmp_path):
    """It says what the CTFs are, in pixels: with the right one instead of a wrong one, nothing is lost."""
    def doubled(optics):
        return {**optics, "rlnImagePixelSize": [2.0 * PIXEL]}

    wrong = particles_of(planted, tmp_path, doubled)
    right = classified(SHORT)
    mended = classified(f"{SHORT} --sampling_rate {PIXEL}", images=wrong)
    np.testing.assert_array_equal(mended.averages, right.averages)
    misled = classified("--mirror --fix_high 20 --iter 2", images=wrong)
    assert misled.pixel_size() == 2 * PIXEL and misled.info()["maxres"] == right.info()["maxres"]
    assert misled.info()["logLikelihood"] < right.info()["logLikelihood"] - 300


# ---- resolution

def test_reduce_snr(classified):
    """Smoother or rougher averages; the same signal in the noise is believed less or more."""
    weak, plain, strong = (classified(f"{SHORT} --reduce_snr {factor}") for factor in (0.2, 1, 5))
    power = [shell_power(found.averages)[HIGH].mean() for found in (weak, plain, strong)]
    assert 2 * power[0] < power[1] < power[2] / 1.1
    tables = [read_star(f"{found.prefix(0)}ssnr.xmd")["ctf000001"] for found in (weak, plain, strong)]
    snr = [wiener / (1 - wiener) for wiener in (table.numbers("mlfWiener") for table in tables)]
    np.testing.assert_allclose(snr[0], 0.2 * snr[1], rtol=1e-6)
    np.testing.assert_allclose(snr[2], 5 * snr[1], rtol=1e-6)


def test_reduce_snr_of_one_is_the_default(classified):
    np.testing.assert_array_equal(classified(f"{SHORT} --reduce_snr 1").averages, classified(SHORT).averages)


@pytest.mark.parametrize("references", [None, ""])
@pytest.mark.parametrize("first, high", [(24, 10), (0, 20), (24, 0)])
def test_limits_of_resolution(first, high, references, classified):
    found = classified(f"--mirror --fast --iter 20 --eps 1e-3 --limit_resolution {first} {high} 999",
                       references=references)
    maxres = found.column("maxres")
    assert np.all(np.diff(maxres) >= 0)
    if first:
        assert maxres[0] == maxres[1] == pytest.approx(PIXEL / first)
    if high:
        assert maxres[-1] == max(maxres) == pytest.approx(PIXEL / high)
    else:
        assert maxres[-1] > 0.3
    shells = read_star(f"{found.oroot}noise.xmd")["ctf000001"].numbers("resolutionFreqFourier")
    assert shells.max() == pytest.approx(maxres[-1], abs=1 / 32)
    power = shell_power(found.averages)
    assert power[int(32 * maxres[-1]) + 3 :].sum() < 1e-3 * power.sum()


def test_high_limit_finer_than_nyquist_is_none(classified):
    finer, none = (classified(f"--mirror --fast --iter 3 --limit_resolution 0 {high} 999") for high in (4, 0))
    np.testing.assert_array_equal(finer.averages, none.averages)


def test_low_limit(planted, classified, tmp_path):
    """What references hold at lower resolution than said has no say in classes and poses."""
    y, x = np.mgrid[:32, :32] - 16
    images = pixels(planted.references)
    weights = np.array([10, -10, 0])[:, None, None] * images.std()
    write_stack(tmp_path / "refs.mrcs", images + weights * np.exp(-(x**2 + y**2) / 32), PIXEL)

    def found(options, references=None):
        options = f"--mirror --fix_high 7 --iter 0 {options}"
        return classified(options, references=references and str(tmp_path / "refs.mrcs"))

    limited = "--limit_resolution 0 0 20"
    right, misled = found(limited), found(limited, "misleading")
    assert agreement(right, misled) == 1
    for label in ("flip", "anglePsi"):
        assert np.mean(np.abs(right.images[label] - misled.images[label]) < 0.5) > 0.98
    assert agreement(found(""), found("", "misleading")) < 0.7
    assert np.mean(right.images["ref"] == planted.truth["ref"]) > 0.75


def test_fix_high(classified):
    for references in (None, ""):
        found = classified("--mirror --fast --fix_high 12 --iter 3 --eps 0", references=references)
        assert found.column("maxres") == [0.25] * 4


def test_include_allfreqs(planted, classified):
    found = classified("--mirror --fast --include_allfreqs --iter 3")
    assert set(found.column("maxres")) == {0.5}
    assert score(planted.truth, found.images.columns)["ari"] == 1
    shells = read_star(f"{found.oroot}noise.xmd")["ctf000001"].numbers("resolutionFreqFourier")
    np.testing.assert_allclose(shells, np.arange(1, 17) / 32)


def test_include_allfreqs_looks_at_the_lowest_ones_as_well(classified):
    """Where --limit_resolution would stop the probabilities, had it not been said."""
    options = "--mirror --fast --include_allfreqs --iter 1"
    all_of_them, limited = classified(options), classified(f"{options} --limit_resolution 0 0 90")
    np.testing.assert_array_equal(all_of_them.averages, limited.averages)


# ---- noise groups

def test_noise_groups_by_defocus(planted, classified):
    found = classified(f"{SHORT} --group_size 20")
    table, member = groups(found), found.images["defocusGroup"]
    mean = (planted.truth["ctfDefocusU"] + planted.truth["ctfDefocusV"]) / 2
    assert len(table) == found.info()["noiseGroups"] == 6
    np.testing.assert_array_equal(table["count"], np.bincount(member)[1:])
    assert table["count"].min() >= 20
    for g in range(1, 7):
        here = mean[member == g]
        extent = table["defocusMin"][g - 1], table["defocusMax"][g - 1]
        assert extent == pytest.approx((here.min(), here.max()), abs=0.01)
    assert (table["defocusMax"][:-1] < table["defocusMin"][1:]).all()


def test_group_size_bounds_the_number_of_groups(classified):
    assert [len(groups(classified(f"{SHORT} {option}"))) for option in
            ("", "--group_size 250", "--group_size 60", "--group_size 15", "--group_size 1")] == [1, 1, 2, 8, 8]


@pytest.fixture(scope="module")
def two_microscopes(planted, tmp_path_factory):
    """File of the particles in two optics groups; to the second's images white noise of variance 2 was added."""
    folder, second = tmp_path_factory.mktemp("two"), np.arange(120) % 3 == 0
    images = pixels(planted.stack)
    images[second] += np.random.default_rng(3).normal(0, np.sqrt(2), images[second].shape)

    def optics(columns):
        return {label: [1, 2] if label == "rlnOpticsGroup" else [values[0]] * 2 for label, values in columns.items()}

    star = particles_of(planted, folder, optics, rlnOpticsGroup=1 + second)
    blocks = {name: dict(table.columns) for name, table in read_star(star).items()}
    blocks["particles"]["rlnImageName"] = [f"{i + 1:06d}@noisier.mrcs" for i in range(120)]
    write_stack(folder / "noisier.mrcs", images, PIXEL)
    write_star(star, blocks)
    return star


def test_noise_groups_by_optics(two_microscopes, classified):
    """The difference of the two spectra is the noise that the second has more."""
    options = f"{SHORT} --group_size 20 --noise_groups"
    optics, pooled, auto = (classified(f"{options} {kind}", images=two_microscopes)
                            for kind in ("optics", "pooled", "auto"))
    table = groups(optics)
    assert list(table["opticsGroup"]) == [1, 2] and list(table["count"]) == [80, 40]
    np.testing.assert_array_equal(optics.images["defocusGroup"], 1 + (np.arange(120) % 3 == 0))
    first, second = noise_spectra(optics)
    np.testing.assert_allclose((second - first)[1:], 2, rtol=0.25)
    assert len(groups(pooled)) == 1 and groups(pooled)["opticsGroup"][0] == 0
    np.testing.assert_allclose(noise_spectra(pooled)[0], (2 * first + second) / 3, rtol=0.1)
    assert list(groups(auto)["opticsGroup"]) == [1] * 4 + [2] * 2
    assert optics.info()["logLikelihood"] > pooled.info()["logLikelihood"] + 1000


# ---- search

@pytest.mark.parametrize("high, rotations", [(10, 48), (7, 68)])
def test_var_psi(high, rotations, classified):
    """Steps of a third of the finest detail at the radius: 2 pi 8 px / (high / 3 / 3 Å), in fours."""
    options = f"--mirror --radius 8 --iter 1 --fix_high {high}"
    tied, given = classified(f"{options} --var_psi"), classified(f"{options} --psi_step 9")

    def on_grid(found):
        turns = found.images.numbers("anglePsi") * rotations / 360
        return np.mean(np.abs(turns - np.rint(turns)) < 0.02)       # poses without a rival within a step are exact

    assert on_grid(tied) > 0.2 and on_grid(given) < 0.15


@pytest.mark.parametrize("high, step", [(24, 2), (12, 1)])
def test_var_trans(high, step, classified):
    options = f"--mirror --fix_high {high} --iter 1"
    tied, given = classified(f"{options} --var_trans"), classified(options)

    def on_grid(found, step):
        shifts = np.concatenate([found.images.numbers(label) for label in ("shiftX", "shiftY")]) / step
        return np.mean(np.abs(shifts - np.rint(shifts)) < 0.02)

    if step == 1:
        np.testing.assert_array_equal(tied.averages, given.averages)
    else:
        assert on_grid(tied, step) > 0.6 and on_grid(given, step) < 0.3
        assert score_of_shifts(tied) == pytest.approx(score_of_shifts(given), rel=0.3)


def score_of_shifts(outcome):
    """Root mean square shift."""
    return np.sqrt(np.mean(outcome.images.numbers("shiftX") ** 2 + outcome.images.numbers("shiftY") ** 2))


# ---- model

def test_noise_makes_the_first_references(classified):
    """It is that of the classification without CTF that the references come from."""
    options = "--nref 2 --mirror --fast --fix_high 20 --min_class 0 --iter 0 --noise"
    starts = [re.search(r"start 1 of 1: log-likelihood (\S+),", classified(f"{options} {noise}", references="").log)[1]
              for noise in (1, 8)]
    assert starts[0] != starts[1]


def test_offset_is_a_first_value(classified):
    sigma = classified(f"{SHORT} --offset 1.1").column("sigmaOffset")
    assert sigma[0] == 1.1 and sigma[2] == pytest.approx(1.5, abs=0.35)


def test_fixed_parameters_stay_and_the_others_do_not(classified):
    options = ("--fix_sigma_noise", "--fix_sigma_offset", "--fix_fractions")
    for option in options:
        found = classified(f"{SHORT} {option} --offset 2.5")
        assert found.column("sigmaNoise")[0] == pytest.approx(np.sqrt((noise_spectra(found, 0)).mean()), rel=0.25)
        moved = (not np.array_equal(noise_spectra(found, 0), noise_spectra(found, 2)),
                 found.info()["sigmaOffset"] != 2.5,
                 not np.allclose(checkpoint(found, 2)[0]["model.fractions"], 1 / 3))
        assert moved == tuple(option != other for other in options)
        assert (len(set(found.column("sigmaNoise"))) == 1) == (option == "--fix_sigma_noise")


def test_norm_recovers_contrasts(tmp_path, classified):
    planted = Planted(tmp_path, f"--views 2 -n 100 --box 32 --mirror {BEHIND_CTF} --snr 0.5 --contrast 0.3 --offset 1 "
                      "--phase_flip")
    options = "--mirror --fix_high 8 --iter 6"
    found, plain = (classified(f"{options} {norm}", images=planted.star, references=planted.references)
                    for norm in ("--norm", ""))
    scale, true = found.images.numbers("intScale"), planted.truth["intScale"]
    assert correlation(scale, true) > 0.9
    assert scale.mean() == pytest.approx(1, abs=1e-6) and np.std(scale / true * true.mean()) < 0.15
    assert "intScale" not in plain.images
    assert found.info()["logLikelihood"] > plain.info()["logLikelihood"] + 100


# ---- starts

def test_restarts_keep_the_most_likely(classified):
    """All of them are of the classification without CTF that comes first."""
    options = "--nref 3 --mirror --fast --min_class 0 --fix_high 12 --iter 0"
    found, one = (classified(f"{options} --restarts {count}", references="") for count in (3, 1))
    starts = [float(value) for value in re.findall(r"start \d of 3: log-likelihood (\S+),", found.log)]
    assert len(starts) == 3 and len(set(starts)) == 3
    assert starts[0] == float(re.search(r"start 1 of 1: log-likelihood (\S+),", one.log)[1])
    assert (np.argmax(starts) == 0) == np.array_equal(found.averages, one.averages)


def test_random_seed_repeats_a_run(planted, classified, tmp_path):
    """Moves of classes at the start and all."""
    options = "--nref 4 --mirror --fast --fix_high 12 --psi_step 10 --iter 1"
    again = run_program("-i", planted.star, *options.split(), "--random_seed", 1, "--oroot", tmp_path / "ml2d_",
                        program="mlf_align2d")
    one = classified(options, references="")
    np.testing.assert_array_equal(one.averages, again.averages)
    np.testing.assert_array_equal(noise_spectra(one), noise_spectra(again))
    assert "split class" in one.log
