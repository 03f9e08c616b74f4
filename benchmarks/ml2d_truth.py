"""How well ml_align2d finds what was planted.

    python benchmarks/ml2d_truth.py [--seeds 10]
    python benchmarks/ml2d_truth.py --assemblies [MAP ...] [--seeds 5]

Without --assemblies: for each seed, 1000 images of 64 px of 3 phantoms, signal-to-noise ratio 0.1, shifts of 2 px,
half of them mirrored, classified by "ml_align2d --mirror --fast --thr 2".

With --assemblies: one set of 2000 images of 10 views (two random projections of each of five density maps, by default
those in $MLALIGN_TEST_DATA/maps), 64 px of 5 Å, signal-to-noise ratio 0.06, shifts of 2 px, half of them mirrored;
for each seed of the program once with one random start and once with three, beside a run from the true views.

ARI is the adjusted Rand index of found and true classes (1: the same); errors are medians over the particles; the
final log-likelihoods compare where "to" (the highest frequency used, 1/px) is the same.
"""
import numpy as np
from common import (
    Table,
    assembly_maps,
    classify,
    parser,
    print_machine,
    scored,
    simulate,
    simulate_assemblies,
    working_folder,
)

GOOD_ARI, NEAR_ARI = 0.95, 0.03       # planted classes count as found; a start is as good as the truth
SNR, ASSEMBLIES_SNR = 0.1, 0.06
RESTARTS = (1, 3)


def planted(folder, options, program):
    """Three phantoms, new data for each seed."""
    count = 100 if options.quick else 1000
    print(f"{options.seeds} x {count} images of 64 px, 3 classes, SNR {SNR}\n")
    table = Table("seed", "ARI   ", "angle error °", "shift error px", "seconds")
    results = []
    for seed in range(1, options.seeds + 1):
        star = simulate(folder / f"seed{seed}", "--views", 3, "-n", count, "--box", 64, "--snr", SNR,
                        "--offset", 2, "--mirror", "--seed", seed)
        usage, run = classify(star, f"{star.parent}/ml2d_", "--nref", 3, "--random_seed", seed, *program)
        scores = scored(star, run)
        table.row(seed, f"{scores['ari']:.3f}", f"{scores['angle']:.2f}", f"{scores['shift']:.2f}",
                  f"{usage.wall:.1f}")
        results.append((scores["ari"], scores["angle"], scores["shift"], usage.wall))
    ari, angle, shift, seconds = np.array(results).T
    print(f"\nARI >= {GOOD_ARI} in {np.sum(ari >= GOOD_ARI)} of {len(ari)}; median errors "
          f"{np.median(angle):.2f}° and {np.median(shift):.2f} px, at most {angle.max():.2f}° and "
          f"{shift.max():.2f} px; {np.median(seconds):.1f} s")


def assemblies(folder, options, program):
    """Views of assemblies: random starts beside the start from the true views."""
    count = 200 if options.quick else 2000
    maps = assembly_maps(options.assemblies)
    views = 2 * len(maps)
    star = simulate_assemblies(folder, maps, count, ASSEMBLIES_SNR)
    print(f"{count} images of 64 px, {views} views of {len(maps)} assemblies, SNR {ASSEMBLIES_SNR}\n")
    table = Table("start           ", "seed", "ARI   ", "log-likelihood", "to   ", "seconds")

    def measure(start, seed, *words):
        usage, run = classify(star, f"{folder}/{start.replace(' ', '_')}_{seed}/ml2d_", "--random_seed", seed,
                              *words, *program)
        ari, info = scored(star, run)["ari"], run.info()
        table.row(start, seed, f"{ari:.3f}", f"{info['logLikelihood']:.1f}", f"{info['maxres']:.3f}",
                  f"{usage.wall:.1f}")
        return ari, usage.wall

    best, _ = measure("true views", 0, "--ref", star.with_name("references.mrcs"))
    lines = []
    for restarts in RESTARTS:
        found = [measure(f"--restarts {restarts}", seed, "--nref", views, "--restarts", restarts)
                 for seed in range(1, options.seeds + 1)]
        ari, seconds = np.array(found).T
        lines.append(f"--restarts {restarts}: within {NEAR_ARI} of the ARI from the true views in "
                     f"{np.sum(ari >= best - NEAR_ARI)} of {len(ari)}; median ARI {np.median(ari):.3f}, "
                     f"{np.median(seconds):.1f} s")
    print("", *lines, sep="\n")


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=None, help="number of seeds (default: 10, assemblies: 5)")
    options.add_argument("--assemblies", nargs="*", default=None, metavar="MAP", help="views of assemblies instead")
    options.add_argument("--thr", type=int, default=2, help="threads (default: %(default)s)")
    options = options.parse_args()
    measure, seeds = (planted, 10) if options.assemblies is None else (assemblies, 5)
    options.seeds = options.seeds or (1 if options.quick else seeds)
    program = ["--mirror", "--fast", "--thr", options.thr, *(["--iter", 3] if options.quick else [])]
    print_machine()
    with working_folder(options) as folder:
        measure(folder, options, program)


if __name__ == "__main__":
    main()
