"""Files of EMAN's refine2d: layout as EMAN reads it, poses by its own formula, and back."""
import json

import h5py
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs import eman_files
from mlalign.programs.eman_files import Averages, Poses
from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.images import open_images
from mlalign.programs.geometry import pose_matrix
from mlalign.tests.programs.engine.blobs import DISTINCT

N = 32
RNG = np.random.default_rng(0)
COLUMNS = ("psi", "shift_x", "shift_y", "flip")


def random_poses(*shape):
    return Poses(RNG.uniform(0, 360, shape), *RNG.uniform(-3, 3, (2, *shape)), RNG.integers(0, 2, shape))


def eman_transform(dx, dy, alpha, flip):
    """EMAN's matrix (3, 3): turned, moved, then mirrored."""
    c, s = np.cos(np.deg2rad(alpha)), np.sin(np.deg2rad(alpha))
    return np.diag([-1 if flip else 1, 1, 1]) @ np.array([[c, s, dx], [-s, c, dy], [0, 0, 1]])


def same(got, expected, precision=1e-4):
    for name in COLUMNS:
        assert getattr(got, name) == pytest.approx(getattr(expected, name), abs=precision)


def datasets(path):
    """Shapes of a file's images, in order."""
    with h5py.File(path) as file:
        group = file["MDF/images"]
        assert group.attrs["imageid_max"].tolist() == [len(group) - 1]
        return [group[f"{i}/image"].shape for i in range(len(group))]


# ---- poses

def test_poses_are_the_same_maps_of_points():
    poses = random_poses(20)
    for i, (dx, dy, alpha, flip) in enumerate(eman_files.to_eman(poses).T):
        ours = pose_matrix(*(getattr(poses, name)[i] for name in COLUMNS))
        assert eman_transform(dx, dy, alpha, flip) == pytest.approx(ours)


def test_poses_and_back():
    poses = random_poses(4, 5)
    assert eman_files.to_eman(poses).shape == (4, 4, 5)
    same(eman_files.from_eman(*eman_files.to_eman(poses)), poses, 1e-9)
    assert eman_files.from_eman(0, 0, -90, 0).psi == 270


@pytest.mark.parametrize("pose", [(0, 3, -2, 0), (37, 2, -1, 0), (250, -2.5, 3, 1), (111, 1, 2, 1)])
def test_an_image_moved_as_eman_does_becomes_the_average(pose):
    particle = DISTINCT[0].particle(N, *pose)
    matrix = eman_transform(*eman_files.to_eman(Poses(*pose)))
    # out(x') = in(T^-1 x')
    y, x = np.mgrid[:N, :N] - N // 2
    back = np.linalg.inv(matrix) @ np.stack([x.ravel(), y.ravel(), np.ones(N * N)])
    moved = ndimage.map_coordinates(particle, back[1::-1] + N // 2, order=3).reshape(N, N)
    inside = np.hypot(x, y) < N / 2 - 5
    assert np.abs(moved - DISTINCT[0].image(N))[inside].max() < 0.02


# ---- tables

def test_classmx(tmp_path):
    path, poses = tmp_path / "classmx_01.hdf", random_poses(50)
    ref, weight = RNG.integers(-1, 4, 50), RNG.integers(0, 2, 50)
    eman_files.write_classmx(path, ref, weight, poses)
    assert datasets(path) == [(50, 1)] * 6                  # EMAN's nx is the last
    with h5py.File(path) as file:
        columns = np.stack([file[f"MDF/images/{i}/image"][:, 0] for i in range(6)])
        assert file["MDF/images/0"].attrs["EMAN.nx"] == 1 and file["MDF/images/0"].attrs["EMAN.ny"] == 50
    assert (columns[0] == ref).all() and (columns[1] == weight).all()
    assert columns[2:] == pytest.approx(eman_files.to_eman(poses), abs=1e-4)
    got = eman_files.read_classmx(path)
    assert (got.ref == ref).all() and (got.weight == weight).all() and got.ref.dtype.kind == "i"
    same(got, poses)


def test_a_classmx_of_one_particle(tmp_path):
    path = tmp_path / "classmx.hdf"
    eman_files.write_classmx(path, [3], [1.0], Poses(*np.array([[10.0], [1], [2], [1]])))
    assert eman_files.read_classmx(path).shift_x.tolist() == [1]
    with h5py.File(path, "r+") as file:                 # as EMAN writes it
        for i in range(6):
            value = file[f"MDF/images/{i}/image"][0]
            del file[f"MDF/images/{i}/image"]
            file[f"MDF/images/{i}/image"] = value
    assert eman_files.read_classmx(path).ref.tolist() == [3]


def test_simmx(tmp_path):
    path, poses, score = tmp_path / "simmx_01.hdf", random_poses(30, 5), RNG.normal(size=(30, 5))
    eman_files.write_simmx(path, score, poses)
    assert datasets(path) == [(30, 5)] * 6
    with h5py.File(path) as file:
        assert (file["MDF/images/5/image"][()] == 1).all()
    got = eman_files.read_simmx(path)
    assert got.score == pytest.approx(score, abs=1e-6)
    same(got, poses)


def test_projections(tmp_path):
    path, poses, coefficients = tmp_path / "input_01_proj.hdf", random_poses(20), RNG.normal(size=(20, 7))
    eman_files.write_projections(path, coefficients, poses)
    assert datasets(path) == [(20, 11)]
    with h5py.File(path) as file:
        assert file["MDF/images/0/image"][:, :4] == pytest.approx(eman_files.to_eman(poses).T, abs=1e-4)
    got, there = eman_files.read_projections(path)
    assert got == pytest.approx(coefficients, abs=1e-6)
    same(there, poses)
    eman_files.write_projections(path, coefficients)
    got, none = eman_files.read_projections(path, posed=False)
    assert got == pytest.approx(coefficients, abs=1e-6) and none is None


def test_tables_that_are_none(tmp_path):
    path = tmp_path / "x.hdf"
    eman_files.write_images(path, RNG.normal(size=(3, 8, 1)))
    with pytest.raises(UserError, match=r"x\.hdf: 3 images, expected 6: class, weight, dx, dy, dalpha, flip"):
        eman_files.read_classmx(path)
    with pytest.raises(UserError, match=r"x\.hdf: 3 images, expected 6: score, dx"):
        eman_files.read_simmx(path)
    eman_files.write_images(path, RNG.normal(size=(6, 8, 2)))
    with pytest.raises(UserError, match=r"x\.hdf: 2 classes for each particle, expected 1"):
        eman_files.read_classmx(path)
    eman_files.write_images(path, np.full((6, 8, 1), 0.5))
    with pytest.raises(UserError, match=r"x\.hdf: classes that are no numbers from 0"):
        eman_files.read_classmx(path)
    eman_files.write_images(path, RNG.normal(size=(1, 8, 4)))
    with pytest.raises(UserError, match=r"x\.hdf: rows of 4, expected more than 4"):
        eman_files.read_projections(path)


# ---- images with attributes

def test_a_basis(tmp_path):
    path, images = tmp_path / "basis_01.hdf", RNG.normal(size=(4, 10, 6)).astype("f4")
    eman_files.write_basis(path, images[0], images[1:], [5.0, 3.0, 1.0], [0.5, 0.3, 0.1], 1.5)
    with h5py.File(path) as file:
        attributes = [dict(file[f"MDF/images/{i}"].attrs) for i in range(4)]
    assert [one["EMAN.eigval"][0] for one in attributes] == [0, 5, 3, 1]
    assert [one["EMAN.explvarfrac"][0] for one in attributes] == pytest.approx([0, 0.5, 0.3, 0.1])
    assert attributes[2]["EMAN.apix_y"] == 1.5
    mean, vectors, values, shares = eman_files.read_basis(path)
    assert (mean == images[0]).all() and (vectors == images[1:]).all()
    assert values.tolist() == [5, 3, 1] and shares == pytest.approx([0.5, 0.3, 0.1])


def test_class_averages(tmp_path):
    path = tmp_path / "classes_01.hdf"
    averages = Averages(RNG.normal(size=(3, N, N)).astype("f4"), [np.arange(40000), np.array([7]), np.array([], int)],
                        [np.array([50001]), np.array([50002, 50003]), np.array([], int)], np.array([-0.5, -0.7, 0]),
                        np.array([0.1, 0, 0]), "particles.hdf")
    eman_files.write_averages(path, averages, 2.5, [{"mlalign_resolution": 12.5}])
    with h5py.File(path) as file:
        first, second, third = (dict(file[f"MDF/images/{i}"].attrs) for i in range(3))
    assert [one["EMAN.ptcl_repr"][0] for one in (first, second, third)] == [40000, 1, 0]
    assert first["EMAN.class_ptcl_idxs"].dtype == np.int32 and first["EMAN.class_ptcl_idxs"].shape == (40000,)
    assert first["EMAN.exc_class_ptcl_idxs"].tolist() == [50001] and first["EMAN.mlalign_resolution"] == 12.5
    assert second["EMAN.class_ptcl_idxs"].shape == (1,) and second["EMAN.class_ptcl_src"] == b"particles.hdf"
    assert first["EMAN.class_ptcl_qual"][0] == -0.5 and first["EMAN.class_ptcl_qual_sigma"][0] == 0.1
    assert not [name for name in third if "idxs" in name]
    assert all(one["EMAN.apix_x"][0] == 2.5 for one in (first, second, third))
    got = eman_files.read_averages(path)
    assert (got.images == averages.images).all() and got.source == "particles.hdf"
    for mine, its in zip(got.members + got.excluded, averages.members + averages.excluded):
        assert mine.tolist() == its.tolist() and mine.dtype.kind == "i"
    assert got.quality == pytest.approx(averages.quality) and got.spread == pytest.approx(averages.spread)


def test_averages_of_others_have_what_they_have(tmp_path):
    with hdf_writer(tmp_path / "x.hdf") as out:
        out.append(np.ones((8, 8)), {"class_ptcl_idxs": 4, "ptcl_repr": 1})
        out.append(np.zeros((8, 8)))
    got = eman_files.read_averages(tmp_path / "x.hdf")
    assert [some.tolist() for some in got.members] == [[4], []] and got.source == ""
    assert got.quality.tolist() == [0, 0]


def test_images_and_their_attributes(tmp_path):
    images = RNG.normal(size=(3, 8, 8)).astype("f4")
    eman_files.write_images(tmp_path / "x.hdf", images, [{"contrast": 0.5, "xform.align2d": np.eye(4)[:3]}])
    got, headers = eman_files.read_images(tmp_path / "x.hdf")
    assert (got == images).all() and headers[0]["contrast"] == 0.5 and "contrast" not in headers[1]
    assert (headers[0]["xform.align2d"] == np.eye(4)[:3]).all()


def test_files_appear_whole_or_not_at_all(tmp_path):
    path = tmp_path / "simmx.hdf"
    path.write_text("before")
    with pytest.raises(ValueError, match="unpack"):
        eman_files.write_simmx(path, RNG.normal(size=(4, 5, 6)), random_poses(4, 5))
    assert path.read_text() == "before" and [path] == list(tmp_path.iterdir())


# ---- text

def test_a_list_as_eman_reads_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hdf_writer("some µm.hdf") as out:
        for value in range(12):
            out.append(np.full((8, 8), value))
    eman_files.write_list("set.lst", ["000011@some µm.hdf", "000002@some µm.hdf"])
    header, _, length, *lines = (tmp_path / "set.lst").read_bytes().splitlines(keepends=True)
    assert header == b"#LSX\n" and {len(line) for line in lines} == {int(length[1:])}
    assert [line.strip().split(b"\t") for line in lines] == [[b"10", "some µm.hdf".encode()],
                                                             [b"1", "some µm.hdf".encode()]]
    source = open_images("set.lst")
    assert source.count == 2 and source.read(slice(None))[:, 0, 0].tolist() == [10, 1]


def test_parameters(tmp_path):
    path = tmp_path / "0_refine2d_parms.json"
    eman_files.write_parameters(path, {"ncls": np.int64(32), "initial": None, "path": tmp_path, "classkeep": 0.85},
                                "refine2d --ncls 32")
    content = json.loads(path.read_text())
    assert content.pop("timestamp")
    expected = {"ncls": 32, "initial": None, "path": str(tmp_path), "classkeep": 0.85,
                "commandline": "refine2d --ncls 32"}
    assert content == expected
    assert {**expected, "timestamp": ""} == {**eman_files.read_parameters(path), "timestamp": ""}


def test_parameters_that_are_none(tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(UserError, match=r"cannot read .*x\.json: No such file"):
        eman_files.read_parameters(path)
    path.write_text("{")
    with pytest.raises(UserError, match=r"x\.json: not JSON"):
        eman_files.read_parameters(path)
    path.write_text("[1]")
    with pytest.raises(UserError, match=r"x\.json: found a list, expected the parameters of a run"):
        eman_files.read_parameters(path)
