"""EM in memory: what iterations near convergence take, without reading files and without a start."""
import time
from dataclasses import dataclass

import numpy as np

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.em import Particles


@dataclass(frozen=True)
class Images:
    """Images in memory, as the estimators read them."""

    pixels: np.ndarray

    @property
    def count(self):
        return len(self.pixels)

    @property
    def size(self):
        return self.pixels.shape[-1]

    def read(self, rows):
        return self.pixels[rows]


class Climb:
    """EM from the true references; what its last iterations took, and where it arrived.

    estimator: makes one of :class:`.Workers`; model: makes the first model of it and of the references' polar samples;
    settle, repeats: iterations before timing, and timed: the fastest counts.
    """

    def __init__(self, estimator, model, references, settle, repeats, threads=1, maxres=0.5):
        self.workers = Workers(threads)
        self.estimator = estimator(self.workers)
        self.estimator.enter(maxres)
        self.particles = Particles.unknown(self.estimator.source.count)
        self.rows = np.arange(self.estimator.source.count)
        self.model = model(self.estimator, self.estimator.disk.polar(references.astype(np.float32)))
        for _ in range(settle):
            self.step()
        timed = [self._time() for _ in range(repeats)]
        self.cpu, self.wall = (min(column) for column in zip(*timed))
        self.shifts = len(self.estimator.grid(self.model).shifts)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.workers.close()

    def step(self):
        statistics = self.estimator.expect(self.model, self.particles, self.rows)
        self.model = self.estimator.maximise(self.model, statistics)

    def _time(self):
        cpu, wall = time.process_time(), time.perf_counter()
        self.step()
        return time.process_time() - cpu, time.perf_counter() - wall
