"""Seconds that an iteration of ml_tomo takes for a subtomogram, E-step and M-step apart.

    python benchmarks/tomo_speed.py [--scaling]

Phantoms of 32 voxels, 60 of them, tilts of -60 to 60 degrees, signal-to-noise ratio 0.1; 2 references, orientations
everywhere at 15 degrees, shifts to 3 voxels, frequencies to 0.35/voxel, imputation.  EM starts from the true references
and from random ones.  The first E-step makes the shifted copies of every particle; later ones find them in memory.

An E-step turns references and their sums once, whatever the number of particles: this is measured by an E-step on two
particles, and given apart.  "in all" is what an iteration takes for each of 120 subtomograms, everything included,
once the shifted copies are there.

With --scaling also other numbers of references and of missing regions, and other boxes (with fewer particles).

One thread; CPU seconds, the least of three for E-steps that are repeated.
"""
import time
from dataclasses import dataclass

import numpy as np
from common import Table, parser, print_machine

from mlalign.programs.engine.backend import Workers
from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.missing import Region
from mlalign.programs.engine.orientation_search import Orientations
from mlalign.programs.engine.sphere import directions, towards
from mlalign.programs.engine.subtomograms import Subtomograms
from mlalign.programs.engine.volume_estimator import Plan, Poses, VolumeEstimator, shift_grid3
from mlalign.programs.engine.volume_model import Rules, VolumeModel, maximise
from mlalign.programs.phantoms3d import phantoms3d
from mlalign.programs.simulation import normalised
from mlalign.programs.simulation_tomo import particles3d, truth3d

STEP, MAXRES, SHIFT, SNR, OFFSET = 15.0, 0.35, 3, 0.1, 1.0      # degrees, 1/voxel, voxels, -, voxels
SET = 120                      # subtomograms that "in all" is for
REPEATS = 3
REFERENCES, REGIONS, BOXES = (1, 2, 4, 8), (1, 5, 20), {24: 20, 32: 20, 48: 8, 64: 4}      # box: particles


PLAN = Plan(Orientations(towards(directions(STEP)), np.deg2rad(np.arange(0, 360, STEP))), shift_grid3(SHIFT))


@dataclass(frozen=True)
class Case:
    """What is measured: particles, box, references, missing regions, and whether EM starts from the truth."""

    count: int = 60
    box: int = 32
    references: int = 2
    regions: int = 1
    truth: bool = True


@dataclass(frozen=True)
class Volumes:
    """Volumes in memory, as the engine reads them."""

    voxels: np.ndarray

    @property
    def count(self):
        return len(self.voxels)

    @property
    def size(self):
        return self.voxels.shape[-1]

    def read(self, rows):
        return self.voxels[rows]


def simulated(case):
    """(Volumes, their regions, which of them each has, true references) of a :class:`Case`."""
    regions = [Region(number, "wedge_y", y=(-60 + number % 7, 60 - number % 5))
               for number in range(1, case.regions + 1)]
    references = normalised(phantoms3d(case.references, case.box), SNR)
    poses = truth3d(np.random.default_rng(0), case.count, case.references, OFFSET, range(1, case.regions + 1))
    particles = particles3d(references, poses, {region.number: region for region in regions}, np.random.default_rng(1))
    return Volumes(np.stack(list(particles))), regions, poses["missingRegionNumber"] - 1, references


def first_model(case, ball, references):
    """The model that EM starts from."""
    vectors = ball.vectors(ball.samples(references))
    if not case.truth:
        noise = np.random.default_rng(2).standard_normal(vectors.shape)
        vectors = noise * np.sqrt((vectors**2).mean())
    return VolumeModel(ball, vectors[None].astype(np.float32), np.full(case.references, 1 / case.references),
                       np.ones(len(ball.k)), OFFSET)


class Timed:
    """CPU seconds of a case.

    reading: a particle's samples; first, later: of a particle in the first E-step and in those after it; turning: of
    an E-step, whatever the number of particles; maximising: of an M-step.
    """

    def __init__(self, case):
        self.case = case
        volumes, regions, region_of, references = simulated(case)
        self.ball = Ball(case.box, MAXRES, reach=SHIFT)
        self.coverage = Coverage(self.ball)
        workers = Workers(1)
        try:
            start = time.process_time()
            bank = Subtomograms(volumes, self.ball, self.coverage, regions, region_of, 8e9, workers)
            self.reading = (time.process_time() - start) / case.count
            self.estimator = VolumeEstimator(bank, self.ball, self.coverage, workers)
            self._measure(first_model(case, self.ball, references))
        finally:
            workers.close()

    def _measure(self, model):
        count = self.case.count
        first, totals = self._expect(model, np.arange(count))
        start = time.process_time()
        model = maximise(model, totals, self.coverage, Rules(threshold=0.0))
        self.maximising = time.process_time() - start
        whole, few = (min(self._expect(model, rows)[0] for _ in range(REPEATS))
                      for rows in (np.arange(count), np.arange(2)))
        self.later = (whole - few) / (count - 2)
        self.turning = few - 2 * self.later
        self.first = (first - self.turning) / count

    def _expect(self, model, rows):
        """(seconds, totals) of an E-step."""
        halves = np.arange(self.case.count) % 2
        start = time.process_time()
        totals = self.estimator.expect(model, Poses.unknown(self.case.count), PLAN, halves, rows)
        return time.process_time() - start, totals


def print_times(cases):
    """A table of measured :class:`Case`."""
    table = Table("start ", "references", "regions", "box", "numbers", "reading", "E first", "E later",
                  "E, turning", "M-step", "in all")
    for case in cases:
        timed = Timed(case)
        everything = timed.later + (timed.turning + timed.maximising) / SET
        table.row("truth" if case.truth else "random", case.references, case.regions, case.box, timed.ball.size,
                  *(f"{seconds:.4f}" for seconds in (timed.reading, timed.first, timed.later)),
                  f"{timed.turning:.2f}", f"{timed.maximising:.2f}", f"{everything:.4f}")


def main():
    options = parser(__doc__)
    options.add_argument("--scaling", action="store_true", help="also other references, regions and boxes")
    options = options.parse_args()
    print_machine()
    print(f"{len(PLAN.orientations)} orientations, {len(PLAN.shifts)} shifts; CPU seconds: reading, E first and "
          f"E later for a subtomogram,\nturning and M-step for an iteration, in all for one of {SET} subtomograms\n")
    Timed(Case(4, 24))                  # compiled code is read
    count = 6 if options.quick else Case.count
    print_times([Case(count), Case(count, truth=False)])
    if options.scaling:
        few = 6 if options.quick else BOXES[Case.box]
        boxes = {24: 6} if options.quick else BOXES
        print()
        print_times([Case(few, references=number) for number in REFERENCES])
        print()
        print_times([Case(few, regions=number) for number in REGIONS])
        print()
        print_times([Case(count, box) for box, count in boxes.items()])


if __name__ == "__main__":
    main()
