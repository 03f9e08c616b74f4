"""Any set of images: every kind of stack, scattered over files, read back in the order asked for."""
import os
import resource
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from PIL import Image

from mlalign.programs.errors import UserError
from mlalign.programs.formats import located as module
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.formats.images import check_pixels, open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star

from .test_spider import save_stack

N = 16


def random_images(count, n=N, seed=0):
    return np.random.default_rng(seed).normal(size=(count, n, n)).astype("f4")


def error(path):
    with pytest.raises(UserError) as caught:
        open_images(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def scattered(tmp_path):
    """Images in stacks of every kind and in files of their own, and metadata that mixes them."""
    parts = [random_images(4, seed=seed) for seed in range(5)]
    (tmp_path / "data").mkdir()
    folder = tmp_path / "data"
    write_stack(folder / "a.mrcs", parts[0])
    write_stack(folder / "b.mrc", parts[1])
    save_stack(folder / "c.stk", parts[2])
    with hdf_writer(folder / "d.hdf") as out:
        for image in parts[3]:
            out.append(image)
    for i, image in enumerate(parts[4]):
        Image.fromarray(image).save(folder / f"e{i}.spi", "SPIDER")
    names = [f"{i + 1:06d}@{name}" for name in ("a.mrcs", "b.mrc:mrcs", "c.stk", "d.hdf") for i in range(4)]
    names += [f"e{i}.spi" for i in range(4)]
    order = np.random.default_rng(9).permutation(20)
    write_star(folder / "x.star", {"particles": {"image": [names[i] for i in order]}})
    return folder / "x.star", np.concatenate(parts)[order]


def test_scattered_rows_come_in_order(scattered):
    path, expected = scattered
    source = open_images(path)
    assert source.count == 20 and source.size == N and source.pixel_size is None
    assert source.metadata["itemId"].tolist() == list(range(1, 21))
    for rows in (slice(None), slice(3, 11), slice(15, 2, -2), np.array([7]), [19, 0, 5, 5], [],
                 np.random.default_rng(1).permutation(20)):
        got = source.read(rows)
        assert got.dtype == np.float32
        assert (got == expected[rows]).all() and got.shape == expected[rows].shape


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    images = random_images(100)
    for i, image in enumerate(images):
        write_stack(tmp_path / f"{i}.mrcs", image)
    write_star(tmp_path / "x.star", {"": {"image": [f"1@{i}.mrcs" for i in range(100)]}})
    monkeypatch.setattr(module, "OPEN_FILES", 10)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 30, limits[1]))
    try:
        source = open_images(tmp_path / "x.star")
        for _ in range(2):
            assert (source.read(slice(None)) == images).all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_stack_alone(tmp_path):
    images = random_images(3)
    write_stack(tmp_path / "x.mrcs", images, 1.5)
    source = open_images(tmp_path / "x.mrcs")
    assert source.count == 3 and source.pixel_size == pytest.approx(1.5)
    assert source.metadata["image"].tolist() == [f"{i:06d}@{tmp_path}/x.mrcs" for i in (1, 2, 3)]
    assert source.metadata["itemId"].tolist() == [1, 2, 3]
    assert (source.read(slice(None)) == images).all()
    one = open_images(f"2@{tmp_path}/x.mrcs")
    assert (one.read([0]) == images[1:2]).all() and one.count == 1


def test_a_stack_is_not_looked_for_beside_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, seed in (("data", 0), ("data/data", 1)):
        Path(folder).mkdir()
        write_stack(f"{folder}/x.mrcs", random_images(2, seed=seed))
    assert (open_images("data/x.mrcs").read(slice(None)) == random_images(2, seed=0)).all()


def test_a_hdf_stack_with_gaps(tmp_path):
    import h5py
    images = random_images(3)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        for i in (0, 2):
            file[f"MDF/images/{i}/image"] = images[i]
    source = open_images(tmp_path / "x.hdf")
    assert [image[:6] for image in source.metadata["image"]] == ["000001", "000003"]
    assert (source.read(slice(None)) == images[[0, 2]]).all()


def test_an_eman_list(tmp_path):
    images = random_images(5)
    with hdf_writer(tmp_path / "p.hdf", 2.0) as out:
        for image in images:
            out.append(image)
    (tmp_path / "x.lst").write_text("#LSX\n#\n# 10\n3\tp.hdf\n0\tp.hdf\n")
    source = open_images(tmp_path / "x.lst")
    assert (source.read(slice(None)) == images[[3, 0]]).all()
    assert source.pixel_size == 2


def test_paths_start_at_the_metadata_then_at_the_current_folder(tmp_path, monkeypatch):
    here, there = random_images(2, seed=1), random_images(2, seed=2)
    (tmp_path / "data").mkdir()
    (tmp_path / "work" / "stacks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work")
    write_stack("stacks/x.mrcs", here)
    write_star("../data/x.star", {"": {"image": ["1@stacks/x.mrcs", "2@stacks/x.mrcs"]}})
    source = open_images("../data/x.star")
    assert (source.read(slice(None)) == here).all()
    assert source.metadata["image"].tolist() == ["1@stacks/x.mrcs", "2@stacks/x.mrcs"]
    write_stack("../data/stacks/x.mrcs", there)
    source = open_images("../data/x.star")
    assert (source.read(slice(None)) == there).all()
    # and what is written out is found again from anywhere below this folder
    write_star("out/y.star", {"": source.metadata})
    assert source.metadata["image"][0] == "000001@../data/stacks/x.mrcs"
    assert (open_images("out/y.star").read(slice(None)) == there).all()


def test_a_project_s_paths_are_found_from_outside(tmp_path, monkeypatch):
    images = random_images(2)
    run = tmp_path / "project" / "Runs" / "000079"
    write_stack(run / "x.mrcs", images)
    write_star(run / "extra" / "x.star", {"": {"image": ["2@Runs/000079/x.mrcs"]}})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (open_images("../project/Runs/000079/extra/x.star").read(slice(None)) == images[1:]).all()


def test_a_file_that_is_nowhere(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    write_stack(tmp_path / "a.mrcs", random_images(2))
    path = tmp_path / "x.star"
    write_star(path, {"": {"image": ["1@a.mrcs", "1@stacks/b.mrcs"]}})
    assert error(path) == (f"{path}: row 2: no file stacks/b.mrcs, looked for it from {tmp_path} "
                           f"and {tmp_path / 'work'} and the folders above")


def test_disabled_rows_are_left_out_and_rows_keep_their_numbers(tmp_path):
    images = random_images(4)
    write_stack(tmp_path / "a.mrcs", images)
    columns = {"image": [f"{i}@a.mrcs" for i in (1, 2, 3, 4)], "enabled": [-1, 1, 0, 1],
               "itemId": [7, 8, 9, 20], "ctfDefocusU": [1.0, 2.0, 3.0, 4.0]}
    write_star(tmp_path / "x.xmd", {"noname": columns})
    source = open_images(tmp_path / "x.xmd")
    assert source.count == 2
    assert source.metadata["itemId"].tolist() == [8, 20]
    assert source.metadata["ctfDefocusU"].tolist() == [2, 4]
    assert (source.read([1, 0]) == images[[3, 1]]).all()
    assert source.names(slice(1, 2)) == [f"row 4 (000004@{tmp_path}/a.mrcs)"]
    write_star(tmp_path / "x.xmd", {"noname": {**columns, "enabled": [-1, -1, 0, 0]}})
    assert error(tmp_path / "x.xmd") == f"{tmp_path}/x.xmd: none of 4 rows is enabled (_enabled 1)"


def test_indices_beyond_the_stack(tmp_path):
    write_stack(tmp_path / "a.mrcs", random_images(4))
    stack, path = tmp_path / "a.mrcs", tmp_path / "x.star"
    for location in ("000005@a.mrcs", "000000@a.mrcs"):
        write_star(path, {"": {"image": ["1@a.mrcs", location]}})
        assert error(path) == (f"{path}: row 2 ({location[:6]}@{stack}): no such image, "
                               "expected number@stack with a number from 1 to 4")
    write_star(path, {"": {"image": ["1@a.mrcs", "a.mrcs"]}})
    assert error(path).startswith(f"{path}: row 2 ({stack}): no such image, expected number@stack")
    assert error(f"9@{stack}").startswith(f"{stack}: row 1 (000009@{stack}): no such image")


def test_shapes_that_do_not_fit(tmp_path):
    write_stack(tmp_path / "a.mrcs", random_images(2, 16))
    write_stack(tmp_path / "b.mrcs", random_images(2, 20))
    write_stack(tmp_path / "c.mrcs", random_images(2, 20)[:, :10])
    path = tmp_path / "x.star"
    write_star(path, {"": {"image": ["1@a.mrcs", "1@b.mrcs"]}})
    assert error(path) == (f"{tmp_path}/b.mrcs: images of 20 x 20 pixels, "
                           f"expected 16 x 16 as in {tmp_path}/a.mrcs")
    assert error(tmp_path / "c.mrcs") == f"{tmp_path}/c.mrcs: images of 20 x 10 pixels, expected square ones"


def test_pixel_sizes(tmp_path):
    write_stack(tmp_path / "a.mrcs", random_images(2), 2.0)
    path = tmp_path / "x.star"

    def with_sizes(*sizes):
        write_star(path, {"": {"image": ["1@a.mrcs", "2@a.mrcs"], "samplingRate": sizes}})
        return path
    assert open_images(with_sizes(1.5, 1.5)).pixel_size == 1.5
    assert open_images(with_sizes(-1.0, -1.0)).pixel_size is None
    assert error(with_sizes(1.5, 1.6)) == (f"{path}: pixel sizes from 1.5 to 1.6 Å, "
                                           "expected one for all images")


def test_kinds_and_blocks(tmp_path):
    assert error("x.foo").startswith("x.foo: unknown kind of file, expected one of .star .xmd .lst .mrc")
    write_stack(tmp_path / "a.mrcs", random_images(2))
    path = tmp_path / "x.xmd"
    write_star(path, {"classes": {"image": ["1@a.mrcs"]},
                      "class000001_images": {"image": ["1@a.mrcs", "2@a.mrcs"]}})
    assert open_images(path).count == 1
    assert open_images(f"class000001_images@{path}").count == 2
    odd = tmp_path / "user@host"
    odd.mkdir()
    path.rename(odd / "x.xmd")
    (tmp_path / "a.mrcs").rename(odd / "a.mrcs")
    assert open_images(odd / "x.xmd").count == 1
    assert open_images(odd / "a.mrcs").count == 2


def test_check_pixels():
    images = random_images(5)
    names = [f"row {i}" for i in range(5)]
    check_pixels(images, names)
    for value in (np.nan, np.inf, -np.inf):
        bad = images.copy()
        bad[4] = 1
        bad[2, 3, 4] = value
        with pytest.raises(UserError, match=r"^row 2: the image holds NaN or Inf, expected an image with"):
            check_pixels(bad, names)
    images[3] = 7
    with pytest.raises(UserError, match=r"^row 3: the image is constant \(every pixel is 7\), expected"):
        check_pixels(images, names)
    check_pixels(images[:0], [])


@pytest.mark.skipif("MLALIGN_TEST_DATA" not in os.environ, reason="MLALIGN_TEST_DATA is not set")
def test_real_particles():
    folder = Path(os.environ["MLALIGN_TEST_DATA"]) / "apoferritin"
    source = open_images(folder / "apoferritin.star")
    with mrcfile.open(folder / "apoferritin.mrcs") as mrc:
        assert (source.read(slice(None)) == mrc.data).all()
    assert (source.count, source.size, source.pixel_size) == (937, 64, 3.0)
    first = {
        "ctfDefocusU": 22319.8, "ctfDefocusV": 21342.3, "ctfDefocusAngle": 126.72, "ctfPhaseShift": 0,
        "ctfVoltage": 300, "ctfSphericalAberration": 0, "ctfQ0": 0.07, "samplingRate": 3,
        "xcoor": 252, "ycoor": 69, "micrograph": "May08_03.13.02.bin.png"}
    assert {label: source.metadata[label][0] for label in first} == first
    assert len(set(source.metadata["micrograph"])) > 1
    check_pixels(source.read(slice(None)), source.names(slice(None)))
