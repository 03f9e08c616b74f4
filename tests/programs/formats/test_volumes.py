"""Any set of volumes: files and stacks of every kind, told by their content, read back in the order asked for."""
import os
import resource

import mrcfile
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats import located
from mlalign.programs.formats.hdf import HdfStack
from mlalign.programs.formats.images import check_pixels
from mlalign.programs.formats.mrc import write_stack, write_volume, write_volume_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.formats.volumes import open_volumes

from .test_spider import save_volumes

N = 8


def random_volumes(count, n=N, seed=0):
    return np.random.default_rng(seed).normal(size=(count, n, n, n)).astype("f4")


def save_hdf(path, volumes, pixel_size=None):
    """A stack as EMAN lays it out."""
    import h5py
    with h5py.File(path, "w") as file:
        for i, volume in enumerate(volumes):
            group = file.create_group(f"MDF/images/{i}")
            group["image"] = volume
            if pixel_size:
                group.attrs["EMAN.apix_x"] = pixel_size


def error(path):
    with pytest.raises(UserError) as caught:
        open_volumes(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_scattered_rows_come_in_order(tmp_path):
    volumes = random_volumes(12)
    folder = tmp_path / "data"
    write_volume(folder / "a.mrc", volumes[0])
    write_volume(folder / "b.vol", volumes[1])              # MRC, although SPIDER's name
    write_volume_stack(folder / "c.mrcs", volumes[2:5])
    save_volumes(folder / "d.scl", volumes[5:6], stack=False)
    save_volumes(folder / "e.stk", volumes[6:9])
    save_hdf(folder / "f.hdf", volumes[9:12])
    names = ["a.mrc", "b.vol", "1@c.mrcs", "2@c.mrcs", "3@c.mrcs", "d.scl", "1@e.stk", "2@e.stk", "000003@e.stk",
             "1@f.hdf", "2@f.hdf", "3@f.hdf"]
    order = np.random.default_rng(3).permutation(12)
    write_star(folder / "x.xmd", {"particles": {"image": [names[i] for i in order]}})
    source = open_volumes(folder / "x.xmd")
    assert (source.count, source.size, source.pixel_size) == (12, N, None)
    assert source.metadata["itemId"].tolist() == list(range(1, 13))
    for rows in (slice(None), slice(2, 9), slice(9, 1, -2), np.array([7]), [11, 0, 5, 5], []):
        got = source.read(rows)
        assert got.dtype == np.float32
        assert got.shape == volumes[order][rows].shape and (got == volumes[order][rows]).all()
    first = names[order[0]].rpartition("@")
    number = f"{int(first[0]):06d}@" if first[0] else ""
    assert source.names([0]) == [f"row 1 ({number}{folder}/{first[2]})"]


@pytest.mark.parametrize("name", ["x.mrc", "x.map", "x.vol", "x.spi", "x.msk", "x.hdf"])
def test_a_volume_alone(tmp_path, name):
    volumes = random_volumes(1)
    path = tmp_path / name
    if name.endswith(("mrc", "map")):
        write_volume(path, volumes[0], 2.5)
    elif name.endswith("hdf"):
        save_hdf(path, volumes, 2.5)
    else:
        save_volumes(path, volumes, stack=False)
    source = open_volumes(path)
    assert source.metadata["image"].tolist() == [str(path)]
    assert source.pixel_size == (2.5 if name.endswith(("mrc", "map", "hdf")) else None)
    assert (source.read([0]) == volumes).all()


def test_a_stack_alone_and_one_of_it(tmp_path):
    volumes = random_volumes(3)
    path = tmp_path / "x.mrcs"
    write_volume_stack(path, volumes, 4)
    source = open_volumes(path)
    assert source.metadata["image"].tolist() == [f"{i:06d}@{path}" for i in (1, 2, 3)]
    assert source.pixel_size == 4 and (source.read(slice(None)) == volumes).all()
    one = open_volumes(f"2@{path}")
    assert one.count == 1 and (one.read([0]) == volumes[1:2]).all()
    assert error(f"4@{path}") == (f"{path}: row 1 (4@{path}): no such image, "
                                  "expected number@stack with a number from 1 to 3")


def test_a_hdf_stack_with_gaps(tmp_path):
    import h5py
    volumes = random_volumes(2)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["MDF/images/0/image"], file["MDF/images/2/image"] = volumes
    source = open_volumes(tmp_path / "x.hdf")
    assert [image[:6] for image in source.metadata["image"]] == ["000001", "000003"]
    assert (source.read(slice(None)) == volumes).all()


@pytest.mark.parametrize(("sections", "ispg", "mz", "count"), [
    (3 * N, 401, N, 3), (3 * N, 0, 1, 3), (3 * N, 1, 3 * N, 3), (N, 0, 1, 1), (N, 1, N, 1), (N, 401, N, 1)])
def test_what_an_mrc_stack_of_volumes_is(tmp_path, sections, ispg, mz, count):
    data = random_volumes(3).reshape(-1, N, N)[:sections]
    path = tmp_path / "x.mrc"
    with mrcfile.new(path, data) as mrc:
        mrc.header.ispg, mrc.header.mz = ispg, mz
    source = open_volumes(path)
    assert source.count == count and (source.read(slice(None)).reshape(-1, N, N) == data).all()


def test_a_stack_of_images_is_no_volume(tmp_path):
    path = tmp_path / "x.mrcs"
    write_stack(path, np.ones((2 * N + 1, N, N), "f4"))
    assert error(path) == f"{path}: row 1 ({path}): a volume of 8 x 8 x 17 voxels, expected a cube"


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    volumes = random_volumes(60)
    for i, volume in enumerate(volumes):
        write_volume(tmp_path / f"{i}.mrc", volume)
    write_star(tmp_path / "x.xmd", {"": {"image": [f"{i}.mrc" for i in range(60)]}})
    monkeypatch.setattr(located, "OPEN_FILES", 10)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, limits[1]))
    try:
        source = open_volumes(tmp_path / "x.xmd")
        for _ in range(2):
            assert (source.read(slice(None)) == volumes).all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_selection_and_a_docfile(tmp_path):
    volumes = random_volumes(3)
    for i, volume in enumerate(volumes):
        write_volume(tmp_path / f"{i}.scl", volume)
    (tmp_path / "x.sel").write_text("0.scl 1\n1.scl -1\n2.scl 1\n")
    source = open_volumes(tmp_path / "x.sel")
    assert source.count == 2 and source.rows.tolist() == [1, 3]
    assert (source.read(slice(None)) == volumes[[0, 2]]).all()
    (tmp_path / "x.doc").write_text(" ; 2.scl\n 1 3 10 20 30\n ; 1.scl\n 2 3 11 21 31\n")
    source = open_volumes(tmp_path / "x.doc")
    assert (source.read(slice(None)) == volumes[[2, 1]]).all()
    assert source.metadata["angleTilt"].tolist() == [20, 21]


def test_blocks_and_pixel_sizes(tmp_path):
    write_volume(tmp_path / "a.mrc", random_volumes(1)[0], 3)
    path = tmp_path / "x.xmd"
    write_star(path, {"classes": {"image": ["a.mrc"]},
                      "class000001_images": {"image": ["a.mrc", "a.mrc"], "samplingRate": [2.0, 2.0]}})
    assert open_volumes(path).count == 1 and open_volumes(path).pixel_size == 3
    assert open_volumes(f"class000001_images@{path}").count == 2
    assert open_volumes(f"class000001_images@{path}").pixel_size == 2
    assert error(f"nix@{path}").startswith(f"{path}: no block data_nix; there are data_classes")
    assert error(f"nix@{tmp_path}/a.mrc") == f"nix@{tmp_path}/a.mrc: {tmp_path}/a.mrc holds no metadata, " \
                                             f"expected number@{tmp_path}/a.mrc"


def test_boxes_that_do_not_fit(tmp_path):
    write_volume(tmp_path / "a.mrc", random_volumes(1)[0])
    write_volume(tmp_path / "b.mrc", random_volumes(1, 10)[0])
    write_volume(tmp_path / "c.mrc", random_volumes(1, 10)[0, :, :, :6])
    path = tmp_path / "x.xmd"
    write_star(path, {"": {"image": ["a.mrc", "a.mrc", "b.mrc"]}})
    assert error(path) == (f"{path}: row 3 ({tmp_path}/b.mrc): a volume of 10 x 10 x 10 voxels, "
                           f"expected 8 x 8 x 8 as in {tmp_path}/a.mrc")
    write_star(path, {"": {"image": ["a.mrc", "c.mrc"]}})
    assert error(path) == f"{path}: row 2 ({tmp_path}/c.mrc): a volume of 6 x 10 x 10 voxels, expected a cube"


def test_files_of_no_known_kind(tmp_path):
    path = tmp_path / "x.vol"
    assert error(path) == f"cannot read {path}: No such file or directory"
    for content in (b"", b"hello, world\n", bytes(5000), np.full(400, np.nan, "f4").tobytes()):
        path.write_bytes(content)
        assert error(path) == (f"{path}: unknown kind of file, expected a volume or a stack of volumes "
                               "(MRC, SPIDER, EMAN HDF)")
    assert error(tmp_path).startswith(f"cannot read {tmp_path}: ")
    (tmp_path / "x.mrc").write_bytes(bytes(5000))
    assert error(tmp_path / "x.mrc").startswith(f"{tmp_path}/x.mrc: not a readable MRC file: ")
    save_hdf(tmp_path / "x.hdf", random_volumes(1)[0])
    assert error(tmp_path / "x.hdf") == f"{tmp_path}/x.hdf: image 1 has 2 dimensions, expected 3"
    save_hdf(tmp_path / "y.hdf", random_volumes(1))
    with pytest.raises(UserError, match="image 1 has 3 dimensions, expected 2"):
        HdfStack(tmp_path / "y.hdf")


def test_check_pixels_of_volumes():
    volumes = random_volumes(3)
    check_pixels(volumes, "abc")
    volumes[1] = 2
    with pytest.raises(UserError, match=r"^b: the volume is constant \(every voxel is 2\), expected a volume with"):
        check_pixels(volumes, "abc")
    volumes[0, 1, 1, 1] = np.nan
    with pytest.raises(UserError, match=r"^a: the volume holds NaN or Inf, expected a volume with signal"):
        check_pixels(volumes, "abc")
