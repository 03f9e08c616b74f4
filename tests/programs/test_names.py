"""Names of files of any bytes, in a terminal of any encoding: a command works, or says in one line what is wrong."""
import os
import subprocess
import sys

import pytest

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.formats.star import read_star
from mlalign.tests.programs.test_numerics import particles

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture
def classify(tmp_path):
    """``classify(name, env)``: run ml_align2d on a stack in a folder of that name; status, stderr, the folder."""
    def run(name, env):
        folder = os.fsencode(tmp_path) + b"/" + name
        os.mkdir(folder)
        write_stack(os.fsdecode(folder + b"/in.mrcs"), particles(2, count=4), 3)
        words = [b"-i", folder + b"/in.mrcs", b"--oroot", folder + b"/o_", *b"--nref 1 --iter 1 --maxres 0.2".split()]
        done = subprocess.run([sys.executable, "-m", "mlalign.programs.ml_align2d", *words], env={**os.environ, **env},
                              cwd=tmp_path, capture_output=True)
        return done.returncode, done.stderr.decode(), os.fsdecode(folder)
    return run


@pytest.mark.parametrize("name, env", [(b"caf\xe9 \xff", {}), (b"\x1b[31m; touch pwned; `touch pwned`", ASCII)])
def test_any_bytes(name, env, classify, tmp_path):
    status, said, folder = classify(name, env)
    assert (status, said) == (0, "")
    images = read_star(f"{folder}/o_images.xmd")["particles"]["image"]
    assert list(images) == [f"{number:06d}@{folder}/in.mrcs" for number in range(1, 5)]
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("name", [b"two\nlines", b"'both' \""])
def test_what_metadata_cannot_hold_is_said_first(name, classify):
    status, said, folder = classify(name, {})
    assert status == 2 and said.count("\n") == 1 and "cannot be written to a STAR file" in said
    assert os.listdir(folder) == ["in.mrcs"]
