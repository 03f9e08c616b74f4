"""Threads: order, concurrency, and libraries that keep to one core."""
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mlalign.programs.engine.backend import Workers


@pytest.mark.parametrize("threads", [1, 3])
def test_map_keeps_order(threads):
    workers = Workers(threads)
    try:
        assert workers.map(lambda a, b: a - b, range(50), range(50, 0, -1)) == list(range(-50, 50, 2))
    finally:
        workers.close()


def test_workers_work_side_by_side():
    workers, barrier = Workers(2), threading.Barrier(2, timeout=10)
    try:
        workers.map(lambda _: barrier.wait(), range(2))          # each waits until the other is there too
    finally:
        workers.close()


def test_an_error_in_a_worker_comes_out():
    workers = Workers(2)
    try:
        with pytest.raises(ZeroDivisionError):
            workers.map(lambda a: 1 / a, [1, 0])
    finally:
        workers.close()


def test_libraries_use_one_thread_until_closed():
    np.ones((2, 2)) @ np.ones((2, 2))
    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        assert 2 in before
        workers = Workers(1)
        assert all(library["num_threads"] == 1 for library in threadpool_info())
        workers.close()
        assert [library["num_threads"] for library in threadpool_info()] == before
