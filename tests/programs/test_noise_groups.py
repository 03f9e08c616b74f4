"""Groups of images that share a noise spectrum."""
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlalign.programs.engine.ctf import Ctf
from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import write_star
from mlalign.programs.noise_groups import MOST_BINS, noise_groups, optics_groups


def ctf_of(defocus):
    """CTFs of the given mean defocus; only that matters here."""
    defocus, one = np.asarray(defocus, float), np.ones(len(defocus))
    return Ctf(defocus + 100, defocus - 100, 0 * one, 300 * one, 2.7 * one, 0.1 * one, 0 * one)


def group(defocus, optics=None, mode="auto", smallest=10):
    optics = np.ones(len(defocus), int) if optics is None else np.asarray(optics)
    return noise_groups(ctf_of(defocus), optics, mode, smallest)


def test_defocus_is_divided_by_quantiles():
    defocus = np.linspace(9000, 28000, 80)
    groups = group(defocus)
    assert groups.index.tolist() == np.repeat(np.arange(8), 10).tolist()
    assert groups.count.tolist() == [10] * 8 and groups.optics.tolist() == [1] * 8 and len(groups) == 8
    assert groups.defocus_min == pytest.approx(defocus[::10]) and groups.defocus_max == pytest.approx(defocus[9::10])
    assert len(group(defocus, smallest=11)) == 7        # 80 / 11
    assert len(group(np.tile(defocus, 100))) == 8       # no more, however many images


def test_no_bin_is_too_small():
    assert len(group(np.arange(19) + 1e4)) == 1
    assert group(np.arange(20) + 1e4).count.tolist() == [10, 10]
    assert len(group([2e4] * 1000)) == 1                # nothing to divide


def test_a_micrograph_is_not_divided():
    # the middle one fills several quantiles
    groups = group(np.repeat([9000, 15000, 20000], [10, 100, 10]))
    assert groups.count.tolist() == [10, 100, 10]
    assert groups.defocus_min.tolist() == groups.defocus_max.tolist() == [9000, 15000, 20000]
    assert group(np.repeat([9000, 15000, 20000], [9, 100, 10])).count.tolist() == [109, 10]


def test_optics_groups_are_divided_one_by_one():
    defocus, optics = np.tile(np.arange(40.0) + 1e4, 2), np.repeat([7, 2], 40)
    groups = group(defocus, optics)
    assert groups.optics.tolist() == [2] * 4 + [7] * 4 and groups.count.tolist() == [10] * 8
    assert (np.diff(groups.defocus_min[:4]) > 0).all() and groups.defocus_min[4] == 1e4
    assert set(groups.index[:40]) == {4, 5, 6, 7}


def test_optics_mode_does_not_divide():
    groups = group(np.arange(80.0) + 1e4, np.repeat([3, 1], [30, 50]), "optics")
    assert groups.optics.tolist() == [1, 3] and groups.count.tolist() == [50, 30]
    assert groups.defocus_min.tolist() == [10030, 10000] and groups.defocus_max.tolist() == [10079, 10029]


def test_small_optics_groups_are_joined():
    optics = np.repeat([1, 2, 3, 4], [6, 30, 5, 20])
    groups = group(np.full(61, 1e4), optics, "optics")
    assert groups.optics.tolist() == [0, 2, 4] and groups.count.tolist() == [11, 30, 20]
    assert groups.index[[0, -1]].tolist() == [0, 2] and (groups.index[optics == 3] == 0).all()


def test_an_optics_group_of_just_the_smallest_size_stays():
    assert group(np.full(30, 1e4), np.repeat([1, 2, 3], 10), "optics").optics.tolist() == [1, 2, 3]
    assert group(np.full(29, 1e4), np.repeat([1, 2, 3], [10, 9, 10]), "optics").optics.tolist() == [0, 3]


def test_if_need_be_with_the_next_larger():
    groups = group(np.full(55, 1e4), np.repeat([1, 2, 3], [5, 30, 20]), "optics")
    assert groups.optics.tolist() == [0, 2] and groups.count.tolist() == [25, 30]


def test_too_few_images_for_any_group():
    groups = group([1e4, 2e4, 3e4], [1, 2, 3], "optics")
    assert groups.count.tolist() == [3] and groups.optics.tolist() == [0]
    assert (groups.defocus_min, groups.defocus_max) == (1e4, 3e4)


def test_pooled_and_without_ctf():
    defocus, optics = np.arange(100.0) + 1e4, np.repeat([1, 2], 50)
    groups = group(defocus, optics, "pooled")
    assert groups.count.tolist() == [100] and groups.optics.tolist() == [0] and set(groups.index) == {0}
    assert (groups.defocus_min, groups.defocus_max) == (1e4, 10099)
    for mode in ("auto", "optics", "pooled"):
        groups = noise_groups(None, np.full(100, 5), mode, 10)
        assert groups.count.tolist() == [100] and groups.optics.tolist() == [5] and set(groups.index) == {0}
        assert groups.defocus_min.tolist() == groups.defocus_max.tolist() == [-1]


def test_optics_groups_of_metadata(tmp_path):
    write_stack(tmp_path / "a.mrcs", np.random.default_rng(1).normal(size=(3, 16, 16)).astype(np.float32))
    columns = {"rlnImageName": [f"{i}@a.mrcs" for i in (1, 2, 3)]}
    write_star(tmp_path / "x.star", {"particles": columns})
    assert optics_groups(open_images(tmp_path / "x.star")).tolist() == [1, 1, 1]
    write_star(tmp_path / "x.star", {"particles": {**columns, "rlnOpticsGroup": [3, 1, 3]}})
    assert optics_groups(open_images(tmp_path / "x.star")).tolist() == [3, 1, 3]


# ---- what holds whatever the images are

@st.composite
def particles(draw):
    """Defocus and optics group of some images; few values, so that many are equal."""
    images = draw(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5)), min_size=1, max_size=150))
    defocus, optics = np.array(images).T
    return defocus * 1000.0 + 8000, optics


MODES = st.sampled_from(["auto", "optics", "pooled"])
SMALLEST = st.integers(1, 60)


@given(particles(), MODES, SMALLEST)
@settings(deadline=None)
def test_groups_hold_every_image_and_say_what_they_hold(images, mode, smallest):
    defocus, optics = images
    groups = group(defocus, optics, mode, smallest)
    assert groups.index.shape == (len(defocus),)
    for g in range(len(groups)):
        here = groups.index == g
        assert groups.count[g] == here.sum() > 0
        assert groups.count[g] >= min(smallest, len(defocus))
        assert (groups.defocus_min[g], groups.defocus_max[g]) == (defocus[here].min(), defocus[here].max())
        assert {groups.optics[g]} == (set(optics[here]) if len(set(optics[here])) == 1 else {0})
    assert groups.count.sum() == len(defocus)


@given(particles(), MODES, SMALLEST, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_images_does_not_matter(images, mode, smallest, random):
    defocus, optics = images
    order = list(range(len(defocus)))
    random.shuffle(order)
    there, here = group(defocus, optics, mode, smallest), group(defocus[order], optics[order], mode, smallest)
    assert here.index.tolist() == there.index[order].tolist()
    for name in ("optics", "count", "defocus_min", "defocus_max"):
        assert getattr(here, name).tolist() == getattr(there, name).tolist()


@given(particles(), SMALLEST)
@settings(deadline=None)
def test_groups_are_ranges_of_defocus_in_joined_optics_groups(images, smallest):
    defocus, optics = images
    parts, groups = group(defocus, optics, "optics", smallest).index, group(defocus, optics, "auto", smallest)
    for part in set(parts):
        here = np.unique(groups.index[parts == part])
        assert len(here) <= MOST_BINS
        assert all(groups.defocus_max[a] < groups.defocus_min[b] for a, b in zip(here, here[1:]))
        assert here.tolist() == list(range(here[0], here[-1] + 1))      # in order of optics groups, then defocus


def quantiles(defocus, bins):
    """Bins of the images, as lists: each image in the quantile that holds the middle of those of equal defocus."""
    found = {}
    for value in defocus:
        below, equal = (defocus < value).sum(), (defocus == value).sum()
        found.setdefault(int((below + equal / 2) * bins / len(defocus)), []).append(value)
    return list(found.values())


@given(st.lists(st.integers(1, 60), min_size=1, max_size=9), st.integers(1, 20))
@example([57, 33, 14], 4)                           # the first fills several quantiles
@example([7, 54, 33, 31, 22, 33, 36, 2], 1)         # fewer quantiles make more bins
@settings(deadline=None)
def test_bins_are_quantiles_and_as_many_as_possible(sizes, smallest):
    defocus = np.repeat(np.arange(len(sizes)) * 1000.0 + 8000, sizes)
    allowed = [bins for bins in (quantiles(defocus, count) for count in range(1, MOST_BINS + 1))
               if min(map(len, bins)) >= smallest]
    groups = group(defocus, smallest=smallest)
    assert len(groups) == max(map(len, allowed), default=1)
    assert groups.count.tolist() in [[len(one) for one in bins] for bins in allowed or [[defocus]]]


@given(st.integers(1, 400), st.integers(1, 60))
@settings(deadline=None)
def test_images_of_different_defocus_make_as_many_bins_as_fit(count, smallest):
    assert len(group(np.arange(count) + 1e4, smallest=smallest)) == min(MOST_BINS, max(1, count // smallest))


def test_a_million_images_take_a_second():
    """The bound leaves room for a busy machine."""
    rng = np.random.default_rng(1)
    ctf, optics = ctf_of(rng.uniform(8000, 28000, 1_000_000)), rng.integers(1, 50, 1_000_000)
    start = time.process_time()
    assert len(noise_groups(ctf, optics, "auto", 250)) == 49 * 8
    assert time.process_time() - start < 3
