"""The filter of the gallery: which items a line such as ``particles > 50 and resolution < 12`` lets through.

    comparison : COLUMN, one of > >= < <= = !=, and a number, such as ``share >= 2 %`` or ``size > 1.5k``
    numbers    : ``3-7, 12``, the items of these numbers
    text       : ``best`` or ``"class 12"``, the items in whose names or files it occurs

They are joined by ``and`` (or a space or comma between comparisons), ``or``, ``not``, and brackets.  A column goes by
its key or its label or the beginning of either, in any case; what is shown in per cent is compared in per cent.
No Qt here.
"""
import operator
import re

import numpy as np

from ...programs.errors import UserError

COMPARISONS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "=": operator.eq,
               "==": operator.eq, "!=": operator.ne, "≥": operator.ge, "≤": operator.le, "≠": operator.ne}
OTHER_NAMES = {"size": "particles", "count": "particles", "images": "particles", "members": "particles",
               "id": "number", "class": "number", "percent": "share", "mirrored": "mirrorFraction"}
FACTORS = {"k": 1e3, "m": 1e6}
_TOKEN = re.compile(r"""\s*(?:
    (?P<quoted>"[^"]*"|'[^']*') | (?P<bracket>[()]) | (?P<comparison>>=|<=|==|!=|[><=≥≤≠]) |
    (?P<numbers>\d+\s*-\s*\d+(?![\w.])|\d+(?=\s*,\s*\d)) | (?P<comma>[,&;]) |
    (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(?P<unit>%|[kKmM]\b|Å|A\b|px\b)? |
    (?P<word>[^\s()<>=!≥≤≠,&;"']+)
    )""", re.VERBOSE)


def matching(pictures, text):
    """Which items (K,) of a :class:`.pictures.Pictures` the line lets through: all of them when it is empty.

    Raises :class:`UserError`, one line that says what is wrong with the filter.
    """
    if not text.strip():
        return np.ones(len(pictures), bool)
    return _Parser(pictures, list(_tokens(text))).parse()


def needed(pictures, text):
    """Keys of the columns that the line compares and that have not been computed yet; none for one that is wrong."""
    try:
        tokens = list(_tokens(text))
        names = [" ".join(tokens[first][1] for first in range(start, place)) for place in range(1, len(tokens))
                 if tokens[place][0] == "comparison"
                 for start in range(max(place - 2, 0), place) if all(t[0] in ("word", "text") for t in
                                                                     tokens[start:place])]
    except UserError:
        return set()
    return {key for name in names for key in _keys(pictures, name)[:1]} - pictures.columns.keys()


def _tokens(text):
    """(kind, value) of every word of a filter; a number's value is a float with its factor applied."""
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        if match is None:
            raise UserError(f"filter: cannot read {text[place:].strip()!r}")
        place, kind = match.end(), match.lastgroup
        if kind in ("number", "unit"):
            unit = (match["unit"] or "").lower()
            yield "number", (float(match["number"]) * FACTORS.get(unit, 1), match["number"])
        elif kind == "quoted":
            yield "text", match["quoted"][1:-1]
        elif kind == "word" and match["word"].lower() in ("and", "or", "not"):
            yield match["word"].lower(), match["word"]
        else:
            yield kind, match[kind]
    yield "end", "the end"


class _Parser:
    """Goes through the words once: ``or`` binds least, then ``and``, then ``not``."""

    def __init__(self, pictures, tokens):
        self.pictures, self.tokens, self.place = pictures, tokens, 0

    def parse(self):
        mask = self._either()
        if self._kind() != "end":
            raise UserError(f"filter: {self._word()!r} is not expected there")
        return mask

    def _kind(self, ahead=0):
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)][0]

    def _word(self):
        value = self.tokens[self.place][1]
        return value[1] if isinstance(value, tuple) else value

    def _take(self):
        self.place += 1
        return self.tokens[self.place - 1][1]

    def _either(self):
        mask = self._both()
        while self._kind() == "or":
            self._take()
            mask = mask | self._both()
        return mask

    def _both(self):
        mask = self._one()
        while self._kind() not in ("or", "end") and self._word() != ")":
            if self._kind() in ("and", "comma"):
                self._take()
            mask = mask & self._one()
        return mask

    def _one(self):
        kind, word = self._kind(), self._word()
        if kind == "not":
            self._take()
            return ~self._one()
        if word == "(" and kind == "bracket":
            self._take()
            mask = self._either()
            if self._word() != ")":
                raise UserError("filter: a bracket is not closed, expected )")
            self._take()
            return mask
        if kind == "numbers" or (kind == "number" and self._kind(1) != "comparison"):
            return self._numbered()
        if kind in ("word", "text"):
            return self._comparison() if self._compares() else self._named(self._take())
        raise UserError(f"filter: found {word!r}, expected something like particles > 50, 3-7 or a name")

    def _compares(self):
        """Whether a column's name, of one word or two, and a sign come next."""
        two = self._kind() == self._kind(1) == "word"
        return self._kind(1) == "comparison" or (two and self._kind(2) == "comparison")

    def _comparison(self):
        name = self._take()
        while self._kind() == "word":               # a label of two words
            name += " " + self._take()
        column = _column(self.pictures, name)
        sign = self._take()
        if self._kind() != "number":
            raise UserError(f"filter: found {self._word()!r} after {name} {sign}, expected a number")
        value, values = self._take()[0] / (100 if column.percent else 1), np.asarray(column.values, float)
        return COMPARISONS[sign](values, value) & ~np.isnan(values)

    def _numbered(self):
        wanted = []
        while True:
            kind, word = self._kind(), str(self._word())
            if kind not in ("numbers", "number"):
                raise UserError(f"filter: found {word!r}, expected numbers such as 3-7, 12")
            self._take()
            first, _, last = word.partition("-")
            if not (first.strip().isdigit() and (last or first).strip().isdigit()):
                raise UserError(f"filter: {word!r} is no number of an item, expected something like 3-7, 12")
            wanted.append((int(first), int(last or first)))
            if not (self._kind() == "comma" and self._kind(1) in ("numbers", "number")):
                break
            self._take()
        numbers = np.asarray(self.pictures.columns["number"].values, float)
        return np.any([(first <= numbers) & (numbers <= last) for first, last in wanted], axis=0)

    def _named(self, text):
        files = self.pictures.source.metadata["image"]
        return np.array([text.lower() in f"{self.pictures.name(item)}\n{files[item]}".lower()
                         for item in range(len(self.pictures))])


def _column(pictures, name):
    """The column that a user means."""
    found = _keys(pictures, name)
    if len(found) == 1:
        return pictures.column(found[0])
    there = ", ".join(column.label.lower() for column in pictures.offered().values())
    fault = "could be several columns" if found else "is no column"
    raise UserError(f"filter: {name!r} {fault}; there are {there}")


def _keys(pictures, name):
    """Keys of the columns that go by that name; when none does, of those that begin with it."""
    names = {key: {_plain(key), _plain(column.label)} for key, column in pictures.offered().items()}
    wanted = _plain(OTHER_NAMES.get(name.lower(), name))
    return ([key for key, texts in names.items() if wanted in texts][:1]
            or [key for key, texts in names.items() if any(text.startswith(wanted) for text in texts)])


def _plain(text):
    return re.sub(r"\W|_", "", text).lower()
