"""Volumes on finer and coarser grids, by cutting or padding their Fourier transforms."""
import numpy as np


def resampled(volumes, n):
    """Volumes float32 (B, n, n, n) of (B, m, m, m), box and grey values kept.

    Frequencies beyond either grid's are left out.  The origin goes from m // 2 to n // 2.
    """
    m = volumes.shape[-1]
    if n == m:
        return volumes
    small = min(m, n)
    frequency = np.fft.fftfreq(small, 1 / small).astype(int)
    keep = frequency[2 * np.abs(frequency) < small]           # an even grid's Nyquist has no partner
    half = keep[keep >= 0]
    spectrum = np.fft.rfftn(np.fft.ifftshift(volumes, axes=(1, 2, 3)), axes=(1, 2, 3))
    out = np.zeros((len(volumes), n, n, n // 2 + 1), spectrum.dtype)
    out[:, keep[:, None, None], keep[:, None], half] = spectrum[:, keep[:, None, None], keep[:, None], half]
    back = np.fft.irfftn(out, (n, n, n), axes=(1, 2, 3)) * (n / m) ** 3
    return np.fft.fftshift(back, axes=(1, 2, 3)).astype(np.float32)
