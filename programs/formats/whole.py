"""Output files appear whole or not at all: temporary name in the same folder, fsync, rename."""
import os
import re
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError

SOON = 0.1                      # s
_unfinished = set()             # functions that remove files which must not outlive this process
_changing = threading.Lock()
_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp", re.DOTALL)


@contextmanager
def whole_file(path):
    """Yield a temporary path beside ``path``; what is written there becomes ``path`` when all went well.

    The folder is made when it does not exist.  After any exception the temporary file is gone and whatever
    ``path`` held before is untouched.  A refusal of the operating system (no space, no permission, …) becomes
    a :class:`UserError` that names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    folders = {str(folder) for folder in path.parents}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished(temporary):
            _create(temporary)
            yield temporary
            _sync(temporary)
            os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        ours = error.filename in {None, str(temporary), *folders} or error.filename2 == str(temporary)     # a copy
        if not ours:
            raise           # another file's trouble, met while this one was being written
        where = f" ({error.filename})" if error.filename in folders else ""
        raise UserError(f"cannot write {path}: {error.strerror or error}{where}") from error


@contextmanager
def unfinished(path, ours=lambda: True):
    """Remove the file when the context ends, or the process (:func:`discard_unfinished`), if it is still ``ours()``."""
    def remove():
        with suppress(OSError):
            if ours():
                os.unlink(path)

    with _changing:
        _unfinished.add(remove)
    try:
        yield
    finally:
        with _changing:
            remove()
            _unfinished.remove(remove)      # not before: stopped in between, nobody would remove the file


def discard_unfinished():
    """Remove all unfinished files: for a process that ends at once, and whose main thread does nothing more."""
    _changing.acquire(timeout=SOON)         # which that thread may hold
    for remove in list(_unfinished):
        remove()


def remove_leftovers(folder, owned):
    """Remove the temporary files in a folder that killed processes left, of the paths (text) for which ``owned(path)``.
    """
    for temporary in Path(folder).glob(".*.tmp"):
        match = _TEMPORARY.fullmatch(temporary.name)
        if match and owned(str(temporary.with_name(match[1]))):
            temporary.unlink(missing_ok=True)


def _create(path):
    """Make an empty file that is certainly ours: in a folder that others write to a link may wait by its name."""
    with suppress(FileNotFoundError):
        os.unlink(path)         # of a killed process that had our number
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
