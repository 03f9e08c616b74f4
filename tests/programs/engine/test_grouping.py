"""K-means: against distances measured one by one, its small classes, its numbers, and vectors that are all alike."""
import numpy as np
import pytest

from mlalign.programs.engine import grouping
from mlalign.programs.engine.grouping import group, renumbered


def clusters(count, classes, seed=0, spread=0.3):
    """Vectors (count, 5) around ``classes`` places far apart, and which one each is of."""
    rng = np.random.default_rng(seed)
    places = 10 * rng.normal(size=(classes, 5))
    of = np.arange(count) % classes
    return places[of] + spread * rng.normal(size=(count, 5)), of


def same_partition(one, other):
    return (np.equal.outer(one, one) == np.equal.outer(other, other)).all()


def rng(seed=0):
    return np.random.default_rng(seed)


def spread(vectors, labels):
    """Sum of squared distances to the classes' means."""
    return sum(((vectors[labels == k] - vectors[labels == k].mean(0)) ** 2).sum() for k in np.unique(labels))


def test_assignment_against_loops():
    vectors, centres = rng(1).normal(size=(50, 4)), rng(2).normal(size=(7, 4))
    nearest, distance = grouping._assign(vectors, centres)
    for i, vector in enumerate(vectors):
        squared = [((vector - centre) ** 2).sum() for centre in centres]
        assert nearest[i] == np.argmin(squared) and distance[i] == pytest.approx(min(squared))
    assert grouping._assign(centres, centres)[1].min() >= 0


def test_means_and_centres_against_loops():
    vectors, labels = rng(1).normal(size=(30, 3)), np.arange(30) % 5 - 1          # a fifth have none, class 4 is empty
    centres = grouping._centres(vectors, labels, 5, rng())
    for k in range(4):
        assert centres[k] == pytest.approx(vectors[labels == k].mean(0))
    assert (vectors == centres[4]).all(1).sum() == 1


@pytest.mark.parametrize("fast", [False, True])
def test_clusters_are_found_whatever_their_order(fast):
    vectors, of = clusters(90, 6)
    labels = group(vectors, 6, rng(), fast)
    assert same_partition(labels, of) or fast
    order = rng(5).permutation(90)
    again = group(vectors[order], 6, rng(3))
    assert same_partition(again, of[order])


def test_as_good_as_other_k_means():
    from sklearn.cluster import KMeans
    vectors = rng(4).normal(size=(400, 6))
    labels = group(vectors, 10, rng())
    inertia = KMeans(10, n_init=8, random_state=0).fit(vectors).inertia_
    assert spread(vectors, labels) < 1.03 * inertia


def test_several_starts_are_no_worse_than_one():
    vectors = clusters(200, 12, seed=3, spread=2.5)[0]
    results = [[spread(vectors, group(vectors, 12, rng(seed), fast)) for seed in range(4)] for fast in (False, True)]
    assert np.mean(results[0]) <= np.mean(results[1])


def test_a_seed_decides():
    vectors = rng(1).normal(size=(150, 4))
    one, same, other = (group(vectors, 12, rng(seed)) for seed in (7, 7, 8))
    assert (one == same).all() and (one != other).any()
    kept = vectors.copy()
    group(vectors, 12, rng(), before=one)
    assert (vectors == kept).all()


@pytest.mark.parametrize(("count", "classes"), [(60, 30), (40, 15), (20, 20), (20, 19), (7, 2), (5, 1), (1, 1)])
def test_no_class_is_empty_where_vectors_differ(count, classes):
    for seed in range(3):
        vectors = rng(seed).normal(size=(count, 3))
        before = np.zeros(count, int)
        for labels in (group(vectors, classes, rng(seed)), group(vectors, classes, rng(seed), True, before)):
            assert labels.shape == (count,)
            assert np.bincount(labels, minlength=classes).min() > 0 and labels.max() == classes - 1


@pytest.mark.parametrize(("different", "classes"), [(1, 4), (3, 6), (3, 3)])
def test_vectors_that_are_alike_are_not_torn_apart(different, classes):
    vectors = np.repeat(5 * np.eye(3)[:different], 6, axis=0)
    before = np.arange(len(vectors)) % classes
    for labels in (group(vectors, classes, rng()), group(vectors, classes, rng(), before=before)):
        assert same_partition(labels, np.repeat(np.arange(different), 6))


@pytest.mark.parametrize("smallest", [2, 4])
def test_small_classes_are_dissolved(smallest):
    """Outliers, alone each, do not end with classes of their own."""
    vectors, of = clusters(60, 4)
    vectors[:2] += np.array([[40, 0, 0, 0, 0], [0, -40, 0, 0, 0]])
    for seed in range(5):
        labels = group(vectors, 5, rng(seed), smallest=smallest)
        assert np.bincount(labels, minlength=5).min() >= smallest
        assert len(set(zip(labels[2:], of[2:]))) <= 6


@pytest.mark.parametrize("before", [np.repeat([0, 2], [10, 12]), np.repeat([0, 2, 1, 2], [10, 6, 1, 5])])
def test_an_empty_or_small_class_gets_part_of_the_widest(before):
    halves = np.where(np.arange(12) % 3, 20.0, 0.0)[:, None] * [1, 0]
    vectors = np.concatenate([rng(0).normal(size=(10, 2)), 90 + halves + rng(1).normal(size=(12, 2))])
    kept = before.copy()
    labels = grouping._filled(vectors, before, 3, 2)
    assert (labels[:10] == 0).all() and set(labels[10:]) == {1, 2} and (before == kept).all()
    assert same_partition(labels[10:], np.arange(12) % 3 > 0)


def test_numbers_are_kept():
    vectors, of = clusters(90, 6)
    number = rng(2).permutation(6)
    labels = group(vectors, 6, rng(), before=number[of])
    assert (labels == number[of]).all()
    # some that were of no class, and some of a wrong one
    before = number[of]
    before[:9], before[9:12] = -1, (before[9:12] + 1) % 6
    assert (group(vectors, 6, rng(4), before=before) == number[of]).all()


def test_better_classes_than_before_take_its_numbers():
    """Two clusters that were one class, and one that was two: k-means does not get out of this, new seeds do."""
    vectors, of = clusters(80, 4)
    before = np.where(of == 1, 0, of)
    before[of == 3] = np.where(np.arange(20) % 2, 3, 1)
    labels = group(vectors, 4, rng(), before=before)
    assert same_partition(labels, of)
    assert (labels[of == 2] == 2).all() and labels[of == 0][0] != 2


def test_classes_almost_as_good_stay_as_they_were():
    vectors = rng(6).normal(size=(300, 2))
    first = group(vectors, 5, rng(0))
    again = group(vectors, 5, rng(1), before=first)
    assert (again != first).mean() < 0.1


def test_new_numbers_against_all_permutations():
    from itertools import permutations
    labels, before = rng(0).integers(-1, 4, 60), rng(1).integers(-1, 4, 60)
    got = renumbered(labels, before, 4)
    assert ((got < 0) == (labels < 0)).all() and same_partition(got[labels >= 0], labels[labels >= 0])
    known = (labels >= 0) & (before >= 0)
    agree = [(np.array(order)[labels[known]] == before[known]).sum() for order in permutations(range(4))]
    assert (got[known] == before[known]).sum() == max(agree)


def test_it_may_end_before_it_settles():
    vectors = rng(1).normal(size=(600, 8))
    loose, strict = (group(vectors, 8, rng(3), True, min_change=least) for least in (300, 1))
    assert spread(vectors, strict) < spread(vectors, loose)
