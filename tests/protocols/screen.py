"""A display of its own with Scipion's windows on it, used as a person does: with mouse and keys, by xdotool.

Where things are, the windows say themselves: every Python process that is started with :attr:`Screen.environment`
writes what it shows, and where, to a file, several times a second (:data:`REPORTER`).  Nothing else is done to them.
"""
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from mlalign.tests.conftest import start_display

PATIENCE = 80           # seconds
BETWEEN = 0.15          # seconds from one deed to the next, as windows answer one after the other

# Imported by Python at its start, from a folder on the PYTHONPATH.
REPORTER = '''
import json, os, sys, threading, time, traceback

def tk(root):
    """(kind, text, left, top, width, height) of what can be seen below a widget."""
    found = []
    def add(kind, text, x, y, width, height):
        found.append((kind, str(text), int(x), int(y), int(width), int(height)))
    def visit(widget):
        if not widget.winfo_viewable():
            return
        kind, x, y = widget.winfo_class(), widget.winfo_rootx(), widget.winfo_rooty()
        text = ""
        if kind == "Canvas":
            for item in widget.find_all():
                if widget.type(item) == "text":
                    left, top, right, bottom = widget.bbox(item)
                    add("CanvasText", widget.itemcget(item, "text"), x + left - widget.canvasx(0),
                        y + top - widget.canvasy(0), right - left, bottom - top)
        elif kind == "Text":
            text = widget.get("1.0", "end")
        elif kind in ("Entry", "TEntry"):
            text = widget.get()
        elif isinstance(widget, tkinter.Wm):
            kind, text = "Window", widget.title()
        elif "text" in (widget.keys() or ()):
            text = widget.cget("text")
        add(kind, text, x, y, widget.winfo_width(), widget.winfo_height())
        for child in widget.winfo_children():
            visit(child)
    for window in [root] if root.winfo_viewable() else root.winfo_children():
        visit(window)
    return found

def qt(application):
    found = []
    from PyQt5.QtCore import QPoint
    from PyQt5.QtWidgets import QListView, QMenu, QWidget
    def add(kind, text, widget, rect):
        place = widget.mapToGlobal(rect.topLeft())
        found.append((kind, str(text), place.x(), place.y(), rect.width(), rect.height()))
    for top in application.topLevelWidgets():
        for widget in [top, *top.findChildren(QWidget)]:
            if not widget.isVisible():
                continue
            words = getattr(widget, "text", None) or widget.windowTitle
            text = words() if callable(words) else ""
            add(type(widget).__name__, text, widget, widget.rect())
            if isinstance(widget, QMenu):
                for action in widget.actions():
                    add("Action", action.text(), widget, widget.actionGeometry(action))
            if isinstance(widget, QListView) and widget.model():
                for row in range(min(widget.model().rowCount(), 50)):
                    index = widget.model().index(row, 0)
                    add("Item", index.data(), widget.viewport(), widget.visualRect(index))
    return found

def write(found):
    path = os.path.join(os.environ["WINDOWS_REPORT"], str(os.getpid()))
    with open(path + ".part", "w") as file:
        json.dump([time.time(), found], file)
    os.replace(path + ".part", path + ".json")

def note():
    with open(os.path.join(os.environ["WINDOWS_REPORT"], "problems"), "w") as file:
        traceback.print_exc(file=file)

def safely(look, what):
    try:
        write(look(what))
    except Exception:
        note()

def report():
    asked = None
    while True:
        time.sleep(0.25)
        try:
            for root in roots[-1:]:
                root.after(0, lambda: safely(tk, root))
            widgets = sys.modules.get("PyQt5.QtWidgets")
            application = widgets.QApplication.instance() if widgets and hasattr(widgets, "QApplication") else None
            if application is not None:
                if asked is None:
                    asked = asker(application)
                asked.emit()
        except Exception:
            note()          # before its main loop, after its end

def asker(application):
    from PyQt5.QtCore import QObject, pyqtSignal
    class Asker(QObject):
        signal = pyqtSignal()
    one = Asker()
    one.moveToThread(application.thread())
    one.signal.connect(lambda: safely(qt, application))
    application.asker = one
    return one.signal

roots = []
if "scipion" in getattr(sys, "orig_argv", sys.argv):
    import tkinter
    class Tk(tkinter.Tk):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            roots.append(self)
    tkinter.Tk = Tk

threading.Thread(target=report, daemon=True).start()
'''


class Seen(NamedTuple):
    """Something on the screen: its kind (a class of Tk's or Qt's), text and place (px)."""
    kind: str
    text: str
    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self):
        return self.x + self.width // 2, self.y + self.height // 2

    def beside(self, other):
        """Whether the two stand in one line."""
        return abs(self.middle[1] - other.middle[1]) < 10


def missing():
    """Why there can be no :class:`Screen` here, or ""."""
    absent = [program for program in ("Xvfb", "xdotool") if shutil.which(program) is None]
    return f"needs {' and '.join(absent)}" if absent else ""


class Screen:
    """A display, and what Python's windows show on it.  folder: for reports and for pictures of the screen."""

    def __init__(self, folder):
        self.folder, self.reports = Path(folder), Path(folder) / "reports"
        self.reports.mkdir()
        (self.folder / "sitecustomize.py").write_text(REPORTER)
        self.environment = {**os.environ, "DISPLAY": start_display(), "WINDOWS_REPORT": str(self.reports),
                            "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])}
        self.environment.pop("QT_QPA_PLATFORM", None)
        self._pictures = 0

    # ---- looking

    def shown(self, since=0.0):
        """All that is :class:`Seen`, as reported after ``since`` (by default: in the last seconds)."""
        found = []
        for path in self.reports.glob("*.json"):
            when, things = json.loads(path.read_text())
            if when > (since or time.time() - 3):
                found += [Seen(*thing) for thing in things]
        return found

    def find(self, text, *kinds, contains=False, at=-1, patience=PATIENCE, where=lambda seen: True):
        """What shows a text (or one that contains it) and is of one of the kinds, as soon as it is there.

        at: which, when there are several; the last by default, which is in the window opened last.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            fits = [seen for seen in self.shown() if (not kinds or seen.kind in kinds) and where(seen)
                    and (text in seen.text if contains else seen.text.strip() == text)]
            if fits:
                return fits[at]
            time.sleep(0.1)
        told = "\n".join(f"{seen.kind}: {seen.text.strip()[:100]!r}" for seen in self.shown() if seen.text.strip())
        self.picture("in_vain")
        raise AssertionError(f"{text!r} is not on the screen; there are\n{told}")

    def picture(self, name):
        """Keep a picture of the screen in the folder, where there is a program for it."""
        self._pictures += 1
        if shutil.which("import"):
            subprocess.run(["import", "-window", "root", str(self.folder / f"{self._pictures:02d}_{name}.png")],
                           env=self.environment, check=False)

    # ---- doing

    def do(self, *words):
        subprocess.run(["xdotool", *map(str, words)], env=self.environment, check=True, timeout=PATIENCE)
        time.sleep(BETWEEN)

    def click(self, seen, key=None):
        """Click in the middle of something, while a key is held down."""
        hold, leave = (("keydown", key), ("keyup", key)) if key else ((), ())
        self.do("mousemove", *seen.middle, *hold, "click", 1, *leave)

    def type_into(self, seen, text):
        """Replace what an entry holds."""
        self.click(seen)
        self.do("key", "End", "shift+Home")
        self.do("type", text)
