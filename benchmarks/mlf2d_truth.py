"""How well mlf_align2d finds views, noise spectrum and averages behind CTFs, beside ml_align2d on the same images.

    python benchmarks/mlf2d_truth.py [--seeds 5] [--picture FILE] [MAP ...]

2000 images of 10 views (two random projections of each of five density maps, by default those in
$MLALIGN_TEST_DATA/maps), 64 px of 5 Å, half of them mirrored, shifts of 2 px, each with its own CTF (0.9 to 2.8 µm,
astigmatism up to 900 Å, 300 kV), in noise whose power falls ten times from the lowest frequencies to Nyquist, at a
signal-to-noise ratio of 0.08; once as they are and once phase-flipped.  Both programs run with --mirror --fast: from
the true views, and from one random start for each seed.  ml_align2d knows no CTF, so to be fair to it one should
look at the phase-flipped images.

ARI is the adjusted Rand index of found and true classes (1: the same); log-likelihoods compare within one program.

For the runs from the true views: the estimated noise spectra against the true one, and the Fourier ring correlation
of every class average with its true view, aligned, both per shell (of one Fourier pixel).  --seeds 0 does only that;
--picture draws it.
"""
import matplotlib
import numpy as np
from averages import aligned, frc
from common import (
    ASSEMBLIES_BOX,
    Table,
    assembly_maps,
    classify,
    columns,
    parser,
    print_machine,
    scored,
    simulate_with_ctf,
    working_folder,
)

from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.star import read_star
from mlalign.programs.scoring import match_classes

SNR = 0.08
SETS = {"as they are": False, "phase-flipped": True}
PROGRAMS = "mlf_align2d", "ml_align2d"
THIRD = 1 / 6                  # of Nyquist, in 1/px
NEEDED_FRC, NEEDED_NOISE = 0.9, 0.05


def classified(star, flipped, views, options):
    """Classify a set with both programs, printing the table; returns the runs from the true views by program."""
    table = Table("program    ", "start     ", "seed", "ARI   ", "log-likelihood", "to   ", "CPU s ")
    common = ["--mirror", "--fast", *(["--iter", 3] if options.quick else [])]
    found = {}
    for program in PROGRAMS:
        words = common if program == "ml_align2d" or flipped else [*common, "--not_phase_flipped"]
        starts = [("true views", 0, "--ref", star.with_name("references.mrcs"))]
        starts += [("random", seed, "--nref", views) for seed in range(1, options.seeds + 1)]
        for start, seed, *references in starts:
            usage, run = classify(star, f"{star.parent}/{program}_{seed}/", "--random_seed", seed, *references, *words,
                                  program=program)
            info = run.info()
            table.row(program, start, seed, f"{scored(star, run)['ari']:.3f}", f"{info['logLikelihood']:.1f}",
                      f"{info['maxres']:.3f}", f"{usage.cpu:.0f}")
            if seed == 0:
                found[program] = run
    return found


# ---- spectra

def print_noise(star, run):
    """The table of how far the estimated spectra are from the true one."""
    truth = read_star(star.with_name("noise.xmd"))["ctf000001"]
    groups = run.spectra()
    shells, images = groups[0].frequency, np.array([group.count for group in groups])
    true = np.interp(shells, truth.numbers("resolutionFreqFourier"), truth.numbers("mlfNoise"))
    deviations = np.stack([group.noise / true - 1 for group in groups])
    together = images @ deviations / images.sum()
    # real and imaginary parts that images of the circle have on a shell of one Fourier pixel
    independent = 2 * np.pi * shells * ASSEMBLIES_BOX * np.pi / 4
    expected = np.sqrt(2 / (images.mean() * independent))
    print(f"\nnoise spectra of {len(groups)} groups to {shells[-1]:.3f}/px, deviation from the truth\n")
    table = Table("1/px  ", "all groups together", "one group, mean", "largest", "sampling error of one group")
    for row in zip(shells, together, abs(deviations).mean(0), abs(deviations).max(0), expected):
        table.row(f"{row[0]:.3f}", f"{row[1]:+.1%}", *(f"{value:.1%}" for value in row[2:]))
    good, of_groups = (np.sum(abs(values) <= NEEDED_NOISE) for values in (together, deviations))
    print(f"\nwithin {NEEDED_NOISE:.0%}: all groups together on {good} of {len(shells)} shells, "
          f"single groups on {of_groups} of {deviations.size}")


# ---- averages

def correlations(star, run):
    """FRC (K, n // 2) of true views with the averages of the classes matched to them.

    NaN for views not found and for frequencies that the run has not used.
    """
    references, averages = (open_images(str(path)).read(slice(None)) for path in
                            (star.with_name("references.mrcs"), f"{run.oroot}classes.mrcs"))
    pairs = match_classes(columns(star.with_name("truth.xmd")), columns(f"{run.oroot}images.xmd"))
    curves = np.full((len(references), references.shape[-1] // 2), np.nan)
    for found, true in pairs.items():
        average = averages[found - 1]
        curves[true - 1] = frc(aligned(references[true - 1], average), average)
    curves[:, frequencies(curves) > run.info()["maxres"] + 1e-9] = np.nan
    return curves


def print_correlations(curves):
    """The table of FRCs: the mean and the worst of the views; what :func:`correlations` has not found counts as 0."""
    used = ~np.all([np.isnan(one).all(0) for one in curves.values()], 0)
    ours, others = (np.nan_to_num(curves[program])[:, used] for program in PROGRAMS)
    frequency = frequencies(curves[PROGRAMS[0]])[used]
    print("\nFourier ring correlation of averages and truth\n")
    table = Table("1/px  ", *(f"{program}, {what}" for program in PROGRAMS for what in ("mean", "worst")))
    for shell, value in enumerate(frequency):
        table.row(f"{value:.3f}", *(f"{number:.3f}" for one in (ours, others)
                                    for number in (one[:, shell].mean(), one[:, shell].min())))
    low, mean = frequency <= THIRD + 1e-9, ours.mean(0)
    print(f"\nto a third of Nyquist: mlf_align2d's mean above {NEEDED_FRC} on {np.sum(mean[low] > NEEDED_FRC)} "
          f"of {low.sum()} shells, lowest mean {mean[low].min():.3f}; "
          f"better than ml_align2d's on {np.sum(mean > others.mean(0))} of {len(mean)} shells")


def frequencies(curves):
    """Of the shells of FRCs (K, n // 2), in 1/px."""
    return np.arange(1, curves.shape[-1] + 1) / (2 * curves.shape[-1])


def draw(path, noise, curves, truth):
    """Noise spectra and mean FRCs of each set.  noise: set -> groups; curves: set -> program -> FRCs."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    figure, axes = plt.subplots(1, 1 + len(curves), figsize=(4 * (1 + len(curves)), 3.4), layout="constrained")
    axes[0].plot(*truth, "k", lw=3, alpha=0.3, label="true")
    groups = next(iter(noise.values()))
    for group in groups:
        axes[0].plot(group.frequency, group.noise, lw=1, label=f"{group.defocus[0] / 1e4:.1f} to "
                                                              f"{group.defocus[1] / 1e4:.1f} µm")
    axes[0].set(title="Noise variance", xlabel="1/px", yscale="log")
    axes[0].legend(fontsize="small", frameon=False)
    for panel, (name, of_program) in zip(axes[1:], curves.items()):
        for program, line in zip(PROGRAMS, ("C0", "C1")):
            values = np.nan_to_num(of_program[program])
            panel.plot(frequencies(values), values.mean(0), line, label=program)
            panel.fill_between(frequencies(values), values.min(0), values.max(0), color=line, alpha=0.15, lw=0)
        panel.axvline(THIRD, color="k", lw=0.5)
        panel.axhline(NEEDED_FRC, color="k", lw=0.5)
        panel.set(title=f"FRC of averages and truth,\nimages {name}", xlabel="1/px", ylim=(-0.1, 1.02))
        panel.legend(fontsize="small", frameon=False, loc="lower left")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main():
    options = parser(__doc__)
    options.add_argument("maps", nargs="*", metavar="MAP", help="density maps (default: of $MLALIGN_TEST_DATA)")
    options.add_argument("--seeds", type=int, default=None, help="number of random starts (default: 5)")
    options.add_argument("--picture", default="", metavar="FILE", help="draw spectra and correlations (.png)")
    options = options.parse_args()
    if options.seeds is None:
        options.seeds = 1 if options.quick else 5
    maps, count = assembly_maps(options.maps), 600 if options.quick else 2000

    print_machine()
    noise, curves = {}, {}
    with working_folder(options) as folder:
        for name, flipped in SETS.items():
            star = simulate_with_ctf(folder / name.replace(" ", "_"), maps, count, SNR, flipped)
            print(f"\n{count} images of 64 px, {2 * len(maps)} views of {len(maps)} assemblies, {name}\n")
            runs = classified(star, flipped, 2 * len(maps), options)
            print_noise(star, runs["mlf_align2d"])
            noise[name] = runs["mlf_align2d"].spectra()
            curves[name] = {program: correlations(star, run) for program, run in runs.items()}
            print_correlations(curves[name])
        if options.picture:
            true = read_star(star.with_name("noise.xmd"))["ctf000001"]
            draw(options.picture, noise, curves, [true.numbers(label) for label in ("resolutionFreqFourier",
                                                                                   "mlfNoise")])


if __name__ == "__main__":
    main()
