"""Images to simulate particles from: built-in phantoms, projections of density maps, copies in any pose."""
import finufft
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from .geometry import pose_matrix

# Seeds whose phantoms differ clearly: at any rotation, mirror and shift no two correlate above 0.8,
# and none correlates above 0.85 with its own mirror image.
SEEDS = (3, 4, 6, 7, 8, 9, 10, 12, 19, 20, 21, 22, 26, 30, 32, 33, 36, 39, 45, 46)

GRAINS, GRAIN_WIDTH = 14, 0.022      # of a phantom's domain; width in boxes


def phantoms(count, size):
    """The first ``count`` built-in phantoms, always the same: (count, size, size) float64.

    Each is made of a few domains, clouds of small Gaussian grains, without symmetry.  It is centred, its
    maximum is 1, and it is nearly zero 0.45 ``size`` from the origin.
    """
    return np.stack([_phantom(seed, size) for seed in SEEDS[:count]])


def _phantom(seed, size):
    rng = np.random.default_rng(seed)
    count = rng.integers(4, 10)
    radius, angle = 0.27 * np.sqrt(rng.random(count)), 2 * np.pi * rng.random(count)
    width, density = rng.uniform(0.03, 0.065, count), rng.uniform(0.5, 1, count)
    mass = density * width**2
    centres = radius * np.array([np.cos(angle), np.sin(angle)])
    centres -= (centres @ mass / mass.sum())[:, None]
    grains = centres + 0.9 * width * rng.standard_normal((GRAINS, 2, count))
    y, x = (np.mgrid[:size, :size] - size // 2) / size
    image = np.zeros((size, size))
    for column, row in grains:
        distance2 = (x[..., None] - column) ** 2 + (y[..., None] - row) ** 2
        image += np.exp(-distance2 / (2 * GRAIN_WIDTH**2)) @ mass
    return image / image.max()


def projections(volume, voxel, count, size, pixel, rng):
    """``count`` projections of a density map at uniformly random orientations: (count, size, size) float64.

    volume: (nz, ny, nx), zero in the solvent, of ``voxel`` Å; it is projected about its centre of mass.
    The projections have ``pixel`` Å; frequencies beyond the map's Nyquist are zero.
    They come from central slices of the map's Fourier transform, so a box too small for the molecule cuts it.
    """
    # A slice sampled for the wide box does not wrap; the middle of it is what was asked for.
    wide = max(size, int(np.ceil(np.linalg.norm(volume.shape) * voxel / pixel)))
    wide += (wide - size) % 2
    frequency = 2 * np.pi * np.fft.fftfreq(wide) * voxel / pixel         # radians per voxel
    ky, kx = np.meshgrid(frequency, frequency, indexing="ij")
    plane = np.stack([kx.ravel(), ky.ravel(), np.zeros(wide**2)])
    inside = np.hypot(kx, ky).ravel() < np.pi
    centre = np.array(ndimage.center_of_mass(volume)) - np.array(volume.shape) // 2
    slices = np.zeros((count, wide**2), complex)
    for out, rotation in zip(slices, Rotation.random(count, random_state=rng).as_matrix()):
        x, y, z = rotation @ plane[:, inside]
        transform = finufft.nufft3d2(z, y, x, volume.astype(complex), eps=1e-6, isign=-1)
        out[inside] = transform * np.exp(1j * (z * centre[0] + y * centre[1] + x * centre[2]))
    images = np.fft.ifft2(slices.reshape(count, wide, wide)).real
    images = np.fft.fftshift(images, axes=(1, 2))
    first = wide // 2 - size // 2
    return images[:, first:first + size, first:first + size]


def circle(size, radius, edge=0.0):
    """Mask (size, size) about the origin: 1 within ``radius``, falling as a cosine to 0 over ``edge`` px."""
    return ball(size, radius, edge, dimensions=2)


def ball(size, radius, edge=0.0, dimensions=3):
    """The same as :func:`circle` in more dimensions: a mask (size, size, size)."""
    squares = (np.arange(size) - size // 2) ** 2
    distance = np.sqrt(sum(np.meshgrid(*[squares] * dimensions, indexing="ij", sparse=True)))
    if edge == 0:
        return (distance <= radius).astype(float)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip((distance - radius) / edge, 0, 1))


class Placer:
    """Puts references where poses say: the particle's point r shows the reference's point M r + shift.

    Cubic splines on references sampled twice as finely; what lies outside a reference's box is zero.
    """

    FINER = 2

    def __init__(self, references):
        """references: (K, n, n), zero at the edges of the box."""
        from scipy import signal  # takes long to load, and few need it
        self.size = references.shape[-1]
        finer = signal.resample(references, self.FINER * self.size, axis=1)
        finer = signal.resample(finer, self.FINER * self.size, axis=2)
        self._splines = [ndimage.spline_filter(image, 3).astype(np.float32) for image in finer]

    def __call__(self, ref, psi, shift_x, shift_y, flip):
        """The particle (n, n) float32 that this pose aligns with reference ``ref`` (from 0)."""
        matrix = pose_matrix(psi, shift_x, shift_y, flip)
        rows = self.FINER * matrix[1::-1, 1::-1]         # (x, y) -> (row, column) of the fine grid
        shift = self.FINER * matrix[1::-1, 2]
        origin = np.full(2, self.size // 2)
        offset = self.FINER * origin + shift - rows @ origin
        return ndimage.affine_transform(self._splines[ref], rows, offset, (self.size, self.size),
                                        order=3, mode="constant", prefilter=False)
