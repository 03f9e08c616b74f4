"""SPIDER files, against Pillow's writer."""
import numpy as np
import pytest
from PIL import Image

from mlalign.programs.errors import UserError
from mlalign.programs.formats.spider import open_spider, open_spider_volumes

RNG = np.random.default_rng(0)


def save_stack(path, images, byte_order="<"):
    """A stack as SPIDER's manual lays it out: the file's header, then header and pixels of every image.

    Header words, counted from 1: 24 ISTACK, 26 MAXIM, 27 IMGNUM.
    """
    single = path.with_suffix(".spi")
    parts = []
    for number, image in enumerate(images, 1):
        Image.fromarray(image).save(single, "SPIDER")
        words = np.fromfile(single, "<f4")
        header = words[:words.size - image.size].copy()
        if not parts:
            first = header.copy()
            first[23], first[25] = 2, len(images)
            parts.append(first)
        header[26] = number
        parts += [header, image.ravel()]
    single.unlink()
    np.concatenate(parts).astype(byte_order + "f4").tofile(path)


def save_volumes(path, volumes, byte_order="<", stack=True):
    """Volumes (count, nz, ny, nx) as SPIDER's manual lays them out, written from scratch.

    Header words, counted from 1: 1 NSLICE, 2 NROW, 5 IFORM, 12 NSAM, 13 LABREC, 22 LABBYT, 23 LENBYT.
    """
    nz, ny, nx = volumes.shape[1:]
    records = -(-1024 // (4 * nx))
    header = np.zeros(records * nx, "f4")
    header[[0, 1, 4, 11, 12, 21, 22]] = nz, ny, 3, nx, records, 4 * nx * records, 4 * nx
    parts = []
    if stack:
        parts.append(header.copy())
        parts[0][[23, 25]] = 2, len(volumes)
    for number, volume in enumerate(volumes, 1):
        header[26] = number if stack else 0
        parts += [header.copy(), volume.ravel()]
    np.concatenate(parts).astype(byte_order + "f4").tofile(path)


@pytest.mark.parametrize("shape", [(64, 64), (20, 20), (30, 500)])
def test_an_image(tmp_path, shape):
    image = RNG.normal(size=shape).astype("f4")
    Image.fromarray(image).save(tmp_path / "x.spi", "SPIDER")
    stack = open_spider(tmp_path / "x.spi")
    assert stack.shape == (1, *shape) and stack.pixel_size is None
    assert (stack.read([0])[0] == image).all()


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("shape", [(64, 64), (9, 33)])
def test_a_stack(tmp_path, byte_order, shape):
    images = RNG.normal(size=(6, *shape)).astype("f4")
    save_stack(tmp_path / "x.stk", images, byte_order)
    stack = open_spider(tmp_path / "x.stk")
    assert stack.shape == images.shape
    for rows in (slice(None), slice(2, 5), [5, 0, 3]):
        got = stack.read(rows)
        assert got.dtype.isnative and (got == images[rows]).all()
    with Image.open(tmp_path / "x.stk") as image:       # Pillow agrees about the layout
        image.seek(4)
        assert (np.asarray(image) == images[4]).all()


@pytest.mark.parametrize("byte_order", "<>")
@pytest.mark.parametrize("shape", [(64, 64, 64), (7, 9, 33)])
def test_volumes(tmp_path, byte_order, shape):
    volumes = RNG.normal(size=(3, *shape)).astype("f4")
    save_volumes(tmp_path / "x.stk", volumes, byte_order)
    save_volumes(tmp_path / "x.vol", volumes[:1], byte_order, stack=False)
    stack, single = open_spider_volumes(tmp_path / "x.stk"), open_spider_volumes(tmp_path / "x.vol")
    assert stack.shape == volumes.shape and single.shape == (1, *shape)
    assert (stack.read([2, 0]) == volumes[[2, 0]]).all() and (single.read(slice(None)) == volumes[:1]).all()
    with pytest.raises(UserError, match=r"x\.vol: not a readable SPIDER file: .* volumes of "):
        open_spider(tmp_path / "x.vol")
    with open(tmp_path / "x.vol", "r+b") as file:
        file.truncate((tmp_path / "x.vol").stat().st_size - 4)
    with pytest.raises(UserError, match=r"x\.vol: truncated SPIDER file: .* for 1 images of \d+ x \d+ x \d+ pixels"):
        open_spider_volumes(tmp_path / "x.vol")


def test_an_image_is_a_volume_of_one_section(tmp_path):
    image = RNG.normal(size=(20, 24)).astype("f4")
    Image.fromarray(image).save(tmp_path / "x.spi", "SPIDER")
    assert (open_spider_volumes(tmp_path / "x.spi").read([0]) == image).all()


def test_faulty_files_are_named(tmp_path):
    path = tmp_path / "x.stk"
    save_stack(path, RNG.normal(size=(3, 16, 16)).astype("f4"))
    size = path.stat().st_size
    with open(path, "r+b") as file:
        file.truncate(size - 4)
    with pytest.raises(UserError) as caught:
        open_spider(path)
    assert str(caught.value) == (f"{path}: truncated SPIDER file: {size - 4} bytes, expected {size} "
                                 "for 3 images of 16 x 16 pixels")
    for content in (b"x", bytes(2000), np.full(400, np.nan, "f4").tobytes()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"x\.stk: not a readable SPIDER file: "):
            open_spider(path)
    with pytest.raises(UserError, match=r"^cannot read .*nix\.spi: No such file or directory$"):
        open_spider(tmp_path / "nix.spi")


def test_a_header_with_absurd_counts(tmp_path):
    path = tmp_path / "x.stk"
    save_stack(path, RNG.normal(size=(3, 16, 16)).astype("f4"))
    sound = np.fromfile(path, "<f4")
    for count in (np.nan, np.inf, -1, 0):
        words = sound.copy()
        words[25] = count
        words.tofile(path)
        with pytest.raises(UserError, match=r"x\.stk: not a readable SPIDER file: "):
            open_spider(path)
    words = sound.copy()
    words[1] = 1e9          # rows
    words.tofile(path)
    with pytest.raises(UserError, match=r"x\.stk: truncated SPIDER file: .* of 16 x 1000000000 pixels"):
        open_spider(path)
