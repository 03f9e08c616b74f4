"""A million particles in a hundred classes: peak memory, seconds and ARI of every pass, and an interruption.

    python benchmarks/million.py [-n 1000000] [--nref 100] [--blocks 50] [--kill MINUTES] [--work FOLDER] [MAP ...]

Views of five assemblies (density maps in $MLALIGN_TEST_DATA/maps, or those given), as many as there are classes, at a
signal-to-noise ratio of 0.1, 64 px of 5 Å, shifts of 2 px, mirrors: a stack of 16 KiB per particle is written image by
image, 16.4 GB for a million; one that --work has already is used again.  Then
"ml_align2d --nref 100 --mirror --fast --iem 50 --memory 4".  With --kill the program is killed after so many minutes
and continued.  The peak is the largest resident memory of the program's process.
"""
import shutil
import subprocess
import sys
import time

from common import (
    ASSEMBLIES_BOX,
    Table,
    assembly_maps,
    classify,
    columns,
    parser,
    print_machine,
    simulate_assemblies,
    working_folder,
)

from mlalign.programs.scoring import adjusted_rand_index

SNR = 0.1
IMAGE_BYTES = 4 * ASSEMBLIES_BOX**2


def stack(folder, maps, count, views):
    """The particles' metadata, simulated unless they are there from an earlier time."""
    star = folder / "particles" / "particles.star"
    if not star.exists():
        free = shutil.disk_usage(folder).free
        if free < 1.2 * count * IMAGE_BYTES:
            sys.exit(f"{folder}: {free / 1e9:.1f} GB free, expected {1.2 * count * IMAGE_BYTES / 1e9:.1f} GB")
        begun = time.perf_counter()
        simulate_assemblies(star.parent, maps, count, SNR, "--views_per_map", -(-views // len(maps)))
        print(f"{count} particles simulated in {time.perf_counter() - begun:.0f} s\n", flush=True)
    return star


def interrupted(star, oroot, options, minutes):
    """Begin a run and kill it after some minutes; False when it ended before."""
    words = [sys.executable, "-m", "mlalign.programs.ml_align2d", "-i", star, "--oroot", oroot, *options]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL)
    try:
        process.wait(60 * minutes)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps")
    options.add_argument("-n", dest="count", type=int, default=1_000_000, help="particles (default: %(default)s)")
    options.add_argument("--nref", type=int, default=100, help="classes and views (default: %(default)s)")
    options.add_argument("--blocks", type=int, default=50, help="of a pass, --iem (default: %(default)s)")
    options.add_argument("--iter", type=int, default=6, help="most passes (default: %(default)s)")
    options.add_argument("--memory", type=float, default=4, help="GiB (default: %(default)s)")
    options.add_argument("--thr", type=int, default=2, help="threads (default: %(default)s)")
    options.add_argument("--kill", type=float, metavar="MINUTES", help="kill the program and continue it")
    options = options.parse_args()
    if options.quick:
        options.count, options.nref, options.blocks, options.iter = 10_000, 5, 10, 1
    maps = assembly_maps(options.maps)

    print_machine()
    with working_folder(options) as folder:
        star = stack(folder, maps, options.count, options.nref)
        oroot = f"{folder}/ml2d_"
        command = ["--nref", options.nref, "--mirror", "--fast", "--iem", options.blocks, "--iter", options.iter,
                   "--random_seed", 1, "--memory", options.memory, "--thr", options.thr]
        if options.kill and interrupted(star, oroot, command, options.kill):
            print(f"killed after {options.kill:g} minutes and continued\n", flush=True)
            command.append("--continue")
        usage, run = classify(star, oroot, *command)
        print(f"{options.count} particles, {options.nref} classes, --iem {options.blocks}, "
              f"--memory {options.memory:g}, {options.thr} threads\n")
        table, truth = Table("pass", "to 1/px", "seconds", "changed class", "ARI"), columns(star.with_name("truth.xmd"))
        for iteration in run.iterations():
            info = run.info(iteration)
            ari = adjusted_rand_index(truth, columns(f"{run.prefix(iteration)}images.xmd"))
            table.row(iteration, f"{info['maxres']:.3f}", f"{info['seconds']:.0f}", f"{100 * info['changed']:.1f} %",
                      f"{ari:.3f}")
        print(f"\npeak memory {usage.peak:.2f} GiB; {usage.wall:.0f} s, {usage.cpu:.0f} s of CPU"
              + (" since it was continued" if "--continue" in command else ""))


if __name__ == "__main__":
    main()
