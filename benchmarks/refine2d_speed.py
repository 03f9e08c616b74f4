"""What refine2d costs, against the number of particles and of classes.

    python benchmarks/refine2d_speed.py [maps] [--large]

Particles of ten views of five assemblies (64 px of 5 Å) at a signal-to-noise ratio of 0.2.  First the command line in
the documentation of the original, with its options but three cycles and six classes, for 2000 particles; then more
particles, and more classes.  The cost of a cycle is what cycles after the first add.

With --large also 50,000 particles in 200 classes, eight cycles with the program's defaults, two threads: wall time and
peak memory.

One thread otherwise; CPU seconds of the whole process.  Compiled code is cached by a first run, which is not counted.
"""
import os
import sys

from common import Table, assembly_maps, parser, print_machine, run, simulate_assemblies, working_folder

TYPICAL = """--naliref=7 --nbasisfp=5 --simcmp=ccc --simalign=rotate_translate_flip --simaligncmp=ccc --simralign=refine
--simraligncmp=ccc --classcmp=ccc --classalign=rotate_translate_flip --classaligncmp=ccc --classralign=refine
--classraligncmp=ccc --classiter=2 --classkeep=1.5 --classnormproc=normalize.edgemean --classaverager=mean --normproj
--classkeepsig --random_seed=1""".split()


def classify(star, folder, classes, cycles, *options):
    """Run refine2d: its :class:`common.Usage`."""
    return run(sys.executable, "-m", "mlalign.programs.refine2d", "--input", star, "--path", folder, "--ncls", classes,
               "--iter", cycles, *options)


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", help="density maps (default: those of the test data)")
    options.add_argument("--large", action="store_true", help="also 50,000 particles")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    print_machine()
    maps, unit = assembly_maps(options.maps), 200 if options.quick else 2000
    with working_folder(options) as folder:
        stars = {count: simulate_assemblies(folder / str(count), maps, count, 0.2)
                 for count in (unit, 2 * unit, 4 * unit)}
        classify(stars[unit], folder / "first", 6, 1, *TYPICAL)
        table = Table("particles", "classes", "CPU s, 3 cycles", "CPU s per cycle", "peak GiB")
        for count, classes in ((unit, 6), (2 * unit, 6), (4 * unit, 6), (unit, 20), (unit, 48), (unit, 100)):
            once = classify(stars[count], folder / f"{count}_{classes}_1", classes, 1, *TYPICAL)
            thrice = classify(stars[count], folder / f"{count}_{classes}_3", classes, 3, *TYPICAL)
            table.row(count, classes, f"{thrice.cpu:.1f}", f"{(thrice.cpu - once.cpu) / 2:.1f}", f"{thrice.peak:.2f}")
        if options.large:
            count, classes = (1000, 20) if options.quick else (50000, 200)
            star = simulate_assemblies(folder / "large", maps, count, 0.1)
            used = classify(star, folder / "large" / "out", classes, 8, "--parallel", "thread:2", "--random_seed", 1)
            print(f"\n{count} particles, {classes} classes: {used.wall / 60:.1f} min, {used.cpu / 60:.1f} min of CPU, "
                  f"peak {used.peak:.2f} GiB")


if __name__ == "__main__":
    main()
