"""A file is written whole or not at all, and a refusal of the system is one clear line."""
import os
import subprocess
import sys

import numpy as np
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.formats.whole import whole_file


def test_the_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "x.txt"
    with whole_file(path) as temporary:
        temporary.write_text("all")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "all"
    assert os.listdir(path.parent) == ["x.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_nothing_remains_of_a_failure(tmp_path, failure):
    path = tmp_path / "x.txt"
    path.write_text("before")
    with pytest.raises(failure), whole_file(path) as temporary:
        temporary.write_text("half")
        raise failure
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["x.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    with whole_file(tmp_path / "x") as temporary:
        temporary.write_text("x")
    (tmp_path / "y").write_text("y")
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


def test_refusals_name_the_path_and_the_reason(tmp_path):
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "x.star"         # its folder is a file
    with pytest.raises(UserError) as caught, whole_file(path) as temporary:
        temporary.write_text("x")
    assert str(caught.value) == f"cannot write {path}: File exists ({path.parent})"
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder: Is a directory"), \
            whole_file(tmp_path / "folder") as temporary:
        temporary.write_text("x")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_another_files_trouble_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "x"):
        (tmp_path / "input").read_text()


FULL_DISK = """
import resource, signal, sys
import numpy as np
from mlalign.programs.errors import UserError
from mlalign.programs.formats import checkpoint, hdf, mrc, star
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
images = np.zeros((10, 64, 64), np.float32)

def write_hdf(path):
    with hdf.hdf_writer(path) as out:
        for image in images:
            out.append(image)

for write in (lambda path: mrc.write_stack(path, images),
              lambda path: checkpoint.save_checkpoint(path, {"images": images}, {}),
              lambda path: star.write_star(path, {"x": {"y": images.ravel()}}),
              write_hdf):
    try:
        write(sys.argv[1])
    except UserError as error:
        print(error)
    else:
        print("written")
"""


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for a full disk."""
    path = tmp_path / "x.mrcs"
    run = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True)
    lines = run.stdout.splitlines()
    assert len(lines) == 4, run.stderr
    assert all(line == f"cannot write {path}: File too large" for line in lines), lines
    assert os.listdir(tmp_path) == []


def test_large_arrays_arrive(tmp_path):
    data = np.random.default_rng(0).integers(0, 255, 1_000_000, np.uint8)
    with whole_file(tmp_path / "x") as temporary:
        data.tofile(temporary)
    assert (np.fromfile(tmp_path / "x", np.uint8) == data).all()
