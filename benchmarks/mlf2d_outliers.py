"""Student-t noise beside Gaussian noise in mlf_align2d, when every tenth image is an outlier.

    python benchmarks/mlf2d_outliers.py [--seeds 3]

For each seed 1000 phase-flipped images of 4 phantoms, 64 px of 5 Å, each with its own CTF, in coloured noise, at a
signal-to-noise ratio of 0.1, half of them mirrored; 100 of them show no particle, only noise of ten times the variance,
or of ten times the standard deviation.  mlf_align2d runs with --mirror --fast --max_shift 8 and 4 classes, from one
random start, with and without --student; a set without outliers shows what there is to lose.

ARI compares found and true classes of the images that show particles.  A view is lost when fewer than half of its
particles are in the class matched to it.  "noise" is the mean ratio of the estimated spectra to the true one;
"weight" the robust weight of outliers, as a mean, over that of particles; "outliers together" the largest share of
the outliers that one class has.
"""
import numpy as np
from common import MICROSCOPE, Table, classify, columns, parser, print_machine, scored, simulate, working_folder

from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import match_classes

VIEWS, COUNT, SNR = 4, 1000, 0.1
MAX_SHIFT = 8                 # px, four deviations; what Gaussian noise makes of the worst set would search far further
STRENGTHS = {"none": None, "variance x 10": 10**0.5, "deviation x 10": 10.0}
NOISES = {"Gaussian": (), "Student-t": ("--student",)}


def lost(truth, result):
    """Number of true views that no class has half of."""
    pairs = {true: found for found, true in match_classes(truth, result).items()}
    views = np.unique(truth["ref"][truth["ref"] > 0])
    return sum(np.mean(result["ref"][truth["ref"] == view] == pairs.get(view, 0)) < 0.5 for view in views)


def noise_ratio(star, run):
    """Mean over groups and shells of the estimated noise over that of the particles."""
    truth = read_star(star.with_name("noise.xmd"))["ctf000001"]
    frequency, noise = truth.numbers("resolutionFreqFourier"), truth.numbers("mlfNoise")
    return np.mean([group.noise / np.interp(group.frequency, frequency, noise) for group in run.spectra()])


def fate(truth, run):
    """The outliers' (mean robust weight over that of particles, largest share in one class), in words."""
    table = read_star(f"{run.oroot}images.xmd", ["particles"])["particles"]
    outlier = truth["ref"] == 0
    if not outlier.any():
        return "-", "-"
    together = np.bincount(table["ref"][outlier]).max() / outlier.sum()
    if "wRobust" not in table:
        return "1", f"{together:.0%}"
    weight = table.numbers("wRobust")
    return f"{weight[outlier].mean() / weight[~outlier].mean():.3f}", f"{together:.0%}"


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=None, help="number of data sets (default: 3)")
    options = options.parse_args()
    seeds, count = options.seeds or (1 if options.quick else 3), 200 if options.quick else COUNT

    print_machine()
    table = Table("outliers      ", "seed", "noise model", "ARI   ", "views lost", "noise  ", "weight",
                  "outliers together", "CPU s")
    with working_folder(options) as folder:
        for name, strength in STRENGTHS.items():
            outliers = ["--outliers", 0.1, "--outlier_noise", strength] if strength else []
            for seed in range(1, seeds + 1):
                star = simulate(folder / f"{name.replace(' ', '_')}_{seed}", "--views", VIEWS, "-n", count, "--box", 64,
                                "--pixel_size", 5, "--snr", SNR, "--offset", 2, "--mirror", "--seed", seed, *MICROSCOPE,
                                "--phase_flip", *outliers)
                truth = columns(star.with_name("truth.xmd"))
                for model, words in NOISES.items():
                    usage, run = classify(
                        star, f"{star.parent}/{model}/", "--nref", VIEWS, "--random_seed", seed, *words, "--mirror",
                        "--fast", "--max_shift", MAX_SHIFT, *(["--iter", 3] if options.quick else []),
                        program="mlf_align2d")
                    result = columns(f"{run.oroot}images.xmd")
                    table.row(name, seed, model, f"{scored(star, run)['ari']:.3f}", lost(truth, result),
                              f"{noise_ratio(star, run):.2f}", *fate(truth, run), f"{usage.cpu:.0f}")


if __name__ == "__main__":
    main()
