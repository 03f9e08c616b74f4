"""Threads: one pool that runs blocks of work side by side, each on one core.

BLAS and NUFFT run single-threaded inside the workers: many small products scale better over blocks than within one,
and results do not depend on the number of threads.
"""
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits


class Workers:
    """``threads`` workers; ``map`` keeps the order of its results."""

    def __init__(self, threads=1):
        self.threads = threads
        self._limits = threadpool_limits(1)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def map(self, function, *columns):
        """Like the built-in map, run by all workers; a list."""
        return list((self._pool.map if self._pool else map)(function, *columns))

    def close(self):
        if self._pool:
            self._pool.shutdown()
        self._limits.restore_original_limits()
