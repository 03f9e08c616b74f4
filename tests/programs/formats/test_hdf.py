"""EMAN HDF stacks, against files laid out by hand with h5py."""
import h5py
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import HdfStack, hdf_writer

RNG = np.random.default_rng(0)
TRANSFORM = [(f"{row}{column}", "f4") for row in range(3) for column in range(4)]


def test_a_stack_with_gaps_and_eman_attributes(tmp_path):
    images = RNG.normal(size=(6, 8, 8)).astype("f4")
    matrix = np.arange(12.0).reshape(3, 4)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        group = file.create_group("MDF/images")
        group.attrs["imageid_max"] = np.array([5], np.int32)
        for i in (0, 2, 5):
            image = group.create_group(str(i))
            image["image"] = images[i]
            image.attrs["EMAN.apix_x"] = np.array([1.75], np.float32)
            image.attrs["EMAN.ptcl_repr"] = np.array([i], np.int32)
            image.attrs["EMAN.used"] = np.array([ord("T")], np.int8)
            image.attrs["EMAN.class_ptcl_idxs"] = np.array([3, 1, 4], np.int32)
            image.attrs["EMAN.source"] = np.array(b"particles.hdf", "S14")
            image.attrs["EMAN.xform"] = np.array([tuple(matrix.ravel())], TRANSFORM)
            image.attrs["comment"] = "not EMAN's"
    stack = HdfStack(tmp_path / "x.hdf")
    assert stack.shape == (6, 8, 8) and stack.numbers == [1, 3, 6]
    assert stack.pixel_size == 1.75
    assert (stack.read([5, 0, 2]) == images[[5, 0, 2]]).all()
    attributes = stack.attributes(2)
    assert (attributes.pop("xform") == matrix).all()
    assert attributes == {"apix_x": 1.75, "ptcl_repr": 2, "used": True, "class_ptcl_idxs": [3, 1, 4],
                          "source": "particles.hdf", "comment": "not EMAN's"}
    with pytest.raises(UserError, match=r"x\.hdf: image 2 \(HDF number 1\) is missing"):
        stack.read(slice(0, 3))


@pytest.mark.parametrize(("dtype", "bits"), [("u1", 8), ("u2", 10), ("u2", 16)])
def test_compressed_images(tmp_path, dtype, bits):
    low, high = -3.0, 5.0
    raw = RNG.integers(0, 2 ** bits, (2, 16, 16)).astype(dtype)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        for i, pixels in enumerate(raw):
            group = file.create_group(f"MDF/images/{i}")
            group.create_dataset("image", data=pixels, chunks=(8, 16), compression="gzip", compression_opts=1)
            group.attrs["EMAN.stored_renderbits"] = np.array([bits], np.int32)
            group.attrs["EMAN.stored_rendermin"] = np.array([low], np.float32)
            group.attrs["EMAN.stored_rendermax"] = np.array([high], np.float32)
    got = HdfStack(tmp_path / "x.hdf").read(slice(None))
    assert got == pytest.approx(low + raw.astype(float) * (high - low) / (2 ** bits - 1), abs=1e-5)
    assert got.dtype == np.float32


def test_a_compressed_stack_with_transforms_is_written_back_equal(tmp_path):
    """As EMAN lays it out: uint16 between rendermin and rendermax, a Transform, lists, text; then as we do."""
    raw = RNG.integers(0, 2**16, (3, 16, 16)).astype("u2")
    transforms = [np.arange(12.0).reshape(3, 4) / 7 + i for i in range(3)]
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        for i, pixels in enumerate(raw):
            group = file.create_group(f"MDF/images/{i}")
            group.create_dataset("image", data=pixels, chunks=(8, 16), compression="gzip", compression_opts=1)
            for name, value in (("stored_renderbits", np.array([16], np.int32)),
                                ("stored_rendermin", np.array([-2.5], np.float32)),
                                ("stored_rendermax", np.array([4.0], np.float32)),
                                ("stored_truncated", np.array([0], np.int32)),
                                ("ptcl_repr", np.array([12], np.int32)), ("ctf", np.array(b"E1.5 0 0 0 10 300", "S18")),
                                ("members", np.array([3, 1, 4], np.int32)),
                                ("xform.align2d", np.array([tuple(transforms[i].ravel())], TRANSFORM))):
                group.attrs["EMAN." + name] = value
    first = HdfStack(tmp_path / "x.hdf")
    images, headers = first.read(slice(None)), [first.attributes(i) for i in range(3)]
    with hdf_writer(tmp_path / "y.hdf") as out:
        for image, header in zip(images, headers):
            out.append(image, header)
    second = HdfStack(tmp_path / "y.hdf")
    assert (second.read(slice(None)) == images).all() and images.min() >= -2.5 and images.max() <= 4
    for i, header in enumerate(headers):
        got = second.attributes(i)
        assert not [name for name in got if name.startswith("stored_")]
        assert got["xform.align2d"] == pytest.approx(transforms[i].astype("f4"))
        assert (got["xform.align2d"] == header["xform.align2d"]).all()
        assert [got[name] for name in ("ptcl_repr", "ctf", "members")] == [12, "E1.5 0 0 0 10 300", [3, 1, 4]]


def test_integers_without_a_range_are_their_values(tmp_path):
    raw = RNG.integers(0, 255, (16, 16)).astype("u1")
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["MDF/images/0/image"] = raw
    stack = HdfStack(tmp_path / "x.hdf")
    assert (stack.read([0])[0] == raw).all()
    assert stack.pixel_size is None


def test_images_of_one_row(tmp_path):
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["MDF/images/0/image"] = np.arange(5.0)
        file["MDF/images/1/image"] = np.arange(5.0)[None]
    stack = HdfStack(tmp_path / "x.hdf")
    assert stack.shape == (2, 1, 5) and (stack.read([0, 1]) == np.arange(5)).all()
    with pytest.raises(UserError, match="image 1 has 1 dimensions, expected 3"):
        HdfStack(tmp_path / "x.hdf", dimensions=3)


def test_what_we_write_is_laid_out_as_eman_does(tmp_path):
    images = RNG.normal(size=(3, 8, 10))
    matrix = np.arange(12.0).reshape(3, 4)
    attributes = {"used": True, "ptcl_repr": 12, "quality": 0.1, "scale": np.float32(0.5), "source": "a.hdf",
                  "members": list(range(20000)), "scores": [0.5, 1.5], "xform": matrix}
    with hdf_writer(tmp_path / "x.hdf", 1.5) as out:
        for image in images:
            out.append(image, attributes)
    with h5py.File(tmp_path / "x.hdf") as file:
        group = file["MDF/images"]
        assert group.attrs["imageid_max"].tolist() == [2] and group.attrs["imageid_max"].dtype == np.int32
        assert sorted(group) == ["0", "1", "2"]
        pixels = group["1/image"]
        assert pixels.dtype == np.float32 and pixels.chunks is None
        assert (pixels[()] == images[1].astype("f4")).all()
        stored = group["1"].attrs
        layout = {name: (stored.get_id(name).dtype.str, stored.get_id(name).shape) for name in stored}
        assert layout.pop("EMAN.xform")[1] == (1,)
        assert layout == {
            **{f"EMAN.{name}": ("<i4", (1,)) for name in
               ("nx", "ny", "nz", "is_complex", "is_complex_ri", "datatype", "ptcl_repr")},
            **{f"EMAN.{name}": ("<f8", (1,)) for name in ("apix_x", "apix_y", "apix_z", "quality")},
            "EMAN.used": ("|i1", (1,)), "EMAN.scale": ("<f4", (1,)), "EMAN.source": ("|S6", ()),
            "EMAN.members": ("<i4", (20000,)), "EMAN.scores": ("<f4", (2,)),
        }
        assert [stored[f"EMAN.{name}"][0] for name in ("nx", "ny", "nz", "datatype")] == [10, 8, 1, 7]
        assert stored["EMAN.used"][0] == ord("T")
        assert stored["EMAN.xform"].dtype.names == tuple(name for name, _ in TRANSFORM)
        assert stored["EMAN.xform"][0].tolist() == tuple(range(12))
    stack = HdfStack(tmp_path / "x.hdf")
    assert stack.pixel_size == 1.5
    got = stack.attributes(0)
    assert (got["xform"] == matrix).all()
    assert {name: got[name] for name in attributes if name != "xform"} == {
        name: value for name, value in attributes.items() if name != "xform"}


def test_faulty_files_are_named(tmp_path):
    path = tmp_path / "x.hdf"
    with pytest.raises(UserError, match=r"^cannot read .*x\.hdf: no such file"):
        HdfStack(path)
    path.write_bytes(b"no HDF5")
    with pytest.raises(UserError, match=r"cannot read .*x\.hdf: not a readable HDF5 file"):
        HdfStack(path)
    with h5py.File(path, "w") as file:
        file["other"] = 1
    with pytest.raises(UserError, match=r"x\.hdf: no group /MDF/images, expected an EMAN HDF stack"):
        HdfStack(path)
    with h5py.File(path, "w") as file:
        file.create_group("MDF/images")
    with pytest.raises(UserError, match=r"x\.hdf: the stack holds no images"):
        HdfStack(path)
    with h5py.File(path, "w") as file:
        file["MDF/images/0/image"] = np.zeros((4, 4, 4))
    with pytest.raises(UserError, match=r"x\.hdf: image 1 has 3 dimensions, expected 2"):
        HdfStack(path)
    with h5py.File(path, "w") as file:
        file["MDF/images/0/image"] = np.zeros((4, 4))
        file["MDF/images/1/image"] = np.zeros((6, 6))
        file.create_group("MDF/images/2")
    with pytest.raises(UserError, match=r"x\.hdf: image 2 has shape \(6, 6\), expected \(4, 4\)"):
        HdfStack(path).read([1])
    with pytest.raises(UserError, match=r"x\.hdf: image 3 \(HDF number 2\) has no pixels"):
        HdfStack(path).read([2])
