"""Steerable components: what turns and mirrors of images leave alone, and how members of a class lie."""
import numpy as np
import pytest

from mlalign.programs.engine import invariants
from mlalign.programs.engine.invariants import Components
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT
from mlalign.tests.programs.engine.posed_blobs import MASK, N, drawn, random_poses

COUNT = 60
REF = np.arange(COUNT) % 4


@pytest.fixture(scope="module")
def rings():
    return Rings(N, N / 2, 3)


def harmonics(rings, images):
    return rings.expand(rings.sample((images * MASK).astype(np.float32)))


def centred(seed, **options):
    """Poses of images whose particles are in the middle."""
    return random_poses(COUNT, seed, offset=0, **options)


def components(rings, poses, noise=0.0, **options):
    images = drawn(REF, poses) + noise * np.random.default_rng(2).standard_normal((COUNT, N, N))
    return Components.of(rings, harmonics(rings, images), **options)


def distances(features):
    return np.linalg.norm(features[:, None] - features[None], axis=-1)


def test_features_do_not_know_turns_and_mirrors(rings):
    """The same images, each in another pose: the same features, and those of other views are far away."""
    poses, noise = centred(0), np.random.default_rng(1).standard_normal((COUNT, N, N)) * 0.05
    x = harmonics(rings, drawn(REF, poses) + noise)
    found = distances(Components.of(rings, x).features())
    same = np.equal.outer(REF, REF)
    assert found[same].mean() < 0.25 * found[~same].mean() and found[same].max() < found[~same].min()


@pytest.mark.parametrize("change", [lambda image: np.rot90(image), lambda image: np.rot90(image, 2),
                                    lambda image: image[::-1], lambda image: image.T])
def test_pixels_that_are_turned_or_mirrored(rings, change):
    """A quarter turn and a mirror move pixels only: half of the images turned, none of the features change."""
    rng = np.random.default_rng(3)
    images = np.zeros((COUNT, N, N))
    images[:, 1:, 1:] = drawn(REF, centred(0))[:, 1:, 1:] + 0.3 * rng.standard_normal((COUNT, N - 1, N - 1))
    other = images.copy()
    for image in other[::2]:
        image[1:, 1:] = change(image[1:, 1:])                      # about pixel n / 2
    one, two = (Components.of(rings, harmonics(rings, some)).features() for some in (images, other))
    assert two == pytest.approx(one, abs=2e-3 * np.abs(one).max())
    assert np.abs(harmonics(rings, images) - harmonics(rings, other))[::2].max() > 1


def test_features_against_loops(rings):
    some = components(rings, centred(0), noise=0.2)
    got = some.features()
    for i in (0, 17):
        expected = [some.values[i, c].real for c in np.flatnonzero(some.order == 0)]
        for q in np.unique(some.order):
            own = some.values[i, some.order == q]
            expected += [(own[a] * np.conj(own[b])).real for a in range(len(own)) for b in range(a, len(own))]
        assert got[i] == pytest.approx(np.array(expected))


def test_components_against_a_covariance(rings):
    """The strongest one's coefficients: by its order's rings one by one; variance as its signal's share says."""
    x = harmonics(rings, drawn(REF, centred(0)) + 0.3 * np.random.default_rng(4).standard_normal((COUNT, N, N)))
    last, variances, by_order = rings.within(invariants.HIGHEST), [], {}
    for q, values in invariants._orders(rings, x, last):
        own = np.linalg.svd(np.concatenate([values.real, values.imag]), compute_uv=False)
        own = np.concatenate([own**2 / COUNT, np.zeros(max(0, values.shape[1] - len(own)))])
        variances.append(own)
        by_order[q] = own
    noise = np.median(np.concatenate(variances))
    some = Components.of(rings, x)
    assert len(some.order) == invariants.COMPONENTS
    for q in np.unique(some.order):
        got = np.sort((np.abs(some.values[:, some.order == q]) ** 2).mean(0))[::-1]
        assert got == pytest.approx(1 - noise / by_order[q][: len(got)], rel=1e-3)


def test_harmonics_of_one_order(rings):
    """Real and imaginary parts as :meth:`.rings.Rings.expand` lays them out: a turn multiplies them by a phase."""
    images = np.stack([DISTINCT[0].image(N, psi) for psi in (0.0, 0.7)])
    last = rings.within(0.2)
    for q, values in invariants._orders(rings, harmonics(rings, images), last):
        if q:
            assert values[1] == pytest.approx(values[0] * np.exp(-0.7j * q), abs=2e-3 * np.abs(images).sum() / N)
        else:
            assert values.sum(0) == pytest.approx(0, abs=1e-4)             # less their mean


@pytest.mark.parametrize("mirrors", [True, False])
def test_members_are_turned_together(rings, mirrors):
    """Members of each class: their poses, but for one pose of the class, are those that they were drawn in."""
    truth = centred(5, mirrors=mirrors)
    mirrored, psi = components(rings, truth, noise=0.2).turned_together(REF, 4, np.random.default_rng(0), mirrors)
    for k in range(4):
        members = k == REF
        flip = mirrored[members] ^ truth.mirrored[members]
        assert (flip == flip[0]).all()
        # image = found(template) = truth(reference), so template = found^-1 truth (reference), for all members
        sign = np.where(mirrored[members], -1, 1)
        left = np.exp(1j * sign * (truth.psi[members] - psi[members]))
        middle = left.mean() / np.abs(left.mean())
        assert np.rad2deg(np.abs(np.angle(left / middle))).max() < 10         # two steps
    assert mirrored.any() == mirrors


def test_what_members_become_is_alike(rings):
    """Averages of images turned back are sharp: as strong as the images themselves."""
    truth = centred(6)
    some = components(rings, truth)
    mirrored, psi = some.turned_together(REF, 4, np.random.default_rng(1))
    plain = np.where(mirrored[:, None] == 1, (-1.0) ** some.order * some.values.conj(), some.values)
    turn = np.where(mirrored == 1, -psi, psi)
    back = plain * np.exp(1j * np.outer(turn, some.order))
    for k in range(4):
        strength = np.linalg.norm(back[k == REF].mean(0)) / np.linalg.norm(back[k == REF], axis=1).mean()
        assert strength > 0.97


def test_empty_classes_and_single_members(rings):
    some = components(rings, centred(0), noise=0.2)
    labels = np.where(np.arange(COUNT) == 0, 2, 0)
    mirrored, psi = some.turned_together(labels, 5, np.random.default_rng(0))
    assert (mirrored[0], psi[0]) == (0, 0) and psi[1:].any()
    again = some.turned_together(labels, 5, np.random.default_rng(0))
    assert (again[0] == mirrored).all() and (again[1] == psi).all()


def test_blank_and_single_images(rings):
    for images in (np.zeros((5, N, N)), np.zeros((1, N, N)), DISTINCT[0].image(N)[None]):
        some = Components.of(rings, harmonics(rings, images))
        assert np.isfinite(some.features()).all() and len(some.features()) == len(images)
        mirrored, psi = some.turned_together(np.zeros(len(images), int), 1, np.random.default_rng(0))
        assert mirrored.shape == psi.shape == (len(images),) and np.isfinite(psi).all()


def test_how_many_components(rings):
    some = components(rings, centred(0), noise=0.3, count=4)
    assert some.values.shape == (COUNT, 4) and len(some.order) == 4
    strengths = (np.abs(components(rings, centred(0), noise=0.3).values) ** 2).mean(0)
    assert (np.diff(strengths) < 1e-6).all() and strengths.max() <= 1
