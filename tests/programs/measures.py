"""What the tests of ml_align2d measure on a run's files."""
import numpy as np

from mlalign.programs.formats.checkpoint import load_checkpoint
from mlalign.programs.formats.star import read_star
from mlalign.programs.geometry import pose_parameters
from mlalign.programs.phantoms import Placer
from mlalign.programs.scoring import class_motions
from mlalign.tests.programs.conftest import pixels


def checkpoint(outcome, iteration):
    return load_checkpoint(f"{outcome.prefix(iteration)}checkpoint.npz")


def shell_power(images):
    """Power of images (..., n, n) in the whole Fourier pixels 1 ... n / 2 - 1, as a mean over the images."""
    n = images.shape[-1]
    power = np.abs(np.fft.fft2(images)).reshape(-1, n, n) ** 2
    return _shell_sums(power.mean(0)) / _shell_sums(np.ones((n, n)))


def frc_with_truth(outcome, planted):
    """FRC (classes, n / 2 - 1) of class averages with the true references, moved to where most members see them."""
    place, curves = Placer(pixels(planted.references)), []
    for found, (true, motion) in sorted(class_motions(planted.truth, outcome.images.columns).items()):
        pose = (value.item() for value in pose_parameters(np.linalg.inv(motion)))
        one, other = (np.fft.fft2(image) for image in (outcome.averages[found - 1], place(true - 1, *pose)))
        powers = _shell_sums(np.abs(one) ** 2) * _shell_sums(np.abs(other) ** 2)
        curves.append(_shell_sums((one * other.conj()).real) / np.sqrt(powers))
    return np.array(curves)


def _shell_sums(values):
    """Of values (n, n) of fft2's coefficients, over whole Fourier pixels 1 ... n / 2 - 1."""
    n = len(values)
    shell = np.rint(np.hypot(np.fft.fftfreq(n, 1 / n)[:, None], np.fft.fftfreq(n, 1 / n))).astype(int)
    return np.bincount(shell.ravel(), values.ravel())[1 : n // 2]


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def agreement(one, other):
    """Share of the particles in the same class."""
    return np.mean(one.images["ref"] == other.images["ref"])


def shift_lengths(outcome, iteration):
    images = read_star(f"{outcome.prefix(iteration)}images.xmd")["particles"]
    return np.hypot(images.numbers("shiftX"), images.numbers("shiftY"))
