"""The command ``mlalign view``."""
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from mlalign.programs.formats.mrc import write_stack
from mlalign.programs.phantoms import phantoms
from mlalign.tests.viewers.fabricate import make_run

# how many images were read, how many thumbnails are in view, and modules that should not have been imported
FIRST_PAINT = """
import sys
from mlalign.programs.formats.located import Source
from mlalign.viewers.gallery import app
count, read = 0, Source.read
def counted(source, rows):
    global count
    images = read(source, rows)
    count += len(images)
    return images
Source.read = counted
application = app.make_application()
window = app.open_window(app.parser().parse_args(sys.argv[1:]))
window.show()
application.processEvents()
window.grab()
card, area = window.view.gridSize(), window.view.viewport().size()
late = {"mlalign.programs.ranking", "numba", "h5py", "pwem", "scipy.stats"} & set(sys.modules)
print(count, (-(-area.height() // card.height()) + 1) * window.view.columns(), *late)
"""


def view(*arguments, environment=None, timeout=20):
    return subprocess.run([sys.executable, "-m", "mlalign.viewers.gallery", *map(str, arguments)], text=True,
                          capture_output=True, timeout=timeout, env={**os.environ, **(environment or {})})


def refused(result):
    """The one line a user gets."""
    assert result.returncode == 2 and "Traceback" not in result.stderr and result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("mlalign view: error: ")]
    assert len(lines) == 1 and result.stderr.rstrip().endswith(lines[0])
    return lines[0]


def broken(folder):
    """Name -> (file, what the line says) of files that cannot be shown."""
    garbage, text = folder / "garbage.mrcs", folder / "notes.txt"
    garbage.write_bytes(b"no image at all")
    text.write_text("no image")
    truncated = folder / "truncated.mrcs"
    write_stack(truncated, np.zeros((3, 16, 16)))
    truncated.write_bytes(truncated.read_bytes()[:-100])
    no_block = folder / "other_classes.xmd"
    no_block.write_text("data_particles\nloop_\n_image\n1@a.mrcs\n")
    lost = folder / "lost_classes.xmd"
    lost.write_text("data_classes\nloop_\n_ref\n_image\n_classCount\n1 1@lost.mrcs 5\n\n"
                    "data_info\n_iterationNumber 1\n")
    return {"missing": (folder / "missing.mrcs", "missing.mrcs"), "garbage": (garbage, "garbage.mrcs"),
            "unknown": (text, "unknown kind of file"), "truncated": (truncated, "truncated MRC file"),
            "no run": (folder / "none_classes.xmd", "no such file"),
            "no block": (no_block, "no block data_classes"), "lost images": (lost, "no file lost.mrcs")}


@pytest.mark.parametrize("name", ["missing", "garbage", "unknown", "truncated", "no run", "no block",
                                  "lost images"])
def test_what_cannot_be_shown_gives_one_line(tmp_path, name):
    path, expected = broken(tmp_path)[name]
    assert expected in refused(view(path))


def test_options_that_need_a_run(made, tmp_path):
    run, _ = made
    assert "need the classes.xmd of a run" in refused(view(f"{run.oroot}classes.mrcs", "--plots"))
    assert "none of the iterations 7-9" in refused(view(run.classes_file(), "--iterations", "7-9"))
    assert "'3-1' is no selection" in refused(view(run.classes_file(), "--iterations", "3-1"))


@pytest.mark.skipif(sys.platform != "linux", reason="X11 displays")
@pytest.mark.parametrize("display, expected", [("", "no display"), (":4321", "cannot connect to")])
def test_without_a_display(made, display, expected):
    environment = {"QT_QPA_PLATFORM": "", "DISPLAY": display, "WAYLAND_DISPLAY": ""}
    assert expected in refused(view(made[0].classes_file(), environment=environment))


def test_stays_open_until_it_is_ended(made):
    process = subprocess.Popen([sys.executable, "-m", "mlalign.viewers.gallery", str(made[0].classes_file())],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2)
    assert process.poll() is None
    process.terminate()
    assert process.wait(5) == -15


@pytest.mark.parametrize("classes", [40, 400])
def test_opens_after_reading_what_is_seen_and_a_sample(tmp_path, classes):
    """However many classes there are; and without what only scores and sorting need."""
    references = np.tile(phantoms(10, 32), (classes // 10, 1, 1))
    run, _ = make_run(tmp_path, references, 2 * classes, iterations=1)
    result = subprocess.run([sys.executable, "-c", FIRST_PAINT, str(run.classes_file())], capture_output=True,
                            text=True, check=True)
    read, seen, *late = result.stdout.split()
    assert int(read) <= min(classes, 100) + int(seen) and int(seen) < 80
    assert not late


def test_projects_and_protocols_belong_together(made):
    for option in (("--project", "somewhere"), ("--protocol", "3")):
        assert "expected both or neither" in refused(view(made[0].classes_file(), *option))
    assert "--protocol" in view(made[0].classes_file(), "--protocol", "three").stderr


def test_imports_no_qt_or_scipion_before_it_is_needed():
    code = "import mlalign.viewers.gallery, mlalign.viewers.plots, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"PyQt5", "pwem", "pyworkflow", "tkinter"} & set(loaded.split())
