"""Bring what pip cannot: Tk, Qt's display libraries, a display for tests.

Installs the missing Debian or Ubuntu packages where that is allowed, else prints the command that does.
Exit status 1 only when the virtual environment itself cannot be made without them.
"""
import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

MODULES = {"python3-venv": "ensurepip", "python3-tk": "_tkinter"}
PROGRAMS = {"xvfb": "Xvfb", "xdotool": "xdotool"}
LIBRARIES = {
    "libgl1": "libGL.so.1",
    "libglib2.0-0": "libgthread-2.0.so.0",
    "libdbus-1-3": "libdbus-1.so.3",
    "libfontconfig1": "libfontconfig.so.1",
    "libxkbcommon-x11-0": "libxkbcommon-x11.so.0",
    "libxcb-icccm4": "libxcb-icccm.so.4",
    "libxcb-image0": "libxcb-image.so.0",
    "libxcb-keysyms1": "libxcb-keysyms.so.1",
    "libxcb-randr0": "libxcb-randr.so.0",
    "libxcb-render-util0": "libxcb-render-util.so.0",
    "libxcb-shape0": "libxcb-shape.so.0",
    "libxcb-xinerama0": "libxcb-xinerama.so.0",
    "libxcb-xkb1": "libxcb-xkb.so.1",
}


def missing():
    """The packages of which something is not there."""
    return ([package for package, module in MODULES.items() if find_spec(module) is None]
            + [package for package, program in PROGRAMS.items() if shutil.which(program) is None]
            + [package for package, library in LIBRARIES.items() if not loads(library)])


def loads(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def become_root():
    """The words that run a command as root without asking, or None."""
    if os.geteuid() == 0:
        return ["env", "DEBIAN_FRONTEND=noninteractive"]
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n", "env", "DEBIAN_FRONTEND=noninteractive"]
    return None


def install(packages):
    """True when apt-get ended well; what it said is shown when it did not."""
    root = become_root()
    if root is None or shutil.which("apt-get") is None:
        return False
    print(f"Installing system packages: {' '.join(packages)}", flush=True)
    steps = ["update"], ["install", "--no-install-recommends", "-y", *packages]
    for step in steps:
        done = subprocess.run([*root, "apt-get", "-qq", *step], capture_output=True, text=True)
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return False
    return True


def main():
    packages = missing()
    if packages and install(packages):
        packages = missing()
    if packages:
        print("Missing from this system; the names are Debian's and Ubuntu's.  Type, as an administrator:\n"
              f"  apt-get install {' '.join(packages)}\n"
              "Programs run without them; windows and the tests of windows do not.", file=sys.stderr)
    return int("python3-venv" in packages)


if __name__ == "__main__":
    sys.exit(main())
