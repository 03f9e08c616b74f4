"""Feeds damaged and hostile files, names and command lines to everything that reads them.

    python benchmarks/fuzz.py [--cases 5000] [--seed 1] [--only STAR] [--replay STAR:17] [--guided STAR --seconds 60]

Every case must be read as what it says, or be refused in one line (a UserError): no other exception, no warning of
numbers that overflow, not more than 2 s of CPU, nor 512 MiB of memory beyond what there was.  The table has the
numbers of cases for each reader; faults follow with the case that shows them, which --replay runs again, for the
traceback.  Cases depend on the seed and their number alone.

--guided lets atheris (pip install atheris) look for cases that reach new lines of the code instead of chance.
"""
import random
import sys
import time
from pathlib import Path

import common

from mlalign.tests.fuzz import harness
from mlalign.tests.fuzz.test_fuzz import TARGETS


def main():
    options = common.parser(__doc__)
    options.add_argument("--cases", type=int, default=5000, metavar="N", help="for each reader; a twentieth for runs")
    options.add_argument("--seed", default="1")
    options.add_argument("--only", default="", metavar="NAME", help="readers whose names hold this")
    options.add_argument("--replay", default="", metavar="NAME:CASE", help="run one case again")
    options.add_argument("--guided", default="", metavar="NAME", help="look for cases with atheris")
    options.add_argument("--seconds", type=int, default=60, help="with --guided: how long")
    options = options.parse_args()
    with common.working_folder(options) as folder:
        if options.replay:
            name, _, number = options.replay.rpartition(":")
            target = _found(name)[0](folder)
            print("accepted" if harness.attempt(target, harness.case(target, options.seed, int(number))) else "refused")
        elif options.guided:
            guided(_found(options.guided)[0](folder), options.seconds, options.seed)
        else:
            survey(_found(options.only), options.seed, 40 if options.quick else options.cases)


def survey(targets, seed, cases):
    """Print the table of all targets, and their faults."""
    print(f"{'reader':45} {'cases':>8} {'accepted':>9} {'refused':>8} {'faults':>7} {'ms a case':>10}")
    total, faults = harness.Tally(), []
    for target in targets:
        count = max(cases // 20, 1) if "run_targets" in target.__module__ else cases
        start = time.perf_counter()
        tally = harness.run(target, seed, count)
        _row(target.name, tally, f"{1000 * (time.perf_counter() - start) / count:.1f}")
        faults += [f"{target.name}: {count} x {what}: {said} (case {number})" for what, count in tally.faults.items()
                   for said, number in [tally.examples[what]]]
        total.accepted, total.refused = total.accepted + tally.accepted, total.refused + tally.refused
        total.faults += tally.faults
    _row("all", total, "")
    print("\n".join(faults))
    sys.exit(bool(faults))


def guided(target, seconds, seed):
    """Let libFuzzer change the good files where that reaches new code."""
    try:
        import atheris
    except ImportError:
        sys.exit("--guided needs atheris: pip install atheris")
    corpus = Path("corpus").absolute()
    corpus.mkdir(exist_ok=True)
    rng = random.Random(seed)
    for number, data in enumerate([*target.seeds, *(target.make(rng) for _ in range(50))]):
        (corpus / str(number)).write_bytes(data)
    for name, module in list(sys.modules.items()):
        if name.startswith("mlalign.programs.formats"):
            for function in vars(module).values():
                if getattr(function, "__module__", "") == name and hasattr(function, "__code__"):
                    function.__code__ = atheris.patch_code(function.__code__, True)
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2000", str(corpus)],
                  lambda data: harness.attempt(target, data))
    atheris.Fuzz()


def _found(name):
    found = [target for target in TARGETS if name.lower() in target.name.lower()]
    return found or sys.exit(f"no reader {name}; there are {', '.join(target.name for target in TARGETS)}")


def _row(name, tally, time_of_case):
    print(f"{name:45} {tally.cases:8} {tally.accepted:9} {tally.refused:8} {tally.faults.total():7} {time_of_case:>10}",
          flush=True)


if __name__ == "__main__":
    main()
