"""Damaging good files: bytes, numbers at any offset, words and lines; the same seed gives the same damage."""
import re
import struct

WHOLE = (0, 1, -1, 2, 3, 4, 6, 12, 16, 101, 127, 128, 255, 256, 401, 1023, 1024, 4096, 65535, 2**16, 2**24, 2**30,
         2**31 - 1, -2**31, 10**9)
WIDE = (2**31, 2**32 - 1, 2**32, 10**12, 2**62, 2**63 - 1, -2**63, -1)
REAL = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 1e30, 3.4e38, -3.4e38, float("inf"), float("-inf"), float("nan"), 1e12)
WORDS = (
    "0", "-1", "1", "2", "1e3", "1.5", "nan", "inf", "-inf", "1e400", "1e19", "9223372036854775807",
    "9223372036854775808", "99999999999999999999", "-9223372036854775809", "9" * 30, "9" * 5000, "1_000", "0x10", "1,5",
    "+3", "--", "-", ".", "", "''", '""', "'", '"', "'a b'", '"a', "#", "#1", "@", "1@", "@a", "0@a", "1@@a",
    "data_", "data_x", "loop_", "_", "_x", "_image", ";", "NULL", "None", "none", "true", "²", "٣", "１", "½", "\ufeff",
    "\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\0", "\x7f", "é", "\U0001f600", "%s", "%n", "{0}", "$HOME", "`id`",
    "; id", "../../../etc/passwd", "/etc/passwd", "1@/etc/passwd", "/dev/null", "/dev/zero", "/", "..", ".", "~",
    "a" * 300, "a" * 5000, "/" * 5000, "wedge_y", "cone", "weight", "E1.5")
BREAKS = ("\n", "\r\n", "\r", "\n\n", " ", "\t", "\0", "\x0b", "\u2028")


def mutated(rng, seeds, text=False):
    """One of the seeds (bytes), damaged up to a few times.  rng: :class:`random.Random`"""
    data = rng.choice(seeds)
    if rng.random() < 0.02:
        return data                         # what is whole must be read
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        ways = TEXT_WAYS if text and rng.random() < 0.8 else BYTE_WAYS
        data = rng.choice(ways)(rng, data, seeds)
    return data


# ---- bytes

def _place(rng, data):
    """An offset; headers, which come first, more often than what follows."""
    return rng.randrange(min(len(data), rng.choice((32, 256, 1024, 1 << 30)))) if data else 0


def _flip(rng, data, seeds):
    place = _place(rng, data)
    return data[:place] + bytes(byte ^ 1 << rng.randrange(8) for byte in data[place:place + 1]) + data[place + 1:]


def _overwrite(rng, data, seeds):
    place, some = _place(rng, data), rng.randbytes(rng.choice((1, 1, 2, 4, 8)))
    return data[:place] + some + data[place + len(some):]


def _number(rng, data, seeds):
    order = rng.choice("<>")
    form, value = rng.choice((("i", rng.choice(WHOLE)), ("f", rng.choice(REAL)), ("q", rng.choice(WIDE)),
                              ("h", rng.choice((0, 1, -1, 255, -2**15)))))
    some = struct.pack(order + form, value)
    place = _place(rng, data) // len(some) * len(some)
    return data[:place] + some + data[place + len(some):]


def _remove(rng, data, seeds):
    place = _place(rng, data)
    return data[:place] + data[place + rng.choice((1, 4, 16, 256)):]


def _insert(rng, data, seeds):
    place = _place(rng, data)
    return data[:place] + rng.choice((b"\0", rng.randbytes(4), b"\n", b"\xff" * 8)) + data[place:]


def _repeat(rng, data, seeds):
    place = _place(rng, data)
    return data[:place] + data[place:place + rng.choice((1, 16, 256))] * rng.choice((2, 3, 20)) + data[place:]


def _truncate(rng, data, seeds):
    return data[:rng.randrange(len(data) + 1)]


def _splice(rng, data, seeds):
    other = rng.choice(seeds)
    return data[:_place(rng, data)] + other[_place(rng, other):]


BYTE_WAYS = _flip, _flip, _overwrite, _number, _number, _number, _remove, _insert, _repeat, _truncate, _splice


# ---- words and lines

def _word(rng, data, seeds):
    words = list(re.finditer(rb"[^\s=:,]+", data))
    if not words:
        return data
    place = rng.choice(words).span()
    return data[:place[0]] + rng.choice(WORDS).encode() + data[place[1]:]


def _swap_words(rng, data, seeds):
    words = list(re.finditer(rb"\S+", data))
    if not words:
        return data
    target, source = rng.choice(words), rng.choice(words)
    return data[:target.start()] + source[0] + data[target.end():]


def _line(rng, data, seeds):
    lines = data.split(b"\n")
    place, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    what = rng.randrange(4)
    if what == 0:
        del lines[place]
    elif what == 1:
        lines.insert(place, lines[other])
    elif what == 2:
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines.insert(place, b" ".join(rng.choice(WORDS).encode() for _ in range(rng.randrange(1, 5))))
    return b"\n".join(lines)


def _break(rng, data, seeds):
    place = _place(rng, data)
    return data[:place] + rng.choice(BREAKS).encode() + data[place:]


TEXT_WAYS = _word, _word, _word, _word, _swap_words, _line, _line, _break
