"""Kill the programs at random moments, let them go on, and compare them with runs that were left alone.

    python benchmarks/faults.py [--runs 100] [--seed 0] [--programs ml_align2d …]

Each run is killed with SIGKILL, SIGTERM or SIGINT, by the clock or just before it changes a file; some are killed up
to three times in a row, with one thread or two.  Every file that is there afterwards must be whole, the continued run
must come to the same files to the last byte, and nothing temporary may remain.  Prints a table (docs/reliability.md).
"""
import sys
import traceback

from common import parser, working_folder

from mlalign.tests.faults.killing import SIGNALS, Killer, Tally
from mlalign.tests.faults.scenes import SCENES, simulated

# again: kills of runs that were going on after an earlier one; writing: that left an unfinished file behind; late: that
# came when the run had ended; first: before the first checkpoint; stop: longest time from SIGTERM or SIGINT to the end
COLUMNS = "runs", "SIGKILL", "SIGTERM", "SIGINT", "again", "writing", "late", "first", "stop", "wrong"


def main():
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=100, metavar="N", help="runs of each program")
    options.add_argument("--seed", type=int, default=0, metavar="N", help="of the first run; others have the next ones")
    options.add_argument("--programs", nargs="+", default=list(SCENES), choices=list(SCENES), metavar="NAME")
    options = options.parse_args()
    runs = 3 if options.quick else options.runs
    with working_folder(options) as folder:
        inputs, failed = simulated(folder / "input"), False
        print(f"{'program':36}" + "".join(f"{name:>9}" for name in COLUMNS))
        for name in options.programs:
            killer, tally = Killer(SCENES[name], inputs, folder), Tally()
            for seed in range(options.seed, options.seed + runs):
                try:
                    killer.trial(seed, tally)
                except AssertionError:
                    tally.wrong.append(seed)
                    traceback.print_exc()
            report(name, runs, tally)
            failed |= bool(tally.wrong)
    sys.exit(failed)


def report(name, runs, tally):
    values = [runs, *(tally.kills[number] for number in SIGNALS), tally.again, tally.writing, tally.done,
              tally.iterations[0], f"{max(tally.latencies, default=0):.2f} s", len(tally.wrong)]
    print(f"{name:36}" + "".join(f"{value:>9}" for value in values), *tally.wrong, flush=True)


if __name__ == "__main__":
    main()
