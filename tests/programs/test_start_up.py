"""Modules that programs load before they do anything, which is most of the time that starting them takes."""
import json
import subprocess
import sys

import pytest

COMMAND_LINE = 115         # modules that a program's command line may load, with Python's own
RUNS = {"ml_align2d": ("ml2d", 800), "mlf_align2d": ("mlf2d", 800), "ml_tomo": ("tomo", 830),
        "mref_ali2d": ("mref", 815), "refine2d": ("msa2d", 875), "simulate": ("simulation", 575),
        "simulate_tomo": ("simulation_tomo", 585), "select": ("selection", 550), "convert": ("conversion", 275)}
# what takes longest, and is loaded only by who uses it
HEAVY = {"scipy.stats", "scipy.signal", "sklearn", "pandas", "matplotlib", "PyQt5", "pyworkflow", "cupy", "mpi4py"}
SCRIPT = """
import importlib, json, sys
counts = []
importlib.import_module(f"mlalign.programs.{sys.argv[1]}").parser().format_help()
counts.append(len(sys.modules))
numpy = "numpy" in sys.modules
importlib.import_module(f"mlalign.programs.{sys.argv[2]}")
counts.append(len(sys.modules))
print(json.dumps([counts, numpy, list(sys.modules)]))
"""


@pytest.mark.parametrize("program", RUNS)
def test_a_program_loads_no_more_than_it_did(program):
    run, most = RUNS[program]
    done = subprocess.run([sys.executable, "-c", SCRIPT, program, run], check=True, capture_output=True, text=True)
    (command_line, whole), numpy, loaded = json.loads(done.stdout)
    assert command_line <= COMMAND_LINE and not numpy
    assert whole <= most
    assert not HEAVY & set(loaded)
