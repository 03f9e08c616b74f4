"""Output files appear whole or not at all: temporary name in the same folder, fsync, rename."""
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UserError


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
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        if error.filename not in {None, str(temporary), *folders}:
            raise           # another file's trouble, met while this one was being written
        where = f" ({error.filename})" if error.filename in folders else ""
        raise UserError(f"cannot write {path}: {error.strerror or error}{where}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
