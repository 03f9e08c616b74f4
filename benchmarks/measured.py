"""Runs a program as its command line does, and writes what its iterations take.

    python benchmarks/measured.py FILE PROGRAM [OPTION ...]

FILE (JSON) gets, for every iteration, CPU and wall seconds and the floating-point operations of its matrix products,
counted from their shapes.  benchmarks/table.py and benchmarks/scaling.py start it in a process of its own, so that the
peak memory is that of the program alone.  In coarse-to-fine searches what the fine search does to single cells is no
matrix product, and is not counted.
"""
import importlib
import json
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

# where each program's iterations are
LOOPS = {"ml_align2d": ("ml2d", "Classification"), "mlf_align2d": ("ml2d", "Classification"),
         "ml_tomo": ("tomo", "TomoClassification"), "mref_ali2d": ("mref", "Alignment"),
         "refine2d": ("msa2d", "Classification")}


class Products:
    """Floating-point operations of matrix products, added up."""

    def __init__(self):
        self.flops = 0

    def add(self, *sides):
        """A product, or several of one shape, of matrices with these sides."""
        product = 2
        for side in sides:
            product *= int(side)
        self.flops += product


@contextmanager
def counted_products():
    """Counts the products of all programs' searches: a :class:`Products`."""
    from mlalign.programs.engine.correlation import Search
    from mlalign.programs.engine.estimator import Estimator
    from mlalign.programs.engine.harmonics import Orders
    counted = Products()

    def of_em(estimator, *arguments):
        counted.flops += estimator.counts.flops

    def of_scores(orders, x, templates, table, *rest):
        of_orders(orders, len(x), len(templates), len(table), 2 if templates.halves else 1)

    def of_spread(orders, weights, x, table, sums):
        of_orders(orders, len(x), len(sums), len(table))

    def of_orders(orders, rows, templates, angles, parts=1):
        lengths = sum((part.stop - part.start) * (2 if m else 1) for m, part in enumerate(orders.slices))
        counted.add(rows, templates, lengths)
        counted.add(parts, angles, 2 * orders.highest + 1, rows, templates)

    def of_rings(search, x, templates, *rest):
        counted.add(4, *x.shape[1:], templates.shape[3])

    sites = ((Estimator, "expect", of_em), (Orders, "scores", of_scores), (Orders, "spread", of_spread),
             (Search, "_scores", of_rings))
    with ExitStack() as stack:
        for owner, name, count in sites:
            stack.enter_context(patch.object(owner, name, _counting(getattr(owner, name), count)))
        yield counted


def _counting(method, count):
    """A method that counts after each call."""
    def counting(*arguments, **named):
        result = method(*arguments, **named)
        count(*arguments)
        return result
    return counting


@contextmanager
def timed_iterations(program, counted):
    """A list of dicts ``cpu``, ``wall``, ``flops``, one for each iteration that the program takes."""
    module, name = LOOPS[program]
    owner, found = getattr(importlib.import_module(f"mlalign.programs.{module}"), name), []
    iterate = owner._iterate

    def timed(self, *arguments):
        self._first_statistics = None           # each iteration with an E-step of its own
        flops, cpu, wall = counted.flops, time.process_time(), time.perf_counter()
        result = iterate(self, *arguments)
        found.append({"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall,
                      "flops": counted.flops - flops})
        return result

    with patch.object(owner, "_iterate", timed):
        yield found


def main():
    path, program, *arguments = sys.argv[1:]
    with counted_products() as counted, timed_iterations(program, counted) as iterations:
        try:
            importlib.import_module(f"mlalign.programs.{program}").main(arguments)
        except SystemExit as ending:
            if ending.code:
                raise
    Path(path).write_text(json.dumps(iterations))


if __name__ == "__main__":
    main()
