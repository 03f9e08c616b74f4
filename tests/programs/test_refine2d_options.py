"""What each option of refine2d does."""
import numpy as np
import pytest

from mlalign.programs import eman_files
from mlalign.programs.formats.hdf import HdfStack
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.geometry import pose_matrix
from mlalign.programs.scoring import adjusted_rand_index, score
from mlalign.tests.programs.conftest import PIXEL, pixels
from mlalign.tests.programs.refine2d_scene import (
    BEHIND_CTF,
    QUICK,
    Scene,
    edgemean,
    hdf_of,
    likeness,
    moved,
    run_refine2d,
    same,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def planted(scene):
    return scene.planted


@pytest.fixture(scope="module")
def behind_ctf(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp, BEHIND_CTF)


def recovered(planted, run):
    return adjusted_rand_index(planted.truth, run.images.columns)


def places(poses):
    """Where in the images the particles' centres are (N, 2), of psi, shift x, shift y and flip."""
    matrix = pose_matrix(*poses)
    return -np.linalg.solve(matrix[:, :2, :2], matrix[:, :2, 2:])[..., 0]


def vectors(poses):
    return tuple(column.ravel() for column in (poses.psi, poses.shift_x, poses.shift_y, poses.flip))


# ---- input

def test_particles_left_out(planted, tmp_path):
    out = [0, 7, 100, 239]
    (tmp_path / "list.txt").write_text("7 0,100\n239\n7")
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --exclude {tmp_path / 'list.txt'} --resultmx")
    there = np.setdiff1d(np.arange(240), out)
    assert "236 particles of 32 px (4 left out)" in run.log
    assert len(run.images) == 240 and (run.images["ref"][out] == 0).all() and run.images["ref"][there].min() == 1
    assert (run.images["enabled"] == np.isin(np.arange(240), there)).all() and not run.images["used"][out].any()
    for name in ("classmx_01.hdf", "resultmx_01.hdf"):
        assert (eman_files.read_classmx(run.path / name).ref == run.images["ref"] - 1).all()
    averages = run.eman_averages(1)
    assert sorted(np.concatenate(averages.members + averages.excluded)) == there.tolist()
    assert run.classes()["classCount"].sum() == 236 and HdfStack(run.path / "simmx_01.hdf").shape[1] == 240
    assert (run.coordinates().classes == run.images["ref"]).all()
    # first classes are of the rest, which is listed
    listed = open_images(str(run.path / "input_subset.lst")).count
    assert listed == HdfStack(run.path / "classmx_00.hdf").shape[1] == 236
    assert recovered(planted, run) > 0.8


def test_initial_averages(scene, planted):
    run = scene.classified(f"--initial {planted.references}")
    there = {path.name for path in run.path.iterdir()}
    assert "particles assigned to 6 averages" in run.log
    assert not there & {"classes_init.hdf", "classmx_00.hdf", "input_fp.hdf"}
    # class k stays where average k was
    assert (run.images["ref"] == planted.truth["ref"]).mean() > 0.95


def test_initial_averages_of_another_number(planted, tmp_path):
    """Empty classes of an earlier run are no averages to start from."""
    references = np.concatenate([np.zeros((1, 32, 32), np.float32), pixels(planted.references)[:4]])
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --initial {hdf_of(references, tmp_path / 'i.hdf')}")
    assert "particles assigned to 4 averages" in run.log and len(run.averages) == 6
    assert recovered(planted, run) > 0.5 and run.column("changed") == [1]


def test_a_pixel_size(planted, tmp_path):
    write_stack(tmp_path / "bare.mrcs", pixels(planted.stack))
    run = run_refine2d(tmp_path / "bare.mrcs", tmp_path / "out", f"{QUICK} --sampling_rate 5")
    assert run.pixel_size() == 5 and run.classes()["resolution"].min() >= 10 - 1e-6
    assert HdfStack(run.path / "classes_01.hdf").pixel_size == 5
    bare = run_refine2d(tmp_path / "bare.mrcs", tmp_path / "bare", f"{QUICK} --simcmp frc")
    assert (bare.classes()["resolution"] == -1).all() and recovered(planted, bare) > 0.8
    assert "--simcmp: without a pixel size no frequency is left out by maxres" in bare.log


def test_phases_flipped_by_star_and_by_headers(behind_ctf, tmp_path):
    """Flipping particles gives averages that look like the phantoms; CTFs in EMAN's headers give the same."""
    planted, options = behind_ctf.planted, "--ncls 4 --phase_flip"
    flipped, plain = behind_ctf.classified(options), behind_ctf.classified("--ncls 4")
    assert recovered(planted, flipped) > 0.9

    table = open_images(planted.star).metadata
    text = [f"E{(u + v) / 2e4:.9g} {(u - v) / 1e4:.9g} {angle:.9g} 0 10 300 2.7 3 0 0 0" for u, v, angle in zip(*(
        table[label] for label in ("ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle")))]
    stack = hdf_of(pixels(planted.stack), tmp_path / "x.hdf", [{"ctf": line} for line in text])
    headers = run_refine2d(stack, tmp_path / "out", f"{QUICK} {options}")
    assert adjusted_rand_index(flipped.images.columns, headers.images.columns) > 0.95
    assert not np.allclose(flipped.averages, plain.averages, atol=0.1 * np.abs(plain.averages).max())
    assert flipped.classes()["maxCC"].mean() > plain.classes()["maxCC"].mean()


# ---- classification

def test_projections_of_length_1(scene):
    plain, unit = (np.linalg.norm(scene.classified(options).projections()[0], axis=1)
                   for options in ("", "--normproj"))
    assert unit == pytest.approx(1, abs=1e-5) and plain.std() > 0.05 and plain.max() < 1.2


@pytest.mark.parametrize(("option", "name", "axis", "count"), [
    ("--naliref 3", "simmx_01.hdf", 2, 3), ("--naliref 3", "aliref_01.hdf", 0, 3),
    ("--naliref 99", "aliref_01.hdf", 0, 6), ("--nbasisfp 2", "basis_01.hdf", 0, 3),
    ("--nbasisfp 2", "input_01_proj.hdf", 2, 6), ("--nbasisfp 2", "input_fp_basis.hdf", 0, 3),
    ("--nbasisfp 6", "basis_01.hdf", 0, 6), ("--nbasisfp 99", "input_01_proj.hdf", 2, 9)])
def test_numbers_of_references_and_basis_images(scene, option, name, axis, count):
    """At most as many references as classes, and one basis image less."""
    assert HdfStack(scene.classified(option).path / name).shape[axis] == count


def test_kmeans(scene, planted, monkeypatch):
    """What --fastseed and --minchange tell it."""
    from mlalign.programs import msa2d
    group, told = msa2d.group, []

    def listened(vectors, classes, rng, fast, known, least):
        told.append((fast, least))
        return group(vectors, classes, rng, fast, known, least)

    monkeypatch.setattr(msa2d, "group", listened)
    fast = scene.classified("--fastseed --minchange 7")
    scene.classified("--ncls 3 --minchange=-1")
    assert told == [(True, 7), (False, 240 // 75 + 1)] and recovered(planted, fast) > 0.5


def test_an_early_end(scene):
    run = scene.classified("--iter 9 --eps 0.5")
    assert run.iterations() == [1] and "stops: at most 50 % of the particles changed class" in run.log


@pytest.mark.parametrize(("ncls", "members"), [(1, [240]), (2, None)])
def test_few_classes(scene, ncls, members):
    run = scene.classified(f"--ncls {ncls} --iter 2")
    counts = run.classes()["classCount"]
    assert counts.sum() == 240 and (counts > 0).all() and len(counts) == ncls
    assert members is None or counts.tolist() == members


@pytest.mark.parametrize("start", ["footprint", "ml"])
def test_starts(scene, planted, start):
    run = scene.classified(f"--start {start}")
    assert recovered(planted, run) > 0.7 and len(pixels(run.path / "classes_init.hdf")) == 6
    assert (run.path / "input_fp.hdf").exists() == (start == "footprint")
    if start == "footprint":
        assert HdfStack(run.path / "input_fp.hdf").shape[0] == 240
        assert HdfStack(run.path / "input_fp_basis_proj.hdf").shape == (1, 240, 12)


# ---- alignment

def test_how_far_off_particles_may_be(scene):
    """Unless averages are centred: then particles move along."""
    for most in (0, 1):
        there = np.abs(places(scene.classified(f"--center nocenter --maxshift {most}").poses))
        assert there.max() == pytest.approx(most, abs=1e-5)
    assert np.abs(places(scene.classified("--center nocenter").poses)).max() > 1.5


def test_a_radius(planted, tmp_path):
    """What is beyond it has no part in the alignment: references are nothing there."""
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --radius 8")
    assert "radius 8 px" in run.log
    y, x = np.mgrid[:32, :32] - 16
    basis = pixels(run.path / "basis_01.hdf")
    assert not basis[:, np.hypot(x, y) > 8].any() and basis[:, np.hypot(x, y) <= 7].any((0, 1)).all()


@pytest.mark.parametrize(("aligner", "turns", "mirrors", "shifts"), [
    ("rotate_translate_flip", True, True, True), ("rotate_translate_tree:flip=0", True, False, True),
    ("rotate_translate", True, False, True), ("rotate_flip", True, True, False), ("rotational", True, False, False),
    ("translational", False, False, True), ("None", False, False, False)])
def test_aligners(scene, aligner, turns, mirrors, shifts):
    run = scene.classified(f"--simalign {aligner} --classalign {aligner} --center nocenter")
    psi, _, _, flip = run.poses
    assert bool(flip.any()) == mirrors and bool((psi % 360 > 1e-6).any()) == turns
    assert bool((np.abs(places(run.poses)) > 1e-6).any()) == shifts
    similarity = eman_files.read_simmx(run.path / "simmx_01.hdf")
    assert bool(similarity.flip.any()) == mirrors and bool((similarity.psi % 360 > 1e-4).any()) == turns


def test_an_aligners_own_limits(scene):
    run = scene.classified("--simalign rotate_translate_tree:maxshift=1 --center nocenter")
    similarity = eman_files.read_simmx(run.path / "simmx_01.hdf")
    # but for some that are seen from farther away than is searched
    assert (np.abs(places(vectors(similarity))).max(1) < 1 + 1e-4).mean() > 0.95
    assert np.abs(places(run.poses)).max() > 1                          # members are aligned by another


def test_refinement_by_another_comparator(scene):
    """The refined poses are better by the comparator that is maximised, and scores are those of --simcmp."""
    plain = eman_files.read_simmx(scene.classified("--simcmp frc").path / "simmx_01.hdf")
    fine = eman_files.read_simmx(
        scene.classified("--simcmp frc --simralign refine --simraligncmp frc").path / "simmx_01.hdf")
    assert (fine.score <= plain.score + 1e-3).all() and (fine.score < plain.score - 1e-3).mean() > 0.5
    turned = np.abs((fine.psi - plain.psi + 180) % 360 - 180)
    assert 0.05 < np.median(turned) < 6


def test_refinement_of_members(scene, planted):
    fine = scene.classified("--classralign refine --classraligncmp frc")
    assert not same(fine, scene.classified()) and recovered(planted, fine) > 0.8


@pytest.mark.parametrize("comparator", ["dot", "sqeuclidean:normto=1", "frc", "frc:nweight=1", "phase", "optvariance"])
def test_comparators_of_references(scene, planted, comparator):
    """Scores are others of the same pairs, and smaller is better in all."""
    run, usual = scene.classified(f"--simcmp {comparator}"), scene.classified()
    # nweight takes from averages what many members give them: it tells views apart less well in one cycle
    assert recovered(planted, run) > (0.4 if "nweight" in comparator else 0.7)
    scores, correlations = (eman_files.read_simmx(one.path / "simmx_01.hdf").score for one in (run, usual))
    assert np.median([np.corrcoef(*pair)[0, 1] for pair in zip(scores, correlations)]) > 0.2
    assert not np.allclose(scores, correlations, atol=1e-3)


@pytest.mark.parametrize("comparator", ["frc", "phase"])
def test_comparators_of_members(scene, planted, comparator):
    run = scene.classified(f"--classcmp {comparator}")
    assert recovered(planted, run) > 0.7 and run.images["used"].mean() == pytest.approx(0.85, abs=0.03)
    used, ref, similarity = run.images["used"] == 1, run.images["ref"], run.images["maxCC"]
    for k in np.unique(ref[~used]):
        assert similarity[used & (ref == k)].min() >= similarity[~used & (ref == k)].max()


def test_shrunk_particles(scene, planted):
    """As with an aligner that looks at no more than the frequencies that are left."""
    shrunk = scene.classified("--shrink 4")
    assert same(shrunk, scene.classified("--simalign rotate_translate_tree:maxres=24"))
    assert not same(shrunk, scene.classified()) and recovered(planted, shrunk) > 0.7


# ---- averages

@pytest.mark.parametrize(("options", "share"), [
    ("--classkeep 1", 1), ("--classkeep 0.5", 0.5), ("--classkeep 1e-9", 6 / 240),
    ("--classkeepsig --classkeep 1", 0.84), ("--classkeepsig --classkeep 9", 1)])
def test_members_kept(scene, options, share):
    run = scene.classified(options)
    used, ref, similarity = run.images["used"] == 1, run.images["ref"], run.images["maxCC"]
    assert used.mean() == pytest.approx(share, abs=0.06)
    for k in np.unique(ref):
        assert used[ref == k].any()
        if "sig" in options:
            mine = similarity[ref == k]
            assert (used[ref == k] == (mine >= mine.mean() - run_keep(options) * mine.std() - 1e-9)).all()


def run_keep(options):
    return float(options.split()[-1])


def test_no_further_passes(scene, planted):
    """--classiter 0: members are aligned once, to the average of where they were."""
    run, more = scene.classified("--classiter 0"), scene.classified("--classiter 3")
    assert recovered(planted, run) > 0.8
    assert run.images["maxCC"].mean() < more.images["maxCC"].mean()


@pytest.mark.parametrize("averager", ["mean", "median", "ctf.auto", "ctfw.auto", "ctf.weight", "ctf.weight.autofilt"])
def test_averagers_without_ctfs(scene, planted, averager, recwarn):
    """The ctf kinds are means, autofilt a filtered one, whose halves say how much."""
    run = scene.classified(f"--classaverager {averager} --classkeep 1")
    assert not [str(one.message) for one in recwarn.list]
    posed, ref = moved(edgemean(pixels(planted.stack)), *run.poses), run.images["ref"]
    kind = np.median if averager == "median" else np.mean
    expected = np.array([kind(posed[ref == k], axis=0) for k in range(1, 7)])
    alike = likeness(run.averages, expected)
    if averager == "ctf.weight.autofilt":
        high = np.hypot(np.fft.fftfreq(32)[:, None], np.fft.fftfreq(32)) > 0.35
        power, usual = ((np.abs(np.fft.fft2(images))[:, high] ** 2).mean() for images in (run.averages, expected))
        assert alike.min() > 0.9 and power < 0.7 * usual
    else:
        assert alike[np.bincount(ref)[1:] > 5].min() > (0.97 if averager == "median" else 0.995)


def test_averages_weighed_by_ctfs(behind_ctf):
    """By their squares: frequencies that CTFs pass weigh more, and averages are stronger than means."""
    runs = {name: behind_ctf.classified(f"--ncls 4 --phase_flip --classkeep 1 --classaverager {name}")
            for name in ("mean", "ctf.weight", "ctf.auto")}
    strength = {name: np.linalg.norm(run.averages) for name, run in runs.items()}
    assert 1.05 * strength["mean"] < strength["ctf.weight"] < strength["ctf.auto"]


@pytest.mark.parametrize("option", ["--automask", "--classrefsf", "--classnormproc normalize.unitlen",
                                    "--classnormproc None", "--classnormproc normalize.toimage"])
def test_how_averages_are_made(scene, planted, option):
    run, plain = scene.classified(option), scene.classified()
    assert not same(run, plain) and recovered(planted, run) > 0.8


def test_normalisation(scene):
    """Averages have the scale of the particles they are made of."""
    scale = {name: np.linalg.norm(scene.classified(f"--classnormproc {name}").averages)
             for name in ("normalize.edgemean", "normalize.unitlen")}
    assert scale["normalize.edgemean"] / scale["normalize.unitlen"] == pytest.approx(32, rel=0.15)


def test_masked_averages_heed_no_neighbours(planted, tmp_path):
    """Something bright beside every particle, in the corner: with --automask particles are found all the same."""
    images = pixels(planted.stack)
    images[:, 27:30, 2:5] += 6
    write_stack(tmp_path / "crowded.mrcs", images, PIXEL)
    run = run_refine2d(tmp_path / "crowded.mrcs", tmp_path / "out", f"{QUICK} --automask")
    assert score(planted.truth, run.images.columns)["ari"] > 0.3


@pytest.mark.parametrize("method", ["xform.center", "xform.centerofmass", "xform.centeracf"])
def test_centres(scene, planted, method):
    """Averages and the poses of their members move alike."""
    run, still = scene.classified(f"--center {method} --classkeep 1 --classaverager mean"), scene.classified(
        "--center nocenter --classkeep 1 --classaverager mean")
    assert not same(run, still)
    posed = moved(edgemean(pixels(planted.stack)), *run.poses)
    large = np.bincount(run.images["ref"])[1:] > 5
    expected = np.array([posed[run.images["ref"] == k].mean(0) for k in range(1, 7)])
    assert likeness(run.averages, expected)[large].min() > 0.99


# ---- running

def test_poses_in_class_averages(scene):
    run = scene.classified("--resultmx")
    found, poses = eman_files.read_classmx(run.path / "resultmx_01.hdf"), run.poses
    assert (found.ref == run.images["ref"] - 1).all() and (found.weight == run.images["used"]).all()
    for one, other, tolerance in zip(vectors(found), poses, (1e-3, 1e-5, 1e-5, 0)):
        assert one == pytest.approx(other, abs=tolerance)
    assert not list(scene.classified().path.glob("resultmx*"))
    assert not np.allclose(found.psi, run.classmx(1).psi)               # which are of the common frame


@pytest.mark.parametrize("kind", ["--parallel thread:2", "--parallel thread:2:somewhere", "-P thread:1"])
def test_threads(scene, kind):
    assert same(scene.classified(kind), scene.classified())


def test_told_more(scene):
    usual, more = scene.classified().log, scene.classified("--verbose 1").log
    assert "cycle 1: averages aligned to each other" in more and "cycle 1: averages" not in usual
    assert len(more.splitlines()) > len(usual.splitlines())


def test_options_without_effect_are_told(scene):
    run = scene.classified("--dbls=x --centeracf --check --ppid=3 --simalign rotate_translate_tree:verbose=1 "
                           "--classaverager ctf.weight.auto --simcmp lod --classcmp ccc")
    assert run.notices[-4:] == [f"--{name} has nothing to do here" for name in ("dbls", "ppid", "centeracf", "check")]
    assert "--simalign: verbose has no effect, the search is exhaustive" in run.notices
    assert "--simcmp: ccc is taken for lod, being the nearest there is" in run.notices
    assert "--classaverager: ctf.weight.autofilt is taken for ctf.weight.auto, being the nearest" in run.log
    assert same(run, scene.classified()) and scene.classified().notices == []


def test_a_seed(scene):
    first, other = scene.classified("--random_seed 5"), scene.classified("--random_seed=-1")
    assert first.info()["randomSeed"] == 5 and "random seed 5" in first.log
    assert other.info()["randomSeed"] > 1e9                             # the time
