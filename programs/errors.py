"""What a user can cause is one clear line and exit status 2, never a traceback (see :mod:`.command`)."""


LONGEST = 4000          # characters of a message


class UserError(Exception):
    """Something the user can mend: the message names the file, row or option and what is expected."""

    def __str__(self):
        """The message in one line of at most :data:`LONGEST` characters, whatever it quotes from a file."""
        return printable(super().__str__())


def printable(text):
    """A text as any terminal can show it in one line: what a name has of line ends, escapes or no text is spelled."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST - 1000]} … {text[-900:]}"


def ending(program, error, advice=""):
    """(exit status, line to say) of a program that an error ends; None for one that nobody has foreseen.

    2 for a :class:`UserError`, a refusal of the operating system or too little memory; 130 for Ctrl-C, with ``advice``
    on how to go on.
    """
    if isinstance(error, UserError):
        return 2, f"{program}: error: {error}"
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 2, f"{program}: error: {where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return 2, f"{program}: error: not enough memory ({error or 'none left'})"
    if isinstance(error, KeyboardInterrupt):
        return 130, f"{program}: interrupted{advice and '; ' + advice}"
    return None
