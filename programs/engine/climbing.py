"""Compiled loops of the fine maximum-correlation search: from where the coarse one ended to the top of the hill.

The image is turned back to each angle on the way, which is done once for all shifts there; a score is then a sum of
products over the vectors of image and template as they lie in memory (:mod:`.rings`).
"""
import numpy as np

from .compiled import kernel, part

NOWHERE = -1e30         # the score of a place that is not searched
WINDOW = 8              # lattice steps that a climb may lead away from where it began
LEAPS = 4               # after the climb, along a ridge
NEAR = 0.75             # steps from a point within which its paraboloid's top is trusted more than another's
SLOTS = 16              # consecutive angles whose scores are kept; angles are a multiple of these
TURNED = 4              # consecutive angles to which the image is kept turned

# a lattice point (x, y, angle) and those of its neighbours that a paraboloid is made from, steps along one axis or two
AROUND = np.array([(0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1),
                   (1, 1, 0), (1, -1, 0), (-1, 1, 0), (-1, -1, 0), (1, 0, 1), (1, 0, -1), (-1, 0, 1), (-1, 0, -1),
                   (0, 1, 1), (0, 1, -1), (0, -1, 1), (0, -1, -1)])


@kernel
def climb(x, layout, templates, index, step, cosine, sine, inverse, limits, image, mirrored, angle, place, found):
    """Climb from each candidate to the highest point of its hill on the fine lattice, and from there to the top.

    The top is that of a paraboloid through a point and its neighbours.  Where a ridge runs slantwise through the
    lattice, the highest point is not the one next to the top: then the paraboloid leads on.

    x: (N, size).  layout: (start, each) of the rings used.  templates: (T, size of these) at the lattice points of
    index (L, L), -1 where there is none.  cosine, sine: (n, Q) of q psi at the fine angles.  inverse: (N, G, G), what a
    correlation is multiplied by where the mask is shifted by whole pixels.  limits: (N, 4) lowest and highest x and y.
    image, mirrored, angle (of the fine ones): (C,); place: (C, 2) = (x, y) in the lattice.
    found: (C, 4) to fill with score, psi in radians, and shift x, y in pixels, of the template.
    Returns how many places were scored, and to how many angles images were turned.
    """
    side, angles = 2 * WINDOW + 1, len(cosine)
    # what is known, and of which candidate and angle; images turned back, and of which
    scores, known = np.empty((side, side, SLOTS, 2)), np.full((side, side, SLOTS), -1)
    turned, held = np.empty((TURNED, templates.shape[1]), np.float32), np.full(TURNED, -1)
    value, counts = np.zeros((3, 3, 3)), np.zeros(2, np.int64)
    for c in range(len(image)):
        i, px, py, a, flip = image[c], place[c, 0], place[c, 1], angle[c], mirrored[c] == 1
        x0, y0, leaps = px - WINDOW, py - WINDOW, -1
        while leaps < LEAPS:
            highest, bx, by, ba = -np.inf, 0, 0, 0
            for n in range(len(AROUND)):
                dx, dy, da = AROUND[n]
                wx, wy, at, t = px + dx - x0, py + dy - y0, (a + da) % angles, _point(index, px + dx, py + dy)
                v = rank = 10 * NOWHERE
                if t >= 0 and 0 <= wx < side and 0 <= wy < side:
                    of, kept = c * angles + at, at % SLOTS
                    if known[wy, wx, kept] != of:
                        known[wy, wx, kept] = of
                        if held[at % TURNED] != of:
                            held[at % TURNED] = of
                            counts[1] += 1
                            _turn_back(x[i], layout, cosine[at], sine[at], flip, turned[at % TURNED])
                        counts[0] += 1
                        f, outside = _factor(inverse[i], limits[i], cosine, sine, at, flip, step * (px + dx),
                                             step * (py + dy))
                        y, template, product = turned[at % TURNED], templates[t], np.float32(0)
                        for k in range(len(template)):
                            product += y[k] * template[k]
                        v = f * product
                        # outside the limits it is uphill to them
                        scores[wy, wx, kept] = v, NOWHERE * (1 + outside) if outside > step / 2 + 1e-6 else v
                    v, rank = scores[wy, wx, kept]
                value[dy + 1, dx + 1, da + 1] = v
                if rank > highest:
                    highest, bx, by, ba = rank, dx, dy, da
            if leaps >= 0 or (bx == 0 and by == 0 and ba == 0):
                dx, dy, da, top = _paraboloid(value)
                if leaps < 0 or (top > found[c, 0] and max(abs(dx), abs(dy), abs(da)) < NEAR):
                    found[c] = top, (a + da) * 2 * np.pi / angles, step * (px + dx), step * (py + dy)
                leaps += 1
                bx, by, ba = int(np.rint(dx)), int(np.rint(dy)), int(np.rint(da))
                if bx == 0 and by == 0 and ba == 0:
                    break
            px, py, a = px + bx, py + by, (a + ba) % angles
    return counts


@part
def _point(index, x, y):
    """Template at a lattice point, -1 for none."""
    middle = len(index) // 2
    if abs(x) > middle or abs(y) > middle:
        return -1
    return index[y + middle, x + middle]


@part
def _factor(inverse, limits, cosine, sine, at, mirrored, x, y):
    """``inverse`` (G, G) where a template shifted by (x, y), mirrored and turned puts the mask.

    And how far beyond the limits that is, in pixels.
    """
    if mirrored:
        y = -y
    # order 1 is the first of the odd ones
    first = cosine.shape[1] // 2
    c, s = cosine[at, first], sine[at, first]
    sx, sy = c * x - s * y, s * x + c * y
    outside = max(limits[0] - sx, sx - limits[1], limits[2] - sy, sy - limits[3])
    middle = len(inverse) // 2
    fx, fy = sx + middle, sy + middle
    ix = min(max(int(np.floor(fx)), 0), len(inverse) - 2)
    iy = min(max(int(np.floor(fy)), 0), len(inverse) - 2)
    fx, fy = fx - ix, fy - iy
    f = ((1 - fy) * ((1 - fx) * inverse[iy, ix] + fx * inverse[iy, ix + 1])
         + fy * ((1 - fx) * inverse[iy + 1, ix] + fx * inverse[iy + 1, ix + 1]))
    return f, outside


@part
def _turn_back(x, layout, cosine, sine, mirrored, out):
    """Harmonics x turned by -psi, then (where mirrored) y -> -y: out, same rings.  cosine, sine: (Q,) of q psi."""
    start, each = layout
    half = len(cosine) // 2
    for parity in range(2):
        cos, sin = cosine[parity * half : (parity + 1) * half], sine[parity * half : (parity + 1) * half]
        # the mirror takes a_q to (-1)^q conj(a_q)
        real = np.float32(-1 if mirrored and parity == 1 else 1)
        imag = np.float32(-1 if mirrored and parity == 0 else 1)
        for j in range(len(each)):
            count = each[j]
            begin = start[j] + 2 * count * parity
            xr, xi = x[begin : begin + count], x[begin + count : begin + 2 * count]
            yr, yi = out[begin : begin + count], out[begin + count : begin + 2 * count]
            for q in range(count):
                yr[q] = real * (cos[q] * xr[q] - sin[q] * xi[q])
            for q in range(count):
                yi[q] = imag * (cos[q] * xi[q] + sin[q] * xr[q])


@part
def _paraboloid(v):
    """Offsets (x, y, angle) of the peak of a paraboloid through v (3, 3, 3) = (y, x, angle), and its height.

    Axes along which a neighbour is missing, and curvatures that are no peak's, stay where they are.
    """
    gradient, curvature = np.zeros(3), np.zeros((3, 3))
    free = np.zeros(3, np.bool_)
    centre = v[1, 1, 1]
    for axis in range(3):
        low = v[1, 0, 1] if axis == 0 else (v[0, 1, 1] if axis == 1 else v[1, 1, 0])
        high = v[1, 2, 1] if axis == 0 else (v[2, 1, 1] if axis == 1 else v[1, 1, 2])
        bend = low + high - 2 * centre
        free[axis] = min(low, high) > NOWHERE and bend < 0
        curvature[axis, axis] = bend if free[axis] else -1.0
        gradient[axis] = (high - low) / 2 if free[axis] else 0.0
    for one in range(3):
        for other in range(one):
            mixed = _mixed(v, other, one)
            if free[one] and free[other] and abs(mixed) < -NOWHERE / 8:
                curvature[one, other] = curvature[other, one] = mixed
    # a peak in every direction, not only along the axes
    if curvature[0, 0] * curvature[1, 1] - curvature[0, 1] ** 2 <= 0 or _determinant(curvature) >= 0:
        for one in range(3):
            for other in range(3):
                if one != other:
                    curvature[one, other] = 0.0
    whole, offset = _determinant(curvature), np.empty(3)
    for axis in range(3):
        kept = curvature[:, axis].copy()
        curvature[:, axis] = gradient
        offset[axis] = -_determinant(curvature) / whole
        curvature[:, axis] = kept
    top = centre
    for axis in range(3):
        offset[axis] = min(max(offset[axis], -1.0), 1.0)
    for one in range(3):
        top += gradient[one] * offset[one]
        for other in range(3):
            top += curvature[one, other] * offset[one] * offset[other] / 2
    return offset[0], offset[1], offset[2], top


@part
def _determinant(m):
    return (m[0, 0] * (m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]) - m[0, 1] * (m[1, 0] * m[2, 2] - m[1, 2] * m[2, 0])
            + m[0, 2] * (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]))


@part
def _mixed(v, one, other):
    """Mixed second difference of v (y, x, angle) along axes 0 = x, 1 = y, 2 = angle, one < other."""
    if other == 1:
        return (v[2, 2, 1] - v[0, 2, 1] - v[2, 0, 1] + v[0, 0, 1]) / 4
    if one == 0:
        return (v[1, 2, 2] - v[1, 2, 0] - v[1, 0, 2] + v[1, 0, 0]) / 4
    return (v[2, 1, 2] - v[2, 1, 0] - v[0, 1, 2] + v[0, 1, 0]) / 4
