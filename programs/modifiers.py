"""Modules and their options as the command line of refine2d names them: ``name:option=value:option=value``."""
import re
from dataclasses import dataclass, field

from .errors import UserError

EXPECTED = "expected name:option=value:option=value, for example refine:stepx=1:maxiter=20"

_NUMBERS = ((int, re.compile(r"[+-]?[0-9]{1,18}")),
            (float, re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")))
_OUTSIDE_QUOTES = re.compile(r'((?:[^:"]|"[^"]*"?)*)(?::|$)')


@dataclass(frozen=True)
class Modifier:
    """A module by ``name`` and its ``options``, a dictionary."""

    name: str
    options: dict = field(default_factory=dict)

    def __str__(self):
        return ":".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])


def parse(option, text):
    """:class:`Modifier` that ``text`` names, or None where it is empty or ``None``.

    option: the command line's, for messages.  Values become bool (true, false), int, float or else str, of which
    double quotes around it are taken off; a quoted value may hold colons.
    """
    if text is None or text.strip() in ("", "None", "none"):
        return None
    name, *pairs = _parts(text.strip())
    if not re.fullmatch(r"\w[\w.]*", name):
        raise UserError(f"{option} {text}: '{name}' is not a module's name, {EXPECTED}")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not value or not re.fullmatch(r"\w+", key):
            raise UserError(f"{option} {text}: '{pair}' is not a pair of option and value, {EXPECTED}")
        if key in options:
            raise UserError(f"{option} {text}: '{key}' is given twice, expected every option once")
        options[key] = _value(value)
    return Modifier(name, options)


def _parts(text):
    """What stands between colons that are outside double quotes."""
    parts, at = [], 0
    while at <= len(text):
        match = _OUTSIDE_QUOTES.match(text, at)
        parts.append(match[1])
        at = match.end(1) + 1
    return parts


def _value(text):
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind, form in _NUMBERS:
        if form.fullmatch(text):
            return kind(text)
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
