"""What the benchmarks share: running the programs, scoring their results, printing tables."""
import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from mlalign.programs.formats.star import read_star
from mlalign.programs.results import Run
from mlalign.programs.scoring import score

ASSEMBLIES = ("4v4r", "3j9i", "2uv8", "1bxn", "3cf3")     # maps of the test data
ASSEMBLIES_BOX, ASSEMBLIES_PIXEL = 64, 5                  # px, Å
MICROSCOPE = ("--defocus", 9000, 28000, "--astigmatism", 900, "--noise_fall", 10)
POSE = ("ref", "anglePsi", "shiftX", "shiftY", "flip")


# ---- options

def parser(docstring):
    """A parser whose help is the script's docstring, with the options that all scripts have."""
    options = argparse.ArgumentParser(description=docstring, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it works")
    options.add_argument("--work", default="", metavar="FOLDER", help="keep all files here (default: temporary)")
    return options


@contextmanager
def working_folder(options):
    """The folder (a Path) for a script's files."""
    if options.work:
        folder = Path(options.work).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="mlalign_") as folder:
            yield Path(folder)


def data_file(name):
    """Path of a file of the test data in $MLALIGN_TEST_DATA, or None where there is none."""
    folder = os.environ.get("MLALIGN_TEST_DATA")
    path = Path(folder or "", name).resolve()
    return path if folder and path.exists() else None


def assembly_maps(paths):
    """The density maps given by the user, or else those of the test data."""
    maps = [Path(path).resolve() for path in paths] or [data_file(f"maps/{name}.mrc") for name in ASSEMBLIES]
    if None in maps:
        sys.exit("no density maps: name some, or set MLALIGN_TEST_DATA (docs/performance.md)")
    return maps


# ---- running programs

@dataclass(frozen=True)
class Usage:
    """What a finished process took: wall and CPU seconds, largest resident memory in GiB."""

    wall: float
    cpu: float
    peak: float


def run(*words, folder=None):
    """Run a command in a folder: its :class:`Usage`.  Its output is shown only when it fails, which ends the script."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen([str(word) for word in words], cwd=folder, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            print(output.read().decode(errors="replace"), file=sys.stderr)
            sys.exit(f"{words[0]} ended with exit status {process.returncode}")
    return Usage(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def simulate(folder, *options):
    """Simulated particles in ``folder``; returns the path of their metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    run(sys.executable, "-m", "mlalign.programs.simulate", "-o", f"{folder}/", *options)
    return folder / "particles.star"


def simulate_assemblies(folder, maps, count, snr, *options):
    """``count`` particles of two views of each map, 64 px of 5 Å, mirrored and shifted by 2 px."""
    return simulate(folder, "--maps", *maps, "--views_per_map", 2, "-n", count, "--snr", snr, "--box", ASSEMBLIES_BOX,
                    "--pixel_size", ASSEMBLIES_PIXEL, "--offset", 2, "--mirror", "--seed", 1, *options)


def simulate_with_ctf(folder, maps, count, snr, flipped):
    """The same behind CTFs (0.9 to 2.8 µm, astigmatism to 900 Å, 300 kV) in noise that falls ten times to Nyquist."""
    return simulate_assemblies(folder, maps, count, snr, *MICROSCOPE, *(["--phase_flip"] if flipped else []))


def classify(star, oroot, *options, program="ml_align2d"):
    """Run a program: its :class:`Usage` and the :class:`Run` that it wrote."""
    usage = run(sys.executable, "-m", f"mlalign.programs.{program}", "-i", star, "--oroot", oroot, *options)
    return usage, Run(oroot)


# ---- results

def columns(path):
    """Classes and poses in a file of particles: dict of arrays keyed by label."""
    table = read_star(path, ["particles"])["particles"]
    return {label: table[label] for label in POSE}


def scored(star, result):
    """Scores, as :func:`mlalign.programs.scoring.score` gives, of a :class:`Run` on simulated particles."""
    return score(columns(star.with_name("truth.xmd")), columns(f"{result.oroot}images.xmd"))


# ---- tables

class Table:
    """A Markdown table printed row by row, as the numbers come in."""

    def __init__(self, *titles):
        self.titles = titles
        self._print(titles)
        print("|" + "|".join(["---"] + ["---:"] * (len(titles) - 1)) + "|", flush=True)

    def row(self, *cells):
        self._print(cells)

    def _print(self, cells):
        print("| " + " | ".join(str(cell).ljust(len(title)) for cell, title in zip(cells, self.titles)) + " |",
              flush=True)


def print_machine():
    """One line on the machine and the libraries that decide the speed."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown CPU")
    blas = {f"{library['internal_api']} {library['version']} {library.get('architecture', '')}"
            for library in threadpool_info() if library["user_api"] == "blas"}
    print(f"{model}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python {platform.python_version()}, "
          f"NumPy {np.__version__}, {', '.join(sorted(blas))}\n")
