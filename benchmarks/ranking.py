"""Whether the scores of classes tell particles from junk.

    python benchmarks/ranking.py

Simulated particles (phantoms of 40 px, SNR 0.1) of which some are replaced by junk: images of noise,
edges of carbon, smooth texture such as ice, and small bright contaminants; ml_align2d classifies them, and the classes
are ranked.  Then apoferritin ($MLALIGN_TEST_DATA), of whose images a tenth shows no particle, with ml_align2d and
mlf_align2d.

Every image has its class's score.  AUC: how often a particle's is higher than that of junk.  Kept: the share of the
particles, and of the junk, that the standard threshold keeps.
"""
import csv

import numpy as np
from common import Table, classify, data_file, parser, print_machine, simulate, working_folder
from scipy import ndimage

from mlalign.programs.formats.images import open_stack
from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.members import particles_of
from mlalign.programs.ranking import THRESHOLD, rank

BOX, PIXEL = 40, 3
COARSE = ("--mirror", "--fast", "--psi_step", 8, "--random_seed", 1)
# name: (junk, its share, classes)
SCENES = {"noise": (("noise",), 0.2, 7), "noise and edges": (("noise", "edges"), 0.3, 8),
          "noise and texture": (("noise", "texture"), 0.3, 8), "contaminants": (("contaminants",), 0.15, 7),
          "everything": (("noise", "edges", "texture", "contaminants"), 0.4, 10)}
APOFERRITIN = {"ml_align2d": (), "mlf_align2d": ("--not_phase_flipped",)}


def junk(kind, count, rng):
    """Images (count, BOX, BOX) without a particle, mean 0 and standard deviation 1."""
    return np.array([_normalised(JUNK[kind](rng, *rng.normal(0, BOX / 6, 2)) + rng.normal(size=(BOX, BOX)))
                     for _ in range(count)])


def _noise(rng, dx, dy):
    return 0.0


def _edge(rng, dx, dy):
    angle = rng.uniform(0, 2 * np.pi)
    return 1.5 / (1 + np.exp(-(X * np.cos(angle) + Y * np.sin(angle) - dx) / 2))


def _texture(rng, dx, dy):
    return 0.6 * _normalised(ndimage.gaussian_filter(rng.normal(size=(BOX, BOX)), 2.5))


def _contaminant(rng, dx, dy):
    return 3 * np.exp(-((X - dx) ** 2 + (Y - dy) ** 2) / 2 / rng.uniform(2, 5) ** 2)


Y, X = np.mgrid[:BOX, :BOX] - BOX // 2
JUNK = {"noise": _noise, "edges": _edge, "texture": _texture, "contaminants": _contaminant}


def _normalised(image):
    return (image - image.mean()) / image.std()


def with_junk(folder, kinds, share, count, seed):
    """Simulated particles, some of them replaced: path of the metadata, and which images show particles (N,)."""
    star = simulate(folder, "--views", 4, "-n", count, "--box", BOX, "--pixel_size", PIXEL, "--snr", 0.1, "--mirror",
                    "--seed", seed)
    images, rng = open_stack(str(star.with_suffix(".mrcs"))).read(slice(None)), np.random.default_rng(seed)
    rows = rng.permutation(count)[: int(share * count)]
    for kind, some in zip(kinds, np.array_split(rows, len(kinds))):
        images[some] = junk(kind, len(some), rng)
    write_stack(star.with_suffix(".mrcs"), images, PIXEL)
    return star, ~np.isin(np.arange(count), rows)


def row(table, name, run, good):
    """One line: how a run's scores tell images with particles from those without."""
    ranking, particles = rank(run), particles_of(run)
    score = np.array([ranking.of(ref) for ref in particles["ref"]])
    higher = np.sign(score[good][:, None] - score[~good])
    kept = score >= THRESHOLD
    of_class = [np.mean(good[particles["ref"] == ref]) for ref in ranking.refs if (particles["ref"] == ref).any()]
    table.row(name, f"{np.mean((higher + 1) / 2):.3f}", f"{kept[good].mean():.1%}", f"{kept[~good].mean():.1%}",
              f"{np.mean(np.maximum(of_class, 1 - np.array(of_class))):.1%}")


def main():
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, nargs="+", default=[11, 12], help="of the simulated particles")
    options = options.parse_args()
    print_machine()
    count, iterations = (200, 3) if options.quick else (800, 12)
    table = Table("images" + " " * 24, "AUC  ", "particles kept", "junk kept", "purity of classes")
    with working_folder(options) as folder:
        for name, (kinds, share, classes) in SCENES.items():
            for seed in options.seeds[: 1 if options.quick else None]:
                star, good = with_junk(folder / f"{name.replace(' ', '_')}_{seed}", kinds, share, count, seed)
                _, run = classify(star, star.parent / "run_", "--nref", classes, "--iter", iterations, "--maxres", 0.2,
                                  *COARSE)
                row(table, f"{name}, seed {seed}", run, good)
        star, labels = (data_file(f"apoferritin/{name}") for name in ("apoferritin.star", "apoferritin_labels.csv"))
        if star and labels:
            with open(labels, newline="") as file:
                good = np.array([line["label"] == "particle" for line in csv.DictReader(file)])
            for program, words in APOFERRITIN.items():
                _, run = classify(star, folder / f"{program}_", "--nref", 8, "--radius", 26, "--iter", iterations,
                                  *COARSE, *words, program=program)
                row(table, f"apoferritin, {program}", run, good)


if __name__ == "__main__":
    main()
