"""How fast the class gallery is: opening it, scrolling, choosing, sorting, and the members of a large class.

    python benchmarks/gallery_speed.py [--quick] [--particles 100000] [--size 128]

Makes the files of runs with 200 and 1,000 classes, and of one with 3 whose members are many.  For each the gallery is
opened in a process of its own, without a screen; CPU seconds are those of that process, from its start to the first
picture of the window, wall seconds include starting Python.  Everything after that is wall time until it is painted.
"""
import json
import os
import subprocess
import sys
import time

import common
import numpy as np

from mlalign.programs.phantoms import phantoms
from mlalign.programs.results import FINAL, Run
from mlalign.tests.viewers import fabricate

CLASSES, LARGE = (200, 1000), 3
IMAGES = 1000           # particle images on disk; tables point to them again and again
PIECE = """
import json, os, sys, time
sys.path.insert(0, {folder!r})
from gallery_speed import measure
measure(sys.argv[1])
"""


def make(folder, classes, particles, size):
    """The files of a run: the path of its classes."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, some = np.random.default_rng(0), phantoms(20, size)
    averages = some[rng.integers(0, len(some), classes)] + rng.normal(0, 0.05, (classes, size, size))
    rows = fabricate.particles(folder / "particles.mrcs", some, min(IMAGES, particles), noise=0.5)
    again = np.arange(particles) % len(rows["ref"])
    rows = {label: values[again] for label, values in rows.items()}
    share = rng.exponential(1, classes)
    rows.update(itemId=np.arange(1, particles + 1), ref=rng.choice(classes, particles, p=share / share.sum()) + 1)
    run = Run(folder / "ml2d_")
    for iteration in (1, 2, FINAL):
        fabricate.write_result(run, iteration, averages, rows, 2)
    return run.classes_file()


def measure(path):
    """In a process of its own: open the gallery and use it; prints what took how long, as JSON."""
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from mlalign.viewers.gallery import app
    application = app.make_application()
    window = app.open_window(app.parser().parse_args([path]))
    window.show()
    application.processEvents()
    window.grab()
    found = {"opened": time.time(), "cpu": time.process_time()}

    def timed(name, action, until=lambda: True):
        start = time.perf_counter()
        action()
        application.processEvents()
        while not until():
            application.processEvents()
            time.sleep(0.001)
        window.grab()
        found[name] = time.perf_counter() - start

    def idle():
        return not (window.computing.busy or window.details.busy())

    timed("details", window.details.refresh, idle)
    scroll = window.view.verticalScrollBar()
    timed("scroll to the end", lambda: [_to(application, scroll, place)
                                        for place in range(0, scroll.maximum() + 1, max(scroll.pageStep(), 1))])
    timed("choose all", window.view.selectAll)
    timed("filter", lambda: window.set_filter("particles > 50 and resolution < 12"))
    timed("sort by resolution", lambda: window.set_sort("resolution", False))
    window.set_filter("")
    timed("sort by similarity", lambda: window.set_sort("similarity", False), idle)
    timed("centre all", lambda: window.set_centred(True))
    window.set_sort("particles", True)
    timed("next iteration", lambda: window.iterations.slider.setValue(0), idle)
    members = window.details.members.view
    timed("middle of the members", lambda: members.verticalScrollBar().setValue(
        members.verticalScrollBar().maximum() // 2), lambda: _seen(members))
    print(json.dumps(found), flush=True)
    os._exit(0)


def _to(application, scroll, place):
    scroll.setValue(place)
    application.processEvents()


def _seen(view):
    """Whether the thumbnail in the middle of a view has been read."""
    index = view.indexAt(view.viewport().rect().center())
    return not index.isValid() or view.model().pixmap(view.model().item(index), view.shown) is not None


def opened(path):
    """Run :func:`measure`: what it found, with wall seconds until the window was there."""
    start = time.time()
    result = subprocess.run([sys.executable, "-c", PIECE.format(folder=os.path.dirname(os.path.abspath(__file__))),
                             str(path)], capture_output=True, text=True)
    if result.returncode:
        sys.exit(result.stderr)
    found = json.loads(result.stdout.splitlines()[-1])
    return {"open (wall)": found.pop("opened") - start, "open (CPU)": found.pop("cpu"), **found}


def main():
    options = common.parser(__doc__)
    options.add_argument("--particles", type=int, default=100_000)
    options.add_argument("--size", type=int, default=128, help="side of the averages, px (default %(default)s)")
    options = options.parse_args()
    if options.quick:
        options.particles, options.size = 2000, 32
    common.print_machine()
    with common.working_folder(options) as folder:
        found = {}
        for classes in (*CLASSES, LARGE):
            path = make(folder / f"classes{classes}", classes, options.particles, options.size)
            found[classes] = min((opened(path) for _ in range(1 if options.quick else 2)),
                                 key=lambda one: one["open (CPU)"])
        table = common.Table(f"seconds, {options.particles:,} particles, {options.size} px  ",
                             *(f"{classes:,} classes" for classes in found))
        for name in found[LARGE]:
            table.row(name, *(f"{times[name]:.2f}" for times in found.values()))


if __name__ == "__main__":
    main()
