"""Compiled code on disk: kept, shared by processes, taken over from beside the source, and made anew when it is old."""
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import numba
import numpy as np
import pytest

from mlalign.programs.engine import compiled, kernels

CALLED = "from mlalign.programs.engine.compiled import kernel\n\n@kernel\ndef called(a):\n    return a + {}\n"
CALLER = ("from mlalign.programs.engine.compiled import kernel\nfrom called import called\n\n"
          "@kernel\ndef caller(a):\n    return called(a) * 2\n")


CALL = "import caller; print(caller.caller(3), sum(caller.caller.stats.cache_misses.values()))"


def run(code, folder, **variables):
    """What Python code prints that runs in a folder."""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, **variables})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the modules ``called`` and ``caller``, compiled."""
    folder = tmp_path_factory.mktemp("installed")
    (folder / "called.py").write_text(CALLED.format(1))
    (folder / "caller.py").write_text(CALLER)
    assert run(CALL, folder) == "8 1"
    return folder


@pytest.fixture
def copy(installed, tmp_path):
    return shutil.copytree(installed, tmp_path / "copy")


def test_the_next_process_compiles_nothing_also_in_a_copy(copy):
    assert run(CALL, copy) == "8 0"


def test_a_kernel_is_compiled_anew_when_one_it_calls_has_changed(copy):
    (copy / "called.py").write_text(CALLED.format(2))
    later = time.time() + 10
    os.utime(copy / "called.py", (later, later))
    assert run(CALL, copy) == "10 1"


def test_what_lies_beside_the_source_is_taken_over_by_those_who_may_not_write_there(copy, tmp_path):
    mine = tmp_path / "mine"
    assert run(CALL, copy, NUMBA_CACHE_DIR=str(mine)) == "8 0"
    assert list(mine.rglob("caller.caller-*.nbc"))


def test_processes_that_compile_at_the_same_time_lose_nothing(copy):
    """Each compiles the same kernel for arrays of another rank; all are there afterwards, under their own names."""
    code = "import sys, numpy as np; from caller import caller; caller(np.ones((1,) * {}))"
    ranks = range(1, 4)
    running = [subprocess.Popen([sys.executable, "-c", code.format(rank)], cwd=copy) for rank in ranks]
    assert [process.wait() for process in running] == [0] * len(running)
    answer = run("import numpy as np; from caller import caller\n"
                 f"print([caller(np.full((1,) * rank, float(rank))).ravel()[0] for rank in {list(ranks)}],"
                 " sum(caller.stats.cache_misses.values()))", copy)
    assert answer == "[4.0, 6.0, 8.0] 0"


def test_without_a_folder_that_may_be_written_kernels_work_all_the_same(monkeypatch):
    def nowhere(cache=False, **how):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**how)

    monkeypatch.setattr(compiled, "nb", SimpleNamespace(njit=nowhere))

    @compiled.kernel
    def twice(a):
        return 2 * a

    assert twice(4) == 8


def test_what_a_process_compiles_itself_is_known_and_told_once(monkeypatch, capsys):
    monkeypatch.setattr(compiled, "fresh", [])
    anew = numba.njit(kernels.tail.py_func)
    for kind in (np.float32, np.float64):
        anew(kind(1), kind(0), kind(1))
    numba.njit(lambda a: a)(1)                          # no kernel of ours
    assert compiled.fresh == ["kernels.tail"] * 2
    assert capsys.readouterr().err.count("compiling inner loops") == 1
