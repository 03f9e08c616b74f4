"""What the processes of an MPI run tell each other in an iteration: how much it is, and how long it takes.

    python benchmarks/communication.py
    mpirun -n 4 python benchmarks/communication.py --measure

The first prints what follows from the sizes of boxes, for --classes classes, --images images and --processes processes
joined by a network of --bandwidth GB/s: the sums that are added up, the references that are sent, what is told of the
images, and the seconds this takes.  The second adds up arrays of these sizes among the processes that are there.
docs/parallel.md explains the model.
"""
import numpy as np
from common import parser

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.coverage import Coverage
from mlalign.programs.engine.disk import Disk
from mlalign.programs.engine.parallel import Ranks

IMAGE, VOLUME = 11 * 8, 16 * 8          # bytes told of each: eleven numbers of an image, sixteen of a volume
IMAGES = (32, 0.5), (64, 0.25), (64, 0.5), (128, 0.25), (128, 0.5), (256, 0.25)        # box in px, 1/px
VOLUMES = (32, 0.5), (64, 0.35), (64, 0.5)
SIZES = 1, 10, 40                       # MB, of sums that are timed
ROUNDS = 20


def sums(box, maxres):
    """Bytes (of sums, of a reference) for a class of images: complex128 sums of two halves, a complex64 reference."""
    samples = Disk(box, maxres, 72).kx.size
    return 2 * 16 * samples, 8 * samples


def volume_sums(box, maxres):
    """The same for a class of volumes: float64 sums and coverages of two halves, a float32 reference."""
    ball = Ball(box, maxres, None, 4)
    return 2 * 8 * (ball.size + Coverage(ball).size), 4 * ball.size


def seconds(options, summed, references, told):
    """Of an iteration's exchanges, by the model: what each process sends or gets, over the bandwidth."""
    share = (options.processes - 1) / options.processes
    return share * (2 * summed + references + told) / options.bandwidth / 1e9


def table(options):
    print(f"{options.processes} processes, {options.classes} classes, {options.images:,} images or "
          f"{options.volumes:,} volumes, {options.bandwidth:g} GB/s\n")
    print("| | box | to, 1/px | sums, MB | references, MB | of images, MB | sent by each, MB | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for kind, sizes, per_class, told in (("images", IMAGES, sums, IMAGE * options.images),
                                         ("volumes", VOLUMES, volume_sums, VOLUME * options.volumes)):
        for box, maxres in sizes:
            summed, references = (options.classes * size for size in per_class(box, maxres))
            share = (options.processes - 1) / options.processes
            print(f"| {kind} | {box} | {maxres:g} | {summed / 1e6:.3g} | {references / 1e6:.3g} | {told / 1e6:.3g} | "
                  f"{share * (2 * summed + told) / 1e6:.3g} | {seconds(options, summed, references, told):.2g} |")


def measure():
    ranks = Ranks("--measure", 2)
    for size in SIZES:
        array = np.random.default_rng(ranks.rank).standard_normal(size * 10**6 // 8)
        taken = []
        for _ in range(ROUNDS):
            ranks.sent, ranks.exchanged = 0, 0.0
            ranks.sum(array)
            taken.append(ranks.exchanged)
        if ranks.first:
            print(f"{ranks.size} processes, a sum of {size} MB: {1e3 * min(taken):.3g} ms (the fastest of {ROUNDS}), "
                  f"the first sent {ranks.sent / 1e6:.3g} MB")


def main():
    options = parser(__doc__)
    options.add_argument("--processes", type=int, default=64)
    options.add_argument("--classes", type=int, default=100)
    options.add_argument("--images", type=int, default=10_000_000)
    options.add_argument("--volumes", type=int, default=100_000)
    options.add_argument("--bandwidth", type=float, default=10.0, metavar="GB/s", help="of each process, either way")
    options.add_argument("--measure", action="store_true", help="add up arrays among the processes that mpirun started")
    options = options.parse_args()
    if options.measure:
        measure()
    else:
        table(options)


if __name__ == "__main__":
    main()
