"""Every way of running ml_tomo does what its help says, on subtomograms whose truth is known."""
import re
from pathlib import Path

import numpy as np
import pytest

from mlalign.programs import ml_tomo
from mlalign.programs.engine.sphere import symmetry
from mlalign.programs.formats.mrc import read_volume, write_volume_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.tests.programs.measures import correlation
from mlalign.tests.programs.tomo_planted import (
    BOX,
    COUNT,
    POSES,
    TomoPlanted,
    inside,
    run_tomo,
    shifts,
    turned,
    volumes,
)

POSED = "--dont_align --iter 1"


@pytest.fixture(scope="module")
def planted(tomo_scene):
    return tomo_scene.planted


@pytest.fixture(scope="module")
def classified(tomo_scene):
    return tomo_scene.classified


def same_files(one, other, names=("_img.xmd", "_ref000001.mrc", "_ref000002.mrc", ".fsc")):
    return all(Path(one.oroot + name).read_bytes() == Path(other.oroot + name).read_bytes() for name in names)


# ---- references

def test_ref(planted, classified):
    found = classified()
    scores = found.scores(planted.truth)
    assert scores["ari"] == 1 and scores["angle"] < 15 and scores["shift"] < 1


def test_nref_from_chance(planted, tmp_path):
    found = run_tomo("-i", planted.particles, "--missing", planted.missing, "--nref", 2, "--oroot", tmp_path / "run",
                     *"--ang 30 --iter 4 --maxres 0.3 --limit_trans 2 --no_refine --restarts 2 --random_seed 1".split())
    assert len(found.classes()) == 2 and len(re.findall("start [12]: log-likelihood", found.log)) == 2
    assert found.info(0)["maxres"] < found.info(4)["maxres"] == pytest.approx(0.3)      # begins at low resolution
    assert found.scores(planted.truth)["accuracy"] > 0.7


def test_no_grow_is_at_full_resolution_at_once(classified):
    found = classified("--nref 2 --iter 3", references="")              # with --no_grow
    assert [found.info(i)["maxres"] for i in range(4)] == pytest.approx([0.3] * 4)
    assert found.info(3)["logLikelihood"] > found.info(1)["logLikelihood"]


def test_references_with_weights(planted, classified, tmp_path):
    write_star(tmp_path / "refs.xmd", {"classes": {"image": [f"{k}@{planted.references}" for k in (2, 1)],
                                                   "weight": [3.0, 1.0]}})
    found = classified("--iter 0", references=str(tmp_path / "refs.xmd"))
    np.testing.assert_allclose(found.classes(0)["weight"], [0.75, 0.25])
    np.testing.assert_allclose(found.averages_of(0), classified("--iter 0").averages_of(0)[::-1], atol=1e-5)


def test_fractions(classified, tmp_path):
    (tmp_path / "fractions.txt").write_text("0.2 0.8")
    found = classified(f"--iter 1 --frac {tmp_path / 'fractions.txt'} --fix_fractions")
    np.testing.assert_allclose(found.classes(1)["weight"], [0.2, 0.8])


def test_maxcc_knows_no_grey_scale(planted, classified, tmp_path):
    write_volume_stack(tmp_path / "scaled.mrcs", 7 * volumes(planted.references))
    plain = classified("--maxCC --iter 1")
    scaled = classified("--maxCC --iter 1", references=str(tmp_path / "scaled.mrcs"))
    for label in ("ref", *POSES):
        np.testing.assert_allclose(scaled.particles[label], plain.particles[label], atol=1e-4, err_msg=label)
    np.testing.assert_allclose(scaled.averages, plain.averages, atol=1e-4)
    assert plain.scores(planted.truth)["ari"] == 1


# ---- known poses

def test_only_average_is_the_average_of_the_particles(planted, classified):
    found = classified("--only_average --nref 2", particles=planted.true, references="")
    assert found.iterations()[-1] == 1
    for label in ("ref", *POSES[3:]):
        np.testing.assert_allclose(found.particles[label], planted.truth[label], atol=1e-4)
    assert turned(found.particles, planted.truth).max() < 1e-3
    for average, true in zip(found.averages, volumes(planted.references)):
        assert correlation(average[inside()], true[inside()]) > 0.8


def test_only_average_without_poses_and_wedges_is_the_mean(planted, classified, tmp_path):
    still = {label: np.zeros(COUNT) for label in POSES}
    path = planted.table(tmp_path / "still.xmd", without=["missingRegionNumber"], ref=np.ones(COUNT, int), **still)
    found = run_tomo("-i", path, "--nref", 1, "--only_average", "--oroot", tmp_path / "mean", "--ang", 30,
                     "--radius", BOX / 2 - 1)
    mean = planted.volumes.mean(0)
    spectrum = np.fft.fftn(mean)
    spectrum[0, 0, 0] = 0
    mean = np.fft.ifftn(spectrum).real
    assert correlation(found.averages[0][inside(5)], mean[inside(5)]) > 0.95
    slope = np.polyfit(mean[inside(5)], found.averages[0][inside(5)], 1)[0]
    assert slope == pytest.approx(1, abs=0.1)


def test_keep_angles(planted, classified):
    """One class from given poses is a good reference at once; from chance it is none."""
    true = volumes(planted.references)
    kept = classified("--nref 1 --keep_angles --iter 0", particles=planted.true, references="").averages_of(0)[0]
    lost = classified("--nref 1 --iter 0", particles=planted.true, references="").averages_of(0)[0]
    both = np.tensordot(np.bincount(planted.truth["ref"])[1:], true, 1)
    assert correlation(kept[inside()], both[inside()]) > 0.75
    assert correlation(lost[inside()], both[inside()]) < correlation(kept[inside()], both[inside()]) - 0.2


def test_dont_align_moves_nothing(planted, classified):
    found = classified(POSED, particles=planted.true)
    assert turned(found.particles, planted.truth).max() < 1e-3
    np.testing.assert_allclose(shifts(found.particles), shifts(planted.truth), atol=1e-4)
    np.testing.assert_array_equal(found.particles["ref"], planted.truth["ref"])


def test_dont_rotate_finds_shifts(planted, classified, tmp_path):
    unshifted = planted.table(tmp_path / "unshifted.xmd", planted.true, shiftX=np.zeros(COUNT), shiftY=np.zeros(COUNT),
                              shiftZ=np.zeros(COUNT))
    found = classified("--dont_rotate --iter 1", particles=unshifted)
    assert turned(found.particles, planted.truth).max() < 1e-3
    off = np.linalg.norm(shifts(found.particles) - shifts(planted.truth), axis=1)
    assert np.median(off) < 0.7 and np.median(np.linalg.norm(shifts(planted.truth), axis=1)) > 0.9


# ---- search

def test_local_search_stays_near_and_goes_on(planted, classified):
    """Particles 12 degrees off are found by steps of 8, not farther than the window, however it is limited."""
    given = read_star(planted.particles)["particles"]
    local = classified("--ang 8 --ang_search 16 --iter 1")
    away = turned(local.particles, given)
    assert away.max() <= 2 * 16 + 8 and away.max() > 4
    assert local.info(1)["angSearch"] == 16
    before, after = np.median(turned(given, planted.truth)), np.median(turned(local.particles, planted.truth))
    assert before == pytest.approx(12, abs=0.1) and after < 8


def test_anchor(planted, classified, tmp_path):
    """Three iterations within 15 degrees (of direction, and of psi) go farther than one, unless anchored."""
    far = planted.table(tmp_path / "far.xmd", planted.true, angleRot=planted.truth["angleRot"] + 80)
    given = read_star(far)["particles"]
    free, anchored = (turned(classified(f"--ang 15 --ang_search 15 --iter 3 {option}", particles=far).particles, given)
                      for option in ("", "--anchor"))
    assert anchored.max() <= 2 * 15 + 1e-3 < free.max()


def test_dont_limit_psirange(planted, classified, tmp_path):
    """Where only psi is wrong, by 120 degrees, a search of all psi finds it and one of a few does not."""
    wrong = planted.table(tmp_path / "psi.xmd", planted.true, anglePsi=planted.truth["anglePsi"] + 120)
    limited = classified("--ang 12 --ang_search 12 --iter 1", particles=wrong)
    free = classified("--ang 12 --ang_search 12 --iter 1 --dont_limit_psirange", particles=wrong)
    assert np.median(turned(free.particles, planted.truth)) < 15
    assert np.median(turned(limited.particles, planted.truth)) > 60


def test_tilt_limits(planted, classified):
    found = classified("--tilt0 20 --tiltF 80 --iter 1")
    tilt = found.particles.numbers("angleTilt")
    assert tilt.min() >= 20 - 1e-3 and tilt.max() <= 80 + 1e-3
    everywhere = classified("--iter 1").particles.numbers("angleTilt")
    assert everywhere.max() > 90


def test_limit_trans(classified):
    found = classified("--limit_trans 1 --iter 1")
    assert np.linalg.norm(shifts(found.particles), axis=1).max() == pytest.approx(1)
    assert np.linalg.norm(shifts(classified("--iter 1").particles), axis=1).max() > 1


def test_perturb_and_small_angle_turn_the_grid(classified):
    plain, perturbed = classified("--iter 1"), classified("--iter 1 --perturb")
    bare = classified("--iter 1 --no_SMALLANGLE")
    assert turned(plain.particles, perturbed.particles).min() > 0.1
    assert turned(plain.particles, bare.particles).min() > 0.1
    np.testing.assert_array_equal(plain.particles["ref"], perturbed.particles["ref"])


def test_psi_sampling(classified):
    found = classified("--psi_sampling 60 --no_SMALLANGLE --iter 1")
    finer = classified("--psi_sampling 20 --no_SMALLANGLE --iter 1")
    assert finer.info(1)["logLikelihood"] > found.info(1)["logLikelihood"]


@pytest.mark.parametrize("name", ["c2", "d2"])
def test_symmetry(name, classified):
    """Averages do not change when turned by the group's rotations, exact in the voxels for half turns."""
    average = classified(f"--sym {name} --iter 1").averages[0]
    axes = {"c2": [(1, 2)], "d2": [(1, 2), (0, 2), (0, 1)]}[name]
    middle = average[1:, 1:, 1:]                                # centred on the origin
    for plane in axes:
        assert correlation(np.rot90(middle, 2, plane), middle) > 0.999
    assert correlation(np.rot90(classified("--iter 1").averages[0][1:, 1:, 1:], 2, (1, 2)), middle) < 0.95
    assert len(symmetry(name)) == {"c2": 2, "d2": 4}[name]


# ---- size, stages, numbers

def test_dim(planted, classified):
    found = classified("--dim 12 --maxres 0.4 --iter 1")
    assert found.info(1)["workingBox"] == 12 and found.info(1)["maxres"] == pytest.approx(0.4 * 12 / BOX)
    assert found.averages.shape[1:] == (BOX,) * 3
    scores = found.scores(planted.truth)
    assert scores["ari"] == 1 and scores["shift"] < 1
    for average, other in zip(found.averages, classified("--iter 1").averages):
        assert correlation(average, other) > 0.8


def test_radius(classified):
    found = classified("--radius 6 --iter 1").averages
    assert not found[:, ~inside(6.1)].any() and found[:, inside(5)].any()
    assert classified("--iter 1").averages[:, ~inside(6.1)].any()


def test_stages_in_one_command(planted, classified):
    found = classified("--ang 30 15 --ang_search -1 30 --iter 1 1 --dim 12 -1 --maxres 0.4 0.35")
    assert found.iterations() == [0, 1, 2]
    assert [found.info(i)["stage"] for i in (1, 2)] == [1, 2]
    assert [found.info(i)["workingBox"] for i in (1, 2)] == [12, BOX]
    assert [found.info(i)["angularSampling"] for i in (1, 2)] == [30, 15]
    assert [found.info(i)["angSearch"] for i in (1, 2)] == [-1, 30]
    assert "stage 2: 15 degrees within 30, box of 16 voxels" in found.log
    scores = found.scores(planted.truth)
    assert scores["ari"] == 1 and scores["angle"] < 10


def test_no_refine_ends_with_the_last_iteration(classified):
    found = classified()
    for name in ("_img.xmd", "_ref000001.mrc", "_ref000002.mrc", "_wedge000001.mrc", ".fsc"):
        assert Path(found.oroot + name).read_bytes() == Path(f"{found.oroot}_it000002{name}").read_bytes()


def test_istart(classified):
    found, plain = classified("--istart 5 --iter 1 --reg0 5"), classified("--iter 1")
    assert found.iterations() == [4, 5]
    np.testing.assert_allclose(found.averages_of(4), plain.averages_of(0))      # not drawn together to begin with


def test_same_seed_same_files_on_any_number_of_threads(tomo_scene, classified):
    words = "--iter 1 --perturb --restarts 1 --nref 2"
    one = classified(words, references="")
    again = run_tomo(*tomo_scene.words(tomo_scene.new_folder("again") / "run", words, references=""))
    assert same_files(one, again)
    threads = classified(f"{words} --thr 2", references="")
    np.testing.assert_array_equal(threads.particles["ref"], one.particles["ref"])
    np.testing.assert_allclose(threads.averages, one.averages, atol=1e-4)
    other = classified(f"{words} --random_seed 2", references="")
    assert not same_files(one, other)


def test_little_memory_is_the_same_answer(classified):
    plain = classified("--iter 1")
    assert same_files(plain, classified("--iter 1 --memory 1e-6"))


def test_what_is_accepted_for_old_command_lines_does_nothing(classified):
    assert same_files(classified("--iter 1"), classified("--iter 1 --trymindiff_factor 0.5"))


def test_every_option_is_tried_in_these_tests():
    files = [Path(__file__).with_name("test_gpu.py"), *Path(__file__).parent.glob("*ml_tomo*.py")]
    tests = "".join(path.read_text() for path in files)
    for action in ml_tomo.parser()._actions:
        if action.dest not in ("help", "version"):
            assert re.search(rf"{action.option_strings[-1]}\b", tests), action.option_strings


def test_doc_gives_other_poses(planted, classified):
    found = classified(f"{POSED} --doc {planted.true}")
    assert turned(found.particles, planted.truth).max() < 1e-3
    np.testing.assert_array_equal(found.particles["ref"], planted.truth["ref"])


def test_pixel_size(classified):
    found = classified("--iter 1 --pixel_size 5")
    assert found.info(1)["samplingRate"] == 5 and read_volume(found.average_path(1, 1))[1] == pytest.approx(5)
    np.testing.assert_allclose(found.fsc(1, 1)[0], 2 * classified("--iter 1").fsc(1, 1)[0])


@pytest.mark.parametrize("simulated, options", [
    ("--box 17 --snr 2 --offset 0.5 --seed 3 --stack", "--dim 12 --iter 1"),
    (f"--box {BOX} --snr 2 --offset 0.5 --seed 4 --noise_everywhere", "--iter 1 --limit_trans 2")])
def test_odd_boxes_and_noise_where_nothing_was_seen(simulated, options, tmp_path):
    planted = TomoPlanted(tmp_path, f"--phantoms 2 -n 12 {simulated}")
    found = run_tomo("-i", planted.particles, "--missing", planted.missing, "--ref", planted.references, "--oroot",
                     tmp_path / "run", *"--ang 30 --maxres 0.3 --random_seed 1".split(), *options.split())
    scores = found.scores(planted.truth)
    assert scores["ari"] == 1 and scores["angle"] < 6 and scores["shift"] < 0.4
    assert found.averages.shape[1] == (17 if "17" in simulated else BOX)
