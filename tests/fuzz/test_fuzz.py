"""A quick round of fuzzing, the same every time; ``benchmarks/fuzz.py`` is the long one.  And the fuzzer is tested."""
import os
import random

import numpy as np
import pytest

from mlalign.programs.errors import LONGEST, UserError
from mlalign.tests.fuzz import binary_targets, command_targets, harness, hdf_targets, run_targets, text_targets

TARGETS = [*text_targets.TARGETS, *binary_targets.TARGETS, *hdf_targets.TARGETS, *command_targets.TARGETS,
           *run_targets.TARGETS]
# Cases here: as many as take half a second.  Runs are long in the making, so one of them must do.
QUICK = {text_targets: 300, binary_targets: 400, hdf_targets: 100, command_targets: 150}
CASES = [(target, count) for module, count in QUICK.items() for target in module.TARGETS]
CASES += [(run_targets.Refine2dResults, 10), (run_targets.Continued, 15)]


def named(value):
    return value.__name__ if isinstance(value, type) else None


@pytest.mark.parametrize("target, cases", CASES, ids=named)
def test_nothing_but_refusals(target, cases):
    tally = harness.run(target, "quick", cases)
    assert not tally.faults, tally.examples
    assert tally.cases == cases and tally.refused > 0
    assert tally.accepted > 0 or cases < 50             # or the cases teach nothing


@pytest.mark.parametrize("target", [target for target, _ in CASES], ids=named)
def test_whole_files_are_accepted(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = target(tmp_path)
    accepted = [harness.attempt(found, data) for data in found.seeds]
    assert sum(accepted) >= len(accepted) - target.odd


# ---- the fuzzer itself

class Planted:
    """Every kind of fault, by the number that a case is."""

    def __init__(self, folder):
        self.folder = folder

    def make(self, rng):
        return bytes([rng.randrange(256)])

    def feed(self, data):
        what = data[0] % 16
        if what < len(FAULTS):
            FAULTS[what]()
        elif what % 2:
            raise UserError("refused")


def _miss():
    return {}["x"]


def _hang():
    while True:
        pass


def _devour():
    return np.ones(harness.MEMORY)


def _overflow():
    return np.float32(1e30) * np.float32(1e30)


def _die():
    os.abort()


def _leave():
    raise SystemExit(1)


def _say_nothing():
    raise UserError


FAULTS = _miss, _devour, _overflow, _leave, _say_nothing


def test_faults_are_found():
    cases = [harness.case(Planted(None), "planted", number)[0] % 16 for number in range(100)]
    tally = harness.run(Planted, "planted", 100)
    kinds = ["KeyError", "MemoryError", "RuntimeWarning", "SystemExit", "WrongAcceptance"]
    for kind, number in zip(kinds, range(len(FAULTS))):
        assert sum(count for what, count in tally.faults.items() if kind in what) == cases.count(number) > 0
    assert tally.refused == sum(case >= len(FAULTS) and case % 2 for case in cases)
    assert tally.cases == 100
    (_, first), = [example for what, example in tally.examples.items() if "KeyError" in what]
    assert cases.index(0) == first


@pytest.mark.parametrize("fault, what", [(_die, "process ended"), (_hang, "_Slow")])
def test_processes_that_die_or_hang(fault, what, monkeypatch):
    monkeypatch.setattr(harness, "SECONDS", 0.1)
    target = type("Target", (Planted,), {"feed": lambda self, data: fault() if data[0] < 32 else None})
    tally = harness.run(target, "x", 40)
    expected = sum(harness.case(target(None), "x", number)[0] < 32 for number in range(40))
    assert sum(count for name, count in tally.faults.items() if what in name) == expected > 0
    assert tally.accepted == 40 - expected


def test_cases_do_not_depend_on_each_other(tmp_path):
    target = text_targets.Star(tmp_path)
    assert harness.case(target, 1, 7) == harness.case(target, 1, 7) != harness.case(target, 1, 8)
    assert target.make(random.Random("1 7")) == harness.case(target, 1, 7)


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "x" * 100_000, "é\udcff\0"])
def test_messages_are_one_line_that_can_be_shown(text):
    message = str(UserError(f"{text}.mrc: not there"))
    assert message.isprintable() and len(message) <= LONGEST and message.endswith(".mrc: not there")
