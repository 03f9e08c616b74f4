"""Normalised copies of images."""
import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.images import open_images, open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star, write_star
from mlalign.programs.normalisation import AT_ONCE, background_pixels, write_normalised

BOX, COUNT = 16, 12


@pytest.fixture
def scene(tmp_path):
    """(metadata, raw images): grey values of a camera, a bright particle; the last row first, and one disabled."""
    rng = np.random.default_rng(1)
    images = rng.normal(130, 20, (COUNT, BOX, BOX)) * rng.uniform(0.5, 2, (COUNT, 1, 1))
    images[:, 5:11, 5:11] += 90
    write_stack(tmp_path / "raw.mrcs", images, 2.5)
    order = np.arange(COUNT)[::-1]
    enabled = (order != 3).astype(int)
    write_star(tmp_path / "input.xmd", {"particles": {
        "itemId": order + 100, "image": np.array([f"{i + 1:06d}@raw.mrcs" for i in order], dtype=object),
        "enabled": enabled, "samplingRate": np.full(COUNT, 2.5), "ctfDefocusU": 1000.0 * order}})
    return tmp_path / "input.xmd", open_stack(str(tmp_path / "raw.mrcs")).read(slice(None))


def slow(image, radius):
    """A pixel after the other."""
    half = BOX // 2
    outside = [image[y, x] for y in range(BOX) for x in range(BOX) if (y - half)**2 + (x - half)**2 > radius**2]
    mean = sum(map(float, outside)) / len(outside)
    variance = sum((float(value) - mean)**2 for value in outside) / len(outside)
    return (image - mean) / variance**0.5


@pytest.mark.parametrize("radius", [None, 4.5, 100])
def test_every_image_by_its_own_background(scene, tmp_path, radius):
    metadata, raw = scene
    assert write_normalised(metadata, tmp_path / "extra" / "copies.mrcs", radius) == COUNT - 1
    found = open_images(metadata)
    ids = [i for i in range(COUNT)[::-1] if i != 3]
    assert list(found.metadata["itemId"]) == [i + 100 for i in ids] and found.pixel_size == 2.5
    assert list(found.metadata["ctfDefocusU"]) == [1000 * i for i in ids]
    expected = np.array([slow(raw[i], min(radius or BOX / 2, BOX / 2)) for i in ids])
    np.testing.assert_allclose(found.read(slice(None)), expected, atol=1e-4)
    assert np.array_equal(open_stack(str(tmp_path / "raw.mrcs")).read(slice(None)), raw)


def test_more_images_than_are_read_at_once(tmp_path):
    count = AT_ONCE + 3
    write_stack(tmp_path / "raw.mrcs", np.random.default_rng(0).normal(5, 3, (count, 8, 8)))
    write_star(tmp_path / "input.xmd", {"particles": {
        "itemId": np.arange(count), "image": np.array([f"{i + 1}@raw.mrcs" for i in range(count)], dtype=object)}})
    write_normalised(tmp_path / "input.xmd", tmp_path / "copies.mrcs")
    images = open_images(tmp_path / "input.xmd").read(slice(None))
    outside = images[:, background_pixels(8)]
    np.testing.assert_allclose(outside.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(outside.std(1), 1, atol=1e-5)


def test_an_image_without_background(scene, tmp_path):
    metadata, raw = scene
    raw = raw.copy()
    raw[6] = 7.0
    write_stack(tmp_path / "raw.mrcs", raw)
    before = metadata.read_text()
    with pytest.raises(UserError, match=r"row 6 .*7@.*raw.mrcs.*: its background has mean 7 and standard deviation 0"):
        write_normalised(metadata, tmp_path / "copies.mrcs")
    assert metadata.read_text() == before and not (tmp_path / "copies.mrcs").exists()
    assert set(read_star(metadata)) == {"particles"}


def test_a_box_without_corners():
    with pytest.raises(UserError, match="leaves 5 pixels of background, expected at least 16"):
        background_pixels(4)
