"""What ml_tomo assumes and how it averages: noise, halves, masks, weights; imputation, regularisation, filters."""
import numpy as np
import pytest

from mlalign.programs.engine.missing import Region
from mlalign.programs.formats.mrc import write_volume, write_volume_stack
from mlalign.programs.formats.star import write_star
from mlalign.tests.programs.measures import correlation
from mlalign.tests.programs.tomo_planted import BOX, COUNT, POSES, TomoPlanted, inside, run_tomo, turned, volumes

POSED = "--dont_align --iter 1"


@pytest.fixture(scope="module")
def planted(tomo_scene):
    return tomo_scene.planted


@pytest.fixture(scope="module")
def classified(tomo_scene):
    return tomo_scene.classified


def test_dont_impute_and_impute_iter(planted, classified):
    """Where what was observed covers everything, imputation goes to the weighted average."""
    divided = classified(f"{POSED} --dont_impute", particles=planted.true).averages
    once = classified(POSED, particles=planted.true).averages
    often = classified(f"{POSED} --impute_iter 12", particles=planted.true).averages
    assert np.abs(often - divided).max() < 0.1 * np.abs(once - divided).max()
    assert np.abs(once - divided).max() > 0.01


def test_noimp_threshold(planted, classified):
    """Beyond more particles than there are, no frequency was seen enough."""
    found = classified(f"{POSED} --dont_impute --noimp_threshold 100", particles=planted.true)
    assert np.abs(found.averages).max() < 1e-6


def test_sigma_shells(classified):
    plain, shells = classified(), classified("--sigma_shells")
    assert shells.info(2)["logLikelihood"] > plain.info(2)["logLikelihood"]


def test_fixed_parameters(classified):
    found = classified("--fix_sigma_noise --fix_sigma_offset --noise 1.3 --offset 2.5")
    for iteration in (0, 1, 2):
        assert found.info(iteration)["sigmaNoise"] == pytest.approx(1.3, rel=1e-5)
        assert found.info(iteration)["sigmaOffset"] == pytest.approx(2.5)


def test_half_sets(classified):
    plain, halves = classified(), classified("--half_sets")
    assert "halfSet" not in plain.particles
    for iteration in (1, 2, None):
        half = halves.images(iteration)["halfSet"]
        np.testing.assert_array_equal(half, halves.particles["halfSet"])
        assert set(half) == {1, 2} and abs(np.sum(half == 1) - COUNT / 2) <= 1
    for ref in (1, 2):
        assert halves.fsc(2, ref)[1].mean() < plain.fsc(2, ref)[1].mean() + 0.05


def test_regularisation_draws_references_together(classified):
    plain, drawn = classified("--iter 1"), classified("--iter 1 --reg0 5 --regF 0 --reg_steps 5")
    assert correlation(*drawn.averages_of(1)) > correlation(*plain.averages_of(1)) + 0.2
    assert correlation(*drawn.averages_of(0)) > correlation(*plain.averages_of(0)) + 0.2


@pytest.mark.parametrize("option, iteration", [("--filter", 1), ("--ini_filter", 0)])
def test_filters_leave_out_frequencies(option, iteration, planted, classified):
    start = "--nref 2 --keep_angles --iter 1 --maxres 0.45"
    plain, filtered = (classified(words, particles=planted.true, references="").averages_of(iteration)
                       for words in (start, f"{start} {option}"))

    def high(volumes):
        k = np.fft.fftfreq(BOX)
        far = np.sqrt(k**2 + k[:, None] ** 2 + k[:, None, None] ** 2) > 0.3
        return (np.abs(np.fft.fftn(volumes, axes=(1, 2, 3)))[:, far] ** 2).sum()

    assert high(filtered) < 0.7 * high(plain)


def test_mask_tells_classes_apart_by_what_is_inside(planted, classified, tmp_path):
    """References that differ in two places: the mask says which of them counts."""
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2

    def blob(centre):
        return np.exp(-((x - centre)**2 + y**2 + z**2) / 4.5)

    left, right = (np.sqrt((x - centre)**2 + y**2 + z**2) < 4 for centre in (-3, 3))
    write_volume_stack(tmp_path / "refs.mrcs", np.stack([blob(-3), blob(3)]))       # each has one of the two
    rng = np.random.default_rng(1)
    classes = np.arange(12) % 2
    mine = [(1 - k) * blob(-3) + 2 * blob(3) + 0.3 * rng.standard_normal((BOX,) * 3) for k in classes]
    write_volume_stack(tmp_path / "particles.mrcs", np.stack(mine))
    write_volume(tmp_path / "mask.mrc", left.astype(np.float32))
    write_star(tmp_path / "in.xmd", {"particles": {"image": [f"{i}@{tmp_path}/particles.mrcs" for i in range(1, 13)],
                                                   **{label: np.zeros(12) for label in POSES}}})
    words = ["-i", tmp_path / "in.xmd", "--ref", tmp_path / "refs.mrcs", "--dont_align", "--iter", 1, "--ang", 30]
    focused = run_tomo(*words, "--oroot", tmp_path / "focused", "--mask", tmp_path / "mask.mrc")
    np.testing.assert_array_equal(focused.particles["ref"] - 1, classes)
    everything = run_tomo(*words, "--oroot", tmp_path / "all")
    assert (everything.particles["ref"] == 2).sum() > 9         # most alike on the right, where all have twice as much


def test_weights_instead_of_a_wedge(planted, classified, tmp_path):
    """A volume of the wedge's weights stands for the wedge."""
    kz, ky, kx = np.meshgrid(*[2 * np.pi * (np.arange(BOX) - BOX // 2) / BOX] * 3, indexing="ij")
    seen = Region(1, "wedge_y", y=(-60, 60)).observed(kx, ky, kz).astype(np.float32)
    write_volume(tmp_path / "weight.mrc", seen)
    write_star(tmp_path / "regions.xmd", {"noname": {
        "missingRegionNumber": [1], "missingRegionType": ["weight"],
        "missingRegionWeight": [f"{tmp_path}/weight.mrc"]}})
    found = classified(f"--iter 1 --missing {tmp_path / 'regions.xmd'}")
    np.testing.assert_array_equal(found.particles["ref"], planted.truth["ref"])
    assert np.median(turned(found.particles, classified("--iter 1").particles)) < 1


def test_one_sided_wedge(tmp_path):
    planted = TomoPlanted(tmp_path, f"--phantoms 1 -n 8 --box {BOX} --snr 2 --offset 0 --wedge 0 70 --seed 2")
    found = run_tomo("-i", planted.true, "--missing", planted.missing, "--nref", 1, "--only_average", "--oroot",
                     tmp_path / "half", "--ang", 30)
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    length = np.sqrt(x**2 + y**2 + z**2)
    seen = found.wedges()[0][(length > 1.5) & (length < 7)]
    assert seen.mean() == pytest.approx(70 / 180, abs=0.07)
    assert correlation(found.averages[0][inside()], volumes(planted.references)[0][inside()]) > 0.8
