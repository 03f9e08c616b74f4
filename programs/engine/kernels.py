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


@kernel
def best_of_cells(image, logp, top):
    """Raise top (B,) to the highest log-posterior of each image's cells."""
    for c in range(len(image)):
        if logp[c] > top[image[c]]:
            top[image[c]] = logp[c]


@kernel
def weigh_scores(image, row, score, prior, scale, shifts, kappa, nu, tau, logp, gain):
    """Fill log-posteriors and gains (cells,) of scores.  prior: (2, T).  scale: (B, K)."""
    for c in range(len(image)):
        b, template = image[c], row[c] // 2
        e = scale[b, template // shifts] * score[c] * kappa
        gain[c] = e
        logp[c] = prior[row[c] % 2, template] + tail(e, nu, tau[b])


@kernel
def normalise_cells(image, row, logp, shifts, weight, log_evidence, class_mass):
    """Soft-max over each image's cells.

    Fills weight (cells,), log_evidence (B,) and class_mass (B, K), the marginal probability of each reference.
    """
    count = len(log_evidence)
    top = np.full(count, -np.inf)
    for c in range(len(image)):
        top[image[c]] = max(top[image[c]], logp[c])
    total = np.zeros(count)
    for c in range(len(image)):
        w = np.exp(logp[c] - top[image[c]])
        weight[c] = w
        total[image[c]] += w
    class_mass[:] = 0
    for c in range(len(image)):
        weight[c] /= total[image[c]]
        class_mass[image[c], row[c] // 2 // shifts] += weight[c]
    for b in range(count):
        log_evidence[b] = top[b] + np.log(total[b])


@kernel
def accumulate_cells(x, sign, parity, image, row, angle, weight, cosine, sine, sums):
    """Add the images of cells, turned back by their angle, to their templates' sums.

    x: (B, 2, bins, width).  parity: (bins,), what the mirror does to each.  weight: (cells,).  cosine, sine: (n_psi,
    bins) of m psi.  sums: (T, 2, bins, width).  The cells of one (row, image) stand together, so each image is added
    once with its angles already summed.
    """
    bins, width = sign.shape
    real, imag = np.empty(bins, np.float32), np.empty(bins, np.float32)
    c, last = 0, len(image)
    while c < last:
        b, r = image[c], row[c]
        real[:] = 0
        imag[:] = 0
        while c < last and image[c] == b and row[c] == r:
            w = weight[c]
            cos, sin = cosine[angle[c]], sine[angle[c]]
            for m in range(bins):
                real[m] += w * cos[m]
                imag[m] += w * sin[m]
            c += 1
        out_real, out_imag = sums[r // 2, 0], sums[r // 2, 1]
        for m in range(bins):
            plus = np.float32(1) if r % 2 == 0 else parity[m]
            p, s = real[m] * plus, imag[m] * plus
            flip = np.float32(1) if r % 2 == 0 else np.float32(-1)
            xr, xi, fold, yr, yi = x[b, 0, m], x[b, 1, m], sign[m], out_real[m], out_imag[m]
            for j in range(width):
                yr[j] += p * xr[j] - s * fold[j] * xi[j]
                yi[j] += flip * (p * xi[j] + s * fold[j] * xr[j])


@kernel
def mark_fine_cells(image, row, angle, near, children, neighbours, fine_shifts, n_psi, marks):
    """Mark the fine cells that significant coarse ones stand for, and all around those that are ``near`` (cells,).

    children, neighbours: (coarse shifts, n) fine shift indices, -1 where there is none.  A coarse angle p stands
    for the fine angles 2 p and 2 p + 1; around it lie 2 p - 1 ... 2 p + 1.  marks: uint64 (fine templates, B, 2,
    words), one bit an angle.
    """
    for c in range(len(image)):
        template, m = row[c] // 2, row[c] % 2
        reference, shift = template // len(children), template % len(children)
        psi = 2 * angle[c]
        table = neighbours if near[c] else children
        for i in range(table.shape[1]):
            fine = table[shift, i]
            if fine < 0:
                continue
            mark = marks[reference * fine_shifts + fine, image[c], m]
            mark[psi >> 6] |= np.uint64(3) << np.uint64(psi & 63)
            if near[c]:
                before = (psi - 1) % n_psi
                mark[before >> 6] |= np.uint64(1) << np.uint64(before & 63)


@kernel
def mark_surroundings(image, row, angle, near, neighbours, n_psi, marks, fresh):
    """Mark in ``fresh`` the cells next to those that are ``near`` (cells,) and not yet in ``marks``; their number.

    neighbours: (shifts, n) shift indices around each, -1 for none.  marks, fresh: as in mark_fine_cells.
    """
    shifts = len(neighbours)
    found = 0
    for c in range(len(image)):
        if not near[c]:
            continue
        template, m = row[c] // 2, row[c] % 2
        for i in range(neighbours.shape[1]):
            shift = neighbours[template % shifts, i]
            if shift < 0:
                continue
            target = template // shifts * shifts + shift
            for step in range(-1, 2):
                psi = (angle[c] + step) % n_psi
                bit = np.uint64(1) << np.uint64(psi & 63)
                if (marks[target, image[c], m, psi >> 6] | fresh[target, image[c], m, psi >> 6]) & bit == 0:
                    fresh[target, image[c], m, psi >> 6] |= bit
                    found += 1
    return found


@kernel
def score_cells(x, sign, templates, cosine, sine, power, power_bins, marks, image, row, angle, score):
    """Score the marked cells one by one; returns their number (call with empty arrays to count).

    x: (B, 2, bins, width).  templates: (T, 2, bins, width), metric included.  power: (B, K, 2, 2, L), see
    visibility.rows_of, belongs to bins power_bins (L,).  marks: as in mark_fine_cells.
    """
    bins = len(sign)
    shifts = marks.shape[0] // power.shape[1]
    n_psi = len(cosine)
    real, imag = np.empty(bins, np.float32), np.empty(bins, np.float32)
    counting = len(image) == 0
    found = 0
    for t in range(marks.shape[0]):
        for m in range(2):
            for b in range(marks.shape[1]):
                mark = marks[t, b, m]
                if not mark.any():
                    continue
                if not counting:
                    _correlate(x[b], sign, templates[t], m == 1, real, imag)
                    seen = power[b, t // shifts, m]
                    for i in range(len(power_bins)):
                        real[power_bins[i]] -= seen[0, i]
                        imag[power_bins[i]] -= seen[1, i]
                for psi in range(n_psi):
                    if (mark[psi >> 6] >> np.uint64(psi & 63)) & np.uint64(1):
                        if not counting:
                            total = np.float32(0)
                            cos, sin = cosine[psi], sine[psi]
                            for i in range(bins):
                                total += cos[i] * real[i] + sin[i] * imag[i]
                            image[found] = b
                            row[found] = 2 * t + m
                            angle[found] = psi
                            score[found] = total
                        found += 1
    return found


@kernel
def _correlate(x, sign, template, mirrored, real, imag):
    """Folded products conj(x) a of one image and one template: real and imaginary part per bin."""
    bins, width = sign.shape
    for m in range(bins):
        xr, xi, ar, ai, fold = x[0, m], x[1, m], template[0, m], template[1, m], sign[m]
        rr = np.float32(0)
        ii = np.float32(0)
        ri = np.float32(0)
        ir = np.float32(0)
        for j in range(width):
            rr += xr[j] * ar[j]
            ii += xi[j] * ai[j]
            ri += fold[j] * xr[j] * ai[j]
            ir += fold[j] * xi[j] * ar[j]
        if not mirrored:
            real[m], imag[m] = rr + ii, ri - ir
        elif m % 2 == 0:
            real[m], imag[m] = rr - ii, -(ri + ir)
        else:
            real[m], imag[m] = ii - rr, ri + ir


@kernel
def mean_poses(image, row, angle, weight, chosen, shifts, step, n_psi, floor, pose):
    """Posterior mean pose around each image's best cell within its chosen reference.

    chosen: (B,) reference of each image.  shifts: (S, 2) in pixels.  step: shift grid spacing.
    pose: float64 (B, 5) to fill: psi in grid steps, shift x, shift y, mirrored, weight of the best cell.
    The mean runs over cells of the same mirror state within two steps of angle and shift whose weight is above
    ``floor`` of the best.
    """
    count = len(chosen)
    best = np.full(count, -1)
    for c in range(len(image)):
        b = image[c]
        if row[c] // 2 // len(shifts) == chosen[b] and (best[b] < 0 or weight[c] > weight[best[b]]):
            best[b] = c
    total = np.zeros((count, 4))
    for c in range(len(image)):
        b = image[c]
        o = best[b]
        if o < 0 or row[c] // 2 // len(shifts) != chosen[b] or (row[c] - row[o]) % 2:
            continue
        if weight[c] <= floor * weight[o]:
            continue
        turn = (angle[c] - angle[o] + n_psi // 2) % n_psi - n_psi // 2
        shift, origin = shifts[row[c] // 2 % len(shifts)], shifts[row[o] // 2 % len(shifts)]
        dx, dy = shift[0] - origin[0], shift[1] - origin[1]
        if abs(turn) > 2 or abs(dx) > 2 * step or abs(dy) > 2 * step:
            continue
        total[b, 0] += weight[c]
        total[b, 1] += weight[c] * turn
        total[b, 2] += weight[c] * dx
        total[b, 3] += weight[c] * dy
    for b in range(count):
        o = best[b]
        origin = shifts[row[o] // 2 % len(shifts)]
        pose[b, 0] = angle[o] + total[b, 1] / total[b, 0]
        pose[b, 1] = origin[0] + total[b, 2] / total[b, 0]
        pose[b, 2] = origin[1] + total[b, 3] / total[b, 0]
        pose[b, 3] = row[o] % 2
        pose[b, 4] = weight[o]
