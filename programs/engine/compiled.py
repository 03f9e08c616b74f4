"""How kernels are compiled, and kept on disk for the next process.

Numba keeps compiled code beside the source, or where it may not write there in a folder of the user's; NUMBA_CACHE_DIR
names another.  What it leaves open is done here:

- processes that compile at the same time (MPI ranks) write one after the other: the code of one version of a kernel
  could otherwise be taken for another's;
- what was compiled beside the source of a read-only installation is copied to where the user may write, instead of
  being compiled again;
- a kernel older than another module's kernel that it calls is compiled anew: numba looks at the caller's source only;
- where nothing can be kept the program runs all the same, and compiles at every start;
- the first kernel that a process has to compile is announced, for it takes seconds.
"""
import fcntl
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numba as nb
from numba.core import event

_HOW = {"nogil": True, "error_model": "numpy"}
_LOCK = "kernels.lock"

fresh = []              # names of the kernels that this process has compiled itself
folders = set()         # where compiled code is kept: one, or none that may be written


def _compiled(function, **how):
    """The kernel of a function, compiled when it is first called, or read from disk."""
    try:
        kernel = nb.njit(cache=True, **_HOW, **how)(function)
    except RuntimeError:                    # "no locator available": nowhere to write
        return nb.njit(**_HOW, **how)(function)
    folder, beside = Path(kernel.stats.cache_path), Path(function.__code__.co_filename).parent / "__pycache__"
    if folder != beside:
        _adopt(beside, folder, function)
    _forget_outdated(folder, function)
    _write_alone(kernel)
    folders.add(folder)
    return kernel


# sums may be reordered and products fused; nothing is assumed of infinities
kernel = partial(_compiled, fastmath={"contract", "reassoc", "nsz", "arcp"})

# where besides nothing is NaN or infinite
fast = partial(_compiled, fastmath=True)

# as written
exact = _compiled

# A function that a kernel calls, compiled into it.  Otherwise there are two versions of it, its own and the kernel's,
# and which one runs depends on whether the kernel has just been compiled or comes from the disk: processors that fuse
# products and sums would let it show in the last digit.
part = partial(_compiled, forceinline=True)

# a part of those that call it, never called itself
inlined = partial(_compiled, fastmath=True, inline="always")


# ---- what is kept on disk

def _indices(folder, function):
    """The files in which numba notes what has been compiled of a function."""
    return sorted(Path(folder).glob(f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}-*.nbi"))


def _adopt(beside, folder, function):
    """Copy what is compiled of a function ``beside`` its source to a ``folder`` that has nothing of it."""
    with suppress(OSError):
        for index in _indices(beside, function):
            if not (folder / index.name).exists():
                for path in (*sorted(beside.glob(f"{index.stem}.*.nbc")), index):       # the index is the last
                    _copy(path, folder / path.name)


def _copy(path, target):
    handle, unfinished = tempfile.mkstemp(dir=target.parent)
    os.close(handle)
    shutil.copy2(path, unfinished)
    os.replace(unfinished, target)


def _forget_outdated(folder, function):
    """Remove what is compiled of a function before the source of a kernel that it calls was written."""
    sources = _sources_called(function)
    if not sources:
        return
    with suppress(OSError):
        written = max(source.stat().st_mtime for source in sources)
        for index in _indices(folder, function):
            if index.stat().st_mtime < written:
                index.unlink()


def _sources_called(function):
    """Paths of the other modules whose kernels a function calls, and those of kernels called by these."""
    sources = set()
    for name in function.__code__.co_names:
        called = getattr(function.__globals__.get(name), "py_func", None)
        if called is not None and called.__module__ != function.__module__:
            sources |= {Path(called.__code__.co_filename)} | _sources_called(called)
    return sources


def _write_alone(kernel):
    """Have numba read and write what is kept of a kernel while no other process writes."""
    cache = kernel._cache
    cache.load_overload = partial(_locked, cache.cache_path, fcntl.LOCK_SH, cache.load_overload)
    cache.save_overload = partial(_locked, cache.cache_path, fcntl.LOCK_EX, cache.save_overload)


def _locked(folder, how, function, *arguments):
    with _lock(folder, how):
        return function(*arguments)


@contextmanager
def _lock(folder, how):
    """A lock of a folder, where its file system knows any."""
    try:
        handle = open(os.path.join(folder, _LOCK), "a+")        # noqa: SIM115
    except OSError:
        yield
        return
    with handle:
        with suppress(OSError):
            fcntl.flock(handle, how)
        yield


# ---- the announcement

class _Announcement(event.Listener):
    """Notes, and tells the first time, that a kernel of ours is being compiled."""

    def on_start(self, happening):
        function = happening.data["dispatcher"].py_func
        if (function.__module__ or "").startswith(f"{__package__}."):
            if not fresh:
                print("compiling inner loops for this computer, once (`mlalign compile` does it beforehand)",
                      file=sys.stderr, flush=True)
            fresh.append(f"{function.__module__.rpartition('.')[2]}.{function.__name__}")

    def on_end(self, happening):
        pass


event.register("numba:compile", _Announcement())
