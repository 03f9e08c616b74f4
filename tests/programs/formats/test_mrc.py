"""MRC files, against mrcfile."""
import mrcfile
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.mrc import (
    open_mrc,
    open_mrc_volumes,
    read_volume,
    stack_writer,
    write_stack,
    write_volume,
    write_volume_stack,
)

RNG = np.random.default_rng(0)


def save(path, data, pixel_size=None, byte_order=None, extended=b"", stack=True):
    with mrcfile.new(path, overwrite=True) as mrc:
        mrc.set_data(data)
        if stack and data.ndim == 3:
            mrc.set_image_stack()
        if extended:
            mrc.set_extended_header(np.frombuffer(extended, "V1"))
        if pixel_size:
            mrc.voxel_size = pixel_size
        if byte_order:
            mrc.header.machst = mrcfile.utils.machine_stamp_from_byte_order(byte_order)
    if byte_order:
        swap(path, data.dtype, extended)


def swap(path, dtype, extended):
    """The same file in the other byte order."""
    raw = path.read_bytes()
    header = np.frombuffer(raw[:1024], mrcfile.dtypes.HEADER_DTYPE).byteswap()
    data = np.frombuffer(raw[1024 + len(extended):], dtype).byteswap()
    path.write_bytes(header.tobytes() + extended + data.tobytes())


@pytest.mark.parametrize("dtype", ["i1", "i2", "f4", "u2", "f2"])
@pytest.mark.parametrize("byte_order", [None, ">"])
@pytest.mark.parametrize("extended", [b"", b"extended header"])
def test_every_mode_and_byte_order(tmp_path, dtype, byte_order, extended):
    data = (RNG.normal(size=(5, 6, 7)) * 20).astype(dtype)
    path = tmp_path / "x.mrcs"
    save(path, data, 1.5, byte_order, extended)
    stack = open_mrc(path)
    assert stack.shape == (5, 6, 7)
    assert stack.pixel_size == pytest.approx(1.5)
    assert list(stack.numbers) == [1, 2, 3, 4, 5]
    for rows in (slice(1, 4), [4, 0, 0], np.array([], int)):
        got = stack.read(rows)
        assert got.dtype == np.dtype("float32") and got.dtype.isnative
        assert (got == data[rows].astype("f4")).all()


def test_an_image_and_a_volume(tmp_path):
    image = RNG.normal(size=(6, 7)).astype("f4")
    save(tmp_path / "image.mrc", image)
    assert (open_mrc(tmp_path / "image.mrc").read([0])[0] == image).all()
    assert open_mrc(tmp_path / "image.mrc").pixel_size is None
    volume = RNG.normal(size=(4, 6, 7)).astype("f4")
    save(tmp_path / "volume.mrc", volume, 2.0, stack=False)
    got, pixel_size = read_volume(tmp_path / "volume.mrc")
    assert (got == volume).all() and pixel_size == 2


def test_mrcfile_reads_what_we_write(tmp_path):
    images = RNG.normal(2, 3, size=(5, 8, 8))
    write_stack(tmp_path / "x.mrcs", images, 1.25)
    assert mrcfile.validate(tmp_path / "x.mrcs")
    with mrcfile.open(tmp_path / "x.mrcs") as mrc:
        assert mrc.is_image_stack()
        assert mrc.data.dtype == np.float32 and (mrc.data == images.astype("f4")).all()
        assert [float(mrc.voxel_size[axis]) for axis in "xyz"] == pytest.approx([1.25] * 3)
        assert float(mrc.header.dmin) == pytest.approx(images.min())
        assert float(mrc.header.dmax) == pytest.approx(images.max())
        assert float(mrc.header.dmean) == pytest.approx(images.mean())
        assert float(mrc.header.rms) == pytest.approx(images.std(), rel=1e-5)
    write_volume(tmp_path / "v.mrc", images, 1.25)
    assert mrcfile.validate(tmp_path / "v.mrc")
    with mrcfile.open(tmp_path / "v.mrc") as mrc:
        assert mrc.is_volume() and float(mrc.voxel_size.z) == 1.25
    write_stack(tmp_path / "no_size.mrcs", images)
    assert open_mrc(tmp_path / "no_size.mrcs").pixel_size is None


def test_a_stack_of_volumes(tmp_path):
    volumes = RNG.normal(size=(3, 4, 6, 5)).astype("f4")
    write_volume_stack(tmp_path / "x.mrcs", volumes, 2.0)
    assert mrcfile.validate(tmp_path / "x.mrcs")
    with mrcfile.open(tmp_path / "x.mrcs") as mrc:
        assert mrc.is_volume_stack() and (mrc.data == volumes).all()
        assert [float(mrc.voxel_size[axis]) for axis in "xyz"] == [2, 2, 2]
    stack = open_mrc_volumes(tmp_path / "x.mrcs")
    assert stack.shape == volumes.shape and (stack.read([2, 0]) == volumes[[2, 0]]).all()
    with pytest.raises(ValueError, match="6 sections are no stack of volumes of 4"), \
            stack_writer(tmp_path / "y.mrcs", depth=4) as out:
        out.append(volumes[0])
        out.append(volumes[0, :2])


def test_a_stack_grows_by_batches_and_single_images(tmp_path):
    images = RNG.normal(size=(7, 4, 4)).astype("f4")
    with stack_writer(tmp_path / "x.mrcs", 1.0) as out:
        out.append(images[:3])
        out.append(images[3])
        out.append(images[4:4])
        out.append(images[4:])
    assert (open_mrc(tmp_path / "x.mrcs").read(slice(None)) == images).all()
    with pytest.raises(ValueError, match="stack of"), stack_writer(tmp_path / "y.mrcs") as out:
        out.append(images)
        out.append(images[:, :2])
    with pytest.raises(ValueError, match="at least one image"), stack_writer(tmp_path / "y.mrcs") as out:
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["x.mrcs"]


def damage(path, **fields):
    with open(path, "r+b") as file:
        header = np.frombuffer(file.read(1024), mrcfile.dtypes.HEADER_DTYPE).copy()
        for name, value in fields.items():
            header[name] = value
        file.seek(0)
        file.write(header.tobytes())


@pytest.mark.parametrize(("fields", "message"), [
    ({"nz": 6}, "truncated MRC file: 1184 bytes, expected 1440 for 4 x 4 x 6 pixels of type float32"),
    ({"nx": 2**31 - 1, "ny": 2**31 - 1}, "truncated MRC file: 1184 bytes"),
    ({"nx": 0}, "not a sound MRC file: its header gives 0 x 4 x 2 pixels and an extended header of 32 bytes"),
    ({"nz": -2}, "not a sound MRC file"),
    ({"mode": 4}, "holds complex numbers (MRC mode 4), expected real images"),
    ({"mode": 101}, "not a readable MRC file: Unrecognised mode '101'"),
    ({"map": b"xxxx"}, "not a readable MRC file: Map ID string not found"),
])
def test_a_faulty_file_is_named(tmp_path, fields, message):
    path = tmp_path / "x.mrcs"
    save(path, np.ones((2, 4, 4), "f4"), extended=bytes(32))
    damage(path, **fields)
    with pytest.raises(UserError) as caught:
        open_mrc(path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_short_and_missing_files(tmp_path):
    path = tmp_path / "x.mrcs"
    path.write_bytes(b"too short")
    with pytest.raises(UserError, match=r"x\.mrcs: not a readable MRC file: .*header"):
        open_mrc(path)
    with pytest.raises(UserError, match=r"^cannot read .*nix\.mrcs: No such file or directory$"):
        open_mrc(tmp_path / "nix.mrcs")
