"""What subtomograms themselves tell about their missing region: the tilts between which they have power.

The geometry is that of :mod:`.engine.missing`: a tilt series about Y observes the planes kz = -kx tan(theta).
"""
import numpy as np

SHELLS = 0.15, 0.45     # of the box: frequencies looked at, in 1/px
THIN = 0.25             # a section across the axis holds frequencies along it up to this share of the others
BIN = 2.0               # degrees
CONTRAST = 0.3          # a missing region has less power than the rest by at least this share
NARROWEST = 6.0         # degrees of a missing wedge, and of what is observed


def mean_power(volumes):
    """Mean squared amplitudes (n, n, n), origin at n // 2, of volumes (B, n, n, n), each shell divided by its mean."""
    power = sum(np.abs(np.fft.fftn(volume - volume.mean())) ** 2 / max(volume.var(dtype=float), 1e-30)
                for volume in volumes)
    power = np.fft.fftshift(power)
    shell = np.rint(np.sqrt(sum(k**2 for k in _axes(len(power))))).astype(int)
    means = np.bincount(shell.ravel(), power.ravel()) / np.maximum(np.bincount(shell.ravel()), 1)
    return power / np.maximum(means, 1e-30)[shell]


def section(power, axis):
    """The plane (kz, k across) of :func:`mean_power` through the origin: means over a thin slab along ``axis``, y or x.

    For a cone (``axis`` None) across is any direction: rings about kz become the columns of distance from it.
    """
    n = len(power)
    if axis is None:
        _, ky, kx = _axes(n)
        ring = np.rint(np.hypot(ky, kx)).astype(int)[0]
        half = np.array([np.bincount(ring.ravel(), plane.ravel())[: n // 2 + 1] for plane in power])
        half /= np.bincount(ring.ravel())[: n // 2 + 1]
        return half[:, np.abs(np.arange(n) - n // 2)]
    width = max(1, n // 32)
    slab = slice(n // 2 - width, n // 2 + width + 1)
    return power[:, slab].mean(1) if axis == "y" else power[:, :, slab].mean(2)


def tilt_profile(power, axis):
    """(tilts, power): mean power in the directions of tilts from -90 to 90 degrees about ``axis``, y, x or None (cone).

    Bins without any frequency are left out.
    """
    n = len(power)
    kz, ky, kx = _axes(n)
    if axis is None:
        across, along = np.hypot(ky, kx), np.zeros(1)
    else:
        across, along = (kx, ky) if axis == "y" else (ky, kx)
    distance = np.hypot(across, kz)
    low, high = SHELLS
    used = (distance > low * n) & (distance < high * n) & (np.abs(along) <= THIN * distance)
    tilt = np.rad2deg(np.arctan2(-kz, across))
    tilt = np.where(tilt > 90, tilt - 180, np.where(tilt < -90, tilt + 180, tilt))
    tilt, used = (np.broadcast_to(one, power.shape) for one in (tilt, used))
    bins = round(180 / BIN)
    place = np.minimum(((tilt[used] + 90) / BIN).astype(int), bins - 1)
    count, total = np.bincount(place, minlength=bins), np.bincount(place, power[used], minlength=bins)
    tilts = (np.arange(bins) + 0.5) * BIN - 90
    return tilts[count > 0], total[count > 0] / count[count > 0]


def estimated_tilts(power, axis):
    """(first, last) tilt about ``axis`` between which there is power, whole degrees; (-t, t) for a cone (None).

    None when no region with less power than the rest is found around the beam.
    """
    tilts, values = tilt_profile(power, axis)
    if axis is None:
        values = (values + np.interp(-tilts, tilts, values)) / 2
    first, end, seen, missed = _best_split(values)
    if seen - missed < CONTRAST * seen:
        return None
    level = (seen + missed) / 2
    low, high = _crossing(tilts, values, first, -1, level), _crossing(tilts, values, end - 1, 1, level)
    return float(np.clip(round(low), -90, 90)), float(np.clip(round(high), -90, 90))


def _best_split(values):
    """(first, end, mean within, mean without) of the bins first ... end - 1 that stand out most from all others.

    What both parts explain of the variance decides, as with a threshold for two kinds of pixels.
    """
    count, total = len(values), np.concatenate([[0], np.cumsum(values)])
    first, end = (one.ravel() for one in np.meshgrid(np.arange(count), np.arange(count + 1), indexing="ij"))
    within, narrowest = end - first, round(NARROWEST / BIN)
    sensible = (within >= narrowest) & (within <= count - narrowest)
    first, end, within = first[sensible], end[sensible], within[sensible]
    seen = total[end] - total[first]
    missed = (total[-1] - seen) / (count - within)
    seen = seen / within
    best = np.argmax(np.where(seen > missed, (seen - missed) ** 2 * within * (count - within), -1))
    return first[best], end[best], seen[best], missed[best]


def _crossing(tilts, values, inner, step, level):
    outer = inner + step
    if not 0 <= outer < len(values):
        return 90.0 * step
    share = np.clip((values[inner] - level) / max(values[inner] - values[outer], 1e-30), 0, 1)
    return tilts[inner] + share * (tilts[outer] - tilts[inner])


def likely_axis(power):
    """The axis, y or x, about which the tilts explain the power better: two levels, with sharp edges between them."""
    return max("yx", key=lambda axis: _explained(tilt_profile(power, axis)[1]))


def _explained(values):
    """The share of the variance that two levels explain."""
    first, end, seen, missed = _best_split(values)
    levels = np.full(len(values), missed)
    levels[first:end] = seen
    return 1 - ((values - levels) ** 2).sum() / max(((values - values.mean()) ** 2).sum(), 1e-30)


def _axes(n):
    """kz, ky, kx (n, 1, 1), (1, n, 1), (1, 1, n): frequencies in 1/box, origin at n // 2."""
    return np.meshgrid(*[np.arange(n) - n // 2] * 3, indexing="ij", sparse=True)
