"""Files made to do harm: read from elsewhere, run code, claim what is not there, take for ever."""
import pickle
import struct
import time
import zipfile
from contextlib import suppress

import h5py
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats import checkpoint
from mlalign.programs.formats.checkpoint import load_checkpoint, save_checkpoint
from mlalign.programs.formats.docfile import read_docfile
from mlalign.programs.formats.hdf import HdfStack, hdf_writer
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.metadata import read_list
from mlalign.programs.formats.mrc import open_mrc, write_stack
from mlalign.programs.formats.spider import open_spider_volumes
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.ml2d_input import given_fractions
from mlalign.programs.results import parse_iterations


def refusal(read, *arguments):
    with pytest.raises(UserError) as caught:
        read(*arguments)
    return str(caught.value)


# ---- HDF5

def _external_pixels(group):
    group.create_dataset("image", (4, 4), "f4", external=[("secret.txt", 0, 64)])


def _virtual_pixels(group):
    layout = h5py.VirtualLayout((4, 4), "f4")
    layout[:] = h5py.VirtualSource("other.hdf", "MDF/images/0/image", (4, 4))
    group.create_virtual_dataset("image", layout)


def _claim(group):
    group.create_dataset("image", (10**6, 10**6), "f4", chunks=(1000, 1000))


def _link(group):
    group["image"] = h5py.ExternalLink("other.hdf", "MDF/images/0/image")


def _loop(group):
    group["image"] = h5py.SoftLink("image")


def _text(group):
    group["image"] = np.array([["a", "b"]], "S1")


def _nothing(group):
    group["image"] = h5py.Empty("f4")


@pytest.mark.parametrize("pixels, message", [
    (_external_pixels, "in another file"), (_virtual_pixels, "in another file"), (_claim, "does not hold the pixels"),
    (_link, "a link that leads elsewhere"), (_loop, "a link that leads elsewhere"), (_text, "expected numbers"),
    (_nothing, "expected numbers"), (lambda group: group.create_group("image"), "has no pixels")])
def test_hdf_pixels(pixels, message, tmp_path):
    with hdf_writer(tmp_path / "other.hdf") as out:
        out.append(np.ones((4, 4)))
    (tmp_path / "secret.txt").write_text("secret" * 20)
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        pixels(file.create_group("MDF/images/0"))
    assert message in refusal(HdfStack, tmp_path / "x.hdf")


@pytest.mark.parametrize("path", ["MDF", "MDF/images", "MDF/images/0"])
def test_hdf_links_to_other_files(path, tmp_path):
    with hdf_writer(tmp_path / "other.hdf") as out:
        out.append(np.ones((4, 4)))
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file[path] = h5py.ExternalLink("other.hdf", path)
    assert "a link that leads elsewhere" in refusal(HdfStack, tmp_path / "x.hdf")


def test_hdf_gaps_take_no_memory(tmp_path):
    """Two images, one of which says that it is the thousand-millionth."""
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        for name in ("0", "999999999", "²", "00", "9" * 5000):
            file[f"MDF/images/{name}/image"] = np.ones((4, 4), "f4")
    stack = HdfStack(tmp_path / "x.hdf")
    assert stack.numbers == [1, 10**9]
    assert "image 2 (HDF number 1) is missing" in refusal(stack.read, slice(None))


@pytest.mark.parametrize("bits, low", [(8, np.nan), (0.5, 0), (1000, 0), ("x", 0)])
def test_hdf_packing(bits, low, tmp_path):
    with h5py.File(tmp_path / "x.hdf", "w") as file:
        file["MDF/images/0/image"] = np.ones((4, 4), "u1")
        file["MDF/images/0"].attrs.update({"EMAN.stored_renderbits": bits, "EMAN.stored_rendermin": low})
    assert "how its pixels are packed" in refusal(HdfStack(tmp_path / "x.hdf").read, [0])


# ---- MRC, SPIDER

@pytest.mark.parametrize("shape", [(10**6, 10**6, 1), (2**31 - 1, 2**31 - 1, 2**31 - 1), (8, 8, 10**9)])
def test_mrc_claims(shape, tmp_path):
    write_stack(tmp_path / "x.mrcs", np.ones((1, 8, 8)))
    raw = (tmp_path / "x.mrcs").read_bytes()
    (tmp_path / "x.mrcs").write_bytes(struct.pack("<3i", *shape) + raw[12:])
    assert "truncated MRC file: 1280 bytes, expected" in refusal(open_mrc, tmp_path / "x.mrcs")


def test_an_extended_header_is_not_read(tmp_path):
    """It may be said to have two gigabytes."""
    write_stack(tmp_path / "x.mrcs", np.ones((1, 8, 8)))
    raw = (tmp_path / "x.mrcs").read_bytes()
    (tmp_path / "x.mrcs").write_bytes(raw[:92] + struct.pack("<i", 2**31 - 1) + raw[96:])
    assert f"expected {1024 + 2**31 - 1 + 256}" in refusal(open_mrc, tmp_path / "x.mrcs")


def test_spider_headers_of_huge_numbers(tmp_path):
    words = np.zeros(256, "<f4")
    words[[0, 1, 4, 11, 12, 21, 22]] = 1, 1e30, 1, 1e30, 1e10, 1e30, 1e20
    (tmp_path / "x.spi").write_bytes(words.tobytes())
    assert "not a readable SPIDER file" in refusal(open_spider_volumes, tmp_path / "x.spi")


# ---- checkpoints

class _Trap:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_pickles_are_not_loaded(tmp_path):
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickle.dumps(_Trap())
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("meta.json", '{"format": 2, "meta": {}}')
        archive.writestr("a.npy", array)
    with zipfile.ZipFile(tmp_path / "x.npz", "a") as archive:
        archive.comment = checkpoint._seal(archive)
    assert "Object arrays cannot be loaded" in refusal(load_checkpoint, tmp_path / "x.npz")


def test_a_compressed_checkpoint_is_not_inflated(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", '{"format": 2, "meta": {}}')
        archive.writestr("a.npy", bytes(10**7))
    assert "compressed" in refusal(load_checkpoint, tmp_path / "x.npz")


def test_an_edited_checkpoint(tmp_path):
    """Checksums as they should be, but another array under the first one's seal."""
    save_checkpoint(tmp_path / "x.npz", {"a": np.arange(3)}, {"iteration": 1})
    save_checkpoint(tmp_path / "y.npz", {"a": np.arange(4)}, {"iteration": 1})
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        seal = archive.comment
    with zipfile.ZipFile(tmp_path / "y.npz", "a") as archive:
        archive.comment = seal
    assert "its parts are not those that were written" in refusal(load_checkpoint, tmp_path / "y.npz")


def test_what_a_checkpoint_lacks_is_said(tmp_path):
    save_checkpoint(tmp_path / "x.npz", {"a": np.arange(3)}, {})
    arrays, meta = load_checkpoint(tmp_path / "x.npz")
    assert refusal(lambda: arrays["b"]).startswith(f"{tmp_path}/x.npz: the checkpoint has no b")
    assert "has no iteration" in refusal(lambda: meta["iteration"])


# ---- texts

def test_numbers_beyond_all_bounds(tmp_path):
    (tmp_path / "x.lst").write_text("9" * 5000 + "\ta.mrcs\n")
    assert "expected: index file" in refusal(read_list, tmp_path / "x.lst")
    (tmp_path / "x.doc").write_text(" ; a.mrc\n 1 7 0 0 0 0 0 0 1e30\n")
    assert "expected a whole number" in refusal(read_docfile, tmp_path / "x.doc")
    (tmp_path / "x.star").write_text("data_a\nloop_\n_itemId\n_ref\n1e30 1\n")
    assert "_itemId is 1e+30, expected a whole number" in refusal(read_star, tmp_path / "x.star")
    write_stack(tmp_path / "a.mrcs", np.ones((1, 8, 8)))
    for number in "9" * 18, "9" * 30, "9" * 5000:
        write_star(tmp_path / "y.star", {"particles": {"image": [f"{number}@a.mrcs"]}})
        assert "no such image" in (said := refusal(open_images, tmp_path / "y.star")) or "no file 999" in said
    assert "no selection" in refusal(parse_iterations, "1-99999999999")
    (tmp_path / "f.txt").write_text("1e308 1e308")
    np.testing.assert_allclose(given_fractions(tmp_path / "f.txt", 2), 0.5)


def test_a_text_without_end_is_not_read_to_its_end():
    assert "holds no text" in refusal(given_fractions, "/dev/zero", 2)


@pytest.mark.parametrize("line", ["'a " * 40_000, '"a ' * 40_000, "; Headerinfo columns: " + "a" * 100_000])
def test_lines_that_take_for_ever(line, tmp_path):
    """100 kB take no longer, for each byte, than a tenth of that, give or take."""
    def seconds(part):
        path = tmp_path / "x.doc"
        path.write_text(f" {part}\n ; a.mrc\n 1 1 0\n" if line[0] == ";" else f"data_a\nloop_\n_x\n{part}\n")
        start = time.process_time()
        with suppress(UserError):
            (read_docfile if line[0] == ";" else read_star)(path)
        return time.process_time() - start

    short = min(seconds(line[: len(line) // 10]) for _ in range(3))
    assert seconds(line) < 40 * short + 0.1
