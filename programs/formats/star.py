"""STAR files: tables of text, read and written column by column.

Scipion reads with emtable, which must understand what is written here.  It is not used itself: it takes a column's
type from its first row, drops what a row has too much, cannot say which line is wrong, knows no comments, and works
row by row.
"""
import re
from collections.abc import Mapping

import numpy as np

from ..errors import UserError
from .labels import NUMBERS, TEXT, WHOLE
from .whole import whole_file
from .whole_numbers import not_whole

CHUNK = 10_000          # rows that are held as text at one time
_WORD = re.compile(r"\S+")
_CLOSING = {quote: re.compile(quote + r"(?=\s|$)") for quote in "'\""}
_MARKS = "\"'#"             # words with these may be more than words
_ROW_END = " \0 "
_SPECIAL_BEGINNINGS = ('"', "'", "#", "_", ";", "data_", "loop_", "save_")


class MetaData:
    """A table, column by column.

    columns : dict of label (no leading underscore) -> array (rows,), int64, float64 or object (of str)
    path    : the file it came from, for messages
    rows    : (rows,) their numbers there, from 1, for messages; default: all
    """

    def __init__(self, columns, path="", rows=None):
        self.columns = dict(columns)
        self.path = str(path)
        self.rows = np.arange(1, len(self) + 1) if rows is None else rows

    def __len__(self):
        return len(next(iter(self.columns.values()), ()))

    def __contains__(self, label):
        return label in self.columns

    def __getitem__(self, label):
        """The column; a :class:`UserError` that lists the columns when there is none."""
        if label not in self.columns:
            raise UserError(f"{self.path}: no column _{label}; there are {_listed(self.columns)}")
        return self.columns[label]

    def numbers(self, label):
        """The column as float64 (rows,); :class:`UserError` for text and for a NaN or infinite value."""
        column = self[label]
        if column.dtype == object:
            raise UserError(f"{self.path}: column _{label} holds text, expected numbers")
        values = column.astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise UserError(f"{self.path}: row {self.rows[bad[0]]}: _{label} is {values[bad[0]]}, "
                            "expected a number")
        return values

    def take(self, rows):
        """A table of the given rows (slice, index or boolean array)."""
        return MetaData({label: column[rows] for label, column in self.columns.items()}, self.path,
                        self.rows[rows])


def read_star(path, blocks=None):
    """Read a STAR file: dict of block name -> :class:`MetaData`, in file order.

    blocks : names of the blocks wanted; default: all

    Labels lose their leading underscore and are otherwise as in the file.  A one-row ``key value`` block
    gives columns of length 1.  Raises :class:`UserError` naming file and line for a missing file or block, a
    row with too few or too many values, or a word where a number belongs.
    """
    text = set()        # (block, label) of columns in which only a late row turned out not to be a number
    while True:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                return _parse(path, file, blocks, text)
        except _LateText as late:
            text.add(late.args)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error


def write_star(path, blocks):
    """Write a STAR file, whole or not at all.

    blocks : mapping, or iterable of pairs, name -> columns (dict or :class:`MetaData`) of equal length, or
             :class:`Rows`; an iterable is consumed block by block

    Every block is a loop.  A float64 or integer comes back exactly as it was.
    """
    pairs = blocks.items() if isinstance(blocks, Mapping) else blocks
    with whole_file(path) as temporary, \
            open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        for name, columns in pairs:
            _write_block(file, name, getattr(columns, "columns", columns))


def copy_star(source, path, name, columns):
    """Write a copy of a STAR file that ``write_star`` made, with other columns in its block ``name``, line by line."""
    with whole_file(path) as temporary, \
            open(source, encoding="utf-8", errors="surrogateescape") as original, \
            open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        replaced = False
        for line in original:
            if line.startswith("data_"):
                replaced = line == f"data_{name}\n"
                if replaced:
                    _write_block(file, name, columns)
            if not replaced:
                file.write(line)


def missing_block(path, name, tables):
    """The :class:`UserError` for a block that is not among the tables of a file."""
    there = ", ".join("data_" + other for other in tables)
    return UserError(f"{path}: no block data_{name}; there are {there}")


# ---- reading

class _NotANumber(Exception):
    """args: index of the word."""


class _LateText(Exception):
    """args: block, label."""


def _parse(path, file, wanted, text):
    tables, block = {}, None
    for number, raw in enumerate(file, 1):
        line = raw.strip()
        if not line or line[0] == "#":
            continue
        if line.startswith("data_") and len(words := _split(line)) == 1:
            if block is not None:
                tables[block.name] = block.finish()
                if wanted is not None and tables.keys() >= set(wanted):
                    break           # what follows may be a million rows
            block = _Block(path, words[0][5:], text, wanted)
            if block.name in tables:
                raise UserError(f"{path}, line {number}: a second block {words[0]}")
        elif block is not None and block.wanted:
            block.add(number, line)
    else:
        if block is None:
            raise UserError(f"{path}: no data_ block, expected a STAR metadata file")
        tables[block.name] = block.finish()
    for name in wanted or ():
        if name not in tables:
            raise missing_block(path, name, tables)
    return {name: MetaData(tables[name], path) for name in tables if wanted is None or name in wanted}


class _Block:
    """Collects the lines of one data block and turns them into columns, a chunk of rows at a time."""

    def __init__(self, path, name, text, wanted):
        self.path, self.name, self.text = path, name, text
        self.wanted = wanted is None or name in wanted
        self.loop = self.in_rows = False
        self.columns = []
        self.lines, self.numbers = [], []   # rows not yet converted

    def add(self, number, line):
        if self.in_rows:
            self._add_row(number, line)
        elif line[0] == "_":
            self._add_label(number, line)
        elif line.startswith("loop_") and not self.columns:
            self.loop = True
        elif self.loop and self.columns:
            self.in_rows = True
            self._add_row(number, line)
        else:
            raise UserError(f"{self.path}, line {number}: found {line[:40]!r}, expected loop_ or a _label")

    def finish(self):
        if self.lines:
            self._convert_rows()
        return {column.label: _whole(self.path, column.label, column.array()) for column in self.columns}

    def _add_label(self, number, line):
        words = _split(line)
        label = words[0][1:]
        if any(column.label == label for column in self.columns):
            raise UserError(f"{self.path}, line {number}: a second column _{label}")
        self.columns.append(_Column(label, (self.name, label) in self.text))
        if self.loop:
            return
        if len(words) != 2:
            raise UserError(f"{self.path}, line {number}: {len(words) - 1} values after _{label}, "
                            "expected one")
        self._add_words(self.columns[-1], words[1:], [number])

    def _add_row(self, number, line):
        self.lines.append(line)
        self.numbers.append(number)
        if len(self.lines) == CHUNK:
            self._convert_rows()

    def _convert_rows(self):
        for column, words in zip(self.columns, self._words()):
            self._add_words(column, words, self.numbers)
        self.lines, self.numbers = [], []

    def _words(self):
        """The words of the rows, column by column."""
        expected = len(self.columns)
        text = _ROW_END.join(self.lines)
        if not any(mark in text for mark in _MARKS):
            # all rows at once; a row of another length puts an end where a word belongs
            words, end = text.split(), _ROW_END.strip()
            ends = words[expected :: expected + 1]
            if len(words) == len(self.lines) * (expected + 1) - 1 and ends.count(end) == len(ends):
                return [words[i :: expected + 1] for i in range(expected)]
        rows = [_split(line) for line in self.lines]
        if set(map(len, rows)) != {expected}:
            number, row = next((n, row) for n, row in zip(self.numbers, rows) if len(row) != expected)
            raise UserError(f"{self.path}, line {number}: {len(row)} values, expected {expected} "
                            f"(block data_{self.name}: {_listed(column.label for column in self.columns)})")
        return zip(*rows)

    def _add_words(self, column, words, numbers):
        try:
            column.add(words)
        except _NotANumber as error:
            if column.label not in NUMBERS:
                raise _LateText(self.name, column.label) from None
            row, = error.args
            kind = "a whole number" if column.label in WHOLE else "a number"
            raise UserError(f"{self.path}, line {numbers[row]}: _{column.label} is {words[row]!r}, "
                            f"expected {kind}") from None


class _Column:
    """One column's values; its type is the narrowest of int, float and str that holds all of them."""

    def __init__(self, label, is_text):
        self.label = label
        self.type = str if is_text or label in TEXT else int
        self.parts = []

    def add(self, words):
        """Convert words; :class:`_NotANumber` when the label or earlier rows promised numbers."""
        if self.type is int and not self._add_numbers(words, int):
            self.type = float
            self.add(words)
        elif self.type is float and not self._add_numbers(words, float):
            if self.parts or self.label in NUMBERS:
                raise _NotANumber(next(i for i, word in enumerate(words) if not _is_number(word)))
            self.type = str
            self.add(words)
        elif self.type is str:
            pool = {}           # equal words share one object: a micrograph's name comes in hundreds of rows
            self.parts.append(np.array([pool.setdefault(word, word) for word in words], dtype=object))

    def _add_numbers(self, words, number):
        try:
            part = np.fromiter(map(number, words), np.dtype(number), len(words))
        except (ValueError, OverflowError):
            return False
        if "_" in "".join(words):       # Python reads 1_000 as a number; nobody else does
            return False
        self.parts.append(part)
        return True

    def array(self):
        empty = np.empty(0, object if self.type is str else np.int64)
        return np.concatenate(self.parts or [empty])


def _whole(path, label, values):
    """A column as whole numbers, if that is what its label promises."""
    if label not in WHOLE:
        return values
    bad = not_whole(values)
    if len(bad):
        raise UserError(f"{path}: row {bad[0] + 1}: _{label} is {values[bad[0]]}, expected a whole number")
    return values.astype(np.int64)


def _is_number(word):
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def _split(line):
    """The words of a line: quotes group, # begins a comment."""
    if not any(mark in line for mark in _MARKS):
        return line.split()
    # where the last group can end: looking for an end that is not there takes long, many times
    last = {quote: max((end.start() for end in closing.finditer(line)), default=-1)
            for quote, closing in _CLOSING.items()}
    words, at = [], 0
    while (word := _WORD.search(line, at)) and line[word.start()] != "#":
        start, at = word.span()
        quote = line[start]
        if start < last.get(quote, -1):
            at = _CLOSING[quote].search(line, start + 1).end()
            words.append(line[start + 1:at - 1])
        else:
            words.append(word[0])
    return words


def _listed(labels):
    return ", ".join("_" + label for label in labels) or "none"


# ---- writing

class Rows:
    """The rows of a table as they are written, to be written more than once: whole, or some of them.

    labels : of the columns      lines : list of str, the rows
    """

    def __init__(self, labels, lines):
        self.labels, self.lines = labels, lines

    @classmethod
    def of(cls, columns):
        """Of a dict label -> values; ValueError for columns of different lengths."""
        columns = {label: np.asarray(values) for label, values in columns.items()}
        return cls(list(columns), [line for chunk in _chunks(columns) for line in chunk])

    def take(self, rows):
        """The rows of the given numbers (array)."""
        return Rows(self.labels, [self.lines[row] for row in rows.tolist()])


def _write_block(file, name, columns):
    if isinstance(columns, Rows):
        labels, lines = columns.labels, columns.lines
        chunks = (lines[start:start + CHUNK] for start in range(0, len(lines), CHUNK))
    else:
        columns = {label: np.asarray(values) for label, values in columns.items()}
        labels, chunks = columns, _chunks(columns, name)
    file.write(f"data_{name}\n\nloop_\n")
    file.writelines(f"_{label}\n" for label in labels)
    for chunk in chunks:
        file.write("\n".join([*chunk, ""]))
    file.write("\n")


def _chunks(columns, name=""):
    """The lines of a table, in lists of some thousands."""
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"block {name}: columns of different lengths {sorted(lengths)}")
    in_quotes = {label for label, values in columns.items() if _needs_quotes(values)}
    for start in range(0, max(lengths, default=0), CHUNK):
        words = [_words(values[start:start + CHUNK], label in in_quotes) for label, values in columns.items()]
        yield list(map(" ".join, zip(*words)))


def _words(values, in_quotes):
    """Text of every value; float64 comes back exactly as it was."""
    if values.dtype.kind == "b":
        values = values.astype(int)
    if values.dtype == np.float32:
        return [f"{value:.9g}" for value in values.tolist()]
    if values.dtype.kind in "fiu":
        return list(map(repr, values.tolist()))
    words = list(map(str, values))
    return list(map(quoted, words)) if in_quotes else words


def _needs_quotes(values):
    """Whether a column has a word that needs quotes: then readers that look at the first row alone must see some."""
    if values.dtype.kind in "bfiu":
        return False
    for start in range(0, len(values), CHUNK):
        part = values[start:start + CHUNK]
        text = "\n".join(["", *map(str, part), ""])
        words = text.split()
        if len(words) != len(part) or "\n".join(["", *words, ""]) != text:
            return True
        if any("\n" + mark in text for mark in _SPECIAL_BEGINNINGS):
            return True
    return False


def quoted(word):
    """A word in quotes; :class:`UserError` for one that no STAR file can hold."""
    quote = "'" if '"' in word else '"'
    if quote in word or "\n" in word or "\r" in word:
        raise UserError(f"{word!r} cannot be written to a STAR file, expected one kind of quotes and no line end")
    return quote + word + quote
