"""Iterations of ml_align2d and mlf_align2d on a GPU beside those on the CPU: the same results, and in which time?

    python benchmarks/gpu.py [--gpu N]

Simulated images of 64 px up to Nyquist, with mirrors, 5 degrees, 197 shifts, behind CTFs in white noise.  EM starts
from the true references, settles on the GPU, and then takes one and the same iteration on the GPU and on the CPU (all
cores unless --thr says otherwise; exact search on both).  Seconds are those of E-step and M-step together; of the GPU
the fastest of a few iterations, so images are on it already when they fit.

The GPU's results pass when, against the CPU's,
    the log-likelihood differs by at most 0.001 nats an image,
    the new class averages differ by at most 0.0001 of their norm,
    at most one image in 1000 has another class, mirror state, an angle 0.1 degrees or a shift 0.02 px away.
When anything does not, the exit status is 1; without a usable GPU it is 2.

Shares: the matrix products' operations, and the bytes of their operands and results (each counted once), per second,
over what the GPU reaches in a large float32 product and in copying a large array.

--numpy lets NumPy play the GPU, to try this script without one; its times mean nothing.
"""
import os
import sys
import time
from dataclasses import replace

import numpy as np
from climb import Images
from common import Table, parser, print_machine
from mlf2d_speed import MAX_SHIFT, ml2d, mlf2d, simulated

from mlalign.programs.engine.backend import Device, Workers, open_device
from mlalign.programs.engine.em import Particles
from mlalign.programs.engine.estimator import Settings
from mlalign.programs.errors import UserError

NATS, AVERAGES, SHARE = 1e-3, 1e-4, 1e-3        # tolerances, see above
DEGREES, PIXELS = 0.1, 0.02
SETTLE, REPEATS = 6, 3
MATRIX, COPIED = 8192, 2**28                    # side of the large product; elements copied
FREE = 2**30                                    # bytes, where NumPy plays the GPU
SIZES = (3, 5000), (10, 20000), (50, 5000)      # classes, images
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
    """One iteration from one model on a GPU and on the CPU; seconds, counts, and the differences of the results."""

    def __init__(self, program, images, ctf, references, modes, device, threads):
        counted = Counted(device.xp)
        workers = Workers(threads, Device(counted, device.free)), Workers(threads)
        settings = Settings(mirror=True, psi_step=5.0, max_shift=MAX_SHIFT, **modes)
        make, first = program(images, ctf, settings)
        on_gpu, on_cpu = map(make, workers)
        for estimator in (on_gpu, on_cpu):
            estimator.enter(0.5)
        self.particles = Particles.unknown(images.count)
        self.model = first(on_gpu, on_gpu.disk.polar(references.astype(np.float32)))
        for _ in range(SETTLE):
            self.model = self._iteration(on_gpu, self.particles)[1]
        found = [self._iteration(on_gpu, self._copied()) for _ in range(REPEATS)]
        counted.flops = counted.bytes = 0
        found.append(self._iteration(on_gpu, self._copied()))
        self.flops, self.bytes = counted.flops, counted.bytes
        self.gpu = min(one[2] for one in found)
        # the same harmonics, not the same disk object: models tell disks apart
        self.model = replace(self.model, disk=on_cpu.disk)
        expected = self._iteration(on_cpu, self._copied())
        self.cpu = expected[2]
        self._compare(found[-1], expected, images.count)
        for one in workers:
            one.close()

    def _copied(self):
        return Particles(**{name: column.copy() for name, column in self.particles.arrays().items()})

    def _iteration(self, estimator, particles):
        """(Statistics, model, seconds, particles)."""
        start = time.perf_counter()
        statistics = estimator.expect(self.model, particles, np.arange(estimator.source.count))
        model = estimator.maximise(self.model, statistics)
        return statistics, model, time.perf_counter() - start, particles

    def _compare(self, found, expected, count):
        self.nats = abs(found[0].log_likelihood - expected[0].log_likelihood) / count
        one, other = found[1].images(), expected[1].images()
        self.averages = float(np.linalg.norm(one - other) / np.linalg.norm(other))
        a, b = found[3], expected[3]
        turn = np.abs(a.psi - b.psi)
        shift = np.maximum(np.abs(a.shift_x - b.shift_x), np.abs(a.shift_y - b.shift_y))
        other_pose = (a.ref != b.ref) | (a.flip != b.flip) | (np.minimum(turn, 360 - turn) > DEGREES) | (shift > PIXELS)
        self.share = float(other_pose.mean())

    @property
    def passes(self):
        return bool(self.nats <= NATS and self.averages <= AVERAGES and self.share <= SHARE)


def main():
    options = parser(__doc__)
    options.add_argument("--gpu", type=int, default=0, metavar="N", help="number of the GPU (default: %(default)s)")
    options.add_argument("--thr", type=int, default=os.cpu_count(), help="threads on the CPU (default: %(default)s)")
    options.add_argument("--numpy", action="store_true", help="NumPy plays the GPU, to try this script")
    options = options.parse_args()
    sizes, side, copied = SIZES, MATRIX, COPIED
    if options.quick:
        sizes, side, copied = ((2, 40),), 256, 2**16

    device = gpu(options)
    print_machine()
    rate, bandwidth = rates(device, side, copied)
    print(f"{device.name}: {rate / 1e12:.3g} Tflop/s in a {side} x {side} float32 product, {bandwidth / 1e9:.0f} GB/s "
          f"in copies of {4 * copied / 2**20:.3g} MiB\n")
    table = Table("program", "modes        ", "classes", "images", "CPU s  ", "GPU s  ", "times", "Gflop",
                  "of matrix rate", "of bandwidth", "nats   ", "averages", "other poses", "passes")
    passed = True
    for classes, count in sizes:
        images, ctf, references = simulated(classes, count, None)
        for program in (ml2d, mlf2d):
            for name, modes in MODES.items():
                one = Compared(program, Images(images.pixels), ctf, references, modes, device, options.thr)
                table.row(program.__name__, name, classes, count, f"{one.cpu:.3f}", f"{one.gpu:.3f}",
                          f"{one.cpu / one.gpu:.1f}", f"{one.flops / 1e9:.1f}", f"{one.flops / one.gpu / rate:.0%}",
                          f"{one.bytes / one.gpu / bandwidth:.0%}", f"{one.nats:.1e}", f"{one.averages:.1e}",
                          f"{one.share:.2%}", "yes" if one.passes else "NO")
                passed = passed and one.passes
    print("\nThe GPU gives the CPU's results." if passed else "\nThe GPU's results differ from the CPU's.")
    sys.exit(not passed)


if __name__ == "__main__":
    main()
