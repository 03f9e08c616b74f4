"""ml_align2d and mlf_align2d beside RELION's 2D classification of the same simulated particles.

    python benchmarks/beside_relion.py [--sets views ctf] [--samplings NAME ...] [--twice] [--iterations 25] [MAP ...]

views: 2000 images of 64 px, 10 views of five assemblies, half of them mirrored, signal-to-noise ratio 0.06, without
CTF: ml_align2d.  ctf: the same behind CTFs (0.9 to 2.8 µm, astigmatism up to 900 Å), in coloured noise, signal-to-noise
ratio 0.08: mlf_align2d and relion_refine --ctf.  All have as many classes as there are views, one random start and one
thread.  relion_refine must be on the PATH (Debian's package is called relion).

Ours run with --mirror --fast for 25 iterations or until converged, and once without --mirror.  They search 5 degrees
and 1 px everywhere (--fast: as if).  RELION searches coarsely, then halves angle and shift where something is
significant; its samplings here, by what that comes to:

    "5° and 1 px"              ours: --psi_step 10 --offset_range 5 --offset_step 2 --oversampling 1
    "5° and 1 px within 9 px"  the same for all shifts that ours searches: --offset_range 9
    defaults                   of RELION's window: 6° and 1 px
    "2.5° and 0.5 px"          what it searches at 5° and 1 px everywhere

RELION knows no mirrors, and with one class per view it has to put mirrored views together or miss views.  So its
classes are also scored against the truth in which a view and its mirror image differ, and with --twice it also runs
with two classes per view.  ARI is the adjusted Rand index (1: the same).

With fewer --iterations RELION's ARI means little, but its seconds per iteration can be had in minutes.
"""
import os

from common import (
    Table,
    assembly_maps,
    classify,
    parser,
    print_machine,
    scored,
    simulate_assemblies,
    simulate_with_ctf,
    working_folder,
)
from relion import SAMPLINGS, agreement, check_installed, class2d

SETS = {"views": ("ml_align2d", 0.06, (), ()), "ctf": ("mlf_align2d", 0.08, ("--not_phase_flipped",), ("--ctf",))}


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), help="(default: both)")
    options.add_argument("--samplings", nargs="+", choices=SAMPLINGS, default=["5° and 1 px"],
                         help="of RELION (default: %(default)s)")
    options.add_argument("--twice", action="store_true", help="RELION with two classes per view, too")
    options.add_argument("--iterations", type=int, default=25, help="of RELION (default: %(default)s)")
    options.add_argument("--seeds", type=int, default=1, help="random starts of ours (default: %(default)s)")
    options = options.parse_args()
    check_installed()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    count = 200 if options.quick else 2000
    if options.quick:
        options.iterations = 2
    print_machine()
    table = Table("program    ", "set  ", "search            ", "classes", "seed", "iterations", "ARI, views",
                  "ARI, views mirrored", "CPU s ", "wall s", "CPU s per iteration")
    with working_folder(options) as folder:
        for name in options.sets:
            compare(table, folder / name, name, count, options)


def compare(table, folder, name, count, options):
    """The rows of one set."""
    program, snr, ours, theirs = SETS[name]
    maps, views = assembly_maps(options.maps), 2 * len(assembly_maps(options.maps))
    star = (simulate_assemblies(folder, maps, count, snr) if name == "views"
            else simulate_with_ctf(folder, maps, count, snr, False))
    for mirror in (["--mirror"], []):
        for seed in range(1, options.seeds + 1):
            usage, found = classify(star, f"{folder}/{program}{len(mirror)}{seed}_", "--nref", views, *mirror, "--fast",
                                    "--iter", 3 if options.quick else 25, "--random_seed", seed, *ours, program=program)
            history = found.history()
            table.row(program, name, " ".join([*mirror, "--fast"]), views, seed, history.iterations[-1],
                      f"{scored(star, found)['ari']:.3f}", "-", f"{usage.cpu:.1f}", f"{usage.wall:.1f}",
                      f"{history.info['seconds'][1:].mean() * usage.cpu / usage.wall:.2f}")
    for sampling in options.samplings:
        for classes in (views, 2 * views) if options.twice else (views,):
            found = class2d(star, classes, options.iterations, 1, *theirs, sampling=sampling)
            table.row("RELION", name, sampling, classes, 1, options.iterations,
                      *(f"{ari:.3f}" for ari in agreement(star, found.ref)), f"{found.usage.cpu:.0f}",
                      f"{found.usage.wall:.0f}", f"{found.cpu:.1f}")


if __name__ == "__main__":
    main()
