"""Inner loops, most of them compiled, of the coarse maximum-correlation search (see :mod:`.correlation`) and averages.

With x and a the harmonics of an image and a template (:mod:`.rings`), P0 = sum xr ar, P1 = sum xi ai,
P2 = sum xr ai and P3 = sum xi ar over the rings of a harmonic q, the correlation with the template turned by psi is

    sum_q  cos(q psi) (P0 + P1) + sin(q psi) (P2 - P3),

and with its mirror image sum_q (-1)^q [cos(q psi) (P0 - P1) - sin(q psi) (P2 + P3)].  Weights are in the templates.

g        float32 (8, H, B, T) of B images and T templates: the sums over even q of cos(q theta) P0, cos P1, sin P2 and
         sin P3, then the same over odd q, at theta_h = 2 pi h / n_psi from 0 to pi / 2
sector   a quarter of the circle, of the plain template (0 ... 3) or of its mirror image (4 ... 7): angles theta,
         -theta, pi - theta, pi + theta; all eight follow from g by adding and subtracting
"""
import numpy as np

from .backend import SMALL_PRODUCT
from .compiled import fast, inlined, kernel

SECTORS = 8


@kernel
def gather(inverse, table, factor):
    """factor (B, 8, H, S): what ``inverse`` (B, G) says at the places ``table`` (8, H, S)."""
    places = table.ravel()
    for b in range(len(inverse)):
        values, out = inverse[b], factor[b].ravel()
        for i in range(len(places)):
            out[i] = values[places[i]]


def transform(product, cosine, sine, even, g):
    """g (8, H, C) of products (4, Q, C) of C pairs, the first ``even`` of Q even orders; cosine, sine: (H, Q)."""
    half, orders = cosine.shape
    together = max(64, SMALL_PRODUCT // (half * max(even, orders - even)) // 64 * 64)
    for start in range(0, product.shape[2], together):
        pairs = slice(start, start + together)
        for plane in range(SECTORS):
            wave, some = cosine if plane % 4 < 2 else sine, slice(even) if plane < 4 else slice(even, None)
            np.matmul(wave[:, some], product[plane % 4, some, pairs], out=g[plane, :, pairs])


@fast
def best_of_sectors(g, factor, best):
    """Fill best (B, K, 8) with the highest score, at least 0, over the angles of each sector and S = T / K shifts.

    factor: (B, 8, H, S), what correlations are multiplied by.
    """
    half, count = g.shape[1:3]
    references, shifts = best.shape[1], factor.shape[3]
    for b in range(count):
        for k in range(references):
            m0 = m1 = m2 = m3 = m4 = m5 = m6 = m7 = np.float32(0)
            for h in range(half):
                a0, a1, a2, a3 = g[0, h, b], g[1, h, b], g[2, h, b], g[3, h, b]
                a4, a5, a6, a7 = g[4, h, b], g[5, h, b], g[6, h, b], g[7, h, b]
                f0, f1, f2, f3 = factor[b, 0, h], factor[b, 1, h], factor[b, 2, h], factor[b, 3, h]
                f4, f5, f6, f7 = factor[b, 4, h], factor[b, 5, h], factor[b, 6, h], factor[b, 7, h]
                for s in range(shifts):
                    t = k * shifts + s
                    ce, de, se, te = a0[t] + a1[t], a0[t] - a1[t], a2[t] - a3[t], a2[t] + a3[t]
                    co, do, so, to = a4[t] + a5[t], a4[t] - a5[t], a6[t] - a7[t], a6[t] + a7[t]
                    # not by max(), which asks whether they are numbers
                    v = f0[s] * (ce + co + se + so)
                    m0 = v if v > m0 else m0
                    v = f1[s] * (ce + co - se - so)
                    m1 = v if v > m1 else m1
                    v = f2[s] * (ce - co - se + so)
                    m2 = v if v > m2 else m2
                    v = f3[s] * (ce - co + se - so)
                    m3 = v if v > m3 else m3
                    v = f4[s] * (de - do - te + to)
                    m4 = v if v > m4 else m4
                    v = f5[s] * (de - do + te - to)
                    m5 = v if v > m5 else m5
                    v = f6[s] * (de + do + te + to)
                    m6 = v if v > m6 else m6
                    v = f7[s] * (de + do - te - to)
                    m7 = v if v > m7 else m7
            out = best[b, k]
            out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7] = m0, m1, m2, m3, m4, m5, m6, m7


@kernel
def locate(g, factor, wanted, first, found):
    """List where the sectors ``wanted``, bool (B, K, 8), have their highest score.

    first: number of the first reference here.  found: arrays (image, reference, mirrored, angle, shift, score) to
    fill, one entry for each.  angle in steps of 2 pi / n_psi from 0 to n_psi - 1.
    """
    image, reference, mirrored, angle, shift, score = found
    half, shifts, count = g.shape[1], factor.shape[3], 0
    n_psi = 4 * (half - 1)
    for b in range(wanted.shape[0]):
        for k in range(wanted.shape[1]):
            for c in range(SECTORS):
                if not wanted[b, k, c]:
                    continue
                highest, at_h, at_s = np.float32(-1), 0, 0
                for h in range(half):
                    a = g[:, h, b, k * shifts : (k + 1) * shifts]
                    for s in range(shifts):
                        value = factor[b, c, h, s] * _of_sector(a[:, s], c)
                        if value > highest:
                            highest, at_h, at_s = value, h, s
                turn = c % 4
                at = at_h if turn == 0 else (-at_h if turn == 1 else
                                             (n_psi // 2 - at_h if turn == 2 else n_psi // 2 + at_h))
                image[count], reference[count], mirrored[count] = b, first + k, c // 4
                angle[count], shift[count], score[count] = at % n_psi, at_s, highest
                count += 1


@kernel
def _of_sector(a, c):
    """Correlation of sector c from the eight sums a."""
    if c < 4:
        e, o, se, so = a[0] + a[1], a[4] + a[5], a[2] - a[3], a[6] - a[7]
        if c == 0:
            return e + o + se + so
        if c == 1:
            return e + o - se - so
        if c == 2:
            return e - o - se + so
        return e - o + se - so
    e, o, se, so = a[0] - a[1], a[4] - a[5], a[2] + a[3], a[6] + a[7]
    if c == 4:
        return e - o - se + so
    if c == 5:
        return e - o + se - so
    if c == 6:
        return e + o + se + so
    return e + o - se - so


@kernel
def turned_back(x, layout, psi, mirrored, out):
    """Harmonics x (B, size) turned by -psi (B,), then (where mirrored) y -> -y: out (B, size)."""
    start, each = layout
    cos, sin = np.empty(each[-1], np.float32), np.empty(each[-1], np.float32)
    for b in range(len(x)):
        for parity in range(2):
            for i in range(each[-1]):
                cos[i], sin[i] = np.cos((2 * i + parity) * psi[b]), np.sin((2 * i + parity) * psi[b])
            # the mirror takes a_q to (-1)^q conj(a_q)
            real = np.float32(-1 if mirrored[b] == 1 and parity == 1 else 1)
            imag = np.float32(-1 if mirrored[b] == 1 and parity == 0 else 1)
            for j in range(len(each)):
                count = each[j]
                begin = start[j] + 2 * count * parity
                xr, xi = x[b, begin : begin + count], x[b, begin + count : begin + 2 * count]
                yr, yi = out[b, begin : begin + count], out[b, begin + count : begin + 2 * count]
                for i in range(count):
                    yr[i] = real * (cos[i] * xr[i] - sin[i] * xi[i])
                for i in range(count):
                    yi[i] = imag * (cos[i] * xi[i] + sin[i] * xr[i])


@fast
def add_unshifted(samples, kx, ky, shift, weight, total):
    """Add samples (B, 2, P) of images shifted by -shift (B, 2) = (x, y) px, times weight (B,), to total (2, P)."""
    for b in range(len(samples)):
        x, y, w = np.float32(shift[b, 0]), np.float32(shift[b, 1]), np.float32(weight[b])
        for p in range(len(kx)):
            c, s = _cos_sin(kx[p] * x + ky[p] * y)
            c, s = w * c, w * s
            total[0, p] += c * samples[b, 0, p] - s * samples[b, 1, p]
            total[1, p] += c * samples[b, 1, p] + s * samples[b, 0, p]


@fast
def unshifted(samples, kx, ky, shift):
    """Samples (B, 2, P) of images shifted by -shift (B, 2) = (x, y) px, in place."""
    for b in range(len(samples)):
        x, y = np.float32(shift[b, 0]), np.float32(shift[b, 1])
        for p in range(len(kx)):
            c, s = _cos_sin(kx[p] * x + ky[p] * y)
            real, imag = samples[b, 0, p], samples[b, 1, p]
            samples[b, 0, p] = c * real - s * imag
            samples[b, 1, p] = c * imag + s * real


@inlined
def _cos_sin(angle):
    """Cosine and sine of |angle| < 200: a short series for a small part of it, doubled again and again."""
    a = angle * np.float32(1 / 256)
    z = a * a
    c = 1 - z * (np.float32(1 / 2) - z * (np.float32(1 / 24) - z * (np.float32(1 / 720) - z * np.float32(1 / 40320))))
    s = a * (1 - z * (np.float32(1 / 6) - z * (np.float32(1 / 120) - z * np.float32(1 / 5040))))
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    c, s = c * c - s * s, 2 * c * s
    return c * c - s * s, 2 * c * s


@fast
def add_ctf_power(ring, cosine, sine, phase, along, across, envelope, weight, total):
    """Add weight (B,) times the squared CTF of each image to total (P,).

    ring: (P,); cosine, sine: (P,) of twice the azimuth; phase, along, across, envelope: (B, rings), see
    averaging.Transfer, in the frame of the average.
    """
    for b in range(len(phase)):
        w = np.float32(weight[b])
        for p in range(len(ring)):
            j = ring[p]
            angle = phase[b, j] + along[b, j] * cosine[p] + across[b, j] * sine[p]
            _, s = _cos_sin(angle)
            total[p] += w * envelope[b, j] * s * s
