"""What every test may rely on: a display for windows, and a Qt that needs none."""
import os
import select
import shutil
import subprocess

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# The shell ends the display when its input closes, that is when this process is gone, however it ended.  Not
# earlier: windows whose display goes first end the process themselves, with an error.
XVFB = "Xvfb -displayfd {} -screen 0 1920x1300x24 -nolisten tcp & cat; kill $!"
PATIENCE = 20       # seconds


def pytest_configure(config):
    """Give windows a display of their own where there is none."""
    if os.environ.get("DISPLAY") or shutil.which("Xvfb") is None:
        return
    end, _ = os.pipe()                  # the other side stays open as long as this process lives
    read, write = os.pipe()
    subprocess.Popen(["sh", "-c", XVFB.format(write)], stdin=end, pass_fds=[write],
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(end)
    os.close(write)
    ready, _, _ = select.select([read], [], [], PATIENCE)
    with os.fdopen(read) as pipe:       # the whole line: Xvfb ends when nobody reads the rest
        number = pipe.readline().strip() if ready else ""
    if number:                          # nothing comes when it failed
        os.environ["DISPLAY"] = f":{number}"
