"""Comparators against the same from pixels and discrete Fourier transforms of images aligned by hand."""
import numpy as np
import pytest

from mlalign.programs.engine.averaging import Placed
from mlalign.programs.engine.comparators import Ccc, Comparison, Dot, Frc, OptVariance, Phase, SqEuclidean, score
from mlalign.programs.engine.image_filters import shell_correlation
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT, Blobs

N, COUNT = 32, 40
Y, X = np.mgrid[:N, :N] - N // 2
CIRCLE = X**2 + Y**2 < (N / 2) ** 2
MASK = np.clip((13.5 - np.hypot(X, Y)) / 4, 0, 1)                   # soft, so that little is lost in the corners
RADIUS = np.rint(np.hypot(*np.meshgrid(*[np.fft.fftfreq(N) * N] * 2))).astype(int)
EVERY = [Ccc(), Dot(), Dot(normalize=True), SqEuclidean(), SqEuclidean(normto=True), Frc(), Frc(sweight=False),
         Frc(ampweight=True, low=0.05, high=0.2), Phase(high=0.2), Phase(ampweight=True, low=0.05),
         OptVariance(), OptVariance(matchfilt=False), OptVariance(invert=True)]


def names(comparators):
    return [str(one).replace("members=None, ", "").replace("snr=None", "") for one in comparators]


def masked(image):
    return MASK * (image - (image * MASK).sum() / MASK.sum())


class Scene:
    """Images in many poses, the same aligned by hand, and references (K, n, n)."""

    def __init__(self, placed, images, aligned, references):
        self.placed, self.images, self.aligned, self.references = placed, images, aligned, references
        self.rings = Rings(N, N / 2, 3)

    def samples(self, scale=1.0):
        planes = self.rings.sample((scale * self.references).astype(np.float32))
        return (planes[0] + 1j * planes[1]).T.astype(np.complex64)

    def harmonics(self, images):
        return self.rings.expand(self.rings.sample(images.astype(np.float32)))

    def scores(self, comparator, images=None, scale=1.0, **more):
        x = self.harmonics(self.images if images is None else images)
        return score(self.rings, x, self.samples(scale), self.placed, comparator, **more)


def drawn(seed=5):
    """Phantoms and something else, drawn in any pose: smooth, so that high frequencies are empty."""
    rng = np.random.default_rng(seed)
    placed = Placed(np.arange(COUNT), rng.integers(0, 4, COUNT), rng.integers(0, 2, COUNT), rng.uniform(0, 7, COUNT),
                    *rng.uniform(-2, 2, (2, COUNT)), np.ones(COUNT), np.zeros(COUNT, int))
    other, shares = Blobs(3), rng.uniform(-1.5, 1.5, COUNT)
    shares[:4] = 0
    images, aligned = np.empty((2, COUNT, N, N))
    for i, share in enumerate(shares):
        pose = placed.psi[i], bool(placed.mirrored[i]), (placed.x[i], placed.y[i])
        for target, how in ((images, pose), (aligned, ())):
            target[i] = DISTINCT[placed.ref[i]].image(N, *how) + share * other.image(N, *how)
    return Scene(placed, images, aligned, np.stack([masked(phantom.image(N)) for phantom in DISTINCT]))


def grainy(seed=6):
    """Grain of all frequencies, moved by whole pixels, mirrors and quarters of the circle."""
    rng = np.random.default_rng(seed)
    quarter, x, y = rng.integers(0, 4, COUNT), *rng.integers(-2, 3, (2, COUNT))
    placed = Placed(np.arange(COUNT), rng.integers(0, 3, COUNT), rng.integers(0, 2, COUNT), quarter * np.pi / 2,
                    x.astype(float), y.astype(float), np.ones(COUNT), np.zeros(COUNT, int))

    def grain(count):
        k = np.hypot(*np.meshgrid(*[np.fft.fftfreq(N)] * 2))
        noise = np.fft.fft2(rng.standard_normal((count, N, N))) * (1 - np.tanh(60 * (k - 0.44))) / 2
        return np.fft.ifft2(noise).real * np.exp(-(X**2 + Y**2) / 50)

    references = np.stack([masked(image) for image in grain(3)])
    aligned = rng.uniform(-0.3, 1.5, COUNT)[:, None, None] * references[placed.ref] + grain(COUNT)
    images = np.empty_like(aligned)
    for i, image in enumerate(aligned):
        image = np.roll(image, (y[i], x[i]), (0, 1))
        image = np.roll(image[::-1], 1, 0) if placed.mirrored[i] else image
        for _ in range(quarter[i]):                 # from x to y around pixel n / 2
            image = np.roll(image.T[:, ::-1], 1, 1)
        images[i] = image
    return Scene(placed, images, aligned, references)


@pytest.fixture(scope="module")
def scene():
    return drawn()


# ---- slow and obvious

def slow(comparator, image, reference):
    """The comparator's score of an image (n, n) that is aligned by hand."""
    x = np.where(CIRCLE, image - image[CIRCLE].mean(), 0)
    if isinstance(comparator, Frc):
        return slow_frc(comparator, x, reference)
    if isinstance(comparator, Phase):
        return slow_phase(comparator, x, reference)
    if isinstance(comparator, OptVariance):
        return slow_variance(comparator, x, reference)
    if isinstance(comparator, SqEuclidean):
        slope = np.linalg.lstsq(reference[CIRCLE][:, None], x[CIRCLE], rcond=None)[0][0] if comparator.normto else 1
        return -(((slope if slope > 0 else 1) * reference - x) ** 2).mean()
    if isinstance(comparator, Dot) and not comparator.normalize:
        return (x * reference).mean()
    return np.corrcoef(x[CIRCLE], reference[CIRCLE])[0, 1]


def band(comparator):
    r, weight = np.arange(N // 2), np.minimum(np.arange(N // 2), 1.0)           # the mean, r = 0, has no ring
    if comparator.low:
        weight = weight * (1 + np.tanh(5 * (r / N / comparator.low - 1))) / 2
    if comparator.high:
        weight = weight * (1 - np.tanh(r - N * comparator.high)) / 2
    return weight


def slow_frc(comparator, x, reference):
    _, curve, points = (part[: N // 2] for part in shell_correlation(x, reference))
    weight = band(comparator) * (points if comparator.sweight else 1)
    if comparator.ampweight:
        weight = weight * [np.sqrt((np.abs(np.fft.fft2(x)) ** 2)[r == RADIUS].mean()) for r in range(N // 2)]
    return (curve * weight).sum() / weight.sum()


def slow_phase(comparator, x, reference):
    f, g = np.fft.fft2(x), np.fft.fft2(reference)
    inside = RADIUS < N // 2
    weight = band(comparator)[np.where(inside, RADIUS, 0)] * inside
    if comparator.ampweight:
        weight = weight * np.abs(g)
    return -(np.abs(np.angle(f * g.conj())) * weight).sum() / weight.sum()


def slow_variance(comparator, x, reference):
    if comparator.matchfilt:
        f, g = np.fft.fft2(x), np.fft.fft2(reference)
        gain = np.zeros(N)
        for r in range(1, RADIUS.max() + 1):
            gain[r] = np.linalg.norm(f[r == RADIUS]) / np.linalg.norm(g[r == RADIUS])
        gain = np.minimum(gain, 10 * gain[: N // 2].mean())
        reference = np.fft.ifft2(g * gain[RADIUS]).real
    slope = (x * reference).sum() / (reference**2).sum()
    if comparator.invert:
        return -((x / slope - reference) ** 2).mean() if slope > 0 else -np.inf
    return -((x - max(slope, 0) * reference) ** 2).mean()


# ---- against the fast ones

@pytest.mark.parametrize("make", [drawn, grainy])
@pytest.mark.parametrize("comparator", EVERY, ids=names(EVERY))
def test_scores_are_those_of_images_aligned_by_hand(make, comparator):
    if make is drawn and isinstance(comparator, Frc) and not comparator.high:
        pytest.skip("in empty rings the correlation is that of rounding")
    scene = make()
    got = scene.scores(comparator)
    expected = np.array([slow(comparator, image, scene.references[k])
                         for image, k in zip(scene.aligned, scene.placed.ref)])
    if getattr(comparator, "invert", False):               # how unlike what is unlike is does not matter
        got, expected = -1 / (1 - got), -1 / (1 - expected)
    spread = np.ptp(expected)
    assert spread > 0.1 * np.abs(expected).max()
    # shells of pixels and rings between them are not the same; products are
    tolerance = {Frc: 0.05, Phase: 0.1, OptVariance: 0.03}.get(type(comparator), 0.002)
    assert got == pytest.approx(expected, abs=tolerance * spread)
    assert np.corrcoef(got, expected)[0, 1] > 0.99


def test_the_same_image_moved_is_as_like_as_can_be(scene):
    like = scene.placed.take(slice(0, 4))                       # nothing else was added to these
    best = score(scene.rings, scene.harmonics(scene.images[:4]), scene.samples(), like, Ccc())
    assert best.min() > 0.98 and best.max() <= 1                # the mean was taken off in mask and circle
    wrong = score(scene.rings, scene.harmonics(scene.images[:4]), scene.samples(),
                  Placed(**{**vars(like), "mirrored": 1 - like.mirrored}), Ccc())
    assert wrong.max() < 0.9
    circled = [np.where(CIRCLE, image - image[CIRCLE].mean(), 0) for image in scene.aligned[:4]]
    pairs = Comparison(scene.rings, scene.harmonics(scene.images[:4]), scene.samples()).block(
        like.image, like.ref, like.mirrored).pairs(np.arange(4), like.psi, np.stack([like.x, like.y], 1)[:, None])
    assert pairs.cross.shape == (4, 1, len(scene.rings.k))
    assert pairs.cross[:, 0] == pytest.approx(pairs.reference_power[:, 0], abs=0.08 * pairs.reference_power.max())
    assert pairs.image_power.sum(-1)[:, 0] == pytest.approx([(x**2).sum() for x in circled], rel=0.001)


@pytest.mark.parametrize("comparator", EVERY, ids=names(EVERY))
def test_the_mean_of_an_image_does_not_matter(scene, comparator):
    # phases and ring correlations where there is hardly anything are those of rounding: with noise there is
    noisy = scene.images + 0.3 * np.random.default_rng(7).standard_normal(scene.images.shape)
    plain, lifted = (scene.scores(comparator, noisy + level) for level in (0.0, 3.0))
    assert lifted == pytest.approx(plain, rel=2e-3, abs=2e-3 * np.ptp(plain))


@pytest.mark.parametrize("comparator", [Ccc(), Dot(normalize=True), Frc(), Phase(), Phase(ampweight=True)])
def test_what_no_scale_changes(scene, comparator):
    noisy = scene.images + 0.3 * np.random.default_rng(8).standard_normal(scene.images.shape)
    plain = scene.scores(comparator, noisy)
    assert scene.scores(comparator, 7 * noisy, 0.2) == pytest.approx(plain, abs=1e-3)
    assert scene.scores(comparator, -noisy) == pytest.approx(-plain - (np.pi if isinstance(comparator, Phase) else 0),
                                                              abs=1e-3)


@pytest.mark.parametrize("comparator", [SqEuclidean(normto=True), OptVariance(), OptVariance(matchfilt=False)])
def test_what_no_scale_of_the_reference_changes(scene, comparator):
    plain = scene.scores(comparator)
    assert scene.scores(comparator, scale=5) == pytest.approx(plain, abs=1e-4 * np.ptp(plain))


def test_opposite_contrast_is_no_resemblance(scene):
    power = [-(np.where(CIRCLE, image - image[CIRCLE].mean(), 0) ** 2).mean() for image in scene.aligned]
    assert scene.scores(OptVariance(), -scene.images)[:4] == pytest.approx(power[:4], rel=0.02)
    opposite = scene.scores(OptVariance(invert=True), -scene.images)
    assert np.isfinite(opposite).all() and np.median(opposite) < -1e3


def test_correlations_of_averages_become_those_of_one_member(scene):
    members = np.array([1, 3, 10, 0])
    mean, single = (scene.scores(comparator) for comparator in (
        Frc(high=0.2), Frc(high=0.2, nweight=True).informed(members=members, snr=np.ones(3))))
    m = np.maximum(members[scene.placed.ref], 1)
    expected = np.where(mean < 0, mean, mean / (mean + m * (1 - mean)))
    assert single == pytest.approx(expected) and (single < mean - 0.01).any()


@pytest.mark.parametrize("comparator", [Frc(snrweight=True), Phase(snrweight=True)])
def test_images_own_weights_of_rings(scene, comparator):
    """Weights that are zero beyond a ring are a sharp limit; those of other images do not matter."""
    kept = np.zeros((COUNT, len(scene.rings.k)))
    kept[:, scene.rings.k < 0.9] = 2
    kept[1] = 0
    kept[1, 3] = 1
    got = scene.scores(comparator.informed(snr=kept))
    smooth = scene.scores(type(comparator)(high=0.9 / (2 * np.pi)))
    assert np.corrcoef(np.delete(got, 1), np.delete(smooth, 1))[0, 1] > 0.98
    alone = kept[[1] * COUNT]
    assert got[1] == pytest.approx(scene.scores(comparator.informed(snr=alone))[1])


def test_blocks_and_pools_change_nothing(scene, workers, monkeypatch):
    whole = scene.scores(Ccc())
    assert (scene.scores(Ccc(), pool=workers.map) == whole).all()
    monkeypatch.setattr("mlalign.programs.engine.comparators.BLOCK", 7)
    assert scene.scores(Ccc()) == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("comparator", EVERY, ids=names(EVERY))
def test_nothing_is_like_nothing(scene, comparator):
    none = score(scene.rings, scene.harmonics(scene.images), scene.samples(), scene.placed.take(slice(0)), comparator)
    assert none.shape == (0,)
    empty = scene.scores(comparator, 0 * scene.images)
    assert np.isfinite(empty).all() and np.isfinite(scene.scores(comparator, scale=0.0)).all()
    if isinstance(comparator, (Ccc, Frc)):
        assert (empty == 0).all()
