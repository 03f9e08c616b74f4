"""What a user can cause is one clear line and exit status 2, never a traceback."""
import signal
import sys


class UserError(Exception):
    """Something the user can mend: the message names the file, row or option and what is expected."""


def run_program(name, body):
    """Run ``body()`` and exit as a shell command should.

    Exit status: 0 done, 2 for a :class:`UserError`, 130 / 143 when interrupted or terminated.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        body()
    except UserError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"{name}: stopped; --continue resumes from the last finished iteration", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


def _terminate(signum, frame):
    print("terminated; --continue resumes from the last finished iteration", file=sys.stderr, flush=True)
    sys.exit(128 + signum)
