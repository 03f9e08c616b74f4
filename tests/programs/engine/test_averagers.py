"""Averages of every kind, against sums written out image by image and sample by sample."""
import numpy as np
import pytest

from mlalign.programs.engine import averagers
from mlalign.programs.engine.averaging import Placed, Transfer, add_up
from mlalign.programs.engine.parallel import Alone
from mlalign.programs.engine.rings import Rings
from mlalign.tests.programs.engine.blobs import DISTINCT
from mlalign.tests.programs.engine.placed_images import CLASSES, PIXEL, N, drawn, random_ctf, random_placed

COUNT = 80
CTF_KINDS = ["ctf.auto", "ctfw.auto", "ctf.weight", "ctf.weight.autofilt"]


@pytest.fixture(scope="module")
def rings():
    return Rings(N, N / 2, 3)


@pytest.fixture(scope="module")
def placed():
    return random_placed(COUNT)


@pytest.fixture(scope="module")
def scale():
    return np.random.default_rng(1).uniform(0.2, 1.8, COUNT)


@pytest.fixture(scope="module")
def x(rings, placed, scale):
    return rings.expand(rings.sample((scale[:, None, None] * drawn(placed)).astype(np.float32)))


@pytest.fixture(scope="module")
def ctf():
    return random_ctf(COUNT)


@pytest.fixture(scope="module")
def transfer(rings, ctf):
    return Transfer.of(rings, ctf, PIXEL, np.zeros(COUNT))


def amplitudes(rings, placed, ctf):
    """|CTF| (N, P) of every image at the average's frequencies: mirrored, then turned."""
    radius = np.hypot(rings.kx, rings.ky) / (2 * np.pi * PIXEL)
    return np.abs([ctf[i : i + 1](radius, np.arctan2(rings.ky * (-1 if placed.mirrored[i] else 1), rings.kx)
                                  + placed.psi[i])[0].astype(float) for i in range(COUNT)])


def weights(kind, c, rings):
    """What images' samples and what counts are multiplied by."""
    if kind.startswith("ctf.weight"):
        return c**2, c**2
    snr = np.maximum(c**2, 0.001)
    if kind == "ctfw.auto":
        c = c * np.exp(-100 / 4 * (np.hypot(rings.kx, rings.ky) / (2 * np.pi * PIXEL)) ** 2)
    return snr / np.maximum(c, 0.05), snr


DENOMINATOR = {"ctf.weight": lambda total: total, "ctf.weight.autofilt": lambda total: 0.1 + total,
               "ctf.auto": lambda total: np.maximum(total, 0.05), "ctfw.auto": lambda total: 1 + total}


def made(kind, rings, transfer=None, **options):
    return averagers.make(kind, options, transfer, rings, PIXEL)


@pytest.mark.parametrize("kind", CTF_KINDS)
def test_averages_image_by_image(rings, placed, x, scale, ctf, transfer, kind):
    up, down = weights(kind, amplitudes(rings, placed, ctf), rings)
    averager = made(kind, rings, transfer)
    halves, whole = averager.finish(averager.add(rings, x, placed, CLASSES))
    weigh = placed.weight[:, None]
    for k in range(CLASSES):
        signal = DISTINCT[k].transform(rings.kx, rings.ky)
        for got, mine in [*((halves[k, half], (placed.ref == k) & (placed.half == half)) for half in (0, 1)),
                          (whole[k], placed.ref == k)]:
            numerator = signal * (weigh * scale[:, None] * up)[mine].sum(0)
            expected = numerator / DENOMINATOR[kind]((weigh * down)[mine].sum(0))
            if kind == "ctf.weight.autofilt" and got is whole[k]:
                continue                                             # filtered: see below
            assert np.abs(got - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("kind", [*CTF_KINDS, "mean"])
def test_without_ctf_they_are_means(rings, placed, x, kind):
    averager = made(kind, rings)
    halves, whole = averager.finish(averager.add(rings, x, placed, CLASSES + 1))
    expected, mean = add_up(rings, x, placed, CLASSES + 1).averages()
    assert halves == pytest.approx(expected)
    if "autofilt" not in kind:
        assert whole == pytest.approx(mean)
    assert (whole[CLASSES] == 0).all()


def test_the_filter_by_the_correlation_of_halves(rings, placed, x, transfer):
    rng = np.random.default_rng(5)
    spread = np.sqrt((x**2).mean())
    noisy = (x + spread * rng.standard_normal(x.shape)).astype(np.float32)
    averager = made("ctf.weight.autofilt", rings, transfer)
    sums = averager.add(rings, noisy, placed, CLASSES)
    halves, whole = averager.finish(sums)
    for k in range(CLASSES):
        f = np.zeros(len(rings.k))
        for j in range(len(rings.k)):
            a, b = (halves[k, half, rings.ring == j] for half in (0, 1))
            f[j] = (a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum())
        smooth = np.array([np.average(f[near], weights=rings.k[near]) for near in
                           (abs(rings.k - k) <= np.pi / N for k in rings.k)]).clip(0.001, 0.9999)
        snr = smooth / (1 - smooth)
        plain = sums.numerator[k].sum(0) / (0.1 + sums.denominator[k].sum(0))
        assert whole[k] == pytest.approx(plain * (2 * snr / (1 + 2 * snr))[rings.ring])
    assert (np.abs(whole) < 0.9 * np.abs(sums.numerator.sum(1) / (0.1 + sums.denominator.sum(1)))).any()


def test_a_class_of_one_is_not_filtered(rings, placed, x):
    averager = made("ctf.weight.autofilt", rings)
    one = placed.take(np.arange(1))
    _, whole = averager.finish(averager.add(rings, x, one, CLASSES))
    assert whole == pytest.approx(add_up(rings, x, one, CLASSES).averages()[1])


@pytest.mark.parametrize("kind", averagers.OPTIONS)
def test_workers_and_chunks_change_nothing(rings, placed, x, transfer, workers, kind):
    averager = made(kind, rings, transfer, **({"ignore0": True} if kind == "mean" else {}))
    at_once = averager.add(rings, x, placed, CLASSES)
    pooled = averager.add(rings, x, placed, CLASSES, workers.map)
    parts = []
    for chunk in np.array_split(np.random.default_rng(3).permutation(COUNT), 3):
        some = placed.take(chunk)
        some.image = np.arange(len(chunk))
        parts.append(averager.add(rings, x[chunk], some, CLASSES, which=chunk))
    added = (parts[0] + parts[1] + parts[2]).over(Alone())
    for one, two, three in zip(averager.finish(at_once), averager.finish(pooled), averager.finish(added)):
        assert (one == two).all()
        assert np.abs(one - three).max() < 1e-4 * np.abs(one).max()


def test_sums_over_ranks(rings, placed, x):
    class Twice(Alone):
        def sum(self, array):
            return 2 * array

        def gather(self, array):
            return np.concatenate([array, array])

    mean = made("mean", rings)
    assert mean.add(rings, x, placed, CLASSES).over(Twice()).weight.sum() == pytest.approx(2 * placed.weight.sum())
    members = made("median", rings).add(rings, x, placed, CLASSES).over(Twice())
    assert len(members.pixels) == len(members.ref) == 2 * COUNT


def test_the_median_pixel_by_pixel(rings, placed, x, scale):
    wild = x.copy()
    outliers = np.flatnonzero(placed.ref == 0)[:5]
    wild[outliers] *= 50
    median = made("median", rings)
    halves, whole = median.finish(median.add(rings, wild, placed, CLASSES + 1))
    factor = scale.copy()
    factor[outliers] *= 50
    for k in range(CLASSES):
        for got, mine in [*((halves[k, half], (placed.ref == k) & (placed.half == half)) for half in (0, 1)),
                          (whole[k], placed.ref == k)]:
            expected = np.median(factor[mine][:, None, None] * DISTINCT[k].image(N), axis=0)
            image = rings.images(got[None])[0]
            assert np.abs(image - expected)[rings.circle].max() < 0.03 * np.abs(expected).max()
    assert (whole[CLASSES] == 0).all()


def test_members_without_weight_are_left_out_of_the_median(rings, placed, x):
    none = placed.take(np.arange(COUNT))
    none.weight = np.where(none.ref == 1, 0.0, none.weight)
    median = made("median", rings)
    assert set(median.add(rings, x, none, CLASSES).ref) == {0, 2}


def test_zeros_beyond_an_images_circle_do_not_count(rings):
    flat = rings.expand(rings.sample(np.ones((3, N, N), np.float32)))
    shifts = np.array([6.0, -6.0, 0.0])
    members = Placed(np.arange(3), np.zeros(3, int), np.zeros(3, int), np.array([0, 2.0, 4.0]), shifts, np.zeros(3),
                     np.ones(3), np.array([0, 1, 0]))
    y, x = np.mgrid[:N, :N] - N // 2
    covered = sum(np.hypot(x + shift, y) < N / 2 for shift in shifts)
    for ignore0, expected in ((True, np.ones((N, N))), (False, covered / 3)):
        mean = made("mean", rings, ignore0=ignore0)
        _, whole = mean.finish(mean.add(rings, flat, members, 1))
        image = rings.images(whole)[0]
        # but for ripples at the edges
        assert np.abs(image - expected)[np.hypot(x, y) < N / 2 - 1].mean() < 0.05


def test_memory(rings, placed, x):
    members = made("median", rings).add(rings, x, placed, CLASSES)
    assert members.pixels.nbytes <= averagers.memory("median", rings, CLASSES, COUNT) <= 2.1 * members.pixels.nbytes
    sums = made("mean", rings, ignore0=True).add(rings, x, placed, CLASSES)
    there = sums.numerator.nbytes + sums.coverage.nbytes
    assert there < averagers.memory("mean", rings, CLASSES, COUNT) < 4 * there
