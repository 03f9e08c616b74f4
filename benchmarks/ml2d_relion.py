"""ml_align2d beside RELION's 2D classification on the same simulated particles.

    python benchmarks/ml2d_relion.py [MAP ...]

The images are those of "ml2d_truth.py --assemblies": 2000 images of 10 views of five assemblies, half of them
mirrored.  Both programs use two threads and no CTF.  ml_align2d runs with --mirror --fast and three random starts;
relion_refine, which must be on the PATH (Debian's package is called relion), for 25 iterations with 10 degrees and
2 px oversampled once (so 5 degrees and 1 px).

RELION knows no mirrors, and with one class per view it has to put mirrored views together or miss views.  So it also
runs with two classes per view, and is scored there against the truth in which a view and its mirror image differ.
"""
from common import Table, assembly_maps, classify, parser, print_machine, scored, simulate_assemblies, working_folder
from relion import agreement, check_installed, class2d

SNR = 0.06


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options.add_argument("--thr", type=int, default=2, help="threads (default: %(default)s)")
    options = options.parse_args()
    check_installed()
    count, iterations = (200, 2) if options.quick else (2000, 25)
    maps = assembly_maps(options.maps)
    views = 2 * len(maps)

    print_machine()
    with working_folder(options) as folder:
        star = simulate_assemblies(folder, maps, count, SNR)
        print(f"{count} images of 64 px, {views} views of {len(maps)} assemblies, SNR {SNR}, {options.thr} threads\n")
        table = Table("program                   ", "classes", "compared with   ", "ARI   ", "wall s ", "CPU s  ")

        usage, found = classify(star, f"{folder}/ml2d_", "--nref", views, "--restarts", 3, "--mirror", "--fast",
                                "--random_seed", 1, "--thr", options.thr, *(["--iter", 3] if options.quick else []))
        table.row("ml_align2d", views, "views", f"{scored(star, found)['ari']:.3f}", f"{usage.wall:.1f}",
                  f"{usage.cpu:.1f}")
        for classes, name in ((views, "views"), (2 * views, "views, mirrored")):
            usage, ref = class2d(star, classes, iterations, options.thr)
            ari = agreement(star, ref)[name != "views"]
            table.row("RELION", classes, name, f"{ari:.3f}", f"{usage.wall:.1f}", f"{usage.cpu:.1f}")


if __name__ == "__main__":
    main()
