"""Threads: order, concurrency, libraries that keep to one core; the GPU that is opened, or what is wrong with it."""
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from mlalign.programs.engine.backend import Workers, open_device
from mlalign.programs.errors import UserError
from mlalign.tests.programs.engine.strict_cupy import StrictCupy


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


# ---- the GPU

def installed(monkeypatch, **options):
    """The stand-in as the CuPy that is installed."""
    cupy = StrictCupy(**options)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_ranks_take_gpus_in_turn(monkeypatch):
    cupy = installed(monkeypatch, gpus=4)
    for rank, number in enumerate([3, 1, 0, 3, 1, 0, 3]):
        device = open_device([3, 1, 0], rank)
        assert cupy.current == number and device.name == f"GPU {number} (stand-in)"
        assert device.xp is cupy and device.free() == cupy.free
        there = device.put(np.arange(6).reshape(2, 3).T)
        np.testing.assert_array_equal(device.get(there + 1), [[1, 4], [2, 5], [3, 6]])


def test_no_gpu_is_opened_when_none_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert open_device(None) is None and open_device([]) is None


def test_cupy_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)                  # importing it fails
    with pytest.raises(UserError, match=r"--gpu: CuPy cannot be imported .*pip install 'cupy-cuda12x<14'"):
        open_device([0])


@pytest.mark.parametrize(("count", "there"), [(1, "there is only GPU 0"), (2, "GPUs 0 to 1")])
def test_there_is_no_such_gpu(monkeypatch, count, there):
    installed(monkeypatch, gpus=count)
    with pytest.raises(UserError, match=f"--gpu {count}: no such GPU, .*{there}"):
        open_device([0, count], 1)


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


def fails(error):
    def raising(*_):
        raise error
    return raising


NO_DRIVER = CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime")
NO_LIBRARY = RuntimeError("CuPy failed to load libnvrtc.so.12:\n\n  OSError: libnvrtc.so.12: cannot open")


@pytest.mark.parametrize(("broken", "error"), [("getDeviceCount", NO_DRIVER), ("ones", NO_LIBRARY)])
def test_the_gpu_cannot_be_used(monkeypatch, broken, error):
    cupy = installed(monkeypatch)
    setattr(cupy if broken == "ones" else cupy.cuda.runtime, broken, fails(error))
    with pytest.raises(UserError) as caught:
        open_device([0])
    line = str(caught.value)
    assert "\n" not in line and str(error)[:20] in line and "driver" in line and "leave out --gpu" in line


def test_cupy_without_a_gpu():
    """Where CuPy is installed and has none."""
    cupy = pytest.importorskip("cupy")
    if cupy.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="CuPy cannot use a GPU"):
        open_device([0])


def test_cupy_is_not_imported_unless_asked_for():
    code = ("import sys, mlalign.programs.ml2d, mlalign.programs.mlf2d; "
            "from mlalign.programs.engine.backend import open_device; open_device(None); "
            "sys.exit(any(name.startswith('cupy') for name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
