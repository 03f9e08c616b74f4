"""What programs tell of a long run, and whether a checkpoint belongs to it."""
import time
import zlib

import numpy as np

from .errors import UserError

FINGERPRINTED = 16         # images or volumes


def tell(log, line):
    """Print a line, and add it with the time to the run's log (a Path)."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"cannot write standard output: {error.strerror or error}") from error
    try:
        with open(log, "a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {line}\n")
    except OSError as error:
        raise UserError(f"cannot write {log}: {error.strerror or error}") from error


def duration(seconds):
    """A time in words."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def check_same_run(meta, program, facts, fingerprint, root, path):
    """:class:`UserError` when a checkpoint's ``meta`` belongs to another program, input or number of references.

    facts: (key in meta, value now, what it counts); fingerprint: of the input now, ``path``; root: of the
    run's files.
    """
    if meta["program"] != program:
        raise UserError(f"--continue: the run under {root} is one of {meta['program']}; start anew without --continue")
    for name, mine, unit in facts:
        if meta[name] != mine:
            raise UserError(f"--continue: the run under {root} has {meta[name]} {unit}, expected {mine} as now asked "
                            "for; start anew without --continue")
    if meta["fingerprint"] != fingerprint:
        raise UserError(f"--continue: the run under {root} classified other {facts[0][2]}, expected {path} as "
                        "it was then; start anew without --continue")


def fingerprint(source):
    """A number that tells the images or volumes of a source from others: from their ids and a few of them."""
    rows = np.unique(np.linspace(0, source.count - 1, FINGERPRINTED).astype(int))
    ids = " ".join(map(str, source.metadata["itemId"]))
    return zlib.crc32(source.read(rows).tobytes(), zlib.crc32(ids.encode()))
