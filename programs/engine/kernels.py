"""Compiled inner loops of the search: what is too irregular for matrix products.

Conventions shared by all of them (see :mod:`.search` for the mathematics):

g       float32 (4, B, 2, quarter, T): the four partial scores of B images and T templates, of even and of odd bins,
        at the angles theta_h = 2 pi h / n_psi from 0 to pi / 2 (quarter of them).  With e and o those of even and odd
        bins, the partial scores at theta_h are e + o; at pi - theta_h the cosine sums g0, g1 are e - o, the sine sums
        g2, g3 o - e.  With u = g0 + g1, y = g2 - g3, v = g0 - g1, z = g2 + g3 the scores at an angle theta are
            plain template:     u + y at psi = theta,            u - y at psi = -theta
            mirrored template:  v - z at psi = theta + pi,       v + z at psi = -theta + pi
p       the same for what has a value for every angle (4, B, 2, quarter, T): in place of even and odd bins the angles
        theta_h and pi - theta_h, in place of the partial scores the plain and mirrored templates at the angles above
row     2 * template + mirrored
cell    one (image, row, psi); cells of a block are kept sorted by row, then image, then psi
score   <x, R A> - r |R A|^2 / 2, less half the reference's power as the image shows it (r: the image's grey scale)
gain    log-posterior of a cell without the prior, relative to no reference: r * score / sigma^2, see :func:`tail`
"""
import numpy as np

from .compiled import kernel, part

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
    count, _, quarter, width = g.shape[1:]
    for b in range(count):
        best[:, b] = -np.inf
        plain, mirrored = best[0, b], best[1, b]
        for h in range(quarter):
            e0, e1, e2, e3 = g[0, b, 0, h], g[1, b, 0, h], g[2, b, 0, h], g[3, b, 0, h]
            o0, o1, o2, o3 = g[0, b, 1, h], g[1, b, 1, h], g[2, b, 1, h], g[3, b, 1, h]
            for t in range(width):
                even, odd = e0[t] + e1[t], o0[t] + o1[t]
                sine_even, sine_odd = e2[t] - e3[t], o2[t] - o3[t]
                score = even + max(odd + abs(sine_odd + sine_even), abs(sine_odd - sine_even) - odd)
                plain[t] = score if score > plain[t] else plain[t]
            if mirror:
                for t in range(width):
                    even, odd = e0[t] - e1[t], o0[t] - o1[t]
                    sine_even, sine_odd = e2[t] + e3[t], o2[t] + o3[t]
                    score = even + max(odd + abs(sine_odd + sine_even), abs(sine_odd - sine_even) - odd)
                    mirrored[t] = score if score > mirrored[t] else mirrored[t]


@part
def scores_of_row(g, b, t, mirrored, scores):
    """Fill ``scores`` (n_psi,) with those of an image and a template at all angles."""
    n_psi, quarter = len(scores), g.shape[3]
    half = n_psi // 2
    sign = np.float32(-1 if mirrored else 1)
    opposite = half if mirrored else 0
    for h in range(quarter):
        even, odd = g[0, b, 0, h, t] + sign * g[1, b, 0, h, t], g[0, b, 1, h, t] + sign * g[1, b, 1, h, t]
        sine_even = sign * g[2, b, 0, h, t] - g[3, b, 0, h, t]
        sine_odd = sign * g[2, b, 1, h, t] - g[3, b, 1, h, t]
        u, y = even - odd, sine_odd - sine_even
        scores[(half - h + opposite) % n_psi] = u + y
        scores[(half + h + opposite) % n_psi] = u - y
        u, y = even + odd, sine_even + sine_odd
        scores[(h + opposite) % n_psi] = u + y
        scores[(n_psi - h + opposite) % n_psi] = u - y


@kernel
def extract_cells(g, row_top, threshold, prior, scale, shifts, kappa, nu, tau, allowed, n_psi, cells):
    """List the cells whose log-posterior reaches ``threshold`` (B,).  Returns their number.

    row_top: (2, B, T) log-posterior of each row's best cell.  prior: (2, T).  scale: (B, K), K = T / shifts
    references.  kappa: 1 / sigma^2.  allowed: (B, 2, n_psi, shifts), see local.Near; empty: all are.  cells: arrays
    (image, row, psi, log-posterior, gain) to fill; cells that do not fit are only counted.
    """
    image, row, angle, logp, gain = cells
    count, width = g.shape[1], g.shape[4]
    scores = np.empty(n_psi, np.float32)
    found = 0
    for t in range(width):
        for m in range(2):
            for b in range(count):
                if row_top[m, b, t] < threshold[b]:
                    continue
                scores_of_row(g, b, t, m == 1, scores)
                highest = np.float32(-np.inf)
                for psi in range(n_psi):
                    if len(allowed) == 0 or allowed[b, m, psi, t % shifts]:
                        highest = max(highest, scores[psi])
                r = scale[b, t // shifts]
                for psi in range(n_psi):
                    if len(allowed) > 0 and not allowed[b, m, psi, t % shifts]:
                        continue
                    e = r * scores[psi] * kappa
                    p = prior[m, t] + tail(e, nu, tau[b])
                    # the row's best cell is listed even if rounding puts it below the threshold here
                    if p >= threshold[b] or scores[psi] == highest:
                        if found < len(image):
                            image[found] = b
                            row[found] = 2 * t + m
                            angle[found] = psi
                            logp[found] = p
                            gain[found] = e
                        found += 1
    return found


@kernel
def to_log_posterior(g, mirror, bias, kappa, top, n_psi):
    """Replace partial scores ``g`` by log-posteriors p relative to ``top`` (B,).

    bias: (2, T) prior.  Of angles that appear twice all but one entry are -inf.
    """
    count, _, quarter, width = g.shape[1:]
    never = np.float32(-np.inf)
    for b in range(count):
        for h in range(quarter):
            e0, e1, e2, e3 = g[0, b, 0, h], g[1, b, 0, h], g[2, b, 0, h], g[3, b, 0, h]
            o0, o1, o2, o3 = g[0, b, 1, h], g[1, b, 1, h], g[2, b, 1, h], g[3, b, 1, h]
            single, twice = h == 0, 4 * h == n_psi            # theta = 0 and pi; pi / 2 = pi - pi / 2
            for t in range(width):
                plain, mirrored = bias[0, t] - top[b], bias[1, t] - top[b] if mirror else never
                even, odd = e0[t] + e1[t], o0[t] + o1[t]
                flipped_even, flipped_odd = e0[t] - e1[t], o0[t] - o1[t]
                y_even, y_odd, z_even, z_odd = e2[t] - e3[t], o2[t] - o3[t], e2[t] + e3[t], o2[t] + o3[t]
                u, y, v, z = even + odd, y_even + y_odd, flipped_even + flipped_odd, z_even + z_odd
                e0[t] = (u + y) * kappa + plain
                e1[t] = never if single else (u - y) * kappa + plain
                e2[t] = (v - z) * kappa + mirrored
                e3[t] = never if single else (v + z) * kappa + mirrored
                u, y, v, z = even - odd, y_odd - y_even, flipped_even - flipped_odd, z_odd - z_even
                o0[t] = never if twice else (u + y) * kappa + plain
                o1[t] = never if single or twice else (u - y) * kappa + plain
                o2[t] = never if twice else (v - z) * kappa + mirrored
                o3[t] = never if single or twice else (v + z) * kappa + mirrored


@kernel
def sum_rows(p, mass):
    """Add up the weights p of each row to mass (2, B, T)."""
    count, _, quarter, width = p.shape[1:]
    mass[:] = 0
    for b in range(count):
        plain, mirrored = mass[0, b], mass[1, b]
        for side in range(2):
            for h in range(quarter):
                p0, p1, p2, p3 = p[0, b, side, h], p[1, b, side, h], p[2, b, side, h], p[3, b, side, h]
                for t in range(width):
                    plain[t] += p0[t] + p1[t]
                for t in range(width):
                    mirrored[t] += p2[t] + p3[t]


@kernel
def to_partial_weights(p, inverse_sum):
    """Adjoint of the scores' combination: weights p become the partial weights of g, normalised."""
    count, _, quarter, width = p.shape[1:]
    for b in range(count):
        norm = inverse_sum[b]
        for h in range(quarter):
            e0, e1, e2, e3 = p[0, b, 0, h], p[1, b, 0, h], p[2, b, 0, h], p[3, b, 0, h]
            o0, o1, o2, o3 = p[0, b, 1, h], p[1, b, 1, h], p[2, b, 1, h], p[3, b, 1, h]
            for t in range(width):
                u, y, v, z = e0[t] + e1[t], e0[t] - e1[t], e2[t] + e3[t], e2[t] - e3[t]             # at theta
                far_u, far_y = o0[t] + o1[t], o0[t] - o1[t]                                         # at pi - theta
                far_v, far_z = o2[t] + o3[t], o2[t] - o3[t]
                e0[t], o0[t] = (u + v + (far_u + far_v)) * norm, (u + v - (far_u + far_v)) * norm
                e1[t], o1[t] = (u - v + (far_u - far_v)) * norm, (u - v - (far_u - far_v)) * norm
                e2[t], o2[t] = (y - z - (far_y - far_z)) * norm, (y - z + (far_y - far_z)) * norm
                e3[t], o3[t] = (far_y + far_z - (y + z)) * norm, -(y + z + far_y + far_z) * norm


@kernel
def cells_of_class(p, chosen, shifts, first_reference, floor, n_psi, cells):
    """List, from weights p, each image's cells in its chosen reference above ``floor`` of their best.

    The tile's templates start at ``first_reference``.  cells: arrays (image, row, psi, weight) to fill; cells that do
    not fit are only counted.  Returns their number.
    """
    image, row, angle, weight = cells
    count, _, quarter, width = p.shape[1:]
    half = n_psi // 2
    found = 0
    for b in range(count):
        start = (chosen[b] - first_reference) * shifts
        if start < 0 or start >= width:
            continue
        limit = floor * p[:, b, :, :, start : start + shifts].max()
        for plane in range(4):
            for side in range(2):
                for h in range(quarter):
                    theta = h if side == 0 else half - h
                    psi = (theta if plane % 2 == 0 else n_psi - theta) + (half if plane >= 2 else 0)
                    for t in range(start, start + shifts):
                        if p[plane, b, side, h, t] > limit:
                            if found < len(image):
                                image[found] = b
                                row[found] = 2 * (first_reference * shifts + t) + plane // 2
                                angle[found] = psi % n_psi
                                weight[found] = p[plane, b, side, h, t]
                            found += 1
    return found


@kernel
def add_products(rows, columns, out):
    """Add the sums over t of rows[t, p] columns[p, t] to ``out`` (P,)."""
    for first in range(0, len(out), 16):                # a cache line of each row
        last = min(first + 16, len(out))
        for t in range(len(rows)):
            for p in range(first, last):
                out[p] += rows[t, p] * columns[p, t]
