"""The contrast transfer function of the microscope."""
from dataclasses import dataclass, fields

import numpy as np
from scipy import constants, fft


@dataclass(frozen=True)
class Ctf:
    """CTF parameters of n images, each an array (n,).

    defocus_u, defocus_v: Å, positive for underfocus; angle: degrees, of the direction of ``defocus_u`` from the x
    axis (columns) towards y (rows); voltage: kV; cs: spherical aberration in mm; q0: amplitude contrast;
    phase_shift: degrees, of a phase plate.
    """

    defocus_u: np.ndarray
    defocus_v: np.ndarray
    angle: np.ndarray
    voltage: np.ndarray
    cs: np.ndarray
    q0: np.ndarray
    phase_shift: np.ndarray

    def __len__(self):
        return len(self.defocus_u)

    def __getitem__(self, rows):
        """The CTFs of some of the images."""
        return Ctf(*(getattr(self, f.name)[rows] for f in fields(self)))

    @property
    def defocus(self):
        """Mean defocus (n,) in Å."""
        return (self.defocus_u + self.defocus_v) / 2

    def wavelength(self):
        """Of the electrons in Å, (n,), relativistic."""
        energy = 1e3 * np.asarray(self.voltage, float) * constants.e
        rest = constants.m_e * constants.c**2
        return 1e10 * constants.h * constants.c / np.sqrt(energy * (energy + 2 * rest))

    def phase(self, radius, azimuth):
        """Phase of the CTF in radians (n, *shape) at frequencies of ``radius`` 1/Å and ``azimuth`` radians.

        With defocus z along the azimuth, wavelength l and frequency k:
        pi l z k^2 - pi/2 Cs l^3 k^4 + phase shift + asin(Q0).
        """
        radius, azimuth = np.broadcast_arrays(np.asarray(radius, float), azimuth)
        column = (slice(None), *[None] * radius.ndim)
        wavelength = self.wavelength()[column]
        astigmatism = ((self.defocus_u - self.defocus_v) / 2)[column]
        defocus = self.defocus[column] + astigmatism * np.cos(2 * (azimuth - np.deg2rad(self.angle)[column]))
        constant = np.deg2rad(self.phase_shift) + np.arcsin(self.q0)
        return (np.pi * wavelength * defocus * radius**2
                - np.pi / 2 * (1e7 * self.cs)[column] * wavelength**3 * radius**4 + constant[column])

    def __call__(self, radius, azimuth):
        """The CTF, float32 (n, *shape), at frequencies of ``radius`` 1/Å and ``azimuth`` radians.

        It is positive (Q0) at the lowest frequencies, for particles that are bright on a dark background.
        """
        return np.sin(self.phase(radius, azimuth)).astype(np.float32)


class PhaseFlipped:
    """Images of a source with their phases flipped where their CTF is negative; reads like the source itself.

    source: has ``count``, ``size``, ``read(rows)``; pixel_size: Å/px.
    """

    def __init__(self, source, ctf, pixel_size):
        self.source, self.ctf, self.count, self.size = source, ctf, source.count, source.size
        y, x = fft.fftfreq(self.size)[:, None], fft.rfftfreq(self.size)
        self._radius, self._azimuth = np.hypot(y, x) / pixel_size, np.arctan2(y, x)

    def read(self, rows):
        """float32 (B, size, size)."""
        negative = self.ctf[rows](self._radius, self._azimuth) < 0
        spectra = fft.rfft2(self.source.read(rows))
        return fft.irfft2(np.where(negative, -spectra, spectra), (self.size, self.size))
