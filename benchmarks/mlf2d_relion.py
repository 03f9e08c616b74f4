"""mlf_align2d beside RELION's 2D classification on the same simulated particles behind CTFs.

    python benchmarks/mlf2d_relion.py [MAP ...]

The images are those of mlf2d_truth.py: 2000 images of 10 views of five assemblies, half of them mirrored, each with
its own CTF, in coloured noise; once as they are and once phase-flipped.  Both programs correct for the CTF, have one
class per view, take one thread and one random start.  mlf_align2d runs with --mirror --fast; relion_refine, which must
be on the PATH (Debian's package is called relion), for 15 iterations with 10 degrees and 2 px oversampled once (so
5 degrees and 1 px).

RELION knows no mirrors, so its classes are also compared with the truth in which a view and its mirror image differ.
"""
from common import (
    Table,
    assembly_maps,
    classify,
    parser,
    print_machine,
    scored,
    simulate_with_ctf,
    working_folder,
)
from mlf2d_truth import SETS, SNR
from relion import agreement, check_installed, class2d

ITERATIONS = 15


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options = options.parse_args()
    check_installed()
    count, iterations = (200, 2) if options.quick else (2000, ITERATIONS)
    maps = assembly_maps(options.maps)
    views = 2 * len(maps)

    print_machine()
    print(f"{count} images of 64 px, {views} views of {len(maps)} assemblies, SNR {SNR}, one thread\n")
    table = Table("program    ", "images       ", "ARI, views", "ARI, views mirrored", "wall s ", "CPU s  ")
    with working_folder(options) as folder:
        for name, flipped in SETS.items():
            star = simulate_with_ctf(folder / name.replace(" ", "_"), maps, count, SNR, flipped)
            usage, found = classify(
                star, f"{star.parent}/mlf2d_", "--nref", views, "--mirror", "--fast", "--random_seed", 1,
                *([] if flipped else ["--not_phase_flipped"]), *(["--iter", 3] if options.quick else []),
                program="mlf_align2d")
            table.row("mlf_align2d", name, f"{scored(star, found)['ari']:.3f}", "-", f"{usage.wall:.0f}",
                      f"{usage.cpu:.0f}")
            usage, ref = class2d(star, views, iterations, 1, "--ctf", *(["--ctf_phase_flipped"] if flipped else []))
            table.row("RELION", name, *(f"{ari:.3f}" for ari in agreement(star, ref)), f"{usage.wall:.0f}",
                      f"{usage.cpu:.0f}")


if __name__ == "__main__":
    main()
