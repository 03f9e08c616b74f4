"""Normalisations, masks and filters of images, against what they promise and against loops over pixels."""
import numpy as np
import pytest

from mlalign.programs.engine import processors
from mlalign.programs.engine.processors import PROCESSORS, process

N = 24
RNG = np.random.default_rng(0)
Y, X = np.mgrid[:N, :N] - N // 2
DISTANCE = np.hypot(X, Y)
NORMALISATIONS = [name for name in PROCESSORS if name.startswith("normalize") and name != "normalize.toimage"]


@pytest.fixture
def images():
    return (RNG.normal(size=(5, N, N)) * RNG.uniform(0.5, 9, (5, 1, 1)) + RNG.normal(0, 20, (5, 1, 1))).astype("f4")


def spreads(images):
    return [np.asarray(image, float).std() for image in images]


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_normalised_image_does_not_depend_on_scale_and_input_is_kept(images, name):
    before = images.copy()
    got = process(name, images)
    assert got.dtype == np.float32 and got.shape == images.shape and (images == before).all()
    assert process(name, images * 7) == pytest.approx(got, abs=1e-4)


@pytest.mark.parametrize("name", [name for name in NORMALISATIONS if name != "normalize.unitlen"])
def test_nor_on_offset(images, name):
    assert process(name, images + 30) == pytest.approx(process(name, images), abs=1e-3)


@pytest.mark.parametrize("name", ["normalize", "normalize.edgemean", "normalize.circlemean", "normalize.ramp.normvar"])
def test_standard_deviation_is_one(images, name):
    assert spreads(process(name, images)) == pytest.approx(np.ones(5), abs=1e-4)


def test_what_is_zero_on_average(images):
    rim = np.ones((N, N), bool)
    rim[1:-1, 1:-1] = False
    assert process("normalize", images).mean((1, 2)) == pytest.approx(np.zeros(5), abs=1e-4)
    assert process("normalize.edgemean", images)[:, rim].mean(1) == pytest.approx(np.zeros(5), abs=1e-4)
    for radius, inner in ((0, N // 2 - 2), (5, 5), (-5, N // 2 - 5)):
        ring = (inner <= DISTANCE) & (inner + 2 >= DISTANCE)
        got = process("normalize.circlemean", images, radius=radius)
        assert got[:, ring].mean(1) == pytest.approx(np.zeros(5), abs=1e-4)
    assert (process("normalize.unitlen", images).astype(float) ** 2).sum((1, 2)) == pytest.approx(np.ones(5))


def test_within_a_mask(images):
    mask = np.where(X > 2, 2.0, 0.0) + (Y > 3)
    got = process("normalize.mask", images, mask=mask).astype(float)
    mean = (got * mask).sum((1, 2)) / mask.sum()
    assert mean == pytest.approx(np.zeros(5), abs=1e-4)
    assert (got**2 * mask).sum((1, 2)) / mask.sum() == pytest.approx(np.ones(5), abs=1e-4)
    only_mean = process("normalize.mask", images, mask=mask, no_sigma=True)
    assert spreads(only_mean) == pytest.approx(spreads(images), rel=1e-4)
    circle = process("normalize.mask", images)[:, DISTANCE <= N / 2]
    assert circle.mean(1) == pytest.approx(np.zeros(5), abs=1e-4) and circle.std(1) == pytest.approx(np.ones(5))
    with pytest.raises(ValueError, match="empty mask"):
        process("normalize.mask", images, mask=np.zeros((N, N)))


def test_no_ramp_is_left(images):
    terms = np.stack([np.ones(N * N), X.ravel(), Y.ravel()], 1)
    expected = []
    for image in images + (0.5 * X - 0.8 * Y).astype("f4"):
        flat = image.ravel() - terms @ np.linalg.lstsq(terms, image.ravel(), rcond=None)[0]
        expected.append((flat / flat.std()).reshape(N, N))
    got = process("normalize.ramp.normvar", images + (0.5 * X - 0.8 * Y).astype("f4"))
    assert got == pytest.approx(np.stack(expected), abs=1e-3)


def test_to_another_image(images):
    target = (RNG.normal(size=images.shape) + 0.3 * images).astype("f4")
    expected = []
    for image, other in zip(images, target):
        slope, offset = np.polyfit(image.ravel(), other.ravel(), 1)
        expected.append(slope * image + offset)
    assert process("normalize.toimage", images, to=target) == pytest.approx(np.stack(expected), abs=1e-2)
    assert process("normalize.toimage", images[:1], to=3 * images[0] - 2) == pytest.approx(3 * images[:1] - 2, abs=1e-2)
    assert (process("normalize.toimage", images, to=-images) == images).all()


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_constant_images_become_zero(name):
    with np.errstate(all="raise"):
        # a constant has a length, unless it is 0
        for value in (0,) if name == "normalize.unitlen" else (0, 1e4, -0.1):
            flat = np.full((2, N, N), value, np.float32)
            assert (process(name, flat) == 0).all()
            assert (process("normalize.toimage", flat, to=RNG.normal(size=(N, N))) == 0).all()


def test_masks(images):
    soft = np.where(DISTANCE <= 6, 1, np.exp(-((DISTANCE - 6) / 2.5) ** 2))
    for radius in (6, 6 - N // 2):
        got = process("mask.gaussian", images, outer_radius=radius, sigma=2.5)
        assert got == pytest.approx(images * soft, abs=1e-3)
    assert process("mask.sharp", images, outer_radius=7) == pytest.approx(images * (DISTANCE <= 7))
    assert (processors.soft_disc(N)[DISTANCE >= N / 2] < 2e-4).all() and processors.soft_disc(N)[N // 2, N // 2] == 1
    assert (processors.disc(N) == (DISTANCE <= N / 2)).all()


def test_gaussian_filters():
    wave = (np.cos(2 * np.pi * (3 * X + 4 * Y) / N) + 2)[None].astype("f4")
    low = process("filter.lowpass.gauss", wave, cutoff_abs=0.3)
    assert low - 2 == pytest.approx((wave - 2) * np.exp(-((5 / N / 0.3) ** 2)), abs=1e-5)
    high = process("filter.highpass.gauss", wave, cutoff_pixels=4)
    assert high == pytest.approx((wave - 2) * (1 - np.exp(-((5 / 4) ** 2))), abs=1e-5)


def test_no_processor_leaves_images_alone(images):
    assert process(None, images) is images and process("None", images) is images
