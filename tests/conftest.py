"""What every test may rely on: a display for windows, a Qt that needs none, one thread to a process.

And the order of the tests, which is that of the processes that share them (pytest-xdist): long ones first, so that
none of them is left for the end.
"""
import os
import select
import shutil
import subprocess
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Libraries' own threads only get in each other's way when several processes test; read when NumPy is imported.
for variable in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Words in the names of modules that run whole protocols or programs at length, and then the rooms.  Those of viewers
# are last: Scipion's windows refuse to open in a process that has opened one of Qt's.
LONG = "project", "demo", "template", "workflows", "clicks", "truth", "house"
ROOMS = "protocols", "plugin", "programs", "viewers"

# The shell ends the display when its input closes, that is when this process is gone, however it ended.  Not
# earlier: windows whose display goes first end the process themselves, with an error.
XVFB = "Xvfb -displayfd {} -screen 0 1920x1300x24 -nolisten tcp & cat; kill $!"
PATIENCE = 20       # seconds
ROOT = Path(__file__).parent


def pytest_configure(config):
    """Give windows a display of their own where there is none, in every process that tests."""
    shares = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if not os.environ.get("DISPLAY") and not shares:
        display = start_display()
        if display:
            os.environ["DISPLAY"] = display


def start_display():
    """Start a display that lives as long as this process; its name, or None where that is impossible."""
    if shutil.which("Xvfb") is None:
        return None
    end, _ = os.pipe()                  # the other side stays open as long as this process lives
    read, write = os.pipe()
    subprocess.Popen(["sh", "-c", XVFB.format(write)], stdin=end, pass_fds=[write],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(end)
    os.close(write)
    ready, _, _ = select.select([read], [], [], PATIENCE)
    with os.fdopen(read) as pipe:       # the whole line: Xvfb ends when nobody reads the rest
        number = pipe.readline().strip() if ready else ""
    return f":{number}" if number else None         # nothing comes when it failed


def pytest_collection_modifyitems(items):
    items.sort(key=_turn)           # keeps the order within a module, and of modules that are alike


def _turn(item):
    """When a test's turn is: its module's place in the queue."""
    room = item.path.relative_to(ROOT).parts[0]
    long = any(word in item.path.stem for word in LONG)
    return 0 if long or room not in ROOMS else 1 + ROOMS.index(room), len(item.path.parts)
