"""Bytes that an iteration leaves on disk for each particle, by program.  They must not grow.

A million particles write a million times as many, in every iteration.  Where a number here falls for good, lower it.
"""
from pathlib import Path

import pytest

from mlalign.programs import ml2d, ml_align2d, ml_tomo, mlf2d, mlf_align2d, mref, mref_ali2d, msa2d, refine2d, tomo
from mlalign.tests.programs.small_runs import COMMANDS, PARTICLES, command_line, make_particles

PROGRAMS = {"ml_align2d": (ml_align2d, ml2d), "mlf_align2d": (mlf_align2d, mlf2d), "mref_ali2d": (mref_ali2d, mref),
            "refine2d": (refine2d, msa2d), "ml_tomo": (ml_tomo, tomo)}      # command line, run
IMAGES = {".mrcs", ".mrc", ".hdf"}         # averages: as many for any number of particles, and not counted
# what a checkpoint and a table hold of classes is in these numbers, too
PER_PARTICLE = {"ml_align2d": 785, "mlf_align2d": 840, "mref_ali2d": 440, "refine2d": 695, "ml_tomo": 535}


@pytest.mark.parametrize("program", COMMANDS)
def test_an_iteration_writes_no_more_for_a_particle_than_it_did(program, tmp_path, monkeypatch):
    command, work = PROGRAMS[program]
    monkeypatch.chdir(tmp_path)                      # names in tables are as long anywhere
    make_particles(program)
    sizes = []
    for iterations in (1, 2):
        out = f"run{iterations}"
        words = command_line(program, out, iterations)
        options = command.parser().parse_args(words)
        options.processes, options.command = 0, " ".join(words)             # as refine2d's main does
        work.run(options)
        written = [path for path in Path(out).rglob("*") if path.is_file() and path.suffix not in IMAGES]
        sizes.append(sum(path.stat().st_size for path in written))
    assert 0 < (sizes[1] - sizes[0]) / PARTICLES <= PER_PARTICLE[program]
