"""What every test may rely on: a display for windows, and a Qt that needs none."""
import os
import shutil
import subprocess

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


def pytest_configure(config):
    """Give windows a display of their own where there is none."""
    if os.environ.get("DISPLAY") or shutil.which("Xvfb") is None:
        return
    read, write = os.pipe()
    config.xvfb = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1920x1300x24", "-nolisten", "tcp"],
        pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:       # the number comes when the display is ready, nothing when it failed
        number = pipe.readline().strip()
    if number:
        os.environ["DISPLAY"] = f":{number}"


def pytest_unconfigure(config):
    if hasattr(config, "xvfb"):
        config.xvfb.terminate()
        config.xvfb.wait()
