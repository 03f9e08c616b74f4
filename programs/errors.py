"""What a user can cause is one clear line and exit status 2, never a traceback."""
import os
import signal
import sys


class UserError(Exception):
    """Something the user can mend: the message names the file, row or option and what is expected."""


class _Terminated(BaseException):
    """SIGTERM; not an Exception, so that nothing mistakes it for a failure."""


def run_program(name, body, advice=""):
    """Run ``body()`` and exit as a shell command should.

    Exit status: 0 done; 2 for a :class:`UserError`, a refusal of the operating system or too little memory;
    130 / 143 when interrupted / terminated, with ``advice`` on how to go on.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        body()
        sys.stdout.flush()
    except UserError as error:
        _exit(2, f"{name}: error: {error}")
    except BrokenPipeError:
        _discard_output()
        sys.exit(141)
    except OSError as error:
        _discard_output()
        where = f"{error.filename}: " if error.filename else ""
        _exit(2, f"{name}: error: {where}{error.strerror or error}")
    except MemoryError as error:
        _exit(2, f"{name}: error: not enough memory ({error or 'none left'})")
    except KeyboardInterrupt:
        _exit(130, f"{name}: interrupted{advice and '; ' + advice}")
    except _Terminated:
        _exit(143, f"{name}: terminated{advice and '; ' + advice}")


def _discard_output():
    """Let what is still buffered go nowhere: Python would try to write it, and complain, at its very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exit(status, line):
    print(line, file=sys.stderr)
    sys.exit(status)


def _terminate(signum, frame):
    raise _Terminated
