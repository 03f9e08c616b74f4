"""Bytes that an iteration leaves on disk for each particle, by program.  They must not grow.

A million particles write a million times as many, in every iteration.  Where a number here falls for good, lower it.
"""
from pathlib import Path

import pytest

from mlalign.programs import (
    ml2d,
    ml_align2d,
    ml_tomo,
    mlf2d,
    mlf_align2d,
    mref,
    mref_ali2d,
    msa2d,
    refine2d,
    simulate,
    simulate_tomo,
    simulation,
    simulation_tomo,
    tomo,
)

PARTICLES = 40
SIMULATED = f"-n {PARTICLES} --box 16 --snr 2 --offset 1 --seed 1 -o particles/"
IMAGES = {".mrcs", ".mrc", ".hdf"}         # averages: as many for any number of particles, and not counted
# what a checkpoint and a table hold of classes is in these numbers, too
PER_PARTICLE = {"ml_align2d": 785, "mlf_align2d": 840, "mref_ali2d": 440, "refine2d": 695, "ml_tomo": 535}


def in_2d():
    simulation.run(simulate.parser().parse_args(
        f"{SIMULATED} --views 2 --pixel_size 4 --defocus 9000 20000 --phase_flip".split()))


def in_3d():
    simulation_tomo.run(simulate_tomo.parser().parse_args(f"{SIMULATED} --phantoms 2 --stack".split()))


INPUT = "-i particles/particles.{kind} --ref particles/references.mrcs --random_seed 1"
PROGRAMS = {       # command line, run, options; {out} is a folder
    "ml_align2d": (ml_align2d, ml2d, f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml2d_ --maxres 0.25"),
    "mlf_align2d": (mlf_align2d, mlf2d, f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml2d_ --fix_high 16"),
    "mref_ali2d": (mref_ali2d, mref, "particles/particles.star particles/references.mrcs {out} --ou 6 --xr 1 --yr 1 "
                                     "--maxit {iterations}"),
    "refine2d": (refine2d, msa2d, "--input particles/particles.star --path {out} --ncls 2 --iter {iterations} "
                                  "--random_seed 1"),
    "ml_tomo": (ml_tomo, tomo, f"{INPUT} --iter {{iterations}} --oroot {{out}}/ml_ --missing particles/missing.xmd "
                               "--ang 45 --limit_trans 1 --maxres 0.2 --no_refine"),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_iteration_writes_no_more_for_a_particle_than_it_did(program, tmp_path, monkeypatch):
    command, work, words = PROGRAMS[program]
    monkeypatch.chdir(tmp_path)                      # names in tables are as long anywhere
    (in_3d if program == "ml_tomo" else in_2d)()
    sizes = []
    for iterations in (1, 2):
        out = Path(f"run{iterations}")
        if "{out}/" in words:
            out.mkdir()
        line = words.format(kind="xmd" if program == "ml_tomo" else "star", iterations=iterations, out=out)
        options = command.parser().parse_args(line.split())
        options.processes, options.command = 0, line             # as refine2d's main does
        work.run(options)
        written = [path for path in out.rglob("*") if path.is_file() and path.suffix not in IMAGES]
        sizes.append(sum(path.stat().st_size for path in written))
    assert 0 < (sizes[1] - sizes[0]) / PARTICLES <= PER_PARTICLE[program]
