"""Threads, and the GPU when one is asked for.

Threads: one pool runs blocks of work side by side, each on one core.  BLAS and NUFFT run single-threaded inside the
workers: many small products scale better over blocks than within one, and results do not depend on the number of
threads.

GPU: a :class:`Device` hands out the array module that does the heavy work there, CuPy.  Code written for it (the
modules device_*.py) uses nothing but array functions that NumPy has as well, and moves arrays by ``put`` and ``get``.
"""
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
from threadpoolctl import threadpool_limits

from ..errors import UserError

SMALL_PRODUCT = 10**6     # multiplications of a matrix product that OpenBLAS makes without copying its operands first
PACKAGE = "'cupy-cuda12x<14'"     # later ones want NumPy 2, which Scipion does not have yet


class Workers:
    """``threads`` workers; ``map`` keeps the order of its results.  device: :class:`Device`, None for no GPU."""

    def __init__(self, threads=1, device=None):
        self.threads, self.device = threads, device
        self._limits = threadpool_limits(1)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def map(self, function, *columns):
        """Like the built-in map, run by all workers; a list."""
        return list((self._pool.map if self._pool else map)(function, *columns))

    def start(self, function, *arguments):
        """Begin a call; its result is what ``result()`` of the returned object waits for."""
        if self._pool:
            return self._pool.submit(function, *arguments)
        done = Future()
        done.set_result(function(*arguments))
        return done

    def close(self):
        if self._pool:
            self._pool.shutdown()
        self._limits.restore_original_limits()


class Device:
    """Where arrays of the module ``xp`` live.

    xp: CuPy, or any module with the same functions.  free: called for the bytes of its memory that are free.  name:
    what users know it by.
    """

    def __init__(self, xp, free, name=""):
        self.xp, self.free, self.name = xp, free, name or xp.__name__
        self._get = getattr(xp, "asnumpy", np.asarray)

    def put(self, array, dtype=None):
        """A NumPy array's copy on the device."""
        return self.xp.asarray(np.ascontiguousarray(array, dtype))

    def get(self, array):
        """An array of the device as NumPy's."""
        return self._get(array)

    @contextmanager
    def memory_guarded(self):
        """Say what to do when the device's memory does not suffice."""
        try:
            yield
        except MemoryError as error:
            raise UserError(f"--gpu: not enough memory on the GPU ({_one_line(error)}), expected a GPU that no other "
                            "program uses, fewer references or a smaller search (--max_shift, a larger --psi_step), or "
                            "a run without --gpu") from error


def open_device(numbers, rank=0):
    """The :class:`Device` that a process computes on: GPU ``numbers[rank % len(numbers)]``; None without numbers.

    Raises :class:`.errors.UserError` when CuPy, the GPU or what CuPy needs to use it is missing.
    """
    if not numbers:
        return None
    number = numbers[rank % len(numbers)]
    cupy = _cupy()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
        if number < count:
            cupy.cuda.Device(number).use()
            ones = cupy.ones((2, 2), np.float32)
            float((ones @ ones + 1).sum())            # needs all of CuPy's libraries
    except (RuntimeError, ImportError, OSError) as error:
        raise UserError(f"--gpu {number}: CuPy cannot use a GPU ({_one_line(error)}), expected an NVIDIA GPU with a "
                        "driver and the libraries of the CUDA that CuPy was made for (CUDA Toolkit); leave out --gpu "
                        "to compute on the CPU") from error
    if number >= count:
        there = "there is only GPU 0" if count == 1 else f"there are GPUs 0 to {count - 1}"
        raise UserError(f"--gpu {number}: no such GPU, {there}")

    def free():
        pool = cupy.get_default_memory_pool()
        return cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()

    model = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
    return Device(cupy, free, f"GPU {number} ({model})")


def _cupy():
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")           # what is wrong will be said once, in our words
            import cupy
    except ImportError as error:
        raise UserError(f"--gpu: CuPy cannot be imported ({_one_line(error)}), expected `pip install {PACKAGE}` (or "
                        "the package for your CUDA); leave out --gpu to compute on the CPU") from error
    return cupy


def _one_line(error):
    return " ".join(str(error).split())[:200] or type(error).__name__
