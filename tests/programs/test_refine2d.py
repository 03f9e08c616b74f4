"""What refine2d finds and writes."""
import json
import shlex

import numpy as np
import pytest

from mlalign.programs import eman_files, msa2d, msa2d_files, refine2d
from mlalign.programs.formats.hdf import HdfStack
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import adjusted_rand_index, score
from mlalign.tests.programs.conftest import PIXEL, pixels
from mlalign.tests.programs.refine2d_scene import (
    QUICK,
    USUAL,
    Scene,
    edgemean,
    hdf_of,
    likeness,
    moved,
    run_refine2d,
    same,
)

TYPICAL = """refine2d --iter=6 --naliref=7 --nbasisfp=5 --path=r2d_01 --input=inputparticles.hdf --ncls=48 --simcmp=ccc
    --simalign=rotate_translate_flip --simaligncmp=ccc --simralign=refine --simraligncmp=ccc --classcmp=ccc
    --classalign=rotate_translate_flip --classaligncmp=ccc --classralign=refine --classraligncmp=ccc --classiter=2
    --classkeep=1.5 --classnormproc=normalize.edgemean --classaverager=mean --normproj --classkeepsig
    --parallel=thread:4"""
OF_CYCLES = ("allrefs_{}.hdf", "basis_{}.hdf", "aliref_{}.hdf", "simmx_{}.hdf", "input_{}_proj.hdf", "classmx_{}.hdf",
             "classes_{}.hdf")
ONCE = {"0_refine2d_parms.json", "input_fp.hdf", "input_fp_basis.hdf", "input_fp_basis_proj.hdf", "classmx_00.hdf",
        "classes_init.hdf", "classes.mrcs", "classes.xmd", "images.xmd", "frc.xmd", "run.log"}
EVERYTHING = "--classkeep 1 --classaverager mean"          # every member counts once


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def planted(scene):
    return scene.planted


@pytest.fixture(scope="module")
def usual(scene):
    return scene.classified(base=USUAL)


def test_views_are_recovered(usual, planted):
    """As good as it must be for k-means to have found every view; poses up to a motion of each class."""
    found = score(planted.truth, usual.images.columns)
    assert found["ari"] > 0.9 and found["accuracy"] > 0.95
    assert found["angle"] < 2 and found["shift"] < 0.3 and found["wrong_mirror"] < 0.05


def test_more_classes_than_views_are_pure(scene, planted):
    images = scene.classified("--ncls 16").images
    largest = [np.bincount(planted.truth["ref"][images["ref"] == k]).max() for k in np.unique(images["ref"])]
    assert sum(largest) / len(images) > 0.93 and len(largest) == 16


def test_every_file_of_the_contract(usual):
    there = {path.name for path in usual.path.iterdir() if path.is_file()}
    assert there == ONCE | {name.format(f"{cycle:02d}") for cycle in (1, 2) for name in OF_CYCLES}
    for cycle in (1, 2):
        extra = {path.name for path in (usual.path / f"extra/iter{cycle:03d}").iterdir()}
        assert extra == {"iter_classes.mrcs", "iter_classes.xmd", "iter_frc.xmd", "iter_checkpoint.npz"}
    parameters = json.loads((usual.path / "0_refine2d_parms.json").read_text())
    assert parameters["ncls"] == 6 and parameters["classiter"] == 2 and "--ncls 6" in parameters["commandline"]


def test_shapes_of_the_tables(usual):
    for cycle in ("01", "02"):
        def stack(name, cycle=cycle):
            return HdfStack(usual.path / name.format(cycle))
        assert stack("classmx_{}.hdf").shape == (6, 240, 1) and stack("simmx_{}.hdf").shape == (6, 240, 5)
        assert stack("input_{}_proj.hdf").shape == (1, 240, 4 + 5)              # one basis image less than classes
        assert stack("basis_{}.hdf").shape == (6, 32, 32) and stack("allrefs_{}.hdf").shape == (6, 32, 32)
        assert stack("aliref_{}.hdf").shape == (5, 32, 32) and stack("classes_{}.hdf").shape == (6, 32, 32)
        assert stack("classes_{}.hdf").pixel_size == PIXEL


def test_a_class_has_one_number_everywhere(usual):
    ref = usual.images["ref"]
    for cycle in (1, 2):
        labels, averages = usual.classmx(cycle).ref, usual.eman_averages(cycle)
        table = usual.classes(cycle)
        assert table["ref"].tolist() == list(range(1, 7)) and len(averages.images) == 6
        assert (averages.images == pixels(usual.path / f"extra/iter{cycle:03d}/iter_classes.mrcs")).all()
        for k in range(6):
            members = np.flatnonzero(labels == k)
            assert sorted([*averages.members[k], *averages.excluded[k]]) == members.tolist()
            assert (usual.members(cycle, k + 1)["itemId"] - 1).tolist() == members.tolist()
            assert table["classCount"][k] == len(members) and table["used"][k] == len(averages.members[k])
    assert (ref == labels + 1).all() and (usual.averages == averages.images).all()
    assert (np.flatnonzero(usual.images["used"]) == np.sort(np.concatenate(averages.members))).all()


def test_averages_are_those_of_the_poses_written(scene, planted):
    run = scene.classified(EVERYTHING)
    posed = moved(edgemean(pixels(planted.stack)), *run.poses)
    expected = np.array([posed[run.images["ref"] == k].mean(0) for k in range(1, 7)])
    assert likeness(run.averages, expected).min() > 0.995
    scale = (run.averages * expected).sum() / (expected**2).sum()
    assert scale == pytest.approx(1, abs=0.05)


def test_only_particles_used_are_in_averages(scene, planted):
    run = scene.classified("--classkeep 0.4 --classaverager mean")
    used, ref = run.images["used"] == 1, run.images["ref"]
    assert used.mean() == pytest.approx(0.4, abs=0.03)
    posed = moved(edgemean(pixels(planted.stack)), *run.poses)
    kept, left = (np.array([posed[(ref == k) & some].mean(0) for k in range(1, 7)]) for some in (used, ~used))
    large = np.bincount(ref[used])[1:] > 5
    assert large.sum() > 3 and likeness(run.averages, kept)[large].min() > 0.99
    assert (likeness(run.averages, kept) > likeness(run.averages, left) + 0.01)[large].all()
    for k in range(1, 7):
        mine = run.images["maxCC"][ref == k]
        assert mine[used[ref == k]].min() >= mine[~used[ref == k]].max()


def test_correlations_with_class_averages(scene, planted):
    """maxCC against particles moved by interpolation; the average it was with is of one pass earlier."""
    run = scene.classified(EVERYTHING)
    posed = moved(edgemean(pixels(planted.stack)), *run.poses)
    expected = likeness(posed, run.averages[run.images["ref"] - 1], 11)
    assert np.corrcoef(run.images["maxCC"], expected)[0, 1] > 0.85
    assert np.median(np.abs(run.images["maxCC"] - expected)) < 0.06


def test_poses_of_a_cycle_lie_in_the_common_frame(usual, planted):
    """Those of classmx, in EMAN's convention: particles averaged by them look like averages in allrefs."""
    references = pixels(usual.path / "allrefs_02.hdf")
    dx, dy, alpha, flip = HdfStack(usual.path / "classmx_02.hdf").read(slice(None))[2:, :, 0].astype(float)
    images = edgemean(pixels(planted.stack))
    # turned, moved, and then mirrored
    posed = moved(moved(images, alpha, dx, dy, np.zeros(240)), np.zeros(240), 0, 0, flip)
    labels = usual.classmx(2).ref
    for k in range(6):
        average = posed[labels == k].mean(0)
        assert likeness(references, np.tile(average, (6, 1, 1))).max() > 0.9
    coefficients, poses = usual.projections(2)
    assert (np.stack(eman_files.to_eman(poses)) == np.stack([dx, dy, alpha, flip])).all()
    assert coefficients.shape == (240, 5)


def test_projections_onto_the_basis(usual, planted):
    """Coefficients of particles moved by interpolation, as unit vectors inside the mask, less the mean."""
    mean, basis, values, shares = eman_files.read_basis(usual.path / "basis_01.hdf")
    coefficients, poses = usual.projections(1)
    posed = moved(pixels(planted.stack), poses.psi, poses.shift_x, poses.shift_y, poses.flip)
    inside = np.hypot(*(np.mgrid[:32, :32] - 16)) <= 11
    vectors = posed[:, inside] - posed[:, inside].mean(1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (vectors - mean[inside]) @ basis[:, inside].T
    assert np.abs(coefficients - expected).max() < 0.06
    for one, other in zip(coefficients.T, expected.T):
        assert np.corrcoef(one, other)[0, 1] > 0.99
    assert (np.diff(values) <= 0).all() and shares.sum() == pytest.approx(1, abs=1e-5)
    assert basis[:, inside] @ basis[:, inside].T == pytest.approx(np.eye(5), abs=1e-4)


def test_particles_go_to_their_best_reference(usual, planted):
    """simmx: scores are correlations of particles moved by its poses, with the sign turned round."""
    similarity = eman_files.read_simmx(usual.path / "simmx_01.hdf")
    references, images = pixels(usual.path / "aliref_01.hdf"), pixels(planted.stack)
    for r, reference in enumerate(references):
        posed = moved(images, *(column[:, r] for column in (similarity.psi, similarity.shift_x, similarity.shift_y,
                                                            similarity.flip)))
        expected = likeness(posed, np.tile(reference, (240, 1, 1)), 11)
        assert np.median(np.abs(-similarity.score[:, r] - expected)) < 0.04            # splines take from the noise
    best = similarity.score.argmin(1)
    _, poses = usual.projections(1)
    followed = np.isclose(poses.psi, similarity.psi[np.arange(240), best], atol=1e-3)
    assert followed.mean() > 0.05               # the others stay with their own averages


def test_tables_as_the_gallery_reads_them(usual):
    assert usual.iterations() == [1, 2] and usual.results() == [1, 2, None]
    for iteration in (1, 2, None):
        table = usual.classes(iteration)
        assert {"image", "enabled", "weight", "mirrorFraction", "resolution", "maxCC", "contrast"} <= set(table.columns)
        assert table["classCount"].sum() == 240 and (table["weight"] == table["used"]).all()
        assert (table["resolution"] >= 2 * PIXEL - 1e-6).all()
        assert open_images(f"classes@{usual.classes_file(iteration)}").count == 6
    assert usual.info()["iterationNumber"] == 2 and usual.info()["randomSeed"] == 1
    assert usual.pixel_size() == PIXEL and 0 <= usual.column("changed")[1] < 0.2
    assert usual.images["itemId"].tolist() == list(range(1, 241)) and "enabled" not in usual.images
    assert list(read_star(usual.path / "frc.xmd")) == [f"class{k:06d}" for k in range(1, 7)]
    points = usual.coordinates()
    assert points.values.shape == (240, 5) and (points.classes == usual.images["ref"]).all()


def test_averages_say_what_they_are_made_of(usual):
    stack, ref = HdfStack(usual.path / "classes_02.hdf"), usual.images["ref"]
    for k in range(6):
        header, mine = stack.attributes(k), (ref == k + 1) & (usual.images["used"] == 1)
        assert header["ptcl_repr"] == mine.sum() and header["class_ptcl_src"].endswith("particles.star")
        assert header["class_ptcl_qual"] == pytest.approx(-usual.images["maxCC"][mine].mean(), rel=1e-5)
        assert header["class_ptcl_qual_sigma"] == pytest.approx(usual.images["maxCC"][mine].std(), rel=1e-4)


def test_empty_classes_are_there(planted, tmp_path, monkeypatch):
    """The third class of the last cycle has no member."""
    group, calls = msa2d.group, []

    def without_third(*arguments):
        calls.append(1)
        labels = group(*arguments)
        return np.where(labels == 2, 0, labels)

    monkeypatch.setattr(msa2d, "group", without_third)
    run = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --iter 2 --resultmx")
    averages, table = run.eman_averages(2), run.classes()
    assert len(calls) == 2 and len(run.averages) == len(averages.images) == 6
    assert not run.averages[2].any() and run.averages[[0, 1, 3, 4, 5]].any((1, 2)).all()
    assert HdfStack(run.path / "classes_02.hdf").attributes(2)["ptcl_repr"] == 0 and not len(averages.members[2])
    assert table["classCount"][2] == table["used"][2] == table["maxCC"][2] == 0 and len(table) == 6
    assert 3 not in run.images["ref"] and 6 in run.images["ref"]
    assert len(pixels(run.path / "allrefs_02.hdf")) == 5                        # the empty one of the first cycle
    assert {HdfStack(run.path / "allrefs_02.hdf").attributes(i)["class_id"] for i in range(5)} == {0, 1, 3, 4, 5}


def test_the_input_is_never_modified(scene, planted):
    before = {path: path.read_bytes() for path in planted.folder.iterdir()}
    scene.classified("--naliref 3")
    assert {path: path.read_bytes() for path in planted.folder.iterdir()} == before


def test_the_order_of_the_input_does_not_matter(usual, planted, tmp_path):
    order = np.random.default_rng(0).permutation(240)
    write_stack(tmp_path / "shuffled.mrcs", pixels(planted.stack)[order], PIXEL)
    run = run_refine2d(tmp_path / "shuffled.mrcs", tmp_path / "out", USUAL)
    assert adjusted_rand_index({"ref": usual.images["ref"][order]}, run.images.columns) > 0.9
    assert adjusted_rand_index({"ref": planted.truth["ref"][order]}, run.images.columns) > 0.9


def test_the_same_seed_gives_the_same_bytes_with_any_threads(scene, planted, tmp_path):
    one = scene.classified()
    two = run_refine2d(planted.star, tmp_path / "out", f"{QUICK} --thr 2")
    assert same(one, two)
    for name in ("classes.mrcs", "classmx_01.hdf", "input_01_proj.hdf", "frc.xmd"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_little_memory_changes_next_to_nothing(scene, planted):
    one, little = scene.classified(), scene.classified("--memory 1e-5")
    assert adjusted_rand_index(one.images.columns, little.images.columns) > 0.85


def test_the_typical_command_line(planted, tmp_path, monkeypatch):
    """As the original's documentation prints it."""
    monkeypatch.chdir(tmp_path)
    hdf_of(pixels(planted.stack)[:64], "inputparticles.hdf")
    command = shlex.split(TYPICAL)
    refine2d.main(command[1:])
    labels = eman_files.read_classmx("r2d_01/classmx_06.hdf").ref
    assert len(pixels("r2d_01/classes_06.hdf")) == 48 and set(labels) <= set(range(48))
    assert HdfStack("r2d_01/input_06_proj.hdf").shape == (1, 64, 9) and HdfStack("r2d_01/simmx_06.hdf").shape[2] == 7
    purity = sum(np.bincount(planted.truth["ref"][:64][labels == k]).max() for k in set(labels)) / 64
    assert purity > 0.9
    parameters = json.loads((tmp_path / "r2d_01/0_refine2d_parms.json").read_text())
    assert parameters["commandline"] == " ".join(command) and parameters["thr"] == 4


def test_folders_are_numbered(planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert msa2d_files.next_folder() == msa2d_files.next_folder(resume=True) == "r2d_01"
    for name in ("r2d_02", "r2d_9", "r2d_x", "ar2d_11"):
        (tmp_path / name).mkdir()
    assert msa2d_files.next_folder() == "r2d_10" and msa2d_files.next_folder(resume=True) == "r2d_9"
    refine2d.main(["--input", planted.star, *QUICK.split()])
    assert (tmp_path / "r2d_10/classes_01.hdf").exists() and msa2d_files.next_folder(resume=True) == "r2d_10"


def test_a_subset_for_the_first_classes(planted, tmp_path, monkeypatch):
    """So many particles that first classes come from some of them."""
    from mlalign.programs import msa2d_start
    monkeypatch.setattr(msa2d_start, "FEWEST_IMAGES", 80)
    run = run_refine2d(planted.star, tmp_path / "out", QUICK)
    assert "first classes come from 80 of the 240 particles" in run.log
    subset = open_images(str(run.path / "input_subset.lst"))
    assert subset.count == 80 and (subset.read([0, 1]) == pixels(planted.stack)[[0, 3]]).all()
    assert HdfStack(run.path / "classmx_00.hdf").shape == (6, 80, 1)
    assert HdfStack(run.path / "classmx_01.hdf").shape == (6, 240, 1)
    first = eman_files.read_averages(run.path / "classes_init.hdf")
    assert set(np.concatenate(first.members) % 3) == {0}
    assert score(planted.truth, run.images.columns)["ari"] > 0.8


def test_the_help_and_defaults_are_the_originals(capsys):
    options = refine2d.parser().parse_args(["--input", "x.hdf"])
    assert (options.iter, options.ncls, options.naliref, options.nbasisfp, options.maxshift, options.shrink) == (
        8, 32, 5, 12, -1, 0)
    assert (options.classkeep, options.classiter, options.classkeepsig, options.minchange) == (0.85, 5, False, -1)
    assert (options.simalign, options.simaligncmp, options.simralign, options.simraligncmp, options.simcmp) == (
        "rotate_translate_tree", "ccc", "None", "dot", "ccc")
    assert (options.classalign, options.classaligncmp, options.classralign, options.classraligncmp, options.classcmp,
            options.classaverager, options.classnormproc) == (
        "rotate_translate_tree", "ccc", "None", "ccc", "ccc", "ctf.weight.autofilt", "normalize.edgemean")
    assert (options.center, options.eps, options.start) == ("xform.center", 0, "harmonics")
    with pytest.raises(SystemExit) as stopped:
        refine2d.main(["--help"])
    assert stopped.value.code == 0 and "class k is image k everywhere" in capsys.readouterr().out
