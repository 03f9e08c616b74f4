"""Banks of harmonics: what they keep, and what they compute again; reading ahead."""
import numpy as np
import pytest

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.bank import READ_TOGETHER, ImageBank, ReadAhead
from mlalign.programs.engine.disk import Disk
from mlalign.tests.programs.engine.blobs import Stack

COUNT = 300


class Counting(Stack):
    """Counts the images that are read."""

    seen = 0

    def read(self, rows):
        self.seen += len(rows)
        return super().read(rows)


@pytest.fixture
def source():
    return Counting(np.random.default_rng(1).standard_normal((COUNT, 16, 16)).astype(np.float32))


@pytest.fixture
def bank(source):
    workers, disk = Workers(1), Disk(16, 0.3, 12)
    yield lambda **options: ImageBank(source, disk, workers, **options)
    workers.close()


def test_some_images_are_kept_and_the_others_made_when_asked_for(bank, source):
    rows = np.arange(5, COUNT, 7)
    some, every = bank(rows=rows), bank()
    assert some.harmonics.nbytes == len(rows) * some.image_bytes and source.seen == COUNT + len(rows)
    for asked, read in ((rows[3:9], 0), (np.arange(20), 20)):
        before = source.seen
        (x, power), (expected, expected_power) = some.read(asked), every.read(asked)
        np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(power, expected_power, rtol=1e-5)
        assert source.seen - before == read


@pytest.mark.parametrize("rows", [None, np.arange(0, COUNT, 2)])
def test_images_that_do_not_fit_take_a_few_bytes_each(bank, source, rows):
    small = bank(rows=rows, memory=bank(rows=np.arange(1)).image_bytes - 1)
    assert small.harmonics is None
    assert sum(a.nbytes for a in vars(small).values() if isinstance(a, np.ndarray) and len(a) == COUNT) == 8 * COUNT
    np.testing.assert_array_equal(small.not_kept(np.arange(9)), np.arange(9))


@pytest.mark.parametrize("rows", [None, np.arange(0, COUNT, 2)])
def test_as_many_are_kept_as_fit(bank, source, rows):
    asked = np.arange(COUNT) if rows is None else rows
    room = 100 * bank(rows=np.arange(1)).image_bytes
    part, every = bank(rows=rows, memory=room + 1), bank()
    assert part.harmonics.nbytes == room
    np.testing.assert_array_equal(part.not_kept(asked), asked[100:])
    assert len(every.not_kept(asked)) == 0
    for some, read in ((asked[:100], 0), (asked[90:110], 20), (asked[100:], len(asked) - 100)):
        before = source.seen
        (x, power), (expected, expected_power) = part.read(some), every.read(some)
        np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(power, expected_power, rtol=1e-5)
        assert source.seen - before == read


class Recording:
    def __init__(self, fault=None):
        self.read_rows, self.fault = [], fault

    def read(self, rows):
        self.read_rows += rows.tolist()
        if self.fault:
            raise self.fault


def test_images_are_read_ahead():
    source = Recording()
    ahead = ReadAhead(source)
    rows = np.arange(3, 3 + 2 * READ_TOGETHER + 5)
    ahead.begin(rows)
    ahead._thread.join(10)
    assert source.read_rows == rows.tolist()
    ahead.begin(rows[:0])
    assert source.read_rows == rows.tolist()


def test_what_cannot_be_read_ahead_is_left_to_whoever_needs_it():
    source = Recording(OSError("gone"))
    ahead = ReadAhead(source)
    ahead.begin(np.arange(4 * READ_TOGETHER))
    ahead._thread.join(10)
    assert len(source.read_rows) == READ_TOGETHER
