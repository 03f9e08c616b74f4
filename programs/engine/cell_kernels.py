"""Compiled inner loops over lists of cells; conventions as in :mod:`.kernels`.

key     a cell as one number, (row * B + image) * n_psi + psi: in their order cells are sorted by row, image and angle
"""
import numpy as np

from .compiled import kernel, part
from .kernels import tail


@kernel
def best_of_cells(image, logp, top):
    """Raise top (B,) to the highest log-posterior of each image's cells."""
    for c in range(len(image)):
        if logp[c] > top[image[c]]:
            top[image[c]] = logp[c]


DEPTHS = 128          # bins of log-posteriors, the last one without an end


@part
def depth_of(logp, top):
    """Bin, a quarter of a nat wide, of a log-posterior below the highest, ``top``."""
    return int(min(4 * (top - logp), DEPTHS - 1.0))


@kernel
def probable_cells(image, logp, top, left_out, probable):
    """Tell which cells, ``probable`` (cells,), are left without the least probable ones of each image.

    These have together at most the share ``left_out`` of its probability, by an upper bound: cells are counted in bins
    below the image's best, ``top`` (B,).
    """
    counts, last = np.zeros((len(top), DEPTHS), np.int32), np.zeros(len(top), np.int32)
    for c in range(len(image)):
        counts[image[c], depth_of(logp[c], top[image[c]])] += 1
    for b in range(len(top)):
        rest, depth = 0.0, DEPTHS - 1
        while depth > 0:
            rest += counts[b, depth] * np.exp(-depth / 4)
            if rest > left_out:
                break
            depth -= 1
        last[b] = depth
    for c in range(len(image)):
        probable[c] = depth_of(logp[c], top[image[c]]) <= last[image[c]]


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
def accumulate_cells(x, sign, widths, parity, image, row, angle, weight, cosine, sine, sums):
    """Add the images of cells, turned back by their angle, to their templates' sums.

    x: (B, 2, bins, width), widths: (bins,) of it in use.  parity: (bins,), what the mirror does to each.  weight:
    (cells,).  cosine, sine: (n_psi, bins) of m psi.  sums: (T, 2, bins, width).  The cells of one (row, image) stand
    together, so each image is added once with its angles already summed.
    """
    bins = len(sign)
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
            for j in range(widths[m]):
                yr[j] += p * xr[j] - s * fold[j] * xi[j]
                yi[j] += flip * (p * xi[j] + s * fold[j] * xr[j])


@kernel
def list_fine_cells(image, row, angle, near, children, neighbours, fine_shifts, count, n_psi, keys):
    """Keys of the fine cells that significant coarse ones stand for, and of all around those that are ``near``.

    near: (cells,).  children, neighbours: (coarse shifts, n) fine shift indices, -1 where there is none.  A coarse
    angle p stands for the fine angles 2 p and 2 p + 1; around it lie 2 p - 1 ... 2 p + 1.  keys: int64 to fill; a cell
    may be listed several times.  Returns their number.
    """
    found = 0
    for c in range(len(image)):
        template = row[c] // 2
        first, shift = template // len(children) * fine_shifts, template % len(children)
        table = neighbours if near[c] else children
        for i in range(table.shape[1]):
            if table[shift, i] >= 0:
                place = (np.int64(2 * (first + table[shift, i]) + row[c] % 2) * count + image[c]) * n_psi
                for step in range(-1 if near[c] else 0, 2):
                    keys[found] = place + (2 * angle[c] + step) % n_psi
                    found += 1
    return found


@kernel
def list_surroundings(image, row, angle, near, neighbours, count, n_psi, keys):
    """Keys of the cells at and next to those that are ``near`` (cells,); their number.

    neighbours: (shifts, n) shift indices around each, -1 for none.  keys: as in :func:`list_fine_cells`.
    """
    shifts = len(neighbours)
    found = 0
    for c in range(len(image)):
        if not near[c]:
            continue
        template = row[c] // 2
        first, shift = template - template % shifts, template % shifts
        for i in range(neighbours.shape[1]):
            if neighbours[shift, i] >= 0:
                place = (np.int64(2 * (first + neighbours[shift, i]) + row[c] % 2) * count + image[c]) * n_psi
                for step in range(-1, 2):
                    keys[found] = place + (angle[c] + step) % n_psi
                    found += 1
    return found


@kernel
def score_cells(x, sign, widths, templates, cosine, sine, power, power_bins, keys, image, row, angle, score):
    """Fill image, row, angle and score (cells,) of the cells with these sorted ``keys``; returns the number of rows.

    x: (B, 2, bins, width), widths: (bins,) of it in use.  templates: (T, 2, bins, width), metric included.  power:
    (B, K, 2, 2, L), see visibility.rows_of, belongs to bins power_bins (L,).  The products of an image and a row are
    taken once for all its angles.
    """
    bins, n_psi, count = len(sign), len(cosine), len(x)
    shifts = len(templates) // power.shape[1]
    real, imag = np.empty(bins, np.float32), np.empty(bins, np.float32)
    rows = c = 0
    while c < len(keys):
        place = keys[c] // n_psi
        r = place // count
        b = place - r * count
        rows += 1
        _correlate(x[b], sign, widths, templates[r // 2], r % 2 == 1, real, imag)
        seen = power[b, r // 2 // shifts, r % 2]
        for i in range(len(power_bins)):
            real[power_bins[i]] -= seen[0, i]
            imag[power_bins[i]] -= seen[1, i]
        while c < len(keys) and keys[c] < (place + 1) * n_psi:
            psi = keys[c] - place * n_psi
            total = np.float32(0)
            for m in range(bins):
                total += cosine[psi, m] * real[m] + sine[psi, m] * imag[m]
            image[c] = b
            row[c] = r
            angle[c] = psi
            score[c] = total
            c += 1
    return rows


@kernel
def _correlate(x, sign, widths, template, mirrored, real, imag):
    """Folded products conj(x) a of one image and one template: real and imaginary part per bin."""
    flip = np.float32(-1 if mirrored else 1)
    for m in range(len(sign)):
        xr, xi, ar, ai, fold = x[0, m], x[1, m], template[0, m], template[1, m], sign[m]
        re = np.float32(0)
        im = np.float32(0)
        for j in range(widths[m]):
            re += xr[j] * ar[j] + flip * xi[j] * ai[j]
            im += fold[j] * (xr[j] * ai[j] - flip * xi[j] * ar[j])
        if not mirrored:
            real[m], imag[m] = re, im
        elif m % 2 == 0:
            real[m], imag[m] = re, -im
        else:
            real[m], imag[m] = -re, im


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
