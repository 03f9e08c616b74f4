"""Let the programs iterate for long, and look at what they hold: memory must not grow.

    python benchmarks/soak.py [--minutes 40] [--programs ml_align2d …] [--most PERCENT]

Each program gets simulated particles, 12 views or 3 volumes at a signal-to-noise ratio of 0.1 and as references, and
iterates on one thread at full resolution until SIGTERM ends it, --minutes after its first iteration.  --memory is less
than it could keep of the particles, so that in each iteration some are read again.  From outside, when an iteration
ends:

    MiB          the most resident memory that the iteration took, after a tenth of the iterations and in the end, each
                 the middle one of as many iterations as a tenth; VmHWM of /proc, which is set back in between
    growth       of a straight line through the second half of the iterations, in % of its middle and KiB per iteration
    files        open files, and threads, after the first iteration and after the last
    disk         what an iteration leaves: its results and its checkpoint, from which the run could go on
    end          seconds from SIGTERM to the end

Ends with 1 when a program grew by more than --most in its second half, holds more files or threads in the end than in
the beginning, came to an end by itself, or did not end as it should, with nothing temporary left.
"""
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import Table, parser, print_machine, run, simulate, working_folder

ITERATION = re.compile(r"(iteration|cycle) +[1-9]\d*: (to|mean)")
MIB, KIB = 2**20, 2**10
VIEWS, VOLUMES = 12, 3
FEWEST = 4                              # iterations that show anything
SEED = ("--random_seed", 1)
ML2D = ("-i", "particles.star", "--ref", "references.mrcs", "--mirror", "--fast", "--iter", 10**6, "--eps", 0, *SEED)


@dataclass(frozen=True)
class Soak:
    """How many particles a program gets, and its options; it writes into the folder ``out``."""

    count: int
    options: tuple
    lock: str
    resume: str = "--continue"


SOAKS = {
    "ml_align2d": Soak(30_000, (*ML2D, "--oroot", "out/x_", "--maxres", 0.5, "--write_probs", "--norm"),
                       "out/x_run.lock"),
    "mlf_align2d": Soak(20_000, (*ML2D, "--oroot", "out/x_", "--fix_high", 8, "--write_probs", "--student"),
                        "out/x_run.lock"),
    "ml_tomo": Soak(300, ("-i", "particles.xmd", "--missing", "missing.xmd", "--ref", "references.mrcs", "--oroot",
                          "out/x", "--ang", 15, "--limit_trans", 2, "--maxres", 0.35, "--perturb", "--no_grow",
                          "--iter", 10**6, "--eps", 0, *SEED), "out/xrun.lock"),
    "mref_ali2d": Soak(20_000, ("particles.star", "references.mrcs", "out", "--ou", 27, "--xr", 3, "--yr", 3, "--CTF",
                                "--phase_flipped", "--maxit", 10**6), "out/run.lock"),
    "refine2d": Soak(5000, ("--input", "particles.star", "--path", "out", "--ncls", 48, "--iter", 10**6, *SEED),
                     "out/run.lock", "--resume"),
}


class Process:
    """A program that runs; what it holds is looked at whenever it says that an iteration has ended.

    memory: bytes, the peak of each iteration.  held: (files, threads) after each.  disk: bytes in ``out`` after each.
    """

    def __init__(self, program, options, folder, seconds):
        words = [sys.executable, "-m", f"mlalign.programs.{program}", *map(str, options)]
        self.memory, self.held, self.disk, self.out = [], [], [], folder / "out"
        with open(folder / "errors", "w") as errors:
            self.process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
        self.proc = Path(f"/proc/{self.process.pid}")
        timer, self.over, self.told = threading.Timer(seconds, self._stop), False, 0.0
        timer.daemon = True
        for line in self.process.stdout:
            if ITERATION.match(line) and not self.told:
                self._look()
                if len(self.memory) == 1:
                    timer.start()
                if self.over:
                    self._stop()
        self.status = self.process.wait()
        self.took = time.perf_counter() - self.told if self.told else 0.0
        timer.cancel()
        self.errors = (folder / "errors").read_text()

    def _stop(self):
        """When there is something to see, or else after the next iteration."""
        self.over = True
        if len(self.memory) >= FEWEST:
            self.told = time.perf_counter()
            self.process.terminate()

    def _look(self):
        try:
            status = dict(re.findall(r"(\w+):\s+(\d+)", (self.proc / "status").read_text()))
            (self.proc / "clear_refs").write_text("5")              # the next peak will be that of the next iteration
            files = len(os.listdir(self.proc / "fd"))
        except OSError:
            return                                                  # it has just ended
        self.memory.append(KIB * int(status["VmHWM"]))
        self.held.append((files, int(status["Threads"])))
        self.disk.append(sum(entry.stat().st_size for entry in self.out.rglob("*") if entry.is_file()))

    def faults(self, program, soak, most):
        """What is wrong, in words."""
        ending = rf"{program}: terminated; {soak.resume} .*last finished .*\n"
        if self.status != 143 or not re.fullmatch(ending, self.errors):
            yield f"exit status {self.status}: {self.errors.strip() or 'it came to an end'}"
        left = [path.name for path in self.out.rglob(".*")] + [soak.lock] * (self.out.parent / soak.lock).exists()
        if left:
            yield f"left behind: {', '.join(left)}"
        if len(self.memory) < FEWEST:
            yield f"{len(self.memory)} iterations are too few"
            return
        if self.growth()[0] > most:
            yield f"memory grows by {self.growth()[0]:.1f} %"
        for name, first, last in zip(("files", "threads"), self.held[0], self.held[-1]):
            if last > first:
                yield f"{first} {name} became {last}"

    def growth(self):
        """Of memory over the second half: % of its middle, and KiB per iteration; nan where there are too few."""
        if len(self.memory) < FEWEST:
            return np.nan, np.nan
        second = np.array(self.memory[len(self.memory) // 2:])
        slope = np.polyfit(np.arange(len(second)), second, 1)[0]
        return 100 * slope * (len(second) - 1) / np.median(second), slope / KIB

    def row(self):
        """Cells of the table."""
        if not self.memory:
            return ("–",) * 9
        tenth = max(1, len(self.memory) // 10)
        peaks = (f"{np.median(part) / MIB:.0f}" for part in (self.memory[tenth:2 * tenth], self.memory[-tenth:]))
        percent, slope = self.growth()
        held = (f"{first}, {last}" for first, last in zip(self.held[0], self.held[-1]))
        return (len(self.memory), *peaks, f"{percent:+.2f}", f"{slope:+.1f}", *held,
                f"{(self.disk[-1] - self.disk[0]) / max(1, len(self.disk) - 1) / MIB:.2f}", f"{self.took:.2f}")


def particles(program, count, folder):
    """Simulated particles for a program in a folder, unless they are there from an earlier time."""
    if (folder / "truth.xmd").exists():
        return
    if program == "ml_tomo":
        folder.mkdir(parents=True, exist_ok=True)
        run(sys.executable, "-m", "mlalign.programs.simulate_tomo", "-o", f"{folder}/", "--phantoms", VOLUMES, "-n",
            count, "--snr", 0.1, "--offset", 0.7, "--stack", "--seed", 1)
    else:
        simulate(folder, "--views", VIEWS, "-n", count, "--box", 64, "--snr", 0.1, "--offset", 2, "--mirror", "--seed",
                 1, "--pixel_size", 4, "--defocus", 9000, 20000, "--phase_flip")


def main():
    options = parser(__doc__)
    options.add_argument("--minutes", type=float, default=40, help="for each program (default: %(default)s)")
    options.add_argument("--programs", nargs="+", default=list(SOAKS), choices=list(SOAKS), metavar="NAME")
    options.add_argument("--most", type=float, default=2, metavar="PERCENT",
                         help="growth that is still flat (default: %(default)s)")
    options.add_argument("--memory", type=float, default=0.5, metavar="GiB", help="(default: %(default)s)")
    options = options.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    if options.quick:
        options.minutes, options.most = 0.15, 10
    print_machine()
    print(f"{options.minutes:g} minutes each, --memory {options.memory:g}\n")
    table, faults = Table("program    ", "particles", "iterations", "MiB, first tenth", "last tenth", "growth, %",
                          "KiB per iteration", "files", "threads", "disk, MiB per iteration", "end, s"), []
    with working_folder(options) as folder:
        for name in options.programs:
            soak, place = SOAKS[name], folder / name
            count = soak.count // 50 if options.quick else soak.count
            particles(name, count, place)
            shutil.rmtree(place / "out", ignore_errors=True)
            process = Process(name, (*soak.options, "--memory", options.memory), place, 60 * options.minutes)
            table.row(name, count, *process.row())
            faults += [f"{name}: {fault}" for fault in process.faults(name, soak, options.most)]
    print("", *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
