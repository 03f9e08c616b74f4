"""Iterations of ml_align2d, mlf_align2d and ml_tomo on a GPU beside those on the CPU: the same, and in which time?

    python benchmarks/gpu.py [--gpu N]

Simulated images of 64 px up to Nyquist, with mirrors, 5 degrees, 197 shifts, behind CTFs in white noise.  EM starts
from the true references, settles on the GPU, and then takes one and the same iteration on the GPU and on the CPU (all
cores unless --thr says otherwise; exact search on both).  Seconds are those of E-step and M-step together; of the GPU
the fastest of a few iterations, so images are on it already when they fit.  For ml_tomo the first iteration of
tomo_speed.py: subtomograms of 32 voxels, 15 degrees, 3 voxels of shift, whose shifted copies are made before.

The GPU's results pass when, against the CPU's,
    the log-likelihood differs by at most 0.001 nats an image,
    the new class averages differ by at most 0.0001 of their norm,
    at most one image in 1000 has another class, mirror state, an angle 0.1 degrees or a shift 0.02 px away;
of ml_tomo 0.01 nats a subtomogram, and at most one in 100 with another class or pose.
When anything does not, the exit status is 1; without a usable GPU it is 2.

Shares: the matrix products' operations, and the bytes of their operands and results (each counted once), per second,
over what the GPU reaches in a large float32 product and in copying a large array.

--numpy lets NumPy play the GPU, to try this script without one; its times mean nothing.
"""
import os
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import tomo_speed
from climb import Images
from common import Table, parser, print_machine
from mlf2d_speed import MAX_SHIFT, ml2d, mlf2d, simulated
from tomo_speed import Case

from mlalign.programs.engine.backend import Device, Workers, open_device
from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.device_volumes import volume_estimator
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Settings
from mlalign.programs.engine.subtomograms import Subtomograms
from mlalign.programs.engine.volume_estimator import Poses
from mlalign.programs.engine.volume_model import Rules, maximise
from mlalign.programs.errors import UserError

NATS, AVERAGES, SHARE = 1e-3, 1e-4, 1e-3        # tolerances, see above
DEGREES, PIXELS = 0.1, 0.02
SETTLE, REPEATS = 6, 3
MATRIX, COPIED = 8192, 2**28                    # side of the large product; elements copied
FREE = 2**30                                    # bytes, where NumPy plays the GPU
SIZES = (3, 5000), (10, 20000), (50, 5000)      # classes, images
VOLUMES = Case(60, 32, references=2), Case(60, 32, references=8)
MODES = {"": {}, "student, norm": {"df": 6.0, "norm": True}}


class Counted:
    """An array module that counts its products' operations, and the bytes of their operands and results."""

    def __init__(self, xp):
        self._xp, self.flops, self.bytes = xp, 0, 0

    def __getattr__(self, name):
        return getattr(self._xp, name)

    def matmul(self, a, b):
        out = self._xp.matmul(a, b)
        self.flops += 2 * out.size * a.shape[-1]
        self.bytes += a.nbytes + b.nbytes + out.nbytes
        return out


def gpu(options):
    """The device, or NumPy in its place."""
    if options.numpy:
        return Device(np, lambda: FREE)
    try:
        return open_device([options.gpu])
    except UserError as error:
        print(f"no GPU: {error}")
        sys.exit(2)


def fastest(device, work, repeats):
    """Seconds of ``work()``, an array of the device, at its fastest."""
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        device.get(work()[:1])
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def rates(device, side, copied):
    """(Operations a second of a large product, bytes a second of a large copy)."""
    xp = device.xp
    matrix, line = xp.ones((side, side), np.float32), xp.ones(copied, np.float32)
    product = fastest(device, lambda: xp.matmul(matrix, matrix), REPEATS)
    copy = fastest(device, line.copy, REPEATS)
    return 2 * side**3 / product, 2 * line.nbytes / copy


class Compared:
    """One iteration on a GPU and on the CPU: seconds, what the GPU did, and the differences of the results.

    A sub-class has ``count`` particles, makes an estimator for workers (``_estimator``), takes an iteration of it
    (``_iteration``: statistics, new averages, poses), and knows which poses are not the same (``_apart``).
    """

    nats_allowed, share_allowed = NATS, SHARE

    def __init__(self, device, threads):
        counted = Counted(device.xp)
        workers = Workers(threads, Device(counted, device.free)), Workers(threads)
        try:
            on_gpu, on_cpu = map(self._estimator, workers)
            self._settle(on_gpu, on_cpu)
            found, self.gpu = self._fastest(on_gpu, REPEATS)
            counted.flops = counted.bytes = 0
            self._iteration(on_gpu)
            self.flops, self.bytes = counted.flops, counted.bytes
            expected, self.cpu = self._fastest(on_cpu, 1)
        finally:
            for one in workers:
                one.close()
        self.nats = abs(found[0].log_likelihood - expected[0].log_likelihood) / self.count
        self.averages = float(np.linalg.norm(found[1] - expected[1]) / np.linalg.norm(expected[1]))
        self.share = float(self._apart(found[2], expected[2]).mean())

    def _fastest(self, estimator, repeats):
        """What an iteration finds, and the seconds of the fastest."""
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            found = self._iteration(estimator)
            seconds.append(time.perf_counter() - start)
        return found, min(seconds)

    @property
    def passes(self):
        return bool(self.nats <= self.nats_allowed and self.averages <= AVERAGES and self.share <= self.share_allowed)


class Images2d(Compared):
    """Of ml_align2d or mlf_align2d."""

    def __init__(self, program, simulation, modes, *where):
        images, ctf, self.references = simulation
        settings = Settings(mirror=True, psi_step=5.0, max_shift=MAX_SHIFT, **modes)
        self._make, self._first = program(Images(images.pixels), ctf, settings)
        self.count, self.particles = images.count, Particles.unknown(images.count)
        super().__init__(*where)

    def _estimator(self, workers):
        estimator = self._make(workers)
        estimator.enter(0.5)
        return estimator

    def _settle(self, on_gpu, on_cpu):
        self.model = self._first(on_gpu, on_gpu.disk.polar(self.references.astype(np.float32)))
        for _ in range(SETTLE):
            statistics = on_gpu.expect(self.model, self.particles, np.arange(self.count))
            self.model = on_gpu.maximise(self.model, statistics)
        on_cpu.shift_radius = on_gpu.shift_radius

    def _iteration(self, estimator):
        particles = Particles(**{name: column.copy() for name, column in self.particles.arrays().items()})
        model = replace(self.model, disk=estimator.disk)            # the same one, but models tell disks apart
        statistics = estimator.expect(model, particles, np.arange(self.count))
        return statistics, estimator.maximise(model, statistics).images(), particles

    def _apart(self, a, b):
        turn = np.abs(a.psi - b.psi)
        shift = np.maximum(np.abs(a.shift_x - b.shift_x), np.abs(a.shift_y - b.shift_y))
        return (a.ref != b.ref) | (a.flip != b.flip) | (np.minimum(turn, 360 - turn) > DEGREES) | (shift > PIXELS)


class Subtomograms3d(Compared):
    """Of ml_tomo."""

    nats_allowed, share_allowed = 0.01, 0.01

    def __init__(self, case, *where):
        self.count = case.count
        self.volumes, self.regions, self.region_of, references = tomo_speed.simulated(case)
        self.ball = Ball(case.box, tomo_speed.MAXRES, reach=tomo_speed.SHIFT)
        self.coverage = Coverage(self.ball)
        self.model = tomo_speed.first_model(case, self.ball, references)
        super().__init__(*where)

    def _estimator(self, workers):
        bank = Subtomograms(self.volumes, self.ball, self.coverage, self.regions, self.region_of, 8e9, workers)
        return volume_estimator(bank, self.ball, self.coverage, workers)

    def _settle(self, on_gpu, on_cpu):
        for estimator in (on_gpu, on_cpu):
            self._iteration(estimator)

    def _iteration(self, estimator):
        poses = Poses.unknown(self.count)
        totals = estimator.expect(self.model, poses, tomo_speed.PLAN, np.arange(self.count) % 2)
        return totals, maximise(self.model, totals, self.coverage, Rules(threshold=0.0)).vectors, poses

    def _apart(self, a, b):
        turned = np.abs(a.matrices - b.matrices).max((1, 2)) > 1e-3
        return (a.ref != b.ref) | turned | (a.shifts != b.shifts).any(1)


def cases(quick):
    """Yield (program, modes, classes, particles, what compares them, given a device and threads)."""
    for classes, count in ((2, 40),) if quick else SIZES:
        simulation = simulated(classes, count, None)
        for program in (ml2d, mlf2d):
            for name, modes in MODES.items():
                yield (program.__name__, name, classes, count, partial(Images2d, program, simulation, modes))
    for case in (Case(4, 16),) if quick else VOLUMES:
        yield "tomo", "", case.references, case.count, partial(Subtomograms3d, case)


def main():
    options = parser(__doc__)
    options.add_argument("--gpu", type=int, default=0, metavar="N", help="number of the GPU (default: %(default)s)")
    options.add_argument("--thr", type=int, default=os.cpu_count(), help="threads on the CPU (default: %(default)s)")
    options.add_argument("--numpy", action="store_true", help="NumPy plays the GPU, to try this script")
    options = options.parse_args()
    side, copied = (256, 2**16) if options.quick else (MATRIX, COPIED)

    device = gpu(options)
    print_machine()
    rate, bandwidth = rates(device, side, copied)
    print(f"{device.name}: {rate / 1e12:.3g} Tflop/s in a {side} x {side} float32 product, {bandwidth / 1e9:.0f} GB/s "
          f"in copies of {4 * copied / 2**20:.3g} MiB\n")
    table = Table("program", "modes        ", "classes", "particles", "CPU s  ", "GPU s  ", "times", "Gflop",
                  "of matrix rate", "of bandwidth", "nats   ", "averages", "other poses", "passes")
    passed = True
    for *words, compared in cases(options.quick):
        one = compared(device, options.thr)
        table.row(*words, f"{one.cpu:.3f}", f"{one.gpu:.3f}", f"{one.cpu / one.gpu:.1f}", f"{one.flops / 1e9:.1f}",
                  f"{one.flops / one.gpu / rate:.0%}", f"{one.bytes / one.gpu / bandwidth:.0%}", f"{one.nats:.1e}",
                  f"{one.averages:.1e}", f"{one.share:.2%}", "yes" if one.passes else "NO")
        passed = passed and one.passes
    print("\nThe GPU gives the CPU's results." if passed else "\nThe GPU's results differ from the CPU's.")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
