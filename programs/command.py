"""A program as a shell command: its exit status, its last words, and how it stops when it is told to."""
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress

from .engine.launcher import MOST_TURNS, TURN, place
from .errors import UserError, ending
from .formats.whole import discard_unfinished

STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
PATIENCE = 1.0          # seconds for removing what is unfinished: a stalled disk must not keep us


def run_program(name, body, advice=""):
    """Run ``body()`` and exit as a shell command should.

    Exit status: 0 done; 2 for a :class:`UserError`, a refusal of the operating system or too little memory;
    130, 143 or 129 when interrupted (Ctrl-C), terminated or hung up, with ``advice`` on how to go on.
    """
    with _stoppable(name, advice):
        try:
            body()
            sys.stdout.flush()
        except BrokenPipeError:
            _discard(sys.stdout)
            sys.exit(141)
        except (UserError, OSError, MemoryError, KeyboardInterrupt) as error:
            status, line = ending(name, error, advice)
            _say(sys.stdout, "")
            if place().speaks:
                _say(sys.stderr, f"{line}\n")
            sys.exit(status)


def print_any_text():
    """Let what the terminal's encoding lacks, such as Å or bytes in a file's name that are no text, be spelled."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _say(stream, text):
    try:
        stream.write(text)
        stream.flush()
    except OSError:                     # the disk that is full may be the one that this goes to
        _discard(stream)


def _discard(stream):
    """Let what is still buffered go nowhere: Python would try to write it, and complain, at its very end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def _stoppable(name, advice):
    """Within this context a signal of :data:`STOPS` ends the process at once.

    A thread waits for what Python writes to its pipe: the main one may be in a library's code for minutes, and an
    exception raised wherever it happens to be may be swallowed there.  So nothing is raised, and no ``finally`` runs:
    the main thread does nothing more, files appear whole or not at all, and those that are being written are removed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield                           # signals are the main thread's
        return
    over = threading.Event()

    def do_nothing_more(*_):
        while not over.is_set():
            time.sleep(PATIENCE)

    read, write = os.pipe()
    os.set_blocking(write, False)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)      # until all is ready: they wait
    before = {number: signal.signal(number, do_nothing_more) for number in STOPS
              if signal.getsignal(number) is not signal.SIG_IGN}            # as under nohup
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(read, name, advice), daemon=True)
    watcher.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        over.set()
        signal.set_wakeup_fd(wakeup)
        os.close(write)
        watcher.join()                  # it may be ending us
        os.close(read)
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(read, name, advice):
    while number := os.read(read, 1):
        if number[0] in STOPS:
            _stop(number[0], f"{name}: {STOPS[number[0]]}{advice and '; ' + advice}")


def _stop(number, line):
    cleaner = threading.Thread(target=discard_unfinished, daemon=True)
    cleaner.start()
    cleaner.join(PATIENCE)
    time.sleep(TURN * min(place().local, MOST_TURNS))        # mpirun ends the others when the first of them has gone
    after_bar = "\n" if sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{after_bar}{line}\n".encode())
    os._exit(128 + number)
