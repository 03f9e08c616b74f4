"""How real spherical harmonics turn.

Real spherical harmonics of degree l are ordered m = 0, then cosines m = 1 ... l, then sines m = 1 ... l, without the
Condon-Shortley phase:

    Y_l0 = P_l0(cos theta)    Y_lm = sqrt 2 P_lm cos(m phi)    Y_l-m = sqrt 2 P_lm sin(m phi),

P_lm positive near the pole and normalised so that the square of every Y integrates to one over the sphere.
A turn about z mixes each cosine with its sine.  Every other turn is three turns about z with the exchange of the axes
y and z between them (Pinchon & Hoggan, J. Phys. A 40:1597, 2007): with J_l the matrix of (x, y, z) -> (x, z, y),

    D(Rz(a) Ry(b) Rz(c)) = Z(a) J Z(-b) J Z(c),

since an exchange of axes is a reflection and turns the other way round.
"""
from functools import lru_cache

import numpy as np


@lru_cache(maxsize=1)
def _quarter_turns(highest):
    """Wigner's d^l(pi / 2), float64 (2 l + 1, 2 l + 1) with m' and m falling from l, of l = 0 ... highest.

    By the stable recursion over half-integral degrees of Risbo, J. Geodesy 70:383 (1996).
    """
    half = np.sqrt(0.5)                       # sine and cosine of half the angle
    d, found = np.ones((1, 1)), [np.ones((1, 1))]
    for j in range(1, 2 * highest + 1):
        up, down = np.sqrt(np.arange(j)[::-1] + 1.0), np.sqrt(np.arange(j) + 1.0)      # of i < j, and of i + 1
        new = np.zeros((j + 1, j + 1))
        new[:-1, :-1] += half * d * np.outer(up, up)
        new[:-1, 1:] -= half * d * np.outer(up, down)
        new[1:, :-1] += half * d * np.outer(down, up)
        new[1:, 1:] += half * d * np.outer(down, down)
        d = new / j
        if j % 2 == 0:
            found.append(d)
    return found


@lru_cache(maxsize=2)
def exchanges(highest):
    """J_l, float64 (2 l + 1, 2 l + 1), of l = 0 ... highest: the exchange of y and z; symmetric, its own inverse."""
    return [_exchange(d[::-1, ::-1]) for d in _quarter_turns(highest)]


def _exchange(d):
    """J_l from d^l(pi / 2), whose m' and m rise from -l.

    The exchange is a quarter turn about x, Rz(-pi/2) Ry(pi/2) Rz(pi/2), and then y -> -y, which negates sines.
    """
    l = len(d) // 2
    m = np.arange(-l, l + 1)
    turn = 1j ** (m[:, None] - m) * d
    sign = (-1.0) ** np.arange(1, l + 1)
    # complex coefficients of a cosine are (sign, 1) / sqrt 2 at (m, -m), those of a sine (-i sign, i) / sqrt 2
    plus, minus = turn[:, l + 1:] * sign, turn[:, l - 1::-1] if l else turn[:, :0]
    columns = np.concatenate([turn[:, l:l + 1], (plus + minus) / np.sqrt(2), 1j * (minus - plus) / np.sqrt(2)], 1)
    upper = sign[:, None] * columns[l + 1:] * np.sqrt(2)
    return np.concatenate([columns[l:l + 1].real, upper.real, upper.imag])


def legendre(highest, cosines):
    """P_lm at ``cosines`` (G,): a list over m = 0 ... highest of float64 (G, highest + 1 - m), l = m and up.

    Normalised as above; by the recursion in l for each m, stable to degrees of some thousand.
    """
    u = np.asarray(cosines, float)
    sine = np.sqrt(1 - u**2)
    tables, sectoral = [], np.full(len(u), np.sqrt(1 / (4 * np.pi)))
    for m in range(highest + 1):
        if m:
            sectoral = sectoral * sine * np.sqrt((2 * m + 1) / (2 * m))
        table = np.zeros((len(u), highest + 1 - m))
        table[:, 0] = sectoral
        before, now = np.zeros(len(u)), sectoral
        for l in range(m + 1, highest + 1):
            a = np.sqrt((4 * l * l - 1) / (l * l - m * m))
            b = np.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1)) if l > m + 1 else 0.0
            before, now = now, a * (u * now - b * before)
            table[:, l - m] = now
        tables.append(table)
    return tables


def euler_zyz(rotations):
    """Angles (a, b, c), each (...,) radians, with R = Rz(a) Ry(b) Rz(c), of rotation matrices (..., 3, 3)."""
    r = np.asarray(rotations, float)
    b = np.arctan2(np.hypot(r[..., 0, 2], r[..., 1, 2]), r[..., 2, 2])
    pole = np.hypot(r[..., 0, 2], r[..., 1, 2]) < 1e-9
    a = np.where(pole, 0.0, np.arctan2(r[..., 1, 2], r[..., 0, 2]))
    c = np.where(pole, np.arctan2(r[..., 1, 0], r[..., 1, 1]), np.arctan2(r[..., 2, 1], -r[..., 2, 0]))
    return a, np.where(pole, np.where(r[..., 2, 2] > 0, 0.0, np.pi), b), c
