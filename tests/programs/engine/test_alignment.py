"""A pass of alignment over images of known poses; the views that it works on."""
from types import SimpleNamespace

import numpy as np
import pytest

from mlalign.programs.engine.alignment import Aligner
from mlalign.programs.engine.averaging import Transfer
from mlalign.programs.engine.correlation import Search
from mlalign.programs.engine.ctf import Ctf
from mlalign.programs.engine.rings import Rings
from mlalign.programs.engine.views import Bank
from mlalign.tests.programs.engine.blobs import DISTINCT, Stack, planted

N, RADIUS, COUNT = 32, 12, 60


@pytest.fixture(scope="module")
def scene(workers):
    rings = Rings(36, 18, 4)
    distance = np.hypot(*(np.mgrid[:36, :36] - 18))
    search = Search(rings, (distance <= RADIUS).astype(float), RADIUS, 1.0, 4.0)
    truth = planted(DISTINCT, COUNT, 0.5, seed=7, offset=0.8)
    references = np.pad(np.stack([phantom.image(N) for phantom in DISTINCT]), ((0, 0), (2, 2), (2, 2)))

    def aligner(memory=1e9, centres=None, **options):
        bank = Bank(Stack(truth.images), np.arange(COUNT), search, workers,
                    np.zeros((COUNT, 2)) if centres is None else centres, memory)
        return Aligner(search, bank, **options)

    return SimpleNamespace(aligner=aligner, truth=truth, references=references, search=search)


def limits(low=-3.0, high=3.0):
    return np.tile([low, high, low, high], (COUNT, 1))


def test_images_go_to_their_references(scene):
    best, sums = scene.aligner().run(scene.references, limits())
    assert (best.ref == scene.truth.ref).mean() > 0.95
    assert sums.weight.sum() == COUNT and (sums.weight.sum(1) == np.bincount(best.ref, minlength=4)).all()
    even = np.bincount(best.ref[::2], minlength=4)
    assert (sums.weight[:, 0] == even).all()
    assert best.probability.min() > 0.3 and best.probability.max() <= 1


def test_chunks_change_nothing(scene):
    whole, parts = (scene.aligner(memory).run(scene.references, limits()) for memory in (1e9, 1))
    assert (whole[0].ref == parts[0].ref).all() and whole[0].score == pytest.approx(parts[0].score, abs=1e-5)
    assert whole[1].numerator == pytest.approx(parts[1].numerator, abs=1e-3 * np.abs(whole[1].numerator).max())


def test_views_around_other_places(scene):
    """Images cut around places 1 to 2 px away are found that much elsewhere."""
    rng = np.random.default_rng(0)
    moved = rng.integers(-2, 3, (COUNT, 2)).astype(float)
    still, _ = scene.aligner().run(scene.references, limits())
    shifted = limits() - np.repeat(moved, 2, axis=1)
    other, _ = scene.aligner(centres=moved).run(scene.references, shifted)
    same = (other.ref == still.ref) & (np.abs(np.angle(np.exp(1j * (other.psi - still.psi)))) < 0.05)
    assert same.mean() > 0.9
    c, s = np.cos(still.psi), np.sin(still.psi)
    for axis, (a, b) in enumerate((((c, -s), (c, -s)), ((s, c), (s, c)))):
        where = [u * p.x + v * np.where(p.mirrored, -p.y, p.y) for p, (u, v) in ((still, a), (other, b))]
        assert (where[0] - where[1])[same] == pytest.approx(moved[same, axis], abs=0.3)
    again = scene.aligner()
    again.bank.recentre(moved)
    assert again.run(scene.references, shifted)[0].score == pytest.approx(other.score, abs=1e-5)


def test_nothing_is_placed_beyond_the_limits(scene):
    best, _ = scene.aligner().run(scene.references, limits(-0.5, 1.0))
    c, s, y = np.cos(best.psi), np.sin(best.psi), np.where(best.mirrored, -best.y, best.y)
    for there in (c * best.x - s * y, s * best.x + c * y):
        assert there.min() > -0.5 - 1e-9 and there.max() < 1 + 1e-9


def test_soft_assignment_shares_an_image_among_classes(scene):
    """Of two equal references the first gets all images, or both get half of each."""
    twice = scene.references[[0, 0, 1, 2]]
    soft, hard = (scene.aligner(soft=soft).run(twice, limits()) for soft in (True, False))
    assert hard[1].weight[1].sum() == 0 and (hard[1].weight == np.rint(hard[1].weight)).all()
    assert soft[1].weight[1] == pytest.approx(soft[1].weight[0], rel=1e-3) and soft[1].weight[0].sum() > 2
    assert soft[1].weight.sum() == pytest.approx(COUNT, abs=0.01 * COUNT)
    shared = soft[0].probability[soft[0].ref == 0]
    assert shared.max() < 0.501 and np.median(shared) > 0.49


def test_strong_references_attract_by_the_original_scoring_alone(scene):
    strong = scene.references * np.array([1, 1, 1, 4.0])[:, None, None]
    fair, unfair = (scene.aligner(normalized=normalized).run(strong, limits())[0] for normalized in (True, False))
    assert (fair.ref == scene.truth.ref).mean() > 0.95
    assert (unfair.ref == 3).mean() > 0.9


def test_with_ctfs_references_are_measured_as_images_show_them(scene):
    """A CTF that is the same at all frequencies but for its strength changes no score."""
    flat = Ctf(*(np.full(COUNT, value) for value in (100.0, 100.0, 0.0, 300.0, 0.0, 0.5, 0.0)))
    transfer = Transfer.of(scene.search.rings, flat, 50.0, np.zeros(COUNT))
    plain, weighted = (scene.aligner(transfer=some).run(scene.references, limits())[0] for some in (None, transfer))
    assert weighted.score * np.sqrt(transfer.power().mean()) == pytest.approx(plain.score, rel=0.01)
    assert (weighted.ref == plain.ref).all()


def test_averages_of_chosen_images(scene):
    aligner = scene.aligner()
    best, sums = aligner.run(scene.references, limits())
    which = np.flatnonzero(best.ref == 0)
    again = aligner.average(best, which, np.full(len(which), 2), 4)
    assert again.weight[2].sum() == len(which) and again.weight[0].sum() == 0
    assert again.numerator[2] == pytest.approx(sums.numerator[0], abs=1e-3 * np.abs(sums.numerator).max())
