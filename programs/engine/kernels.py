"""Compiled inner loops of the search: what is too irregular for matrix products.

Conventions shared by all of them (see :mod:`.search` for the mathematics):

g       float32 (4, half, B, T): the four partial scores of B images and T templates at the angles
        theta_h = 2 pi h / n_psi, h = 0 ... n_psi / 2 (half = n_psi / 2 + 1).  With u = g0 + g1, y = g2 - g3,
        v = g0 - g1, z = g2 + g3 the scores are
            plain template:     u + y at psi = theta_h,       u - y at psi = -theta_h
            mirrored template:  v - z at psi = theta_h + pi,  v + z at psi = -theta_h + pi
row     2 * template + mirrored
cell    one (image, row, psi); cells of a block are kept sorted by row, then image, then psi
score   <x, R A> - r |R A|^2 / 2, less half the reference's power as the image shows it (r: the image's grey scale)
gain    log-posterior of a cell without the prior, relative to no reference: r * score / sigma^2, see :func:`tail`
"""
import numpy as np

from .compiled import kernel

ALMOST_ONE = np.float32(1 - 1e-6)     # a distance is never less than nothing, whatever rounding says


@kernel
def tail(gain, nu, tau):
    """Log-likelihood of a gain: the gain itself for Gaussian noise (nu = 0), else Student-t's.

    nu = (df + D) / 2 and tau = 2 / (df + |x|^2 / sigma^2), D the number of degrees of freedom of an image.
    """
    if nu == 0:
        return gain
    return -nu * np.log1p(-min(tau * gain, ALMOST_ONE))


@kernel
def best_of_rows(g, mirror, best):
    """Fill ``best`` (2, B, T) with the highest score over all angles of plain and mirrored templates."""
    half, count, width = g.shape[1:]
    for b in range(count):
        best[:, b] = -np.inf
        for h in range(half):
            g0, g1, g2, g3 = g[0, h, b], g[1, h, b], g[2, h, b], g[3, h, b]
            plain, mirrored = best[0, b], best[1, b]
            for t in range(width):
                score = g0[t] + g1[t] + abs(g2[t] - g3[t])
                plain[t] = score if score > plain[t] else plain[t]
            if mirror:
                for t in range(width):
                    score = g0[t] - g1[t] + abs(g2[t] + g3[t])
                    mirrored[t] = score if score > mirrored[t] else mirrored[t]


@kernel
def extract_cells(g, row_top, threshold, prior, scale, shifts, kappa, nu, tau, allowed, cells):
    """List the cells whose log-posterior reaches ``threshold`` (B,).  Returns their number.

    row_top: (2, B, T) log-posterior of each row's best cell.  prior: (2, T).  scale: (B, K), K = T / shifts
    references.  kappa: 1 / sigma^2.  allowed: (B, 2, n_psi, shifts), see local.Near; empty: all are.  cells: arrays
    (image, row, psi, log-posterior, gain) to fill; cells that do not fit are only counted.
    """
    image, row, angle, logp, gain = cells
    half, count, width = g.shape[1:]
    n_psi = 2 * (half - 1)
    found = 0
    for t in range(width):
        for m in range(2):
            for b in range(count):
                if row_top[m, b, t] < threshold[b]:
                    continue
                r = scale[b, t // shifts]
                for psi in range(n_psi):
                    if len(allowed) > 0 and not allowed[b, m, psi, t % shifts]:
                        continue
                    shifted = psi if m == 0 else (psi + half - 1) % n_psi
                    h = shifted if shifted < half else n_psi - shifted
                    odd = g[2, h, b, t] - g[3, h, b, t] if m == 0 else -g[2, h, b, t] - g[3, h, b, t]
                    even = g[0, h, b, t] + g[1, h, b, t] if m == 0 else g[0, h, b, t] - g[1, h, b, t]
                    score = even + odd if shifted < half else even - odd
                    e = r * score * kappa
                    p = prior[m, t] + tail(e, nu, tau[b])
                    if p >= threshold[b]:
                        if found < len(image):
                            image[found] = b
                            row[found] = 2 * t + m
                            angle[found] = psi
                            logp[found] = p
                            gain[found] = e
                        found += 1
    return found


@kernel
def to_log_posterior(g, mirror, bias, kappa, top):
    """Replace ``g`` by log-posteriors relative to ``top`` (B,): plain at +/- theta, mirrored at +/- theta + pi.

    bias: (2, T) prior.  Angles that appear twice (h = 0 and pi) keep one finite entry.
    """
    half, count, width = g.shape[1:]
    for h in range(half):
        single = h == 0 or h == half - 1
        for b in range(count):
            g0, g1, g2, g3 = g[0, h, b], g[1, h, b], g[2, h, b], g[3, h, b]
            for t in range(width):
                u, y, v, z = g0[t] + g1[t], g2[t] - g3[t], g0[t] - g1[t], g2[t] + g3[t]
                plain, mirrored = bias[0, t] - top[b], bias[1, t] - top[b]
                g0[t] = (u + y) * kappa + plain
                g1[t] = -np.inf if single else (u - y) * kappa + plain
                g2[t] = (v - z) * kappa + mirrored if mirror else -np.inf
                g3[t] = -np.inf if single or not mirror else (v + z) * kappa + mirrored


@kernel
def sum_rows(p, mass):
    """Add up the weights of each row: p (4, half, B, T) to mass (2, B, T)."""
    half, count, width = p.shape[1:]
    mass[:] = 0
    for b in range(count):
        for h in range(half):
            p0, p1, p2, p3 = p[0, h, b], p[1, h, b], p[2, h, b], p[3, h, b]
            plain, mirrored = mass[0, b], mass[1, b]
            for t in range(width):
                plain[t] += p0[t] + p1[t]
            for t in range(width):
                mirrored[t] += p2[t] + p3[t]


@kernel
def to_partial_weights(p, inverse_sum):
    """Adjoint of the scores' combination: weights (4, half, B, T) become the partial weights of g, normalised."""
    half, count, width = p.shape[1:]
    for h in range(half):
        for b in range(count):
            p0, p1, p2, p3 = p[0, h, b], p[1, h, b], p[2, h, b], p[3, h, b]
            norm = inverse_sum[b]
            for t in range(width):
                even, odd = (p0[t] + p1[t]) * norm, (p0[t] - p1[t]) * norm
                mirrored_even, mirrored_odd = (p2[t] + p3[t]) * norm, (p2[t] - p3[t]) * norm
                p0[t] = even + mirrored_even
                p1[t] = even - mirrored_even
                p2[t] = odd - mirrored_odd
                p3[t] = -(odd + mirrored_odd)


@kernel
def cells_of_class(p, chosen, shifts, first_reference, floor, cells):
    """List, from weights p (4, half, B, T), each image's cells in its chosen reference above ``floor`` of their best.

    The tile's templates start at ``first_reference``.  cells: arrays (image, row, psi, weight) to fill, or of length
    zero to only count.  Returns their number.
    """
    image, row, angle, weight = cells
    half, count = p.shape[1:3]
    n_psi = 2 * (half - 1)
    found = 0
    for b in range(count):
        start = (chosen[b] - first_reference) * shifts
        if start < 0 or start >= p.shape[3]:
            continue
        limit = floor * p[:, :, b, start : start + shifts].max()
        for plane in range(4):
            for h in range(half):
                for t in range(start, start + shifts):
                    if p[plane, h, b, t] > limit:
                        if found < len(image):
                            theta = h if plane % 2 == 0 else n_psi - h
                            image[found] = b
                            row[found] = 2 * (first_reference * shifts + t) + plane // 2
                            angle[found] = theta % n_psi if plane < 2 else (theta + half - 1) % n_psi
                            weight[found] = p[plane, h, b, t]
                        found += 1
    return found
