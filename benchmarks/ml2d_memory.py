"""Peak memory and seconds per iteration of ml_align2d on many images in many classes.

    python benchmarks/ml2d_memory.py [--refs STACK]

20,000 images of 64 px, simulated from 50 class averages (by default those in $MLALIGN_TEST_DATA/averages, or 20
built-in phantoms without it) at a signal-to-noise ratio of 0.1, in 50 classes: five iterations of
"ml_align2d --mirror --fast --thr 2 --memory 4".  The peak is the largest resident memory of the program's process.
References of another size are brought to the box by cropping or padding their Fourier transforms.
"""
import numpy as np
from common import Table, classify, data_file, parser, print_machine, simulate, working_folder
from scipy import signal

from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack

BOX, SNR = 64, 0.1


def resampled(stack, folder):
    """The path of ``stack``'s images in boxes of ``BOX`` px."""
    source = open_images(str(stack))
    images = source.read(np.arange(source.count))
    pixel_size = source.pixel_size * source.size / BOX if source.pixel_size else None
    path = folder / "views.mrcs"
    write_stack(path, signal.resample(signal.resample(images, BOX, axis=1), BOX, axis=2), pixel_size)
    return path


def main():
    options = parser(__doc__)
    options.add_argument("-n", dest="count", type=int, default=20_000, help="images (default: %(default)s)")
    options.add_argument("--nref", type=int, default=50, help="classes (default: %(default)s)")
    options.add_argument("--refs", default=data_file("averages/averages.mrcs"), metavar="STACK",
                         help="stack of references to simulate from")
    options.add_argument("--iter", type=int, default=5, help="iterations (default: %(default)s)")
    options.add_argument("--memory", type=float, default=4, help="GiB (default: %(default)s)")
    options.add_argument("--thr", type=int, default=2, help="threads (default: %(default)s)")
    options = options.parse_args()
    if options.quick:
        options.count, options.nref, options.iter = 300, 5, 1

    print_machine()
    with working_folder(options) as folder:
        views = ["--refs", resampled(options.refs, folder)] if options.refs else ["--views", 20, "--box", BOX]
        star = simulate(folder, *views, "-n", options.count, "--snr", SNR, "--offset", 2, "--mirror")
        usage, run = classify(star, f"{folder}/ml2d_", "--nref", options.nref, "--mirror", "--fast", "--random_seed", 1,
                              "--iter", options.iter, "--memory", options.memory, "--thr", options.thr)
        history = run.history()
    print(f"{options.count} images of {BOX} px, {options.nref} classes, --memory {options.memory:g}\n")
    table = Table("iteration", "to 1/px", "seconds")
    for number, maxres, seconds in zip(history.iterations, history.info["maxres"], history.info["seconds"]):
        table.row("0 (start)" if number == 0 else number, f"{maxres:.3f}", f"{seconds:.1f}")
    print(f"\npeak memory {usage.peak:.2f} GiB; {usage.wall:.0f} s in all, "
          f"{np.mean(history.info['seconds'][1:]):.1f} s per iteration")


if __name__ == "__main__":
    main()
