"""Class averages among each other: turned at random and brought to lie alike, put in a chain, chosen, measured."""
import numpy as np
import pytest
from scipy import ndimage

from mlalign.programs.engine.averaging import add_up
from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.consensus import aligned_to_each_other, contrast, in_a_chain, most_different
from mlalign.tests.programs.engine.posed_blobs import MASK, REFERENCES, N, drawn, random_poses, search

COUNT = 8


@pytest.fixture(scope="module")
def one():
    return search(climbs=2)


def posed_back(one, images, poses):
    """Images as they lie in the common frame."""
    every = np.arange(len(images))
    x = one.rings.expand(one.rings.sample(images.astype(np.float32)))
    placed = poses.placed(every, every, 0 * every, np.zeros((len(images), 2)))
    return one.rings.images(add_up(one.rings, x, placed, len(images)).averages()[1])


def correlations(images):
    return np.corrcoef(images[:, MASK > 0])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_turned_mirrored_and_shifted_images_come_back(one, seed):
    images = drawn(np.zeros(COUNT, int), random_poses(COUNT, seed, offset=0.9))
    images += 0.05 * np.random.default_rng(seed).standard_normal(images.shape)
    poses, order = aligned_to_each_other(one, images, 3)
    assert sorted(order) == list(range(COUNT))
    assert np.median(correlations(images)) < 0.5
    assert correlations(posed_back(one, images, poses)).min() > 0.95


def test_the_first_stays_as_it_is(one):
    images = drawn(np.arange(COUNT) % 4, random_poses(COUNT, 3, offset=0.9))
    poses, order = aligned_to_each_other(one, images, 3)
    first = poses.take(order[:1])
    assert not first.psi.any() and not first.mirrored.any() and not first.place.any()
    back = posed_back(one, images, poses)
    for k in range(4):                  # two of each
        assert correlations(back[k::4])[0, 1] > 0.95


def test_the_next_is_the_most_like_those_before(one):
    """Two views, three averages of each: one after the other, not in turn."""
    images = drawn(np.arange(6) % 2, random_poses(6, 4, offset=0.9))
    _, order = aligned_to_each_other(one, images, 3)
    assert len(set(order[:3] % 2)) == len(set(order[3:] % 2)) == 1


def test_workers_change_nothing(one):
    images, workers = drawn(np.arange(COUNT) % 4, random_poses(COUNT, 5, offset=0.9)), Workers(3)
    try:
        many, order = aligned_to_each_other(one, images, 3, workers.map)
    finally:
        workers.close()
    alone, same = aligned_to_each_other(one, images, 3)
    assert (order == same).all()
    assert (many.psi == alone.psi).all() and (many.place == alone.place).all()


def test_one_average_and_blank_ones(one):
    for images in (REFERENCES[:1], np.zeros((1, N, N)), np.zeros((3, N, N)), REFERENCES[:2] * [[[0]], [[1]]]):
        poses, order = aligned_to_each_other(one, images, 3)
        assert sorted(order) == list(range(len(images)))
        assert not poses.psi.any() and not poses.place.any()


def test_a_chain():
    """By nearest neighbours one by one; points on a line come in their order."""
    place = np.array([4.0, 1.0, 3.0, 0.0, 2.0])
    likeness = -np.abs(np.subtract.outer(place, place))
    assert in_a_chain(likeness, 3).tolist() == [3, 1, 4, 2, 0]
    assert in_a_chain(likeness[:1, :1], 0).tolist() == [0]
    likeness = np.random.default_rng(0).random((20, 20))
    order = in_a_chain(likeness, 7).tolist()
    assert order[0] == 7 and sorted(order) == list(range(20))
    for i in range(1, 20):
        assert order[i] == max(order[i:], key=lambda k: likeness[order[i - 1], k])


def chosen_by_loops(likeness, quality, count, allowed):
    ranked = sorted((k for k in range(len(quality)) if allowed[k]), key=lambda k: -quality[k])
    ranked = ranked[: max(len(quality) // 3, count + 2)]
    chosen = ranked[:1]
    while len(chosen) < min(count, len(ranked)):
        rest = [k for k in ranked if k not in chosen]
        chosen.append(min(rest, key=lambda k: max(likeness[k, other] for other in chosen)))
    return chosen


@pytest.mark.parametrize(("images", "count"), [(30, 5), (30, 1), (6, 5), (4, 9), (1, 3)])
def test_the_most_different(images, count):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        likeness, quality = rng.random((images, images)), rng.random(images)
        likeness, allowed = likeness + likeness.T, rng.random(images) < 0.7
        got = most_different(likeness, quality, count, allowed)
        assert got.tolist() == chosen_by_loops(likeness, quality, count, allowed)
        assert len(set(got)) == len(got) and allowed[got].all()


def test_none_is_allowed():
    assert most_different(np.eye(4), np.ones(4), 3, np.zeros(4, bool)).tolist() == []


def test_contrast_is_of_structure():
    """Structure counts, noise counts against it, what is round counts for nothing; strength and level do not matter."""
    rng = np.random.default_rng(0)
    noise = 0.05 * rng.standard_normal((N, N))
    y, x = np.mgrid[:N, :N] - N // 2
    circular = np.exp(-(x**2 + y**2) / 30)
    plain, noisy, ring, strong, both = contrast(np.stack([
        REFERENCES[0] + noise, REFERENCES[0] + 10 * noise, circular + noise, 3 * (REFERENCES[0] + noise) + 5,
        REFERENCES[0] + noise + circular]), MASK, 4.0)
    assert plain > 2 * noisy and plain > 2 * ring
    assert strong == pytest.approx(plain, rel=1e-4) and both == pytest.approx(plain, rel=0.1)


@pytest.mark.parametrize("pixel_size", [None, 1.0, 4.0, 12.0])
def test_contrast_against_sums_over_pixels(pixel_size):
    size = pixel_size or 5.0
    image = ndimage.gaussian_filter(np.random.default_rng(1).standard_normal((N, N)), 1.0)
    y, x = np.mgrid[:N, :N] - N // 2
    radius = np.hypot(x, y)
    ring = np.rint(radius).astype(int)
    flat = image - np.array([image[ring == r].mean() for r in range(ring.max() + 1)])[ring]
    spectrum = np.abs(np.fft.fft2(flat * MASK))
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(N), np.fft.fftfreq(N))) / size
    edge = min(1 / 25, 0.25 / size)
    low = (k > 1 / 150) & (k <= edge)
    expected = spectrum[low].mean() / spectrum[(k > edge) & (k < 0.5 / size)].mean()
    assert contrast(image[None], MASK, pixel_size)[0] == pytest.approx(expected, rel=0.15)


def test_contrast_of_nothing():
    assert np.isfinite(contrast(np.zeros((2, N, N)), MASK, 3.0)).all()
    # a box smaller than what counts, pixels larger
    for pixel_size in (0.1, 0.7, 40.0, 200.0):
        assert np.isfinite(contrast(REFERENCES, MASK, pixel_size)).all()
