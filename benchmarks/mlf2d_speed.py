"""CPU seconds per iteration of mlf_align2d beside ml_align2d, on the same images at the same resolution.

    python benchmarks/mlf2d_speed.py [--profile]

Phase-flipped images of 64 px of phantoms, each with its own astigmatic CTF (0.9 to 2.8 µm, 300 kV, 5 Å/px): 1000
images of 3 references and 2000 of 10, with mirrors, 5 degrees, 197 shifts.  EM starts from the true references and is
timed near convergence, as in ml2d_speed.py: the fastest of a few iterations, on one thread, up to Nyquist.

Seconds depend on how many poses of an image remain possible.  In white noise both programs mostly agree on that.  In
noise whose power falls ten times to Nyquist ml_align2d, which takes it for white, is surer than it should be, and quick
for that reason; pMax, the mean probability of the best pose, shows it.

--profile prints instead where an iteration of each program spends its time.
"""
import cProfile
import pstats
from dataclasses import replace

import numpy as np
from climb import Climb, Images
from common import Table, parser, print_machine

from mlalign.programs.engine.estimator import Estimator, Settings
from mlalign.programs.engine.spectral import power_spectra
from mlalign.programs.engine.spectral_estimator import SpectralEstimator
from mlalign.programs.engine.spectral_pass import Optics
from mlalign.programs.imaging import ColouredNoise, Microscope, random_ctfs
from mlalign.programs.noise_groups import noise_groups
from mlalign.programs.phantoms import phantoms
from mlalign.programs.simulation import Imaging, normalised, particles, truth

BOX, PIXEL, SNR, OFFSET = 64, 5.0, 0.1, 2.0
DEFOCUS, ASTIGMATISM = (9000, 28000), 900
NOISES = {"white": None, "coloured": ColouredNoise(10, BOX)}
MAX_SHIFT = 8                         # pixels: 197 shifts
GROUP = 250                           # images in a noise group, at least
SIZES = (3, 1000), (10, 2000)         # classes, images
SIGNIFICANCE = 1e-5                   # mlf_align2d's -C
LINES = 15                            # of a profile


def simulated(classes, count, noise):
    """(Images, Ctf, true references) of phase-flipped particles."""
    references = normalised(phantoms(classes, BOX), 4 * SNR)          # of which CTFs leave about a quarter
    poses = truth(np.random.default_rng(0), count, classes, OFFSET, mirror=True)
    ctf = random_ctfs(np.random.default_rng(1), count, DEFOCUS, ASTIGMATISM)
    imaging = Imaging(Microscope(ctf, BOX, PIXEL), noise, flip=True)
    pixels = np.concatenate(list(particles(references, poses, np.random.default_rng(2), imaging=imaging)))
    return Images(pixels), ctf, references


def ml2d(images, ctf, settings):
    """What :class:`Climb` needs of ml_align2d: makers of its estimator and first model."""
    return (lambda workers: Estimator(images, settings, workers),
            lambda estimator, polar: estimator.initial_model(polar, 1.0, OFFSET))


def mlf2d(images, ctf, settings):
    """The same of mlf_align2d."""
    groups = noise_groups(ctf, np.ones(images.count, int), "auto", GROUP)
    optics = Optics(ctf, PIXEL, True, groups.index, len(groups))
    power = power_spectra(images, groups.index, len(groups))
    settings = replace(settings, significance=SIGNIFICANCE)
    return (lambda workers: SpectralEstimator(images, settings, workers, optics, power),
            lambda estimator, polar: estimator.initial_model(polar, OFFSET))


def climbs(sizes, settle, repeats):
    """Yield (noise, classes, images, search, program, :class:`Climb`) for all there is to compare."""
    for noise, spectrum in NOISES.items():
        for classes, count in sizes:
            images, ctf, references = simulated(classes, count, spectrum)
            for fast in (False, True):
                settings = Settings(mirror=True, fast=fast, psi_step=5.0, max_shift=MAX_SHIFT)
                for program in (ml2d, mlf2d):
                    with Climb(*program(images, ctf, settings), references, settle, repeats) as climb:
                        yield noise, classes, count, "fast" if fast else "exact", program, climb


def measure(sizes, options):
    """The table of seconds."""
    table = Table("noise   ", "classes", "images", "search", "ML2D s", "MLF2D s", "times", "ML2D pMax",
                  "MLF2D pMax")
    first = None
    for *case, program, climb in climbs(sizes, options.settle, options.repeats):
        if program is ml2d:
            first = climb
        else:
            table.row(*case, f"{first.cpu:.3f}", f"{climb.cpu:.3f}", f"{climb.cpu / first.cpu:.2f}",
                      *(f"{one.particles.peak.mean():.2f}" for one in (first, climb)))


def profile(sizes, options):
    for *case, program, climb in climbs(sizes, options.settle, 1):
        print(f"\n{program.__name__}:", *case)
        with cProfile.Profile() as profiler:
            climb.step()
        pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(LINES)


def main():
    options = parser(__doc__)
    options.add_argument("--settle", type=int, default=8, help="iterations before timing (default: %(default)s)")
    options.add_argument("--repeats", type=int, default=3, help="iterations timed (default: %(default)s)")
    options.add_argument("--profile", action="store_true", help="where the time goes")
    options = options.parse_args()
    sizes = SIZES
    if options.quick:
        sizes, options.settle, options.repeats = ((3, 200),), 2, 1
    print_machine()
    (profile if options.profile else measure)(sizes, options)


if __name__ == "__main__":
    main()
