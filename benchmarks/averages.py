"""Class averages compared with one another or with the truth, aligned as well as can be."""
import numpy as np
from scipy import fft, optimize

from mlalign.programs.geometry import pose_matrix
from mlalign.programs.phantoms import Placer, circle

ANGLE = 5.0        # degrees between the rotations tried
EDGE = 8           # px, of the soft mask that images are compared inside


def aligned(image, target, radius=None):
    """``image`` turned, mirrored and shifted so that it resembles ``target`` most; both (n, n).

    radius: in px, of the circle that is compared, fading over the next few px (default: as large as fits).
    """
    place, mask = Placer(image[None]), _mask(len(target), radius)
    transform = fft.rfft2(target * mask)
    tried = []
    for flip in (0, 1):
        for psi in np.arange(0, 360, ANGLE):
            product = fft.irfft2(transform * fft.rfft2(place(0, psi, 0, 0, flip) * mask).conj(), target.shape)
            y, x = np.unravel_index(product.argmax(), product.shape)
            tried.append((product.max(), psi, _signed(x, len(target)), _signed(y, len(target)), flip))
    _, psi, x, y, flip = max(tried)
    # what is to move by (x, y) in the target shows points of the image that lie the other way
    shift = -pose_matrix(psi, 0, 0, flip)[:2, :2] @ (x, y)

    def unlikeness(pose):
        return -np.corrcoef((place(0, *pose, flip) * mask).ravel(), (target * mask).ravel())[0, 1]

    start = np.array([psi, *shift])
    simplex = start + np.array([[0, 0, 0], [ANGLE / 2, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    pose = optimize.minimize(unlikeness, start, method="Nelder-Mead", options={"initial_simplex": simplex}).x
    return place(0, *pose, flip)


def frc(first, second, radius=None):
    """Fourier ring correlation (n // 2,) of two aligned images (n, n) at 1, 2 ... n // 2 Fourier pixels.

    NaN where one of them has nothing.  radius: as for :func:`aligned`.
    """
    size = len(first)
    a, b = (fft.fft2(image * _mask(size, radius)).ravel() for image in (first, second))
    ring = np.rint(np.hypot(fft.fftfreq(size)[:, None], fft.fftfreq(size)) * size).astype(int).ravel()
    cross, one, other = (np.bincount(ring, values.real)[1:size // 2 + 1]
                         for values in (a * b.conj(), abs(a)**2, abs(b)**2))
    empty = 1e-12 * max(one.max(), other.max())
    return np.where((one > empty) & (other > empty), cross / np.sqrt(np.maximum(one * other, empty**2)), np.nan)


def _mask(size, radius):
    return circle(size, size / 2 - EDGE if radius is None else radius, EDGE)


def _signed(place, size):
    """A place in a cyclic correlation as a shift."""
    return (place + size // 2) % size - size // 2
