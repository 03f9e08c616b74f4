"""ml_align2d beside RELION's 2D classification on the same simulated particles.

    python benchmarks/ml2d_relion.py [MAP ...]

The images are those of "ml2d_truth.py --assemblies": 2000 images of 10 views of five assemblies, half of them
mirrored.  Both programs use two threads and no CTF.  ml_align2d runs with --mirror --fast and three random starts;
relion_refine, which must be on the PATH (Debian's package is called relion), for 25 iterations with 10 degrees and
2 px oversampled once (so 5 degrees and 1 px).

RELION knows no mirrors, and with one class per view it has to put mirrored views together or miss views.  So it also
runs with two classes per view, and is scored there against the truth in which a view and its mirror image differ.
"""
import shutil
import sys

import numpy as np
from common import (
    Table,
    assembly_maps,
    classify,
    columns,
    parser,
    print_machine,
    run,
    scored,
    simulate_assemblies,
    working_folder,
)

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import adjusted_rand_index

SNR, PIXEL, BOX = 0.06, 8, 64
CLASS2D = ["--psi_step", 10, "--offset_range", 5, "--offset_step", 2, "--oversampling", 1, "--tau2_fudge", 2,
           "--flatten_solvent", "--zero_mask", "--norm", "--scale", "--pad", 2, "--dont_combine_weights_via_disc"]


def class2d(star, classes, options, iterations):
    """Run RELION's 2D classification on particles: its Usage and each particle's class, in the order of the input."""
    folder = star.parent / f"relion_{classes}"
    folder.mkdir(exist_ok=True)
    # image names in the metadata are relative to its folder, RELION's to the folder it runs in
    usage = run("relion_refine", "--i", star.name, "--o", f"{folder.name}/run", "--K", classes, "--iter", iterations,
                "--particle_diameter", 0.9 * BOX * PIXEL, "--j", options.thr, "--random_seed", 1, *CLASS2D,
                folder=star.parent)
    table = read_star(folder / f"run_it{iterations:03d}_data.star", ["particles"])["particles"]
    order = np.argsort([int(name.split("@")[0]) for name in table["rlnImageName"]])
    return usage, table["rlnClassNumber"][order]


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options.add_argument("--thr", type=int, default=2, help="threads (default: %(default)s)")
    options = options.parse_args()
    if not shutil.which("relion_refine"):
        sys.exit("relion_refine is not on the PATH; on Debian: apt-get install relion")
    count, iterations = (200, 2) if options.quick else (2000, 25)
    maps = assembly_maps(options.maps)
    views = 2 * len(maps)

    print_machine()
    with working_folder(options) as folder:
        star = simulate_assemblies(folder, maps, count, SNR)
        truth = columns(star.with_name("truth.xmd"))
        print(f"{count} images of {BOX} px, {views} views of {len(maps)} assemblies, SNR {SNR}, "
              f"{options.thr} threads\n")
        table = Table("program                   ", "classes", "compared with   ", "ARI   ", "wall s ", "CPU s  ")

        usage, found = classify(star, f"{folder}/ml2d_", "--nref", views, "--restarts", 3, "--mirror", "--fast",
                                "--random_seed", 1, "--thr", options.thr, *(["--iter", 3] if options.quick else []))
        table.row("ml_align2d", views, "views", f"{scored(star, found)['ari']:.3f}", f"{usage.wall:.1f}",
                  f"{usage.cpu:.1f}")
        handed = {"ref": 2 * truth["ref"] + truth["flip"]}
        for classes, partition, name in ((views, truth, "views"), (2 * views, handed, "views, mirrored")):
            usage, ref = class2d(star, classes, options, iterations)
            table.row("RELION", classes, name, f"{adjusted_rand_index(partition, {'ref': ref}):.3f}",
                      f"{usage.wall:.1f}", f"{usage.cpu:.1f}")


if __name__ == "__main__":
    main()
