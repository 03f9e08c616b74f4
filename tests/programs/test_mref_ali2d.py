"""What mref_ali2d finds and writes."""
import re

import numpy as np
import pytest

from mlalign.programs import mref_ali2d
from mlalign.programs.engine.image_filters import shell_correlation
from mlalign.programs.formats.hdf import HdfStack, hdf_writer
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry import pose_matrix, pose_parameters
from mlalign.programs.scoring import score
from mlalign.tests.programs.conftest import pixels
from mlalign.tests.programs.mref_scene import BEHIND_CTF, SEARCH, Scene, near, run_mref, same


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return Scene(tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def planted(scene):
    return scene.planted


def test_every_particle_finds_its_reference_and_pose(scene, planted):
    found = score(planted.truth, scene.aligned("--maxit 2 --center 0").images.columns)
    assert found["accuracy"] > 0.98 and found["wrong_mirror"] < 0.03
    assert found["angle"] < 2 and found["shift"] < 0.3
    assert (scene.aligned("--maxit 2 --center 0").images["ref"] == planted.truth["ref"]).mean() > 0.98


def test_the_given_references_are_a_frame_for_the_poses(scene, planted):
    """After one iteration, not centred, poses are those of the truth itself, not up to a motion of each class."""
    images = scene.aligned("--maxit 1 --center 0").images
    turned = (images["anglePsi"] - planted.truth["anglePsi"] + 180) % 360 - 180
    right = (images["ref"] == planted.truth["ref"]) & (images["flip"] == planted.truth["flip"])
    assert right.mean() > 0.95 and np.median(np.abs(turned[right])) < 2
    for label in ("shiftX", "shiftY"):
        assert np.median(np.abs(images[label] - planted.truth[label])[right]) < 0.3


def test_averages_look_like_the_references(scene, planted):
    run = scene.aligned("--maxit 2 --center 0")
    for average, reference in zip(run.averages, pixels(planted.references)):
        inside = reference != 0
        assert np.corrcoef(average[inside], reference[inside])[0, 1] > 0.95


def test_averages_are_those_of_the_poses_written(scene, planted):
    """Particles moved by their poses, with SciPy, and averaged."""
    from scipy.ndimage import affine_transform
    run = scene.aligned("--maxit 1 --center 0")
    images, members = pixels(planted.stack), run.images
    n, total = images.shape[1], np.zeros(run.averages.shape)
    matrices = pose_matrix(*(members[label] for label in ("anglePsi", "shiftX", "shiftY", "flip")))
    for image, ref, matrix in zip(images, members["ref"], matrices):
        back = np.linalg.inv(matrix)
        swapped, shift = back[:2, :2][::-1, ::-1], back[:2, 2][::-1]
        centre = np.array([n // 2, n // 2])
        total[ref - 1] += affine_transform(image, swapped, centre + shift - swapped @ centre, order=5)
    y, x = np.mgrid[:n, :n] - n // 2
    inside = np.hypot(x, y) < 12
    for average, expected in zip(run.averages, total):
        assert np.corrcoef(average[inside], expected[inside])[0, 1] > 0.99


def test_the_originals_files(scene):
    run = scene.aligned()
    there = {path.name for path in run.outdir.iterdir() if path.is_file()}
    assert there == {"aqm000.hdf", "aqm001.hdf", "multi_ref.hdf", "classes.mrcs", "classes.xmd", "frc.xmd",
                     "images.xmd", "run.log", *(f"drm{i:03d}{k:04d}.txt" for i in (0, 1) for k in range(3))}
    stack, last = HdfStack(run.outdir / "aqm001.hdf"), HdfStack(run.outdir / "multi_ref.hdf")
    assert (stack.read(slice(None)) == last.read(slice(None))).all() and stack.pixel_size == 3
    for k in range(3):
        header, mine = stack.attributes(k), np.flatnonzero(run.images["ref"] == k + 1)
        assert header["ave_n"] == header["n_objects"] == len(mine)
        assert header["members"] == mine.tolist()
    rows = np.loadtxt(run.outdir / "drm0010002.txt")
    frequency, frc = run.frc(None, 3)
    assert rows.shape == (17, 3) and rows[:, 0] == pytest.approx(np.arange(17) / 32, abs=1e-6)
    assert frequency == pytest.approx(rows[:, 0], abs=1e-6) and frc == pytest.approx(rows[:, 1], abs=1e-6)
    assert (rows[:, 2] == shell_correlation(*np.zeros((2, 32, 32)))[2]).all()


def test_tables_as_the_gallery_reads_them(scene, planted):
    run = scene.aligned()
    assert run.iterations() == [1, 2] and run.results() == [1, 2, None]
    for iteration in (1, 2, None):
        table = run.classes(iteration)
        assert table["ref"].tolist() == [1, 2, 3] and table["classCount"].sum() == 150
        assert (table["weight"] == table["classCount"]).all() and (table["resolution"] >= 6).all()
        assert open_images(f"classes@{run.classes_file(iteration)}").count == 3
        members = [run.members(iteration, ref) for ref in (1, 2, 3)]
        assert [len(some) for some in members] == table["classCount"].tolist()
        assert (members[1]["ref"] == 2).all()
    assert run.info()["iterationNumber"] == 2 and run.pixel_size() == 3
    assert run.column("changed")[0] == 1 and run.column("changed")[1] < 0.1
    assert run.images["itemId"].tolist() == list(range(1, 151)) and "maxCC" in run.images
    assert (run.images["samplingRate"] == 3).all()          # the input's columns are kept


def test_the_input_is_never_modified(tmp_path, planted):
    before = {path: path.read_bytes() for path in planted.folder.iterdir()}
    run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 1")
    assert {path: path.read_bytes() for path in planted.folder.iterdir()} == before


def test_centring_moves_averages_and_particles_alike(scene):
    centred, still = scene.aligned("--maxit 1 --center 1"), scene.aligned("--maxit 1 --center 0")
    for k in range(3):
        mine = still.images["ref"] == k + 1
        moved = [(centred.images[label] - still.images[label])[mine] for label in ("shiftX", "shiftY")]
        assert np.ptp(moved[0]) < 1e-9 and np.ptp(moved[1]) < 1e-9
        k_space = np.fft.fftfreq(32)
        ramp = np.exp(-2j * np.pi * (k_space[:, None] * moved[1][0] + k_space * moved[0][0]))
        expected = np.fft.ifft2(np.fft.fft2(still.averages[k]) * ramp).real
        assert near(centred.averages[k], expected)


def test_mean_shifts_of_zero(scene):
    images = scene.aligned("--maxit 2 --center=-1").images
    for k in range(3):
        mine = images["ref"] == k + 1
        assert images["shiftX"][mine].mean() == pytest.approx(0, abs=1e-6)
        assert images["shiftY"][mine].mean() == pytest.approx(0, abs=1e-6)


def test_threads_memory_and_seed_change_nothing(scene):
    one = scene.aligned()
    assert same(one, scene.aligned("--maxit 2 --thr 2"))
    little = scene.aligned("--maxit 2 --memory 1e-4")
    assert little.images["anglePsi"] == pytest.approx(one.images["anglePsi"], abs=0.05)


def test_with_ctfs(tmp_path_factory):
    scene = Scene(tmp_path_factory.mktemp, BEHIND_CTF)
    weighted, plain = scene.aligned("--maxit 2 --center 0 --CTF --snr 2"), scene.aligned("--maxit 2 --center 0")
    found = score(scene.planted.truth, weighted.images.columns)
    assert found["accuracy"] > 0.95 and found["angle"] < 2.5 and found["shift"] < 0.4

    def likeness(run):
        references = pixels(scene.planted.references)
        return np.mean([np.corrcoef(a[r != 0], r[r != 0])[0, 1] for a, r in zip(run.averages, references)])

    assert likeness(weighted) > 0.9 and likeness(weighted) > likeness(plain) + 0.02


def test_ctfs_from_the_headers_of_an_eman_stack(tmp_path, tmp_path_factory):
    """The same CTFs in EMAN's text and in RELION's columns give the same."""
    scene = Scene(tmp_path_factory.mktemp, BEHIND_CTF)
    table = open_images(scene.planted.star).metadata
    with hdf_writer(tmp_path / "x.hdf", 3.0) as out:
        for image, u, v, angle in zip(pixels(scene.planted.stack), *(table[label] for label in (
                "ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle"))):
            text = f"E{(u + v) / 2e4:.9g} {(u - v) / 1e4:.9g} {angle:.9g} 0 10 300 2.7 3 0 0 0"
            out.append(image, {"ctf": text, "ctf_applied": 0})
    options = "--maxit 1 --center 0 --CTF --snr 2"
    run = run_mref(tmp_path / "x.hdf", scene.planted.references, tmp_path / "out", f"{SEARCH} {options}")
    other = scene.aligned(options)
    assert (run.images["ref"] == other.images["ref"]).all() and near(run.averages, other.averages, 0.02)


def test_poses_in_headers_of_a_copy(tmp_path, planted):
    copy = tmp_path / "copy.hdf"
    run = run_mref(planted.star, planted.references, tmp_path / "out", f"{SEARCH} --maxit 1 --write_headers {copy}")
    stack = HdfStack(copy)
    assert (stack.read(slice(None)) == pixels(planted.stack)).all()
    for i in (0, 7, 149):
        header = stack.attributes(i)
        assert header["assign"] == run.images["ref"][i] - 1
        matrix = np.eye(3)
        matrix[:2, :2], matrix[:2, 2] = header["xform.align2d"][:2, :2], header["xform.align2d"][:2, 3]
        psi, x, y, flip = pose_parameters(matrix)
        assert (x, y, flip) == pytest.approx([run.images[label][i] for label in ("shiftX", "shiftY", "flip")], abs=1e-5)
        assert (psi - run.images["anglePsi"][i] + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)


def test_classes_that_empty_begin_anew(tmp_path, planted):
    """A reference that is nothing but noise loses its members and gets some of the largest class."""
    from mlalign.programs.formats.mrc import write_stack
    noise = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "refs.mrcs", np.concatenate([pixels(planted.references), noise]))
    run = run_mref(planted.star, tmp_path / "refs.mrcs", tmp_path / "out", f"{SEARCH} --maxit 2")
    begins = re.search(r"class 4 has (\d) members and begins anew with (\d+) of class (\d)", run.log)
    assert begins and int(begins[1]) < 4 <= int(begins[2])
    assert run.classes()["classCount"][3] > 4
    never = run_mref(planted.star, tmp_path / "refs.mrcs", tmp_path / "never", f"{SEARCH} --maxit 2 --min_class 0")
    assert "begins anew" not in never.log and never.classes()["classCount"][3] < 4


def test_stopping_by_itself(scene):
    run = scene.aligned("--maxit 0")
    assert 2 <= len(run.iterations()) < 30 and run.column("changed")[-1] <= 0.005
    assert "stops: at most 0.5 % of the particles changed class" in run.log


def test_the_command_lines_of_the_original_are_read():
    line = "input_stack.hdf ref_stack.hdf output_directory mask.hdf --ir=1 --ou=27 --rs=1 --xr=3 --yr=3 --ts=1 " \
           "--center=1 --maxit=6 --CTF --snr=1.0 --function=ref_ali2d --rand_seed=1000 --MPI"
    options = mref_ali2d.parser().parse_args(line.split())
    assert (options.stack, options.refs, options.outdir, options.mask) == (
        "input_stack.hdf", "ref_stack.hdf", "output_directory", "mask.hdf")
    assert (options.ou, options.xr, options.yr, options.maxit, options.CTF, options.MPI) == (27, 3, 3, 6, True, True)
    defaults = mref_ali2d.parser().parse_args(["a.hdf", "b.hdf", "out"])
    assert (defaults.ir, defaults.ou, defaults.rs, defaults.xr, defaults.yr, defaults.ts, defaults.center) == (
        1, -1, 1, 0, 0, 1, 1)
    assert (defaults.maxit, defaults.CTF, defaults.snr, defaults.function, defaults.rand_seed, defaults.MPI) == (
        10, False, 1, "ref_ali2d", 1000, False)


def test_star_and_frc_tables_have_one_row_per_shell(scene):
    blocks = read_star(scene.aligned().outdir / "frc.xmd")
    assert list(blocks) == ["class000001", "class000002", "class000003"] and len(blocks["class000001"]) == 17
