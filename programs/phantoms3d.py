"""Volumes to simulate subtomograms from: built-in phantoms, resampled density maps, copies in any pose."""
import finufft
import numpy as np
from scipy import ndimage
from scipy.fft import irfftn, next_fast_len

# Seeds whose phantoms differ clearly: turned about its centre in any way, none correlates above 0.75 with another,
# above 0.85 with its own mirror image, or above 0.65 with itself when turned by more than 45 degrees.
SEEDS = (17, 20, 42, 46, 57, 59, 61, 66, 71, 90, 141, 170)

ACCURACY = 1e-6         # of the Fourier transforms at scattered frequencies


def phantoms3d(count, size):
    """The first ``count`` built-in phantoms, always the same: (count, size, size, size) float64.

    Each is made of a few Gaussian blobs, without symmetry.  It is centred, its maximum is 1, and it is nearly zero
    0.45 ``size`` from the origin.
    """
    return np.stack([blobs(*phantom_blobs(seed), size) for seed in SEEDS[:count]])


def phantom_blobs(seed):
    """A phantom's blobs: centres (n, 3) as (x, y, z) from the origin and widths (n,), in boxes, and heights (n,)."""
    rng = np.random.default_rng(seed)
    count = rng.integers(6, 11)
    direction = rng.standard_normal((count, 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    centres = 0.29 * np.cbrt(rng.random(count))[:, None] * direction
    widths, heights = rng.uniform(0.035, 0.065, count), rng.uniform(0.5, 1, count)
    mass = heights * widths**3
    return centres - mass @ centres / mass.sum(), widths, heights


def blobs(centres, widths, heights, size):
    """A volume (size, size, size) of Gaussian blobs, its maximum 1; for the arguments see :func:`phantom_blobs`."""
    axis = (np.arange(size) - size // 2) / size
    profiles = np.exp(-((axis - centres[..., None]) ** 2) / (2 * widths[:, None, None] ** 2))       # (n, 3, size)
    x, y, z = profiles.transpose(1, 0, 2)
    volume = np.einsum("b,bz,by,bx->zyx", heights, z, y, x, optimize=True)
    return volume / volume.max()


def resampled(volume, voxel, size, pixel):
    """A density map in a box of ``size`` voxels of ``pixel`` Å, its centre of mass at the origin: (size,) * 3 float64.

    volume: (nz, ny, nx), zero in the solvent, of ``voxel`` Å.  Frequencies beyond the map's or the box's Nyquist are
    zero; a box too small for the molecule cuts it.
    """
    centre = np.array(ndimage.center_of_mass(volume))
    # A transform sampled for the wide box does not wrap into the middle of it, which is what was asked for.
    reach = max(centre.max(), (np.array(volume.shape) - centre).max()) * voxel / pixel
    grid = _HalfGrid(size, size / 2 + reach)
    frequencies = grid.frequencies * voxel / pixel          # radians per voxel of the map
    inside = np.linalg.norm(frequencies, axis=0) < np.pi
    x, y, z = np.ascontiguousarray(frequencies[:, inside])
    transform = finufft.nufft3d2(z, y, x, volume.astype(complex), eps=ACCURACY, isign=-1)
    cz, cy, cx = centre - np.array(volume.shape) // 2
    values = np.zeros(len(inside), complex)
    values[inside] = transform * np.exp(1j * (x * cx + y * cy + z * cz))
    return grid.volume(values) * (voxel / pixel) ** 3


class VolumePlacer:
    """Puts references where poses say: the particle's point p shows the reference's point A (p + shift).

    Exact for references without frequencies beyond Nyquist: the reference's Fourier transform is evaluated at the
    particle's frequencies, turned.  What leaves the box by a shift of up to ``reach`` px does not come back.
    """

    def __init__(self, references, reach):
        """references: (K, n, n, n), zero at the edges of the box; reach: px, the largest shift along any axis."""
        size = references.shape[-1]
        self._references = np.ascontiguousarray(references, complex)
        self._grid = _HalfGrid(size, size + reach)
        self._plan = finufft.Plan(2, (size,) * 3, eps=ACCURACY, isign=-1)

    def __call__(self, ref, rotation, shift):
        """The particle (n, n, n) float64 that A = ``rotation`` (3, 3) after ``shift`` (3,), x y z, aligns with ``ref``.

        ref counts from 0.
        """
        x, y, z = rotation @ self._grid.frequencies
        self._plan.setpts(z, y, x)
        values = self._plan.execute(self._references[ref])
        return self._grid.volume(values * np.exp(1j * (shift @ self._grid.frequencies)))


class _HalfGrid:
    """The frequencies within Nyquist of a box ``wide`` px or a little wider, as many as a real volume needs.

    frequencies: (3, M) radians per voxel, rows x, y, z
    """

    def __init__(self, size, wide):
        self.size, self.wide = size, next_fast_len(int(np.ceil(wide)) + 1, real=True)
        whole, half = 2 * np.pi * np.fft.fftfreq(self.wide), 2 * np.pi * np.fft.rfftfreq(self.wide)
        z, y, x = np.meshgrid(whole, whole, half, indexing="ij")
        self._inside = z**2 + y**2 + x**2 < np.pi**2
        self.frequencies = np.stack([x[self._inside], y[self._inside], z[self._inside]])

    def volume(self, values):
        """The middle (size, size, size) of the volume that has these values (M,) at the frequencies."""
        spectrum = np.zeros(self._inside.shape, complex)
        spectrum[self._inside] = values
        wide = np.fft.fftshift(irfftn(spectrum, s=(self.wide,) * 3))
        first = self.wide // 2 - self.size // 2
        middle = slice(first, first + self.size)
        return wide[middle, middle, middle]
