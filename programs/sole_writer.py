"""One process at a time writes a run's files: a lock that dies with its holder."""
import errno
import fcntl
import os
import socket
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import UserError
from .formats.whole import unfinished

_CANNOT_LOCK = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}


class SoleWriter:
    """A process's right to write the files of a run; see :func:`sole_writer`."""

    def __init__(self, path, root):
        self.path, self._root, self._descriptor = Path(path), root, None

    def lock(self):
        """:class:`UserError` when another process has the lock, or the file cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = _locked(self.path, self._root)
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror or error}") from error
        with suppress(OSError):             # on a full disk the lock is held all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()} {socket.gethostname()} {int(time.time())}\n".encode(), 0)

    def let_go(self):
        if self._descriptor is not None:
            os.close(self._descriptor)

    def check(self):
        """:class:`UserError` when the lock has been removed: the run's folder is gone, or another's by now."""
        if not self.holds():
            raise UserError(f"{self.path}: removed while the run wrote under {self._root}, expected its files to be "
                            "left alone until it ends")

    def holds(self):
        """Whether the lock file is there and ours."""
        return self._descriptor is not None and _is_open_as(self._descriptor, self.path)


class Held:
    """Mix-in for the files of a run.  ``lock``: path of the lock file; ``oroot``: what the files' names begin with."""

    _writer = None

    @contextmanager
    def held(self, first=True):
        """Be the sole writer of the run in this context.  first: False for ranks that leave writing to the first."""
        if not first:
            yield
            return
        with sole_writer(self.lock, self.oroot) as self._writer:
            yield

    def check_held(self):
        """See :meth:`SoleWriter.check`."""
        if self._writer:
            self._writer.check()


@contextmanager
def sole_writer(path, root):
    """Hold the lock file ``path`` of the run under ``root`` in this context: a :class:`SoleWriter`.

    :class:`UserError` when a living process holds it.  The system lets go of the lock when its holder ends, however
    it ends, so that what a killed run left behind stops nobody, and neither does a copy of a run's folder.  Where the
    file system cannot lock, the file itself is the lock, and one that a process of this host left is taken over.
    """
    writer = SoleWriter(path, root)
    try:
        with unfinished(writer.path, writer.holds):
            writer.lock()
            yield writer
    finally:
        writer.let_go()


def _locked(path, root):
    """A descriptor of the lock file, which nobody else has locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _CANNOT_LOCK:
                return _taken_over(path, root, descriptor)
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise _refusal(path, root) from None
            raise
        if _is_open_as(descriptor, path):
            return descriptor
        os.close(descriptor)                # its holder has just ended and removed it: another try


def _taken_over(path, root, descriptor):
    """The descriptor, when the process that the file names is of this host and gone, or it names none."""
    process, host, _ = _holder(path)
    if process and (host != socket.gethostname() or _lives(process)):
        os.close(descriptor)
        raise _refusal(path, root, f" (if that is not so any more, remove {path})")
    return descriptor


def _refusal(path, root, hint=""):
    process, host, since = _holder(path)
    who = f"process {process} on {host}" if process else "another process"
    when = f" since {time.strftime('%Y-%m-%d %H:%M', time.localtime(since))}" if since else ""
    return UserError(f"{root}: {who} has been writing a run there{when}, expected another name, or that it ends{hint}")


def _holder(path):
    """(number of the process, host, time) that the lock file names; (None, None, None) when it says nothing."""
    with suppress(OSError, ValueError):
        process, host, since = path.read_text().split()
        return int(process), host, int(since)
    return None, None, None


def _lives(process):
    if process == os.getpid():              # it had our number, in another container perhaps
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _is_open_as(descriptor, path):
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
