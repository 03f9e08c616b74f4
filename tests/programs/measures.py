"""What the tests of ml_align2d measure on a run's files."""
import numpy as np

from mlalign.programs.formats.checkpoint import load_checkpoint
from mlalign.programs.formats.star import read_star


def checkpoint(outcome, iteration):
    return load_checkpoint(f"{outcome.prefix(iteration)}checkpoint.npz")


def shell_power(images):
    """Power of images (..., n, n) in the whole Fourier pixels 1 ... n / 2 - 1, as a mean over the images."""
    n = images.shape[-1]
    power = np.abs(np.fft.fft2(images)).reshape(-1, n, n) ** 2
    shell = np.rint(np.hypot(*np.meshgrid(np.fft.fftfreq(n, 1 / n), np.fft.fftfreq(n, 1 / n)))).astype(int)
    return np.array([power[:, shell == k].mean() for k in range(1, n // 2)])


def correlation(a, b):
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def agreement(one, other):
    """Share of the particles in the same class."""
    return np.mean(one.images["ref"] == other.images["ref"])


def shift_lengths(outcome, iteration):
    images = read_star(f"{outcome.prefix(iteration)}images.xmd")["particles"]
    return np.hypot(images.numbers("shiftX"), images.numbers("shiftY"))
